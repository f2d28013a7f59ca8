package registry

import (
	"context"
	"fmt"

	"github.com/pluginregistry/pluginregistry/store"
)

// History returns the states that the config of id was in, newest first, the current one included, at most limit of them (0: all that
// are kept), their secrets opened. A state that cannot be read or opened has its Err set. The store must be a store.Historian, else the
// error is errors.ErrUnsupported.
func (r *Registry) History(ctx context.Context, id string, limit int) ([]store.Version, error) {
	versions, err := store.History(ctx, r.configs(), id, limit)
	if err != nil {
		return nil, err
	}
	for i := range versions {
		v := &versions[i]
		if !v.Configured || v.Err != nil {
			continue
		}
		opened, err := r.opened(v.Record)
		if err != nil {
			v.Config, v.Err = nil, err
			continue
		}
		v.Record = opened
	}
	return versions, nil
}

// Rollback saves the config that id had at an earlier revision again, as SaveConfig would: validated against today's schema, and as a new
// revision, so that it can be undone like any save. Rolling back to a deletion deletes. A revision that is not in the history is
// store.ErrNotFound, one that cannot be read or opened store.ErrCorrupt or ErrSecretLocked; else the errors are those of SaveConfig.
func (r *Registry) Rollback(ctx context.Context, id string, to store.Revision) (store.Record, error) {
	versions, err := store.History(ctx, r.configs(), id, 0) // SaveConfig opens the secrets, and knows then that they are some
	if err != nil {
		return store.Record{}, err
	}
	for _, v := range versions {
		switch {
		case v.Revision != to:
		case v.Err != nil:
			return store.Record{}, v.Err
		case !v.Configured:
			return nothing(id), r.DeleteConfig(ctx, id)
		default:
			return r.SaveConfig(ctx, id, v.Config)
		}
	}
	return store.Record{}, fault(id, "the history", fmt.Errorf("%w at revision %q", store.ErrNotFound, string(to)))
}
