package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/internal/pgserver"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/postgres"
	"github.com/pluginregistry/pluginregistry/store/storetest"
)

func put(t testing.TB, s store.Store, id, config string, match store.Revision) store.Record {
	t.Helper()
	rec, err := s.Put(t.Context(), id, json.RawMessage(config), match)
	if err != nil {
		t.Fatalf("Put(%q): %v", id, err)
	}
	return rec
}

func wantConfig(t testing.TB, s store.Store, id, config string) {
	t.Helper()
	if rec, err := s.Get(t.Context(), id); err != nil || string(rec.Config) != config {
		t.Errorf("config of %q is %s, %v; want %s", id, rec.Config, err, config)
	}
}

func shortOr(short, long int) int {
	if storetest.Long() {
		return long
	}
	return short
}

// proxied returns a proxy before the server of dsn, and the DSN through it.
func proxied(t testing.TB, dsn string, port int) (*pgserver.Proxy, string) {
	t.Helper()
	p := pgserver.NewProxy(t, strconv.Itoa(port))
	return p, pgserver.With(t, pgserver.With(t, dsn, "port", strconv.Itoa(p.Port)), "host", "127.0.0.1")
}

// tally counts what became of saves that add one to a number.
type tally struct{ done, unknown atomic.Int64 }

// count adds one to the number in id again and again, each time over what was loaded, until stop is closed. Each save has a mark that no other has.
func (c *tally) count(t *testing.T, s store.Store, id, who string, stop <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		rec, err := s.Get(context.Background(), id)
		if err != nil {
			t.Errorf("Get: %v", err)
			return
		}
		var now struct{ N int }
		if err := rec.Decode(&now); err != nil {
			t.Error(err)
			return
		}
		_, err = s.Put(context.Background(), id, fmt.Appendf(nil, `{"n":%d,"by":"%s-%d"}`, now.N+1, who, n), rec.Revision)
		switch {
		case err == nil:
			c.done.Add(1)
		case errors.Is(err, store.ErrUncertain):
			c.unknown.Add(1)
		case !errors.Is(err, store.ErrConflict):
			t.Errorf("Put: %v", err)
			return
		}
	}
}

// check compares the number in id with what was acknowledged, and sees that no save was done twice.
func (c *tally) check(t *testing.T, s *postgres.Store, id string) {
	t.Helper()
	rec, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var now struct{ N int64 }
	if err := rec.Decode(&now); err != nil {
		t.Fatal(err)
	}
	done, unknown := c.done.Load(), c.unknown.Load()
	t.Logf("%q: %d saves acknowledged, of %d it was not known, %d are there", id, done, unknown, now.N)
	if now.N < done || now.N > done+unknown {
		t.Errorf("%q: %d saves were acknowledged and of %d it was not known, but %d are there", id, done, unknown, now.N)
	}
	versions, err := s.History(t.Context(), id, 0)
	if err != nil {
		t.Fatal(err)
	}
	marks := map[string]bool{}
	for i, v := range versions {
		var kept struct {
			N  int64
			By string
		}
		if err := v.Decode(&kept); err != nil {
			t.Fatal(err)
		}
		if marks[kept.By] && kept.By != "" {
			t.Errorf("the save %s was done twice", kept.By)
		}
		marks[kept.By] = true
		if kept.N != now.N-int64(i) {
			t.Errorf("state %d before the last has the number %d, want %d", i, kept.N, now.N-int64(i))
		}
	}
}

// TestServerKilled: of saves under way while the server is killed and started again none that was acknowledged is lost and none is done twice,
// and every caller gets an answer.
func TestServerKilled(t *testing.T) {
	server := pgserver.Start(t, "fsync=on")
	s := open(t, server.DSN(), postgres.WithPatience(time.Minute), postgres.WithHistory(1<<20))
	var counts [3]tally
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range counts {
		put(t, s, fmt.Sprint("c", i), `{"n":0}`, store.Absent)
		for g := range 4 {
			wg.Go(func() { counts[i].count(t, s, fmt.Sprint("c", i), fmt.Sprint(g), stop) })
		}
	}
	before := int64(0)
	for range shortOr(3, 20) {
		for counts[0].done.Load() < before+20 { // it is in the middle of saving
			time.Sleep(time.Millisecond)
			if t.Failed() {
				break
			}
		}
		server.Kill()
		server.Restart()
		before = counts[0].done.Load()
	}
	close(stop)
	wg.Wait()
	for i := range counts {
		counts[i].check(t, s, fmt.Sprint("c", i))
	}
}

