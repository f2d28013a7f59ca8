package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/pluginregistry/pluginregistry/store"
)

// ManagerOption changes how a manager is registered. Its zero value changes nothing.
type ManagerOption struct{ set func(*registration) }

type registration struct {
	displayName      string
	withoutDiscovery bool
}

// WithDisplayName gives a category its name for people. An empty name is none.
func WithDisplayName(name string) ManagerOption {
	return ManagerOption{func(reg *registration) { reg.displayName = name }}
}

// WithoutDiscovery registers a manager without asking it for its plugins; Refresh does that later.
func WithoutDiscovery() ManagerOption {
	return ManagerOption{func(reg *registration) { reg.withoutDiscovery = true }}
}

// RegisterManager registers the manager of a category and discovers its plugins, which it returns. It replaces what the category had:
// its manager, its display name and its plugins. Configs that are stored stay, and their plugins are found configured.
//
// The manager is asked outside every lock, the store once for all configured flags; then all is published at once. Where several
// registrations of one category are under way together, the one begun last stays, and the others return its plugins.
//
// A *DiscoveryError comes beside the plugins that were registered and tells of those that were not, and of sources that failed. Another
// error, as when the manager finds nothing but an error, panics, or the store cannot be read, leaves the category as it was.
func (r *Registry) RegisterManager(ctx context.Context, category string, m Manager, opts ...ManagerOption) (plugins Plugins, err error) {
	r.mustBeMade()
	defer func() { err = failed("register manager", "", err) }()
	if err := checkCategory(category); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, fmt.Errorf("category %q: the manager is nil", category)
	}
	var reg registration
	for _, opt := range opts {
		if opt.set != nil {
			opt.set(&reg)
		}
	}
	c := r.begin(category, m, reg.displayName, 0)
	if reg.withoutDiscovery {
		r.publishEmpty(c)
	} else {
		plugins, err = r.discover(ctx, c)
	}
	if now := r.snapshot().category(category); now != nil && now.registered == c.registered {
		if b, ok := m.(Binder); ok {
			b.Bind(r, category)
		}
	}
	return plugins, err
}

// publishEmpty makes a category visible without plugins.
func (r *Registry) publishEmpty(c *category) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.newer(c) == nil {
		r.publish(r.snapshot().with(c, nil), c)
	}
}

// Refresh asks the managers of the given categories, or of all without any, for their plugins again. A plugin that has gone leaves the
// list; its config stays stored. The errors are those of RegisterManager, joined; a category that fails stays as it was and does not
// keep the others from being refreshed. It never undoes a registration that was begun meanwhile, or was under way.
func (r *Registry) Refresh(ctx context.Context, categories ...string) error {
	if len(categories) == 0 {
		categories = r.Categories()
	}
	var errs []error
	for _, name := range categories {
		known := r.snapshot().category(name)
		if known == nil {
			errs = append(errs, fmt.Errorf("refresh %q: %w", name, ErrUnknownCategory))
			continue
		}
		if _, err := r.discover(ctx, r.begin(name, known.manager, known.displayName, known.registered)); err != nil {
			errs = append(errs, err)
		}
	}
	return failed("refresh", "", errors.Join(errs...))
}

// begin makes the category that a discovery is to fill. registered is the ticket of the registration that is refreshed, 0 for a new one.
func (r *Registry) begin(name string, m Manager, displayName string, registered uint64) *category {
	ticket := r.tickets.Add(1)
	return &category{name: name, displayName: displayName, manager: m, registered: cmp.Or(registered, ticket), ticket: ticket}
}

