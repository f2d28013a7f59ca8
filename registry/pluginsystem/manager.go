package pluginsystem

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/internal/schema"
	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
)

// Manager is the manager of one plugin system, and makes and keeps the instances of its plugins. Make it with NewManager or
// RegisterSystem. It is a registry.Manager and a System.
//
// All methods may be called by any number of goroutines at once. What makes or ends the instance of one plugin happens in turn; other
// plugins are not held up by it, and Get never waits. A New or Close that asks the manager to load, reload or unload its own plugin waits
// for itself.
type Manager[P any] struct {
	plugins []*plugin[P] // as they were defined
	byName  map[string]*plugin[P]
	loads   atomic.Uint64 // counts instances
}

// plugin is one plugin of a manager.
type plugin[P any] struct {
	Definition[P]
	compiled func() *schema.Schema
	turn     chan struct{} // full while somebody makes or ends the instance
	disabled atomic.Bool
	loaded   atomic.Pointer[instance[P]]
}

// instance is what New has made.
type instance[P any] struct {
	p      P
	number uint64 // later ones are greater
	config source
	pids   sightings
}

// source is the config that an instance is made with.
type source struct {
	text json.RawMessage // dropped when the instance is made, as it may have secrets
	sum  [sha256.Size]byte
	id   string         // the plugin ID whose stored config it is, or "" where it was given to Load
	rev  store.Revision // of the stored config
}

// NewManager returns the manager of these plugins, none of them loaded. What Define has recorded it does not look at; give it
// Defined[P]() for that. It panics, as Define does, if a name is there twice or empty, or a New is nil.
func NewManager[P any](defs ...Definition[P]) *Manager[P] {
	m := &Manager[P]{byName: make(map[string]*plugin[P], len(defs))}
	for i, def := range defs {
		if err := def.check(); err != nil {
			panic(fmt.Sprintf("pluginsystem: NewManager: definition %d: %v", i+1, err))
		}
		if _, twice := m.byName[def.Name]; twice {
			panic(fmt.Sprintf("pluginsystem: NewManager: definition %d: the name %q is defined twice", i+1, def.Name))
		}
		pl := &plugin[P]{Definition: def, turn: make(chan struct{}, 1)}
		pl.compiled = sync.OnceValue(func() *schema.Schema { return schema.Compile(def.Schema, schema.Options{}) })
		m.plugins = append(m.plugins, pl)
		m.byName[def.Name] = pl
	}
	return m
}

// Discover returns the plugins that are available, in the order of their definitions; of those that are loaded, what they hold now. Why
// the others are not available is in the error, joined, each an *Error with ErrUnavailable; so is what a loaded plugin could not tell.
func (m *Manager[P]) Discover(ctx context.Context) ([]registry.Info, error) {
	var infos []registry.Info
	var errs []error
	for _, pl := range m.plugins {
		in := pl.loaded.Load()
		if in == nil { // one that runs is available
			if err := pl.available(ctx); err != nil {
				errs = append(errs, fault("discover", pl.Name, err))
				continue
			}
		}
		info := registry.Info{Name: pl.Name, Version: pl.Version, Title: pl.Title, Description: pl.Description, ExecutionMode: pl.ExecutionMode}
		if in != nil {
			var err error
			if info.ExecutionMode, info.Resources, err = pl.describe(ctx, in); err != nil {
				errs = append(errs, fault("discover", pl.Name, err))
			}
		}
		infos = append(infos, info)
	}
	return infos, errors.Join(errs...)
}

// ConfigSchema returns the schema of a plugin, nil where its definition has none. The error is registry.ErrUnknownPlugin.
func (m *Manager[P]) ConfigSchema(_ context.Context, name string) (json.RawMessage, error) {
	pl, err := m.plugin(name)
	if err != nil {
		return nil, fault("schema", name, err)
	}
	return pl.Schema, nil
}

// Load returns the instance of a plugin, made with config if there is none yet. config is a map, a struct, or JSON as json.RawMessage or
// []byte, and encodes to a JSON object. It is laid over the defaults of the schema and validated; a schema that cannot be used to
// validate lets every config pass, as in the registry.
//
// If several ask for the same plugin at once one instance is made: the others wait, and if the making fails, the next of them tries with
// its own config. If an instance is there it is returned if it has the same config, in the same canonical text; else the error is
// ErrLoaded.
//
// Errors: registry.ErrUnknownPlugin, ErrDisabled, ErrUnavailable, ErrLoaded, store.ErrInvalidConfig, a *registry.ValidationError whose ID
// is the plugin's name, what New returns, or the context's.
func (m *Manager[P]) Load(ctx context.Context, name string, config any) (P, error) {
	return m.load(ctx, name, given[P](config))
}

// LoadConfigured is Load with the effective config that the registry has for the plugin: what is stored over the defaults of the schema,
// validated, secrets open. The manager must be registered in reg under one category, and the plugin be discovered, else the error is
// registry.ErrUnknownPlugin. Beside the errors of Load there are those of Registry.EffectiveConfig and Registry.Validate.
func (m *Manager[P]) LoadConfigured(ctx context.Context, reg *registry.Registry, name string) (P, error) {
	return m.load(ctx, name, m.stored(reg))
}

