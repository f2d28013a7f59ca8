package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/internal/schema"
	"github.com/pluginregistry/pluginregistry/store"
)

// AEAD seals secrets. The methods are those of tink's AEAD interface, so that a key kept in a KMS fits; package secret has a keyring.
// Implementations must be safe for concurrent use. One that has a method KeyID() string has that text stored beside each ciphertext,
// and RotateSecrets seals again only what another key has sealed.
type AEAD interface {
	Encrypt(plaintext, associatedData []byte) ([]byte, error)
	Decrypt(ciphertext, associatedData []byte) ([]byte, error)
}

// Redacted is what RedactedConfig shows for a secret. Saved in a secret field, it keeps the value that is stored at the same JSON Pointer.
// In a list that is the place in the list: it is refused where the list has become shorter, and where items were put into another order,
// the values are to be given themselves.
const Redacted = "**********"

// A sealed value is {"$secret": "v1:<key id>:<base64>"}. What is sealed is the JSON text of the value; the plugin ID and the JSON
// Pointer are the associated data, so that it opens nowhere else.
const (
	sealedName    = "$secret"
	sealedVersion = "v1:"
)

// sealedText returns what stands in a sealed value, and whether v is one. A field of that name that RedactedConfig has hidden is none.
func sealedText(v *jsontext.Value) (string, bool) {
	if v == nil || v.Kind != jsontext.Object || len(v.Members) != 1 || v.Members[0].Name != sealedName {
		return "", false
	}
	text := v.Members[0].Value
	return text.Text, text.Kind == jsontext.String && text.Text != Redacted
}

// mayHoldSealed tells quickly whether a config in canonical text can hold a sealed value.
func mayHoldSealed(text []byte) bool { return bytes.Contains(text, []byte(`{"`+sealedName+`":`)) }

func associatedData(id, pointer string) []byte { return []byte(id + "\x00" + pointer) }

func (r *Registry) keyID() string {
	if k, ok := r.aead.(interface{ KeyID() string }); ok {
		return k.KeyID()
	}
	return ""
}

// seal returns the sealed form of v.
func (r *Registry) seal(id, pointer string, v *jsontext.Value) (*jsontext.Value, error) {
	ciphertext, err := r.aead.Encrypt(v.Append(nil), associatedData(id, pointer))
	if err != nil {
		return nil, fault(id, "the secret at "+strconv.Quote(pointer), fmt.Errorf("sealing it failed: %w", err))
	}
	text := sealedVersion + r.keyID() + ":" + base64.StdEncoding.EncodeToString(ciphertext)
	return &jsontext.Value{Kind: jsontext.Object, Members: []jsontext.Member{
		{Name: sealedName, Value: &jsontext.Value{Kind: jsontext.String, Text: text}},
	}}, nil
}

// open returns the value that was sealed as text.
func (r *Registry) open(id, pointer, text string) (*jsontext.Value, error) {
	locked := func(err error) error {
		return fault(id, "the secret at "+strconv.Quote(pointer), fmt.Errorf("%w: %w", ErrSecretLocked, err))
	}
	if r.aead == nil {
		return nil, locked(ErrNoSecretKey)
	}
	_, rest, ok := splitSealed(text)
	if !ok {
		return nil, locked(errors.New("it is not in a form that this version knows"))
	}
	ciphertext, err := base64.StdEncoding.DecodeString(rest)
	if err != nil {
		return nil, locked(errors.New("it is no base64 text"))
	}
	plaintext, err := r.aead.Decrypt(ciphertext, associatedData(id, pointer))
	if err != nil {
		return nil, locked(err)
	}
	v, err := jsontext.Parse(plaintext)
	if err != nil {
		return nil, locked(errors.New("what it holds is no JSON value"))
	}
	return v, nil
}

// splitSealed returns the key ID and the base64 text of what stands in a sealed value.
func splitSealed(text string) (key, ciphertext string, ok bool) {
	rest, ok := strings.CutPrefix(text, sealedVersion)
	i := strings.LastIndexByte(rest, ':')
	if !ok || i < 0 {
		return "", "", false
	}
	return rest[:i], rest[i+1:], true
}

// sealedBy tells whether text was sealed by the key that seals now.
func (r *Registry) sealedBy(text string) bool {
	key, _, ok := splitSealed(text)
	return ok && key != "" && key == r.keyID()
}

