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

// Resources returns what the loaded plugins hold now, by name. What one of them could not tell is in its Err, and all of these are in the
// error, joined. One that takes long is waited for: ctx is passed on to it.
func (m *Manager[P]) Resources(ctx context.Context) ([]Held, error) {
	var all []Held
	var table processTable
	var errs []error
	for _, name := range m.Loaded() {
		pl := m.byName[name]
		in := pl.loaded.Load()
		if in == nil {
			continue
		}
		if _, holds := any(in.p).(ProcessHolder); holds && table == nil {
			var err error
			if table, err = readProcesses(ctx); err != nil {
				errs, table = append(errs, fmt.Errorf("pluginsystem: %w", err)), processTable{}
			}
		}
		h := pl.held(ctx, in, table)
		if h.Err != nil {
			errs = append(errs, h.Err)
		}
		all = append(all, h)
	}
	return all, errors.Join(errs...)
}

// held asks an instance for what it holds.
func (pl *plugin[P]) held(ctx context.Context, in *instance[P], table processTable) Held {
	h := Held{Name: pl.Name}
	var errs []error
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	var err error
	h.ExecutionMode, err = pl.mode(in)
	note(err)
	h.Managed, err = managedBy(in.p)
	note(err)
	h.ContainerID, h.CondaEnv = text(h.Managed, containerKey), text(h.Managed, condaKey)
	h.Remote, err = remoteOf(ctx, in.p)
	note(err)

	pids, err := childPIDs(in.p)
	note(err)
	roots := in.pids.update(ctx, pids)
	roots, err = table.foreign(roots)
	note(err)
	family := table.families(roots)
	for _, root := range roots {
		if !slices.Contains(family, root) { // it is gone, or its PID is another's
			h.Processes = append(h.Processes, Process{PID: root.pid})
		}
	}
	for _, p := range family {
		h.Processes = append(h.Processes, table.look(ctx, p))
	}
	slices.SortFunc(h.Processes, func(a, b Process) int { return a.PID - b.PID })
	h.Err = fault("resources of", pl.Name, errors.Join(errs...))
	return h
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
func (pl *plugin[P]) describe(ctx context.Context, in *instance[P]) (registry.ExecutionMode, registry.Resources, error) {
	mode, modeErr := pl.mode(in)
	managed, managedErr := managedBy(in.p)
	remote, remoteErr := remoteOf(ctx, in.p)
	pids, pidsErr := childPIDs(in.p)
	r := registry.Resources{ContainerID: text(managed, containerKey), CondaEnv: text(managed, condaKey), Remote: remote}
	_, r.ManagesChildProcesses = any(in.p).(ProcessHolder)
	_, manages := any(in.p).(ResourceHolder)
	_, isRemote := any(in.p).(RemoteHolder)
	r.ManagesExternalResources = manages || isRemote
	for _, p := range in.pids.update(ctx, pids) {
		if now, err := statusOf(ctx, p.pid); err == nil && now.start == p.start && !now.zombie {
			r.ChildPIDs = append(r.ChildPIDs, p.pid)
		}
	}
	return mode, r, errors.Join(modeErr, managedErr, remoteErr, pidsErr)
}

// mode returns where an instance runs.
func (pl *plugin[P]) mode(in *instance[P]) (registry.ExecutionMode, error) {
	mode := pl.ExecutionMode
	var err error
	if own, ok := any(in.p).(ExecutionModer); ok {
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
		in := m.byName[name].loaded.Load()
		if in == nil {
			continue
		}
		cost, err := costOf(ctx, in.p, d)
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
	pl, err := m.plugin(name)
	if err != nil {
		return nil, fault("provision", name, err)
	}
	if err := pl.take(ctx); err != nil { // it must not be unloaded meanwhile, or what it gets is nobody's
		return nil, fault("provision", name, err)
	}
	defer pl.release()
	in := pl.loaded.Load()
	if in == nil {
		return nil, fault("provision", name, ErrNotLoaded)
	}
	provisioner, ok := any(in.p).(RemoteProvisioner)
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
