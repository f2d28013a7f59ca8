package registry

import (
	"fmt"
	"iter"
	"strings"

	"github.com/pluginregistry/pluginregistry/store"
)

// MaxInstance is the length of the longest instance, in bytes.
const MaxInstance = 64

// ConfigID returns the config ID of an instance of a plugin: the plugin ID, an @, and the instance, which is 1 to 64 of the characters
// A-Z, a-z, 0-9, '.', '_' and '-'. The plugin's own config has the plugin ID itself. Anything else is store.ErrInvalidID.
func ConfigID(pluginID, instance string) (string, error) {
	id := pluginID + "@" + instance
	err := store.CheckID(pluginID)
	if err == nil && !isInstance(instance) {
		err = fmt.Errorf("%w: an instance is 1 to %d of the characters A-Z, a-z, 0-9, '.', '_' and '-'", store.ErrInvalidID, MaxInstance)
	}
	if err == nil {
		err = store.CheckID(id)
	}
	if err != nil {
		return "", failed("config ID", id, err)
	}
	return id, nil
}

func isInstance(s string) bool {
	if s == "" || len(s) > MaxInstance {
		return false
	}
	for _, c := range []byte(s) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// cutInstance splits id at its last @, if what follows can be an instance.
func cutInstance(id string) (pluginID, instance string, ok bool) {
	i := strings.LastIndexByte(id, '@')
	if i < 0 || !isInstance(id[i+1:]) {
		return id, "", false
	}
	return id[:i], id[i+1:], true
}

// SplitConfigID returns the registered plugin that a config ID belongs to, and the instance, which is "" for the plugin's own config. An
// ID that a plugin has is that plugin's, even if it contains an @. ok is false if no registered plugin has the ID.
func (r *Registry) SplitConfigID(id string) (pluginID, instance string, ok bool) {
	o := r.owner(id)
	if !o.known() {
		return "", "", false
	}
	return o.pluginID(), o.instance, true
}

// owner is what a config ID stands for. All that is done with a config begins here.
type owner struct {
	id                       string
	category, name, instance string // "" if no registered plugin has the ID
	manager                  Manager
	schema                   *schemaState
}

// owner resolves a config ID.
func (r *Registry) owner(id string) owner {
	s := r.snapshot()
	c, n := s.find(id)
	instance := ""
	if c == nil {
		if pluginID, name, ok := cutInstance(id); ok {
			c, n = s.find(pluginID)
			instance = name
		}
	}
	if c == nil {
		return owner{id: id}
	}
	return owner{id, c.name, c.plugins[n].Name, instance, c.manager, c.schemas[n]}
}

func (o owner) known() bool { return o.schema != nil }

func (o owner) pluginID() string { return o.category + "_" + o.name }

// bindings returns what the secrets of a config are bound to: category, name and instance, each ended by a NUL, which none of them
// contains. If no plugin has the ID, its secrets may be bound to each category and name that the ID can be made of.
func (o owner) bindings() iter.Seq[string] {
	bind := func(category, name, instance string) string {
		return category + "\x00" + name + "\x00" + instance + "\x00"
	}
	return func(yield func(string) bool) {
		if o.known() {
			yield(bind(o.category, o.name, o.instance))
			return
		}
		for i := range len(o.id) {
			if o.id[i] != '_' {
				continue
			}
			category, rest := o.id[:i], o.id[i+1:]
			if !yield(bind(category, rest, "")) {
				return
			}
			if name, instance, ok := cutInstance(rest); ok && !yield(bind(category, name, instance)) {
				return
			}
		}
	}
}
