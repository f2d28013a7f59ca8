package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
	"github.com/pluginregistry/pluginregistry/store/storetest"
)

// raw opens a database as another program would.
func raw(t *testing.T, path string) *sql.DB {
	t.Helper()
	db := must(sql.Open("sqlite", path))
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func exec1(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// TestLocked: a program that holds the database locked for longer than the timeout makes writes fail with a clear error, and reads go on;
// afterwards all works again.
func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path, sqlite.WithBusyTimeout(20*time.Millisecond))
	put(t, s, "a", `{"n":1}`)
	other := raw(t, path)
	exec1(t, other, `BEGIN IMMEDIATE`)
	var wg sync.WaitGroup
	for n := range 3 { // one alone, and some together
		wg.Go(func() {
			_, err := s.Put(t.Context(), fmt.Sprint("b", n), json.RawMessage(`{}`), store.Any)
			if err == nil || !strings.Contains(err.Error(), "locked by another program") {
				t.Errorf("the error is %v", err)
			}
		})
	}
	wg.Wait()
	wantConfig(t, s, "a", `{"n":1}`)
	patient := open(t, path, sqlite.WithBusyTimeout(time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := patient.Put(ctx, "c", json.RawMessage(`{}`), store.Any); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller who gave up waiting got %v", err)
	}
	exec1(t, other, `ROLLBACK`)
	put(t, s, "b", `{"n":2}`)
	if ids := must(s.Configured(t.Context(), "")); !slices.Equal(ids, []string{"a", "b"}) {
		t.Errorf("configured: %q", ids)
	}
}

// TestWaitsForLock: a lock shorter than the timeout is waited for.
func TestWaitsForLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path, sqlite.WithBusyTimeout(time.Minute))
	other := raw(t, path)
	exec1(t, other, `BEGIN IMMEDIATE`)
	done := make(chan error)
	go func() {
		_, err := s.Put(t.Context(), "a", json.RawMessage(`{}`), store.Any)
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("the write did not wait: %v", err)
	case <-time.After(30 * time.Millisecond):
	}
	exec1(t, other, `COMMIT`)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestFileGone: what cannot be kept is not acknowledged.
func TestFileGone(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"deleted": os.Remove,
		"moved":   func(path string) error { return os.Rename(path, path+".old") },
		"replaced": func(path string) error {
			if err := os.WriteFile(path+".new", []byte("garbage"), 0o600); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS == "windows" {
				t.Skip("Windows does not let an open file go")
			}
			path := filepath.Join(t.TempDir(), "x.db")
			s := open(t, path, sqlite.WithPollInterval(pollInterval))
			put(t, s, "a", `{"n":1}`)
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			_, err := s.Put(t.Context(), "a", json.RawMessage(`{"n":2}`), store.Any)
			if err == nil || !strings.Contains(err.Error(), "open the store again") {
				t.Errorf("a save was acknowledged, or the error is not clear: %v", err)
			}
			_, err = s.PutAll(t.Context(), []store.Put{{ID: "a", Config: json.RawMessage(`{"n":3}`), Match: store.Any}, {ID: "b", Config: json.RawMessage(`{"n":3}`), Match: store.Any}})
			if err == nil {
				t.Error("a batch was acknowledged")
			}
			for _, err := range s.Watch(t.Context()) {
				if err == nil || !strings.Contains(err.Error(), "open the store again") {
					t.Errorf("the watcher sees %v", err)
				}
				break
			}
		})
	}
}

// spoilers damage a file that a store has open.
var spoilers = map[string]func(path string) error{
	"truncated": func(path string) error { return os.Truncate(path, 0) },
	"cut":       func(path string) error { return os.Truncate(path, 8192) },
	"overwritten": func(path string) error {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(bytes.Repeat([]byte("garbage "), 4096), 0)
		return errors.Join(err, f.Close())
	},
}

const (
	spoilerVar = "SQLITE_TEST_SPOILER"
	spoiledVar = "SQLITE_TEST_SPOILED"
	openerVar  = "SQLITE_TEST_OPENER"
)

