package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// What was sealed stays sealed, whatever the schema says by then, and wherever the value goes.
func TestSealedStaysSealed(t *testing.T) {
	const marked = `{"properties":{"api_key":{"writeOnly":true},"pin":{"x-secret":true},"auth":{"writeOnly":true},"l":{"items":{"format":"password"}},"host":{}}}`
	const config = `{"api_key":"hunter2-key","pin":20240731,"auth":{"user":"hunter2-user","hunter2-name":"hunter2-x"},"l":["hunter2-0","hunter2-1"],"host":"h","n":1}`
	leaks := func(text string) bool { return strings.Contains(text, "hunter2") || strings.Contains(text, "20240731") }
	for schema, later := range map[string]string{
		"no marks":        `{"properties":{"api_key":{},"pin":{},"auth":{},"l":{},"host":{}}}`,
		"other names":     `{"properties":{"token":{"writeOnly":true}}}`,
		"a narrower mark": `{"properties":{"auth":{"properties":{"user":{"writeOnly":true}}}}}`,
		"nothing":         `{}`,
	} {
		for name, doing := range map[string]func(t *testing.T, reg *registry.Registry, id string) error{
			"UpdateConfig of another": func(t *testing.T, reg *registry.Registry, id string) error {
				_, err := reg.UpdateConfig(t.Context(), id, throughMap(func(m map[string]any) { m["host"] = "i" }))
				return err
			},
			"UpdateConfig that adds inside": func(t *testing.T, reg *registry.Registry, id string) error {
				_, err := reg.UpdateConfig(t.Context(), id, throughMap(func(m map[string]any) { m["auth"].(map[string]any)["new"] = 1; m["l"] = m["l"].([]any)[1:] }))
				return err
			},
			"UpdateConfig that renames": func(t *testing.T, reg *registry.Registry, id string) error {
				_, err := reg.UpdateConfig(t.Context(), id, throughMap(func(m map[string]any) {
					m["token2"], m["number"], m["who"] = m["api_key"], m["pin"], []any{m["auth"]}
					m["moved"] = map[string]any{"list": m["l"], "user": m["auth"].(map[string]any)["user"]}
					delete(m, "api_key")
				}))
				return err
			},
			"UpdateConfigAs": func(t *testing.T, reg *registry.Registry, id string) error {
				_, err := registry.UpdateConfigAs(t.Context(), reg, id, func(m *map[string]any) error { (*m)["copy"] = (*m)["api_key"]; return nil })
				return err
			},
			"PatchConfig": func(t *testing.T, reg *registry.Registry, id string) error {
				_, err := reg.PatchConfig(t.Context(), id, map[string]any{"n": 2, "auth": map[string]any{"more": 1}})
				return err
			},
			"SaveConfig of what LoadConfig gave": func(t *testing.T, reg *registry.Registry, id string) error {
				_, err := reg.SaveConfig(t.Context(), id, load(t, reg, id).Config)
				return err
			},
			"SaveConfigs": func(t *testing.T, reg *registry.Registry, id string) error {
				_, err := reg.SaveConfigs(t.Context(), map[string]any{id: load(t, reg, id).Config, "c_q": map[string]any{}})
				return err
			},
			"a form": func(t *testing.T, reg *registry.Registry, id string) error {
				_, err := reg.SaveConfig(t.Context(), id, json.RawMessage(strings.Replace(redacted(t, reg, id), `"n":1`, `"n":3`, 1)))
				return err
			},
			"CopyConfig": func(t *testing.T, reg *registry.Registry, id string) error {
				_, err := reg.CopyConfig(t.Context(), id, "c_q@copy")
				return err
			},
			"Rollback": func(t *testing.T, reg *registry.Registry, id string) error {
				then := load(t, reg, id).Revision
				if err := reg.DeleteConfig(t.Context(), id); err != nil {
					return err
				}
				_, err := reg.Rollback(t.Context(), id, then)
				return err
			},
			"rotation": func(t *testing.T, reg *registry.Registry, _ string) error {
				_, err := reg.RotateSecrets(t.Context())
				return err
			},
		} {
			for _, id := range []string{"c_p", "c_p@work"} {
				st := memory.New()
				save(t, registryLike(t, st, marked, registry.WithSecrets(ring(t, 1))), id, json.RawMessage(config))
				reg := registryLike(t, st, later, registry.WithSecrets(ring(t, 2, 1)))
				if err := doing(t, reg, id); err != nil {
					t.Errorf("%s, %s: %v", schema, name, err)
				}
				for _, id := range []string{id, "c_q@copy"} {
					rec := load(t, reg, id)
					if rec.Revision == store.Absent {
						continue
					}
					if got := stored(t, st, id); leaks(got) {
						t.Errorf("%s, %s: stored is %s", schema, name, got)
					}
					if got := redacted(t, reg, id); leaks(got) || strings.Contains(got, "$secret") {
						t.Errorf("%s, %s: shown is %s", schema, name, got)
					}
					if !strings.Contains(string(rec.Config), "hunter2-key") || !strings.Contains(string(rec.Config), "20240731") {
						t.Errorf("%s, %s: loaded %s", schema, name, rec.Config)
					}
				}
			}
		}
	}
}

