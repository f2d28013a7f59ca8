package pluginsystem_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/pluginsystem"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// TestFollow changes stored configs, by another registry over the same store, and looks at what is made of each change.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		const schema = `{"type":"object","properties":{"n":{"type":"integer","default":1},"key":{"type":"string","writeOnly":true}}}`
		refused := errors.New("7 is no good")
		working, most := 0, 0
		follows := func(name string) pluginsystem.Definition[doer] {
			def := define(name)
			def.Schema = json.RawMessage(schema)
			def.New = func(_ context.Context, config json.RawMessage) (doer, error) {
				working++
				most = max(most, working)
				defer func() { working-- }()
				if strings.Contains(string(config), `"n":7`) {
					return nil, refused
				}
				return &thing{config: string(config)}, nil
			}
			return def
		}
		m := pluginsystem.NewManager(follows("a"), follows("b"), follows("idle"))
		st := memory.New()
		reg := registry.New(st, registry.WithPlaintextSecrets())
		other := registry.New(st, registry.WithPlaintextSecrets())
		ok[registry.Plugins](t)(reg.RegisterManager(ctx, "c", m))
		ok[registry.Plugins](t)(reg.RegisterManager(ctx, "elsewhere", pluginsystem.NewManager(define("a"))))
		ok[doer](t)(m.LoadConfigured(ctx, reg, "a"))
		ok[doer](t)(m.Load(ctx, "b", map[string]any{"n": 50}))
		save := func(id string, config any) { t.Helper(); ok[store.Record](t)(other.SaveConfig(ctx, id, config)) }

		save("c_a", map[string]any{"n": 2}) // after it was loaded, before anybody follows
		changes := m.Follow(ctx, reg)
		save("c_b", map[string]any{"n": 51}) // after Follow, before the loop

		var got []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			for f, err := range changes {
				got = append(got, fmt.Sprintf("%s %s %t %s", f.Name, f.ID, f.Reloaded, kind(err, refused)))
				if f.Name != "" && f.Revision == store.Absent && f.Reloaded != (f.ID == "c_a") {
					got = append(got, "no revision")
				}
			}
		}()
		step := func(what string, want []string, a, b string) {
			t.Helper()
			synctest.Wait()
			if !slices.Equal(got, want) {
				t.Errorf("%s: followed %q, want %q", what, got, want)
			}
			got = nil
			for name, config := range map[string]string{"a": a, "b": b} {
				if p, found := m.Get(name); !found || p.Do() != config {
					t.Errorf("%s: %s runs with another config than %s", what, name, config)
				}
			}
		}
		step("at first", []string{"a c_a true ok", "b c_b true ok"}, `{"n":2}`, `{"n":51}`)
		save("c_a", map[string]any{"key": "k"})
		step("saved", []string{"a c_a true ok"}, `{"key":"k","n":1}`, `{"n":51}`)
		save("c_a", map[string]any{"key": "k", "n": 1})
		step("the default saved", []string{"a c_a false ok"}, `{"key":"k","n":1}`, `{"n":51}`)
		if _, err := st.Put(ctx, "c_a", json.RawMessage(`{"n":"`+secretText+`"}`), store.Any); err != nil {
			t.Fatal(err)
		}
		step("invalid", []string{"a c_a false invalid"}, `{"key":"k","n":1}`, `{"n":51}`)
		save("c_a", map[string]any{"n": 7})
		step("refused by New", []string{"a c_a false refused"}, `{"key":"k","n":1}`, `{"n":51}`)
		if err := other.DeleteConfig(ctx, "c_a"); err != nil {
			t.Fatal(err)
		}
		step("deleted", []string{"a c_a true ok"}, `{"n":1}`, `{"n":51}`)
		save("c_idle", map[string]any{})
		save("elsewhere_a", map[string]any{})
		save("unknown", map[string]any{})
		step("changes of others", nil, `{"n":1}`, `{"n":51}`)
		if p, _ := reg.Plugin("c_idle"); !p.Configured {
			t.Error("the registry's flags are not kept in step")
		}
		if err := m.Disable(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		step("disabled", []string{"b c_b false ok"}, `{"n":1}`, `{"n":51}`)
		save("c_b", map[string]any{"n": 52})
		synctest.Wait()
		if err := m.Enable(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		step("while disabled", []string{"b c_b true ok", "b c_b false ok"}, `{"n":1}`, `{"n":52}`)

		cancel()
		<-done
		if want := []string{"  false canceled"}; !slices.Equal(got, want) {
			t.Errorf("it ended with %q, want %q", got, want)
		}
		if most != 1 {
			t.Errorf("%d plugins were made at once", most)
		}
	})
}

func kind(err, refused error) string {
	switch {
	case err == nil:
		return "ok"
	case strings.Contains(err.Error(), secretText):
		return "SECRET"
	case errors.As(err, new(*registry.ValidationError)):
		return "invalid"
	case errors.Is(err, refused):
		return "refused"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return err.Error()
}

// TestFollowLeft leaves the loop at the first change.
func TestFollowLeft(t *testing.T) {
	m := pluginsystem.NewManager(define("a"))
	reg := registry.New(memory.New())
	ok[registry.Plugins](t)(reg.RegisterManager(t.Context(), "c", m))
	ok[doer](t)(m.LoadConfigured(t.Context(), reg, "a"))
	changes := m.Follow(t.Context(), reg)
	ok[store.Record](t)(reg.SaveConfig(t.Context(), "c_a", map[string]any{"n": 1}))
	seen := 0
	for f, err := range changes {
		if err != nil || !f.Reloaded {
			t.Fatal(f, err)
		}
		seen++
		break
	}
	if seen != 1 {
		t.Errorf("%d changes", seen)
	}
}

// failingWatch is a store that tells of an error between changes.
type failingWatch struct{ *memory.Store }

var errWatch = errors.New("the disk hiccups")

func (s failingWatch) Watch(context.Context) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) {
		_ = yield(store.Change{}, errWatch) && yield(store.Change{ID: "c_a", Configured: true}, nil)
	}
}

func TestFollowWatchError(t *testing.T) {
	m := pluginsystem.NewManager(define("a"))
	reg := registry.New(failingWatch{memory.New()})
	ok[registry.Plugins](t)(reg.RegisterManager(t.Context(), "c", m))
	ok[doer](t)(m.LoadConfigured(t.Context(), reg, "a"))
	var got []string
	for f, err := range m.Follow(t.Context(), reg) {
		got = append(got, fmt.Sprint(f.Name, errors.Is(err, errWatch)))
	}
	if want := []string{"true", "afalse"}; !slices.Equal(got, want) {
		t.Errorf("followed %q, want %q", got, want)
	}
}
