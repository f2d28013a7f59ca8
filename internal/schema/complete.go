package schema

import (
	"context"
	"encoding/json"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
)

// Options say what Compile knows besides the schema. The zero value is useful.
type Options struct {
	// Documents are schemas that references may name, by their URIs. Nothing else is ever read or fetched.
	Documents map[string]json.RawMessage
	// SecretMark tells whether a keyword of a schema, with its value, marks what the schema applies to as secret. The known marks count
	// without it.
	SecretMark func(keyword string, value json.RawMessage) bool
}

// Complete returns the effective config, which is config with the defaults of the schema, and the verdict on it: no issues say that it is
// valid. config is not changed.
func (s *Schema) Complete(_ context.Context, config *jsontext.Value) (effective *jsontext.Value, issues []Issue) {
	effective = s.WithDefaults(config)
	return effective, s.ValidateValue(effective)
}
