package settings

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"regexp"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/internal/schema"
	"github.com/pluginregistry/pluginregistry/registry"
)

// A secret that was typed and cannot be saved yet goes to the browser and back sealed, so that no page holds it. It stands in the document
// as a text that begins as a hidden secret does. The key lives as long as the handler, and a sealed text opens only for its plugin and place.
const typedPrefix = registry.Redacted + " typed:"

func isTyped(v *jsontext.Value) bool {
	return v.Kind == jsontext.String && strings.HasPrefix(v.Text, typedPrefix)
}

type typist struct{ aead cipher.AEAD }

func newTypist() typist {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return typist{aead}
}

func (t typist) seal(id, pointer string, v *jsontext.Value) *jsontext.Value {
	sealed := t.aead.Seal(nil, nil, v.Append(nil), []byte(id+"\x00"+pointer))
	return &jsontext.Value{Kind: jsontext.String, Text: typedPrefix + base64.RawURLEncoding.EncodeToString(sealed)}
}

func (t typist) open(id, pointer string, v *jsontext.Value) *jsontext.Value {
	sealed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(v.Text, typedPrefix))
	if err != nil {
		return nil
	}
	text, err := t.aead.Open(nil, nil, sealed, []byte(id+"\x00"+pointer))
	if err != nil {
		return nil
	}
	opened, err := jsontext.Parse(text)
	if err != nil {
		return nil
	}
	return opened
}

// openAll puts back what was typed. What cannot be opened, because the program was started again or the text was moved by hand, is taken
// out and its places are returned.
func (t typist) openAll(id string, doc *jsontext.Value) (lost []string) {
	for at, v := range doc.All() {
		if !isTyped(v) {
			continue
		}
		if opened := t.open(id, at.Pointer(), v); opened != nil {
			*v = *opened
			at.Skip()
			continue
		}
		lost = append(lost, at.Pointer())
		*v = jsontext.Value{Kind: jsontext.Null}
	}
	return lost
}

// sealAll hides what was typed: at the secret places, and everything that looks as the registry seals it.
func (t typist) sealAll(id string, doc *jsontext.Value, secret map[string]bool) {
	for at, v := range doc.All() {
		p := at.Pointer()
		if p == "" || hidden(v) || v.Kind == jsontext.Null || v.Kind == jsontext.String && v.Text == "" {
			continue
		}
		if secret[p] || len(v.Members) == 1 && v.Members[0].Name == "$secret" {
			*v = *t.seal(id, p, v)
			at.Skip()
		}
	}
}

// A JSON text that cannot be parsed may have a secret anywhere. conceal hides every part of it that the text shown before did not have, if
// the plugin has secrets; reveal puts the parts back.
const partPrefix = typedPrefix + "part:"

var (
	textParts = regexp.MustCompile(`"(?:[^"\\\n]|\\.)*"?|[^\s{}\[\]:,"]+`)
	hidParts  = regexp.MustCompile(`"` + regexp.QuoteMeta(partPrefix) + `([A-Za-z0-9_-]+)"`)
)

func (t typist) conceal(of target, pointer, text, before string) string {
	if !schema.Compile(of.Plugin.Schema, schema.Options{}).HasSecrets() && !strings.Contains(before, registry.Redacted) {
		return text
	}
	known := map[string]bool{"true": true, "false": true, "null": true}
	for _, part := range textParts.FindAllString(before+"\n"+string(of.Plugin.Schema), -1) {
		known[part] = true
	}
	return textParts.ReplaceAllStringFunc(text, func(part string) string {
		if known[part] || strings.HasPrefix(part, `"`+registry.Redacted) {
			return part
		}
		sealed := t.aead.Seal(nil, nil, []byte(part), []byte(of.ID+"\x00text\x00"+pointer))
		return `"` + partPrefix + base64.RawURLEncoding.EncodeToString(sealed) + `"`
	})
}

func (t typist) reveal(id, pointer, text string) string {
	return hidParts.ReplaceAllStringFunc(text, func(part string) string {
		sealed, err := base64.RawURLEncoding.DecodeString(hidParts.FindStringSubmatch(part)[1])
		if err != nil {
			return part
		}
		opened, err := t.aead.Open(nil, nil, sealed, []byte(id+"\x00text\x00"+pointer))
		if err != nil {
			return part
		}
		return string(opened)
	})
}
