package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

// shell runs SQL in the sqlite3 shell and returns what it says, standard error included.
func shell(t *testing.T, path, sql string) string {
	t.Helper()
	program, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("the sqlite3 shell is not installed")
	}
	out, err := exec.CommandContext(t.Context(), program, "-cmd", ".timeout 5000", path, sql).CombinedOutput()
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestShellReads: a person sees configs, values and history in the sqlite3 shell while the store is open.
func TestShellReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path)
	put(t, s, "llm_gpt", `{"model":"gpt-4o","limits":{"tokens":4096,"stop":["a",null]},"stream":true,"big":9007199254740993,"a.b":"ü","none":{}}`)
	put(t, s, "gone", `{}`)
	if err := s.Delete(t.Context(), "gone", store.Any); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		`SELECT plugin_id, config IS NULL, configured, revision FROM plugin_configs ORDER BY plugin_id`:                                                          "gone|1|0|2\nllm_gpt|0|1|1",
		`SELECT typeof(config), typeof(revision), updated_at GLOB '20??-??-??T??:??:??.???Z' FROM plugin_configs WHERE plugin_id = 'llm_gpt'`:                    "text|integer|1",
		`SELECT path, type, value FROM config_values WHERE plugin_id = 'llm_gpt'`:                                                                                "$.model|text|gpt-4o\n$.limits.tokens|integer|4096\n$.limits.stop[0]|text|a\n$.limits.stop[1]|null|null\n$.stream|true|true\n$.big|integer|9007199254740993\n$.\"a.b\"|text|ü\n$.none|object|{}",
		`SELECT plugin_id, revision, configured, coalesce(config, '-') FROM plugin_config_history WHERE plugin_id = 'gone' ORDER BY revision`:                    "gone|1|1|{}\ngone|2|0|-",
		`SELECT count(*) FROM pluginregistry_migrations WHERE version_id = 1 AND is_applied`:                                                                     "1",
		`SELECT group_concat(name, ' ') FROM (SELECT name FROM pragma_table_list WHERE schema = 'main' AND name LIKE 'plugin_config%' AND strict ORDER BY name)`: "plugin_config_damaged plugin_config_history plugin_config_replaced plugin_config_settings plugin_configs",
		`PRAGMA integrity_check`: "ok",
	} {
		if got := shell(t, path, query); got != want {
			t.Errorf("%s\nsays:\n%s\nwant:\n%s", query, got, want)
		}
	}
}

// TestShellEdits: an edit in the shell is a write like any other: with a revision, a time and a line of history of its own; watchers see
// it; what was loaded before conflicts.
func TestShellEdits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path, sqlite.WithPollInterval(pollInterval))
	before := put(t, s, "a", `{"device":"cpu","n":1}`)
	put(t, s, "b", `{}`)
	shell(t, path, `SELECT 1`) // skip before anything is watched
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var events []store.Change
	var failure error
	wait := func(events []store.Change, n int) bool { return len(events) == n }
	edits := []struct{ sql, id, config string }{
		{`UPDATE plugin_configs SET config = json_set(config, '$.device', 'cuda') WHERE plugin_id = 'a'`, "a", `{"device":"cuda","n":1}`},
		{`INSERT INTO plugin_configs (plugin_id, config) VALUES ('c', '{"by": "hand"}')`, "c", `{"by":"hand"}`},
		{`UPDATE plugin_configs SET config = NULL, configured = 0 WHERE plugin_id = 'c'`, "c", ``},
		{`DELETE FROM plugin_configs WHERE plugin_id = 'b'`, "b", ``},
		{`INSERT INTO plugin_configs (plugin_id, config) VALUES ('b', '{"again":1}') ON CONFLICT DO UPDATE SET config = excluded.config, configured = 1`, "b", `{"again":1}`},
		{`REPLACE INTO plugin_configs (plugin_id, config) VALUES ('a', '{"replaced":1.0}')`, "a", `{"replaced":1.0}`},
		{`UPDATE plugin_configs SET configured = 0 WHERE plugin_id = 'a'`, "a", ``},
		{`UPDATE plugin_configs SET configured = 1 WHERE plugin_id = 'a'`, "a", `{"replaced":1.0}`},
	}
	changes := s.Watch(ctx)
	step := 0
	if said := shell(t, path, edits[0].sql); said != "" {
		t.Fatal(said)
	}
	revisions := map[string]bool{"a" + string(before.Revision): true}
	for c, err := range changes {
		if err != nil {
			failure = err
			break
		}
		events = append(events, c)
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
		if v := versions[0]; v.Revision != c.Revision || v.Configured != c.Configured || v.UpdatedAt.Before(before.UpdatedAt) {
			t.Errorf("%s\nmade the line of history %v", edit.sql, v)
		}
		if step++; step == len(edits) {
			break
		}
		if said := shell(t, path, edits[step].sql); said != "" {
			t.Errorf("%s\nsays %s", edits[step].sql, said)
		}
	}
	if failure != nil || !wait(events, len(edits)) {
		t.Fatalf("%d of %d events, %v", len(events), len(edits), failure)
	}
	if _, err := s.Put(ctx, "a", []byte(`{}`), before.Revision); err == nil {
		t.Error("a revision of before the edits was accepted")
	}
	if ids := must(s.Configured(ctx, "")); !slices.Equal(ids, []string{"a", "b"}) {
		t.Errorf("configured: %q", ids)
	}
}

