package registry_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/secret"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// secretsSchema has secrets of many kinds, and something to break.
const secretsSchema = `{"properties": {"key": {"writeOnly": true}, "list": {"items": {"properties": {"k": {"x-secret": true}}}},
	"n": {"type": "integer"}, "host": {"minLength": 3}}}`

// planted makes secrets that can be told apart.
type planted []string

func (p *planted) next() string {
	s := fmt.Sprintf(`hunter2-%d-"é"-hunter2-%[1]d`, len(*p))
	*p = append(*p, s)
	return s
}

// config is one with two new secrets.
func (p *planted) config() map[string]any {
	return map[string]any{"key": p.next(), "list": []any{map[string]any{"k": p.next(), "open": "o"}}, "n": len(*p), "host": "here"}
}

// exercise saves secrets in every way there is, successfully or not.
func exercise(t *testing.T, reg *registry.Registry, secrets *planted, breakStore func() (mend func())) {
	ctx := t.Context()
	for range 3 {
		save(t, reg, "c_p", secrets.config())
	}
	first := load(t, reg, "c_p").Revision
	if _, err := reg.SaveConfigs(ctx, map[string]any{"c_p": secrets.config(), "c_q": secrets.config()}); err != nil {
		t.Error(err)
	}
	if _, err := reg.UpdateConfig(ctx, "c_p", func(rec store.Record) (any, error) {
		var config map[string]any
		err := rec.Decode(&config)
		config["key"] = secrets.next()
		return config, err
	}); err != nil {
		t.Error(err)
	}
	save(t, reg, "c_p", json.RawMessage(strings.Replace(redacted(t, reg, "c_p"), `"here"`, `"there"`, 1)))

	invalid := secrets.config()
	invalid["host"] = ""
	_, refused := reg.SaveConfig(ctx, "c_p", invalid)
	_, allRefused := reg.SaveConfigs(ctx, map[string]any{"c_p": secrets.config(), "c_q": invalid})
	_, conflict := reg.SaveConfig(ctx, "c_p", secrets.config(), registry.IfRevision("0123"))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, late := reg.SaveConfig(ended, "c_p", secrets.config())
	mend := breakStore()
	_, broken := reg.SaveConfig(ctx, "c_p", secrets.config())
	_, allBroken := reg.SaveConfigs(ctx, map[string]any{"c_p": secrets.config(), "c_q": secrets.config()})
	mend()
	for name, err := range map[string]error{"invalid": refused, "invalid batch": allRefused, "conflict": conflict, "late": late, "broken": broken, "broken batch": allBroken} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := reg.Rollback(ctx, "c_p", first); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if err := reg.DeleteConfig(ctx, "c_q"); err != nil {
		t.Error(err)
	}
	if _, err := reg.RotateSecrets(ctx); err != nil {
		t.Error(err)
	}
	save(t, reg, "c_p", secrets.config())
}

