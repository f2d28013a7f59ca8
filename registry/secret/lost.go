package secret

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/store"
)

// ErrLostKey: the key file is missing, but the store has secrets that were sealed with a key. Put the file back. If it is lost for good, so
// are these secrets: write a new key into the file by hand, then save them again.
var ErrLostKey = errors.New("the key file is missing, but there are secrets sealed with a key; put the file back")

// checkUnsealed returns ErrLostKey if st has a sealed value in a config or in an earlier state.
func checkUnsealed(ctx context.Context, st store.Store) error {
	ids, err := st.Configured(ctx, "")
	if err != nil {
		return fmt.Errorf("whether there are sealed secrets cannot be told: %w", err)
	}
	for _, id := range ids {
		rec, err := st.Get(ctx, id)
		if err == nil || errors.Is(err, store.ErrNotFound) { // deleted meanwhile
			err = lostIfSealed(id, rec.Config)
		}
		if err != nil {
			return err
		}
	}
	keeper, ok := st.(store.Resealer)
	if !ok {
		return nil
	}
	kept, err := keeper.Kept(ctx)
	if err != nil {
		return fmt.Errorf("whether there are sealed secrets cannot be told: %w", err)
	}
	for _, id := range kept {
		versions, err := store.History(ctx, st, id, 0)
		if err != nil {
			return fmt.Errorf("whether there are sealed secrets cannot be told: %w", err)
		}
		for _, v := range versions {
			if err := lostIfSealed(id, v.Config); err != nil {
				return err
			}
		}
	}
	return nil
}

// lostIfSealed looks for the form in which the registry stores a sealed value, {"$secret": "…"}.
func lostIfSealed(id string, config []byte) error {
	if len(config) == 0 {
		return nil
	}
	doc, err := jsontext.ParseLenient(config)
	if err != nil {
		return fmt.Errorf("whether %s has sealed secrets cannot be told: %w", strconv.Quote(id), err)
	}
	for _, v := range doc.All() {
		if sealed := v.Member("$secret"); sealed != nil && len(v.Members) == 1 && sealed.Kind == jsontext.String {
			return fmt.Errorf("%w (%s has one)", ErrLostKey, strconv.Quote(id))
		}
	}
	return nil
}
