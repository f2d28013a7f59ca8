package registry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// giving is a manager of plugins that all have this schema.
func giving(schema string, names ...string) *fakeManager {
	m := finding(names...)
	m.schema = func(context.Context, string) (json.RawMessage, error) { return json.RawMessage(schema), nil }
	return m
}

// newPlugin returns a registry over a store in memory with the plugin c_p, which has that schema.
func newPlugin(t testing.TB, schema string, opts ...registry.Option) *registry.Registry {
	t.Helper()
	reg := registry.New(memory.New(), opts...)
	register(t, reg, "c", giving(schema, "p"))
	return reg
}

// lines is a logger to look at.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}))
}

// all returns what was logged.
func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSuffix(l.text.String(), "\n"), "\n")[:bytes.Count(l.text.Bytes(), []byte("\n"))]
}

// saveRaw saves JSON text.
func saveRaw(t testing.TB, reg *registry.Registry, config string) error {
	t.Helper()
	_, err := reg.SaveConfig(t.Context(), "c_p", json.RawMessage(config))
	return err
}

func TestInvalidConfigChangesNothing(t *testing.T) {
	const schema = `{"properties": {"device": {"enum": ["cpu", "cuda"]}, "beam": {"type": "integer", "maximum": 20},
		"list": {"items": {"properties": {"a/b": {"minLength": 99}}}}}, "required": ["model"]}`
	const config = `{"device": "hunter2", "beam": 31337, "list": [{}, {"a/b": "hunter3"}]}`
	want := []registry.Issue{
		{Pointer: "", Keyword: "required"}, {Pointer: "/device", Keyword: "enum"}, {Pointer: "/beam", Keyword: "maximum"},
		{Pointer: "/list/1/a~1b", Keyword: "minLength"},
	}
	reg := newPlugin(t, schema)
	for _, stored := range []bool{false, true} {
		before := load(t, reg, "c_p")
		if stored {
			before = save(t, reg, "c_p", json.RawMessage(`{"model":1.0}`))
		}
		_, one := reg.SaveConfig(t.Context(), "c_p", json.RawMessage(config))
		_, all := reg.SaveConfigs(t.Context(), map[string]any{"c_p": json.RawMessage(config), "other": map[string]any{}})
		_, update := reg.UpdateConfig(t.Context(), "c_p", func(store.Record) (any, error) { return json.RawMessage(config), nil })
		for doing, err := range map[string]error{"SaveConfig": one, "SaveConfigs": all, "UpdateConfig": update,
			"Validate": reg.Validate(t.Context(), "c_p", json.RawMessage(config))} {
			invalid, ok := errors.AsType[*registry.ValidationError](err)
			if !ok || invalid.ID != "c_p" {
				t.Fatalf("%s: %v", doing, err)
			}
			var got []registry.Issue
			for _, i := range invalid.Issues {
				if i.Message == "" {
					t.Errorf("%s: no message at %s", doing, i.Pointer)
				}
				if i.Keyword == "enum" && !strings.Contains(i.Message, `"cuda"`) {
					t.Errorf("%s: %q does not say what is allowed", doing, i.Message)
				}
				got = append(got, registry.Issue{Pointer: i.Pointer, Keyword: i.Keyword})
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: the issues are %v, want %v", doing, got, want)
			}
			if text := err.Error() + fmt.Sprintf("%+v %#v", err, invalid); strings.Contains(text, "hunter") || strings.Contains(text, "31337") {
				t.Errorf("%s: the error shows a value: %s", doing, text)
			}
		}
		if after := load(t, reg, "c_p"); string(after.Config) != string(before.Config) || after.Revision != before.Revision ||
			isConfigured(t, reg, "c_p") != stored || load(t, reg, "other").Revision != store.Absent {
			t.Errorf("afterwards there is %v: %s, the flag is %t", after, after.Config, isConfigured(t, reg, "c_p"))
		}
	}
}

func TestValidateUnknownPlugin(t *testing.T) {
	reg := registry.New(memory.New())
	if err := reg.Validate(t.Context(), "c_p", map[string]any{}); !errors.Is(err, registry.ErrUnknownPlugin) || !strings.Contains(err.Error(), `"c_p"`) {
		t.Errorf("Validate: %v", err)
	}
	if err := reg.Check(t.Context(), "c_p"); !errors.Is(err, registry.ErrUnknownPlugin) {
		t.Errorf("Check: %v", err)
	}
}

