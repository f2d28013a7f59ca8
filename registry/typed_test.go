package registry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

func TestEffectiveConfig(t *testing.T) {
	for name, test := range map[string]struct{ schema, config, want string }{
		"defaults":        {`{"properties": {"a": {"default": 1.0}, "b": {"default": "x"}}}`, `{"b":"mine"}`, `{"b":"mine","a":1.0}`},
		"nothing saved":   {`{"properties": {"a": {"default": {"b": [1]}}}}`, ``, `{"a":{"b":[1]}}`},
		"null is saved":   {`{"properties": {"a": {"default": 1}}}`, `{"a":null}`, `{"a":null}`},
		"nested":          {`{"properties": {"o": {"properties": {"p": {"properties": {"a": {"default": 1}}}}}}}`, `{}`, `{"o":{"p":{"a":1}}}`},
		"nested, partial": {`{"properties": {"o": {"properties": {"a": {"default": 1}, "b": {"default": 2}}}}}`, `{"o":{"b":3}}`, `{"o":{"b":3,"a":1}}`},
		"through $ref":    {`{"properties": {"o": {"$ref": "#/definitions/d"}}, "definitions": {"d": {"properties": {"a": {"default": 1}}}}}`, `{"o":{}}`, `{"o":{"a":1}}`},
		"through allOf":   {`{"allOf": [{"properties": {"a": {"default": 1}}}, {"properties": {"b": {"default": 2}}}]}`, `{}`, `{"a":1,"b":2}`},
		"in items":        {`{"properties": {"l": {"items": {"properties": {"a": {"default": 1}}}}}}`, `{"l":[{},{"a":2},3]}`, `{"l":[{"a":1},{"a":2},3]}`},
		"no items made":   {`{"properties": {"l": {"items": {"properties": {"a": {"default": 1}}}}}}`, `{}`, `{}`},
		"not from oneOf":  {`{"oneOf": [{"properties": {"a": {"default": 1}}}], "anyOf": [{"properties": {"b": {"default": 1}}}]}`, `{}`, `{}`},
		"a bad default":   {`{"properties": {"a": {"type": "integer", "default": "x"}, "b": {"default": 2}}}`, `{}`, `{"b":2}`},
	} {
		st := memory.New()
		reg := registry.New(st)
		register(t, reg, "c", giving(test.schema, "p"))
		var saved store.Record
		if test.config != "" {
			saved = save(t, reg, "c_p", json.RawMessage(test.config))
		}
		rec, err := reg.EffectiveConfig(t.Context(), "c_p")
		if err != nil || string(rec.Config) != test.want || rec.Revision != saved.Revision || rec.ID != "c_p" {
			t.Errorf("%s: %v: %s, %v, want %s", name, rec, rec.Config, err, test.want)
		}
		if test.config != "" && stored(t, st, "c_p") != test.config {
			t.Errorf("%s: stored is %s", name, stored(t, st, "c_p"))
		}
	}
	// A plugin that nobody knows has no defaults.
	if rec, err := registry.New(memory.New()).EffectiveConfig(t.Context(), "x"); err != nil || string(rec.Config) != `{}` {
		t.Errorf("of no plugin: %s, %v", rec.Config, err)
	}
}

func TestNewDefaultsReachEveryConfig(t *testing.T) {
	schema := `{"properties": {"a": {"default": 1}}}`
	m := giving("", "p")
	reg := registry.New(memory.New())
	m.schema = giving(schema).schema
	register(t, reg, "c", m)
	save(t, reg, "c_p", map[string]any{"b": 1})
	m.schema = giving(`{"properties": {"a": {"default": 2}}}`).schema
	if err := reg.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rec, err := reg.EffectiveConfig(t.Context(), "c_p"); err != nil || string(rec.Config) != `{"b":1,"a":2}` {
		t.Errorf("EffectiveConfig: %s, %v", rec.Config, err)
	}
}

