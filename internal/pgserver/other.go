//go:build !unix

package pgserver

import (
	"os/exec"
	"testing"
)

// GiveAway does nothing here.
func GiveAway(testing.TB, string) {}
func asOther(*exec.Cmd)           {}
func killAll(cmd *exec.Cmd)       { _ = cmd.Process.Kill() }
