package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/manifest"
	"github.com/pluginregistry/pluginregistry/registry/pluginsystem"
	"github.com/pluginregistry/pluginregistry/registry/secret"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/jsonfile"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

// tourDir is where the tour keeps its files.
func tourDir() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "tour")
	if err != nil {
		log.Fatal(err)
	}
	return dir, func() { os.RemoveAll(dir) }
}

// Example_tour is docs/tour.md.
func Example_tour() {
	ctx := context.Background()
	dir, remove := tourDir()
	defer remove()
	type Whisper struct {
		Device   string `json:"device"`
		BeamSize int    `json:"beam_size"`
		APIKey   string `json:"api_key"`
	}

	st, err := sqlite.Open(ctx, filepath.Join(dir, "registry.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	keys, err := secret.OpenFileFor(ctx, filepath.Join(dir, "registry.key"), st) // made on first use
	if err != nil {
		log.Fatal(err)
	}
	reg := registry.New(st, registry.WithSecrets(keys))

	_, err = reg.RegisterManager(ctx, "transcription", manifest.Dirs("testdata/tour/transcription"))
	if bad, ok := errors.AsType[*registry.DiscoveryError](err); ok {
		log.Print(bad) // what could not be registered; the others were
	} else if err != nil {
		log.Fatal(err)
	}
	for _, p := range reg.PluginsIn("transcription") {
		fmt.Println(p.ID(), p.Title, p.Version, p.ExecutionMode, p.Configured)
	}

	const id = "transcription_whisper"
	_, err = reg.SaveConfig(ctx, id, map[string]any{"device": "gpu", "beam_size": 0})
	if invalid, ok := errors.AsType[*registry.ValidationError](err); ok {
		for _, issue := range invalid.Issues {
			fmt.Println(issue.Pointer, issue.Message)
		}
	}
	_, err = reg.SaveConfig(ctx, id, map[string]any{"device": "cuda", "api_key": "sk-very-secret"})
	if err != nil {
		log.Fatal(err)
	}

	loaded, err := reg.LoadConfig(ctx, id)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(loaded.Config))
	shown, err := reg.LoadConfig(ctx, id, registry.HideSecrets())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(shown.Config))
	config, err := registry.ConfigAs[Whisper](ctx, reg, id)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(config.Device, config.BeamSize)

	if _, err = reg.PatchConfig(ctx, id, map[string]any{"beam_size": 10}); err != nil {
		log.Fatal(err)
	}
	_, err = registry.UpdateConfigAs(ctx, reg, id, func(c *Whisper) error {
		c.BeamSize++
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}

	versions, err := reg.History(ctx, id, 0, registry.HideSecrets()) // newest first
	if err != nil {
		log.Fatal(err)
	}
	back, now := versions[len(versions)-1].Revision, versions[0].Revision
	if _, err := reg.Rollback(store.WithAuthor(ctx, "kim"), id, back, registry.IfRevision(now)); err != nil {
		log.Fatal(err)
	}

	work, err := registry.ConfigID(id, "work")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := reg.CopyConfig(ctx, id, work, registry.IfRevision(store.Absent)); err != nil {
		log.Fatal(err)
	}
	instances, err := reg.Instances(ctx, id)
	if err != nil {
		log.Fatal(err)
	}
	for _, i := range instances {
		fmt.Println(i.ID, i.Title, i.Configured)
	}

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	changes := reg.Watch(ctx) // no later change is missed
	if err := reg.DeleteConfig(ctx, id); err != nil {
		log.Fatal(err)
	}
	for change, err := range changes { // by this process, another, or a sqlite3 shell
		if err != nil {
			break
		}
		fmt.Println(change.ID, change.Configured)
		stop()
	}

	// Output:
	// transcription_whisper Whisper 1.8.0 subprocess false
	// /beam_size must be at least 1
	// /device must be one of "cpu" or "cuda"
	// {"api_key":"sk-very-secret","device":"cuda"}
	// {"api_key":"**********","device":"cuda"}
	// cuda 5
	// transcription_whisper@work  true
	// transcription_whisper false
}

// Transcriber is a plugin interface of the application's own.
type Transcriber interface {
	Transcribe(ctx context.Context, audio []byte) (string, error)
}

// EchoConfig is the config of the plugin echo: its schema is made from it.
type EchoConfig struct {
	Prefix string `json:"prefix" jsonschema:"title=Prefix,default=heard: ,maxLength=20"`
}

type echo struct{ prefix string }

func (e echo) Transcribe(_ context.Context, audio []byte) (string, error) {
	return e.prefix + string(audio), nil
}

// Example_system is the typed plugin system of docs/tour.md.
func Example_system() {
	ctx := context.Background()
	reg := newRegistry(ctx)

	echoPlugin := pluginsystem.WithConfig(
		pluginsystem.Definition[Transcriber]{Name: "echo", Version: "1.0.0"},
		func(_ context.Context, c EchoConfig) (Transcriber, error) { return echo{c.Prefix}, nil })
	system := pluginsystem.NewManager(echoPlugin)
	if _, err := reg.RegisterManager(ctx, "speech", system); err != nil {
		log.Fatal(err)
	}
	plugin, err := system.LoadConfigured(ctx, reg, "echo") // effective, validated, secrets open
	if err != nil {
		log.Fatal(err)
	}
	text, err := plugin.Transcribe(ctx, []byte("hello"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(text)
	// Output: heard: hello
}

// Example_copy moves what the Python original has written into SQLite.
func Example_copy() {
	ctx := context.Background()
	dir, remove := tourDir()
	defer remove()
	configs := filepath.Join(dir, "configs")
	if err := os.Mkdir(configs, 0o700); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(configs, "llm_gpt.json"), []byte("{\n  \"api_key\": \"sk-very-secret\"\n}"), 0o600); err != nil {
		log.Fatal(err)
	}
	keys, err := secret.OpenFile(filepath.Join(dir, "registry.key"))
	if err != nil {
		log.Fatal(err)
	}
	managers := describing(registry.Info{Name: "gpt"})
	managers.schema = func(context.Context, string) (json.RawMessage, error) {
		return json.RawMessage(`{"properties": {"api_key": {"type": "string", "writeOnly": true}}}`), nil
	}

	old, err := jsonfile.Open(configs)
	if err != nil {
		log.Fatal(err)
	}
	defer old.Close()
	st, err := sqlite.Open(ctx, filepath.Join(dir, "registry.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()
	n, err := store.Copy(ctx, st, old) // once, when you move: it saves over what st has
	if err != nil {
		log.Fatal(err)
	}
	reg := registry.New(st, registry.WithSecrets(keys))
	if _, err := reg.RegisterManager(ctx, "llm", managers); err != nil {
		log.Fatal(err)
	}
	if _, err := reg.RotateSecrets(ctx); err != nil { // seals what the directory had in plain text
		log.Fatal(err)
	}
	rec, err := st.Get(ctx, "llm_gpt")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n, "copied, sealed:", !strings.Contains(string(rec.Config), "sk-very-secret"))
	// Output: 1 copied, sealed: true
}
