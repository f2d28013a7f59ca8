package pluginsystem_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/pluginsystem"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// accounts returns a registered manager with the plugin openai, and a registry with two instances of it, work and home.
func accounts(t *testing.T, st store.Store) (*pluginsystem.Manager[doer], *registry.Registry) {
	t.Helper()
	def := define("openai")
	def.Schema = json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer","default":1}}}`)
	m := pluginsystem.NewManager(def, define("other"))
	reg := registry.New(st)
	ok[registry.Plugins](t)(reg.RegisterManager(t.Context(), "llm", m))
	return m, reg
}

func TestInstances(t *testing.T) {
	m, reg := accounts(t, memory.New())
	ok[store.Record](t)(reg.SaveConfig(t.Context(), "llm_openai@work", map[string]any{"n": 2}))
	ok[store.Record](t)(reg.SaveConfig(t.Context(), "llm_openai@home", map[string]any{}))

	work := ok[doer](t)(m.LoadConfigured(t.Context(), reg, "openai@work"))
	home := ok[doer](t)(m.LoadConfigured(t.Context(), reg, "openai@home"))
	own := ok[doer](t)(m.LoadConfigured(t.Context(), reg, "openai")) // which nobody has configured: its defaults
	if work == home || work.Do() != `{"n":2}` || home.Do() != `{"n":1}` || own.Do() != `{"n":1}` {
		t.Errorf("they run with %s, %s and %s", work.Do(), home.Do(), own.Do())
	}
	if again := ok[doer](t)(m.LoadConfigured(t.Context(), reg, "openai@work")); again != work {
		t.Error("it was made twice")
	}
	if got := m.Loaded(); !slices.Equal(got, []string{"openai", "openai@home", "openai@work"}) {
		t.Errorf("loaded: %q", got)
	}
	if err := m.Unload(t.Context(), "openai"); err != nil {
		t.Fatal(err)
	}
	if got, found := m.Get("openai@work"); !found || got != work {
		t.Error("unloading the plugin's own took the instance")
	}
	reloaded := ok[doer](t)(m.Reload(t.Context(), "openai@work", map[string]any{"n": 3}))
	if got, _ := m.Get("openai@home"); got != home || reloaded.Do() != `{"n":3}` {
		t.Error("reloading one instance changed another")
	}

	_, err := m.LoadConfigured(t.Context(), reg, "openai@nobody")
	wantError(t, err, store.ErrNotFound)
	for _, name := range []string{"nobody@work", "openai@", "openai@a b", "openai@" + strings.Repeat("x", 65), "@work", "openai@work@home"} {
		_, err := m.LoadConfigured(t.Context(), reg, name)
		wantError(t, err, registry.ErrUnknownPlugin)
		_, err = m.Load(t.Context(), name, map[string]any{})
		wantError(t, err, registry.ErrUnknownPlugin)
		wantError(t, m.Disable(t.Context(), name), registry.ErrUnknownPlugin)
	}
}

// TestDisabledSurvives disables by one manager what another one, after a restart, finds disabled.
func TestDisabledSurvives(t *testing.T) {
	st := memory.New()
	m, reg := accounts(t, st)
	ok[store.Record](t)(reg.SaveConfig(t.Context(), "llm_openai@work", map[string]any{}))
	running := ok[doer](t)(m.LoadConfigured(t.Context(), reg, "openai@work"))
	for _, name := range []string{"openai@work", "openai"} {
		if err := m.Disable(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		_, err := m.LoadConfigured(t.Context(), reg, name)
		wantError(t, err, pluginsystem.ErrDisabled)

		later, laterReg := accounts(t, st)
		_, err = later.LoadConfigured(t.Context(), laterReg, name)
		wantError(t, err, pluginsystem.ErrDisabled)
		_, err = later.Load(t.Context(), name, map[string]any{})
		wantError(t, err, pluginsystem.ErrDisabled)
		ok[doer](t)(later.Load(t.Context(), "other", map[string]any{}))
		if name == "openai@work" {
			ok[doer](t)(later.Load(t.Context(), "openai", map[string]any{})) // which is another one
		}
	}
	if got, found := m.Get("openai@work"); !found || got != running {
		t.Error("a running one did not stay")
	}
	if p, _ := reg.Plugin("llm_openai"); !p.Disabled {
		t.Error("the registry does not know that it is disabled")
	}
	if err := reg.SetNote(t.Context(), "llm_openai@work", func(n *store.Note) error { n.Disabled = false; return nil }); err != nil {
		t.Fatal(err)
	}
	ok[doer](t)(m.LoadConfigured(t.Context(), reg, "openai@work"))
	if err := m.Enable(t.Context(), "openai"); err != nil {
		t.Fatal(err)
	}
	later, laterReg := accounts(t, st)
	ok[doer](t)(later.LoadConfigured(t.Context(), laterReg, "openai"))
}

// TestDisabledBeforeRegistered keeps in memory what no registry can keep yet.
func TestDisabledBeforeRegistered(t *testing.T) {
	m := pluginsystem.NewManager(define("a"))
	if err := m.Disable(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	reg := registry.New(memory.New())
	ok[registry.Plugins](t)(reg.RegisterManager(t.Context(), "c", m))
	_, err := m.LoadConfigured(t.Context(), reg, "a")
	wantError(t, err, pluginsystem.ErrDisabled)
	if err := m.Enable(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	ok[doer](t)(m.LoadConfigured(t.Context(), reg, "a"))
}

func TestFollowInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, reg := accounts(t, memory.New())
		save := func(id string, n int) {
			t.Helper()
			ok[store.Record](t)(reg.SaveConfig(t.Context(), id, map[string]any{"n": n}))
		}
		save("llm_openai@work", 1)
		save("llm_openai@home", 1)
		work := ok[doer](t)(m.LoadConfigured(t.Context(), reg, "openai@work"))
		ok[doer](t)(m.LoadConfigured(t.Context(), reg, "openai@home"))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		changes := m.Follow(ctx, reg)
		save("llm_openai", 9) // which does not run
		save("llm_openai@home", 2)
		for f, err := range changes {
			if err != nil || f.Name != "openai@home" || f.ID != "llm_openai@home" || !f.Reloaded {
				t.Errorf("followed: %+v, %v", f, err)
			}
			break
		}
		home, _ := m.Get("openai@home")
		if now, _ := m.Get("openai@work"); now != work || home.Do() != `{"n":2}` {
			t.Error("the wrong one was reloaded")
		}
	})
}
