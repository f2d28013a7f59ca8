// Package sqlite is the store in an SQLite database: the store to choose where there is no reason for another.
//
// [Open] makes and owns a database file. [New] lives as a guest in a database that the application has already, its tables beside
// the others. Several processes may use one file at once, and a person may look and edit with the sqlite3 shell meanwhile; an edit
// made there gets its revision and its line of history like any other, and watchers see it.
//
// # Tables
//
//	plugin_configs(plugin_id, config, configured, revision, updated_at, author, title, …)     one row for each ID
//	plugin_config_history(plugin_id, place, revision, config, configured, changed_at, author) the newest states of each
//	plugin_config_settings(id, history)                                                       how many states of each stay
//	plugin_config_damaged(plugin_id, revision, config, found_at)                              what was no config when it was saved over
//	plugin_instances(plugin_id, instance, config_id, title, disabled, revision, updated_at)   a view, one line for each config or note
//	config_values(plugin_id, path, type, value)                                               a view, one line for each value
//	pluginregistry_migrations                                                                 goose's table
//
// config is text, JSON; times are RFC 3339 in UTC. A deleted config keeps its row, with configured = 0 and config NULL. Revisions
// are counted for each ID, deletions too, so that none comes twice. Nothing needs an SQLite newer than 3.40. The CHECKs
// and triggers of the tables are for edits by hand: what the store itself writes it has checked before.
//
// # Durability
//
// A file that Open made is in WAL mode with synchronous = FULL: a save that was acknowledged survives the loss of power, if the
// disk keeps what it said it had written. Saves that come while another is being written share the next commit.
//
// # Files
//
// Beside the database lie SQLite's own -wal and -shm files and a .lock file, by which processes take turns in opening and
// migrating. All are made with mode 0600. Never remove the .lock file while a process uses the database. Do not put the database on
// a network file system.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/jmoiron/sqlx"

	"github.com/pluginregistry/pluginregistry/internal/poll"
	"github.com/pluginregistry/pluginregistry/internal/sleep"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/internal/life"
	"github.com/pluginregistry/pluginregistry/store/internal/queue"
)

// Option is a setting for Open and New. The zero Option changes nothing.
type Option struct{ apply func(*options) error }

type options struct {
	busyTimeout  time.Duration
	pollInterval time.Duration
	history      int // -1: as it is in the database
}

// WithBusyTimeout sets how long a call waits for another process, such as a sqlite3 shell, that holds the database locked. The default
// is 5 seconds; 0 means that each call tries once. Open and New wait as long for the lock file, but for a second at least. A negative time is an error of Open and New.
func WithBusyTimeout(d time.Duration) Option {
	return Option{func(o *options) error {
		if o.busyTimeout = d; d < 0 {
			return fmt.Errorf("WithBusyTimeout(%v): the time must not be negative", d)
		}
		return nil
	}}
}

// WithPollInterval sets how often the store looks for changes while somebody watches it. The default is 250 milliseconds. An interval that is
// not positive is an error of Open and New.
func WithPollInterval(d time.Duration) Option {
	return Option{func(o *options) error {
		if o.pollInterval = d; d <= 0 {
			return fmt.Errorf("WithPollInterval(%v): the interval must be more than 0", d)
		}
		return nil
	}}
}

// WithHistory sets how many states of each plugin's config stay in the history, the current one included; 0 keeps no history. The
// setting is kept in the database and counts for everybody who writes there. A new database keeps 50. A smaller number takes the states that
// are too many out at once. A negative number, or one over 1,000,000, is an error of Open and New.
func WithHistory(n int) Option {
	return Option{func(o *options) error {
		if o.history = n; n < 0 || n > 1_000_000 {
			return fmt.Errorf("WithHistory(%d): the number must be 0 to 1000000", n)
		}
		return nil
	}}
}

func apply(opts []Option) (options, error) {
	o := options{busyTimeout: 5 * time.Second, pollInterval: 250 * time.Millisecond, history: -1}
	var errs []error
	for _, opt := range opts {
		if opt.apply != nil {
			errs = append(errs, opt.apply(&o))
		}
	}
	return o, errors.Join(errs...)
}

// Store is a store in an SQLite database, made by [Open] or [New]. It implements [store.Store], [store.Batcher], [store.Historian],
// [store.Watcher], [store.Resealer] and [store.Annotator]. Its methods may be called by any number of goroutines at once.
type Store struct {
	opts           options
	reader, writer *sqlx.DB     // the same in a guest
	watcher        *sqlx.DB     // nil in a guest
	shared         bool         // the application uses the connections, too
	readOnly       error        // what saves fail with, if the database can only be read
	frozen         func() error // asked before each read whether nobody writes, if SQLite cannot notice; or nil
	intact         func() error // whether what was written is where a later reader will look for it; nil if there is no file

	life  life.Life
	queue queue.Queue[*request]
	hub   poll.Hub[state]
	look  look
	close func() error

	get, configured, kept, history, states, getNote, notes                  statement // of the reader
	current, stored, create, save, revive, remove, noting, aside, rewriting statement // of the writer
}

// Open opens the database at path, making it and its directories if they are missing, and brings its tables up to date. The path is a
// plain file name, not a URI. Close the store when it is no longer used.
//
// The error is a *store.Error: [store.ErrTooNew] if a newer version of this library has written there, [store.ErrCorrupt] if the file is no
// database, or what the system said. A file that is refused is left as it is.
//
// A database in a directory or on a mount that cannot be written to is opened for reading only: saves then are an error that wraps
// fs.ErrPermission.
func Open(ctx context.Context, path string, opts ...Option) (*Store, error) {
	o, err := apply(opts)
	if err != nil {
		return nil, &store.Error{Op: "open", Err: err}
	}
	s, err := open(ctx, path, o)
	if err != nil {
		return nil, &store.Error{Op: "open", Err: fmt.Errorf("database %q: %w", path, err)}
	}
	return s, nil
}

