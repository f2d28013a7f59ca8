package pluginsystem

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pluginregistry/pluginregistry/registry"
)

// What an instance may tell of what it holds, and do about it. The manager finds these by type assertion and calls them at any time, from
// any goroutine, also while the instance works or is being closed.
type (
	// ExecutionModer tells where the instance runs, if that is not what its definition says.
	ExecutionModer interface{ ExecutionMode() registry.ExecutionMode }

	// ProcessHolder tells the PIDs of the child processes that the instance has started; their descendants are found from these. Whoever
	// starts a process waits for it, as os/exec.Cmd.Wait does: nobody else can take its end without taking it from them.
	ProcessHolder interface{ ChildPIDs() []int }

	// ResourceHolder tells what else the instance holds on this machine, by names of its own, in a map that is the caller's. Two names mean
	// something here, if they have a string that is not empty: container_id and conda_env.
	ResourceHolder interface{ ManagedResources() map[string]any }

	// ForceCleaner gives up all that the instance holds at once, without regard for what is under way. Cleanup calls it where Close is
	// not enough.
	ForceCleaner interface {
		ForceCleanup(ctx context.Context) error
	}

	// RemoteHolder tells the remote resource that the instance has now; nil is none.
	RemoteHolder interface {
		RemoteResource(ctx context.Context) (*registry.RemoteResource, error)
	}

	// RemoteStatuser asks the provider how the remote resource does: registry.StatusRunning, provisioning, stopped, …. Without it the
	// Status of the RemoteResource counts.
	RemoteStatuser interface {
		RemoteStatus(ctx context.Context) (string, error)
	}

	// RemoteProvisioner gets the remote resource that the instance needs, by its config, and returns it.
	RemoteProvisioner interface {
		ProvisionRemote(ctx context.Context) (*registry.RemoteResource, error)
	}

	// RemoteTerminator gives the remote resource back.
	RemoteTerminator interface {
		TerminateRemote(ctx context.Context) error
	}

	// CostEstimator tells what the remote resource costs in that time, in USD. Without it CostPerHour of the RemoteResource counts.
	CostEstimator interface {
		EstimateCost(ctx context.Context, d time.Duration) (float64, error)
	}
)

// The names in ManagedResources that mean something, as in the Python original.
const (
	containerKey = "container_id"
	condaKey     = "conda_env"
)

// Held is what one loaded plugin holds now.
type Held struct {
	Category      string // where it was asked for through the registry
	Name          string
	ExecutionMode registry.ExecutionMode
	Processes     []Process                // its child processes and their descendants, by PID; those that it reports and that are gone, too
	ContainerID   string                   // of a container
	CondaEnv      string                   // the conda environment that it runs in
	Managed       map[string]any           // all that it says of what it manages
	Remote        *registry.RemoteResource // with its status as the provider tells it; nil where there is none
	Err           error                    // what it could not tell; the rest is there
}

// Resources returns what each running plugin and instance holds now, sorted by name. What one of them could not tell is in its Err, and
// the error joins all of these. Resources waits for plugins that take long to answer; they get ctx.
func (m *Manager[P]) Resources(ctx context.Context) ([]Held, error) {
	var all []Held
	var errs []error
	for _, name := range m.Loaded() {
		s, run := m.slot(name)
		if run == nil {
			continue
		}
		h := s.held(ctx, run)
		all, errs = append(all, h), append(errs, h.Err)
	}
	return all, errors.Join(errs...)
}

// held asks what run holds.
func (s *slot[P]) held(ctx context.Context, run *running[P]) Held {
	h := Held{Name: s.name}
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	var err error
	h.ExecutionMode, err = s.mode(run)
	note(err)
	h.Managed, err = managedBy(run.p)
	note(err)
	h.ContainerID, h.CondaEnv = text(h.Managed, containerKey), text(h.Managed, condaKey)
	h.Remote, err = remoteOf(ctx, run.p)
	note(err)
	h.Processes, err = processesOf(run)
	note(err)
	h.Err = fault("resources of", s.name, errors.Join(errs...))
	return h
}

