package sqlstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/pluginregistry/pluginregistry/internal/sleep"
	"github.com/pluginregistry/pluginregistry/store"
)

// OR ROLLBACK, here and in the triggers, is cheaper than the usual OR ABORT: SQLite need not be ready to undo a single statement, for which
// it copies every page that a statement with triggers changes. A write that fails is undone with its transaction.
const (
	// insertSQL saves a config where there is no row. It is no upsert, for which the trigger that notes what an INSERT by hand replaces
	// would run.
	insertSQL = `
INSERT OR ROLLBACK INTO plugin_configs (plugin_id, config, configured, revision, updated_at) SELECT ?1, ?2, 1, 1, ?3
WHERE NOT EXISTS (SELECT 1 FROM plugin_configs WHERE plugin_id = ?1)
RETURNING revision`

	// reviveSQL saves a config where one was deleted.
	reviveSQL = `
UPDATE OR ROLLBACK plugin_configs SET config = ?2, configured = 1, revision = revision + 1, updated_at = ?3
WHERE plugin_id = ?1 AND configured = 0
RETURNING revision`

	// updateSQL saves a config over whatever there is, if the word ?4 is not in it. It is apart from reviveSQL because an UPDATE that sets
	// configured, too, writes the index of what is configured anew.
	updateSQL = `
UPDATE OR ROLLBACK plugin_configs SET config = ?2, revision = revision + 1, updated_at = ?3
WHERE plugin_id = ?1 AND configured = 1 AND config IS NOT ?2 AND ` + without + `
RETURNING revision`

	// replaceSQL saves a config over the one of revision ?5, if the word ?4 is not in it. It need not return the new revision, which costs a
	// save that shares its commit a sixth.
	replaceSQL = `
UPDATE OR ROLLBACK plugin_configs SET config = ?2, revision = ?5 + 1, updated_at = ?3
WHERE plugin_id = ?1 AND configured = 1 AND revision = ?5 AND config IS NOT ?2 AND ` + without

	// removeSQL deletes whatever is there (?2 = 1) or the config of revision ?3.
	removeSQL = `
UPDATE OR ROLLBACK plugin_configs SET config = NULL, configured = 0, revision = revision + 1, updated_at = ?4
WHERE plugin_id = ?1 AND configured = 1 AND (?2 OR revision = ?3)
RETURNING revision`

	// without tells that the word ?4 is not in a config, "" in none. Only an escape can hide it, and a config with one is looked at.
	without = `(?4 = '' OR instr(config, ?4) = 0 AND instr(config, '\u') = 0)`
)

// writing are the statements of the writer.
type writing struct{ current, insert, revive, update, replace, remove *sqlx.Stmt }

// in returns the statements as they run inside tx.
func (w writing) in(tx *sqlx.Tx) writing {
	return writing{
		current: tx.Stmtx(w.current), insert: tx.Stmtx(w.insert), revive: tx.Stmtx(w.revive), update: tx.Stmtx(w.update),
		replace: tx.Stmtx(w.replace), remove: tx.Stmtx(w.remove),
	}
}

// writing returns the statements of the writer. It prepares them before there is a transaction, as that may hold the pool's only
// connection.
func (s *Store) writing(ctx context.Context) (w writing, err error) {
	for _, p := range []struct {
		stmt **sqlx.Stmt
		st   *statement
	}{
		{&w.current, &s.current}, {&w.insert, &s.insert}, {&w.revive, &s.revive}, {&w.update, &s.update}, {&w.replace, &s.replace},
		{&w.remove, &s.remove},
	} {
		if *p.stmt, err = p.st.on(ctx, s.cfg.Writer); err != nil {
			return w, s.cfg.Explain(err)
		}
	}
	return w, nil
}

