package pluginsystem_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/pluginsystem"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// holding returns a manager of plugins that are these instances, all loaded, registered in a registry under "c".
func holding(t *testing.T, instances map[string]doer) (*pluginsystem.Manager[doer], *registry.Registry) {
	t.Helper()
	var defs []pluginsystem.Definition[doer]
	for name, p := range instances {
		def := define(name)
		def.New = func(context.Context, json.RawMessage) (doer, error) { return p, nil }
		defs = append(defs, def)
	}
	m := pluginsystem.NewManager(defs...)
	for name := range instances {
		ok[doer](t)(m.Load(t.Context(), name, map[string]any{}))
	}
	reg := registry.New(memory.New())
	ok[registry.Plugins](t)(reg.RegisterManager(t.Context(), "c", m))
	return m, reg
}

// remote is an instance with a remote resource and a container.
type remote struct {
	thing
	resource  *registry.RemoteResource
	status    func() (string, error)
	terminate func() error
	managed   map[string]any
	estimate  func(time.Duration) (float64, error)
}

func (r *remote) RemoteResource(context.Context) (*registry.RemoteResource, error) {
	return r.resource, nil
}
func (r *remote) RemoteStatus(context.Context) (string, error) { return r.status() }
func (r *remote) TerminateRemote(context.Context) error        { return r.terminate() }
func (r *remote) ManagedResources() map[string]any             { return r.managed }
func (r *remote) ExecutionMode() registry.ExecutionMode        { return registry.ModeCloudGPU }
func (r *remote) ProvisionRemote(context.Context) (*registry.RemoteResource, error) {
	r.resource = &registry.RemoteResource{InstanceID: "i-9"}
	return r.resource, nil
}

func (r *remote) EstimateCost(_ context.Context, d time.Duration) (float64, error) {
	return r.estimate(d)
}

// plainRemote has a remote resource and nothing more to say of it.
type plainRemote struct {
	thing
	resource registry.RemoteResource
}

func (r *plainRemote) RemoteResource(context.Context) (*registry.RemoteResource, error) {
	return &r.resource, nil
}

func running() (string, error) { return registry.StatusRunning, nil }

// pids is an instance that reports what it is told to.
type pids struct {
	thing
	list func() []int
}

func (p *pids) ChildPIDs() []int { return p.list() }

func TestResourcesProcesses(t *testing.T) {
	w, gone := startWorker(t, "parent"), startWorker(t, "plain")
	gone.stdin.Close()
	m, reg := holding(t, map[string]doer{"w": w, "gone": gone, "thing": &thing{}})
	if err := gone.wait(); err != nil {
		t.Fatal(err)
	}
	held, err := pluginsystem.Resources(t.Context(), reg)
	if err != nil || len(held) != 3 {
		t.Fatalf("held: %v, %v", held, err)
	}
	if h := held[0]; h.Category != "c" || h.Name != "gone" || len(h.Processes) != 1 || h.Processes[0] != (pluginsystem.Process{PID: gone.cmd.Process.Pid}) {
		t.Errorf("of a process that has ended: %+v", h)
	}
	if h := held[1]; h.Name != "thing" || h.Processes != nil || h.ExecutionMode != registry.ModeInProcess {
		t.Errorf("of a plugin that holds nothing: %+v", h)
	}
	want := map[int]int{w.cmd.Process.Pid: os.Getpid(), w.grandchild: w.cmd.Process.Pid}
	if len(held[2].Processes) != len(want) {
		t.Errorf("processes: %+v", held[2].Processes)
	}
	for _, p := range held[2].Processes {
		if !p.Alive || p.Zombie || p.Parent != want[p.PID] || p.RSS == 0 {
			t.Errorf("process: %+v", p)
		}
	}

	if err := reg.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, _ := reg.Plugin("c_w")
	if !slices.Equal(p.ChildPIDs, []int{w.cmd.Process.Pid}) || !p.ManagesChildProcesses || !p.HasActiveResources() {
		t.Errorf("the metadata: %+v", p.Resources)
	}
	if p, _ := reg.Plugin("c_gone"); p.ChildPIDs != nil {
		t.Errorf("the metadata: %+v", p.Resources)
	}

	// One that has ended and was not waited for is no process that runs.
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for !isZombie(w.cmd.Process.Pid) {
		if t.Context().Err() != nil {
			t.Fatal("it does not end")
		}
	}
	held, err = m.Resources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	zombie := pluginsystem.Process{PID: w.cmd.Process.Pid, Parent: os.Getpid(), Zombie: true}
	if !slices.Contains(held[2].Processes, zombie) {
		t.Errorf("processes: %+v, want a zombie", held[2].Processes)
	}
	if infos, err := m.Discover(t.Context()); err != nil || slices.ContainsFunc(infos, func(i registry.Info) bool { return i.ChildPIDs != nil }) {
		t.Errorf("a zombie is a child process that runs: %+v, %v", infos, err)
	}
}

// TestResourcesHostProc looks at its own machine even where a monitor in a container is told to look at its host.
func TestResourcesHostProc(t *testing.T) {
	w := startWorker(t, "plain")
	t.Setenv("HOST_PROC", t.TempDir())
	m, _ := holding(t, map[string]doer{"w": w})
	held := ok[[]pluginsystem.Held](t)(m.Resources(t.Context()))
	if p := held[0].Processes[0]; !p.Alive || p.RSS == 0 {
		t.Errorf("process: %+v", p)
	}
}