func TestMain(m *testing.M) {
	if spoil, ok := spoilers[os.Getenv(spoilerVar)]; ok {
		if err := spoil(os.Getenv(spoiledVar)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if path := os.Getenv(openerVar); path != "" {
		os.Stdout.WriteString("ready")
		if _, err := sqlite.Open(context.Background(), path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		select {} // until it is killed
	}
	goleak.VerifyTestMain(m)
}

// spoilElsewhere damages a file in another process: closing it in this one would let go of SQLite's locks on it.
func spoilElsewhere(t *testing.T, spoiler, path string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), must(os.Executable()))
	cmd.Env = append(os.Environ(), spoilerVar+"="+spoiler, spoiledVar+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestSpoiledInPlace: a file that is truncated or overwritten while it is open gives errors or what was saved, never anything else, and a
// save that is acknowledged afterwards can be read.
func TestSpoiledInPlace(t *testing.T) {
	for name := range spoilers {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			first := open(t, path)
			for n := range 50 {
				put(t, first, fmt.Sprint("id", n), fmt.Sprintf(`{"n":%d,"pad":%q}`, n, strings.Repeat("x", 1000)))
			}
			first.Close() // all is in the database file itself
			s := must(sqlite.Open(t.Context(), path, sqlite.WithBusyTimeout(time.Millisecond)))
			defer s.Close() // which may fail
			wantConfig(t, s, "id7", fmt.Sprintf(`{"n":7,"pad":%q}`, strings.Repeat("x", 1000)))
			// Not in this process: closing the file would let go of SQLite's locks on it.
			spoilElsewhere(t, name, path)
			acknowledged := map[string]string{}
			for n := range 50 {
				id := fmt.Sprint("id", n)
				rec, err := s.Get(t.Context(), id)
				if err == nil && string(rec.Config) != fmt.Sprintf(`{"n":%d,"pad":%q}`, n, strings.Repeat("x", 1000)) {
					t.Errorf("%s is another config now", id)
				}
				if err != nil && !errors.Is(err, store.ErrCorrupt) {
					t.Errorf("%s: %v", id, err)
				}
				if _, err := s.Put(t.Context(), id, json.RawMessage(`{"new":true}`), store.Any); err == nil {
					acknowledged[id] = `{"new":true}`
				}
			}
			for id, config := range acknowledged {
				wantConfig(t, s, id, config)
			}
			t.Logf("%d of 50 saves were acknowledged", len(acknowledged))
		})
	}
}

// TestDamagedRow: one unreadable row is that plugin's error alone; saving over it or deleting it keeps the old text aside.
func TestDamagedRow(t *testing.T) {
	for _, history := range []int{0, 50} {
		t.Run(fmt.Sprintf("history of %d", history), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			s := open(t, path, sqlite.WithHistory(history))
			for _, id := range []string{"a", "b", "c", "d"} {
				put(t, s, id, `{"ok":true}`)
			}
			other := raw(t, path)
			exec1(t, other, `PRAGMA ignore_check_constraints = 1`)
			exec1(t, other, `UPDATE plugin_configs SET config = '{"key":"hunter2"' WHERE plugin_id IN ('b', 'c')`)
			exec1(t, other, `UPDATE plugin_configs SET updated_at = 'yesterday' WHERE plugin_id = 'd'`)
			for _, id := range []string{"b", "c", "d"} {
				_, err := s.Get(t.Context(), id)
				if !errors.Is(err, store.ErrCorrupt) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("Get(%q): %v, want ErrCorrupt without the config", id, err)
				}
			}
			wantConfig(t, s, "a", `{"ok":true}`)
			if ids := must(s.Configured(t.Context(), "")); !slices.Equal(ids, []string{"a", "b", "c", "d"}) {
				t.Errorf("configured: %q", ids)
			}
			var text string
			if err := other.QueryRow(`SELECT config FROM plugin_configs WHERE plugin_id = 'b'`).Scan(&text); err != nil || text != `{"key":"hunter2"` {
				t.Errorf("the damaged text is now %s, %v", text, err)
			}
			put(t, s, "b", `{"new":true}`)
			if err := s.Delete(t.Context(), "c", store.Any); err != nil {
				t.Error(err)
			}
			put(t, s, "d", `{"new":true}`)
			exec1(t, other, `UPDATE plugin_configs SET config = '{"key":"hunter3"' WHERE plugin_id IN ('b', 'd')`)
			if _, err := s.Put(t.Context(), "b", json.RawMessage(`{"new":true}`), store.Any); err != nil {
				t.Error(err)
			}
			if err := s.Delete(t.Context(), "d", store.Any); err != nil {
				t.Error(err)
			}
			exec1(t, other, `UPDATE plugin_configs SET updated_at = 'yesterday' WHERE plugin_id = 'a'`)
			if _, err := s.Put(t.Context(), "a", json.RawMessage(`{"new":true}`), store.Any); err != nil {
				t.Error(err)
			}
			if ids := must(s.Configured(t.Context(), "")); !slices.Equal(ids, []string{"a", "b"}) {
				t.Errorf("configured: %q", ids)
			}
			wantConfig(t, s, "b", `{"new":true}`)
			var kept int
			if err := other.QueryRow(`SELECT count(*) FROM plugin_config_damaged WHERE config = '{"key":"hunter2"' AND plugin_id IN ('b', 'c')`).Scan(&kept); err != nil || kept != 2 {
				t.Errorf("%d damaged texts are kept aside, %v; want 2", kept, err)
			}
			for _, id := range []string{"a", "b", "c", "d"} {
				versions, err := s.History(t.Context(), id, 0)
				if err != nil {
					t.Errorf("History(%q): %v", id, err)
				}
				for _, v := range versions {
					if v.Err != nil && (!errors.Is(v.Err, store.ErrCorrupt) || v.Config != nil) {
						t.Errorf("a state of %q that cannot be read has %v and %s", id, v.Err, v.Config)
					}
				}
			}
		})
	}
}

