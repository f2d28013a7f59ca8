package registry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

func TestConfigID(t *testing.T) {
	for _, instance := range []string{"a", "Work-2_x.y", strings.Repeat("x", registry.MaxInstance)} {
		if id, err := registry.ConfigID("llm_openai", instance); err != nil || id != "llm_openai@"+instance {
			t.Errorf("%q: %q, %v", instance, id, err)
		}
	}
	for _, instance := range []string{"", "a b", "a@b", "ä", "a/b", "a\x00", strings.Repeat("x", registry.MaxInstance+1)} {
		id, err := registry.ConfigID("llm_openai", instance)
		if e, ok := errors.AsType[*registry.Error](err); id != "" || !ok || !errors.Is(e, store.ErrInvalidID) {
			t.Errorf("%q: %q, %v", instance, id, err)
		}
	}
	for _, plugin := range []string{"", "\xff", strings.Repeat("x", store.MaxID)} {
		if _, err := registry.ConfigID(plugin, "a"); !errors.Is(err, store.ErrInvalidID) {
			t.Errorf("%.20q: %v", plugin, err)
		}
	}
}

func TestSplitConfigID(t *testing.T) {
	reg := registry.New(memory.New())
	register(t, reg, "c", finding("p", "odd@1.0", "a b@x"))
	for id, want := range map[string][2]string{
		"c_p": {"c_p", ""}, "c_p@work": {"c_p", "work"}, "c_odd@1.0": {"c_odd@1.0", ""}, "c_odd@1.0@work": {"c_odd@1.0", "work"},
		"c_p@": {}, "c_p@a b": {}, "c_odd": {}, "c_odd@2": {}, "c_q@work": {}, "": {}, "@": {}, "c_p@a@b": {}, "c_a b@x": {"c_a b@x", ""},
	} {
		plugin, instance, ok := reg.SplitConfigID(id)
		if plugin != want[0] || instance != want[1] || ok != (want[0] != "") {
			t.Errorf("%q: %q, %q, %t", id, plugin, instance, ok)
		}
	}
}

// A plugin whose ID reads as an instance of another is refused, in whichever order they come and whosever they are.
func TestIDsThatReadAsInstances(t *testing.T) {
	conflict := func(t *testing.T, err error, id string) {
		t.Helper()
		if !errors.Is(err, registry.ErrIDConflict) || !strings.Contains(err.Error(), fmt.Sprintf("%q", id)) {
			t.Errorf("no conflict of %q: %v", id, err)
		}
	}
	for _, names := range [][]string{{"python", "python@3.11"}, {"python@3.11", "python"}} {
		reg := registry.New(memory.New())
		plugins, err := reg.RegisterManager(t.Context(), "lang", finding(names...))
		conflict(t, err, "lang_python@3.11")
		if len(plugins) != 1 || plugins[0].Name != "python" {
			t.Errorf("%v: %v", names, namesOf(plugins))
		}
	}
	for _, first := range []bool{true, false} { // a_b and c_x: the same IDs from other categories
		reg := registry.New(memory.New())
		base := func() error {
			_, err := reg.RegisterManager(t.Context(), "a", finding("b_c"))
			return err
		}
		reader := func() error {
			_, err := reg.RegisterManager(t.Context(), "a_b", finding("c@x", "other"))
			return err
		}
		if first {
			if err := base(); err != nil {
				t.Fatal(err)
			}
			conflict(t, reader(), "a_b_c@x")
		} else {
			if err := reader(); err != nil {
				t.Fatal(err)
			}
			conflict(t, base(), "a_b_c")
			// When the other has gone, it can be had.
			register(t, reg, "a_b", finding("other"))
			if err := base(); err != nil {
				t.Error(err)
			}
		}
	}
	// Alone, and with what cannot be an instance, such names are as good as any.
	reg := registry.New(memory.New())
	register(t, reg, "lang", finding("python@3.11", "go", "go@", "go@ä"))
	register(t, reg, "lang", finding("python@3.11", "python@3.12", "go"))
	register(t, reg, "lang", finding("python"))
	if err := reg.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
}

