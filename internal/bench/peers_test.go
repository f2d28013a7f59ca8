// Package bench measures the stores beside what a user would pick instead. It is a module of its own, so that users of the library
// never download the peers.
package bench

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	koanfjson "github.com/knadh/koanf/parsers/json"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	_ "github.com/mattn/go-sqlite3"
	ncruces "github.com/ncruces/go-sqlite3"
	bolt "go.etcd.io/bbolt"

	"github.com/pluginregistry/pluginregistry/internal/sidebyside"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/jsonfile"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

const plugins = 100

func id(n int) string { return fmt.Sprintf("transcription_plugin-%04d", n%plugins) }

// config makes a config of 1 KB; no two have the same n.
func config(n int) json.RawMessage {
	text := fmt.Appendf(make([]byte, 0, 1100), `{"run":%d`, n)
	for i := 0; len(text) < 1000; i++ {
		text = fmt.Appendf(text, `,"option_%02d":%d,"note_%02d":"as measured in the lab, with the large model and the longer prompt"`, i, i, i)
	}
	return append(text, '}')
}

// peer saves and loads configs durably: what save has returned for outlasts a loss of power.
type peer struct {
	name string
	save func(id string, config json.RawMessage) error
	load func(id string) (json.RawMessage, error)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func ofStore(ctx context.Context, name string, s store.Store) peer {
	return peer{name,
		func(id string, config json.RawMessage) error {
			_, err := s.Put(ctx, id, config, store.Any)
			return err
		},
		func(id string) (json.RawMessage, error) {
			rec, err := s.Get(ctx, id)
			return rec.Config, err
		}}
}

const (
	plainTable = `PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = 1; PRAGMA journal_size_limit = 4194304;
CREATE TABLE configs (id TEXT PRIMARY KEY, config TEXT NOT NULL, revision INTEGER NOT NULL, updated_at TEXT NOT NULL) STRICT`
	plainPut = `INSERT INTO configs VALUES (?, ?, 1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
ON CONFLICT (id) DO UPDATE SET config = excluded.config, revision = revision + 1, updated_at = excluded.updated_at`
	plainGet = `SELECT config FROM configs WHERE id = ?`
)

// ofNcruces is the same without database/sql: its driver has the name that mattn's has.
func ofNcruces(b *testing.B, path string) peer {
	var mu sync.Mutex
	db := must(ncruces.Open(path))
	if err := db.Exec(plainTable); err != nil {
		b.Fatal(err)
	}
	put, _, err1 := db.Prepare(plainPut)
	get, _, err2 := db.Prepare(plainGet)
	if err := errors.Join(err1, err2); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		put.Close()
		get.Close()
		db.Close()
	})
	return peer{"ncruces",
		func(id string, config json.RawMessage) error {
			mu.Lock()
			defer mu.Unlock()
			return errors.Join(put.BindText(1, id), put.BindText(2, string(config)), put.Exec())
		},
		func(id string) (config json.RawMessage, err error) {
			mu.Lock()
			defer mu.Unlock()
			err = get.BindText(1, id)
			if err == nil && get.Step() {
				config = get.ColumnBlob(0, nil)
			}
			return config, errors.Join(err, get.Err(), get.Reset())
		}}
}

// ofSQL is a plain table and prepared statements. One connection writes; the mutex is what waits for it.
func ofSQL(b *testing.B, name string, db *sql.DB) peer {
	db.SetMaxOpenConns(1)
	b.Cleanup(func() { db.Close() })
	_ = must(db.Exec(plainTable))
	put, get := must(db.Prepare(plainPut)), must(db.Prepare(plainGet))
	return peer{name,
		func(id string, config json.RawMessage) error {
			_, err := put.Exec(id, string(config))
			return err
		},
		func(id string) (config json.RawMessage, err error) {
			err = get.QueryRow(id).Scan((*[]byte)(&config))
			return config, err
		}}
}

func ofBolt(b *testing.B, name, path string, update func(*bolt.DB, func(*bolt.Tx) error) error) peer {
	db := must(bolt.Open(path, 0o600, nil))
	b.Cleanup(func() { db.Close() })
	bucket := []byte("configs")
	if err := db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket(bucket); return err }); err != nil {
		b.Fatal(err)
	}
	return peer{name,
		func(id string, config json.RawMessage) error {
			return update(db, func(tx *bolt.Tx) error { return tx.Bucket(bucket).Put([]byte(id), config) })
		},
		func(id string) (config json.RawMessage, err error) {
			err = db.View(func(tx *bolt.Tx) error {
				config = append(config, tx.Bucket(bucket).Get([]byte(id))...)
				return nil
			})
			return config, err
		}}
}

// replace puts a file in the place of another so that it is there whole, or not at all.
func replace(path string, text []byte) error {
	temp := path + ".tmp"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close(), os.Rename(temp, path)); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// ofFiles is a file for each config, by hand.
func ofFiles(dir string) peer {
	var mu sync.Mutex
	path := func(id string) string { return filepath.Join(dir, id+".json") }
	return peer{"json-by-hand",
		func(id string, config json.RawMessage) error {
			mu.Lock()
			defer mu.Unlock()
			return replace(path(id), config)
		},
		func(id string) (json.RawMessage, error) { return os.ReadFile(path(id)) }}
}

