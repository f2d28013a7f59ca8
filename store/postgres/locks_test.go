package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pluginregistry/pluginregistry/internal/pgserver"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/postgres"
)

// TestHeldRow: while a session in psql holds a row, writes to other IDs go on, those to the row wait, and the error of one that waits too long
// names the session.
func TestHeldRow(t *testing.T) {
	for name, hold := range map[string]string{
		"locked":   `SELECT FROM pluginregistry.plugin_configs WHERE plugin_id = 'held' FOR UPDATE`,
		"updated":  `UPDATE pluginregistry.plugin_configs SET config = '{"by":"hand"}' WHERE plugin_id = 'held'`,
		"deleted":  `DELETE FROM pluginregistry.plugin_configs WHERE plugin_id = 'held'`,
		"inserted": `INSERT INTO pluginregistry.plugin_configs (plugin_id, config) VALUES ('held new', '{}')`,
	} {
		t.Run(name, func(t *testing.T) {
			dsn := pgserver.Database(t)
			s := open(t, dsn, postgres.WithTimeout(600*time.Millisecond))
			put(t, s, "held", `{"n":0}`, store.Any)
			held := "held"
			if name == "inserted" {
				held = "held new"
			}
			psql := pgserver.Connect(t, dsn)
			var pid int
			if err := psql.QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
				t.Fatal(err)
			}
			tx := must(psql.Begin(t.Context()))
			must(tx.Exec(t.Context(), hold))

			var waiting, others sync.WaitGroup
			for range 3 {
				waiting.Go(func() {
					_, err := s.Put(context.Background(), held, []byte(`{"n":1}`), store.Any)
					if err == nil || errors.Is(err, store.ErrUncertain) || !strings.Contains(err.Error(), fmt.Sprint("session ", pid)) {
						t.Errorf("Put of what session %d holds: %v", pid, err)
					}
				})
			}
			waiting.Go(func() {
				_, err := s.PutAll(context.Background(), []store.Put{{ID: "free", Config: []byte(`{}`), Match: store.Any}, {ID: held, Config: []byte(`{"n":2}`), Match: store.Any}})
				if err == nil {
					t.Error("PutAll with what is held was done")
				}
			})
			over := make(chan struct{})
			go func() {
				waiting.Wait()
				close(over)
			}()
			saved := 0
			for g := range 4 {
				others.Go(func() {
					for n := 0; ; n++ {
						select {
						case <-over:
							return
						default:
						}
						if _, err := s.Put(context.Background(), fmt.Sprint("other", g), fmt.Appendf(nil, `{"n":%d}`, n), store.Any); err != nil {
							t.Errorf("Put of another ID: %v", err)
							return
						}
						if g == 0 {
							saved++
						}
					}
				})
			}
			others.Wait()
			if saved < 3 {
				t.Errorf("%d saves of another ID went on meanwhile", saved)
			}
			if _, err := s.Get(t.Context(), "free"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("a batch that failed has saved: %v", err)
			}
			// One that waits is done when the session lets go.
			done := make(chan error)
			go func() {
				_, err := s.Put(context.Background(), held, []byte(`{"n":3}`), store.Any)
				done <- err
			}()
			if err := tx.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Errorf("Put after the session has let go: %v", err)
			}
			wantConfig(t, s, held, `{"n":3}`)
		})
	}
}

// TestLockedTable: reads and writes that a lock of the whole table stops say who holds it.
func TestLockedTable(t *testing.T) {
	dsn := pgserver.Database(t)
	s := open(t, dsn, postgres.WithTimeout(200*time.Millisecond))
	put(t, s, "a", `{"n":0}`, store.Any)
	psql := pgserver.Connect(t, dsn)
	tx := must(psql.Begin(t.Context()))
	must(tx.Exec(t.Context(), `LOCK TABLE pluginregistry.plugin_configs`))
	pid := fmt.Sprint("session ", psql.PgConn().PID())
	if _, err := s.Get(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), pid) {
		t.Errorf("Get: %v; want one that names %s", err, pid)
	}
	if _, err := s.Put(t.Context(), "a", []byte(`{}`), store.Any); err == nil || !strings.Contains(err.Error(), pid) {
		t.Errorf("Put: %v; want one that names %s", err, pid)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantConfig(t, s, "a", `{"n":0}`)
}

