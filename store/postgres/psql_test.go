package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pluginregistry/pluginregistry/internal/pgserver"
	"github.com/pluginregistry/pluginregistry/store"
)

// psql runs SQL as a person would and returns the rows as psql -At prints them, or the message of the error.
func psql(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
	if err != nil {
		return err.Error()
	}
	var lines []string
	for _, row := range results[len(results)-1].Rows {
		var columns []string
		for _, value := range row {
			columns = append(columns, string(value))
		}
		lines = append(lines, strings.Join(columns, "|"))
	}
	return strings.Join(lines, "\n")
}

// TestPsqlReads: a person sees configs, values and history in psql.
func TestPsqlReads(t *testing.T) {
	dsn := pgserver.Database(t)
	s := open(t, dsn)
	put(t, s, "llm_gpt", `{"model":"gpt-4o","limits":{"tokens":4096,"stop":["a",null]},"stream":true,"big":9007199254740993.10,"a.b":"ü","none":{},"nul":"x\u0000y\\u0000","":[]}`, store.Any)
	if _, err := s.Put(store.WithAuthor(t.Context(), "ann"), "gone", []byte(`{}`), store.Any); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "gone", store.Any); err != nil {
		t.Fatal(err)
	}
	conn := pgserver.Connect(t, pgserver.With(t, dsn, "search_path", "pluginregistry"))
	for query, want := range map[string]string{
		`SELECT plugin_id, config IS NULL, configured, revision FROM plugin_configs ORDER BY plugin_id`:                             "gone|t|f|2\nllm_gpt|f|t|1",
		`SELECT path, type, value FROM config_values WHERE plugin_id = 'llm_gpt'`:                                                   "$.model|string|gpt-4o\n$.limits.tokens|number|4096\n$.limits.stop[0]|string|a\n$.limits.stop[1]|null|null\n$.stream|boolean|true\n$.big|number|9007199254740993.10\n$.\"a.b\"|string|ü\n$.none|object|{}\n$.nul|string|x\uFFFDy\\u0000\n$.\"\"|array|[]",
		`SELECT plugin_id, revision, configured, coalesce(config, '-'), author FROM plugin_config_history WHERE plugin_id = 'gone'`: "gone|1|t|{}|ann\ngone|2|f|-|",
		`SELECT count(*) FROM pluginregistry_migrations WHERE version_id = 1 AND is_applied`:                                        "1",
		`SELECT jsonb_path_query('{"limits":{"stop":["it"]}}', path::jsonpath) FROM config_values WHERE value = 'a'`:                `"it"`,
	} {
		if got := psql(t, conn, query); got != want {
			t.Errorf("%s\nsays:\n%s\nwant:\n%s", query, got, want)
		}
	}
}

