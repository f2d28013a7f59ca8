package sqlite_test

import (
	"context"
	"database/sql"
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