func TestNoSecretLiesOpenInTheDatabase(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "r.db")
	st := openSQLite(t, path)
	raw, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	exec := func(statement string, args ...any) {
		t.Helper()
		if _, err := raw.ExecContext(t.Context(), statement, args...); err != nil {
			t.Fatal(err)
		}
	}
	var secrets planted
	exercise(t, registryLike(t, st, secretsSchema, registry.WithSecrets(ring(t, 1))), &secrets, func() func() {
		exec(`CREATE TRIGGER broken AFTER UPDATE ON plugin_configs BEGIN SELECT RAISE(ABORT, 'the disk is broken'); END`)
		return func() { exec(`DROP TRIGGER broken`) }
	})
	reg := registryLike(t, st, secretsSchema, registry.WithSecrets(ring(t, 2, 1)))
	exercise(t, reg, &secrets, func() func() {
		exec(`CREATE TRIGGER broken AFTER UPDATE ON plugin_configs BEGIN SELECT RAISE(ABORT, 'the disk is broken'); END`)
		return func() { exec(`DROP TRIGGER broken`) }
	})
	searchFiles(t, "after saves, failures and rotations", dir, secrets...)

	// Secrets of older versions, in configs, in the history, and of a plugin that is deleted.
	var older planted
	for range 5 {
		for _, id := range []string{"c_p", "c_q", "c_r"} {
			text, err := json.Marshal(older.config())
			if err != nil {
				t.Fatal(err)
			}
			put(t, st, id, string(text))
		}
	}
	if err := st.Delete(t.Context(), "c_r", store.Any); err != nil {
		t.Fatal(err)
	}
	rec := load(t, reg, "c_p")
	save(t, reg, "c_p", rec.Config)
	if got := stored(t, st, "c_p"); strings.Contains(got, "hunter2") || len(sealedValue.FindAllString(got, -1)) != 2 || string(load(t, reg, "c_p").Config) != string(rec.Config) {
		t.Errorf("plain secrets saved again are stored as %s", got)
	}
	if report, err := reg.RotateSecrets(t.Context()); err != nil || len(report.Failed) != 0 || report.Configs != 1 {
		t.Errorf("rotated: %+v, %v", report, err)
	}
	searchFiles(t, "after the rotation of plain secrets", dir, append(secrets, older...)...)
	for _, id := range []string{"c_p", "c_q", "c_r"} {
		versions, err := reg.History(t.Context(), id, 0)
		if err != nil || len(versions) < 5 {
			t.Fatalf("the history of %s: %v, %v", id, versions, err)
		}
		for _, v := range versions {
			if v.Err != nil || v.Configured && !strings.Contains(string(v.Config), "hunter2") {
				t.Errorf("%s at revision %q: %v", id, v.Revision, v.Err)
			}
		}
	}
	// The rest can be read in a shell.
	var host string
	if err := raw.QueryRowContext(t.Context(), `SELECT json_extract(config, '$.host') FROM plugin_configs WHERE plugin_id = 'c_p'`).Scan(&host); err != nil || host != "here" {
		t.Errorf("the shell sees %q, %v", host, err)
	}
}

