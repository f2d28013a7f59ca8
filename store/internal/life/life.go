// Package life lets the calls of a store begin until the store is closed, and lets closing wait for those that have begun.
package life

import (
	"context"
	"sync"

	"github.com/pluginregistry/pluginregistry/store"
)

// Life is of one store. The zero Life is of an open one. Its methods may be called by any number of goroutines at once.
type Life struct {
	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

// Begin begins a call. Its error is that of ctx, or store.ErrClosed after Close. A call that has begun must End.
func (l *Life) Begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return store.ErrClosed
	}
	l.calls.Add(1)
	return nil
}

// End ends a call.
func (l *Life) End() { l.calls.Done() }

// Close lets no more calls begin and waits for those that have begun. Closing again waits, too.
func (l *Life) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.calls.Wait()
}
