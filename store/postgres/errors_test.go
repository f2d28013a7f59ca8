package postgres_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pluginregistry/pluginregistry/internal/pgserver"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/postgres"
	"github.com/pluginregistry/pluginregistry/store/storetest"
)

// secret stands in configs, titles and passwords of these tests and must show nowhere.
const secret = "hunter2"

// wantSilent sees that an error shows no secret, however it is printed, and that no error inside it does.
func wantSilent(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Error("x", "err", err, "errs", []error{err}, "group", slog.GroupValue(slog.Any("err", err)))
	text := fmt.Sprintf("%v %+v %#v %q %s", err, err, err, err, log.String())
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		text += fmt.Sprintf("%+v %#v", *pg, *pg)
		pgJSON, _ := json.Marshal(pg)
		text += string(pgJSON)
	}
	for inner := []error{err}; len(inner) > 0; inner = inner[1:] {
		text += fmt.Sprintf("%v %+v %#v", inner[0], inner[0], inner[0])
		switch e := inner[0].(type) {
		case interface{ Unwrap() error }:
			if next := e.Unwrap(); next != nil {
				inner = append(inner, next)
			}
		case interface{ Unwrap() []error }:
			inner = append(inner, e.Unwrap()...)
		}
	}
	if strings.Contains(text, secret) {
		t.Errorf("%s: the error shows the secret: %v", what, err)
	}
}

// TestErrorsAreSilent: no error shows a config, whoever makes it: a constraint or a trigger of somebody else, a limit of the server, a session that
// holds a row, or a statement that the server does not understand.
func TestErrorsAreSilent(t *testing.T) {
	for name, c := range map[string]struct{ sql, code string }{
		"a constraint":     {`ALTER TABLE pluginregistry.plugin_configs ADD CONSTRAINT small CHECK (length(config) < 10)`, "23514"},
		"a unique index":   {`CREATE UNIQUE INDEX same ON pluginregistry.plugin_configs (left(config, 4))`, "23505"},
		"an index's limit": {`CREATE INDEX long ON pluginregistry.plugin_configs (config)`, ""},
		"a trigger": {`CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not %'', NEW.config; END';
			CREATE TRIGGER aaa BEFORE INSERT OR UPDATE ON pluginregistry.plugin_configs FOR EACH ROW EXECUTE FUNCTION no()`, "P0001"},
		"a cast in a trigger": {`CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM NEW.config::integer; RETURN NEW; END';
			CREATE TRIGGER aaa BEFORE INSERT OR UPDATE ON pluginregistry.plugin_configs FOR EACH ROW EXECUTE FUNCTION no()`, "22P02"},
		"a deferred trigger": {`CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not %'', NEW.config; END';
			CREATE CONSTRAINT TRIGGER aaa AFTER INSERT OR UPDATE ON pluginregistry.plugin_configs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no()`, "P0001"},
		"a missing column": {`ALTER TABLE pluginregistry.plugin_configs DROP COLUMN author`, "42703"},
		"a missing table":  {`DROP TABLE pluginregistry.plugin_configs CASCADE`, "42P01"},
	} {
		t.Run(name, func(t *testing.T) {
			base := pgserver.Database(t)
			config := fmt.Sprintf(`{"key":%q}`, strings.Repeat(secret+" ", 1)+fmt.Sprint(time.Now().UnixNano()))
			if name == "an index's limit" {
				var b strings.Builder // what cannot be compressed to the size of a page
				for n := range 4000 {
					fmt.Fprintf(&b, "%x", n*n*7919)
				}
				config = fmt.Sprintf(`{"key":"%s","rest":"%s"}`, secret, b.String())
			}
			for _, mode := range []string{"cache_statement", "exec", "simple_protocol"} {
				schema := "pluginregistry"
				dsn := pgserver.With(t, base, "default_query_exec_mode", mode)
				s := open(t, dsn, postgres.WithSchema(schema), postgres.WithPatience(0))
				if mode == "cache_statement" {
					put(t, s, "b", `{"n":1}`, store.Any)
					pgserver.Exec(t, base, c.sql)
				}
				_, err := s.Put(t.Context(), "a", json.RawMessage(config), store.Any)
				if name == "a unique index" {
					_, err = s.Put(t.Context(), "a2", json.RawMessage(config), store.Any)
				}
				wantSilent(t, mode, err)
				pg, ok := errors.AsType[*pgconn.PgError](err)
				if !ok || c.code != "" && pg.Code != c.code {
					t.Errorf("%s: %v; want one with SQLSTATE %q", mode, err, c.code)
				}
				if name == "a unique index" || strings.HasPrefix(name, "an index") {
					continue // the one before it may be stored
				}
				_, err = s.PutAll(t.Context(), []store.Put{{ID: "x", Config: json.RawMessage(config), Match: store.Any}, {ID: "y", Config: json.RawMessage(config), Match: store.Any}})
				wantSilent(t, mode+", a batch", err)
				if name != "a missing table" {
					if _, err := s.Get(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
						t.Errorf("%s: what was refused is there: %v", mode, err)
					}
				}
			}
		})
	}
}