// What a keyword means depends on the draft.
func TestDrafts(t *testing.T) {
	const (
		d4, d6, d7 = "http://json-schema.org/draft-04/schema#", "http://json-schema.org/draft-06/schema#", "http://json-schema.org/draft-07/schema#"
		d19, d20   = "https://json-schema.org/draft/2019-09/schema", "https://json-schema.org/draft/2020-12/schema"
		undated    = "http://json-schema.org/schema#"
	)
	all := []string{d4, d6, d7, d19, d20, undated, "https://example.org/mine", ""}
	from := func(first string) []string { return all[slices.Index(all, first):] }
	for _, test := range []struct {
		drafts      []string
		schema      string // the members beside $schema
		good, wrong string // configs
	}{
		{all, `"type": "object", "required": ["a"]`, `{"a":null}`, `{"b":1}`},
		{all, `"properties": {"a": {"type": "integer"}}`, `{"a":1.0}`, `{"a":1.5}`},
		{all, `"properties": {"a": {"type": ["string", "null"], "minLength": 2}}`, `{"a":"😀😀"}`, `{"a":"😀"}`},
		{all, `"patternProperties": {"^x": {"type": "number"}}, "additionalProperties": false`, `{"xa":1}`, `{"ax":1}`},
		{all, `"properties": {"a": {"enum": [1, {"b": [0]}]}}`, `{"a":{"b":[0.0]}}`, `{"a":{"b":[false]}}`},
		{all, `"properties": {"a": {"format": "email"}}`, `{"a":"no address"}`, ``},
		{all, `"properties": {"a": {"uniqueItems": true, "maxItems": 3}}`, `{"a":[1,true,"1"]}`, `{"a":[1,1.0]}`},
		{all, `"properties": {"a": {"multipleOf": 0.01}}`, `{"a":19.99}`, `{"a":19.995}`},
		{all, `"oneOf": [{"required": ["a"]}, {"required": ["b"]}]`, `{"a":1}`, `{"a":1,"b":1}`},
		{all, `"not": {"required": ["a"]}, "minProperties": 1`, `{"b":1}`, `{"a":1}`},
		{all, `"properties": {"a": {"$ref": "#/definitions/d"}}, "definitions": {"d": {"maximum": 5}}`, `{"a":5}`, `{"a":6}`},
		{[]string{d4}, `"properties": {"a": {"maximum": 5, "exclusiveMaximum": true}}`, `{"a":4}`, `{"a":5}`},
		{from(d6), `"properties": {"a": {"exclusiveMaximum": 5, "const": 4}}`, `{"a":4}`, `{"a":5}`},
		{[]string{d4}, `"properties": {"a": {"const": 4}}`, `{"a":4}`, `{"a":5}`},
		{from(d6), `"propertyNames": {"maxLength": 2}, "properties": {"a": {"contains": {"const": 1}}}`, `{"a":[2,1]}`, `{"a":[2]}`},
		{from(d7), `"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}`, `{"a":1,"b":1}`, `{"a":1,"c":1}`},
		{[]string{d4, d6}, `"if": {"required": ["a"]}, "then": {"required": ["b"]}`, `{"a":1}`, ``},
		{[]string{d7, undated, ""}, `"properties": {"a": {"$ref": "#/definitions/d", "maximum": 3}}, "definitions": {"d": {}}`, `{"a":5}`, ``},
		{[]string{d19, d20}, `"properties": {"a": {"$ref": "#/$defs/d", "maximum": 3}}, "$defs": {"d": {}}`, `{"a":3}`, `{"a":5}`},
		{[]string{d19, d20}, `"dependentRequired": {"a": ["b"]}`, `{"a":1,"b":1}`, `{"a":1}`},
		{[]string{d19, d20}, `"allOf": [{"properties": {"a": true}}], "unevaluatedProperties": false`, `{"a":1}`, `{"b":1}`},
		{[]string{d4, d6, d7, ""}, `"dependencies": {"a": ["b"]}`, `{"a":1,"b":1}`, `{"a":1}`},
		{[]string{d4, d6, d7, d19}, `"properties": {"a": {"items": [{"type": "string"}], "additionalItems": false}}`, `{"a":["x"]}`, `{"a":["x",1]}`},
		{[]string{d20}, `"properties": {"a": {"prefixItems": [{"type": "string"}], "items": false}}`, `{"a":["x"]}`, `{"a":["x",1]}`},
		{[]string{d20}, `"$dynamicAnchor": "n", "properties": {"v": {"type": "number"}, "c": {"$dynamicRef": "#n"}}`, `{"c":{"v":1}}`, `{"c":{"v":"x"}}`},
	} {
		for _, draft := range test.drafts {
			schema := `{` + test.schema + `}`
			if draft != "" {
				schema = fmt.Sprintf(`{"$schema": %q, %s}`, draft, test.schema)
			}
			reg := newPlugin(t, schema, registry.WithStrictSchemas())
			if err := saveRaw(t, reg, test.good); err != nil {
				t.Errorf("%s with %s: %v", schema, test.good, err)
			}
			if p, _ := reg.Plugin("c_p"); p.SchemaErr != nil {
				t.Errorf("%s: %v", schema, p.SchemaErr)
			}
			if test.wrong == "" {
				continue
			}
			if _, ok := errors.AsType[*registry.ValidationError](saveRaw(t, reg, test.wrong)); !ok {
				t.Errorf("%s takes %s", schema, test.wrong)
			}
		}
	}
}

