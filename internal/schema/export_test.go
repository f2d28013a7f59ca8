package schema

import (
	"context"
	"errors"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
)

// Validate judges the text of a config as it is, without any defaults.
func (s *Schema) Validate(config []byte) []Issue {
	v, err := jsontext.Parse(config)
	if err != nil {
		e, _ := errors.AsType[*jsontext.Error](err)
		return []Issue{{Pointer: e.Pointer, Message: "it is not valid JSON: " + e.Reason}}
	}
	plain := &Schema{err: s.err, usable: s.usable, root: s.root, steps: s.steps, named: s.named, dynamic: s.dynamic}
	_, issues := plain.Complete(context.Background(), v)
	return issues
}

// WithDefaults is the effective config alone.
func (s *Schema) WithDefaults(config *jsontext.Value) *jsontext.Value {
	effective, _ := s.Complete(context.Background(), config)
	return effective
}
