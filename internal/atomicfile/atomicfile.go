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
	"slices"
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

// Open opens the directory at path, which it makes as MakeDir does if it is missing.
func Open(path string) (*Dir, error) {
	if err := MakeDir(path); err != nil {
		return nil, err
	}
	return openDir(path)
}

func openDir(path string) (*Dir, error) {
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

// MakeDir makes the directory at path, with its parents, 0700, if it is missing. What has been made when it returns lasts: a file in a
// directory that is gone after a power failure is gone too. A directory that is there may have been made just now by a process that was
// killed before it could sync it, so the parent of that one is synced, too.
func MakeDir(path string) error {
	path = filepath.Clean(path)
	var missing []string
	dir := path
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, dir)
	}
	if err := syncPath(filepath.Dir(dir)); err != nil && !errors.Is(err, fs.ErrPermission) { // whoever may not read it has not made dir
		return err
	}
	for _, dir := range slices.Backward(missing) {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := syncPath(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	if info, err := os.Stat(path); err != nil {
		return err
	} else if !info.IsDir() {
		return &fs.PathError{Op: "open", Path: path, Err: syscall.ENOTDIR}
	}
	return nil
}

func syncPath(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(syncDir(f), f.Close())
}

// Close closes the directory.
func (d *Dir) Close() error { return errors.Join(d.self.Close(), d.root.Close()) }

// Lstat tells about the file, or about the symbolic link if it is one.
func (d *Dir) Lstat(name string) (fs.FileInfo, error) { return d.root.Lstat(name) }

// Stat tells about the file that name leads to through symbolic links, which may lie outside the directory.
func (d *Dir) Stat(name string) (fs.FileInfo, error) {
	if _, err := d.root.Lstat(name); err != nil { // or name itself could lead out
		return nil, err
	}
	return os.Stat(filepath.Join(d.path, name))
}

// Follow opens for reading the file that Stat tells about. It does not wait for the other end of a FIFO.
func (d *Dir) Follow(name string) (*os.File, error) {
	if _, err := d.root.Lstat(name); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(d.path, name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

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

// Stage writes data to a new file under a temporary name and syncs it. The file has mode 0600. As root it belongs to whom the
// directory belongs to. On error there is no such file.
func (d *Dir) Stage(data []byte) (temp string, info fs.FileInfo, err error) {
	return d.stage(data, d.info, 0o600)
}

// StageLike is Stage for a file that is to replace the file like: it takes its mode and, as far as the process may, its owner and group.
// If like is nil, it takes what a new file in the directory gets: its owner and group, mode 0600, and for the group the rights that it has
// to the directory, if it may write there or others may not enter.
func (d *Dir) StageLike(data []byte, like fs.FileInfo) (temp string, info fs.FileInfo, err error) {
	if like == nil {
		return d.stage(data, d.info, newMode(d.info.Mode()))
	}
	return d.stage(data, like, like.Mode().Perm())
}

func newMode(dir fs.FileMode) fs.FileMode {
	if dir&0o020 != 0 || dir&0o007 == 0 {
		return 0o600 | dir&0o060
	}
	return 0o600
}

func (d *Dir) stage(data []byte, like fs.FileInfo, mode fs.FileMode) (temp string, info fs.FileInfo, err error) {
	temp = tempPrefix + rand.Text() + tempSuffix
	f, err := d.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", nil, fmt.Errorf("making a temporary file: %w", err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = adopt(f, like, mode)
	}
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

// Create makes a file with data in it, unless there is one: with the mode, owner and group of StageLike for a new file. Nobody ever sees it
// with others.
func Create(path string, data []byte) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d, err := openDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	temp, _, err := d.StageLike(data, nil)
	if err != nil {
		return err
	}
	// Unlike a rename, a link never replaces the file that another process has made meanwhile.
	err = d.Link(temp, filepath.Base(path))
	if _, there := os.Lstat(path); err != nil && there == nil {
		err = nil
	} else if err != nil { // no hard links here
		err = createInPlace(d, filepath.Base(path), data)
	}
	if removed := d.Remove(temp); !errors.Is(removed, fs.ErrNotExist) { // another process may have cleared it away
		err = errors.Join(err, removed)
	}
	return errors.Join(err, d.Sync())
}

func createInPlace(d *Dir, name string, data []byte) error {
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, adopt(f, d.info, newMode(d.info.Mode())), f.Sync(), f.Close())
}

// Rename gives a file another name, in place of the file that may have had it. It lasts once Sync has returned.
func (d *Dir) Rename(from, to string) error { return d.root.Rename(from, to) }

// Link gives a file a second name, which must be free.
func (d *Dir) Link(from, to string) error { return d.root.Link(from, to) }

// Remove removes a file or an empty directory. It lasts once Sync has returned.
func (d *Dir) Remove(name string) error { return d.root.Remove(name) }

// SyncFile returns when what is in the file that name leads to would outlast a power failure, whoever wrote it.
func (d *Dir) SyncFile(name string) error {
	flag := os.O_RDONLY | syscall.O_NONBLOCK
	if runtime.GOOS == "windows" {
		flag = os.O_RDWR // or it cannot be synced
	}
	f, err := os.OpenFile(filepath.Join(d.path, name), flag, 0)
	if err != nil {
		return err
	}
	return errors.Join(syncable(f.Sync()), f.Close())
}

// Sync returns when all changes of names in the directory would outlast a power failure.
func (d *Dir) Sync() error { return syncDir(d.self) }

func syncDir(dir *os.File) error {
	if runtime.GOOS == "windows" { // there is no such thing
		return nil
	}
	return syncable(dir.Sync())
}

// syncable is err unless it says that there is nothing to sync, as on some network file systems and where nobody can write.
func syncable(err error) error {
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EROFS) {
		return nil
	}
	return err
}