// TestDSNIsSilent: an error of Open shows no password, however wrong the DSN is.
func TestDSNIsSilent(t *testing.T) {
	for _, dsn := range []string{
		"postgres://user:" + secret + " x@127.0.0.1:1/db", "postgres://user:" + secret + "#@127.0.0.1:1/db", "postgres://user:" + secret + "@127.0.0.1:port/db",
		"host=127.0.0.1 port=1 password='" + secret, "password=" + secret + " nonsense", "postgres://user:" + secret + "@127.0.0.1:1/db",
		"postgres://127.0.0.1:1/db?password=" + secret + "&sslmode=never", "host=/no/such/place password=" + secret, "postgres://u:" + secret + "@no-such-host.invalid/db",
		"://" + secret, secret,
	} {
		s, err := postgres.Open(t.Context(), dsn, postgres.WithPatience(0), postgres.WithTimeout(200*time.Millisecond))
		if err == nil {
			s.Close()
		}
		wantSilent(t, "Open", err)
	}
}

// TestErrorsHelp: what the user can do something about is said.
func TestErrorsHelp(t *testing.T) {
	dsn := pgserver.Database(t)
	s := open(t, dsn)
	put(t, s, "a", `{"n":1}`, store.Any)

	role := newRole(t, dsn)
	app := pgserver.With(t, dsn, "user", role)
	_, err := postgres.Open(t.Context(), app, postgres.WithoutMigration())
	if err == nil || !strings.Contains(err.Error(), "GRANT") || !strings.Contains(err.Error(), "USAGE on the schema") {
		t.Errorf("Open without a GRANT: %v", err)
	}
	if _, err = postgres.Open(t.Context(), app, postgres.WithSchema("none")); err == nil || !strings.Contains(err.Error(), "GRANT CREATE ON DATABASE") {
		t.Errorf("Open by a role that may not make the schema: %v", err)
	}
	if _, err = postgres.Open(t.Context(), dsn, postgres.WithSchema("none"), postgres.WithoutMigration()); err == nil || !strings.Contains(err.Error(), "postgres.Migrate") {
		t.Errorf("Open without tables: %v", err)
	}
	pgserver.Exec(t, dsn, grants(t, "pluginregistry", role)...)
	reader := open(t, app, postgres.WithoutMigration(), postgres.WithPatience(0))
	if _, err := postgres.Open(t.Context(), app, postgres.WithoutMigration(), postgres.WithHistory(7)); err == nil || !strings.Contains(err.Error(), "Migrate and WithHistory") {
		t.Errorf("WithHistory by a role that does not own the tables: %v", err)
	}
	pgserver.Exec(t, dsn, "REVOKE UPDATE ON pluginregistry.plugin_configs FROM "+role)
	if _, err := reader.Put(t.Context(), "a", []byte(`{"n":2}`), store.Any); err == nil || !strings.Contains(err.Error(), "GRANT") {
		t.Errorf("Put without the right: %v", err)
	}
	if err := reader.RewriteHistory(t.Context(), "a", nil); err != nil {
		t.Errorf("RewriteHistory of nothing but the current state: %v", err)
	}
	wantConfig(t, reader, "a", `{"n":1}`)

	latin := pgserver.Database(t, "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
	if _, err := postgres.Open(t.Context(), latin); err == nil || !strings.Contains(err.Error(), "UTF8 is needed") {
		t.Errorf("Open of a database in another encoding: %v", err)
	}
}

// TestDiskFull: a save that finds no room says so, changes nothing, and leaves reads alone; and what was acknowledged is there when there is room
// again. It needs a small file system, and so root.
func TestDiskFull(t *testing.T) {
	server := pgserver.Start(t, "autovacuum=off")
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("no small file system can be mounted here, as root it could: %v: %s", err, out)
	}
	t.Cleanup(func() {
		server.Kill()
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	pgserver.GiveAway(t, dir)
	pgserver.Exec(t, server.DSN(), `CREATE TABLESPACE small LOCATION '`+dir+`'`, `ALTER DATABASE postgres SET default_tablespace = small`)
	s := open(t, server.DSN(), postgres.WithHistory(0))
	var err error
	saved := 0
	for ; saved < 500 && err == nil; saved++ {
		var b strings.Builder
		for n := range 3000 { // about 16 kB that cannot be compressed much
			fmt.Fprintf(&b, "%x", (n+saved*3000)*7919*104729)
		}
		_, err = s.Put(t.Context(), fmt.Sprint("x", saved), fmt.Appendf(nil, `{"secret":%q,"pad":"%s"}`, secret, b.String()), store.Any)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("after %d saves: %v", saved, err)
	}
	wantSilent(t, "Put on a full disk", err)
	ids, err := s.Configured(t.Context(), "")
	if err != nil || len(ids) != saved-1 {
		t.Errorf("%d saves were acknowledged, there are %d, %v", saved-1, len(ids), err)
	}
	if out, err := exec.Command("mount", "-o", "remount,size=30m", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	put(t, s, "room", `{}`, store.Any)
}

// TestLogFull: if there is no room for the server's log of changes the server stops. What was acknowledged is there when it runs again.
func TestLogFull(t *testing.T) {
	if !storetest.Long() {
		t.Skip("in the long form only: PLUGINREGISTRY_LONG=1")
	}
	server := pgserver.Start(t, "autovacuum=off", "wal_recycle=off", "min_wal_size=32MB")
	s := open(t, server.DSN(), postgres.WithPatience(200*time.Millisecond), postgres.WithHistory(0))
	put(t, s, "a", `{"n":0}`, store.Any)
	server.Kill()
	wal := server.Dir + "/pg_wal"
	dir := t.TempDir()
	if out, err := exec.Command("cp", "-a", wal+"/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=34m", "tmpfs", wal).CombinedOutput(); err != nil {
		t.Skipf("no small file system can be mounted here, as root it could: %v: %s", err, out)
	}
	t.Cleanup(func() {
		server.Kill()
		if out, err := exec.Command("umount", wal).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	pgserver.GiveAway(t, wal)
	if out, err := exec.Command("cp", "-a", dir+"/.", wal).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	server.Restart()
	pad := strings.Repeat("x", 1000)
	saved := 0
	var err error
	for n := 1; n < 200; n++ {
		var puts []store.Put
		for k := range 300 {
			puts = append(puts, store.Put{ID: fmt.Sprint("p", k), Config: fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, n, pad+strconv.Itoa(k)), Match: store.Any})
		}
		if _, err = s.PutAll(t.Context(), puts); err != nil {
			break
		}
		saved = n
	}
	if err == nil {
		t.Fatal("the log never filled up")
	}
	t.Logf("after %d batches: %v", saved, err)
	server.Kill()
	if out, err := exec.Command("mount", "-o", "remount,size=300m", wal).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	server.Restart()
	again := open(t, server.DSN())
	rec, err := again.Get(context.Background(), "p7")
	var kept struct{ N int }
	if err == nil {
		err = rec.Decode(&kept)
	}
	if err != nil || kept.N < saved || kept.N > saved+1 {
		t.Errorf("batch %d was acknowledged, %d is there, %v", saved, kept.N, err)
	}
}
