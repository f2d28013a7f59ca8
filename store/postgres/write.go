package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pluginregistry/pluginregistry/store"
)

// put is one config to save or delete, or one note to save.
type put struct {
	id     string
	config string // "" deletes
	note   *store.Note
	match  store.Revision
	tag    string // of this save; the same each time it is tried

	result     version
	at         time.Time
	configured bool // of a note: whether there is a config beside it
}

// The modes of a match in SQL.
const (
	modeAny int32 = iota
	modeAbsent
	modeRevision
)

// matching returns the three parameters of a match.
func (p *put) matching() (mode int32, want version) {
	switch p.match {
	case store.Any:
		return modeAny, version{}
	case store.Absent:
		return modeAbsent, version{}
	}
	return modeRevision, parseVersion(p.match)
}

// text is the config as a parameter, NULL for a deletion.
func (p *put) text() *string {
	if p.config == "" {
		return nil
	}
	return &p.config
}

// record is what was saved.
func (p *put) record() store.Record {
	return store.Record{ID: p.id, Config: json.RawMessage(p.config), Revision: p.result.public(), UpdatedAt: p.at}
}

// saw notes the state that p has led to.
func (p *put) saw(v version, at time.Time) { p.result, p.at = v, at.UTC() }

// request is one caller's write: puts, all of which are done or none. Its commit sets err, and the results of the puts if that is nil.
type request struct {
	op     string
	author string
	puts   []put
	began  time.Time // the first attempt
	ask    bool      // an answer was lost: look for the tags first

	err error
}

// Put saves config under id if match agrees with what is stored.
func (s *Store) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	if err := store.CheckID(id); err != nil {
		return store.Record{}, wrap("put", id, err)
	}
	canonical, err := store.Canonical(config)
	if err != nil {
		return store.Record{}, wrap("put", id, err)
	}
	req := &request{op: "put", puts: []put{{id: id, config: string(canonical), match: match}}}
	if err := s.write(ctx, req); err != nil {
		return store.Record{}, wrap("put", id, err)
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
	if err := s.write(ctx, req); err != nil {
		return nil, wrap("put all", "", err)
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
		return wrap("delete", id, err)
	}
	if err := s.write(ctx, &request{op: "delete", puts: []put{{id: id, match: match}}}); err != nil {
		return wrap("delete", id, err)
	}
	return nil
}

// SetNote saves the note of id if match agrees with the revision of its config.
func (s *Store) SetNote(ctx context.Context, id string, note store.Note, match store.Revision) (store.Revision, error) {
	if err := store.CheckID(id); err != nil {
		return store.Absent, wrap("set note", id, err)
	}
	if err := store.CheckNote(note); err != nil {
		return store.Absent, wrap("set note", id, err)
	}
	req := &request{op: "set note", puts: []put{{id: id, note: &note, match: match}}}
	if err := s.write(ctx, req); err != nil {
		return store.Absent, wrap("set note", id, err)
	}
	if p := &req.puts[0]; p.configured {
		return p.result.public(), nil
	}
	return store.Absent, nil
}

// write has a request committed, and tries again where that helps.
func (s *Store) write(ctx context.Context, req *request) error {
	s.made()
	if err := s.life.Begin(ctx); err != nil {
		return err
	}
	defer s.life.End()
	if len(req.puts) == 0 {
		return nil
	}
	req.author, req.began = store.Author(ctx), time.Now()
	for i := range req.puts {
		req.puts[i].tag = newTag()
	}
	limit := max(s.opts.patience, s.opts.timeout)
	ours, cancel := context.WithTimeout(ctx, limit+grace)
	defer cancel()
	var last *attemptError
	for pause := backoff(0); ; {
		begun, left := s.queue.Do(ours, req)
		if left == nil {
			if req.err == nil {
				return nil
			}
			var again bool
			if last, again = req.err.(*attemptError); !again || last.fate == failed {
				return req.err
			}
			req.ask = req.ask || last.fate == uncertain
			waited := time.Since(req.began)
			switch {
			case last.fate == held && waited > s.opts.timeout,
				last.silence && !req.ask && s.holder(ctx, req.puts[0].id) != "":
				return s.blame(ctx, req.puts[0].id, last.error)
			case last.fate != held && waited > s.opts.patience:
				return giveUp(req.ask, fmt.Errorf("given up after %v: %w", s.opts.patience, last.error))
			case last.fate == repeat:
				pause = min(pause, backoff(20*time.Millisecond))
			}
			left = pause.pause(ours)
			begun = false
		}
		if left == nil {
			continue
		}
		unknown := begun || req.ask
		if err := ctx.Err(); err != nil {
			return giveUp(unknown, err)
		}
		cause := errors.New("the server did not answer in time")
		if last != nil {
			cause = last.error
		}
		return giveUp(unknown, fmt.Errorf("given up after %v: %w", limit, cause))
	}
}

