package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/pluginregistry/pluginregistry/store"
)

// Validate does all that SaveConfig would with a config, but stores nothing: what it accepts, SaveConfig accepts, as far as it is not the
// store that fails. Redacted and sealed values are looked up. The ID must be that of a registered plugin or an instance of one, else the
// error is ErrUnknownPlugin; the other errors are those of SaveConfig. A config whose plugin has no usable schema is valid, unless the
// registry has WithStrictSchemas or cannot tell which values are secret.
func (r *Registry) Validate(ctx context.Context, id string, config any) error {
	return failed("validate config", id, r.validate(ctx, id, config))
}

func (r *Registry) validate(ctx context.Context, id string, config any) error {
	o := r.owner(id)
	if !o.known() {
		return ErrUnknownPlugin
	}
	given, _, err := r.encode(o, config)
	if err != nil {
		return err
	}
	_, put, err := r.prepare(ctx, change{id: id, match: store.Any, given: given})
	if err != nil {
		return err
	}
	_, err = store.Canonical(put.Config) // sealing may have made it too large
	return err
}

// SecretPlaces returns JSON Pointers to the values in config that are secret by today's schema, in the order of the text; null and ""
// are among them. config is given as to SaveConfig. Nothing is read from the store. The error is ErrUnknownPlugin or ErrUnusableSchema if
// nobody can tell which values are secret, or store.ErrInvalidConfig.
func (r *Registry) SecretPlaces(id string, config any) ([]string, error) {
	o := r.owner(id)
	given, _, err := r.encode(o, config)
	if err != nil {
		return nil, failed("secret places", id, err)
	}
	s, err := r.marks(o)
	if err != nil || s == nil {
		return nil, failed("secret places", id, err)
	}
	return s.Secrets(given), nil
}

// EffectiveConfig returns what LoadConfig does, with the defaults of the plugin's schema added: those of nested objects, through local
// $ref and allOf, and of the items that arrays have; not those of oneOf, anyOf and if branches, as nobody knows which one counts. A default
// that would make the config invalid is left out. Only what was saved is stored, so a new default reaches every config.
//
// The config need not fit the schema; ConfigAs and Check judge it. With HideSecrets, secrets that no key opens count as they are
// hidden for the defaults.
func (r *Registry) EffectiveConfig(ctx context.Context, id string, opts ...ReadOption) (store.Record, error) {
	rec, err := r.effective(ctx, id, hides(opts))
	return rec, failed("effective config", id, err)
}

func (r *Registry) effective(ctx context.Context, id string, hide bool) (store.Record, error) {
	o := r.owner(id)
	if !o.known() {
		return r.load(ctx, id, hide)
	}
	was, err := r.read(ctx, o)
	if err == nil && !hide {
		err = was.whole()
	}
	if err != nil {
		return store.Record{}, err
	}
	config, _, err := r.complete(ctx, o, was.opened)
	if err != nil {
		return store.Record{}, err
	}
	if hide {
		config = r.hide(o, sealedAgain(was).in(config), was.Revision)
	}
	was.Config = config.Append(make([]byte, 0, 2*len(was.Config)))
	return was.Record, nil
}

// sealedAgain returns the edits that put what was opened back into its boxes.
func sealedAgain(was stored) edits {
	back := edits{}
	for pointer, b := range was.boxes {
		back[pointer] = b.sealed
	}
	return back
}

// Check judges what is stored under id by today's schema: after an upgrade it may no longer fit. It only looks. Nothing stored is nil.
// Errors: ErrUnknownPlugin, *ValidationError, ErrUnusableSchema with WithStrictSchemas, and those of LoadConfig.
func (r *Registry) Check(ctx context.Context, id string) error {
	o := r.owner(id)
	if !o.known() {
		return failed("check", id, ErrUnknownPlugin)
	}
	was, err := r.read(ctx, o)
	if err == nil {
		err = r.fits(ctx, o, was)
	}
	return failed("check", id, err)
}

// fits returns the verdict on a stored config.
func (r *Registry) fits(ctx context.Context, o owner, was stored) error {
	if was.Revision == store.Absent {
		return nil
	}
	if err := was.whole(); err != nil {
		return err
	}
	_, issues, err := r.complete(ctx, o, was.opened)
	if err != nil {
		return err
	}
	return r.judge(o, issues, was.unnamed)
}

