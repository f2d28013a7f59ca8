package registry_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/secret"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/jsonfile"
	"github.com/pluginregistry/pluginregistry/store/memory"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
)

// ring returns a keyring, its keys made of the given bytes, newest first.
func ring(t testing.TB, keys ...byte) *secret.Keyring {
	t.Helper()
	var raw [][]byte
	for _, b := range keys {
		raw = append(raw, bytes.Repeat([]byte{b}, secret.KeySize))
	}
	k, err := secret.New(raw...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// box is an AEAD made of functions. It has no KeyID, as those of tink.
type box struct {
	encrypt, decrypt func(text, associatedData []byte) ([]byte, error)
}

func (b box) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	return b.encrypt(plaintext, associatedData)
}
func (b box) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	return b.decrypt(ciphertext, associatedData)
}

// stored returns the text that st has under an ID.
func stored(t testing.TB, st store.Store, id string) string {
	t.Helper()
	rec, err := st.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return string(rec.Config)
}

// put stores a config past the registry.
func put(t testing.TB, st store.Store, id, config string) {
	t.Helper()
	if _, err := st.Put(t.Context(), id, json.RawMessage(config), store.Any); err != nil {
		t.Fatal(err)
	}
}

// redacted returns the config as a form shows it.
func redacted(t testing.TB, reg *registry.Registry, id string) string {
	t.Helper()
	rec, err := reg.RedactedConfig(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return string(rec.Config)
}

// sealedValue is how a secret looks in a store.
var sealedValue = regexp.MustCompile(`\{"\$secret":"v1:[0-9a-f]{8}:[A-Za-z0-9+/]+=*"\}`)

const keySchema = `{"properties": {"key": {"type": "string", "writeOnly": true}, "host": {"type": "string"}}}`

// suffix is what follows Redacted in a list.
var suffix = regexp.MustCompile(`@[0-9a-f]+/[^"]*`)

// hidden stands for Redacted in the tables.
const hidden = `"` + registry.Redacted + `"`

// A schema that is nested too deep for anybody to tell what is secret stores nothing.
func TestUnreadableMarks(t *testing.T) {
	st := memory.New()
	reg := registry.New(st, registry.WithSecrets(ring(t, 1)))
	register(t, reg, "c", giving(strings.Repeat(`{"not":`, 300)+`{}`+strings.Repeat("}", 299)+`, "properties": {"a": {"writeOnly": true}}}`, "p"))
	if _, err := reg.SaveConfig(t.Context(), "c_p", json.RawMessage(`{"a":"S"}`)); !errors.Is(err, registry.ErrUnusableSchema) {
		t.Errorf("saved: %v", err)
	}
	if _, err := st.Get(t.Context(), "c_p"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("something is stored: %v", err)
	}
}

func TestWhatIsSecret(t *testing.T) {
	for name, test := range map[string]struct{ schema, config, want string }{ // want: with $ for each secret
		"writeOnly":         {`{"properties": {"a": {"writeOnly": true}}}`, `{"a":"S","b":1}`, `{"a":$,"b":1}`},
		"format":            {`{"properties": {"a": {"format": "password"}}}`, `{"a":"S"}`, `{"a":$}`},
		"format, capitals":  {`{"properties": {"a": {"format": "Password"}}}`, `{"a":"S"}`, `{"a":$}`},
		"x-secret":          {`{"properties": {"a": {"x-secret": true}}}`, `{"a":"S"}`, `{"a":$}`},
		"airbyte_secret":    {`{"properties": {"a": {"airbyte_secret": true}}}`, `{"a":"S"}`, `{"a":$}`},
		"escaped keyword":   {`{"properties": {"a": {"write\u004fnly": true}}}`, `{"a":"S"}`, `{"a":$}`},
		"not true":          {`{"properties": {"a": {"writeOnly": false, "x-secret": false}}}`, `{"a":"S"}`, `{"a":"S"}`},
		"only a name":       {`{"properties": {"secret": {"type": "string"}, "password": {}}}`, `{"secret":"S","password":"S"}`, `{"secret":"S","password":"S"}`},
		"$ref":              {`{"properties": {"a": {"$ref": "#/definitions/k"}}, "definitions": {"k": {"writeOnly": true}}}`, `{"a":"S"}`, `{"a":$}`},
		"$ref to the root":  {`{"properties": {"k": {"writeOnly": true}, "o": {"$ref": "#"}}}`, `{"o":{"o":{"k":"S"}}}`, `{"o":{"o":{"k":$}}}`},
		"allOf":             {`{"allOf": [{"properties": {"a": {"allOf": [{"writeOnly": true}]}}}]}`, `{"a":"S"}`, `{"a":$}`},
		"anyOf":             {`{"anyOf": [{"properties": {"a": {"type": "integer"}}}, {"properties": {"a": {"writeOnly": true}}}]}`, `{"a":"S"}`, `{"a":$}`},
		"oneOf":             {`{"properties": {"auth": {"oneOf": [{"required": ["t"]}, {"required": ["p"], "properties": {"p": {"writeOnly": true}}}]}}}`, `{"auth":{"p":"S"}}`, `{"auth":{"p":$}}`},
		"patternProperties": {`{"patternProperties": {"_key$": {"x-secret": true}}}`, `{"a_key":"S","a":"S"}`, `{"a_key":$,"a":"S"}`},
		"additionalProperties": {`{"properties": {"env": {"properties": {"HOME": {}}, "additionalProperties": {"writeOnly": true}}}}`,
			`{"env":{"HOME":"S","A/B~":"S"}}`, `{"env":{"HOME":"S","A/B~":$}}`},
		"items":               {`{"properties": {"l": {"items": {"properties": {"k": {"writeOnly": true}}}}}}`, `{"l":[{"k":"S"},{"u":"S"},{"k":"S2"}]}`, `{"l":[{"k":$},{"u":"S"},{"k":$}]}`},
		"items themselves":    {`{"properties": {"l": {"items": {"writeOnly": true}}}}`, `{"l":["S","S2"]}`, `{"l":[$,$]}`},
		"nested":              {`{"properties": {"a": {"properties": {"b": {"properties": {"c": {"writeOnly": true}}}}}}}`, `{"a":{"b":{"c":"S","d":"S"}}}`, `{"a":{"b":{"c":$,"d":"S"}}}`},
		"bare map":            {`{"token": {"type": "string", "x-secret": true}, "n": {"type": "integer"}}`, `{"token":"S","n":1}`, `{"token":$,"n":1}`},
		"a number":            {`{"properties": {"pin": {"type": "integer", "writeOnly": true}}}`, `{"pin":1234567.0}`, `{"pin":$}`},
		"an object":           {`{"properties": {"a": {"writeOnly": true, "properties": {"b": {"writeOnly": true}}}}}`, `{"a":{"b":"S","c":[1]}}`, `{"a":$}`},
		"an array":            {`{"properties": {"a": {"writeOnly": true}}}`, `{"a":["S",null]}`, `{"a":$}`},
		"a boolean":           {`{"properties": {"a": {"writeOnly": true}}}`, `{"a":false}`, `{"a":$}`},
		"empty":               {`{"properties": {"a": {"writeOnly": true}}}`, `{"a":""}`, `{"a":""}`},
		"null":                {`{"properties": {"a": {"writeOnly": true}}}`, `{"a":null}`, `{"a":null}`},
		"absent":              {`{"properties": {"a": {"writeOnly": true}}}`, `{"b":1}`, `{"b":1}`},
		"the whole config":    {`{"writeOnly": true}`, `{"a":"S","b":{"c":1}}`, `{"a":$,"b":$}`},
		"a member $secret":    {`{"properties": {"$secret": {"writeOnly": true}}}`, `{"$secret":"S"}`, `{"$secret":$}`},
		"a pattern RE2 lacks": {`{"properties": {"a": {"writeOnly": true, "pattern": "(?!x)"}}}`, `{"a":"S"}`, `{"a":$}`},
	} {
		t.Run(name, func(t *testing.T) {
			st := memory.New()
			reg := registry.New(st, registry.WithSecrets(ring(t, 1)))
			register(t, reg, "c", giving(test.schema, "p"))
			saved := save(t, reg, "c_p", json.RawMessage(test.config))
			inStore := stored(t, st, "c_p")
			if got := sealedValue.ReplaceAllString(inStore, "$"); got != test.want {
				t.Errorf("stored is %s, want %s", got, test.want)
			}
			if got := load(t, reg, "c_p").Config; string(got) != test.config || string(saved.Config) != test.config {
				t.Errorf("loaded %s, SaveConfig returned %s, want %s", got, saved.Config, test.config)
			}
			form := redacted(t, reg, "c_p")
			if want := strings.ReplaceAll(test.want, "$", hidden); suffix.ReplaceAllString(form, "") != want && name != "a member $secret" || form == test.config && strings.Contains(test.want, ":$") {
				t.Errorf("redacted %s, want %s", form, want)
			}
			// Saving the same, as it is or redacted, writes nothing.
			for _, again := range []string{test.config, form, inStore} {
				if rec := save(t, reg, "c_p", json.RawMessage(again)); rec.Revision != saved.Revision || string(rec.Config) != test.config {
					t.Errorf("saving %s again made %v: %s", again, rec, rec.Config)
				}
			}
		})
	}
}

// What is sealed is the JSON text of the value, for its plugin ID and JSON Pointer.
func TestSealedForm(t *testing.T) {
	st, keys := memory.New(), ring(t, 1)
	reg := registry.New(st, registry.WithSecrets(keys))
	register(t, reg, "c", giving(`{"properties": {"a/b": {"items": {"writeOnly": true}}}}`, "p"))
	save(t, reg, "c_p", json.RawMessage(`{"a/b":[ "x\u00e9", {"n": 1.0} ],"host":"here"}`))
	var config struct {
		List []map[string]string `json:"a/b"`
		Host string              `json:"host"`
	}
	if err := json.Unmarshal([]byte(stored(t, st, "c_p")), &config); err != nil || config.Host != "here" {
		t.Fatalf("stored is %+v, %v", config, err)
	}
	for i, want := range []string{`"xé"`, `{"n":1.0}`} {
		text, ok := strings.CutPrefix(config.List[i]["$secret"], "v1:"+keys.KeyID()+":")
		ciphertext, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil {
			t.Fatalf("stored is %v, %v", config.List[i], err)
		}
		if got, err := keys.Decrypt(ciphertext, []byte(fmt.Sprintf("c\x00p\x00\x00/a~1b/%d", i))); err != nil || string(got) != want {
			t.Errorf("sealed is %s, %v, want %s", got, err, want)
		}
	}
}

func TestNoKey(t *testing.T) {
	reg := newPlugin(t, keySchema)
	err := saveRaw(t, reg, `{"key":"hunter2"}`)
	_, all := reg.SaveConfigs(t.Context(), map[string]any{"c_p": map[string]any{"key": "hunter2"}})
	for _, err := range []error{err, all} {
		if !errors.Is(err, registry.ErrNoSecretKey) || !strings.Contains(err.Error(), "WithSecrets") || !strings.Contains(err.Error(), "WithPlaintextSecrets") ||
			!strings.Contains(err.Error(), `"c_p"`) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("saving a secret without a key: %v", err)
		}
	}
	if isConfigured(t, reg, "c_p") {
		t.Error("it was saved")
	}
	if err := errors.Join(saveRaw(t, reg, `{"host":"x"}`), saveRaw(t, newPlugin(t, `{"properties": {"key": {"writeOnly": true}}}`), `{"key":null}`)); err != nil {
		t.Errorf("saving without secrets: %v", err)
	}
	if _, err := reg.RotateSecrets(t.Context()); !errors.Is(err, registry.ErrNoSecretKey) {
		t.Errorf("rotating without a key: %v", err)
	}

	st := memory.New()
	reg = registry.New(st, registry.WithPlaintextSecrets())
	register(t, reg, "c", giving(keySchema, "p"))
	save(t, reg, "c_p", json.RawMessage(`{"key":"k","host":"x"}`))
	if got := stored(t, st, "c_p"); got != `{"key":"k","host":"x"}` {
		t.Errorf("with WithPlaintextSecrets stored is %s", got)
	}
	if got := redacted(t, reg, "c_p"); got != `{"key":`+hidden+`,"host":"x"}` {
		t.Errorf("redacted is %s", got)
	}
	save(t, reg, "c_p", json.RawMessage(`{"key":`+hidden+`,"host":"y"}`))
	if got := stored(t, st, "c_p"); got != `{"key":"k","host":"y"}` {
		t.Errorf("with WithPlaintextSecrets a saved form is stored as %s", got)
	}

	// What an older version stored in plain text loads, and is sealed by the next save, even of the same.
	reg = registry.New(st, registry.WithPlaintextSecrets(), registry.WithSecrets(ring(t, 1)))
	register(t, reg, "c", giving(keySchema, "p"))
	rec := load(t, reg, "c_p")
	save(t, reg, "c_p", rec.Config)
	if got := sealedValue.ReplaceAllString(stored(t, st, "c_p"), "$"); string(rec.Config) != `{"key":"k","host":"y"}` || got != `{"key":$,"host":"y"}` {
		t.Errorf("loaded %s, then stored %s", rec.Config, got)
	}
}

