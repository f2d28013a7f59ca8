package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/internal/schema"
	"github.com/pluginregistry/pluginregistry/store"
)

// Validate checks a config as SaveConfig would, and stores nothing. Redacted in a secret field is taken for valid, as what is stored in its
// place is not looked up. The plugin must be registered, else the error is ErrUnknownPlugin. A config whose plugin has no usable schema is
// valid, unless the registry has WithStrictSchemas. The error is a *ValidationError with every issue, store.ErrInvalidConfig,
// ErrUnusableSchema, or ErrSecretLocked for a value that is given sealed. Whether a secret can be sealed is not checked.
func (r *Registry) Validate(id string, config any) error {
	c, n := r.snapshot().find(id)
	if c == nil {
		return fault(id, "validating the config", ErrUnknownPlugin)
	}
	s := c.schemas[n]
	text, err := encode(id, config)
	if err != nil {
		return err
	}
	if !mayHoldSealed(text) && !bytes.Contains(text, []byte(`"`+Redacted+`"`)) {
		return r.validate(id, s, text, nil)
	}
	given, err := jsontext.Parse(text)
	if err != nil {
		return fault(id, "the config", err)
	}
	if _, err := r.openAll(id, "", given); err != nil {
		return err
	}
	return r.exceptRedacted(s, given, r.validate(id, s, text, given))
}

// ofTheWhole are keywords whose issue may come from a part of the value.
var ofTheWhole = []string{"anyOf", "oneOf", "not", "contains", "uniqueItems", "enum", "const"}

// exceptRedacted leaves out what validate says of Redacted in secret fields: SaveConfig checks the stored values in its place.
func (r *Registry) exceptRedacted(s *schemaState, config *jsontext.Value, err error) error {
	invalid, ok := errors.AsType[*ValidationError](err)
	if !ok {
		return err
	}
	hidden, holders := places{}, places{}
	_ = secretsOf(r.use(s, invalid.ID), config).each(config, func(pointer string, v *jsontext.Value) error {
		return eachRedacted(v, pointer, func(pointer string, _ *jsontext.Value) error {
			hidden[pointer] = true
			for i := range len(pointer) {
				if pointer[i] == '/' {
					holders[pointer[:i]] = true
				}
			}
			return nil
		})
	})
	invalid.Issues = slices.DeleteFunc(invalid.Issues, func(i Issue) bool {
		return hidden[i.Pointer] || holders[i.Pointer] && slices.Contains(ofTheWhole, i.Keyword)
	})
	if len(invalid.Issues) == 0 {
		return nil
	}
	return invalid
}

// validate checks a config in canonical text, secrets open, against the schema s of id. config is the text read, or nil if it was not.
func (r *Registry) validate(id string, s *schemaState, text json.RawMessage, config *jsontext.Value) error {
	if r.withoutChecking || s == nil {
		return nil
	}
	compiled := r.use(s, id)
	if !compiled.Usable() {
		if r.strict {
			return fault(id, "the config", fmt.Errorf("%w: %w", ErrUnusableSchema, s.reason()))
		}
		return nil
	}
	var found []schema.Issue
	if config == nil {
		found = compiled.Validate(text)
	} else {
		found = compiled.ValidateValue(config)
	}
	if len(found) == 0 {
		return nil
	}
	issues := make([]Issue, len(found))
	for i, f := range found {
		issues[i] = Issue(f)
	}
	return &ValidationError{ID: id, Issues: issues}
}

// Check validates what is stored for a plugin against today's schema: after an upgrade it may no longer fit. Nothing stored is nil. The
// errors are those of LoadConfig and Validate.
//
// If it does not fit and the plugin's manager is a Migrator, the manager is asked for the config in today's form; that is validated and
// saved, if nobody has saved meanwhile, and Check then returns nil. A migration that fails leaves the config as it was and is reported
// beside the *ValidationError, the manager's own error as it is: it must show no value.
func (r *Registry) Check(ctx context.Context, id string) error {
	for {
		c, n := r.snapshot().find(id)
		if c == nil {
			return fault(id, "checking the config", ErrUnknownPlugin)
		}
		rec, err := r.LoadConfig(ctx, id)
		if err != nil || rec.Revision == store.Absent {
			return err
		}
		misfit := r.validate(id, c.schemas[n], rec.Config, nil)
		m, ok := c.manager.(Migrator)
		if misfit == nil || !ok || !errors.As(misfit, new(*ValidationError)) {
			return misfit
		}
		config, err := migrate(ctx, m, c.plugins[n].Name, rec.Config)
		if err == nil {
			_, err = r.SaveConfig(ctx, id, config, IfRevision(rec.Revision))
			if errors.Is(err, store.ErrConflict) {
				continue
			}
		}
		if err != nil {
			return errors.Join(misfit, fault(id, "migrating the config", err))
		}
		return nil
	}
}

// migrate calls MigrateConfig and takes a panic for an error.
func migrate(ctx context.Context, m Migrator, name string, old json.RawMessage) (config json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil { // its text may quote the config
			config, err = nil, fmt.Errorf("the manager panicked with a %T", p)
		}
	}()
	return m.MigrateConfig(ctx, name, old)
}

// CheckAll checks every plugin that is registered when it begins, in the order of Plugins, and yields each ID with what Check returns.
// One plugin's error does not keep the others from being checked. It ends when ctx does, with the context's error beside the ID that
// was next.
func (r *Registry) CheckAll(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, c := range r.snapshot().all() {
			for n := range c.plugins {
				id := c.plugins[n].ID()
				if err := ctx.Err(); err != nil {
					yield(id, err)
					return
				}
				if !yield(id, r.Check(ctx, id)) {
					return
				}
			}
		}
	}
}

// EffectiveConfig returns what LoadConfig does, laid over the defaults of the plugin's schema: those of nested objects, through local
// $ref and allOf, and of the items that arrays have; not those of oneOf, anyOf and if branches, as it is not told which one counts. A
// default that breaks its own schema is left out. Only what was saved is stored, so a new default reaches every config.
func (r *Registry) EffectiveConfig(ctx context.Context, id string) (store.Record, error) {
	rec, _, err := r.effective(ctx, id, r.schemaState(id))
	return rec, err
}

// effective returns the effective config by the schema s of id, and as it is read; nil where it need not be.
func (r *Registry) effective(ctx context.Context, id string, s *schemaState) (store.Record, *jsontext.Value, error) {
	rec, err := r.LoadConfig(ctx, id)
	if err != nil || s == nil {
		return rec, nil, err
	}
	config, err := jsontext.Parse(rec.Config)
	if err != nil {
		return store.Record{}, nil, fault(id, "the config", err)
	}
	config = r.use(s, id).WithDefaults(config)
	rec.Config = config.Append(make([]byte, 0, 2*len(rec.Config)))
	return rec, config, nil
}
