package pluginsystem_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/pluginsystem"
)

// Grace periods: one that nothing may use up, and one that is to be used up.
const (
	long  = time.Minute
	short = time.Second
)

func (w *worker) pid() int { return w.cmd.Process.Pid }

func mustBeGone(t *testing.T, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if !isGone(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
}

func TestCleanupByClose(t *testing.T) {
	t.Parallel()
	w := startWorker(t, "plain")
	m, reg := holding(t, map[string]doer{"w": w})
	cleaned, err := pluginsystem.Cleanup(t.Context(), reg, long)
	if err != nil || len(cleaned) != 1 || cleaned[0].Category != "c" || cleaned[0].Name != "w" || cleaned[0].Terminated != nil || cleaned[0].Killed != nil {
		t.Errorf("cleaned: %+v, %v", cleaned, err)
	}
	mustBeGone(t, w.pid())
	if m.Loaded() != nil {
		t.Error("it is still loaded")
	}
	if again, err := m.Cleanup(t.Context(), long); err != nil || len(again) > 0 {
		t.Errorf("cleaned again: %+v, %v", again, err)
	}
}

// TestCleanupTerminates has a plugin whose Close leaves its process, which then gets SIGTERM.
func TestCleanupTerminates(t *testing.T) {
	t.Parallel()
	w := startWorker(t, "plain")
	w.ignoreClose = true
	go func() { _ = w.wait() }()
	m, _ := holding(t, map[string]doer{"w": w})
	cleaned, err := m.Cleanup(t.Context(), long)
	if err != nil || !slices.Equal(cleaned[0].Terminated, []int{w.pid()}) || cleaned[0].Killed != nil {
		t.Errorf("cleaned: %+v, %v", cleaned, err)
	}
	mustBeGone(t, w.pid())
}

// TestCleanupKills has a plugin whose Close waits for a process that ignores what it is asked for.
func TestCleanupKills(t *testing.T) {
	t.Parallel()
	w := startWorker(t, "stubborn")
	w.waitOnClose = true
	m, _ := holding(t, map[string]doer{"w": w})
	cleaned, err := m.Cleanup(t.Context(), short)
	if err != nil || !slices.Equal(cleaned[0].Terminated, []int{w.pid()}) || !slices.Equal(cleaned[0].Killed, []int{w.pid()}) || cleaned[0].Left != nil {
		t.Errorf("cleaned: %+v, %v", cleaned, err)
	}
	mustBeGone(t, w.pid())
}

// TestCleanupDescendants has a child process end and leave a stubborn one of its own.
func TestCleanupDescendants(t *testing.T) {
	t.Parallel()
	w := startWorker(t, "parent")
	m, _ := holding(t, map[string]doer{"w": w})
	cleaned, err := m.Cleanup(t.Context(), short)
	if err != nil || !slices.Contains(cleaned[0].Killed, w.grandchild) {
		t.Errorf("cleaned: %+v, %v", cleaned, err)
	}
	mustBeGone(t, w.pid(), w.grandchild)
}

// TestCleanupInHurry gives a context that is done: there is no time for politeness.
func TestCleanupInHurry(t *testing.T) {
	t.Parallel()
	w := startWorker(t, "stubborn")
	w.waitOnClose = true
	m, _ := holding(t, map[string]doer{"w": w})
	done, cancel := context.WithCancel(t.Context())
	cancel()
	cleaned, err := m.Cleanup(done, long)
	if err != nil || cleaned[0].Terminated != nil || !slices.Equal(cleaned[0].Killed, []int{w.pid()}) {
		t.Errorf("cleaned: %+v, %v", cleaned, err)
	}
	mustBeGone(t, w.pid())
}

// TestCleanupWithoutGrace leaves no time for anything but killing.
func TestCleanupWithoutGrace(t *testing.T) {
	t.Parallel()
	w := startWorker(t, "stubborn")
	w.waitOnClose = true
	m, _ := holding(t, map[string]doer{"w": w})
	cleaned, err := m.Cleanup(t.Context(), 0)
	if err != nil || !slices.Equal(cleaned[0].Killed, []int{w.pid()}) || cleaned[0].Left != nil {
		t.Errorf("cleaned: %+v, %v", cleaned, err)
	}
	mustBeGone(t, w.pid())
}

// TestCleanupWhileLoading comes upon a plugin that is being reloaded and does not get done.
func TestCleanupWhileLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		made := 0
		def := define("a")
		def.New = func(context.Context, json.RawMessage) (doer, error) {
			if made++; made > 1 {
				<-goOn
			}
			return &thing{}, nil
		}
		m := pluginsystem.NewManager(def)
		ok[doer](t)(m.Load(t.Context(), "a", map[string]any{}))
		var reloading sync.WaitGroup
		reloading.Go(func() { _, _ = m.Reload(t.Context(), "a", map[string]any{}) })
		synctest.Wait()
		cleaned, err := m.Cleanup(t.Context(), long)
		if err == nil || len(cleaned) != 1 || !strings.Contains(err.Error(), "nothing was done") || len(m.Loaded()) != 1 {
			t.Errorf("cleaned: %+v, %v", cleaned, err)
		}
		close(goOn)
		reloading.Wait()
	})
}

// TestCleanupZombie has a plugin that never waits for its process.
func TestCleanupZombie(t *testing.T) {
	t.Parallel()
	w := startWorker(t, "plain")
	w.ignoreClose = true
	m, _ := holding(t, map[string]doer{"w": w})
	cleaned, err := m.Cleanup(t.Context(), short)
	want := []pluginsystem.Process{{PID: w.pid(), Parent: os.Getpid(), Zombie: true}}
	if err == nil || !slices.Equal(cleaned[0].Left, want) || !strings.Contains(err.Error(), "has not waited for it") {
		t.Errorf("cleaned: %+v, %v", cleaned, err)
	}
}

