package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/pluginregistry/pluginregistry/internal/filelock"
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
	s, err := guest(ctx, db, o)
	if err != nil {
		return nil, &store.Error{Op: "open", Err: fmt.Errorf("the application's database: %w", explain(err))}
	}
	return s, nil
}

func guest(ctx context.Context, db *sql.DB, o options) (*Store, error) {
	s := newStore(o, db, db)
	var path string
	err := db.QueryRowContext(ctx, `SELECT coalesce(file, '') FROM pragma_database_list WHERE name = 'main'`).Scan(&path)
	if err != nil {
		return nil, err
	}
	if path != "" { // it is not in memory
		lock := filelock.New(path + ".lock")
		if err := lock.Lock(ctx); err != nil {
			return nil, fmt.Errorf("lock file: %w", err)
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
	return s, nil
}
