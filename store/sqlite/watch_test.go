package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"path/filepath"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

// TestWatchWhenHistoryIsSwitchedOn: what was changed while no history was kept is not missed where the history is switched on, even if the
// look that is to find it fails.
func TestWatchWhenHistoryIsSwitchedOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s := open(t, path, sqlite.WithHistory(0), sqlite.WithPollInterval(time.Millisecond))
	put(t, s, "a_b", `{"n":1}`)

	ctx, cancel := context.WithCancel(t.Context())
	type event struct {
		change store.Change
		err    error
	}
	events, done := make(chan event), make(chan struct{})
	changes := s.Watch(ctx)
	go func() {
		defer close(done)
		for c, err := range changes {
			select {
			case events <- event{c, err}:
			case <-ctx.Done():
			}
		}
	}()
	defer func() { cancel(); <-done }()

	db := must(sql.Open("sqlite", byHandDSN(path, "_txlock", "immediate")))
	defer db.Close()
	tx := must(db.Begin())
	for _, statement := range []string{
		`UPDATE plugin_configs SET config = '{"n":2}' WHERE plugin_id = 'a_b'`,
		`UPDATE plugin_config_settings SET history = 50`,
		`ALTER TABLE plugin_configs RENAME TO elsewhere`,
	} {
		_ = must(tx.Exec(statement))
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.err == nil {
		t.Fatalf("watching a table that is not there yields %+v, want an error", e.change)
	}
	_ = must(db.Exec(`ALTER TABLE elsewhere RENAME TO plugin_configs`))
	for e := range events {
		if e.err != nil {
			continue // until the table is back
		}
		if e.change.ID != "a_b" || e.change.Revision != "2" {
			t.Errorf("the change is %+v, want revision 2 of a_b", e.change)
		}
		break
	}
}

// TestWatchWhenHistoryIsDeleted: lines of the history that were deleted by hand give their numbers to later ones, and no change is missed for
// that.
func TestWatchWhenHistoryIsDeleted(t *testing.T) {
	for name, edits := range map[string][]string{
		"all": {`DELETE FROM plugin_config_history`, `UPDATE plugin_configs SET config = '{"n":2}' WHERE plugin_id = 'a'`},
		"the last line": {
			`DELETE FROM plugin_config_history WHERE plugin_id = 'b'`, `UPDATE plugin_configs SET config = '{"n":2}' WHERE plugin_id = 'a'`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			s := open(t, path, sqlite.WithPollInterval(time.Millisecond))
			put(t, s, "a", `{"n":1}`)
			put(t, s, "b", `{"n":1}`)
			next, stop := iter.Pull2(s.Watch(t.Context()))
			defer stop()

			db := must(sql.Open("sqlite", byHandDSN(path, "_txlock", "immediate")))
			defer db.Close()
			tx := must(db.Begin())
			for _, edit := range edits {
				_ = must(tx.Exec(edit))
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			for n := range 3 {
				put(t, s, "z", fmt.Sprintf(`{"n":%d}`, n)) // with numbers that did not come before, so that it is seen in any case
			}
			seen := map[string]store.Revision{}
			for seen["z"] != "3" {
				c, err, ok := next()
				if err != nil || !ok {
					t.Fatal(err, ok)
				}
				seen[c.ID] = c.Revision
			}
			if seen["a"] != "2" {
				t.Errorf("the changes are %v, want revision 2 of a among them", seen)
			}
		})
	}
}
