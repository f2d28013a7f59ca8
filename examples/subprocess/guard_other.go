//go:build !linux

package main

import (
	"io"
	"os/exec"
)

// command is exec.Command for a process that is killed when end is closed. If this program is killed, only the end of its input tells it.
func command(name string, args ...string) (cmd *exec.Cmd, end io.Closer, err error) {
	cmd = exec.Command(name, args...)
	return cmd, killer{cmd}, nil
}

type killer struct{ cmd *exec.Cmd }

func (k killer) Close() error {
	if k.cmd.Process != nil {
		_ = k.cmd.Process.Kill() // it may have ended
	}
	return nil
}