func TestMovedCiphertextDoesNotOpen(t *testing.T) {
	st := memory.New()
	reg := registry.New(st, registry.WithSecrets(ring(t, 1)))
	register(t, reg, "c", giving(`{"properties": {"a": {"writeOnly": true}, "b": {"writeOnly": true}}}`, "p", "q"))
	save(t, reg, "c_p", json.RawMessage(`{"a":"hunter2"}`))
	was := stored(t, st, "c_p")
	for name, test := range map[string]struct{ id, config string }{
		"another ID":      {"c_q", was},
		"another pointer": {"c_p", strings.Replace(was, `"a"`, `"b"`, 1)},
		"cut off":         {"c_p", was[:len(was)-11] + `"}}`},
		"another version": {"c_p", strings.Replace(was, "v1:", "v2:", 1)},
		"no base64":       {"c_p", `{"a":{"$secret":"v1:x:?"}}`},
		"no key ID":       {"c_p", `{"a":{"$secret":"v1:AAAA"}}`},
	} {
		put(t, st, test.id, test.config)
		rec, err := reg.LoadConfig(t.Context(), test.id)
		_, effective := reg.EffectiveConfig(t.Context(), test.id)
		_, typed := registry.ConfigAs[map[string]any](t.Context(), reg, test.id)
		_, update := reg.UpdateConfig(t.Context(), test.id, func(store.Record) (any, error) { t.Error("edit is called"); return nil, nil })
		for _, err := range []error{err, effective, typed, update, reg.Check(t.Context(), test.id)} {
			if !errors.Is(err, registry.ErrSecretLocked) || !strings.Contains(err.Error(), strconv.Quote(test.id)) || rec.Config != nil {
				t.Errorf("%s: %s, %v", name, rec.Config, err)
			}
		}
		// A form can still be shown, and a new value given.
		if got := redacted(t, reg, test.id); strings.Count(got, hidden) != 1 || strings.Contains(got, "$secret") {
			t.Errorf("%s: redacted is %s", name, got)
		}
		save(t, reg, test.id, json.RawMessage(`{"a":"new"}`))
	}
}

