package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"sync"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"

	"github.com/pluginregistry/pluginregistry/migrations"
	"github.com/pluginregistry/pluginregistry/store"
)

// newest is the version of the newest migration.
var newest = sync.OnceValue(func() int64 {
	names, err := fs.Glob(migrations.SQLite, "sqlite/*.sql")
	if err != nil || len(names) == 0 {
		panic("sqlite: the migrations are not embedded")
	}
	version, err := goose.NumericComponent(names[len(names)-1]) // Glob sorts
	if err != nil {
		panic(err)
	}
	return version
})

// upToDate tells whether a database has the newest tables, without goose and the questions that it asks.
func upToDate(ctx context.Context, db *sqlx.DB) (bool, error) {
	var version int64
	err := db.GetContext(ctx, &version, `SELECT coalesce(max(version_id), 0) FROM `+migrations.Table+` WHERE is_applied`)
	if err == nil {
		return version == newest(), checkVersion(version)
	}
	var tables int // is that because there is no such table?
	if err := db.GetContext(ctx, &tables, `SELECT count(*) FROM sqlite_master WHERE name = '`+migrations.Table+`'`); err != nil || tables == 0 {
		return false, err
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
	files, err := fs.Sub(migrations.SQLite, "sqlite")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files,
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
