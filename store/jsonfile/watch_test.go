package jsonfile

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginregistry/pluginregistry/store"
)

// watching is a Watch under a clock that the test moves.
type watching struct {
	t    *testing.T
	s    *Store
	dir  string
	next func() (store.Change, error, bool)
}

// watch runs f in a bubble in which time passes only while all wait. Files have times of the real clock, unless f sets them.
func watch(t *testing.T, dir string, f func(w *watching)) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, dir)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a minute of the bubble: nothing comes any more
		defer cancel()
		next, stop := iter.Pull2(s.Watch(ctx))
		defer stop()
		f(&watching{t, s, dir, next})
	})
}

func (w *watching) want(want ...store.Change) {
	w.t.Helper()
	for _, want := range want {
		c, err, ok := w.next()
		if c != want || err != nil || !ok {
			w.t.Errorf("change %+v, %v, %t; want %+v", c, err, ok, want)
		}
	}
}

// wantNothing waits out the minute.
func (w *watching) wantNothing() {
	w.t.Helper()
	if c, err, _ := w.next(); !errors.Is(err, context.DeadlineExceeded) {
		w.t.Errorf("change %+v, %v; want none", c, err)
	}
	if _, _, ok := w.next(); ok {
		w.t.Error("it goes on after its context ended")
	}
}

func (w *watching) age(name string, age time.Duration) {
	w.t.Helper()
	at := time.Now().Add(-age)
	if err := os.Chtimes(filepath.Join(w.dir, name), at, at); err != nil {
		w.t.Fatal(err)
	}
}

