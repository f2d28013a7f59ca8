package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

func TestNewDoesNoIO(t *testing.T) {
	reg, st := newSpied()
	if n := st.calls.Load(); n != 0 {
		t.Errorf("New called the store %d times", n)
	}
	if len(reg.Plugins()) != 0 || len(reg.Categories()) != 0 || len(reg.CategoriesWithPlugins()) != 0 || reg.PluginsIn("a") != nil {
		t.Error("a new registry is not empty")
	}
	if _, ok := reg.Plugin("a_b"); ok {
		t.Error("a new registry has a plugin")
	}
	if _, ok := reg.Manager("a"); ok {
		t.Error("a new registry has a manager")
	}
	if err := reg.Refresh(t.Context()); err != nil {
		t.Errorf("refreshing nothing: %v", err)
	}
	if n := st.calls.Load(); n != 0 {
		t.Errorf("asking for metadata called the store %d times", n)
	}
}

func TestRegisterAsksTheStoreOnce(t *testing.T) {
	reg, st := newSpied()
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprint("p", i))
	}
	register(t, reg, "c", finding(names...))
	if n := st.calls.Load(); n != 1 {
		t.Errorf("registering %d plugins called the store %d times, not once", len(names), n)
	}
	reg.Plugins()
	reg.Plugin("c_p1")
	if n := st.calls.Load(); n != 1 {
		t.Error("reading metadata called the store")
	}
}

// What a reader sees of a category while it is discovered again is all old, at every point where others get to run.
func TestPublishedAtOnce(t *testing.T) {
	reg, st := newSpied()
	before := finding("a", "b")
	register(t, reg, "c", before, registry.WithDisplayName("Before"))
	save(t, reg, "c_x", map[string]any{})

	looked := 0
	look := func() {
		looked++
		m, _ := reg.Manager("c")
		if names := namesOf(reg.PluginsIn("c")); !slices.Equal(names, []string{"a", "b"}) || m != registry.Manager(before) ||
			reg.DisplayName("c") != "Before" {
			t.Errorf("half-way a reader sees the plugins %v, the manager %p, the display name %q", names, m, reg.DisplayName("c"))
		}
		if _, ok := reg.Plugin("c_x"); ok {
			t.Error("half-way a reader sees a new plugin")
		}
		if names := reg.Categories(); !slices.Equal(names, []string{"c"}) {
			t.Errorf("half-way a reader sees the categories %v", names)
		}
	}
	st.afterList = look
	after := &fakeManager{
		discover: func(context.Context) ([]registry.Info, error) { look(); return infosOf("x", "y", "b"), nil },
		schema:   func(context.Context, string) (json.RawMessage, error) { look(); return json.RawMessage(`{}`), nil },
	}
	got := register(t, reg, "c", after, registry.WithDisplayName("After"))
	if looked != 5 {
		t.Errorf("looked %d times, not once in Discover, for each of three schemas, and in Configured", looked)
	}
	if names := namesOf(reg.PluginsIn("c")); !slices.Equal(names, []string{"x", "y", "b"}) || reg.DisplayName("c") != "After" {
		t.Errorf("afterwards there are the plugins %v, the display name %q", names, reg.DisplayName("c"))
	}
	if !reflect.DeepEqual(got, reg.PluginsIn("c")) {
		t.Errorf("RegisterManager returned %v, PluginsIn %v", got, reg.PluginsIn("c"))
	}
	if !isConfigured(t, reg, "c_x") || isConfigured(t, reg, "c_y") {
		t.Error("the flags are not those of the store")
	}
}

func TestManagerMayCallBack(t *testing.T) {
	reg, _ := newSpied()
	ctx := t.Context()
	register(t, reg, "other", finding("o"))
	callBack := func() {
		if _, err := reg.SaveConfig(ctx, "outer_p", map[string]any{"a": 1}); err != nil {
			t.Error(err)
		}
		if _, err := reg.RegisterManager(ctx, "inner", finding("i")); err != nil {
			t.Error(err)
		}
		if err := errors.Join(reg.Refresh(ctx, "other"), reg.Sync(ctx), reg.DeleteConfig(ctx, "other_o")); err != nil {
			t.Error(err)
		}
		reg.Plugins()
	}
	plugins := register(t, reg, "outer", &fakeManager{
		discover: func(context.Context) ([]registry.Info, error) { callBack(); return infosOf("p"), nil },
		schema:   func(context.Context, string) (json.RawMessage, error) { callBack(); return json.RawMessage(`{}`), nil },
	})
	if !plugins[0].Configured {
		t.Error("a config that the manager saved while it was discovering is not flagged")
	}
	if got := reg.Categories(); !slices.Equal(got, []string{"inner", "other", "outer"}) {
		t.Errorf("the categories are %v", got)
	}

	// A manager that registers another one for its own category has begun before it, so the other one stays.
	register(t, reg, "own", &fakeManager{discover: func(context.Context) ([]registry.Info, error) {
		_, err := reg.RegisterManager(ctx, "own", finding("inner"))
		return infosOf("outer"), err
	}})
	if got := idsOf(reg.PluginsIn("own")); !slices.Equal(got, []string{"own_inner"}) {
		t.Errorf("the category that registered itself again has %v", got)
	}
}