// eachSealed calls f with every sealed value in v, which stands at pointer. A whole config is never sealed, even if it looks so.
func eachSealed(v *jsontext.Value, pointer string, f func(pointer, text string, at *jsontext.Value) error) error {
	if text, ok := sealedText(v); ok && pointer != "" {
		return f(pointer, text, v)
	}
	for i, item := range v.Items {
		if err := eachSealed(item, pointer+"/"+strconv.Itoa(i), f); err != nil {
			return err
		}
	}
	for _, m := range v.Members {
		if err := eachSealed(m.Value, pointer+"/"+jsontext.EscapeToken(m.Name), f); err != nil {
			return err
		}
	}
	return nil
}

// places is a set of JSON Pointers.
type places map[string]bool

// each calls f with every value in config that stands at one of the places; of two places, one in the other, with the outer one only.
func (p places) each(config *jsontext.Value, f func(pointer string, at *jsontext.Value) error) error {
	if len(p) == 0 {
		return nil
	}
	return p.walk(config, nil, f)
}

func (p places) walk(v *jsontext.Value, at []byte, f func(string, *jsontext.Value) error) error {
	if p[string(at)] {
		return f(string(at), v)
	}
	for i, item := range v.Items {
		if err := p.walk(item, strconv.AppendInt(append(at, '/'), int64(i), 10), f); err != nil {
			return err
		}
	}
	for _, m := range v.Members {
		if err := p.walk(m.Value, append(append(at, '/'), jsontext.EscapeToken(m.Name)...), f); err != nil {
			return err
		}
	}
	return nil
}

// opened returns a record with the secrets in its config opened.
func (r *Registry) opened(rec store.Record) (store.Record, error) {
	if !mayHoldSealed(rec.Config) {
		return rec, nil
	}
	config, err := jsontext.Parse(rec.Config)
	if err == nil {
		_, err = r.openAll(rec.ID, "", config)
	}
	if err != nil {
		return store.Record{}, err
	}
	rec.Config = config.Append(nil)
	return rec, nil
}

// openAll opens the sealed values in v, which stands at pointer, in place. It returns where they were, and their sealed forms.
func (r *Registry) openAll(id, pointer string, v *jsontext.Value) (map[string]*jsontext.Value, error) {
	boxes := map[string]*jsontext.Value{}
	err := eachSealed(v, pointer, func(pointer, text string, at *jsontext.Value) error {
		held, err := r.open(id, pointer, text)
		if err == nil {
			boxes[pointer] = at.Clone()
			*at = *held
		}
		return err
	})
	return boxes, err
}

// secretSchema returns the schema that tells which fields of a config are secret, or nil where none is. If that cannot be told, though
// the schema's text speaks of secrets, it is an error.
func (r *Registry) secretSchema(id string, state *schemaState) (*schema.Schema, error) {
	if state == nil || !state.maySecret() {
		return nil, nil
	}
	s := r.use(state, id)
	if s.KnowsSecrets() {
		return s, nil
	}
	if r.plaintext {
		return nil, nil
	}
	return nil, fault(id, "the config", fmt.Errorf("%w, and it seems to have secret fields that cannot be told from the others: %w; "+
		"mend the schema, or allow secrets to be stored in plain text with WithPlaintextSecrets", ErrUnusableSchema, state.reason()))
}

// secretsOf returns where config has secret values, by its schema. null is no secret.
func secretsOf(s *schema.Schema, config *jsontext.Value) places {
	secret := places{}
	if s == nil || !s.HasSecrets() {
		return secret
	}
	for _, p := range s.Secrets(config) {
		secret[p] = true
	}
	_ = secret.each(config, func(pointer string, v *jsontext.Value) error {
		if v.Kind == jsontext.Null {
			delete(secret, pointer)
		}
		return nil
	})
	return secret
}

func isRedacted(v *jsontext.Value) bool { return v.Kind == jsontext.String && v.Text == Redacted }

// secrets are the secret values of a config that is to be saved.
type secrets struct {
	config *jsontext.Value // what p.plain says, or nil if there was no need to read it
	secret places          // none: the config has none
	stored map[string]*jsontext.Value
	at     store.Revision // of what is stored
}

