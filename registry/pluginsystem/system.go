package pluginsystem

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
)

// System is what every Manager[P] is, whatever its P, and every type that embeds one, as to add a MigrateConfig to it.
type System interface {
	registry.Manager
	Loaded() []string
	UnloadAll(ctx context.Context) error
	Resources(ctx context.Context) ([]Held, error)
	EstimateCost(ctx context.Context, d time.Duration) (float64, error)
	Cleanup(ctx context.Context, grace time.Duration) ([]Cleaned, error)

	manager() any // the *Manager[P] itself
}

// manager makes m a System.
func (m *Manager[P]) manager() any { return m }

// RegisterSystem makes a manager of all plugins that were defined for P, sorted by name, and registers it under category, as
// Registry.RegisterManager does: the plugins and errors are the same. registry.ManagerAs[*Manager[P]] gets it back. It is the
// register_plugin_system of the Python original.
//
// If none of the plugins is available the category is registered without plugins, for Refresh to find them later, and the error tells
// why, with ErrUnavailable. A category whose system still has loaded plugins is not replaced: the error is ErrInUse.
func RegisterSystem[P any](
	ctx context.Context, reg *registry.Registry, category string, opts ...registry.ManagerOption,
) (registry.Plugins, error) {
	if old, ok := registry.ManagerAs[System](reg, category); ok && len(old.Loaded()) > 0 {
		return nil, fmt.Errorf("pluginsystem: category %q: %w: %q", category, ErrInUse, old.Loaded())
	}
	m := NewManager(Defined[P]()...)
	plugins, err := reg.RegisterManager(ctx, category, m, opts...)
	if errors.Is(err, ErrUnavailable) && !m.manages(reg, category) {
		_, failed := reg.RegisterManager(ctx, category, m, append(opts[:len(opts):len(opts)], registry.WithoutDiscovery())...)
		return plugins, errors.Join(err, failed)
	}
	return plugins, err
}

// Followed is a change that Follow came upon.
type Followed struct {
	Name     string
	ID       string
	Revision store.Revision // that the config was found at; store.Absent where none is stored
	Reloaded bool           // a new instance runs
}

// Follow reloads loaded plugins when their stored config changes, whoever has changed it, and yields each such change with the error, if
// there was one. It does its work while the caller ranges over it, one plugin at a time.
//
// A plugin is reloaded with its effective config, validated, secrets open, unless it runs with just that already. If the config does not
// validate, or the plugin cannot be made with it, the running instance stays and the error tells why. A config that was deleted is {}: the
// plugin is reloaded with the defaults of its schema, if these are valid. A plugin that Load was given a config for is followed, too, from
// the next change on; one that runs with its stored config is first brought up to date.
//
// An error of watching that does not end it is yielded beside a zero Followed. It ends when ctx does, with the context's error, or when
// the loop is left. No change made after the call is missed, even before the loop begins.
func (m *Manager[P]) Follow(ctx context.Context, reg *registry.Registry) iter.Seq2[Followed, error] {
	changes := reg.Watch(ctx)
	return func(yield func(Followed, error) bool) {
		for _, name := range m.Loaded() {
			run := m.running(name)
			if run == nil || run.config.id == "" {
				continue
			}
			f, err := m.follow(ctx, reg, name, run.config.id)
			if !f.Reloaded && ctx.Err() != nil {
				break
			}
			if (f.Reloaded || err != nil) && !yield(f, err) {
				return
			}
		}
		for c, err := range changes {
			if err != nil {
				if !yield(Followed{}, err) {
					return
				}
				continue
			}
			name, ok := m.nameOf(reg, c.ID)
			if !ok || m.running(name) == nil {
				continue
			}
			f, err := m.follow(ctx, reg, name, c.ID)
			if !f.Reloaded && (errors.Is(err, ErrNotLoaded) || ctx.Err() != nil) { // unloaded since; or the end, which the watch tells
				continue
			}
			if !yield(f, err) {
				return
			}
		}
	}
}

// follow reloads one plugin if its stored config is another than it runs with.
func (m *Manager[P]) follow(ctx context.Context, reg *registry.Registry, name, id string) (Followed, error) {
	f := Followed{Name: name, ID: id}
	stored := m.stored(reg)
	_, renewed, err := m.reload(ctx, name, func(ctx context.Context, s *slot[P]) (source, error) {
		src, err := stored(ctx, s)
		f.Revision = src.rev
		return src, err
	}, true)
	f.Reloaded = renewed
	return f, err
}