func TestFormRoundTrip(t *testing.T) {
	st := memory.New()
	reg := registry.New(st, registry.WithSecrets(ring(t, 2, 1)))
	const schema = `{"properties": {"key": {"type": "string", "minLength": 20, "writeOnly": true}, "pin": {"type": "integer", "x-secret": true},
		"l": {"items": {"properties": {"k": {"writeOnly": true}}}}, "host": {}}}`
	register(t, reg, "c", giving(schema, "p"))
	const config = `{"key":"hunter2hunter2hunter2","pin":12345678,"l":[{"k":"one"},{"k":"two"}],"host":"old"}`
	save(t, registryLike(t, st, schema, registry.WithSecrets(ring(t, 1))), "c_p", json.RawMessage(config)) // by the older key
	before := stored(t, st, "c_p")
	form := strings.Replace(redacted(t, reg, "c_p"), `"old"`, `"new"`, 1)
	if err := reg.Validate(t.Context(), "c_p", json.RawMessage(form)); err != nil {
		t.Errorf("the form does not validate: %v", err)
	}
	saved := save(t, reg, "c_p", json.RawMessage(form))
	if want := strings.Replace(before, `"old"`, `"new"`, 1); stored(t, st, "c_p") != want {
		t.Errorf("stored is %s, want %s", stored(t, st, "c_p"), want)
	}
	if want := strings.Replace(config, `"old"`, `"new"`, 1); string(saved.Config) != want || string(load(t, reg, "c_p").Config) != want {
		t.Errorf("SaveConfig returned %s", saved.Config)
	}

	// One secret is given anew: the others keep their ciphertext.
	form = redacted(t, reg, "c_p")
	save(t, reg, "c_p", json.RawMessage(regexp.MustCompile(`\[{"k":"[^"]*"}`).ReplaceAllString(form, `[{"k":"uno"}`)))
	after := sealedValue.FindAllString(stored(t, st, "c_p"), -1)
	for i, was := range sealedValue.FindAllString(before, -1) {
		if changed := after[i] != was; changed != (i == 2) {
			t.Errorf("secret %d is new: %t", i, changed)
		}
	}
	if got := load(t, reg, "c_p").Config; !strings.Contains(string(got), `[{"k":"uno"},{"k":"two"}]`) {
		t.Errorf("loaded %s", got)
	}

	// Where nothing is stored there is nothing to keep.
	for _, config := range []string{`{"key":` + hidden + `,"l":[{},{},{"k":"x"}]}`, `{"l":[{},{},{"k":` + hidden + `}]}`} {
		if err := reg.DeleteConfig(t.Context(), "c_p"); err != nil {
			t.Fatal(err)
		}
		if err := saveRaw(t, reg, config); !errors.Is(err, store.ErrInvalidConfig) || !strings.Contains(err.Error(), "none is stored") || isConfigured(t, reg, "c_p") {
			t.Errorf("%s: %v", config, err)
		}
	}
	// In other fields the text is a text.
	save(t, reg, "c_p", json.RawMessage(`{"host":`+hidden+`}`))
	if got := stored(t, st, "c_p"); got != `{"host":`+hidden+`}` {
		t.Errorf("stored is %s", got)
	}
	// What a form cannot have changed is validated all the same.
	put(t, st, "c_p", `{"key":"short"}`)
	err := saveRaw(t, reg, `{"key":`+hidden+`}`)
	if invalid, ok := errors.AsType[*registry.ValidationError](err); !ok || invalid.Issues[0].Pointer != "/key" {
		t.Errorf("a stored secret that does not fit is saved: %v", err)
	}
	// Validate looks up what is hidden, as SaveConfig does.
	if err := reg.Validate(t.Context(), "c_p", json.RawMessage(`{"pin":`+hidden+`}`)); !errors.Is(err, store.ErrInvalidConfig) || !strings.Contains(err.Error(), "/pin") {
		t.Errorf("Validate: %v", err)
	}
}

// registryLike returns another registry over st, as another process has it.
func registryLike(t testing.TB, st store.Store, schema string, opts ...registry.Option) *registry.Registry {
	t.Helper()
	reg := registry.New(st, opts...)
	register(t, reg, "c", giving(schema, "p", "q", "r"))
	return reg
}