// discover fills c and publishes it.
func (r *Registry) discover(ctx context.Context, c *category) (Plugins, error) {
	infos, err := ask(ctx, c.manager)
	if err != nil && len(infos) == 0 {
		return nil, fmt.Errorf("category %q: its manager failed and found no plugins: %w", c.name, err)
	}
	failed := &DiscoveryError{Category: c.name}
	if err != nil {
		failed.Failures = append(failed.Failures, err)
	}
	found := r.examine(ctx, c, infos, failed)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("category %q: %w", c.name, err)
	}

	if err := r.flags.beginList(ctx); err != nil {
		return nil, fmt.Errorf("category %q: %w", c.name, err)
	}
	defer r.flags.endList()
	stored, err := r.askAllFlags(ctx, c.name+"_")
	if err != nil {
		return nil, fmt.Errorf("category %q: asking the store which plugins are configured: %w", c.name, err)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	if newer := r.newer(c); newer != nil {
		return r.appendPlugins(nil, newer), nil
	}
	now := r.snapshot()
	c.first = c.ticket
	if old := now.category(c.name); old != nil {
		c.first = old.first
	}
	next := now.with(c, c.fill(found, now, failed))
	r.flags.mu.Lock()
	defer r.flags.mu.Unlock()
	c.setFlags(stored, r.flags.changed)
	r.publish(next, c)
	if len(failed.Failures) > 0 {
		return r.appendPlugins(nil, c), failed
	}
	return r.appendPlugins(nil, c), nil
}

// ask calls Discover and takes a panic for an error.
func ask(ctx context.Context, m Manager) (infos []Info, err error) {
	defer func() {
		if p := recover(); p != nil {
			infos, err = nil, fmt.Errorf("it panicked: %v", p)
		}
	}()
	return m.Discover(ctx)
}

// found is a plugin that was discovered, with its schema.
type found struct {
	id     string
	plugin Plugin
	schema *schemaState
}

// examine checks the names and gets the schemas of what was discovered.
func (r *Registry) examine(ctx context.Context, c *category, infos []Info, failed *DiscoveryError) []found {
	all := make([]found, 0, len(infos))
	seen := make(map[string]struct{}, len(infos))
	schemas := interner{r, map[uint64]interned{}}
	for i := range infos {
		if ctx.Err() != nil {
			break // the caller gives up, too
		}
		info := &infos[i]
		id := c.name + "_" + info.Name
		if err := checkName(id, info.Name); err != nil {
			failed.Failures = append(failed.Failures, fmt.Errorf("plugin %d: %w", i+1, err))
			continue
		}
		if _, twice := seen[info.Name]; twice {
			failed.Failures = append(failed.Failures, fmt.Errorf("plugin %q: the manager found the name twice; the first stays", info.Name))
			continue
		}
		if info.Remote != nil && tooDeep(reflect.ValueOf(info.Remote.Metadata), maxMetadata) {
			failed.Failures = append(failed.Failures, fmt.Errorf("plugin %q: its metadata are nested over %d levels, or hold themselves", info.Name, maxMetadata))
			continue
		}
		seen[info.Name] = struct{}{}
		all = append(all, describe(ctx, c, id, info, schemas))
	}
	return all
}

// describe makes the metadata of one plugin. Its name is a part of its ID, so that both take the memory of one.
func describe(ctx context.Context, c *category, id string, info *Info, schemas interner) found {
	name := id[len(c.name)+1:]
	f := found{id: id, plugin: Plugin{
		Category: c.name, Name: name, Title: name, Description: info.Description, Version: info.Version,
		ExecutionMode: info.ExecutionMode, Resources: info.Resources.clone(),
	}}
	p := &f.plugin
	if info.Title != "" {
		p.Title = info.Title
	}
	if p.ExecutionMode == "" {
		p.ExecutionMode = ModeInProcess
	}
	raw, err := askSchema(ctx, c.manager, info.Name)
	if err != nil {
		err = fmt.Errorf("its schema could not be looked up: %w", err)
		f.schema = newUnusable(nil, err)
		p.SchemaErr = fmt.Errorf("plugin %q: %w", id, err)
		return f
	}
	found := schemas.intern(raw)
	f.schema = found.schemaState
	p.Schema = f.schema.raw
	if err := f.schema.unusable(); err != nil {
		p.SchemaErr = fmt.Errorf("plugin %q: %w", id, err)
		p.Schema = nil
		return f
	}
	if found.title != "" {
		p.Title = found.title
	}
	if found.described {
		p.Description = found.description
	}
	return f
}