// openSecrets finds the secret values of a config that is to be saved: those of secret fields, and those that are given sealed. Redacted
// becomes the value that is stored, and a value that is sealed what it holds, so that p.plain is the config as it is meant.
func (r *Registry) openSecrets(ctx context.Context, id string, state *schemaState, p *prepared) (*secrets, error) {
	s, err := r.secretSchema(id, state)
	if err != nil {
		return nil, err
	}
	redacted := bytes.Contains(p.plain, []byte(`"`+Redacted+`"`))
	none := (s == nil || !s.HasSecrets()) && !mayHoldSealed(p.plain) && !redacted
	if (state == nil || state.unusable() != nil) && !r.plaintext {
		if err := r.refuseUnsealing(ctx, id, state, p); err != nil {
			return nil, err
		}
	}
	if none {
		return &secrets{}, nil
	}
	config, err := jsontext.Parse(p.plain)
	if err != nil {
		return nil, fault(id, "the config", err)
	}
	boxes, err := r.openAll(id, "", config)
	if err != nil {
		return nil, err
	}
	found := &secrets{config: config, secret: secretsOf(s, config)}
	for pointer := range boxes {
		found.secret[pointer] = true
	}
	if len(found.secret) > 0 || redacted {
		if err := found.keep(ctx, r, id, p); err != nil {
			return nil, err
		}
	}
	if len(boxes) > 0 || redacted {
		p.plain = config.Append(nil)
		p.sealed = p.plain
	}
	return found, nil
}

// refuseUnsealing is an error if the config stored for a plugin without a schema has sealed values: nothing would then tell which values
// of the next one to seal. Else p can be saved over that config only.
func (r *Registry) refuseUnsealing(ctx context.Context, id string, state *schemaState, p *prepared) error {
	rec, err := r.stored(ctx, id)
	if err != nil {
		return err
	}
	if p.match == store.Any {
		p.match = rec.Revision
	}
	if !mayHoldSealed(rec.Config) {
		return nil
	}
	config, err := jsontext.Parse(rec.Config)
	if err != nil {
		return fault(id, "the stored config", err)
	}
	reason := ErrUnknownPlugin
	if state != nil {
		reason = fmt.Errorf("%w: %w", ErrUnusableSchema, state.unusable())
	}
	return eachSealed(config, "", func(string, string, *jsontext.Value) error {
		return fault(id, "the config", fmt.Errorf("%w, and the stored config has sealed secrets: what to seal can be told only with the schema; "+
			"register the plugin with it, delete the config first, or allow secrets in plain text with WithPlaintextSecrets", reason))
	})
}

// stored returns the record that a new config is saved over. Its revision is what the save must match. One that cannot be read is as good
// as none, but it is there, and its revision is not known.
func (r *Registry) stored(ctx context.Context, id string) (store.Record, error) {
	rec, err := r.configs().Get(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nothing(id), nil
	case errors.Is(err, store.ErrCorrupt):
		rec = nothing(id)
		rec.Revision = store.Any
		return rec, nil
	}
	return rec, err
}

// keep looks up what is stored for the secrets, and puts it in the place of Redacted.
func (f *secrets) keep(ctx context.Context, r *Registry, id string, p *prepared) error {
	rec, err := r.stored(ctx, id)
	if err != nil {
		return err
	}
	f.at = rec.Revision
	config, err := jsontext.Parse(rec.Config)
	if err != nil {
		return fault(id, "the stored config", err)
	}
	// What RedactedConfig hides because it is sealed comes back as Redacted, even if today's schema does not call it secret.
	sealed := places{}
	_ = eachSealed(config, "", func(pointer, _ string, _ *jsontext.Value) error {
		sealed[pointer] = true
		return nil
	})
	_ = sealed.each(f.config, func(pointer string, v *jsontext.Value) error {
		if isRedacted(v) {
			f.secret[pointer] = true
		}
		return nil
	})
	f.stored = map[string]*jsontext.Value{}
	_ = f.secret.each(config, func(pointer string, v *jsontext.Value) error {
		f.stored[pointer] = v
		return nil
	})
	return f.secret.each(f.config, func(secret string, v *jsontext.Value) error {
		return eachRedacted(v, secret, func(pointer string, v *jsontext.Value) error {
			if p.match != store.Any && rec.Revision != store.Any && p.match != rec.Revision {
				return fault(id, "the config", &store.ConflictError{Want: p.match, Current: rec.Revision})
			}
			refuse := func(format string, args ...any) error {
				return fault(id, "the secret at "+strconv.Quote(pointer),
					fmt.Errorf("%w: %q stands for the stored value, and "+format+"; give the value itself", append([]any{store.ErrInvalidConfig, Redacted}, args...)...))
			}
			if list := shorter(f.config, config, pointer); list != nil {
				return refuse("the list at %q is shorter than the stored one, so that it cannot be told which is meant", *list)
			}
			kept := f.stored[secret]
			if kept != nil {
				kept = kept.Clone()
				if _, err := r.openAll(id, secret, kept); err != nil {
					return err
				}
				kept = kept.At(pointer[len(secret):]) // a part of it, if less was secret when the form was made
			}
			if kept == nil {
				return refuse("none is stored")
			}
			*v = *kept
			if p.match == store.Any { // what is kept must be what is replaced
				p.match = rec.Revision
			}
			return nil
		})
	})
}

