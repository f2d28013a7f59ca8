package pluginsystem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// statusOf reads /proc/<pid>/stat. The start in it counts from the boot, so that, unlike a time of day, it does not move with the clock.
func statusOf(_ context.Context, pid int) (status, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return status{}, err
	}
	s, err := parseStat(text)
	if err != nil {
		return status{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return s, nil
}

// parseStat reads what proc_pid_stat(5) describes: fields with a space between, of which the second, the name, is in parentheses and may
// itself have spaces and parentheses.
func parseStat(text []byte) (status, error) {
	name := bytes.LastIndexByte(text, ')')
	if name < 0 {
		return status{}, errors.New("its stat has no name")
	}
	fields := bytes.Fields(text[name+1:]) // from the third on
	if len(fields) < 20 {
		return status{}, errors.New("its stat is too short")
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return status{}, errors.New("its stat has no parent")
	}
	start, err := strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return status{}, errors.New("its stat has no start time")
	}
	state := fields[0][0]
	return status{parent: parent, start: start + 1, zombie: state == 'Z' || state == 'X'}, nil
}
