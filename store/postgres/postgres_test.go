package postgres_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/pluginregistry/pluginregistry/internal/pgserver"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/postgres"
	"github.com/pluginregistry/pluginregistry/store/storetest"
)

// open opens a store and closes it with the test.
func open(t testing.TB, dsn string, opts ...postgres.Option) *postgres.Store {
	t.Helper()
	return closing(t, must(postgres.Open(context.Background(), dsn, opts...)))
}

func closing(t testing.TB, s *postgres.Store) *postgres.Store {
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// newSchema returns the name of a schema that is not there.
func newSchema() string { return "s" + strings.ToLower(rand.Text()[:12]) }

// fast lets watchers that must poll see changes soon.
var fast = postgres.WithPollInterval(20 * time.Millisecond)

func TestStore(t *testing.T) {
	dsn := pgserver.Database(t)
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, dsn, postgres.WithSchema(newSchema()), fast) })
}

// pool returns a *sql.DB of a size that is closed with the test.
func pool(t testing.TB, dsn string, size int) *sql.DB {
	t.Helper()
	db := stdlib.OpenDB(*must(pgx.ParseConfig(dsn)))
	db.SetMaxOpenConns(size)
	t.Cleanup(func() { db.Close() })
	return db
}

// variants are ways to reach and to keep the tables.
var variants = map[string]func(t *testing.T) func(t *testing.T) store.Store{
	"through PgBouncer in transaction mode": func(t *testing.T) func(t *testing.T) store.Store {
		dsn := pgserver.Bouncer(t, pgserver.Database(t))
		return func(t *testing.T) store.Store { return open(t, dsn, postgres.WithSchema(newSchema()), fast) }
	},
	"a guest with one connection": func(t *testing.T) func(t *testing.T) store.Store {
		db := pool(t, pgserver.Database(t), 1)
		return func(t *testing.T) store.Store {
			return closing(t, must(postgres.New(t.Context(), db, postgres.WithSchema(newSchema()), fast)))
		}
	},
	"a guest in a pgxpool": func(t *testing.T) func(t *testing.T) store.Store {
		own := must(pgxpool.New(t.Context(), pgserver.Database(t)))
		t.Cleanup(own.Close)
		db := stdlib.OpenDBFromPool(own)
		t.Cleanup(func() { db.Close() })
		return func(t *testing.T) store.Store {
			return closing(t, must(postgres.New(t.Context(), db, postgres.WithSchema(newSchema()), fast)))
		}
	},
	"with default_query_exec_mode=simple_protocol": execMode("simple_protocol"),
	"with default_query_exec_mode=cache_describe":  execMode("cache_describe"),
	"with default_query_exec_mode=exec":            execMode("exec"),
	"another collation": func(t *testing.T) func(t *testing.T) store.Store {
		dsn := pgserver.Database(t, collated...)
		return func(t *testing.T) store.Store { return open(t, dsn, postgres.WithSchema(newSchema()), fast) }
	},
	"a schema with an odd name": func(t *testing.T) func(t *testing.T) store.Store {
		dsn := pgserver.Database(t)
		return func(t *testing.T) store.Store {
			return open(t, dsn, postgres.WithSchema(`"Ünï x"`+newSchema()), fast)
		}
	},
	"a role with the documented rights": asApplication(""),
	// All at once: the short form of the tests has only this one and the first.
	"everything odd": asApplication("default_query_exec_mode=exec"),
}

// collated makes a database with rules of a language, in which "a" comes before "B".
var collated = []string{"TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de' LOCALE 'C'"}

func execMode(mode string) func(t *testing.T) func(t *testing.T) store.Store {
	return func(t *testing.T) func(t *testing.T) store.Store {
		dsn := pgserver.With(t, pgserver.Database(t), "default_query_exec_mode", mode)
		return func(t *testing.T) store.Store { return open(t, dsn, postgres.WithSchema(newSchema()), fast) }
	}
}

// asApplication opens stores as a role with nothing but the GRANTs of docs/postgres.md and an empty search_path, as a guest with one connection,
// in a schema with an odd name, in a database with another collation.
func asApplication(mode string) func(t *testing.T) func(t *testing.T) store.Store {
	return func(t *testing.T) func(t *testing.T) store.Store {
		owner := pgserver.Database(t, collated...)
		role := newRole(t, owner)
		dsn := pgserver.With(t, owner, "user", role)
		if mode != "" {
			dsn = pgserver.With(t, dsn, "default_query_exec_mode", "exec")
		}
		ownerDB, db := pool(t, owner, 2), pool(t, dsn, 1)
		return func(t *testing.T) store.Store {
			schema := postgres.WithSchema(`"Ünï x"` + newSchema())
			name := schemaOf(t, ownerDB, schema)
			pgserver.Exec(t, owner, grants(t, name, role)...)
			return closing(t, must(postgres.New(t.Context(), db, schema, postgres.WithoutMigration(), fast)))
		}
	}
}

