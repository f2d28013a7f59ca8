package settings_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/settings"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// whispers is a plugin system with one plugin.
type whispers struct{}

func (whispers) Discover(context.Context) ([]registry.Info, error) {
	return []registry.Info{{Name: "whisper", Title: "Whisper"}}, nil
}

func (whispers) ConfigSchema(context.Context, string) (json.RawMessage, error) {
	return json.RawMessage(`{"type": "object", "properties": {"model": {"type": "string", "title": "Model"}}}`), nil
}

// The handler is mounted under a prefix. The same config has a page for people and an address for programs.
func ExampleNew() {
	reg := registry.New(memory.New())
	if _, err := reg.RegisterManager(context.Background(), "transcription", whispers{}); err != nil {
		log.Fatal(err)
	}
	auth := func(h http.Handler) http.Handler { return h } // the application's own middleware
	h := settings.New(reg, settings.WithTitle("Plugins"))
	defer h.Close()
	mux := http.NewServeMux()
	mux.Handle("/admin/settings/", http.StripPrefix("/admin/settings", auth(h)))

	page := httptest.NewRecorder()
	mux.ServeHTTP(page, httptest.NewRequest("GET", "/admin/settings/plugins/transcription_whisper/", nil))
	fmt.Println(page.Code, strings.Contains(page.Body.String(), ">Model</label>"))

	patch := httptest.NewRequest("PATCH", "/admin/settings/api/plugins/transcription_whisper/config", strings.NewReader(`{"model": "small.en"}`))
	patch.Header.Set("Content-Type", "application/merge-patch+json")
	patch.Header.Set("If-None-Match", "*") // only if nothing is stored
	saved := httptest.NewRecorder()
	mux.ServeHTTP(saved, patch)
	fmt.Println(saved.Code)

	rec, err := reg.LoadConfig(context.Background(), "transcription_whisper")
	fmt.Println(string(rec.Config), err)
	// Output:
	// 200 true
	// 204
	// {"model":"small.en"} <nil>
}