// Whatever is done with a plugin's own config is done with an instance's.
func TestInstancesAreConfigs(t *testing.T) {
	st := memory.New()
	keys := ring(t, 1)
	reg := registryLike(t, st, `{"properties":{"key":{"writeOnly":true},"n":{"type":"integer","default":5}},"additionalProperties":false}`, registry.WithSecrets(keys))
	ctx := store.WithAuthor(t.Context(), "ann")
	for _, id := range []string{"c_p@work", "c_p@home", "c_p"} {
		rec, err := reg.SaveConfig(ctx, id, map[string]any{"key": "hunter2-" + id})
		if err != nil || rec.ID != id {
			t.Fatal(rec, err)
		}
		if got := stored(t, st, id); strings.Contains(got, "hunter2") || !sealedValue.MatchString(got) {
			t.Errorf("%s is stored as %s", id, got)
		}
		if got := redacted(t, reg, id); got != `{"key":`+hidden+`}` {
			t.Errorf("%s is shown as %s", id, got)
		}
		if rec, err := reg.EffectiveConfig(ctx, id); err != nil || string(rec.Config) != `{"key":"hunter2-`+id+`","n":5}` {
			t.Errorf("%s: %s, %v", id, rec.Config, err)
		}
		if _, err := reg.SaveConfig(ctx, id, map[string]any{"n": "x"}); !errors.As(err, new(*registry.ValidationError)) {
			t.Errorf("%s: %v", id, err)
		}
		if versions, err := reg.History(ctx, id, 0, registry.HideSecrets()); err != nil || len(versions) != 1 || versions[0].Author != "ann" || string(versions[0].Config) != `{"key":`+hidden+`}` {
			t.Errorf("%s: %v, %v", id, versions, err)
		}
		first := rec.Revision
		if _, err := reg.PatchConfig(ctx, id, map[string]any{"n": 7}); err != nil {
			t.Error(err)
		}
		if rec, err := reg.Rollback(ctx, id, first); err != nil || string(rec.Config) != `{"key":"hunter2-`+id+`"}` {
			t.Errorf("%s: %s, %v", id, rec.Config, err)
		}
	}
	put(t, st, "c_p@bad", `{"n":"x"}`)
	put(t, st, "c_gone@work", `{}`)
	var ids, wrong []string
	for id, err := range reg.CheckAll(ctx) {
		ids = append(ids, id)
		if err != nil {
			wrong = append(wrong, id)
		}
	}
	if !slices.Equal(ids, []string{"c_p", "c_p@bad", "c_p@home", "c_p@work", "c_q", "c_r"}) || !slices.Equal(wrong, []string{"c_p@bad"}) {
		t.Errorf("checked %v, wrong are %v", ids, wrong)
	}
	if orphans, err := reg.Orphans(ctx); err != nil || !slices.Equal(orphans, []string{"c_gone@work"}) {
		t.Errorf("orphans: %v, %v", orphans, err)
	}
	// A row copied by hand does not open; CopyConfig does it.
	put(t, st, "c_p@copy", stored(t, st, "c_p@work"))
	if _, err := reg.LoadConfig(ctx, "c_p@copy"); !errors.Is(err, registry.ErrSecretLocked) || !strings.Contains(err.Error(), "CopyConfig") {
		t.Errorf("copied by hand: %v", err)
	}
	if err := reg.CheckSecrets(ctx); !errors.Is(err, registry.ErrSecretLocked) || !strings.Contains(err.Error(), `"c_p@copy"`) || strings.Contains(err.Error(), `"c_p@home"`) {
		t.Errorf("CheckSecrets: %v", err)
	}
	if err := reg.DeleteConfig(ctx, "c_p@bad"); err != nil {
		t.Error(err)
	}
	if rec, err := reg.CopyConfig(ctx, "c_p@work", "c_p@copy"); err != nil || string(rec.Config) != `{"key":"hunter2-c_p@work"}` {
		t.Errorf("CopyConfig: %s, %v", rec.Config, err)
	}
	if _, err := reg.CopyConfig(ctx, "c_p@work", "c_p@copy", registry.IfRevision(store.Absent)); !errors.Is(err, store.ErrConflict) {
		t.Errorf("copied over another: %v", err)
	}
	if _, err := reg.CopyConfig(ctx, "c_p@none", "c_p@copy"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("copied nothing: %v", err)
	}
	if err := reg.CheckSecrets(ctx); err != nil {
		t.Error(err)
	}
	// Rotation, with the author kept.
	newer := registryLike(t, st, `{"properties":{"key":{"writeOnly":true},"n":{"default":5}}}`, registry.WithSecrets(ring(t, 2, 1)))
	if report, err := newer.RotateSecrets(t.Context()); err == nil || report.Configs != 4 || len(report.Failed) != 1 || report.Failed["c_p@copy"] == nil { // its history has what was copied by hand
		t.Errorf("rotated: %+v, %v", report, err)
	}
	only := registryLike(t, st, `{"properties":{"key":{"writeOnly":true},"n":{"default":5}}}`, registry.WithSecrets(ring(t, 2)))
	for _, id := range []string{"c_p@work", "c_p@home", "c_p", "c_p@copy"} {
		versions, err := only.History(ctx, id, 0)
		if err != nil || versions[0].Author != "ann" {
			t.Errorf("%s after the rotation: %v, %v", id, versions, err)
		}
		for _, v := range versions {
			if v.Err != nil && id != "c_p@copy" {
				t.Errorf("%s: %v", id, v.Err)
			}
		}
	}
}

