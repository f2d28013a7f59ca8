package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/pluginregistry/pluginregistry/store"
)

// flags keeps the configured flags in step with the store.
//
// A flag may be set by several at once: saves and deletions of this process, a discovery or Sync that has asked the store for all flags
// some time ago, a watcher. What counts is what the store has. So a write that had its ID to itself sets the flag that it made; one that
// had not asks the store again, one after the other; and a list that was asked for earlier yields to what was set since.
type flags struct {
	asking chan struct{} // holds a token from when the store is asked for all flags until they are set

	mu      sync.Mutex
	flights map[string]*flight
	changed map[string]bool // what was set since the store was asked for all flags; nil while nobody asks
}

func newFlags() flags {
	return flags{asking: make(chan struct{}, 1), flights: map[string]*flight{}}
}

// flight is the writes of one ID that are under way together, until the flag is set.
type flight struct {
	writers int
	crowded bool       // there was more than one at a time
	mu      sync.Mutex // held while asking the store and setting the flag
}

// begin waits until nobody else asks the store for all flags: two lists asked for together could be set in the wrong order. The caller
// asks the store, sets the flags, those in changed as they are there, and calls end.
func (f *flags) begin(ctx context.Context) error {
	select {
	case f.asking <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed = map[string]bool{}
	return nil
}

func (f *flags) end() {
	f.mu.Lock()
	f.changed = nil
	f.mu.Unlock()
	<-f.asking
}

// set sets the flag of id. The caller holds r.flags.mu.
func (r *Registry) set(id string, configured bool) {
	if c, n := r.snapshot().find(id); c != nil {
		c.flags[n].Store(configured)
	}
	if r.flags.changed != nil {
		r.flags.changed[id] = configured
	}
}

// takeOff says that a write of id begins.
func (r *Registry) takeOff(id string) *flight {
	r.mustBeMade()
	r.flags.mu.Lock()
	defer r.flags.mu.Unlock()
	f := r.flags.flights[id]
	if f == nil {
		f = &flight{}
		r.flags.flights[id] = f
	}
	f.writers++
	f.crowded = f.crowded || f.writers > 1
	return f
}

// land says that a write of id has ended with err, and sets the flag.
func (r *Registry) land(ctx context.Context, id string, f *flight, configured bool, err error) {
	r.flags.mu.Lock()
	if !f.crowded && (err == nil || ctx.Err() == nil) {
		defer r.flags.mu.Unlock()
		if err == nil {
			r.set(id, configured)
		}
		r.flags.leave(id, f)
		return
	}
	r.flags.mu.Unlock()
	// With others, or given up while it was perhaps being written: only the store knows. It stays in the flight until the flag is
	// set, so that a write which begins meanwhile asks after it.
	f.mu.Lock()
	defer f.mu.Unlock()
	now, unknown := r.isConfigured(context.WithoutCancel(ctx), id)
	r.flags.mu.Lock()
	defer r.flags.mu.Unlock()
	switch {
	case unknown == nil:
		r.set(id, now)
	case err == nil:
		r.set(id, configured)
	}
	r.flags.leave(id, f)
}

// leave ends what takeOff began. The caller holds f.mu.
func (f *flags) leave(id string, from *flight) {
	from.writers--
	if from.writers == 0 {
		delete(f.flights, id)
	}
}

// look sets the flag of id as the store has it now; if the store cannot tell, as it was told by a watcher.
func (r *Registry) look(ctx context.Context, id string, configured bool) {
	f := r.takeOff(id)
	r.flags.mu.Lock()
	f.crowded = true
	r.flags.mu.Unlock()
	r.land(ctx, id, f, configured, nil)
}

func (r *Registry) isConfigured(ctx context.Context, id string) (bool, error) {
	_, err := r.configs().Get(ctx, id)
	switch {
	case err == nil, errors.Is(err, store.ErrCorrupt):
		return true, nil
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	}
	return false, err
}

// Sync sets all configured flags as the store has them now, in one query.
func (r *Registry) Sync(ctx context.Context) error {
	r.mustBeMade()
	if err := r.flags.begin(ctx); err != nil {
		return fmt.Errorf("registry: asking the store which plugins are configured: %w", err)
	}
	defer r.flags.end()
	configured, err := r.configs().Configured(ctx, "")
	if err != nil {
		return fmt.Errorf("registry: asking the store which plugins are configured: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flags.mu.Lock()
	defer r.flags.mu.Unlock()
	now := r.snapshot()
	type place struct {
		c *category
		n int
	}
	set := make(map[place]struct{}, len(configured))
	for _, id := range configured {
		if c, n := now.find(id); c != nil {
			set[place{c, n}] = struct{}{}
		}
	}
	for _, c := range now.order {
		for n := range c.flags {
			_, is := set[place{c, n}]
			if later, ok := r.flags.changed[c.plugins[n].ID()]; ok {
				is = later
			}
			c.flags[n].Store(is)
		}
	}
	return nil
}
