package sqlite_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
	"github.com/pluginregistry/pluginregistry/store/storetest"
)

func open(t *testing.T, path string, opts ...sqlite.Option) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		return open(t, filepath.Join(t.TempDir(), "registry.db"), sqlite.WithPollInterval(pollInterval))
	})
}

func TestShared(t *testing.T) {
	storetest.RunShared(t, func(t *testing.T) func() store.Store {
		path := filepath.Join(t.TempDir(), "registry.db")
		return func() store.Store { return open(t, path, sqlite.WithPollInterval(pollInterval)) }
	})
}

func TestDamaged(t *testing.T) {
	storetest.RunDamaged(t, func(t *testing.T) storetest.Damageable {
		path := filepath.Join(t.TempDir(), "registry.db")
		s := open(t, path, sqlite.WithPollInterval(pollInterval))
		db := raw(t, path)
		exec1(t, db, `PRAGMA ignore_check_constraints = 1`)
		texts := func(query, id string) (texts []string) {
			rows := must(db.Query(query, id))
			defer rows.Close()
			for rows.Next() {
				var text string
				if err := rows.Scan(&text); err != nil {
					t.Fatal(err)
				}
				texts = append(texts, text)
			}
			return texts
		}
		return storetest.Damageable{
			Store: s,
			Damage: func(id string) {
				exec1(t, db, `UPDATE plugin_configs SET config = '{"key":"hunter2"' || revision WHERE plugin_id = ?`, id)
			},
			Stored: func(id string) string {
				return strings.Join(texts(`SELECT coalesce(config, '') FROM plugin_configs WHERE plugin_id = ?`, id), "")
			},
			Aside: func(id string) []string {
				return texts(`SELECT config FROM plugin_config_damaged WHERE plugin_id = ?`, id)
			},
		}
	})
}

func TestProcesses(t *testing.T) {
	storetest.RunProcesses(t, func(ctx context.Context, dir string) (store.Store, error) {
		return sqlite.Open(ctx, filepath.Join(dir, "registry.db"))
	})
}

// TestOptions: settings that make no sense are errors of Open and New.
func TestOptions(t *testing.T) {
	for name, opt := range map[string]sqlite.Option{
		"WithPollInterval(0s)": sqlite.WithPollInterval(0), "WithPollInterval(-1s)": sqlite.WithPollInterval(-time.Second),
		"WithBusyTimeout(-1s)": sqlite.WithBusyTimeout(-time.Second), "WithHistory(-1)": sqlite.WithHistory(-1),
	} {
		path := filepath.Join(t.TempDir(), "x.db")
		if _, err := sqlite.Open(t.Context(), path, opt); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: Open says %v", name, err)
		}
		if _, err := sqlite.New(t.Context(), raw(t, path), opt); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: New says %v", name, err)
		}
	}
	put(t, open(t, filepath.Join(t.TempDir(), "x.db"), sqlite.Option{}), "a", `{}`)
}

// TestNotMade: a store that nobody made, or a database that is nil, panics with a sentence.
func TestNotMade(t *testing.T) {
	for name, use := range map[string]func(){
		"nil":        func() { _, _ = (*sqlite.Store)(nil).Get(t.Context(), "a") },
		"zero":       func() { _, _ = new(sqlite.Store).Put(t.Context(), "a", []byte(`{}`), store.Any) },
		"zero watch": func() { new(sqlite.Store).Watch(t.Context()) },
		"zero close": func() { _ = new(sqlite.Store).Close() },
		"New of nil": func() { _, _ = sqlite.New(t.Context(), nil) },
	} {
		func() {
			defer func() {
				if said, ok := recover().(string); !ok || !strings.HasPrefix(said, "sqlite: ") {
					t.Errorf("%s: %q", name, said)
				}
			}()
			use()
		}()
	}
}
