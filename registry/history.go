package registry

import (
	"context"
	"fmt"

	"github.com/pluginregistry/pluginregistry/store"
)

// History returns the states that the config of id was in, newest first, the current one included, at most limit of them (0: all that
// are kept), their secrets opened, or hidden with HideSecrets. A state that cannot be read or opened has its Err set. The store must be a
// store.Historian, else the error is errors.ErrUnsupported.
func (r *Registry) History(ctx context.Context, id string, limit int, opts ...ReadOption) ([]store.Version, error) {
	versions, err := store.History(ctx, r.configs(), id, limit)
	if err != nil {
		return nil, failed("history", id, err)
	}
	o := r.owner(id)
	for i := range versions {
		v := &versions[i]
		if !v.Configured || v.Err != nil {
			continue
		}
		shown, err := r.shown(o, v.Record, hides(opts))
		if err != nil {
			v.Config, v.Err = nil, failed("history", id, err)
			continue
		}
		v.Record = shown
	}
	return versions, nil
}

// Rollback saves the config that id had at an earlier revision again, as SaveConfig would: judged by today's schema, and as a new
// revision, so that it can be undone like any save. Rolling back to a deletion deletes. A revision that is not in the history is
// store.ErrNotFound, one that cannot be read or opened store.ErrCorrupt or ErrSecretLocked; else the errors are those of SaveConfig.
func (r *Registry) Rollback(ctx context.Context, id string, to store.Revision, opts ...SaveOption) (store.Record, error) {
	rec, err := r.rollback(ctx, id, to, matchOf(opts))
	return rec, failed("rollback", id, err)
}

func (r *Registry) rollback(ctx context.Context, id string, to, match store.Revision) (store.Record, error) {
	versions, err := store.History(ctx, r.configs(), id, 0)
	if err != nil {
		return store.Record{}, err
	}
	for _, v := range versions {
		switch {
		case v.Revision != to:
		case v.Err != nil:
			return store.Record{}, v.Err
		case !v.Configured:
			return nothing(id), r.delete(ctx, id, match)
		default:
			return r.save(ctx, change{id: id, match: match, make: func(o owner, _ stored) (draft, error) {
				then, err := r.parse(o, v.Record)
				if err == nil {
					err = then.whole()
				}
				return draft{config: then.opened, from: []stored{then}}, err
			}})
		}
	}
	return store.Record{}, fmt.Errorf("%w at revision %q", store.ErrNotFound, string(to))
}
