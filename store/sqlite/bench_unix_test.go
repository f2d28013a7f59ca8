//go:build unix

package sqlite_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

// BenchmarkWatch has a watcher look for changes where there are none, more often than the default so that there is something to measure.
// core-% is the share of one core that it would take at the default of 250 ms, and allocs/poll what it allocates; both are for the polls
// that the time allows, of which a busy machine may make fewer.
func BenchmarkWatch(b *testing.B) {
	const interval, usual, polls = 2 * time.Millisecond, 250 * time.Millisecond, 1000
	s := benchOpen(b, filepath.Join(b.TempDir(), "store.db"), sqlite.WithPollInterval(interval))
	if _, err := s.Put(b.Context(), "a", json.RawMessage(`{}`), "*"); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	changes := s.Watch(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range changes {
		}
	}()
	used := func() (mallocs uint64, cpu time.Duration) {
		var m runtime.MemStats
		var u syscall.Rusage
		runtime.ReadMemStats(&m)
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return m.Mallocs, time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	time.Sleep(20 * interval) // until it is in steady state
	mallocs, cpu := used()
	time.Sleep(polls * interval)
	mallocs2, cpu2 := used()
	cancel()
	<-done
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(mallocs2-mallocs)/polls, "allocs/poll")
	b.ReportMetric(100*float64(cpu2-cpu)/polls/float64(usual), "core-%")
}