// eachRedacted calls f with every Redacted in v, which stands at pointer.
func eachRedacted(v *jsontext.Value, pointer string, f func(pointer string, at *jsontext.Value) error) error {
	if isRedacted(v) {
		return f(pointer, v)
	}
	for i, item := range v.Items {
		if err := eachRedacted(item, pointer+"/"+strconv.Itoa(i), f); err != nil {
			return err
		}
	}
	for _, m := range v.Members {
		if err := eachRedacted(m.Value, pointer+"/"+jsontext.EscapeToken(m.Name), f); err != nil {
			return err
		}
	}
	return nil
}

// shorter returns the pointer of a list on the way to pointer that has fewer items in config than in stored, or nil.
func shorter(config, stored *jsontext.Value, pointer string) *string {
	for i := range len(pointer) {
		if pointer[i] != '/' {
			continue
		}
		at := pointer[:i]
		now, before := config.At(at), stored.At(at)
		if now == nil || before == nil {
			return nil
		}
		if now.Kind == jsontext.Array && before.Kind == jsontext.Array && len(now.Items) < len(before.Items) {
			return &at
		}
	}
	return nil
}

// seal makes the form in which a config is stored, out of f.config. A value that is stored already keeps its ciphertext.
func (f *secrets) seal(r *Registry, id string, p *prepared) error {
	if len(f.secret) == 0 || r.aead == nil && r.plaintext {
		return nil
	}
	if err := f.secret.each(f.config, func(pointer string, v *jsontext.Value) error {
		if v.Kind == jsontext.Null {
			return nil
		}
		if r.aead == nil {
			return fault(id, "the config", ErrNoSecretKey)
		}
		box := r.same(id, pointer, f.stored[pointer], v)
		if text, _ := sealedText(box); box != nil && p.match == store.Any && !r.sealedBy(text) {
			p.match = f.at // what a rotation seals anew meanwhile stays so
		}
		if box == nil {
			var err error
			if box, err = r.seal(id, pointer, v); err != nil {
				return err
			}
		}
		*v = *box
		return nil
	}); err != nil {
		return err
	}
	p.sealed = f.config.Append(make([]byte, 0, 2*len(p.plain)))
	return nil
}

// same returns what is stored at pointer if that is the sealed form of v, else nil.
func (r *Registry) same(id, pointer string, stored, v *jsontext.Value) *jsontext.Value {
	text, ok := sealedText(stored)
	if !ok {
		return nil
	}
	held, err := r.open(id, pointer, text)
	if err != nil || !bytes.Equal(held.Append(nil), v.Append(nil)) {
		return nil
	}
	return stored
}

