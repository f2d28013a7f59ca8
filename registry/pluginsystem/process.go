package pluginsystem

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Process is a child process of a plugin, or a descendant of one, at one moment.
//
// Only Linux tells everything. On other systems the descendants of the child processes, their parents, whether they are zombies, and what
// they use are not known: those fields are zero.
type Process struct {
	PID    int
	Parent int
	// Alive reports whether it runs. It is false for a process that has ended, even if its parent has not waited for it, and for
	// another process that has got the PID since.
	Alive  bool
	Zombie bool // it has ended, and its parent has not waited for it

	// These are zero if it is not alive.
	CPUTime    time.Duration // user and system time since it began
	CPUPercent float64       // of one core, on average since it began
	RSS        uint64        // resident memory in bytes
}

// status is what the system says of a PID. start tells two processes apart that have the PID one after the other; it is opaque.
type status struct {
	parent int
	start  uint64
	zombie bool

	cpuTime time.Duration
	rss     uint64
}

// identity is one process, whoever has its PID later.
type identity struct {
	pid   int
	start uint64
}

// processTable is all processes of the machine at one moment.
type processTable map[int]status

// is tells whether p is in the table, as a process that runs or as a zombie.
func (t processTable) is(p identity) bool {
	s, there := t[p.pid]
	return there && s.start == p.start
}

// running tells whether p has not ended.
func (t processTable) running(p identity) bool { return t.is(p) && !t[p.pid].zombie }

// families returns the roots and their descendants, by PID, each once.
func (t processTable) families(roots []identity) []identity {
	children := make(map[int][]int, len(t))
	for pid, s := range t {
		children[s.parent] = append(children[s.parent], pid)
	}
	seen := map[int]bool{}
	var all []identity
	var add func(pid int)
	add = func(pid int) {
		if seen[pid] {
			return
		}
		seen[pid] = true
		all = append(all, identity{pid, t[pid].start})
		for _, child := range children[pid] {
			add(child)
		}
	}
	for _, root := range roots {
		if t.is(root) {
			add(root.pid)
		}
	}
	slices.SortFunc(all, func(a, b identity) int { return a.pid - b.pid })
	return all
}

// look returns what is known of p.
func (t processTable) look(p identity) Process {
	if !t.is(p) {
		return Process{PID: p.pid}
	}
	s := t[p.pid]
	found := Process{PID: p.pid, Parent: s.parent, Alive: !s.zombie, Zombie: s.zombie}
	if found.Alive {
		found.CPUTime, found.RSS = s.cpuTime, s.rss
		if age := s.age(); age > 0 {
			found.CPUPercent = 100 * s.cpuTime.Seconds() / age.Seconds()
		}
	}
	return found
}

// errOwn: the PID is not a plugin's.
var errOwn = errors.New("the plugin reports a PID that is no child process of its own: 0, 1, this program or one that it runs under; " +
	"nothing is done to it")

// ours tells whether pid must not be signalled: it is none, the first process, this program or an ancestor of it.
func (t processTable) ours(pid int) bool {
	if pid <= 1 || pid == os.Getppid() {
		return true
	}
	seen := map[int]bool{}
	for own := os.Getpid(); own > 0 && !seen[own]; own = t[own].parent {
		if own == pid {
			return true
		}
		seen[own] = true
	}
	return false
}

// signal sends sig to p, if it still is that process, and tells whether it has.
func signal(p identity, sig os.Signal) (bool, error) {
	// On Linux the handle is of the process, not of the PID: after the check nobody else can have got it.
	handle, err := os.FindProcess(p.pid)
	if err != nil {
		return false, nil // it has ended
	}
	defer handle.Release()
	if s, err := statusOf(p.pid); err != nil || s.start != p.start || s.zombie {
		return false, nil
	}
	switch err := handle.Signal(sig); {
	case err == nil:
		return true, nil
	case errors.Is(err, os.ErrProcessDone), errors.Is(err, syscall.ESRCH):
		return false, nil
	default:
		return false, fmt.Errorf("signal %v to process %d: %w", sig, p.pid, err)
	}
}

// sightings are the child processes of an instance as they were first reported: if another process gets a PID later, that is told by it.
type sightings struct {
	sync.Mutex
	first map[int]uint64
}

// update takes the PIDs that are reported now and returns which processes they are. The start is 0 where nobody
// had the PID when it was first reported.
func (s *sightings) update(pids []int) []identity {
	s.Lock()
	defer s.Unlock()
	first := make(map[int]uint64, len(pids)) // a PID that was not reported meanwhile is seen anew
	var all []identity
	for _, pid := range pids {
		if _, twice := first[pid]; twice {
			continue
		}
		start, known := s.first[pid]
		if !known {
			if now, err := statusOf(pid); err == nil {
				start = now.start
			}
		}
		first[pid] = start
		all = append(all, identity{pid, start})
	}
	s.first = first
	return all
}

// last returns what update has returned last.
func (s *sightings) last() []identity {
	s.Lock()
	defer s.Unlock()
	var all []identity
	for pid, start := range s.first {
		all = append(all, identity{pid, start})
	}
	return all
}
