package pluginsystem

import (
	"context"
	"errors"
	"slices"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
)

// home is a category of a registry in which a manager was registered.
type home struct {
	reg      *registry.Registry
	category string
}

// Bind makes m know a registry in which it is registered, so that Disable is kept there. It implements [registry.Binder]; only the registry
// calls it.
func (m *Manager[P]) Bind(reg *registry.Registry, category string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := (home{reg, category}); !slices.Contains(m.homes, h) {
		m.homes = append(m.homes, h)
	}
}

// Disable keeps a plugin or an instance from being loaded or reloaded: Load and Reload return [ErrDisabled]. If it runs, it stays, and is
// followed, until it is unloaded.
//
// If the manager is registered in a registry, Disable saves this in the note of the config there (see [registry.Registry.SetNote]): it
// outlasts a restart, and other processes see it. Else it is kept in memory until Enable is called.
//
// Errors: [registry.ErrUnknownPlugin], and those of SetNote, such as errors.ErrUnsupported if the store keeps no notes.
func (m *Manager[P]) Disable(ctx context.Context, name string) error {
	return fault("disable", name, m.setDisabled(ctx, name, true))
}

// Enable undoes Disable. The errors are the same.
func (m *Manager[P]) Enable(ctx context.Context, name string) error {
	return fault("enable", name, m.setDisabled(ctx, name, false))
}

// Enabled reports whether a plugin or an instance is not disabled. Errors: [registry.ErrUnknownPlugin], or what the store says.
func (m *Manager[P]) Enabled(ctx context.Context, name string) (bool, error) {
	disabled, err := m.isDisabled(ctx, name)
	return err == nil && !disabled, fault("enabled", name, err)
}

func (m *Manager[P]) setDisabled(ctx context.Context, name string, is bool) error {
	pl, instance, err := m.find(name)
	if err != nil {
		return err
	}
	noted := m.noted(pl)
	m.mu.Lock()
	switch {
	case !is:
		delete(m.disabled, name)
	case len(noted) == 0:
		m.disabled[name] = true
	}
	m.mu.Unlock()
	var errs []error
	for _, p := range noted {
		id, err := configID(p.id, instance)
		if err == nil {
			err = p.reg.SetNote(ctx, id, func(n *store.Note) error { n.Disabled = is; return nil })
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (m *Manager[P]) isDisabled(ctx context.Context, name string) (bool, error) {
	pl, instance, err := m.find(name)
	if err != nil {
		return false, err
	}
	m.mu.Lock()
	disabled := m.disabled[name]
	m.mu.Unlock()
	for _, p := range m.noted(pl) {
		switch {
		case disabled:
			return true, nil
		case instance == "":
			plugin, _ := p.reg.Plugin(p.id)
			disabled = plugin.Disabled
		default:
			instances, err := p.reg.Instances(ctx, p.id)
			if err != nil {
				return false, err
			}
			disabled = slices.ContainsFunc(instances, func(i registry.Instance) bool { return i.Name == instance && i.Disabled })
		}
	}
	return disabled, nil
}

// pluginIn is a plugin of a registry.
type pluginIn struct {
	reg *registry.Registry
	id  string
}

// noted returns the plugin in each registry that has it from this manager.
func (m *Manager[P]) noted(pl *plugin[P]) []pluginIn {
	m.mu.Lock()
	homes := slices.Clone(m.homes)
	m.mu.Unlock()
	var all []pluginIn
	for _, h := range homes {
		if id, ok := m.discovered(h.reg, h.category, pl); ok {
			all = append(all, pluginIn{h.reg, id})
		}
	}
	return all
}

// discovered returns the ID of a plugin if the category of reg has it from this manager.
func (m *Manager[P]) discovered(reg *registry.Registry, category string, pl *plugin[P]) (string, bool) {
	if !m.manages(reg, category) {
		return "", false
	}
	id := registry.Plugin{Category: category, Name: pl.Name}.ID()
	p, ok := reg.Plugin(id)
	return id, ok && p.Category == category
}

// configID is the ID of the plugin's own config, or of an instance.
func configID(pluginID, instance string) (string, error) {
	if instance == "" {
		return pluginID, nil
	}
	return registry.ConfigID(pluginID, instance)
}