// Put saves config under id.
func (s *Store) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	if err := store.CheckID(id); err != nil {
		return store.Record{}, failed("put", id, err)
	}
	canonical, err := store.Canonical(config)
	if err != nil {
		return store.Record{}, failed("put", id, err)
	}
	req := newRequest("put", store.Put{ID: id, Config: canonical, Match: match})
	if err := s.submit(ctx, req); err != nil {
		return store.Record{}, failed("put", id, err)
	}
	return req.puts[0].record(), nil
}

// PutAll does all the puts or none.
func (s *Store) PutAll(ctx context.Context, puts []store.Put) ([]store.Record, error) {
	puts, err := store.CheckPuts("put all", puts)
	if err != nil {
		return nil, err
	}
	req := newRequest("put all", puts...)
	if err := s.submit(ctx, req); err != nil {
		return nil, failed("put all", "", err)
	}
	records := make([]store.Record, len(puts))
	for i := range records {
		records[i] = req.puts[i].record()
	}
	return records, nil
}

// Delete removes the config of id.
func (s *Store) Delete(ctx context.Context, id string, match store.Revision) error {
	if err := store.CheckID(id); err != nil {
		return failed("delete", id, err)
	}
	req := newRequest("delete", store.Put{ID: id, Match: match})
	if err := s.submit(ctx, req); err != nil {
		return failed("delete", id, err)
	}
	return nil
}

// put is one config to save or delete. What can be made ready is, as those who wait for the turn have the time that the one who has it
// lacks.
type put struct {
	id     string
	config string // "" deletes
	match  store.Revision
	number int64 // the counter behind match

	revision int64 // the result: where it is now
	at       time.Time
}

// record is what was saved.
func (p *put) record() store.Record {
	return store.Record{ID: p.id, Config: json.RawMessage(p.config), Revision: revisionOf(p.revision), UpdatedAt: p.at}
}

// request is one caller's write: puts, all of which are done or none.
type request struct {
	op   string
	puts []put
	err  error
	done chan struct{} // closed when the results are there
}

func newRequest(op string, puts ...store.Put) *request {
	req := &request{op: op, puts: make([]put, len(puts)), done: make(chan struct{})}
	for i, p := range puts {
		req.puts[i] = put{id: p.ID, config: string(p.Config), match: p.Match, number: numberOf(p.Match)}
	}
	return req
}

// queue lets writes that come while another is being committed share the next commit. Whoever waits and gets the turn writes for all
// that wait; nobody writes for others once its own is done, and a caller that is alone waits for nobody.
type queue struct {
	turn    chan struct{} // holds a token while somebody writes
	mu      sync.Mutex
	waiting []*request
}

// mostShared is how many writes share a commit at most, so that no caller waits for an endless one.
const mostShared = 512

func (q *queue) add(req *request) {
	q.mu.Lock()
	q.waiting = append(q.waiting, req)
	q.mu.Unlock()
}

// take returns the writes to do now, the oldest first.
func (q *queue) take() []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) <= mostShared {
		batch := q.waiting
		q.waiting = nil
		return batch
	}
	batch := slices.Clone(q.waiting[:mostShared])
	q.waiting = slices.Delete(q.waiting, 0, mostShared)
	return batch
}

// withdraw takes req out again, unless somebody is writing it already.
func (q *queue) withdraw(req *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, req)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	return true
}

// submit does a write, alone or with others, and returns when it is durable. A context that ends while the write waits takes it
// back; once it has begun, its result counts.
func (s *Store) submit(ctx context.Context, req *request) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	s.queue.add(req)
	select {
	case s.queue.turn <- struct{}{}:
		err := s.lead(ctx, req)
		<-s.queue.turn
		if err != nil {
			return err
		}
	case <-req.done:
	case <-ctx.Done():
		if s.queue.withdraw(req) {
			return ctx.Err()
		}
	}
	<-req.done
	return req.err
}

