package filelock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
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

func mustLock(t *testing.T, l *Lock) {
	t.Helper()
	if err := l.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func mustUnlock(t *testing.T, l *Lock) {
	t.Helper()
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
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

// countdown is a context that ends when it has been looked at so many times: whoever waits on it has waited that long, and no clock
// is needed.
type countdown struct {
	context.Context
	left   atomic.Int32
	cancel context.CancelFunc
}

func (c *countdown) Done() <-chan struct{} {
	if c.left.Add(-1) == 0 {
		c.cancel()
	}
	return c.Context.Done()
}

func TestCancelledWhileWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	holder, other := newLock(t, path), newLock(t, path)
	mustLock(t, holder)
	for name, c := range map[string]struct {
		lock  *Lock
		looks int32 // Lock looks at the context once for its turn, and once more for each time it has tried the file
	}{
		"for a goroutine": {holder, 1},
		"for a process":   {other, 4},
	} {
		if ok, err := c.lock.TryLock(); ok || err != nil {
			t.Errorf("%s: TryLock: %t, %v", name, ok, err)
		}
		inner, cancel := context.WithCancel(t.Context())
		ctx := &countdown{Context: inner, cancel: cancel}
		ctx.left.Store(c.looks)
		if err := c.lock.Lock(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: Lock: %v", name, err)
		}
		if n := ctx.left.Load(); n > 0 {
			t.Errorf("%s: it gave up %d looks early", name, n)
		}
	}
	mustUnlock(t, holder)
	// Nobody who gave up has kept a turn.
	for _, l := range []*Lock{other, holder} {
		if ok, err := l.TryLock(); !ok || err != nil {
			t.Fatalf("TryLock of a free lock: %t, %v", ok, err)
		}
		mustUnlock(t, l)
		mustLock(t, l)
		mustUnlock(t, l)
	}
}

func TestFileStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(path, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := New(path)
	mustLock(t, l)
	mustUnlock(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "kept" {
		t.Errorf("after Close the file has %q, %v", got, err)
	}
}

func TestFileIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no Unix file modes on Windows")
	}
	path := filepath.Join(t.TempDir(), "lock")
	l := newLock(t, path)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("New made the file: %v", err)
	}
	mustLock(t, l)
	mustUnlock(t, l)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want mode 0600", info.Mode(), err)
	}
}

func TestAfterClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, other := newLock(t, path), newLock(t, path)
	mustLock(t, l)
	mustUnlock(t, l)
	for range 2 {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	mustLock(t, other) // the closed one holds nothing
	mustUnlock(t, other)
	mustLock(t, l) // and opens the file again
	if ok, err := other.TryLock(); ok || err != nil {
		t.Errorf("TryLock of a lock that is held: %t, %v", ok, err)
	}
	mustUnlock(t, l)
}

func TestNoDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	path := filepath.Join(dir, "lock")
	l := newLock(t, path)
	for range 2 { // the turn is given back
		ok, err := l.TryLock()
		if ok || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("TryLock: %t, %v; want fs.ErrNotExist with the path", ok, err)
		}
		if err := l.Lock(t.Context()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("Lock: %v; want fs.ErrNotExist with the path", err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	mustLock(t, l)
	mustUnlock(t, l)
}

// childDir is set in the processes that the tests start: see child.
const (
	childDir    = "PLUGINREGISTRY_TEST_LOCK_DIR"
	childRounds = 40
)

// process is a child of the test.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  *bufio.Scanner
	stderr strings.Builder
}

func start(t *testing.T, dir string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Skipf("the test binary cannot be found to start it again: %v", err)
	}
	p := &process{t: t, cmd: exec.Command(exe, "-test.run=^TestProcessesTakeTurns$")}
	p.cmd.Env = append(os.Environ(), childDir+"="+dir)
	p.cmd.Stderr = &p.stderr
	stdout, err1 := p.cmd.StdoutPipe()
	stdin, err2 := p.cmd.StdinPipe()
	if err := errors.Join(err1, err2, p.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	p.stdin, p.lines = stdin, bufio.NewScanner(stdout)
	return p
}

func (p *process) tell(line string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.stdin, line); err != nil {
		p.t.Error(err)
	}
}

func (p *process) says(want string) {
	p.t.Helper()
	p.lines.Scan()
	if got := p.lines.Text(); got != want {
		p.t.Errorf("the other process says %q, want %q", got, want)
	}
}

func (p *process) ends() {
	p.t.Helper()
	if err := errors.Join(p.stdin.Close(), p.cmd.Wait()); err != nil {
		p.t.Errorf("%v: %s", err, p.stderr.String())
	}
}

// child is what the processes do that the tests start: each line they read is an order.
func child(ctx context.Context, dir string) {
	l := New(filepath.Join(dir, "lock"))
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		var err error
		answer := "done"
		switch orders.Text() {
		case "lock":
			err = l.Lock(ctx)
		case "try":
			var ok bool
			ok, err = l.TryLock()
			answer = strconv.FormatBool(ok)
		case "unlock":
			err = l.Unlock()
		case "count":
			err = count(ctx, l, filepath.Join(dir, "count"))
		}
		if err != nil {
			answer = err.Error()
		}
		fmt.Println(answer)
	}
	os.Exit(0) // whatever it holds
}

// count adds to the number in a file, which goes wrong where two do it at once.
func count(ctx context.Context, l *Lock, path string) error {
	for range childRounds {
		if err := l.Lock(ctx); err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		n, _ := strconv.Atoi(string(text))
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			err = os.WriteFile(path, []byte(strconv.Itoa(n+1)), 0o600)
		}
		if err := errors.Join(err, l.Unlock()); err != nil {
			return err
		}
	}
	return nil
}

func TestProcessesTakeTurns(t *testing.T) {
	if dir := os.Getenv(childDir); dir != "" {
		child(t.Context(), dir)
	}
	dir := t.TempDir()
	children := []*process{start(t, dir), start(t, dir), start(t, dir)}
	for _, p := range children { // all run before one begins
		p.tell("")
		p.says("done")
	}
	for _, p := range children {
		p.tell("count")
	}
	l := newLock(t, filepath.Join(dir, "lock"))
	if err := count(t.Context(), l, filepath.Join(dir, "count")); err != nil {
		t.Error(err)
	}
	for _, p := range children {
		p.says("done")
		p.ends()
	}
	want := strconv.Itoa(childRounds * (len(children) + 1))
	if got, err := os.ReadFile(filepath.Join(dir, "count")); err != nil || string(got) != want {
		t.Errorf("counted to %s, %v; want %s", got, err, want)
	}
}

func TestAnotherProcessHasIt(t *testing.T) {
	dir := t.TempDir()
	l := newLock(t, filepath.Join(dir, "lock"))
	p := start(t, dir)
	p.tell("lock")
	p.says("done")
	if ok, err := l.TryLock(); ok || err != nil {
		t.Errorf("TryLock: %t, %v", ok, err)
	}
	inner, cancel := context.WithCancel(t.Context())
	ctx := &countdown{Context: inner, cancel: cancel}
	ctx.left.Store(3)
	if err := l.Lock(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Lock: %v", err)
	}
	p.tell("unlock")
	p.says("done")
	mustLock(t, l)
	p.tell("try")
	p.says("false")
	mustUnlock(t, l)
	p.tell("try")
	p.says("true")
	p.ends() // with the lock held
	mustLock(t, l)
	mustUnlock(t, l)
}
