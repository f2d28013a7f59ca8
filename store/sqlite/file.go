package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pluginregistry/pluginregistry/internal/atomicfile"
	"github.com/pluginregistry/pluginregistry/internal/filelock"
	"github.com/pluginregistry/pluginregistry/store"
)

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
	return path, atomicfile.MakeDir(filepath.Dir(path))
}

// lockFile takes the lock by which processes take turns in opening and migrating.
func lockFile(ctx context.Context, path string, o options) (*filelock.Lock, error) {
	path += ".lock"
	lock := filelock.New(path)
	if err := lock.LockWithin(ctx, max(o.busyTimeout, time.Second)); err != nil {
		return nil, fmt.Errorf("lock file %q: %w", path, err)
	}
	return lock, nil
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
	wal    os.FileInfo // of the -wal file, which stays as long as a connection is open; nil if that is not known
}

func (f *file) remember() (err error) {
	f.before, err = os.Stat(f.path)
	return err
}

// rememberWAL is for a database of which this store keeps a connection open.
func (f *file) rememberWAL() {
	if wal, err := os.Stat(f.path + "-wal"); err == nil {
		f.wal = wal
	}
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
	if f.wal == nil {
		return nil
	}
	if now, err := os.Stat(f.path + "-wal"); err != nil || !os.SameFile(f.wal, now) {
		return errors.New("the -wal file was removed or replaced while the database was open, what is saved now could be lost: open the store again, and " +
			"never remove that file by hand")
	}
	return nil
}
