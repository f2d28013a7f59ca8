package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// Readers never see a mixture of two registrations while a category is registered and refreshed without end.
func TestReadersSeeWholeCategories(t *testing.T) {
	reg := registry.New(memory.New())
	// Every plugin of one manager has the same version and its own schema title, and there are as many as the version says.
	versions := []int{2, 30, 400}
	managerOf := func(size int) *fakeManager {
		infos := make([]registry.Info, size)
		for i := range infos {
			infos[i] = registry.Info{Name: fmt.Sprint("p", i), Version: fmt.Sprint(size)}
		}
		m := describing(infos...)
		m.schema = func(context.Context, string) (json.RawMessage, error) {
			return json.RawMessage(fmt.Sprintf(`{"title": "%d"}`, size)), nil
		}
		return m
	}
	check := func(plugins registry.Plugins) {
		if len(plugins) == 0 {
			t.Error("the category is empty")
			return
		}
		for i, p := range plugins {
			if p.Version != fmt.Sprint(len(plugins)) || p.Title != p.Version || p.Name != fmt.Sprint("p", i) {
				t.Errorf("of %d plugins number %d is %q in version %s, title %q", len(plugins), i, p.Name, p.Version, p.Title)
				return
			}
		}
	}
	register(t, reg, "c", managerOf(versions[0]))
	stop := make(chan struct{})
	var writers, readers sync.WaitGroup
	for range 2 {
		writers.Go(func() {
			for n := range 150 {
				if n%3 == 2 {
					if err := reg.Refresh(t.Context(), "c"); err != nil {
						t.Error(err)
					}
					continue
				}
				plugins, err := reg.RegisterManager(t.Context(), "c", managerOf(versions[n%len(versions)]))
				if err != nil {
					t.Error(err)
				}
				check(plugins)
			}
		})
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					check(reg.PluginsIn("c"))
					check(reg.Plugins())
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
}

// Everything at once, for the race detector. IDs stay unambiguous and the flags are right at the end.
func TestEverythingAtOnce(t *testing.T) {
	st := memory.New()
	reg := registry.New(st)
	ctx := t.Context()
	finds := map[string][]string{"a": {"b_c", "x"}, "a_b": {"c", "y"}, "d": {"z"}}
	categories := []string{"a", "a_b", "d"}
	managers := map[string]*fakeManager{}
	for category, names := range finds {
		infos := infosOf(names...)
		for i := range infos {
			infos[i].Resources = resources()
		}
		managers[category] = describing(infos...)
		managers[category].schema = func(context.Context, string) (json.RawMessage, error) {
			return json.RawMessage(`{"title": "T", "properties": {"n": {"type": "integer", "default": 1}}}`), nil
		}
	}
	ids := []string{"a_b_c", "a_x", "a_b_y", "d_z", "nobody's"}
	// A conflict of IDs is what one of a and a_b must meet.
	conflict := func(err error) error {
		if errors.Is(err, registry.ErrIDConflict) {
			return nil
		}
		return err
	}
	calls := []func(category, id string) error{
		func(category, _ string) error {
			_, err := reg.RegisterManager(ctx, category, managers[category], registry.WithDisplayName(category))
			return conflict(err)
		},
		func(category, _ string) error {
			_, err := reg.RegisterManager(ctx, category, managers[category], registry.WithoutDiscovery())
			return err
		},
		func(string, string) error { return conflict(reg.Refresh(ctx)) },
		func(string, string) error { return reg.Sync(ctx) },
		func(_, id string) error { _, err := reg.SaveConfig(ctx, id, map[string]any{"n": 2}); return err },
		func(_, id string) error { return reg.DeleteConfig(ctx, id) },
		func(_, id string) error { _, err := reg.LoadConfig(ctx, id); return err },
		func(_, id string) error { _, err := reg.EffectiveConfig(ctx, id); return err },
		func(_, id string) error {
			_, err := reg.SaveConfigs(ctx, map[string]any{id: map[string]any{"n": 3}, "d_z": map[string]any{}})
			return err
		},
		func(_, id string) error {
			_, err := reg.UpdateConfig(ctx, id, func(rec store.Record) (any, error) { return rec.Config, nil })
			return err
		},
		func(category, id string) error {
			plugins := append(reg.Plugins(), reg.PluginsIn(category)...)
			if p, ok := reg.Plugin(id); ok {
				plugins = append(plugins, p)
			}
			for i := range plugins {
				spoilResources(&plugins[i].Resources)
			}
			plugins.Stats()
			reg.Manager(category)
			if name := reg.DisplayName(category); name == "" {
				return errors.New("there is no display name")
			}
			if len(reg.CategoriesWithPlugins()) > len(categories) || len(reg.Categories()) > len(categories) {
				return errors.New("there are more categories than were registered")
			}
			return nil
		},
	}
	watching, cancel := context.WithCancel(ctx)
	changes := reg.Watch(watching)
	var working, watcher sync.WaitGroup
	watcher.Go(func() {
		for _, err := range changes {
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
	for seed := range 6 {
		working.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(seed)))
			for range 80 {
				call := calls[random.IntN(len(calls))]
				if err := call(categories[random.IntN(len(categories))], ids[random.IntN(len(ids))]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	working.Wait()
	cancel()
	watcher.Wait()

	seen := map[string]bool{}
	for _, p := range reg.Plugins() {
		if seen[p.ID()] {
			t.Errorf("two plugins have the ID %q", p.ID())
		}
		seen[p.ID()] = true
	}
	checkFlags(t, reg, st)
	for _, category := range categories {
		_, err := reg.RegisterManager(ctx, category, managers[category])
		if err := conflict(err); err != nil {
			t.Error(err)
		}
	}
	for _, id := range ids[:4] {
		if _, ok := reg.Plugin(id); !ok {
			t.Errorf("%q is not registered", id)
		}
	}
	checkFlags(t, reg, st)
}