// What ConfigAs decodes into.
type (
	base struct {
		ignored `json:"-"`
		Host    string `json:"host"`
		Both    int    `json:"both"`
	}
	other struct {
		Both int `json:"both"` // the name is another's, too: neither counts
	}
	inner struct {
		A int `json:"a"`
	}
	ignored struct{ Zed int }
	exact   struct {
		Port   int `json:"port"`
		Umlaut int `json:"pört"`
		Straße int
		Key    int
		List   []exact          `json:"list"`
		Map    map[string]exact `json:"map"`
		Any    any              `json:"any"`
		Raw    json.RawMessage  `json:"raw"`
	}
	custom struct{ text string }
	words  struct{ list []string }
)

func (c *custom) UnmarshalJSON(b []byte) error { c.text = string(b); return nil }

func (w *words) UnmarshalText(b []byte) error {
	w.list = strings.Fields(string(b))
	return nil
}

type everything struct {
	base
	*other
	Named  inner `json:"named"`
	inner  `json:"tagged"`
	Hidden int `json:"-"`
	Plain  int
	Ptr    **inner          `json:"ptr"`
	Map    map[string]inner `json:"map"`
	List   []inner          `json:"list"`
	Array  [2]*inner        `json:"array"`
	Any    any              `json:"any"`
	Raw    json.RawMessage  `json:"raw"`
	Custom custom           `json:"custom"`
	Words  *words           `json:"words"`
	Time   time.Time        `json:"time"`
	Self   *everything      `json:"self"`
	lower  int
}

func TestConfigAsKnowsKeysAsJSONDoes(t *testing.T) {
	const good = `{"host":"h","named":{"a":1},"Plain":3,"ptr":{"a":4},"map":{"x":{"a":5}},"list":[{"a":6}],"array":[null,{"a":7}],
		"any":{"x":{}},"raw":{"x":1},"custom":{"x":1},"words":"a b","time":"2020-01-02T03:04:05Z","self":{"self":{"host":"deep"}}}`
	reg := newPlugin(t, `{}`)
	save(t, reg, "c_p", json.RawMessage(good))
	got, err := registry.ConfigAs[everything](t.Context(), reg, "c_p")
	if err != nil {
		t.Fatal(err)
	}
	if got.Host != "h" || got.Named.A != 1 || got.Plain != 3 || (*got.Ptr).A != 4 || got.Map["x"].A != 5 || got.List[0].A != 6 || got.Array[1].A != 7 ||
		string(got.Raw) != `{"x":1}` || got.Custom.text != `{"x":1}` || len(got.Words.list) != 2 || got.Time.Year() != 2020 || got.Self.Self.Host != "deep" || got.lower != 0 {
		t.Errorf("decoded %+v", got)
	}
	if p, err := registry.ConfigAs[*everything](t.Context(), reg, "c_p"); err != nil || p.Host != "h" {
		t.Errorf("into a pointer: %v, %v", p, err)
	}
	if m, err := registry.ConfigAs[map[string]any](t.Context(), reg, "c_p"); err != nil || len(m) != 13 {
		t.Errorf("into a map: %v, %v", m, err)
	}
	if raw, err := registry.ConfigAs[json.RawMessage](t.Context(), reg, "c_p"); err != nil || !bytes.HasPrefix(raw, []byte(`{"host"`)) {
		t.Errorf("into JSON: %s, %v", raw, err)
	}

	for config, want := range map[string][]string{
		`{"hots":"h","named":{"a":1,"b":2}}`:         {"/hots", "/named/b"},
		`{"Hidden":1,"hidden":1,"lower":1}`:          {"/Hidden", "/hidden", "/lower"},
		`{"both":1}`:                                 {"/both"}, // two fields have the name, so none has
		`{"a":1,"inner":{},"base":{}}`:               {"/a", "/inner", "/base"},
		`{"tagged":{"a":1}}`:                         nil,
		`{"-":1,"Zed":1,"ignored":{}}`:               {"/-", "/Zed", "/ignored"},
		`{"tagged":{"b":1}}`:                         {"/tagged/b"},
		`{"ptr":{"x":1},"map":{"k/~":{"x":1}}}`:      {"/ptr/x", "/map/k~1~0/x"},
		`{"list":[{},{"x":1}],"array":[{"y":1},{}]}`: {"/list/1/x", "/array/0/y"},
		`{"self":{"self":{"x":1,"host":"h"}}}`:       {"/self/self/x"},
		`{"any":{"x":1},"raw":[{"x":1}]}`:            nil,
		`{"map":null,"list":null,"ptr":null}`:        nil,
	} {
		save(t, reg, "c_p", json.RawMessage(config))
		got, err := registry.ConfigAs[everything](t.Context(), reg, "c_p")
		var at []string
		if invalid, ok := errors.AsType[*registry.ValidationError](err); ok {
			for _, i := range invalid.Issues {
				at = append(at, i.Pointer)
				if i.Keyword != "additionalProperties" || !strings.Contains(i.Message, "everything") {
					t.Errorf("%s: %+v", config, i)
				}
			}
		}
		if !slices.Equal(at, want) || (err == nil) != (want == nil) || err != nil && !reflect.ValueOf(got).IsZero() {
			t.Errorf("%s: unknown are %q, %v, want %q", config, at, err, want)
		}
		// encoding/json agrees: it refuses the same configs.
		d := json.NewDecoder(strings.NewReader(config))
		d.DisallowUnknownFields()
		if refused := d.Decode(new(everything)) != nil; refused != (want != nil) {
			t.Errorf("%s: encoding/json refuses it: %t", config, refused)
		}
	}
	// Names are exact, even if the schema allows the other one: encoding/json would decode it.
	for config, want := range map[string]string{
		`{"port":81,"PORT":99999}`:           "/PORT",
		`{"PORT":99999,"port":81}`:           "/PORT",
		`{"list":[{"port":1},{"Port":2}]}`:   "/list/1/Port",
		`{"map":{"x":{"p\u00d6rt":1}}}`:      "/map/x/pÖrt",
		`{"map":{"PORT":{"port":1}}}`:        "",
		`{"straße":1}`:                       "/straße",
		`{"\u212aey":1}`:                     "/\u212aey",
		`{"any":{"PORT":1},"raw":{"A":"b"}}`: "",
	} {
		reg := newPlugin(t, `{"additionalProperties":{}}`)
		save(t, reg, "c_p", json.RawMessage(config))
		got, err := registry.ConfigAs[exact](t.Context(), reg, "c_p")
		invalid, _ := errors.AsType[*registry.ValidationError](err)
		if (want == "") != (err == nil) || want != "" && (invalid == nil || len(invalid.Issues) != 1 || invalid.Issues[0].Pointer != want || got.Port != 0) {
			t.Errorf("%s: %+v, %v", config, got, err)
		}
	}
}

