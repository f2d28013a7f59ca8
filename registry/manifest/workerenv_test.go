package manifest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/manifest"
	"github.com/pluginregistry/pluginregistry/registry/secret"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// A manifest as cjm-substrate writes it.
const substrate = `{
  "format_version": "2.0",
  "install": {"python_path": "/envs/whisper/bin/python", "conda_env": "whisper", "db_path": "", "env_vars": {"A": "1"}, "installed_at": "",
    "installer_version": "cjm-ctl 0.1", "package_source": "whisper", "mode": "distribution", "resolved": {"cjm-substrate": "0.1"}, "refreshed_at": ""},
  "code": {"name": "whisper", "version": "1.0", "description": "Hears.", "module": "cjm.whisper", "class": "Whisper",
    "resources": {"requires_gpu": true, "platforms": ["darwin-arm64"], "accelerators": ["mps"]},
    "config_schema": {"name": "c", "type": "object", "properties": {"beam": {"type": "integer", "default": 5}}, "additionalProperties": false},
    "worker_env": [
      {"name": "HF_TOKEN", "secret": true, "label": "Hugging Face", "description": "A token.", "default": "not-a-secret-any-more", "required": true},
      {"name": "HF_HOME", "secret": false, "label": "", "description": "", "default": "/cache", "required": false},
      {"name": "SAYS_NOTHING"}
    ],
    "structural_surface": {"methods": []}, "observability_class": "full"},
  "drift_tracking": {"config_schema_hash": "sha256:0"},
  "overrides": {}
}`

func TestWorkerEnv(t *testing.T) {
	dir := dirOf(t, map[string]string{
		"whisper.json": substrate,
		"flat.json":    `{"name": "flat", "worker_env": [{"name": "KEY", "secret": true}]}`,
		"without.json": `{"name": "without", "config_schema": {"type":"object"}, "worker_env": []}`,
	})
	keys, err := secret.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	st := memory.New()
	reg := registry.New(st, registry.WithSecrets(keys))
	m := manifest.Dirs(dir)
	if _, err := reg.RegisterManager(t.Context(), "c", m); err != nil {
		t.Fatal(err)
	}
	save := func(id, config string) error {
		_, err := reg.SaveConfig(t.Context(), id, json.RawMessage(config))
		return err
	}
	if err := save("c_whisper", `{"beam":3,"worker_env":{"HF_TOKEN":"hf_1","SAYS_NOTHING":"hf_2"}}`); err != nil {
		t.Fatal(err)
	}
	if err := save("c_flat", `{"worker_env":{"KEY":"hf_3"}}`); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"c_whisper", "c_flat"} {
		stored, err := st.Get(t.Context(), id)
		if err != nil || bytes.Contains(stored.Config, []byte("hf_")) {
			t.Errorf("a secret variable of %s is stored in plain text: %v", id, err)
		}
	}
	rec, err := reg.EffectiveConfig(t.Context(), "c_whisper")
	var got struct {
		Beam int
		Env  map[string]string `json:"worker_env"`
	}
	if err := errors.Join(err, json.Unmarshal(rec.Config, &got)); err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"HF_TOKEN": "hf_1", "HF_HOME": "/cache", "SAYS_NOTHING": "hf_2"}; !maps.Equal(got.Env, want) {
		t.Errorf("the variables are %v, want %v", got.Env, want)
	}
	for config, refused := range map[string]bool{
		`{"beam":3}`:                          false,
		`{"worker_env":{"HF_HOME":"/x"}}`:     true, // without the required one
		`{"worker_env":{"HF_TOKEN":7}}`:       true,
		`{"worker_env":["HF_TOKEN"]}`:         true,
		`{"beam":1,"HF_TOKEN":"in no place"}`: true,
	} {
		if err := reg.Validate(t.Context(), "c_whisper", json.RawMessage(config)); (err != nil) != refused {
			t.Errorf("%s: %v", config, err)
		}
	}
	if text, err := m.ConfigSchema(t.Context(), "without"); err != nil || string(text) != `{"type":"object"}` {
		t.Errorf("the schema is %s, %v", text, err)
	}
	if p, _ := reg.Plugin("c_whisper"); strings.Contains(string(p.Schema), "not-a-secret-any-more") || p.SchemaErr != nil {
		t.Errorf("the schema is %s, %v", p.Schema, p.SchemaErr)
	}
}

