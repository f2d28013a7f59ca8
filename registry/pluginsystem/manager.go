package pluginsystem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/pluginregistry/pluginregistry/internal/schema"
	"github.com/pluginregistry/pluginregistry/registry"
)

// Manager makes and keeps the running plugins of one plugin system. Make it with [NewManager] or [RegisterSystem]. It is a
// [registry.Manager] and a [System].
//
// A name is the name of a plugin, such as "openai", or of an instance of it, such as "openai@work". Each runs by itself, with its own
// config. What the methods say of a plugin holds for an instance as well.
//
// All methods may be called concurrently. Calls that load, reload or unload the same name run one after the other; calls for other names
// do not wait for them, and Get never waits. A New or Close that calls Load, Reload or Unload for its own name waits for itself until the
// context ends.
type Manager[P any] struct {
	plugins []*plugin[P] // in the order of their definitions
	byName  map[string]*plugin[P]

	mu       sync.Mutex
	slots    map[string]*slot[P] // by name: those that run, and those that a call uses
	disabled map[string]bool     // by name: what Disable was called for while the manager was not registered
	homes    []home              // where it was registered
}

// plugin is a definition and its compiled schema.
type plugin[P any] struct {
	Definition[P]
	compiled func() *schema.Schema
}

// NewManager returns a manager of the given plugins, none of them loaded. It does not look at what [Define] recorded: pass [Defined] for
// that. It panics, as Define does, if a name is empty or given twice, or if a New is nil.
func NewManager[P any](defs ...Definition[P]) *Manager[P] {
	m := &Manager[P]{byName: make(map[string]*plugin[P], len(defs)), slots: map[string]*slot[P]{}, disabled: map[string]bool{}}
	for i, def := range defs {
		if err := def.check(); err != nil {
			panic(fmt.Sprintf("pluginsystem: NewManager: definition %d: %v", i+1, err))
		}
		if _, twice := m.byName[def.Name]; twice {
			panic(fmt.Sprintf("pluginsystem: NewManager: definition %d: the name %q is defined twice", i+1, def.Name))
		}
		pl := &plugin[P]{Definition: def}
		pl.compiled = sync.OnceValue(func() *schema.Schema { return schema.Compile(def.Schema, schema.Options{}) })
		m.plugins = append(m.plugins, pl)
		m.byName[def.Name] = pl
	}
	return m
}

// Discover returns the available plugins in the order of their definitions. For a loaded plugin it also returns the resources that the
// plugin holds now; those of its instances are not included. The error joins an *[Error] with [ErrUnavailable] and the reason for each
// plugin that is not available, and an *Error for each loaded plugin that could not tell its resources.
func (m *Manager[P]) Discover(ctx context.Context) ([]registry.Info, error) {
	var infos []registry.Info
	var errs []error
	for _, pl := range m.plugins {
		run := m.running(pl.Name)
		if run == nil { // a running one is available
			if err := pl.available(ctx); err != nil {
				errs = append(errs, fault("discover", pl.Name, err))
				continue
			}
		}
		info := registry.Info{Name: pl.Name, Version: pl.Version, Title: pl.Title, Description: pl.Description, ExecutionMode: pl.ExecutionMode}
		if run != nil {
			var err error
			if info.ExecutionMode, info.Resources, err = pl.describe(ctx, run); err != nil {
				errs = append(errs, fault("discover", pl.Name, err))
			}
		}
		infos = append(infos, info)
	}
	return infos, errors.Join(errs...)
}

// ConfigSchema returns the schema of a plugin; nil if its definition has none. The error is [registry.ErrUnknownPlugin].
func (m *Manager[P]) ConfigSchema(_ context.Context, name string) (json.RawMessage, error) {
	pl := m.byName[name]
	if pl == nil {
		return nil, fault("schema", name, registry.ErrUnknownPlugin)
	}
	return pl.Schema, nil
}

