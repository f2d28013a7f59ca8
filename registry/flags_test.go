package registry_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// checkFlags compares every flag with the store.
func checkFlags(t *testing.T, reg *registry.Registry, st store.Store) {
	t.Helper()
	want, err := st.Configured(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range reg.Plugins() {
		if _, is := slices.BinarySearch(want, p.ID()); is != p.Configured {
			t.Errorf("the flag of %q is %t, in the store it is %t", p.ID(), p.Configured, is)
		}
	}
}

// What is saved and deleted after the store was asked for all flags, and before these are set, counts.
func TestListYieldsToWrites(t *testing.T) {
	ctx := t.Context()
	for name, list := range map[string]func(reg *registry.Registry) error{
		"Refresh": func(reg *registry.Registry) error { return reg.Refresh(ctx) },
		"Sync":    func(reg *registry.Registry) error { return reg.Sync(ctx) },
		"RegisterManager": func(reg *registry.Registry) error {
			_, err := reg.RegisterManager(ctx, "c", finding("saved", "deleted", "both", "none"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			reg, st := newSpied()
			register(t, reg, "c", finding("saved", "deleted", "both", "none"))
			save(t, reg, "c_deleted", map[string]any{})
			save(t, reg, "c_both", map[string]any{})
			st.afterList = func() {
				st.afterList = nil
				save(t, reg, "c_saved", map[string]any{})
				save(t, reg, "c_both", map[string]any{"a": 1})
				if err := errors.Join(reg.DeleteConfig(ctx, "c_deleted"), reg.DeleteConfig(ctx, "c_both")); err != nil {
					t.Error(err)
				}
				if !isConfigured(t, reg, "c_saved") || isConfigured(t, reg, "c_deleted") {
					t.Error("the flags are not right when the writes return")
				}
			}
			if err := list(reg); err != nil {
				t.Error(err)
			}
			if st.afterList != nil {
				t.Fatal("the store was not asked")
			}
			checkFlags(t, reg, st.Store)
			// What was set then does not count for a list that is asked for later.
			if err := st.Store.Delete(ctx, "c_saved", store.Any); err != nil {
				t.Fatal(err)
			}
			if err := list(reg); err != nil {
				t.Error(err)
			}
			checkFlags(t, reg, st.Store)
		})
	}
}

// A list that was asked for earlier is never set after one that was asked for later.
func TestListsAreSetInOrder(t *testing.T) {
	lists := map[string]func(reg *registry.Registry, ctx context.Context) error{
		"Refresh": func(reg *registry.Registry, ctx context.Context) error { return reg.Refresh(ctx) },
		"Sync":    (*registry.Registry).Sync,
	}
	for first, early := range lists {
		for second, late := range lists {
			t.Run(second+" during "+first, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					reg, st := newSpied()
					register(t, reg, "c", finding("p", "q"))
					save(t, reg, "c_q", map[string]any{})
					var wg sync.WaitGroup
					st.afterList = func() {
						st.afterList = nil
						// Another process writes, and somebody here notices.
						if _, err := st.Store.Put(t.Context(), "c_p", []byte(`{}`), store.Any); err != nil {
							t.Error(err)
						}
						if err := st.Store.Delete(t.Context(), "c_q", store.Any); err != nil {
							t.Error(err)
						}
						wg.Go(func() {
							if err := late(reg, t.Context()); err != nil {
								t.Error(err)
							}
						})
						synctest.Wait()
					}
					if err := early(reg, t.Context()); err != nil {
						t.Error(err)
					}
					wg.Wait()
					checkFlags(t, reg, st.Store)
				})
			})
		}
	}
}

