// Package poll tells any number of watchers of one store what has changed there, with one look at the store per interval.
package poll

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"
)

// Hub looks at a store while somebody watches it. Set its exported fields before the first call. Its methods may be called by any number
// of goroutines at once.
type Hub[V comparable] struct {
	// Interval is the time between two looks.
	Interval time.Duration

	// Look returns the value of each ID. last is the values of the last look, nil before the first one. Look returns last itself if
	// nothing has changed, and never modifies it. If it could look at some IDs only, it returns their values, those in last of the others,
	// and an error; with nil values the error counts for all. Two looks never overlap.
	Look func(ctx context.Context, last map[string]V) (map[string]V, error)

	// Fatal reports whether a watch ends with that error. A nil Fatal means never.
	Fatal func(error) bool

	// Idle, if not nil, is called after the last watcher has left, while nobody looks.
	Idle func()

	looking chan struct{} // holds a token while somebody looks; made with wake
	wake    chan struct{}

	mu       sync.Mutex
	watchers int
	stop     context.CancelFunc // ends the looking
	stopped  chan struct{}      // closed when it has ended
	now      *sight[V]
	touched  map[string]touch[V] // since the last look
}

// touch is what the store itself has written of one ID.
type touch[V comparable] struct {
	value   V
	several bool // there were other values before
}

// sight is what a look saw. It never changes, but for next, which is closed when there is a newer one.
type sight[V comparable] struct {
	values  map[string]V
	touched map[string]uint64 // the number of the look that found an own write of an ID
	number  uint64
	err     error // why the newest look failed; values are those of the look before
	next    chan struct{}
}

// Change is the new value of one ID, the zero V if it is gone.
type Change[V comparable] struct {
	ID    string
	Value V
}

// Watch yields the changes that Look finds, by ID at each look. It looks once before it returns, so that no change made after the call is
// missed, even if the loop has not started. Several quick changes of one ID arrive as one. An error that lasts is yielded once, and the
// watch goes on. It ends with the error of ctx, with a fatal error, or when the loop is left.
func (h *Hub[V]) Watch(ctx context.Context) iter.Seq2[Change[V], error] {
	start, err := h.look(ctx)
	return func(yield func(Change[V], error) bool) {
		h.join()
		defer h.leave()
		told := ""
		if err != nil {
			told = err.Error()
			if start == nil { // what was there at the call is not known: then everything counts as a change
				start = &sight[V]{}
			}
			if !yield(Change[V]{}, err) || ctx.Err() != nil || h.fatal(err) {
				return
			}
		}
		for seen := start; ; {
			if ctx.Err() != nil {
				yield(Change[V]{}, ctx.Err())
				return
			}
			now := h.newest(seen)
			if now.err == nil {
				told = ""
			} else if now.err.Error() != told {
				told = now.err.Error()
				if !yield(Change[V]{}, now.err) || h.fatal(now.err) {
					return
				}
			}
			for _, c := range changes(seen, now) {
				if ctx.Err() != nil {
					break
				}
				if !yield(c, nil) {
					return
				}
			}
			seen = now
			select {
			case <-now.next:
			case <-ctx.Done():
			}
		}
	}
}

// Touch says that a caller of the store has learned that id has this value, the zero V if it is gone, because the store has just written it
// or read it for him. The next look tells of id, even if it finds what the last look found, because somebody else has written meanwhile.
// Only if both found just this value there is nothing to tell: then the last look has told of it. Writes of one ID must be told in their
// order.
func (h *Hub[V]) Touch(id string, value V) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now == nil { // nobody has begun to watch
		return
	}
	var gone V
	_, seen := h.now.values[id]
	if _, before := h.touched[id]; value == gone && !seen && !before { // IDs that were never there leave nothing behind
		return
	}
	h.touch(id, touch[V]{value: value})
}

// Values returns what the last look found, nil if nobody has begun to watch. It must not be modified.
func (h *Hub[V]) Values() map[string]V {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now == nil {
		return nil
	}
	return h.now.values
}

// touch adds a touch. The caller holds h.mu.
func (h *Hub[V]) touch(id string, t touch[V]) {
	if h.touched == nil {
		h.touched = map[string]touch[V]{}
	}
	if before, ok := h.touched[id]; ok {
		t.several = t.several || before.several || before.value != t.value
	}
	h.touched[id] = t
}

// Wake makes the next look come at once.
func (h *Hub[V]) Wake() {
	h.mu.Lock()
	h.init()
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *Hub[V]) fatal(err error) bool { return h.Fatal != nil && h.Fatal(err) }

