package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pluginregistry/pluginregistry/internal/pgserver"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/jsonfile"
	"github.com/pluginregistry/pluginregistry/store/postgres"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

// never is a poll interval that no test waits for: what is seen with it, the server has told.
var never = postgres.WithPollInterval(time.Hour)

// next returns the next change, and fails the test if there is none.
func next(t *testing.T, pull func() (store.Change, error, bool)) store.Change {
	t.Helper()
	c, err, ok := pull()
	if err != nil || !ok {
		t.Fatalf("the watch yields %+v, %v, %v", c, err, ok)
	}
	return c
}

func watching(t *testing.T, s *postgres.Store) func() (store.Change, error, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	pull, stop := iter.Pull2(s.Watch(ctx))
	t.Cleanup(stop)
	return pull
}

// TestTwoMachines: two stores behind two proxies see each other's saves although neither polls, also after the connection on which the server
// tells of them was lost.
func TestTwoMachines(t *testing.T) {
	dsn := pgserver.Database(t)
	port := int(must(pgx.ParseConfig(dsn)).Port)
	proxyA, dsnA := proxied(t, dsn, port)
	_, dsnB := proxied(t, dsn, port)
	a, b := open(t, dsnA, never), open(t, dsnB, never)
	fromA, fromB := watching(t, a), watching(t, b)
	put(t, a, "start", `{}`, store.Any)
	next(t, fromA)
	next(t, fromB)
	var slowest time.Duration
	for n := range 20 {
		saver, watcher := a, fromB
		if n%2 == 1 {
			saver, watcher = b, fromA
		}
		rec := put(t, saver, "x", fmt.Sprintf(`{"n":%d}`, n), store.Any)
		began := time.Now()
		for { // each sees its own saves, too
			if c := next(t, watcher); c.Revision == rec.Revision {
				break
			}
		}
		slowest = max(slowest, time.Since(began))
	}
	t.Logf("the slowest of 20 saves was seen after %v", slowest)
	proxyA.Drop()
	rec := put(t, b, "x", `{"after":"the loss"}`, store.Any)
	for next(t, fromA).Revision != rec.Revision {
	}
	rec = put(t, b, "x", `{"after":"that"}`, store.Any)
	for next(t, fromA).Revision != rec.Revision {
	}
}

// TestWatchersShare: many watchers of a store need no more connections than one.
func TestWatchersShare(t *testing.T) {
	dsn := pgserver.Database(t)
	s := open(t, dsn, never)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var ready, done sync.WaitGroup
	for range 50 {
		ready.Add(1)
		done.Go(func() {
			changes := s.Watch(ctx)
			ready.Done()
			for c, err := range changes {
				if err != nil || c.ID != "a" {
					t.Errorf("change %+v, %v", c, err)
				}
				return
			}
		})
	}
	ready.Wait()
	put(t, s, "a", `{}`, store.Any)
	done.Wait()
	conn := pgserver.Connect(t, dsn)
	var n int
	if err := conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&n); err != nil || n > 8 {
		t.Errorf("50 watchers use %d connections, %v", n, err)
	}
}

// TestWatchDeaf: behind a pooler that passes nothing on, and with a pool of one connection, changes are found by polling.
func TestWatchDeaf(t *testing.T) {
	dsn := pgserver.Database(t)
	writer := open(t, dsn)
	bounced := pgserver.Bouncer(t, dsn)
	for name, s := range map[string]*postgres.Store{
		"pooler":      open(t, bounced, fast),
		"pool of one": closing(t, must(postgres.New(t.Context(), pool(t, dsn, 1), fast))),
	} {
		changes := watching(t, s)
		for n := range 5 {
			rec := put(t, writer, "x", fmt.Sprintf(`{"%s":%d}`, name, n), store.Any)
			if c := next(t, changes); c.Revision != rec.Revision {
				t.Errorf("%s: change %+v, want %q", name, c, rec.Revision)
			}
		}
	}
}

// TestWatchServerRestart: a watch outlives a restart of the server, and tells what was saved meanwhile.
func TestWatchServerRestart(t *testing.T) {
	server := pgserver.Start(t)
	s := open(t, server.DSN())
	other := open(t, server.DSN())
	changes := watching(t, s)
	put(t, other, "a", `{"n":1}`, store.Any)
	if c := next(t, changes); c.ID != "a" {
		t.Errorf("change %+v", c)
	}
	server.Kill()
	server.Restart()
	put(t, other, "b", `{"n":1}`, store.Any)
	for {
		c, err, ok := changes()
		if !ok {
			t.Fatal("the watch has ended")
		}
		if err == nil && c.ID == "b" {
			break
		}
	}
}

