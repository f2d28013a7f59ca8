package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/jsonfile"
	"github.com/pluginregistry/pluginregistry/store/memory"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

// bare hides what a store can do beyond the four methods.
type bare struct{ store.Store }

// eachStore runs test over every store: open returns another handle of the same one at each call.
func eachStore(t *testing.T, test func(t *testing.T, open func() store.Store)) {
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "r.db")
		test(t, func() store.Store { return openSQLite(t, path, sqlite.WithPollInterval(time.Millisecond)) })
	})
	t.Run("jsonfile", func(t *testing.T) {
		dir := t.TempDir()
		test(t, func() store.Store { return openJSON(t, dir, jsonfile.WithPollInterval(time.Millisecond)) })
	})
	t.Run("memory", func(t *testing.T) {
		st := memory.New()
		test(t, func() store.Store { return st })
	})
}

// Nothing that is stored already is written again, however it is laid out, and secrets do not make a difference.
func TestSavingTheSameWritesNothing(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() store.Store) {
		st := open()
		reg := registryLike(t, st, keySchema, registry.WithSecrets(ring(t, 1)))
		first := save(t, reg, "c_p", json.RawMessage(`{"key":"k","host":"h"}`))
		was := stored(t, st, "c_p")
		again := save(t, reg, "c_p", json.RawMessage(`{ "key": "\u006b", "host": "h" }`))
		all, err := reg.SaveConfigs(t.Context(), map[string]any{"c_p": json.RawMessage(`{"key":"k","host":"h"}`)})
		if err != nil {
			t.Fatal(err)
		}
		update, err := reg.UpdateConfig(t.Context(), "c_p", func(rec store.Record) (any, error) { return rec.Config, nil })
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range []store.Record{again, all[0], update} {
			if rec.Revision != first.Revision || string(rec.Config) != string(first.Config) || stored(t, st, "c_p") != was {
				t.Errorf("saving the same: %v: %s, was %v", rec, rec.Config, first)
			}
		}
	})
}

func TestUpdatesOfManyRegistries(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() store.Store) {
		const registries, goroutines, updates = 2, 3, 15
		var wg sync.WaitGroup
		for range registries {
			reg := registryLike(t, open(), `{"properties": {"n": {"type": "integer"}, "key": {"writeOnly": true}}}`, registry.WithSecrets(ring(t, 1)))
			for range goroutines {
				wg.Go(func() {
					for range updates {
						if _, err := reg.UpdateConfig(t.Context(), "c_p", func(rec store.Record) (any, error) {
							config := struct {
								N   int    `json:"n"`
								Key string `json:"key"`
							}{}
							err := rec.Decode(&config)
							config.N++
							config.Key = fmt.Sprint("secret", config.N)
							return config, err
						}); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		wg.Wait()
		const n = registries * goroutines * updates
		reg := registryLike(t, open(), keySchema, registry.WithSecrets(ring(t, 1)))
		if got := load(t, reg, "c_p").Config; string(got) != fmt.Sprintf(`{"n":%d,"key":"secret%[1]d"}`, n) {
			t.Errorf("after %d updates there is %s", n, got)
		}
	})
}

func TestUpdateConfigEnds(t *testing.T) {
	reg := newPlugin(t, hostSchema)
	calls := 0
	for _, edit := range []func(store.Record) (any, error){
		func(store.Record) (any, error) { return map[string]any{}, nil },  // does not fit
		func(store.Record) (any, error) { return 7, nil },                 // is none
		func(store.Record) (any, error) { return nil, store.ErrConflict }, // an error of its own
		func(store.Record) (any, error) { return nil, fmt.Errorf("no more") },
	} {
		_, err := reg.UpdateConfig(t.Context(), "c_p", func(rec store.Record) (any, error) {
			calls++
			return edit(rec)
		})
		if err == nil || isConfigured(t, reg, "c_p") {
			t.Errorf("call %d: %v", calls, err)
		}
	}
	if calls != 4 {
		t.Errorf("edit was called %d times", calls)
	}
}

func TestSaveConfigsAllOrNone(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() store.Store) {
		st := open()
		reg := registryLike(t, st, `{"properties": {"n": {"type": "integer"}, "key": {"writeOnly": true}}}`)
		before := save(t, reg, "c_q", map[string]any{"n": 1})
		_, err := reg.SaveConfigs(t.Context(), map[string]any{"c_p": map[string]any{"n": 1}, "c_q": map[string]any{"n": "x"},
			"c_r": map[string]any{"key": "k"}, "other": 7, "more": map[string]any{}})
		if _, ok := errors.AsType[*registry.ValidationError](err); !ok || !errors.Is(err, registry.ErrNoSecretKey) || !errors.Is(err, store.ErrInvalidConfig) {
			t.Errorf("not all that is wrong is reported: %v", err)
		}
		for _, id := range []string{"c_p", "c_r", "other", "more"} {
			if rec := load(t, reg, id); rec.Revision != store.Absent {
				t.Errorf("%s was saved", id)
			}
		}
		if rec := load(t, reg, "c_q"); rec.Revision != before.Revision || isConfigured(t, reg, "c_p") {
			t.Errorf("there is %v, the flag of another is %t", rec, isConfigured(t, reg, "c_p"))
		}
		recs, err := reg.SaveConfigs(t.Context(), map[string]any{"c_r": map[string]any{"n": 3}, "c_p": map[string]any{"n": 1}, "c_q": map[string]any{"n": 2}})
		if err != nil || len(recs) != 3 {
			t.Fatalf("%v, %v", recs, err)
		}
		for i, id := range []string{"c_p", "c_q", "c_r"} {
			if rec := load(t, reg, id); recs[i].ID != id || rec.Revision != recs[i].Revision || string(rec.Config) != fmt.Sprintf(`{"n":%d}`, i+1) || !isConfigured(t, reg, id) {
				t.Errorf("%s: %v, saved as %v", id, rec, recs[i])
			}
		}
		if _, err := registry.New(bare{st}).SaveConfigs(t.Context(), map[string]any{"x": map[string]any{}}); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("over a store that is no Batcher: %v", err)
		}
	})
}