// init makes the channels. The caller holds h.mu.
func (h *Hub[V]) init() {
	if h.wake == nil {
		h.looking, h.wake = make(chan struct{}, 1), make(chan struct{}, 1)
	}
}

// look looks at the store and publishes what it sees. The sight is nil if nothing could be seen.
func (h *Hub[V]) look(ctx context.Context) (*sight[V], error) {
	h.mu.Lock()
	h.init()
	h.mu.Unlock()
	select {
	case h.looking <- struct{}{}:
		defer func() { <-h.looking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	h.mu.Lock()
	last, own := h.now, h.touched
	h.touched = nil
	if last == nil {
		last = &sight[V]{next: make(chan struct{})}
		h.now = last // so that Touch counts from here on
	}
	h.mu.Unlock()

	values, err := h.Look(ctx, last.values)
	if err != nil && ctx.Err() != nil { // the caller's end is nobody else's error
		h.untouch(own)
		return nil, ctx.Err()
	}
	blind := err != nil && values == nil
	if blind {
		h.untouch(own)
		own, values = nil, last.values
	}
	for id, t := range own {
		if !t.several && values[id] == t.value && last.values[id] == t.value {
			delete(own, id)
		}
	}
	if err == nil && len(own) == 0 && last.number > 0 && last.err == nil && same(values, last.values) {
		return last, nil
	}
	now := &sight[V]{values: values, touched: last.touched, number: last.number + 1, err: err, next: make(chan struct{})}
	if len(own) > 0 {
		now.touched = maps.Clone(last.touched)
		if now.touched == nil {
			now.touched = map[string]uint64{}
		}
		for id := range own {
			now.touched[id] = now.number
		}
	}
	h.mu.Lock()
	h.now = now
	h.mu.Unlock()
	close(last.next)
	if blind {
		return nil, err
	}
	return now, err
}

// untouch gives back what a look that failed was to tell of.
func (h *Hub[V]) untouch(own map[string]touch[V]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, t := range own {
		h.touch(id, t)
	}
}

// same reports whether a and b have the same values; quickly if they are the same map.
func same[V comparable](a, b map[string]V) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer() || maps.Equal(a, b)
}

// newest returns the newest sight, which is after seen or seen itself.
func (h *Hub[V]) newest(seen *sight[V]) *sight[V] {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now == nil || h.now.number < seen.number {
		return seen
	}
	return h.now
}

// join counts a watcher and starts the looking for the first one.
func (h *Hub[V]) join() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers++
	if h.watchers > 1 {
		return
	}
	h.init()
	ctx, stop := context.WithCancel(context.Background())
	before, stopped := h.stopped, make(chan struct{})
	h.stop, h.stopped = stop, stopped
	go func() {
		defer close(stopped)
		if before != nil {
			<-before
		}
		timer := time.NewTimer(h.Interval)
		defer timer.Stop()
		for {
			select {
			case <-timer.C:
			case <-h.wake:
			case <-ctx.Done():
				return
			}
			_, _ = h.look(ctx) // its error is published
			timer.Reset(h.Interval)
		}
	}()
}

// leave undoes join. The last watcher waits for the looking to end.
func (h *Hub[V]) leave() {
	h.mu.Lock()
	h.watchers--
	if h.watchers > 0 {
		h.mu.Unlock()
		return
	}
	h.stop()
	stopped := h.stopped
	h.mu.Unlock()
	<-stopped
	h.looking <- struct{}{}
	defer func() { <-h.looking }()
	h.mu.Lock()
	idle := h.watchers == 0
	h.mu.Unlock()
	if idle && h.Idle != nil {
		h.Idle()
	}
}

// changes returns what lies between two sights, by ID.
func changes[V comparable](before, after *sight[V]) []Change[V] {
	if before == after {
		return nil
	}
	var changed []Change[V]
	for id, v := range after.values {
		if old, ok := before.values[id]; !ok || old != v || after.touched[id] > before.number {
			changed = append(changed, Change[V]{id, v})
		}
	}
	for id := range before.values {
		if _, ok := after.values[id]; !ok {
			changed = append(changed, Change[V]{ID: id})
		}
	}
	for id, number := range after.touched {
		_, is := after.values[id]
		if _, was := before.values[id]; number > before.number && !is && !was {
			changed = append(changed, Change[V]{ID: id})
		}
	}
	slices.SortFunc(changed, func(a, b Change[V]) int { return cmp.Compare(a.ID, b.ID) })
	return changed
}