// TestShellRefused: the database refuses what is no config, and says why.
func TestShellRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path)
	rec := put(t, s, "a", `{"n":1}`)
	for sql, says := range map[string]string{
		`UPDATE plugin_configs SET config = '{"n":' WHERE plugin_id = 'a'`:                        "config is one JSON object",
		`UPDATE plugin_configs SET config = '[1]' WHERE plugin_id = 'a'`:                          "config is one JSON object",
		`UPDATE plugin_configs SET config = 'null' WHERE plugin_id = 'a'`:                         "config is one JSON object",
		`UPDATE plugin_configs SET config = '{"x":{"n":1,"n":2}}' WHERE plugin_id = 'a'`:          "a name stands twice",
		`INSERT INTO plugin_configs (plugin_id, config) VALUES ('b', '{"n":1,"n":2}')`:            "a name stands twice",
		`UPDATE plugin_configs SET config = x'00' WHERE plugin_id = 'a'`:                          "cannot store BLOB",
		`UPDATE plugin_configs SET config = NULL WHERE plugin_id = 'a'`:                           "configured is 1 with a config",
		`UPDATE plugin_configs SET configured = 2 WHERE plugin_id = 'a'`:                          "configured is 1 with a config",
		`UPDATE plugin_configs SET plugin_id = 'z' WHERE plugin_id = 'a'`:                         "plugin_id stays",
		`UPDATE plugin_configs SET revision = 0 WHERE plugin_id = 'a'`:                            "revision is counted by the database",
		`UPDATE plugin_configs SET updated_at = '2024-99-99T99:99:99Z' WHERE plugin_id = 'a'`:     "updated_at is a UTC time",
		`UPDATE plugin_configs SET updated_at = '2023-02-29T00:00:00.000Z' WHERE plugin_id = 'a'`: "updated_at is a UTC time",
		`UPDATE plugin_configs SET config = '{"a":1,"\u0061":2}' WHERE plugin_id = 'a'`:           "a name stands twice",
		`UPDATE plugin_configs SET config = '{"l":[{"b":1,"\u0062":2}]}' WHERE plugin_id = 'a'`:   "a name stands twice",
		`REPLACE INTO plugin_configs (plugin_id, config) VALUES ('a', '{"n":1,"n":2}')`:           "a name stands twice",
		`UPDATE plugin_configs SET config = '{n:1}' WHERE plugin_id = 'a'`:                        "config is one JSON object",
		`UPDATE plugin_configs SET config = '{"n":1,}' WHERE plugin_id = 'a'`:                     "config is one JSON object",
		`UPDATE plugin_configs SET config = CAST('{"n":1}' AS BLOB) WHERE plugin_id = 'a'`:        "cannot store BLOB",
		`UPDATE plugin_configs SET revision = 9223372036854775807 WHERE plugin_id = 'a'`:          "revision is counted by the database",
		`UPDATE plugin_configs SET revision = revision + 1 WHERE plugin_id = 'a'`:                 "revision is counted by the database",
		`UPDATE plugin_configs SET config = '{}', revision = revision + 1 WHERE plugin_id = 'a'`:  "revision is counted by the database",
		`UPDATE plugin_configs SET revision = -1 WHERE plugin_id = 'a'`:                           "revision is counted by the database",
		`INSERT INTO plugin_configs (plugin_id, config) VALUES ('a', '{"n":2}')`:                  "UNIQUE constraint failed",
		`UPDATE plugin_configs SET plugin_id = 'y' WHERE plugin_id = 'a'; SELECT 1`:               "CopyConfig",
		`UPDATE plugin_configs SET updated_at = 'now' WHERE plugin_id = 'a'`:                      "updated_at is a UTC time",
		`INSERT INTO plugin_configs (plugin_id, config) VALUES ('', '{}')`:                        "plugin_id has 1 to 512 bytes",
	} {
		if got := shell(t, path, sql); !strings.Contains(got, says) {
			t.Errorf("%s\nsays %q, not %q", sql, got, says)
		}
	}
	if now := must(s.Get(t.Context(), "a")); string(now.Config) != `{"n":1}` || now.Revision != rec.Revision {
		t.Errorf("the config is now %v", now)
	}
}