// TestWatchCrash: the IDs of transactions that the server has forgotten in a crash come again, and what is saved with them is not missed. A
// transaction that only notifies is one of these, as nobody waits for the disk for it.
func TestWatchCrash(t *testing.T) {
	server := pgserver.Start(t, "wal_writer_delay=10s", "autovacuum=off")
	proxy, dsn := proxied(t, server.DSN(), server.Port)
	s := closing(t, must(postgres.New(t.Context(), pool(t, dsn, 1), fast))) // it polls
	changes := watching(t, s)
	put(t, s, "a", `{"n":1}`, store.Any)
	if c := next(t, changes); c.ID != "a" {
		t.Errorf("change %+v", c)
	}
	conn := pgserver.Connect(t, server.DSN())
	for range 20 {
		psql(t, conn, `SELECT pg_notify('unheard', '')`)
	}
	next20 := nextTransaction(t, conn)
	time.Sleep(200 * time.Millisecond) // some looks, which see that these are over
	proxy.Refuse(true)                 // no look comes between the restart and the save
	proxy.Drop()
	server.Kill()
	server.Restart()
	conn = pgserver.Connect(t, server.DSN())
	if again := nextTransaction(t, conn); again >= next20 {
		t.Skipf("the server has forgotten nothing: it goes on with transaction %d", again)
	}
	psql(t, conn, `INSERT INTO pluginregistry.plugin_configs (plugin_id, config) VALUES ('b', '{}')`)
	proxy.Refuse(false)
	for {
		c, err, ok := changes()
		if !ok || c.ID == "b" {
			break
		}
		if errors.Is(err, context.DeadlineExceeded) {
			t.Fatal("the save was missed")
		}
	}
}

// TestRestoredDump: after a dump from a server that has had more transactions was restored, Migrate numbers the rows anew, and watchers see
// what is saved.
func TestRestoredDump(t *testing.T) {
	dsn := pgserver.Database(t)
	s := open(t, dsn, fast)
	put(t, s, "a", `{"n":1}`, store.Any)
	pgserver.Exec(t, dsn, `SET session_replication_role = replica; UPDATE pluginregistry.plugin_configs SET changed_in = '1000000000000'`)
	changes := watching(t, s)
	put(t, s, "b", `{"n":1}`, store.Any)
	if c := next(t, changes); c.ID != "b" {
		t.Errorf("change %+v", c)
	}
	rec := must(s.Get(t.Context(), "a"))
	if err := postgres.Migrate(t.Context(), pool(t, dsn, 1)); err != nil {
		t.Fatal(err)
	}
	conn := pgserver.Connect(t, dsn)
	if n := psql(t, conn, `SELECT count(*) FROM pluginregistry.plugin_configs WHERE changed_in >= pg_snapshot_xmax(pg_current_snapshot())`); n != "0" {
		t.Errorf("%s rows have transactions that have not been", n)
	}
	put(t, s, "a", `{"n":2}`, rec.Revision)
	if c := next(t, changes); c.ID != "a" {
		t.Errorf("change %+v", c)
	}
}

// TestCopy: what is copied from SQLite or JSON files and back is the same.
func TestCopy(t *testing.T) {
	dsn := pgserver.Database(t)
	lite, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer lite.Close()
	files := must(jsonfile.Open(t.TempDir()))
	defer files.Close()
	for n := range 20 {
		put(t, lite, "llm_"+strconv.Itoa(n)+"@ä", fmt.Sprintf(`{"z":%d,"nul":"\u0000","big":12345678901234567890.10,"a":1.0}`, n), store.Any)
	}
	s := open(t, dsn)
	for _, step := range [][2]store.Store{{s, lite}, {files, s}, {s, files}} {
		if n, err := store.Copy(t.Context(), step[0], step[1]); n != 20 || err != nil {
			t.Fatalf("Copy from %T to %T: %d, %v", step[1], step[0], n, err)
		}
	}
	back, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "back.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if _, err := store.Copy(t.Context(), back, s); err != nil {
		t.Fatal(err)
	}
	for _, id := range must(lite.Configured(t.Context(), "")) {
		rec := must(lite.Get(t.Context(), id))
		wantConfig(t, back, id, string(rec.Config))
	}
}

// TestNilPool: a store that Open did not make, and a nil pool, panic with a sentence.
func TestNilPool(t *testing.T) {
	for name, call := range map[string]func(){
		"New":          func() { _, _ = postgres.New(t.Context(), nil) },
		"Migrate":      func() { _ = postgres.Migrate(t.Context(), nil) },
		"a zero store": func() { _, _ = new(postgres.Store).Get(t.Context(), "a") },
		"a nil store":  func() { _ = (*postgres.Store)(nil).Close() },
	} {
		func() {
			defer func() {
				text, ok := recover().(string)
				if !ok || len(text) < 20 {
					t.Errorf("%s panics with %q, want a sentence", name, text)
				}
			}()
			call()
		}()
	}
	if _, err := postgres.Open(t.Context(), "postgres://127.0.0.1", postgres.WithSchema("")); err == nil {
		t.Error("a schema without a name was accepted")
	}
	var zero postgres.Option
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := postgres.Open(ctx, "postgres://127.0.0.1:1/x", zero); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a context that has ended: %v", err)
	}
}