func TestHistoryAndRollback(t *testing.T) {
	for name, st := range map[string]store.Store{"memory": memory.New(), "sqlite": openSQLite(t, filepath.Join(t.TempDir(), "r.db"))} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			reg := registryLike(t, st, `{"properties": {"n": {"type": "integer", "maximum": 5}, "key": {"writeOnly": true}}}`, registry.WithSecrets(ring(t, 2, 1)))
			older := registryLike(t, st, keySchema, registry.WithSecrets(ring(t, 9)))
			loose := registry.New(st)
			var revisions []store.Revision
			for _, config := range []string{`{"n":1,"key":"one"}`, `{"n":2,"key":"two"}`} {
				revisions = append(revisions, save(t, reg, "c_p", json.RawMessage(config)).Revision)
			}
			if err := reg.DeleteConfig(ctx, "c_p"); err != nil {
				t.Fatal(err)
			}
			revisions = append(revisions, save(t, loose, "c_p", json.RawMessage(`{"n":6}`)).Revision)
			revisions = append(revisions, save(t, older, "c_p", json.RawMessage(`{"key":"lost"}`)).Revision)
			revisions = append(revisions, save(t, reg, "c_p", json.RawMessage(`{"n":3}`)).Revision)

			versions, err := reg.History(ctx, "c_p", 0)
			if err != nil || len(versions) != 6 {
				t.Fatalf("%v, %v", versions, err)
			}
			for i, want := range []string{`{"n":3}`, "locked", `{"n":6}`, "deleted", `{"n":2,"key":"two"}`, `{"n":1,"key":"one"}`} {
				v := versions[i]
				switch want {
				case "locked":
					if !errors.Is(v.Err, registry.ErrSecretLocked) || v.Config != nil || v.Revision != revisions[3] {
						t.Errorf("version %d: %v, %s, %v", i, v, v.Config, v.Err)
					}
				case "deleted":
					if v.Configured || v.Config != nil || v.Err != nil {
						t.Errorf("version %d: %v", i, v)
					}
				default:
					if string(v.Config) != want || v.Err != nil || !v.Configured || v.ID != "c_p" {
						t.Errorf("version %d: %v, %s, %v, want %s", i, v, v.Config, v.Err, want)
					}
				}
			}
			if some, err := reg.History(ctx, "c_p", 2); err != nil || len(some) != 2 || some[0].Revision != versions[0].Revision {
				t.Errorf("two of them: %v, %v", some, err)
			}
			if none, err := reg.History(ctx, "nobody", 0); err != nil || len(none) != 0 {
				t.Errorf("of nobody: %v, %v", none, err)
			}

			// Back to a config, as a new revision.
			rec, err := reg.Rollback(ctx, "c_p", revisions[0])
			if err != nil || string(rec.Config) != `{"n":1,"key":"one"}` || rec.Revision == revisions[0] || rec.Revision == versions[0].Revision {
				t.Errorf("rolled back to %v: %s, %v", rec, rec.Config, err)
			}
			if got := load(t, reg, "c_p"); string(got.Config) != `{"n":1,"key":"one"}` || got.Revision != rec.Revision || strings.Contains(stored(t, st, "c_p"), "one") {
				t.Errorf("there is %v: %s", got, got.Config)
			}
			// Not to one that does not fit, is locked, or was never there.
			for to, want := range map[store.Revision]error{revisions[2]: new(registry.ValidationError), revisions[3]: registry.ErrSecretLocked, "0": store.ErrNotFound, store.Absent: store.ErrNotFound, store.Any: store.ErrNotFound} {
				_, err := reg.Rollback(ctx, "c_p", to)
				if _, invalid := want.(*registry.ValidationError); invalid && !errors.As(err, new(*registry.ValidationError)) || !invalid && !errors.Is(err, want) {
					t.Errorf("to %q: %v, want %v", to, err, want)
				}
			}
			if got := load(t, reg, "c_p"); got.Revision != rec.Revision {
				t.Errorf("a refused rollback changed it to %v", got)
			}
			// To the deletion, and from there to where it was.
			if gone, err := reg.Rollback(ctx, "c_p", versions[3].Revision); err != nil || gone.Revision != store.Absent || string(gone.Config) != `{}` || isConfigured(t, reg, "c_p") {
				t.Errorf("to the deletion: %v, %v, the flag is %t", gone, err, isConfigured(t, reg, "c_p"))
			}
			if back, err := reg.Rollback(ctx, "c_p", rec.Revision); err != nil || string(back.Config) != string(rec.Config) || !isConfigured(t, reg, "c_p") {
				t.Errorf("and back: %v, %v", back, err)
			}
		})
	}
	reg := registry.New(bare{memory.New()})
	_, history := reg.History(t.Context(), "x", 0)
	_, rollback := reg.Rollback(t.Context(), "x", "1")
	if !errors.Is(history, errors.ErrUnsupported) || !errors.Is(rollback, errors.ErrUnsupported) {
		t.Errorf("over a store without history: %v, %v", history, rollback)
	}
}