// lead writes what waits, own among it. It returns an error only if own was not written, because the turn did not come.
func (s *Store) lead(ctx context.Context, own *request) error {
	select {
	case <-own.done: // the one before had it with its own
		return nil
	default:
	}
	var w writer
	if err := s.Patiently(ctx, func() (err error) {
		w, err = s.writer(ctx)
		return err
	}); err != nil {
		s.queue.withdraw(own)
		return s.blame(err)
	}
	defer w.close()
	for { // more than once only if more wait than share a commit
		batch := s.queue.take()
		s.commit(ctx, w, batch)
		for _, req := range batch {
			close(req.done)
		}
		if slices.Contains(batch, own) {
			return nil
		}
	}
}

// writer is what a write needs before it begins.
type writer struct {
	stmts writing
	conn  *sqlx.Conn // of a pool that others use too; else nil, as the pool's only connection is free while nobody else has the turn
}

// writer waits for what a write needs as long as ctx allows: the one who leads waits for it before it speaks for others.
func (s *Store) writer(ctx context.Context) (w writer, err error) {
	ctx = s.inDriver(ctx)
	if w.stmts, err = s.writing(ctx); err == nil && s.cfg.Shared {
		w.conn, err = s.cfg.Writer.Connx(ctx)
	}
	if err != nil {
		return w, s.cfg.Explain(err)
	}
	return w, nil
}

func (w writer) close() {
	if w.conn != nil {
		w.conn.Close()
	}
}

// commit does a batch of writes in one transaction and sets their results. What fails the transaction before its commit is tried
// again write by write, so that it hits only those that it concerns. Once there are several, no single one's context ends it.
func (s *Store) commit(ctx context.Context, w writer, batch []*request) {
	if len(batch) > 1 {
		ctx = context.WithoutCancel(ctx)
	}
	if len(batch) == 1 && len(batch[0].puts) == 1 && w.conn == nil {
		s.alone(ctx, w, batch[0])
		return
	}
	var divide bool
	err := s.Patiently(ctx, func() (err error) {
		divide, err = s.together(w, batch)
		return err
	})
	for _, req := range batch {
		switch {
		case divide && len(batch) > 1:
			s.commit(ctx, w, []*request{req})
		case err != nil:
			req.err = s.blame(err)
		}
	}
}

// alone does one write in a statement that is its own transaction.
func (s *Store) alone(ctx context.Context, w writer, req *request) {
	req.err = s.blame(s.Patiently(ctx, func() error { return s.apply(context.WithoutCancel(ctx), w.stmts, req) }))
	if req.err == nil && s.cfg.Intact != nil {
		req.err = s.cfg.Intact()
	}
}

// Patiently calls write until another connection's write is out of its way, or the time for that is up, or ctx is done.
func (s *Store) Patiently(ctx context.Context, write func() error) error {
	start := time.Now()
	for {
		err := write()
		if err == nil || !s.cfg.Busy(err) || time.Since(start) > s.cfg.BusyTimeout {
			return err
		}
		if done := sleep.For(ctx, time.Millisecond+rand.N(4*time.Millisecond)); done != nil {
			if e, ok := err.(*store.Error); ok {
				return &store.Error{Op: e.Op, ID: e.ID, Err: fmt.Errorf("%w: %w", done, e.Err)}
			}
			return fmt.Errorf("%w: %w", done, err)
		}
	}
}

// together does the writes in one transaction. divide says that nothing was committed and that the error may concern only one of them.
func (s *Store) together(w writer, batch []*request) (divide bool, err error) {
	defer func() {
		if err != nil {
			s.guesses.forget(batch...)
		}
	}()
	ctx := context.Background() // what has begun is finished
	begin := s.cfg.Writer.BeginTxx
	if w.conn != nil {
		begin = w.conn.BeginTxx
	}
	tx, err := begin(ctx, nil)
	if err != nil {
		return false, s.cfg.Explain(err)
	}
	defer tx.Rollback()
	stmts := w.stmts.in(tx)
	if len(batch) == 1 { // the transaction does it all or nothing; a savepoint would write each page that it changes to a journal, too
		if err := s.apply(ctx, stmts, batch[0]); err != nil {
			return false, err
		}
		return false, s.finish(tx)
	}
	for _, req := range batch {
		if req.err = s.applyOrUndo(ctx, tx, stmts, req); req.err != nil && !errors.Is(req.err, store.ErrConflict) {
			return true, req.err
		}
	}
	return false, s.finish(tx)
}

