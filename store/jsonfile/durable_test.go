package jsonfile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/store"
)

// syncing notes what is synced, and fails as it is told.
type syncing struct {
	directory
	mu     sync.Mutex
	synced []string // file names, "." for the directory
	err    error
}

func (d *syncing) note(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.synced = append(d.synced, name)
	return d.err
}

func (d *syncing) SyncFile(name string) error {
	if err := d.note(name); err != nil {
		return err
	}
	return d.directory.SyncFile(name)
}

func (d *syncing) Sync() error {
	if err := d.note("."); err != nil {
		return err
	}
	return d.directory.Sync()
}

// fail makes every sync fail with err, or none if it is nil.
func (d *syncing) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

// forget forgets what was synced.
func (d *syncing) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.synced = nil
}

// want checks what was synced since it was asked last.
func (d *syncing) want(t *testing.T, what string, want ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.synced, want) {
		t.Errorf("%s synced %q, want %q", what, d.synced, want)
	}
	d.synced = nil
}

// Whatever has become of a save before, a save that is acknowledged is on the disk, and so is a deletion.
func TestAcknowledgedMeansSynced(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	put(t, s, "other", `{}`)
	d := &syncing{directory: s.dir}
	s.setDir(d)
	save := func(id, config string) error {
		_, err := s.Put(t.Context(), id, json.RawMessage(config), store.Any)
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	d.fail(syscall.EIO)
	wantErr(t, save("x", `{"n":1}`), store.ErrUncertain)
	wantErr(t, save("x", `{"n":1}`), syscall.EIO)
	d.fail(nil)
	d.forget()
	must(save("x", `{"n":1}`))
	d.want(t, "the same save after a failure", ".")
	must(save("x", `{"n":1}`))
	d.want(t, "the same save once more")

	d.fail(syscall.EIO)
	wantErr(t, s.Delete(t.Context(), "x", store.Any), store.ErrUncertain)
	wantErr(t, s.Delete(t.Context(), "x", store.Any), syscall.EIO)
	d.fail(nil)
	d.forget()
	must(s.Delete(t.Context(), "x", store.Any))
	d.want(t, "the same deletion after a failure", ".")

	batch := func() error {
		_, err := s.PutAll(t.Context(), []store.Put{{ID: "a", Config: json.RawMessage(`{}`), Match: store.Any}, {ID: "b", Config: json.RawMessage(`{}`), Match: store.Any}})
		return err
	}
	d.fail(syscall.EIO)
	wantErr(t, batch(), store.ErrUncertain)
	wantConfigured(t, s, "other")
	d.fail(nil)
	d.forget()
	must(batch())
	d.want(t, "the same batch after a failure", ".", ".") // the journal, then the files
	must(batch())
	d.want(t, "the batch again", "a.json", "b.json", ".")
	must(batch())
	d.want(t, "the batch once more")

	// What an editor has written, and synced nothing.
	write(t, dir, "edited.json", `{ "n": 1 }`)
	must(save("edited", `{"n":1}`))
	d.want(t, "a save of what an editor wrote", "edited.json", ".")
	must(save("edited", `{"n":1}`))
	d.want(t, "and again")
	write(t, dir, "edited.json", `{ "n": 1 }`) // again, the same bytes
	at := time.Now().Add(-time.Hour)
	must(os.Chtimes(filepath.Join(dir, "edited.json"), at, at)) // in case the clock of the file system is coarse
	must(save("edited", `{"n":1}`))
	d.want(t, "a save of what an editor wrote again", "edited.json", ".")
	write(t, dir, "edited.json", `{ "n": 1 } `)
	d.fail(syscall.EIO)
	wantErr(t, save("edited", `{"n":1}`), store.ErrUncertain)
	d.fail(nil)
	d.forget()
	must(save("edited", `{"n":1}`))
	d.want(t, "a save of what an editor wrote, after a failure", ".") // it is written anew
	wantFile(t, dir, "edited.json", "{\n  \"n\": 1\n}")
}

// A change is told once it is durable, whoever made it.
func TestWatchTellsOfWhatIsDurable(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "old.json", `{}`)
	watch(t, dir, func(w *watching) {
		t := w.t
		d := &syncing{directory: w.s.dir}
		w.s.setDir(d)
		write(t, dir, "a.json", `{"n":1}`)
		w.want(saved("a", `{"n":1}`))
		d.want(t, "a change", "a.json", ".")
		w.wantNothing()
		d.want(t, "nothing to tell")
	})
	watch(t, dir, func(w *watching) {
		t := w.t
		d := &syncing{directory: w.s.dir, err: syscall.EIO}
		w.s.setDir(d)
		write(t, dir, "a.json", `{"n":2}`)
		_, err, _ := w.next()
		wantErr(t, err, syscall.EIO)
		d.fail(nil)
		w.want(saved("a", `{"n":2}`))
		w.wantNothing()
	})
}
