package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// load loads a config that can be.
func load(t testing.TB, reg *registry.Registry, id string) store.Record {
	t.Helper()
	rec, err := reg.LoadConfig(t.Context(), id)
	if err != nil {
		t.Fatalf("loading the config of %q: %v", id, err)
	}
	return rec
}

func TestNothingSavedLoadsAsEmpty(t *testing.T) {
	reg, _ := newSpied()
	register(t, reg, "c", finding("p"))
	for _, id := range []string{"c_p", "nobody's"} {
		rec := load(t, reg, id)
		if rec.ID != id || string(rec.Config) != `{}` || rec.Revision != store.Absent || !rec.UpdatedAt.IsZero() {
			t.Errorf("nothing saved loads as %v: %s", rec, rec.Config)
		}
		rec.Config[0] = '!' // the caller's own
		if again := load(t, reg, id); string(again.Config) != `{}` {
			t.Errorf("it then loads as %s", again.Config)
		}
		if err := reg.DeleteConfig(t.Context(), id); err != nil {
			t.Errorf("deleting nothing: %v", err)
		}
	}
}

func TestConfigsByPluginID(t *testing.T) {
	reg, _ := newSpied()
	saved := save(t, reg, "c_p", map[string]any{"a": 1, "b": 2})
	if saved.ID != "c_p" || string(saved.Config) != `{"a":1,"b":2}` || saved.Revision == store.Absent || saved.UpdatedAt.IsZero() {
		t.Errorf("SaveConfig returned %v: %s", saved, saved.Config)
	}
	if got := register(t, reg, "c", finding("p", "q")); !got[0].Configured || got[1].Configured {
		t.Error("what was saved before the plugin was there is not in its flag, or in another's")
	}
	second := save(t, reg, "c_p", map[string]any{"c": 3})
	if rec := load(t, reg, "c_p"); string(rec.Config) != `{"c":3}` || rec.Revision != second.Revision || rec.Revision == saved.Revision {
		t.Errorf("after a second save there is %v: %s; a save must replace and not merge", rec, rec.Config)
	}
	if err := reg.DeleteConfig(t.Context(), "c_p"); err != nil {
		t.Fatal(err)
	}
	if rec := load(t, reg, "c_p"); isConfigured(t, reg, "c_p") || string(rec.Config) != `{}` {
		t.Errorf("after the deletion there is %s, the flag is %t", rec.Config, isConfigured(t, reg, "c_p"))
	}
	save(t, reg, "c_q", map[string]any{})
	if !isConfigured(t, reg, "c_q") {
		t.Error("an empty config does not count as one")
	}
}

func TestConfigsComeBackExactly(t *testing.T) {
	reg, _ := newSpied()
	type shape struct {
		Z int            `json:"z"`
		A json.Number    `json:"a"`
		M map[string]any `json:"m"`
	}
	for _, test := range []struct {
		config any
		want   string
	}{
		{json.RawMessage(`{"z": 9007199254740993, "a": 1000000000000000000000000000000, "m": 1.0, "b": 1e2, "c": -0, "d": 1E+2, "e": 0.10}`),
			`{"z":9007199254740993,"a":1000000000000000000000000000000,"m":1.0,"b":1e2,"c":-0,"d":1E+2,"e":0.10}`},
		{[]byte(" {\"b\" : [ 1 , {\"y\":1,\"x\":2} ] ,\n\"a\":null}\t"), `{"b":[1,{"y":1,"x":2}],"a":null}`},
		{map[string]any{"b": int64(9007199254740993), "a": json.Number("1.0"), "<&>": true}, `{"<&>":true,"a":1.0,"b":9007199254740993}`},
		{shape{1, "1e400", map[string]any{}}, `{"z":1,"a":1e400,"m":{}}`},
		{&shape{2, "2", nil}, `{"z":2,"a":2}`},
		{json.RawMessage(`{"\u00e9\ud83d\ude00": "\u0041\u002f\u2028\"\\\n"}`), "{\"é😀\":\"A/\u2028\\\"\\\\\\n\"}"},
		{json.RawMessage(`{"a":"` + "\ufffd" + `"}`), `{"a":"` + "\ufffd" + `"}`},
		{json.RawMessage(`{"":{"":{}}}`), `{"":{"":{}}}`},
		{json.RawMessage(`{"a":1,"A":2}`), `{"a":1,"A":2}`},
		{json.RawMessage(nested(512)), nested(512)},
	} {
		saved := save(t, reg, "c_p", test.config)
		rec := load(t, reg, "c_p")
		if string(saved.Config) != test.want || string(rec.Config) != test.want {
			t.Errorf("saved as\n%s, loaded as\n%s, want\n%s", saved.Config, rec.Config, test.want)
		}
		if rec.Revision != saved.Revision || !rec.UpdatedAt.Equal(saved.UpdatedAt) {
			t.Errorf("SaveConfig returned %v, LoadConfig %v", saved, rec)
		}
	}
}

