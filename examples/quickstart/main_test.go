package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/secret"
)

// TestTwoRuns: the second run finds what the first has saved, and no file but the key's shows the API key.
func TestTwoRuns(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "sk-test-very-secret")
	dir := t.TempDir()
	for n, wants := range [][]string{
		{"this is the first run", "Saved 5 configurations", "/device: must be one of", `"api_key":"**********"`, "* faster_whisper", "5 of 10 plugins are configured"},
		{"Found 5 configurations from an earlier run", "Saved 0 configurations", "5 of 10 plugins are configured"},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), &out, filepath.Join(dir, "q.db"), filepath.Join(dir, "q.key")); err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("run %d does not say %q:\n%s", n+1, want, &out)
			}
		}
		if strings.Contains(out.String(), "very-secret") {
			t.Error("the output shows the API key")
		}
		for _, entry := range must(os.ReadDir(dir)) {
			if bytes.Contains(must(os.ReadFile(filepath.Join(dir, entry.Name()))), []byte("very-secret")) {
				t.Errorf("%s shows the API key", entry.Name())
			}
		}
	}
}

// TestLostKey runs again without the key file, and with that of another database.
func TestLostKey(t *testing.T) {
	dir := t.TempDir()
	db, key := filepath.Join(dir, "q.db"), filepath.Join(dir, "q.key")
	if err := run(t.Context(), io.Discard, db, key); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), io.Discard, db, key); !errors.Is(err, secret.ErrLostKey) {
		t.Errorf("without the key file the error is %v", err)
	}
	must(secret.OpenFile(key))
	if err := run(t.Context(), io.Discard, db, key); !errors.Is(err, registry.ErrSecretLocked) {
		t.Errorf("with another key the error is %v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
