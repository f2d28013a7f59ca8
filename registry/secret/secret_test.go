package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// testKey is the key of 32 bytes that count on from first.
func testKey(first byte) []byte {
	key := make([]byte, KeySize)
	for i := range key {
		key[i] = first + byte(i)
	}
	return key
}

func mustNew(t testing.TB, keys ...[]byte) *Keyring {
	t.Helper()
	k, err := New(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustEncrypt(t testing.TB, k *Keyring, plaintext, ad string) []byte {
	t.Helper()
	c, err := k.Encrypt([]byte(plaintext), []byte(ad))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// showsKey tells whether text has some part of raw in it, in any form that fmt or base64 gives it.
func showsKey(text string, raw []byte) bool {
	text = strings.ToLower(text)
	part := raw[5:15]
	decimal := strings.Trim(fmt.Sprint(part), "[]")
	forms := []string{
		string(part), hex.EncodeToString(part), decimal, strings.ReplaceAll(decimal, " ", ", "), fmt.Sprintf("% x", part),
		strings.Trim(fmt.Sprintf("%#v", part), "[]byte{}"), strings.Trim(fmt.Sprintf("%q", part), `"`),
		base64.StdEncoding.EncodeToString(raw)[8:20], base64.URLEncoding.EncodeToString(raw)[8:20],
	}
	return slices.ContainsFunc(forms, func(form string) bool { return strings.Contains(text, strings.ToLower(form)) })
}

func TestRoundTrip(t *testing.T) {
	k := mustNew(t, testKey(1))
	for _, plaintext := range []string{"", "x", "a secret", strings.Repeat("long", 1<<16)} {
		for _, ad := range []string{"", "llm_openai/api_key"} {
			c := mustEncrypt(t, k, plaintext, ad)
			if want := len(plaintext) + 33; len(c) != want {
				t.Errorf("%d bytes encrypt to %d, want %d", len(plaintext), len(c), want)
			}
			if len(plaintext) > 4 && bytes.Contains(c, []byte(plaintext)) {
				t.Error("the plaintext is in the ciphertext")
			}
			got, err := k.Decrypt(c, []byte(ad))
			if err != nil || string(got) != plaintext {
				t.Errorf("Decrypt: %d bytes, %v; want the %d bytes that were encrypted", len(got), err, len(plaintext))
			}
			if again := mustEncrypt(t, k, plaintext, ad); bytes.Equal(again, c) {
				t.Error("two encryptions are the same")
			}
		}
	}
}

// The format is for ever: what one release encrypts every later one must decrypt. Both values were made by other programs: the ID by
// sha256sum, the rest by Python's cryptography package (AESGCM) with the nonce 000102030405060708090a0b.
const (
	goldenID         = "2d5e5b80"
	goldenCiphertext = "01" + goldenID + "000102030405060708090a0b" + "19556dfba71b48f339913b9c967f40282705aa8dae"
)

func TestFormat(t *testing.T) {
	k := mustNew(t, testKey(1))
	if got := k.KeyID(); got != goldenID {
		t.Errorf("KeyID %s, want %s", got, goldenID)
	}
	c, err := hex.DecodeString(goldenCiphertext)
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Decrypt(c, []byte("llm_openai/api_key"))
	if err != nil || string(got) != "hello" {
		t.Errorf("Decrypt: %q, %v", got, err)
	}
	c = mustEncrypt(t, k, "", "")
	if c[0] != 1 || hex.EncodeToString(c[1:5]) != goldenID {
		t.Errorf("the ciphertext starts with %x, want version 1 and the key ID %s", c[:5], goldenID)
	}
}

func TestEveryChangeIsNoticed(t *testing.T) {
	k := mustNew(t, testKey(1))
	c := mustEncrypt(t, k, "attack at dawn", "here")
	for i := range c {
		for bit := range 8 {
			changed := bytes.Clone(c)
			changed[i] ^= 1 << bit
			want := ErrDecrypt
			if 1 <= i && i < headerSize {
				want = ErrUnknownKey
			}
			if got, err := k.Decrypt(changed, []byte("here")); !errors.Is(err, want) || got != nil {
				t.Errorf("byte %d, bit %d changed: %q, %v; want %v", i, bit, got, err, want)
			}
		}
	}
	for n := range len(c) {
		if got, err := k.Decrypt(c[:n], []byte("here")); !errors.Is(err, ErrDecrypt) || got != nil {
			t.Errorf("cut to %d bytes: %q, %v", n, got, err)
		}
	}
	for _, ad := range []string{"", "her", "there", "here\x00"} {
		if got, err := k.Decrypt(c, []byte(ad)); !errors.Is(err, ErrDecrypt) || got != nil {
			t.Errorf("moved to %q: %q, %v", ad, got, err)
		}
	}
	if _, err := k.Decrypt(append(bytes.Clone(c), 0), []byte("here")); !errors.Is(err, ErrDecrypt) {
		t.Errorf("a byte added: %v", err)
	}
}

// Two keys of one ID can only be told apart by the tag: that error is ErrDecrypt too.
func TestForeignKeyOfSameID(t *testing.T) {
	a, b := mustNew(t, testKey(1)), mustNew(t, testKey(2))
	c := mustEncrypt(t, a, "text", "")
	copy(c[1:headerSize], (*b.keys)[0].id[:])
	if _, err := b.Decrypt(c, nil); !errors.Is(err, ErrDecrypt) {
		t.Errorf("Decrypt: %v", err)
	}
}

func TestRotation(t *testing.T) {
	old := mustNew(t, testKey(1))
	both := mustNew(t, testKey(2), testKey(1))
	newest := mustNew(t, testKey(2))

	fromOld := mustEncrypt(t, old, "kept", "ad")
	if got, err := both.Decrypt(fromOld, []byte("ad")); err != nil || string(got) != "kept" {
		t.Errorf("with the old key behind the new one: %q, %v", got, err)
	}
	if both.KeyID() != newest.KeyID() || both.KeyID() == old.KeyID() {
		t.Errorf("KeyID %s of both, %s of the newest, %s of the old", both.KeyID(), newest.KeyID(), old.KeyID())
	}
	if got, err := newest.Decrypt(mustEncrypt(t, both, "new", ""), nil); err != nil || string(got) != "new" {
		t.Errorf("the newest key did not encrypt: %q, %v", got, err)
	}
	_, err := newest.Decrypt(fromOld, []byte("ad"))
	if !errors.Is(err, ErrUnknownKey) || !strings.Contains(err.Error(), old.KeyID()) || !strings.Contains(err.Error(), newest.KeyID()) {
		t.Errorf("with the old key dropped: %v; want ErrUnknownKey with both key IDs", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		keys [][]byte
		want string
	}{
		"none":      {nil, "at least one"},
		"nil":       {[][]byte{nil}, "key 1: it has 0 bytes"},
		"AES-128":   {[][]byte{testKey(1), testKey(2)[:16]}, "key 2: it has 16 bytes"},
		"too long":  {[][]byte{append(testKey(1), 1)}, "key 1: it has 33 bytes"},
		"the same":  {[][]byte{testKey(1), testKey(2), testKey(1)}, "keys 1 and 3 are the same"},
		"same slot": {slices.Repeat([][]byte{testKey(1)}, 2), "keys 1 and 2 are the same"},
	} {
		k, err := New(c.keys...)
		if k != nil || err == nil || !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), "secret: ") != 1 {
			t.Errorf("%s: %v, %v; want an error with %q", name, k, err, c.want)
		}
		if err != nil && showsKey(err.Error(), testKey(1)) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
}

func TestKeysAreCopied(t *testing.T) {
	raw := testKey(1)
	k := mustNew(t, raw)
	clear(raw)
	if got, err := mustNew(t, testKey(1)).Decrypt(mustEncrypt(t, k, "text", ""), nil); err != nil || string(got) != "text" {
		t.Errorf("after the caller's bytes were cleared: %q, %v", got, err)
	}
}

func TestWithoutKeys(t *testing.T) {
	var null *Keyring
	for name, k := range map[string]*Keyring{"nil": null, "zero": new(Keyring)} {
		if c, err := k.Encrypt([]byte("text"), nil); c != nil || !errors.Is(err, errNoKeys) {
			t.Errorf("%s: Encrypt: %x, %v", name, c, err)
		}
		if p, err := k.Decrypt(mustEncrypt(t, mustNew(t, testKey(1)), "text", ""), nil); p != nil || !errors.Is(err, errNoKeys) {
			t.Errorf("%s: Decrypt: %q, %v", name, p, err)
		}
		if id := k.KeyID(); id != "" {
			t.Errorf("%s: KeyID %q", name, id)
		}
		if got, want := k.String(), "secret.Keyring without keys"; got != want {
			t.Errorf("%s: String %q, want %q", name, got, want)
		}
	}
}

func TestPrintsNoKey(t *testing.T) {
	raw := testKey(1)
	k := mustNew(t, raw, testKey(101))
	type holder struct {
		Keys  *Keyring
		Value Keyring
		inner *Keyring
	}
	held := holder{k, *k, k}
	var shown []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%T", "%t"} {
		for _, v := range []any{k, *k, &k, held, &held, []*Keyring{k}, []Keyring{*k}, map[string]any{"k": *k}} {
			shown = append(shown, fmt.Sprintf(verb, v))
		}
	}
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("text", "keys", k, "value", *k, "held", held)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("json", "keys", k, "value", *k, "held", held)
	asJSON, err := json.Marshal(held)
	if err != nil {
		t.Fatal(err)
	}
	shown = append(shown, logged.String(), string(asJSON))
	for _, text := range shown {
		if showsKey(text, raw) || showsKey(text, testKey(101)) {
			t.Errorf("a key is shown: %s", text)
		}
	}
	want := "secret.Keyring of " + k.KeyID() + ", " + mustNew(t, testKey(101)).KeyID()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, k); got != want {
			t.Errorf("%s prints %s, want %s", verb, got, want)
		}
	}
	if !strings.Contains(logged.String(), want) {
		t.Errorf("slog shows %s, want %s in it", logged.String(), want)
	}
	// The detector itself works.
	for _, form := range []string{fmt.Sprintf("%x", raw), fmt.Sprintf("%v", raw), fmt.Sprintf("%#v", raw), fmt.Sprintf("%X", raw), base64.StdEncoding.EncodeToString(raw)} {
		if !showsKey(form, raw) {
			t.Errorf("not recognized as the key: %s", form)
		}
	}
}

