package sqlite_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

// countedVar is set in the processes that TestFsyncs starts: what to save, and where.
const countedVar = "SQLITE_TEST_COUNTED"

const countedSaves = 500

// saveCounted saves a config as often as it says, each another one or always the same.
func saveCounted(t *testing.T, what, path string) {
	s := benchOpen(t, path, sqlite.WithHistory(0))
	configs := newBenchConfigs()
	config := configs.next()
	put(t, s, "a_b", string(config))
	if what == "none" {
		return
	}
	for range countedSaves {
		if what == "changed" {
			config = configs.next()
		}
		put(t, s, "a_b", string(config))
	}
}

// TestFsyncs: a save costs one fsync, and now and then those of a checkpoint; one that changes nothing costs none.
func TestFsyncs(t *testing.T) {
	if what, path, ok := strings.Cut(os.Getenv(countedVar), " "); ok {
		saveCounted(t, what, path)
		return
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed, which counts the fsyncs")
	}
	dir := t.TempDir()
	count := func(what string) int {
		t.Helper()
		out := filepath.Join(dir, what+".out")
		cmd := exec.CommandContext(t.Context(), strace, "-f", "-qq", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-o", out,
			must(os.Executable()), "-test.run=^TestFsyncs$")
		cmd.Env = append(os.Environ(), countedVar+"="+what+" "+filepath.Join(dir, what+".db"))
		if text, err := cmd.CombinedOutput(); err != nil {
			if strings.Contains(string(text), "ptrace") {
				t.Skipf("strace may not trace here: %s", text)
			}
			t.Fatalf("%v: %s", err, text)
		}
		text := string(must(os.ReadFile(out)))
		return strings.Count(text, "fsync(") + strings.Count(text, "fdatasync(")
	}
	none := count("none")
	if none == 0 {
		t.Fatal("no fsync was counted where a config was saved")
	}
	if n := count("same") - none; n != 0 {
		t.Errorf("%d fsyncs in %d saves that change nothing", n, countedSaves)
	}
	if n := count("changed") - none; n < countedSaves || float64(n) > 1.02*countedSaves {
		t.Errorf("%d fsyncs in %d saves, want one each and at most one in fifty more", n, countedSaves)
	}
}

// TestFileSize: the file has little more than the configs in it.
func TestFileSize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := must(sqlite.Open(t.Context(), path, sqlite.WithHistory(0)))
	puts := benchPuts(benchIDs(5000), newBenchConfigs())
	_ = must(s.PutAll(t.Context(), puts))
	if err := s.Close(); err != nil { // then all is in the file itself
		t.Fatal(err)
	}
	size := 0
	for _, p := range puts {
		size += len(p.Config)
	}
	if got := must(os.Stat(path)).Size(); float64(got) > 1.5*float64(size) {
		t.Errorf("the file has %d bytes for configs of %d", got, size)
	}
}

// TestWALAfterSaves: the -wal file stays small through thousands of saves, whatever reads meanwhile.
func TestWALAfterSaves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path, sqlite.WithHistory(0))
	ids, configs := benchIDs(100), newBenchConfigs()
	for n := range 3000 {
		if _, err := s.Put(t.Context(), ids[n%len(ids)], configs.next(), store.Any); err != nil {
			t.Fatal(err)
		}
		if n%10 == 0 {
			_ = must(s.Get(t.Context(), ids[n%len(ids)]))
		}
	}
	if size := must(os.Stat(path + "-wal")).Size(); size > 5_000_000 {
		t.Errorf("the -wal file has %s bytes", strconv.FormatInt(size, 10))
	}
}

// TestPagesPerSave: with history a save writes few pages to the -wal file, also where each adds a state and the oldest goes.
func TestPagesPerSave(t *testing.T) {
	const plugins, saves = 100, 600
	for name, c := range map[string]struct {
		history, rounds int
		most            float64
	}{
		"no history": {0, 1, 1.01},
		"growing":    {50, 1, 4},
		"full":       {10, 25, 2.2},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			s := open(t, path, sqlite.WithHistory(c.history))
			ids, configs := benchIDs(plugins), newBenchConfigs()
			for range c.rounds {
				_ = must(s.PutAll(t.Context(), benchPuts(ids, configs)))
			}
			put(t, s, "first", `{}`) // so that the reader reads in the -wal file, which is not used from its start again while it does
			reader, observer := raw(t, path), raw(t, path)
			exec1(t, reader, `BEGIN`)
			if n := count(t, reader, `SELECT count(*) FROM plugin_configs`); n != plugins+1 {
				t.Fatal(n)
			}
			inUse := func() (pages int) {
				var busy, moved int
				if err := observer.QueryRow(`PRAGMA wal_checkpoint(PASSIVE)`).Scan(&busy, &pages, &moved); err != nil {
					t.Fatal(err)
				}
				return pages
			}
			before := inUse()
			for n := range saves {
				put(t, s, ids[n*benchStep%len(ids)], string(configs.next()))
			}
			pages := float64(inUse()-before) / saves
			t.Logf("%.2f pages a save", pages)
			if pages > c.most {
				t.Errorf("a save writes %.2f pages to the -wal file, want %v at most", pages, c.most)
			}
		})
	}
}