// TestAnswersCut: a save whose answer is lost is done once, and acknowledged.
func TestAnswersCut(t *testing.T) {
	server := pgserver.Start(t)
	proxy, dsn := proxied(t, server.DSN(), server.Port)
	s := open(t, dsn, postgres.WithHistory(1000))
	direct := open(t, server.DSN())
	rec := put(t, s, "a", `{"n":0}`, store.Absent)
	for n := 1; n <= 20; n++ {
		match := []store.Revision{store.Any, rec.Revision}[n%2]
		proxy.CutAnswer()
		rec = put(t, s, "a", fmt.Sprintf(`{"n":%d}`, n), match)
		if !proxy.Passes() {
			t.Fatal("no answer was cut")
		}
		if now, err := direct.Get(t.Context(), "a"); err != nil || now.Revision != rec.Revision {
			t.Fatalf("save %d: returned %v, there is %v, %v", n, rec, now, err)
		}
		if n%5 == 0 { // somebody else saves before the answer is looked for
			proxy.Refuse(true)
			proxy.CutAnswer()
			saved := make(chan error)
			go func() {
				_, err := s.Put(context.Background(), "a", fmt.Appendf(nil, `{"n":%d,"first":true}`, n), store.Any)
				saved <- err
			}()
			for !proxy.Passes() {
				time.Sleep(time.Millisecond)
			}
			rec = put(t, direct, "a", fmt.Sprintf(`{"n":%d,"other":true}`, n), store.Any)
			proxy.Refuse(false)
			if err := <-saved; err != nil {
				t.Fatal(err)
			}
			wantConfig(t, s, "a", fmt.Sprintf(`{"n":%d,"other":true}`, n))
		}
	}
	if versions, err := s.History(t.Context(), "a", 0); err != nil || len(versions) != 21+8 {
		t.Errorf("29 saves made %d states, %v", len(versions), err)
	}
	for _, id := range []string{"new", "new too"} { // saves of what was not there
		proxy.CutAnswer()
		put(t, s, id, `{}`, store.Absent)
	}
	proxy.CutAnswer()
	if err := s.Delete(t.Context(), "new", rec.Revision); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Delete at a revision of another config: %v", err)
	}
	if err := s.Delete(t.Context(), "new", store.Any); err != nil {
		t.Error(err)
	}
	proxy.CutAnswer()
	recs, err := s.PutAll(t.Context(), []store.Put{{ID: "b", Config: []byte(`{}`)}, {ID: "new too", Config: []byte(`{}`), Match: store.Any}, {ID: "c", Config: []byte(`{}`)}})
	if err != nil || len(recs) != 3 || recs[0].Revision == "" || recs[1].Revision == "" {
		t.Errorf("PutAll: %v, %v", recs, err)
	}
}

// TestAnswersCutAmongMany: the same for callers that share commits, while answers are cut again and again.
func TestAnswersCutAmongMany(t *testing.T) {
	server := pgserver.Start(t)
	proxy, dsn := proxied(t, server.DSN(), server.Port)
	s := open(t, dsn, postgres.WithHistory(1<<20), postgres.WithPatience(time.Minute))
	var counts [4]tally
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range counts {
		put(t, s, fmt.Sprint("c", i), `{"n":0}`, store.Absent)
		for g := range 3 {
			wg.Go(func() { counts[i].count(t, s, fmt.Sprint("c", i), fmt.Sprint(g), stop) })
		}
	}
	for range shortOr(20, 200) {
		proxy.CutAnswer()
		for !proxy.Passes() && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
	}
	close(stop)
	wg.Wait()
	for i := range counts {
		counts[i].check(t, s, fmt.Sprint("c", i))
		if counts[i].unknown.Load() > 0 {
			t.Errorf("of %d saves it was not known, though all answers can be found", counts[i].unknown.Load())
		}
	}
}

