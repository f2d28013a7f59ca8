package registry

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/pluginregistry/pluginregistry/internal/poll"
	"github.com/pluginregistry/pluginregistry/store"
)

// pollInterval is how often Watch looks at a store that is no store.Watcher.
const pollInterval = 250 * time.Millisecond

// Watch yields the changes of stored configs and notes made after the call, by this process or another, each once it is durable. It keeps
// the flags of the registered plugins in step: when a change is yielded, Plugin.Configured and Plugin.Disabled already show it. Several
// quick changes of one ID may arrive as one. An error that does not end the watch is yielded beside a zero Change. The watch ends when ctx
// does, with the context's error, or when the loop is left. A store that is no store.Watcher is asked for all its configs four times a
// second, however many watch.
//
// The loop must run for the flags to be kept in step; Sync does it once.
func (r *Registry) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	changes := r.changes(ctx)
	return func(yield func(store.Change, error) bool) {
		if err := r.Sync(ctx); err != nil && ctx.Err() == nil && !yield(store.Change{}, err) {
			return
		}
		for c, err := range changes {
			if err == nil {
				r.look(ctx, c.ID, setting(configured, c.Configured))
			}
			if !yield(c, failed("watch", "", err)) {
				return
			}
		}
	}
}

func (r *Registry) changes(ctx context.Context) iter.Seq2[store.Change, error] {
	if w, ok := r.configs().(store.Watcher); ok {
		return w.Watch(ctx)
	}
	changes := r.polled.Watch(ctx)
	return func(yield func(store.Change, error) bool) {
		for c, err := range changes {
			if !yield(store.Change{ID: c.ID, Revision: c.Value, Configured: c.Value != store.Absent}, err) {
				return
			}
		}
	}
}

// newPoll returns what watches a store that is no store.Watcher.
func newPoll(st store.Store) *poll.Hub[store.Revision] {
	return &poll.Hub[store.Revision]{
		Interval: pollInterval,
		Look: func(ctx context.Context, _ map[string]store.Revision) (map[string]store.Revision, error) {
			return store.Revisions(ctx, st)
		},
		Fatal: func(err error) bool { return errors.Is(err, store.ErrClosed) },
	}
}

// touch says that id was written: if another process undoes that before the next look, its flag must be looked at all the same.
func (r *Registry) touch(id string) {
	if _, ok := r.st.(store.Watcher); !ok {
		r.polled.Touch(id, store.Any) // no config has it, so that id is told of at the next look, whatever is there
	}
}

// Sync sets the flags of all plugins as the store has them now.
//
// Errors: those of ctx, or what the store says.
func (r *Registry) Sync(ctx context.Context) error {
	r.mustBeMade()
	fail := func(err error) error { return failed("sync", "", err) }
	if err := r.flags.beginList(ctx); err != nil {
		return fail(err)
	}
	defer r.flags.endList()
	stored, err := r.askAllFlags(ctx, "")
	if err != nil {
		return fail(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flags.mu.Lock()
	defer r.flags.mu.Unlock()
	for _, c := range r.snapshot().all() {
		c.setFlags(stored, r.flags.changed)
	}
	clear(r.flags.unsure)
	return nil
}