// TestCleanupNotOwn has a plugin report this program and the one that has started it.
func TestCleanupNotOwn(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("this needs Linux's /proc")
	}
	m, _ := holding(t, map[string]doer{"x": &pids{list: func() []int { return []int{1, 0, -1, os.Getpid(), os.Getppid()} }}})
	cleaned, err := m.Cleanup(t.Context(), short)
	if err == nil || cleaned[0].Terminated != nil || cleaned[0].Killed != nil || !strings.Contains(err.Error(), "no child process of its own") {
		t.Errorf("cleaned: %+v, %v", cleaned, err)
	}
}

// TestCleanupSeveral cleans up several at once, and one's trouble is its own.
func TestCleanupSeveral(t *testing.T) {
	broken := errors.New("cannot flush")
	m, _ := holding(t, map[string]doer{
		"a": &thing{close: func() error { return broken }},
		"b": &thing{},
		"c": &thing{close: func() error { panic(secretText) }},
	})
	cleaned, err := m.Cleanup(t.Context(), long)
	wantError(t, err, broken)
	if len(cleaned) != 3 || cleaned[1].Err != nil || !strings.Contains(err.Error(), `clean up "c": Close panicked with a string`) || strings.Contains(err.Error(), secretText) {
		t.Errorf("cleaned: %+v, %v", cleaned, err)
	}
}

// forced is an instance that gives up what it holds by ForceCleanup only.
type forced struct {
	remote
	forces int
	keep   bool
}

func (f *forced) ForceCleanup(context.Context) error {
	f.forces++
	if !f.keep {
		f.managed = nil
	}
	return nil
}

func TestCleanupForce(t *testing.T) {
	f := &forced{remote: remote{managed: map[string]any{"container_id": "c-1"}}}
	idle := &forced{}
	m, _ := holding(t, map[string]doer{"f": f, "idle": idle})
	if cleaned, err := m.Cleanup(t.Context(), long); err != nil || cleaned[0].Container != "" {
		t.Errorf("cleaned: %+v, %v", cleaned, err)
	}
	if f.forces != 1 || idle.forces != 0 {
		t.Errorf("ForceCleanup was called %d and %d times", f.forces, idle.forces)
	}
	f = &forced{remote: remote{managed: map[string]any{"container_id": "c-1"}}, keep: true}
	m, _ = holding(t, map[string]doer{"f": f})
	if cleaned, err := m.Cleanup(t.Context(), long); err == nil || cleaned[0].Container != "c-1" {
		t.Errorf("cleaned: %+v, %v", cleaned, err)
	}
}

func TestCleanupRemote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		denied := errors.New("permission denied")
		status, asked := "running", 0
		statusOf := func(s string) func() (string, error) { return func() (string, error) { return s, nil } }
		slow := &remote{resource: &registry.RemoteResource{InstanceID: "slow"}, terminate: func() error { asked = 1; return nil }}
		slow.status = func() (string, error) {
			if asked > 0 {
				asked++
			}
			if asked > 3 {
				status = "stopping"
			}
			return status, nil
		}
		over := &remote{resource: &registry.RemoteResource{InstanceID: "over"}, status: statusOf("stopped"), terminate: func() error { t.Error("terminated twice"); return nil }}
		fails := &remote{resource: &registry.RemoteResource{InstanceID: "fails"}, status: statusOf("provisioning"), terminate: func() error { return denied }}
		stays := &remote{resource: &registry.RemoteResource{InstanceID: "stays"}, status: running, terminate: func() error { return nil }}
		m, _ := holding(t, map[string]doer{"slow": slow, "over": over, "fails": fails, "stays": stays,
			"unable": &plainRemote{resource: registry.RemoteResource{InstanceID: "unable", Status: registry.StatusRunning}}})
		done, cancel := context.WithCancel(t.Context())
		cancel() // what costs is given back all the same
		cleaned, err := m.Cleanup(done, long)
		wantError(t, err, denied)
		var left []string
		for _, c := range cleaned {
			if (c.Remote != nil) != (c.Err != nil) {
				t.Errorf("cleaned: %+v", c)
			}
			if c.Remote != nil {
				left = append(left, c.Remote.InstanceID)
			}
		}
		if want := []string{"fails", "stays", "unable"}; !slices.Equal(left, want) {
			t.Errorf("left: %q, want %q", left, want)
		}
		if status != "stopping" {
			t.Error("it was not asked for until it did not run any more")
		}
	})
}

// TestCleanupHangs has Close and ForceCleanup never return.
func TestCleanupHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		f := &hanging{goOn: goOn}
		m, _ := holding(t, map[string]doer{"f": f})
		began := time.Now()
		cleaned, err := m.Cleanup(t.Context(), long)
		if len(cleaned) != 1 || err == nil || !strings.Contains(err.Error(), "Close has not returned") || !strings.Contains(err.Error(), "ForceCleanup has not returned") {
			t.Errorf("cleaned: %+v, %v", cleaned, err)
		}
		if took := time.Since(began); took > 4*long { // of the bubble's own clock
			t.Errorf("it took %v with a grace period of %v", took, long)
		}
		if m.Loaded() != nil {
			t.Error("it is still loaded")
		}
		close(goOn)
	})
}

type hanging struct {
	thing
	goOn chan struct{}
}

func (h *hanging) Close() error                       { <-h.goOn; return nil }
func (h *hanging) ForceCleanup(context.Context) error { <-h.goOn; return nil }
