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

// Redacted is what RedactedConfig shows for a secret. Saved in a secret field, it keeps the value that is stored.
const Redacted = "**********"

// A sealed value is {"$secret": "v1:<key id>:<base64>"}. What is sealed is the JSON text of the value; the plugin ID and the JSON
// Pointer are the associated data, so that it opens nowhere else.
const (
	sealedName    = "$secret"
	sealedVersion = "v1:"
)

// sealedText returns what stands in a sealed value, and whether v is one.
func sealedText(v *jsontext.Value) (string, bool) {
	if v == nil || v.Kind != jsontext.Object || len(v.Members) != 1 || v.Members[0].Name != sealedName {
		return "", false
	}
	text := v.Members[0].Value
	return text.Text, text.Kind == jsontext.String
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
	rest, ok := strings.CutPrefix(text, sealedVersion)
	i := strings.LastIndexByte(rest, ':')
	if !ok || i < 0 {
		return nil, locked(errors.New("it is not in a form that this version knows"))
	}
	ciphertext, err := base64.StdEncoding.DecodeString(rest[i+1:])
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

// sealedBy tells whether text was sealed by the key that seals now.
func (r *Registry) sealedBy(text string) bool {
	key := r.keyID()
	return key != "" && strings.HasPrefix(text, sealedVersion+key+":")
}

// eachSealed calls f with every sealed value in v, with its pointer.
func eachSealed(v *jsontext.Value, pointer string, f func(pointer, text string, at *jsontext.Value) error) error {
	if text, ok := sealedText(v); ok {
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

// opened returns a record with the secrets in its config opened.
func (r *Registry) opened(rec store.Record) (store.Record, error) {
	if !mayHoldSealed(rec.Config) {
		return rec, nil
	}
	config, err := jsontext.Parse(rec.Config)
	if err == nil {
		err = r.openAll(rec.ID, config)
	}
	if err != nil {
		return store.Record{}, err
	}
	rec.Config = config.Append(nil)
	return rec, nil
}

// openAll opens the sealed values in config, in place.
func (r *Registry) openAll(id string, config *jsontext.Value) error {
	return eachSealed(config, "", func(pointer, text string, at *jsontext.Value) error {
		v, err := r.open(id, pointer, text)
		if err == nil {
			*at = *v
		}
		return err
	})
}

// secretsOf returns the pointers of the secret values in config. null is no secret.
func secretsOf(s *schema.Schema, config *jsontext.Value) []string {
	if s == nil || !s.HasSecrets() {
		return nil
	}
	var pointers []string
	for _, p := range s.Secrets(config) {
		if v := config.At(p); v != nil && v.Kind != jsontext.Null {
			pointers = append(pointers, p)
		}
	}
	return pointers
}

// secrets are the secret values of a config that is to be saved.
type secrets struct {
	config   *jsontext.Value // opened; nil: the config has none
	pointers []string
	stored   storedSecrets
}

// openSecrets finds the secret values of a config that is to be saved. Redacted becomes the value that is stored, and a value that is
// sealed what it holds, so that p.plain is the config as it is meant.
func (r *Registry) openSecrets(ctx context.Context, id string, state *schemaState, p *prepared) (*secrets, error) {
	var s *schema.Schema
	if state != nil && state.maySecret() {
		s = r.use(state, id)
	}
	if (s == nil || !s.HasSecrets()) && !mayHoldSealed(p.plain) {
		return &secrets{}, nil
	}
	config, err := jsontext.Parse(p.plain)
	if err != nil {
		return nil, fault(id, "the config", err)
	}
	if err := r.openAll(id, config); err != nil {
		return nil, err
	}
	found := &secrets{config: config, pointers: secretsOf(s, config), stored: storedSecrets{r: r, id: id}}
	if len(found.pointers) == 0 {
		p.plain = config.Append(nil)
		p.sealed = p.plain
		return found, nil
	}
	if err := found.stored.load(ctx); err != nil {
		return nil, err
	}
	for _, at := range found.pointers {
		v := config.At(at)
		if v.Kind != jsontext.String || v.Text != Redacted {
			continue
		}
		kept, err := found.stored.at(at)
		if err != nil {
			return nil, err
		}
		if kept == nil {
			return nil, fault(id, "the secret at "+strconv.Quote(at),
				fmt.Errorf("%w: %q stands for the stored value, and none is stored; give the value itself", store.ErrInvalidConfig, Redacted))
		}
		*v = *kept.Clone()
		if p.match == store.Any { // what is kept must be what is replaced
			p.match = found.stored.revision
		}
	}
	p.plain = config.Append(nil)
	p.sealed = p.plain
	return found, nil
}

// seal makes the form in which a config is stored. A value that is stored already keeps its ciphertext.
func (f *secrets) seal(r *Registry, id string, p *prepared) error {
	if len(f.pointers) == 0 || r.aead == nil && r.plaintext {
		return nil
	}
	if r.aead == nil {
		return fault(id, "the config", ErrNoSecretKey)
	}
	sealed := f.config.Clone()
	for _, at := range f.pointers {
		v := sealed.At(at)
		box := f.stored.same(at, v)
		if box == nil {
			var err error
			if box, err = r.seal(id, at, v); err != nil {
				return err
			}
		}
		*v = *box
	}
	p.sealed = sealed.Append(nil)
	return nil
}

// storedSecrets is the config that a new one is saved over.
type storedSecrets struct {
	r        *Registry
	id       string
	config   *jsontext.Value // nil: there is none
	revision store.Revision
}

func (st *storedSecrets) load(ctx context.Context) error {
	rec, err := st.r.st.Get(ctx, st.id)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrCorrupt): // then there is nothing to keep
		return nil
	case err != nil:
		return err
	}
	st.revision = rec.Revision
	st.config, err = jsontext.Parse(rec.Config)
	return err
}

// at returns the value that is stored at pointer, opened, or nil.
func (st *storedSecrets) at(pointer string) (*jsontext.Value, error) {
	v := st.config.At(pointer)
	if text, ok := sealedText(v); ok {
		return st.r.open(st.id, pointer, text)
	}
	return v, nil
}

// same returns the sealed form that is stored at pointer if it holds v, else nil.
func (st *storedSecrets) same(pointer string, v *jsontext.Value) *jsontext.Value {
	box := st.config.At(pointer)
	text, ok := sealedText(box)
	if !ok {
		return nil
	}
	held, err := st.r.open(st.id, pointer, text)
	if err != nil || !bytes.Equal(held.Append(nil), v.Append(nil)) {
		return nil
	}
	return box
}

// RedactedConfig returns what LoadConfig does, with Redacted in the place of every secret value: those of secret fields and those that
// are sealed. It needs no key. Saving it back keeps the secrets.
func (r *Registry) RedactedConfig(ctx context.Context, id string) (store.Record, error) {
	rec, err := r.st.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nothing(id), nil
	}
	if err != nil {
		return store.Record{}, err
	}
	config, err := jsontext.Parse(rec.Config)
	if err != nil {
		return store.Record{}, fault(id, "the config", err)
	}
	redact := func(v *jsontext.Value) { *v = jsontext.Value{Kind: jsontext.String, Text: Redacted} }
	_ = eachSealed(config, "", func(_, _ string, at *jsontext.Value) error {
		redact(at)
		return nil
	})
	if state := r.schemaState(id); state != nil && state.maySecret() {
		for _, at := range secretsOf(r.use(state, id), config) {
			redact(config.At(at))
		}
	}
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
// needs an older key. What fails is listed in the report, is left as it is, and makes the error.
func (r *Registry) RotateSecrets(ctx context.Context) (RotationReport, error) {
	report := RotationReport{Failed: map[string]error{}}
	if r.aead == nil {
		return report, fmt.Errorf("registry: rotating the secrets: %w", ErrNoSecretKey)
	}
	ids, err := r.st.Configured(ctx)
	if err != nil {
		return report, err
	}
	history, _ := r.st.(store.Resealer)
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
		return report, fmt.Errorf("registry: rotating the secrets: %d of %d plugins failed, see the report; keep the older keys", n, len(ids))
	}
	return report, nil
}

