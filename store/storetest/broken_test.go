package storetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
	"github.com/pluginregistry/pluginregistry/store/storetest"
)

// broken are stores that each break one promise, and a check that must find it.
var broken = map[string]struct {
	make  func() store.Store
	check string
}{
	"shares the bytes it is given":      {func() store.Store { return &sharing{Store: memory.New(), m: map[string]json.RawMessage{}} }, "own_bytes"},
	"reads what is gone as empty":       {func() store.Store { return emptyForNothing{memory.New()} }, "get_nothing"},
	"ignores match":                     {func() store.Store { return ignoringMatch{memory.New()} }, "match"},
	"forgets to look in a batch":        {func() store.Store { return &hasty{Store: memory.New()} }, "at_random"},
	"decides before it writes":          {func() store.Store { return &deciding{Store: memory.New()} }, "compare_and_swap"},
	"takes what is no config":           {func() store.Store { return lenient{memory.New()} }, "refused_configs"},
	"rounds numbers":                    {func() store.Store { return rounding{memory.New()} }, "as_saved"},
	"folds case":                        {func() store.Store { return folding{memory.New()} }, "configured"},
	"lists in disorder":                 {func() store.Store { return disorderly{memory.New()} }, "configured"},
	"ignores contexts":                  {func() store.Store { return timeless{memory.New()} }, "done_contexts"},
	"shows configs in errors":           {func() store.Store { return talkative{memory.New()} }, "silent_errors"},
	"forgets to compare":                {func() store.Store { return &restless{Store: memory.New()} }, "unchanged"},
	"does half a batch":                 {func() store.Store { return halving{memory.New()} }, "batch_all_or_none"},
	"lists history oldest first":        {func() store.Store { return backwards{memory.New()} }, "history"},
	"begins to watch when it is ranged": {func() store.Store { return late{memory.New()} }, "watch"},
	"watches for ever":                  {func() store.Store { return endless{memory.New()} }, "watch_ends"},
}

const brokenVar = "STORETEST_BROKEN"

// TestBroken: each broken store fails the check that is there for it.
func TestBroken(t *testing.T) {
	if b, ok := broken[os.Getenv(brokenVar)]; ok {
		storetest.Run(t, func(*testing.T) store.Store { return b.make() })
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(broken)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestBroken$/^"+broken[name].check+"$", "-test.v", "-test.timeout=60s")
			cmd.Env = append(os.Environ(), brokenVar+"="+name, "STORETEST_PATIENCE=300ms")
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestBroken/"+broken[name].check) {
				t.Errorf("the suite does not find it: %v\n%s", err, out)
			}
		})
	}
}

type sharing struct {
	store.Store
	m map[string]json.RawMessage
}

func (s *sharing) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	rec, err := s.Store.Put(ctx, id, config, match)
	s.m[id] = config
	return rec, err
}

func (s *sharing) Get(ctx context.Context, id string) (store.Record, error) {
	rec, err := s.Store.Get(ctx, id)
	if shared, ok := s.m[id]; ok {
		rec.Config = shared
	}
	return rec, err
}

type emptyForNothing struct{ store.Store }

func (s emptyForNothing) Get(ctx context.Context, id string) (store.Record, error) {
	rec, err := s.Store.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return store.Record{ID: id, Config: json.RawMessage(`{}`)}, nil
	}
	return rec, err
}

type ignoringMatch struct{ store.Store }

func (s ignoringMatch) Put(ctx context.Context, id string, config json.RawMessage, _ store.Revision) (store.Record, error) {
	return s.Store.Put(ctx, id, config, store.Any)
}

// hasty does not look what is there when a batch comes before.
type hasty struct {
	store.Store
	batch bool
}

func (s *hasty) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	if s.batch {
		match = store.Any
	}
	s.batch = false
	return s.Store.Put(ctx, id, config, match)
}

func (s *hasty) PutAll(ctx context.Context, puts []store.Put) ([]store.Record, error) {
	s.batch = true
	return s.Store.(store.Batcher).PutAll(ctx, puts)
}

type deciding struct{ store.Store }

func (s *deciding) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	rec, err := s.Store.Get(ctx, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.Record{}, err
	}
	if err := store.Match(match, rec.Revision); err != nil {
		return store.Record{}, &store.Error{Op: "put", ID: id, Err: err}
	}
	for range 100 { // let others come between deciding and writing
		runtime.Gosched()
	}
	return s.Store.Put(ctx, id, config, store.Any)
}

type lenient struct{ store.Store }

func (s lenient) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	if !json.Valid(config) {
		return s.Store.Put(ctx, id, config, match)
	}
	var v map[string]any
	if json.Unmarshal(config, &v) != nil {
		return s.Store.Put(ctx, id, config, match)
	}
	config, _ = json.Marshal(v) // the last of two names counts
	return s.Store.Put(ctx, id, config, match)
}

type rounding struct{ store.Store }

func (s rounding) Get(ctx context.Context, id string) (store.Record, error) {
	rec, err := s.Store.Get(ctx, id)
	var v map[string]any
	if err == nil && json.Unmarshal(rec.Config, &v) == nil {
		rec.Config, err = json.Marshal(v)
	}
	return rec, err
}

type folding struct{ store.Store }

func (s folding) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	return s.Store.Put(ctx, strings.ToLower(id), config, match)
}

type disorderly struct{ store.Store }

func (s disorderly) Configured(ctx context.Context, prefix string) ([]string, error) {
	ids, err := s.Store.Configured(ctx, prefix)
	slices.Reverse(ids)
	return ids, err
}

type timeless struct{ store.Store }

func (s timeless) Get(ctx context.Context, id string) (store.Record, error) {
	return s.Store.Get(context.WithoutCancel(ctx), id)
}

type talkative struct{ store.Store }

func (s talkative) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	rec, err := s.Store.Put(ctx, id, config, match)
	if err != nil {
		err = &store.Error{Op: "put " + string(config), ID: id, Err: err}
	}
	return rec, err
}

type restless struct {
	store.Store
	n int
}

func (s *restless) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	rec, err := s.Store.Put(ctx, id, config, match)
	s.n++
	rec.Revision = store.Revision(strings.Repeat("i", s.n))
	return rec, err
}

type halving struct{ *memory.Store }

func (s halving) PutAll(ctx context.Context, puts []store.Put) (recs []store.Record, err error) {
	for _, p := range puts {
		rec, err := s.Put(ctx, p.ID, p.Config, p.Match)
		if err != nil {
			return nil, err
		}
		recs = append(recs, rec)
	}
	return recs, nil
}

type backwards struct{ *memory.Store }

func (s backwards) History(ctx context.Context, id string, limit int) ([]store.Version, error) {
	versions, err := s.Store.History(ctx, id, limit)
	slices.Reverse(versions)
	return versions, err
}

type late struct{ *memory.Store }

func (s late) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) { s.Store.Watch(ctx)(yield) }
}

type endless struct{ *memory.Store }

func (s endless) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	changes := s.Store.Watch(ctx)
	return func(yield func(store.Change, error) bool) {
		for c, err := range changes {
			if err == nil && !yield(c, nil) { // and never the end
				return
			}
		}
	}
}