// TestPsqlEdits: an edit in psql is a write like any other: with a revision, a time and a line of history of its own; watchers see it; what was
// loaded before conflicts.
func TestPsqlEdits(t *testing.T) {
	dsn := pgserver.Database(t)
	s := open(t, dsn, fast)
	before := put(t, s, "a", `{"device":"cpu","n":1}`, store.Any)
	put(t, s, "b", `{}`, store.Any)
	conn := pgserver.Connect(t, pgserver.With(t, dsn, "search_path", "pluginregistry"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	edits := []struct{ sql, id, config string }{
		{`UPDATE plugin_configs SET config = jsonb_set(config::jsonb, '{device}', '"cuda"') WHERE plugin_id = 'a'`, "a", `{"n":1,"device":"cuda"}`},
		{`INSERT INTO plugin_configs (plugin_id, config) VALUES ('c', '{"by": "hand"}')`, "c", `{"by":"hand"}`},
		{`UPDATE plugin_configs SET config = NULL, configured = false WHERE plugin_id = 'c'`, "c", ``},
		{`UPDATE plugin_configs SET config = '{"again":0}' WHERE plugin_id = 'c'`, "c", `{"again":0}`},
		{`UPDATE plugin_configs SET config = NULL WHERE plugin_id = 'c'`, "c", ``},
		{`DELETE FROM plugin_configs WHERE plugin_id = 'b'`, "b", ``},
		{`INSERT INTO plugin_configs (plugin_id, config) VALUES ('b', '{"again":1}') ON CONFLICT (plugin_id) DO UPDATE SET config = excluded.config, configured = true`, "b", `{"again":1}`},
		{`UPDATE plugin_configs SET configured = false WHERE plugin_id = 'a'`, "a", ``},
		{`UPDATE plugin_configs SET configured = true WHERE plugin_id = 'a'`, "a", `{"n":1,"device":"cuda"}`},
		{`UPDATE plugin_configs SET title = 'A', disabled = true WHERE plugin_id = 'a'`, "a", `{"n":1,"device":"cuda"}`},
	}
	changes := s.Watch(ctx)
	step := 0
	if said := psql(t, conn, edits[0].sql); said != "" {
		t.Fatal(said)
	}
	revisions := map[string]bool{"a" + string(before.Revision): true}
	for c, err := range changes {
		if err != nil {
			t.Fatal(err)
		}
		edit := edits[step]
		if c.ID != edit.id || c.Configured != (edit.config != "") || revisions[c.ID+string(c.Revision)] {
			t.Errorf("%s\nmade the event %+v", edit.sql, c)
		}
		revisions[c.ID+string(c.Revision)] = true
		if edit.config == "" {
			if _, err := s.Get(ctx, edit.id); err == nil {
				t.Errorf("%s\nleft the config", edit.sql)
			}
		} else {
			wantConfig(t, s, edit.id, edit.config)
		}
		versions := must(s.History(ctx, edit.id, 1))
		if v := versions[0]; v.Revision != c.Revision || v.Configured != c.Configured || v.UpdatedAt.Before(before.UpdatedAt) || v.Author != "postgres" {
			t.Errorf("%s\nmade the line of history %v by %q", edit.sql, v, v.Author)
		}
		if step++; step == len(edits) {
			break
		}
		if said := psql(t, conn, edits[step].sql); said != "" {
			t.Errorf("%s\nsays %s", edits[step].sql, said)
		}
	}
	if step != len(edits) {
		t.Fatalf("%d of %d events", step, len(edits))
	}
	if _, err := s.Put(ctx, "a", []byte(`{}`), before.Revision); err == nil {
		t.Error("a revision of before the edits was accepted")
	}
	if ids := must(s.Configured(ctx, "")); !slices.Equal(ids, []string{"a", "b"}) {
		t.Errorf("configured: %q", ids)
	}
	if note := must(s.Note(ctx, "a")); note != (store.Note{Title: "A", Disabled: true}) {
		t.Errorf("the note is %+v", note)
	}
	// What changes nothing makes no revision.
	now := must(s.Get(ctx, "a"))
	psql(t, conn, `UPDATE plugin_configs SET config = config`)
	if again := must(s.Get(ctx, "a")); again.Revision != now.Revision {
		t.Errorf("an edit that changes nothing made revision %q of %q", again.Revision, now.Revision)
	}
}

// TestPsqlRefused: the database refuses what is no config, and says why.
func TestPsqlRefused(t *testing.T) {
	dsn := pgserver.Database(t)
	s := open(t, dsn)
	rec := put(t, s, "a", `{"n":1}`, store.Any)
	conn := pgserver.Connect(t, pgserver.With(t, dsn, "search_path", "pluginregistry"))
	for sql, says := range map[string]string{
		`UPDATE plugin_configs SET config = '{"n":' WHERE plugin_id = 'a'`:                       "no JSON object",
		`UPDATE plugin_configs SET config = '' WHERE plugin_id = 'a'`:                            "no JSON object",
		`UPDATE plugin_configs SET config = '[1]' WHERE plugin_id = 'a'`:                         "no JSON object",
		`UPDATE plugin_configs SET config = 'null' WHERE plugin_id = 'a'`:                        "no JSON object",
		`UPDATE plugin_configs SET config = '{"x":{"n":1,"n":2}}' WHERE plugin_id = 'a'`:         "a name stands twice",
		`UPDATE plugin_configs SET config = '{"a":{"x":1},"\u0061":{"y":1}}'`:                    "a name stands twice",
		`UPDATE plugin_configs SET config = '{"x":"\ud800"}' WHERE plugin_id = 'a'`:              "half of a surrogate",
		`UPDATE plugin_configs SET config = '{"x\ud800":1}' WHERE plugin_id = 'a'`:               "half of a surrogate",
		`UPDATE plugin_configs SET config = '{"x":"` + strings.Repeat("x", 16<<20) + `"}'`:       "16 MiB",
		`UPDATE plugin_configs SET config = repeat('{"a":', 512) || '{}' || repeat('}', 512)`:    "512 levels",
		`INSERT INTO plugin_configs (plugin_id, config) VALUES ('b', '{"n":1,"n":2}')`:           "a name stands twice",
		`UPDATE plugin_configs SET plugin_id = 'z' WHERE plugin_id = 'a'`:                        "plugin_id stays",
		`UPDATE plugin_configs SET revision = 9223372036854775807 WHERE plugin_id = 'a'`:         "leave them out",
		`UPDATE plugin_configs SET revision = revision - 1, config = '{}' WHERE plugin_id = 'a'`: "leave them out",
		`UPDATE plugin_configs SET tag = 'mine' WHERE plugin_id = 'a'`:                           "leave them out",
		`UPDATE plugin_configs SET updated_at = 'yesterdy' WHERE plugin_id = 'a'`:                "invalid input syntax",
		`INSERT INTO plugin_configs (plugin_id, config) VALUES ('', '{}')`:                       "plugin_id has 1 to 512 bytes",
		`INSERT INTO plugin_configs (plugin_id, config) VALUES (repeat('é', 300), '{}')`:         "plugin_id has 1 to 512 bytes",
		`TRUNCATE plugin_configs`: "cannot be truncated",
	} {
		if got := psql(t, conn, sql); !strings.Contains(got, says) {
			t.Errorf("%.200s\nsays %q, not %q", sql, got, says)
		}
	}
	if now, err := s.Get(t.Context(), "a"); err != nil || string(now.Config) != `{"n":1}` || now.Revision != rec.Revision {
		t.Errorf("the config is now %v, %.300v", now, err)
	}
	for _, config := range []string{`{"x":"\u0000"}`, `{"x\u0000":"\ud83d\ude00"}`, `{ "a" : 1.10 }`, strings.Repeat(`{"a":`, 511) + `{}` + strings.Repeat(`}`, 511), `{"x":1e400000}`} {
		if got := psql(t, conn, fmt.Sprintf(`UPDATE plugin_configs SET config = '%s'`, config)); got != "" {
			t.Errorf("%.50s is refused: %s", config, got)
		}
		if _, err := s.Get(t.Context(), "a"); err != nil {
			t.Errorf("%.50s: %.300v", config, err)
		}
	}
	if got := psql(t, conn, `SELECT count(*) FROM config_values`); got != "1" {
		t.Errorf("there are %s values", got)
	}
}
