package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/pressly/goose/v3"

	migrations "github.com/pluginregistry/pluginregistry/migrations/sqlite"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

func put(t *testing.T, s store.Store, id, config string) store.Record {
	t.Helper()
	rec, err := s.Put(t.Context(), id, json.RawMessage(config), store.Any)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func wantConfig(t *testing.T, s store.Store, id, config string) {
	t.Helper()
	if rec, err := s.Get(t.Context(), id); err != nil || string(rec.Config) != config {
		t.Errorf("config of %q is %s, %v; want %s", id, rec.Config, err, config)
	}
}

// TestFiles: all files have mode 0600, and missing directories are made.
func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "too")
	s := open(t, filepath.Join(dir, "registry.db"))
	put(t, s, "a", `{}`)
	var names []string
	for _, entry := range must(os.ReadDir(dir)) {
		names = append(names, entry.Name())
		if mode := must(entry.Info()).Mode(); mode != 0o600 {
			t.Errorf("%s has the mode %v", entry.Name(), mode)
		}
	}
	if got := strings.Join(names, " "); got != "registry.db registry.db-shm registry.db-wal registry.db.lock" {
		t.Errorf("the files are %s", got)
	}
	if mode := must(os.Stat(dir)).Mode().Perm(); mode != 0o700 {
		t.Errorf("the directory has the mode %v", mode)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestPaths: a path is a file name and nothing else, and pragmas count for each.
func TestPaths(t *testing.T) {
	for _, name := range []string{
		"with space.db", "what?.db", "mode=memory?cache=shared", "x?_pragma=synchronous(0)", "a#b.db", "100%.db", "%41.db", "%zz",
		"ünï 日本 😀.db", "a&b=c;d.db", "file:x.db", "-x.db", "x", "'quote\".db", "back\\slash", ".hidden", "+plus.db", ":x:",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, filepath.Join(dir, name))
			put(t, s, "a", `{"name":true}`)
			for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
				if _, err := os.Lstat(filepath.Join(dir, name+suffix)); err != nil {
					t.Error(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			wantConfig(t, open(t, filepath.Join(dir, name)), "a", `{"name":true}`)
		})
	}
	t.Run("relative", func(t *testing.T) {
		t.Chdir(t.TempDir())
		put(t, open(t, "sub/x.db"), "a", `{}`)
		if _, err := os.Stat("sub/x.db"); err != nil {
			t.Error(err)
		}
	})
	t.Run("through a link", func(t *testing.T) {
		dir := t.TempDir()
		first := open(t, filepath.Join(dir, "real.db"))
		if err := os.Symlink("real.db", filepath.Join(dir, "link.db")); err != nil {
			t.Skip("no symbolic links here:", err)
		}
		put(t, open(t, filepath.Join(dir, "link.db")), "a", `{"n":1}`)
		wantConfig(t, first, "a", `{"n":1}`)
		if _, err := os.Stat(filepath.Join(dir, "link.db.lock")); err == nil {
			t.Error("the link has a lock file of its own")
		}
	})
}

// TestPragmas: every save is durable, also after the loss of power, and the -wal file is bounded.
func TestPragmas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "secure_delete": "1", "busy_timeout": "20"} {
		if got := s.Pragma(t, pragma); got != want {
			t.Errorf("%s is %s, want %s", pragma, got, want)
		}
	}
}

