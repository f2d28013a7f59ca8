package pluginsystem

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// readProcesses returns all processes of the machine.
func readProcesses(_ []identity) (processTable, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing the processes: %w", err)
	}
	t := make(processTable, len(entries))
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := statusOf(pid); err == nil { // else it has ended
			t[pid] = s
		}
	}
	return t, nil
}

// statusOf reads /proc/<pid>/stat. The start in it counts from the boot: unlike a time of day, it does not move with the clock.
func statusOf(pid int) (status, error) {
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

// tick is the unit of times in /proc/<pid>/stat: Linux's USER_HZ is 100 on every architecture that Go knows.
const tick = time.Second / 100

// parseStat parses what proc_pid_stat(5) describes: fields with a space between. The second one, the name, is in parentheses and may hold
// spaces and parentheses.
func parseStat(text []byte) (s status, err error) {
	name := bytes.LastIndexByte(text, ')')
	if name < 0 {
		return status{}, errors.New("its stat has no name")
	}
	fields := bytes.Fields(text[name+1:]) // from the third on
	if len(fields) < 22 {
		return status{}, errors.New("its stat is too short")
	}
	number := func(field int) uint64 { // counted as in the manual page
		n, numberErr := strconv.ParseUint(string(fields[field-3]), 10, 63)
		if numberErr != nil {
			err = errors.New("field " + strconv.Itoa(field) + " of its stat is no number")
		}
		return n
	}
	state := fields[0][0]
	s = status{
		parent:  int(number(4)),
		zombie:  state == 'Z' || state == 'X',
		cpuTime: time.Duration(number(14)+number(15)) * tick,
		start:   number(22) + 1, // never 0, which stands for a process that was never seen
		rss:     number(24) * uint64(os.Getpagesize()),
	}
	if err != nil {
		return status{}, err
	}
	return s, nil
}

// age returns how long ago a process began; 0 if that is not known.
func (s status) age() time.Duration {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	first, _, _ := bytes.Cut(text, []byte(" "))
	up, err := strconv.ParseFloat(string(first), 64)
	if err != nil {
		return 0
	}
	return time.Duration(up*float64(time.Second)) - time.Duration(s.start-1)*tick
}
