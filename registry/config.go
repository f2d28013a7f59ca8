package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/store"
)

// SaveOption changes how a config is saved or deleted. Its zero value changes nothing.
type SaveOption struct{ set func(*saveOptions) }

type saveOptions struct{ match store.Revision }

// IfRevision makes a save or deletion happen only if the stored config is at that revision (store.Absent: if there is none). Else the
// error is store.ErrConflict, as a *store.ConflictError with the current revision.
func IfRevision(rev store.Revision) SaveOption {
	return SaveOption{func(o *saveOptions) { o.match = rev }}
}

func matchOf(opts []SaveOption) store.Revision {
	o := saveOptions{match: store.Any}
	for _, opt := range opts {
		if opt.set != nil {
			opt.set(&o)
		}
	}
	return o.match
}

// fault is an error of one plugin's config.
func fault(id, doing string, err error) error {
	return fmt.Errorf("registry: %s of %q: %w", doing, id, err)
}

// LoadConfig returns the config that is stored under id, its secrets opened. Where nothing is stored the config is {}, the revision
// store.Absent, and there is no error, as in the Python original. The ID need not be a registered plugin's.
//
// Errors: store.ErrCorrupt if what is stored cannot be read, ErrSecretLocked if a secret in it cannot be opened, store.ErrInvalidID, or
// what the store says.
func (r *Registry) LoadConfig(ctx context.Context, id string) (store.Record, error) {
	rec, err := r.configs().Get(ctx, id)
	r.settle(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nothing(id), nil
	}
	if err != nil {
		return store.Record{}, err
	}
	return r.opened(rec)
}

// nothing is the record of a config that is not there.
func nothing(id string) store.Record {
	return store.Record{ID: id, Config: json.RawMessage(`{}`), Revision: store.Absent}
}

// SaveConfig stores config under id, in the place of what was there, and returns what LoadConfig would. config is a map, a struct, or
// JSON as json.RawMessage or []byte; it must encode to a JSON object. The keys keep their order and the numbers their digits.
//
// If a plugin with that ID is registered, the config is validated against its schema, and the values of secret fields are sealed. The
// plugin is configured from the moment SaveConfig returns nil. An error has changed nothing. Redacted in a secret field, or where a sealed
// value is stored, stands for the stored value, and a value that is given sealed stays sealed. The limits of a config (16 MiB, 512 levels)
// are for what is stored: sealing adds a level, and a third to the secret's size.
//
// Where no schema tells which fields are secret, because the plugin is not registered or its schema cannot be read, a config with sealed
// values is not saved over: that could leave its secrets in plain text. WithPlaintextSecrets allows it.
//
// Errors: store.ErrInvalidConfig if config is no JSON object that can be kept, *ValidationError, ErrUnusableSchema, ErrUnknownPlugin,
// ErrNoSecretKey, ErrSecretLocked if a stored or given secret that is to be kept cannot be opened, store.ErrConflict with IfRevision,
// store.ErrInvalidID, or what the store says, such as that the disk is full.
func (r *Registry) SaveConfig(ctx context.Context, id string, config any, opts ...SaveOption) (store.Record, error) {
	text, err := encode(id, config)
	if err != nil {
		return store.Record{}, err
	}
	match := matchOf(opts)
	for {
		p, err := r.prepare(ctx, id, text, match)
		if err != nil {
			return store.Record{}, err
		}
		var rec store.Record
		err = r.writing(ctx, setting(configured, true), func() (err error) {
			rec, err = r.configs().Put(ctx, id, p.sealed, p.match)
			return err
		}, id)
		if err != nil && p.match != match && errors.Is(err, store.ErrConflict) {
			continue // it relied on what was stored, and that has changed; or it must look at it
		}
		if err != nil {
			return store.Record{}, err
		}
		rec.Config = p.plain
		return rec, nil
	}
}

