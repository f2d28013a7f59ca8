package sqlite_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
	"github.com/pluginregistry/pluginregistry/store/storetest"
)

const pollInterval = 2 * time.Millisecond

func TestGuestStore(t *testing.T) {
	for _, conns := range []int{1, 3, 0} {
		t.Run(fmt.Sprintf("pool of %d", conns), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) store.Store {
				db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "host.db")+"?_synchronous=OFF") // the host's affair
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

// TestGuestLeavesTheHostAlone: the host's tables, its goose migrations and its handle stay as they were.
func TestGuestLeavesTheHostAlone(t *testing.T) {
	db := must(sql.Open("sqlite", filepath.Join(t.TempDir(), "host.db")))
	defer db.Close()
	exec1(t, db, `CREATE TABLE users (name TEXT)`)
	exec1(t, db, `INSERT INTO users VALUES ('ann')`)
	exec1(t, db, `CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY, version_id INTEGER, is_applied INTEGER, tstamp TEXT)`)
	exec1(t, db, `INSERT INTO goose_db_version VALUES (1, 7, 1, '')`)
	t.Cleanup(goose.ResetGlobalMigrations)
	if err := goose.SetGlobalMigrations(goose.NewGoMigration(8, &goose.GoFunc{RunTx: func(context.Context, *sql.Tx) error {
		t.Error("a migration of the host was run")
		return errors.New("not ours")
	}}, nil)); err != nil {
		t.Fatal(err)
	}
	s := must(sqlite.New(t.Context(), db))
	put(t, s, "a", `{"n":1}`)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("a closed guest answers %v", err)
	}
	var name string
	var version, rows int
	if err := db.QueryRow(`SELECT name, version_id, (SELECT count(*) FROM goose_db_version) FROM users, goose_db_version`).Scan(&name, &version, &rows); err != nil {
		t.Fatalf("the host's handle after the guest has gone: %v", err)
	}
	if name != "ann" || version != 7 || rows != 1 {
		t.Errorf("the host's tables have %q, version %d, %d rows", name, version, rows)
	}
	again := must(sqlite.New(t.Context(), db, sqlite.WithHistory(2)))
	defer again.Close()
	wantConfig(t, again, "a", `{"n":1}`)
}

// TestGuestInMemory: the host's database may be in memory.
func TestGuestInMemory(t *testing.T) {
	db := must(sql.Open("sqlite", ":memory:"))
	defer db.Close()
	db.SetMaxOpenConns(1)
	s := must(sqlite.New(t.Context(), db))
	defer s.Close()
	put(t, s, "a", `{"n":1}`)
	wantConfig(t, s, "a", `{"n":1}`)
}

// TestGuestWaitsForConnection: a call waits for the host's only connection as long as its context allows.
func TestGuestWaitsForConnection(t *testing.T) {
	db := must(sql.Open("sqlite", filepath.Join(t.TempDir(), "host.db")))
	defer db.Close()
	db.SetMaxOpenConns(1)
	s := must(sqlite.New(t.Context(), db))
	defer s.Close()
	put(t, s, "a", `{"n":1}`)
	tx := must(db.Begin())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get while the host holds the connection: %v", err)
	}
	if _, err := s.Put(ctx, "a", []byte(`{}`), store.Any); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put while the host holds the connection: %v", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	wantConfig(t, s, "a", `{"n":1}`)
}

// TestGuestAndOwner: the host's handle and a store of Open share one file.
func TestGuestAndOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	owner := open(t, path)
	db := must(sql.Open("sqlite", path))
	defer db.Close()
	guest := must(sqlite.New(t.Context(), db))
	defer guest.Close()
	put(t, owner, "a", `{"by":"owner"}`)
	wantConfig(t, guest, "a", `{"by":"owner"}`)
	put(t, guest, "a", `{"by":"guest"}`)
	wantConfig(t, owner, "a", `{"by":"guest"}`)
}

// TestGuestWithoutWAL: where a commit must wait for readers it waits, and one that cannot wait any longer leaves the database to others.
func TestGuestWithoutWAL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "host.db")
	db := must(sql.Open("sqlite", path))
	defer db.Close()
	s := must(sqlite.New(t.Context(), db, sqlite.WithBusyTimeout(20*time.Millisecond)))
	defer s.Close()
	put(t, s, "a", `{"n":1}`)
	reader := raw(t, path)
	exec1(t, reader, `BEGIN`)
	if n := count(t, reader, `SELECT count(*) FROM plugin_configs`); n != 1 {
		t.Fatal(n)
	}
	if _, err := s.Put(t.Context(), "a", []byte(`{"n":2}`), store.Any); err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("a save that a reader holds up: %v", err)
	}
	wantConfig(t, s, "a", `{"n":1}`)
	exec1(t, reader, `COMMIT`)
	exec1(t, reader, `UPDATE plugin_configs SET config = '{"n":3}' WHERE plugin_id = 'a'`)
	wantConfig(t, s, "a", `{"n":3}`)
	put(t, s, "a", `{"n":4}`)
}