func TestDisplayName(t *testing.T) {
	reg, _ := newSpied()
	for category, want := range map[string]string{
		"":                 "",
		"image_generation": "Image_Generation",
		"o'neil":           "O'Neil",
		"llm2x":            "Llm2X",
		"ÜBER text":        "Über Text",
		"ǆ":                "ǅ",
		"ﬁne_tuning":       "Fine_Tuning",
		"ΑΣ ΣΑΣ":           "Ας Σας",
		"ŉx":               "ʼNx",
		"aªb":              "Aªb",
		"日本語":              "日本語",
		"\xff":             "\xff",
		" _ ":              " _ ",
	} {
		if got := reg.DisplayName(category); got != want {
			t.Errorf("DisplayName(%q) of an unknown category = %q, want %q", category, got, want)
		}
		if category == "" || category == "\xff" {
			continue
		}
		register(t, reg, category, finding())
		if got := reg.DisplayName(category); got != want {
			t.Errorf("DisplayName(%q) = %q, want %q", category, got, want)
		}
		register(t, reg, category, finding(), registry.WithDisplayName("for people"))
		if got := reg.DisplayName(category); got != "for people" {
			t.Errorf("DisplayName(%q) with an option = %q", category, got)
		}
		if err := reg.Refresh(t.Context(), category); err != nil || reg.DisplayName(category) != "for people" {
			t.Errorf("after Refresh DisplayName(%q) = %q, error %v", category, reg.DisplayName(category), err)
		}
		register(t, reg, category, finding(), registry.WithDisplayName(""))
		if got := reg.DisplayName(category); got != want {
			t.Errorf("DisplayName(%q) after a registration with an empty option = %q, want %q", category, got, want)
		}
	}
}

func TestTitleAndDescription(t *testing.T) {
	said := registry.Info{Name: "p", Title: "Said", Description: "as the manager says"}
	for _, test := range []struct{ schema, title, description, saidTitle, saidDescription string }{
		{`{}`, "p", "", "Said", "as the manager says"},
		{`{"title": "T", "description": "D"}`, "T", "D", "T", "D"},
		{`{"title": "", "description": ""}`, "p", "", "Said", ""},
		{`{"title": 3, "description": 4}`, "p", "", "Said", "as the manager says"},
		{`{"title": null, "description": ["D"]}`, "p", "", "Said", "as the manager says"},
		{`{"title": ["T"], "description": {"a": "D"}}`, "p", "", "Said", "as the manager says"},
		{" \n{\"title\": \"\\u00dcber \\\"x\\\"\", \"description\": \"\\ud83d\\ude00\"}\t", "Über \"x\"", "😀", "Über \"x\"", "😀"},
		{`{"properties": {"title": {"title": "inner"}}, "title": "T"}`, "T", "", "T", "as the manager says"},
		{`{"title": "first", "title": "last"}`, "last", "", "last", "as the manager says"},
		{`null`, "p", "", "Said", "as the manager says"},
		{`[{"title": "T"}]`, "p", "", "Said", "as the manager says"},
	} {
		schema := func(context.Context, string) (json.RawMessage, error) { return json.RawMessage(test.schema), nil }
		reg, _ := newSpied()
		plain, full := finding("p"), describing(said)
		plain.schema, full.schema = schema, schema
		if p := register(t, reg, "plain", plain)[0]; p.Title != test.title || p.Description != test.description {
			t.Errorf("schema %s: title %q, description %q; want %q, %q", test.schema, p.Title, p.Description, test.title, test.description)
		}
		if p := register(t, reg, "full", full)[0]; p.Title != test.saidTitle || p.Description != test.saidDescription {
			t.Errorf("schema %s beside %+v: title %q, description %q; want %q, %q",
				test.schema, said, p.Title, p.Description, test.saidTitle, test.saidDescription)
		}
	}
}