// TestReplacedByHand: a row that is put back by hand gets a revision that has not been, whatever it brings, and saves go on from there; its
// history stays.
func TestReplacedByHand(t *testing.T) {
	for history, want := range map[int]string{0: `{"hand":1}`, 3: `{"hand":1} {"n":4} {"n":3}`} {
		for _, revision := range []int{0, 1, 2, 5} {
			t.Run(fmt.Sprintf("history of %d, revision %d", history, revision), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "x.db")
				s := open(t, path, sqlite.WithHistory(history))
				for n := range 5 {
					put(t, s, "a", fmt.Sprintf(`{"n":%d}`, n))
				}
				exec1(t, raw(t, path), `INSERT OR REPLACE INTO plugin_configs (plugin_id, config, revision) VALUES ('a', '{"hand":1}', ?)`, revision)
				if rec := must(s.Get(t.Context(), "a")); rec.Revision != "6" || string(rec.Config) != `{"hand":1}` {
					t.Errorf("there is %v, want revision 6", rec)
				}
				if got := configsOf(must(s.History(t.Context(), "a", 0))); got != want {
					t.Errorf("the history is %s, want %s", got, want)
				}
				for n := range 5 {
					if rec := put(t, s, "a", fmt.Sprintf(`{"m":%d}`, n)); rec.Revision != store.Revision(fmt.Sprint(7+n)) {
						t.Errorf("the next save is %v", rec)
					}
				}
			})
		}
	}
}

// TestClockSetBack: revisions do not depend on the clock.
func TestClockSetBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path)
	put(t, s, "a", `{"n":1}`)
	exec1(t, raw(t, path), `UPDATE plugin_configs SET updated_at = '2999-01-01T00:00:00.000Z'`)
	before := must(s.Get(t.Context(), "a"))
	if before.UpdatedAt.Year() != 2999 {
		t.Fatalf("the time is %v", before.UpdatedAt)
	}
	after := put(t, s, "a", `{"n":2}`)
	if after.Revision == before.Revision || after.UpdatedAt.Year() == 2999 {
		t.Errorf("after a save with an earlier clock: %v", after)
	}
	wantConfig(t, s, "a", `{"n":2}`)
	versions := must(s.History(t.Context(), "a", 0))
	if string(versions[0].Config) != `{"n":2}` {
		t.Errorf("the newest state is %s", versions[0].Config)
	}
}

// TestLongReader: a reader in a long transaction keeps nobody from saving, and the -wal file shrinks when it has ended.
func TestLongReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path)
	put(t, s, "a", `{"n":0}`)
	reader := raw(t, path)
	exec1(t, reader, `BEGIN`)
	var n int
	if err := reader.QueryRow(`SELECT count(*) FROM plugin_configs`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	for n := range 1200 {
		put(t, s, "a", fmt.Sprintf(`{"n":%d,"pad":%q}`, n, strings.Repeat("x", 1000)))
	}
	if size := must(os.Stat(path + "-wal")).Size(); size < 5<<20 {
		t.Errorf("the -wal file has %d bytes; the test does not hold it", size)
	}
	exec1(t, reader, `COMMIT`)
	for n := range 3 {
		put(t, s, "a", fmt.Sprintf(`{"m":%d}`, n))
	}
	if size := must(os.Stat(path + "-wal")).Size(); size > 5<<20 {
		t.Errorf("the -wal file has %d bytes after the reader has ended", size)
	}
}

