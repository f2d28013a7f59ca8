package secret_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/secret"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

// one is a manager of one plugin, whose api_key is secret.
type one struct{}

func (one) Discover(context.Context) ([]registry.Info, error) {
	return []registry.Info{{Name: "openai"}}, nil
}

func (one) ConfigSchema(context.Context, string) (json.RawMessage, error) {
	return json.RawMessage(`{"type":"object","properties":{"accounts":{"type":"array","items":{"type":"object","properties":{"api_key":{"type":"string","writeOnly":true}}}}}}`), nil
}

// TestLostKey opens a store without the file that has its key.
func TestLostKey(t *testing.T) {
	stores := map[string]store.Store{"memory": memory.New()}
	if st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "registry.db")); err != nil {
		t.Fatal(err)
	} else {
		defer st.Close()
		stores["sqlite"] = st
	}
	for name, st := range stores {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secret.keys")
			keys, err := secret.OpenFileFor(t.Context(), path, st)
			if err != nil {
				t.Fatal(err) // nothing is sealed yet, so a key is made
			}
			reg := registry.New(st, registry.WithSecrets(keys))
			if _, err := reg.RegisterManager(t.Context(), "llm", one{}); err != nil {
				t.Fatal(err)
			}
			save := func(config string) {
				t.Helper()
				if _, err := reg.SaveConfig(t.Context(), "llm_openai", json.RawMessage(config)); err != nil {
					t.Fatal(err)
				}
			}
			open := func(want error, why string) {
				t.Helper()
				if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
				_, err := secret.OpenFileFor(t.Context(), path, st)
				if !errors.Is(err, want) {
					t.Errorf("%s: the error is %v, want %v", why, err, want)
				}
				if _, statErr := os.Stat(path); (statErr == nil) != (want == nil) {
					t.Errorf("%s: the file is there: %t", why, statErr == nil)
				}
			}
			save(`{"accounts":[{"api_key":""}]}`)
			open(nil, "no secret")
			save(`{"accounts":[{"api_key":"sk-1"}]}`)
			open(secret.ErrLostKey, "a sealed secret")
			if _, err := secret.OpenFileFor(t.Context(), path, st); err == nil || strings.Contains(err.Error(), "sk-1") || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "llm_openai") {
				t.Errorf("the error is %v", err)
			}
			if err := reg.DeleteConfig(t.Context(), "llm_openai"); err != nil {
				t.Fatal(err)
			}
			open(secret.ErrLostKey, "a sealed secret in the history")
		})
	}
}

// unreadable is a store of which nothing can be told.
type unreadable struct{ *memory.Store }

func (unreadable) Configured(context.Context, string) ([]string, error) {
	return nil, store.ErrClosed
}

func TestLostKeyNotKnown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.keys")
	if _, err := secret.OpenFileFor(t.Context(), path, unreadable{memory.New()}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("the error is %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a key was made although it is not known whether one is lost")
	}
}
