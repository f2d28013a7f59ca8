package registry

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/pluginregistry/pluginregistry/internal/titlecase"
)

// snapshot is the metadata at one moment. It never changes: a registration makes a new one, which shares the categories that it leaves
// alone. Only the configured flags change in place.
type snapshot struct {
	categories  map[string]*category
	plugins     map[string]place // by plugin ID
	order       []*category      // as they were first registered
	names       []string         // sorted
	withPlugins []string         // those that have plugins, sorted
}

// snapshot returns the metadata as it is now.
func (r *Registry) snapshot() *snapshot {
	r.mustBeMade()
	return r.now.Load()
}

// place is where a plugin is: which category in the order, and which plugin of it.
type place struct{ category, number int32 }

// category is one plugin system.
type category struct {
	name        string
	displayName string
	manager     Manager
	registered  uint64 // the ticket of the registration: a refresh never counts over a later one
	ticket      uint64 // of the discovery that found the plugins

	plugins []Plugin // in the order they were discovered; Configured is in flags
	flags   []atomic.Bool
	schemas []*schemaState // of each plugin
	sharing bool           // a plugin has resources that must be cloned
}

// find returns where the plugin with that ID is, or a nil category.
func (s *snapshot) find(id string) (*category, int) {
	p, ok := s.plugins[id]
	if !ok {
		return nil, 0
	}
	return s.order[p.category], int(p.number)
}

// finish does what few plugins need.
func (r *Registry) finish(c *category, n int, p *Plugin) {
	if c.sharing && p.Resources.shared() {
		p.Resources = p.Resources.clone()
	}
	if note := r.note(c, n); note != nil {
		p.SchemaErr = note
	}
}

// note returns what compiling has found wrong with a schema that looked well, or nil.
func (r *Registry) note(c *category, n int) error {
	if !r.schemaNotes.Load() || c.plugins[n].SchemaErr != nil {
		return nil
	}
	return c.schemas[n].note()
}

// appendPlugins adds copies of all the plugins of c.
func (r *Registry) appendPlugins(dst Plugins, c *category) Plugins {
	dst = append(dst, c.plugins...)
	added := dst[len(dst)-len(c.plugins):]
	for n := range added {
		if c.flags[n].Load() { // so that plugins without a config are not written to a second time
			added[n].Configured = true
		}
	}
	if c.sharing || r.schemaNotes.Load() {
		for n := range added {
			r.finish(c, n, &added[n])
		}
	}
	return dst
}

// Plugin returns the plugin with that ID, and false if none is registered.
func (r *Registry) Plugin(id string) (p Plugin, ok bool) {
	ok = r.copyPlugin(&p, id) // so that this is inlined: to return it twice would copy the large struct once more
	return p, ok
}

// copyPlugin puts the plugin with that ID into p, and tells whether it is there at all.
func (r *Registry) copyPlugin(p *Plugin, id string) bool {
	c, n := r.snapshot().find(id)
	if c == nil {
		return false
	}
	*p = c.plugins[n]
	p.Configured = c.flags[n].Load()
	r.finish(c, n, p)
	return true
}

// Plugins returns all plugins in the order of their registration: the categories as they were first registered, the plugins of each as
// its manager found them.
func (r *Registry) Plugins() Plugins {
	s := r.snapshot()
	all := make(Plugins, 0, len(s.plugins))
	for _, c := range s.order {
		all = r.appendPlugins(all, c)
	}
	return all
}

// PluginsIn returns the plugins of one category as its manager found them.
func (r *Registry) PluginsIn(category string) Plugins {
	c := r.snapshot().categories[category]
	if c == nil {
		return nil
	}
	return r.appendPlugins(nil, c)
}

// Categories returns the registered categories, sorted by code point.
func (r *Registry) Categories() []string { return slices.Clone(r.snapshot().names) }

// CategoriesWithPlugins returns the categories that have plugins, sorted by code point.
func (r *Registry) CategoriesWithPlugins() []string { return slices.Clone(r.snapshot().withPlugins) }

// DisplayName returns the name of a category for people: the one it was registered with, else the category title-cased as Python's
// str.title() does it. It answers for categories that are not registered, too.
func (r *Registry) DisplayName(category string) string {
	if c := r.snapshot().categories[category]; c != nil && c.displayName != "" {
		return c.displayName
	}
	return titlecase.Title(category)
}

// Manager returns the manager of a category, and false if none is registered.
func (r *Registry) Manager(category string) (Manager, bool) {
	c := r.snapshot().categories[category]
	if c == nil {
		return nil, false
	}
	return c.manager, true
}

// ManagerAs returns the manager of a category as an M, and false if none is registered or it is no M.
func ManagerAs[M any](r *Registry, category string) (M, bool) {
	m, _ := r.Manager(category)
	as, ok := m.(M)
	return as, ok
}

// with returns the snapshot with c, whose plugins have those IDs, in the place of the category of that name.
func (s *snapshot) with(c *category, ids []string) *snapshot {
	next := &snapshot{categories: maps.Clone(s.categories), plugins: s.plugins, names: s.names, withPlugins: s.withPlugins}
	old, i := s.categories[c.name], len(s.order)
	if old == nil {
		next.order = slices.Concat(s.order, []*category{c})
		next.names = withName(s.names, c.name, true)
		old = &category{}
	} else {
		i = slices.Index(s.order, old)
		next.order = slices.Clone(s.order)
		next.order[i] = c
	}
	if len(ids)+len(old.plugins) > 0 {
		next.plugins = maps.Clone(s.plugins)
		for _, p := range old.plugins {
			delete(next.plugins, p.ID())
		}
		for n, id := range ids {
			next.plugins[id] = place{int32(i), int32(n)}
		}
	}
	next.categories[c.name] = c
	next.withPlugins = withName(s.withPlugins, c.name, len(c.plugins) > 0)
	return next
}

// withName returns the sorted names with that name among them, or without it.
func withName(names []string, name string, among bool) []string {
	i, is := slices.BinarySearch(names, name)
	switch {
	case is == among:
		return names
	case among:
		return slices.Concat(names[:i], []string{name}, names[i:])
	}
	return slices.Concat(names[:i], names[i+1:])
}
