package registry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

const listSchema = `{"properties":{"l":{"items":{"properties":{"k":{"writeOnly":true},"more":{"items":{"properties":{"t":{"x-secret":true}}}}}}},
	"tokens":{"items":{"type":"string","writeOnly":true}},"map":{"additionalProperties":{"properties":{"k":{"writeOnly":true}}}},"key":{"writeOnly":true},"host":{}}}`

// row is a row of the form.
type row = map[string]any

// formOf returns the config as a form has it.
func formOf(t testing.TB, reg *registry.Registry) (form map[string]any, rev store.Revision) {
	t.Helper()
	rec, err := reg.LoadConfig(t.Context(), "c_p", registry.HideSecrets())
	if err == nil {
		err = rec.Decode(&form)
	}
	if err != nil || strings.Contains(string(rec.Config), "hunter2") {
		t.Fatalf("%s, %v", rec.Config, err)
	}
	return form, rec.Revision
}

func TestHiddenSecretsFollowTheirItems(t *testing.T) {
	const config = `{"l":[{"host":"a","k":"hunter2-a"},{"host":"b","k":"hunter2-b","more":[{"t":"hunter2-b0"},{"t":"hunter2-b1"}]},{"host":"c","k":"hunter2-c"}],"tokens":["hunter2-0","hunter2-1"],"key":"hunter2-key"}`
	rows := func(f map[string]any) []any { return f["l"].([]any) }
	for name, test := range map[string]struct {
		edit func(f map[string]any)
		want string
	}{
		"nothing":  {func(map[string]any) {}, config},
		"deleted":  {func(f map[string]any) { f["l"] = rows(f)[1:] }, strings.Replace(config, `{"host":"a","k":"hunter2-a"},`, "", 1)},
		"inserted": {func(f map[string]any) { f["l"] = slices.Insert(rows(f), 0, any(row{"host": "n", "k": "hunter2-n"})) }, strings.Replace(config, `"l":[`, `"l":[{"host":"n","k":"hunter2-n"},`, 1)},
		"deleted and added": {func(f map[string]any) { f["l"] = append(rows(f)[1:], row{"host": "n", "k": "hunter2-n"}) },
			strings.Replace(strings.Replace(config, `{"host":"a","k":"hunter2-a"},`, "", 1), `{"host":"c","k":"hunter2-c"}`, `{"host":"c","k":"hunter2-c"},{"host":"n","k":"hunter2-n"}`, 1)},
		"moved":              {func(f map[string]any) { l := rows(f); l[0], l[2] = l[2], l[0] }, strings.NewReplacer(`{"host":"a","k":"hunter2-a"}`, `{"host":"c","k":"hunter2-c"}`, `{"host":"c","k":"hunter2-c"}`, `{"host":"a","k":"hunter2-a"}`).Replace(config)},
		"copied":             {func(f map[string]any) { f["l"] = append(rows(f), rows(f)[0]) }, strings.Replace(config, `],"tokens"`, `,{"host":"a","k":"hunter2-a"}],"tokens"`, 1)},
		"edited":             {func(f map[string]any) { rows(f)[1].(row)["host"] = "z" }, strings.Replace(config, `"host":"b"`, `"host":"z"`, 1)},
		"replaced":           {func(f map[string]any) { rows(f)[0].(row)["k"] = "hunter2-new" }, strings.Replace(config, `hunter2-a`, `hunter2-new`, 1)},
		"inner list":         {func(f map[string]any) { r := rows(f)[1].(row); r["more"] = r["more"].([]any)[1:] }, strings.Replace(config, `{"t":"hunter2-b0"},`, "", 1)},
		"tokens turned":      {func(f map[string]any) { slices.Reverse(f["tokens"].([]any)) }, strings.Replace(config, `["hunter2-0","hunter2-1"]`, `["hunter2-1","hunter2-0"]`, 1)},
		"token deleted":      {func(f map[string]any) { f["tokens"] = f["tokens"].([]any)[1:] }, strings.Replace(config, `["hunter2-0","hunter2-1"]`, `["hunter2-1"]`, 1)},
		"to another list":    {func(f map[string]any) { f["tokens"] = append(f["tokens"].([]any), rows(f)[2].(row)["k"]) }, strings.Replace(config, `"hunter2-1"]`, `"hunter2-1","hunter2-c"]`, 1)},
		"to a map":           {func(f map[string]any) { f["map"] = row{"x": row{"k": rows(f)[0].(row)["k"]}} }, strings.TrimSuffix(config, "}") + `,"map":{"x":{"k":"hunter2-a"}}}`},
		"out of all lists":   {func(f map[string]any) { f["key"] = rows(f)[1].(row)["k"] }, strings.Replace(config, `"hunter2-key"`, `"hunter2-b"`, 1)},
		"list to inner list": {func(f map[string]any) { rows(f)[0].(row)["more"] = []any{row{"t": rows(f)[0].(row)["k"]}} }, strings.Replace(config, `"k":"hunter2-a"`, `"k":"hunter2-a","more":[{"t":"hunter2-a"}]`, 1)},
	} {
		st := memory.New()
		reg := registryLike(t, st, listSchema, registry.WithSecrets(ring(t, 1)))
		save(t, reg, "c_p", json.RawMessage(config))
		form, rev := formOf(t, reg)
		test.edit(form)
		if err := reg.Validate(t.Context(), "c_p", form); err != nil {
			t.Errorf("%s: Validate: %v", name, err)
		}
		rec, err := reg.SaveConfig(t.Context(), "c_p", form, registry.IfRevision(rev))
		var got, want any
		if err := errors.Join(err, json.Unmarshal(rec.Config, &got), json.Unmarshal([]byte(test.want), &want)); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || strings.Contains(stored(t, st, "c_p"), "hunter2") {
			t.Errorf("%s: %s, want %s; stored %s", name, rec.Config, test.want, stored(t, st, "c_p"))
		}
		// What the registry is asked to save is older than what is stored now.
		if name != "nothing" {
			if _, err := reg.SaveConfig(t.Context(), "c_p", form); !errors.Is(err, store.ErrConflict) {
				t.Errorf("%s: a stale form: %v", name, err)
			}
		}
	}
}

