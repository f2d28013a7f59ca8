package pluginsystem

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/pluginregistry/pluginregistry/internal/sleep"
	"github.com/pluginregistry/pluginregistry/registry"
)

// Cleaned tells how one plugin was cleaned up.
type Cleaned struct {
	Category   string // where it was asked for through the registry
	Name       string
	Terminated []int                    // the PIDs that were sent SIGTERM
	Killed     []int                    // the PIDs that had to be killed
	Left       []Process                // the processes that could not be ended, and those that the plugin has not waited for (Zombie)
	Container  string                   // the ID of a container that the plugin still says it holds
	Remote     *registry.RemoteResource // the remote resource that may still be there, and cost
	Err        error                    // all that went wrong, what is left included; nil means that nothing is left
}

// Cleanup unloads every loaded plugin and sees to it that what it held is gone, all plugins at once, and tells what it did, by name, the
// plugins that it found nothing of left out. What it could not do is in each one's Err, and all of these are in the error, joined.
//
// Each plugin is asked politely at first and has the grace period to comply:
//
//   - A remote resource that is not stopped or terminated is given back by TerminateRemote, and asked for until its status is no longer
//     running. Only then the rest begins, with a grace period of its own.
//   - Close is called, if the plugin has it.
//   - When Close has returned, or after half the period, ForceCleanup is called if Close is missing, failed or has not returned, or if
//     there are processes or a container left; and SIGTERM is sent to the processes that are left, descendants included.
//   - After the period the processes that are left are killed. It waits one more period, at least a second, for them to be gone.
//
// When ctx is done politeness ends: what is left is killed at once. A TerminateRemote, Close or ForceCleanup that does not return is left
// behind in its goroutine and reported. Afterwards the plugin is not loaded, whatever is left of it. A plugin that is just being loaded,
// reloaded or unloaded is waited for as long as for an answer: the grace period, at least a second.
func (m *Manager[P]) Cleanup(ctx context.Context, grace time.Duration) ([]Cleaned, error) {
	names := m.Loaded()
	all := make([]Cleaned, len(names))
	var running sync.WaitGroup
	for i, name := range names {
		running.Go(func() { all[i] = m.cleanup(ctx, name, grace) })
	}
	running.Wait()
	all = slices.DeleteFunc(all, func(c Cleaned) bool { return c.Name == "" })
	var errs []error
	for _, c := range all {
		errs = append(errs, c.Err)
	}
	return all, errors.Join(errs...)
}

// Cleanup cleans up all typed systems of reg at once; see Manager.Cleanup. The results come by category and name.
func Cleanup(ctx context.Context, reg *registry.Registry, grace time.Duration) ([]Cleaned, error) {
	found := systems(reg)
	results := make([][]Cleaned, len(found))
	errs := make([]error, len(found))
	var running sync.WaitGroup
	for i, s := range found {
		running.Go(func() {
			results[i], errs[i] = s.Cleanup(ctx, grace)
			for j := range results[i] {
				results[i][j].Category = s.category
			}
		})
	}
	running.Wait()
	return slices.Concat(results...), errors.Join(errs...)
}

func (m *Manager[P]) cleanup(ctx context.Context, name string, grace time.Duration) Cleaned {
	waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(grace, leastWait)) // a ctx that has ended hurries, it does not forgo
	defer cancel()
	s, err := m.take(waiting, name)
	if err != nil {
		return Cleaned{Name: name, Err: fault("clean up", name, fmt.Errorf("nothing was done: %w", err))}
	}
	defer m.release(s)
	run := s.running.Swap(nil)
	if run == nil {
		return Cleaned{} // another call was faster
	}
	c := cleaning{Cleaned: Cleaned{Name: name}, ctx: ctx, grace: grace, p: run.p, signalled: map[identity]os.Signal{}}
	c.findProcesses(&run.pids)
	c.giveBackRemote()
	c.end()
	c.checkContainer()
	c.Err = fault("clean up", name, errors.Join(c.errs...))
	return c.Cleaned
}