func TestNumbersCompareExactly(t *testing.T) {
	for _, test := range []struct {
		schema, value string
		valid         bool
	}{
		{`{"maximum": 9007199254740992}`, "9007199254740992", true},
		{`{"maximum": 9007199254740992}`, "9007199254740993", false},
		{`{"enum": [9007199254740993]}`, "9007199254740992", false},
		{`{"multipleOf": 0.01}`, "19.99", true},
		{`{"multipleOf": 0.1}`, "1e300", true},
		{`{"type": "integer"}`, "1e10000000", false},
		{`{}`, "1e10000000", false},
		{`{}`, "-1e-10000000", false},
		{`{"maximum": 1e10000000}`, "5", true},
	} {
		reg := newPlugin(t, `{"properties": {"a": `+test.schema+`}}`)
		err := saveRaw(t, reg, `{"a": `+test.value+`}`)
		invalid, ok := errors.AsType[*registry.ValidationError](err)
		if test.valid != (err == nil) || err != nil && (!ok || invalid.Issues[0].Pointer != "/a" || strings.Contains(err.Error(), test.value)) {
			t.Errorf("%s, %s: %v", test.schema, test.value, err)
		}
	}
}

func TestDirtySchemas(t *testing.T) {
	for name, test := range map[string]struct {
		schema    string
		good, bad []string
		note      string // in SchemaErr
	}{
		"required on a property": {`{"properties": {"a": {"type": "string", "required": true}, "o": {"properties": {"b": {"required": true}, "c": {"required": false}}}}}`,
			[]string{`{"a":"x"}`, `{"a":"x","o":{"b":1}}`}, []string{`{}`, `{"a":"x","o":{"c":1}}`}, ""},
		"required in definitions": {`{"properties": {"a": {"$ref": "#/definitions/d"}, "o": {"$ref": "#/definitions/o"}},
			"definitions": {"d": {"required": true}, "o": {"properties": {"b": {"required": true}}}}}`,
			[]string{`{"a":1}`, `{"a":1,"o":{"b":1}}`}, []string{`{}`, `{"a":1,"o":{}}`}, ""},
		"a bare map of properties": {`{"host": {"type": "string", "required": true}, "port": {"type": "integer"}}`,
			[]string{`{"host":"x","port":1}`, `{"host":"x","more":1}`}, []string{`{}`, `{"host":"x","port":"1"}`, `{"host":1}`}, ""},
		"properties named as keywords": {`{"properties": {"type": {"type": "string"}, "id": {"type": "integer"}, "required": {"type": "boolean"},
			"$ref": {"type": "number"}, "title": {"type": "string"}}, "required": ["type"]}`,
			[]string{`{"type":"x","id":1,"required":true,"$ref":1.5,"title":""}`}, []string{`{"type":1}`, `{"type":"x","id":"x"}`, `{"type":"x","$ref":"x"}`, `{}`}, ""},
		"a property whose schema is a string": {`{"properties": {"a": "string", "b": "whatever it is"}}`, []string{`{"a":"x","b":1}`}, []string{`{"a":1}`}, "/properties/b"},
		"types in one string":                 {`{"properties": {"a": {"type": "boolean | string"}}}`, []string{`{"a":true}`, `{"a":"x"}`}, []string{`{"a":1}`}, ""},
		"null in a list of types":             {`{"properties": {"a": {"type": ["string", null]}}}`, []string{`{"a":null}`, `{"a":"x"}`}, []string{`{"a":1}`}, ""},
		"misspelt keywords":                   {`{"propertys": {"a": {"type": "string"}}, "properties": {"b": {"typ": "string", "minLenght": 3, "maximum": 5}}}`, []string{`{"a":1,"b":"x"}`}, []string{`{"b":6}`}, ""},
		"a default that breaks its schema":    {`{"properties": {"a": {"type": "integer", "default": "x"}}}`, []string{`{}`, `{"a":1}`}, []string{`{"a":"x"}`}, "/properties/a/default"},
		"required without a property":         {`{"properties": {"a": {}}, "required": ["b"]}`, []string{`{"b":1}`}, []string{`{"a":1}`}, ""},
		"oneOf of required":                   {`{"properties": {"a": {}, "b": {}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}`, []string{`{"a":1}`}, []string{`{}`, `{"a":1,"b":1}`}, ""},
		"dotted and case-twin names": {`{"properties": {"a.b": {"type": "string"}, "key": {"type": "string"}, "Key": {"type": "integer"}}}`,
			[]string{`{"a.b":"x","key":"x","Key":1,"a":{"b":1}}`}, []string{`{"a.b":1}`, `{"key":1}`, `{"Key":"x"}`}, ""},
		"a lookahead":             {`{"properties": {"a": {"pattern": "^(?!x)", "maxLength": 3}}}`, []string{`{"a":"ayz"}`}, []string{`{"a":"abcd"}`, `{"a":"xyz"}`}, ""},
		"a lookbehind":            {`{"properties": {"a": {"pattern": "(?<!x)y", "maxLength": 3}}}`, []string{`{"a":"xyz"}`}, []string{`{"a":"abcd"}`}, "/properties/a/pattern"},
		"recursive":               {`{"properties": {"v": {"type": "integer"}, "kids": {"items": {"$ref": "#"}}}}`, []string{`{"v":1,"kids":[{"kids":[{"v":1}]}]}`}, []string{`{"kids":[{"kids":[{"v":"x"}]}]}`}, ""},
		"a loop of references":    {`{"properties": {"a": {"$ref": "#/definitions/x"}, "b": {"type": "integer"}}, "definitions": {"x": {"$ref": "#/definitions/y"}, "y": {"$ref": "#/definitions/x"}}}`, []string{`{"a":1}`}, []string{`{"b":"x"}`}, "/definitions/"},
		"a remote reference":      {`{"properties": {"a": {"$ref": "https://example.org/x.json"}, "b": {"type": "integer"}}}`, []string{`{"a":1}`}, []string{`{"b":"x"}`}, "/properties/a/$ref"},
		"a relative reference":    {`{"properties": {"a": {"$ref": "common.json#/definitions/x"}, "b": {"type": "integer"}}}`, []string{`{"a":1}`}, []string{`{"b":"x"}`}, "/properties/a/$ref"},
		"a reference to nothing":  {`{"properties": {"a": {"$ref": "#/definitions/x"}, "b": {"type": "integer"}}}`, []string{`{"a":1}`}, []string{`{"b":"x"}`}, "/properties/a/$ref"},
		"5,000 properties":        {`{"properties": {` + repeated(5_000, `"p%d": {"type": "integer"}`) + `}}`, []string{`{"p4999":1}`}, []string{`{"p4999":"x"}`}, ""},
		"a long list of branches": {`{"anyOf": [` + repeated(2000, `{"required": ["p%d"]}`) + `]}`, []string{`{"p1999":1}`}, []string{`{"x":1}`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log lines
			reg := newPlugin(t, test.schema, registry.WithLogger(log.logger()), registry.WithStrictSchemas())
			if p, _ := reg.Plugin("c_p"); p.SchemaErr != nil || p.Title != "p" {
				t.Errorf("before the first use: %q, %v", p.Title, p.SchemaErr)
			}
			for _, config := range test.good {
				if err := errors.Join(reg.Validate(t.Context(), "c_p", json.RawMessage(config)), saveRaw(t, reg, config)); err != nil {
					t.Errorf("%s: %v", config, err)
				}
			}
			for _, config := range test.bad {
				for _, err := range []error{reg.Validate(t.Context(), "c_p", json.RawMessage(config)), saveRaw(t, reg, config)} {
					if _, ok := errors.AsType[*registry.ValidationError](err); !ok {
						t.Errorf("%s: %v", config, err)
					}
				}
			}
			p, _ := reg.Plugin("c_p")
			if (test.note == "") != (p.SchemaErr == nil) || !strings.Contains(fmt.Sprint(p.SchemaErr), test.note) {
				t.Errorf("SchemaErr is %v, want %q in it", p.SchemaErr, test.note)
			}
			if got := log.all(); (test.note == "") != (len(got) == 0) || len(got) > 1 {
				t.Errorf("logged %q", got)
			}
		})
	}
}

