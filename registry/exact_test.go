package registry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// throughMap edits a config as a program does that decodes it into a map.
func throughMap(edit func(map[string]any)) func(store.Record) (any, error) {
	return func(rec store.Record) (any, error) {
		var config map[string]any
		err := rec.Decode(&config)
		edit(config)
		return config, err
	}
}

// What an edit leaves equal keeps its stored text and its place.
func TestUpdateConfigKeepsWhatItLeaves(t *testing.T) {
	list := func(m map[string]any) []any { return m["l"].([]any) }
	for name, test := range map[string]struct {
		stored string
		edit   func(map[string]any)
		want   string
	}{
		"digits and order": {`{"z":1,"id":12345678901234567890,"a":1.0}`, func(m map[string]any) { m["n"] = 1 }, `{"z":1,"id":12345678901234567890,"a":1.0,"n":1}`},
		"nothing":          {`{"b":1e2,"a":{"y":-0.0,"x":1E+2},"l":[1.50,{"c":2.0}]}`, func(map[string]any) {}, `{"b":1e2,"a":{"y":-0.0,"x":1E+2},"l":[1.50,{"c":2.0}]}`},
		"one of them":      {`{"b":9007199254740993,"a":9007199254740993}`, func(m map[string]any) { m["a"] = 5 }, `{"b":9007199254740993,"a":5}`},
		"deleted":          {`{"c":1.0,"b":2.0,"a":3.0}`, func(m map[string]any) { delete(m, "b") }, `{"c":1.0,"a":3.0}`},
		"nested":           {`{"z":{"y":1.0,"x":2.0},"a":0.10}`, func(m map[string]any) { m["z"].(map[string]any)["n"] = "x" }, `{"z":{"y":1.0,"x":2.0,"n":"x"},"a":0.10}`},
		"another kind":     {`{"z":{"y":1.0},"a":0.10}`, func(m map[string]any) { m["z"] = []int{1} }, `{"z":[1],"a":0.10}`},
		"null":             {`{"z":null,"a":0.10}`, func(m map[string]any) { m["a"] = nil }, `{"z":null,"a":null}`},
		"an item appended": {`{"l":[1.0,2.50]}`, func(m map[string]any) { m["l"] = append(list(m), 3) }, `{"l":[1.0,2.50,3]}`},
		"an item deleted":  {`{"l":[{"id":12345678901234567890},{"id":9007199254740993.0},2.0]}`, func(m map[string]any) { m["l"] = list(m)[1:] }, `{"l":[{"id":9007199254740993.0},2.0]}`},
		"an item inserted": {`{"l":[{"b":1.0,"a":2.0}]}`, func(m map[string]any) { m["l"] = append([]any{"x"}, list(m)...) }, `{"l":["x",{"b":1.0,"a":2.0}]}`},
		"items swapped": {`{"l":[{"b":1.0,"a":12345678901234567890},{"b":2.0,"a":0.0}]}`, func(m map[string]any) { l := list(m); l[0], l[1] = l[1], l[0] },
			`{"l":[{"b":2.0,"a":0.0},{"b":1.0,"a":12345678901234567890}]}`},
		"an item deleted, the next edited": {`{"l":[{"b":1.0,"a":9007199254740993},{"id":7.0,"b":2.0,"a":9007199254740995}]}`,
			func(m map[string]any) { m["l"] = list(m)[1:]; list(m)[0].(map[string]any)["b"] = 3 }, `{"l":[{"id":7.0,"b":3,"a":9007199254740995}]}`},
		"beyond float64": {`{"a":123456789.123456789123456789,"b":1}`, func(m map[string]any) { m["b"] = 2 }, `{"a":123456789.123456789123456789,"b":2}`},
		"names in case":  {`{"A":1.0,"a":2.0}`, func(m map[string]any) { m["a"] = 3 }, `{"A":1.0,"a":3}`},
		"odd names":      {`{"a/b":1.0,"":{"~":2.0}}`, func(m map[string]any) { m["x"] = 1 }, `{"a/b":1.0,"":{"~":2.0},"x":1}`},
	} {
		reg := newPlugin(t, `{}`)
		before := save(t, reg, "c_p", json.RawMessage(test.stored))
		rec, err := reg.UpdateConfig(t.Context(), "c_p", throughMap(test.edit))
		if err != nil || string(rec.Config) != test.want || string(load(t, reg, "c_p").Config) != test.want {
			t.Errorf("%s: %s, %v, want %s", name, rec.Config, err, test.want)
		}
		if test.want == test.stored && rec.Revision != before.Revision {
			t.Errorf("%s: it made a new revision", name)
		}
	}
}