// giveUp is the error of a write that is not waited for any longer.
func giveUp(unknown bool, err error) error {
	if unknown {
		return fmt.Errorf("%w: %w", store.ErrUncertain, err)
	}
	return err
}

// heldIDs are the IDs that another session held when they were last written to. Writes to them are tried apart and without waiting, so that
// the writes to other IDs go on.
type heldIDs struct {
	heldMu sync.Mutex
	held   map[string]time.Time
}

const (
	// shortWait is how long a write that others wait for waits for a row. A store that saves the same row lets go of it sooner.
	shortWait = 100 * time.Millisecond
	// noWait is how long a write waits for a row that was held before.
	noWait = time.Millisecond
)

func (h *heldIDs) hold(req *request) {
	h.heldMu.Lock()
	defer h.heldMu.Unlock()
	if h.held == nil {
		h.held = map[string]time.Time{}
	}
	for i := range req.puts {
		h.held[req.puts[i].id] = time.Now()
	}
}

func (h *heldIDs) free(req *request) {
	h.heldMu.Lock()
	defer h.heldMu.Unlock()
	for i := range req.puts {
		delete(h.held, req.puts[i].id)
	}
}

// isHeld forgets what was noted long ago: nobody may have come back for it.
func (h *heldIDs) isHeld(req *request) bool {
	h.heldMu.Lock()
	defer h.heldMu.Unlock()
	if len(h.held) == 0 {
		return false
	}
	for i := range req.puts {
		if since, ok := h.held[req.puts[i].id]; ok {
			if time.Since(since) < time.Minute {
				return true
			}
			delete(h.held, req.puts[i].id)
		}
	}
	return false
}

// commit writes the requests that share a commit and sets their results. It belongs to no caller.
func (s *Store) commit(ctx context.Context, take func() []*request) {
	c, err := s.take(ctx)
	if err == nil {
		defer c.Close()
	}
	if ctx.Err() != nil { // nobody waits any longer
		return
	}
	var shared, apart []*request
	for _, req := range take() {
		switch {
		case err != nil:
			req.err = err
		case req.ask || s.isHeld(req) || req.puts[0].note != nil:
			apart = append(apart, req)
		default:
			shared = append(shared, req)
		}
	}
	for len(shared) > 0 {
		var wave []*request
		wave, shared = split(shared)
		s.together(c, wave)
	}
	for _, req := range apart {
		wait := shortWait
		if s.isHeld(req) {
			wait = noWait
		}
		s.alone(c, req, wait)
	}
}

// mostBytes is how much config one statement carries, unless a single request has more.
const mostBytes = 16 << 20

// split returns the requests that can go into one statement, and the others: in one, each ID stands once.
func split(requests []*request) (wave, rest []*request) {
	if len(requests) == 1 {
		return requests, nil
	}
	seen := map[string]bool{}
	size := 0
	for _, req := range requests {
		bytes, again := 0, false
		for i := range req.puts {
			bytes += len(req.puts[i].config)
			again = again || seen[req.puts[i].id]
		}
		// The IDs of one that must wait are taken, too: writes of one ID keep their order.
		for i := range req.puts {
			seen[req.puts[i].id] = true
		}
		if again || len(wave) > 0 && size+bytes > mostBytes {
			rest = append(rest, req)
			continue
		}
		wave, size = append(wave, req), size+bytes
	}
	return wave, rest
}

// together writes requests in one statement. If that fails because of what is in it, each is written by itself, so that the failure hits
// only those that it concerns.
func (s *Store) together(c *sql.Conn, wave []*request) {
	if len(wave) == 1 {
		s.alone(c, wave[0], shortWait)
		return
	}
	err := s.attemptOn(context.Background(), c, func(ctx context.Context, conn *pgx.Conn) error { return s.writeBatch(ctx, conn, wave, shortWait) })
	if err == nil {
		return
	}
	switch judge(err).fate {
	case failed, held:
		for _, req := range wave {
			s.alone(c, req, shortWait)
		}
	default:
		for _, req := range wave {
			req.err = err
		}
	}
}

