package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/pluginregistry/pluginregistry/store"
)

// New returns a store in the application's own database, opened with modernc.org/sqlite. It makes and migrates its own tables, with
// its own goose table, and leaves everything else alone; db may have any pool size, 1 included, and is never closed. How durable a save
// is, is what the application's pragmas say; journal_mode WAL and synchronous FULL are what Open uses.
//
// A call waits for a connection as long as its context allows. Do not call the store while the same goroutine holds the only connection.
func New(ctx context.Context, db *sql.DB, opts ...Option) (*Store, error) {
	if db == nil {
		panic("sqlite: New needs a *sql.DB, not nil")
	}
	o, err := apply(opts)
	if err != nil {
		return nil, &store.Error{Op: "open", Err: err}
	}
	s, err := guest(ctx, sqlx.NewDb(db, "sqlite"), o)
	if err != nil {
		return nil, &store.Error{Op: "open", Err: fmt.Errorf("the application's database: %w", explain(err))}
	}
	return s, nil
}

func guest(ctx context.Context, db *sqlx.DB, o options) (*Store, error) {
	s := newStore(o, db, db)
	var path string
	err := db.QueryRowContext(ctx, `SELECT coalesce(file, '') FROM pragma_database_list WHERE name = 'main'`).Scan(&path)
	if err != nil {
		return nil, err
	}
	if path != "" { // it is not in memory
		lock, err := lockFile(ctx, path, o)
		if err != nil {
			return nil, err
		}
		defer lock.Unlock()
		file := &file{path: path}
		if err := file.remember(); err != nil {
			return nil, err
		}
		s.intact = file.intact
	}
	s.close = func() error {
		s.shutDown()
		return nil
	}
	if err := s.patiently(ctx, func() error { return prepare(ctx, db, db, false, o) }); err != nil {
		return nil, err
	}
	if path == "" && db.Stats().MaxOpenConnections != 1 {
		if err := oneDatabase(ctx, db); err != nil {
			return nil, err
		}
	}
	var encoding string
	if err := db.QueryRowContext(ctx, `PRAGMA encoding`).Scan(&encoding); err != nil {
		return nil, err
	}
	if encoding != "UTF-8" { // the order of texts is another one there
		s.configured.query = `SELECT plugin_id FROM plugin_configs WHERE configured = 1 AND substr(plugin_id, 1, length(?1)) = ?1 AND ?2 IS NOT NULL`
		s.notes.query = `SELECT plugin_id, title, disabled FROM plugin_configs WHERE (title <> '' OR disabled = 1) AND substr(plugin_id, 1, length(?1)) = ?1 AND ?2 IS NOT NULL`
	}
	return s, nil
}

// oneDatabase tells whether two connections to a database in memory see the same one.
func oneDatabase(ctx context.Context, db *sqlx.DB) error {
	for range 2 {
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.ExecContext(ctx, `SELECT 1 FROM plugin_configs LIMIT 0`); err != nil {
			return fmt.Errorf("in memory each connection has a database of its own: call db.SetMaxOpenConns(1) first, or use package memory: %w", err)
		}
	}
	return nil
}