// An edit that changes a number to one that a float64 cannot tell from it is an edit, if no float is in between.
func TestUpdateConfigTakesExactEdits(t *testing.T) {
	type typed struct {
		A int64   `json:"a"`
		F float64 `json:"f"`
	}
	for name, edit := range map[string]func(store.Record) (any, error){
		"JSON":  func(store.Record) (any, error) { return json.RawMessage(`{"a":9007199254740992,"f":0.1}`), nil },
		"bytes": func(store.Record) (any, error) { return []byte(`{"a":9007199254740992,"f":0.1}`), nil },
		"json.Number": func(store.Record) (any, error) {
			return map[string]any{"a": json.Number("9007199254740992"), "f": 0.1}, nil
		},
		"int64":     func(store.Record) (any, error) { return map[string]int64{"a": 9007199254740992}, nil },
		"a struct":  func(store.Record) (any, error) { return typed{9007199254740992, 0.1}, nil },
		"a pointer": func(store.Record) (any, error) { return &typed{9007199254740992, 0.1}, nil },
	} {
		reg := newPlugin(t, `{}`)
		save(t, reg, "c_p", json.RawMessage(`{"a":9007199254740993,"f":0.10}`))
		rec, err := reg.UpdateConfig(t.Context(), "c_p", edit)
		if err != nil || !strings.HasPrefix(string(rec.Config), `{"a":9007199254740992`) {
			t.Errorf("%s: %s, %v", name, rec.Config, err)
		}
		if want := name == "json.Number" || strings.HasPrefix(name, "a "); want != strings.Contains(string(rec.Config), `"f":0.10`) {
			t.Errorf("%s: what a float left equal: %s", name, rec.Config)
		}
	}
}

type speech struct {
	Device  string         `json:"device"`
	Beam    int            `json:"beam,omitempty"`
	Rate    float64        `json:"rate"`
	Tags    []string       `json:"tags"`
	Options map[string]any `json:"options"`
	Nested  struct {
		On   bool    `json:"on"`
		Gain float32 `json:"gain"`
	} `json:"nested"`
	Servers []server `json:"servers"`
	Limit   *int     `json:"limit"`
}

type server struct {
	Host string `json:"host"`
	Port int    `json:"port,omitempty"`
	ID   uint64 `json:"id,omitempty"`
}

const speechSchema = `{"properties":{"device":{"type":"string","default":"cpu"},"beam":{"type":"integer","default":5},"rate":{"type":"number"},"tags":{"type":"array"},"options":{"type":"object"},
	"nested":{"type":"object","properties":{"on":{"type":"boolean","default":true},"gain":{"type":"number"}}},"servers":{"type":"array","items":{"properties":{"port":{"default":80}}}},"limit":{"type":"integer"},"extra":{}}}`