// askSchema calls ConfigSchema and takes a panic for an error.
func askSchema(ctx context.Context, m Manager, name string) (raw json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil {
			raw, err = nil, fmt.Errorf("the manager panicked: %v", p)
		}
	}()
	return m.ConfigSchema(ctx, name)
}

// fill puts into c what was found, but for plugins whose ID is another category's. It returns their IDs.
func (c *category) fill(all []found, now *snapshot, failed *DiscoveryError) (ids []string) {
	ids = make([]string, 0, len(all))
	c.plugins = make([]Plugin, 0, len(all))
	c.schemas = make([]*schemaState, 0, len(all))
	here := make(map[string]bool, len(all))
	for i := range all {
		here[all[i].id] = true
	}
	for i := range all {
		id, p := all[i].id, &all[i].plugin
		if why := conflict(c.name, id, here, now); why != "" {
			failed.Failures = append(failed.Failures, fmt.Errorf("plugin %q: %w: %s; rename one of them", p.Name, ErrIDConflict, why))
			continue
		}
		ids = append(ids, id)
		c.plugins = append(c.plugins, *p)
		c.schemas = append(c.schemas, all[i].schema)
		c.sharing = c.sharing || p.Resources.shared()
	}
	c.flags = make([]atomic.Uint32, len(c.plugins))
	return ids
}

// conflict tells why a plugin of a category cannot have that ID beside the plugins that are here, in the same discovery, and those of other
// categories, or returns "".
func conflict(category, id string, here map[string]bool, now *snapshot) string {
	if other, _ := now.find(id); other != nil && other.name != category {
		return fmt.Sprintf("%q is a plugin of category %q, which stays", id, other.name)
	}
	if of, _, ok := cutInstance(id); ok {
		other, _ := now.find(of)
		if here[of] || other != nil && other.name != category {
			return fmt.Sprintf("%q reads as an instance of the plugin %q, which stays", id, of)
		}
	}
	readers, _ := now.readAs.get(id)
	for _, other := range readers {
		if other != category {
			return fmt.Sprintf("a plugin of category %q, which stays, has an ID that reads as an instance of %q", other, id)
		}
	}
	return ""
}

// newer returns what is there already of a registration or discovery of the same category that was begun after c, or nil. The caller
// holds r.mu.
func (r *Registry) newer(c *category) *category {
	now := r.snapshot().category(c.name)
	if now == nil || cmp.Or(cmp.Compare(now.registered, c.registered), cmp.Compare(now.ticket, c.ticket)) < 0 {
		return nil
	}
	return now
}

// publish makes next visible, which has c in it. The caller holds r.mu.
func (r *Registry) publish(next *snapshot, c *category) {
	for _, s := range c.schemas {
		r.keep(s)
	}
	if old := r.snapshot().category(c.name); old != nil {
		for _, s := range old.schemas {
			r.release(s)
		}
	}
	r.now.Store(next)
}

func checkCategory(category string) error {
	switch {
	case category == "":
		return errors.New("a category needs a name")
	case !utf8.ValidString(category):
		return fmt.Errorf("the category %q is not valid UTF-8", category)
	case strings.IndexByte(category, 0) >= 0:
		return fmt.Errorf("the category %q contains a NUL character", category)
	case len(category)+2 > store.MaxID:
		return fmt.Errorf("the category %q… is too long: a plugin ID has at most %d bytes", category[:32], store.MaxID)
	}
	return nil
}

func checkName(id, name string) error {
	if name == "" {
		return fmt.Errorf("%w: a plugin needs a name", store.ErrInvalidID)
	}
	if err := store.CheckID(id); err != nil {
		if len(name) > 64 {
			name = name[:64] + "…"
		}
		return fmt.Errorf("the name %s cannot be used: its ID would not do: %w", strconv.Quote(name), err)
	}
	return nil
}