// processesOf returns the child processes that are reported, those that are gone included, and their descendants, by PID.
func processesOf[P any](run *running[P]) ([]Process, error) {
	pids, err := childPIDs(run.p)
	roots := run.pids.update(pids)
	if len(roots) == 0 {
		return nil, err
	}
	table, tableErr := readProcesses(roots)
	roots, foreignErr := table.foreign(roots)
	family := table.families(roots)
	var all []Process
	for _, root := range roots {
		if !slices.Contains(family, root) { // it is gone, or its PID is another's
			all = append(all, Process{PID: root.pid})
		}
	}
	for _, p := range family {
		all = append(all, table.look(p))
	}
	slices.SortFunc(all, func(a, b Process) int { return a.PID - b.PID })
	return all, errors.Join(err, tableErr, foreignErr)
}

// foreign returns the processes but for those that cannot be a plugin's, and an error if there are such.
func (t processTable) foreign(roots []identity) ([]identity, error) {
	kept := slices.DeleteFunc(slices.Clone(roots), func(p identity) bool { return t.ours(p.pid) })
	if len(kept) < len(roots) {
		return kept, errOwn
	}
	return kept, nil
}

// describe tells what the metadata of a loaded plugin says of it.
func (pl *plugin[P]) describe(ctx context.Context, run *running[P]) (registry.ExecutionMode, registry.Resources, error) {
	mode, modeErr := pl.mode(run)
	managed, managedErr := managedBy(run.p)
	remote, remoteErr := remoteOf(ctx, run.p)
	pids, pidsErr := childPIDs(run.p)
	r := registry.Resources{ContainerID: text(managed, containerKey), CondaEnv: text(managed, condaKey), Remote: remote}
	_, r.ManagesChildProcesses = any(run.p).(ProcessHolder)
	_, manages := any(run.p).(ResourceHolder)
	_, isRemote := any(run.p).(RemoteHolder)
	r.ManagesExternalResources = manages || isRemote
	for _, p := range run.pids.update(pids) {
		if now, err := statusOf(p.pid); err == nil && now.start == p.start && !now.zombie {
			r.ChildPIDs = append(r.ChildPIDs, p.pid)
		}
	}
	return mode, r, errors.Join(modeErr, managedErr, remoteErr, pidsErr)
}

// mode returns where an instance runs.
func (pl *plugin[P]) mode(run *running[P]) (registry.ExecutionMode, error) {
	mode := pl.ExecutionMode
	var err error
	if own, ok := any(run.p).(ExecutionModer); ok {
		mode, err = guarded("ExecutionMode", func() (registry.ExecutionMode, error) { return own.ExecutionMode(), nil })
	}
	if mode == "" {
		mode = registry.ModeInProcess
	}
	return mode, err
}

// childPIDs returns the PIDs that an instance reports.
func childPIDs(p any) ([]int, error) {
	holder, ok := p.(ProcessHolder)
	if !ok {
		return nil, nil
	}
	return guarded("ChildPIDs", func() ([]int, error) { return slices.Clone(holder.ChildPIDs()), nil })
}

// managedBy returns what else an instance says that it holds.
func managedBy(p any) (map[string]any, error) {
	holder, ok := p.(ResourceHolder)
	if !ok {
		return nil, nil
	}
	return guarded("ManagedResources", func() (map[string]any, error) { return holder.ManagedResources(), nil })
}

// text returns the string under key.
func text(managed map[string]any, key string) string {
	s, _ := managed[key].(string)
	return s
}

