package sqlite_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
	"github.com/pluginregistry/pluginregistry/store/storetest"
)

const pollInterval = 2 * time.Millisecond

func TestGuestStore(t *testing.T) {
	for _, conns := range []int{1, 3, 0} {
		t.Run(fmt.Sprintf("pool of %d", conns), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) store.Store {
				db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "host.db"))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { db.Close() })
				db.SetMaxOpenConns(conns)
				s, err := sqlite.New(t.Context(), db, sqlite.WithPollInterval(pollInterval))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { s.Close() })
				return s
			})
		})
	}
}