// Load returns the running plugin. If it does not run yet, Load makes it with config: a map, a struct, or JSON as json.RawMessage or
// []byte, which must encode to a JSON object. The config is laid over the defaults of the schema and validated; if the schema cannot be
// used, every config is accepted, as in the registry.
//
// If several calls load the same name at once, one of them makes the plugin and the others wait. If making it fails, the next call tries
// with its own config. A plugin that runs already is returned if config, in canonical text, is what it runs with.
//
// Errors: [registry.ErrUnknownPlugin]; [ErrDisabled]; [ErrUnavailable]; [ErrLoaded] if the plugin runs with another config;
// [store.ErrInvalidConfig]; a *[registry.ValidationError] with the name as its ID; the error of New; the error of ctx.
//
// ErrDisabled comes also if the note of the name's config is disabled in a registry in which the manager is registered; see
// [registry.Registry.SetNote].
func (m *Manager[P]) Load(ctx context.Context, name string, config any) (P, error) {
	return m.load(ctx, name, given[P](config))
}

// LoadConfigured is Load with the effective config that reg has for the name: the stored config over the defaults of the schema, validated
// and with its secrets open. Beside the errors of Load, it returns those of [registry.ConfigAs], and:
//
//   - [registry.ErrUnknownPlugin] if the manager is not registered in reg, or the plugin was not discovered there;
//   - [store.ErrNotFound] for an instance without a stored config. A plugin without one runs with the defaults of its schema.
//
// The manager must be registered under one category of reg only.
func (m *Manager[P]) LoadConfigured(ctx context.Context, reg *registry.Registry, name string) (P, error) {
	return m.load(ctx, name, m.stored(reg))
}

// Get returns the running plugin; false if it does not run. It never waits.
func (m *Manager[P]) Get(name string) (P, bool) {
	run := m.running(name)
	if run == nil {
		return *new(P), false
	}
	return run.p, true
}

// Loaded returns the names of all running plugins and instances, sorted.
func (m *Manager[P]) Loaded() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for name, s := range m.slots {
		if s.running.Load() != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Reload replaces a running plugin by a new one made with config, which is used as in Load. The new one is made before the old one is
// closed; if that fails, the old one goes on running. Get returns the new one from before the old one is closed.
//
// The errors are those of Load except ErrLoaded, and [ErrNotLoaded]. If only closing the old one failed, or its Close has not returned when
// ctx ends, Reload returns the new plugin and an error.
func (m *Manager[P]) Reload(ctx context.Context, name string, config any) (P, error) {
	p, _, err := m.reload(ctx, name, given[P](config), false)
	return p, err
}

// ReloadConfigured is Reload with the config that LoadConfigured uses.
func (m *Manager[P]) ReloadConfigured(ctx context.Context, reg *registry.Registry, name string) (P, error) {
	p, _, err := m.reload(ctx, name, m.stored(reg), false)
	return p, err
}

// Unload ends a running plugin and calls its Close, if it has one. It waits for another call that loads, reloads or unloads the same name.
// The plugin counts as unloaded as soon as Close is called, whatever Close returns.
//
// Unload returns the error of Close; [ErrNotLoaded] if the plugin does not run; [registry.ErrUnknownPlugin]. If ctx ends first, the error
// is that of ctx: a Close that has not returned goes on in its goroutine, and the name may be loaded again. A ctx that has ended before the
// call does not keep Close from being called, but is what Close gets if it takes a context.
func (m *Manager[P]) Unload(ctx context.Context, name string) error {
	return fault("unload", name, m.unload(ctx, name))
}

// UnloadAll unloads all running plugins and instances at once; see Unload. It returns when all are closed or ctx ends. The error joins an
// *[Error] for each that failed, or whose Close has not returned.
func (m *Manager[P]) UnloadAll(ctx context.Context) error {
	names := m.Loaded()
	errs := make([]error, len(names))
	var unloading sync.WaitGroup
	for i, name := range names {
		unloading.Go(func() {
			if err := m.Unload(ctx, name); !errors.Is(err, ErrNotLoaded) { // another call was faster
				errs[i] = err
			}
		})
	}
	unloading.Wait()
	return errors.Join(errs...)
}
