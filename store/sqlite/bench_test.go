package sqlite_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/internal/sidebyside"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

// The benchmarks measure the store beside what a program would do by hand with the same driver and the same pragmas, in a plain table
// without checks, triggers, history or revisions that others can rely on. Run them with -benchtime=1x: each has rounds of its own.

// benchConfigs makes configs of 1 KB, no two alike.
type benchConfigs struct {
	n          int
	head, tail string
}

func newBenchConfigs() *benchConfigs {
	var b strings.Builder
	b.WriteString(`,"name":"Transcription – large","endpoint":"https://api.example.com/v1/audio","language":"en","beam":5,"temperature":0.2`)
	for i := 0; b.Len() < 960; i++ {
		fmt.Fprintf(&b, `,"option_%02d":{"enabled":%t,"weight":%d.5,"note":"as measured in the lab"}`, i, i%2 == 0, i)
	}
	return &benchConfigs{n: 1_000_000, head: `{"run":`, tail: b.String() + "}"}
}

func (c *benchConfigs) next() json.RawMessage {
	c.n++
	text := make([]byte, 0, len(c.head)+8+len(c.tail))
	return append(strconv.AppendInt(append(text, c.head...), int64(c.n), 10), c.tail...)
}

// benchIDs are plugin IDs. Taken with a step that is prime to their number, they come in an order that no cache guesses.
func benchIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("transcription_plugin-%07d", i)
	}
	return ids
}

const benchStep = 7919

// byHand is the plain table.
type byHand struct {
	db, readers *sql.DB
	mu          sync.Mutex
	get, put    *sql.Stmt
}

const (
	byHandGet = `SELECT config, revision, updated_at FROM configs WHERE id = ?`
	byHandPut = `INSERT INTO configs (id, config, revision, updated_at) VALUES (?, ?, 1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
ON CONFLICT (id) DO UPDATE SET config = excluded.config, revision = revision + 1, updated_at = excluded.updated_at`
)

// byHandDSN has the pragmas that Open uses.
func byHandDSN(path string, params ...string) string {
	q := url.Values{}
	for i := 0; i < len(params); i += 2 {
		q.Add(params[i], params[i+1])
	}
	q.Set("_busy_timeout", "5000")
	q.Add("_pragma", "journal_size_limit(4194304)")
	q.Add("_pragma", "secure_delete(1)")
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: q.Encode()}).String()
}

func newByHand(tb testing.TB, path string) *byHand {
	tb.Helper()
	h := &byHand{
		db:      must(sql.Open("sqlite", byHandDSN(path, "_journal_mode", "WAL", "_synchronous", "FULL", "_txlock", "immediate"))),
		readers: must(sql.Open("sqlite", byHandDSN(path, "_query_only", "1"))),
	}
	h.db.SetMaxOpenConns(1)
	h.readers.SetMaxOpenConns(4)
	h.readers.SetMaxIdleConns(4)
	_ = must(h.db.Exec(`CREATE TABLE IF NOT EXISTS configs (id TEXT PRIMARY KEY, config TEXT NOT NULL, revision INTEGER NOT NULL, updated_at TEXT NOT NULL) STRICT`))
	h.get, h.put = must(h.readers.Prepare(byHandGet)), must(h.db.Prepare(byHandPut))
	tb.Cleanup(func() {
		h.get.Close()
		h.put.Close()
		h.readers.Close()
		h.db.Close()
	})
	return h
}

// load reads one config.
func (h *byHand) load(tb testing.TB, id string) {
	var config []byte
	var revision int64
	var at string
	if err := h.get.QueryRow(id).Scan(&config, &revision, &at); err != nil {
		tb.Error(err)
	}
}

// save commits one config.
func (h *byHand) save(tb testing.TB, id string, config json.RawMessage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, err := h.put.Exec(id, string(config)); err != nil {
		tb.Error(err)
	}
}

// saveAll commits configs together.
func (h *byHand) saveAll(tb testing.TB, puts []store.Put) {
	tx := must(h.db.Begin())
	stmt := tx.Stmt(h.put)
	for _, p := range puts {
		if _, err := stmt.Exec(p.ID, string(p.Config)); err != nil {
			tb.Error(err)
		}
	}
	if err := tx.Commit(); err != nil {
		tb.Error(err)
	}
}

func benchPuts(ids []string, configs *benchConfigs) []store.Put {
	puts := make([]store.Put, len(ids))
	for i, id := range ids {
		puts[i] = store.Put{ID: id, Config: configs.next(), Match: store.Any}
	}
	return puts
}

