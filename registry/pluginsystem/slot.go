package pluginsystem

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pluginregistry/pluginregistry/registry"
)

// slot is where one plugin or instance runs.
type slot[P any] struct {
	*plugin[P]
	name     string                     // "openai" or "openai@work"
	instance string                     // "" or "work"
	turn     chan struct{}              // full while a call loads, reloads or unloads
	users    int                        // calls that have the turn or wait for it; guarded by Manager.mu
	running  atomic.Pointer[running[P]] // set by the call that has the turn
}

// running is what New has made.
type running[P any] struct {
	p      P
	config source
	pids   sightings
}

// find returns the plugin that a name belongs to, and the instance that it names.
func (m *Manager[P]) find(name string) (pl *plugin[P], instance string, err error) {
	if pl = m.byName[name]; pl != nil {
		return pl, "", nil
	}
	if at := strings.LastIndexByte(name, '@'); at >= 0 {
		pl, instance = m.byName[name[:at]], name[at+1:]
	}
	if pl == nil {
		return nil, "", registry.ErrUnknownPlugin
	}
	if _, err := registry.ConfigID(pl.Name, instance); err != nil {
		return nil, "", fmt.Errorf("%w: %w", registry.ErrUnknownPlugin, err)
	}
	return pl, instance, nil
}

// slot returns the slot of a name and what runs there; nil if nothing does.
func (m *Manager[P]) slot(name string) (*slot[P], *running[P]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.slots[name]
	if s == nil {
		return nil, nil
	}
	return s, s.running.Load()
}

func (m *Manager[P]) running(name string) *running[P] {
	_, run := m.slot(name)
	return run
}

// take waits for the turn to load, reload or unload a name. If nobody else has it, take succeeds even if ctx has ended.
func (m *Manager[P]) take(ctx context.Context, name string) (*slot[P], error) {
	pl, instance, err := m.find(name)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	s := m.slots[name]
	if s == nil {
		s = &slot[P]{plugin: pl, name: name, instance: instance, turn: make(chan struct{}, 1)}
		m.slots[name] = s
	}
	s.users++
	m.mu.Unlock()

	select {
	case s.turn <- struct{}{}:
		return s, nil
	default:
	}
	select {
	case s.turn <- struct{}{}:
		return s, nil
	case <-ctx.Done():
		m.leave(s)
		return nil, fmt.Errorf("another call is still loading, reloading or unloading it: %w", ctx.Err())
	}
}

func (m *Manager[P]) release(s *slot[P]) {
	<-s.turn
	m.leave(s)
}

// leave ends the use of a slot. One that is neither used nor running is forgotten.
func (m *Manager[P]) leave(s *slot[P]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.users--
	if s.users == 0 && s.running.Load() == nil {
		delete(m.slots, s.name)
	}
}

func (m *Manager[P]) load(ctx context.Context, name string, config configFunc[P]) (p P, err error) {
	defer func() { err = fault("load", name, err) }()
	if err := ctx.Err(); err != nil {
		return p, err
	}
	s, err := m.take(ctx, name)
	if err != nil {
		return p, err
	}
	defer m.release(s)
	if disabled, err := m.isDisabled(ctx, name); err != nil || disabled {
		return p, cmp.Or(err, ErrDisabled)
	}
	src, err := config(ctx, s)
	if err != nil {
		return p, err
	}
	run := s.running.Load()
	switch {
	case run == nil:
		if run, err = s.create(ctx, src); err != nil {
			return p, err
		}
		s.running.Store(run)
	case run.config.sum != src.sum:
		return p, ErrLoaded
	}
	return run.p, nil
}

// reload returns what runs then, and whether that is new. With following, a config that is in use already changes nothing, a disabled
// plugin is reloaded, and a Close is not waited for without end.
func (m *Manager[P]) reload(ctx context.Context, name string, config configFunc[P], following bool) (p P, renewed bool, err error) {
	defer func() { err = fault("reload", name, err) }()
	if err := ctx.Err(); err != nil {
		return p, false, err
	}
	s, err := m.take(ctx, name)
	if err != nil {
		return p, false, err
	}
	defer m.release(s)
	old := s.running.Load()
	switch {
	case old == nil:
		return p, false, ErrNotLoaded
	case !following:
		if disabled, err := m.isDisabled(ctx, name); err != nil || disabled {
			return p, false, cmp.Or(err, ErrDisabled)
		}
	}
	src, err := config(ctx, s)
	if err != nil {
		return p, false, err
	}
	if following && src.sum == old.config.sum {
		return old.p, false, nil
	}
	run, err := s.create(ctx, src)
	if err != nil {
		return p, false, fmt.Errorf("the running one stays: %w", err)
	}
	s.running.Store(run)
	if following {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, followedClose)
		defer cancel()
	}
	if err := shut(ctx, old.p); err != nil {
		return run.p, true, fmt.Errorf("the new one runs; closing the old one: %w", err)
	}
	return run.p, true, nil
}

// followedClose is how long Follow waits for the Close of what it has replaced, before it goes on with other plugins.
const followedClose = 10 * time.Second

func (m *Manager[P]) unload(ctx context.Context, name string) error {
	s, err := m.take(ctx, name)
	if err != nil {
		return err
	}
	defer m.release(s)
	run := s.running.Swap(nil)
	if run == nil {
		return ErrNotLoaded
	}
	return shut(ctx, run.p)
}

// create makes what is to run. The caller has the turn.
func (s *slot[P]) create(ctx context.Context, src source) (*running[P], error) {
	if err := s.available(ctx); err != nil {
		return nil, err
	}
	p, err := s.build(ctx, src.text)
	if err != nil {
		return nil, err
	}
	src.text = nil
	run := &running[P]{p: p, config: src}
	if pids, err := childPIDs(p); err == nil { // an error is told when the processes are asked for
		run.pids.update(pids)
	}
	return run, nil
}

// shut calls Close and waits until it returns or ctx ends.
func shut(ctx context.Context, p any) error {
	_, err := call(ctx, "Close", func(ctx context.Context) (struct{}, error) { return struct{}{}, closePlugin(ctx, p) })
	return err
}

// outcome is what a function of a plugin has returned.
type outcome[T any] struct {
	value T
	err   error
}

// begin calls a function of a plugin in a goroutine.
func begin[T any](ctx context.Context, what string, f func(context.Context) (T, error)) <-chan outcome[T] {
	done := make(chan outcome[T], 1)
	go func() {
		v, err := guarded(what, func() (T, error) { return f(ctx) })
		done <- outcome[T]{v, err}
	}()
	return done
}

// call calls a function of a plugin and waits until it returns or ctx ends.
func call[T any](ctx context.Context, what string, f func(context.Context) (T, error)) (T, error) {
	done := begin(ctx, what, f)
	select {
	case out := <-done:
		return out.value, out.err
	case <-ctx.Done():
		return *new(T), fmt.Errorf("%s has not returned and is left behind: %w", what, ctx.Err())
	}
}

// callFor is call with a limit of time.
func callFor[T any](ctx context.Context, d time.Duration, what string, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return call(ctx, what, f)
}
