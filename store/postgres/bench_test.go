package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pluginregistry/pluginregistry/internal/pgserver"
	"github.com/pluginregistry/pluginregistry/internal/sidebyside"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/postgres"
)

// The benchmarks run beside pgx by hand, on a plain table, in the same database of a server of their own that waits for its disk. Run them with
// -benchtime=1x: they have rounds of their own.

const (
	plainTable = `CREATE TABLE plain (id text COLLATE "C" PRIMARY KEY, config text NOT NULL, revision bigint NOT NULL, updated_at timestamptz NOT NULL)`
	plainPut   = `INSERT INTO plain VALUES ($1, $2, 1, now()) ON CONFLICT (id) DO UPDATE SET config = excluded.config, revision = plain.revision + 1, updated_at = excluded.updated_at`
	plainGet   = `SELECT config, revision, updated_at FROM plain WHERE id = $1`
	plainAll   = `INSERT INTO plain SELECT id, config, 1, now() FROM unnest($1::text[], $2::text[]) AS i (id, config)
ON CONFLICT (id) DO UPDATE SET config = excluded.config, revision = plain.revision + 1, updated_at = excluded.updated_at`
)

// plugins is how many configs the benchmarks of one config have.
const plugins = 1000

func benchID(n int) string { return fmt.Sprintf("transcription_plugin-%04d", n%plugins) }

// benchConfig makes a config of 1 KB; no two have the same n.
func benchConfig(n int) string {
	text := fmt.Appendf(make([]byte, 0, 1100), `{"run":%d`, n)
	for i := 0; len(text) < 1000; i++ {
		text = fmt.Appendf(text, `,"option_%02d":%d,"note_%02d":"as measured in the lab, with the large model and the longer prompt"`, i, i, i)
	}
	return string(append(text, '}'))
}

// benchServer returns a store and the DSN of its database, which has the plain table, too, with n configs in both.
func benchServer(b *testing.B, n int, opts ...postgres.Option) (*postgres.Store, string) {
	b.Helper()
	server := pgserver.Start(b, "fsync=on", "shared_buffers=256MB", "max_wal_size=4GB", "checkpoint_timeout=1h")
	pgserver.Exec(b, server.DSN(), plainTable)
	s := open(b, server.DSN(), append(opts, postgres.WithTimeout(time.Minute))...)
	fill(b, s, server.DSN(), n)
	return s, server.DSN()
}

func fill(b *testing.B, s *postgres.Store, dsn string, n int) {
	b.Helper()
	conn := pgserver.Connect(b, dsn)
	for from := 0; from < n; from += 2000 {
		var puts []store.Put
		var ids, configs []string
		for k := from; k < min(n, from+2000); k++ {
			id, config := fmt.Sprintf("transcription_plugin-%04d", k), benchConfig(k)
			puts, ids, configs = append(puts, store.Put{ID: id, Config: json.RawMessage(config), Match: store.Any}), append(ids, id), append(configs, config)
		}
		must(s.PutAll(b.Context(), puts))
		must(conn.Exec(b.Context(), plainAll, ids, configs))
	}
	must(conn.Exec(b.Context(), `VACUUM ANALYZE`))
}

// BenchmarkGet loads one of 1,000 configs.
func BenchmarkGet(b *testing.B) {
	s, dsn := benchServer(b, plugins)
	conn := pgserver.Connect(b, dsn)
	sidebyside.Measure(sidebyside.Rounds,
		sidebyside.Side{Name: "by-hand", Run: func(n int) {
			for k := range n {
				var config []byte
				var revision int64
				var at time.Time
				if err := conn.QueryRow(b.Context(), plainGet, benchID(k)).Scan(&config, &revision, &at); err != nil {
					b.Fatal(err)
				}
			}
		}},
		sidebyside.Side{Name: "store", Run: func(n int) {
			for k := range n {
				must(s.Get(b.Context(), benchID(k)))
			}
		}}).Report(b, "by-hand", "store")
}

// BenchmarkPut has one caller save one of 1,000 configs. The store keeps a history, and plain does not.
func BenchmarkPut(b *testing.B) {
	s, dsn := benchServer(b, plugins)
	bare := open(b, dsn, postgres.WithSchema("bare"), postgres.WithHistory(0))
	fill(b, bare, dsn, plugins)
	conn := pgserver.Connect(b, dsn)
	run := 0
	saves := func(s *postgres.Store) func(n int) {
		return func(n int) {
			for range n {
				run++
				must(s.Put(b.Context(), benchID(run), json.RawMessage(benchConfig(run)), store.Any))
			}
		}
	}
	sidebyside.Measure(sidebyside.Rounds,
		sidebyside.Side{Name: "by-hand", Run: func(n int) {
			for range n {
				run++
				must(conn.Exec(b.Context(), plainPut, benchID(run), benchConfig(run)))
			}
		}},
		sidebyside.Side{Name: "store", Run: saves(s)},
		sidebyside.Side{Name: "no-history", Run: saves(bare)}).Report(b, "by-hand", "store", "no-history")
}

