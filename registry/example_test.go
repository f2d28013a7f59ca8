package registry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// WhisperConfig is what the plugin whisper may be configured with.
type WhisperConfig struct {
	Device string `json:"device" jsonschema:"title=Device,enum=cpu,enum=cuda,default=cpu"`
	Beam   int    `json:"beam" jsonschema:"minimum=1,maximum=20,default=5"`
}

// engines is a manager of two plugins.
type engines struct{}

func (engines) Discover(context.Context) ([]registry.Info, error) {
	return []registry.Info{
		{Name: "whisper", Version: "1.8.0", ExecutionMode: registry.ModeSubprocess},
		{Name: "hosted", Version: "2", ExecutionMode: registry.ModeCloudGPU},
	}, nil
}

func (engines) ConfigSchema(_ context.Context, name string) (json.RawMessage, error) {
	if name == "whisper" {
		return registry.SchemaFor[WhisperConfig]()
	}
	return json.RawMessage(`{"title": "Hosted transcription", "properties": {"url": {"type": "string"}}}`), nil
}

// newRegistry returns a registry with both plugins registered.
func newRegistry(ctx context.Context) *registry.Registry {
	reg := registry.New(memory.New()) // or sqlite.Open, or jsonfile.Open
	if _, err := reg.RegisterManager(ctx, "transcription", engines{}); err != nil {
		log.Fatal(err)
	}
	return reg
}

func ExampleRegistry_RegisterManager() {
	ctx := context.Background()
	reg := registry.New(memory.New())
	plugins, err := reg.RegisterManager(ctx, "transcription", engines{}, registry.WithDisplayName("Speech to text"))
	if bad, ok := errors.AsType[*registry.DiscoveryError](err); ok {
		log.Print(bad) // what could not be registered; the others were
	} else if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reg.Categories(), reg.DisplayName("transcription"))
	for _, p := range plugins {
		fmt.Printf("%s: %s, version %s, configured: %t\n", p.ID(), p.Title, p.Version, p.Configured)
	}
	// Output:
	// [transcription] Speech to text
	// transcription_whisper: whisper, version 1.8.0, configured: false
	// transcription_hosted: Hosted transcription, version 2, configured: false
}

func ExampleRegistry_SaveConfig() {
	ctx := context.Background()
	reg := newRegistry(ctx)
	const id = "transcription_whisper"
	if _, err := reg.SaveConfig(ctx, id, map[string]any{"device": "cuda"}); err != nil {
		log.Fatal(err)
	}
	rec, err := reg.LoadConfig(ctx, id)
	if err != nil {
		log.Fatal(err)
	}
	p, _ := reg.Plugin(id)
	fmt.Println(string(rec.Config), p.Configured)

	if err := reg.DeleteConfig(ctx, id); err != nil {
		log.Fatal(err)
	}
	rec, err = reg.LoadConfig(ctx, id)
	fmt.Println(string(rec.Config), rec.Revision == store.Absent, err)
	// Output:
	// {"device":"cuda"} true
	// {} true <nil>
}

func ExampleIfRevision() {
	ctx := context.Background()
	reg := newRegistry(ctx)
	const id = "transcription_whisper"
	mine, err := reg.SaveConfig(ctx, id, map[string]any{"beam": 5})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := reg.SaveConfig(ctx, id, map[string]any{"beam": 10}); err != nil { // somebody else
		log.Fatal(err)
	}
	_, err = reg.SaveConfig(ctx, id, map[string]any{"beam": 7}, registry.IfRevision(mine.Revision))
	fmt.Println(errors.Is(err, store.ErrConflict))
	// Output: true
}

func ExampleRegistry_UpdateConfig() {
	ctx := context.Background()
	reg := newRegistry(ctx)
	for range 2 {
		rec, err := reg.UpdateConfig(ctx, "transcription_whisper", func(rec store.Record) (any, error) {
			config := WhisperConfig{Device: "cpu", Beam: 1}
			if err := rec.Decode(&config); err != nil {
				return nil, err
			}
			config.Beam++
			return config, nil
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(rec.Config))
	}
	// Output:
	// {"device":"cpu","beam":2}
	// {"device":"cpu","beam":3}
}

func ExampleRegistry_Validate() {
	reg := newRegistry(context.Background())
	err := reg.Validate(context.Background(), "transcription_whisper", map[string]any{"device": "gpu", "beam": 50})
	if invalid, ok := errors.AsType[*registry.ValidationError](err); ok {
		for _, issue := range invalid.Issues {
			fmt.Printf("%s (%s): %s\n", issue.Pointer, issue.Keyword, issue.Message)
		}
	}
	// Output:
	// /beam (maximum): must be at most 20
	// /device (enum): must be one of "cpu" or "cuda"
}

func ExampleRegistry_EffectiveConfig() {
	ctx := context.Background()
	reg := newRegistry(ctx)
	if _, err := reg.SaveConfig(ctx, "transcription_whisper", map[string]any{"beam": 8}); err != nil {
		log.Fatal(err)
	}
	rec, err := reg.EffectiveConfig(ctx, "transcription_whisper")
	fmt.Println(string(rec.Config), err)
	// Output: {"beam":8,"device":"cpu"} <nil>
}

func ExampleConfigAs() {
	ctx := context.Background()
	reg := newRegistry(ctx)
	if _, err := reg.SaveConfig(ctx, "transcription_whisper", map[string]any{"device": "cuda"}); err != nil {
		log.Fatal(err)
	}
	config, err := registry.ConfigAs[WhisperConfig](ctx, reg, "transcription_whisper")
	fmt.Printf("%+v %v\n", config, err)
	// Output: {Device:cuda Beam:5} <nil>
}

func ExampleSchemaFor() {
	type Config struct {
		Port int `json:"port" jsonschema:"required,minimum=1,maximum=65535"`
	}
	schema, err := registry.SchemaFor[Config]()
	if err != nil {
		log.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, schema, "", "  "); err != nil {
		log.Fatal(err)
	}
	fmt.Println(indented.String())
	// Output:
	// {
	//   "$schema": "https://json-schema.org/draft/2020-12/schema",
	//   "properties": {
	//     "port": {
	//       "type": "integer",
	//       "maximum": 65535,
	//       "minimum": 1
	//     }
	//   },
	//   "additionalProperties": false,
	//   "type": "object",
	//   "required": [
	//     "port"
	//   ]
	// }
}

func ExamplePlugins_Stats() {
	ctx := context.Background()
	reg := newRegistry(ctx)
	if _, err := reg.SaveConfig(ctx, "transcription_hosted", map[string]any{"url": "https://example.org"}); err != nil {
		log.Fatal(err)
	}
	plugins := reg.Plugins()
	for _, p := range plugins.Unconfigured().Local() {
		fmt.Println("local, to be configured:", p.Name)
	}
	stats := plugins.Stats()
	fmt.Println(stats.Total, "plugins,", stats.Configured, "configured,", stats.Cloud, "in a cloud")
	// Output:
	// local, to be configured: whisper
	// 2 plugins, 1 configured, 1 in a cloud
}

func ExampleRegistry_DisplayName() {
	reg := registry.New(memory.New())
	fmt.Println(reg.DisplayName("image_generation"), reg.DisplayName("llm2x"), reg.DisplayName("o'neil"))
	// Output: Image_Generation Llm2X O'Neil
}