// ofKoanf is one file with all configs, which koanf keeps in memory: saving writes all of it.
func ofKoanf(path string) peer {
	var mu sync.Mutex
	k := koanf.New("/")
	if err := replace(path, []byte("{}")); err != nil {
		panic(err)
	}
	if err := k.Load(file.Provider(path), koanfjson.Parser()); err != nil {
		panic(err)
	}
	return peer{"koanf",
		func(id string, config json.RawMessage) error {
			var value map[string]any
			if err := json.Unmarshal(config, &value); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if err := k.Set(id, value); err != nil {
				return err
			}
			text, err := k.Marshal(koanfjson.Parser())
			if err != nil {
				return err
			}
			return replace(path, text)
		},
		func(id string) (json.RawMessage, error) {
			mu.Lock()
			defer mu.Unlock()
			return json.Marshal(k.Get(id))
		}}
}

// peers returns them all with the same configs in them.
func peers(b *testing.B) []peer {
	dir := b.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.Mkdir(in("files"), 0o700); err != nil {
		b.Fatal(err)
	}
	ours, files := must(sqlite.Open(b.Context(), in("store.db"), sqlite.WithHistory(0))), must(jsonfile.Open(in("store")))
	closes := func(c io.Closer) { b.Cleanup(func() { c.Close() }) }
	closes(ours)
	closes(files)
	all := []peer{
		ofStore(b.Context(), "store", ours),
		ofStore(b.Context(), "jsonfile", files),
		ofSQL(b, "mattn", must(sql.Open("sqlite3", in("mattn.db")+"?_txlock=immediate"))),
		ofNcruces(b, in("ncruces.db")),
		ofBolt(b, "bbolt", in("update.bolt"), (*bolt.DB).Update),
		ofBolt(b, "bbolt-batch", in("batch.bolt"), (*bolt.DB).Batch),
		ofKoanf(in("koanf.json")),
		ofFiles(in("files")),
	}
	for _, p := range all {
		for n := range plugins {
			if p.name == "bbolt-batch" { // alone it waits for company
				continue
			}
			if err := p.save(id(n), config(n)); err != nil {
				b.Fatal(p.name, err)
			}
		}
	}
	return all
}

func report(b *testing.B, t sidebyside.Times) {
	b.ReportMetric(0, "ns/op")
	for name := range t {
		b.ReportMetric(sidebyside.Median(t[name]), name+"-ns")
		if name != "store" {
			b.ReportMetric(sidebyside.Median(t.Ratios(name, "store")), name+"-of-store")
		}
	}
}

// BenchmarkLoad loads one of 100 configs.
func BenchmarkLoad(b *testing.B) {
	var sides []sidebyside.Side
	for _, p := range peers(b) {
		if p.name == "bbolt-batch" {
			continue
		}
		sides = append(sides, sidebyside.Side{Name: p.name, Run: func(n int) {
			for i := range n {
				if text, err := p.load(id(i * 7)); err != nil || len(text) < 1000 {
					b.Fatal(p.name, len(text), err)
				}
			}
		}})
	}
	report(b, sidebyside.Measure(sidebyside.Rounds, sides...))
}

// BenchmarkSave has one caller save.
func BenchmarkSave(b *testing.B) {
	var sides []sidebyside.Side
	run := plugins
	for _, p := range peers(b) {
		if p.name == "bbolt-batch" {
			continue
		}
		sides = append(sides, sidebyside.Side{Name: p.name, N: 100, Run: func(n int) {
			for range n {
				run++
				if err := p.save(id(run), config(run)); err != nil {
					b.Fatal(p.name, err)
				}
			}
		}})
	}
	report(b, sidebyside.Measure(sidebyside.Rounds, sides...))
}

// BenchmarkSave64 has 64 callers save at once.
func BenchmarkSave64(b *testing.B) {
	var sides []sidebyside.Side
	p99 := sidebyside.Times{}
	run := plugins
	for _, p := range peers(b) {
		if p.name == "koanf" { // it takes minutes
			continue
		}
		sides = append(sides, sidebyside.Side{Name: p.name, N: 64 * 8, Run: func(n int) {
			took := make([]float64, n)
			configs := make([]json.RawMessage, n)
			for i := range configs {
				run++
				configs[i] = config(run)
			}
			var wg sync.WaitGroup
			for caller := range 64 {
				wg.Go(func() {
					for i := caller; i < n; i += 64 {
						begun := time.Now()
						if err := p.save(id(i*7), configs[i]); err != nil {
							b.Error(p.name, err)
						}
						took[i] = float64(time.Since(begun))
					}
				})
			}
			wg.Wait()
			p99[p.name] = append(p99[p.name], sidebyside.Quantile(took, 0.99))
		}})
	}
	report(b, sidebyside.Measure(7, sides...))
	for name := range p99 {
		b.ReportMetric(sidebyside.Median(p99[name]), name+"-p99-ns")
	}
}