// rotate seals the secrets of one stored config anew.
func (r *Registry) rotate(ctx context.Context, id string) (changed bool, err error) {
	for {
		rec, err := r.st.Get(ctx, id)
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
		_, err = r.st.Put(ctx, id, text, rec.Revision)
		if !errors.Is(err, store.ErrConflict) {
			return err == nil, err
		}
	}
}

// reseal returns a stored config with its secrets sealed by the key that seals now.
func (r *Registry) reseal(id string, text json.RawMessage) (_ json.RawMessage, changed bool, err error) {
	var s *schema.Schema
	if state := r.schemaState(id); state != nil && state.maySecret() {
		s = r.use(state, id)
	}
	config, err := jsontext.Parse(text)
	if err != nil {
		return nil, false, err
	}
	seal := func(pointer string, held, at *jsontext.Value) error {
		box, err := r.seal(id, pointer, held)
		if err != nil {
			return err
		}
		*at, changed = *box, true
		return nil
	}
	if err := eachSealed(config, "", func(pointer, text string, at *jsontext.Value) error {
		held, err := r.open(id, pointer, text)
		if err != nil || r.sealedBy(text) {
			return err
		}
		return seal(pointer, held, at)
	}); err != nil {
		return nil, false, err
	}
	for _, pointer := range secretsOf(s, config) {
		at := config.At(pointer)
		if _, ok := sealedText(at); ok {
			continue
		}
		if err := seal(pointer, at.Clone(), at); err != nil {
			return nil, false, err
		}
	}
	if !changed {
		return text, false, nil
	}
	return config.Append(nil), true, nil
}
