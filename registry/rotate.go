package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pluginregistry/pluginregistry/store"
)

// CheckSecrets opens every sealed value of every stored config, and returns an error that names each config of which one cannot be opened,
// joined: ErrSecretLocked, and ErrNoSecretKey if the registry has no key. Call it at the start, after the managers are registered: a
// lost key is found before a plugin needs it. It only looks, and not into the history.
func (r *Registry) CheckSecrets(ctx context.Context) error {
	ids, err := r.configs().Configured(ctx, "")
	if err != nil {
		return failed("check secrets", "", err)
	}
	var errs []error
	for _, id := range ids {
		rec, err := r.get(ctx, id)
		if err == nil && mayHoldSealed(rec.Config) {
			var was stored
			if was, err = r.parse(r.owner(id), rec); err == nil {
				err = was.whole()
			}
		}
		if ctx.Err() != nil {
			return failed("check secrets", "", ctx.Err())
		}
		if err != nil {
			errs = append(errs, failed("check secrets", id, err))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return failed("check secrets", "", errors.Join(errs...))
}

// RotationReport tells what RotateSecrets did.
type RotationReport struct {
	Configs int              // how many configs were sealed again
	Failed  map[string]error // by config ID: what could not be sealed again, and is as it was
}

// RotateSecrets seals every secret anew that another key than the newest has sealed, or that is stored in plain text in a secret field:
// in the stored configs, those of instances too, and in their history. Then it clears what the old forms have left in the store's files.
// Each config is saved only if nobody has saved it meanwhile, else it is done again. A config keeps its author.
//
// It can be interrupted and run again, and other processes may work meanwhile. Give every process both keys first: a process that has only
// the old one seals with it. When it has returned nil after that, no secret of a registered plugin needs an older key. Configs that fail
// are unchanged, listed in Failed, and make RotateSecrets return an error. What a store has kept aside because it could not be read is
// left alone.
func (r *Registry) RotateSecrets(ctx context.Context) (RotationReport, error) {
	report := RotationReport{Failed: map[string]error{}}
	return report, failed("rotate secrets", "", r.rotateAll(ctx, &report))
}

func (r *Registry) rotateAll(ctx context.Context, report *RotationReport) error {
	ids, err := r.configs().Configured(ctx, "")
	if err != nil {
		return err
	}
	if r.aead == nil {
		return ErrNoSecretKey
	}
	history, _ := r.configs().(store.Resealer)
	past := ids
	if history != nil {
		if past, err = history.Kept(ctx); err != nil {
			return err
		}
	}
	note := func(id string, err error) {
		if err != nil {
			report.Failed[id] = errors.Join(report.Failed[id], failed("rotate secrets", id, err))
		}
	}
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return err
		}
		changed, err := r.rotate(ctx, id)
		note(id, err)
		if changed {
			report.Configs++
		}
	}
	if history != nil {
		for _, id := range past {
			if err := ctx.Err(); err != nil {
				return err
			}
			note(id, r.rotateHistory(ctx, history, id))
		}
		if err := history.Scrub(ctx); err != nil {
			return fmt.Errorf("all are sealed anew, but older forms may be left in the store's files; rotate again: %w", err)
		}
	}
	if n := len(report.Failed); n > 0 {
		return fmt.Errorf("%d configs failed, see the report; keep the older keys", n)
	}
	return nil
}

// rotate seals the secrets of one stored config anew.
func (r *Registry) rotate(ctx context.Context, id string) (changed bool, err error) {
	for try := 0; ; try++ {
		rec, err := r.configs().Get(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		text, changed, err := r.reseal(id, rec.Config)
		if err != nil || !changed {
			return false, err
		}
		_, err = r.configs().Put(r.asAuthor(ctx, id), id, text, rec.Revision)
		if !errors.Is(err, store.ErrConflict) {
			return err == nil, err
		}
		if err := pause(ctx, try); err != nil {
			return false, err
		}
	}
}

// asAuthor returns ctx with the author of the stored config of id, if that is known.
func (r *Registry) asAuthor(ctx context.Context, id string) context.Context {
	if versions, err := store.History(ctx, r.configs(), id, 1); err == nil && len(versions) == 1 {
		return store.WithAuthor(ctx, versions[0].Author)
	}
	return ctx
}

// rotateHistory seals the secrets in the history of one config anew.
func (r *Registry) rotateHistory(ctx context.Context, history store.Resealer, id string) error {
	return history.RewriteHistory(ctx, id, func(v store.Version) (json.RawMessage, error) {
		text, _, err := r.reseal(id, v.Config)
		return text, err
	})
}

// reseal returns a stored config with its secrets sealed by the key that seals now.
func (r *Registry) reseal(id string, config json.RawMessage) (_ json.RawMessage, changed bool, err error) {
	o := r.owner(id)
	was, err := r.parse(o, store.Record{ID: id, Config: config})
	if err == nil {
		err = was.whole()
	}
	if err != nil {
		return nil, false, err
	}
	secret := places{} // what is sealed, and what is marked by the schema if that can tell
	for pointer := range was.boxes {
		secret[pointer] = true
	}
	s, err := r.marks(o)
	if err != nil && r.speaksOfSecrets(o) && !r.plaintext {
		return nil, false, r.refuseUnknown(o, err, was)
	}
	for pointer := range marked(s, was.sealed) {
		if v := was.sealed.At(pointer); !isEmpty(v) {
			secret[pointer] = true
		}
	}
	sealed := edits{}
	for _, pointer := range sorted(secret) {
		if outer, _ := secret.cover(pointer); outer != pointer {
			continue
		}
		b, ok := was.boxes[pointer]
		if ok && r.byNewestKey(b.sealed) {
			continue
		}
		changed = true
		if !ok {
			for b.binding = range o.bindings() {
				break
			}
		}
		if sealed[pointer], err = r.seal(b.binding, pointer, was.opened.At(pointer)); err != nil {
			return nil, false, err
		}
	}
	if !changed {
		return config, false, nil
	}
	return sealed.in(was.sealed).Append(nil), true, nil
}