func TestBadWorkerEnv(t *testing.T) {
	for env, want := range map[string]string{
		`{"KEY":"hunter2"}`:                        `"/worker_env" must be an array`,
		`["hunter2"]`:                              `"/worker_env/0" must be an object, this is a string`,
		`[{"secret":true}]`:                        `"/worker_env/0/name"`,
		`[{"name":"A"},{"name":"A"}]`:              `"/worker_env/1/name"`,
		`[{"name":"A","secret":"hunter2"}]`:        `"/worker_env/0/secret" must be true or false`,
		`[{"name":"A","label":["hunter2"]}]`:       `"/worker_env/0/label" must be a string`,
		`[{"name":"A"}],"config_schema":"hunter2"`: `"/config_schema" must be an object`,
		`[{"name":"A"}],"config_schema":{"properties":{"worker_env":{}}}`: `"/config_schema/properties"`,
	} {
		dir := dirOf(t, map[string]string{"a.json": `{"name":"a","worker_env":` + env + `}`})
		infos, err := manifest.Dirs(dir).Discover(t.Context())
		if len(infos) > 0 || err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %s", env, err, want)
		}
	}
}

// TestOtherFiles has files beside the manifests that are none.
func TestOtherFiles(t *testing.T) {
	dir := dirOf(t, map[string]string{
		"whisper.json":      substrate,
		"plain.json":        `{"name":"plain","version":"1","description":"d"}`,
		"unit.json":         `{"name":"unit","unit":"plugin"}`,
		"adapter.json":      `{"unit":"adapter","name":"m.Storage","version":"1","task_name":"storage","module":"m","class":"Storage","required_tool_protocol":"p","protocol_members":{},"conda_env":"e","generated_at":""}`,
		"package.json":      `{"name":"viewer","version":"1.0.0"}`,
		"viewer.json":       `{"name":"viewer","version":"1.0.0","private":true,"dependencies":{"left-pad":"1"}}`,
		"package-lock.json": `{"name":"viewer","version":"1.0.0","lockfileVersion":3,"packages":{}}`,
		"composer.json":     `{"name":"a/b","description":"d","require":{}}`,
		"tsconfig.json":     `{"compilerOptions":{"strict":true}}`,
		"secrets.json":      `{"__default__":{"whisper":{"HF_TOKEN":"x"}}}`,
		"empty.json":        `{}`,
	})
	m := manifest.Dirs(dir)
	infos, err := m.Discover(t.Context())
	if got := names(infos); got != "plain unit whisper" || err != nil {
		t.Errorf("found %q, %v", got, err)
	}
	for _, name := range []string{"viewer", "m.Storage", "nobody"} {
		if _, err := m.ConfigSchema(t.Context(), name); !errors.Is(err, registry.ErrUnknownPlugin) {
			t.Errorf("the error for %q is %v", name, err)
		}
	}
	for unit, want := range map[string]string{`"workflow"`: `"/unit"`, `7`: `"/unit" must be a string`} {
		if err := os.WriteFile(filepath.Join(dir, "new.json"), []byte(`{"name":"new","unit":`+unit+`}`), 0o600); err != nil {
			t.Fatal(err)
		}
		infos, err := m.Discover(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || slices.ContainsFunc(infos, func(i registry.Info) bool { return i.Name == "new" }) {
			t.Errorf("a unit of %s: %v", unit, err)
		}
	}
}