func TestResourcesCPUTime(t *testing.T) {
	self := startWorker(t, "plain")
	m, _ := holding(t, map[string]doer{"w": self})
	held := ok[[]pluginsystem.Held](t)(m.Resources(t.Context()))
	p := held[0].Processes[0]
	// Starting takes a program of this size at least something, but no more than it had time for.
	if p.CPUTime < 0 || p.CPUTime > time.Hour || p.CPUPercent < 0 || math.IsNaN(p.CPUPercent) || (p.CPUTime == 0) != (p.CPUPercent == 0) {
		t.Errorf("process: %+v", p)
	}
}

// TestResourcesNotOwn has a plugin report processes that cannot be its own.
func TestResourcesNotOwn(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("this needs Linux's /proc")
	}
	m, _ := holding(t, map[string]doer{"x": &pids{list: func() []int { return []int{0, 1, -1, os.Getpid(), os.Getppid()} }}})
	held, err := m.Resources(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no child process of its own") || held[0].Err == nil || held[0].Processes != nil {
		t.Errorf("held: %+v, %v", held, err)
	}
}

func TestResourcesErrors(t *testing.T) {
	away := errors.New("the provider is away")
	r := &remote{resource: &registry.RemoteResource{InstanceID: "i-1", Status: registry.StatusRunning}, managed: map[string]any{"container_id": "c-1", "port": 80}}
	r.status = running
	p := &pids{list: func() []int { return nil }}
	m, reg := holding(t, map[string]doer{"r": r, "p": p, "ok": &thing{}})
	r.status = func() (string, error) { return "", away }
	p.list = func() []int { panic(secretText) }
	held, err := m.Resources(t.Context())
	wantError(t, err, away)
	if !strings.Contains(err.Error(), `resources of "p": ChildPIDs panicked with a string`) || strings.Contains(err.Error(), secretText) || len(held) != 3 {
		t.Errorf("the error is %v, held: %v", err, held)
	}
	if h := held[2]; h.ContainerID != "c-1" || h.Managed["port"] != 80 || h.Remote == nil || h.Remote.InstanceID != "i-1" || h.Remote.Status != "" {
		t.Errorf("what could be told is not there: %+v", h)
	}
	wantError(t, reg.Refresh(t.Context()), away)
	if p, found := reg.Plugin("c_r"); !found || p.ContainerID != "c-1" {
		t.Errorf("the metadata: %+v", p)
	}
}

func TestResourcesRemote(t *testing.T) {
	r := &remote{resource: &registry.RemoteResource{Provider: registry.ProviderAWS, InstanceID: "i-1", Status: "provisioning"}, status: running,
		managed: map[string]any{"conda_env": "speech", "container_id": 7}}
	m, reg := holding(t, map[string]doer{"r": r})
	held := ok[[]pluginsystem.Held](t)(m.Resources(t.Context()))
	h := held[0]
	if h.ExecutionMode != registry.ModeCloudGPU || h.CondaEnv != "speech" || h.ContainerID != "" || h.Remote.Status != registry.StatusRunning {
		t.Errorf("held: %+v", h)
	}
	if r.resource.Status != "provisioning" {
		t.Error("the plugin's own value was written to")
	}
	if err := reg.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	p, _ := reg.Plugin("c_r")
	if p.ExecutionMode != registry.ModeCloudGPU || p.CondaEnv != "speech" || p.Remote == nil || p.Remote.Provider != registry.ProviderAWS || !p.HasActiveResources() || !p.ManagesExternalResources {
		t.Errorf("the metadata: %+v", p)
	}

	if got, err := m.Provision(t.Context(), "r"); err != nil || got.InstanceID != "i-9" {
		t.Errorf("provisioned: %v, %v", got, err)
	}
	if err := m.Unload(t.Context(), "r"); err != nil {
		t.Fatal(err)
	}
	_, err := m.Provision(t.Context(), "r")
	wantError(t, err, pluginsystem.ErrNotLoaded)
	_, err = m.Provision(t.Context(), "nobody")
	wantError(t, err, registry.ErrUnknownPlugin)
	if err := reg.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p, _ := reg.Plugin("c_r"); p.Remote != nil || p.ExecutionMode != registry.ModeInProcess {
		t.Errorf("the metadata after unloading: %+v", p)
	}
	m, _ = holding(t, map[string]doer{"t": &thing{}})
	_, err = m.Provision(t.Context(), "t")
	wantError(t, err, errors.ErrUnsupported)
}

func TestEstimateCost(t *testing.T) {
	costly := func(perHour float64) *plainRemote {
		return &plainRemote{resource: registry.RemoteResource{Status: registry.StatusRunning, CostPerHour: perHour}}
	}
	stopped := costly(100)
	stopped.resource.Status = "stopped"
	own := &remote{resource: &registry.RemoteResource{CostPerHour: 100}, status: running,
		estimate: func(d time.Duration) (float64, error) { return 1 + d.Hours(), nil }}
	m, reg := holding(t, map[string]doer{"a": costly(2), "b": costly(0.5), "stopped": stopped, "own": own, "thing": &thing{}})
	if sum, err := m.EstimateCost(t.Context(), 90*time.Minute); err != nil || sum != 1.5*2.5+2.5 {
		t.Errorf("the sum is %v, %v", sum, err)
	}
	second, _ := holding(t, map[string]doer{"unknown": costly(0), "d": costly(1)})
	ok[registry.Plugins](t)(reg.RegisterManager(t.Context(), "second", second))
	ok[registry.Plugins](t)(reg.RegisterManager(t.Context(), "third", second)) // counts once
	sum, err := pluginsystem.EstimateCost(t.Context(), reg, time.Hour)
	wantError(t, err, pluginsystem.ErrCostUnknown)
	if sum != 2.5+2+1 {
		t.Errorf("the sum is %v", sum)
	}
	if held := ok[[]pluginsystem.Held](t)(pluginsystem.Resources(t.Context(), registry.New(memory.New()))); held != nil {
		t.Errorf("an empty registry holds %v", held)
	}
}