// TestRefusedFiles: what is no database of ours is refused with a clear error and left as it is.
func TestRefusedFiles(t *testing.T) {
	newer := func(t *testing.T, path string) {
		s := open(t, path)
		put(t, s, "a", `{"n":1}`)
		s.Close()
		db := must(sql.Open("sqlite", path))
		defer db.Close()
		if _, err := db.Exec(`INSERT INTO ` + migrations.Table + ` (version_id, is_applied) VALUES (99999, 1)`); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		want error
		says string
	}{
		"newer version": {newer, store.ErrTooNew, "version 99999"},
		"text": {func(t *testing.T, path string) {
			os.WriteFile(path, []byte(strings.Repeat("this is no database\n", 1000)), 0o600)
		}, store.ErrCorrupt, "no SQLite database"},
		"short text": {func(t *testing.T, path string) { os.WriteFile(path, []byte("hello"), 0o600) }, store.ErrCorrupt, "no SQLite database"},
		"directory":  {func(t *testing.T, path string) { os.Mkdir(path, 0o700) }, nil, "no regular file"},
		"cut database": {func(t *testing.T, path string) {
			s := open(t, path)
			put(t, s, "a", `{"n":1}`)
			s.Close()
			os.Truncate(path, 5000)
		}, store.ErrCorrupt, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			c.make(t, path)
			before, _ := os.ReadFile(path)
			s, err := sqlite.Open(t.Context(), path)
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			var e *store.Error
			if !errors.As(err, &e) || e.Op != "open" || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("the error is %v, want a *store.Error with %v", err, c.want)
			}
			if !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("the error says %q, not %q and the path", err, c.says)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
	for _, path := range []string{"", ":memory:"} {
		if _, err := sqlite.Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "package memory") {
			t.Errorf("opening %q: %v", path, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	path := filepath.Join(t.TempDir(), "x.db")
	if _, err := sqlite.Open(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("opening under a done context: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("opening under a done context made the file")
	}
}

// TestGooseKnowsTheTables: goose's own command finds every migration applied.
func TestGooseKnowsTheTables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	open(t, path).Close()
	db := must(sql.Open("sqlite", path))
	defer db.Close()
	provider := must(goose.NewProvider(goose.DialectSQLite3, db, migrations.Files, goose.WithTableName(migrations.Table), goose.WithDisableGlobalRegistry(true)))
	for _, m := range must(provider.Status(t.Context())) {
		if m.State != goose.StateApplied {
			t.Errorf("migration %s is %s", m.Source.Path, m.State)
		}
	}
	if _, err := provider.DownTo(t.Context(), 0); err != nil {
		t.Errorf("taking the tables away: %v", err)
	}
	put(t, open(t, path), "a", `{}`)
}

// TestEmptyFile: a file without bytes is a database to be made, as SQLite sees it.
func TestEmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	put(t, open(t, path), "a", `{}`)
}

// TestHistoryOption: the newest states stay, as many as the setting says, the current one among them; the setting is kept.
func TestHistoryOption(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	count := func(s store.Store, id string) int {
		t.Helper()
		return len(must(store.History(t.Context(), s, id, 0)))
	}
	fill := func(s store.Store, id string, n int) {
		t.Helper()
		for i := range n {
			put(t, s, id, `{"i":`+string(must(json.Marshal(i)))+`}`)
		}
	}
	s := open(t, path)
	fill(s, "default", 60)
	if n := count(s, "default"); n != 50 {
		t.Errorf("by default %d states are kept, want 50", n)
	}
	s.Close()
	s = open(t, path, sqlite.WithHistory(3))
	fill(s, "three", 5)
	fill(s, "default", 1)
	if a, b := count(s, "three"), count(s, "default"); a != 3 || b != 3 {
		t.Errorf("%d and %d states are kept, want 3", a, b)
	}
	s.Close()
	s = open(t, path)
	fill(s, "kept setting", 5)
	if n := count(s, "kept setting"); n != 3 {
		t.Errorf("opened without the option %d states are kept, want 3", n)
	}
	s.Close()
	s = open(t, path, sqlite.WithHistory(0))
	fill(s, "none", 5)
	versions := must(store.History(t.Context(), s, "none", 0))
	if len(versions) != 1 || string(versions[0].Config) != `{"i":4}` {
		t.Errorf("without history there are %d states, want the current one", len(versions))
	}
	s.Close()
	s = open(t, path, sqlite.WithHistory(10))
	if n := count(s, "none"); n != 1 {
		t.Errorf("%d states, want the current one", n)
	}
	fill(s, "none", 2)
	if n := count(s, "none"); n != 2 {
		t.Errorf("%d states, want the two that were saved with history", n)
	}
}

// TestLockFileHeld: a lock file that another holds, such as a stopped process, is waited for as long as for a lock, and the error names it.
func TestLockFileHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	lock := flock.New(path + ".lock")
	if ok, err := lock.TryLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	defer lock.Close()
	_, err := sqlite.Open(t.Context(), path, sqlite.WithBusyTimeout(time.Millisecond))
	if err == nil || !strings.Contains(err.Error(), "x.db.lock") {
		t.Errorf("the error is %v", err)
	}
}