func TestConfigAs(t *testing.T) {
	reg := newPlugin(t, `{"properties": {"a": {"type": "integer", "default": 5}, "only": {}, "o": {"additionalProperties": {}}, "s": {"type": "string"}},
		"patternProperties": {"^x-": {}}, "required": ["s"]}`)
	type config struct {
		A int      `json:"a"`
		S int      `json:"s"`
		O struct{} `json:"o"`
	}
	// Nothing saved does not fit, as s is missing.
	if _, err := registry.ConfigAs[config](t.Context(), reg, "c_p"); err == nil || !strings.Contains(err.Error(), `"s"`) {
		t.Errorf("without what is required: %v", err)
	}
	save(t, reg, "c_p", json.RawMessage(`{"s":"hunter2","only":1,"x-y":2,"o":{"k":1}}`))
	_, err := registry.ConfigAs[config](t.Context(), reg, "c_p")
	if invalid, ok := errors.AsType[*registry.ValidationError](err); !ok || invalid.Issues[0].Pointer != "/s" || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "int") {
		t.Errorf("a string for an int: %v", err)
	}
	type onlyA struct {
		A int `json:"a"`
	}
	got, err := registry.ConfigAs[onlyA](t.Context(), reg, "c_p") // the rest is known to the schema
	if err != nil || got.A != 5 {
		t.Errorf("with a default: %+v, %v", got, err)
	}
	save(t, reg, "c_p", json.RawMessage(`{"s":"x","unknown":1}`))
	if _, err := registry.ConfigAs[onlyA](t.Context(), reg, "c_p"); err == nil || !strings.Contains(err.Error(), "/unknown") {
		t.Errorf("a key nobody knows: %v", err)
	}
	if got, err := registry.ConfigAs[struct {
		Unknown int `json:"unknown"`
	}](t.Context(), reg, "c_p"); err != nil || got.Unknown != 1 {
		t.Errorf("a key that only the type knows: %+v, %v", got, err)
	}
	// A config stored past the registry is validated.
	st := memory.New()
	put(t, st, "c_p", `{"a":"x","s":"x"}`)
	if _, err := registry.ConfigAs[map[string]any](t.Context(), registryLike(t, st, `{"properties": {"a": {"type": "integer"}}}`), "c_p"); err == nil || !strings.Contains(err.Error(), "/a") {
		t.Errorf("a stored config that does not fit: %v", err)
	}
	// Without a schema the type alone knows.
	if _, err := registry.ConfigAs[onlyA](t.Context(), registry.New(st), "c_p"); err == nil || !strings.Contains(err.Error(), "/s") {
		t.Errorf("without a schema: %v", err)
	}
}