// RedactedConfig returns what LoadConfig does, with Redacted in the place of every secret value: those of secret fields and those that
// are sealed. It needs no key. Saving it back keeps the secrets. The error is ErrUnusableSchema if the schema speaks of secrets, but
// which fields are secret cannot be told, or what the store says.
func (r *Registry) RedactedConfig(ctx context.Context, id string) (store.Record, error) {
	rec, err := r.configs().Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nothing(id), nil
	}
	if err != nil {
		return store.Record{}, err
	}
	s, err := r.secretSchema(id, r.schemaState(id))
	if err != nil {
		return store.Record{}, err
	}
	config, err := jsontext.Parse(rec.Config)
	if err != nil {
		return store.Record{}, fault(id, "the config", err)
	}
	redact := func(_ string, v *jsontext.Value) error {
		*v = jsontext.Value{Kind: jsontext.String, Text: Redacted}
		return nil
	}
	_ = eachSealed(config, "", func(pointer, _ string, at *jsontext.Value) error { return redact(pointer, at) })
	_ = secretsOf(s, config).each(config, redact)
	rec.Config = config.Append(nil)
	return rec, nil
}

// RotationReport tells what RotateSecrets did.
type RotationReport struct {
	Configs int              // how many configs were sealed again
	Failed  map[string]error // by plugin ID: what could not be, and was left as it is
}

// RotateSecrets seals every secret anew that another key than the newest has sealed, or that is stored in plain text in a secret field:
// in the stored configs and in their history. Then it clears what the old forms have left in the store's files. Each config is saved
// only if nobody has saved it meanwhile, else it is done again.
//
// It can be interrupted and run again, and other processes may work meanwhile. When it has returned nil, no secret of a registered plugin
// needs an older key. What fails is listed in the report, is left as it is, and makes the error. What a store has kept aside because it
// could not be read is left alone.
func (r *Registry) RotateSecrets(ctx context.Context) (RotationReport, error) {
	r.mustBeMade()
	report := RotationReport{Failed: map[string]error{}}
	if r.aead == nil {
		return report, fmt.Errorf("registry: rotating the secrets: %w", ErrNoSecretKey)
	}
	ids, err := r.configs().Configured(ctx, "")
	if err != nil {
		return report, err
	}
	history, _ := r.configs().(store.Resealer)
	past := ids
	if history != nil {
		if past, err = history.Kept(ctx); err != nil {
			return report, err
		}
	}
	failed := func(id string, err error) {
		if err != nil {
			report.Failed[id] = errors.Join(report.Failed[id], err)
		}
	}
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return report, err
		}
		changed, err := r.rotate(ctx, id)
		failed(id, err)
		if changed {
			report.Configs++
		}
	}
	if history != nil {
		for _, id := range past {
			if err := ctx.Err(); err != nil {
				return report, err
			}
			failed(id, history.RewriteHistory(ctx, id, func(v store.Version) (json.RawMessage, error) {
				text, _, err := r.reseal(id, v.Config)
				return text, err
			}))
		}
		if err := history.Scrub(ctx); err != nil {
			return report, fmt.Errorf("registry: rotating the secrets: all are sealed anew, but older forms may be left in the store's files; rotate again: %w", err)
		}
	}
	if n := len(report.Failed); n > 0 {
		return report, fmt.Errorf("registry: rotating the secrets: %d plugins failed, see the report; keep the older keys", n)
	}
	return report, nil
}

// rotate seals the secrets of one stored config anew.
func (r *Registry) rotate(ctx context.Context, id string) (changed bool, err error) {
	for {
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
		_, err = r.configs().Put(ctx, id, text, rec.Revision)
		if !errors.Is(err, store.ErrConflict) {
			return err == nil, err
		}
	}
}

// reseal returns a stored config with its secrets sealed by the key that seals now.
func (r *Registry) reseal(id string, text json.RawMessage) (_ json.RawMessage, changed bool, err error) {
	s, err := r.secretSchema(id, r.schemaState(id))
	if err != nil {
		return nil, false, err
	}
	config, err := jsontext.Parse(text)
	if err != nil {
		return nil, false, fault(id, "the stored config", err)
	}
	boxes, err := r.openAll(id, "", config)
	if err != nil {
		return nil, false, err
	}
	secret := secretsOf(s, config)
	for pointer := range boxes {
		secret[pointer] = true
	}
	if err := secret.each(config, func(pointer string, v *jsontext.Value) (err error) {
		box := boxes[pointer]
		if text, ok := sealedText(box); !ok || !r.sealedBy(text) {
			if box, err = r.seal(id, pointer, v); err != nil {
				return err
			}
			changed = true
		}
		*v = *box
		return nil
	}); err != nil || !changed {
		return text, false, err
	}
	return config.Append(nil), true, nil
}
