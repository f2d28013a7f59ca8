package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// oneVerdict checks that all who judge a config say the same of it, also by a store that has it already.
func oneVerdict(t *testing.T, schema, config string) {
	t.Helper()
	ctx := t.Context()
	for _, opts := range [][]registry.Option{{registry.WithPlaintextSecrets()}, {registry.WithSecrets(ring(t, 1))}} {
		st := memory.New()
		reg := registryLike(t, st, schema, opts...)
		raw := json.RawMessage(config)
		valid := reg.Validate(ctx, "c_p", raw)
		_, saved := reg.SaveConfig(ctx, "c_p", raw)
		_, all := reg.SaveConfigs(ctx, map[string]any{"c_p@x": raw})
		_, updated := reg.UpdateConfig(ctx, "c_p@y", func(store.Record) (any, error) { return raw, nil })
		_, patched := reg.PatchConfig(ctx, "c_p@z", raw)
		for doing, err := range map[string]error{"SaveConfig": saved, "SaveConfigs": all, "UpdateConfig": updated} {
			if (err == nil) != (valid == nil) {
				t.Fatalf("%s, %s: Validate: %v, %s: %v", schema, config, valid, doing, err)
			}
		}
		if !strings.Contains(config, "null") && (patched == nil) != (valid == nil) { // null deletes in a patch
			t.Fatalf("%s, %s: Validate: %v, PatchConfig: %v", schema, config, valid, patched)
		}
		if _, unfit := errors.AsType[*registry.ValidationError](valid); valid != nil && !unfit {
			return // no verdict on the schema
		}
		if valid != nil {
			put(t, st, "c_p", string(must(store.Canonical(raw))))
		}
		checked := reg.Check(ctx, "c_p")
		got, typed := registry.ConfigAs[map[string]any](ctx, reg, "c_p")
		if (checked == nil) != (valid == nil) || (typed == nil) != (valid == nil) {
			t.Fatalf("%s, %s: Validate: %v, Check: %v, ConfigAs: %v", schema, config, valid, checked, typed)
		}
		if valid != nil {
			continue
		}
		// What ConfigAs returned can be saved.
		if _, err := reg.SaveConfig(ctx, "c_p", got); err != nil {
			t.Fatalf("%s, %s: ConfigAs returned %v, which cannot be saved: %v", schema, config, got, err)
		}
		effective, err := reg.EffectiveConfig(ctx, "c_p")
		if err != nil {
			t.Fatal(err)
		}
		if err := reg.Validate(ctx, "c_p", effective.Config); err != nil {
			t.Fatalf("%s, %s: the effective config %s is not valid: %v", schema, config, effective.Config, err)
		}
	}
}

var verdictSeeds = [][2]string{
	{`{"properties":{"off":{"type":"boolean"},"cache":{"type":"object","required":["host"],"properties":{"host":{"default":"localhost"}}}},"oneOf":[{"required":["off"],"properties":{"off":{"const":true}}},{"required":["cache"]}]}`, `{"off":true}`},
	{`{"properties":{"name":{"default":"n"},"port":{"default":80},"host":{}},"required":["name","port"]}`, `{"host":"h"}`},
	{`{"properties":{"a":{"default":1},"b":{}},"maxProperties":1}`, `{"b":1}`},
	{`{"properties":{"a":{"default":1}},"not":{"required":["a"]}}`, `{}`},
	{`{"properties":{"a":{"default":1}},"if":{"required":["a"]},"then":{"required":["b"]}}`, `{}`},
	{`{"properties":{"a":{"default":1}},"dependentRequired":{"a":["b"]},"$schema":"https://json-schema.org/draft/2020-12/schema"}`, `{}`},
	{`{"properties":{"a":{"default":"x","type":"integer"}},"required":["a"]}`, `{}`},
	{`{"properties":{"a":{"writeOnly":true,"default":"d"}},"required":["a"],"additionalProperties":false}`, `{}`},
	{`{"properties":{"a":{"default":1e400}}}`, `{"b":-1e400}`},
	{`{"properties":{"a":{"properties":{"b":{"default":{}}},"required":["b"],"maxProperties":1}}}`, `{"a":{"c":1}}`},
}

