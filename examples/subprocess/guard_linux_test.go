package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// roleEnv makes the test program one of the processes of TestKilledHost.
const roleEnv = "SUBPROCESS_TEST_ROLE"

// A process plays the part that roleEnv names, if it does: "host" runs a "family" by command, as an application does; a family starts
// several "orphans" and leaves some of them; an orphan ignores what it can and never ends. Each says its PID.
func init() {
	role := os.Getenv(roleEnv)
	if role == "" {
		return
	}
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	fmt.Println(os.Getpid())
	start := func(cmd *exec.Cmd, as string) {
		cmd.Env = append(os.Environ(), roleEnv+"="+as)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			panic(err)
		}
	}
	switch role {
	case "host":
		cmd, end, err := command(os.Args[0])
		if err != nil {
			panic(err)
		}
		start(cmd, "family")
		fmt.Println(cmd.Process.Pid) // the guard
		_ = cmd.Wait()
		_ = end.Close()
	case "family":
		start(exec.Command(os.Args[0]), "orphan")
		session := exec.Command(os.Args[0]) // one that a group of processes does not hold
		session.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		start(session, "orphan")
		start(exec.Command(os.Args[0]), "leaver")
		wait()
	case "leaver": // its child becomes another's
		start(exec.Command(os.Args[0]), "orphan")
	case "orphan":
		wait()
	}
	os.Exit(0)
}

// wait never returns. An empty select would be a deadlock, as there is no other goroutine.
func wait() {
	for {
		time.Sleep(time.Hour)
	}
}

// TestKilledHost kills the host with the signal that cannot be caught, and looks for what is left of its command, also if that was stopped.
func TestKilledHost(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		t.Run(fmt.Sprint("stopped=", stopped), func(t *testing.T) {
			t.Parallel()
			host := exec.Command(os.Args[0])
			host.Env = append(os.Environ(), roleEnv+"=host")
			host.Stderr = os.Stderr
			out, err := host.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := host.Start(); err != nil {
				t.Fatal(err)
			}
			// host, guard, family, three orphans, and one that leaves
			var pids []int
			lines := bufio.NewScanner(out)
			for len(pids) < 7 && lines.Scan() {
				pid, err := strconv.Atoi(lines.Text())
				if err != nil {
					t.Fatalf("a process said %q", lines.Text())
				}
				pids = append(pids, pid)
			}
			if len(pids) < 7 {
				t.Fatalf("there are only the processes %v", pids)
			}
			alive := 0
			for _, pid := range pids {
				if !isGone(strconv.Itoa(pid)) {
					alive++
				}
				if stopped && pid != host.Process.Pid && isOrphan(pid) {
					_ = syscall.Kill(pid, syscall.SIGSTOP)
				}
			}
			if alive < 6 {
				t.Fatalf("only %d processes run before the host is killed", alive)
			}
			if err := host.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = host.Wait()
			for _, pid := range pids {
				waitUntilGone(t, pid)
			}
		})
	}
}

// isOrphan reports whether the process plays that part.
func isOrphan(pid int) bool {
	env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return strings.Contains(string(env), roleEnv+"=orphan") || strings.Contains(string(env), roleEnv+"=family")
}

// TestKilledWorker kills the process, and its guard, with the signal that cannot be caught.
func TestKilledWorker(t *testing.T) {
	w, m, _ := loaded(t, wrapConfig{Width: 10})
	for _, which := range []int{0, 1, 1, 0} { // the guard comes first, as it has the lower PID
		held, err := m.Resources(t.Context())
		if err != nil || len(held) != 1 || len(held[0].Processes) != 2 {
			t.Fatalf("held: %+v, %v", held, err)
		}
		p := w.process
		if err := syscall.Kill(held[0].Processes[which].PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-p.done
		if _, err := p.ask(t.Context(), request{Text: "x"}); !errors.Is(err, errEnded) {
			t.Errorf("the error of a killed process is %v", err)
		}
		lines, err := w.Format(t.Context(), "here again")
		if fmt.Sprintf("%q", lines) != `["here again"]` || err != nil {
			t.Fatalf("after kill -9 it made %q, %v", lines, err)
		}
		for _, old := range held[0].Processes {
			waitUntilGone(t, old.PID)
		}
	}
}

func waitUntilGone(t *testing.T, pid int) {
	t.Helper()
	for range 1000 {
		if isGone(strconv.Itoa(pid)) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d is still there", pid)
	_ = syscall.Kill(pid, syscall.SIGKILL)
}