// Another registry over the same store, and a hand, change what is stored: the flags follow when the change is yielded.
func TestWatchAcrossRegistries(t *testing.T) {
	eachStore(t, func(t *testing.T, open func() store.Store) {
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		mine := registryLike(t, open(), keySchema, registry.WithSecrets(ring(t, 1)))
		st := open()
		theirs := registryLike(t, st, keySchema, registry.WithSecrets(ring(t, 1)))
		save(t, theirs, "c_q", map[string]any{"n": 0}) // before: found at the start
		changes := mine.Watch(ctx)
		save(t, theirs, "c_p", map[string]any{"key": "between the call and the loop"})
		steps := []struct {
			do func()
			id string
			is bool
		}{
			{nil, "c_p", true},
			{func() { save(t, theirs, "c_q", map[string]any{"n": 1}) }, "c_q", true},
			{func() {
				if err := theirs.DeleteConfig(ctx, "c_p"); err != nil {
					t.Error(err)
				}
			}, "c_p", false},
			{func() { put(t, st, "c_r", `{}`) }, "c_r", true},
			{func() { save(t, mine, "c_p", map[string]any{"n": 2}) }, "c_p", true},
		}
		n := 0
		for c, err := range changes {
			if err != nil {
				t.Fatalf("step %d: %v", n, err)
			}
			if c.ID != steps[n].id || c.Configured != steps[n].is {
				t.Errorf("step %d: %+v, want %s, %t", n, c, steps[n].id, steps[n].is)
			}
			if c.Configured && c.Revision != load(t, mine, c.ID).Revision {
				t.Errorf("step %d: revision %q", n, c.Revision)
			}
			if isConfigured(t, mine, c.ID) != c.Configured || !isConfigured(t, mine, "c_q") {
				t.Errorf("step %d: the flags are not in step", n)
			}
			if n++; n == len(steps) {
				break
			}
			steps[n].do()
		}
		if n != len(steps) {
			t.Errorf("it ended after %d changes", n)
		}
	})
}

// A store that tells nothing is looked at: in the bubble the time between two looks passes at once.
func TestWatchEndsWithTheContext(t *testing.T) {
	for _, hide := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var st store.Store = memory.New()
			if hide {
				st = bare{st}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			reg := registryLike(t, st, keySchema)
			changes := reg.Watch(ctx)
			put(t, st, "c_p", `{}`)
			n := 0
			for c, err := range changes {
				switch n++; n {
				case 1:
					if err != nil || c.ID != "c_p" || !isConfigured(t, reg, "c_p") {
						t.Errorf("hidden %t: %+v, %v", hide, c, err)
					}
					cancel()
				default:
					if !errors.Is(err, context.Canceled) || c != (store.Change{}) {
						t.Errorf("hidden %t: after the end: %+v, %v", hide, c, err)
					}
				}
			}
			if n != 2 {
				t.Errorf("hidden %t: yielded %d times", hide, n)
			}
		})
	}
}

// Sync asks one question, however many plugins there are.
func TestSyncAsksOnce(t *testing.T) {
	reg, st := newSpied()
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprint("p", i))
	}
	register(t, reg, "c", giving(keySchema, names...))
	for i := range 50 {
		put(t, st.Store, fmt.Sprint("c_p", 2*i), `{}`)
	}
	st.calls.Store(0)
	if err := reg.Sync(t.Context()); err != nil || st.calls.Load() != 1 {
		t.Errorf("%d calls, %v", st.calls.Load(), err)
	}
	for i, p := range reg.Plugins() {
		if p.Configured != (i%2 == 0) {
			t.Errorf("%s is configured: %t", p.ID(), p.Configured)
		}
	}
}