func TestOneVerdict(t *testing.T) {
	for _, seed := range verdictSeeds {
		oneVerdict(t, seed[0], seed[1])
	}
	runs := uint64(120)
	for seed := range runs {
		g := verdicts{rand.New(rand.NewPCG(seed, 5))}
		oneVerdict(t, g.schema(3), g.object(3))
	}
}

// verdicts makes schemas and configs in which defaults matter.
type verdicts struct{ *rand.Rand }

func (g verdicts) name() string { return []string{"a", "b", "c"}[g.IntN(3)] }

func (g verdicts) value(depth int) string {
	if depth > 0 && g.IntN(3) == 0 {
		return g.object(depth - 1)
	}
	return []string{"1", "2.0", `"x"`, "true", "[]", "{}", `[{}]`}[g.IntN(7)]
}

func (g verdicts) object(depth int) string {
	var members []string
	for _, name := range []string{"a", "b", "c"} {
		if g.IntN(2) == 0 {
			members = append(members, `"`+name+`":`+g.value(depth))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

func (g verdicts) schema(depth int) string {
	if depth == 0 {
		return []string{`{}`, `{"type":"integer"}`, `{"default":1}`, `{"type":"string","default":"d"}`, `{"const":1}`, `{"type":"object"}`, `{"writeOnly":true,"default":"s"}`}[g.IntN(7)]
	}
	var words []string
	add := func(chance int, word func() string) {
		if g.IntN(chance) == 0 {
			words = append(words, word())
		}
	}
	sub := func() string { return g.schema(depth - 1) }
	add(1, func() string {
		return `"properties":{"a":` + sub() + `,"b":` + sub() + `}`
	})
	add(3, func() string { return `"required":["` + g.name() + `"]` })
	add(5, func() string { return `"maxProperties":1` })
	add(6, func() string { return `"additionalProperties":` + []string{"false", sub()}[g.IntN(2)] })
	add(6, func() string { return `"not":{"required":["` + g.name() + `"]}` })
	add(6, func() string { return `"oneOf":[` + sub() + `,{"required":["` + g.name() + `"]}]` })
	add(6, func() string { return `"anyOf":[` + sub() + `,` + sub() + `]` })
	add(6, func() string { return `"if":{"required":["` + g.name() + `"]},"then":` + sub() + `,"else":` + sub() })
	add(6, func() string { return `"dependencies":{"` + g.name() + `":["` + g.name() + `"]}` })
	add(8, func() string { return `"default":` + g.object(1) })
	add(8, func() string { return `"allOf":[` + sub() + `]` })
	return "{" + strings.Join(words, ",") + "}"
}

// FuzzOneVerdict states that SaveConfig accepts a config if and only if Validate does, and then, and only then, Check and ConfigAs do.
func FuzzOneVerdict(f *testing.F) {
	for _, seed := range verdictSeeds {
		f.Add(seed[0], seed[1], uint64(0))
	}
	f.Fuzz(func(t *testing.T, schema, config string, seed uint64) {
		if seed > 0 {
			g := verdicts{rand.New(rand.NewPCG(seed, 6))}
			schema, config = g.schema(4), g.object(4)
		}
		if len(schema) > 1<<14 || len(config) > 1<<14 || !json.Valid([]byte(config)) || strings.Contains(config, "$secret") {
			return
		}
		oneVerdict(t, schema, config)
	})
}

// A save with a context that ends while the config is judged has no verdict.
func TestNoVerdictWithoutTime(t *testing.T) {
	reg := newPlugin(t, `{"properties":{"a":{"type":"integer"}}}`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range []error{reg.Validate(ctx, "c_p", map[string]any{"a": "x"}), reg.Check(ctx, "c_p")} {
		if _, invalid := errors.AsType[*registry.ValidationError](err); invalid {
			t.Errorf("%v", err)
		}
	}
}