// TestShellHoldsTransaction: a shell in the middle of reading does not keep the store from saving.
func TestShellHoldsTransaction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path)
	put(t, s, "a", `{"n":1}`)
	program, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Skip("the sqlite3 shell is not installed")
	}
	cmd := exec.CommandContext(t.Context(), program, path)
	in := must(cmd.StdinPipe())
	out := must(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ask := func(sql, want string) {
		t.Helper()
		if _, err := in.Write([]byte(sql + "\n")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := out.Read(got); err != nil || string(got) != want {
			t.Fatalf("%s: %q, %v", sql, got, err)
		}
	}
	ask(`BEGIN; SELECT config FROM plugin_configs;`, `{"n":1}`+"\n")
	put(t, s, "a", `{"n":2}`)
	ask(`SELECT config FROM plugin_configs;`, `{"n":1}`+"\n") // its own view
	ask(`COMMIT; SELECT config FROM plugin_configs;`, `{"n":2}`+"\n")
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestOwnWritesMeetTheChecks: the store writes without the CHECKs of its tables, so all that it takes must meet them; PRAGMA
// integrity_check looks.
func TestOwnWritesMeetTheChecks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path)
	deep := strings.Repeat(`{"a":`, 511) + `[]` + strings.Repeat(`}`, 511)
	for i, config := range []string{
		`{}`, `{"":""}`, " {\n\t\"a\" : 1 } ", `{"a":"\u0000\ud83d\ude00\/"}`, "{\"a\":\"\u007f\u2028é\U0010ffff\"}", `{"a":1e999,"b":-0,"c":0.10e-7}`,
		`{"a":[null,true,false,[],{}]}`, `{"a":123456789012345678901234567890.5}`, deep,
	} {
		put(t, s, fmt.Sprint("checks_", i), config)
	}
	for _, id := range []string{"a", strings.Repeat("a", store.MaxID), strings.Repeat("é", store.MaxID/2), "../'\"%\\\n\u2028"} {
		put(t, s, id, `{"first":1}`)
		put(t, s, id, `{"second":2}`)
		if err := s.Delete(t.Context(), id, store.Any); err != nil {
			t.Fatal(err)
		}
	}
	var result string
	db := must(sql.Open("sqlite", byHandDSN(path)))
	defer db.Close()
	if err := db.QueryRow(`PRAGMA integrity_check`).Scan(&result); err != nil || result != "ok" {
		t.Errorf("integrity_check says %q, %v", result, err)
	}
	writer := must(sql.Open("sqlite", byHandDSN(path, "_pragma", "ignore_check_constraints(1)"))) // else it would find nothing at all
	defer writer.Close()
	_ = must(writer.Exec(`UPDATE plugin_configs SET config = '[]' WHERE plugin_id = 'checks_0'`))
	if err := db.QueryRow(`PRAGMA integrity_check`).Scan(&result); err != nil || result == "ok" {
		t.Errorf("integrity_check says %q, %v of a config that is an array", result, err)
	}
}

