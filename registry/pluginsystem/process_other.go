//go:build !linux

package pluginsystem

import (
	"context"
	"slices"

	"github.com/shirou/gopsutil/v4/process"
)

// statusOf asks the system for a process.
func statusOf(ctx context.Context, pid int) (status, error) {
	p := &process.Process{Pid: int32(pid)}
	start, err := p.CreateTimeWithContext(ctx)
	if err != nil {
		return status{}, err
	}
	parent, err := p.PpidWithContext(ctx)
	if err != nil {
		return status{}, err
	}
	state, err := p.StatusWithContext(ctx)
	return status{parent: int(parent), start: uint64(start), zombie: err == nil && slices.Contains(state, process.Zombie)}, nil
}
