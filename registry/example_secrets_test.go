package registry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"strings"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/secret"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// hosted is a manager of one plugin, whose API key is secret.
type hosted struct{}

func (hosted) Discover(context.Context) ([]registry.Info, error) {
	return []registry.Info{{Name: "hosted"}}, nil
}

func (hosted) ConfigSchema(context.Context, string) (json.RawMessage, error) {
	return json.RawMessage(`{
		"properties": {"url": {"type": "string"}, "api_key": {"type": "string", "writeOnly": true}},
		"additionalProperties": false
	}`), nil
}

// MigrateConfig knows that url was once called endpoint.
func (hosted) MigrateConfig(_ context.Context, _ string, old json.RawMessage) (json.RawMessage, error) {
	return bytes.Replace(old, []byte(`"endpoint":`), []byte(`"url":`), 1), nil
}

func ExampleWithSecrets() {
	ctx := context.Background()
	keys, err := secret.New(bytes.Repeat([]byte{7}, secret.KeySize)) // or secret.OpenFile, or secret.FromEnv
	if err != nil {
		log.Fatal(err)
	}
	st := memory.New()
	reg := registry.New(st, registry.WithSecrets(keys))
	if _, err := reg.RegisterManager(ctx, "llm", hosted{}); err != nil {
		log.Fatal(err)
	}
	if _, err := reg.SaveConfig(ctx, "llm_hosted", map[string]any{"url": "https://example.org", "api_key": "hunter2"}); err != nil {
		log.Fatal(err)
	}
	atRest, err := st.Get(ctx, "llm_hosted")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.Contains(string(atRest.Config), "hunter2"))
	rec, err := reg.LoadConfig(ctx, "llm_hosted")
	fmt.Println(string(rec.Config), err)
	// Output:
	// false
	// {"api_key":"hunter2","url":"https://example.org"} <nil>
}

func ExampleRegistry_RedactedConfig() {
	ctx := context.Background()
	keys, err := secret.New(bytes.Repeat([]byte{7}, secret.KeySize))
	if err != nil {
		log.Fatal(err)
	}
	reg := registry.New(memory.New(), registry.WithSecrets(keys))
	if _, err := reg.RegisterManager(ctx, "llm", hosted{}); err != nil {
		log.Fatal(err)
	}
	if _, err := reg.SaveConfig(ctx, "llm_hosted", map[string]any{"url": "https://example.org", "api_key": "hunter2"}); err != nil {
		log.Fatal(err)
	}
	form, err := reg.RedactedConfig(ctx, "llm_hosted")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(form.Config))

	// The form comes back with another URL. Its secret is kept.
	edited := bytes.Replace(form.Config, []byte("example.org"), []byte("example.com"), 1)
	rec, err := reg.SaveConfig(ctx, "llm_hosted", edited, registry.IfRevision(form.Revision))
	fmt.Println(string(rec.Config), err)
	// Output:
	// {"api_key":"**********","url":"https://example.org"}
	// {"api_key":"hunter2","url":"https://example.com"} <nil>
}

func ExampleRegistry_Migrate() {
	ctx := context.Background()
	st := memory.New()
	// An earlier version of the plugin saved this.
	if _, err := st.Put(ctx, "llm_hosted", json.RawMessage(`{"endpoint":"https://example.org"}`), store.Any); err != nil {
		log.Fatal(err)
	}
	reg := registry.New(st)
	if _, err := reg.RegisterManager(ctx, "llm", hosted{}); err != nil { // hosted is a registry.Migrator
		log.Fatal(err)
	}
	if err := reg.Migrate(ctx, "llm_hosted"); err != nil {
		log.Fatal(err)
	}
	rec, err := reg.LoadConfig(ctx, "llm_hosted")
	fmt.Println(string(rec.Config), err)
	// Output: {"url":"https://example.org"} <nil>
}