// Migrate checks what is stored under id, and if it does not fit today's schema and the plugin's manager is a Migrator, it asks the manager
// for the config in today's form and saves that, as SaveConfig would. Secrets stay secret, whatever their names are in the new form. If
// somebody else saves meanwhile, it begins again.
//
// Errors: those of Check. A migration that fails leaves the config as it was; its error is joined to the *ValidationError. The manager's
// own error is passed on and must show no value.
func (r *Registry) Migrate(ctx context.Context, id string) error {
	return failed("migrate", id, r.migrate(ctx, id))
}

func (r *Registry) migrate(ctx context.Context, id string) error {
	if !r.owner(id).known() {
		return ErrUnknownPlugin
	}
	fine := errors.New("nothing is to be done")
	var misfit error
	_, err := r.save(ctx, change{id: id, match: store.Any, edits: true, make: func(o owner, was stored) (draft, error) {
		if misfit = r.fits(ctx, o, was); misfit == nil {
			return draft{}, fine
		}
		m, ok := o.manager.(Migrator)
		if _, invalid := errors.AsType[*ValidationError](misfit); !ok || !invalid {
			return draft{}, fine
		}
		text, err := askMigrator(ctx, m, o.name, was.opened.Append(nil))
		if err != nil {
			return draft{}, err
		}
		config, _, err := r.encode(o, text)
		return draft{config: config}, err
	}})
	if err == nil || err == fine {
		if err == fine {
			return misfit
		}
		return nil
	}
	if misfit == nil {
		return err
	}
	return errors.Join(misfit, fmt.Errorf("migrating it: %w", err))
}

// askMigrator calls MigrateConfig and takes a panic for an error.
func askMigrator(ctx context.Context, m Migrator, name string, old json.RawMessage) (config json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil { // its text may quote the config
			config, err = nil, fmt.Errorf("the manager panicked with a %T", p)
		}
	}()
	return m.MigrateConfig(ctx, name, old)
}

// CheckAll checks every plugin that is registered when it begins, in the order of Plugins, and after each plugin its instances that have
// a config. It yields each config ID with what Check returns. One error does not keep the others from being checked. It ends when ctx
// does, with the context's error beside the ID that was next. If the store cannot list its configs, the error is yielded first, beside
// the ID "", and instances are left out.
func (r *Registry) CheckAll(ctx context.Context) iter.Seq2[string, error] {
	return r.each(ctx, "check", r.Check)
}

// MigrateAll migrates what CheckAll checks, and yields each config ID with what Migrate returns.
func (r *Registry) MigrateAll(ctx context.Context) iter.Seq2[string, error] {
	return r.each(ctx, "migrate", r.Migrate)
}

// each yields what do returns for every plugin and every configured instance.
func (r *Registry) each(ctx context.Context, op string, do func(context.Context, string) error) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		plugins := r.Plugins()
		stored, err := r.configs().Configured(ctx, "")
		if err != nil && ctx.Err() == nil && !yield("", failed(op, "", err)) {
			return
		}
		instances := map[string][]string{} // by plugin ID
		for _, id := range stored {
			if pluginID, instance, ok := r.SplitConfigID(id); ok && instance != "" {
				instances[pluginID] = append(instances[pluginID], id)
			}
		}
		for _, p := range plugins {
			for _, id := range slices.Concat([]string{p.ID()}, instances[p.ID()]) {
				if err := ctx.Err(); err != nil {
					yield(id, failed(op, id, err))
					return
				}
				if !yield(id, do(ctx, id)) {
					return
				}
			}
		}
	}
}

// CheckSchemas compiles the schemas of all plugins, which otherwise happens at their first use, and yields each plugin ID with nil, or
// with why its schema cannot be used or which parts of it are not enforced. It ends when ctx does, with the context's error beside the ID
// that was next.
func (r *Registry) CheckSchemas(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, p := range r.Plugins() {
			id := p.ID()
			if err := ctx.Err(); err != nil {
				yield(id, failed("check schema", id, err))
				return
			}
			o := r.owner(id)
			if !o.known() { // it is no longer registered
				continue
			}
			r.use(o.schema, id)
			if !yield(id, failed("check schema", id, o.schema.reason())) {
				return
			}
		}
	}
}
