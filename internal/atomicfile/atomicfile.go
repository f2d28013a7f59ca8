// Package atomicfile writes the files of one directory so that each is, at any moment and after any crash, either as it was or
// complete.
//
// A file is staged first: written under a temporary name and synced to the disk. Then it is renamed over the file it replaces, and
// the directory is synced, so that the new name lasts too. All names are looked up below the directory with os.Root: neither a name
// nor a symbolic link leads out of it.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

const (
	tempPrefix = ".pluginregistry-"
	tempSuffix = ".tmp"
)

// IsTemp tells whether name is one that Stage gives.
func IsTemp(name string) bool {
	rest, ok := strings.CutPrefix(name, tempPrefix)
	random, isTemp := strings.CutSuffix(rest, tempSuffix)
	return ok && isTemp && random != "" && !strings.ContainsAny(random, `/\`)
}

// Dir is an open directory. Its methods may be called by any number of goroutines at once.
type Dir struct {
	root *os.Root
	self *os.File // the directory itself, to sync
	path string
	info fs.FileInfo // which directory was at path
}

// Open opens the directory at path, which it makes, with its parents, 0700, if it is missing.
func Open(path string) (*Dir, error) {
	if err := makeDir(path); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	self, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	info, err := self.Stat()
	if err != nil {
		return nil, errors.Join(err, self.Close(), root.Close())
	}
	return &Dir{root, self, path, info}, nil
}

// Intact returns an error if the directory is not where it was opened, so that nobody who looks there later would find what is written to
// it. Where it cannot be told, as the way there is barred by now, it is nil.
func (d *Dir) Intact() error {
	info, err := os.Stat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the directory is gone, nothing can be kept in it: put it back and open the store again: %w", err)
	case err == nil && !os.SameFile(info, d.info):
		return errors.New("the directory was replaced by another while it was open, nothing can be kept in the old one: open the store again")
	}
	return nil
}

// makeDir makes the directory and syncs the parents of all that it made: a file in a directory that is gone after a power failure
// is gone too.
func makeDir(path string) error {
	var made []string
	for dir := path; ; dir = filepath.Dir(dir) {
		_, err := os.Stat(dir)
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		made = append(made, dir)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	for _, dir := range made {
		parent, err := os.Open(filepath.Dir(dir))
		if err != nil {
			return err
		}
		if err := errors.Join(syncDir(parent), parent.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the directory.
func (d *Dir) Close() error { return errors.Join(d.self.Close(), d.root.Close()) }

// Lstat tells about the file, or about the symbolic link if it is one.
func (d *Dir) Lstat(name string) (fs.FileInfo, error) { return d.root.Lstat(name) }

// Open opens a file for reading. It does not wait for the other end of a FIFO.
func (d *Dir) Open(name string) (*os.File, error) {
	return d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// Names lists the directory, in no order.
func (d *Dir) Names() ([]string, error) {
	f, err := d.root.Open(".") // its own handle, as each has its own place in the list
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

// Stage writes data to a new file, 0600, under a temporary name of its own and syncs it. On error there is no such file.
func (d *Dir) Stage(data []byte) (temp string, info fs.FileInfo, err error) {
	temp = tempPrefix + rand.Text() + tempSuffix
	f, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", nil, fmt.Errorf("making a temporary file: %w", err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		info, err = f.Stat()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		err = fmt.Errorf("writing a temporary file: %w", err)
		return "", nil, errors.Join(err, d.root.Remove(temp))
	}
	return temp, info, nil
}

// Rename gives a file another name, in place of the file that may have had it. It lasts once Sync has returned.
func (d *Dir) Rename(from, to string) error { return d.root.Rename(from, to) }

// Link gives a file a second name, which must be free.
func (d *Dir) Link(from, to string) error { return d.root.Link(from, to) }

// Remove removes a file or an empty directory. It lasts once Sync has returned.
func (d *Dir) Remove(name string) error { return d.root.Remove(name) }

// Sync returns when all changes of names in the directory would outlast a power failure.
func (d *Dir) Sync() error { return syncDir(d.self) }

// syncDir does nothing where there is no such thing: on Windows, and on some network file systems.
func syncDir(dir *os.File) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	err := dir.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}
