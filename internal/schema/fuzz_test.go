package schema_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/internal/schema"
)

const marker = "qXq7secret7qXq"

// mark plants the marker in every string and number of a config.
func mark(v *jsontext.Value) *jsontext.Value {
	switch v.Kind {
	case jsontext.String:
		return &jsontext.Value{Kind: jsontext.String, Text: v.Text + marker}
	case jsontext.Number:
		if !strings.ContainsAny(v.Text, "eE") {
			dot := ""
			if !strings.Contains(v.Text, ".") {
				dot = "."
			}
			return &jsontext.Value{Kind: jsontext.Number, Text: v.Text + dot + "7182818284590452"}
		}
	}
	out := &jsontext.Value{Kind: v.Kind, Text: v.Text}
	for _, item := range v.Items {
		out.Items = append(out.Items, mark(item))
	}
	for _, m := range v.Members {
		out.Members = append(out.Members, jsontext.Member{Name: m.Name, Value: mark(m.Value)})
	}
	return out
}

// FuzzSchema has any schema and any config: nothing panics or takes for ever, what comes back is well formed, and no message
// tells a value of the config.
func FuzzSchema(f *testing.F) {
	configs := []string{`{}`, string(typicalConfig), `{"a":{"a":[1,"x",null,true]},"b":1.5,"c":"x","o":{"a":{}}}`}
	schemas := []string{
		typical, `{}`, `{"$ref":"#"}`, `{"a":{"type":"string","writeOnly":true}}`, `{"properties":{"a":"password","b":{"required":true,"default":1}}}`,
		`{"properties":{"a":{"allOf":[{"$ref":"#"},{"$ref":"#"}],"default":{}},"c":{"format":"password","pattern":"(?=x)"}},"additionalProperties":false}`,
		`{` + d2020 + `"$dynamicAnchor":"n","properties":{"a":{"$dynamicRef":"#n"}},"unevaluatedProperties":false,"prefixItems":[{"const":1}],"propertyNames":{"maxLength":1}}`,
		`{` + d2019 + `"$recursiveAnchor":true,"$id":"http://e/x","additionalProperties":{"$recursiveRef":"#"},"dependentSchemas":{"a":{"minProperties":3}}}`,
		`{` + d4 + `"id":"x","definitions":{"x":{"id":"#y","maximum":1,"exclusiveMaximum":true}},"patternProperties":{"^\\u0041|[a]":{"$ref":"#y"}},"oneOf":[{"not":{"enum":[1]}},{"multipleOf":0.1}]}`,
		`{"if":{"contains":{"type":"null"}},"then":{"items":[{"default":1}],"additionalItems":false},"else":{"uniqueItems":true},"anyOf":[{"type":"array | string"},{"minLength":1}]}`,
	}
	for _, s := range schemas {
		for _, c := range configs {
			f.Add([]byte(s), []byte(c))
		}
	}
	f.Fuzz(func(t *testing.T, raw, config []byte) {
		start := time.Now()
		s := schema.Compile(raw, schema.Options{})
		if !s.Usable() && s.Err() == nil {
			t.Fatal("not usable and no word why")
		}
		if !s.Usable() && strings.Contains(s.Err().Error(), "validator") && !strings.Contains(s.Err().Error(), "JSON") {
			t.Fatalf("something got through to the validator: %v", s.Err())
		}
		v, err := jsontext.ParseLenient(config)
		if err != nil || v.Kind != jsontext.Object {
			v = &jsontext.Value{Kind: jsontext.Object, Members: []jsontext.Member{{Name: "a", Value: &jsontext.Value{}}}}
		}
		v = mark(v)
		text := v.Append(nil)
		before := bytes.Clone(text)
		for _, i := range s.Validate(text) {
			if i.Message == "" {
				t.Errorf("an issue at %q without a message", i.Pointer)
			}
			leak := strings.Contains(i.Message, marker) && !bytes.Contains(raw, []byte(marker)) ||
				strings.Contains(i.Message, "7182818284590452") && !bytes.Contains(raw, []byte("7182818284590452"))
			names := strings.Contains(string(config), marker) || strings.Contains(string(config), "7182818284590452")
			if leak && !names {
				t.Errorf("a message tells a value: %s", i.Message)
			}
			if _, err := jsontext.SplitPointer(i.Pointer); err != nil {
				t.Errorf("%q is no JSON Pointer", i.Pointer)
			}
		}
		for _, p := range s.Secrets(v) {
			if v.At(p) == nil {
				t.Errorf("no value at the secret place %q", p)
			}
		}
		out := s.WithDefaults(v)
		if filled := out.Append(nil); !json.Valid(filled) {
			t.Errorf("WithDefaults is no JSON: %s", filled)
		}
		for i, m := range v.Members {
			if out.Members[i].Name != m.Name {
				t.Errorf("member %d is another", i)
			}
		}
		if !bytes.Equal(v.Append(nil), before) {
			t.Error("the config was changed")
		}
		if s.HasSecrets() != true && len(s.Secrets(v)) > 0 {
			t.Error("secrets without HasSecrets")
		}
		if !slices.Equal(s.Validate(text), s.Validate(text)) {
			t.Error("another answer the second time")
		}
		s.Declares(string(config))
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

// FuzzPattern has any regular expression: what is enforced is what package regexp compiles.
func FuzzPattern(f *testing.F) {
	for _, p := range []string{`^[a-z]+$`, `\/\u0041`, `[^]`, `[]`, `[\]]`, `[[:alpha:]]`, `\cA\0\b[\b]`, `(?=x)`, `\ud83d\ude00`, `\u{1F600}`, `\`, `[\`, `\u`, `\c`, `é\é`} {
		f.Add(p, "aA/")
	}
	f.Fuzz(func(t *testing.T, p, s string) {
		doc := &jsontext.Value{Kind: jsontext.Object, Members: []jsontext.Member{{Name: "pattern", Value: &jsontext.Value{Kind: jsontext.String, Text: strings.ToValidUTF8(p, "")}}}}
		prop := &jsontext.Value{Kind: jsontext.Object, Members: []jsontext.Member{{Name: "a", Value: doc}}}
		root := &jsontext.Value{Kind: jsontext.Object, Members: []jsontext.Member{{Name: "properties", Value: prop}}}
		compiled := schema.Compile(root.Append(nil), schema.Options{})
		if !compiled.Usable() {
			t.Fatal(compiled.Err())
		}
		config := jsontext.AppendQuoted([]byte(`{"a":`), strings.ToValidUTF8(s, ""))
		issues := compiled.Validate(append(config, '}'))
		if compiled.Err() != nil && issues != nil {
			t.Errorf("%v is enforced after all: %v", compiled.Err(), issues)
		}
	})
}
