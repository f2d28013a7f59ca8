// Package sqlstore is the one implementation of the store contract in SQL: statements, transactions, shared commits and watching.
// How a database is opened, locked and migrated is the affair of the package that uses it.
package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/jmoiron/sqlx"

	"github.com/pluginregistry/pluginregistry/store"
)

// Config is what a database package gives to New.
type Config struct {
	Reader  *sqlx.DB // for reads
	Writer  *sqlx.DB // for writes; may be the same as Reader
	Watcher *sqlx.DB // for Watch, which keeps a connection as long as it runs; unused where Version is empty

	// Shared says that others use the pools too: a call then waits for a connection only as long as its context allows.
	Shared bool

	// Intact, if not nil, is asked after every commit whether what was written is where a later reader will look for it, and after
	// every failure whether that is why.
	Intact func() error

	// Explain turns an error of the driver into one for the user.
	Explain func(error) error

	// Busy tells whether an error says that another connection is writing, so that trying again helps; BusyTimeout is how long.
	Busy        func(error) bool
	BusyTimeout time.Duration

	// Version, if not empty, is a query for a number that is another one after each commit by anybody, as seen on one connection.
	Version string

	PollInterval time.Duration // between two looks of Watch
}

// Store is a store in an SQL database. It does not close the pools it is given.
type Store struct {
	cfg Config

	get, configured, kept, chain, scan, keeps, last, since, rows statement // on the Reader
	current, insert, revive, update, replace, remove             statement // on the Writer

	queue   queue
	guesses guesses // whoever has the turn uses them
	closed  chan struct{}
	once    sync.Once
	active  sync.WaitGroup // calls under way
	mu      sync.Mutex     // guards starting a call against closing
}

const (
	getSQL        = `SELECT config, revision, updated_at FROM plugin_configs WHERE plugin_id = ? AND configured = 1`
	configuredSQL = `SELECT plugin_id FROM plugin_configs WHERE configured = 1 AND plugin_id >= ? AND (plugin_id < ? OR ? = '') ORDER BY plugin_id`
	// chainSQL finds the states of a plugin, the newest ?2 (-1: all) in the history: each names the one before it. The last column tells
	// that there is one before.
	chainSQL = `
WITH RECURSIVE chain (seq, revision, previous, beyond) AS (
    SELECT 0, revision + 1, last_state, revision - (SELECT history FROM plugin_config_settings WHERE id = 1)
    FROM plugin_configs WHERE plugin_id = ?1
    UNION ALL
    SELECT s.seq, s.revision, s.previous, chain.beyond
    FROM chain CROSS JOIN plugin_config_states AS s ON s.seq = chain.previous
    WHERE s.plugin_id = ?1 AND s.revision < chain.revision AND s.revision > chain.beyond
    LIMIT iif(?2 < 0, -1, ?2 + 1)
)
SELECT s.seq, s.config, s.revision, s.changed_at, s.configured, s.previous IS NOT NULL AND s.revision - 1 > chain.beyond
FROM chain CROSS JOIN plugin_config_states AS s ON s.seq = chain.seq` + currentSQL
	// scanSQL finds them by looking at all states there are.
	scanSQL = `
SELECT seq, config, revision, changed_at, configured, 0 FROM plugin_config_history WHERE plugin_id = ?1` + currentSQL
	// The current state is among the others unless history was off when it was saved.
	currentSQL = `
UNION ALL
SELECT 0, c.config, c.revision, c.updated_at, c.configured, c.last_state IS NOT NULL AND settings.history > 0
FROM plugin_configs AS c JOIN plugin_config_settings AS settings ON settings.id = 1
WHERE c.plugin_id = ?1 AND NOT EXISTS (
    SELECT 1 FROM plugin_config_states AS s WHERE s.seq = c.last_state AND s.plugin_id = ?1 AND s.revision = c.revision AND settings.history > 0)
ORDER BY 3 DESC LIMIT ?2`
	keptSQL    = `SELECT plugin_id FROM plugin_configs WHERE last_state IS NOT NULL ORDER BY plugin_id`
	rewriteSQL = `UPDATE plugin_config_states SET config = ? WHERE seq = ? AND plugin_id = ? AND revision = ?`
	// What watchers ask: how many states of each config the history keeps; its last line; that line and those since; and where there is no
	// history, all rows.
	keepsSQL = `SELECT history FROM plugin_config_settings WHERE id = 1`
	lastSQL  = `SELECT seq, plugin_id, revision, configured FROM plugin_config_states ORDER BY seq DESC LIMIT 1`
	sinceSQL = `SELECT seq, plugin_id, revision, configured FROM plugin_config_states WHERE seq >= ? ORDER BY seq`
	rowsSQL  = `SELECT plugin_id, revision, configured FROM plugin_configs ORDER BY plugin_id`
)

