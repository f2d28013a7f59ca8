// Package sqlite is the store in an SQLite database: the store to choose where there is no reason for another.
//
// [Open] makes and owns a database file. [New] lives as a guest in a database that the application has already, its tables beside
// the others. Several processes may use one file at once, and a person may look and edit with the sqlite3 shell meanwhile; an edit
// made there gets its revision and its line of history like any other, and watchers see it.
//
// # Tables
//
//	plugin_configs(plugin_id, config, configured, revision, updated_at, last_state) one row for each plugin ID
//	plugin_config_history(seq, plugin_id, revision, config, configured, changed_at) a view, the newest states of each
//	plugin_config_states(…, previous)                                              all states that are kept yet
//	plugin_config_damaged(seq, plugin_id, revision, config, found_at)              configs that are no JSON, written with the checks off
//	plugin_config_settings(id, history)                                            how many states of each stay
//	config_values(plugin_id, path, type, value)                                    a view, one line for each value
//	pluginregistry_migrations                                                      goose's table
//
// config is text, JSON; times are RFC 3339 in UTC. A deleted config keeps its row, with configured = 0 and config NULL. Revisions
// are counted for each plugin ID, deletions too, so that one never comes twice. Nothing needs an SQLite newer than 3.40. The CHECKs
// and triggers of the tables are for edits by hand: what the store itself writes it has checked before.
//
// # Durability
//
// A file that Open made is in WAL mode with synchronous = FULL: a save that was acknowledged survives the loss of power, as far as the
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
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/pluginregistry/pluginregistry/internal/filelock"
	"github.com/pluginregistry/pluginregistry/internal/sqlstore"
	"github.com/pluginregistry/pluginregistry/store"
)

// Option changes how a store works.
type Option func(*options)

type options struct {
	busyTimeout  time.Duration
	pollInterval time.Duration
	history      int
}

// WithBusyTimeout sets how long a call waits for another process, such as a sqlite3 shell, that holds the database locked. The default
// is 5 seconds. It tries again after short times drawn at random, so that of several processes that save all the time none is always
// the last.
func WithBusyTimeout(d time.Duration) Option { return func(o *options) { o.busyTimeout = d } }

// WithPollInterval sets how often Watch looks for changes. The default is 250 milliseconds.
func WithPollInterval(d time.Duration) Option { return func(o *options) { o.pollInterval = d } }

// WithHistory sets how many states of each plugin's config stay in the history, the current one included; 0 keeps no history. The
// setting is kept in the database and counts for everybody who writes there. A new database keeps 50. States that leave the history are
// taken out of the file many at a time, some saves later, or by Scrub.
func WithHistory(n int) Option { return func(o *options) { o.history = max(n, 0) } }

