package settings

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/manifest"
)

// TestInABrowser runs internal/browser against the pages, in the chromium of the machine: what axe-core says, light and dark, narrow,
// by keyboard, without scripts, behind a proxy, and whether any byte that was sent shows a secret. With PLUGINREGISTRY_GALLERY=1 it
// also makes the pictures in docs.
func TestInABrowser(t *testing.T) {
	const dir = "../../internal/browser"
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: .ci/run installs it")
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed: .ci/run installs it")
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "playwright-core")); err != nil {
		t.Skip("the packages of internal/browser are not installed: run npm ci in it")
	}

	var big strings.Builder
	for i := range 200 {
		fmt.Fprintf(&big, `,"setting%d":{"type":"integer","title":"Setting %d"}`, i, i)
	}
	s := newSite(t, fake{"p": everything, "two": everything, "odd": everything, "big": `{"type":"object","properties":{"first":{"type":"string"}` + big.String() + `}}`})
	s.save("c_p", `{"name":"n","key":"sk-planted-1","tags":["a","b"],"servers":[{"host":"h","token":"sk-planted-2"}],"env":{"A":"1"},"strange":1,"back":{"type":"local","dir":"d"},"big":null}`)
	s.save("c_p@work", `{"name":"n","key":"sk-planted-3"}`)
	s.save("c_p", `{"name":"m","key":"sk-planted-1","tags":["a","b"],"servers":[{"host":"h","token":"sk-planted-2"}],"env":{"A":"1"},"strange":1,"back":{"type":"local","dir":"d"},"big":null,"note":"x"}`)
	s.save("c_two", `{"name":"n","note":"x"}`)
	g := generator{rand.New(rand.NewPCG(7, 8))}
	odd := map[string]string{}
	for i := range 8 {
		id := fmt.Sprintf("c_odd@%d", i)
		s.save(id, g.config())
		odd[id] = s.stored(id)
	}

	mux := http.NewServeMux()
	mux.Handle("/admin/settings/", http.StripPrefix("/admin/settings", s.h))
	server := httptest.NewServer(mux)
	defer server.Close()
	defer s.h.Close()
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	at.Path = "/admin/settings"
	proxy := httptest.NewServer(http.StripPrefix("/elsewhere", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(at)
	}}))
	defer proxy.Close()

	plan := map[string]any{
		"base": server.URL + "/admin/settings/", "proxy": proxy.URL + "/elsewhere/", "chromium": chromium,
		"secrets": []string{"sk-planted-1", "sk-planted-2", "sk-planted-3"}, "typed": "sk-typed-by-somebody", "odd": keysOf(odd),
	}
	if os.Getenv("PLUGINREGISTRY_GALLERY") != "" {
		docs, err := filepath.Abs("../../docs")
		if err != nil {
			t.Fatal(err)
		}
		plan["pictures"] = gallery(t).URL + "/"
		plan["gallery"] = [][]any{
			{filepath.Join(docs, "settings.png"), "plugins/language_model_openai_chat/", 1280, "light"},
			{filepath.Join(docs, "settings-list.png"), "", 1280, "dark"},
			{filepath.Join(docs, "settings-narrow.png"), "plugins/language_model_openai_chat/", 400, "dark"},
		}
	}
	encoded, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "run.mjs")
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), "PLAN="+string(encoded)), os.Stderr
	out, err := cmd.Output()
	results := 0
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		var result struct{ Name, Message string }
		if json.Unmarshal([]byte(line), &result) != nil {
			continue
		}
		results++
		t.Run(result.Name, func(t *testing.T) {
			if result.Message != "" {
				t.Error(result.Message)
			}
		})
	}
	if err != nil || results < 30 {
		t.Fatalf("the browser's script gave %d results: %v", results, err)
	}
	for id, before := range odd {
		if after := s.stored(id); after != before {
			t.Errorf("%s was changed by the browser:\n%s\n%s", id, before, after)
		}
	}
}

func keysOf(m map[string]string) []string {
	keys := []string{}
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}

// gallery serves what the pictures in docs show.
func gallery(t *testing.T) *httptest.Server {
	t.Helper()
	s := newSite(t, fake{}, WithTitle("Plugins"))
	const plugins = "../../examples/quickstart/plugins"
	for category, name := range map[string]string{"transcription": "Transcription", "language_model": "Language model", "image_generation": "Image generation", "text_to_speech": "Text to speech"} {
		if _, err := s.reg.RegisterManager(t.Context(), category, manifest.Dirs(filepath.Join(plugins, category)), registry.WithDisplayName(name)); err != nil {
			t.Fatal(err)
		}
	}
	s.save("language_model_openai_chat", `{"model":"gpt-4.1-mini","temperature":0.2,"api_key":"sk-example"}`)
	s.save("text_to_speech_piper", `{"model":"en_US-lessac-medium"}`)
	server := httptest.NewServer(s.h)
	t.Cleanup(server.Close)
	t.Cleanup(func() { _ = s.h.Close() })
	return server
}