// BenchmarkPutUnchanged saves what is stored.
func BenchmarkPutUnchanged(b *testing.B) {
	s, dsn := benchServer(b, plugins)
	conn := pgserver.Connect(b, dsn)
	sidebyside.Measure(sidebyside.Rounds,
		sidebyside.Side{Name: "by-hand", Run: func(n int) {
			for k := range n {
				must(conn.Exec(b.Context(), plainPut, benchID(k), benchConfig(k%plugins)))
			}
		}},
		sidebyside.Side{Name: "store", Run: func(n int) {
			for k := range n {
				must(s.Put(b.Context(), benchID(k), json.RawMessage(benchConfig(k%plugins)), store.Any))
			}
		}}).Report(b, "by-hand", "store")
}

// BenchmarkPut64 has 64 callers save at once. By hand they have a pool of 16 connections, and each save is a commit.
func BenchmarkPut64(b *testing.B) {
	s, dsn := benchServer(b, plugins)
	cfg := must(pgxpool.ParseConfig(dsn))
	cfg.MaxConns = 16
	pool := must(pgxpool.NewWithConfig(b.Context(), cfg))
	defer pool.Close()
	var run atomic.Int64
	const callers, each = 64, 20
	together := func(save func(id, config string)) func(int) {
		return func(n int) {
			for range n {
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() {
						for range each {
							k := int(run.Add(1))
							save(benchID(k), benchConfig(k))
						}
					})
				}
				wg.Wait()
			}
		}
	}
	times := sidebyside.Measure(sidebyside.Rounds,
		sidebyside.Side{Name: "by-hand", N: 1, Run: together(func(id, config string) { must(pool.Exec(b.Context(), plainPut, id, config)) })},
		sidebyside.Side{Name: "store", N: 1, Run: together(func(id, config string) {
			must(s.Put(b.Context(), id, json.RawMessage(config), store.Any))
		})})
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(sidebyside.Median(times["by-hand"])/(callers*each), "by-hand-ns")
	b.ReportMetric(sidebyside.Median(times["store"])/(callers*each), "store-ns")
	b.ReportMetric(sidebyside.Median(times.Ratios("by-hand", "store")), "throughput-ratio")
}

// BenchmarkConfigured lists 100,000 IDs.
func BenchmarkConfigured(b *testing.B) {
	s, dsn := benchServer(b, 100000)
	conn := pgserver.Connect(b, dsn)
	sidebyside.Measure(sidebyside.Rounds,
		sidebyside.Side{Name: "by-hand", N: 1, Run: func(int) {
			rows := must(conn.Query(b.Context(), `SELECT id FROM plain ORDER BY id`))
			must(pgx.CollectRows(rows, pgx.RowTo[string]))
		}},
		sidebyside.Side{Name: "store", N: 1, Run: func(int) {
			if ids := must(s.Configured(b.Context(), "")); len(ids) != 100000 {
				b.Fatal(len(ids))
			}
		}}).Report(b, "by-hand", "store")
}

// BenchmarkPutAll saves 10,000 configs in one batch, each of them changed. The store keeps a history.
func BenchmarkPutAll(b *testing.B) {
	s, dsn := benchServer(b, 10000)
	conn := pgserver.Connect(b, dsn)
	run := 0
	sidebyside.Measure(sidebyside.Rounds,
		sidebyside.Side{Name: "by-hand", N: 1, Run: func(int) {
			run++
			ids, configs := make([]string, 10000), make([]string, 10000)
			for k := range ids {
				ids[k], configs[k] = fmt.Sprintf("transcription_plugin-%04d", k), benchConfig(run*10000+k)
			}
			must(conn.Exec(b.Context(), plainAll, ids, configs))
		}},
		sidebyside.Side{Name: "store", N: 1, Run: func(int) {
			run++
			puts := make([]store.Put, 10000)
			for k := range puts {
				puts[k] = store.Put{ID: fmt.Sprintf("transcription_plugin-%04d", k), Config: json.RawMessage(benchConfig(run*10000 + k)), Match: store.Any}
			}
			must(s.PutAll(b.Context(), puts))
		}}).Report(b, "by-hand", "store")
}

// BenchmarkWatch measures the time from the return of a save to its event at another store, with 1,000 configs.
func BenchmarkWatch(b *testing.B) {
	s, dsn := benchServer(b, plugins)
	other := open(b, dsn)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	pull, stop := iter.Pull2(other.Watch(ctx))
	defer stop()
	time.Sleep(time.Second) // it listens
	var took []float64
	for n := range 300 {
		rec := must(s.Put(ctx, benchID(n), json.RawMessage(benchConfig(-n-1)), store.Any))
		saved := time.Now()
		for {
			c, err, _ := pull()
			if err != nil {
				b.Fatal(err)
			}
			if c.Revision == rec.Revision {
				break
			}
		}
		took = append(took, float64(time.Since(saved)))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(sidebyside.Median(took)/1e6, "median-ms")
	b.ReportMetric(sidebyside.Quantile(took, 0.99)/1e6, "p99-ms")
}
