package registry_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// TestRandomForms: whatever is secret, and was or is to be, a form that is saved back as it was shown changes nothing.
func TestRandomForms(t *testing.T) {
	for seed := range uint64(500) {
		g := generator{rand.New(rand.NewPCG(seed, 0))}
		st := memory.New()
		before := g.schema(3)
		reg := registryLike(t, st, before, registry.WithSecrets(ring(t, 1)))
		want := string(save(t, reg, "c_p", json.RawMessage(g.object(4))).Config)
		saveForm := func(what, form, schema string) {
			t.Helper()
			if got := save(t, reg, "c_p", json.RawMessage(form)).Config; string(got) != want || string(load(t, reg, "c_p").Config) != want {
				t.Errorf("seed %d: %s %s, by the schema %s, makes %s out of %s", seed, what, form, schema, got, want)
			}
		}
		form := redacted(t, reg, "c_p")
		sealed := stored(t, st, "c_p")
		if err := reg.Validate(t.Context(), "c_p", json.RawMessage(form)); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		saveForm("the form", form, before)
		if stored(t, st, "c_p") != sealed {
			t.Errorf("seed %d: the form was not found to be what is stored", seed)
		}
		after := g.schema(3)
		register(t, reg, "c", giving(after, "p", "q", "r"))
		saveForm("the form of "+before, form, after)
		saveForm("the form", redacted(t, reg, "c_p"), after)
	}
}

// generator makes schemas that call things secret, and configs.
type generator struct{ *rand.Rand }

func (g generator) pick(from ...string) string { return from[g.IntN(len(from))] }

// members gives some names each a value.
func (g generator) members(value func() string) string {
	var l []string
	for _, name := range []string{`"a"`, `"b"`, `"c~/d"`, `"é"`} {
		if g.IntN(2) == 0 {
			l = append(l, name+":"+value())
		}
	}
	return "{" + strings.Join(l, ",") + "}"
}

func (g generator) object(depth int) string {
	return g.members(func() string { return g.value(depth - 1) })
}

func (g generator) value(depth int) string {
	switch n := g.IntN(5); {
	case depth == 0 || n < 2:
		return g.pick(`"s"`, "1", "null", "true", `"x y"`, `""`, "1.50")
	case n == 2:
		var l []string
		for range g.IntN(3) {
			l = append(l, g.value(depth-1))
		}
		return "[" + strings.Join(l, ",") + "]"
	}
	return g.object(depth)
}

func (g generator) schema(depth int) string {
	if depth == 0 || g.IntN(4) == 0 {
		return g.pick(`{}`, `{"writeOnly":true}`, `{"format":"password"}`)
	}
	s := `{"properties":` + g.members(func() string { return g.schema(depth - 1) })
	if g.IntN(2) == 0 {
		s += `,"items":` + g.schema(depth-1)
	}
	if g.IntN(3) == 0 {
		s += `,"additionalProperties":` + g.schema(depth-1)
	}
	if g.IntN(8) == 0 {
		s += `,"writeOnly":true`
	}
	return s + "}"
}
