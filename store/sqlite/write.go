package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pluginregistry/pluginregistry/internal/sleep"
	"github.com/pluginregistry/pluginregistry/store"
)

// OR ROLLBACK is cheaper than the usual OR ABORT: SQLite need not be ready to undo a single statement, for which it copies every page that a
// statement with triggers changes. A write that fails is undone with its transaction.
const (
	currentSQL = `SELECT revision, configured, updated_at, checked, title, disabled FROM plugin_configs WHERE plugin_id = ?`
	storedSQL  = `SELECT config FROM plugin_configs WHERE plugin_id = ?`

	// createSQL makes the row that the others change.
	createSQL = `INSERT OR ROLLBACK INTO plugin_configs (plugin_id, configured) VALUES (?, 0)`

	// saveSQL saves a config over another one. It is apart from reviveSQL because an UPDATE that sets configured writes the index of it anew.
	saveSQL   = `UPDATE OR ROLLBACK plugin_configs SET config = ?2, revision = ?3, checked = ?3, updated_at = ?4, author = ?5 WHERE plugin_id = ?1 AND config IS NOT ?2`
	reviveSQL = `UPDATE OR ROLLBACK plugin_configs SET config = ?2, configured = 1, revision = ?3, checked = ?3, updated_at = ?4, author = ?5 WHERE plugin_id = ?1`
	removeSQL = `UPDATE OR ROLLBACK plugin_configs SET config = NULL, configured = 0, revision = ?2, checked = ?2, updated_at = ?3, author = ?4 WHERE plugin_id = ?1`

	// noteSQL keeps what checked says of the config.
	noteSQL = `UPDATE OR ROLLBACK plugin_configs SET title = ?2, disabled = ?3, revision = ?4, checked = iif(checked = revision, ?4, -?4), updated_at = ?5, author = ?6 WHERE plugin_id = ?1`

	// asideSQL keeps a text that is no config, and that is about to be written over.
	asideSQL = `INSERT OR ROLLBACK INTO plugin_config_damaged (plugin_id, revision, config) SELECT plugin_id, revision, config FROM plugin_configs WHERE plugin_id = ?`

	rewriteSQL = `UPDATE OR ROLLBACK plugin_config_history SET config = ?4 WHERE plugin_id = ?1 AND revision = ?2 AND config IS ?3`
)

// put is one config to save or delete, or one note to save, and what became of it.
type put struct {
	id     string
	config string // "" deletes
	note   *store.Note
	match  store.Revision

	revision   int64
	at         time.Time
	configured bool
}

func (p *put) record() store.Record {
	return store.Record{ID: p.id, Config: json.RawMessage(p.config), Revision: revisionOf(p.revision), UpdatedAt: p.at}
}

// request is one caller's write: puts, all of which are done or none, or lines of the history to write anew.
type request struct {
	op     string
	author string
	puts   []put
	lines  []rewritten
	until  time.Time // it waits for the lock until then
	err    error
}

// Put saves config under id if match agrees with what is stored.
func (s *Store) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	if err := store.CheckID(id); err != nil {
		return store.Record{}, failed("put", id, err)
	}
	canonical, err := store.Canonical(config)
	if err != nil {
		return store.Record{}, failed("put", id, err)
	}
	req := &request{op: "put", puts: []put{{id: id, config: string(canonical), match: match}}}
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
	req := &request{op: "put all", puts: make([]put, len(puts))}
	for i, p := range puts {
		req.puts[i] = put{id: p.ID, config: string(p.Config), match: p.Match}
	}
	if err := s.submit(ctx, req); err != nil {
		return nil, failed("put all", "", err)
	}
	records := make([]store.Record, len(puts))
	for i := range records {
		records[i] = req.puts[i].record()
	}
	return records, nil
}

// Delete removes the config of id if match agrees with what is stored.
func (s *Store) Delete(ctx context.Context, id string, match store.Revision) error {
	if err := store.CheckID(id); err != nil {
		return failed("delete", id, err)
	}
	if err := s.submit(ctx, &request{op: "delete", puts: []put{{id: id, match: match}}}); err != nil {
		return failed("delete", id, err)
	}
	return nil
}

// submit does a write, alone or with others, and returns when it is durable, or at once when ctx ends.
func (s *Store) submit(ctx context.Context, req *request) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.life.End()
	if s.readOnly != nil {
		return s.readOnly
	}
	if len(req.puts)+len(req.lines) == 0 {
		return nil
	}
	req.author, req.until = store.Author(ctx), time.Now().Add(s.opts.busyTimeout)
	begun, err := s.queue.Do(ctx, req)
	switch {
	case err == nil:
		return req.err
	case begun:
		return fmt.Errorf("%w: %w", store.ErrUncertain, err)
	}
	return err
}