// TestGuestTouchesNothing: the host's schema, rows with their rowids and pragmas are the same after whatever the store does.
func TestGuestTouchesNothing(t *testing.T) {
	db := must(sql.Open("sqlite", filepath.Join(t.TempDir(), "host.db")))
	defer db.Close()
	db.SetMaxOpenConns(1)
	exec1(t, db, `CREATE TABLE users (name TEXT)`)
	for n := range 20 {
		exec1(t, db, `INSERT INTO users VALUES (?)`, n)
	}
	exec1(t, db, `DELETE FROM users WHERE rowid % 3 = 0`)
	look := func() (seen string) {
		for _, query := range []string{
			`SELECT group_concat(rowid || '=' || name) || (SELECT group_concat(sql) FROM sqlite_master WHERE tbl_name = 'users') FROM users`,
			`PRAGMA journal_mode`, `PRAGMA secure_delete`, `PRAGMA page_size`, `PRAGMA synchronous`, `PRAGMA ignore_check_constraints`, `PRAGMA auto_vacuum`,
		} {
			var text string
			if err := db.QueryRow(query).Scan(&text); err != nil {
				t.Fatal(query, err)
			}
			seen += text + "\n"
		}
		return seen
	}
	before := look()
	s := must(sqlite.New(t.Context(), db, sqlite.WithHistory(2)))
	defer s.Close()
	for name, call := range map[string]func() error{
		"Put": func() error { _, err := s.Put(t.Context(), "a", []byte(`{"n":1}`), store.Any); return err },
		"PutAll": func() error {
			_, err := s.PutAll(t.Context(), []store.Put{{ID: "b", Config: []byte(`{}`), Match: store.Any}})
			return err
		},
		"Delete": func() error { return s.Delete(t.Context(), "b", store.Any) },
		"SetNote": func() error {
			_, err := s.SetNote(t.Context(), "a", store.Note{Title: "x"}, store.Any)
			return err
		},
		"RewriteHistory": func() error {
			return s.RewriteHistory(t.Context(), "a", func(store.Version) (json.RawMessage, error) { return []byte(`{"m":1}`), nil })
		},
		"Scrub":  func() error { return s.Scrub(t.Context()) },
		"Backup": func() error { return s.Backup(t.Context(), filepath.Join(t.TempDir(), "copy.db")) },
	} {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if after := look(); after != before {
			t.Errorf("after %s the host has\n%s\nbefore\n%s", name, after, before)
		}
	}
}

// TestGuestRefused: a host whose connections see different databases, or that has a table of our name, is refused, and nothing is left there.
func TestGuestRefused(t *testing.T) {
	memory := must(sql.Open("sqlite", ":memory:"))
	defer memory.Close()
	if _, err := sqlite.New(t.Context(), memory); err == nil || !strings.Contains(err.Error(), "SetMaxOpenConns(1)") {
		t.Errorf("in memory with any number of connections: %v", err)
	}
	db := raw(t, filepath.Join(t.TempDir(), "host.db"))
	exec1(t, db, `CREATE TABLE plugin_configs (mine TEXT)`)
	if _, err := sqlite.New(t.Context(), db); err == nil || !strings.Contains(err.Error(), "plugin_configs") {
		t.Errorf("beside a table of our name: %v", err)
	}
	if n := count(t, db, `SELECT count(*) FROM sqlite_master`); n != 1 {
		t.Errorf("the host has %d tables now", n)
	}
}

// TestGuestInUTF16: IDs of any length and prefixes work in a host's database in UTF-16.
func TestGuestInUTF16(t *testing.T) {
	db := raw(t, filepath.Join(t.TempDir(), "host.db"))
	exec1(t, db, `PRAGMA encoding = 'UTF-16le'`)
	s := must(sqlite.New(t.Context(), db))
	defer s.Close()
	long := strings.Repeat("a", store.MaxID)
	for _, id := range []string{long, "b_1", "b_é", "bé", "日本"} {
		put(t, s, id, `{"n":1}`)
		wantConfig(t, s, id, `{"n":1}`)
	}
	if ids := must(s.Configured(t.Context(), "b_")); strings.Join(ids, " ") != "b_1 b_é" {
		t.Errorf("configured: %q", ids)
	}
	if ids := must(s.Configured(t.Context(), "")); len(ids) != 5 || ids[4] != "日本" {
		t.Errorf("configured: %q", ids)
	}
}
