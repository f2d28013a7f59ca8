package sqlite_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

// configsOf are the configs of states, in one line.
func configsOf(versions []store.Version) string {
	var configs []string
	for _, v := range versions {
		configs = append(configs, string(v.Config))
	}
	return strings.Join(configs, " ")
}

func count(t *testing.T, db *sql.DB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.QueryRow(query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// TestOldStatesGo: the history has as many states as it should after each save, and what is older is nowhere in it; the states of a plugin that
// is rarely saved stay.
func TestOldStatesGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path, sqlite.WithHistory(3))
	db := raw(t, path)
	for n := range 5 {
		put(t, s, "rare", fmt.Sprintf(`{"n":%d}`, n))
	}
	for n := range 100 {
		id := fmt.Sprint("busy_", n%7)
		put(t, s, id, fmt.Sprintf(`{"n":%d}`, n))
		want := min(n/7+1, 3)
		if got := count(t, db, `SELECT count(*) FROM plugin_config_history WHERE plugin_id = ?`, id); got != want {
			t.Fatalf("after %d saves the history of %q has %d states, want %d", n+1, id, got, want)
		}
	}
	if n := count(t, db, `SELECT count(*) FROM plugin_config_history`); n != 8*3 {
		t.Errorf("%d states are kept of 8 plugins, want 24", n)
	}
	if got := configsOf(must(s.History(t.Context(), "rare", 0))); got != `{"n":4} {"n":3} {"n":2}` {
		t.Errorf("the history of the plugin that is rarely saved is %s", got)
	}
	if got := configsOf(must(s.History(t.Context(), "busy_0", 2))); got != `{"n":98} {"n":91}` {
		t.Errorf("the history of a busy plugin is %s", got)
	}
}

// TestHistoryChangedByHand: states that are deleted by hand do not hide those before them, and one that is changed by hand is what the history
// shows. Where the current state is deleted it is in plugin_configs still, until it is saved over.
func TestHistoryChangedByHand(t *testing.T) {
	const current = `{"n":4}`
	for sql, want := range map[string]struct {
		before string // the states before the current one
		lost   bool   // the current one goes with the next save
	}{
		`DELETE FROM plugin_config_history WHERE revision IN (2, 3)`:                               {` {"n":3} {"n":0}`, false},
		`DELETE FROM plugin_config_history WHERE revision = 5`:                                     {` {"n":3} {"n":2} {"n":1} {"n":0}`, true},
		`DELETE FROM plugin_config_history WHERE revision >= 4`:                                    {` {"n":2} {"n":1} {"n":0}`, true},
		`DELETE FROM plugin_config_history`:                                                        {``, true},
		`UPDATE plugin_config_history SET config = json_remove(config, '$.n') WHERE revision <= 2`: {` {"n":3} {"n":2} {} {}`, false},
	} {
		t.Run(sql, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			s := open(t, path)
			for n := range 5 {
				put(t, s, "a", fmt.Sprintf(`{"n":%d}`, n))
				put(t, s, "b", fmt.Sprintf(`{"n":%d}`, n))
			}
			exec1(t, raw(t, path), strings.Replace(sql, " WHERE ", " WHERE plugin_id = 'a' AND ", 1))
			if got := configsOf(must(s.History(t.Context(), "a", 0))); got != current+want.before {
				t.Errorf("the history is\n%s, want\n%s", got, current+want.before)
			}
			if got := configsOf(must(s.History(t.Context(), "a", 1))); got != current {
				t.Errorf("the newest state is %s, want %s", got, current)
			}
			for n := range 5 {
				put(t, s, "b", fmt.Sprintf(`{"m":%d}`, n))
				put(t, s, "a", fmt.Sprintf(`{"m":%d}`, n))
			}
			after := `{"m":4} {"m":3} {"m":2} {"m":1} {"m":0}`
			if !want.lost {
				after += " " + current
			}
			if got := configsOf(must(s.History(t.Context(), "a", 0))); got != after+want.before {
				t.Errorf("after more saves the history is\n%s, want\n%s", got, after+want.before)
			}
		})
	}
}

// TestHistoryShortenedAndExtended: the history shows as many states as it keeps now, of those that are there.
func TestHistoryShortenedAndExtended(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path, sqlite.WithHistory(2))
	for n := range 300 { // some have gone from the file
		put(t, s, "a", fmt.Sprintf(`{"n":%d}`, n))
	}
	if got := configsOf(must(s.History(t.Context(), "a", 0))); got != `{"n":299} {"n":298}` {
		t.Errorf("a history of two is %s", got)
	}
	if err := s.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	open(t, path, sqlite.WithHistory(5))
	for n := range 2 {
		put(t, s, "a", fmt.Sprintf(`{"n":%d}`, 300+n))
	}
	if got := configsOf(must(s.History(t.Context(), "a", 0))); got != `{"n":301} {"n":300} {"n":299} {"n":298}` {
		t.Errorf("a history of five, where two were kept before, is %s", got)
	}
	open(t, path, sqlite.WithHistory(0))
	put(t, s, "a", `{"n":302}`)
	if got := configsOf(must(s.History(t.Context(), "a", 0))); got != `{"n":302}` {
		t.Errorf("no history is %s", got)
	}
}

// TestScrubTakesOldStates: states that have left the history are nowhere in the files once the store is scrubbed.
func TestScrubTakesOldStates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path, sqlite.WithHistory(2))
	for n := range 5 {
		put(t, s, "a", fmt.Sprintf(`{"key":"hunter-%d"}`, n))
	}
	if err := s.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	text := must(os.ReadFile(path))
	for n, want := range []bool{false, false, false, true, true} {
		if bytes.Contains(text, fmt.Appendf(nil, "hunter-%d", n)) != want {
			t.Errorf("whether state %d is in the file is not %v", n, want)
		}
	}
}
