package poll_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginregistry/pluginregistry/internal/poll"
)

// place is what is looked at.
type place struct {
	mu     sync.Mutex
	values map[string]int
	err    error
	looks  int
}

func (p *place) look(ctx context.Context, last map[string]int) (map[string]int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks++
	if p.err != nil {
		return nil, p.err
	}
	if last != nil && maps.Equal(last, p.values) {
		return last, nil
	}
	return maps.Clone(p.values), nil
}

func (p *place) set(id string, v int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v == 0 {
		delete(p.values, id)
	} else {
		p.values[id] = v
	}
}

// looked returns how many looks there were since it was asked last.
func (p *place) looked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.looks
	p.looks = 0
	return n
}

func (p *place) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

var errClosed = errors.New("closed")

func newHub(p *place) *poll.Hub[int] {
	return &poll.Hub[int]{Interval: time.Second, Look: p.look, Fatal: func(err error) bool { return errors.Is(err, errClosed) }}
}

// log is what one watcher was told.
type log struct {
	mu   sync.Mutex
	said []string
	done chan struct{}
}

func (l *log) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := fmt.Sprint(l.said)
	l.said = nil
	return s
}

func watch(ctx context.Context, h *poll.Hub[int]) *log {
	l := &log{done: make(chan struct{})}
	seq := h.Watch(ctx)
	go func() {
		defer close(l.done)
		for c, err := range seq {
			l.mu.Lock()
			if err != nil {
				l.said = append(l.said, err.Error())
			} else {
				l.said = append(l.said, fmt.Sprint(c.ID, "=", c.Value))
			}
			l.mu.Unlock()
		}
	}()
	synctest.Wait()
	return l
}

func want(t *testing.T, l *log, what string) {
	t.Helper()
	synctest.Wait()
	if got := l.all(); got != what {
		t.Errorf("told %s, want %s", got, what)
	}
}

// TestChanges: saves and deletions are told once, by ID, however many watch; what was there at the call is not told.
func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &place{values: map[string]int{"a": 1, "b": 1}}
		h := newHub(p)
		ctx, cancel := context.WithCancel(t.Context())
		one := watch(ctx, h)
		p.set("b", 2)
		p.set("c", 1)
		two := watch(ctx, h) // looks, so that one is told, too
		want(t, one, "[b=2 c=1]")
		p.set("a", 0)
		p.set("b", 3)
		want(t, one, "[]")
		time.Sleep(time.Second)
		want(t, one, "[a=0 b=3]")
		want(t, two, "[a=0 b=3]")
		cancel()
		want(t, one, "[context canceled]")
		<-one.done
		<-two.done
	})
}

// TestBetweenCallAndLoop: what changes after the call and before the loop begins is told.
func TestBetweenCallAndLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &place{values: map[string]int{}}
		h := newHub(p)
		seq := h.Watch(t.Context())
		p.set("a", 1)
		for c, err := range seq {
			if c.ID != "a" || c.Value != 1 || err != nil {
				t.Errorf("told %v, %v", c, err)
			}
			break
		}
	})
}

// TestOneLook: a thousand watchers cost one look per interval, and none when they have left; the last to leave calls Idle.
func TestOneLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &place{values: map[string]int{}}
		h := newHub(p)
		idle := 0
		h.Idle = func() { idle++ }
		ctx, cancel := context.WithCancel(t.Context())
		var logs []*log
		for range 1000 {
			logs = append(logs, watch(ctx, h))
		}
		p.looked()
		time.Sleep(10*time.Second + time.Millisecond)
		if n := p.looked(); n != 10 {
			t.Errorf("looked %d times in ten intervals", n)
		}
		p.set("a", 1)
		time.Sleep(time.Second)
		for _, l := range logs {
			want(t, l, "[a=1]")
		}
		cancel()
		for _, l := range logs {
			<-l.done
		}
		p.looked()
		time.Sleep(time.Minute)
		if n := p.looked(); n != 0 || idle != 1 {
			t.Errorf("looked %d times for nobody, idle %d times", n, idle)
		}
		// And it starts again.
		ctx, cancel = context.WithCancel(t.Context())
		again := watch(ctx, h)
		p.set("a", 2)
		time.Sleep(time.Second)
		want(t, again, "[a=2]")
		cancel()
		<-again.done
		if idle != 2 {
			t.Errorf("idle %d times", idle)
		}
	})
}

// TestTouch: an own write is told even if somebody else has undone it before the next look.
func TestTouch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &place{values: map[string]int{"b": 1}}
		h := newHub(p)
		h.Touch("before", 1) // nobody watches
		h.Touch("never", 0)
		ctx, cancel := context.WithCancel(t.Context())
		l := watch(ctx, h)
		h.Touch("a", 1) // saved here, deleted elsewhere
		h.Touch("b", 0) // deleted here, saved again elsewhere
		time.Sleep(time.Second)
		want(t, l, "[a=0 b=1]")
		time.Sleep(time.Second)
		want(t, l, "[]")
		p.set("a", 5)
		h.Touch("a", 5)
		h.Touch("a", 5)
		time.Sleep(time.Second)
		want(t, l, "[a=5]")
		h.Touch("a", 5) // the look has told of it before it was touched
		time.Sleep(time.Second)
		want(t, l, "[]")
		h.Touch("a", 6) // and back
		h.Touch("a", 5)
		time.Sleep(time.Second)
		want(t, l, "[a=5]")
		// A look that fails forgets none of them.
		p.fail(errors.New("io"))
		h.Touch("a", 7)
		time.Sleep(time.Second)
		want(t, l, "[io]")
		h.Touch("a", 5)
		p.fail(nil)
		time.Sleep(time.Second)
		want(t, l, "[a=5]")
		cancel()
		<-l.done
	})
}