// alone writes one request in a transaction of its own.
func (s *Store) alone(c *sql.Conn, req *request, wait time.Duration) {
	err := s.attemptOn(context.Background(), c, func(ctx context.Context, conn *pgx.Conn) error {
		if req.ask {
			if found, err := s.find(ctx, conn, req); found || err != nil {
				return err
			}
			req.ask = false // it is certain now that it was not done
		}
		if len(req.puts) > 1 {
			return s.writeBatch(ctx, conn, []*request{req}, wait)
		}
		var err error
		req.err, err = s.writeOne(ctx, conn, req, &req.puts[0], wait)
		return err
	})
	switch {
	case err == nil:
		s.free(req)
		return
	case judge(err).fate == held:
		s.hold(req)
	}
	req.err = err
}

// stored is a row as it is.
type stored struct {
	configured bool
	config     string
	version    version
	at         time.Time
	note       store.Note
}

// revision is the public one: Absent without a config.
func (r *stored) revision() store.Revision {
	if r == nil || !r.configured {
		return store.Absent
	}
	return r.version.public()
}

// writeOne does one put. refused is the request's own error, such as a conflict; err is that of the attempt.
func (s *Store) writeOne(ctx context.Context, conn *pgx.Conn, req *request, p *put, wait time.Duration) (refused, err error) {
	mode, want := p.matching()
	written := false
	result := func(rows pgx.Rows) error {
		written = true
		var n int64
		var at time.Time
		err := rows.Scan(&n, &at, &p.configured)
		p.saw(version{n, p.tag}, at)
		return err
	}
	update := query{s.sql.save, []any{p.id, p.text(), p.tag, req.author, mode, want.revision, want.tag}, result}
	create := query{s.sql.create, []any{p.id, p.text(), p.tag, req.author}, result}
	switch {
	case p.note != nil:
		update.sql, update.args = s.sql.setNote, []any{p.id, p.note.Title, p.tag, req.author, mode, want.revision, want.tag, p.note.Disabled}
		create.sql, create.args = s.sql.createNote, []any{p.id, p.note.Title, p.tag, req.author, p.note.Disabled}
	case p.config == "":
		update.sql = s.sql.remove
	}
	for {
		if err := s.exchange(ctx, conn, wait, update); written || err != nil {
			return nil, err
		}
		var row *stored
		queries := []query{{s.sql.current, []any{p.id}, func(rows pgx.Rows) error {
			row = &stored{}
			return rows.Scan(&row.configured, &row.config, &row.version.revision, &row.version.tag, &row.at, &row.note.Title, &row.note.Disabled)
		}}}
		if mode != modeRevision && (p.config != "" || p.note != nil) {
			queries = append([]query{create}, queries...)
		}
		if err := s.exchange(ctx, conn, wait, queries...); written || err != nil {
			return nil, err
		}
		if row != nil && row.version.tag == p.tag { // an earlier attempt, of which the answer was lost
			p.saw(row.version, row.at)
			p.configured = row.configured
			return nil, nil
		}
		if err := store.Match(p.match, row.revision()); err != nil {
			return err, nil
		}
		switch {
		case p.note != nil:
			if row == nil && *p.note == (store.Note{}) {
				return nil, nil
			} else if row != nil && row.note == *p.note {
				p.saw(row.version, row.at)
				p.configured = row.configured
				return nil, nil
			}
		case p.config == "":
			if row.revision() == store.Absent {
				return nil, nil
			}
		case row != nil && row.configured && row.config == p.config:
			p.saw(row.version, row.at)
			return nil, nil
		}
		// Another session has written in between.
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// writeBatch does several puts in one statement and sets the results of the requests.
func (s *Store) writeBatch(ctx context.Context, conn *pgx.Conn, requests []*request, wait time.Duration) error {
	type place struct {
		put     *put
		request int32
	}
	var places []place
	for n, req := range requests {
		for i := range req.puts {
			places = append(places, place{&req.puts[i], int32(n)})
		}
	}
	slices.SortFunc(places, func(a, b place) int { return strings.Compare(a.put.id, b.put.id) })
	n := len(places)
	ids, configs, tags, authors := make([]string, n), make([]*string, n), make([]string, n), make([]string, n)
	modes, revisions, wants, numbers := make([]int32, n), make([]int64, n), make([]string, n), make([]int32, n)
	at := make(map[string]place, n)
	for i, pl := range places {
		mode, want := pl.put.matching()
		ids[i], configs[i], tags[i], authors[i] = pl.put.id, pl.put.text(), pl.put.tag, requests[pl.request].author
		modes[i], revisions[i], wants[i], numbers[i] = mode, want.revision, want.tag, pl.request
		at[pl.put.id] = pl
	}
	conflicts := map[*put]store.Revision{}
	err := s.exchange(ctx, conn, wait, query{s.sql.batch, []any{ids, configs, tags, authors, modes, revisions, wants, numbers}, func(rows pgx.Rows) error {
		var id string
		var v version
		var when time.Time
		var written, configured, matches bool
		if err := rows.Scan(&id, &written, &v.revision, &v.tag, &when, &configured, &matches); err != nil {
			return err
		}
		p := at[id].put
		if written {
			v.tag = p.tag
		}
		p.saw(v, when)
		if !matches {
			conflicts[p] = (&stored{configured: configured, version: v}).revision()
		}
		return nil
	}})
	if err != nil {
		return err
	}
	for _, req := range requests {
		req.err = nil
		for i := range req.puts {
			p := &req.puts[i]
			if current, ok := conflicts[p]; ok {
				req.err = &store.Error{Op: req.op, ID: p.id, Err: &store.ConflictError{Want: p.match, Current: current}}
				break
			}
		}
	}
	return nil
}

// clockDifference is how much the clocks of a server and of the one that takes its place may differ.
const clockDifference = 5 * time.Second

// find looks whether an earlier attempt of req was done, whose answer was lost, and sets the results if so. If that cannot be known, the
// request fails with ErrUncertain.
func (s *Store) find(ctx context.Context, conn *pgx.Conn, req *request) (found bool, err error) {
	ids, tags := make([]string, len(req.puts)), make([]string, len(req.puts))
	at := map[string]*put{}
	for i := range req.puts {
		p := &req.puts[i]
		ids[i], tags[i], at[p.id] = p.id, p.tag, p
	}
	done, certain := 0, true
	err = s.exchange(ctx, conn, s.opts.timeout, query{s.sql.ask, []any{ids, tags, (time.Since(req.began) + clockDifference).Seconds()}, func(rows pgx.Rows) error {
		var id string
		var v version
		var when time.Time
		var standby, complete bool
		if err := rows.Scan(&id, &v.revision, &when, &at[ids[0]].configured, &standby, &complete); err != nil {
			return err
		}
		if standby {
			return &attemptError{error: errors.New("connected to a standby, which may not have the newest writes: put target_session_attrs=read-write into the DSN"), fate: lost, discard: true}
		}
		if p := at[id]; v.revision != 0 {
			done++
			p.saw(version{v.revision, p.tag}, when)
		} else {
			certain = certain && complete
		}
		return nil
	}})
	switch {
	case err != nil:
		return false, err
	case done == len(req.puts):
		req.err = nil
		return true, nil
	case done > 0: // the others were in the same transaction, which left them as they were
		return true, s.findUnchanged(ctx, conn, req)
	case !certain:
		return true, &attemptError{error: fmt.Errorf("%w: the history does not go back far enough to tell", store.ErrUncertain)}
	}
	return false, nil
}

// findUnchanged sets the results of the puts that changed nothing in a transaction of which others are known to be done.
func (s *Store) findUnchanged(ctx context.Context, conn *pgx.Conn, req *request) error {
	req.err = nil
	for i := range req.puts {
		p := &req.puts[i]
		if p.result.revision != 0 {
			continue
		}
		err := s.exchange(ctx, conn, s.opts.timeout, query{s.sql.current, []any{p.id}, func(rows pgx.Rows) error {
			var row stored
			if err := rows.Scan(&row.configured, &row.config, &row.version.revision, &row.version.tag, &row.at, &row.note.Title, &row.note.Disabled); err != nil {
				return err
			}
			if row.configured && row.config == p.config {
				p.saw(row.version, row.at)
			}
			return nil
		}})
		if err != nil {
			return err
		}
		if p.result.revision == 0 {
			req.err = giveUp(true, errors.New("the batch was done, and one of its configs has changed since"))
		}
	}
	return nil
}