// cleaning is the cleaning up of one instance.
type cleaning struct {
	Cleaned
	ctx   context.Context
	grace time.Duration
	p     any
	errs  []error

	processes []identity   // that are or were the plugin's, as far as they were seen
	table     processTable // as it was last looked at
	signalled map[identity]os.Signal
	closing   <-chan outcome[struct{}] // nil when Close has returned
	forcing   <-chan outcome[struct{}]
}

// unending is the context of what must be done even when the caller's is done.
func (c *cleaning) unending() context.Context { return context.WithoutCancel(c.ctx) }

func (c *cleaning) note(err error) {
	if err != nil {
		c.errs = append(c.errs, err)
	}
}

// findProcesses takes down the processes that the plugin reports, and their descendants. If it does not answer, those count that it has
// reported before.
func (c *cleaning) findProcesses(seen *sightings) {
	pids, err := callFor(c.unending(), max(c.grace, leastWait), "ChildPIDs", func(context.Context) ([]int, error) { return childPIDs(c.p) })
	roots := seen.last()
	if err == nil {
		roots = seen.update(pids)
	}
	c.note(err)
	if len(roots) == 0 {
		return
	}
	table, err := readProcesses(roots)
	c.note(err)
	c.processes, err = table.foreign(roots)
	c.note(err)
	c.rescan()
}

// rescan looks at the processes again, and for descendants that have come since.
func (c *cleaning) rescan() {
	table, err := readProcesses(c.processes)
	if err != nil {
		c.note(err)
		return
	}
	c.table = table
	for _, p := range table.families(c.processes) {
		if !slices.Contains(c.processes, p) {
			c.processes = append(c.processes, p)
		}
	}
}

// running returns the plugin's processes that run.
func (c *cleaning) running() []identity {
	return slices.DeleteFunc(slices.Clone(c.processes), func(p identity) bool { return !c.table.running(p) })
}

// unwaited returns the plugin's processes that have ended and that this program, their parent, has not waited for. Those of other
// parents are no matter of the plugin's.
func (c *cleaning) unwaited() []identity {
	return slices.DeleteFunc(slices.Clone(c.processes), func(p identity) bool {
		return !c.table.is(p) || !c.table[p.pid].zombie || c.table[p.pid].parent != os.Getpid()
	})
}

// giveBackRemote ends what the plugin has elsewhere.
func (c *cleaning) giveBackRemote() {
	if _, ok := c.p.(RemoteHolder); !ok {
		return
	}
	ask := func(ctx context.Context) (*registry.RemoteResource, error) { return remoteOf(ctx, c.p) }
	remote, err := callFor(c.unending(), max(c.grace, leastWait), "asking for the remote resource", ask)
	c.note(err)
	if remote == nil || err == nil && isOver(remote.Status) {
		return
	}
	terminator, ok := c.p.(RemoteTerminator)
	if !ok {
		c.Remote = remote
		c.note(errors.New("the plugin has no TerminateRemote; end its remote resource at the provider"))
		return
	}
	_, err = callFor(c.unending(), max(c.grace, leastWait), "giving back the remote resource", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, terminateRemote(ctx, c.p, terminator)
	})
	if err != nil {
		c.Remote = remote
		c.note(fmt.Errorf("the remote resource may still be there: %w", err))
	}
}

// isOver tells whether there is nothing to give back any more.
func isOver(status string) bool { return status == "stopped" || status == "terminated" }

// terminateRemote gives the remote resource back and waits until it does not run any more.
func terminateRemote(ctx context.Context, p any, terminator RemoteTerminator) error {
	_, err := guarded("TerminateRemote", func() (struct{}, error) { return struct{}{}, terminator.TerminateRemote(ctx) })
	for err == nil {
		var now *registry.RemoteResource
		now, err = remoteOf(ctx, p)
		if err == nil && (now == nil || now.Status != registry.StatusRunning) {
			return nil
		}
		if err == nil && sleep.For(ctx, pollInterval) != nil {
			err = errors.New("TerminateRemote was called, its status is still running")
		}
	}
	return err
}

