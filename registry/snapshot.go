package registry

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/pluginregistry/pluginregistry/internal/titlecase"
	"github.com/pluginregistry/pluginregistry/store"
)

// snapshot is the metadata at one moment. It never changes: a registration makes a new one, which shares the categories that it leaves
// alone. Only the configured flags change in place.
type snapshot struct {
	categories  map[string]*category
	order       []*category // as they were first registered
	names       []string    // sorted
	withPlugins []string    // those that have plugins, sorted
	count       int         // of plugins
}

// category is one plugin system.
type category struct {
	name        string
	displayName string
	manager     Manager
	registered  uint64 // the ticket of the registration: a refresh never counts over a later one
	ticket      uint64 // of the discovery that found the plugins

	plugins  []Plugin // in the order they were discovered; Configured is in flags
	flags    []atomic.Bool
	schemas  []*schemaState   // of each plugin; nil where there is no schema
	index    map[string]int32 // from the plugin's name
	sharing  bool             // a plugin has resources that must be cloned
	distinct []*schemaState   // the schemas, each once
}

// find returns where the plugin with that ID is. As a category's name may have underscores, an ID can be split in several places; at
// most one of them is a plugin.
func (s *snapshot) find(id string) (*category, int) {
	if len(id) > store.MaxID {
		return nil, 0 // and no time is lost with underscores
	}
	for i := strings.IndexByte(id, '_'); i >= 0; {
		name := id[i+1:]
		if c := s.categories[id[:i]]; c != nil {
			if n, ok := c.index[name]; ok {
				return c, int(n)
			}
		}
		next := strings.IndexByte(name, '_')
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return nil, 0
}

// finish does what few plugins need.
func (r *Registry) finish(c *category, n int, p *Plugin) {
	if c.sharing && p.Resources.shared() {
		p.Resources = p.Resources.clone()
	}
	if r.schemaNotes.Load() && p.SchemaErr == nil && c.schemas[n] != nil {
		p.SchemaErr = c.schemas[n].note()
	}
}

// appendPlugins adds copies of all the plugins of c.
func (r *Registry) appendPlugins(dst []Plugin, c *category) []Plugin {
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
	c, n := r.now.Load().find(id)
	if c == nil {
		return p, false
	}
	p = c.plugins[n] // copied once: it is large
	p.Configured = c.flags[n].Load()
	if c.sharing || r.schemaNotes.Load() {
		r.finish(c, n, &p)
	}
	return p, true
}

// Plugins returns all plugins in the order of their registration: the categories as they were first registered, the plugins of each as
// its manager found them.
func (r *Registry) Plugins() []Plugin {
	s := r.now.Load()
	all := make([]Plugin, 0, s.count)
	for _, c := range s.order {
		all = r.appendPlugins(all, c)
	}
	return all
}

// PluginsIn returns the plugins of one category as its manager found them.
func (r *Registry) PluginsIn(category string) []Plugin {
	c := r.now.Load().categories[category]
	if c == nil {
		return nil
	}
	return r.appendPlugins(nil, c)
}

// Categories returns the registered categories, sorted by code point.
func (r *Registry) Categories() []string { return slices.Clone(r.now.Load().names) }

// CategoriesWithPlugins returns the categories that have plugins, sorted by code point.
func (r *Registry) CategoriesWithPlugins() []string { return slices.Clone(r.now.Load().withPlugins) }

// DisplayName returns the name of a category for people: the one it was registered with, else the category title-cased as Python's
// str.title() does it. It answers for categories that are not registered, too.
func (r *Registry) DisplayName(category string) string {
	if c := r.now.Load().categories[category]; c != nil && c.displayName != "" {
		return c.displayName
	}
	return titlecase.Title(category)
}

// Manager returns the manager of a category, and false if none is registered.
func (r *Registry) Manager(category string) (Manager, bool) {
	c := r.now.Load().categories[category]
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

// with returns the snapshot with c in the place of the category of that name.
func (s *snapshot) with(c *category) *snapshot {
	next := &snapshot{categories: maps.Clone(s.categories), names: s.names, withPlugins: s.withPlugins, count: s.count + len(c.plugins)}
	old := s.categories[c.name]
	if old == nil {
		next.order = slices.Concat(s.order, []*category{c})
		next.names = withName(s.names, c.name, true)
	} else {
		next.order = slices.Clone(s.order)
		next.order[slices.Index(s.order, old)] = c
		next.count -= len(old.plugins)
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

// taken tells which other category has a plugin with the ID of that name in c.
func (s *snapshot) taken(c, name string) (string, bool) {
	// Only a split of the ID before or behind the own one can be another plugin's.
	if strings.IndexByte(c, '_') < 0 && strings.IndexByte(name, '_') < 0 {
		return "", false
	}
	id := c + "_" + name
	for i := 0; i < len(id); i++ {
		if id[i] != '_' || i == len(c) {
			continue
		}
		if other := s.categories[id[:i]]; other != nil {
			if _, ok := other.index[id[i+1:]]; ok {
				return other.name, true
			}
		}
	}
	return "", false
}