// commit writes what waits in the queue in one transaction. Where there is no WAL, a reader may hold up the end of it: then it is done again.
func (s *Store) commit(ctx context.Context, take func() []*request) {
	tx, err := s.lock(ctx)
	if ctx.Err() != nil {
		if err == nil {
			tx.close()
		}
		return
	}
	batch := take()
	if err == nil {
		err = s.patiently(context.Background(), func() (err error) {
			if tx == nil {
				if tx, err = s.transaction(context.Background()); err != nil {
					return err
				}
			}
			defer func() { tx.close(); tx = nil }()
			if err := tx.write(batch); err != nil {
				return err
			}
			return tx.commit()
		})
	}
	if err == nil && s.intact != nil {
		err = s.intact()
	}
	if err != nil {
		err = s.blame(err)
		for _, req := range batch {
			req.err = err
		}
	}
}

// lock begins a transaction that may write. While another connection writes it tries again, after times drawn at random, so that of several
// processes none is always the last. A request that has waited long enough ends meanwhile.
func (s *Store) lock(ctx context.Context) (*transaction, error) {
	for {
		tx, err := s.transaction(ctx)
		if !busy(err) {
			return tx, err
		}
		now := time.Now()
		s.queue.Expire(func(req *request) bool {
			expired := !now.Before(req.until)
			if expired {
				req.err = s.blame(err)
			}
			return expired
		})
		if err := sleep.For(ctx, pause()); err != nil {
			return nil, err
		}
	}
}

func pause() time.Duration { return time.Millisecond + rand.N(4*time.Millisecond) }

// transaction is one that may write, with the statements for it.
type transaction struct {
	tx                                                                      *sql.Tx
	conn                                                                    *sql.Conn
	secure                                                                  string // what to set secure_delete to in the end
	current, stored, create, save, revive, remove, noting, aside, rewriting *sql.Stmt
}

// transaction waits for a connection as long as ctx allows. The statements are prepared before it has one, as the pool may have no other.
// No context reaches the driver but there: one that can be cancelled costs it a goroutine for each statement.
func (s *Store) transaction(ctx context.Context) (*transaction, error) {
	t := &transaction{}
	stmts := []struct {
		in **sql.Stmt
		st *statement
	}{
		{&t.current, &s.current}, {&t.stored, &s.stored}, {&t.create, &s.create}, {&t.save, &s.save}, {&t.revive, &s.revive},
		{&t.remove, &s.remove}, {&t.noting, &s.noting}, {&t.aside, &s.aside}, {&t.rewriting, &s.rewriting},
	}
	for _, p := range stmts {
		stmt, err := p.st.on(ctx, s.writer)
		if err != nil {
			return nil, err
		}
		*p.in = stmt.Stmt
	}
	var err error
	if t.conn, err = s.writer.Conn(ctx); err != nil {
		return nil, err
	}
	if err = t.begin(s.shared); err != nil {
		t.close()
		return nil, err
	}
	for _, p := range stmts {
		*p.in = t.tx.Stmt(*p.in)
	}
	return t, nil
}

// begin begins the transaction. On a connection of the application, whose settings are its own, it takes the lock for writing by a statement, and
// has what is overwritten cleared until close.
func (t *transaction) begin(shared bool) (err error) {
	if shared {
		if t.secure, err = secureDelete(t.conn, "1"); err != nil {
			return err
		}
	}
	if t.tx, err = t.conn.BeginTx(context.Background(), nil); err != nil || !shared {
		return err
	}
	_, err = t.tx.Exec(`UPDATE plugin_config_settings SET history = history WHERE 0`)
	return err
}

func (t *transaction) close() {
	if t.tx != nil {
		_ = t.tx.Rollback() // unless it is committed
	}
	if t.secure != "" {
		_, _ = secureDelete(t.conn, t.secure)
	}
	_ = t.conn.Close()
}

// secureDelete sets the pragma of this name on a connection and returns what it was before.
func secureDelete(conn *sql.Conn, value string) (before string, err error) {
	var now string
	if err = conn.QueryRowContext(context.Background(), `PRAGMA secure_delete`).Scan(&before); err == nil {
		err = conn.QueryRowContext(context.Background(), `PRAGMA secure_delete = `+value).Scan(&now)
	}
	if before == "2" { // so it is read, and so it is set
		before = "fast"
	}
	return before, err
}