func TestNoSecretLiesOpenInFiles(t *testing.T) {
	dir := t.TempDir()
	st := openJSON(t, dir)
	var secrets planted
	for _, keys := range []*secret.Keyring{ring(t, 1), ring(t, 2, 1)} {
		exercise(t, registryLike(t, st, secretsSchema, registry.WithSecrets(keys)), &secrets, func() func() {
			journal := filepath.Join(dir, ".pluginregistry-journal") // a directory is in its place
			if err := os.Mkdir(journal, 0o700); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := os.Remove(journal); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	searchFiles(t, "after saves, failures and rotations", dir, secrets...)

	var older planted
	text, err := json.MarshalIndent(older.config(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"c_p.json", "c_q.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reg := registryLike(t, st, secretsSchema, registry.WithSecrets(ring(t, 2)))
	save(t, reg, "c_p", load(t, reg, "c_p").Config)
	if report, err := reg.RotateSecrets(t.Context()); err != nil || report.Configs != 1 {
		t.Errorf("rotated: %+v, %v", report, err)
	}
	searchFiles(t, "after plain secrets were sealed", dir, append(secrets, older...)...)
	if got := load(t, reg, "c_q").Config; !strings.Contains(string(got), "hunter2-0") {
		t.Errorf("loaded %s", got)
	}
}

// Whatever goes wrong, no value of a config is in an error, a log line or what fmt makes of the results.
func TestNothingShowsAValue(t *testing.T) {
	const marker = "hunter2"
	var log lines
	var seen strings.Builder
	show := func(values ...any) {
		for _, v := range values {
			fmt.Fprintf(&seen, "%v %+v %#v %s\n", v, v, v, v)
			switch v.(type) { // encoding/json, which a handler may use for anything else, is for showing configs
			case error, store.Record, *store.Record, *registry.Registry:
				log.logger().Info("shown", "value", v)
			}
		}
	}
	keys := ring(t, 1)
	failing := false
	a := keyed{box{func(p, ad []byte) ([]byte, error) {
		if failing {
			return nil, errBroken
		}
		return keys.Encrypt(p, ad)
	}, keys.Decrypt}, keys.KeyID()}
	st := openSQLite(t, filepath.Join(t.TempDir(), "r.db"))
	reg := registry.New(st, registry.WithSecrets(a), registry.WithLogger(log.logger()))
	m := giving(`{"properties": {"key": {"writeOnly": true, "maxLength": 40}, "pin": {"type": "integer", "x-secret": true}, "e": {"enum": ["x"]}, "c": {"const": 1},
		"n": {"type": "integer", "maximum": 5, "multipleOf": 7}, "s": {"pattern": "^x", "maxLength": 3, "format": "email"}, "bad": {"pattern": "(?!)"},
		"u": {"uniqueItems": true, "maxItems": 1, "items": {"type": "number"}}, "o": {"additionalProperties": false}, "x": {"oneOf": [{"type": "null"}, {"not": {}}]},
		"i": {"if": {"type": "string"}, "then": {"minLength": 99}}, "d": {"dependencies": {"a": ["b"]}}}}`, "p", "q")
	register(t, reg, "c", migrating{m, func(_ context.Context, _ string, old json.RawMessage) (json.RawMessage, error) { panic(string(old)) }})
	ctx := t.Context()
	bad := map[string]string{}
	for _, member := range []string{`"key":"` + strings.Repeat(marker, 9) + `"`, `"pin":"hunter2"`, `"e":"hunter2"`, `"c":"hunter2"`, `"n":2882822.5`, `"n":"hunter2"`, `"s":"hunter2"`,
		`"u":["hunter2","hunter2"]`, `"o":{"k":"hunter2"}`, `"x":"hunter2"`, `"i":"hunter2"`, `"d":{"a":"hunter2"}`, `"n":1e10000000`, `"key":{"$secret":"hunter2"}`,
		`"key":{"$secret":"v1::hunter2"}`, `"a":"hunter2`, `"a":hunter2`, `"a":"\ud800hunter2"`, `"a":"hunter2","a":"hunter2"`} {
		bad[member] = "{" + member + "}"
	}
	for member, config := range bad {
		rec, err := reg.SaveConfig(ctx, "c_p", json.RawMessage(config))
		if err == nil {
			t.Errorf("%s is saved", member)
		}
		_, all := reg.SaveConfigs(ctx, map[string]any{"c_p": json.RawMessage(config), "c_q": json.RawMessage(config)})
		show(rec, err, all, reg.Validate(t.Context(), "c_p", json.RawMessage(config)))
		if canonical, err := store.Canonical(json.RawMessage(config)); err == nil {
			put(t, st, "c_p", string(canonical)) // as if it had been valid once
			loaded, err := reg.LoadConfig(ctx, "c_p")
			effective, noEffective := reg.EffectiveConfig(ctx, "c_p")
			form, noForm := reg.RedactedConfig(ctx, "c_p")
			_, noType := registry.ConfigAs[struct{ Key, Pin, N float64 }](ctx, reg, "c_p")
			report, rotated := reg.RotateSecrets(ctx)
			show(loaded, err, effective, noEffective, form, noForm, noType, reg.Check(ctx, "c_p"), report, rotated, rec.Decode(new(int)))
		}
	}
	rec := save(t, reg, "c_p", json.RawMessage(`{"key":"hunter2","host":"hunter2"}`))
	save(t, reg, "c_q", map[string]any{"key": marker})
	_, conflict := reg.SaveConfig(ctx, "c_p", map[string]any{"key": marker}, registry.IfRevision("7777"))
	failing = true
	_, unsealed := reg.SaveConfig(ctx, "c_p", map[string]any{"key": "other " + marker})
	versions, err := reg.History(ctx, "c_p", 0)
	_, noRollback := reg.Rollback(ctx, "c_p", "9999")
	show(rec, &rec, []store.Record{rec}, conflict, unsealed, versions, err, noRollback, reg, struct{ R store.Record }{rec})
	var raw struct{ Key []int }
	show(rec.Decode(&raw))
	locked := registryLike(t, st, keySchema, registry.WithSecrets(ring(t, 9)), registry.WithLogger(log.logger()))
	_, lost := locked.LoadConfig(ctx, "c_p")
	_, lostForm := locked.SaveConfig(ctx, "c_p", map[string]any{"key": registry.Redacted})
	report, rotated := locked.RotateSecrets(ctx)
	_, plain := registryLike(t, openSQLite(t, filepath.Join(t.TempDir(), "r.db")), keySchema).SaveConfig(ctx, "c_p", map[string]any{"key": marker})
	show(lost, lostForm, report, rotated, plain)

	for _, text := range append(log.all(), seen.String()) {
		for _, value := range []string{marker, "2882822", "1e10000000"} {
			if i := strings.Index(text, value); i >= 0 {
				t.Errorf("a value is shown: …%s…", text[max(0, i-200):min(len(text), i+100)])
			}
		}
	}
	if len(log.all()) < 50 || seen.Len() < 10_000 {
		t.Errorf("little was looked at: %d lines, %d bytes", len(log.all()), seen.Len())
	}
}

// FuzzConfigs feeds any schema and config. The planted secret must be in nothing that is stored or shown.
func FuzzConfigs(f *testing.F) {
	for _, seed := range [][2]string{
		{keySchema, `{"key":"k","host":"h"}`},
		{secretsSchema, `{"key":[1],"list":[{"k":null},{"k":{}}],"n":1.0}`},
		{`{"properties": {"a": {"$ref": "#"}}, "writeOnly": true, "default": {"a": {}}}`, `{"a":{"a":{"a":1}}}`},
		{`{"a": {"type": "string", "required": true, "x-secret": true}}`, `{"a":"**********"}`},
		{`{"anyOf": [{"patternProperties": {"(?!x)": {"format": "password"}}}, {"$ref": "#/anyOf/0"}], "unevaluatedProperties": {"writeOnly": true}}`, `{"$secret":"v1::AA=="}`},
		{`[]`, `{"a":{"$secret":"v1:x:AAAA"}}`},
		{`{"properties": {"a": {"default": 1e400, "type": "integer | null"}}}`, `{"b":1e999999}`},
	} {
		f.Add(seed[0], seed[1])
	}
	const marker = "hunter2hunter2"
	f.Fuzz(func(t *testing.T, schema, config string) {
		if !json.Valid([]byte(config)) || len(schema) > 1<<16 || len(config) > 1<<16 || strings.Contains(config, marker) || strings.Contains(schema, marker) {
			return
		}
		whole := schema
		if json.Valid([]byte(schema)) { // as a part of one with a secret that is certainly one
			whole = `{"properties": {"planted": {"x-secret": true}, "fuzzed": ` + schema + `}}`
		}
		st := memory.New()
		reg := registryLike(t, st, whole, registry.WithSecrets(ring(t, 1)))
		plainPlugin := registryLike(t, st, schema, registry.WithSecrets(ring(t, 1)))
		for _, text := range []string{config, `{"planted":"` + marker + `","fuzzed":` + config + `}`} {
			for _, reg := range []*registry.Registry{plainPlugin, reg} {
				if err := reg.DeleteConfig(t.Context(), "c_p"); err != nil {
					t.Fatal(err)
				}
				rec, err := reg.SaveConfig(t.Context(), "c_p", json.RawMessage(text))
				if err != nil {
					_, invalid := errors.AsType[*registry.ValidationError](err)
					if !invalid && !errors.Is(err, store.ErrInvalidConfig) && !errors.Is(err, registry.ErrSecretLocked) && !errors.Is(err, registry.ErrUnusableSchema) ||
						strings.Contains(err.Error(), marker) || isConfigured(t, reg, "c_p") {
						t.Fatalf("saving: %v", err)
					}
					continue
				}
				if got := load(t, reg, "c_p"); string(got.Config) != string(rec.Config) {
					t.Fatalf("saved %s, loaded %s", rec.Config, got.Config)
				}
				if _, err := reg.EffectiveConfig(t.Context(), "c_p"); err != nil {
					t.Fatalf("EffectiveConfig: %v", err)
				}
				form := redacted(t, reg, "c_p")
				if reg != plainPlugin && whole != schema && (strings.Contains(stored(t, st, "c_p"), marker) || strings.Contains(form, marker)) {
					t.Fatalf("the secret is stored as %s, shown as %s", stored(t, st, "c_p"), form)
				}
				if again := save(t, reg, "c_p", json.RawMessage(form)); again.Revision != rec.Revision || string(again.Config) != string(rec.Config) {
					t.Fatalf("%s came back from its form %s as %s", rec.Config, form, again.Config)
				}
				if report, err := reg.RotateSecrets(t.Context()); err != nil || report.Configs != 0 {
					t.Fatalf("a config just saved is rotated: %+v, %v", report, err)
				}
			}
		}
	})
}
