package registry

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/internal/sidebyside"
	"github.com/pluginregistry/pluginregistry/registry/secret"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

// The benchmarks measure the registry beside what a program would do by hand. Run them with -benchtime=1x: each has rounds of its own.

const benchCategories = 20

// benchManager finds plugins whose schemas, of 1.5 KB, differ unless they are to be the same.
type benchManager struct {
	infos   []Info
	schemas map[string]json.RawMessage
}

func (m *benchManager) Discover(context.Context) ([]Info, error) { return m.infos, nil }

func (m *benchManager) ConfigSchema(_ context.Context, name string) (json.RawMessage, error) {
	return m.schemas[name], nil
}

func benchSchema(n int) json.RawMessage {
	var b strings.Builder
	fmt.Fprintf(&b, `{"type":"object","title":"Plugin %d","properties":{"api_key":{"type":"string","writeOnly":true}`, n)
	for i := 0; b.Len() < 1400; i++ {
		fmt.Fprintf(&b, `,"option_%02d":{"type":"integer","title":"Option","minimum":0,"maximum":100,"default":%d}`, i, i)
	}
	b.WriteString(`},"required":["run"]}`)
	return json.RawMessage(b.String())
}

func benchCategory(n int) string { return fmt.Sprintf("category%02d", n) }

// benchManagers returns managers that find so many plugins together.
func benchManagers(plugins int, sameSchema bool) []*benchManager {
	managers := make([]*benchManager, benchCategories)
	same := benchSchema(0)
	for c := range managers {
		m := &benchManager{schemas: map[string]json.RawMessage{}}
		for i := range plugins / benchCategories {
			name := fmt.Sprintf("plugin-%06d", i)
			m.infos = append(m.infos, Info{Name: name, Version: "1.0"})
			m.schemas[name] = same
			if !sameSchema {
				m.schemas[name] = benchSchema(c*plugins + i)
			}
		}
		managers[c] = m
	}
	return managers
}

func benchRegister(tb testing.TB, st store.Store, managers []*benchManager) *Registry {
	tb.Helper()
	r := New(st)
	for c, m := range managers {
		if _, err := r.RegisterManager(tb.Context(), benchCategory(c), m); err != nil {
			tb.Fatal(err)
		}
	}
	return r
}

// benchIDs returns the IDs of all plugins in an order that no cache guesses.
func benchIDs(r *Registry) []string {
	all := r.Plugins()
	ids := make([]string, len(all))
	for i := range all {
		ids[i*7919%len(all)] = all[i].ID()
	}
	return ids
}

// benchPlugin and benchPlugins keep the compiler from leaving out what is measured.
var (
	benchPlugin  Plugin
	benchPlugins []Plugin
	benchNames   []string
)

// BenchmarkPlugin looks up one of 10,000 plugins.
func BenchmarkPlugin(b *testing.B) {
	r := benchRegister(b, memory.New(), benchManagers(10_000, true))
	ids := benchIDs(r)
	bare := map[string]Plugin{}
	for _, p := range r.Plugins() {
		bare[p.ID()] = p
	}
	look := func(n int) (last Plugin) {
		for i := range n {
			last, _ = r.Plugin(ids[i%len(ids)])
		}
		return last
	}
	t := sidebyside.Measure(31,
		sidebyside.Side{Name: "registry", Run: func(n int) { benchPlugin = look(n) }},
		sidebyside.Side{Name: "bare-map", Run: func(n int) {
			var last Plugin
			for i := range n {
				last = bare[ids[i%len(ids)]]
			}
			benchPlugin = last
		}},
		sidebyside.Side{Name: "two-goroutines", Run: func(n int) { // n each, so that the time of one is that of both
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() { _ = look(n) })
			}
			wg.Wait()
		}},
	)
	t.Report(b, "bare-map", "registry")
	b.ReportMetric(2*sidebyside.Median(t.Ratios("registry", "two-goroutines")), "two-goroutines-ratio")
}

