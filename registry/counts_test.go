package registry_test

import (
	"fmt"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// findingMany is a manager of n plugins.
func findingMany(n int) *fakeManager {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("plugin", i)
	}
	return finding(names...)
}

func TestLookupAllocatesNothing(t *testing.T) {
	r := registry.New(memory.New())
	for _, category := range []string{"speech", "image_generation"} {
		if _, err := r.RegisterManager(t.Context(), category, findingMany(100)); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"speech_plugin7", "image_generation_plugin99", "image_generation_missing", "missing"} {
		if n := testing.AllocsPerRun(100, func() { r.Plugin(id) }); n != 0 {
			t.Errorf("Plugin(%q) allocates %v times", id, n)
		}
	}
}

// TestLookupClonesOnly: of a plugin with parts that a copy would share, only these are allocated.
func TestLookupClonesOnly(t *testing.T) {
	m := describing(registry.Info{Name: "worker", Resources: registry.Resources{ChildPIDs: []int{7}}})
	r := registry.New(memory.New())
	if _, err := r.RegisterManager(t.Context(), "speech", m); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { r.Plugin("speech_worker") }); n != 1 {
		t.Errorf("Plugin allocates %v times, want once, for the PIDs", n)
	}
}

// TestListsDoNotGrowWithPlugins: a list of plugins is one copy, and a list of categories is made without looking at the plugins.
func TestListsDoNotGrowWithPlugins(t *testing.T) {
	allocations := map[string][]float64{}
	for _, plugins := range []int{1, 5000} {
		r := registry.New(memory.New())
		if _, err := r.RegisterManager(t.Context(), "speech", findingMany(plugins)); err != nil {
			t.Fatal(err)
		}
		for what, list := range map[string]func() int{
			"Categories":            func() int { return len(r.Categories()) },
			"CategoriesWithPlugins": func() int { return len(r.CategoriesWithPlugins()) },
			"PluginsIn":             func() int { return len(r.PluginsIn("speech")) / plugins },
			"Plugins":               func() int { return len(r.Plugins()) / plugins },
		} {
			allocations[what] = append(allocations[what], testing.AllocsPerRun(10, func() {
				if list() != 1 {
					t.Errorf("%s has not what is there", what)
				}
			}))
		}
	}
	for what, n := range allocations {
		if n[0] != n[1] || what == "PluginsIn" && n[0] != 1 {
			t.Errorf("%s allocates %v times with one plugin, %v with 5,000", what, n[0], n[1])
		}
	}
}

// TestOneQuery: whatever the number of plugins, a discovery asks the store once.
func TestOneQuery(t *testing.T) {
	r, st := newSpied()
	for what, do := range map[string]func() error{
		"registering": func() error { _, err := r.RegisterManager(t.Context(), "speech", findingMany(1000)); return err },
		"refreshing":  func() error { return r.Refresh(t.Context(), "speech") },
		"Sync":        func() error { return r.Sync(t.Context()) },
	} {
		if what == "refreshing" {
			if _, err := r.RegisterManager(t.Context(), "speech", findingMany(1000)); err != nil {
				t.Fatal(err)
			}
		}
		before := st.calls.Load()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if n := st.calls.Load() - before; n != 1 {
			t.Errorf("%s asks the store %d times", what, n)
		}
	}
}