// finish commits a transaction.
func (s *Store) finish(tx *sqlx.Tx) error {
	if err := tx.Commit(); err != nil {
		return s.cfg.Explain(err)
	}
	if s.cfg.Intact != nil {
		return s.cfg.Intact()
	}
	return nil
}

// applyOrUndo runs the statements of one request and leaves no part of them behind if it cannot be done.
func (s *Store) applyOrUndo(ctx context.Context, tx *sqlx.Tx, stmts writing, req *request) error {
	if len(req.puts) == 1 { // a single statement does it all or nothing
		return s.apply(ctx, stmts, req)
	}
	if _, err := tx.ExecContext(ctx, `SAVEPOINT request`); err != nil {
		return s.cfg.Explain(err)
	}
	failure := s.apply(ctx, stmts, req)
	if failure != nil && !errors.Is(failure, store.ErrConflict) {
		return failure // the transaction has gone with it
	}
	if failure != nil {
		s.guesses.forget(req)
		if _, err := tx.ExecContext(ctx, `ROLLBACK TO request`); err != nil {
			return s.cfg.Explain(err)
		}
	}
	if _, err := tx.ExecContext(ctx, `RELEASE request`); err != nil {
		return s.cfg.Explain(err)
	}
	return failure
}

// apply runs the statements of one request.
func (s *Store) apply(ctx context.Context, stmts writing, req *request) error {
	at := time.Now().UTC().Truncate(time.Millisecond)
	now := at.Format(timeFormat)
	for i := range req.puts {
		if err := s.applyPut(ctx, stmts, &req.puts[i], at, now); err != nil {
			return failed(req.op, req.puts[i].id, err)
		}
	}
	return nil
}