func TestBareRedactedInLists(t *testing.T) {
	const config = `{"l":[{"host":"a","n":1.0,"k":"ka"},{"host":"b","k":"kb"},{"host":"same","k":"k1"},{"host":"same","k":"k2"},{"k":"alone"}],"tokens":["t0","t1"]}`
	for edit, want := range map[string]string{ // "" is refused
		`{"l":[{"host":"a","n":1,"k":R},{"host":"b","k":R}]}`:                             `{"l":[{"host":"a","n":1,"k":"ka"},{"host":"b","k":"kb"}]}`,
		`{"l":[{"k":R,"n":1,"host":"a"}]}`:                                                `{"l":[{"k":"ka","n":1,"host":"a"}]}`,
		`{"l":[{"host":"b","k":R}]}`:                                                      "",
		`{"l":[{"host":"b","k":R},{"host":"a","n":1.0,"k":R}]}`:                           "",
		`{"l":[{"host":"c","n":1.0,"k":R}]}`:                                              "",
		`{"l":[{"host":"a","n":1.0,"k":"ka"},{"host":"b","k":R,"new":1}]}`:                "",
		`{"l":[{"host":"a","n":1.0,"k":"x"},{"host":"b","k":"y"},{"host":"same","k":R}]}`: "",
		`{"l":[{"host":"x"},{"host":"x"},{"host":"x"},{"host":"x"},{"k":R}]}`:             `{"l":[{"host":"x"},{"host":"x"},{"host":"x"},{"host":"x"},{"k":"alone"}]}`,
		`{"l":[{"k":R}]}`:      "",
		`{"tokens":[R,R]}`:     "",
		`{"tokens":["new",R]}`: "",
		`{"l":[{"host":"a","n":1.0,"k":R},{"host":"a","n":1.0,"k":R}]}`: "",
		`{"l":[{},{},{},{},{},{"k":R}]}`:                                "",
		`{"host":R,"l":[{"host":R}]}`:                                   `{"host":R,"l":[{"host":R}]}`,
	} {
		reg := newPlugin(t, listSchema, registry.WithSecrets(ring(t, 1)))
		save(t, reg, "c_p", json.RawMessage(config))
		edit, want = strings.ReplaceAll(edit, "R", hidden), strings.ReplaceAll(want, "R", hidden)
		rec, err := reg.SaveConfig(t.Context(), "c_p", json.RawMessage(edit))
		if want == "" && !errors.Is(err, store.ErrInvalidConfig) || want != "" && (err != nil || string(rec.Config) != want) {
			t.Errorf("%s: %s, %v", edit, rec.Config, err)
		}
	}
}

