package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// errBroken is what a fake says that was told to fail.
var errBroken = errors.New("it is broken")

// fakeManager is a manager made of functions. Without schema every plugin has the empty one.
type fakeManager struct {
	discover func(ctx context.Context) ([]registry.Info, error)
	schema   func(ctx context.Context, name string) (json.RawMessage, error)
}

func (m *fakeManager) Discover(ctx context.Context) ([]registry.Info, error) { return m.discover(ctx) }

func (m *fakeManager) ConfigSchema(ctx context.Context, name string) (json.RawMessage, error) {
	if m.schema == nil {
		return json.RawMessage(`{}`), nil
	}
	return m.schema(ctx, name)
}

// finding is a manager of plugins with these names.
func finding(names ...string) *fakeManager { return describing(infosOf(names...)...) }

// describing is a manager of these plugins.
func describing(infos ...registry.Info) *fakeManager {
	return &fakeManager{discover: func(context.Context) ([]registry.Info, error) { return infos, nil }}
}

func infosOf(names ...string) []registry.Info {
	infos := make([]registry.Info, len(names))
	for i, name := range names {
		infos[i].Name = name
	}
	return infos
}

// spyStore is a store whose calls are counted, and where something may happen when a call is done and has not returned yet.
type spyStore struct {
	store.Store
	calls       atomic.Int32
	afterList   func()
	failList    error // what Configured returns, if it is not nil
	afterPut    func(context.Context, *error)
	afterDelete func()
	afterGet    func()
	failGet     func(id string) error // what Get returns, if it is not nil
	yields      bool                  // lets others run before and after
	patient     bool                  // takes no notice of contexts
}

func (s *spyStore) Get(ctx context.Context, id string) (store.Record, error) {
	s.calls.Add(1)
	if s.failGet != nil {
		if err := s.failGet(id); err != nil {
			return store.Record{}, err
		}
	}
	rec, err := s.Store.Get(ctx, id)
	if s.afterGet != nil {
		s.afterGet()
	}
	s.yield()
	return rec, err
}

func (s *spyStore) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	s.calls.Add(1)
	s.yield()
	rec, err := s.Store.Put(ctx, id, config, match)
	if s.afterPut != nil {
		s.afterPut(ctx, &err)
	}
	s.yield()
	return rec, err
}

func (s *spyStore) Delete(ctx context.Context, id string, match store.Revision) error {
	s.calls.Add(1)
	s.yield()
	err := s.Store.Delete(ctx, id, match)
	if s.afterDelete != nil {
		s.afterDelete()
	}
	s.yield()
	return err
}

func (s *spyStore) Configured(ctx context.Context, prefix string) ([]string, error) {
	s.calls.Add(1)
	if s.failList != nil {
		return nil, s.failList
	}
	if s.patient {
		ctx = context.WithoutCancel(ctx)
	}
	ids, err := s.Store.Configured(ctx, prefix)
	if s.afterList != nil {
		s.afterList()
	}
	s.yield()
	return ids, err
}

// yield lets others run now and then, so that who is first is not last.
func (s *spyStore) yield() {
	if s.yields {
		for range rand.IntN(6) {
			runtime.Gosched()
		}
	}
}

// newSpied returns a registry over a store in memory that can be spied on.
func newSpied() (*registry.Registry, *spyStore) {
	st := &spyStore{Store: memory.New()}
	return registry.New(st), st
}

// register registers a manager that has no fault.
func register(t testing.TB, reg *registry.Registry, category string, m registry.Manager, opts ...registry.ManagerOption) registry.Plugins {
	t.Helper()
	plugins, err := reg.RegisterManager(t.Context(), category, m, opts...)
	if err != nil {
		t.Fatalf("registering %q: %v", category, err)
	}
	return plugins
}

// save saves a config that has no fault.
func save(t testing.TB, reg *registry.Registry, id string, config any) store.Record {
	t.Helper()
	rec, err := reg.SaveConfig(t.Context(), id, config)
	if err != nil {
		t.Fatalf("saving the config of %q: %v", id, err)
	}
	return rec
}

// namesOf returns the names of plugins.
func namesOf(plugins registry.Plugins) []string {
	var names []string
	for _, p := range plugins {
		names = append(names, p.Name)
	}
	return names
}

// idsOf returns the IDs of plugins.
func idsOf(plugins registry.Plugins) []string {
	var ids []string
	for _, p := range plugins {
		ids = append(ids, p.ID())
	}
	return ids
}

// isConfigured returns the flag of a plugin, which must be registered.
func isConfigured(t testing.TB, reg *registry.Registry, id string) bool {
	t.Helper()
	p, ok := reg.Plugin(id)
	if !ok {
		t.Errorf("%q is not registered", id)
	}
	return p.Configured
}

// brokenWrites is a store that can only be read.
type brokenWrites struct{ store.Store }

func (s *brokenWrites) Put(context.Context, string, json.RawMessage, store.Revision) (store.Record, error) {
	return store.Record{}, errBroken
}

func (s *brokenWrites) Delete(context.Context, string, store.Revision) error { return errBroken }
