package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"github.com/jmoiron/sqlx"
)

// readOnly reports whether err says that the directory cannot be written to.
func readOnly(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// openReadOnly opens a database where no lock file can be made, because of cause. Saves then fail with an error that says so.
//
// If another process has the database open, SQLite's files beside it are there and it is read like any other. If not, SQLite cannot make them, and
// reads the file as one that nobody changes: then each read checks that nobody has.
func openReadOnly(ctx context.Context, path string, o options, cause error) (*Store, error) {
	if err := regular(path); err != nil {
		return nil, cause
	}
	s, err := openFrozen(ctx, path, o, false)
	if code(err) == codeCantOpen || code(err) == codeReadOnly {
		if info, statErr := os.Stat(path + "-wal"); statErr == nil && info.Size() > 0 {
			return nil, fmt.Errorf("its -wal file has saves that are not in the database yet, and they cannot be read where the directory is read-only: "+
				"open the database once where it can be written: %w", cause)
		}
		s, err = openFrozen(ctx, path, o, true)
	}
	if err != nil {
		return nil, errors.Join(err, cause)
	}
	s.readOnly = fmt.Errorf("the database was opened for reading only, because its directory cannot be written to (%w): %w", fs.ErrPermission, cause)
	return s, nil
}

func openFrozen(ctx context.Context, path string, o options, immutable bool) (*Store, error) {
	params := []string{"mode", "ro", "_query_only", "1"}
	if immutable {
		params = append(params, "immutable", "1")
	}
	db, err := sqlx.Open("sqlite", dsn(path, o, params...))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(maxReaders)
	db.SetMaxIdleConns(maxReaders)
	s := newStore(o, db, db)
	s.shared = false
	s.close = sync.OnceValue(func() error {
		s.shutDown()
		return db.Close()
	})
	file := &file{path: path}
	if err = file.remember(); err == nil {
		s.intact = file.intact
		if immutable {
			s.intact = file.unchanged
			s.frozen = file.unchanged
		}
		var current bool
		if current, err = upToDate(ctx, db); err == nil && !current {
			err = errors.New("its tables are of an older version: open the database once where it can be written")
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// unchanged tells whether nobody has written to the database since it was opened.
func (f *file) unchanged() error {
	if err := f.intact(); err != nil {
		return err
	}
	now, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	wal, err := os.Stat(f.path + "-wal")
	if err == nil && wal.Size() > 0 || !now.ModTime().Equal(f.before.ModTime()) || now.Size() != f.before.Size() {
		return errors.New("the database has been written to since it was opened for reading only: open the store again")
	}
	return nil
}
