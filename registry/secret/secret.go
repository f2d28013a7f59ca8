// Package secret keeps the keys that encrypt the secret fields of configs.
//
// A [Keyring] holds one or more AES-256 keys. It encrypts with the newest key and decrypts with the key that the ciphertext names. Pass it
// to [registry.WithSecrets]. Keys come from a file that is made on first use, from an environment variable, from a text that the
// application has read somewhere, or as bytes:
//
//	keys, err := secret.OpenFileFor(ctx, "/var/lib/myapp/secret.keys", st) // an error, and no new key, if st has secrets already
//	keys, err := secret.FromEnv("MYAPP_SECRET_KEYS")
//	keys, err := secret.Parse(text)
//	keys, err := secret.New(newest, older)
//
// # Changing the key
//
// Put a new key first and keep the old one behind it. Start every process of the application with both keys, call
// [registry.Registry.RotateSecrets], and then remove the old key. A ciphertext whose key was removed too early is not lost: opening it is
// [ErrUnknownKey] until the key is back.
//
// # Limits
//
// Nonces are random, so one key should encrypt at most 2³² times (NIST SP 800-38D, section 8.3). At one save a second that is 136
// years. The keys are in the memory of the process for as long as the Keyring is: whoever can read that memory has them.
//
// # Ciphertext
//
// One byte of version, 1; four bytes of key ID; a nonce of 12 bytes; AES-256-GCM's output with its tag of 16 bytes, over the
// associated data just as it was given. The key ID is the beginning of the SHA-256 of the text "pluginregistry secret key id v1", a
// byte 0, and the key. It tells keys apart and tells nothing about a key that was drawn at random.
//
// [registry.WithSecrets]: https://pkg.go.dev/github.com/pluginregistry/pluginregistry/registry#WithSecrets
// [registry.Registry.RotateSecrets]: https://pkg.go.dev/github.com/pluginregistry/pluginregistry/registry#Registry.RotateSecrets
package secret

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// KeySize is the length of a key in bytes.
const KeySize = 32

const (
	version    = 1
	idSize     = 4
	headerSize = 1 + idSize
	idPrefix   = "pluginregistry secret key id v1\x00"
)

var (
	// ErrUnknownKey: the ciphertext names a key that is not in the Keyring. Put that key back, behind the newest one.
	ErrUnknownKey = errors.New("no key with this key ID")
	// ErrDecrypt: the ciphertext was changed, or cut, or belongs to another place (to other associated data), or is none.
	ErrDecrypt = errors.New("the ciphertext cannot be decrypted")

	errNoKeys = errors.New("the secret.Keyring has no keys: make it with secret.New, secret.FromEnv or secret.OpenFile")
)

// Keyring encrypts and decrypts with a list of keys. Its method set contains that of tink.AEAD. It never changes, so any number of
// goroutines may use it at once. The zero value and nil have no keys: they return an error for everything. Printed or logged, a Keyring
// shows the IDs of its keys and nothing else.
type Keyring struct {
	keys *[]key // behind a pointer, where formatting with fmt does not go
}

type key struct {
	id   [idSize]byte
	aead cipher.AEAD
}

func (k key) String() string { return hex.EncodeToString(k.id[:]) }

// New returns a Keyring of the given keys, newest first. The keys are copied. It is an error if there is none, if one is not 32 bytes
// long, and if two are the same.
func New(keys ...[]byte) (*Keyring, error) {
	ring, err := newRing(keys)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	return ring, nil
}

func newRing(keys [][]byte) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, errors.New("a keyring needs at least one key")
	}
	ring := make([]key, len(keys))
	for i, raw := range keys {
		k, err := newKey(raw)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		for j := range i {
			if bytes.Equal(keys[j], raw) {
				return nil, fmt.Errorf("keys %d and %d are the same: give each key once", j+1, i+1)
			}
			if ring[j].id == k.id { // one time in four billion
				return nil, fmt.Errorf("keys %d and %d differ, but have the same key ID %s: make another new key", j+1, i+1, k)
			}
		}
		ring[i] = k
	}
	return &Keyring{keys: &ring}, nil
}

func newKey(raw []byte) (key, error) {
	if len(raw) != KeySize {
		return key{}, fmt.Errorf("it has %d bytes, a key has %d", len(raw), KeySize)
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return key{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return key{}, err
	}
	sum := sha256.Sum256(append([]byte(idPrefix), raw...))
	return key{id: [idSize]byte(sum[:idSize]), aead: aead}, nil
}

// ring returns the keys, newest first; none for nil and the zero value.
func (k *Keyring) ring() []key {
	if k == nil || k.keys == nil {
		return nil
	}
	return *k.keys
}

// KeyID returns the ID of the newest key, the one that Encrypt uses, as 8 hexadecimal digits. Without keys it is "".
func (k *Keyring) KeyID() string {
	keys := k.ring()
	if len(keys) == 0 {
		return ""
	}
	return keys[0].String()
}

// Encrypt encrypts plaintext with the newest key. Decrypt needs the same associatedData, which is not in the ciphertext: it ties the
// ciphertext to its place. Either may be nil. The ciphertext is 33 bytes longer than plaintext, and another one each time. The only
// error is that of a Keyring without keys.
func (k *Keyring) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	keys := k.ring()
	if len(keys) == 0 {
		return nil, errNoKeys
	}
	newest := keys[0]
	out := make([]byte, 0, headerSize+len(plaintext)+newest.aead.Overhead())
	out = append(append(out, version), newest.id[:]...)
	return newest.aead.Seal(out, nil, plaintext, associatedData), nil
}

// Decrypt returns the plaintext that Encrypt was given. The error is ErrUnknownKey if the Keyring lacks the key that the ciphertext
// names, and ErrDecrypt if the ciphertext or the associatedData is not as it was.
func (k *Keyring) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	keys := k.ring()
	if len(keys) == 0 {
		return nil, errNoKeys
	}
	if len(ciphertext) < headerSize {
		return nil, fmt.Errorf("%w: it has %d bytes, which is too short", ErrDecrypt, len(ciphertext))
	}
	if v := ciphertext[0]; v != version {
		return nil, fmt.Errorf("%w: it is of version %d, this library knows version %d", ErrDecrypt, v, version)
	}
	id := [idSize]byte(ciphertext[1:headerSize])
	for _, key := range keys {
		if key.id != id {
			continue
		}
		plaintext, err := key.aead.Open(nil, nil, ciphertext[headerSize:], associatedData)
		if err != nil {
			return nil, fmt.Errorf("%w: it was changed, or moved from another place", ErrDecrypt)
		}
		return plaintext, nil
	}
	return nil, fmt.Errorf("%w: %x encrypted it; add that key to the keyring, behind the newest one (there are %s)", ErrUnknownKey, id, k.ids())
}

func (k *Keyring) ids() string {
	var ids []string
	for _, key := range k.ring() {
		ids = append(ids, key.String())
	}
	return strings.Join(ids, ", ")
}

// String tells the IDs of the keys, never the keys.
func (k *Keyring) String() string {
	if len(k.ring()) == 0 {
		return "secret.Keyring without keys"
	}
	return "secret.Keyring of " + k.ids()
}

// Format writes String, whatever the verb: a Keyring printed with %#v or %d shows no key either.
func (k *Keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// LogValue is the Keyring as slog shows it: by the IDs of its keys.
func (k *Keyring) LogValue() slog.Value { return slog.StringValue(k.String()) }
