// Package postgres is the store in a PostgreSQL database, for hosts that run on several machines. A host on one machine is served better
// by package sqlite.
//
// [Open] has a pool of connections of its own. [New] uses the pool that the application has already. The server is PostgreSQL 15 or newer;
// any number of stores, processes and machines may use one schema at once. A person may look and edit with psql meanwhile: an edit made
// there gets its revision and its line of history like any other, and watchers see it.
//
// # Tables
//
// They are in a schema of their own, "pluginregistry" unless [WithSchema] says otherwise:
//
//	plugin_configs(plugin_id, config, configured, revision, tag, updated_at, author, title, disabled, …)  one row for each ID
//	plugin_config_history(plugin_id, revision, tag, config, configured, changed_at, author)               the newest states of each
//	plugin_config_settings(id, history, min_version)                                                      how many states stay
//	config_values(plugin_id, path, type, value)                                                           a view, one line for each value
//	pluginregistry_migrations                                                                             goose's table
//
// config is text, JSON. A deleted config keeps its row, with configured false and config NULL. A [store.Revision] is the revision and the
// tag: revisions are counted for each ID, and the tag is drawn at random for each save, so that a revision that a failover has lost never
// comes again with another config.
//
// # What happens if the server does not answer
//
// A call tries again after a lost connection, a restart or a failover until [WithPatience] is over or its context is done. A write whose
// answer was lost is looked for by its tag before it is tried again, so that it is not done twice. If that cannot be found out, the error is
// [store.ErrUncertain]. A call whose context ends returns at once; a write that has been sent then may still be done, and its error is both
// the context's and ErrUncertain.
//
// Errors show no part of a config. The error of the server is found with errors.As as a *pgconn.PgError without the fields that could quote
// one. What the server writes into its own log is the affair of its settings; see docs/postgres.md.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/internal/life"
	"github.com/pluginregistry/pluginregistry/store/internal/queue"
)

// Option changes how a store works.
type Option struct{ apply func(*options) }

type options struct {
	schema       string
	noMigration  bool
	patience     time.Duration
	timeout      time.Duration
	pollInterval time.Duration
	history      int // -1: as it is
}

// WithSchema names the schema of the tables. The default is "pluginregistry". Several registries, or tenants, are several schemas of one
// database.
func WithSchema(name string) Option { return Option{func(o *options) { o.schema = name }} }

// WithoutMigration is for a role that does not own the tables. Open and New then make and change no tables, and their error says what is
// missing; see [Migrate].
func WithoutMigration() Option { return Option{func(o *options) { o.noMigration = true }} }

// WithPatience sets how long a call waits in all for a server that cannot be reached, as it restarts or another takes its place. The default
// is 15 seconds. 0 means that each call tries once.
func WithPatience(d time.Duration) Option { return Option{func(o *options) { o.patience = max(d, 0) }} }

// WithTimeout sets how long one attempt may take, and how long a call waits for a row that another session holds. The default is 5 seconds.
// The server keeps it, too, so that nothing goes on there for longer.
func WithTimeout(d time.Duration) Option {
	return Option{func(o *options) { o.timeout = max(d, time.Millisecond) }}
}

// WithPollInterval sets how often Watch looks for changes where the server cannot tell it of them: behind a pooler in transaction mode, on a
// standby, or with a pool of fewer than three connections. The default is 1 second; less than 10 milliseconds counts as 10.
func WithPollInterval(d time.Duration) Option {
	return Option{func(o *options) { o.pollInterval = max(d, 10*time.Millisecond) }}
}

// WithHistory sets how many states of each config stay in the history, the current one included; 0 keeps no history. The setting is kept in
// the database and counts for everybody who writes there. New tables keep 50. A role that does not own the tables cannot change it.
func WithHistory(n int) Option { return Option{func(o *options) { o.history = max(n, 0) }} }

func apply(opts []Option) (options, error) {
	o := options{schema: "pluginregistry", patience: 15 * time.Second, timeout: 5 * time.Second, pollInterval: time.Second, history: -1}
	for _, opt := range opts {
		if opt.apply != nil {
			opt.apply(&o)
		}
	}
	if o.schema == "" || len(o.schema) > 63 || strings.ContainsRune(o.schema, 0) {
		return o, errors.New("the name of a schema has 1 to 63 bytes")
	}
	return o, nil
}

// Store is a store in a PostgreSQL database. It implements [store.Store], [store.Batcher], [store.Historian], [store.Watcher],
// [store.Resealer] and [store.Annotator]. Its methods may be called by any number of goroutines at once.
type Store struct {
	db   *sql.DB
	opts options
	sql  *statements
	own  bool // the pool is closed with the store

	life  life.Life
	queue queue.Queue[*request]
	heldIDs
	watch watch
	close func() error
}

// poolSize is how many connections the pool of Open has.
const poolSize = 8

// Open connects to the database that a DSN names, as a URL or in keywords and values, and makes or upgrades the tables unless they are up to
// date. The parameters of the DSN are those of [pgx.ParseConfig]. Close the store when it is no longer used.
//
// Behind a pooler in transaction mode the DSN needs default_query_exec_mode=exec. With several servers it needs
// target_session_attrs=read-write.
//
// The error is a *store.Error: store.ErrTooNew if a newer version of this library has changed the tables in a way that this one cannot live
// with, what the server said, or why it cannot be reached. Open tries for as long as [WithPatience] says.
func Open(ctx context.Context, dsn string, opts ...Option) (*Store, error) {
	o, err := apply(opts)
	if err != nil {
		return nil, &store.Error{Op: "open", Err: err}
	}
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil { // what it says may quote a part of the password
		return nil, &store.Error{Op: "open", Err: errors.New("the DSN cannot be read: it is a URL such as postgres://user@host/database, or keywords and values such as host=… dbname=…")}
	}
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(poolSize)
	db.SetMaxIdleConns(poolSize)
	db.SetConnMaxIdleTime(5 * time.Minute)
	s := newStore(db, o)
	s.own = true
	if err := s.prepare(ctx); err != nil {
		s.Close()
		return nil, wrap("open", "", err)
	}
	return s, nil
}