// nested returns a config with that many levels.
func nested(levels int) string {
	return strings.Repeat(`{"a":`, levels-1) + "{}" + strings.Repeat("}", levels-1)
}

func TestBadConfigsChangeNothing(t *testing.T) {
	reg, _ := newSpied()
	register(t, reg, "c", finding("p"))
	const value = "hunter2"
	var nilMap map[string]any
	for name, config := range map[string]any{
		"NaN":                     map[string]any{"a": value, "b": math.NaN()},
		"infinity":                map[string]any{"a": value, "b": math.Inf(-1)},
		"NaN as text":             json.RawMessage(`{"a": "hunter2", "b": NaN}`),
		"the same key twice":      json.RawMessage(`{"a": "hunter2", "a": "hunter2"}`),
		"the same key by escapes": json.RawMessage(`{"o": {"a": "hunter2", "\u0061": 2}}`),
		"not UTF-8":               json.RawMessage("{\"a\": \"hunter2\xff\"}"),
		"not UTF-8 in a key":      json.RawMessage("{\"hunter2\": {\"\xff\": 1}}"),
		"not UTF-8 in a map":      map[string]any{"a": value + "\xff"},
		"lone surrogate":          json.RawMessage(`{"a": "hunter2\ud800"}`),
		"array":                   json.RawMessage(`["hunter2"]`),
		"string":                  value,
		"number":                  7,
		"null":                    json.RawMessage(`null`),
		"nil":                     nil,
		"nil map":                 nilMap,
		"nothing":                 json.RawMessage{},
		"white space":             []byte(" \n"),
		"cut off":                 []byte(`{"a": "hunter2"`),
		"something behind":        []byte(`{"a": "hunter2"}{}`),
		"a trailing comma":        []byte(`{"a": "hunter2",}`),
		"a channel":               map[string]any{"a": value, "b": make(chan int)},
		"over 16 MiB":             json.RawMessage(`{"a": "hunter2` + strings.Repeat("x", 16<<20) + `"}`),
		"over 512 levels":         json.RawMessage(nested(513)),
	} {
		t.Run(name, func(t *testing.T) {
			for _, stored := range []bool{false, true} {
				want, configured := `{}`, false
				if stored {
					want, configured = `{"kept":1.0}`, true
					save(t, reg, "c_p", json.RawMessage(want))
				} else if err := reg.DeleteConfig(t.Context(), "c_p"); err != nil {
					t.Fatal(err)
				}
				_, err := reg.SaveConfig(t.Context(), "c_p", config)
				_, all := reg.SaveConfigs(t.Context(), map[string]any{"c_p": config, "c_other": map[string]any{}})
				for _, err := range []error{err, all, reg.Validate(t.Context(), "c_p", config)} {
					switch {
					case !errors.Is(err, store.ErrInvalidConfig) || !strings.Contains(err.Error(), `"c_p"`) || len(err.Error()) > 2000:
						t.Errorf("the error is %.600v", err)
					case strings.Contains(err.Error(), value) && !strings.Contains(name, "key"):
						t.Errorf("the error shows a value: %v", err)
					}
				}
				if rec := load(t, reg, "c_p"); string(rec.Config) != want || isConfigured(t, reg, "c_p") != configured {
					t.Errorf("afterwards there is %.100s, the flag is %t", rec.Config, isConfigured(t, reg, "c_p"))
				}
				if rec := load(t, reg, "c_other"); rec.Revision != store.Absent {
					t.Error("another config of the batch was saved")
				}
			}
		})
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	reg := newPlugin(t, `{}`)
	for config, pointer := range map[string]string{
		`{"a": {"b/c": [0, {"x~": 1, "x~": 2}]}}`: `"/a/b~1c/1/x~0"`,
		`{"a": [1, 2, "\ud800"]}`:                 `"/a/2"`,
		`{"a": tru}`:                              `"/a"`,
	} {
		_, err := reg.SaveConfig(t.Context(), "c_p", json.RawMessage(config))
		if err == nil || !strings.Contains(err.Error(), pointer) {
			t.Errorf("the error is %v, it does not name %s", err, pointer)
		}
	}
}

func TestBadIDs(t *testing.T) {
	reg := registry.New(memory.New())
	for _, id := range []string{"", "a\x00b", "a\xff", strings.Repeat("x", store.MaxID+1), strings.Repeat("_", 1<<22)} {
		_, load := reg.LoadConfig(t.Context(), id)
		_, save := reg.SaveConfig(t.Context(), id, map[string]any{})
		_, update := reg.UpdateConfig(t.Context(), id, func(store.Record) (any, error) { return map[string]any{}, nil })
		_, all := reg.SaveConfigs(t.Context(), map[string]any{id: map[string]any{}})
		for doing, err := range map[string]error{"loading": load, "saving": save, "updating": update, "saving all": all,
			"deleting": reg.DeleteConfig(t.Context(), id)} {
			if !errors.Is(err, store.ErrInvalidID) || len(err.Error()) > 700 {
				t.Errorf("%s with an ID of %d bytes: %.700v", doing, len(id), err)
			}
		}
	}
	longest := strings.Repeat("x", store.MaxID)
	save(t, reg, longest, map[string]any{"a": 1})
	save(t, reg, "../x", map[string]any{"b": 1})
	if got := string(load(t, reg, longest).Config) + string(load(t, reg, "../x").Config); got != `{"a":1}{"b":1}` {
		t.Errorf("loaded %s", got)
	}
}

func TestConfigBytesAreTheCallersOwn(t *testing.T) {
	reg, _ := newSpied()
	given := json.RawMessage(`{"a":1}`)
	saved := save(t, reg, "c_p", given)
	for _, bytes := range [][]byte{given, saved.Config, load(t, reg, "c_p").Config} {
		bytes[2] = '!'
		if got := load(t, reg, "c_p").Config; string(got) != `{"a":1}` {
			t.Errorf("the stored config is now %s", got)
		}
	}
}

func TestIfRevision(t *testing.T) {
	reg, _ := newSpied()
	ctx := t.Context()
	register(t, reg, "c", finding("p"))
	conflict := func(err error, current store.Revision) {
		t.Helper()
		c, ok := errors.AsType[*store.ConflictError](err)
		if !ok || c.Current != current || !errors.Is(err, store.ErrConflict) {
			t.Errorf("the error is %v, not a conflict with revision %q", err, current)
		}
	}
	_, err := reg.SaveConfig(ctx, "c_p", map[string]any{}, registry.IfRevision("1"))
	conflict(err, store.Absent)
	if isConfigured(t, reg, "c_p") {
		t.Error("a save that did not happen set the flag")
	}
	first, err := reg.SaveConfig(ctx, "c_p", map[string]any{"a": 1}, registry.IfRevision(store.Absent))
	if err != nil {
		t.Fatal(err)
	}
	_, err = reg.SaveConfig(ctx, "c_p", map[string]any{"a": 2}, registry.IfRevision(store.Absent))
	conflict(err, first.Revision)
	second, err := reg.SaveConfig(ctx, "c_p", map[string]any{"a": 3}, registry.IfRevision(first.Revision))
	if err != nil {
		t.Fatal(err)
	}
	conflict(reg.DeleteConfig(ctx, "c_p", registry.IfRevision(first.Revision)), second.Revision)
	if got := load(t, reg, "c_p"); string(got.Config) != `{"a":3}` || !isConfigured(t, reg, "c_p") {
		t.Errorf("there is %s, the flag is %t", got.Config, isConfigured(t, reg, "c_p"))
	}
	if err := reg.DeleteConfig(ctx, "c_p", registry.IfRevision(second.Revision)); err != nil || isConfigured(t, reg, "c_p") {
		t.Errorf("deleting with the revision: %v, the flag is %t", err, isConfigured(t, reg, "c_p"))
	}
}

func TestUpdateConfigLosesNothing(t *testing.T) {
	reg, st := newSpied()
	st.yields = true
	const goroutines, updates = 4, 25
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range updates {
				_, err := reg.UpdateConfig(t.Context(), "c_p", func(rec store.Record) (any, error) {
					var config struct{ N int }
					err := rec.Decode(&config)
					config.N++
					return config, err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := load(t, reg, "c_p").Config; string(got) != fmt.Sprintf(`{"N":%d}`, goroutines*updates) {
		t.Errorf("after %d updates there is %s", goroutines*updates, got)
	}
	_, err := reg.UpdateConfig(t.Context(), "c_p", func(store.Record) (any, error) { return nil, errBroken })
	if !errors.Is(err, errBroken) {
		t.Errorf("the error of edit comes back as %v", err)
	}
}

func TestSaveConfigs(t *testing.T) {
	reg, st := newSpied()
	register(t, reg, "c", finding("a", "b"))
	// The spy hides what else the store can do.
	if _, err := reg.SaveConfigs(t.Context(), map[string]any{"c_a": map[string]any{}}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("over a store that is no Batcher: %v", err)
	}
	if isConfigured(t, reg, "c_a") {
		t.Error("a batch that was not saved set a flag")
	}
	reg = registry.New(st.Store)
	register(t, reg, "c", finding("a", "b", "c"))
	recs, err := reg.SaveConfigs(t.Context(), map[string]any{"c_b": map[string]any{"n": 2}, "c_a": json.RawMessage(`{ "n": 1.0 }`)})
	if err != nil || len(recs) != 2 || recs[0].ID != "c_a" || string(recs[0].Config) != `{"n":1.0}` || string(recs[1].Config) != `{"n":2}` {
		t.Errorf("SaveConfigs returned %v, %v", recs, err)
	}
	if !isConfigured(t, reg, "c_a") || !isConfigured(t, reg, "c_b") || isConfigured(t, reg, "c_c") {
		t.Error("the flags are wrong")
	}
	if recs, err := reg.SaveConfigs(t.Context(), nil); err != nil || len(recs) != 0 {
		t.Errorf("saving nothing: %v, %v", recs, err)
	}
}

// One config that cannot be read is the matter of its own plugin.
func TestCorruptConfig(t *testing.T) {
	reg, st := newSpied()
	register(t, reg, "c", finding("bad", "good"))
	save(t, reg, "c_bad", map[string]any{})
	save(t, reg, "c_good", map[string]any{})
	st.failGet = func(id string) error {
		if id == "c_bad" {
			return &store.Error{Op: "get", ID: id, Err: store.ErrCorrupt}
		}
		return nil
	}
	if rec, err := reg.LoadConfig(t.Context(), "c_bad"); !errors.Is(err, store.ErrCorrupt) || rec.Config != nil {
		t.Errorf("it loads as %s, %v", rec.Config, err)
	}
	_, err := reg.UpdateConfig(t.Context(), "c_bad", func(store.Record) (any, error) {
		t.Error("edit was called")
		return nil, nil
	})
	if !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("updating it: %v", err)
	}
	if err := errors.Join(reg.Sync(t.Context()), reg.Refresh(t.Context())); err != nil {
		t.Error(err)
	}
	if got := idsOf(reg.Plugins().Configured()); !slices.Equal(got, []string{"c_bad", "c_good"}) {
		t.Errorf("configured are %v", got)
	}
	load(t, reg, "c_good")
}

func TestEndedContext(t *testing.T) {
	reg, st := newSpied()
	register(t, reg, "c", finding("p"))
	save(t, reg, "c_p", map[string]any{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, load := reg.LoadConfig(ctx, "c_p")
	_, save := reg.SaveConfig(ctx, "c_p", map[string]any{"a": 1})
	_, update := reg.UpdateConfig(ctx, "c_p", func(store.Record) (any, error) { return nil, nil })
	for doing, err := range map[string]error{"loading": load, "saving": save, "updating": update, "deleting": reg.DeleteConfig(ctx, "c_p"),
		"refreshing": reg.Refresh(ctx), "Sync": reg.Sync(ctx)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", doing, err)
		}
	}
	if rec, err := st.Store.Get(t.Context(), "c_p"); err != nil || string(rec.Config) != `{}` || !isConfigured(t, reg, "c_p") {
		t.Errorf("there is %s, %v, the flag is %t", rec.Config, err, isConfigured(t, reg, "c_p"))
	}
}