// New returns the store in a database that has its tables. It does no I/O.
func New(cfg Config) *Store {
	s := &Store{cfg: cfg, closed: make(chan struct{}), guesses: guesses{}}
	s.queue.turn = make(chan struct{}, 1)
	s.get.query, s.configured.query, s.kept.query, s.chain.query, s.scan.query = getSQL, configuredSQL, keptSQL, chainSQL, scanSQL
	s.keeps.query, s.last.query, s.since.query, s.rows.query = keepsSQL, lastSQL, sinceSQL, rowsSQL
	s.current.query, s.insert.query, s.revive.query = getSQL, insertSQL, reviveSQL
	s.update.query, s.replace.query, s.remove.query = updateSQL, replaceSQL, removeSQL
	return s
}

// statement is prepared once, when it is first needed: a program that only looks something up pays for nothing else.
type statement struct {
	query string
	ready atomic.Pointer[sqlx.Stmt]
	mu    sync.Mutex
}

func (st *statement) on(ctx context.Context, pool *sqlx.DB) (*sqlx.Stmt, error) {
	if stmt := st.ready.Load(); stmt != nil {
		return stmt, nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if stmt := st.ready.Load(); stmt != nil {
		return stmt, nil
	}
	stmt, err := pool.PreparexContext(ctx, st.query)
	if err == nil {
		st.ready.Store(stmt)
	}
	return stmt, err
}

func (st *statement) close() {
	if stmt := st.ready.Load(); stmt != nil {
		stmt.Close()
	}
}

// Close waits for the calls under way and lets go of the statements. Calls after it are store.ErrClosed.
func (s *Store) Close() {
	s.once.Do(func() {
		s.mu.Lock()
		close(s.closed)
		s.mu.Unlock()
		s.active.Wait()
		for _, st := range []*statement{
			&s.get, &s.configured, &s.kept, &s.chain, &s.scan, &s.keeps, &s.last, &s.since, &s.rows,
			&s.current, &s.insert, &s.revive, &s.update, &s.replace, &s.remove,
		} {
			st.close()
		}
	})
}

// begin starts a call; every nil it returns wants an end.
func (s *Store) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return store.ErrClosed
	default:
		s.active.Add(1)
		return nil
	}
}

func (s *Store) end() { s.active.Done() }

// inDriver is the context that the driver sees. A context that can be cancelled costs the driver a goroutine for each statement, so
// it gets one only where a call may wait for a connection that somebody else holds.
func (s *Store) inDriver(ctx context.Context) context.Context {
	if s.cfg.Shared {
		return ctx
	}
	return context.WithoutCancel(ctx)
}

func failed(op, id string, err error) error {
	if e, ok := errors.AsType[*store.Error](err); ok {
		return e
	}
	return &store.Error{Op: op, ID: id, Err: err}
}

// Get returns the config of id.
func (s *Store) Get(ctx context.Context, id string) (store.Record, error) {
	if err := store.CheckID(id); err != nil {
		return store.Record{}, failed("get", id, err)
	}
	if err := s.begin(ctx); err != nil {
		return store.Record{}, failed("get", id, err)
	}
	defer s.end()
	var rec store.Record
	err := s.reading(ctx, &s.get, func(ctx context.Context, stmt *sqlx.Stmt) (err error) {
		rec, err = s.read(ctx, stmt, id)
		return err
	})
	if err == nil {
		rec.Config, err = readable(rec.Config)
	}
	if err != nil {
		return store.Record{}, failed("get", id, err)
	}
	return rec, nil
}

// blame returns what err comes from: that the database is not where it was, if that is so.
func (s *Store) blame(err error) error {
	if err == nil || s.cfg.Intact == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) {
		return err
	}
	if gone := s.cfg.Intact(); gone != nil {
		return gone
	}
	return err
}

// reading calls read with a statement of the Reader.
func (s *Store) reading(ctx context.Context, st *statement, read func(context.Context, *sqlx.Stmt) error) error {
	ctx = s.inDriver(ctx)
	return s.blame(s.Patiently(ctx, func() error {
		stmt, err := st.on(ctx, s.cfg.Reader)
		if err != nil {
			return s.cfg.Explain(err)
		}
		return read(ctx, stmt)
	}))
}

// read returns the row of id as it is.
func (s *Store) read(ctx context.Context, stmt *sqlx.Stmt, id string) (store.Record, error) {
	var config []byte
	var revision int64
	var at string
	err := stmt.QueryRowContext(ctx, id).Scan(&config, &revision, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return store.Record{}, store.ErrNotFound
	}
	if err != nil {
		return store.Record{}, s.cfg.Explain(err)
	}
	return record(id, config, revision, at)
}