// Get returns the instance of a plugin, and false if there is none or the plugin is disabled. It never waits.
func (m *Manager[P]) Get(name string) (P, bool) {
	pl := m.byName[name]
	if pl == nil || pl.disabled.Load() {
		return *new(P), false
	}
	in := pl.loaded.Load()
	if in == nil {
		return *new(P), false
	}
	return in.p, true
}

// Loaded returns the names of the plugins that have an instance, sorted by code point; those that are disabled, too.
func (m *Manager[P]) Loaded() []string {
	var names []string
	for _, pl := range m.plugins {
		if pl.loaded.Load() != nil {
			names = append(names, pl.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Reload gives a loaded plugin a new instance, made with config, as Load takes it. The new one is made before the old is closed; if that
// fails the old one stays and goes on. Get hands out the new one from before the old is closed.
//
// The errors are those of Load, but for ErrLoaded, and ErrNotLoaded. If only closing the old one failed, the new instance comes beside
// the error.
func (m *Manager[P]) Reload(ctx context.Context, name string, config any) (P, error) {
	p, _, err := m.reload(ctx, name, given[P](config), false)
	return p, err
}

// ReloadConfigured is Reload with the config that LoadConfigured takes.
func (m *Manager[P]) ReloadConfigured(ctx context.Context, reg *registry.Registry, name string) (P, error) {
	p, _, err := m.reload(ctx, name, m.stored(reg), false)
	return p, err
}

// Unload ends the instance of a plugin and calls its Close, if it has one. It waits for a load that is under way. The instance is gone
// even if Close fails, whose error is returned. Without an instance the error is ErrNotLoaded.
func (m *Manager[P]) Unload(name string) error {
	pl, err := m.plugin(name)
	if err != nil {
		return fault("unload", name, err)
	}
	_ = pl.take(context.Background()) // never done, so it never fails
	defer pl.release()
	in := pl.loaded.Swap(nil)
	if in == nil {
		return fault("unload", name, ErrNotLoaded)
	}
	return fault("unload", name, closePlugin(context.Background(), in.p))
}

// UnloadAll unloads every plugin that is loaded, the one loaded last first. One that fails does not keep the others from being unloaded;
// the errors are joined.
func (m *Manager[P]) UnloadAll() error {
	var errs []error
	for _, name := range m.newestFirst() {
		if err := m.Unload(name); !errors.Is(err, ErrNotLoaded) { // somebody else was faster
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// newestFirst returns the names of the plugins that have an instance, the one made last first.
func (m *Manager[P]) newestFirst() []string {
	numbers := map[string]uint64{}
	for _, pl := range m.plugins {
		if in := pl.loaded.Load(); in != nil {
			numbers[pl.Name] = in.number
		}
	}
	names := make([]string, 0, len(numbers))
	for name := range numbers {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(numbers[b], numbers[a]) })
	return names
}

// Disable makes the manager hand out a plugin no more: Get finds nothing and Load is ErrDisabled. An instance that is there runs on for
// those who have it, and is followed and reloaded, until it is unloaded. The error is registry.ErrUnknownPlugin.
func (m *Manager[P]) Disable(name string) error { return m.setDisabled("disable", name, true) }

// Enable takes Disable back. Every plugin is enabled at first. The error is registry.ErrUnknownPlugin.
func (m *Manager[P]) Enable(name string) error { return m.setDisabled("enable", name, false) }

// Enabled tells whether there is such a plugin and it is not disabled.
func (m *Manager[P]) Enabled(name string) bool {
	pl := m.byName[name]
	return pl != nil && !pl.disabled.Load()
}

func (m *Manager[P]) setDisabled(op, name string, is bool) error {
	pl, err := m.plugin(name)
	if err != nil {
		return fault(op, name, err)
	}
	pl.disabled.Store(is)
	return nil
}

func (m *Manager[P]) plugin(name string) (*plugin[P], error) {
	if pl := m.byName[name]; pl != nil {
		return pl, nil
	}
	return nil, registry.ErrUnknownPlugin
}

// configFunc gets the config to make an instance with. It is called in the plugin's turn, so that no older config comes last.
type configFunc[P any] func(ctx context.Context, pl *plugin[P]) (source, error)

func (m *Manager[P]) load(ctx context.Context, name string, config configFunc[P]) (p P, err error) {
	defer func() { err = fault("load", name, err) }()
	pl, err := m.plugin(name)
	if err != nil {
		return p, err
	}
	if pl.disabled.Load() {
		return p, ErrDisabled
	}
	if err := pl.take(ctx); err != nil {
		return p, err
	}
	defer pl.release()
	src, err := config(ctx, pl)
	if err != nil {
		return p, err
	}
	in := pl.loaded.Load()
	switch {
	case in == nil:
		if in, err = m.create(ctx, pl, src); err != nil {
			return p, err
		}
		pl.loaded.Store(in)
	case in.config.sum != src.sum:
		return p, ErrLoaded
	}
	if pl.disabled.Load() {
		return p, ErrDisabled
	}
	return in.p, nil
}

// reload returns the instance, and whether it is a new one. With onlyIfNew a config that the instance has already changes nothing.
func (m *Manager[P]) reload(ctx context.Context, name string, config configFunc[P], onlyIfNew bool) (p P, renewed bool, err error) {
	defer func() { err = fault("reload", name, err) }()
	pl, err := m.plugin(name)
	if err != nil {
		return p, false, err
	}
	if err := pl.take(ctx); err != nil {
		return p, false, err
	}
	defer pl.release()
	old := pl.loaded.Load()
	switch {
	case old == nil:
		return p, false, ErrNotLoaded
	case pl.disabled.Load() && !onlyIfNew:
		return p, false, ErrDisabled
	}
	src, err := config(ctx, pl)
	if err != nil {
		return p, false, err
	}
	if onlyIfNew && src.sum == old.config.sum {
		return old.p, false, nil
	}
	in, err := m.create(ctx, pl, src)
	if err != nil {
		return p, false, fmt.Errorf("the running instance stays: %w", err)
	}
	pl.loaded.Store(in)
	if err := closePlugin(context.WithoutCancel(ctx), old.p); err != nil {
		return in.p, true, fmt.Errorf("the new instance runs, closing the old one failed: %w", err)
	}
	return in.p, true, nil
}

// create makes an instance. The caller has the plugin's turn.
func (m *Manager[P]) create(ctx context.Context, pl *plugin[P], src source) (*instance[P], error) {
	if err := pl.available(ctx); err != nil {
		return nil, err
	}
	p, err := pl.create(ctx, src.text)
	if err != nil {
		return nil, err
	}
	src.text = nil
	in := &instance[P]{p: p, number: m.loads.Add(1), config: src}
	if pids, err := childPIDs(in.p); err == nil { // what fails is told when it is asked for
		in.pids.update(ctx, pids)
	}
	return in, nil
}

// take waits for the plugin's turn.
func (pl *plugin[P]) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case pl.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (pl *plugin[P]) release() { <-pl.turn }

// given is a config that the caller has.
func given[P any](config any) configFunc[P] {
	return func(_ context.Context, pl *plugin[P]) (source, error) {
		text, err := jsontext.Encode(config)
		if err != nil {
			return source{}, fmt.Errorf("%w: %w", store.ErrInvalidConfig, err)
		}
		if pl.Schema == nil || !pl.compiled().Usable() {
			return newSource(text), nil
		}
		v, err := jsontext.Parse(text)
		if err != nil {
			return source{}, fmt.Errorf("%w: %w", store.ErrInvalidConfig, err)
		}
		text = pl.compiled().WithDefaults(v).Append(nil)
		found := pl.compiled().Validate(text)
		if len(found) == 0 {
			return newSource(text), nil
		}
		issues := make([]registry.Issue, len(found))
		for i, f := range found {
			issues[i] = registry.Issue(f)
		}
		return source{}, &registry.ValidationError{ID: pl.Name, Issues: issues}
	}
}

// stored is the config that reg has.
func (m *Manager[P]) stored(reg *registry.Registry) configFunc[P] {
	return func(ctx context.Context, pl *plugin[P]) (source, error) {
		id, err := m.idIn(ctx, reg, pl.Name)
		if err != nil {
			return source{}, err
		}
		rec, err := reg.EffectiveConfig(ctx, id)
		if err != nil {
			return source{}, err
		}
		src := newSource(rec.Config)
		src.id, src.rev = id, rec.Revision
		return src, reg.Validate(id, rec.Config)
	}
}

func newSource(text json.RawMessage) source { return source{text: text, sum: sha256.Sum256(text)} }

// idIn returns the ID that a plugin has in reg.
func (m *Manager[P]) idIn(ctx context.Context, reg *registry.Registry, name string) (string, error) {
	var ids []string
	registered := false
	for _, category := range reg.Categories() {
		if !m.manages(reg, category) {
			continue
		}
		registered = true
		id := registry.Plugin{Category: category, Name: name}.ID()
		if p, ok := reg.Plugin(id); ok && p.Category == category {
			ids = append(ids, id)
		}
	}
	switch {
	case len(ids) == 1:
		return ids[0], nil
	case len(ids) > 1:
		return "", fmt.Errorf("the manager is registered under several categories, so it has several configs: %q; give each category a manager", ids)
	case !registered:
		return "", fmt.Errorf("%w: the manager is registered under no category of this registry", registry.ErrUnknownPlugin)
	}
	if err := m.byName[name].available(ctx); err != nil {
		return "", err
	}
	return "", fmt.Errorf("%w: it was not discovered; refresh its category", registry.ErrUnknownPlugin)
}

// manages tells whether m, or what embeds it, is the manager of a category of reg.
func (m *Manager[P]) manages(reg *registry.Registry, category string) bool {
	found, ok := registry.ManagerAs[System](reg, category)
	return ok && found.manager() == any(m)
}