// applyPut saves or deletes one config. A statement that changes no row is asked about: it may be a conflict, nothing to do, a wrong
// guess, or a config that must be looked at; or, in a statement that is its own transaction, another process has changed the row in
// between. Then it is tried again.
func (s *Store) applyPut(ctx context.Context, stmts writing, p *put, at time.Time, now string) error {
	const word = ""
	whatever := p.match == store.Any
	over := seen{revision: p.number}
	for {
		if whatever && over.revision == 0 {
			over = s.guesses[p.id]
		}
		ask := word // "" if the config to save over is known to be without it
		if over.revision != 0 && over.without == word {
			ask = ""
		}
		var err error
		switch {
		case p.config == "" && ask != "":
			// must be looked at
		case p.config == "":
			p.revision, err = returned(ctx, stmts.remove, p.id, p.match == store.Any, over.revision, now)
		case p.match == store.Absent:
			p.revision, err = inserted(ctx, stmts, p, now)
		case !whatever || over.revision != 0:
			p.revision, err = replaced(ctx, stmts.replace, p.id, p.config, now, ask, over.revision)
		default:
			p.revision, err = returned(ctx, stmts.update, p.id, p.config, now, ask)
			if p.revision == 0 && err == nil {
				p.revision, err = inserted(ctx, stmts, p, now)
			}
		}
		if err != nil {
			return s.cfg.Explain(err)
		}
		if p.revision != 0 {
			p.at = at
			s.guesses.saved(p, word)
			return nil
		}
		rec, err := s.read(ctx, stmts.current, p.id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		over = seen{revision: numberOf(rec.Revision)}
		s.guesses.set(p.id, over)
		if err := store.Match(p.match, rec.Revision); err != nil {
			return err
		}
		over.without = word
		if string(rec.Config) == p.config {
			p.revision, p.at = over.revision, rec.UpdatedAt
			return nil
		}
	}
}

// seen is what is known of a config: its revision, and a word that does not stand in it.
type seen struct {
	revision int64
	without  string
}

// guesses are how configs were last seen, by plugin ID, for saves over whatever there is. A wrong one does no harm, as it is asked about in
// the same step.
type guesses map[string]seen

const maxGuesses = 1 << 14 // some megabytes

func (g guesses) set(id string, as seen) {
	if _, known := g[id]; !known && len(g) >= maxGuesses {
		clear(g)
	}
	g[id] = as
}

// forget drops what is known of the configs in requests that are taken back: another process may give the same revisions to other configs.
func (g guesses) forget(reqs ...*request) {
	for _, req := range reqs {
		for i := range req.puts {
			delete(g, req.puts[i].id)
		}
	}
}

// saved notes what p has done. word is that of its match.
func (g guesses) saved(p *put, word string) {
	if p.config == "" {
		delete(g, p.id)
		return
	}
	if strings.Contains(p.config, word) {
		word = ""
	}
	g.set(p.id, seen{p.revision, word})
}

// timeFormat is RFC 3339 as SQLite's strftime writes it in the triggers.
const timeFormat = "2006-01-02T15:04:05.000Z"

// replaced runs replaceSQL and returns the new revision, or 0 if the row is not at revision, or not without the word.
func replaced(ctx context.Context, stmt *sqlx.Stmt, id, config, now, without string, revision int64) (int64, error) {
	res, err := stmt.ExecContext(ctx, id, config, now, without, revision)
	if err != nil {
		return 0, err
	}
	if n, err := res.RowsAffected(); n == 0 {
		return 0, err
	}
	return revision + 1, nil
}

// inserted saves p where there is no config, and returns its revision, or 0 if there is one.
func inserted(ctx context.Context, stmts writing, p *put, now string) (int64, error) {
	revision, err := returned(ctx, stmts.insert, p.id, p.config, now)
	if revision == 0 && err == nil {
		revision, err = returned(ctx, stmts.revive, p.id, p.config, now)
	}
	return revision, err
}

// returned runs a statement that returns the new revision of the row it changed, or 0 if it changed none. It reads all rows there are: a
// statement left before its end stays open and keeps the WAL from being reused.
func returned(ctx context.Context, stmt *sqlx.Stmt, args ...any) (revision int64, err error) {
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&revision); err != nil {
			return 0, err
		}
	}
	return revision, rows.Err()
}

// RewriteHistory rewrites the earlier states of id, each in a transaction of its own. One that fails does not stop the others.
func (s *Store) RewriteHistory(ctx context.Context, id string, rewrite func(store.Version) (json.RawMessage, error)) error {
	states, err := s.states(ctx, id, 0)
	if err != nil {
		return failed("rewrite history", id, err)
	}
	var failures []error
	for _, st := range states[min(1, len(states)):] {
		err := st.Err
		if st.Configured && err == nil {
			err = s.rewrite(ctx, st, rewrite)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("revision %q: %w", st.Revision, err))
		}
	}
	if failures != nil {
		return failed("rewrite history", id, errors.Join(failures...))
	}
	return nil
}

func (s *Store) rewrite(ctx context.Context, st state, rewrite func(store.Version) (json.RawMessage, error)) error {
	before := st.Config
	st.Config = bytes.Clone(before)
	config, err := rewrite(st.Version)
	if err != nil {
		return err
	}
	if config, err = store.Canonical(config); err != nil {
		return err
	}
	if bytes.Equal(config, before) {
		return nil
	}
	return s.Exclusively(ctx, func(ctx context.Context) error {
		_, err := s.cfg.Writer.ExecContext(ctx, rewriteSQL, string(config), st.seq, st.ID, numberOf(st.Revision))
		return err
	})
}

// Exclusively runs a write of another kind while no other write of this store is under way.
func (s *Store) Exclusively(ctx context.Context, write func(ctx context.Context) error) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	select {
	case s.queue.turn <- struct{}{}:
		defer func() { <-s.queue.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.Patiently(ctx, func() error {
		if err := write(s.inDriver(ctx)); err != nil {
			return s.cfg.Explain(err)
		}
		return nil
	})
}