// encode returns the canonical text of config.
func encode(id string, config any) (json.RawMessage, error) {
	text, err := jsontext.Encode(config)
	if err != nil {
		return nil, fault(id, "the config", fmt.Errorf("%w: %w", store.ErrInvalidConfig, err))
	}
	return text, nil
}

// DeleteConfig deletes the config of id. Deleting what is not there is no error. The plugin is not configured from the moment it
// returns nil. With IfRevision the error may be store.ErrConflict.
func (r *Registry) DeleteConfig(ctx context.Context, id string, opts ...SaveOption) error {
	return r.writing(ctx, setting(configured, false), func() error {
		return r.configs().Delete(ctx, id, matchOf(opts))
	}, id)
}

// UpdateConfig loads the config of id, has edit change it, and saves what edit returns, if nobody else has saved meanwhile; else it does
// so again with what is then there. edit gets what LoadConfig returns and may be called several times. Its error ends the update and is
// returned; otherwise the errors are those of LoadConfig and SaveConfig.
func (r *Registry) UpdateConfig(ctx context.Context, id string, edit func(store.Record) (any, error)) (store.Record, error) {
	for {
		rec, err := r.LoadConfig(ctx, id)
		if err != nil {
			return store.Record{}, err
		}
		before := rec.Revision
		config, err := edit(rec)
		if err != nil {
			return store.Record{}, err
		}
		saved, err := r.SaveConfig(ctx, id, config, IfRevision(before))
		if !errors.Is(err, store.ErrConflict) {
			return saved, err
		}
	}
}

// SaveConfigs stores several configs, by plugin ID: all, or none if there is any error. Each is checked as SaveConfig does it, and all
// that do not fit are reported, joined. The records come in the order of the IDs. The store must be a store.Batcher, else the error is
// errors.ErrUnsupported; the stores of this module are.
func (r *Registry) SaveConfigs(ctx context.Context, configs map[string]any) ([]store.Record, error) {
	ids := slices.Sorted(maps.Keys(configs))
	for {
		puts := make([]store.Put, 0, len(ids))
		plain := make([]json.RawMessage, 0, len(ids))
		relied := false
		var errs []error
		for _, id := range ids {
			text, err := encode(id, configs[id])
			var p prepared
			if err == nil {
				p, err = r.prepare(ctx, id, text, store.Any)
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
			relied = relied || p.match != store.Any
			puts = append(puts, store.Put{ID: id, Config: p.sealed, Match: p.match})
			plain = append(plain, p.plain)
		}
		if errs != nil {
			return nil, errors.Join(errs...)
		}
		recs, err := r.putAll(ctx, puts)
		if relied && errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for i := range recs {
			recs[i].Config = plain[i]
		}
		return recs, nil
	}
}

func (r *Registry) putAll(ctx context.Context, puts []store.Put) ([]store.Record, error) {
	ids := make([]string, len(puts))
	for i, p := range puts {
		ids[i] = p.ID
	}
	var recs []store.Record
	err := r.writing(ctx, setting(configured, true), func() (err error) {
		recs, err = store.PutAll(ctx, r.configs(), puts)
		return err
	}, ids...)
	return recs, err
}

// prepared is a config that may be saved.
type prepared struct {
	plain  json.RawMessage // as it was given, secrets open
	sealed json.RawMessage // as it is stored
	match  store.Revision  // what it may be saved over
}

// prepare validates a config and seals its secrets.
func (r *Registry) prepare(ctx context.Context, id string, text json.RawMessage, match store.Revision) (prepared, error) {
	p := prepared{plain: text, sealed: text, match: match}
	s := r.schemaState(id)
	found, err := r.openSecrets(ctx, id, s, &p)
	if err != nil {
		return p, err
	}
	if err := r.validate(id, s, p.plain, found.config); err != nil {
		return p, err
	}
	return p, found.seal(r, id, &p)
}

// schemaState returns the schema of a registered plugin, or nil.
func (r *Registry) schemaState(id string) *schemaState {
	c, n := r.snapshot().find(id)
	if c == nil {
		return nil
	}
	return c.schemas[n]
}