// leastWait is how long it waits, however short the grace period is, for the plugin to answer and for what was killed to be gone.
const leastWait = time.Second

// pollInterval is how often it is looked whether what was ended has ended.
const pollInterval = 20 * time.Millisecond

// end closes the instance and ends its processes.
func (c *cleaning) end() {
	polite, cancel := context.WithTimeout(c.ctx, c.grace)
	defer cancel()
	c.closing = begin(polite, "Close", func(ctx context.Context) (struct{}, error) { return struct{}{}, closePlugin(ctx, c.p) })
	half, cancelHalf := context.WithTimeout(polite, c.grace/2)
	defer cancelHalf()
	failed := !hasClose(c.p)
	select {
	case out := <-c.closing:
		c.closing = nil
		c.note(out.err)
		failed = failed || out.err != nil
	case <-half.Done():
		failed = true
	}
	if len(c.processes) > 0 {
		c.rescan()
	}
	if forcer, ok := c.p.(ForceCleaner); ok && (failed || len(c.running()) > 0 || c.container() != "") {
		c.forcing = begin(c.unending(), "ForceCleanup", func(ctx context.Context) (struct{}, error) { return struct{}{}, forcer.ForceCleanup(ctx) })
	}
	if c.ctx.Err() == nil {
		c.signalAll(syscall.SIGTERM, &c.Terminated)
		c.settle(polite, func() {})
	}
	last, cancelLast := context.WithTimeout(c.unending(), max(c.grace, leastWait))
	defer cancelLast()
	kill := func() { c.signalAll(os.Kill, &c.Killed) }
	kill()
	c.settle(last, kill)
	c.report()
}

// signalAll sends sig to the processes that run and have not got it yet.
func (c *cleaning) signalAll(sig os.Signal, sent *[]int) {
	for _, p := range c.running() {
		if c.signalled[p] == sig {
			continue
		}
		c.signalled[p] = sig
		ok, err := signal(p, sig)
		if ok {
			*sent = append(*sent, p.pid)
		}
		if !errors.Is(err, errors.ErrUnsupported) { // where there is no SIGTERM, killing is all there is
			c.note(err)
		}
	}
}

// settle waits until all has ended, and calls again each time it has looked and it has not.
func (c *cleaning) settle(ctx context.Context, again func()) {
	for {
		c.collect(&c.closing)
		c.collect(&c.forcing)
		if len(c.processes) > 0 {
			c.rescan()
		}
		if c.closing == nil && c.forcing == nil && len(c.running()) == 0 && len(c.unwaited()) == 0 {
			return
		}
		again()
		if sleep.For(ctx, pollInterval) != nil {
			return
		}
	}
}

// collect takes what a function of the plugin has returned, if it has.
func (c *cleaning) collect(done *<-chan outcome[struct{}]) {
	select {
	case out := <-*done:
		*done = nil
		c.note(out.err)
	default:
	}
}

// report tells what has not ended.
func (c *cleaning) report() {
	if c.closing != nil {
		c.note(errors.New("its Close has not returned; it is left behind"))
	}
	if c.forcing != nil {
		c.note(errors.New("its ForceCleanup has not returned; it is left behind"))
	}
	for _, p := range c.running() {
		c.Left = append(c.Left, c.table.look(p))
		c.note(fmt.Errorf("process %d could not be ended", p.pid))
	}
	for _, p := range c.unwaited() {
		c.Left = append(c.Left, c.table.look(p))
		c.note(fmt.Errorf("process %d has ended, but the plugin has not waited for it", p.pid))
	}
}

// checkContainer tells whether the plugin still has a container.
func (c *cleaning) checkContainer() {
	if c.Container = c.container(); c.Container != "" {
		c.note(fmt.Errorf("the plugin still holds the container %q", c.Container))
	}
}

func (c *cleaning) container() string {
	ask := func(context.Context) (map[string]any, error) { return managedBy(c.p) }
	managed, err := callFor(c.unending(), max(c.grace, leastWait), "ManagedResources", ask)
	if err != nil {
		c.note(err)
	}
	return text(managed, containerKey)
}