// Between reading the stored secret and saving the form another changes the secret: the form must keep the new one.
func TestFormAgainstAnotherSave(t *testing.T) {
	for _, batch := range []bool{false, true} {
		st := &interrupted{Store: memory.New()}
		keys := registry.WithSecrets(ring(t, 1))
		reg, other := registryLike(t, st, keySchema, keys), registryLike(t, st.Store, keySchema, keys)
		save(t, reg, "c_p", json.RawMessage(`{"key":"old","host":"a"}`))
		st.before = func() { save(t, other, "c_p", json.RawMessage(`{"key":"new","host":"b"}`)) }
		form := json.RawMessage(`{"key":` + hidden + `,"host":"c"}`)
		if batch {
			if _, err := reg.SaveConfigs(t.Context(), map[string]any{"c_p": form, "c_q": form[:0:0]}); !errors.Is(err, store.ErrInvalidConfig) {
				t.Errorf("a batch with an empty config: %v", err)
			}
			recs, err := reg.SaveConfigs(t.Context(), map[string]any{"c_p": form, "c_q": map[string]any{"key": "q"}})
			if err != nil || string(recs[0].Config) != `{"key":"new","host":"c"}` {
				t.Errorf("SaveConfigs: %v, %v", recs, err)
			}
		} else if rec := save(t, reg, "c_p", form); string(rec.Config) != `{"key":"new","host":"c"}` {
			t.Errorf("SaveConfig returned %s", rec.Config)
		}
		if got := load(t, other, "c_p").Config; string(got) != `{"key":"new","host":"c"}` {
			t.Errorf("after both there is %s", got)
		}
		// With a revision of the caller's own it is a conflict.
		rec := load(t, reg, "c_p")
		st.before = func() { save(t, other, "c_p", json.RawMessage(`{"key":"newer"}`)) }
		if _, err := reg.SaveConfig(t.Context(), "c_p", form, registry.IfRevision(rec.Revision)); !errors.Is(err, store.ErrConflict) {
			t.Errorf("with IfRevision: %v", err)
		}
		if _, err := reg.SaveConfig(t.Context(), "c_p", form, registry.IfRevision(rec.Revision)); !errors.Is(err, store.ErrConflict) {
			t.Errorf("with the revision before: %v", err)
		}
	}
}

// interrupted is a store in memory where something happens before a write, once.
type interrupted struct {
	*memory.Store
	before func()
}

func (s *interrupted) interrupt() {
	if before := s.before; before != nil {
		s.before = nil
		before()
	}
}

func (s *interrupted) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	s.interrupt()
	return s.Store.Put(ctx, id, config, match)
}

func (s *interrupted) PutAll(ctx context.Context, puts []store.Put) ([]store.Record, error) {
	s.interrupt()
	return s.Store.PutAll(ctx, puts)
}

func TestLostKey(t *testing.T) {
	st := memory.New()
	save(t, registryLike(t, st, keySchema, registry.WithSecrets(ring(t, 1))), "c_p", json.RawMessage(`{"key":"one"}`))
	save(t, registryLike(t, st, keySchema, registry.WithSecrets(ring(t, 2))), "c_q", json.RawMessage(`{"key":"two"}`))
	put(t, st, "c_r", `{"key":"plain"}`)
	was := stored(t, st, "c_p")

	reg := registryLike(t, st, keySchema, registry.WithSecrets(ring(t, 3, 2)))
	for id, err := range reg.CheckAll(t.Context()) {
		if locked := errors.Is(err, registry.ErrSecretLocked); locked != (id == "c_p") || !locked && err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	report, err := reg.RotateSecrets(t.Context())
	if err == nil || report.Configs != 2 || len(report.Failed) != 1 || !errors.Is(report.Failed["c_p"], registry.ErrSecretLocked) {
		t.Errorf("rotated: %+v, %v", report, err)
	}
	if stored(t, st, "c_p") != was {
		t.Error("the locked config is not as it was")
	}
	// The form shows it, and cannot be saved without the secret given anew.
	if err := saveRaw(t, reg, redacted(t, reg, "c_p")); !errors.Is(err, registry.ErrSecretLocked) || stored(t, st, "c_p") != was {
		t.Errorf("saving its form: %v", err)
	}
	// The key is found again.
	reg = registryLike(t, st, keySchema, registry.WithSecrets(ring(t, 3, 2, 1)))
	if report, err := reg.RotateSecrets(t.Context()); err != nil || report.Configs != 1 || len(report.Failed) != 0 {
		t.Errorf("rotated: %+v, %v", report, err)
	}
	reg = registryLike(t, st, keySchema, registry.WithSecrets(ring(t, 3)))
	for id, want := range map[string]string{"c_p": "one", "c_q": "two", "c_r": "plain"} {
		if got := load(t, reg, id).Config; string(got) != `{"key":"`+want+`"}` {
			t.Errorf("%s loads as %s", id, got)
		}
	}
	// Without any key it is locked, too, and not empty.
	for _, opt := range []registry.Option{registry.WithPlaintextSecrets(), registry.WithLogger(nil)} {
		if _, err := registryLike(t, st, keySchema, opt).LoadConfig(t.Context(), "c_p"); !errors.Is(err, registry.ErrSecretLocked) || !errors.Is(err, registry.ErrNoSecretKey) {
			t.Errorf("without a key: %v", err)
		}
	}
}

// A schema that speaks of secrets and cannot be searched for them: nothing of it may be stored open or shown.
func TestSecretsThatCannotBeTold(t *testing.T) {
	for name, schema := range map[string]string{
		"over 1 MiB":       `{"properties": {"a": {"writeOnly": true}}, "description": "` + strings.Repeat("x", 1<<20) + `"}`,
		"too many schemas": `{"properties": {"a": {"format": "password"}, ` + repeated(21_001, `"p%d": {}`) + `}}`,
		"too many levels":  `{"properties": {"a": {"x-secret": true}}, "not": ` + strings.Repeat(`{"not":`, 600) + `{}` + strings.Repeat("}", 601),
		"cut off":          `{"properties": {"a": {"airbyte_secret": true}}`,
	} {
		st := memory.New()
		var log lines
		reg := registryLike(t, st, schema, registry.WithSecrets(ring(t, 1)), registry.WithLogger(log.logger()))
		_, all := reg.SaveConfigs(t.Context(), map[string]any{"c_p": map[string]any{"a": "hunter2"}})
		put(t, st, "c_q", `{"a":"hunter2"}`)
		if got := redacted(t, reg, "c_q"); got != `{"a":`+hidden+`}` {
			t.Errorf("%s: redacted %s", name, got)
		}
		report, rotated := reg.RotateSecrets(t.Context())
		for doing, err := range map[string]error{"SaveConfig": saveRaw(t, reg, `{"a":"hunter2"}`), "SaveConfigs": all, "RotateSecrets": report.Failed["c_q"]} {
			if !errors.Is(err, registry.ErrUnusableSchema) || !strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "WithPlaintextSecrets") {
				t.Errorf("%s: %s: %.500v", name, doing, err)
			}
		}
		if rotated == nil || isConfigured(t, reg, "c_p") || stored(t, st, "c_q") != `{"a":"hunter2"}` {
			t.Errorf("%s: rotated with %v; configured: %t", name, rotated, isConfigured(t, reg, "c_p"))
		}
		if got := log.all(); len(got) > 1 {
			t.Errorf("%s: logged %.1000q", name, got)
		}
		save(t, registryLike(t, st, schema, registry.WithPlaintextSecrets()), "c_p", map[string]any{"a": "hunter2"})
		if got := stored(t, st, "c_p"); got != `{"a":"hunter2"}` {
			t.Errorf("%s: with WithPlaintextSecrets stored is %s", name, got)
		}
	}
}