func apply(opts []Option) options {
	o := options{busyTimeout: 5 * time.Second, pollInterval: 250 * time.Millisecond, history: -1}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// Store is a store in an SQLite database. It implements store.Store, Batcher, Historian, Watcher and Resealer. Its methods may be
// called by any number of goroutines at once.
type Store struct {
	*sqlstore.Store
	writer *sqlx.DB
	close  func() error
}

// maxReaders is how many reads of one store run at once. More than a few gain nothing.
const maxReaders = 4

// Open opens the database at path, making it and its directories if they are missing, and brings its tables up to date. The path is a
// plain file name, not a URI. Close the store when it is no longer used.
//
// The error is a *store.Error: store.ErrTooNew if a newer version of this library has written there, store.ErrCorrupt if the file is no
// database, or what the system said. A file that is refused is left as it is.
func Open(ctx context.Context, path string, opts ...Option) (*Store, error) {
	s, err := open(ctx, path, apply(opts))
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
	lock := filelock.New(path + ".lock")
	if err := lock.Lock(ctx); err != nil {
		return nil, fmt.Errorf("lock file: %w", err)
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
	s := &Store{writer: pools.writer}
	s.Store = sqlstore.New(sqlstore.Config{
		Reader: pools.reader, Writer: pools.writer, Watcher: pools.watcher,
		Intact: file.intact, Explain: explain, Busy: busy, BusyTimeout: o.busyTimeout,
		Version: dataVersion, PollInterval: o.pollInterval,
	})
	s.close = sync.OnceValue(func() error {
		s.Store.Close()
		return pools.close()
	})
	err = s.Patiently(ctx, func() error { return prepare(ctx, pools.reader, pools.writer, made, o) })
	if err == nil {
		err = file.remember()
	}
	if err != nil {
		return nil, errors.Join(explain(err), s.Close())
	}
	return s, nil
}

// Close waits for the calls under way and closes the database that Open has opened; one that New was given stays open. Calls after it
// are store.ErrClosed, and closing again does nothing.
func (s *Store) Close() error { return s.close() }

// resolve returns the absolute path of the file itself: SQLite puts its own files beside it, and so must the lock be.
func resolve(path string) (string, error) {
	if path == "" || path == ":memory:" {
		return "", errors.New("a file name is needed; package memory is the store for configs that need not be kept")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	return path, nil
}

// create makes the file if there is none, so that its mode is ours and not the umask's. A file that is there is not opened: closing it
// would let go of the locks that SQLite holds on it in this process.
func create(path string) (made bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, regular(path)
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

func regular(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	return err
}

// headerSize is the length of what every SQLite database begins with.
const headerSize = 100

// file is the database file as it was when it was opened.
type file struct {
	path   string
	before os.FileInfo
}

func (f *file) remember() (err error) {
	f.before, err = os.Stat(f.path)
	return err
}

// intact tells whether the path still leads to the file that was opened.
func (f *file) intact() error {
	if f.before == nil {
		return nil
	}
	now, err := os.Stat(f.path)
	switch {
	case err != nil:
		return fmt.Errorf("the database file is gone, nothing can be kept in it: put it back and open the store again: %w", err)
	case !os.SameFile(f.before, now):
		return errors.New("the database file was replaced by another while it was open, nothing can be kept in the old one: open the store again")
	case now.Size() < headerSize && f.before.Size() >= headerSize:
		return fmt.Errorf("%w: the database file was truncated while it was open: restore it from a backup and open the store again", store.ErrCorrupt)
	}
	return nil
}

type pools struct{ reader, writer, watcher *sqlx.DB }

// newPools returns the connections to the database at path. They are opened when they are needed.
func newPools(path string, o options) (*pools, error) {
	p := &pools{}
	for _, c := range []struct {
		pool   **sqlx.DB
		size   int // 0 is any
		params []string
	}{
		{&p.reader, maxReaders, []string{"_query_only", "1"}},
		// The CHECKs of the tables are for writes by hand: what comes here was checked, and to parse each config again takes a fifth of a
		// save that shares its commit.
		{&p.writer, 1, []string{"_journal_mode", "WAL", "_synchronous", "FULL", "_txlock", "immediate", "_pragma", "ignore_check_constraints(1)"}},
		{&p.watcher, 0, []string{"_query_only", "1"}},
	} {
		db, err := sqlx.Open("sqlite", dsn(path, o, c.params...))
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(c.size)
		db.SetMaxIdleConns(max(c.size, 1))
		*c.pool = db
	}
	return p, nil
}

// driverPatience is how long SQLite itself waits for a lock. That cannot be cancelled; the rest of the time that a call may wait can.
const driverPatience = 20 * time.Millisecond

// dsn names the database and the pragmas of each connection. A plain path would take a ? in it for the start of the parameters.
func dsn(path string, o options, params ...string) string {
	q := url.Values{}
	q.Set("mode", "rw") // never make another file where the database has gone
	q.Set("_busy_timeout", fmt.Sprint(min(o.busyTimeout, driverPatience).Milliseconds()))
	q.Set("_dqs", "0")
	q.Add("_pragma", "journal_size_limit(4194304)")
	q.Add("_pragma", "secure_delete(1)")
	for i := 0; i < len(params); i += 2 {
		q.Add(params[i], params[i+1])
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: q.Encode()}
	if u.Path[0] != '/' { // C:/… on Windows
		u.Path = "/" + u.Path
	}
	return u.String()
}

// close closes the writer last: the last connection to close moves what is in the -wal file into the database.
func (p *pools) close() error {
	return errors.Join(p.watcher.Close(), p.reader.Close(), p.writer.Close())
}

// prepare brings the tables and settings up to date; in a file just made there are none to look for. It opens a connection for writing
// only if something is to be done.
func prepare(ctx context.Context, reader, writer *sqlx.DB, made bool, o options) error {
	current := false
	if !made {
		var err error
		if current, err = upToDate(ctx, reader); err != nil {
			return err
		}
	}
	if !current {
		if err := migrate(ctx, writer.DB); err != nil {
			return err
		}
	}
	return setHistory(ctx, reader, writer, o)
}

// setHistory keeps the history setting in the database, if the caller gives one.
func setHistory(ctx context.Context, reader, writer *sqlx.DB, o options) error {
	if o.history < 0 {
		return nil
	}
	var now int
	if err := reader.GetContext(ctx, &now, `SELECT history FROM plugin_config_settings WHERE id = 1`); err != nil {
		return err
	}
	if now == o.history {
		return nil
	}
	_, err := writer.ExecContext(ctx, `UPDATE plugin_config_settings SET history = ? WHERE id = 1`, o.history)
	return err
}

// dataVersion asks for SQLite's own number for "somebody else has committed".
const dataVersion = `PRAGMA data_version`

// sweepSQL takes out the states that are no longer in the history, all at once.
const sweepSQL = `DELETE FROM plugin_config_states WHERE seq NOT IN (SELECT seq FROM plugin_config_history)`

// Scrub takes out the states that have left the history, and clears the pages that overwritten and deleted configs have left in the
// database and its -wal file. A reader that is in a transaction, such as a sqlite3 shell, keeps it from doing so: the error then is that
// the database is locked.
func (s *Store) Scrub(ctx context.Context) error {
	err := s.Exclusively(ctx, func(ctx context.Context) error {
		if _, err := s.writer.ExecContext(ctx, sweepSQL); err != nil {
			return err
		}
		if _, err := s.writer.ExecContext(ctx, `VACUUM`); err != nil {
			return err
		}
		var blocked, log, moved int
		if err := s.writer.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&blocked, &log, &moved); err != nil {
			return err
		}
		if blocked != 0 {
			return errLocked
		}
		return nil
	})
	if err != nil {
		return &store.Error{Op: "scrub", Err: err}
	}
	return nil
}

var (
	_ store.Store     = (*Store)(nil)
	_ store.Batcher   = (*Store)(nil)
	_ store.Historian = (*Store)(nil)
	_ store.Watcher   = (*Store)(nil)
	_ store.Resealer  = (*Store)(nil)
)
