// Command quickstart does the main job once: it discovers the plugins that the manifests under plugins/ describe, saves some
// configurations, one with an API key in it, and leaves a database to look at with sqlite3. Run it twice: the second run says what it
// found from the first.
//
//	go run ./examples/quickstart
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/manifest"
	"github.com/pluginregistry/pluginregistry/registry/secret"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

// manifests go with the program, so that it runs from anywhere; it writes them out for the manager, which reads directories.
//
//go:embed plugins
var manifests embed.FS

func main() {
	log.SetFlags(0)
	log.SetPrefix("quickstart: ")
	db := flag.String("db", "quickstart.db", "the `file` to keep the configurations in")
	key := flag.String("key", "quickstart.key", "the `file` with the key that seals secrets; made on first use")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *db, *key); err != nil {
		log.Fatal(err)
	}
}

// configs are what a user might have filled in.
func configs() map[string]any {
	apiKey := os.Getenv("OPENAI_API_KEY")
	if apiKey == "" {
		apiKey = "sk-example-0123456789abcdef"
	}
	return map[string]any{
		"transcription_faster_whisper":   map[string]any{"model_size_or_path": "small.en", "device": "cpu", "compute_type": "int8", "vad_filter": true},
		"language_model_llama_server":    map[string]any{"hf_repo": "ggml-org/gemma-3-1b-it-GGUF", "ctx_size": 8192, "flash_attn": "on"},
		"language_model_openai_chat":     map[string]any{"model": "gpt-4.1-mini", "temperature": 0.2, "api_key": apiKey},
		"image_generation_automatic1111": map[string]any{"steps": 30, "sampler_name": "DPM++ 2M", "scheduler": "Karras", "width": 768, "height": 768},
		"text_to_speech_piper":           map[string]any{"model": "en_US-lessac-medium"},
	}
}

func run(ctx context.Context, out io.Writer, db, key string) error {
	st, err := sqlite.Open(ctx, db)
	if err != nil {
		return err
	}
	defer st.Close()
	keys, err := secret.OpenFileFor(ctx, key, st) // if the file is lost and there are secrets, this is an error, and no new key
	if err != nil {
		return err
	}
	reg := registry.New(st, registry.WithSecrets(keys))

	if err := register(ctx, reg); err != nil {
		return err
	}
	if err := reg.CheckSecrets(ctx); err != nil { // the file has another key
		return err
	}
	greet(ctx, out, reg, db)
	if err := save(ctx, out, reg); err != nil {
		return err
	}

	fmt.Fprintf(out, "\nA configuration that does not fit is refused, with the place and the reason:\n")
	_, err = reg.SaveConfig(ctx, "transcription_faster_whisper", map[string]any{"device": "gpu", "beam_size": 0})
	invalid, ok := errors.AsType[*registry.ValidationError](err)
	if !ok {
		return fmt.Errorf("the configuration should have been refused: %w", err)
	}
	for _, issue := range invalid.Issues {
		fmt.Fprintf(out, "  %s: %s\n", issue.Pointer, issue.Message)
	}

	shown, err := reg.RedactedConfig(ctx, "language_model_openai_chat")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nWhat may be shown of a configuration with an API key:\n  %s\n", shown.Config)

	fmt.Fprintln(out)
	list(out, reg)
	fmt.Fprintf(out, `
Look at it:
  sqlite3 %[1]s "SELECT plugin_id, path, value FROM config_values"
Change it by hand, then run this again:
  sqlite3 %[1]s "UPDATE plugin_configs SET config = json_set(config, '$.steps', 20) WHERE plugin_id = 'image_generation_automatic1111'"
`, db)
	return nil
}

// greet says what an earlier run has left.
func greet(ctx context.Context, out io.Writer, reg *registry.Registry, db string) {
	found := reg.Plugins().Configured()
	if len(found) == 0 {
		fmt.Fprintf(out, "%s holds no configuration yet: this is the first run.\n", db)
		return
	}
	fmt.Fprintf(out, "Found %d configurations from an earlier run in %s:\n", len(found), db)
	for _, p := range found {
		rec, err := reg.RedactedConfig(ctx, p.ID())
		if err != nil { // one that cannot be read does not hide the others
			fmt.Fprintf(out, "  %s: %v\n", p.ID(), err)
			continue
		}
		fmt.Fprintf(out, "  %s, saved %s: %s\n", p.ID(), rec.UpdatedAt.Format("2006-01-02 15:04:05 MST"), rec.Config)
	}
}

// save saves the configurations that are not there yet, all or none.
func save(ctx context.Context, out io.Writer, reg *registry.Registry) error {
	missing := configs()
	for id := range missing {
		if p, _ := reg.Plugin(id); p.Configured {
			delete(missing, id)
		}
	}
	recs, err := reg.SaveConfigs(ctx, missing)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nSaved %d configurations.\n", len(recs))
	for _, rec := range recs {
		fmt.Fprintf(out, "  %s is at revision %s\n", rec.ID, rec.Revision)
	}
	return nil
}

// register makes a manager of each directory of manifests, under the directory's name.
func register(ctx context.Context, reg *registry.Registry) error {
	dir, err := os.MkdirTemp("", "quickstart")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, manifests); err != nil {
		return err
	}
	categories, err := fs.ReadDir(manifests, "plugins")
	if err != nil {
		return err
	}
	for _, c := range categories {
		if _, err := reg.RegisterManager(ctx, c.Name(), manifest.Dirs(filepath.Join(dir, "plugins", c.Name())),
			registry.WithDisplayName(displayName(c.Name()))); err != nil {
			return err
		}
	}
	return nil
}

func displayName(category string) string {
	words := strings.ReplaceAll(category, "_", " ")
	return strings.ToUpper(words[:1]) + words[1:]
}

func list(out io.Writer, reg *registry.Registry) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	for _, category := range reg.CategoriesWithPlugins() {
		fmt.Fprintf(w, "%s\n", reg.DisplayName(category))
		for _, p := range reg.PluginsIn(category) {
			mark := " "
			if p.Configured {
				mark = "*"
			}
			fmt.Fprintf(w, "  %s %s\t%s\t%s\t%s\n", mark, p.Name, p.Version, p.ExecutionMode, p.Title)
		}
	}
	stats := reg.Plugins().Stats()
	fmt.Fprintf(w, "%d of %d plugins are configured (*).\n", stats.Configured, stats.Total)
}
