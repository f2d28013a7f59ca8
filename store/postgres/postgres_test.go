package postgres_test

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/internal/pgserver"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/postgres"
	"github.com/pluginregistry/pluginregistry/store/storetest"
)

// open opens a store and closes it with the test.
func open(t testing.TB, dsn string, opts ...postgres.Option) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(context.Background(), dsn, opts...)
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

// newSchema returns the name of a schema that is not there.
func newSchema() string { return "s" + strings.ToLower(rand.Text()[:12]) }

func TestStore(t *testing.T) {
	dsn := pgserver.Database(t)
	storetest.Run(t, func(t *testing.T) store.Store {
		return open(t, dsn, postgres.WithSchema(newSchema()), postgres.WithPollInterval(20*time.Millisecond))
	})
}
