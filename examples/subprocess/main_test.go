package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/pluginregistry/pluginregistry/registry/pluginsystem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const want = `| A plugin may be a program of its own: it crashes alone, it
| is written in any language, and it goes when it is told
| to.
formatter_wrap runs as subprocess: process FIRST, alive: true, memory in use: true
its metadata has the processes [FIRST]
EDIT sets the width to 30
formatter_wrap reloaded: true
| A plugin may be a program of
| its own: it crashes alone,
| it is written in any
| language, and it goes when
| it is told to.
formatter_wrap runs as subprocess: process SECOND, alive: true, memory in use: true
its metadata has the processes [SECOND]
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
			got := strings.Replace(out.String(), editor, "EDIT", 1)
			pids := regexp.MustCompile(`process (\d+)`).FindAllStringSubmatch(got, -1)
			if len(pids) != 2 || pids[0][1] == pids[1][1] {
				t.Fatalf("there are not two processes, one after the other:\n%s", got)
			}
			for i, label := range []string{"FIRST", "SECOND"} {
				got = strings.NewReplacer("process "+pids[i][1], "process "+label, "["+pids[i][1]+"]", "["+label+"]").Replace(got)
			}
			if got != want {
				t.Errorf("it said\n%s\nwant\n%s", got, want)
			}
			if _, err := os.Stat("/proc/self"); err != nil {
				t.Skip("whether the processes are gone is looked up in /proc, which is not here")
			}
			for _, pid := range pids {
				if _, err := os.Stat("/proc/" + pid[1]); err == nil {
					t.Errorf("process %s is still there, if only as a zombie", pid[1])
				}
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

func TestWorkerTrouble(t *testing.T) {
	needGo(t)
	executable, err := build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := pluginsystem.NewManager(wrapPlugin(executable), pluginsystem.Definition[Formatter]{Name: "none", New: wrapPlugin(executable + "-not").New})
	if _, err := m.Load(t.Context(), "none", wrapConfig{Width: 1}); err == nil {
		t.Error("a missing executable was started")
	}
	if _, err := m.Load(t.Context(), "wrap", wrapConfig{Width: 2, Indent: "> "}); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("the worker took a config that it cannot work with: %v", err)
	}
	p, err := m.Load(t.Context(), "wrap", wrapConfig{Width: 5})
	if err != nil {
		t.Fatal(err)
	}
	lines, err := p.Format(t.Context(), "one two\nthree")
	if fmt.Sprintf("%q", lines) != `["one" "two" "three"]` || err != nil {
		t.Errorf("it made %q, %v", lines, err)
	}
	// It goes on only as long as somebody waits for its answers.
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for err = nil; err == nil; {
		_, err = p.Format(done, "one")
	}
	<-p.(*worker).done
	if _, err := p.Format(t.Context(), "one"); err == nil {
		t.Error("a killed worker answered")
	}
	if held, err := m.Resources(t.Context()); err != nil || held[0].Processes != nil {
		t.Errorf("held: %+v, %v", held, err)
	}
	if err := m.Unload(t.Context(), "wrap"); err != nil {
		t.Error(err)
	}
}