// While a plugin is not registered, or its schema is missing, nothing says what of its config is secret. What is sealed stays so.
func TestSealedStaysSealedWithoutASchema(t *testing.T) {
	const config = `{"key":"hunter2","host":"a"}`
	keys := registry.WithSecrets(ring(t, 1, 2))
	missing := func(t *testing.T, st store.Store, schema func() (json.RawMessage, error)) *registry.Registry {
		reg := registry.New(st, keys)
		if schema != nil {
			m := finding("p")
			m.schema = func(context.Context, string) (json.RawMessage, error) { return schema() }
			register(t, reg, "c", m)
		}
		return reg
	}
	for name, schema := range map[string]func() (json.RawMessage, error){
		"not registered":    nil,
		"the lookup failed": func() (json.RawMessage, error) { return nil, errBroken },
		"no schema":         func() (json.RawMessage, error) { return nil, nil },
		"no object":         func() (json.RawMessage, error) { return json.RawMessage("[]"), nil },
	} {
		t.Run(name, func(t *testing.T) {
			st := memory.New()
			save(t, registryLike(t, st, keySchema, keys), "c_p", json.RawMessage(config))
			was := stored(t, st, "c_p")
			first := load(t, missing(t, st, schema), "c_p").Revision
			reg := missing(t, st, schema)
			if got := load(t, reg, "c_p").Config; string(got) != config {
				t.Errorf("loaded %s", got)
			}
			if got := redacted(t, reg, "c_p"); got != `{"key":`+hidden+`,"host":`+hidden+`}` {
				t.Errorf("redacted %s", got)
			}
			_, update := reg.UpdateConfig(t.Context(), "c_p", func(rec store.Record) (any, error) { return append(rec.Config, ' '), nil })
			_, all := reg.SaveConfigs(t.Context(), map[string]any{"c_p": json.RawMessage(config)})
			for doing, err := range map[string]error{"UpdateConfig": update, "SaveConfigs": all, "the form": saveRaw(t, reg, redacted(t, reg, "c_p"))} {
				want := registry.ErrUnusableSchema
				if schema == nil {
					want = registry.ErrUnknownPlugin
				}
				if !errors.Is(err, want) || !strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%s: %v", doing, err)
				}
			}
			if got := stored(t, st, "c_p"); got != was {
				t.Errorf("stored is %s", got)
			}
			// Nothing can be saved where nothing was, not even a sealed text as another store has it; a deletion can.
			if err := reg.DeleteConfig(t.Context(), "c_p"); err != nil {
				t.Fatal(err)
			}
			for _, config := range []string{was, `{"host":"a"}`, `{}`} {
				if err := saveRaw(t, reg, config); err == nil {
					t.Errorf("%s is saved", config)
				}
			}
			_, rolled := reg.Rollback(t.Context(), "c_p", first)
			if err := reg.Validate(t.Context(), "c_p", json.RawMessage(`{}`)); err == nil || rolled == nil {
				t.Errorf("%v, %v", err, rolled)
			}
			// The key can be replaced all the same.
			put(t, st, "c_p", was)
			again := registry.New(st, registry.WithSecrets(ring(t, 2, 1)))
			if report, err := again.RotateSecrets(t.Context()); err != nil || report.Configs != 1 {
				t.Errorf("rotated: %+v, %v", report, err)
			}
			if got := load(t, registryLike(t, st, keySchema, registry.WithSecrets(ring(t, 2))), "c_p").Config; string(got) != config {
				t.Errorf("after the rotation: %s", got)
			}
			plain := registry.New(st, keys, registry.WithPlaintextSecrets())
			save(t, plain, "c_p", json.RawMessage(config))
			if got := sealedValue.ReplaceAllString(stored(t, st, "c_p"), "$"); got != `{"key":$,"host":"a"}` {
				t.Errorf("with WithPlaintextSecrets stored is %s", got)
			}
		})
	}
}

// A later schema may call other fields secret, around or inside those that were sealed.
func TestSchemaOfSecretsChanges(t *testing.T) {
	const (
		inner = `{"properties": {"auth": {"properties": {"key": {"writeOnly": true}}}}}`
		outer = `{"properties": {"auth": {"writeOnly": true}}}`
		none  = `{"properties": {"auth": {"type": "object"}}}`
		deep  = `{"properties": {"auth": {"additionalProperties": {"writeOnly": true}}}}`
	)
	const config = `{"auth":{"key":"hunter2","user":"u"},"n":1}`
	keys := registry.WithSecrets(ring(t, 1))
	for _, test := range []struct{ from, to string }{{inner, outer}, {outer, inner}, {inner, none}, {outer, none}, {none, outer}, {none, inner}, {outer, deep}, {inner, deep}} {
		for _, doing := range []string{"form", "rotate", "save"} {
			st := memory.New()
			save(t, registryLike(t, st, test.from, keys), "c_p", json.RawMessage(config))
			reg := registryLike(t, st, test.to, registry.WithSecrets(ring(t, 2, 1)))
			switch doing {
			case "form":
				form := strings.Replace(redacted(t, reg, "c_p"), `"n":1`, `"n":2`, 1)
				save(t, reg, "c_p", json.RawMessage(form))
				save(t, reg, "c_p", json.RawMessage(strings.Replace(form, `"n":2`, `"n":1`, 1)))
			case "rotate":
				if _, err := reg.RotateSecrets(t.Context()); err != nil {
					t.Errorf("%s to %s: %v", test.from, test.to, err)
				}
				reg = registryLike(t, st, test.to, registry.WithSecrets(ring(t, 2)))
			case "save":
				save(t, reg, "c_p", load(t, reg, "c_p").Config)
			}
			if got := load(t, reg, "c_p").Config; string(got) != config {
				t.Errorf("%s to %s, %s: there is %s", test.from, test.to, doing, got)
			}
			if inStore := stored(t, st, "c_p"); strings.Contains(inStore, "hunter2") && test.to != none {
				t.Errorf("%s to %s, %s: stored is %s", test.from, test.to, doing, inStore)
			}
		}
	}
}