func open(ctx context.Context, path string, o options) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path, err := resolve(path)
	if err != nil {
		return nil, err
	}
	// Before anybody opens the database: processes that make one at once get in each other's way otherwise.
	lock, err := lockFile(ctx, path, o)
	if readOnly(err) {
		return openReadOnly(ctx, path, o, err)
	}
	if err != nil {
		return nil, err
	}
	defer lock.Unlock() // lets go of the file, too
	made, err := create(path)
	if err != nil {
		return nil, err
	}
	pools, err := newPools(path, o)
	if err != nil {
		return nil, err
	}
	file := &file{path: path}
	s := newStore(o, pools.reader, pools.writer)
	s.watcher, s.intact = pools.watcher, file.intact
	s.close = sync.OnceValue(func() error {
		s.shutDown()
		return pools.close()
	})
	err = s.patiently(ctx, func() error { return prepare(ctx, s.reader, s.writer, made, o) })
	if c := code(err); !made && (c == codeCantOpen || c == codeReadOnly) { // the lock file was there already
		return openReadOnly(ctx, path, o, errors.Join(explain(err), s.Close()))
	}
	if err == nil {
		err = file.remember()
	}
	if err != nil {
		return nil, errors.Join(explain(err), s.Close())
	}
	file.rememberWAL()
	return s, nil
}

func newStore(o options, reader, writer *sqlx.DB) *Store {
	s := &Store{opts: o, reader: reader, writer: writer, shared: reader == writer}
	s.queue.Commit = s.commit
	s.hub = poll.Hub[state]{
		Interval: o.pollInterval, Look: s.lookAround, Idle: s.look.close,
		Fatal: func(err error) bool { return errors.Is(err, store.ErrClosed) },
	}
	s.get.query, s.configured.query, s.kept.query, s.history.query, s.states.query = getSQL, configuredSQL, keptSQL, historySQL, statesSQL
	s.current.query, s.stored.query, s.create.query, s.save.query = currentSQL, storedSQL, createSQL, saveSQL
	s.getNote.query, s.notes.query, s.noting.query = getNoteSQL, notesSQL, noteSQL
	s.revive.query, s.remove.query, s.aside.query, s.rewriting.query = reviveSQL, removeSQL, asideSQL, rewriteSQL
	return s
}

// Close waits for the calls under way and closes the database that Open has opened; one that New was given stays open. Calls after it
// are store.ErrClosed, and closing again does nothing.
func (s *Store) Close() error {
	s.check()
	return s.close()
}

// shutDown ends everything but the pools.
func (s *Store) shutDown() {
	s.life.Close()
	s.queue.Wait()
	s.hub.Wake() // watchers end
	for _, st := range []*statement{
		&s.get, &s.configured, &s.kept, &s.history, &s.states, &s.getNote, &s.notes,
		&s.current, &s.stored, &s.create, &s.save, &s.revive, &s.remove, &s.noting, &s.aside, &s.rewriting,
	} {
		st.close()
	}
}

func (s *Store) check() {
	if s == nil || s.reader == nil {
		panic("sqlite: this Store was not made by Open or New")
	}
}

// begin begins a call, which ends with s.life.End.
func (s *Store) begin(ctx context.Context) error {
	s.check()
	return s.life.Begin(ctx)
}

func failed(op, id string, err error) error {
	if e, ok := errors.AsType[*store.Error](err); ok {
		return e
	}
	return &store.Error{Op: op, ID: id, Err: err}
}

// blame says what an error means for the user: that the database is no longer where it was, if that is so.
func (s *Store) blame(err error) error {
	if err == nil || errors.Is(err, store.ErrNotFound) {
		return err
	}
	if s.intact != nil {
		if gone := s.intact(); gone != nil {
			return gone
		}
	}
	return explain(err)
}

// patiently calls f until another connection is out of its way, or the time for that is up, or ctx is done.
func (s *Store) patiently(ctx context.Context, f func() error) error {
	start := time.Now()
	for {
		err := f()
		if !busy(err) || time.Since(start) >= s.opts.busyTimeout {
			return err
		}
		if done := sleep.For(ctx, pause()); done != nil {
			return fmt.Errorf("%w: %w", done, err)
		}
	}
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
		_ = stmt.Close()
	}
}

// read is a call that reads with a statement. A context that can be cancelled costs the driver a goroutine for each statement, so it gets one
// only if a call may wait for a connection that the application holds.
func (s *Store) read(ctx context.Context, st *statement, f func(context.Context, *sqlx.Stmt) error) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.life.End()
	if s.frozen != nil {
		if err := s.frozen(); err != nil {
			return err
		}
	}
	inDriver := ctx
	if !s.shared {
		inDriver = context.WithoutCancel(ctx)
	}
	return s.blame(s.patiently(ctx, func() error {
		stmt, err := st.on(inDriver, s.reader)
		if err != nil {
			return err
		}
		return f(inDriver, stmt)
	}))
}

var (
	_ store.Store     = (*Store)(nil)
	_ store.Batcher   = (*Store)(nil)
	_ store.Historian = (*Store)(nil)
	_ store.Watcher   = (*Store)(nil)
	_ store.Resealer  = (*Store)(nil)
	_ store.Annotator = (*Store)(nil)
)
