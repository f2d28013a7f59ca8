package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/pressly/goose/v3"

	"github.com/jmoiron/sqlx"
	migrations "github.com/pluginregistry/pluginregistry/migrations/sqlite"

	"github.com/pluginregistry/pluginregistry/store"
)

// newest is the version of the newest migration.
var newest = sync.OnceValue(func() int64 {
	names, err := fs.Glob(migrations.Files, "*.sql")
	if err != nil || len(names) == 0 {
		panic("sqlite: the migrations are not embedded")
	}
	version, err := goose.NumericComponent(names[len(names)-1]) // Glob sorts
	if err != nil {
		panic(err)
	}
	return version
})

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
	if err := reader.QueryRowContext(ctx, `SELECT history FROM plugin_config_settings WHERE id = 1`).Scan(&now); err != nil {
		return err
	}
	if now == o.history {
		return nil
	}
	_, err := writer.ExecContext(ctx, `UPDATE plugin_config_settings SET history = ? WHERE id = 1`, o.history)
	return err
}

// upToDate tells whether a database has the newest tables, without goose and the questions that it asks.
func upToDate(ctx context.Context, db *sqlx.DB) (bool, error) {
	var version int64
	err := db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM `+migrations.Table+` WHERE is_applied`).Scan(&version)
	if err == nil {
		return version == newest(), checkVersion(version)
	}
	var tables int // is that because there is no such table?
	look := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE name = '`+migrations.Table+`'`)
	if err := look.Scan(&tables); err != nil {
		return false, err
	}
	if tables > 0 {
		return false, err
	}
	var name string // of a table of the application that has one of our names
	err = db.QueryRowContext(ctx, `SELECT name FROM sqlite_master WHERE name IN ('plugin_configs', 'plugin_config_history', 'plugin_config_settings',
'plugin_config_damaged', 'plugin_config_replaced', 'config_values', 'plugin_instances') LIMIT 1`).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err == nil {
		err = fmt.Errorf("the database has something called %s that is not ours: rename it, or keep the registry in a file of its own with Open", name)
	}
	return false, err
}

func checkVersion(version int64) error {
	if version > newest() {
		return fmt.Errorf("%w: its tables are of version %d, this program knows %d", store.ErrTooNew, version, newest())
	}
	return nil
}

// migrate brings the tables up to date. It touches nothing but our own tables, and none of the application's own goose migrations.
func migrate(ctx context.Context, db *sql.DB) error {
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, migrations.Files,
		goose.WithTableName(migrations.Table), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	version, err := provider.GetDBVersion(ctx)
	if err == nil {
		err = checkVersion(version)
	}
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrating the tables: %w", err)
	}
	return nil
}