// TestShellRevisions: whatever is done by hand, a revision never comes twice, saves go on, and the history has each state under its own.
func TestShellRevisions(t *testing.T) {
	for _, history := range []int{0, 1, 3, 50} {
		path := filepath.Join(t.TempDir(), "x.db")
		s := open(t, path, sqlite.WithHistory(history))
		seen := map[store.Revision]string{put(t, s, "a", `{"n":0}`).Revision: ""}
		states := 1
		for _, edit := range []string{
			`DELETE FROM plugin_configs WHERE plugin_id = 'a'; INSERT INTO plugin_configs (plugin_id, config) VALUES ('a', '{"n":1}')`,
			`REPLACE INTO plugin_configs (plugin_id, config) VALUES ('a', '{"n":2}')`,
			`REPLACE INTO plugin_configs (plugin_id, config) VALUES ('a', '{"n":2}')`,
			`INSERT OR REPLACE INTO plugin_configs (plugin_id, config, revision) VALUES ('a', '{"n":3}', 9223372036854775807)`,
			`INSERT OR REPLACE INTO plugin_configs (plugin_id, config, revision, checked) VALUES ('a', '{"n":4}', 1, 1)`,
			`INSERT INTO plugin_configs (plugin_id, config) VALUES ('a', '{"n":5}') ON CONFLICT (plugin_id) DO UPDATE SET config = excluded.config`,
			`INSERT INTO plugin_configs (plugin_id, config) VALUES ('a', '{"n":6}') ON CONFLICT (plugin_id) DO UPDATE SET config = json_set(config, '$.more', 1)`,
			`BEGIN; UPDATE plugin_configs SET config = '{"n":6}'; UPDATE plugin_configs SET config = '{"n":7}'; COMMIT`,
			`DELETE FROM plugin_configs; DELETE FROM plugin_configs; REPLACE INTO plugin_configs (plugin_id, config) VALUES ('a', '{"n":8}')`,
			`DELETE FROM plugin_configs; UPDATE plugin_configs SET config = '{"n":9}'`,
			`DELETE FROM plugin_configs; INSERT OR IGNORE INTO plugin_configs (plugin_id, config, revision) VALUES ('a', '{"n":10}', -5)`,
			`PRAGMA recursive_triggers = 1; UPDATE plugin_configs SET config = '{"n":11}'`,
		} {
			if said := shell(t, path, edit); said != "" {
				t.Fatalf("%s\nsays %s", edit, said)
			}
			for _, rec := range []store.Record{must(s.Get(t.Context(), "a")), put(t, s, "a", fmt.Sprintf(`{"saved":%d}`, len(seen)))} {
				if before, twice := seen[rec.Revision]; twice {
					t.Errorf("history %d: after %s\nthere is revision %s again, which was there after %s", history, edit, rec.Revision, before)
				}
				seen[rec.Revision] = edit
				states++
			}
		}
		versions := must(s.History(t.Context(), "a", 0))
		kept := map[store.Revision]bool{}
		for i, v := range versions {
			if v.Err != nil || kept[v.Revision] {
				t.Errorf("history %d: state %d is %v, %v", history, i, v, v.Err)
			}
			kept[v.Revision] = true
		}
		if len(versions) != max(1, history) && len(versions) < states {
			t.Errorf("history %d: %d states", history, len(versions))
		}
		if history > 1 && versions[1].Author != "by hand" || versions[0].Author != "" {
			t.Errorf("history %d: the authors are %q and %q", history, versions[0].Author, versions[min(1, len(versions)-1)].Author)
		}
	}
}

// TestShellCopiesFrom: configs come from another program's database with ATTACH and INSERT … SELECT.
func TestShellCopiesFrom(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "x.db"), filepath.Join(dir, "other.db")
	s := open(t, path)
	put(t, s, "b", `{"mine":1}`)
	if said := shell(t, other, `CREATE TABLE capability_configs (instance_id TEXT PRIMARY KEY, config_json TEXT, enabled INTEGER);
INSERT INTO capability_configs VALUES ('a', '{"device": "cpu", "e": "\u00e9"}', 1), ('b', '{"theirs":1}', 1), ('off', '{}', 0), ('none', NULL, 1)`); said != "" {
		t.Fatal(said)
	}
	if said := shell(t, path, `ATTACH '`+other+`' AS old;
INSERT OR IGNORE INTO plugin_configs (plugin_id, config) SELECT instance_id, config_json FROM old.capability_configs WHERE config_json IS NOT NULL`); said != "" {
		t.Fatal(said)
	}
	wantConfig(t, s, "a", `{"device":"cpu","e":"é"}`)
	wantConfig(t, s, "b", `{"mine":1}`)
	wantConfig(t, s, "off", `{}`)
	if v := must(s.History(t.Context(), "a", 0)); len(v) != 1 || v[0].Author != "by hand" {
		t.Errorf("the history is %v", v)
	}
	if ids := must(s.Configured(t.Context(), "")); !slices.Equal(ids, []string{"a", "b", "off"}) {
		t.Errorf("configured: %q", ids)
	}
}