func FuzzDecrypt(f *testing.F) {
	k := mustNew(f, testKey(1), testKey(2))
	f.Add(mustEncrypt(f, k, "text", "ad"), []byte("ad"))
	f.Add(mustEncrypt(f, mustNew(f, testKey(2)), "", ""), []byte(nil))
	f.Add(mustEncrypt(f, mustNew(f, testKey(3)), "text", ""), []byte(nil))
	f.Add([]byte{}, []byte{})
	f.Add([]byte{1, 2, 3, 4, 5}, []byte{})
	f.Fuzz(func(t *testing.T, ciphertext, ad []byte) {
		before := bytes.Clone(ciphertext)
		plaintext, err := k.Decrypt(ciphertext, ad)
		if !bytes.Equal(before, ciphertext) {
			t.Fatal("Decrypt changed its input")
		}
		if err != nil {
			if plaintext != nil || !errors.Is(err, ErrDecrypt) && !errors.Is(err, ErrUnknownKey) {
				t.Fatalf("%x, %v", plaintext, err)
			}
			if showsKey(err.Error(), testKey(1)) {
				t.Fatal("the error shows the key")
			}
		} else if len(plaintext)+33 != len(ciphertext) {
			t.Fatalf("%d bytes decrypt to %d", len(ciphertext), len(plaintext))
		}
		// What is encrypted comes back, and only in its own place.
		c, err := k.Encrypt(ciphertext, ad)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := k.Decrypt(c, ad); err != nil || !bytes.Equal(back, ciphertext) {
			t.Fatalf("round trip: %x, %v", back, err)
		}
		if _, err := k.Decrypt(c, append(bytes.Clone(ad), 0)); !errors.Is(err, ErrDecrypt) {
			t.Fatalf("in another place: %v", err)
		}
	})
}

func BenchmarkEncrypt(b *testing.B) {
	k := mustNew(b, testKey(1))
	text, ad := []byte("sk-0123456789abcdef0123456789abcdef"), []byte("llm_openai/api_key")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Encrypt(text, ad); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecrypt(b *testing.B) {
	k := mustNew(b, testKey(1))
	ad := []byte("llm_openai/api_key")
	c := mustEncrypt(b, k, "sk-0123456789abcdef0123456789abcdef", string(ad))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Decrypt(c, ad); err != nil {
			b.Fatal(err)
		}
	}
}