func TestInfoBecomesPlugin(t *testing.T) {
	reg, _ := newSpied()
	const schema = `{"title": "Title", "type": "object"}`
	m := describing(registry.Info{Name: "n", Version: "1.2", ExecutionMode: registry.ModeDocker, Resources: resources()},
		registry.Info{Name: "bare"})
	m.schema = func(context.Context, string) (json.RawMessage, error) { return json.RawMessage(schema), nil }
	save(t, reg, "c_n", map[string]any{})
	got := register(t, reg, "c", m)
	want := registry.Plugins{
		{Category: "c", Name: "n", Title: "Title", Version: "1.2", Schema: json.RawMessage(schema), Configured: true,
			ExecutionMode: registry.ModeDocker, Resources: resources()},
		{Category: "c", Name: "bare", Title: "Title", Schema: json.RawMessage(schema), ExecutionMode: registry.ModeInProcess},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("registered\n%+v, want\n%+v", got, want)
	}
	for _, want := range want {
		if got, ok := reg.Plugin(want.ID()); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("Plugin(%q) =\n%+v, want\n%+v", want.ID(), got, want)
		}
	}
}

func TestUnusableSchemas(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 600) + "1" + strings.Repeat("}", 600)
	for name, schema := range map[string]func() (json.RawMessage, error){
		"the lookup fails": func() (json.RawMessage, error) { return nil, errBroken },
		"the lookup fails beside a schema": func() (json.RawMessage, error) {
			return json.RawMessage(`{"title": "T"}`), errBroken
		},
		"the lookup panics": func() (json.RawMessage, error) { panic(errBroken) },
		"nil":               func() (json.RawMessage, error) { return nil, nil },
		"empty":             func() (json.RawMessage, error) { return json.RawMessage{}, nil },
		"white space":       func() (json.RawMessage, error) { return json.RawMessage(" \n"), nil },
		"null":              func() (json.RawMessage, error) { return json.RawMessage("null"), nil },
		"null with space":   func() (json.RawMessage, error) { return json.RawMessage(" null "), nil },
		"cut off":           func() (json.RawMessage, error) { return json.RawMessage("{"), nil },
		"something behind":  func() (json.RawMessage, error) { return json.RawMessage(`{} {}`), nil },
		"array":             func() (json.RawMessage, error) { return json.RawMessage("[]"), nil },
		"true":              func() (json.RawMessage, error) { return json.RawMessage("true"), nil },
		"number":            func() (json.RawMessage, error) { return json.RawMessage("1e9"), nil },
		"string":            func() (json.RawMessage, error) { return json.RawMessage(`"{}"`), nil },
		"byte order mark":   func() (json.RawMessage, error) { return json.RawMessage("\ufeff{}"), nil },
		"not UTF-8":         func() (json.RawMessage, error) { return json.RawMessage("{\"title\": \"\xff\"}"), nil },
		"lone surrogate":    func() (json.RawMessage, error) { return json.RawMessage(`{"title": "\ud800"}`), nil },
		"too deep":          func() (json.RawMessage, error) { return json.RawMessage(deep), nil },
		"too long": func() (json.RawMessage, error) {
			return json.RawMessage(`{"title": "` + strings.Repeat("x", 17<<20) + `"}`), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			reg, _ := newSpied()
			m := finding("before", "bad", "after")
			m.schema = func(_ context.Context, name string) (json.RawMessage, error) {
				if name == "bad" {
					return schema()
				}
				return json.RawMessage(`{"title": "Good"}`), nil
			}
			plugins := register(t, reg, "c", m)
			if got := namesOf(plugins); !slices.Equal(got, []string{"before", "bad", "after"}) {
				t.Fatalf("registered %v", got)
			}
			for i, p := range plugins {
				if bad := i == 1; bad != (p.SchemaErr != nil) || bad != (p.Schema == nil) || bad != (p.Title == p.Name) {
					t.Errorf("%s: SchemaErr %v, schema of %d bytes, title of %d bytes", p.Name, p.SchemaErr, len(p.Schema), len(p.Title))
				}
			}
			err := plugins[1].SchemaErr
			if err == nil || !strings.Contains(err.Error(), `"c_bad"`) {
				t.Errorf("SchemaErr %v does not name the plugin", err)
			}
			if strings.HasSuffix(name, "fails") && !errors.Is(err, errBroken) {
				t.Errorf("SchemaErr %v does not wrap what the manager said", err)
			}
			// The plugin is usable all the same.
			save(t, reg, "c_bad", map[string]any{"a": 1})
			if !isConfigured(t, reg, "c_bad") {
				t.Error("it is not configured after a save")
			}
		})
	}
}

