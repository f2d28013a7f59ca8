package pluginsystem

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
)

// source is the config that something is made with.
type source struct {
	text json.RawMessage // dropped when New has returned, as it may hold secrets
	sum  [sha256.Size]byte
	id   string         // the config ID that it is stored under, or "" if it was given to Load
	rev  store.Revision // of the stored config
}

func newSource(text json.RawMessage) source { return source{text: text, sum: sha256.Sum256(text)} }

// configFunc gets the config. It is called by the call that has the turn, so that an older config never replaces a newer one.
type configFunc[P any] func(ctx context.Context, s *slot[P]) (source, error)

// given is a config that the caller has.
func given[P any](config any) configFunc[P] {
	return func(ctx context.Context, s *slot[P]) (source, error) {
		text, err := jsontext.Encode(config)
		if err != nil {
			return source{}, fmt.Errorf("%w: %w", store.ErrInvalidConfig, err)
		}
		if s.Schema == nil || !s.compiled().Usable() {
			return newSource(text), nil
		}
		v, err := jsontext.Parse(text)
		if err != nil {
			return source{}, fmt.Errorf("%w: %w", store.ErrInvalidConfig, err)
		}
		effective, found := s.compiled().Complete(ctx, v)
		if err := ctx.Err(); err != nil {
			return source{}, err
		}
		if len(found) == 0 {
			return newSource(effective.Append(nil)), nil
		}
		issues := make([]registry.Issue, len(found))
		for i, f := range found {
			issues[i] = registry.Issue(f)
		}
		return source{}, &registry.ValidationError{ID: s.name, Issues: issues}
	}
}

// stored is the config that reg has.
func (m *Manager[P]) stored(reg *registry.Registry) configFunc[P] {
	return func(ctx context.Context, s *slot[P]) (source, error) {
		id, err := m.idIn(ctx, reg, s.plugin)
		if err == nil {
			id, err = configID(id, s.instance)
		}
		if err != nil {
			return source{}, err
		}
		saved, err := reg.LoadConfig(ctx, id, registry.HideSecrets()) // its revision; if it is replaced now, the config is newer than that
		if err != nil {
			return source{}, err
		}
		found := source{id: id, rev: saved.Revision}
		if s.instance != "" && saved.Revision == store.Absent {
			return found, fmt.Errorf("the instance has no stored config: %w", store.ErrNotFound)
		}
		config, err := registry.ConfigAs[json.RawMessage](ctx, reg, id)
		if err != nil {
			return found, err
		}
		src := newSource(config)
		src.id, src.rev = found.id, found.rev
		return src, nil
	}
}

// idIn returns the ID of a plugin in reg.
func (m *Manager[P]) idIn(ctx context.Context, reg *registry.Registry, pl *plugin[P]) (string, error) {
	var ids []string
	registered := false
	for _, category := range reg.Categories() {
		if !m.manages(reg, category) {
			continue
		}
		registered = true
		if id, ok := m.discovered(reg, category, pl); ok {
			ids = append(ids, id)
		}
	}
	switch {
	case len(ids) == 1:
		return ids[0], nil
	case len(ids) > 1:
		return "", fmt.Errorf("the manager is registered under several categories, so the plugin has several configs: %q; give each category its own manager", ids)
	case !registered:
		return "", fmt.Errorf("%w: the manager is not registered in this registry", registry.ErrUnknownPlugin)
	}
	if err := pl.available(ctx); err != nil {
		return "", err
	}
	return "", fmt.Errorf("%w: it was not discovered; refresh its category", registry.ErrUnknownPlugin)
}

// manages reports whether the manager of a category of reg is m, or embeds m.
func (m *Manager[P]) manages(reg *registry.Registry, category string) bool {
	found, ok := registry.ManagerAs[System](reg, category)
	return ok && found.manager() == any(m)
}

// nameOf returns the name of the plugin or instance of this manager that has the config ID in reg.
func (m *Manager[P]) nameOf(reg *registry.Registry, id string) (string, bool) {
	pluginID, instance, ok := reg.SplitConfigID(id)
	if !ok {
		return "", false
	}
	p, ok := reg.Plugin(pluginID)
	name := p.Name
	if instance != "" {
		name += "@" + instance
	}
	return name, ok && m.manages(reg, p.Category)
}
