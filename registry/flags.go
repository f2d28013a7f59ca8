package registry

import (
	"context"
	"errors"
	"sync"

	"github.com/pluginregistry/pluginregistry/store"
)

// flags keeps the configured flags in step with the store.
//
// A flag may be set by several at once: saves and deletions of this process, a discovery or Sync that has asked the store for all flags
// some time ago, a watcher. What counts is what the store has. So a write that had its ID to itself sets the flag that it made; one that
// had not asks the store again, one after the other; and a list that was asked for earlier yields to what was set since.
type flags struct {
	mu      sync.Mutex
	flights map[string]*flight
	pending map[*pendingFlags]struct{}
}

// flight is the writes of one ID that are under way together.
type flight struct {
	writers int
	crowded bool       // there was more than one at a time
	mu      sync.Mutex // held while asking the store and setting the flag
}

// pendingFlags is a list of flags that was asked for and not yet set, with what was set since.
type pendingFlags struct{ changed map[string]bool }

func (f *flags) begin() *pendingFlags {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pending == nil {
		f.pending = map[*pendingFlags]struct{}{}
	}
	p := &pendingFlags{changed: map[string]bool{}}
	f.pending[p] = struct{}{}
	return p
}

func (f *flags) end(p *pendingFlags) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pending, p)
}

// set sets the flag of id. The caller holds r.flags.mu.
func (r *Registry) set(id string, configured bool) {
	if c, n := r.now.Load().find(id); c != nil {
		c.flags[n].Store(configured)
	}
	for p := range r.flags.pending {
		p.changed[id] = configured
	}
}

// takeOff says that a write of id begins.
func (r *Registry) takeOff(id string) *flight {
	r.flags.mu.Lock()
	defer r.flags.mu.Unlock()
	f := r.flags.flights[id]
	if f == nil {
		f = &flight{}
		if r.flags.flights == nil {
			r.flags.flights = map[string]*flight{}
		}
		r.flags.flights[id] = f
	}
	f.writers++
	f.crowded = f.crowded || f.writers > 1
	return f
}

// land says that a write of id has ended with err, and sets the flag.
func (r *Registry) land(ctx context.Context, id string, f *flight, configured bool, err error) {
	r.flags.mu.Lock()
	f.writers--
	if f.writers == 0 {
		delete(r.flags.flights, id)
	}
	if !f.crowded {
		if err == nil {
			r.set(id, configured)
		}
		r.flags.mu.Unlock()
		return
	}
	r.flags.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if now, unknown := r.isConfigured(context.WithoutCancel(ctx), id); unknown == nil {
		configured = now
	} else if err != nil {
		return
	}
	r.flags.mu.Lock()
	defer r.flags.mu.Unlock()
	r.set(id, configured)
}

// look sets the flag of id as the store has it now.
func (r *Registry) look(ctx context.Context, id string) {
	f := r.takeOff(id)
	r.flags.mu.Lock()
	f.crowded = true
	r.flags.mu.Unlock()
	r.land(ctx, id, f, false, errors.New("nothing was written"))
}

func (r *Registry) isConfigured(ctx context.Context, id string) (bool, error) {
	_, err := r.st.Get(ctx, id)
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
	r.mu.Lock()
	before := r.tickets
	r.mu.Unlock()
	pending := r.flags.begin()
	defer r.flags.end(pending)
	configured, err := r.st.Configured(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flags.mu.Lock()
	defer r.flags.mu.Unlock()
	now := r.now.Load()
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
		if c.ticket > before { // its discovery has asked later
			continue
		}
		for n := range c.flags {
			_, is := set[place{c, n}]
			if later, ok := pending.changed[c.plugins[n].ID()]; ok {
				is = later
			}
			c.flags[n].Store(is)
		}
	}
	return nil
}