func TestBadNames(t *testing.T) {
	long := strings.Repeat("x", store.MaxID-len("c_"))
	for _, test := range []struct {
		name    string
		names   []string
		stay    []string
		failing int
		is      error
	}{
		{"empty", []string{"a", "", "b"}, []string{"a", "b"}, 1, store.ErrInvalidID},
		{"not UTF-8", []string{"a\xff", "b"}, []string{"b"}, 1, store.ErrInvalidID},
		{"NUL", []string{"b", "a\x00"}, []string{"b"}, 1, store.ErrInvalidID},
		{"too long", []string{long, long + "y", strings.Repeat("z", 1<<20)}, []string{long}, 2, store.ErrInvalidID},
		{"only bad ones", []string{"", ""}, nil, 2, store.ErrInvalidID},
		{"twice", []string{"a", "b", "a", "a"}, []string{"a", "b"}, 2, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			reg, _ := newSpied()
			infos := infosOf(test.names...)
			for i := range infos {
				infos[i].Version = fmt.Sprint(i)
			}
			plugins, err := reg.RegisterManager(t.Context(), "c", describing(infos...))
			failed, ok := errors.AsType[*registry.DiscoveryError](err)
			if !ok || failed.Category != "c" || len(failed.Failures) != test.failing {
				t.Fatalf("the error is %v, not a DiscoveryError of c with %d failures", err, test.failing)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("the error %v is not %v", err, test.is)
			}
			if got := namesOf(plugins); !slices.Equal(got, test.stay) {
				t.Errorf("returned %d plugins, want %d", len(got), len(test.stay))
			}
			if got := namesOf(reg.Plugins()); !slices.Equal(got, test.stay) {
				t.Errorf("registered %d plugins, want %d", len(got), len(test.stay))
			}
			if test.name == "twice" {
				if p, _ := reg.Plugin("c_a"); p.Version != "0" {
					t.Errorf("of the same name number %s stayed, not the first", p.Version)
				}
			}
		})
	}
}

func TestBadCategoriesAndManagers(t *testing.T) {
	reg, st := newSpied()
	asked := &fakeManager{discover: func(context.Context) ([]registry.Info, error) {
		t.Error("the manager was asked")
		return nil, nil
	}}
	for _, category := range []string{"", "a\x00b", "a\xff", strings.Repeat("x", 511), strings.Repeat("é", 1<<20)} {
		_, err := reg.RegisterManager(t.Context(), category, asked)
		if err == nil || len(err.Error()) > 300 {
			t.Errorf("a category of %d bytes: error %.300v", len(category), err)
		}
	}
	if _, err := reg.RegisterManager(t.Context(), "c", nil); err == nil {
		t.Error("a nil manager was registered")
	}
	var none *fakeManager
	if _, err := reg.RegisterManager(t.Context(), "c", none); err == nil {
		t.Error("a manager that is a nil pointer was registered")
	}
	if got := reg.Categories(); len(got) != 0 || st.calls.Load() != 0 {
		t.Errorf("the categories are %v, the store was called %d times", got, st.calls.Load())
	}
	longest := strings.Repeat("x", 510)
	if got := register(t, reg, longest, finding("n")); len(got[0].ID()) != store.MaxID {
		t.Errorf("the longest category gives an ID of %d bytes", len(got[0].ID()))
	}
}

func TestIDConflicts(t *testing.T) {
	type step struct {
		category string
		finds    []string
		refused  int      // how many of them
		ids      []string // what there is afterwards
	}
	for name, steps := range map[string][]step{
		"the shorter category is first": {
			{"a", []string{"b_c", "x"}, 0, []string{"a_b_c", "a_x"}},
			{"a_b", []string{"c", "y"}, 1, []string{"a_b_c", "a_x", "a_b_y"}},
		},
		"the longer category is first": {
			{"a_b", []string{"c", "y"}, 0, []string{"a_b_c", "a_b_y"}},
			{"a", []string{"b_c", "x"}, 1, []string{"a_b_c", "a_b_y", "a_x"}},
		},
		"three": {
			{"a_b", []string{"c_d"}, 0, []string{"a_b_c_d"}},
			{"a", []string{"b_c_d"}, 1, []string{"a_b_c_d"}},
			{"a_b_c", []string{"d"}, 1, []string{"a_b_c_d"}},
		},
		"found again after the first has left": {
			{"a", []string{"b_c"}, 0, []string{"a_b_c"}},
			{"a_b", []string{"c"}, 1, []string{"a_b_c"}},
			{"a", nil, 0, nil},
			{"a_b", []string{"c"}, 0, []string{"a_b_c"}},
			{"a", []string{"b_c"}, 1, []string{"a_b_c"}},
		},
		"registered again it is not its own conflict": {
			{"a", []string{"b_c"}, 0, []string{"a_b_c"}},
			{"a", []string{"b_c", "b_d"}, 0, []string{"a_b_c", "a_b_d"}},
		},
		"underscores at the ends": {
			{"_", []string{"_"}, 0, []string{"___"}},
			{"__", []string{""}, 1, []string{"___"}},
			{"a_", []string{"b"}, 0, []string{"___", "a__b"}},
			{"a", []string{"_b"}, 1, []string{"___", "a__b"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			reg, _ := newSpied()
			found := map[string][]string{}
			for n, s := range steps {
				_, err := reg.RegisterManager(t.Context(), s.category, finding(s.finds...))
				refused := 0
				if failed, ok := errors.AsType[*registry.DiscoveryError](err); ok {
					refused = len(failed.Failures)
				}
				if refused != s.refused || refused > 0 && !slices.Contains(s.finds, "") && !errors.Is(err, registry.ErrIDConflict) {
					t.Errorf("step %d: %v; want %d conflicts", n, err, s.refused)
				}
				if got := idsOf(reg.Plugins()); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(s.ids))) {
					t.Errorf("step %d: the IDs are %v, want %v", n, got, s.ids)
				}
				found[s.category] = s.finds
			}
			// Discovering again changes nothing: the one that is there stays.
			before := reg.Plugins()
			for range 2 {
				if err := reg.Refresh(t.Context()); err != nil && !errors.As(err, new(*registry.DiscoveryError)) {
					t.Errorf("refreshing: %v", err)
				}
			}
			if !reflect.DeepEqual(reg.Plugins(), before) {
				t.Errorf("after Refresh there are %v, before there were %v", idsOf(reg.Plugins()), idsOf(before))
			}
			for _, p := range before {
				if got, ok := reg.Plugin(p.ID()); !ok || got.Category != p.Category || got.Name != p.Name {
					t.Errorf("Plugin(%q) is %q of %q, %t", p.ID(), got.Name, got.Category, ok)
				}
			}
		})
	}
}