// repeated writes format for 0 to n-1, with commas between.
func repeated(n int, format string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func TestNoReferenceIsRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "never.json")
	if err := os.WriteFile(file, []byte(`{"maximum": 0, "default": 7, "writeOnly": true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(file))
	for _, ref := range []string{"file://" + filepath.ToSlash(file), filepath.ToSlash(file), "never.json", "./never.json#"} {
		reg := newPlugin(t, fmt.Sprintf(`{"properties": {"a": {"$ref": %q}}}`, ref))
		save(t, reg, "c_p", map[string]any{"a": 1})
		rec, err := reg.EffectiveConfig(t.Context(), "c_p")
		if p, _ := reg.Plugin("c_p"); err != nil || string(rec.Config) != `{"a":1}` || p.SchemaErr == nil {
			t.Errorf("%s: %s, %v, SchemaErr %v", ref, rec.Config, err, p.SchemaErr)
		}
	}
}

// Schemas that cannot be used leave the plugin usable. The time limit of the tests is the check that none takes long.
func TestHostileSchemas(t *testing.T) {
	for name, schema := range map[string]string{
		"over 1 MiB":            `{"properties": {"a": {"type": "string"}}, "description": "` + strings.Repeat("x", 1<<20) + `"}`,
		"512 levels of not":     strings.Repeat(`{"not":`, 512) + `{}` + strings.Repeat("}", 512),
		"600 levels of not":     strings.Repeat(`{"not":`, 600) + `{}` + strings.Repeat("}", 600),
		"2^20 branches":         `{"anyOf": [` + strings.Repeat("{},", 1<<20) + `{}]}`,
		"300,000 branches":      `{"anyOf": [` + strings.Repeat("{},", 300_000) + `{}]}`,
		"30,000 properties":     `{"properties": {` + repeated(30_000, `"p%d": {}`) + `}}`,
		"doubling references":   `{"$ref": "#/definitions/d0", "definitions": {` + doubling(40) + `, "d40": {"type": "object"}}}`,
		"no object":             `["type"]`,
		"no JSON":               `{"type": `,
		"nothing":               ``,
		"a chain of 5,000":      `{"$ref": "#/definitions/d0", "definitions": {` + chain(5000) + `, "d5000": {"type": "string"}}}`,
		"the lookup has failed": "fails",
	} {
		t.Run(name, func(t *testing.T) {
			var log lines
			m := giving(schema, "p")
			if schema == "fails" {
				m.schema = func(context.Context, string) (json.RawMessage, error) { return nil, errBroken }
			}
			reg := registry.New(memory.New(), registry.WithLogger(log.logger()))
			register(t, reg, "c", m)
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					if _, err := reg.SaveConfig(t.Context(), "c_p", map[string]any{"a": i}); err != nil {
						t.Errorf("an unvalidated save: %v", err)
					}
				})
			}
			wg.Wait()
			save(t, reg, "c_p", map[string]any{"a": 1})
			if err := errors.Join(reg.Validate(t.Context(), "c_p", map[string]any{"a": 2}), reg.Check(t.Context(), "c_p")); err != nil {
				t.Error(err)
			}
			if rec, err := reg.EffectiveConfig(t.Context(), "c_p"); err != nil || string(rec.Config) != `{"a":1}` {
				t.Errorf("EffectiveConfig: %s, %v", rec.Config, err)
			}
			if rec, err := reg.RedactedConfig(t.Context(), "c_p"); err != nil || string(rec.Config) != `{"a":1}` && string(rec.Config) != `{"a":`+hidden+`}` {
				t.Errorf("RedactedConfig: %s, %v", rec.Config, err)
			}
			p, _ := reg.Plugin("c_p")
			if p.SchemaErr == nil || len(p.SchemaErr.Error()) > 5000 {
				t.Errorf("SchemaErr is %.500v", p.SchemaErr)
			}
			if got := log.all(); len(got) != 1 || !strings.Contains(got[0], "c_p") || !strings.Contains(got[0], "unvalidated") {
				t.Errorf("logged %.2000q", got)
			}

			strict := registry.New(memory.New(), registry.WithStrictSchemas())
			register(t, strict, "c", m)
			_, err := strict.SaveConfig(t.Context(), "c_p", map[string]any{"a": 1})
			for _, err := range []error{err, strict.Validate(t.Context(), "c_p", map[string]any{"a": 1})} {
				if !errors.Is(err, registry.ErrUnusableSchema) || !strings.Contains(err.Error(), `"c_p"`) {
					t.Errorf("with WithStrictSchemas: %v", err)
				}
			}
			if isConfigured(t, strict, "c_p") {
				t.Error("with WithStrictSchemas it was saved")
			}
		})
	}
}

func doubling(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(`"d%d": {"allOf": [{"$ref": "#/definitions/d%d"}, {"$ref": "#/definitions/d%[2]d"}]}`, i, i+1)
	}
	return strings.Join(parts, ",")
}

func chain(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(`"d%d": {"$ref": "#/definitions/d%d"}`, i, i+1)
	}
	return strings.Join(parts, ",")
}

// The patterns that cannot be enforced show when a schema is compiled: on first use, and once for all who share it.
func TestSchemasCompileOnFirstUseOnce(t *testing.T) {
	var log lines
	schema := `{"properties": {"a": {"pattern": "(?!x)", "maximum": 5}}}`
	m := giving(schema, "p", "q")
	m.schema = func(context.Context, string) (json.RawMessage, error) { return json.RawMessage(schema), nil }
	reg := registry.New(memory.New(), registry.WithLogger(log.logger()))
	register(t, reg, "c", m)
	register(t, reg, "d", m)
	if got := log.all(); len(got) != 0 {
		t.Errorf("compiled before it was used: %q", got)
	}
	var wg sync.WaitGroup
	for _, id := range []string{"c_p", "c_q", "d_p", "d_q", "c_p", "c_q"} {
		wg.Go(func() {
			if reg.Validate(t.Context(), id, map[string]any{"a": 6}) == nil {
				t.Errorf("%s is not validated", id)
			}
		})
	}
	wg.Wait()
	if got := log.all(); len(got) != 1 {
		t.Errorf("compiled %d times", len(got))
	}
	if err := reg.Refresh(t.Context()); err != nil || reg.Validate(t.Context(), "c_p", map[string]any{"a": 6}) == nil || len(log.all()) != 1 {
		t.Errorf("a schema that stayed was compiled again: %v, %q", err, log.all())
	}
	schema = `{"properties": {"a": {"maximum": 7}}}`
	if err := reg.Refresh(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	if err := reg.Validate(t.Context(), "c_p", map[string]any{"a": 7}); err != nil {
		t.Errorf("the old schema is used after a refresh: %v", err)
	}
	if reg.Validate(t.Context(), "c_q", map[string]any{"a": 8}) == nil || reg.Validate(t.Context(), "d_p", map[string]any{"a": 6}) == nil {
		t.Error("the new schema is not used, or the old one is not where nothing was refreshed")
	}
	if p, _ := reg.Plugin("c_p"); p.SchemaErr != nil {
		t.Errorf("SchemaErr of the old schema stays: %v", p.SchemaErr)
	}
}

func TestWithoutValidation(t *testing.T) {
	reg := newPlugin(t, `{"properties": {"a": {"type": "string"}, "b": {"default": 1}}}`, registry.WithoutValidation())
	if err := errors.Join(saveRaw(t, reg, `{"a":1}`), reg.Validate(t.Context(), "c_p", map[string]any{"a": 1}), reg.Check(t.Context(), "c_p")); err != nil {
		t.Error(err)
	}
	if rec, err := reg.EffectiveConfig(t.Context(), "c_p"); err != nil || string(rec.Config) != `{"a":1,"b":1}` {
		t.Errorf("EffectiveConfig: %s, %v", rec.Config, err)
	}
}

// migrating is a manager whose plugins' configs can be brought up to date.
type migrating struct {
	*fakeManager
	migrate func(ctx context.Context, name string, old json.RawMessage) (json.RawMessage, error)
}

func (m migrating) MigrateConfig(ctx context.Context, name string, old json.RawMessage) (json.RawMessage, error) {
	return m.migrate(ctx, name, old)
}

const (
	hostSchema = `{"properties": {"host": {"type": "string"}}, "required": ["host"], "additionalProperties": false}`
	oldConfig  = `{"server":"hunter2","n":1.0}`
)

// newOutdated returns a registry with the plugin c_p and a stored config that does not fit its schema, and counts the calls of migrate.
func newOutdated(t *testing.T, migrate func(st store.Store, old json.RawMessage) (json.RawMessage, error)) (*registry.Registry, *int) {
	t.Helper()
	st := memory.New()
	if _, err := st.Put(t.Context(), "c_p", json.RawMessage(oldConfig), store.Any); err != nil {
		t.Fatal(err)
	}
	reg, calls := registry.New(st), 0
	register(t, reg, "c", migrating{giving(hostSchema, "p", "unset"), func(_ context.Context, name string, old json.RawMessage) (json.RawMessage, error) {
		calls++
		if name != "p" {
			t.Errorf("asked for %q", name)
		}
		return migrate(st, old)
	}})
	return reg, &calls
}

func TestCheckWithoutMigrator(t *testing.T) {
	st := memory.New()
	reg := registry.New(st)
	for id, config := range map[string]string{"c_old": oldConfig, "c_good": `{"host":"x"}`, "c_gone": `{}`} {
		if _, err := st.Put(t.Context(), id, json.RawMessage(config), store.Any); err != nil {
			t.Fatal(err)
		}
	}
	register(t, reg, "c", giving(hostSchema, "unset", "old", "good"))
	var ids []string
	for id, err := range reg.CheckAll(t.Context()) {
		ids = append(ids, id)
		if _, invalid := errors.AsType[*registry.ValidationError](err); invalid != (id == "c_old") || !invalid && err != nil {
			t.Errorf("%s: %v", id, err)
		}
		if strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("the error shows a value: %v", err)
		}
	}
	if !slices.Equal(ids, []string{"c_unset", "c_old", "c_good"}) {
		t.Errorf("checked %v", ids)
	}
	if got := load(t, reg, "c_old").Config; string(got) != oldConfig {
		t.Errorf("checking changed it: %s", got)
	}
	for range reg.CheckAll(t.Context()) {
		break // and nothing panics
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ids = nil
	for id, err := range reg.CheckAll(ctx) {
		ids = append(ids, id)
		if len(ids) == 2 && !errors.Is(err, context.Canceled) {
			t.Errorf("after the context has ended: %v", err)
		}
		cancel()
	}
	if len(ids) != 2 {
		t.Errorf("it went on to %v", ids)
	}
}

func TestMigration(t *testing.T) {
	reg, calls := newOutdated(t, func(_ store.Store, old json.RawMessage) (json.RawMessage, error) {
		if string(old) != oldConfig {
			t.Errorf("asked to migrate %s", old)
		}
		copy(old, "!!!!") // its own
		return json.RawMessage(`{ "host": "new" }`), nil
	})
	before := load(t, reg, "c_p")
	if _, ok := errors.AsType[*registry.ValidationError](reg.Check(t.Context(), "c_p")); !ok || load(t, reg, "c_p").Revision != before.Revision || *calls != 0 {
		t.Error("Check does more than look")
	}
	for range 2 {
		for id, err := range reg.MigrateAll(t.Context()) {
			if err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
	}
	after := load(t, reg, "c_p")
	if *calls != 1 || string(after.Config) != `{"host":"new"}` || after.Revision == before.Revision {
		t.Errorf("asked %d times, now there is %s", *calls, after.Config)
	}
}

func TestMigrationOfAConfigThatChangesMeanwhile(t *testing.T) {
	for name, meanwhile := range map[string]string{"fits": `{"host":"theirs"}`, "does not fit": `{"server":"theirs"}`} {
		first := true
		reg, calls := newOutdated(t, func(st store.Store, old json.RawMessage) (json.RawMessage, error) {
			if first { // another process, which has no schema to check with
				first = false
				other := registry.New(st)
				save(t, other, "c_p", json.RawMessage(meanwhile))
				return json.RawMessage(`{"host":"lost"}`), nil
			}
			var config struct{ Server string }
			err := json.Unmarshal(old, &config)
			return json.RawMessage(fmt.Sprintf(`{"host":%q}`, config.Server)), err
		})
		if err := reg.Migrate(t.Context(), "c_p"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := load(t, reg, "c_p").Config; string(got) != `{"host":"theirs"}` {
			t.Errorf("%s: after %d calls there is %s", name, *calls, got)
		}
	}
}

func TestFailedMigrationChangesNothing(t *testing.T) {
	for name, migrate := range map[string]func() (json.RawMessage, error){
		"an error":               func() (json.RawMessage, error) { return nil, errBroken },
		"a conflict of its own":  func() (json.RawMessage, error) { return nil, store.ErrConflict },
		"a panic":                func() (json.RawMessage, error) { panic("over hunter2") },
		"nil":                    func() (json.RawMessage, error) { return nil, nil },
		"no object":              func() (json.RawMessage, error) { return json.RawMessage(`["hunter2"]`), nil },
		"cut off":                func() (json.RawMessage, error) { return json.RawMessage(`{"host":"hunter2"`), nil },
		"one that does not fit":  func() (json.RawMessage, error) { return json.RawMessage(`{"host":"hunter2","n":1}`), nil },
		"an error and an answer": func() (json.RawMessage, error) { return json.RawMessage(`{"host":"x"}`), errBroken },
	} {
		reg, calls := newOutdated(t, func(store.Store, json.RawMessage) (json.RawMessage, error) { return migrate() })
		before := load(t, reg, "c_p")
		err := reg.Migrate(t.Context(), "c_p")
		if _, ok := errors.AsType[*registry.ValidationError](err); !ok || !strings.Contains(err.Error(), "migrating") {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(name, "error") && !errors.Is(err, errBroken) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
		if after := load(t, reg, "c_p"); *calls != 1 || string(after.Config) != oldConfig || after.Revision != before.Revision {
			t.Errorf("%s: after %d calls there is %v: %s", name, *calls, after, after.Config)
		}
	}
}

// TestEchoesOfEachOther: of two issues that each could come from the other, one stays.
func TestEchoesOfEachOther(t *testing.T) {
	reg := newPlugin(t, `{`+draft2020+`"allOf":[{"properties":{"a":{"if":{"required":["t"]},"then":{"properties":{"b":{}}},"unevaluatedProperties":false}}}],"unevaluatedProperties":false}`)
	if err := reg.Validate(t.Context(), "c_p", json.RawMessage(`{"a":{"b":1}}`)); err == nil {
		t.Error("valid")
	}
}

// TestUnevaluatedAtTheTop: an issue of the whole config is no echo.
func TestUnevaluatedAtTheTop(t *testing.T) {
	reg := newPlugin(t, `{"$schema":"https://json-schema.org/draft/2020-12/schema","allOf":[{"$ref":"#/unevaluatedProperties"}],"unevaluatedProperties":false,"required":["z"]}`)
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("panic: %v", p)
		}
	}()
	err := saveRaw(t, reg, `{}`)
	t.Log(err)
	_ = json.RawMessage(nil)
}

// TestNotSpaceInAClass: \\S in a class is that of ECMA-262.
func TestNotSpaceInAClass(t *testing.T) {
	reg := newPlugin(t, `{"properties":{"s":{"pattern":"^[\\S]+$"},"h":{"pattern":"^a[^\\S\\r\\n]b$"}}}`)
	if err := reg.Validate(t.Context(), "c_p", json.RawMessage(`{"s":"a\u00a0b"}`)); err == nil {
		t.Error("ECMA's \\S is no NBSP")
	}
	if err := reg.Validate(t.Context(), "c_p", json.RawMessage(`{"h":"a\u00a0b"}`)); err != nil {
		t.Error(err)
	}
}

// TestDefaultBesideRef: before 2019-09, a default beside $ref does not count.
func TestDefaultBesideRef(t *testing.T) {
	reg := newPlugin(t, `{"$schema":"http://json-schema.org/draft-07/schema#","$ref":"#/definitions/base","properties":{"a":{"default":1}},"definitions":{"base":{"properties":{"b":{}},"additionalProperties":false}}}`)
	save(t, reg, "c_p", json.RawMessage(`{"b":1}`))
	rec, err := reg.EffectiveConfig(t.Context(), "c_p")
	if err != nil || string(rec.Config) != `{"b":1}` {
		t.Errorf("%s %v", rec.Config, err)
	}
	if _, err := registry.ConfigAs[map[string]any](t.Context(), reg, "c_p"); err != nil {
		t.Error(err)
	}
}

// TestDefaultAgainstPattern: a default that a pattern of its name refuses is left out.
func TestDefaultAgainstPattern(t *testing.T) {
	reg := newPlugin(t, `{"properties":{"port":{"default":80}},"patternProperties":{"^p":{"type":"string"}}}`)
	save(t, reg, "c_p", json.RawMessage(`{"x":1}`))
	if _, err := registry.ConfigAs[map[string]any](t.Context(), reg, "c_p"); err != nil {
		t.Error(err)
	}
}

// TestDefaultOfIgnoredItems: additionalItems without a tuple does not count.
func TestDefaultOfIgnoredItems(t *testing.T) {
	for _, items := range []string{`"items":{"type":"object"},`, ``} {
		reg := newPlugin(t, `{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"l":{`+items+`"additionalItems":{"properties":{"a":{"default":1}}}}}}`)
		save(t, reg, "c_p", json.RawMessage(`{"l":[{}]}`))
		rec, err := reg.EffectiveConfig(t.Context(), "c_p")
		if err != nil || string(rec.Config) != `{"l":[{}]}` {
			t.Errorf("%s, %v", rec.Config, err)
		}
	}
}

// TestValidateForm: Validate takes what SaveConfig does: a form, and what is sealed.
func TestValidateForm(t *testing.T) {
	st := memory.New()
	for _, c := range []struct{ schema, config string }{
		{`{"properties":{"auth":{"oneOf":[{"required":["token"],"properties":{"token":{"writeOnly":true,"minLength":20}}},{"required":["user"]}]}}}`, `{"auth":{"token":"hunter2hunter2hunter2hunter2"}}`},
		{`{"properties":{"l":{"uniqueItems":true,"items":{"writeOnly":true}}}}`, `{"l":["a","b"]}`},
		{`{"properties":{"k":{"writeOnly":true,"anyOf":[{"type":"integer"},{"minLength":20,"type":"string"}]}}}`, `{"k":"hunter2hunter2hunter2hunter2"}`},
	} {
		reg := registryLike(t, st, c.schema, registry.WithSecrets(ring(t, 1)))
		save(t, reg, "c_p", json.RawMessage(c.config))
		form := redacted(t, reg, "c_p")
		_, saveErr := reg.SaveConfig(t.Context(), "c_p", json.RawMessage(form))
		if err := reg.Validate(t.Context(), "c_p", json.RawMessage(form)); err != nil && saveErr == nil {
			t.Errorf("Validate refuses what SaveConfig saves: %v", err)
		}
		was := stored(t, st, "c_p")
		_, saveErr = reg.SaveConfig(t.Context(), "c_p", json.RawMessage(was))
		if err := reg.Validate(t.Context(), "c_p", json.RawMessage(was)); err != nil && saveErr == nil {
			t.Errorf("sealed: Validate refuses what SaveConfig saves: %v", err)
		}
	}
	reg := registryLike(t, st, keySchema, registry.WithSecrets(ring(t, 1)))
	save(t, reg, "c_q", json.RawMessage(`{"key":"x"}`))
	was := stored(t, st, "c_q")
	save(t, reg, "c_q", json.RawMessage(was))
	if err := reg.Validate(t.Context(), "c_q", json.RawMessage(was)); err != nil {
		t.Errorf("sealed: Validate refuses what SaveConfig saves: %v", err)
	}
}

// TestKeywordOfFalse: a property that is named like a keyword is none.
func TestKeywordOfFalse(t *testing.T) {
	reg := newPlugin(t, `{"properties":{"items":false}}`)
	err := reg.Validate(t.Context(), "c_p", json.RawMessage(`{"items":1}`))
	invalid, _ := errors.AsType[*registry.ValidationError](err)
	if invalid == nil || invalid.Issues[0].Keyword != "properties" {
		t.Errorf("%+v", invalid)
	}
}

const draft2020 = `"$schema":"https://json-schema.org/draft/2020-12/schema",`