// The keeper of the keys is somewhere else, and not always there.
func TestFailingAEAD(t *testing.T) {
	keys := ring(t, 1)
	failing := false
	a := box{
		encrypt: func(p, ad []byte) ([]byte, error) {
			if failing {
				return nil, errBroken
			}
			return keys.Encrypt(p, ad)
		},
		decrypt: func(c, ad []byte) ([]byte, error) {
			if failing {
				return nil, errBroken
			}
			return keys.Decrypt(c, ad)
		},
	}
	st := memory.New()
	reg := registryLike(t, st, keySchema, registry.WithSecrets(a))
	save(t, reg, "c_p", json.RawMessage(`{"key":"hunter2"}`))
	was := stored(t, st, "c_p")
	if !strings.HasPrefix(was, `{"key":{"$secret":"v1::`) {
		t.Errorf("stored without a key ID is %s", was)
	}
	rev := load(t, reg, "c_p").Revision
	if rec := save(t, reg, "c_p", json.RawMessage(`{"key":"hunter2"}`)); rec.Revision != rev {
		t.Error("an unchanged secret was sealed anew")
	}
	// Which key has sealed is not told, so everything is sealed anew.
	if report, err := reg.RotateSecrets(t.Context()); err != nil || report.Configs != 1 || stored(t, st, "c_p") == was {
		t.Errorf("rotated: %+v, %v", report, err)
	}
	was = stored(t, st, "c_p")
	failing = true
	for doing, err := range map[string]error{"saving": saveRaw(t, reg, `{"key":"new"}`), "keeping": saveRaw(t, reg, `{"key":`+hidden+`}`)} {
		if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), `"/key"`) || stored(t, st, "c_p") != was {
			t.Errorf("%s: %v, stored is %s", doing, err, stored(t, st, "c_p"))
		}
	}
	if _, err := reg.LoadConfig(t.Context(), "c_p"); !errors.Is(err, errBroken) || !errors.Is(err, registry.ErrSecretLocked) {
		t.Errorf("loading: %v", err)
	}
	if report, err := reg.RotateSecrets(t.Context()); err == nil || !errors.Is(report.Failed["c_p"], errBroken) || report.Configs != 0 {
		t.Errorf("rotating: %+v, %v", report, err)
	}
	failing = false
	if got := load(t, reg, "c_p").Config; string(got) != `{"key":"hunter2"}` {
		t.Errorf("afterwards there is %s", got)
	}

	// An AEAD that returns what is no JSON is not believed.
	reg = registryLike(t, st, keySchema, registry.WithSecrets(box{a.encrypt, func([]byte, []byte) ([]byte, error) { return []byte("hunter2"), nil }}))
	if _, err := reg.LoadConfig(t.Context(), "c_p"); !errors.Is(err, registry.ErrSecretLocked) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("loading what is no JSON: %v", err)
	}
}

// keyed gives a keyring a key ID of one's own.
type keyed struct {
	box
	id string
}

func (k keyed) KeyID() string { return k.id }

func TestRotateSealsOnlyWhatIsOld(t *testing.T) {
	keys := ring(t, 1)
	st := memory.New()
	for _, test := range []struct {
		id   string
		want int
	}{{"a:b", 1}, {"a:b", 0}, {"a", 1}, {"a", 0}, {"", 1}, {"", 1}, {"a:b", 1}} {
		reg := registryLike(t, st, keySchema, registry.WithSecrets(keyed{box{keys.Encrypt, keys.Decrypt}, test.id}))
		if !isConfigured(t, reg, "c_p") {
			put(t, st, "c_p", `{"key":"k"}`)
		}
		if report, err := reg.RotateSecrets(t.Context()); err != nil || report.Configs != test.want || len(report.Failed) != 0 {
			t.Errorf("key %q: %+v, %v", test.id, report, err)
		}
		if got := load(t, reg, "c_p").Config; string(got) != `{"key":"k"}` {
			t.Errorf("loaded %s", got)
		}
	}
}

// A rotation can be interrupted anywhere and run again, and others may save meanwhile.
func TestInterruptedRotation(t *testing.T) {
	old, both := registry.WithSecrets(ring(t, 1)), registry.WithSecrets(ring(t, 2, 1))
	fill := func(t *testing.T, st store.Store) {
		reg := registryLike(t, st, keySchema, old)
		for i := range 2 {
			for _, id := range []string{"c_p", "c_q", "c_r"} {
				save(t, reg, id, map[string]any{"key": fmt.Sprint(id, i)})
			}
		}
		if err := reg.DeleteConfig(t.Context(), "c_r"); err != nil {
			t.Fatal(err)
		}
	}
	finish := func(t *testing.T, st store.Store, want map[string]string) {
		t.Helper()
		if report, err := registryLike(t, st, keySchema, both).RotateSecrets(t.Context()); err != nil || len(report.Failed) != 0 {
			t.Fatalf("run again: %+v, %v", report, err)
		}
		reg := registryLike(t, st, keySchema, registry.WithSecrets(ring(t, 2)))
		for id, config := range want {
			if got := load(t, reg, id).Config; string(got) != config {
				t.Errorf("%s loads as %s, want %s", id, got, config)
			}
		}
		for _, id := range []string{"c_p", "c_q", "c_r"} {
			versions, err := reg.History(t.Context(), id, 0)
			if err != nil || len(versions) < 2 {
				t.Errorf("the history of %s: %v, %v", id, versions, err)
			}
			for _, v := range versions {
				if v.Err != nil {
					t.Errorf("%s at revision %q: %v", id, v.Revision, v.Err)
				}
			}
		}
	}
	want := map[string]string{"c_p": `{"key":"c_p1"}`, "c_q": `{"key":"c_q1"}`, "c_r": `{}`}
	for stop := range 12 { // after that many sealings
		st := memory.New()
		fill(t, st)
		ctx, cancel := context.WithCancel(t.Context())
		sealed, keys := 0, ring(t, 2, 1)
		a := keyed{box{func(p, ad []byte) ([]byte, error) {
			if sealed++; sealed > stop {
				cancel()
			}
			return keys.Encrypt(p, ad)
		}, keys.Decrypt}, keys.KeyID()}
		_, err := registryLike(t, st, keySchema, registry.WithSecrets(a)).RotateSecrets(ctx)
		if interrupted := sealed > stop; interrupted != errors.Is(err, context.Canceled) && interrupted {
			t.Errorf("interrupted after %d: %v", stop, err)
		}
		cancel()
		finish(t, st, want)
	}
	// Others save between a config's reading and its writing, still with the old key.
	st := &interrupted{Store: memory.New()}
	fill(t, st.Store)
	st.before = func() {
		save(t, registryLike(t, st.Store, keySchema, old), "c_p", json.RawMessage(`{"key":"theirs","host":"h"}`))
	}
	if report, err := registryLike(t, st, keySchema, both).RotateSecrets(t.Context()); err != nil || report.Configs != 2 {
		t.Errorf("rotated: %+v, %v", report, err)
	}
	want["c_p"] = `{"key":"theirs","host":"h"}`
	finish(t, st, want)
	// And while it runs, over a database.
	db := openSQLite(t, filepath.Join(t.TempDir(), "r.db"))
	fill(t, db)
	var wg sync.WaitGroup
	reg := registryLike(t, db, keySchema, registry.WithSecrets(ring(t, 1, 2)))
	wg.Go(func() {
		for i := range 30 {
			save(t, reg, "c_p", map[string]any{"key": fmt.Sprint("last", i)})
		}
	})
	for range 3 {
		if report, err := registryLike(t, db, keySchema, both).RotateSecrets(t.Context()); err != nil {
			t.Errorf("rotated: %+v, %v", report, err)
		}
	}
	wg.Wait()
	want["c_p"] = `{"key":"last29"}`
	finish(t, db, want)
}