// A failing discovery leaves the category as it was, whatever fails.
func TestFailedDiscoveryChangesNothing(t *testing.T) {
	broken := &fakeManager{discover: func(context.Context) ([]registry.Info, error) { return nil, errBroken }}
	panicking := &fakeManager{discover: func(context.Context) ([]registry.Info, error) { panic(errBroken) }}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		m    *fakeManager
		ctx  context.Context
		list error // of the store
		is   error
	}{
		"error":                    {broken, t.Context(), nil, errBroken},
		"panic":                    {panicking, t.Context(), nil, nil},
		"the context has ended":    {finding("new"), ended, nil, context.Canceled},
		"the store cannot be read": {finding("new"), t.Context(), errBroken, errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			reg, st := newSpied()
			was := finding("old")
			register(t, reg, "there", was, registry.WithDisplayName("Was"))
			save(t, reg, "there_old", map[string]any{})
			before := reg.Plugins()
			st.failList = test.list
			for _, category := range []string{"there", "absent"} {
				plugins, err := reg.RegisterManager(test.ctx, category, test.m, registry.WithDisplayName("Is"))
				if err == nil || plugins != nil || errors.As(err, new(*registry.DiscoveryError)) {
					t.Errorf("registering %q: %v, %v; want no plugins and an error that is no DiscoveryError", category, plugins, err)
				}
				if test.is != nil && !errors.Is(err, test.is) {
					t.Errorf("registering %q: %v, want %v", category, err, test.is)
				}
				if err != nil && !strings.Contains(err.Error(), `"`+category+`"`) {
					t.Errorf("the error %v does not name the category", err)
				}
			}
			m, _ := reg.Manager("there")
			if got := reg.Plugins(); !reflect.DeepEqual(got, before) || m != registry.Manager(was) || reg.DisplayName("there") != "Was" {
				t.Errorf("afterwards there is %v, %p, %q", got, m, reg.DisplayName("there"))
			}
			if got := reg.Categories(); !slices.Equal(got, []string{"there"}) {
				t.Errorf("the categories are %v", got)
			}
			// The registry is not left locked, and the same category can be registered.
			st.failList = nil
			register(t, reg, "absent", finding("new"))
		})
	}
}

// No more is asked when the context ends, and nothing of what was found until then is published.
func TestDiscoveryStopsWithTheContext(t *testing.T) {
	reg, st := newSpied()
	st.patient = true
	for range 20 { // who waits and is told to give up may do either
		ctx, cancel := context.WithCancel(t.Context())
		m := finding("a", "b", "c")
		asked := 0
		m.schema = func(context.Context, string) (json.RawMessage, error) {
			asked++
			cancel()
			return json.RawMessage(`{}`), nil
		}
		if _, err := reg.RegisterManager(ctx, "c", m); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
		if asked != 1 || len(reg.Categories()) != 0 {
			t.Errorf("%d schemas were asked for, the categories are %v", asked, reg.Categories())
		}
	}
}

func TestSomeSourcesFail(t *testing.T) {
	reg, _ := newSpied()
	m := &fakeManager{discover: func(context.Context) ([]registry.Info, error) { return infosOf("a", "", "b"), errBroken }}
	for _, registering := range []bool{true, false} {
		var plugins registry.Plugins
		var err error
		if registering {
			plugins, err = reg.RegisterManager(t.Context(), "c", m)
		} else {
			err = reg.Refresh(t.Context())
			plugins = reg.Plugins()
		}
		failed, ok := errors.AsType[*registry.DiscoveryError](err)
		if !ok || len(failed.Failures) != 2 || !errors.Is(err, errBroken) || !errors.Is(err, store.ErrInvalidID) {
			t.Errorf("the error is %v", err)
		}
		if got := namesOf(plugins); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("registered %v", got)
		}
	}
}

