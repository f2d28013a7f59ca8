// Package filelock gives one turn at a time to the goroutines and processes that share a lock file.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"time"

	"github.com/gofrs/flock"

	"github.com/pluginregistry/pluginregistry/internal/atomicfile"
	"github.com/pluginregistry/pluginregistry/internal/sleep"
)

// Lock is a lock on a file beside the data. The file is made on first use, by the rules of atomicfile.Create, so that whoever may write
// beside it may lock it. It is never removed: removing it would let two processes hold locks on two files of one name.
type Lock struct {
	turn chan struct{} // holds a token while a goroutine of this process has the lock
	file *flock.Flock
}

// New returns the lock at path. It does no I/O.
func New(path string) *Lock {
	flag := os.O_RDONLY // without O_CREATE, which some systems refuse for another user's file in a directory that all may write
	if runtime.GOOS == "aix" || runtime.GOOS == "solaris" || runtime.GOOS == "illumos" {
		flag = os.O_RDWR // or it cannot be locked
	}
	return &Lock{turn: make(chan struct{}, 1), file: flock.New(path, flock.SetFlag(flag))}
}

// LockWithin waits for the lock until ctx is done, at most for patience. Then the error names the file and wraps os.ErrDeadlineExceeded.
func (l *Lock) LockWithin(ctx context.Context, patience time.Duration) error {
	inner, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if patience <= 0 {
		if ok, err := l.TryLock(); ok || err != nil {
			return err
		}
	}
	err := l.Lock(inner)
	if err != nil && inner.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%s was not unlocked within %v: another process holds it, perhaps one that is stopped, or many calls wait: %w",
			l.file.Path(), patience, os.ErrDeadlineExceeded)
	}
	return err
}

// Lock waits for the lock until ctx is done.
func (l *Lock) Lock(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		ok, err := l.try()
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

// try locks the file if nobody has locked it, and makes it if it is missing.
func (l *Lock) try() (bool, error) {
	ok, err := l.file.TryLock()
	if !errors.Is(err, fs.ErrNotExist) {
		return ok, err
	}
	if err := atomicfile.Create(l.file.Path(), nil); err != nil {
		return false, fmt.Errorf("making the lock file %s: %w", l.file.Path(), err)
	}
	return l.file.TryLock()
}

// TryLock takes the lock if nobody has it, and tells whether it did.
func (l *Lock) TryLock() (bool, error) {
	select {
	case l.turn <- struct{}{}:
	default:
		return false, nil
	}
	ok, err := l.try()
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