func lstat(t *testing.T, dir, name string) fs.FileInfo {
	t.Helper()
	info, err := os.Lstat(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func saved(id, content string) store.Change {
	return store.Change{ID: id, Revision: revision([]byte(content)), Configured: true}
}

func TestWatchHandEdits(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.json", `{"a":1}`)
	write(t, dir, "b.json", `{"b":1}`)
	watch(t, dir, func(w *watching) {
		t := w.t
		write(t, dir, "c.json", `{"c":1}`)
		write(t, dir, "b.json", `{"b":2}`)
		write(t, dir, "notes.txt", `x`)
		w.want(saved("b", `{"b":2}`), saved("c", `{"c":1}`))
		if err := os.Remove(filepath.Join(dir, "a.json")); err != nil {
			t.Fatal(err)
		}
		write(t, dir, "b.json", `{"torn`) // a change like any other
		w.want(store.Change{ID: "a"}, saved("b", `{"torn`))
		_, err := w.s.Get(t.Context(), "b")
		wantErr(t, err, store.ErrCorrupt)
		write(t, dir, "b.json", `{"b":2}`)
		w.want(saved("b", `{"b":2}`))
		if err := os.Rename(filepath.Join(dir, "c.json"), filepath.Join(dir, "d.json")); err != nil {
			t.Fatal(err)
		}
		w.want(store.Change{ID: "c"}, saved("d", `{"c":1}`))
		if err := os.Mkdir(filepath.Join(dir, "e.json"), 0o700); err != nil {
			t.Fatal(err)
		}
		w.want(saved("e", "not a regular file: a directory"))
		w.age("d.json", time.Minute) // another time, the same content
		w.wantNothing()
	})
}

func TestWatchLegacyNames(t *testing.T) {
	if !legacyNames {
		t.Skip("this system has no such file names")
	}
	dir := t.TempDir()
	watch(t, dir, func(w *watching) {
		t := w.t
		write(t, dir, "l:l.json", `{"a":1}`)
		w.want(saved("l:l", `{"a":1}`))
		write(t, dir, "l%3Al.json", `{"a":2}`) // counts before the other
		w.want(saved("l:l", `{"a":2}`))
		write(t, dir, "l:l.json", `{"a":3}`)
		if err := os.Remove(filepath.Join(dir, "l%3Al.json")); err != nil {
			t.Fatal(err)
		}
		w.want(saved("l:l", `{"a":3}`))
		w.wantNothing()
	})
}

// An edit in place may leave size and time as they were, if it is quick. It is found nevertheless.
func TestWatchSameTimeAndSize(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.json", `{"a":1}`)
	watch(t, dir, func(w *watching) {
		t := w.t
		write(t, dir, "a.json", `{"a":2}`)
		w.age("a.json", 0)
		w.want(saved("a", `{"a":2}`))
		same := time.Now()
		if err := os.Chtimes(filepath.Join(dir, "a.json"), same, same); err != nil {
			t.Fatal(err)
		}
		write(t, dir, "b.json", `{}`)
		w.want(saved("b", `{}`)) // a was looked at with this time
		write(t, dir, "a.json", `{"a":3}`)
		if err := os.Chtimes(filepath.Join(dir, "a.json"), same, same); err != nil {
			t.Fatal(err)
		}
		w.want(saved("a", `{"a":3}`))
		w.wantNothing()
	})
}

// A copy that keeps the times, as cp -p and rsync -t make it, is found by its identity or by when the system last changed the file.
func TestWatchPreservedTimes(t *testing.T) {
	dir := t.TempDir()
	at := time.Now().Add(-time.Hour)
	preserved := func(name, content string) {
		t.Helper()
		path := filepath.Join(dir, name)
		var before time.Time
		if info, err := os.Lstat(path); err == nil {
			before, _ = ctime(info)
		}
		for { // until the clock of the file system has moved on
			write(t, dir, name, content)
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
			if c, ok := ctime(lstat(t, dir, name)); !ok || !c.Equal(before) {
				return
			}
		}
	}
	preserved("a.json", `{"a":1}`)
	preserved("b.json", `{"b":1}`)
	_, told := ctime(lstat(t, dir, "a.json"))
	real := time.Now()
	watch(t, dir, func(w *watching) {
		t := w.t
		w.s.now = func() time.Time { return real.Add(time.Minute) } // all that is there has long been so
		write(t, dir, "c.json", `{}`)
		w.want(saved("c", `{}`))
		preserved("other", `{"b":2}`)
		if err := os.Rename(filepath.Join(dir, "other"), filepath.Join(dir, "b.json")); err != nil {
			t.Fatal(err)
		}
		w.want(saved("b", `{"b":2}`))
		if told {
			preserved("a.json", `{"a":2}`)
			w.want(saved("a", `{"a":2}`))
		}
		w.wantNothing()
	})
}

// counting counts the files that are opened.
type counting struct {
	directory
	opened int
	err    func() error // of Names
}

func (d *counting) Open(name string) (*os.File, error) {
	d.opened++
	return d.directory.Open(name)
}

func (d *counting) Names() ([]string, error) {
	if d.err != nil {
		if err := d.err(); err != nil {
			return nil, err
		}
	}
	return d.directory.Names()
}

func TestWatchReadsWhatChanged(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.json", "b.json", "c.json"} {
		write(t, dir, name, `{}`)
	}
	real := time.Now()
	watch(t, dir, func(w *watching) {
		t := w.t
		if _, ok := ctime(lstat(t, dir, "a.json")); ok { // it is of the real clock
			w.s.now = func() time.Time { return real.Add(time.Minute) }
		}
		for _, name := range []string{"a.json", "b.json", "c.json"} {
			w.age(name, time.Minute)
		}
		write(t, dir, "first.json", `{}`)
		w.age("first.json", time.Minute)
		w.want(saved("first", `{}`))
		d := &counting{directory: w.s.dir}
		w.s.setDir(d)
		write(t, dir, "b.json", `{"b":1}`)
		w.age("b.json", time.Minute)
		w.want(saved("b", `{"b":1}`))
		if d.opened != 1 {
			t.Errorf("%d files were opened for one change", d.opened)
		}
		w.wantNothing()
		if d.opened != 1 {
			t.Errorf("%d files were opened, with nothing more to see", d.opened-1)
		}
	})
}

func TestConfiguredOpensNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.json", `{}`)
	write(t, dir, "b.json", `x`)
	s := openTest(t, dir)
	d := &counting{directory: s.dir}
	s.setDir(d)
	wantConfigured(t, s, "a", "b")
	if d.opened != 0 {
		t.Errorf("%d files were opened", d.opened)
	}
	d.err = func() error { return syscall.EIO }
	_, err := s.Configured(t.Context(), "")
	wantErr(t, err, syscall.EIO)
}