// schemaOf migrates and returns the quoted name of the newest schema.
func schemaOf(t testing.TB, db *sql.DB, opts ...postgres.Option) string {
	t.Helper()
	if err := postgres.Migrate(t.Context(), db, opts...); err != nil {
		t.Fatal(err)
	}
	var name string
	if err := db.QueryRow(`SELECT quote_ident(nspname) FROM pg_namespace ORDER BY oid DESC LIMIT 1`).Scan(&name); err != nil {
		t.Fatal(err)
	}
	return name
}

// newRole makes a role that may log in and owns nothing. Its search_path is empty.
func newRole(t testing.TB, dsn string) string {
	t.Helper()
	role := "app_" + newSchema()
	pgserver.Exec(t, dsn, "CREATE ROLE "+role+" LOGIN", "ALTER ROLE "+role+" SET search_path = ''")
	t.Cleanup(func() { pgserver.Exec(t, dsn, "DROP OWNED BY "+role, "DROP ROLE "+role) })
	return role
}

// grants are the statements in docs/postgres.md, for a schema and a role.
func grants(t testing.TB, schema, role string) []string {
	t.Helper()
	text := string(must(os.ReadFile("../../docs/postgres.md")))
	found := regexp.MustCompile(`(?m)^GRANT .*;$`).FindAllString(text, -1)
	if len(found) < 2 {
		t.Fatal("docs/postgres.md has no GRANTs")
	}
	for i, g := range found {
		found[i] = strings.NewReplacer("pluginregistry.", schema+".", "SCHEMA pluginregistry ", "SCHEMA "+schema+" ", "app;", role+";").Replace(g)
	}
	return found
}

func TestStoreVariants(t *testing.T) {
	for name, make := range variants {
		t.Run(name, func(t *testing.T) {
			if !storetest.Long() && name != "everything odd" && name != "through PgBouncer in transaction mode" {
				t.Skip("in the long form only: PLUGINREGISTRY_LONG=1")
			}
			storetest.Run(t, make(t))
		})
	}
}

func TestStoreShared(t *testing.T) {
	dsn := pgserver.Database(t)
	storetest.RunShared(t, func(t *testing.T) func() store.Store {
		schema := postgres.WithSchema(newSchema())
		return func() store.Store { return open(t, dsn, schema, fast) }
	})
}

// TestStoreDamaged: a superuser who switches the triggers off can write anything.
func TestStoreDamaged(t *testing.T) {
	dsn := pgserver.Database(t)
	storetest.RunDamaged(t, func(t *testing.T) storetest.Damageable {
		schema := newSchema()
		conn := pgserver.Connect(t, dsn)
		texts := func(sql, id string) []string {
			rows, err := conn.Query(t.Context(), strings.ReplaceAll(sql, "{schema}", schema), id)
			return must(pgx.CollectRows(must(rows, err), pgx.RowTo[string]))
		}
		return storetest.Damageable{
			Store: open(t, dsn, postgres.WithSchema(schema), fast),
			Damage: func(id string) {
				pgserver.Exec(t, dsn, fmt.Sprintf(`SET session_replication_role = replica;
					UPDATE %s.plugin_configs SET config = '{"broken', revision = revision + 1, tag = 'byhand', changed_in = pg_current_xact_id() WHERE plugin_id = '%s'`, schema, id))
			},
			Stored: func(id string) string {
				return strings.Join(texts(`SELECT config FROM {schema}.plugin_configs WHERE plugin_id = $1 AND config IS NOT NULL`, id), "")
			},
			Aside: func(id string) []string {
				return texts(`SELECT config FROM {schema}.plugin_config_damaged WHERE plugin_id = $1`, id)
			},
		}
	})
}

// processesVar has the DSN that the child processes of TestProcesses find.
const processesVar = "PLUGINREGISTRY_TEST_PROCESSES"

func TestProcesses(t *testing.T) {
	if os.Getenv(processesVar) == "" {
		t.Setenv(processesVar, pgserver.Database(t))
	}
	storetest.RunProcesses(t, func(ctx context.Context, dir string) (store.Store, error) {
		return postgres.Open(ctx, os.Getenv(processesVar), postgres.WithSchema(fmt.Sprintf("s%x", sha256.Sum224([]byte(dir)))))
	})
}