func TestUpdateConfigAs(t *testing.T) {
	for name, test := range map[string]struct {
		stored string
		edit   func(*speech)
		want   string
	}{
		"nothing":                   {`{"rate":1.50,"extra":9007199254740993}`, func(*speech) {}, `{"rate":1.50,"extra":9007199254740993}`},
		"defaults are not stored":   {`{}`, func(s *speech) { s.Rate = 2 }, `{"rate":2}`},
		"a default is seen":         {`{}`, func(s *speech) { s.Device += "+gpu" }, `{"device":"cpu+gpu"}`},
		"in a default object":       {`{}`, func(s *speech) { s.Nested.Gain = 0.1 }, `{"nested":{"gain":0.1}}`},
		"a zero that hides default": {`{}`, func(s *speech) { s.Nested.On = false; s.Device = "" }, `{"device":"","nested":{"on":false}}`},
		"omitempty deletes":         {`{"beam":7,"rate":1.0}`, func(s *speech) { s.Beam = 0 }, `{"rate":1.0}`},
		"nil deletes":               {`{"tags":["a"],"limit":3.0,"rate":1.0}`, func(s *speech) { s.Tags, s.Limit = nil, nil }, `{"rate":1.0}`},
		"others keep their text":    {`{"rate":1.0,"nested":{"gain":0.10,"on":false},"extra":[1.0],"options":{"x":1.0,"big":12345678901234567890}}`, func(s *speech) { s.Nested.On = true; s.Options["new"] = 1 }, `{"rate":1.0,"nested":{"gain":0.10,"on":true},"extra":[1.0],"options":{"x":1.0,"big":12345678901234567890,"new":1}}`},
		"a server deleted": {`{"servers":[{"id":18446744073709551615,"host":"a","note":"x"},{"host":"b","id":7.0,"port":1e2}]}`,
			func(s *speech) { s.Servers = s.Servers[1:] }, ``},
		"integral floats": {`{"beam":5.0,"limit":1e3}`, func(s *speech) { *s.Limit++ }, `{"beam":5.0,"limit":1001}`},
	} {
		reg := newPlugin(t, speechSchema)
		save(t, reg, "c_p", json.RawMessage(test.stored))
		rec, err := registry.UpdateConfigAs(t.Context(), reg, "c_p", func(s *speech) error { test.edit(s); return nil })
		if test.want == "" { // a key that the type does not know goes with its item, what stays keeps its text
			test.want = `{"servers":[{"host":"b","id":7.0,"port":1e2}]}`
		}
		if err != nil || string(rec.Config) != test.want {
			t.Errorf("%s: %s, %v, want %s", name, rec.Config, err, test.want)
		}
	}
	reg := newPlugin(t, speechSchema)
	if _, err := registry.UpdateConfigAs(t.Context(), reg, "c_p", func(*speech) error { return errBroken }); !errors.Is(err, errBroken) || isConfigured(t, reg, "c_p") {
		t.Error(err)
	}
	save(t, reg, "c_p", json.RawMessage(`{"servers":[{"port":"hunter2"}]}`))
	_, err := registry.UpdateConfigAs(t.Context(), reg, "c_p", func(*speech) error { return nil })
	if invalid, ok := errors.AsType[*registry.ValidationError](err); !ok || invalid.Issues[0].Pointer != "/servers/0/port" || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("what does not fit the type: %v", err)
	}
}