// BenchmarkPluginsIn lists a category of 5,000 plugins of 100,000, and one of 50 in a registry of 100,000 and of 1,000. Both sides allocate
// the same, a megabyte a list, so the garbage is collected between the rounds: within, it would hit now one and now the other.
func BenchmarkPluginsIn(b *testing.B) {
	r := benchRegister(b, memory.New(), benchManagers(100_000, true))
	small := benchRegister(b, memory.New(), benchManagers(1000, true))
	few := benchManagers(1000, true)[0]
	if _, err := r.RegisterManager(b.Context(), "few", few); err != nil {
		b.Fatal(err)
	}
	category := benchCategory(7)
	bare := r.PluginsIn(category)
	listing := func(r *Registry, category string) func(int) {
		return func(n int) {
			for range n {
				benchPlugins = r.PluginsIn(category)
			}
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	t := sidebyside.Measure(61,
		sidebyside.Side{Name: "registry", N: 16, Before: runtime.GC, Run: listing(r, category)},
		sidebyside.Side{Name: "copy", N: 16, Before: runtime.GC, Run: func(n int) {
			for range n {
				benchPlugins = slices.Clone(bare)
			}
		}},
		sidebyside.Side{Name: "50-of-100000", Before: runtime.GC, Run: listing(r, "few")},
		sidebyside.Side{Name: "50-of-1000", Before: runtime.GC, Run: listing(small, category)},
	)
	t.Report(b, "copy", "registry")
	b.ReportMetric(sidebyside.Median(t.Ratios("50-of-100000", "50-of-1000")), "size-ratio")
}

// BenchmarkCategories lists the 20 categories of 100,000 plugins, and of 20.
func BenchmarkCategories(b *testing.B) {
	many, few := benchRegister(b, memory.New(), benchManagers(100_000, true)), benchRegister(b, memory.New(), benchManagers(20, true))
	listing := func(r *Registry) func(int) {
		return func(n int) {
			for range n {
				benchNames = r.Categories()
				benchNames = r.CategoriesWithPlugins()
			}
		}
	}
	sidebyside.Measure(31,
		sidebyside.Side{Name: "100000", Run: listing(many)},
		sidebyside.Side{Name: "20", Run: listing(few)},
	).Report(b, "20", "100000")
}

// BenchmarkRegister registers 20 managers with 100,000 plugins over SQLite, where 1,000 are configured. same is with one schema for
// all, else each plugin has its own. by-hand asks the managers and the store likewise, and puts the plugins into a map.
func BenchmarkRegister(b *testing.B) {
	st := benchStore(b)
	own, same, tenth := benchManagers(100_000, false), benchManagers(100_000, true), benchManagers(10_000, false)
	var puts []store.Put
	for i := range 1000 {
		puts = append(puts, store.Put{ID: benchCategory(i%benchCategories) + "_" + own[0].infos[i].Name, Config: json.RawMessage(`{}`), Match: store.Any})
	}
	if _, err := store.PutAll(b.Context(), st, puts); err != nil {
		b.Fatal(err)
	}
	byHand := func(managers []*benchManager) func(int) {
		return func(int) {
			all := map[string]Plugin{}
			for c, m := range managers {
				configured := map[string]bool{}
				ids, err := st.Configured(b.Context(), "")
				if err != nil {
					b.Fatal(err)
				}
				for _, id := range ids {
					configured[id] = true
				}
				infos, _ := m.Discover(b.Context())
				for _, info := range infos {
					raw, _ := m.ConfigSchema(b.Context(), info.Name)
					p := Plugin{Category: benchCategory(c), Name: info.Name, Title: info.Name, Version: info.Version, Schema: raw, ExecutionMode: ModeInProcess}
					id := p.ID()
					p.Configured = configured[id]
					all[id] = p
				}
			}
			benchPlugin = all[puts[0].ID]
		}
	}
	register := func(managers []*benchManager) func(int) { return func(int) { benchRegister(b, st, managers) } }
	t := sidebyside.Measure(9,
		sidebyside.Side{Name: "own", N: 1, Run: register(own)},
		sidebyside.Side{Name: "same", N: 1, Run: register(same)},
		sidebyside.Side{Name: "by-hand", N: 1, Run: byHand(own)},
		sidebyside.Side{Name: "tenth", N: 1, Run: register(tenth)},
	)
	t.Report(b, "by-hand", "own", "same")
	b.ReportMetric(sidebyside.Median(t.Ratios("own", "tenth"))/10, "growth-ratio")
}

// BenchmarkMemory tells how much memory a plugin takes beside the bytes of its schema.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	managers := benchManagers(n, false)
	used := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	r := benchRegister(b, memory.New(), managers)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(used()-before)/n, "bytes/plugin") // the managers hold the schemas already
	runtime.KeepAlive(r)
	runtime.KeepAlive(managers)
}

