// Package pluginregistry_test tells the whole story once, from outside, over every store.
package pluginregistry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/internal/pgserver"
	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/manifest"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/jsonfile"
	"github.com/pluginregistry/pluginregistry/store/memory"
	"github.com/pluginregistry/pluginregistry/store/postgres"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

// openers makes, for each kind of store, what opens one and the same store again and again. The second result closes it.
var openers = map[string]func(t *testing.T) func() (store.Store, func() error){
	"sqlite": func(t *testing.T) func() (store.Store, func() error) {
		path := filepath.Join(t.TempDir(), "of the app", "registry #1?.db")
		return func() (store.Store, func() error) {
			st, err := sqlite.Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			return st, st.Close
		}
	},
	"jsonfile": func(t *testing.T) func() (store.Store, func() error) {
		dir := filepath.Join(t.TempDir(), "configs")
		return func() (store.Store, func() error) {
			st, err := jsonfile.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			return st, st.Close
		}
	},
	"postgres": func(t *testing.T) func() (store.Store, func() error) {
		dsn := pgserver.Database(t) // skips if no server is given
		return func() (store.Store, func() error) {
			st, err := postgres.Open(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			return st, st.Close
		}
	},
	"memory": func(*testing.T) func() (store.Store, func() error) {
		st := memory.New() // it lives as long as the process; only the registry over it is new
		return func() (store.Store, func() error) { return st, func() error { return nil } }
	},
}

// painters is a plugin system of the application's own, in Go.
type painters []string

func (p painters) Discover(context.Context) ([]registry.Info, error) {
	var infos []registry.Info
	for _, name := range p {
		infos = append(infos, registry.Info{Name: name, Version: "1.0", ExecutionMode: registry.ModeCloudGPU})
	}
	return infos, nil
}

func (painters) ConfigSchema(context.Context, string) (json.RawMessage, error) {
	return registry.SchemaFor[struct {
		Steps int     `json:"steps" jsonschema:"minimum=1,maximum=150,default=20"`
		Scale float64 `json:"scale" jsonschema:"default=7.5"`
	}]()
}

// writeManifests fills a directory with the manifests of transcription plugins.
func writeManifests(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"whisper.json": `{"name": "whisper", "version": "1.8.0", "conda_env": "speech", "config_schema": {
			"title": "Whisper", "type": "object",
			"properties": {"device": {"enum": ["cpu", "cuda"], "default": "cpu"}, "beam": {"type": "integer", "minimum": 1}}}}`,
		"vosk.json": `{"format_version": "2.0", "code": {"name": "vosk", "version": "0.3.45", "config_schema": {"type": "object"}}, "install": {}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// start is what an application does when it starts.
func start(t *testing.T, st store.Store, manifests string, paints painters) *registry.Registry {
	t.Helper()
	reg := registry.New(st)
	if _, err := reg.RegisterManager(t.Context(), "transcription", manifest.Dirs(manifests), registry.WithDisplayName("Speech")); err != nil {
		t.Fatal(err)
	}
	if _, err := reg.RegisterManager(t.Context(), "image_generation", paints); err != nil {
		t.Fatal(err)
	}
	return reg
}

// list returns one line for each plugin of each category.
func list(reg *registry.Registry) []string {
	var lines []string
	for _, category := range reg.Categories() {
		for _, p := range reg.PluginsIn(category) {
			lines = append(lines, fmt.Sprintf("%s: %s, %s %s, %s, configured %t",
				reg.DisplayName(category), p.ID(), p.Title, p.Version, p.ExecutionMode, p.Configured))
		}
	}
	return lines
}

func wantLines(t *testing.T, when string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s there is\n%s\nwant\n%s", when, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestStory(t *testing.T) {
	for name, opener := range openers {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			open := opener(t)
			manifests := writeManifests(t)
			st, closeStore := open()
			reg := start(t, st, manifests, painters{"flux", "sdxl"})
			wantLines(t, "at first", list(reg),
				"Image_Generation: image_generation_flux, flux 1.0, cloud_gpu, configured false",
				"Image_Generation: image_generation_sdxl, sdxl 1.0, cloud_gpu, configured false",
				"Speech: transcription_vosk, vosk 0.3.45, in_process, configured false",
				"Speech: transcription_whisper, Whisper 1.8.0, conda_env, configured false")

			saved := map[string]string{
				"transcription_whisper":  `{"device":"cuda","beam":9007199254740993}`,
				"transcription_vosk":     `{"z":1000000000000000000000000000000,"a":{"x":1.0,"model":"de/ü"}}`,
				"image_generation_flux":  `{}`,
				"somebody's own setting": `{"for":"a plugin that is not there yet"}`,
			}
			revisions := map[string]store.Revision{}
			for id, config := range saved {
				if _, err := reg.SaveConfig(ctx, id, map[string]any{}); err != nil { // replaced by the next
					t.Fatal(err)
				}
				rec, err := reg.SaveConfig(ctx, id, json.RawMessage(config))
				if err != nil {
					t.Fatal(err)
				}
				revisions[id] = rec.Revision
			}
			if _, err := reg.SaveConfig(ctx, "image_generation_sdxl", map[string]any{"steps": 30}); err != nil {
				t.Fatal(err)
			}
			if err := reg.DeleteConfig(ctx, "image_generation_sdxl"); err != nil {
				t.Fatal(err)
			}
			_, err := reg.SaveConfig(ctx, "transcription_whisper", map[string]any{"device": "gpu", "beam": 0})
			if invalid, ok := errors.AsType[*registry.ValidationError](err); !ok || len(invalid.Issues) != 2 {
				t.Errorf("saving a config that does not fit: %v", err)
			}
			if err := closeStore(); err != nil {
				t.Fatal(err)
			}
			if _, err := reg.LoadConfig(ctx, "transcription_whisper"); name != "memory" && !errors.Is(err, store.ErrClosed) {
				t.Errorf("loading from a closed store: %v", err)
			}

			st, closeStore = open()
			reg = start(t, st, manifests, painters{"flux", "sdxl"})
			wantLines(t, "after opening again", list(reg),
				"Image_Generation: image_generation_flux, flux 1.0, cloud_gpu, configured true",
				"Image_Generation: image_generation_sdxl, sdxl 1.0, cloud_gpu, configured false",
				"Speech: transcription_vosk, vosk 0.3.45, in_process, configured true",
				"Speech: transcription_whisper, Whisper 1.8.0, conda_env, configured true")
			for id, config := range saved {
				rec, err := reg.LoadConfig(ctx, id)
				if err != nil || string(rec.Config) != config || rec.Revision != revisions[id] {
					t.Errorf("%q was saved as %s at revision %q, it loads as %s at %q, %v", id, config, revisions[id], rec.Config, rec.Revision, err)
				}
			}
			if rec, err := reg.LoadConfig(ctx, "image_generation_sdxl"); err != nil || string(rec.Config) != `{}` || rec.Revision != store.Absent {
				t.Errorf("what was deleted loads as %s at %q, %v", rec.Config, rec.Revision, err)
			}
			if rec, err := reg.EffectiveConfig(ctx, "image_generation_flux"); err != nil || string(rec.Config) != `{"steps":20,"scale":7.5}` {
				t.Errorf("the effective config is %s, %v", rec.Config, err)
			}

			// A plugin goes; its config stays until it is back.
			if err := os.Rename(filepath.Join(manifests, "vosk.json"), filepath.Join(manifests, "vosk.off")); err != nil {
				t.Fatal(err)
			}
			if err := reg.Refresh(ctx, "transcription"); err != nil {
				t.Fatal(err)
			}
			wantLines(t, "with a plugin gone", list(reg)[2:], "Speech: transcription_whisper, Whisper 1.8.0, conda_env, configured true")
			if err := os.Rename(filepath.Join(manifests, "vosk.off"), filepath.Join(manifests, "vosk.json")); err != nil {
				t.Fatal(err)
			}
			if err := reg.Refresh(ctx); err != nil {
				t.Fatal(err)
			}
			wantLines(t, "with the plugin back", list(reg)[2:3], "Speech: transcription_vosk, vosk 0.3.45, in_process, configured true")
			if stats := reg.Plugins().Stats(); stats.Total != 4 || stats.Configured != 3 || stats.Cloud != 2 {
				t.Errorf("the statistics are %+v", stats)
			}
			if err := closeStore(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A person reads and edits a live database with the sqlite3 shell.
func TestShell(t *testing.T) {
	shell, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("the sqlite3 shell is not installed")
	}
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "registry.db")
	st, err := sqlite.Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	reg := start(t, st, writeManifests(t), painters{"flux"})
	const id = "transcription_whisper"
	saved, err := reg.SaveConfig(ctx, id, map[string]any{"device": "cpu", "beam": 5})
	if err != nil {
		t.Fatal(err)
	}

	run := func(sql string) (string, error) {
		out, err := exec.CommandContext(ctx, shell, "-bail", path, ".timeout 10000", sql).CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	ask := func(sql, want string) {
		t.Helper()
		if got, err := run(sql); err != nil || got != want {
			t.Errorf("%s\nanswers %q, %v; want %q", sql, got, err, want)
		}
	}
	const row = `SELECT config, configured FROM plugin_configs WHERE plugin_id = 'transcription_whisper'`
	ask(row, `{"beam":5,"device":"cpu"}|1`)
	ask(`SELECT path, type, value FROM config_values WHERE plugin_id = 'transcription_whisper' ORDER BY path`,
		"$.beam|integer|5\n$.device|text|cpu")

	// An edit is a write like any other.
	ask(`UPDATE plugin_configs SET config = json_set(config, '$.device', 'cuda') WHERE plugin_id = 'transcription_whisper'`, "")
	edited, err := reg.LoadConfig(ctx, id)
	if err != nil || string(edited.Config) != `{"beam":5,"device":"cuda"}` || edited.Revision == saved.Revision {
		t.Errorf("after the edit it loads as %s at revision %q, before it was at %q, %v", edited.Config, edited.Revision, saved.Revision, err)
	}
	if _, err := reg.SaveConfig(ctx, id, map[string]any{}, registry.IfRevision(saved.Revision)); !errors.Is(err, store.ErrConflict) {
		t.Errorf("saving over the edit: %v", err)
	}
	if versions, err := reg.History(ctx, id, 0); err != nil || len(versions) != 2 || string(versions[0].Config) != string(edited.Config) {
		t.Errorf("the history is %v, %v", versions, err)
	}

	// Bad JSON is refused, and changes nothing.
	if out, err := run(`UPDATE plugin_configs SET config = '{"device": ' WHERE plugin_id = 'transcription_whisper'`); err == nil {
		t.Errorf("bad JSON was taken: %s", out)
	}
	ask(row, `{"beam":5,"device":"cuda"}|1`)

	// New and deleted configs are in the flags after Sync.
	ask(`INSERT INTO plugin_configs (plugin_id, config) VALUES ('image_generation_flux', '{"steps": 8}')`, "")
	ask(`DELETE FROM plugin_configs WHERE plugin_id = 'transcription_whisper'`, "")
	if err := reg.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	var configured []string
	for _, p := range reg.Plugins().Configured() {
		configured = append(configured, p.ID())
	}
	if !slices.Equal(configured, []string{"image_generation_flux"}) {
		t.Errorf("configured are %v", configured)
	}
	if rec, err := reg.LoadConfig(ctx, "image_generation_flux"); err != nil || string(rec.Config) != `{"steps":8}` {
		t.Errorf("what was inserted loads as %s, %v", rec.Config, err)
	}
	ask(`PRAGMA integrity_check`, "ok")
}