func TestPatchConfig(t *testing.T) {
	for _, test := range []struct{ stored, patch, want string }{
		// RFC 7396, appendix A, as far as both are objects.
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`}, {`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`}, {`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`}, {`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`}, {`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`}, {`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`}, {`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`}, {`{"a":"foo"}`, `{"b":[null,{"c":null}]}`, `{"a":"foo","b":[null,{"c":null}]}`},
		// The text of what stays.
		{`{"z":1.0,"n":{"b":2.50,"a":9007199254740993}}`, `{"n":{"a":1}}`, `{"z":1.0,"n":{"b":2.50,"a":1}}`},
		{`{"z":1.0,"a":2.0}`, `{"new":1E2,"z":5.00}`, `{"z":5.00,"a":2.0,"new":1E2}`}, {`{"a":9007199254740993}`, `{"a":9007199254740992}`, `{"a":9007199254740992}`},
		{`{"z":1.0}`, `{}`, `{"z":1.0}`},
	} {
		reg := newPlugin(t, `{}`)
		save(t, reg, "c_p", json.RawMessage(test.stored))
		rec, err := reg.PatchConfig(t.Context(), "c_p", json.RawMessage(test.patch))
		if err != nil || string(rec.Config) != test.want || string(load(t, reg, "c_p").Config) != test.want {
			t.Errorf("%s with %s: %s, %v, want %s", test.stored, test.patch, rec.Config, err, test.want)
		}
	}
	reg := newPlugin(t, keySchema, registry.WithSecrets(ring(t, 1)))
	rec, err := reg.PatchConfig(t.Context(), "c_p", map[string]any{"key": "hunter2"}, registry.IfRevision(store.Absent))
	if err != nil {
		t.Fatal(err)
	}
	if rec, err := reg.PatchConfig(t.Context(), "c_p", map[string]any{"host": "h", "key": registry.Redacted}); err != nil || string(rec.Config) != `{"key":"hunter2","host":"h"}` {
		t.Errorf("%s, %v", rec.Config, err)
	}
	if _, err := reg.PatchConfig(t.Context(), "c_p", map[string]any{"host": "i"}, registry.IfRevision(rec.Revision)); !errors.Is(err, store.ErrConflict) {
		t.Errorf("over another revision: %v", err)
	}
	if _, err := reg.PatchConfig(t.Context(), "c_p", map[string]any{"host": 5}); !errors.As(err, new(*registry.ValidationError)) {
		t.Errorf("what does not fit: %v", err)
	}
	for _, patch := range []any{nil, 1, json.RawMessage(`[]`), json.RawMessage(`{"a":1,"a":2}`)} {
		if _, err := reg.PatchConfig(t.Context(), "c_p", patch); !errors.Is(err, store.ErrInvalidConfig) {
			t.Errorf("%v: %v", patch, err)
		}
	}
}

// What ConfigAs returns can be saved, and changes nothing.
func TestTypedValuesComeBack(t *testing.T) {
	for _, config := range []string{`{}`, `{"device":"x","rate":0}`, `{"tags":[],"options":{}}`, `{"servers":[{"host":"h"}]}`, `{"limit":5,"nested":{"on":false,"gain":0}}`} {
		reg := newPlugin(t, speechSchema)
		save(t, reg, "c_p", json.RawMessage(config))
		first, err := registry.ConfigAs[speech](t.Context(), reg, "c_p")
		if err != nil {
			t.Fatal(err)
		}
		rec, err := reg.SaveConfig(t.Context(), "c_p", first)
		if err != nil || strings.Contains(string(rec.Config), "null") {
			t.Errorf("%s: %s, %v", config, rec.Config, err)
		}
		second, err := registry.ConfigAs[speech](t.Context(), reg, "c_p")
		if err != nil || fmt.Sprintf("%#v", second) != fmt.Sprintf("%#v", first) && first.Limit == nil {
			t.Errorf("%s: %+v, then %+v, %v", config, first, second, err)
		}
		again, err := reg.SaveConfig(t.Context(), "c_p", second)
		if err != nil || again.Revision != rec.Revision {
			t.Errorf("%s: %s, then %s, %v", config, rec.Config, again.Config, err)
		}
		if _, err := registry.UpdateConfigAs(t.Context(), reg, "c_p", func(*speech) error { return nil }); err != nil || load(t, reg, "c_p").Revision != rec.Revision {
			t.Errorf("%s: an empty update: %v", config, err)
		}
	}
}

type kinds struct {
	I8  int8            `json:"i8"`
	U16 uint16          `json:"u16"`
	U   uint            `json:"u"`
	I64 int64           `json:"i64"`
	F32 float32         `json:"f32"`
	F   float64         `json:"f"`
	At  time.Time       `json:"at"`
	Ptr *time.Time      `json:"ptr"`
	B   []byte          `json:"b"`
	L   []uint8         `json:"l"`
	M   map[string]int8 `json:"m"`
	D   time.Duration   `json:"d"`
	Arr [2]int          `json:"arr"`
	Own uint8           `json:"own" jsonschema:"minimum=3,maximum=9"`
	Any any             `json:"any"`
}

// What a schema of SchemaFor takes, its type takes.
func TestSchemaForTakesWhatTheTypeTakes(t *testing.T) {
	schema, err := registry.SchemaFor[kinds]()
	if err != nil {
		t.Fatal(err)
	}
	reg := newPlugin(t, string(schema), registry.WithStrictSchemas())
	if p, _ := reg.Plugin("c_p"); p.SchemaErr != nil {
		t.Error(p.SchemaErr)
	}
	good := []string{`{}`, `{"i8":-128,"u16":65535,"u":0,"i64":9223372036854775807}`, `{"i8":5.0,"u16":1e2}`, `{"f32":3.4e38,"f":1.7e308,"any":1e400}`, `{"at":"2024-02-29T23:59:59Z"}`,
		`{"at":"0000-01-01T00:00:00.123456789+14:00","ptr":"2000-12-31T00:00:00-07:30"}`, `{"b":"aGk=","m":{"x":-1}}`, `{"d":-5,"arr":[1,2.0]}`, `{"own":9}`, `{"b":""}`}
	bad := []string{`{"i8":128}`, `{"i8":-129}`, `{"u16":-1}`, `{"u16":65536}`, `{"u":-1}`, `{"i64":9223372036854775808}`, `{"i64":1.5}`, `{"f32":3.5e38}`, `{"f":1e309}`, `{"f":-1e309}`, `{"at":"yesterday"}`,
		`{"at":"2023-02-29T00:00:00Z"}`, `{"at":"1900-02-29T00:00:00Z"}`, `{"at":"2024-04-31T00:00:00Z"}`, `{"at":"2024-01-01T24:00:00Z"}`, `{"at":"2024-01-01T00:00:60Z"}`, `{"at":"2024-01-01 00:00:00Z"}`, `{"at":"2024-01-01T00:00:00"}`,
		`{"at":"2024-01-01T00:00:00z"}`, `{"at":"2024-01-01T00:00:00Z\n"}`, `{"at":5}`, `{"ptr":"x"}`, `{"b":"a"}`, `{"b":"*"}`, `{"m":{"x":200}}`, `{"d":0.5}`, `{"arr":[1]}`, `{"arr":[1,2,3]}`,
		`{"own":2}`, `{"own":10}`, `{"i8":"5"}`, `{"more":1}`}
	for _, config := range good {
		if err := saveRaw(t, reg, config); err != nil {
			t.Errorf("%s: %v", config, err)
			continue
		}
		if _, err := registry.ConfigAs[kinds](t.Context(), reg, "c_p"); err != nil {
			t.Errorf("%s is saved, and then: %v", config, err)
		}
	}
	for _, config := range bad {
		if err := saveRaw(t, reg, config); !errors.As(err, new(*registry.ValidationError)) {
			t.Errorf("%s is saved: %v", config, err)
		}
		st := memory.New() // and without the schema the type alone says where
		put(t, st, "c_p", config)
		_, err := registry.ConfigAs[kinds](t.Context(), registry.New(st), "c_p")
		invalid, ok := errors.AsType[*registry.ValidationError](err)
		if own := strings.Contains(config, "own"); !own && (!ok || !strings.HasPrefix(invalid.Issues[0].Pointer, "/") || strings.Contains(err.Error(), "yesterday")) {
			t.Errorf("%s: ConfigAs: %v", config, err)
		}
	}
	// The edges of each kind can be saved as the struct has them.
	now := time.Date(2024, 2, 29, 1, 2, 3, 4, time.FixedZone("", -3600))
	full := kinds{I8: math.MinInt8, U16: math.MaxUint16, U: math.MaxUint, I64: math.MinInt64, F32: math.MaxFloat32, F: -math.MaxFloat64, At: now, Ptr: &now, B: []byte("x\x00"),
		L: []uint8{255}, M: map[string]int8{"x": 127}, D: math.MaxInt64, Own: 3, Any: 1.5}
	save(t, reg, "c_p", full)
	got, err := registry.ConfigAs[kinds](t.Context(), reg, "c_p")
	if err != nil || got.I64 != full.I64 || got.U != full.U || got.F != full.F || got.F32 != full.F32 || !got.At.Equal(now) || string(got.B) != string(full.B) {
		t.Errorf("%+v, %v", got, err)
	}
}

// A number that no float64 holds is not lost in an any.
func TestHugeNumbers(t *testing.T) {
	reg := newPlugin(t, `{}`)
	save(t, reg, "c_p", json.RawMessage(`{"a":1e400,"l":[-1e400,2.5],"o":{"x":1e999}}`))
	got, err := registry.ConfigAs[map[string]any](t.Context(), reg, "c_p")
	if err != nil || got["a"] != json.Number("1e400") || got["l"].([]any)[0] != json.Number("-1e400") || got["l"].([]any)[1] != 2.5 {
		t.Errorf("%v, %v", got, err)
	}
	if rec, err := reg.SaveConfig(t.Context(), "c_p", got); err != nil || string(rec.Config) != `{"a":1e400,"l":[-1e400,2.5],"o":{"x":1e999}}` {
		t.Errorf("saved again: %s, %v", rec.Config, err)
	}
}