// An error is told once, and what changed meanwhile is told after it.
func TestWatchErrors(t *testing.T) {
	dir := t.TempDir()
	watch(t, dir, func(w *watching) {
		t := w.t
		write(t, dir, "a.json", `{"a":1}`)
		w.want(saved("a", `{"a":1}`))
		start := time.Now()
		failing := &counting{directory: w.s.dir, err: func() error {
			switch since := time.Since(start); {
			case since < 10*time.Second:
				return syscall.EIO
			case since < 20*time.Second:
				return syscall.ENOTDIR
			case since > 30*time.Second:
				return syscall.EIO
			}
			return nil
		}}
		w.s.setDir(failing)
		write(t, dir, "a.json", `{"a":2}`)
		_, err, _ := w.next()
		wantErr(t, err, syscall.EIO)
		_, err, _ = w.next()
		wantErr(t, err, syscall.ENOTDIR)
		w.want(saved("a", `{"a":2}`))
		_, err, _ = w.next()
		wantErr(t, err, syscall.EIO)
		w.wantNothing()
	})
}

// barring is a directory with one file that may not be opened.
type barring struct {
	directory
	name string
}

func (d *barring) Open(name string) (*os.File, error) {
	if name == d.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
	}
	return d.directory.Open(name)
}

// One file that may not be read keeps nobody from being told of the others.
func TestWatchOneUnreadable(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.json", `{"a":1}`)
	watch(t, dir, func(w *watching) {
		t := w.t
		real := w.s.dir
		w.s.setDir(&barring{real, "a.json"})
		write(t, dir, "a.json", `{"a":2}`)
		write(t, dir, "b.json", `{"b":1}`)
		_, err, _ := w.next()
		wantErr(t, err, syscall.EACCES)
		w.want(saved("b", `{"b":1}`))
		write(t, dir, "b.json", `{"b":2}`)
		w.want(saved("b", `{"b":2}`))
		w.s.setDir(real)
		w.want(saved("a", `{"a":2}`))
		w.wantNothing()
	})
}

// If the first look fails, nothing is known to be old: all is told when it can be read.
func TestWatchFailsAtFirst(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.json", `{}`)
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, dir)
		real := s.dir
		s.setDir(&counting{directory: real, err: func() error { return syscall.EIO }})
		changes := s.Watch(t.Context())
		step := 0
		for c, err := range changes {
			step++
			switch step {
			case 1:
				wantErr(t, err, syscall.EIO)
				s.setDir(real)
			case 2:
				if c != saved("a", `{}`) || err != nil {
					t.Errorf("change %+v, %v", c, err)
				}
				return
			}
		}
	})
}

// A batch that a killed process left is finished by a watch too.
func TestWatchFinishesBatch(t *testing.T) {
	dir := t.TempDir()
	watch(t, dir, func(w *watching) {
		t := w.t
		real := w.s.dir
		w.s.setDir(&failing{directory: real, left: 5, dead: true, err: syscall.EIO}) // stage, stage, stage, rename, sync of the journal
		if _, err := w.s.PutAll(t.Context(), []store.Put{
			{ID: "a", Config: json.RawMessage(`{}`), Match: store.Any}, {ID: "b", Config: json.RawMessage(`{}`), Match: store.Any},
		}); err != nil {
			t.Fatal(err)
		}
		w.s.setDir(real)
		if left := names(t, dir); !slices.Contains(left, journalName) || slices.Contains(left, "a.json") {
			t.Errorf("the batch is not half done: %q", left)
		}
		w.want(saved("a", `{}`), saved("b", `{}`))
		w.wantNothing()
	})
}

func TestWatchEndsWithStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		changes := s.Watch(t.Context())
		time.AfterFunc(time.Minute, func() { s.Close() })
		var errs []error
		for _, err := range changes {
			errs = append(errs, err)
		}
		if len(errs) != 1 || !errors.Is(errs[0], store.ErrClosed) {
			t.Errorf("it ended with %v", errs)
		}
	})
}

// A sequence can be ranged over again: it starts again at the call of Watch.
func TestWatchTwice(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, dir)
		changes := s.Watch(t.Context())
		put(t, s, "a", `{}`)
		for range 2 {
			for c, err := range changes {
				if c != saved("a", `{}`) || err != nil {
					t.Errorf("change %+v, %v", c, err)
				}
				break
			}
		}
	})
}

// setDir puts a directory that fails in the place of the store's, while watchers look at it.
func (s *Store) setDir(d directory) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dir = d
}