// TestOppositeBatches: batches of several stores that share IDs never deadlock, whatever their order. The server looks for deadlocks sooner than a
// store gives up waiting for a row.
func TestOppositeBatches(t *testing.T) {
	server := pgserver.Start(t, "deadlock_timeout=5ms")
	var stores []*postgres.Store
	for range 4 {
		stores = append(stores, open(t, server.DSN()))
	}
	rounds := shortOr(25, 60)
	var wg sync.WaitGroup
	for g, s := range stores {
		wg.Go(func() {
			for n := range rounds {
				var puts []store.Put
				for i := range 20 {
					k := (i*7 + g*5 + n) % 20
					if g%2 == 1 {
						k = 19 - k
					}
					id := fmt.Sprint("x", k)
					if k%4 == 0 { // and one that is new
						id = fmt.Sprintf("n%d-%d", n, k)
					}
					puts = append(puts, store.Put{ID: id, Config: fmt.Appendf(nil, `{"g":%d,"n":%d}`, g, n), Match: store.Any})
				}
				if _, err := s.PutAll(context.Background(), puts); err != nil {
					t.Errorf("PutAll: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := strings.Count(server.Log(), "deadlock detected"); n > 0 {
		t.Errorf("the server has resolved %d deadlocks", n)
	}
}

// TestOpenTransaction: a change that is committed after a later one is not missed by watchers.
func TestOpenTransaction(t *testing.T) {
	dsn := pgserver.Database(t)
	s := open(t, dsn, fast)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	psql := pgserver.Connect(t, dsn)
	tx := must(psql.Begin(ctx))
	must(tx.Exec(ctx, `INSERT INTO pluginregistry.plugin_configs (plugin_id, config) VALUES ('early', '{}')`))
	changes := s.Watch(ctx)
	put(t, s, "late", `{}`, store.Any)
	var got []string
	for c, err := range changes {
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		if got = append(got, c.ID); len(got) == 2 {
			break
		}
		if err := tx.Commit(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(got) != "[late early]" {
		t.Errorf("changes of %q, want those of late and early", got)
	}
}

// nextTransaction is the ID that the next transaction that writes will get.
func nextTransaction(t *testing.T, conn *pgx.Conn) (n int64) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), `SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestUnchangedWritesNothing: saving what is stored takes no transaction ID, without which nothing is written to the log. It is tried on a
// server on which nobody else writes.
func TestUnchangedWritesNothing(t *testing.T) {
	server := pgserver.Start(t, "autovacuum=off")
	s := open(t, server.DSN())
	conn := pgserver.Connect(t, server.DSN())
	rec := put(t, s, "a", `{"n":1}`, store.Any)
	var puts []store.Put
	for n := range 50 {
		puts = append(puts, store.Put{ID: fmt.Sprint("b", n), Config: []byte(`{"n":1}`), Match: store.Any})
	}
	if _, err := s.PutAll(t.Context(), puts); err != nil {
		t.Fatal(err)
	}
	must(s.SetNote(t.Context(), "a", store.Note{Title: "A"}, store.Any))
	rec, _ = s.Get(t.Context(), "a")
	before := nextTransaction(t, conn)
	put(t, s, "a", ` {"n": 1}`, store.Any)
	put(t, s, "a", `{"n":1}`, rec.Revision)
	must(s.PutAll(t.Context(), puts))
	must(s.SetNote(t.Context(), "a", store.Note{Title: "A"}, store.Any))
	if err := s.Delete(t.Context(), "nothing", store.Any); err != nil {
		t.Error(err)
	}
	if _, err := s.Put(t.Context(), "a", []byte(`{"n":2}`), store.Absent); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Put: %v", err)
	}
	var wg sync.WaitGroup
	for n := range 50 { // they share statements
		wg.Go(func() { put(t, s, puts[n].ID, `{"n":1}`, store.Any) })
	}
	wg.Wait()
	if after := nextTransaction(t, conn); after != before {
		t.Errorf("saves that change nothing took %d transactions", after-before)
	}
	put(t, s, "a", `{"n":2}`, store.Any)
	if after := nextTransaction(t, conn); after != before+1 {
		t.Errorf("a save took %d transactions", after-before)
	}
}

// TestRoundTrips: a save of a config that is there is one exchange with the server; so is a batch, and so are many saves that wait together.
func TestRoundTrips(t *testing.T) {
	dsn := pgserver.Database(t)
	cfg := must(pgx.ParseConfig(dsn))
	proxy, dsn := proxied(t, dsn, int(cfg.Port))
	s := open(t, dsn)
	exchanges := func(what string, want int64, f func()) {
		t.Helper()
		before := proxy.Exchanges()
		f()
		if n := proxy.Exchanges() - before; n > want {
			t.Errorf("%s took %d exchanges, want %d", what, n, want)
		}
	}
	var puts []store.Put
	all := func(n int) []store.Put {
		puts = puts[:0]
		for k := range 100 {
			puts = append(puts, store.Put{ID: fmt.Sprint("b", k), Config: fmt.Appendf(nil, `{"n":%d}`, n), Match: store.Any})
		}
		return puts
	}
	rec := put(t, s, "a", `{"n":0}`, store.Any)
	rec = put(t, s, "a", `{"n":1}`, rec.Revision) // the statements are known to the server now
	must(s.PutAll(t.Context(), all(0)))
	must(s.Get(t.Context(), "a"))
	exchanges("Put over any", 1, func() { rec = put(t, s, "a", `{"n":2}`, store.Any) })
	exchanges("Put at a revision", 1, func() { put(t, s, "a", `{"n":3}`, rec.Revision) })
	exchanges("Get", 1, func() { must(s.Get(t.Context(), "a")) })
	exchanges("Put of a new ID", 2+1, func() { put(t, s, "new", `{}`, store.Absent) }) // and one that prepares
	exchanges("PutAll of 100", 1, func() { must(s.PutAll(t.Context(), all(1))) })
	// A session that holds the first ID makes the others wait, so that they come together.
	psql := pgserver.Connect(t, pgserver.With(t, dsn, "port", fmt.Sprint(cfg.Port)))
	tx := must(psql.Begin(t.Context()))
	must(tx.Exec(t.Context(), `SELECT FROM pluginregistry.plugin_configs WHERE plugin_id = 'a' FOR UPDATE`))
	exchanges("100 saves that wait together", 1+3+20, func() {
		var wg sync.WaitGroup
		wg.Go(func() { put(t, s, "a", `{"n":4}`, store.Any) })
		for k := range 100 {
			wg.Go(func() { put(t, s, fmt.Sprint("b", k), `{"n":5}`, store.Any) })
		}
		time.AfterFunc(30*time.Millisecond, func() { _ = tx.Rollback(context.Background()) })
		wg.Wait()
	})
}
