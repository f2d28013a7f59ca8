package registry

import (
	"context"
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

// ReadOption changes what a read returns. Its zero value changes nothing.
type ReadOption struct{ set func(*readOptions) }

type readOptions struct{ hideSecrets bool }

// HideSecrets makes a read return Redacted, or a text that begins with it, in the place of every secret: of what is sealed, and of what is
// secret by today's schema. If nobody can tell what is secret, because no plugin has the ID or its schema cannot be read, it hides every
// string and number. Names are shown. It needs no key.
//
// A config read so can be edited and saved: SaveConfig keeps the secrets. See Redacted.
func HideSecrets() ReadOption { return ReadOption{func(o *readOptions) { o.hideSecrets = true }} }

func hides(opts []ReadOption) bool {
	var o readOptions
	for _, opt := range opts {
		if opt.set != nil {
			opt.set(&o)
		}
	}
	return o.hideSecrets
}

// LoadConfig returns the config that is stored under id, its secrets opened, or hidden with HideSecrets. If nothing is stored the config
// is {}, the revision store.Absent, and there is no error, as in the Python original. The ID need not be that of a registered plugin.
//
// Errors: store.ErrCorrupt if what is stored cannot be read, ErrSecretLocked if a secret in it cannot be opened, store.ErrInvalidID, or
// what the store says.
func (r *Registry) LoadConfig(ctx context.Context, id string, opts ...ReadOption) (store.Record, error) {
	rec, err := r.load(ctx, id, hides(opts))
	return rec, failed("load config", id, err)
}

func (r *Registry) load(ctx context.Context, id string, hide bool) (store.Record, error) {
	rec, err := r.get(ctx, id)
	if err != nil {
		return store.Record{}, err
	}
	return r.shown(r.owner(id), rec, hide)
}

// shown returns a stored record as its readers get it.
func (r *Registry) shown(o owner, rec store.Record, hide bool) (store.Record, error) {
	if !hide && !mayHoldSealed(rec.Config) {
		return rec, nil
	}
	was, err := r.parse(o, rec)
	switch {
	case err != nil:
	case hide:
		rec.Config = r.hide(o, was.sealed, rec.Revision).Append(nil)
	default:
		err = was.whole()
		rec.Config = was.opened.Append(nil)
	}
	if err != nil {
		return store.Record{}, err
	}
	return rec, nil
}

// RedactedConfig is LoadConfig with HideSecrets.
func (r *Registry) RedactedConfig(ctx context.Context, id string) (store.Record, error) {
	rec, err := r.load(ctx, id, true)
	return rec, failed("redacted config", id, err)
}

// SaveConfig stores config under id, in the place of what was there, and returns what LoadConfig would. config is a map, a struct, or
// JSON as json.RawMessage or []byte; it must encode to a JSON object. Keys keep their order and numbers their digits. Members of a struct
// that are nil slices, maps, pointers or interfaces are left out.
//
// If a plugin has the ID, or the ID is an instance of one, the config is completed with the defaults of the schema and the result is
// judged; what is stored is config without defaults. Secrets are sealed: the values of secret fields, and every value that is stored sealed
// in the config it replaces, whatever today's schema says and wherever the value is now. In a secret field the text Redacted keeps the
// stored value. A value passed as {"$secret": …} is opened if it belongs there, and sealed.
//
// A registry that has a key (WithSecrets) saves nothing if nobody can tell which values are secret, because no plugin has the ID or its
// schema cannot be read; WithPlaintextSecrets allows it. Without a key such a config is saved unless the stored one has sealed values.
//
// The plugin is configured from the moment SaveConfig returns nil. An error has changed nothing, except store.ErrUncertain and the error
// of a ctx that ends during the write. The limits of a config (16 MiB, 512 levels) are for what is stored: sealing adds a level, and a
// third to a secret's size.
//
// Errors: store.ErrInvalidConfig if config is no JSON object that can be kept or has Redacted where no stored value is meant,
// *ValidationError, ErrUnusableSchema, ErrUnknownPlugin, ErrNoSecretKey, ErrSecretLocked if a stored or given secret that is to be kept
// cannot be opened, store.ErrConflict with IfRevision or if a hidden secret was taken from another revision, store.ErrInvalidID, or what
// the store says, such as that the disk is full.
func (r *Registry) SaveConfig(ctx context.Context, id string, config any, opts ...SaveOption) (store.Record, error) {
	given, _, err := r.encode(r.owner(id), config)
	if err != nil {
		return store.Record{}, failed("save config", id, err)
	}
	rec, err := r.save(ctx, change{id: id, match: matchOf(opts), given: given})
	return rec, failed("save config", id, err)
}

// SaveConfigs stores several configs, by config ID: all, or none if there is any error. Each is checked as SaveConfig does it, and all
// that do not fit are reported, joined. The records come in the order of the IDs. The store must be a store.Batcher, else the error is
// errors.ErrUnsupported; the stores of this module are.
func (r *Registry) SaveConfigs(ctx context.Context, configs map[string]any) ([]store.Record, error) {
	recs, err := r.saveAll(ctx, configs)
	return recs, failed("save configs", "", err)
}

func (r *Registry) saveAll(ctx context.Context, configs map[string]any) ([]store.Record, error) {
	ids := slices.Sorted(maps.Keys(configs))
	given := make([]*jsontext.Value, len(ids))
	var errs []error
	for i, id := range ids {
		config, _, err := r.encode(r.owner(id), configs[id])
		given[i] = config
		if err != nil {
			errs = append(errs, failed("save config", id, err))
		}
	}
	for try := 0; ; try++ {
		puts := make([]store.Put, len(ids))
		plans := make([]plan, len(ids))
		relied := false
		for i, id := range ids {
			if given[i] == nil {
				continue
			}
			var err error
			if plans[i], puts[i], err = r.prepare(ctx, change{id: id, match: store.Any, given: given[i]}); err != nil {
				errs = append(errs, failed("save config", id, err))
			}
			relied = relied || puts[i].Match != store.Any
		}
		if errs != nil {
			return nil, errors.Join(errs...)
		}
		var recs []store.Record
		err := r.writing(ctx, setting(configured, true), func() (err error) {
			recs, err = store.PutAll(ctx, r.configs(), puts)
			return err
		}, ids...)
		if err == nil {
			for i := range recs {
				recs[i].Config = plans[i].plain
			}
			return recs, nil
		}
		if !relied || !errors.Is(err, store.ErrConflict) {
			return nil, err
		}
		if err := pause(ctx, try); err != nil {
			return nil, err
		}
	}
}

// PatchConfig changes what is stored under id by an RFC 7396 merge patch: members that are null are deleted, objects are patched, and
// everything else, lists too, is replaced. What the patch does not name keeps its text and its place; new keys come last. patch is given
// as a config is. The result is saved as SaveConfig would; if somebody else saves meanwhile, the patch is made again on what is stored
// then, or with IfRevision the error is store.ErrConflict. The errors are those of LoadConfig and SaveConfig.
func (r *Registry) PatchConfig(ctx context.Context, id string, patch any, opts ...SaveOption) (store.Record, error) {
	given, written, err := r.encode(r.owner(id), patch)
	if err != nil {
		return store.Record{}, failed("patch config", id, err)
	}
	rec, err := r.save(ctx, change{id: id, match: matchOf(opts), edits: true, make: func(_ owner, was stored) (draft, error) {
		return draft{config: merger{written}.patched(was.opened, given)}, was.whole()
	}})
	return rec, failed("patch config", id, err)
}

// UpdateConfig loads the config of id, has edit change it, and saves what edit returns. If somebody else saves meanwhile, it does so again
// with what is then there, so edit may be called several times. edit gets what LoadConfig returns and returns a config as SaveConfig takes
// it. Its error ends the update and is the cause of the error returned; otherwise the errors are those of LoadConfig and SaveConfig.
//
// Every value that edit left equal keeps its stored text, also if edit decodes the config into a map, where numbers become float64; keys
// that stay keep their order, and new ones come last.
func (r *Registry) UpdateConfig(ctx context.Context, id string, edit func(store.Record) (any, error)) (store.Record, error) {
	rec, err := r.save(ctx, change{id: id, match: store.Any, edits: true, make: func(o owner, was stored) (draft, error) {
		if err := was.whole(); err != nil {
			return draft{}, err
		}
		rec := was.Record
		rec.Config = was.opened.Append(nil)
		config, err := edit(rec)
		if err != nil {
			return draft{}, err
		}
		after, written, err := r.encode(o, config)
		if err != nil {
			return draft{}, err
		}
		return draft{config: merger{written}.merge(was.opened, was.opened, after)}, nil
	}})
	return rec, failed("update config", id, err)
}

// CopyConfig saves the config of one ID under another, as SaveConfig would: it is judged by the schema of to, and its secrets are opened
// and sealed for to. With IfRevision(store.Absent) nothing is written over. If nothing is stored under from the error is
// store.ErrNotFound; else the errors are those of LoadConfig and SaveConfig.
func (r *Registry) CopyConfig(ctx context.Context, from, to string, opts ...SaveOption) (store.Record, error) {
	rec, err := r.save(ctx, change{id: to, match: matchOf(opts), make: func(owner, stored) (draft, error) {
		source, err := r.read(ctx, r.owner(from))
		switch {
		case err != nil:
		case source.Revision == store.Absent:
			err = store.ErrNotFound
		default:
			err = source.whole()
		}
		if err != nil {
			return draft{}, fmt.Errorf("the config of %s: %w", quoteID(from), err)
		}
		return draft{config: source.opened, from: []stored{source}}, nil
	}})
	return rec, failed("copy config to", to, err)
}

// DeleteConfig deletes the config of id. Deleting what is not there is no error. The plugin is not configured from the moment it returns
// nil. The note of an instance is deleted with its config; that of a plugin's own config stays. Errors: store.ErrConflict with IfRevision,
// store.ErrInvalidID, or what the store says.
func (r *Registry) DeleteConfig(ctx context.Context, id string, opts ...SaveOption) error {
	err := r.delete(ctx, id, matchOf(opts))
	if a, ok := r.st.(store.Annotator); ok && err == nil && r.owner(id).instance != "" {
		_, err = a.SetNote(ctx, id, store.Note{}, store.Any)
	}
	return failed("delete config", id, err)
}

func (r *Registry) delete(ctx context.Context, id string, match store.Revision) error {
	return r.writing(ctx, setting(configured, false), func() error {
		return r.configs().Delete(ctx, id, match)
	}, id)
}
