package sqlite_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

// readOnlyMount shows dir again at another place where nothing can be written.
func readOnlyMount(t *testing.T, dir string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a directory read-only")
	}
	at := t.TempDir()
	if err := syscall.Mount(dir, at, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(at, syscall.MNT_DETACH) })
	if err := syscall.Mount("", at, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("needs the right to mount read-only: %v", err)
	}
	return at
}

// TestReadOnlyMount: a database on a read-only mount can be read, whether a writer has it open or not; what cannot be read as it is now is an
// error, never an older config; and saves are an error that says why.
func TestReadOnlyMount(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "r.db")
	writer, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	put(t, writer, "a", `{"n":1}`)
	put(t, writer, "a", `{"n":2}`)
	at := readOnlyMount(t, dir)

	beside := open(t, filepath.Join(at, "r.db"))
	wantConfig(t, beside, "a", `{"n":2}`)
	put(t, writer, "a", `{"n":3}`)
	wantConfig(t, beside, "a", `{"n":3}`)
	refuses := func(s *sqlite.Store) {
		t.Helper()
		_, err := s.Put(t.Context(), "a", json.RawMessage(`{}`), store.Any)
		for what, err := range map[string]error{
			"Put":            err,
			"Delete":         s.Delete(t.Context(), "a", store.Any),
			"Scrub":          s.Scrub(t.Context()),
			"RewriteHistory": s.RewriteHistory(t.Context(), "a", func(store.Version) (json.RawMessage, error) { return json.RawMessage(`{}`), nil }),
		} {
			if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "read") {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	refuses(beside)
	if err := beside.Close(); err != nil {
		t.Error(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}

	alone := open(t, filepath.Join(at, "r.db"))
	wantConfig(t, alone, "a", `{"n":3}`)
	if ids, err := alone.Configured(t.Context(), ""); len(ids) != 1 || err != nil {
		t.Errorf("configured: %q, %v", ids, err)
	}
	if states, err := alone.History(t.Context(), "a", 0); len(states) != 3 || err != nil {
		t.Errorf("%d states, %v", len(states), err)
	}
	refuses(alone)
	again := open(t, path)
	put(t, again, "a", `{"n":4}`)
	if rec, err := alone.Get(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "open the store again") {
		t.Errorf("read %s beside a writer, %v", rec.Config, err)
	}
}

// TestReadOnlyMountWithSavesInTheLog: saves that only the -wal file has cannot be read there, and that is an error.
func TestReadOnlyMountWithSavesInTheLog(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "r.db")
	s := open(t, path)
	put(t, s, "a", `{"n":1}`)
	left := t.TempDir() // as a process that was killed leaves it
	for _, name := range []string{"r.db", "r.db-wal"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(left, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := readOnlyMount(t, left)
	s, err := sqlite.Open(context.Background(), filepath.Join(at, "r.db"))
	if err == nil {
		rec, err := s.Get(t.Context(), "a")
		t.Fatalf("read %s, %v", rec.Config, err)
	}
	if !strings.Contains(err.Error(), "-wal") {
		t.Errorf("the error is %v", err)
	}
}