// A hidden secret opens at secret places only, and only those of the config it was taken from.
func TestHiddenSecretsOpenNowhereElse(t *testing.T) {
	st := memory.New()
	reg := registryLike(t, st, listSchema, registry.WithSecrets(ring(t, 1)))
	rec := save(t, reg, "c_p", json.RawMessage(`{"l":[{"host":"plain","k":"hunter2"}],"host":"h"}`))
	ref := func(rev store.Revision, pointer string) string {
		return fmt.Sprintf("%s@%s%s", registry.Redacted, rev, pointer)
	}
	for name, config := range map[string]any{
		"an open place":         map[string]any{"host": ref(rec.Revision, "/l/0/k")},
		"in an open item":       map[string]any{"l": []any{row{"host": ref(rec.Revision, "/l/0/k")}}},
		"of an open place":      map[string]any{"key": ref(rec.Revision, "/host")},
		"of an open item":       map[string]any{"key": ref(rec.Revision, "/l/0/host")},
		"of nothing":            map[string]any{"key": ref(rec.Revision, "/l/7/k")},
		"of the whole":          map[string]any{"key": ref(rec.Revision, "/l")},
		"of another revision":   map[string]any{"key": ref("77", "/l/0/k")},
		"of no revision":        map[string]any{"key": ref("", "/l/0/k")},
		"bare, where none was":  map[string]any{"key": registry.Redacted},
		"a name in the pointer": map[string]any{"key": ref(rec.Revision, "/l/00/k")},
	} {
		_, err := reg.SaveConfig(t.Context(), "c_p", config)
		if err == nil || strings.Contains(err.Error(), "hunter2") || !errors.Is(err, store.ErrInvalidConfig) && !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v; there is %s", name, err, load(t, reg, "c_p").Config)
		}
	}
	// A text that only begins like one is a text, secret or not.
	for _, text := range []string{registry.Redacted + "x", registry.Redacted + "@", registry.Redacted + "@1", registry.Redacted + "@%zz/a", registry.Redacted + "@1/~"} {
		if rec, err := reg.SaveConfig(t.Context(), "c_p", map[string]any{"host": text, "key": text}); err != nil || !strings.Contains(string(rec.Config), text) {
			t.Errorf("%q: %s, %v", text, rec.Config, err)
		}
	}
	// And a reference that means nothing is one in an open place.
	text := ref("77", "/l/0/k")
	if rec, err := reg.SaveConfig(t.Context(), "c_p", map[string]any{"host": text}); err != nil || string(rec.Config) != `{"host":"`+text+`"}` {
		t.Errorf("%s, %v", rec.Config, err)
	}
}

// In a list whose secrets today's schema does not know any more, rows can be edited all the same.
func TestListsThatLostTheirMark(t *testing.T) {
	st := memory.New()
	keys := registry.WithSecrets(ring(t, 1))
	save(t, registryLike(t, st, listSchema, keys), "c_p", json.RawMessage(`{"l":[{"host":"a","k":"hunter2-a"},{"host":"b","k":"hunter2-b"}]}`))
	reg := registryLike(t, st, `{"properties":{"l":{"type":"array"}}}`, keys)
	form, _ := formOf(t, reg)
	form["l"] = slices.Insert(form["l"].([]any), 0, any(row{"host": "n"}))
	rec, err := reg.SaveConfig(t.Context(), "c_p", form)
	if err != nil || string(rec.Config) != `{"l":[{"host":"n"},{"host":"a","k":"hunter2-a"},{"host":"b","k":"hunter2-b"}]}` || strings.Contains(stored(t, st, "c_p"), "hunter2") {
		t.Errorf("%s, %v; stored %s", rec.Config, err, stored(t, st, "c_p"))
	}
}

// TestRandomRows: whatever is done to the rows of a form, each keeps its own secret.
func TestRandomRows(t *testing.T) {
	for seed := range uint64(150) {
		g := rand.New(rand.NewPCG(seed, 9))
		st := memory.New()
		reg := registryLike(t, st, listSchema, registry.WithSecrets(ring(t, 1)))
		n := 0
		newRow := func() any {
			n++
			r := row{"host": fmt.Sprint("h", n%3), "id": fmt.Sprint(n), "k": fmt.Sprint("hunter2-", n)} // hosts repeat
			if g.IntN(2) == 0 {
				r["more"] = []any{row{"t": fmt.Sprint("hunter2-", n, "-0"), "of": fmt.Sprint(n)}, row{"t": fmt.Sprint("hunter2-", n, "-1"), "of": fmt.Sprint(n)}}
			}
			return r
		}
		save(t, reg, "c_p", map[string]any{"l": []any{newRow(), newRow(), newRow()}})
		for range 6 {
			form, _ := formOf(t, reg)
			rows := form["l"].([]any)
			for range 1 + g.IntN(3) {
				switch i := g.IntN(len(rows) + 1); g.IntN(4) {
				case 0:
					rows = slices.Insert(rows, i, newRow())
				case 1:
					if i < len(rows) {
						rows = slices.Delete(rows, i, i+1)
					}
				case 2:
					g.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
				case 3:
					if i < len(rows) {
						if more, ok := rows[i].(row)["more"].([]any); ok {
							slices.Reverse(more)
						}
					}
				}
			}
			form["l"] = rows
			if rows == nil {
				form["l"] = []any{}
			}
			if _, err := reg.SaveConfig(t.Context(), "c_p", form); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			var config struct {
				L []struct {
					ID, K string
					More  []struct{ T, Of string }
				}
			}
			if err := json.Unmarshal(load(t, reg, "c_p").Config, &config); err != nil || len(config.L) != len(rows) {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for _, r := range config.L {
				if r.K != "hunter2-"+r.ID || slices.ContainsFunc(r.More, func(m struct{ T, Of string }) bool { return !strings.HasPrefix(m.T, "hunter2-"+m.Of+"-") }) {
					t.Fatalf("seed %d: row %s has the secret %s, %v", seed, r.ID, r.K, r.More)
				}
			}
			if strings.Contains(stored(t, st, "c_p"), "hunter2") {
				t.Fatalf("seed %d: stored is %s", seed, stored(t, st, "c_p"))
			}
		}
	}
}