// TestHalfALook: an error beside values keeps nobody from being told of them.
func TestHalfALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &place{values: map[string]int{"a": 1, "b": 1}}
		var broken atomic.Bool
		failure := errors.New("io")
		h := &poll.Hub[int]{Interval: time.Second, Look: func(ctx context.Context, last map[string]int) (map[string]int, error) {
			values, err := p.look(ctx, last)
			if broken.Load() {
				values = maps.Clone(values)
				values["a"], err = last["a"], failure
			}
			return values, err
		}}
		ctx, cancel := context.WithCancel(t.Context())
		l := watch(ctx, h)
		time.Sleep(time.Second / 2)
		broken.Store(true)
		p.set("a", 2)
		p.set("b", 2)
		time.Sleep(time.Second)
		want(t, l, "[io b=2]")
		h.Touch("b", 3)
		time.Sleep(3 * time.Second)
		want(t, l, "[b=2]")
		two := watch(ctx, h) // what it could see at its start is not told
		want(t, two, "[io]")
		broken.Store(false)
		time.Sleep(time.Second)
		want(t, l, "[a=2]")
		want(t, two, "[a=2]")
		cancel()
		<-l.done
		<-two.done
	})
}

// TestErrors: an error that lasts is told once, one after a success again, and a fatal one ends the watch.
func TestErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &place{values: map[string]int{"a": 1}}
		h := newHub(p)
		l := watch(t.Context(), h)
		time.Sleep(time.Second / 2) // between two looks
		p.fail(errors.New("io"))
		time.Sleep(5 * time.Second)
		want(t, l, "[io]")
		p.fail(errors.New("disk"))
		time.Sleep(5 * time.Second)
		want(t, l, "[disk]")
		p.fail(nil)
		time.Sleep(time.Second)
		p.fail(errors.New("disk"))
		time.Sleep(time.Second)
		want(t, l, "[disk]")
		p.fail(nil)
		p.set("a", 2)
		h.Wake()
		want(t, l, "[a=2]")
		p.fail(errClosed)
		h.Wake()
		want(t, l, "[closed]")
		<-l.done
	})
}

// TestErrorAtTheCall: if nothing could be seen at the call, what is there later counts as changed.
func TestErrorAtTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &place{values: map[string]int{"a": 1}, err: errors.New("io")}
		h := newHub(p)
		ctx, cancel := context.WithCancel(t.Context())
		l := watch(ctx, h)
		want(t, l, "[io]")
		time.Sleep(2 * time.Second)
		want(t, l, "[]")
		p.fail(nil)
		time.Sleep(time.Second)
		want(t, l, "[a=1]")
		cancel()
		<-l.done
	})
}

// TestDoneContext: a context that is done ends the watch, before and in the loop, and its error is nobody else's.
func TestDoneContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &place{values: map[string]int{"a": 1}}
		h := newHub(p)
		h.Look = func(ctx context.Context, last map[string]int) (map[string]int, error) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			return p.look(ctx, last)
		}
		ctx, cancel := context.WithCancel(t.Context())
		other := watch(ctx, h)
		done, end := context.WithCancel(t.Context())
		end()
		var told []string
		for c, err := range h.Watch(done) {
			told = append(told, fmt.Sprint(c, err))
		}
		if !slices.Equal(told, []string{"{ 0} context canceled"}) {
			t.Errorf("told %v", told)
		}
		want(t, other, "[]")
		cancel()
		<-other.done
	})
}

// TestSlowReader: one that is slow sees the last state of each ID, and the others do not wait for it.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &place{values: map[string]int{}}
		h := newHub(p)
		ctx, cancel := context.WithCancel(t.Context())
		quick := watch(ctx, h)
		go func() { // as fast as it can
			time.Sleep(time.Second / 2) // between two looks
			for n := 1; n <= 50; n++ {
				p.set("a", n)
				time.Sleep(time.Second)
			}
		}()
		var slow []int
		for c, err := range h.Watch(ctx) {
			if err != nil {
				break
			}
			slow = append(slow, c.Value)
			if c.Value == 50 {
				break
			}
			time.Sleep(20 * time.Second)
		}
		if len(slow) > 5 || slow[len(slow)-1] != 50 {
			t.Errorf("the slow one saw %v", slow)
		}
		synctest.Wait()
		quick.mu.Lock()
		if n := len(quick.said); n != 50 {
			t.Errorf("the quick one was told %d changes", n)
		}
		quick.mu.Unlock()
		cancel()
		<-quick.done
	})
}
