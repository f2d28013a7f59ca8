package pluginsystem_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// childEnv makes the test program a child process that a plugin of a test starts, of the kind that it names.
const childEnv = "PLUGINSYSTEM_TEST_CHILD"

func TestMain(m *testing.M) {
	if kind := os.Getenv(childEnv); kind != "" {
		child(kind)
		return
	}
	goleak.VerifyTestMain(m)
}

// child is a process that runs until the program that has started it goes, or is ended: "plain" by SIGTERM or the end of its input,
// "stubborn" by killing alone; "parent" starts a stubborn child of its own, and is plain. It says that it is ready with a line that has
// the PID of its child, or 0.
func child(kind string) {
	leash := os.NewFile(3, "leash")
	pid := 0
	switch kind {
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
	case "parent":
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"=stubborn")
		cmd.ExtraFiles = []*os.File{leash}
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		_, _ = bufio.NewReader(out).ReadString('\n')
		pid = cmd.Process.Pid
	}
	fmt.Println(pid)
	if kind != "stubborn" {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	}
	_, _ = io.Copy(io.Discard, leash)
	os.Exit(0)
}

// worker is a plugin instance with a child process.
type worker struct {
	cmd        *exec.Cmd
	stdin      io.WriteCloser
	grandchild int
	wait       func() error

	ignoreClose bool // Close does nothing, so that the process is left
	waitOnClose bool // Close waits for the process without asking it to end
}

// startWorker starts a child process of the test program. It is gone at the end of the test.
func startWorker(t *testing.T, kind string) *worker {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("the tests of child processes need Linux's /proc")
	}
	held, leash, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	w := &worker{cmd: exec.Command(os.Args[0])}
	w.cmd.Env = append(os.Environ(), childEnv+"="+kind, "GORACE=atexit_sleep_ms=0")
	w.cmd.ExtraFiles = []*os.File{held}
	w.cmd.Stderr = os.Stderr
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.wait = sync.OnceValue(w.cmd.Wait)
	t.Cleanup(func() {
		leash.Close()
		_ = w.cmd.Process.Kill()
		_ = w.wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if w.grandchild, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *worker) Do() string       { return "" }
func (w *worker) ChildPIDs() []int { return []int{w.cmd.Process.Pid} }

func (w *worker) Close() error {
	switch {
	case w.ignoreClose:
		return nil
	case w.waitOnClose:
		_ = w.wait()
		return nil
	}
	w.stdin.Close()
	_ = w.wait() // it may have been terminated
	return nil
}

// doer is the interface of the plugins of these tests.
type doer interface{ Do() string }

// thing is an instance that tells the config that it was made with.
type thing struct {
	config string
	close  func() error
}

func (th *thing) Do() string { return th.config }

func (th *thing) Close() error {
	if th.close == nil {
		return nil
	}
	return th.close()
}

// isGone tells whether there is no process of that PID, or one that only init has to wait for.
func isGone(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	return fields[0] == "Z" && fields[1] != strconv.Itoa(os.Getpid())
}

// isZombie tells whether the process has ended and was not waited for.
func isZombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))[0] == "Z"
}
