package registry

import (
	"cmp"
	"slices"
	"sync/atomic"

	"github.com/pluginregistry/pluginregistry/internal/titlecase"
)

// snapshot is the metadata at one moment. It never changes: a registration makes a new one, which shares the categories that it leaves
// alone. Only the flags change in place.
type snapshot struct {
	categories *shards[*category] // by name
	plugins    *shards[place]     // by plugin ID
	readAs     *shards[[]string]  // by plugin ID: the category of each plugin whose ID reads as an instance of it
	count      int                // of plugins
}

// snapshot returns the metadata as it is now.
func (r *Registry) snapshot() *snapshot {
	r.mustBeMade()
	return r.now.Load()
}

// place is where a plugin is: which one of its category.
type place struct {
	category *category
	number   int
}

// category is one plugin system.
type category struct {
	name        string
	displayName string
	manager     Manager
	first       uint64 // the ticket of the first registration of its name: categories are listed in this order
	registered  uint64 // the ticket of the registration: a refresh never counts over a later one
	ticket      uint64 // of the discovery that found the plugins

	plugins []Plugin // in the order they were discovered; what is in flags is not set here
	flags   []atomic.Uint32
	schemas []*schemaState // of each plugin
	sharing bool           // a plugin has resources that must be cloned
}

// find returns where the plugin with that ID is, or a nil category.
func (s *snapshot) find(id string) (*category, int) {
	p, _ := s.plugins.get(id)
	return p.category, p.number
}

// category returns the category of that name, or nil.
func (s *snapshot) category(name string) *category {
	c, _ := s.categories.get(name)
	return c
}

// all returns the categories in the order in which they were first registered.
func (s *snapshot) all() []*category {
	return slices.SortedFunc(s.categories.values(), func(a, b *category) int { return cmp.Compare(a.first, b.first) })
}

// names returns the names of the categories for which keep holds, sorted by code point.
func (s *snapshot) names(keep func(*category) bool) []string {
	var names []string
	for c := range s.categories.values() {
		if keep(c) {
			names = append(names, c.name)
		}
	}
	slices.Sort(names)
	return names
}

// setFlags sets the flags of all plugins to those that are stored, and then as was changed since.
func (c *category) setFlags(stored map[string]flag, changed map[string]flagChange) {
	for n := range c.flags {
		id := c.plugins[n].ID()
		c.flags[n].Store(uint32(stored[id]))
		if later, ok := changed[id]; ok {
			later.apply(&c.flags[n])
		}
	}
}

// show puts the flags of a plugin into p.
func (f flag) show(p *Plugin) {
	p.Configured = f&configured != 0
	p.Disabled = f&disabled != 0
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
		if f := flag(c.flags[n].Load()); f != 0 { // so that most plugins are not written to a second time
			f.show(&added[n])
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
	flag(c.flags[n].Load()).show(p)
	r.finish(c, n, p)
	return true
}

// Plugins returns all plugins in the order of their registration: the categories as they were first registered, the plugins of each as
// its manager found them.
func (r *Registry) Plugins() Plugins {
	s := r.snapshot()
	all := make(Plugins, 0, s.count)
	for _, c := range s.all() {
		all = r.appendPlugins(all, c)
	}
	return all
}

// PluginsIn returns the plugins of one category as its manager found them.
func (r *Registry) PluginsIn(category string) Plugins {
	c := r.snapshot().category(category)
	if c == nil {
		return nil
	}
	return r.appendPlugins(nil, c)
}

// Categories returns the registered categories, sorted by code point.
func (r *Registry) Categories() []string {
	return r.snapshot().names(func(*category) bool { return true })
}

// CategoriesWithPlugins returns the categories that have plugins, sorted by code point.
func (r *Registry) CategoriesWithPlugins() []string {
	return r.snapshot().names(func(c *category) bool { return len(c.plugins) > 0 })
}

// DisplayName returns the name of a category for people: the one it was registered with, else the category title-cased as Python's
// str.title() does it. It answers for categories that are not registered, too.
func (r *Registry) DisplayName(category string) string {
	if c := r.snapshot().category(category); c != nil && c.displayName != "" {
		return c.displayName
	}
	return titlecase.Title(category)
}

// Manager returns the manager of a category, and false if none is registered.
func (r *Registry) Manager(category string) (Manager, bool) {
	c := r.snapshot().category(category)
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
	next := &snapshot{plugins: s.plugins, readAs: s.readAs, count: s.count}
	old := s.category(c.name)
	if old == nil {
		old = &category{}
	}
	if len(ids)+len(old.plugins) > 0 {
		plugins, readAs := s.plugins.edit(), s.readAs.edit()
		for _, p := range old.plugins {
			plugins.delete(p.ID())
			if of, _, ok := cutInstance(p.ID()); ok {
				categories, _ := readAs.next.get(of)
				i := slices.Index(categories, c.name)
				readAs.set(of, slices.Concat(categories[:i], categories[i+1:]))
			}
		}
		for n, id := range ids {
			plugins.set(id, place{c, n})
			if of, _, ok := cutInstance(id); ok {
				categories, _ := readAs.next.get(of)
				readAs.set(of, slices.Concat(categories, []string{c.name}))
			}
		}
		next.plugins, next.readAs = plugins.next, readAs.next
		next.count += len(ids) - len(old.plugins)
	}
	categories := s.categories.edit()
	categories.set(c.name, c)
	next.categories = categories.next
	return next
}
