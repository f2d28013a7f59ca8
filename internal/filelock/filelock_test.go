package filelock

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

func newLock(t *testing.T, path string) *Lock {
	l := New(path)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Two Locks of one file are as two processes.
func TestOneTurnAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	locks := []*Lock{newLock(t, path), newLock(t, path)}
	var holders, turns atomic.Int32
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			for range 20 {
				l := locks[g%2]
				if err := l.Lock(t.Context()); err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d have the lock", n)
				}
				turns.Add(1)
				runtime.Gosched() // let others try
				holders.Add(-1)
				if err := l.Unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := turns.Load(); n != 120 {
		t.Errorf("%d turns, want 120", n)
	}
}

func TestBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	holder := newLock(t, path)
	if err := holder.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := newLock(t, path)
	for name, l := range map[string]*Lock{"the same lock": holder, "another process": other} {
		if ok, err := l.TryLock(); ok || err != nil {
			t.Errorf("%s: TryLock: %t, %v", name, ok, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Lock(ctx) }()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: Lock: %v", name, err)
		}
	}
	if err := holder.Unlock(); err != nil {
		t.Fatal(err)
	}
	if ok, err := other.TryLock(); !ok || err != nil {
		t.Errorf("TryLock of a free lock: %t, %v", ok, err)
	}
	if err := other.Unlock(); err != nil {
		t.Error(err)
	}
}

func TestNoDirectory(t *testing.T) {
	l := newLock(t, filepath.Join(t.TempDir(), "missing", "lock"))
	for range 2 { // the turn is given back
		if ok, err := l.TryLock(); ok || err == nil {
			t.Errorf("TryLock: %t, %v", ok, err)
		}
		if err := l.Lock(t.Context()); err == nil {
			t.Error("Lock succeeded")
		}
	}
}