// TestWALIsBounded: saves alone do not let the -wal file grow.
func TestWALIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path)
	for n := range 2500 {
		put(t, s, fmt.Sprint("id", n%20), fmt.Sprintf(`{"n":%d,"pad":%q}`, n, strings.Repeat("x", 1000)))
	}
	if size := must(os.Stat(path + "-wal")).Size(); size > 5<<20 {
		t.Errorf("the -wal file has %d bytes", size)
	}
}

// TestFullDisk: a save that finds no room is an error that says so, nothing acknowledged is lost, and with room again it works on.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	small := filepath.Join(dir, "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", small).CombinedOutput(); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", small).Run() })
	s := must(sqlite.Open(t.Context(), filepath.Join(small, "x.db")))
	t.Cleanup(func() { s.Close() })
	config := func(n int) string { return fmt.Sprintf(`{"n":%d,"pad":%q}`, n, strings.Repeat("x", 3000)) }
	ballast := filepath.Join(small, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 100<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	acknowledged := 0
	var full error
	for full == nil && acknowledged < 1000 {
		if _, full = s.Put(t.Context(), fmt.Sprint("id", acknowledged), json.RawMessage(config(acknowledged)), store.Any); full == nil {
			acknowledged++
		}
	}
	if !errors.Is(full, syscall.ENOSPC) || strings.Contains(full.Error(), "xxx") {
		t.Errorf("the full disk says: %v", full)
	}
	check := func(s store.Store) {
		t.Helper()
		for n := range acknowledged {
			wantConfig(t, s, fmt.Sprint("id", n), config(n))
		}
		if ids := must(s.Configured(t.Context(), "")); len(ids) != acknowledged {
			t.Errorf("%d configs are there, %d were acknowledged", len(ids), acknowledged)
		}
	}
	check(s)
	var wg sync.WaitGroup
	for n := range 8 { // several that wait for one commit fail as well
		wg.Go(func() {
			if _, err := s.Put(t.Context(), fmt.Sprint("more", n), json.RawMessage(config(n)), store.Any); err != nil && !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("the full disk says: %v", err)
			} else if err == nil {
				t.Error("a save was acknowledged on a full disk")
			}
		})
	}
	wg.Wait()
	check(s)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	put(t, s, fmt.Sprint("id", acknowledged), config(acknowledged))
	acknowledged++
	check(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(open(t, filepath.Join(small, "x.db")))
}

// TestKilledWhileMigrating: a process that is killed while it makes the tables leaves a database that the next one finishes.
func TestKilledWhileMigrating(t *testing.T) {
	rounds := 5
	if storetest.Long() {
		rounds = 100
	}
	for round := range rounds {
		path := filepath.Join(t.TempDir(), "x.db")
		cmd := exec.CommandContext(t.Context(), must(os.Executable()))
		cmd.Env = append(os.Environ(), openerVar+"="+path)
		out := must(cmd.StdoutPipe())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		for range rand.IntN(3_000_000) { // somewhere in what it does next
			_ = rand.Uint64()
		}
		cmd.Process.Kill()
		cmd.Wait()
		s, err := sqlite.Open(t.Context(), path)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		put(t, s, "a", `{"n":1}`)
		wantConfig(t, s, "a", `{"n":1}`)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLogRemoved: no save is acknowledged after the -wal file was removed or replaced, and watchers are told.
func TestLogRemoved(t *testing.T) {
	for what, do := range map[string]func(path string) error{
		"removed":  os.Remove,
		"replaced": func(path string) error { return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)) },
	} {
		t.Run(what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			s := open(t, path)
			put(t, s, "a", `{"n":1}`)
			put(t, s, "a", `{"n":2}`)
			if err := do(path + "-wal"); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := s.Put(t.Context(), "a", json.RawMessage(`{"n":3}`), store.Any); err == nil || !strings.Contains(err.Error(), "-wal") {
					t.Errorf("saved: %v", err)
				}
			}
			for _, err := range s.Watch(t.Context()) {
				if err == nil || !strings.Contains(err.Error(), "-wal") {
					t.Errorf("the watcher is told %v", err)
				}
				break
			}
		})
	}
}
