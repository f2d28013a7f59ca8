package sqlite

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/jmoiron/sqlx"

	"github.com/pluginregistry/pluginregistry/store"
)

// Backup writes a complete copy of the database to a new file at path, mode 0600, while the store is in use. In an application's database it
// copies the tables of the application, too. The copy is checked, its pages and each config in it, and appears at path in one step once it is
// durable. Open it like any other database.
//
// Backup never writes over a file: if there is one at path, the error is one for which errors.Is(err, fs.ErrExist) holds. A config that cannot
// be read is store.ErrCorrupt, and no copy is made: mend, save or delete that config first.
func (s *Store) Backup(ctx context.Context, path string) error {
	if err := s.begin(ctx); err != nil {
		return failed("backup", "", err)
	}
	defer s.life.End()
	if err := s.backup(ctx, path); err != nil {
		return failed("backup", "", fmt.Errorf("to %q: %w", path, err))
	}
	return nil
}

func (s *Store) backup(ctx context.Context, path string) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return &os.PathError{Op: "backup", Path: path, Err: os.ErrExist}
	}
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, ".backup-*.db") // 0600
	if err != nil {
		return err
	}
	made := file.Name()
	defer func() { err = errors.Join(err, os.Remove(made)) }()
	if err := file.Close(); err != nil {
		return err
	}
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return err
	}
	err = s.patiently(ctx, func() error {
		_, err := conn.ExecContext(ctx, `VACUUM INTO ?`, made)
		return err
	})
	if err := errors.Join(err, conn.Close()); err != nil {
		return s.blame(err)
	}
	if err := checkCopy(ctx, made); err != nil {
		return err
	}
	if err := sync1(made); err != nil {
		return err
	}
	if err := os.Link(made, path); err != nil { // fails if there is a file
		return err
	}
	return sync1(dir)
}

// sync1 makes a file or directory durable.
func sync1(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// checkCopy reads a whole database and each config in it.
func checkCopy(ctx context.Context, path string) (err error) {
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: "mode=ro&immutable=1"}
	db, err := sqlx.Open("sqlite", u.String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var says string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&says); err != nil {
		return explain(err)
	}
	if says != "ok" {
		return fmt.Errorf("%w: the copy is damaged, as the database is", store.ErrCorrupt)
	}
	rows, err := db.QueryxContext(ctx, `SELECT plugin_id, config FROM plugin_configs WHERE configured = 1`)
	if err != nil {
		return explain(err)
	}
	defer rows.Close()
	var bad []error
	for rows.Next() {
		var id string
		var config []byte
		if err := rows.Scan(&id, &config); err != nil {
			return explain(err)
		}
		if _, err := readable(config); err != nil {
			bad = append(bad, &store.Error{Op: "backup", ID: id, Err: err})
		}
	}
	return errors.Join(append(bad, rows.Err())...)
}
