package sqlite_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pluginregistry/pluginregistry/store"
)

// TestBackup: a copy made while the store is in use is complete, private, and opens like any other database.
func TestBackup(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "x.db"))
	for n := range 20 {
		put(t, s, fmt.Sprint("id", n), fmt.Sprintf(`{"n":%d}`, n))
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				put(t, s, "busy", fmt.Sprintf(`{"n":%d}`, n))
			}
		}
	})
	path := filepath.Join(dir, "backup %41?.db")
	err := s.Backup(t.Context(), path)
	close(stop)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if mode := must(os.Stat(path)).Mode(); mode != 0o600 {
		t.Errorf("the copy has the mode %v", mode)
	}
	if left := must(filepath.Glob(filepath.Join(dir, ".backup*"))); len(left) > 0 {
		t.Errorf("there is left %q", left)
	}
	if err := s.Backup(t.Context(), path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	back := open(t, path)
	for n := range 20 {
		wantConfig(t, back, fmt.Sprint("id", n), fmt.Sprintf(`{"n":%d}`, n))
	}
	if rec := put(t, back, "id0", `{"m":1}`); rec.Revision != "2" {
		t.Errorf("the copy goes on at %v", rec)
	}
}

// TestBackupOfDamaged: a config that cannot be read is named, and no copy is made.
func TestBackupOfDamaged(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "x.db"))
	put(t, s, "a", `{}`)
	db := raw(t, filepath.Join(dir, "x.db"))
	exec1(t, db, `PRAGMA ignore_check_constraints = 1`)
	exec1(t, db, `UPDATE plugin_configs SET config = 'hunter2'`)
	err := s.Backup(t.Context(), filepath.Join(dir, "copy.db"))
	if e, ok := errors.AsType[*store.Error](err); !errors.Is(err, store.ErrCorrupt) || !ok || e.Op != "backup" {
		t.Errorf("the error is %v", err)
	}
	if names := must(filepath.Glob(filepath.Join(dir, "*copy*"))); len(names) > 0 {
		t.Errorf("there is %q", names)
	}
}