// remoteOf returns the remote resource of an instance with its status; nil where there is none. If the status cannot be asked for, the
// resource comes beside the error, with the status unknown.
func remoteOf(ctx context.Context, p any) (*registry.RemoteResource, error) {
	holder, ok := p.(RemoteHolder)
	if !ok {
		return nil, nil
	}
	told, err := guarded("RemoteResource", func() (*registry.RemoteResource, error) { return holder.RemoteResource(ctx) })
	if err != nil || told == nil {
		return nil, err
	}
	remote := *told
	if statuser, ok := p.(RemoteStatuser); ok {
		remote.Status, err = guarded("RemoteStatus", func() (string, error) { return statuser.RemoteStatus(ctx) })
	}
	return &remote, err
}

// EstimateCost returns what the remote resources of the loaded plugins that are running cost together in that time, in USD, as their
// plugins estimate it. What could not be told is missing in the sum and is in the error, joined: ErrCostUnknown, or what the plugin says.
func (m *Manager[P]) EstimateCost(ctx context.Context, d time.Duration) (float64, error) {
	sum := 0.0
	var errs []error
	for _, name := range m.Loaded() {
		run := m.running(name)
		if run == nil {
			continue
		}
		cost, err := costOf(ctx, run.p, d)
		if err != nil {
			errs = append(errs, fault("cost of", name, err))
			continue
		}
		sum += cost
	}
	return sum, errors.Join(errs...)
}

func costOf(ctx context.Context, p any, d time.Duration) (float64, error) {
	remote, err := remoteOf(ctx, p)
	if err != nil || remote == nil || remote.Status != registry.StatusRunning {
		return 0, err
	}
	if estimator, ok := p.(CostEstimator); ok {
		return guarded("EstimateCost", func() (float64, error) { return estimator.EstimateCost(ctx, d) })
	}
	if remote.CostPerHour == 0 {
		return 0, ErrCostUnknown
	}
	return remote.CostPerHour * d.Hours(), nil
}

// Provision has a loaded plugin that is a RemoteProvisioner get its remote resource. If it is none the error is errors.ErrUnsupported;
// without an instance it is ErrNotLoaded.
func (m *Manager[P]) Provision(ctx context.Context, name string) (*registry.RemoteResource, error) {
	s, err := m.take(ctx, name) // unloaded meanwhile, nobody would give back what it gets
	if err != nil {
		return nil, fault("provision", name, err)
	}
	defer m.release(s)
	run := s.running.Load()
	if run == nil {
		return nil, fault("provision", name, ErrNotLoaded)
	}
	provisioner, ok := any(run.p).(RemoteProvisioner)
	if !ok {
		return nil, fault("provision", name, fmt.Errorf("%w: the plugin is no RemoteProvisioner", errors.ErrUnsupported))
	}
	remote, err := guarded("ProvisionRemote", func() (*registry.RemoteResource, error) { return provisioner.ProvisionRemote(ctx) })
	return remote, fault("provision", name, err)
}

// systems returns the typed systems of reg, each once, with the category that it is registered under; the first if there are several.
func systems(reg *registry.Registry) []categorySystem {
	var all []categorySystem
	for _, category := range reg.Categories() {
		s, ok := registry.ManagerAs[System](reg, category)
		if ok && !slices.ContainsFunc(all, func(other categorySystem) bool { return other.manager() == s.manager() }) {
			all = append(all, categorySystem{category, s})
		}
	}
	return all
}

type categorySystem struct {
	category string
	System
}

// Resources returns what the loaded plugins of all typed systems of reg hold now, by category and name; see Manager.Resources.
func Resources(ctx context.Context, reg *registry.Registry) ([]Held, error) {
	var all []Held
	var errs []error
	for _, s := range systems(reg) {
		held, err := s.Resources(ctx)
		for i := range held {
			held[i].Category = s.category
		}
		all, errs = append(all, held...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

// EstimateCost returns what the running remote resources of all typed systems of reg cost together; see Manager.EstimateCost.
func EstimateCost(ctx context.Context, reg *registry.Registry, d time.Duration) (float64, error) {
	sum := 0.0
	var errs []error
	for _, s := range systems(reg) {
		cost, err := s.EstimateCost(ctx, d)
		sum, errs = sum+cost, append(errs, err)
	}
	return sum, errors.Join(errs...)
}