// BenchmarkManyCategories registers and refreshes categories of one plugin each; the times are of one category. It is linear if
// ten-thousand costs about as much as hundred.
func BenchmarkManyCategories(b *testing.B) {
	managers := make([]*benchManager, 10_000)
	names := make([]string, len(managers))
	for i := range managers {
		managers[i] = benchManagers(benchCategories, true)[0]
		names[i] = fmt.Sprintf("category_%d", i)
	}
	ctx := b.Context()
	fill := func(r *Registry, categories int) {
		for i := range categories {
			if _, err := r.RegisterManager(ctx, names[i], managers[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, what := range []string{"register", "refresh"} {
		b.Run(what, func(b *testing.B) {
			side := func(name string, categories int) sidebyside.Side {
				return sidebyside.Side{Name: name, N: 10_000, Run: func(n int) {
					for range n / categories {
						r := New(memory.New())
						fill(r, categories)
					}
				}}
			}
			if what == "refresh" {
				side = func(name string, categories int) sidebyside.Side {
					r := New(memory.New())
					fill(r, categories)
					return sidebyside.Side{Name: name, N: 10_000, Run: func(n int) {
						for range n / categories {
							if err := r.Refresh(ctx); err != nil {
								b.Fatal(err)
							}
						}
					}}
				}
			}
			sidebyside.Measure(5, side("ten-thousand", 10_000), side("hundred", 100)).Report(b, "hundred", "ten-thousand")
		})
	}
}

// BenchmarkFlag changes the configured flag of one of 100,000 plugins. by-hand is an atomic store, found in a map by the same ID.
func BenchmarkFlag(b *testing.B) {
	r := benchRegister(b, memory.New(), benchManagers(100_000, true))
	ids := benchIDs(r)
	bare := map[string]*atomic.Bool{}
	for _, id := range ids {
		bare[id] = new(atomic.Bool)
	}
	var at [2]int
	sidebyside.Measure(31,
		sidebyside.Side{Name: "registry", Run: func(n int) {
			for range n {
				at[0] = (at[0] + 1) % len(ids)
				r.flags.mu.Lock()
				r.set(ids[at[0]], setting(configured, at[0]%2 == 0))
				r.flags.mu.Unlock()
			}
		}},
		sidebyside.Side{Name: "by-hand", Run: func(n int) {
			for range n {
				at[1] = (at[1] + 1) % len(ids)
				bare[ids[at[1]]].Store(at[1]%2 == 0)
			}
		}},
	).Report(b, "by-hand", "registry")
}

func benchStore(b *testing.B) *sqlite.Store {
	b.Helper()
	st, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "store.db"), sqlite.WithHistory(0))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { st.Close() })
	return st
}

// benchRun counts the configs: no two are alike.
var benchRun int

// benchConfig makes a config of 1 KB that fits benchSchema.
func benchConfig(apiKey string) json.RawMessage {
	benchRun++
	text := fmt.Appendf(make([]byte, 0, 1100), `{"run":%d`, benchRun)
	if apiKey != "" {
		text = fmt.Appendf(text, `,"api_key":%q`, apiKey)
	}
	for i := 0; len(text) < 1000; i++ {
		text = fmt.Appendf(text, `,"option_%02d":%d,"note_%02d":"as measured in the lab, with the large model and the longer prompt"`, i, i, i)
	}
	return append(text, '}')
}

// BenchmarkSaveConfig saves a config with a schema and a secret. parts are the validation, the sealing, and the store's Get and Put by themselves.
func BenchmarkSaveConfig(b *testing.B) {
	st := benchStore(b)
	aead, err := secret.New(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	managers := benchManagers(1000, false)
	r := New(st, WithSecrets(aead))
	for c, m := range managers {
		if _, err := r.RegisterManager(b.Context(), benchCategory(c), m); err != nil {
			b.Fatal(err)
		}
	}
	ids := benchIDs(r)[:100]
	at := 0
	side := func(name string, save func(id string, config json.RawMessage) error) sidebyside.Side {
		return sidebyside.Side{Name: name, N: 250, Run: func(n int) {
			for range n {
				at = (at + 7) % len(ids)
				if err := save(ids[at], benchConfig(fmt.Sprint("sk-", benchRun))); err != nil {
					b.Fatal(err)
				}
			}
		}}
	}
	sides := []sidebyside.Side{
		side("registry", func(id string, config json.RawMessage) error {
			_, err := r.SaveConfig(b.Context(), id, config)
			return err
		}),
		side("parts", func(id string, config json.RawMessage) error {
			v, err := jsontext.Parse(config)
			if err != nil {
				return err
			}
			if _, issues := r.use(r.owner(id).schema, id).Complete(b.Context(), v); len(issues) > 0 {
				return fmt.Errorf("%v", issues)
			}
			if _, err := st.Get(b.Context(), id); err != nil {
				return err
			}
			if _, err := aead.Encrypt([]byte(`"sk-1000"`), []byte(id)); err != nil {
				return err
			}
			_, err = st.Put(b.Context(), id, config, store.Any)
			return err
		}),
	}
	sides[0].Run(100)
	sidebyside.Measure(15, sides...).Report(b, "parts", "registry")
}

// BenchmarkConfigAs reads a config as a Go value: loaded, laid over the defaults, validated and decoded. all-three calls LoadConfig and
// EffectiveConfig as well, each of which loads. by-hand is the store's Get and json.Unmarshal, validated the same with the validation.
func BenchmarkConfigAs(b *testing.B) {
	st := benchStore(b)
	r := benchRegister(b, st, benchManagers(1000, false))
	ids := benchIDs(r)[:100]
	var puts []store.Put
	for _, id := range ids {
		puts = append(puts, store.Put{ID: id, Config: benchConfig(""), Match: store.Any})
	}
	if _, err := st.PutAll(b.Context(), puts); err != nil {
		b.Fatal(err)
	}
	type config map[string]any
	check := func(c config, err error) {
		if err != nil || c["run"] == nil {
			b.Fatal(len(c), err)
		}
	}
	side := func(name string, read func(id string)) sidebyside.Side {
		at := 0
		return sidebyside.Side{Name: name, Run: func(n int) {
			for range n {
				at = (at + 7) % len(ids)
				read(ids[at])
			}
		}}
	}
	sidebyside.Measure(31,
		side("config-as", func(id string) { check(ConfigAs[config](b.Context(), r, id)) }),
		side("all-three", func(id string) {
			if _, err := r.LoadConfig(b.Context(), id); err != nil {
				b.Fatal(err)
			}
			if _, err := r.EffectiveConfig(b.Context(), id); err != nil {
				b.Fatal(err)
			}
			check(ConfigAs[config](b.Context(), r, id))
		}),
		side("by-hand", func(id string) {
			rec, err := st.Get(b.Context(), id)
			if err != nil {
				b.Fatal(err)
			}
			var c config
			check(c, json.Unmarshal(rec.Config, &c))
		}),
		side("effective", func(id string) {
			if _, err := r.EffectiveConfig(b.Context(), id); err != nil {
				b.Fatal(err)
			}
		}),
		side("validated", func(id string) {
			rec, err := st.Get(b.Context(), id)
			if err != nil {
				b.Fatal(err)
			}
			v, err := jsontext.Parse(rec.Config)
			if err != nil {
				b.Fatal(err)
			}
			if _, issues := r.use(r.owner(id).schema, id).Complete(b.Context(), v); len(issues) > 0 {
				b.Fatal(issues)
			}
			var c config
			check(c, json.Unmarshal(rec.Config, &c))
		}),
	).Report(b, "by-hand", "config-as", "all-three", "effective", "validated")
}

// BenchmarkSaveConfigs saves 10,000 configs of plugins without schemas in one call. by-hand is one transaction of a prepared upsert into
// a plain table, same-tables one of a prepared update in the tables of the store.
func BenchmarkSaveConfigs(b *testing.B) {
	const count = 10_000
	dir := b.TempDir()
	st := benchStore(b)
	r := New(st)
	ids := make([]string, count)
	for i := range ids {
		ids[i] = fmt.Sprintf("transcription_plugin-%07d", i)
	}
	configs := func() map[string]any {
		all := make(map[string]any, count)
		for _, id := range ids {
			all[id] = benchConfig("")
		}
		return all
	}
	hand := func(path, upsert string) func(int) {
		dsn := "file:" + filepath.ToSlash(path) +
			"?_journal_mode=WAL&_synchronous=FULL&_txlock=immediate&_pragma=journal_size_limit(4194304)&_pragma=secure_delete(1)"
		db, err := sql.Open("sqlite", dsn)
		if err != nil {
			b.Fatal(err)
		}
		db.SetMaxOpenConns(1)
		b.Cleanup(func() { db.Close() })
		if _, err := db.Exec(`CREATE TABLE IF NOT EXISTS configs (id TEXT PRIMARY KEY, config TEXT NOT NULL, revision INTEGER NOT NULL, updated_at TEXT NOT NULL) STRICT`); err != nil {
			b.Fatal(err)
		}
		stmt, err := db.Prepare(upsert)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { stmt.Close() })
		return func(int) {
			all := configs()
			tx, err := db.Begin()
			if err != nil {
				b.Fatal(err)
			}
			inTx := tx.Stmt(stmt)
			for _, id := range ids {
				if _, err := inTx.Exec(id, string(all[id].(json.RawMessage))); err != nil {
					b.Fatal(err)
				}
			}
			if err := tx.Commit(); err != nil {
				b.Fatal(err)
			}
		}
	}
	sides := []sidebyside.Side{
		{Name: "registry", N: 1, Run: func(int) {
			if _, err := r.SaveConfigs(b.Context(), configs()); err != nil {
				b.Fatal(err)
			}
		}},
		{Name: "by-hand", N: 1, Run: hand(filepath.Join(dir, "plain.db"),
			`INSERT INTO configs (id, config, revision, updated_at) VALUES (?, ?, 1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
ON CONFLICT (id) DO UPDATE SET config = excluded.config, revision = revision + 1, updated_at = excluded.updated_at`)},
	}
	sameTables, err := sqlite.Open(b.Context(), filepath.Join(dir, "same.db"), sqlite.WithHistory(0))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := New(sameTables).SaveConfigs(b.Context(), configs()); err != nil {
		b.Fatal(err)
	}
	if err := sameTables.Close(); err != nil {
		b.Fatal(err)
	}
	sides = append(sides, sidebyside.Side{Name: "same-tables", N: 1, Run: hand(filepath.Join(dir, "same.db"),
		`UPDATE plugin_configs SET config = ?2, revision = revision + 1, updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE plugin_id = ?1`)})
	for _, s := range sides {
		s.Run(1) // so that all rounds update
	}
	t := sidebyside.Measure(9, sides...)
	t.Report(b, "by-hand", "registry", "same-tables")
	b.ReportMetric(sidebyside.Median(t.Ratios("registry", "same-tables")), "same-tables-to-registry-ratio")
}
