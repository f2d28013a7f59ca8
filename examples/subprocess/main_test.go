package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pluginregistry/pluginregistry/registry/pluginsystem"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(builtIn)
		os.Exit(code)
	}))
}

// builtOnce builds the worker in the directory builtIn.
var (
	builtIn   string
	builtOnce = sync.OnceValues(func() (string, error) {
		var err error
		if builtIn, err = os.MkdirTemp("", "subprocess-test"); err != nil {
			return "", err
		}
		return build(context.Background(), builtIn)
	})
)

// On Linux each worker has a guard for its parent.
const want = `| A plugin may be a program of its own: it crashes alone, it
| is written in any language, and it goes when it is told
| to.
formatter_wrap runs as subprocess: process P1, alive: true, memory in use: true
formatter_wrap runs as subprocess: process P2, alive: true, memory in use: true
its metadata has the processes [P1]
EDIT sets the width to 30
formatter_wrap reloaded: true
| A plugin may be a program of
| its own: it crashes alone,
| it is written in any
| language, and it goes when
| it is told to.
formatter_wrap runs as subprocess: process P3, alive: true, memory in use: true
formatter_wrap runs as subprocess: process P4, alive: true, memory in use: true
its metadata has the processes [P3]
formatter_wrap is cleaned up: 0 killed, 0 left
`

func needGo(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the example builds its worker, and there is no go command here")
	}
}

func TestExample(t *testing.T) {
	needGo(t)
	for name, editor := range map[string]string{"shell": "the sqlite3 shell", "handle": "there is no sqlite3 shell here: a second handle on the database"} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath("sqlite3"); name == "shell" && err != nil {
				t.Skip("there is no sqlite3 shell here")
			}
			if name == "handle" {
				onlyGo(t)
			}
			var out strings.Builder
			if err := run(t.Context(), t.TempDir(), &out); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			if runtime.GOOS != "linux" {
				t.Skip("which processes there are is compared on Linux only")
			}
			got := strings.Replace(out.String(), editor, "EDIT", 1)
			for i, found := range regexp.MustCompile(`process (\d+)`).FindAllStringSubmatch(got, -1) {
				label := fmt.Sprint("P", i+1)
				got = strings.NewReplacer("process "+found[1]+",", "process "+label+",", "["+found[1]+"]", "["+label+"]").Replace(got)
				if !isGone(found[1]) {
					t.Errorf("process %s is still there", found[1])
				}
			}
			if got != want {
				t.Errorf("it said\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// onlyGo leaves nothing but the go command in PATH.
func onlyGo(t *testing.T) {
	t.Helper()
	path, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(path, filepath.Join(dir, "go")); err != nil {
		t.Skip("this needs symbolic links:", err)
	}
	t.Setenv("PATH", dir)
	if err := exec.Command("go", "version").Run(); err != nil {
		t.Skip("the go command does not work alone here:", err)
	}
}

// loaded loads the plugin. What is logged is sent to the channel.
func loaded(t *testing.T, c wrapConfig) (*worker, *pluginsystem.Manager[Formatter], <-chan string) {
	t.Helper()
	needGo(t)
	executable, err := builtOnce()
	if err != nil {
		t.Fatal(err)
	}
	logged := make(logger, 100)
	m := pluginsystem.NewManager(wrapPlugin(executable, slog.New(slog.NewTextHandler(logged, nil))))
	p, err := m.Load(t.Context(), "wrap", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.UnloadAll(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p.(*worker), m, logged
}

type logger chan string

func (l logger) Write(text []byte) (int, error) { l <- string(text); return len(text), nil }

func TestWorkerTrouble(t *testing.T) {
	w, _, _ := loaded(t, wrapConfig{Width: 5})
	m := pluginsystem.NewManager(wrapPlugin(w.executable, slog.Default()), pluginsystem.Definition[Formatter]{Name: "none", New: wrapPlugin(w.executable+"-not", slog.Default()).New})
	if _, err := m.Load(t.Context(), "none", wrapConfig{Width: 1}); err == nil {
		t.Error("a missing executable was started")
	}
	if _, err := m.Load(t.Context(), "wrap", wrapConfig{Width: 2, Indent: "> "}); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("the worker took a config that it cannot work with: %v", err)
	}
	lines, err := w.Format(t.Context(), "one two\nthree")
	if fmt.Sprintf("%q", lines) != `["one" "two" "three"]` || err != nil {
		t.Errorf("it made %q, %v", lines, err)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Format(done, "one"); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := w.Format(t.Context(), "one"); err == nil || w.ChildPIDs() != nil {
		t.Errorf("a closed worker answered, or is still there: %v", err)
	}
}

// TestManyCallsAtOnce has each caller get its own answer, also while others lose patience.
func TestManyCallsAtOnce(t *testing.T) {
	w, _, _ := loaded(t, wrapConfig{Width: 10})
	var calling sync.WaitGroup
	for i := range 200 {
		calling.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%4 == 0 {
				time.AfterFunc(time.Duration(i)*time.Microsecond, cancel)
			}
			word := fmt.Sprint("word", i)
			lines, err := w.Format(ctx, strings.Repeat(word+" ", 1+i%50))
			switch {
			case i%4 == 0 && (errors.Is(err, context.Canceled) || errors.Is(err, errEnded)):
			case i%4 != 0 && errors.Is(err, errEnded): // another caller's context ended while it was writing
			case err != nil || len(lines) != 1+i%50 || lines[0] != word:
				t.Errorf("call %d got %q, %v", i, lines, err)
			}
		})
	}
	calling.Wait()
}

// TestStrayLines has the process write lines that nobody asked for, between two halves of work.
func TestStrayLines(t *testing.T) {
	w, _, logged := loaded(t, wrapConfig{Width: 10})
	strays := []string{"loading model 10%", `{"id":1,"progress":5}`, `{"id":99,"lines":["not asked for"]}`, "[]", `{"id":0}`, `"text"`, strings.Repeat("x", 2*maxLine)}
	out := &lines{each: func(line []byte) { w.process.take(line, w.log) }}
	for _, stray := range strays {
		if _, err := io.WriteString(out, stray+"\n"); err != nil { // as if the process had written it
			t.Fatal(err)
		}
		if text := <-logged; !strings.Contains(text, "no answer") {
			t.Errorf("logged: %s", text)
		}
		lines, err := w.Format(t.Context(), "right answer")
		if fmt.Sprintf("%q", lines) != `["right" "answer"]` || err != nil {
			t.Fatalf("after a stray line it made %q, %v", lines, err)
		}
	}
	if _, err := io.WriteString(out, "\n"+`{"id":2,"lines":["late"]}`+"\n"); err != nil { // nobody waits for it any more
		t.Fatal(err)
	}
	if lines, err := w.Format(t.Context(), "x"); err != nil || lines[0] != "x" || len(logged) > 0 {
		t.Errorf("after a late answer it made %q, %v", lines, err)
	}
}

// isGone reports whether no such process runs. One whose new parent has not waited for it has ended.
func isGone(pid string) bool {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	return err != nil || strings.HasPrefix(string(text[strings.LastIndexByte(string(text), ')')+1:]), " Z")
}
