package registry

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pluginregistry/pluginregistry/store"
)

// flag is a set of what is kept in step with the store for each plugin.
type flag uint32

const (
	configured flag = 1 << iota // a config is stored
	disabled                    // the note says so
)

// flagChange sets the flags of mask to those of value.
type flagChange struct{ mask, value flag }

func setting(f flag, on bool) flagChange {
	if on {
		return flagChange{f, f}
	}
	return flagChange{mask: f}
}

// then returns the change that makes c and afterwards later.
func (c flagChange) then(later flagChange) flagChange {
	return flagChange{c.mask | later.mask, c.value&^later.mask | later.value}
}

func (c flagChange) apply(to *atomic.Uint32) { to.Store(to.Load()&^uint32(c.mask) | uint32(c.value)) }

// flags keeps the flags in step with the store.
//
// Several may set a flag at once: writes of this process, a discovery or Sync that asked the store for all flags some time ago, a watcher.
// The store is right. So a write that had its ID to itself sets the flag it made; one that overlapped with another asks the store, one
// after the other; and a list that was asked for earlier yields to what was set since.
type flags struct {
	asking chan struct{} // holds a token from when the store is asked for all flags until they are set

	mu      sync.Mutex
	pending map[string]*pendingWrite
	changed map[string]flagChange // what was set since the store was asked for all flags; nil while nobody asks
	unsure  map[string]bool       // IDs whose flags may be wrong, because the store could not be asked
}

func newFlags() flags {
	return flags{asking: make(chan struct{}, 1), pending: map[string]*pendingWrite{}, unsure: map[string]bool{}}
}

// pendingWrite is the writes of one ID that are under way together, until the flags are set.
type pendingWrite struct {
	writers    int
	overlapped bool          // there was more than one at a time
	turn       chan struct{} // holds a token while somebody asks the store and sets the flags
}

// beginList waits until nobody else asks the store for all flags: two lists asked for together could be set in the wrong order. The
// caller asks the store, sets the flags, then those in changed, and calls endList.
func (f *flags) beginList(ctx context.Context) error {
	select {
	case f.asking <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed = map[string]flagChange{}
	return nil
}

func (f *flags) endList() {
	f.mu.Lock()
	f.changed = nil
	f.mu.Unlock()
	<-f.asking
}

// set sets flags of id. The caller holds r.flags.mu.
func (r *Registry) set(id string, c flagChange) {
	if at, n := r.snapshot().find(id); at != nil {
		c.apply(&at.flags[n])
	}
	if r.flags.changed != nil {
		r.flags.changed[id] = r.flags.changed[id].then(c)
	}
}

// writing calls write, which changes what is stored for ids, and then sets their flags: to made if write succeeded, to what the store says
// if it is not known what it has done.
func (r *Registry) writing(ctx context.Context, made flagChange, write func() error, ids ...string) error {
	writes := make([]*pendingWrite, len(ids))
	for i, id := range ids {
		writes[i] = r.beginWrite(id)
	}
	err := write()
	for i, id := range ids {
		r.touch(id)
		r.endWrite(ctx, id, writes[i], made, err)
	}
	return err
}

func (r *Registry) beginWrite(id string) *pendingWrite {
	r.mustBeMade()
	r.flags.mu.Lock()
	defer r.flags.mu.Unlock()
	w := r.flags.pending[id]
	if w == nil {
		w = &pendingWrite{turn: make(chan struct{}, 1)}
		r.flags.pending[id] = w
	}
	w.writers++
	w.overlapped = w.overlapped || w.writers > 1
	return w
}

// lookTime is how long a call may outlast its context to ask the store for a flag.
const lookTime = 50 * time.Millisecond

func (r *Registry) endWrite(ctx context.Context, id string, w *pendingWrite, made flagChange, err error) {
	r.flags.mu.Lock()
	unknown := err != nil && (ctx.Err() != nil || errors.Is(err, store.ErrUncertain))
	if !w.overlapped && !unknown {
		defer r.flags.mu.Unlock()
		if err == nil {
			r.set(id, made)
			if made.mask&configured != 0 {
				delete(r.flags.unsure, id)
			}
		}
		r.flags.leave(id, w)
		return
	}
	r.flags.mu.Unlock()
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lookTime)
		defer cancel()
	}
	// It stays pending until the flags are set, so that a write which begins meanwhile asks after it.
	var now flagChange
	var failed error
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
		now, failed = r.askFlags(ctx, id)
	case <-ctx.Done():
		failed = ctx.Err()
	}
	r.flags.mu.Lock()
	defer r.flags.mu.Unlock()
	switch {
	case failed == nil:
		r.set(id, now)
		delete(r.flags.unsure, id)
	case err == nil:
		r.set(id, made)
		r.flags.unsure[id] = true
	default:
		r.flags.unsure[id] = true
	}
	r.flags.leave(id, w)
}

// leave ends what beginWrite began. The caller holds f.mu.
func (f *flags) leave(id string, w *pendingWrite) {
	w.writers--
	if w.writers == 0 {
		delete(f.pending, id)
	}
}

// look sets the flags of id as the store has them now; if the store cannot tell, to what a watcher was told.
func (r *Registry) look(ctx context.Context, id string, told flagChange) {
	w := r.beginWrite(id)
	r.flags.mu.Lock()
	w.overlapped = true
	r.flags.mu.Unlock()
	r.endWrite(ctx, id, w, told, nil)
}

// settle looks again at the flags of id if the store could not be asked after a write.
func (r *Registry) settle(ctx context.Context, id string) {
	r.flags.mu.Lock()
	unsure := r.flags.unsure[id]
	r.flags.mu.Unlock()
	if unsure {
		r.look(ctx, id, flagChange{})
	}
}

// askFlags asks the store for the flags of one ID.
func (r *Registry) askFlags(ctx context.Context, id string) (flagChange, error) {
	_, err := r.configs().Get(ctx, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrCorrupt) {
		return flagChange{}, err
	}
	now := setting(configured, !errors.Is(err, store.ErrNotFound))
	if a, ok := r.st.(store.Annotator); ok {
		note, err := a.Note(ctx, id)
		if err != nil {
			return flagChange{}, err
		}
		now = now.then(setting(disabled, note.Disabled))
	}
	return now, nil
}

// askAllFlags asks the store for the flags of all IDs that begin with prefix. An ID that it does not return has none.
func (r *Registry) askAllFlags(ctx context.Context, prefix string) (map[string]flag, error) {
	ids, err := r.configs().Configured(ctx, prefix)
	if err != nil {
		return nil, err
	}
	all := make(map[string]flag, len(ids))
	for _, id := range ids {
		all[id] = configured
	}
	if a, ok := r.st.(store.Annotator); ok {
		notes, err := a.Notes(ctx, prefix)
		if err != nil {
			return nil, err
		}
		for id, note := range notes {
			if note.Disabled {
				all[id] |= disabled
			}
		}
	}
	return all, nil
}