// TestBlackHole: while nothing comes through, a call ends with its own context, or with the store's patience, and never claims that nothing
// was changed. When the way is free again all is well.
func TestBlackHole(t *testing.T) {
	server := pgserver.Start(t)
	proxy, dsn := proxied(t, server.DSN(), server.Port)
	s := open(t, dsn, postgres.WithTimeout(300*time.Millisecond), postgres.WithPatience(time.Second))
	rec := put(t, s, "a", `{"n":0}`, store.Any)
	warm := open(t, dsn, postgres.WithTimeout(300*time.Millisecond), postgres.WithPatience(time.Second))
	put(t, warm, "b", `{"n":0}`, store.Any)
	proxy.Swallow(true)
	var wg sync.WaitGroup
	wg.Go(func() { // its connection is there: it is sent and swallowed
		_, err := warm.Put(t.Context(), "b", []byte(`{"lost":true}`), store.Any)
		if !errors.Is(err, store.ErrUncertain) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Put of which the answer never comes: %v", err)
		}
	})
	for n := range 4 {
		wg.Go(func() { // its own deadline
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(100+50*n)*time.Millisecond)
			defer cancel()
			_, err := s.Put(ctx, "a", fmt.Appendf(nil, `{"n":%d}`, n), store.Any)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Put with a deadline: %v", err)
			}
			t.Logf("Put returned %v after its deadline", time.Since(must2(ctx.Deadline())))
		})
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, err := s.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Get with a deadline: %v", err)
			}
		})
	}
	wg.Wait()
	if _, err := s.Put(t.Context(), "a", []byte(`{"lost":true}`), store.Any); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put: %v", err)
	}
	if _, err := s.Get(t.Context(), "a"); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get: %v", err)
	}
	proxy.Swallow(false)
	proxy.Drop()
	if now, err := s.Get(t.Context(), "a"); err != nil {
		t.Errorf("Get when the way is free: %v", err)
	} else if now.Revision == rec.Revision {
		put(t, s, "a", `{"n":9}`, rec.Revision)
	}
	put(t, s, "a", `{"n":10}`, store.Any)
}

func must2[T any](v T, ok bool) T {
	if !ok {
		panic("not there")
	}
	return v
}

// TestServerDown: what could not be sent is no write of which it is not known.
func TestServerDown(t *testing.T) {
	server := pgserver.Start(t)
	s := open(t, server.DSN(), postgres.WithPatience(300*time.Millisecond))
	put(t, s, "a", `{"n":0}`, store.Any)
	server.Kill()
	_, err := s.Put(t.Context(), "b", []byte(`{"n":1}`), store.Any) // the first may have been sent to a connection that is dead
	if err == nil {
		t.Error("Put without a server")
	}
	_, err = s.Put(t.Context(), "b", []byte(`{"n":1}`), store.Any)
	if err == nil || errors.Is(err, store.ErrUncertain) {
		t.Errorf("Put without a server: %v", err)
	}
	if _, err := postgres.Open(t.Context(), server.DSN(), postgres.WithPatience(100*time.Millisecond)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open without a server: %v", err)
	}
	server.Restart()
	wantConfig(t, s, "a", `{"n":0}`)
}