func benchOpen(tb testing.TB, path string, opts ...sqlite.Option) *sqlite.Store {
	tb.Helper()
	s, err := sqlite.Open(tb.Context(), path, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// getting and putting are sides that load and save the configs of ids.
func getting(b *testing.B, s store.Store, ids []string) func(n int) {
	at := 0
	return func(n int) {
		for range n {
			at = (at + benchStep) % len(ids)
			if _, err := s.Get(b.Context(), ids[at]); err != nil {
				b.Error(err)
			}
		}
	}
}

func putting(b *testing.B, s store.Store, ids []string, configs *benchConfigs) func(n int) {
	at := 0
	return func(n int) {
		for range n {
			at = (at + benchStep) % len(ids)
			if _, err := s.Put(b.Context(), ids[at], configs.next(), store.Any); err != nil {
				b.Error(err)
			}
		}
	}
}

// BenchmarkGet loads one of 1,000 configs.
func BenchmarkGet(b *testing.B) {
	dir := b.TempDir()
	s, h := benchOpen(b, filepath.Join(dir, "store.db"), sqlite.WithHistory(0)), newByHand(b, filepath.Join(dir, "hand.db"))
	ids := benchIDs(1000)
	puts := benchPuts(ids, newBenchConfigs())
	_ = must(s.PutAll(b.Context(), puts))
	h.saveAll(b, puts)
	at := 0
	sidebyside.Measure(31,
		sidebyside.Side{Name: "store", Run: getting(b, s, ids)},
		sidebyside.Side{Name: "by-hand", Run: func(n int) {
			for range n {
				at = (at + benchStep) % len(ids)
				h.load(b, ids[at])
			}
		}},
	).Report(b, "by-hand", "store")
}

// BenchmarkPut saves one of 1,000 configs. same-tables is the update by hand in the tables of the store, with their checks, triggers and
// indexes: what is between it and store is what the library does, what is between it and by-hand is what the tables do.
// full-history is the save of a plugin that has as many states as stay, so that the oldest goes.
func BenchmarkPut(b *testing.B) {
	dir := b.TempDir()
	h := newByHand(b, filepath.Join(dir, "hand.db"))
	same := benchOpen(b, filepath.Join(dir, "same.db"), sqlite.WithHistory(0))
	s := benchOpen(b, filepath.Join(dir, "store.db"), sqlite.WithHistory(0))
	past := benchOpen(b, filepath.Join(dir, "history.db"), sqlite.WithHistory(50))
	ids, configs := benchIDs(1000), newBenchConfigs()
	puts := benchPuts(ids, configs)
	h.saveAll(b, puts)
	for _, s := range []*sqlite.Store{same, s, past} {
		_ = must(s.PutAll(b.Context(), puts))
	}
	full := benchOpen(b, filepath.Join(dir, "full.db"), sqlite.WithHistory(50))
	for range 51 {
		_ = must(full.PutAll(b.Context(), benchPuts(ids, configs)))
	}
	inSame := newByHand(b, filepath.Join(dir, "same.db"))
	inSame.put = must(inSame.db.Prepare(`UPDATE plugin_configs SET config = ?2, revision = revision + 1, checked = revision + 1, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
WHERE plugin_id = ?1`))
	defer inSame.put.Close()
	const n = 250
	t := sidebyside.Measure(31,
		sidebyside.Side{Name: "store", N: n, Run: putting(b, s, ids, configs)},
		sidebyside.Side{Name: "history", N: n, Run: putting(b, past, ids, configs)},
		sidebyside.Side{Name: "full-history", N: n, Run: putting(b, full, ids, configs)},
		sidebyside.Side{Name: "by-hand", N: n, Run: saving(b, h, ids, configs)},
		sidebyside.Side{Name: "same-tables", N: n, Run: saving(b, inSame, ids, configs)},
	)
	t.Report(b, "by-hand", "store", "same-tables")
	b.ReportMetric(sidebyside.Median(t.Ratios("store", "same-tables")), "same-tables-to-store-ratio")
	b.ReportMetric(sidebyside.Median(t["history"]), "history-ns")
	b.ReportMetric(sidebyside.Median(t.Ratios("history", "store")), "history-ratio")
	b.ReportMetric(sidebyside.Median(t.Ratios("full-history", "store")), "full-history-ratio")
}

func saving(b *testing.B, h *byHand, ids []string, configs *benchConfigs) func(n int) {
	at := 0
	return func(n int) {
		for range n {
			at = (at + benchStep) % len(ids)
			h.save(b, ids[at], configs.next())
		}
	}
}

// BenchmarkPut64 has 64 callers save at once. by-hand commits each save by itself, under a mutex. p99 is the time that one save in a
// hundred exceeds.
func BenchmarkPut64(b *testing.B) {
	dir := b.TempDir()
	h := newByHand(b, filepath.Join(dir, "hand.db"))
	s := benchOpen(b, filepath.Join(dir, "store.db"), sqlite.WithHistory(0))
	ids, configs := benchIDs(1000), newBenchConfigs()
	puts := benchPuts(ids, configs)
	h.saveAll(b, puts)
	_ = must(s.PutAll(b.Context(), puts))
	t, p99 := sidebyside.Times{}, sidebyside.Times{}
	side := func(name string, save func(id string, config json.RawMessage)) sidebyside.Side {
		return sidebyside.Side{Name: name, N: 64 * 32, Run: func(n int) {
			puts := make([]store.Put, n)
			for i := range puts {
				puts[i] = store.Put{ID: ids[i*benchStep%len(ids)], Config: configs.next()}
			}
			took := make([]float64, n)
			start := time.Now()
			var wg sync.WaitGroup
			for caller := range 64 {
				wg.Go(func() {
					for i := caller; i < n; i += 64 {
						begun := time.Now()
						save(puts[i].ID, puts[i].Config)
						took[i] = float64(time.Since(begun))
					}
				})
			}
			wg.Wait()
			t[name] = append(t[name], float64(time.Since(start))/float64(n))
			p99[name] = append(p99[name], sidebyside.Quantile(took, 0.99))
		}}
	}
	sidebyside.Measure(9,
		side("store", func(id string, config json.RawMessage) {
			if _, err := s.Put(b.Context(), id, config, store.Any); err != nil {
				b.Error(err)
			}
		}),
		side("by-hand", func(id string, config json.RawMessage) { h.save(b, id, config) }),
	)
	t.Report(b, "by-hand", "store")
	b.ReportMetric(sidebyside.Median(t.Ratios("by-hand", "store")), "throughput-ratio")
	b.ReportMetric(sidebyside.Median(p99.Ratios("store", "by-hand")), "p99-ratio")
	b.ReportMetric(sidebyside.Median(p99["store"]), "p99-store-ns")
	b.ReportMetric(sidebyside.Median(p99["by-hand"]), "p99-by-hand-ns")
}

// BenchmarkOpen opens a database that is up to date, loads one config and closes it. same-tables does it by hand in the tables of the
// store, whose definitions SQLite reads when it opens them.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	ours, hand := filepath.Join(dir, "store.db"), filepath.Join(dir, "hand.db")
	ids := benchIDs(1000)
	puts := benchPuts(ids, newBenchConfigs())
	s, h := benchOpen(b, ours, sqlite.WithHistory(0)), newByHand(b, hand)
	_ = must(s.PutAll(b.Context(), puts))
	h.saveAll(b, puts)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	h.get.Close()
	h.put.Close()
	h.readers.Close()
	h.db.Close()
	t := sidebyside.Measure(31,
		sidebyside.Side{Name: "store", Run: func(n int) {
			for range n {
				s := must(sqlite.Open(b.Context(), ours))
				_ = must(s.Get(b.Context(), ids[7]))
				if err := s.Close(); err != nil {
					b.Error(err)
				}
			}
		}},
		sidebyside.Side{Name: "by-hand", Run: opening(b, hand, byHandGet, ids[7])},
		sidebyside.Side{Name: "same-tables", Run: opening(b, ours, `SELECT config, revision, updated_at FROM plugin_configs WHERE plugin_id = ?`, ids[7])},
	)
	t.Report(b, "by-hand", "store", "same-tables")
	b.ReportMetric(sidebyside.Median(t.Ratios("store", "same-tables")), "same-tables-to-store-ratio")
}

func opening(b *testing.B, path, query, id string) func(n int) {
	return func(n int) {
		for range n {
			db := must(sql.Open("sqlite", byHandDSN(path, "_query_only", "1")))
			var config []byte
			var revision int64
			var at string
			if err := db.QueryRow(query, id).Scan(&config, &revision, &at); err != nil {
				b.Error(err)
			}
			if err := db.Close(); err != nil {
				b.Error(err)
			}
		}
	}
}

// BenchmarkMillion loads and saves with 1,000,000 configs stored, beside 1,000. It needs 3 GB in the directory for temporary files.
func BenchmarkMillion(b *testing.B) {
	dir := b.TempDir()
	configs := newBenchConfigs()
	var loads, saves []sidebyside.Side
	for name, n := range map[string]int{"thousand": 1000, "million": 1_000_000} {
		path := filepath.Join(dir, name+".db")
		s := benchOpen(b, path, sqlite.WithHistory(0))
		ids := benchIDs(n)
		var bytes int
		for some := range slices.Chunk(ids, 10_000) {
			puts := benchPuts(some, configs)
			_ = must(s.PutAll(b.Context(), puts))
			bytes += len(puts) * len(puts[0].Config)
		}
		if n > 1000 {
			_ = must(s.Get(b.Context(), ids[0]))
			b.ReportMetric(float64(must(os.Stat(path)).Size())/float64(bytes), "file-bytes/byte")
		}
		loads = append(loads, sidebyside.Side{Name: name, Run: getting(b, s, ids)})
		saves = append(saves, sidebyside.Side{Name: name, N: 250, Run: putting(b, s, ids, configs)})
	}
	load, save := sidebyside.Measure(31, loads...), sidebyside.Measure(31, saves...)
	b.ReportMetric(0, "ns/op")
	for what, t := range map[string]sidebyside.Times{"get": load, "put": save} {
		b.ReportMetric(sidebyside.Median(t["million"]), what+"-million-ns")
		b.ReportMetric(sidebyside.Median(t["thousand"]), what+"-thousand-ns")
		b.ReportMetric(sidebyside.Median(t.Ratios("million", "thousand")), what+"-ratio")
	}
}
