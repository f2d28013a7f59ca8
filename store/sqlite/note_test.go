package sqlite_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pressly/goose/v3"

	migrations "github.com/pluginregistry/pluginregistry/migrations/sqlite"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

// TestShellNotes: a note set in the shell is a write with a revision and a line of history; plugin_instances shows configs by plugin.
func TestShellNotes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path)
	first := put(t, s, "llm_openai", `{}`)
	put(t, s, "llm_openai@work", `{}`)
	put(t, s, "llm_odd@", `{}`)
	if said := shell(t, path, `UPDATE plugin_configs SET disabled = 1, title = 'Mine' WHERE plugin_id = 'llm_openai'`); said != "" {
		t.Fatal(said)
	}
	if note := must(s.Note(t.Context(), "llm_openai")); note != (store.Note{Title: "Mine", Disabled: true}) {
		t.Errorf("the note is %+v", note)
	}
	if rec := must(s.Get(t.Context(), "llm_openai")); rec.Revision == first.Revision || string(rec.Config) != `{}` {
		t.Errorf("the record is %v", rec)
	}
	if v := must(s.History(t.Context(), "llm_openai", 0)); len(v) != 2 || v[0].Author != "by hand" {
		t.Errorf("the history is %v", v)
	}
	const query = `SELECT plugin_id, instance, config_id, title, disabled, revision FROM plugin_instances ORDER BY config_id`
	const want = "llm_odd@||llm_odd@||0|1\nllm_openai||llm_openai|Mine|1|2\nllm_openai|work|llm_openai@work||0|1"
	if got := shell(t, path, query); got != want {
		t.Errorf("plugin_instances:\n%s\nwant\n%s", got, want)
	}
	if said := shell(t, path, `UPDATE plugin_configs SET disabled = 2`); said == "" {
		t.Error("disabled = 2 was accepted")
	}
}

// TestUpgrade: a database of the first version, with configs and full histories, is opened by several stores at once and keeps everything; goose's
// down brings the first version back.
func TestUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	open(t, path, sqlite.WithHistory(3)).Close()
	db := raw(t, path)
	provider := must(goose.NewProvider(goose.DialectSQLite3, db, migrations.Files, goose.WithTableName(migrations.Table), goose.WithDisableGlobalRegistry(true)))
	_ = must(provider.DownTo(t.Context(), 1))
	exec1(t, db, `WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000)
INSERT INTO plugin_configs (plugin_id, config) SELECT 'id' || n, json_object('n', n) FROM n`)
	for range 3 {
		exec1(t, db, `UPDATE plugin_configs SET config = json_set(config, '$.more', revision)`)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s := must(sqlite.Open(t.Context(), path))
			defer s.Close()
			put(t, s, "id7", `{"n":7,"more":3}`) // as it is
		})
	}
	wg.Wait()
	s := open(t, path)
	if ids := must(s.Configured(t.Context(), "")); len(ids) != 1000 {
		t.Errorf("%d configs", len(ids))
	}
	for n := 1; n <= 1000; n += 37 {
		want := fmt.Sprintf(`{"n":%d,"more":3} {"n":%d,"more":2} {"n":%d,"more":1}`, n, n, n)
		if got := configsOf(must(s.History(t.Context(), fmt.Sprint("id", n), 0))); got != want {
			t.Errorf("the history is %s, want %s", got, want)
		}
	}
}