// TestFailover: a standby that has not received the last saves takes the primary's place. Their revisions are gone for good and conflict, and
// watchers are told of every config that was set back.
func TestFailover(t *testing.T) {
	primary := pgserver.Start(t)
	dsnOf := func(s *pgserver.Server) string { return s.DSN() }
	setup := open(t, dsnOf(primary))
	kept := put(t, setup, "kept", `{"n":1}`, store.Any)
	back := put(t, setup, "set back", `{"n":1}`, store.Any)
	put(t, setup, "deleted", `{"n":1}`, store.Any)
	standby := primary.Standby()
	for s := standby; ; time.Sleep(10 * time.Millisecond) { // it has all
		var same bool
		conn := pgserver.Connect(t, s.DSN())
		if err := conn.QueryRow(t.Context(), `SELECT count(*) = 3 FROM pluginregistry.plugin_configs`).Scan(&same); err != nil {
			t.Fatal(err)
		}
		conn.Close(t.Context())
		if same {
			break
		}
	}
	proxy, dsn := proxied(t, primary.DSN(), primary.Port)
	s := open(t, dsn, fast)
	both := fmt.Sprintf("host=127.0.0.1,127.0.0.1 port=%d,%d user=postgres dbname=postgres target_session_attrs=read-write", primary.Port, standby.Port)
	finds := open(t, both)
	wantConfig(t, finds, "kept", `{"n":1}`)

	// From here on the standby receives nothing.
	pgserver.Exec(t, standby.DSN(), `ALTER SYSTEM SET primary_conninfo = ''`, `SELECT pg_reload_conf()`)
	for conn := pgserver.Connect(t, standby.DSN()); ; time.Sleep(10 * time.Millisecond) {
		var receivers int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_wal_receiver`).Scan(&receivers); err != nil {
			t.Fatal(err)
		}
		if receivers == 0 {
			break
		}
	}
	lost := put(t, s, "set back", `{"n":2}`, back.Revision)
	put(t, s, "lost", `{"n":1}`, store.Any)
	if err := s.Delete(t.Context(), "deleted", store.Any); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	changes := s.Watch(ctx)
	primary.Kill()
	standby.Promote()
	proxy.Lead(strconv.Itoa(standby.Port))
	proxy.Drop()
	want := map[string]bool{"set back": true, "lost": false, "deleted": true}
	got := map[string]bool{}
	for c, err := range changes {
		if err != nil {
			if ctx.Err() != nil {
				t.Fatalf("watchers were told of %v, want %v", got, want)
			}
			continue
		}
		if configured, ok := want[c.ID]; !ok || c.Configured != configured {
			t.Errorf("change %+v", c)
		}
		if got[c.ID] = c.Configured; len(got) == len(want) {
			break
		}
	}
	wantConfig(t, s, "set back", `{"n":1}`)
	if _, err := s.Put(t.Context(), "set back", []byte(`{"n":3}`), lost.Revision); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Put at a revision that is lost: %v", err)
	}
	again := put(t, s, "set back", `{"n":4}`, back.Revision)
	if again.Revision == lost.Revision {
		t.Errorf("the revision %q was another config's", again.Revision)
	}
	if now, err := s.Get(t.Context(), "kept"); err != nil || now.Revision != kept.Revision {
		t.Errorf("%v, %v; want %v", now, err, kept)
	}
	put(t, finds, "found", `{}`, store.Any)
	wantConfig(t, s, "found", `{}`)
}

// TestStaleReplica: what was loaded from a replica that lags conflicts on the primary, and a write to the replica says what is wrong.
func TestStaleReplica(t *testing.T) {
	primary := pgserver.Start(t)
	s := open(t, primary.DSN())
	put(t, s, "a", `{"n":1}`, store.Any)
	standby := primary.Standby()
	replica := open(t, standby.DSN(), postgres.WithPatience(200*time.Millisecond), fast)
	pgserver.Exec(t, standby.DSN(), `SELECT pg_wal_replay_pause()`)
	put(t, s, "a", `{"n":2}`, store.Any)
	stale, err := replica.Get(t.Context(), "a")
	if err != nil || string(stale.Config) != `{"n":1}` {
		t.Fatalf("the replica has %s, %v", stale.Config, err)
	}
	if _, err := s.Put(t.Context(), "a", []byte(`{"n":3}`), stale.Revision); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Put at a stale revision: %v", err)
	}
	_, err = replica.Put(t.Context(), "a", []byte(`{"n":3}`), store.Any)
	if err == nil || errors.Is(err, store.ErrUncertain) || !strings.Contains(err.Error(), "target_session_attrs=read-write") {
		t.Errorf("Put on a standby: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	changes := replica.Watch(ctx) // watching works on a standby, too
	pgserver.Exec(t, standby.DSN(), `SELECT pg_wal_replay_resume()`)
	for c, err := range changes {
		if err != nil || c.ID != "a" {
			t.Errorf("change %+v, %v", c, err)
		}
		break
	}
}
