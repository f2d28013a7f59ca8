package jsonfile

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pluginregistry/pluginregistry/internal/sidebyside"
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

// benchConfig makes a config of 1 KB; no two have the same n.
func benchConfig(n int) json.RawMessage {
	text := fmt.Appendf(nil, `{"model":"gpt-4o","temperature":0.7,"n":%d,"stop":["a","b"]`, n)
	for i := 0; len(text) < 1000; i++ {
		text = fmt.Appendf(text, `,"option_%02d":%d,"note_%02d":"as measured in the lab, with the large model and the longer prompt"`, i, i, i)
	}
	return append(text, '}')
}

// BenchmarkPut saves through the store and by hand, in turn. Run it with -benchtime=1x: it has rounds of its own.
func BenchmarkPut(b *testing.B) {
	dir := b.TempDir()
	s := openTest(b, dir)
	run := 0
	sidebyside.Measure(31,
		sidebyside.Side{Name: "store", N: 50, Run: func(n int) {
			for range n {
				run++
				if _, err := s.Put(b.Context(), "llm_gpt", benchConfig(run), store.Any); err != nil {
					b.Fatal(err)
				}
			}
		}},
		sidebyside.Side{Name: "by-hand", N: 50, Run: func(n int) {
			for range n {
				run++
				if err := byHand(dir, "other.json", text(benchConfig(run))); err != nil {
					b.Fatal(err)
				}
			}
		}},
	).Report(b, "by-hand", "store")
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
		if ids, err := s.Configured(b.Context(), ""); len(ids) != 10_000 || err != nil {
			b.Fatal(len(ids), err)
		}
	}
}