func openSQLite(t testing.TB, path string, opts ...sqlite.Option) *sqlite.Store {
	t.Helper()
	st, err := sqlite.Open(t.Context(), path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

func openJSON(t testing.TB, dir string, opts ...jsonfile.Option) *jsonfile.Store {
	t.Helper()
	st, err := jsonfile.Open(dir, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// forms are the ways in which a secret text might lie in a file.
func forms(secret string) []string {
	quoted, _ := json.Marshal(secret)
	escaped := ""
	for _, r := range secret {
		escaped += fmt.Sprintf(`\u%04x`, r)
	}
	all := []string{secret, string(quoted[1 : len(quoted)-1]), escaped}
	for skip := range 3 { // base64 of any text around it, too
		b := []byte(secret)[skip:]
		b = b[:len(b)/3*3]
		all = append(all, base64.StdEncoding.EncodeToString(b), base64.URLEncoding.EncodeToString(b))
	}
	return all
}

// searchFiles fails if one of the secrets lies open in a file below dir.
func searchFiles(t *testing.T, when, dir string, secrets ...string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path) // a copy of the tests' own: reading a database in use drops its locks
		files++
		for _, secret := range secrets {
			for _, form := range forms(secret) {
				if bytes.Contains(text, []byte(form)) {
					t.Errorf("%s: %s has a secret in it, as %q", when, filepath.Base(path), form)
				}
			}
		}
		return err
	})
	if err != nil || files == 0 {
		t.Fatalf("%s: searched %d files: %v", when, files, err)
	}
}

// TestLookingBeforeSaving: with a key, a save looks at what it writes over, and writes over that revision only; without, it need not.
func TestLookingBeforeSaving(t *testing.T) {
	st := memory.New()
	spy := &spyStore{Store: st}
	for _, test := range []struct {
		opts  []registry.Option
		want  int32
		first string
	}{{[]registry.Option{registry.WithSecrets(ring(t, 1))}, 2, "with a key"}, {nil, 1, "without"}} {
		reg := registryLike(t, spy, keySchema, test.opts...)
		for n := range 3 { // the first where there is none
			spy.calls.Store(0)
			save(t, reg, "c_p", map[string]any{"n": n})
			if calls := spy.calls.Load(); calls != test.want {
				t.Errorf("%s a save made %d calls, want %d", test.first, calls, test.want)
			}
		}
	}
	// Where nobody can tell secrets, a config that has some is not written over, with a key or without.
	save(t, registryLike(t, st, keySchema, registry.WithSecrets(ring(t, 1))), "c_p", json.RawMessage(`{"key":"hunter2","host":"a"}`))
	was := stored(t, st, "c_p")
	for _, reg := range []*registry.Registry{registry.New(st), registry.New(st, registry.WithSecrets(ring(t, 1)))} {
		if _, err := reg.SaveConfig(t.Context(), "c_p", map[string]any{"n": 4}); !errors.Is(err, registry.ErrUnknownPlugin) || stored(t, st, "c_p") != was {
			t.Errorf("saved over sealed secrets: %v", err)
		}
	}
	// The name alone is no secret.
	save(t, registry.New(st, registry.WithPlaintextSecrets()), "c_p", json.RawMessage(`{"$secret":"a","b":"$secret"}`))
	save(t, registry.New(st), "c_p", map[string]any{"n": 5})
}

// TestSealedMeanwhile: a secret that another process seals between looking and writing is not overwritten.
func TestSealedMeanwhile(t *testing.T) {
	keys := registry.WithSecrets(ring(t, 1))
	st := memory.New()
	spy := &spyStore{Store: st}
	reg := registry.New(spy)
	save(t, reg, "c_p", map[string]any{"n": 1})
	other := registryLike(t, st, keySchema, keys)
	done := false
	spy.afterGet = func() {
		if !done {
			done = true
			save(t, other, "c_p", json.RawMessage(`{"key":"hunter2"}`))
		}
	}
	if _, err := reg.SaveConfig(t.Context(), "c_p", map[string]any{"n": 2}); !errors.Is(err, registry.ErrUnknownPlugin) {
		t.Errorf("saved over a secret sealed meanwhile: %v", err)
	}
	if !done {
		t.Error("it was not loaded")
	}
}

// TestUnreadableIsNoSecret: what cannot be read keeps no plugin from being saved.
func TestUnreadableIsNoSecret(t *testing.T) {
	for _, wrap := range []func(store.Store) store.Store{
		func(s store.Store) store.Store { return s },
	} {
		st := memory.New()
		save(t, registry.New(st), "c_p", map[string]any{"n": 1})
		reg := registry.New(&spyStore{Store: wrap(st), failGet: func(string) error { return store.ErrCorrupt }})
		save(t, reg, "c_p", map[string]any{"n": 2})
		if got := stored(t, st, "c_p"); got != `{"n":2}` {
			t.Errorf("stored is %s", got)
		}
	}
}

// TestSaveBesideRotation: a save that keeps what is sealed does not undo a rotation that comes in between.
func TestSaveBesideRotation(t *testing.T) {
	st := memory.New()
	save(t, registryLike(t, st, keySchema, registry.WithSecrets(ring(t, 1))), "c_p", json.RawMessage(`{"key":"hunter2","host":"a"}`))
	both := registry.WithSecrets(ring(t, 2, 1))
	rotator := registryLike(t, st, keySchema, both)
	spy := &spyStore{Store: st}
	saver := registryLike(t, spy, keySchema, both)
	done := false
	spy.afterGet = func() {
		if done {
			return
		}
		done = true
		if report, err := rotator.RotateSecrets(t.Context()); err != nil || report.Configs != 1 {
			t.Fatalf("%+v, %v", report, err)
		}
	}
	save(t, saver, "c_p", json.RawMessage(`{"key":"hunter2","host":"b"}`))
	after := registryLike(t, st, keySchema, registry.WithSecrets(ring(t, 2)))
	rec, err := after.LoadConfig(t.Context(), "c_p")
	if err != nil || string(rec.Config) != `{"key":"hunter2","host":"b"}` {
		t.Errorf("after a rotation that returned nil: %s, %v", rec.Config, err)
	}
}

// TestFormOfAPart: a form that was made when less was secret keeps the stored value of its part.
func TestFormOfAPart(t *testing.T) {
	const inner = `{"properties": {"auth": {"properties": {"key": {"writeOnly": true}}}}}`
	const outer = `{"properties": {"auth": {"writeOnly": true}}}`
	st := memory.New()
	keys := registry.WithSecrets(ring(t, 1))
	reg := registryLike(t, st, inner, keys)
	save(t, reg, "c_p", json.RawMessage(`{"auth":{"key":"hunter2","user":"u"}}`))
	form := redacted(t, reg, "c_p")
	register(t, reg, "c", giving(outer, "p"))
	save(t, reg, "c_p", json.RawMessage(form))
	if got := load(t, reg, "c_p").Config; string(got) != `{"auth":{"key":"hunter2","user":"u"}}` {
		t.Errorf("loaded %s", got)
	}
}

// TestFormOfASealedWhole: so it does where the whole is sealed by now.
func TestFormOfASealedWhole(t *testing.T) {
	st := memory.New()
	reg := registryLike(t, st, `{"properties": {"auth": {"writeOnly": true}}}`, registry.WithSecrets(ring(t, 1)))
	save(t, reg, "c_p", json.RawMessage(`{"auth":{"key":"hunter2","user":"u"}}`))
	save(t, reg, "c_p", json.RawMessage(`{"auth":{"key":`+hidden+`,"user":"v"}}`)) // a form made before auth became secret
	if got := load(t, reg, "c_p").Config; string(got) != `{"auth":{"key":"hunter2","user":"v"}}` {
		t.Errorf("loaded %s", got)
	}
}

// TestFormWithAShorterList: an item that is removed in a form does not give its secret to another.
func TestFormWithAShorterList(t *testing.T) {
	st := memory.New()
	reg := registryLike(t, st, `{"properties":{"l":{"items":{"properties":{"k":{"writeOnly":true}}}}}}`, registry.WithSecrets(ring(t, 1)))
	save(t, reg, "c_p", json.RawMessage(`{"l":[{"host":"a","k":"ka"},{"host":"b","k":"kb"}]}`))
	err := saveRaw(t, reg, `{"l":[{"host":"b","k":`+hidden+`}]}`)
	if !errors.Is(err, store.ErrInvalidConfig) || !strings.Contains(err.Error(), `"/l/0/k"`) {
		t.Errorf("an item less: %v", err)
	}
	want := `{"l":[{"host":"a","k":"ka"},{"host":"b","k":"kb"},{"host":"d","k":"kd"}]}`
	save(t, reg, "c_p", json.RawMessage(strings.NewReplacer(`"ka"`, hidden, `"kb"`, hidden).Replace(want)))
	if got := load(t, reg, "c_p").Config; string(got) != want {
		t.Errorf("an item more: %s", got)
	}
}

// TestSecretBesideUnknownPattern: a pattern that cannot be matched tells of no member that it is no secret.
func TestSecretBesideUnknownPattern(t *testing.T) {
	st := memory.New()
	reg := registryLike(t, st, `{`+draft2020+`"patternProperties":{"^(?!secret_)":{"type":"string"}},"unevaluatedProperties":{"writeOnly":true}}`, registry.WithSecrets(ring(t, 1)))
	save(t, reg, "c_p", json.RawMessage(`{"secret_x":"hunter2"}`))
	if got := stored(t, st, "c_p"); strings.Contains(got, "hunter2") {
		t.Errorf("stored is %s", got)
	}
}

// TestSecretInHugeConfig: what there is no time to look at counts as secret.
func TestSecretInHugeConfig(t *testing.T) {
	st := memory.New()
	reg := registryLike(t, st, `{`+draft2020+`"patternProperties":{"^x":{}},"unevaluatedProperties":{"writeOnly":true}}`, registry.WithSecrets(ring(t, 1)))
	var b strings.Builder
	b.WriteString("{")
	pad := strings.Repeat("p", 160)
	for i := range 25000 {
		fmt.Fprintf(&b, `"n%d%s":1,`, i, pad)
	}
	b.WriteString(`"last":"hunter2"}`)
	_, err := reg.SaveConfig(t.Context(), "c_p", json.RawMessage(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if got := stored(t, st, "c_p"); strings.Contains(got, "hunter2") {
		t.Errorf("stored ends %s", got[len(got)-100:])
	}
}

// TestSecretItemsBesideUnknownTuple: a keyword that the draft does not have does not shift the others.
func TestSecretItemsBesideUnknownTuple(t *testing.T) {
	for _, schema := range []string{
		`{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"l":{"prefixItems":[{}],"items":{"writeOnly":true}}}}`,
		`{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"l":{"items":[{}],"prefixItems":[{}],"additionalItems":{"writeOnly":true}}}}`,
	} {
		st := memory.New()
		reg := registryLike(t, st, schema, registry.WithSecrets(ring(t, 1)))
		save(t, reg, "c_p", json.RawMessage(`{"l":["hunter2","hunter2"]}`))
		got := stored(t, st, "c_p")
		if n := strings.Count(got, "hunter2"); n > strings.Count(schema, `"items":[`) {
			t.Errorf("stored is %s", got)
		}
	}
}

// TestFormOfADeletedSecret: a secret that is deleted meanwhile does not come back.
func TestFormOfADeletedSecret(t *testing.T) {
	st := memory.New()
	keys := registry.WithSecrets(ring(t, 1))
	save(t, registryLike(t, st, keySchema, keys), "c_p", json.RawMessage(`{"key":"hunter2"}`))
	spy := &spyStore{Store: st}
	reg := registryLike(t, spy, keySchema, keys)
	spy.afterGet = func() { _ = st.Delete(context.Background(), "c_p", store.Any) }
	_, err := reg.SaveConfig(t.Context(), "c_p", json.RawMessage(`{"key":`+hidden+`}`), registry.IfRevision(store.Absent))
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("%v; there is %s", err, load(t, reg, "c_p").Config)
	}
}

// TestFormOfADeletedConfig: a form of a revision that has gone is a conflict.
func TestFormOfADeletedConfig(t *testing.T) {
	st := memory.New()
	reg := registryLike(t, st, keySchema, registry.WithSecrets(ring(t, 1)))
	rev := save(t, reg, "c_p", json.RawMessage(`{"key":"hunter2"}`)).Revision
	if err := reg.DeleteConfig(t.Context(), "c_p"); err != nil {
		t.Fatal(err)
	}
	_, err := reg.SaveConfig(t.Context(), "c_p", json.RawMessage(`{"key":`+hidden+`}`), registry.IfRevision(rev))
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("%v", err)
	}
}

// TestFieldNamedSecret: a form of a field that is named as sealed values are can be saved.
func TestFieldNamedSecret(t *testing.T) {
	st := memory.New()
	reg := registryLike(t, st, `{"properties":{"o":{"properties":{"$secret":{"type":"integer","writeOnly":true}}}}}`, registry.WithSecrets(ring(t, 1)))
	save(t, reg, "c_p", json.RawMessage(`{"o":{"$secret":5}}`))
	t.Log(stored(t, st, "c_p"), redacted(t, reg, "c_p"))
	if err := saveRaw(t, reg, redacted(t, reg, "c_p")); err != nil {
		t.Error(err)
	}
}
