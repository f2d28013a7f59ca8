package jsonfile

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/store"
)

// byHand is what Put does to the disk and no more: a temporary file, fsync, rename, fsync of the directory.
func byHand(dir, name string, data []byte) error {
	temp := filepath.Join(dir, name+".tmp")
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(dir, name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return err
	}
	return d.Close()
}

func benchConfig(n int) json.RawMessage {
	return fmt.Appendf(nil, `{"model":"gpt-4o","temperature":0.7,"n":%d,"stop":["a","b"],"nested":{"key":"value"}}`, n)
}

// BenchmarkPut does each save by turns through the store and by hand. by-hand/op is the time of the latter, ratio what the store
// takes of it.
func BenchmarkPut(b *testing.B) {
	dir := b.TempDir()
	s := openTest(b, dir)
	var store1, hand time.Duration
	n := 0
	for b.Loop() {
		n++
		config := benchConfig(n)
		start := time.Now()
		if _, err := s.Put(b.Context(), "llm_gpt", config, store.Any); err != nil {
			b.Fatal(err)
		}
		store1 += time.Since(start)
		data := text(config)
		start = time.Now()
		if err := byHand(dir, "other.json", data); err != nil {
			b.Fatal(err)
		}
		hand += time.Since(start)
	}
	b.ReportMetric(float64(store1.Nanoseconds())/float64(n), "store-ns/op")
	b.ReportMetric(float64(hand.Nanoseconds())/float64(n), "by-hand-ns/op")
	b.ReportMetric(float64(store1)/float64(hand), "ratio")
}

func BenchmarkPutUnchanged(b *testing.B) {
	s := openTest(b, b.TempDir())
	put(b, s, "llm_gpt", string(benchConfig(1)))
	for b.Loop() {
		if _, err := s.Put(b.Context(), "llm_gpt", benchConfig(1), store.Any); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s := openTest(b, b.TempDir())
	put(b, s, "llm_gpt", string(benchConfig(1)))
	for b.Loop() {
		if _, err := s.Get(b.Context(), "llm_gpt"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkConfigured lists 10,000 files.
func BenchmarkConfigured(b *testing.B) {
	dir := b.TempDir()
	for n := range 10_000 {
		write(b, dir, fmt.Sprintf("llm_%05d.json", n), `{}`)
	}
	s := openTest(b, dir)
	for b.Loop() {
		if ids, err := s.Configured(b.Context()); len(ids) != 10_000 || err != nil {
			b.Fatal(len(ids), err)
		}
	}
}
