package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// A guard is this program once more, as the parent of another command. It holds the reading end of a pipe, the leash, whose other end only
// the host has: when the host closes it or is gone, even by kill -9, the guard kills the command and all its descendants.
const guardArg = "guard-of-the-subprocess-example"

// It is done here and not in main so that a test program can be a guard, too.
func init() {
	if len(os.Args) > 2 && os.Args[1] == guardArg {
		os.Exit(guard(os.Args[2], os.Args[3:]))
	}
}

// command is exec.Command for a process that ends, with all its descendants, when this program ends or end is closed.
func command(name string, args ...string) (cmd *exec.Cmd, end io.Closer, err error) {
	held, end, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	cmd = exec.Command("/proc/self/exe", append([]string{guardArg, name}, args...)...)
	cmd.ExtraFiles = []*os.File{held}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C at a terminal is for the host, which then ends it in order
	return cmd, leash{end, held}, nil
}

type leash struct{ end, held io.Closer }

func (l leash) Close() error { return errors.Join(l.held.Close(), l.end.Close()) }

func guard(name string, args []string) int {
	// The kernel sends Pdeathsig when the thread ends that has started the command, so it must be the main one.
	runtime.LockOSThread()
	const leashFD = 3
	syscall.CloseOnExec(leashFD)
	// Descendants whose parents have ended become children of this process, so that none gets lost.
	const prSetChildSubreaper = 36
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		fmt.Fprintln(os.Stderr, "guard:", errno)
		return 1
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT) // these are for the command

	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // if the guard is killed
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "guard:", err)
		return 127
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.NewFile(leashFD, "leash"))
		_ = cmd.Process.Kill()
	}()
	status := 1
	for killing := false; ; {
		pid, ended, err := waitForChild()
		switch {
		case err != nil: // there are no more
			return status
		case pid == cmd.Process.Pid:
			killing = true
			if ended.Exited() {
				status = ended.ExitStatus()
			}
		}
		if killing {
			killChildren() // and when these have ended, those that they leave
		}
	}
}

func waitForChild() (pid int, ended syscall.WaitStatus, err error) {
	for {
		pid, err = syscall.Wait4(-1, &ended, 0, nil)
		if !errors.Is(err, syscall.EINTR) {
			return pid, ended, err
		}
	}
}

// killChildren kills the children of this process. A PID cannot be another's meanwhile, as nobody else waits for them.
func killChildren() {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // state, parent, …
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