func TestNotesOfInstances(t *testing.T) {
	reg := registry.New(memory.New())
	register(t, reg, "c", finding("p", "q"))
	ctx := t.Context()
	title := func(text string, disabled bool) func(*store.Note) error {
		return func(n *store.Note) error { n.Title, n.Disabled = text, disabled; return nil }
	}
	save(t, reg, "c_p@work", json.RawMessage(`{}`))
	for id, err := range map[string]error{"c_p": reg.SetNote(ctx, "c_p", title("own", true)), "c_p@home": reg.SetNote(ctx, "c_p@home", title("Home", false)),
		"c_p@work": reg.SetNote(ctx, "c_p@work", title("Work", true))} {
		if err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	want := []registry.Instance{{ID: "c_p@home", Name: "home", Title: "Home"}, {ID: "c_p@work", Name: "work", Title: "Work", Configured: true, Disabled: true}}
	if got, err := reg.Instances(ctx, "c_p"); err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if p, _ := reg.Plugin("c_p"); !p.Disabled || p.Configured {
		t.Errorf("the plugin is %+v", p)
	}
	if err := reg.SetNote(ctx, "c_p@work", func(n *store.Note) error {
		if n.Title != "Work" {
			t.Errorf("edit got %+v", n)
		}
		return errBroken
	}); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	// Deleting an instance deletes its note; deleting the plugin's own config does not.
	if err := errors.Join(reg.DeleteConfig(ctx, "c_p@work"), reg.DeleteConfig(ctx, "c_p")); err != nil {
		t.Error(err)
	}
	if got, err := reg.Instances(ctx, "c_p"); err != nil || !slices.Equal(got, want[:1]) {
		t.Errorf("%+v, %v", got, err)
	}
	if p, _ := reg.Plugin("c_p"); !p.Disabled {
		t.Error("the note of the plugin has gone")
	}
	for _, id := range []string{"c_x", "c_p@a b", "c_x@a"} {
		if err := reg.SetNote(ctx, id, title("x", true)); !errors.Is(err, registry.ErrUnknownPlugin) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, err := reg.Instances(ctx, "c_p@home"); !errors.Is(err, registry.ErrUnknownPlugin) {
		t.Error(err)
	}
}

// A plugin does not get what was sealed for another that had the same ID.
func TestSecretsOfAnotherPluginWithTheSameID(t *testing.T) {
	for _, test := range []struct{ category, name, other, otherName string }{
		{"tts", "cloud_x", "tts_cloud", "x"}, {"tts_cloud", "x", "tts", "cloud_x"}, {"a", "b@c", "a", "b"}, {"a", "b_c", "a_b", "c"},
	} {
		st := memory.New()
		keys := registry.WithSecrets(ring(t, 1))
		reg := registry.New(st, keys)
		register(t, reg, test.category, giving(keySchema, test.name))
		id := test.category + "_" + test.name
		save(t, reg, id, json.RawMessage(`{"key":"hunter2"}`))
		orphan := registry.New(st, keys)
		if got := load(t, orphan, id).Config; string(got) != `{"key":"hunter2"}` {
			t.Errorf("without the plugin there is %s", got)
		}
		next := registry.New(st, keys)
		register(t, next, test.other, giving(keySchema, test.otherName))
		for doing, f := range map[string]func() error{
			"LoadConfig": func() error { _, err := next.LoadConfig(t.Context(), id); return err },
			"a form": func() error {
				_, err := next.SaveConfig(t.Context(), id, json.RawMessage(`{"key":`+hidden+`}`))
				return err
			},
			"sealed": func() error {
				_, err := next.SaveConfig(t.Context(), id, json.RawMessage(stored(t, st, id)))
				return err
			},
			"PatchConfig": func() error { _, err := next.PatchConfig(t.Context(), id, map[string]any{"host": "h"}); return err },
		} {
			if err := f(); !errors.Is(err, registry.ErrSecretLocked) {
				t.Errorf("%s of %s: %v", doing, id, err)
			}
		}
	}
}
