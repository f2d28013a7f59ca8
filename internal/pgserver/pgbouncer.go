package pgserver

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Bouncer starts Debian's PgBouncer in transaction mode before the server of dsn, and returns the DSN through it.
func Bouncer(t testing.TB, dsn string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer"
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("PgBouncer is not installed")
	}
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	dir, port := tempDir(t), FreePort(t)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	users := write("users.txt", `"postgres" ""`+"\n"+`"`+cfg.User+`" ""`+"\n")
	config := write("pgbouncer.ini", fmt.Sprintf(`[databases]
* = host=%s port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = trust
auth_file = %s
pool_mode = transaction
default_pool_size = 10
max_client_conn = 500
ignore_startup_parameters =
`, cfg.Host, cfg.Port, port, users))
	cmd := exec.Command(program, "-q", config)
	asOther(cmd)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		killAll(cmd)
		cmd.Wait()
		log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("PgBouncer said:\n%s", text[max(0, len(text)-2000):])
		}
	})
	u := url.URL{Scheme: "postgres", User: url.User(cfg.User), Host: fmt.Sprint("127.0.0.1:", port), Path: "/" + cfg.Database,
		RawQuery: "default_query_exec_mode=exec"}
	for range 250 {
		conn, err := pgx.Connect(t.Context(), u.String())
		if err == nil {
			conn.Close(t.Context())
			return u.String()
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("PgBouncer does not start")
	return ""
}