func record(id string, config []byte, revision int64, at string) (store.Record, error) {
	rec := store.Record{ID: id, Config: config, Revision: revisionOf(revision)}
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return rec, fmt.Errorf("%w: its time is no RFC 3339 time", store.ErrCorrupt)
	}
	rec.UpdatedAt = t.UTC()
	return rec, nil
}

// readable returns the canonical text of a config that was stored.
func readable(config json.RawMessage) (json.RawMessage, error) {
	c, err := store.Canonical(config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w; mend the row, or save or delete the config", store.ErrCorrupt, err)
	}
	return c, nil
}

func revisionOf(n int64) store.Revision { return store.Revision(strconv.FormatInt(n, 10)) }

// numberOf is the counter behind a revision, or 0, which none has.
func numberOf(rev store.Revision) int64 {
	n, err := strconv.ParseInt(string(rev), 10, 64)
	if err != nil || revisionOf(n) != rev {
		return 0
	}
	return n
}

// Configured returns the IDs that begin with prefix and have a config, sorted.
func (s *Store) Configured(ctx context.Context, prefix string) ([]string, error) {
	end := prefixEnd(prefix)
	return s.ids(ctx, "configured", &s.configured, prefix, end, end)
}

// prefixEnd returns the first text in the order of code points that is greater than all that begin with prefix, or "" if there is none.
func prefixEnd(prefix string) string {
	for prefix != "" {
		r, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		if r == 0xD7FF { // the surrogates that follow are no text
			r = 0xDFFF
		}
		if r < utf8.MaxRune {
			return prefix + string(r+1)
		}
	}
	return ""
}

// Kept returns the IDs that have a history, those of deleted configs among them.
func (s *Store) Kept(ctx context.Context) ([]string, error) { return s.ids(ctx, "kept", &s.kept) }

func (s *Store) ids(ctx context.Context, op string, st *statement, args ...any) (ids []string, err error) {
	if err := s.begin(ctx); err != nil {
		return nil, failed(op, "", err)
	}
	defer s.end()
	err = s.reading(ctx, st, func(ctx context.Context, stmt *sqlx.Stmt) error {
		if err := stmt.SelectContext(ctx, &ids, args...); err != nil {
			return s.cfg.Explain(err)
		}
		return nil
	})
	if err != nil {
		return nil, failed(op, "", err)
	}
	return ids, nil
}

// History returns the states of id, newest first.
func (s *Store) History(ctx context.Context, id string, limit int) ([]store.Version, error) {
	states, err := s.states(ctx, id, limit)
	if err != nil {
		return nil, failed("history", id, err)
	}
	var versions []store.Version
	for _, st := range states {
		versions = append(versions, st.Version)
	}
	return versions, nil
}

// state is one of the history.
type state struct {
	store.Version
	seq   int64
	older bool // there is one before it
}

// states returns the states of id, newest first. Where the one that comes next is not where it should be, as somebody has deleted it by hand or
// the history was shorter for a while, all states there are must be looked at.
func (s *Store) states(ctx context.Context, id string, limit int) (states []state, err error) {
	if err := store.CheckID(id); err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.end()
	if limit <= 0 {
		limit = -1 // no limit, in SQL
	}
	for _, st := range []*statement{&s.chain, &s.scan} {
		err = s.reading(ctx, st, func(ctx context.Context, stmt *sqlx.Stmt) (err error) {
			states, err = s.readStates(ctx, stmt, id, limit)
			return err
		})
		if n := len(states); err != nil || n == 0 || n == limit || !states[n-1].older {
			break
		}
	}
	return states, err
}

func (s *Store) readStates(ctx context.Context, stmt *sqlx.Stmt, id string, limit int) ([]state, error) {
	rows, err := stmt.QueryContext(ctx, id, limit)
	if err != nil {
		return nil, s.cfg.Explain(err)
	}
	defer rows.Close()
	var states []state
	for rows.Next() {
		var st state
		var config []byte
		var revision int64
		var at string
		if err := rows.Scan(&st.seq, &config, &revision, &at, &st.Configured, &st.older); err != nil {
			return nil, s.cfg.Explain(err)
		}
		if st.Record, st.Err = record(id, nil, revision, at); st.Err == nil && st.Configured {
			st.Config, st.Err = readable(config)
		}
		states = append(states, st)
	}
	if err := rows.Err(); err != nil {
		return nil, s.cfg.Explain(err)
	}
	return states, nil
}

var (
	_ store.Store     = (*Store)(nil)
	_ store.Batcher   = (*Store)(nil)
	_ store.Historian = (*Store)(nil)
	_ store.Watcher   = (*Store)(nil)
)