// Whoever waits for another's list gives up when its context ends.
func TestWaitingForAListEndsWithTheContext(t *testing.T) {
	reg, st := newSpied()
	register(t, reg, "c", finding("p"))
	begun, goOn := make(chan struct{}), make(chan struct{})
	st.afterList = func() { close(begun); <-goOn }
	done := make(chan error)
	go func() { done <- reg.Sync(t.Context()) }()
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := reg.RegisterManager(ctx, "d", finding("p"))
	for _, err := range []error{err, reg.Sync(ctx), reg.Refresh(ctx)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("waiting ended with %v", err)
		}
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSync(t *testing.T) {
	reg, st := newSpied()
	register(t, reg, "a", finding("b_c", "2"))
	register(t, reg, "a_b", finding("d"))
	save(t, reg, "a_2", map[string]any{})
	for _, id := range []string{"a_b_c", "a_b_d", "a", "unknown_x", "a_b_"} {
		if _, err := st.Store.Put(t.Context(), id, []byte(`{}`), store.Any); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Store.Delete(t.Context(), "a_2", store.Any); err != nil {
		t.Fatal(err)
	}
	st.calls.Store(0)
	if err := reg.Sync(t.Context()); err != nil || st.calls.Load() != 1 {
		t.Errorf("Sync: %v, with %d calls of the store", err, st.calls.Load())
	}
	checkFlags(t, reg, st.Store)
	st.failList = errBroken
	if err := reg.Sync(t.Context()); !errors.Is(err, errBroken) {
		t.Errorf("Sync over a broken store: %v", err)
	}
	checkFlags(t, reg, st.Store)
}

// A save whose context ended while it was being written may have happened all the same. What then cannot be read is a config, too.
func TestFlagOfAnAbandonedSave(t *testing.T) {
	for _, unreadable := range []error{nil, store.ErrCorrupt} {
		reg, st := newSpied()
		register(t, reg, "c", finding("p"))
		ctx, cancel := context.WithCancel(t.Context())
		st.afterPut = func(ctx context.Context, err *error) {
			cancel()
			*err = ctx.Err()
			st.failGet = func(string) error { return unreadable }
		}
		if _, err := reg.SaveConfig(ctx, "c_p", map[string]any{}); !errors.Is(err, context.Canceled) {
			t.Fatalf("the error is %v", err)
		}
		if checkFlags(t, reg, st.Store); !isConfigured(t, reg, "c_p") {
			t.Error("the save did not happen")
		}
	}
}

// Whichever of two writes is told of its success last, the flag is what the store has.
func TestFlagOfOverlappingWrites(t *testing.T) {
	reg, st := newSpied()
	register(t, reg, "c", finding("p"))
	st.afterPut = func(context.Context, *error) {
		st.afterPut = nil
		if err := reg.DeleteConfig(t.Context(), "c_p"); err != nil {
			t.Error(err)
		}
	}
	save(t, reg, "c_p", map[string]any{})
	if checkFlags(t, reg, st.Store); isConfigured(t, reg, "c_p") {
		t.Error("the deletion, which was last, did not happen")
	}
}

// A write that begins while an earlier one, which was not alone, has asked the store and not yet set the flag, counts over it.
func TestFlagOfAWriteDuringTheAsking(t *testing.T) {
	reg, st := newSpied()
	register(t, reg, "c", finding("p"))
	var wg sync.WaitGroup
	asked, deleted := 0, make(chan struct{})
	st.afterDelete = func() { close(deleted) }
	st.afterPut = func(context.Context, *error) {
		st.afterPut = nil
		save(t, reg, "c_p", map[string]any{"n": 2})
		st.afterGet = func() {
			if asked++; asked > 1 {
				return
			}
			wg.Go(func() {
				if err := reg.DeleteConfig(t.Context(), "c_p"); err != nil {
					t.Error(err)
				}
			})
			<-deleted
			for range 1000 { // it may return, if it does not wait
				runtime.Gosched()
			}
		}
	}
	save(t, reg, "c_p", map[string]any{"n": 1})
	wg.Wait()
	if checkFlags(t, reg, st.Store); isConfigured(t, reg, "c_p") {
		t.Error("the flag is not that of the last write")
	}
	if asked != 2 {
		t.Errorf("the store was asked %d times, not twice", asked)
	}
}

// A failed save has changed nothing, and neither does its flag.
func TestFlagOfAFailedSave(t *testing.T) {
	reg, st := newSpied()
	register(t, reg, "c", finding("p"))
	broken := &brokenWrites{st.Store}
	other := registry.New(broken)
	register(t, other, "c", finding("p"))
	if _, err := other.SaveConfig(t.Context(), "c_p", map[string]any{}); !errors.Is(err, errBroken) || isConfigured(t, other, "c_p") {
		t.Errorf("saving: %v, the flag is %t", err, isConfigured(t, other, "c_p"))
	}
	save(t, reg, "c_p", map[string]any{})
	if err := other.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.DeleteConfig(t.Context(), "c_p"); !errors.Is(err, errBroken) || !isConfigured(t, other, "c_p") {
		t.Errorf("deleting: %v, the flag is %t", err, isConfigured(t, other, "c_p"))
	}
}

func TestWatchKeepsFlags(t *testing.T) {
	st := memory.New()
	reg := registry.New(st)
	register(t, reg, "c", finding("p", "q"))
	if _, err := st.Put(t.Context(), "c_q", []byte(`{}`), store.Any); err != nil { // before Watch
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changes := reg.Watch(ctx)
	if _, err := st.Put(t.Context(), "c_p", []byte(`{}`), store.Any); err != nil {
		t.Fatal(err)
	}
	var seen []store.Change
	for change, err := range changes {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			continue
		}
		seen = append(seen, change)
		checkFlags(t, reg, st)
		switch len(seen) {
		case 1:
			if err := st.Delete(t.Context(), "c_p", store.Any); err != nil {
				t.Fatal(err)
			}
		case 2:
			save(t, reg, "unknown", map[string]any{})
		case 3:
			cancel()
		}
	}
	want := []store.Change{{ID: "c_p", Revision: "2", Configured: true}, {ID: "c_p", Revision: "3"}, {ID: "unknown", Revision: "4", Configured: true}}
	if !slices.Equal(seen, want) {
		t.Errorf("Watch yielded %v, want %v", seen, want)
	}
}

// teller is a store that tells of these changes.
type teller struct {
	*spyStore
	changes []store.Change
}

func (s teller) Watch(context.Context) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		for _, c := range s.changes {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// Where the store cannot be asked, the error is yielded, Watch goes on, and the flag is what the watcher told.
func TestWatchOverAStoreThatCannotBeRead(t *testing.T) {
	_, st := newSpied()
	reg := registry.New(teller{st, []store.Change{{ID: "c_p", Revision: "1", Configured: true}, {ID: "c_p"}}})
	register(t, reg, "c", finding("p"))
	st.failList = errBroken
	st.failGet = func(string) error { return errBroken }
	var failed, told int
	for change, err := range reg.Watch(t.Context()) {
		if errors.Is(err, errBroken) {
			failed++
			continue
		}
		told++
		if err != nil || isConfigured(t, reg, "c_p") != change.Configured {
			t.Errorf("told of %v, %v, the flag is %t", change, err, isConfigured(t, reg, "c_p"))
		}
	}
	if failed != 1 || told != 2 {
		t.Errorf("Watch yielded %d errors and %d changes", failed, told)
	}
	for range reg.Watch(t.Context()) {
		break // leaving at once is fine
	}
}

// Many save and delete while the categories are discovered again, registered again, synced and watched. Each sees its own writes in its
// flag at once, and at the end every flag is what the store has.
func TestFlagsUnderLoad(t *testing.T) {
	st := &spyStore{Store: memory.New(), yields: true}
	reg := registry.New(st)
	const writers, shared = 4, 3
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	var names []string
	for n := range writers {
		names = append(names, fmt.Sprint("own", n))
	}
	for n := range shared {
		names = append(names, fmt.Sprint("shared", n))
	}
	register(t, reg, "c", finding(names...))
	ctx := t.Context()

	var writing, others sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			own := fmt.Sprint("c_own", w)
			for round := range rounds {
				if _, err := reg.SaveConfig(ctx, own, map[string]any{"round": round}); err != nil {
					t.Error(err)
				}
				if !isConfigured(t, reg, own) {
					t.Error("the flag is false after SaveConfig")
				}
				// Two at once under one ID, and more of the other writers.
				id := fmt.Sprint("c_shared", round%shared)
				if (w+round)%2 == 0 {
					if _, err := reg.SaveConfig(ctx, id, map[string]any{"w": w, "round": round}); err != nil {
						t.Error(err)
					}
				} else if err := reg.DeleteConfig(ctx, id); err != nil {
					t.Error(err)
				}
				if err := reg.DeleteConfig(ctx, own); err != nil {
					t.Error(err)
				}
				if isConfigured(t, reg, own) {
					t.Error("the flag is true after DeleteConfig")
				}
			}
			if w%2 == 0 {
				save(t, reg, own, map[string]any{})
			}
		})
	}
	stop := make(chan struct{})
	for _, do := range []func() error{
		func() error { return reg.Refresh(ctx) },
		func() error { return reg.Sync(ctx) },
		func() error { _, err := reg.RegisterManager(ctx, "c", finding(names...)); return err },
	} {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if err := do(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	writing.Wait()
	close(stop)
	others.Wait()
	checkFlags(t, reg, st.Store)
}

// The flag of an ID that several write at once is at the end what the store has, without any list being asked for.
func TestFlagsOfSharedIDs(t *testing.T) {
	for range 30 {
		st := &spyStore{Store: memory.New(), yields: true}
		reg := registry.New(st)
		register(t, reg, "c", finding("p"))
		var wg sync.WaitGroup
		for w := range 5 {
			wg.Go(func() {
				for round := range 4 {
					if (w+round)%2 == 0 {
						save(t, reg, "c_p", map[string]any{"w": w, "round": round})
					} else if err := reg.DeleteConfig(t.Context(), "c_p"); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		checkFlags(t, reg, st.Store)
	}
}