// commit makes the transaction durable. If the disk fails in it, what it wrote may be found there later.
func (t *transaction) commit() error {
	err := t.tx.Commit()
	if code(err) == codeIOErr {
		return fmt.Errorf("%w: %w", store.ErrUncertain, err)
	}
	return err
}

// row is a row of plugin_configs, the zero row if there is none.
type row struct {
	exists     bool
	revision   int64
	configured bool
	at         time.Time // zero if it cannot be read
	own        bool      // the library wrote it
	note       store.Note
}

// public is the revision as callers know it.
func (r row) public() store.Revision {
	if !r.configured {
		return store.Absent
	}
	return revisionOf(r.revision)
}

// write does the requests in their order and sets the results. Each is decided before it writes anything, so that none must be undone. An error
// is one of the database and concerns them all.
func (t *transaction) write(batch []*request) error {
	rows := map[string]row{}
	for _, req := range batch {
		for i := range req.puts {
			if err := t.read(rows, req.puts[i].id); err != nil {
				return err
			}
		}
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	for _, req := range batch {
		if req.err = decide(req, rows); req.err != nil {
			continue
		}
		for i := range req.puts {
			p := &req.puts[i]
			do := t.put
			if p.note != nil {
				do = t.setNote
			}
			r, err := do(p, rows[p.id], now, req.author)
			if err != nil {
				return err
			}
			rows[p.id], p.revision, p.at, p.configured = r, r.revision, r.at, r.configured
		}
		for _, l := range req.lines {
			if _, err := t.rewriting.Exec(l.id, l.revision, l.before, l.after); err != nil {
				return err
			}
		}
	}
	return nil
}

// read notes the row of id, unless it is noted already.
func (t *transaction) read(rows map[string]row, id string) error {
	if _, ok := rows[id]; ok {
		return nil
	}
	var r row
	var at string
	var checked int64
	err := t.current.QueryRow(id).Scan(&r.revision, &r.configured, &at, &checked, &r.note.Title, &r.note.Disabled)
	r.exists = err == nil
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	r.at, _ = parseTime(at)
	r.own = checked == r.revision
	rows[id] = r
	return err
}

// decide returns the conflict of a request, if it has one.
func decide(req *request, rows map[string]row) error {
	for i := range req.puts {
		p := &req.puts[i]
		if err := store.Match(p.match, rows[p.id].public()); err != nil {
			return failed(req.op, p.id, err)
		}
	}
	return nil
}

// put does one put over a row and returns what the row is then. Saving what is stored already writes nothing.
func (t *transaction) put(p *put, r row, now time.Time, author string) (row, error) {
	if p.config == "" && !r.configured {
		return r, nil
	}
	save := t.save
	if !r.exists {
		if _, err := t.create.Exec(p.id); err != nil {
			return r, err
		}
	} else if r.configured && !r.own {
		same, err := t.byHand(p)
		if same && !r.at.IsZero() || err != nil {
			return r, err
		}
	}
	if !r.configured || r.at.IsZero() {
		save = t.revive
	}
	next := row{exists: true, revision: r.revision + 1, configured: p.config != "", at: now, own: true, note: r.note}
	at := now.Format(timeFormat)
	if !next.configured {
		_, err := t.remove.Exec(p.id, next.revision, at, author)
		return next, err
	}
	res, err := save.Exec(p.id, p.config, next.revision, at, author)
	if err != nil {
		return r, err
	}
	if n, err := res.RowsAffected(); n == 0 {
		return r, err
	}
	return next, nil
}

// setNote saves a note beside whatever config a row has.
func (t *transaction) setNote(p *put, r row, now time.Time, author string) (row, error) {
	if r.note == *p.note {
		return r, nil
	}
	if !r.exists {
		if _, err := t.create.Exec(p.id); err != nil {
			return r, err
		}
	}
	next := r
	next.exists, next.revision, next.at, next.note = true, r.revision+1, now, *p.note
	_, err := t.noting.Exec(p.id, p.note.Title, p.note.Disabled, next.revision, now.Format(timeFormat), author)
	return next, err
}

// byHand looks at what was written by hand before it is written over: it may be the same config in another form, or no config, which is
// kept aside.
func (t *transaction) byHand(p *put) (same bool, err error) {
	var config []byte
	if err := t.stored.QueryRow(p.id).Scan(&config); err != nil {
		return false, err
	}
	canonical, err := store.Canonical(config)
	if err != nil {
		_, err = t.aside.Exec(p.id)
		return false, err
	}
	return string(canonical) == p.config, nil
}
