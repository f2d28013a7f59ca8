package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	migrations "github.com/pluginregistry/pluginregistry/migrations/postgres"
)

// newest is the version of the newest migration.
var newest = sync.OnceValue(func() int64 {
	names, err := fs.Glob(migrations.Files, "*.sql")
	if err != nil || len(names) == 0 {
		panic("postgres: the migrations are not embedded")
	}
	version, err := goose.NumericComponent(names[len(names)-1]) // Glob sorts
	if err != nil {
		panic(err)
	}
	return version
})

// Migrate makes or upgrades the tables, and the schema if it is missing. It is for the role that owns them, if the application's role does
// not. All is done in one transaction, or nothing; several calls at once wait for each other. Call it also after the database was restored
// from a dump: rows that bear transaction numbers of another server get new ones. Of the options it heeds WithSchema, WithHistory, WithPatience
// and WithTimeout.
func Migrate(ctx context.Context, db *sql.DB, opts ...Option) error {
	if db == nil {
		panic("postgres: Migrate needs a *sql.DB that is not nil")
	}
	o, err := apply(opts)
	if err == nil {
		err = migrate(ctx, db, o)
	}
	if err != nil {
		return wrap("migrate", "", err)
	}
	return nil
}

// migrate tries again as long as the server cannot be reached.
func migrate(ctx context.Context, db *sql.DB, o options) error {
	began, pause := time.Now(), backoff(0)
	for {
		err := migrateOnce(ctx, db, o)
		if err == nil || ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		a := judge(err)
		if a.fate == failed || a.fate == held || time.Since(began) > o.patience {
			return a.error
		}
		if err := pause.pause(ctx); err != nil {
			return fmt.Errorf("%w: %w", err, a.error)
		}
	}
}

func migrateOnce(ctx context.Context, db *sql.DB, o options) (err error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return judge(err)
	}
	defer c.Close()
	var failure error
	err = c.Raw(func(raw any) error {
		failure = onConn(ctx, raw, o)
		return nil
	})
	return errors.Join(failure, err)
}

func onConn(ctx context.Context, raw any, o options) error {
	conn, err := native(raw)
	if err != nil {
		return err
	}
	tx, err := conn.Conn().Begin(ctx)
	if err != nil {
		return judge(err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if err := inTransaction(ctx, conn, tx, o); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return judge(err)
	}
	return nil
}

// inTransaction does all that Migrate does, on the connection that tx is on.
func inTransaction(ctx context.Context, conn *stdlib.Conn, tx pgx.Tx, o options) error {
	statements := newStatements(o.schema)
	var unfit error
	rows, err := tx.Query(ctx, serverSQL)
	if err == nil && rows.Next() {
		unfit, err = fits(rows)
	}
	rows.Close()
	if err = errors.Join(err, rows.Err()); err != nil {
		return judge(err)
	}
	if unfit != nil {
		return &attemptError{error: unfit}
	}
	// The lock is the transaction's, as that of a session does not hold behind a pooler; and one that is waited for costs nobody a poll.
	if _, err := tx.Exec(ctx, `SELECT set_config('lock_timeout', $1::text, true), pg_advisory_xact_lock(hashtextextended('pluginregistry ' || $2::text, 0))`,
		milliseconds(max(o.patience, o.timeout)), o.schema); err != nil {
		return judge(err)
	}
	var exists bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1::text)`, o.schema).Scan(&exists); err != nil {
		return judge(err)
	}
	if !exists { // IF NOT EXISTS would demand the right to make schemas even if there is nothing to make
		if _, err := tx.Exec(ctx, `CREATE SCHEMA `+statements.schema); err != nil {
			return right(err, fmt.Sprintf("the role may not make the schema %q: GRANT CREATE ON DATABASE to it, or let the owner call postgres.Migrate", o.schema))
		}
	}
	// For this transaction only. The functions keep it as their own search_path.
	if _, err := tx.Exec(ctx, `SET LOCAL search_path = `+statements.schema+`, pg_temp`); err != nil {
		return judge(err)
	}
	if err := up(ctx, conn, tx, statements); err != nil {
		return err
	}
	if o.history >= 0 {
		if _, err := tx.Exec(ctx, statements.setHistory, o.history); err != nil {
			return judge(err)
		}
	}
	if _, err := tx.Exec(ctx, statements.renumber); err != nil {
		return judge(err)
	}
	return nil
}

// up runs the migrations that are not done.
func up(ctx context.Context, conn *stdlib.Conn, tx pgx.Tx, statements *statements) error {
	var missing bool
	if err := tx.QueryRow(ctx, existsSQL, statements.schema+".plugin_config_settings").Scan(&missing); err != nil {
		return judge(err)
	}
	if !missing {
		var version, minVersion int64
		var history int
		if err := tx.QueryRow(ctx, statements.check).Scan(&version, &minVersion, &history); err != nil {
			return judge(err)
		}
		if minVersion > newest() {
			return &attemptError{error: tooNew(minVersion)}
		}
		if version >= newest() {
			return nil
		}
	}
	db := sql.OpenDB(lent{conn})
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.Files,
		goose.WithTableName(migrations.Table), goose.WithDisableGlobalRegistry(true), goose.WithIsolateDDL(true))
	if err != nil {
		return &attemptError{error: fmt.Errorf("reading the migrations: %w", err)}
	}
	if _, err := provider.Up(ctx); err != nil {
		return right(err, "the role may not change the tables: let their owner call postgres.Migrate")
	}
	return nil
}

// right adds what helps if a right is missing.
func right(err error, hint string) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == codeNoRight {
		return &attemptError{error: fmt.Errorf("%s: %w", hint, rebuild(pg))}
	}
	return judge(err)
}

// lent gives goose, which wants a pool, the one connection that is in our transaction. goose begins none of its own on it.
type lent struct{ conn *stdlib.Conn }

func (l lent) Connect(context.Context) (driver.Conn, error) { return borrowed{l.conn}, nil }
func (l lent) Driver() driver.Driver                        { return stdlib.GetDefaultDriver() }

type borrowed struct{ *stdlib.Conn }

func (borrowed) Close() error                       { return nil }
func (borrowed) ResetSession(context.Context) error { return nil }