func TestNoPluginsIsNoError(t *testing.T) {
	reg, _ := newSpied()
	register(t, reg, "b", finding("p"))
	register(t, reg, "a", finding())
	asked := false
	lazy := &fakeManager{discover: func(context.Context) ([]registry.Info, error) { asked = true; return infosOf("q"), nil }}
	if got := register(t, reg, "c", lazy, registry.WithoutDiscovery()); asked || got != nil {
		t.Errorf("WithoutDiscovery asked the manager: %t, and returned %v", asked, got)
	}
	if got := reg.Categories(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("Categories = %v", got)
	}
	if got := reg.CategoriesWithPlugins(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("CategoriesWithPlugins = %v", got)
	}
	if err := reg.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
	if got := reg.CategoriesWithPlugins(); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("CategoriesWithPlugins after Refresh = %v", got)
	}
	register(t, reg, "b", finding("p"), registry.WithoutDiscovery())
	if got := reg.CategoriesWithPlugins(); !slices.Equal(got, []string{"c"}) {
		t.Errorf("CategoriesWithPlugins after b was registered without discovery = %v", got)
	}
}

func TestRegisterAgainReplaces(t *testing.T) {
	reg, _ := newSpied()
	register(t, reg, "c", finding("a", "b"), registry.WithDisplayName("First"))
	register(t, reg, "d", finding("z"))
	save(t, reg, "c_a", map[string]any{"kept": 1})
	save(t, reg, "c_b", map[string]any{})

	second := finding("b", "n")
	register(t, reg, "c", second)
	if m, _ := reg.Manager("c"); m != registry.Manager(second) {
		t.Error("the manager was not replaced")
	}
	if m, ok := registry.ManagerAs[*fakeManager](reg, "c"); !ok || m != second {
		t.Error("ManagerAs does not give the manager")
	}
	if _, ok := registry.ManagerAs[*memory.Store](reg, "c"); ok {
		t.Error("ManagerAs gives the manager as what it is not")
	}
	if _, ok := registry.ManagerAs[registry.Manager](reg, "unknown"); ok {
		t.Error("ManagerAs gives a manager that is not there")
	}
	if got := reg.DisplayName("c"); got != "C" {
		t.Errorf("the display name is %q", got)
	}
	if got := idsOf(reg.Plugins()); !slices.Equal(got, []string{"c_b", "c_n", "d_z"}) {
		t.Errorf("the plugins are %v", got)
	}
	if _, ok := reg.Plugin("c_a"); ok {
		t.Error("a plugin that has gone is still there")
	}
	if !isConfigured(t, reg, "c_b") || isConfigured(t, reg, "c_n") {
		t.Error("the flags are wrong")
	}
	if rec, err := reg.LoadConfig(t.Context(), "c_a"); err != nil || string(rec.Config) != `{"kept":1}` {
		t.Errorf("the config of a plugin that has gone is %s, %v", rec.Config, err)
	}
	register(t, reg, "c", finding("a"))
	if !isConfigured(t, reg, "c_a") {
		t.Error("a plugin that has come back is not configured any more")
	}
}

func TestRefresh(t *testing.T) {
	reg, _ := newSpied()
	names := map[string][]string{"a": {"1"}, "b": {"1"}, "c": {"1"}}
	broken := map[string]bool{}
	for category := range names {
		register(t, reg, category, &fakeManager{discover: func(context.Context) ([]registry.Info, error) {
			if broken[category] {
				return nil, errBroken
			}
			return infosOf(names[category]...), nil
		}})
		save(t, reg, category+"_1", map[string]any{})
		names[category] = []string{"2"}
	}
	check := func(what string, want ...string) {
		t.Helper()
		if got := slices.Sorted(slices.Values(idsOf(reg.Plugins()))); !slices.Equal(got, want) {
			t.Errorf("%s: the plugins are %v, want %v", what, got, want)
		}
	}
	if err := reg.Refresh(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	check("refreshing a", "a_2", "b_1", "c_1")

	broken["b"] = true
	if err := reg.Refresh(t.Context()); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("refreshing with a broken category: %v", err)
	}
	check("refreshing all with b broken", "a_2", "b_1", "c_2")
	if !isConfigured(t, reg, "b_1") {
		t.Error("a failed refresh lost the flag")
	}

	names["c"] = []string{"1", "2"}
	err := reg.Refresh(t.Context(), "unknown", "c")
	if !errors.Is(err, registry.ErrUnknownCategory) || !strings.Contains(err.Error(), `"unknown"`) {
		t.Errorf("refreshing an unknown category: %v", err)
	}
	check("refreshing after an unknown one", "a_2", "b_1", "c_1", "c_2")
	if !isConfigured(t, reg, "c_1") || isConfigured(t, reg, "c_2") {
		t.Error("after coming back the flags are wrong")
	}
}

