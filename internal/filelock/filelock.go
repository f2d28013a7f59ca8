// Package filelock gives one turn at a time to the goroutines and processes that share a lock file.
package filelock

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/gofrs/flock"

	"github.com/pluginregistry/pluginregistry/internal/sleep"
)

// Lock is a lock on a file beside the data. The file is made on first use, 0600, and never removed: removing it would let two
// processes hold locks on two files of one name.
type Lock struct {
	turn chan struct{} // holds a token while a goroutine of this process has the lock
	file *flock.Flock
}

// New returns the lock at path. It does no I/O.
func New(path string) *Lock {
	return &Lock{turn: make(chan struct{}, 1), file: flock.New(path, flock.SetPermissions(0o600))}
}

// Lock waits for the lock until ctx is done.
func (l *Lock) Lock(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		ok, err := l.file.TryLock()
		if ok && err == nil {
			return nil
		}
		if err == nil {
			err = wait(ctx)
		}
		if err != nil {
			<-l.turn
			return err
		}
	}
}

// TryLock takes the lock if nobody has it, and tells whether it did.
func (l *Lock) TryLock() (bool, error) {
	select {
	case l.turn <- struct{}{}:
	default:
		return false, nil
	}
	ok, err := l.file.TryLock()
	if !ok || err != nil {
		<-l.turn
		return false, err
	}
	return true, nil
}

// wait gives another process its turn: a time drawn at random, so that none is always the last to come.
func wait(ctx context.Context) error {
	return sleep.For(ctx, time.Millisecond/4+rand.N(time.Millisecond))
}

// Unlock gives the lock back.
func (l *Lock) Unlock() error {
	err := l.file.Unlock()
	<-l.turn
	return err
}

// Close lets go of the file. The lock must not be held.
func (l *Lock) Close() error { return l.file.Close() }
