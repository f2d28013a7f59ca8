// Package pgserver gives tests a PostgreSQL server: the one that the environment names, or one of the test's own that it may kill.
package pgserver

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Variable names the environment variable that has the DSN of a server, with the right to make databases and roles.
const Variable = "PLUGINREGISTRY_POSTGRES"

// given returns the DSN of the server that the environment names, or skips the test.
func given(t testing.TB) string {
	t.Helper()
	dsn := os.Getenv(Variable)
	if dsn == "" {
		t.Skipf("no PostgreSQL server: set %s to the DSN of one on which databases may be made, such as postgres://postgres@127.0.0.1:5432/postgres", Variable)
	}
	return dsn
}

// Database makes a database for the test on the server that the environment names, and returns its DSN. It skips the test if there is none.
// options follow CREATE DATABASE.
func Database(t testing.TB, options ...string) string {
	t.Helper()
	return databaseOn(t, given(t), options...)
}

func databaseOn(t testing.TB, dsn string, options ...string) string {
	t.Helper()
	name := "pluginregistry_" + strings.ToLower(rand.Text()[:12])
	Exec(t, dsn, "CREATE DATABASE "+name+" "+strings.Join(options, " "))
	t.Cleanup(func() {
		// The test may have ended because the server is gone.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if conn, err := pgx.Connect(ctx, dsn); err == nil {
			defer conn.Close(ctx)
			_, _ = conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
		}
	})
	return With(t, dsn, "dbname", name)
}

// With returns a DSN with one parameter changed; host, port, user and dbname among them.
func With(t testing.TB, dsn, key, value string) string {
	t.Helper()
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return dsn + " " + key + "='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatalf("%s is no URL", Variable)
	}
	q := u.Query()
	q.Set(key, value)
	switch key {
	case "dbname":
		u.Path = "/" + value
		q.Del(key)
	case "user":
		u.User = url.User(value)
		q.Del(key)
	case "host", "port":
		host, port := u.Hostname(), u.Port()
		if key == "host" {
			host = value
		} else {
			port = value
		}
		u.Host = net.JoinHostPort(host, port)
		q.Del(key)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// Connect returns a connection that is closed with the test.
func Connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// Exec runs statements, each in a transaction of its own.
func Exec(t testing.TB, dsn string, statements ...string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// Server is a server of the test's own, on a port of the loopback.
type Server struct {
	Port int
	Dir  string

	t   testing.TB
	bin string
	log *os.File
	cmd *exec.Cmd
}

// programs returns the directory of the server's programs, or skips the test. It does so, too, if the environment names no server: then no
// tests with PostgreSQL are wanted.
func programs(t testing.TB) string {
	t.Helper()
	given(t)
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.Sort(dirs)
	slices.Reverse(dirs)
	if path, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir
		}
	}
	t.Skip("the programs of a PostgreSQL server are not installed; this test starts and kills servers of its own")
	return ""
}

// Start makes a server of the test's own and starts it. It is killed with the test. settings are such as "fsync=on".
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := newServer(t, settings)
	s.run("initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--pgdata="+s.Dir)
	s.configure(settings)
	s.Restart()
	return s
}

// tempDir returns a directory of the test that programs of another user can reach and write to.
func tempDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		t.Fatal(err)
	}
	GiveAway(t, dir)
	return dir
}

func newServer(t testing.TB, settings []string) *Server {
	t.Helper()
	bin := programs(t)
	base := tempDir(t)
	s := &Server{Dir: filepath.Join(base, "data"), t: t, bin: bin}
	err := os.Mkdir(s.Dir, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	GiveAway(t, s.Dir)
	if s.log, err = os.Create(filepath.Join(base, "log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		s.log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(s.log.Name())
			t.Logf("the server's log ends with:\n%s", text[max(0, len(text)-4000):])
		}
	})
	s.Port = FreePort(t)
	return s
}

func (s *Server) configure(settings []string) {
	s.t.Helper()
	f, err := os.OpenFile(filepath.Join(s.Dir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	// What a killed process has written is in the page cache still, so nothing is lost by fsync=off.
	for _, line := range append([]string{"listen_addresses='127.0.0.1'", "unix_socket_directories=''", fmt.Sprint("port=", s.Port), "fsync=off",
		"shared_buffers=16MB", "max_wal_size=128MB", "restart_after_crash=off", "log_min_messages=warning", "wal_level=replica", "max_connections=100"}, settings...) {
		fmt.Fprintln(f, line)
	}
}

// FreePort returns a port of the loopback that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (s *Server) run(program string, args ...string) {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = filepath.Dir(s.Dir)
	asOther(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v: %s", program, err, out)
	}
}

// Log is what the server has written to its log so far.
func (s *Server) Log() string {
	text, err := os.ReadFile(s.log.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// DSN is the URL of one of the server's databases, for its superuser.
func (s *Server) DSN() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres", s.Port)
}

// Database makes a database on the server and returns its DSN.
func (s *Server) Database() string { return databaseOn(s.t, s.DSN()) }

// Restart starts the server, which is not running, and waits until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		s.cmd = exec.Command(filepath.Join(s.bin, "postgres"), "-D", s.Dir)
		s.cmd.Dir = filepath.Dir(s.Dir)
		s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
		asOther(s.cmd)
		if err := s.cmd.Start(); err != nil {
			s.t.Fatal(err)
		}
		ended := make(chan struct{})
		go func(cmd *exec.Cmd) {
			cmd.Wait()
			close(ended)
		}(s.cmd)
		for answers := false; !answers; {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			conn, err := pgx.Connect(ctx, s.DSN())
			if err == nil {
				conn.Close(ctx)
			}
			cancel()
			if err == nil {
				return
			}
			select {
			case <-ended: // memory of the one that was killed is in use still: try again
				answers = true
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	s.t.Fatal("the server does not start")
}

// Kill kills all processes of the server at once, as a loss of power would.
func (s *Server) Kill() {
	if s.cmd != nil && s.cmd.Process != nil {
		killAll(s.cmd)
		s.cmd = nil
	}
}

// Standby makes a server that follows s asynchronously, and starts it.
func (s *Server) Standby(settings ...string) *Server {
	s.t.Helper()
	b := newServer(s.t, settings)
	os.Remove(b.Dir)
	b.run("pg_basebackup", "--no-sync", "--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--pgdata="+b.Dir, "--dbname="+s.DSN())
	b.configure(settings)
	b.Restart()
	return b
}

// Promote makes a standby the primary.
func (s *Server) Promote() {
	s.t.Helper()
	Exec(s.t, s.DSN(), `SELECT pg_promote(true, 30)`)
}