type pluginConfig struct {
	Device string            `json:"device" jsonschema:"title=Device,description=Where it runs,enum=cpu,enum=cuda,default=cpu"`
	Beam   int               `json:"beam,omitempty" jsonschema:"minimum=1,maximum=20,default=5" jsonschema_description:"How many, at most."`
	Key    string            `json:"key" jsonschema:"required,writeOnly=true,minLength=3"`
	Pass   string            `json:"pass,omitempty" jsonschema:"format=password"`
	Token  string            `json:"token,omitempty" jsonschema_extras:"x-secret=true"`
	Env    map[string]string `json:"env,omitempty"`
	Nested struct {
		On bool `json:"on" jsonschema:"default=true"`
	} `json:"nested"`
	List   []inner `json:"list,omitempty"`
	Hidden int     `json:"-"`
}

const pluginConfigSchema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "$defs": {"inner": {"properties": {"a": {"type": "integer", "maximum": 9223372036854775807, "minimum": -9223372036854775808}}, "additionalProperties": false, "type": "object"}},
  "properties": {
    "device": {"type": "string", "enum": ["cpu", "cuda"], "title": "Device", "description": "Where it runs", "default": "cpu"},
    "beam": {"type": "integer", "maximum": 20, "minimum": 1, "description": "How many, at most.", "default": 5},
    "key": {"type": "string", "minLength": 3, "writeOnly": true},
    "pass": {"type": "string", "format": "password"},
    "token": {"type": "string", "x-secret": true},
    "env": {"additionalProperties": {"type": "string"}, "type": "object"},
    "nested": {"properties": {"on": {"type": "boolean", "default": true}}, "additionalProperties": false, "type": "object"},
    "list": {"items": {"$ref": "#/$defs/inner"}, "type": "array"}
  },
  "additionalProperties": false,
  "type": "object",
  "required": ["key"]
}`

func TestSchemaFor(t *testing.T) {
	schema, err := registry.SchemaFor[pluginConfig]()
	if err != nil {
		t.Fatal(err)
	}
	var got, want bytes.Buffer
	if err := errors.Join(json.Indent(&got, schema, "", " "), json.Indent(&want, []byte(pluginConfigSchema), "", " ")); err != nil {
		t.Fatal(err)
	}
	if got.String() != want.String() {
		t.Errorf("the schema is\n%s\nwant\n%s", got.String(), want.String())
	}
	st := memory.New()
	reg := registryLike(t, st, string(schema), registry.WithSecrets(ring(t, 1)), registry.WithStrictSchemas())
	save(t, reg, "c_p", json.RawMessage(`{"key":"sec","pass":"sec","token":"sec","env":{"K":"v"},"list":[{"a":1}]}`))
	if got := sealedValue.ReplaceAllString(stored(t, st, "c_p"), "$"); got != `{"key":$,"pass":$,"token":$,"env":{"K":"v"},"list":[{"a":1}]}` {
		t.Errorf("stored is %s", got)
	}
	config, err := registry.ConfigAs[pluginConfig](t.Context(), reg, "c_p")
	if err != nil || config.Device != "cpu" || config.Beam != 5 || config.Key != "sec" || !config.Nested.On || config.List[0].A != 1 {
		t.Errorf("as a struct: %+v, %v", config, err)
	}
	// The struct itself can be saved.
	config.Beam = 7
	if rec := save(t, reg, "c_p", config); !strings.Contains(string(rec.Config), `"beam":7`) {
		t.Errorf("saved %s", rec.Config)
	}
	for _, wrong := range []string{`{}`, `{"key":"x"}`, `{"key":"sec","device":"gpu"}`, `{"key":"sec","beam":21}`, `{"key":"sec","more":1}`, `{"key":"sec","list":[{"b":1}]}`} {
		if _, ok := errors.AsType[*registry.ValidationError](saveRaw(t, reg, wrong)); !ok {
			t.Errorf("%s is saved", wrong)
		}
	}
}

func TestSchemaForRefuses(t *testing.T) {
	for name, f := range map[string]func() (json.RawMessage, error){
		"map":     registry.SchemaFor[map[string]any],
		"string":  registry.SchemaFor[string],
		"any":     registry.SchemaFor[any],
		"channel": registry.SchemaFor[struct{ C chan int }],
		"func":    registry.SchemaFor[struct{ F func() }],
	} {
		if schema, err := f(); err == nil || schema != nil || !strings.Contains(err.Error(), "Go type") {
			t.Errorf("%s: %s, %v", name, schema, err)
		}
	}
}

// tree refers to itself.
type tree struct {
	Name string `json:"name" jsonschema:"required"`
	Kids []tree `json:"kids,omitempty"`
	Key  string `json:"key,omitempty" jsonschema:"writeOnly=true"`
}

func TestSchemaForATypeThatRefersToItself(t *testing.T) {
	schema, err := registry.SchemaFor[tree]()
	if err != nil {
		t.Fatal(err)
	}
	st := memory.New()
	reg := registryLike(t, st, string(schema), registry.WithSecrets(ring(t, 1)), registry.WithStrictSchemas())
	save(t, reg, "c_p", tree{Name: "a", Kids: []tree{{Name: "b", Key: "k"}}})
	if got := sealedValue.ReplaceAllString(stored(t, st, "c_p"), "$"); got != `{"name":"a","kids":[{"name":"b","key":$}]}` {
		t.Errorf("stored is %s", got)
	}
	if err := saveRaw(t, reg, `{"name":"a","kids":[{}]}`); err == nil || !strings.Contains(err.Error(), "/kids/0") {
		t.Errorf("a kid without a name: %v", err)
	}
	if got, err := registry.ConfigAs[tree](t.Context(), reg, "c_p"); err != nil || got.Kids[0].Key != "k" {
		t.Errorf("as a struct: %+v, %v", got, err)
	}
}

// TestEmbeddedTwice: as in encoding/json, fields of a struct that is embedded twice are none.
func TestEmbeddedTwice(t *testing.T) {
	reg := newPlugin(t, `{}`)
	save(t, reg, "c_p", json.RawMessage(`{"X":1}`))
	v, err := registry.ConfigAs[twiceEmbedded](t.Context(), reg, "c_p")
	if err == nil {
		t.Errorf("the key is dropped without a word: %+v", v)
	}
}

// TestFieldsByCase: of fields whose names differ in case only, the first counts.
func TestFieldsByCase(t *testing.T) {
	type in struct{ X int }
	type C struct {
		A in             `json:"key"`
		B map[string]any `json:"KEY"`
	}
	reg := newPlugin(t, `{}`)
	save(t, reg, "c_p", json.RawMessage(`{"Key":{"y":1}}`))
	n := 0
	for range 200 {
		if _, err := registry.ConfigAs[C](t.Context(), reg, "c_p"); err != nil {
			n++
		}
	}
	if n != 0 && n != 200 {
		t.Errorf("%d of 200 fail", n)
	}
}

// TestTagNoName: a name in a tag that encoding/json does not take is none.
func TestTagNoName(t *testing.T) {
	type C struct {
		F int "json:\"a\\\\b\""
	}
	var c C
	t.Log(json.Unmarshal([]byte(`{"F":5}`), &c), c)
	reg := newPlugin(t, `{}`)
	save(t, reg, "c_p", json.RawMessage(`{"F":5}`))
	v, err := registry.ConfigAs[C](t.Context(), reg, "c_p")
	if err != nil || v.F != 5 {
		t.Error(v, err)
	}
}

type twiceEmbedded struct {
	EmbedsB
	EmbedsC
}
type EmbedsB struct{ Embedded }
type EmbedsC struct{ Embedded }
type Embedded struct{ X int }