// A secret that is replaced deliberately is what the schema says; a value that was open all the time is not sealed for being the same.
func TestReplacedSecretsFollowTheSchema(t *testing.T) {
	st := memory.New()
	keys := registry.WithSecrets(ring(t, 1))
	save(t, registryLike(t, st, keySchema, keys), "c_p", json.RawMessage(`{"key":"admin","host":"admin"}`))
	reg := registryLike(t, st, `{}`, keys)
	if _, err := reg.PatchConfig(t.Context(), "c_p", map[string]any{"n": 1}); err != nil {
		t.Fatal(err)
	}
	if got := sealedValue.ReplaceAllString(stored(t, st, "c_p"), "$"); got != `{"key":$,"host":"admin","n":1}` {
		t.Errorf("stored is %s", got)
	}
	if _, err := reg.PatchConfig(t.Context(), "c_p", map[string]any{"key": "public"}); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, st, "c_p"); got != `{"key":"public","host":"admin","n":1}` {
		t.Errorf("stored is %s", got)
	}
}

// A migration that leaves a secret under its old name, or gives it one that is not secret.
func TestMigrationKeepsSecrets(t *testing.T) {
	for name, migrated := range map[string]string{"left": `{"api_key":"hunter2","v":2}`, "renamed": `{"tok":"hunter2","v":2}`, "moved": `{"a":{"b":["hunter2"]},"v":2}`} {
		st := memory.New()
		keys := registry.WithSecrets(ring(t, 1))
		save(t, registryLike(t, st, `{"properties":{"api_key":{"writeOnly":true}}}`, keys), "c_p", json.RawMessage(`{"api_key":"hunter2"}`))
		reg := registry.New(st, keys)
		register(t, reg, "c", migrating{giving(`{"required":["v"]}`, "p"), func(_ context.Context, _ string, old json.RawMessage) (json.RawMessage, error) {
			if string(old) != `{"api_key":"hunter2"}` {
				t.Errorf("asked to migrate %s", old)
			}
			return json.RawMessage(migrated), nil
		}})
		if err := reg.Migrate(t.Context(), "c_p"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := stored(t, st, "c_p"); strings.Contains(got, "hunter2") || string(load(t, reg, "c_p").Config) != migrated {
			t.Errorf("%s: stored is %s, loaded %s", name, got, load(t, reg, "c_p").Config)
		}
	}
}

// Names inside a secret are in no error.
func TestNoErrorNamesWhatIsInASecret(t *testing.T) {
	const schema = `{"properties":{"tokens":{"writeOnly":true,"additionalProperties":{"type":"integer"},"propertyNames":{"maxLength":12}},"l":{"items":{"x-secret":true,"additionalProperties":false}},
		"o":{"properties":{"in":{"format":"password"}}}}}`
	type typed struct {
		Tokens map[string]int8 `json:"tokens"`
		L      []struct{}      `json:"l"`
		O      struct {
			In map[int]int `json:"in"`
		} `json:"o"`
	}
	var seen []string
	look := func(err error) {
		if err == nil {
			return
		}
		seen = append(seen, err.Error(), fmt.Sprintf("%+v", err))
		if invalid, ok := errors.AsType[*registry.ValidationError](err); ok {
			text, _ := json.Marshal(invalid)
			seen = append(seen, string(text))
		}
	}
	for _, config := range []string{
		`{"tokens":{"sk-SECRET":"x"}}`, `{"tokens":{"sk-SECRET-long-one":1}}`, `{"tokens":{"sk-SECRET":1,"sk-SECRET":2}}`, `{"tokens":{"sk-SECRET":{"a":[1,}}}`, `{"tokens":{"sk-SECRET":"\ud800"}}`,
		`{"tokens":{"sk-SECRET":"**********"}}`, `{"tokens":{"sk-SECRET":"**********@1/tokens/sk-SECRET"}}`, `{"tokens":{"sk-SECRET":{"$secret":"v1:x:AAAA"}}}`, `{"tokens":{"sk-SECRET":{"$secret":"sk-SECRET"}}}`,
		`{"tokens":{"sk-SECRET":300}}`, `{"l":[{},{"sk-SECRET":1}]}`, `{"l":[{},{"sk-SECRET":1,"sk-SECRET":1}]}`, `{"l":[[{"sk-SECRET":nul}]]}`, `{"o":{"in":{"sk-SECRET":1}}}`, `{"o":{"in":{"sk-SECRET":{"x":1,"x":2}}}}`,
	} {
		for _, plugin := range []string{"c_p", "c_p@i", "c_none"} {
			for _, opts := range [][]registry.Option{{registry.WithSecrets(ring(t, 1))}, nil, {registry.WithoutValidation(), registry.WithSecrets(ring(t, 1))}} {
				st := memory.New()
				reg := registryLike(t, st, schema, opts...)
				ctx := t.Context()
				raw := json.RawMessage(config)
				_, err := reg.SaveConfig(ctx, plugin, raw)
				look(err)
				_, err = reg.SaveConfigs(ctx, map[string]any{plugin: raw})
				look(err)
				_, err = reg.PatchConfig(ctx, plugin, raw)
				look(err)
				_, err = reg.UpdateConfig(ctx, plugin, func(store.Record) (any, error) { return raw, nil })
				look(err)
				look(reg.Validate(ctx, plugin, raw))
				canonical, err := store.Canonical(raw)
				if err != nil {
					continue
				}
				put(t, st, plugin, string(canonical))
				_, err = registry.ConfigAs[typed](ctx, reg, plugin)
				look(err)
				_, err = registry.ConfigAs[struct{}](ctx, reg, plugin)
				look(err)
				_, err = registry.UpdateConfigAs(ctx, reg, plugin, func(*typed) error { return nil })
				look(err)
				_, err = reg.EffectiveConfig(ctx, plugin)
				look(err)
				_, err = reg.CopyConfig(ctx, plugin, "c_q")
				look(err)
				_, err = reg.LoadConfig(ctx, plugin)
				look(err)
				look(reg.Check(ctx, plugin))
				look(reg.Migrate(ctx, plugin))
				look(reg.CheckSecrets(ctx))
				report, err := reg.RotateSecrets(ctx)
				look(err)
				for _, err := range report.Failed {
					look(err)
				}
			}
		}
	}
	for _, text := range seen {
		if strings.Contains(text, "sk-SECRET") {
			t.Errorf("an error names it: %s", text)
		}
	}
	if len(seen) < 300 {
		t.Errorf("only %d errors", len(seen))
	}
}

// changing is a plugin whose schema changes, fails, or goes.
type changing struct {
	schema string // "gone", "fails", or a schema
}

func (c *changing) Discover(context.Context) ([]registry.Info, error) {
	if c.schema == "gone" {
		return nil, nil
	}
	return infosOf("p"), nil
}

func (c *changing) ConfigSchema(context.Context, string) (json.RawMessage, error) {
	if c.schema == "fails" {
		return nil, errBroken
	}
	return json.RawMessage(c.schema), nil
}

// TestRandomLives: whatever happens to schemas, plugins, processes and keys, no secret lies in plain text where it must not be seen.
func TestRandomLives(t *testing.T) {
	lives := uint64(40)
	if os.Getenv("PLUGINREGISTRY_LONG") != "" {
		lives = 20_000
	}
	schemas := []string{"gone", "fails", `{}`, `[]`,
		`{"properties":{"a":{"writeOnly":true},"l":{"items":{"properties":{"k":{"x-secret":true}}}},"o":{"properties":{"x":{"format":"password"}}}}}`,
		`{"properties":{"a":{"writeOnly":true},"b":{"x-secret":true}}}`,
		`{"properties":{"o":{"writeOnly":true},"l":{"items":{"writeOnly":true}}}}`,
		`{"properties":{"l":{"writeOnly":true}},"required":["v"]}`,
		`{"additionalProperties":{"additionalProperties":{"writeOnly":true}}}`,
		`{"properties":{"a":{"type":"string"},"b":{"type":"string"}}}`,
	}
	for seed := range lives {
		g := rand.New(rand.NewPCG(seed, 3))
		var log lines
		var st store.Store = memory.New()
		dir := ""
		if seed%10 == 0 { // the others are as good, and quicker
			dir = t.TempDir()
			if seed%20 == 0 {
				st = openSQLite(t, filepath.Join(dir, "r.db"))
			} else {
				st = openJSON(t, dir)
			}
		}
		keysets := [][]byte{{1}, {2, 1}, {2}, {3, 2}}
		key := 0
		type process struct {
			*registry.Registry
			plugin *changing
		}
		open := func() *process {
			p := &process{registry.New(st, registry.WithSecrets(ring(t, keysets[key]...)), registry.WithLogger(log.logger())), &changing{schemas[4+g.IntN(5)]}}
			register(t, p.Registry, "c", migrating2{p.plugin})
			return p
		}
		processes := []*process{open(), open()}
		ids := []string{"c_p", "c_p@work", "c_p@x"}
		planted := map[string]bool{}
		plant := func() string {
			s := fmt.Sprintf("hunter2-%d-%d", seed, len(planted))
			planted[s] = true
			return s
		}
		var seen strings.Builder
		var did []string
		for step := range 25 {
			p := processes[g.IntN(len(processes))]
			id := ids[g.IntN(len(ids))]
			ctx := t.Context()
			what := g.IntN(15)
			did = append(did, fmt.Sprint(what, id))
			var err error
			show := func(rec store.Record, e error) {
				err = e
				if e == nil {
					fmt.Fprintf(&seen, "%v %+v\n", rec, rec)
				}
			}
			switch what {
			case 0, 1: // a secret is planted only where the schema of this process makes it one
				if s := p.plugin.schema; strings.HasPrefix(s, `{"prop`) && p.plugin.schema != schemas[9] {
					config := map[string]any{"v": step, "open": "o"}
					places, e := p.SecretPlaces("c_p", map[string]any{"a": "", "b": "", "o": map[string]any{"x": "", "y": ""}, "l": []any{map[string]any{"k": ""}, "i"}})
					if e != nil {
						t.Fatal(e)
					}
					for _, at := range places {
						switch at {
						case "/a", "/b":
							config[at[1:]] = plant()
						case "/o/x":
							config["o"] = map[string]any{"x": plant(), "y": 1}
						case "/o":
							config["o"] = map[string]any{"x": plant(), plant(): 1}
						case "/l/0/k":
							config["l"] = []any{map[string]any{"k": plant(), "id": 1}, map[string]any{"k": plant(), "id": 2}}
						case "/l", "/l/0":
							config["l"] = []any{plant(), plant()}
						}
					}
					_, err = p.SaveConfig(ctx, id, config)
				}
			case 2:
				p.plugin.schema = schemas[g.IntN(len(schemas))]
				err = p.Refresh(ctx)
			case 3:
				show(p.PatchConfig(ctx, id, map[string]any{"v": step}))
			case 4:
				show(p.UpdateConfig(ctx, id, throughMap(func(m map[string]any) {
					if v, ok := m["a"]; ok {
						m[fmt.Sprint("moved", g.IntN(3))] = v
					}
					if l, ok := m["l"].([]any); ok && len(l) > 0 {
						m["l"] = l[1:]
					}
					m["v"] = step
				})))
			case 5:
				if rec, e := p.LoadConfig(ctx, id); e == nil {
					show(p.SaveConfig(ctx, id, rec.Config))
				}
			case 6:
				if rec, e := p.LoadConfig(ctx, id, registry.HideSecrets()); e == nil {
					seen.Write(rec.Config)
					var form map[string]any
					_ = rec.Decode(&form)
					form["v"] = step
					if l, ok := form["l"].([]any); ok && len(l) > 0 {
						slices.Reverse(l)
						form["l"] = l[g.IntN(2):]
					}
					show(p.SaveConfig(ctx, id, form))
				}
			case 7:
				if versions, e := p.History(ctx, id, 0); e == nil && len(versions) > 0 {
					show(p.Rollback(ctx, id, versions[g.IntN(len(versions))].Revision))
				}
			case 8:
				show(p.CopyConfig(ctx, id, ids[g.IntN(len(ids))]))
			case 9:
				report, e := p.RotateSecrets(ctx)
				err = e
				fmt.Fprint(&seen, report)
				if e == nil && key < len(keysets)-1 && g.IntN(2) == 0 && len(report.Failed) == 0 {
					key++
					schema0, schema1 := processes[0].plugin.schema, processes[1].plugin.schema
					processes = []*process{open(), open()}
					processes[0].plugin.schema, processes[1].plugin.schema = schema0, schema1
					_, _ = processes[0].Refresh(ctx), processes[1].Refresh(ctx)
				}
			case 10:
				err = p.Migrate(ctx, id)
			case 11:
				err = p.DeleteConfig(ctx, id)
			case 12:
				_, err = p.SaveConfigs(ctx, map[string]any{"c_p": map[string]any{"v": 1}, "c_p@x": map[string]any{"v": step}})
			case 13:
				err = errors.Join(p.Check(ctx, id), p.CheckSecrets(ctx))
			case 14:
				show(p.EffectiveConfig(ctx, id))
			}
			fmt.Fprintln(&seen, err)
			for _, p := range processes {
				for _, id := range ids {
					form, e1 := p.RedactedConfig(ctx, id)
					effective, e2 := p.EffectiveConfig(ctx, id, registry.HideSecrets())
					versions, e3 := p.History(ctx, id, 0, registry.HideSecrets())
					fmt.Fprintf(&seen, "%s %s %v %v %v", form.Config, effective.Config, e1, e2, e3)
					for _, v := range versions {
						fmt.Fprintf(&seen, "%s %v", v.Config, v.Err)
					}
				}
			}
			for _, id := range ids {
				versions, e := store.History(ctx, st, id, 0)
				if e != nil && !errors.Is(e, errors.ErrUnsupported) {
					t.Fatal(e)
				}
				for _, v := range versions {
					seen.Write(v.Config)
				}
				if rec, e := st.Get(ctx, id); e == nil {
					seen.Write(rec.Config)
				}
			}
			if i := strings.Index(seen.String(), "hunter2"); i >= 0 {
				text := seen.String()
				t.Fatalf("seed %d, step %d (%v), schemas %s and %s: seen is …%s…", seed, step, did, processes[0].plugin.schema, processes[1].plugin.schema, text[max(0, i-300):min(len(text), i+100)])
			}
			seen.Reset()
		}
		if text := strings.Join(log.all(), "\n"); strings.Contains(text, "hunter2") {
			t.Errorf("seed %d: logged %s", seed, text)
		}
		if dir != "" {
			searchFiles(t, fmt.Sprint("seed ", seed), dir, slices.Sorted(maps.Keys(planted))...)
		}
	}
}

// migrating2 is a manager of a changing plugin that leaves every secret under another name.
type migrating2 struct{ *changing }

func (migrating2) MigrateConfig(_ context.Context, _ string, old json.RawMessage) (json.RawMessage, error) {
	var config map[string]any
	err := json.Unmarshal(old, &config)
	for name, v := range config {
		config["old_"+name] = v
	}
	config["v"] = 0
	return must(json.Marshal(config)), err
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
