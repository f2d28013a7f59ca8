package life

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/pluginregistry/pluginregistry/store"
)

// TestLife: closing waits for the calls that have begun, and none begins after it.
func TestLife(t *testing.T) {
	var l Life
	if err := l.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	var ended atomic.Bool
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		l.Close()
		if !ended.Load() {
			t.Error("Close did not wait for a call under way")
		}
	}()
	for l.Begin(t.Context()) == nil { // until Close has begun
		l.End()
	}
	ended.Store(true)
	l.End()
	<-closed
	l.Close()
	if err := l.Begin(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a call after Close: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := new(Life).Begin(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a call under a done context: %v", err)
	}
}