// New returns a store in the application's own database. db comes from [stdlib.OpenDB], from sql.Open("pgx", …), or for a *pgxpool.Pool from
// [stdlib.OpenDBFromPool]; it may have any pool size, 1 included, and is never closed. A call waits for a connection as long as its context and
// [WithTimeout] allow. The error is as that of [Open].
//
// Do not call the store while the same goroutine holds the only connection. New panics if db is nil.
func New(ctx context.Context, db *sql.DB, opts ...Option) (*Store, error) {
	if db == nil {
		panic("postgres: New needs a *sql.DB that is not nil")
	}
	o, err := apply(opts)
	if err != nil {
		return nil, &store.Error{Op: "open", Err: err}
	}
	s := newStore(db, o)
	if err := s.prepare(ctx); err != nil {
		s.Close()
		return nil, wrap("open", "", err)
	}
	return s, nil
}

func newStore(db *sql.DB, o options) *Store {
	s := &Store{db: db, opts: o, sql: newStatements(o.schema)}
	s.queue.Commit = s.commit
	s.watch.init(s)
	s.close = sync.OnceValue(func() error {
		s.life.Close()
		s.watch.close()
		s.queue.Wait()
		if s.own {
			return s.db.Close()
		}
		return nil
	})
	return s
}

// Close waits for the calls under way and closes the pool if it is the store's own. Calls after it are store.ErrClosed, and closing again does
// nothing.
func (s *Store) Close() error {
	s.made()
	return s.close()
}

// made panics for a store that neither Open nor New has made.
func (s *Store) made() {
	if s == nil || s.close == nil {
		panic("postgres: this Store was made neither by Open nor by New")
	}
}

// prepare looks at the server and the tables, and makes or upgrades them if it may.
func (s *Store) prepare(ctx context.Context) error {
	state, err := s.check(ctx)
	if err != nil {
		return err
	}
	if state.missing || state.version < newest() {
		if s.opts.noMigration {
			what := "are missing"
			if !state.missing {
				what = fmt.Sprintf("are of version %d, this program needs %d", state.version, newest())
			}
			return fmt.Errorf("the tables in the schema %q %s: let their owner call postgres.Migrate, or open without WithoutMigration", s.opts.schema, what)
		}
		return migrate(ctx, s.db, s.opts)
	}
	if state.minVersion > newest() {
		return tooNew(state.minVersion)
	}
	if s.opts.history < 0 || s.opts.history == state.history {
		return nil
	}
	err = s.attempt(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return s.exchange(ctx, conn, s.opts.timeout, query{sql: s.sql.setHistory, args: []any{s.opts.history}})
	})
	if err != nil {
		return fmt.Errorf("the history keeps %d states; the owner of the tables can change that to %d with Migrate and WithHistory: %w", state.history, s.opts.history, judge(err).error)
	}
	return nil
}

func tooNew(minVersion int64) error {
	return fmt.Errorf("%w: its tables need a program of version %d, this one is of %d", store.ErrTooNew, minVersion, newest())
}

// state is what the tables say of themselves.
type state struct {
	missing             bool
	version, minVersion int64
	history             int
}

// check looks at the server and the tables.
func (s *Store) check(ctx context.Context) (st state, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		st = state{missing: true}
		var unfit error
		if err := s.exchange(ctx, conn, s.opts.timeout,
			query{serverSQL, nil, func(rows pgx.Rows) (err error) {
				unfit, err = fits(rows)
				return err
			}},
			query{existsSQL, []any{s.sql.schema + ".plugin_config_settings"}, func(rows pgx.Rows) error { return rows.Scan(&st.missing) }},
		); err != nil {
			return err
		}
		if unfit != nil {
			return &attemptError{error: unfit}
		}
		if st.missing {
			return nil
		}
		return s.exchange(ctx, conn, s.opts.timeout,
			query{s.sql.check, nil, func(rows pgx.Rows) error { return rows.Scan(&st.version, &st.minVersion, &st.history) }})
	})
	return st, err
}

const (
	serverSQL = `SELECT current_setting('server_version_num')::integer, current_setting('server_encoding')`
	existsSQL = `SELECT to_regclass($1::text) IS NULL`
)

// fits says why a server is of no use.
func fits(rows pgx.Rows) (unfit, err error) {
	var version int
	var encoding string
	if err := rows.Scan(&version, &encoding); err != nil {
		return nil, err
	}
	switch {
	case version < 150000:
		return fmt.Errorf("%w: the server has version %d.%d, PostgreSQL 15 or newer is needed", errors.ErrUnsupported, version/10000, version%10000), nil
	case encoding != "UTF8":
		return fmt.Errorf("%w: the database has the encoding %s, UTF8 is needed: make it with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0", errors.ErrUnsupported, encoding), nil
	}
	return nil, nil
}

var (
	_ store.Store     = (*Store)(nil)
	_ store.Batcher   = (*Store)(nil)
	_ store.Historian = (*Store)(nil)
	_ store.Watcher   = (*Store)(nil)
	_ store.Resealer  = (*Store)(nil)
	_ store.Annotator = (*Store)(nil)
)
