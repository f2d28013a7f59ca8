package settings

import (
	"context"
	"errors"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
)

// load returns what is stored, secrets hidden.
func (h *Handler) load(ctx context.Context, id string) (store.Record, error) {
	return h.reg.RedactedConfig(ctx, id)
}

// secrets returns the places of a document that are secret.
func (h *Handler) secrets(t target, doc *jsontext.Value) (map[string]bool, error) {
	secret := map[string]bool{}
	places, err := h.reg.SecretPlaces(t.ID, doc.Append(nil))
	if errors.Is(err, registry.ErrUnusableSchema) { // nobody knows, so everything may be one
		for at, v := range doc.All() {
			if v.Kind == jsontext.String || v.Kind == jsontext.Number {
				secret[at.Pointer()] = true
			}
		}
		return secret, nil
	}
	if err != nil {
		return nil, err
	}
	for _, p := range places {
		secret[p] = true
	}
	return secret, nil
}