// Of what is under way together in one category the registration begun last counts, and a refresh never undoes a registration.
func TestBegunLastStays(t *testing.T) {
	ctx := t.Context()
	// blocked is a manager whose second and later discoveries wait.
	blocked := func(name string, at int) (m *fakeManager, begun, goOn chan struct{}) {
		begun, goOn = make(chan struct{}), make(chan struct{})
		calls := 0
		return &fakeManager{discover: func(context.Context) ([]registry.Info, error) {
			calls++
			version := fmt.Sprint(calls)
			if calls == at {
				close(begun)
				<-goOn
			}
			return []registry.Info{{Name: name, Version: version}}, nil
		}}, begun, goOn
	}
	for _, test := range []struct {
		name        string
		at          int                                          // which discovery of the first manager waits
		before      func(reg *registry.Registry, m *fakeManager) // what was done earlier
		slow        func(reg *registry.Registry, m *fakeManager) error
		fast        func(reg *registry.Registry, m *fakeManager) error
		id, version string
	}{
		{"a registration during a refresh", 2,
			func(reg *registry.Registry, m *fakeManager) { register(t, reg, "c", m) },
			func(reg *registry.Registry, m *fakeManager) error { return reg.Refresh(ctx) },
			func(reg *registry.Registry, m *fakeManager) error {
				_, err := reg.RegisterManager(ctx, "c", finding("new"))
				return err
			}, "c_new", ""},
		{"a refresh during a registration", 1,
			func(reg *registry.Registry, m *fakeManager) { register(t, reg, "c", finding("old")) },
			func(reg *registry.Registry, m *fakeManager) error {
				_, err := reg.RegisterManager(ctx, "c", m)
				return err
			},
			func(reg *registry.Registry, m *fakeManager) error { return reg.Refresh(ctx) },
			"c_slow", "1"},
		{"a registration during a registration", 1,
			func(reg *registry.Registry, m *fakeManager) {},
			func(reg *registry.Registry, m *fakeManager) error {
				plugins, err := reg.RegisterManager(ctx, "c", m)
				if got := idsOf(plugins); !slices.Equal(got, []string{"c_new"}) {
					t.Errorf("the registration begun first returns %v", got)
				}
				return err
			},
			func(reg *registry.Registry, m *fakeManager) error {
				_, err := reg.RegisterManager(ctx, "c", finding("new"))
				return err
			}, "c_new", ""},
		{"a refresh during a refresh", 2,
			func(reg *registry.Registry, m *fakeManager) { register(t, reg, "c", m) },
			func(reg *registry.Registry, m *fakeManager) error { return reg.Refresh(ctx) },
			func(reg *registry.Registry, m *fakeManager) error { return reg.Refresh(ctx) },
			"c_slow", "3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			reg, _ := newSpied()
			m, begun, goOn := blocked("slow", test.at)
			test.before(reg, m)
			done := make(chan error)
			go func() { done <- test.slow(reg, m) }()
			<-begun
			if err := test.fast(reg, m); err != nil {
				t.Error(err)
			}
			close(goOn)
			if err := <-done; err != nil {
				t.Error(err)
			}
			plugins := reg.Plugins()
			if len(plugins) != 1 || plugins[0].ID() != test.id || plugins[0].Version != test.version {
				t.Errorf("there are %v, want %q in version %q", plugins, test.id, test.version)
			}
			if now, _ := reg.Manager("c"); (now == registry.Manager(m)) != (test.id == "c_slow") {
				t.Error("the manager is not that of the plugins")
			}
		})
	}
}

func TestOrder(t *testing.T) {
	reg, _ := newSpied()
	order := []string{"z", "Z", "é", "e\u0301", "\uffe5", "a", "😀", "a_b", "aa", "日"}
	for _, category := range order {
		register(t, reg, category, finding("2", "1"))
	}
	register(t, reg, "none", finding())
	register(t, reg, "Z", finding("3")) // keeps its place
	want := []string{"Z", "a", "a_b", "aa", "e\u0301", "none", "z", "é", "日", "\uffe5", "😀"}
	if got := reg.Categories(); !slices.Equal(got, want) {
		t.Errorf("Categories = %q, want %q", got, want)
	}
	want = slices.DeleteFunc(want, func(c string) bool { return c == "none" })
	if got := reg.CategoriesWithPlugins(); !slices.Equal(got, want) {
		t.Errorf("CategoriesWithPlugins = %q, want %q", got, want)
	}
	var ids []string
	for _, category := range order {
		names := []string{"2", "1"}
		if category == "Z" {
			names = []string{"3"}
		}
		for _, name := range names {
			ids = append(ids, category+"_"+name)
		}
		if got := namesOf(reg.PluginsIn(category)); !slices.Equal(got, names) {
			t.Errorf("PluginsIn(%q) = %q", category, got)
		}
	}
	if got := idsOf(reg.Plugins()); !slices.Equal(got, ids) {
		t.Errorf("Plugins = %q, want %q", got, ids)
	}
	if got := len(reg.Plugins()); got != len(ids) {
		t.Errorf("%d plugins", got)
	}
}

