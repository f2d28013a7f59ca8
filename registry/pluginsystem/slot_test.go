package pluginsystem

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// TestSlotsAreForgotten tries many names, and keeps only those that run.
func TestSlotsAreForgotten(t *testing.T) {
	broken := errors.New("no model")
	m := NewManager(Definition[*int]{Name: "a", New: func(_ context.Context, config json.RawMessage) (*int, error) {
		if string(config) != "{}" {
			return nil, broken
		}
		return new(int), nil
	}})
	reg := registry.New(memory.New())
	for _, name := range []string{"a", "a@x", "a@y", "a@", "a@" + string(make([]byte, 65)), "b", "b@x", "@", ""} {
		m.Get(name)
		_, _ = m.Load(t.Context(), name, map[string]any{"no": 1})
		_, _ = m.LoadConfigured(t.Context(), reg, name)
		_, _ = m.Reload(t.Context(), name, map[string]any{})
		_ = m.Unload(t.Context(), name)
		_, _ = m.Provision(t.Context(), name)
	}
	if len(m.slots) > 0 {
		t.Errorf("%d slots are kept for what does not run", len(m.slots))
	}
	for _, name := range []string{"a", "a@x", "a@x"} {
		if _, err := m.Load(t.Context(), name, map[string]any{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.slots) != 2 {
		t.Errorf("there are %d slots for 2 that run", len(m.slots))
	}
	if err := m.UnloadAll(t.Context()); err != nil || len(m.slots) > 0 {
		t.Errorf("%d slots are left, %v", len(m.slots), err)
	}
}
