package postgres_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/pluginregistry/pluginregistry/internal/pgserver"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/postgres"
)

// TestRollingUpgrade: while a newer program adds to the tables, the older ones go on, and others can be opened. Only a migration that says so ends
// that.
func TestRollingUpgrade(t *testing.T) {
	dsn := pgserver.Database(t)
	old := open(t, dsn, fast)
	put(t, old, "a", `{"n":1}`, store.Any)
	changes := watching(t, old)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			put(t, old, "busy", fmt.Sprintf(`{"n":%d}`, n), store.Any)
		}
	})
	pgserver.Exec(t, dsn,
		`BEGIN; ALTER TABLE pluginregistry.plugin_configs ADD COLUMN more text; ALTER TABLE pluginregistry.plugin_config_history ADD COLUMN more text;
		 CREATE INDEX ON pluginregistry.plugin_configs (updated_at);
		 INSERT INTO pluginregistry.pluginregistry_migrations (version_id, is_applied) VALUES (7, true); COMMIT`)
	for range 20 {
		put(t, old, "a", `{"n":2}`, store.Any)
		put(t, old, "a", `{"n":1}`, store.Any)
	}
	close(stop)
	wg.Wait()
	next(t, changes)
	again := open(t, dsn)
	put(t, again, "a", `{"n":3}`, store.Any)
	wantConfig(t, old, "a", `{"n":3}`)
	if err := postgres.Migrate(t.Context(), pool(t, dsn, 1)); err != nil {
		t.Errorf("Migrate by an older program: %v", err)
	}

	pgserver.Exec(t, dsn, `UPDATE pluginregistry.plugin_config_settings SET min_version = 7`)
	if _, err := postgres.Open(t.Context(), dsn); !errors.Is(err, store.ErrTooNew) {
		t.Errorf("Open of tables that are too new: %v", err)
	}
	if err := postgres.Migrate(t.Context(), pool(t, dsn, 1)); !errors.Is(err, store.ErrTooNew) {
		t.Errorf("Migrate of tables that are too new: %v", err)
	}
}

// TestMigrateTogether: stores that are opened at once, and through a pooler in transaction mode, make the tables once and do not fail.
func TestMigrateTogether(t *testing.T) {
	dsn := pgserver.Database(t)
	bounced := pgserver.Bouncer(t, dsn)
	for range shortOr(3, 30) {
		schema := postgres.WithSchema(newSchema())
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				s, err := postgres.Open(t.Context(), []string{dsn, bounced}[n%2], schema)
				if err != nil {
					t.Errorf("Open: %v", err)
					return
				}
				defer s.Close()
				if _, err := s.Put(t.Context(), "once", []byte(`{}`), store.Any); err != nil {
					t.Errorf("Put: %v", err)
				}
			})
		}
		wg.Wait()
	}
}

// TestHistorySetting: WithHistory is kept in the database and counts for everybody.
func TestHistorySetting(t *testing.T) {
	dsn := pgserver.Database(t)
	a := open(t, dsn)
	states := func(s *postgres.Store) int { return len(must(s.History(t.Context(), "a", 0))) }
	for n := range 60 {
		put(t, a, "a", fmt.Sprintf(`{"n":%d}`, n), store.Any)
	}
	if n := states(a); n != 50 {
		t.Errorf("the history has %d states, want 50", n)
	}
	b := open(t, dsn, postgres.WithHistory(3))
	put(t, a, "a", `{"n":1000}`, store.Any)
	if n := states(b); n != 3 {
		t.Errorf("the history has %d states, want 3", n)
	}
	if err := postgres.Migrate(t.Context(), pool(t, dsn, 1), postgres.WithHistory(0)); err != nil {
		t.Fatal(err)
	}
	put(t, a, "a", `{"n":1001}`, store.Any)
	put(t, a, "b", `{"n":1001}`, store.Any)
	if versions := must(a.History(t.Context(), "b", 0)); len(versions) != 1 || string(versions[0].Config) != `{"n":1001}` {
		t.Errorf("without a history there is %v, want the current state", versions)
	}
	if versions := must(a.History(t.Context(), "a", 1)); string(versions[0].Config) != `{"n":1001}` {
		t.Errorf("the newest state is %v", versions)
	}
}