// What the registry returns is the caller's own, and so is what a manager has returned.
func TestReturnedValuesAreTheCallersOwn(t *testing.T) {
	reg, _ := newSpied()
	infos := []registry.Info{{Name: "p", Resources: resources()}, {Name: "q"}}
	returned := register(t, reg, "c", describing(infos...))
	register(t, reg, "d", finding("r"))
	before := reg.Plugins()

	spoil := func(plugins registry.Plugins) {
		for i := range plugins {
			p := &plugins[i]
			p.Title, p.Configured = "spoilt", true
			spoilResources(&p.Resources)
		}
		slices.Reverse(plugins)
		_ = append(plugins[:0], registry.Plugin{Name: "spoilt"})
	}
	spoilResources(&infos[0].Resources)
	infos[0].Name = "spoilt"
	spoil(returned)
	spoil(reg.Plugins())
	spoil(reg.PluginsIn("c"))
	p, _ := reg.Plugin("c_p")
	spoil(registry.Plugins{p})
	for _, names := range [][]string{reg.Categories(), reg.CategoriesWithPlugins()} {
		names[0] = "spoilt"
		_ = append(names[:1], "spoilt")
	}
	if got := reg.Plugins(); !reflect.DeepEqual(got, before) || !reflect.DeepEqual(got[0].Resources, resources()) {
		t.Errorf("the registry now has\n%+v, it had\n%+v", got, before)
	}
	for _, names := range [][]string{reg.Categories(), reg.CategoriesWithPlugins()} {
		if !slices.Equal(names, []string{"c", "d"}) {
			t.Errorf("the categories are now %v", names)
		}
	}
}

func TestOddIDs(t *testing.T) {
	reg, _ := newSpied()
	for i := range 20 { // so many that looking one up takes time in proportion to its name
		register(t, reg, strings.Repeat("c", i+1), finding("p"))
	}
	for _, id := range []string{"", "_", "c", "c_", "_p", "c_p_", "c_p\x00", "C_P", "c__p", "\xff", strings.Repeat("_", 1<<22)} {
		if p, ok := reg.Plugin(id); ok {
			t.Errorf("an ID of %d bytes is %q", len(id), p.ID())
		}
	}
}

// TestFormat: a registry can be printed while it is used, under any verb.
func TestFormat(t *testing.T) {
	reg, _ := newSpied()
	register(t, reg, "c", finding("a", "b"))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		if got := fmt.Sprintf(verb, reg); got != "registry of 2 plugins in 1 categories" {
			t.Errorf("%s: %q", verb, got)
		}
	}
	if got := fmt.Sprint(&registry.Registry{}, (*registry.Registry)(nil)); strings.Contains(got, "panic") {
		t.Errorf("%q", got)
	}
}

// TestNotMadeByNew: a registry without a store says so, whatever is called first.
func TestNotMadeByNew(t *testing.T) {
	var none *registry.Registry
	zero := &registry.Registry{}
	ctx := t.Context()
	for name, call := range map[string]func(){
		"New(nil)":        func() { registry.New(nil) },
		"nil Plugins":     func() { none.Plugins() },
		"zero Plugins":    func() { zero.Plugins() },
		"zero Plugin":     func() { zero.Plugin("a_b") },
		"nil Categories":  func() { none.Categories() },
		"zero Register":   func() { _, _ = zero.RegisterManager(ctx, "c", &fakeManager{}) },
		"zero Refresh":    func() { _ = zero.Refresh(ctx) },
		"zero LoadConfig": func() { _, _ = zero.LoadConfig(ctx, "a_b") },
		"nil SaveConfig":  func() { _, _ = none.SaveConfig(ctx, "a_b", map[string]any{}) },
		"zero Delete":     func() { _ = zero.DeleteConfig(ctx, "a_b") },
		"zero Sync":       func() { _ = zero.Sync(ctx) },
		"zero Watch":      func() { zero.Watch(ctx) },
		"zero Rotate":     func() { _, _ = zero.RotateSecrets(ctx) },
		"zero History":    func() { _, _ = zero.History(ctx, "a_b", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if said, ok := recover().(string); !ok || !strings.HasPrefix(said, "registry: ") {
					t.Errorf("it says %q", said)
				}
			}()
			call()
			t.Error("it did not panic")
		})
	}
}
