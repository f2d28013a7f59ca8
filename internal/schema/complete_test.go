package schema_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/internal/schema"
)

// effective is the text of an effective config, with a mark in front of it if it is not valid.
func effective(s *schema.Schema, config *jsontext.Value) string {
	out, issues := s.Complete(context.Background(), config)
	text := string(out.Append(nil))
	if issues != nil {
		return "INVALID " + text
	}
	return text
}

// A default never makes a valid config invalid, and what is missing and has one is not missed.
func TestOneVerdict(t *testing.T) {
	const cache = `{"properties":{"off":{"type":"boolean"},"cache":{"type":"object","required":["host"],"properties":{"host":{"default":"localhost"}}}},` +
		`"oneOf":[{"required":["off"],"properties":{"off":{"const":true}}},{"required":["cache"]}]}`
	const named = `{"required":["name","port"],"properties":{"name":{"default":"n"},"port":{"type":"integer","default":80},"host":{"type":"string"}}}`
	for _, tt := range []struct{ name, schema, config, want string }{
		{"an object made for a default that takes another branch", cache, `{"off":true}`, `{"off":true}`},
		{"the same object where it is wanted", cache, `{}`, `{"cache":{"host":"localhost"}}`},
		{"the same object where it is there", cache, `{"cache":{}}`, `{"cache":{"host":"localhost"}}`},
		{"required with defaults", named, `{"host":"h"}`, `{"host":"h","name":"n","port":80}`},
		{"required with defaults, nothing given", named, `{}`, `{"name":"n","port":80}`},
		{"required with a default that is no use", `{"required":["a"],"properties":{"a":{"type":"integer","default":"x"}}}`, `{}`, `INVALID {}`},
		{"what is wrong stays wrong, with all defaults", named, `{"port":"x"}`, `INVALID {"port":"x","name":"n"}`},
		{"maxProperties", `{"maxProperties":2,"properties":{"a":{"default":1},"b":{"default":2},"c":{"default":3}}}`, `{"z":0}`, `{"z":0,"a":1}`},
		{"maxProperties reached", `{"maxProperties":1,"properties":{"a":{"default":1}}}`, `{"z":0}`, `{"z":0}`},
		{"maxProperties and required", `{"maxProperties":2,"required":["c"],"properties":{"a":{"default":1},"b":{"default":2},"c":{"default":3}}}`, `{"z":0}`, `{"z":0,"c":3}`},
		{"not required together", `{"not":{"required":["a","b"]},"properties":{"a":{"default":1},"b":{"default":2}}}`, `{}`, `{"a":1}`},
		{"the other is given", `{"not":{"required":["a","b"]},"properties":{"a":{"default":1},"b":{"default":2}}}`, `{"b":0}`, `{"b":0}`},
		{"dependencies", `{"dependencies":{"a":["need"]},"properties":{"a":{"default":1},"b":{"default":2}}}`, `{}`, `{"b":2}`},
		{"dependencies met by a later default", `{"dependencies":{"a":["need"]},"maxProperties":3,"properties":{"a":{"default":1},"need":{"default":0},"c":{"default":1},"d":{"default":1}}}`, `{}`, `{"a":1,"need":0,"c":1}`},
		{"if then", `{"if":{"required":["a"]},"then":{"required":["key"]},"properties":{"a":{"default":1},"b":{"default":2}}}`, `{}`, `{"b":2}`},
		{"if then, the rest is there", `{"if":{"required":["a"]},"then":{"required":["key"]},"properties":{"a":{"default":1},"b":{"default":2}}}`, `{"key":"k"}`, `{"key":"k","a":1,"b":2}`},
		{"if else", `{"if":{"required":["a"]},"else":{"properties":{"b":{"const":3}}},"properties":{"b":{"default":2}}}`, `{}`, `{}`},
		{"additionalProperties of allOf", `{"allOf":[{"additionalProperties":false,"properties":{"b":{}}}],"properties":{"a":{"default":1},"b":{"default":2}}}`, `{}`, `{"b":2}`},
		{"propertyNames", `{"propertyNames":{"maxLength":1},"properties":{"aa":{"default":1},"b":{"default":2}}}`, `{}`, `{"b":2}`},
		{"unevaluatedProperties", `{` + d2020 + `"$ref":"#/$defs/x","$defs":{"x":{"unevaluatedProperties":false,"properties":{"b":{}}}},"properties":{"a":{"default":1},"b":{"default":2}}}`, `{}`, `{"b":2}`},
		{"in an item", `{"properties":{"l":{"items":{"maxProperties":1,"properties":{"a":{"default":1}}}}}}`, `{"l":[{"x":1},{}]}`, `{"l":[{"x":1},{"a":1}]}`},
		{"in a made object", `{"properties":{"o":{"maxProperties":1,"properties":{"a":{"default":1},"b":{"default":2}}}}}`, `{}`, `{"o":{"a":1}}`},
		{"one object of two", `{"oneOf":[{"required":["x"]},{"required":["y"]}],"properties":{"x":{"properties":{"a":{"default":1}}},"y":{"properties":{"a":{"default":1}}}}}`, `{}`, `{"x":{"a":1}}`},
		{"$schema is always allowed", `{"additionalProperties":false,"properties":{"a":{"default":1}}}`, `{"$schema":"./s.json"}`, `{"$schema":"./s.json","a":1}`},
		{"$schema that is required", `{"required":["$schema"],"properties":{"a":{"default":1}}}`, `{"$schema":"y"}`, `{"$schema":"y","a":1}`},
		{"$schema that is a property", `{"properties":{"$schema":{"const":"x"}}}`, `{"$schema":"y"}`, `INVALID {"$schema":"y"}`},
		{"$schema is no property of others", `{"properties":{"o":{"additionalProperties":false}}}`, `{"o":{"$schema":"x"}}`, `INVALID {"o":{"$schema":"x"}}`},
		{"nullable", `{"properties":{"a":{"type":"string","nullable":true,"default":null},"b":{"enum":["x"],"nullable":true},"c":{"allOf":[{"$ref":"#/definitions/o"}],"nullable":true}},"definitions":{"o":{"type":"object","properties":{"d":{"default":1}}}}}`,
			`{"b":null,"c":null}`, `{"b":null,"c":null,"a":null}`},
		{"nullable that is not null", `{"properties":{"c":{"allOf":[{"$ref":"#/definitions/o"}],"nullable":true}},"definitions":{"o":{"type":"object","properties":{"d":{"default":1}}}}}`, `{"c":{}}`, `{"c":{"d":1}}`},
		{"nullable is no for anything", `{"properties":{"c":{"allOf":[{"type":"string"}],"nullable":true}}}`, `{"c":1}`, `INVALID {"c":1}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := schema.Compile([]byte(tt.schema), schema.Options{})
			config := parse(t, tt.config)
			if got := effective(s, config); got != tt.want {
				t.Errorf("got  %s\nwant %s\nErr  %v", got, tt.want, s.Err())
			}
			if got := string(config.Append(nil)); got != tt.config {
				t.Errorf("the config became %s", got)
			}
			out, _ := s.Complete(t.Context(), config)
			if again := effective(s, out); again != tt.want {
				t.Errorf("completed again: %s", again)
			}
		})
	}
}

// Defaults that cost little are not lost beside those that cost much.
func TestManyDefaults(t *testing.T) {
	ints := many(250, func(i int) string { return fmt.Sprintf(`"p%d":{"type":"integer","default":%[1]d}`, i) })
	s := schema.Compile([]byte(`{"properties":{"o":{"properties":{`+ints+`}},"zzz":{"default":7}}}`), schema.Options{})
	out, issues := s.Complete(t.Context(), parse(t, `{}`))
	if s.Err() != nil || issues != nil || len(out.Members) != 2 || len(out.Member("o").Members) != 250 {
		t.Errorf("%d members, %v, %v", len(out.Members), issues, s.Err())
	}
	s = schema.Compile([]byte(`{"properties":{`+many(10, func(i int) string {
		return fmt.Sprintf(`"r%d":{"$ref":"#","default":{}},"i%[1]d":{"type":"integer","default":%[1]d}`, i)
	})+`}}`), schema.Options{})
	config := parse(t, `{"r3":{"r4":{}}}`)
	out, issues = s.Complete(t.Context(), config)
	for i := range 10 {
		if v := out.Member(fmt.Sprintf("i%d", i)); v == nil {
			t.Errorf("i%d is lost: %v, %v", i, issues, s.Err())
		}
	}
	if once, twice := effective(s, config), effective(s, out); once != twice || strings.HasPrefix(once, "INVALID") {
		t.Errorf("completed again: %d and %d bytes", len(once), len(twice))
	}
	wide := `"wide":{"$ref":"#/definitions/d0"},"definitions":{` + many(40, func(i int) string {
		return fmt.Sprintf(`"d%d":{"properties":{"a":{"$ref":"#/definitions/d%d"},"b":{"$ref":"#/definitions/d%[2]d"}}}`, i, i+1)
	}) + `,"d40":{"properties":{"x":{"default":1}}}}`
	s = schema.Compile([]byte(`{"properties":{"plain":{"default":1},`+strings.Replace(wide, `,"definitions"`, `,"last":{"default":2}},"definitions"`, 1)+`}`), schema.Options{})
	out, issues = s.Complete(t.Context(), parse(t, `{}`))
	if s.Err() == nil || !strings.Contains(s.Err().Error(), "too many to work out") || issues != nil || out.Member("plain") == nil || out.Member("last") == nil {
		t.Errorf("%s, %v, %v", out.Append(nil), issues, s.Err())
	}
}

func TestContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := schema.Compile([]byte(typical), schema.Options{})
	if _, issues := s.Complete(ctx, parse(t, string(typicalConfig))); len(issues) != 1 || !strings.Contains(issues[0].Message, "not checked") {
		t.Errorf("%v", issues)
	}
}

// verdict makes a schema and a config out of data and checks what Complete promises.
func verdict(t *testing.T, data []byte) (valid, changed bool) {
	t.Helper()
	g := &generator{data: data, draft: "7"}
	text := string(g.defaulting(3).Append(nil))
	s := schema.Compile([]byte(text), schema.Options{})
	if !s.Usable() {
		t.Fatalf("%v\nschema %s", s.Err(), text)
	}
	config := g.small(2, true)
	given := string(config.Append(nil))
	out, issues := s.Complete(t.Context(), config)
	got := string(out.Append(nil))
	say := func(format string, args ...any) {
		t.Errorf("%s\nschema %s\nconfig %s\neffective %s %v", fmt.Sprintf(format, args...), text, given, got, issues)
	}
	if now := string(config.Append(nil)); now != given {
		say("the config became %s", now)
	}
	alone := s.Validate([]byte(got))
	if (alone == nil) != (issues == nil) {
		say("the verdict is not that on the effective config: %v", alone)
	}
	if s.Validate([]byte(given)) == nil && issues != nil {
		say("a valid config is refused")
	}
	if again := effective(s, out); strings.TrimPrefix(again, "INVALID ") != got || strings.HasPrefix(again, "INVALID") != (issues != nil) {
		say("completed again: %s", again)
	}
	other := schema.Compile([]byte(text), schema.Options{})
	if twice := effective(other, parse(t, given)); strings.TrimPrefix(twice, "INVALID ") != got {
		say("another answer the second time: %s", twice)
	}
	for i, m := range config.Members { // what is given stays
		if out.Members[i].Name != m.Name {
			say("member %d is another", i)
		}
	}
	return issues == nil, got != given
}

// defaulting makes a schema with defaults and with what they can break.
func (g *generator) defaulting(depth int) *jsontext.Value {
	s := &jsontext.Value{Kind: jsontext.Object}
	names := func() *jsontext.Value {
		list := array()
		for range 1 + g.pick(2) {
			list.Items = append(list.Items, str(g.one("a", "b", "c", "d")))
		}
		return list
	}
	object := func(name string, v *jsontext.Value) *jsontext.Value {
		return &jsontext.Value{Kind: jsontext.Object, Members: []jsontext.Member{{Name: name, Value: v}}}
	}
	if g.pick(3) > 0 {
		props := &jsontext.Value{Kind: jsontext.Object}
		for range 1 + g.pick(4) {
			p := &jsontext.Value{Kind: jsontext.Object}
			if depth > 0 && g.pick(2) == 1 {
				p = g.defaulting(depth - 1)
			} else {
				put(p, g.one("type", "x"), str(g.one("integer", "string", "object")))
			}
			if g.pick(2) == 1 {
				put(p, "default", g.small(1, g.pick(3) == 1))
			}
			if depth > 0 && g.pick(8) == 1 {
				put(p, "$ref", str("#"))
			}
			put(props, g.one("a", "b", "c", "d"), p)
		}
		put(s, "properties", props)
	}
	if g.pick(4) == 1 {
		put(s, "required", names())
	}
	if depth == 0 {
		return s
	}
	branch := func() *jsontext.Value {
		switch g.pick(3) {
		case 0:
			return object("required", names())
		case 1:
			return object("maxProperties", num(g.one("0", "1", "2")))
		}
		return g.defaulting(depth - 1)
	}
	for range g.pick(3) {
		switch g.pick(9) {
		case 0:
			put(s, g.one("oneOf", "anyOf", "allOf"), array(branch(), branch()))
		case 1:
			put(s, "if", branch())
			put(s, g.one("then", "else"), branch())
		case 2:
			put(s, "dependencies", object(g.one("a", "b", "c"), names()))
		case 3:
			put(s, "dependencies", object(g.one("a", "b", "c"), branch()))
		case 4:
			put(s, "not", branch())
		case 5:
			put(s, "maxProperties", num(g.one("0", "1", "2", "3")))
		case 6:
			put(s, "additionalProperties", boolean(false))
		case 7:
			put(s, "propertyNames", object("enum", array(str("a"), str("b"), str(g.one("c", "d")))))
		case 8:
			put(s, "additionalProperties", branch())
		}
	}
	return s
}

// small makes a value of few kinds.
func (g *generator) small(depth int, obj bool) *jsontext.Value {
	if !obj {
		switch g.pick(4) {
		case 0:
			return num(g.one("1", "2"))
		case 1:
			return str(g.one("x", "y"))
		case 2:
			return &jsontext.Value{Kind: jsontext.Null}
		}
	}
	v := &jsontext.Value{Kind: jsontext.Object}
	for range g.pick(3) {
		put(v, g.one("a", "b", "c", "d", "e"), g.small(max(0, depth-1), depth > 0 && g.pick(2) == 1))
	}
	return v
}

// TestVerdictRandom tries random schemas and configs.
func TestVerdictRandom(t *testing.T) {
	n := 600
	if os.Getenv("PLUGINREGISTRY_LONG") != "" {
		n = 20_000
	}
	random := rand.NewChaCha8([32]byte{'v'})
	data := make([]byte, 300)
	valid, changed := 0, 0
	for range n {
		random.Read(data)
		v, c := verdict(t, data)
		if v {
			valid++
		}
		if c {
			changed++
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d configs, %d valid, %d completed", n, valid, changed)
	if valid < n/5 || valid > n*9/10 || changed < n/5 {
		t.Error("the generator is not what it should be")
	}
}

// FuzzVerdict does the same with the choices of the fuzzer.
func FuzzVerdict(f *testing.F) {
	random := rand.NewChaCha8([32]byte{'w'})
	for range 30 {
		data := make([]byte, 200)
		random.Read(data)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { verdict(t, data) })
}
