package registry

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
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

// Redacted is what a read with HideSecrets shows for a secret. Saved in a secret field, it keeps the value that is stored there.
//
// A secret inside a list is shown as Redacted with a suffix that names the revision and the place it was taken from. Saved in any secret
// field of the config, such a text stands for the secret of that place, so that it follows its list item when others are deleted, inserted
// or moved. If the config has another revision by then, the error is store.ErrConflict. Redacted without a suffix inside a list keeps the
// stored value if the other values of the item are those of the stored item at that place, and of no other item of the list.
const Redacted = "**********"

// reference is Redacted with the suffix for a secret at pointer, taken at a revision: "**********@<revision><pointer>".
func reference(revision store.Revision, pointer string) string {
	return Redacted + "@" + url.PathEscape(string(revision)) + pointer
}

// hiddenText tells whether text stands for a hidden secret: Redacted, or a reference, which has a pointer.
func hiddenText(text string) (revision store.Revision, pointer string, ok bool) {
	suffix, ok := strings.CutPrefix(text, Redacted)
	if !ok || suffix == "" {
		return "", "", ok
	}
	suffix, ok = strings.CutPrefix(suffix, "@")
	i := strings.IndexByte(suffix, '/')
	if !ok || i < 0 {
		return "", "", false
	}
	taken, err := url.PathUnescape(suffix[:i])
	if _, bad := jsontext.SplitPointer(suffix[i:]); err != nil || bad != nil {
		return "", "", false
	}
	return store.Revision(taken), suffix[i:], true
}

// isHidden tells whether v stands for a hidden secret.
func isHidden(v *jsontext.Value) bool {
	if v.Kind != jsontext.String {
		return false
	}
	_, _, ok := hiddenText(v.Text)
	return ok
}

// A sealed value is {"$secret": "v1:<key id>:<base64>"}. The JSON text of the value is sealed. Category, name, instance and JSON Pointer
// are the associated data, so that it opens nowhere else.
const (
	sealedName    = "$secret"
	sealedVersion = "v1:"
)

// sealedText returns the text in a sealed value, and whether v is one. A field of that name whose value is hidden is none.
func sealedText(v *jsontext.Value) (string, bool) {
	if v == nil || v.Kind != jsontext.Object || len(v.Members) != 1 || v.Members[0].Name != sealedName {
		return "", false
	}
	in := v.Members[0].Value
	return in.Text, in.Kind == jsontext.String && !isHidden(in)
}

// mayHoldSealed tells quickly whether a config in canonical text can hold a sealed value.
func mayHoldSealed(text []byte) bool { return bytes.Contains(text, []byte(`{"`+sealedName+`":`)) }

func (r *Registry) keyID() string {
	if k, ok := r.aead.(interface{ KeyID() string }); ok {
		return k.KeyID()
	}
	return ""
}

func secretFault(pointer string, err error) error {
	return fmt.Errorf("the secret at %s: %w", strconv.Quote(pointer), err)
}

// seal returns the sealed form of v.
func (r *Registry) seal(binding, pointer string, v *jsontext.Value) (*jsontext.Value, error) {
	ciphertext, err := r.aead.Encrypt(v.Append(nil), []byte(binding+pointer))
	if err != nil {
		return nil, secretFault(pointer, fmt.Errorf("sealing it failed: %w", err))
	}
	sealed := sealedVersion + r.keyID() + ":" + base64.StdEncoding.EncodeToString(ciphertext)
	return &jsontext.Value{Kind: jsontext.Object, Members: []jsontext.Member{{Name: sealedName, Value: text(sealed)}}}, nil
}

// box is a sealed value and what is in it.
type box struct {
	sealed  *jsontext.Value
	binding string          // what it is bound to beside the pointer
	value   *jsontext.Value // nil if it cannot be opened
	err     error           // why
}

// open opens the sealed value at pointer.
func (r *Registry) open(o owner, pointer string, sealed *jsontext.Value) box {
	text, _ := sealedText(sealed)
	b := box{sealed: sealed}
	locked := func(err error) box {
		b.err = fmt.Errorf("%w: %w", ErrSecretLocked, err)
		return b
	}
	if r.aead == nil {
		return locked(ErrNoSecretKey)
	}
	_, encoded, ok := splitSealed(text)
	if !ok {
		return locked(errors.New("it is not in a form that this version knows"))
	}
	ciphertext, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return locked(errors.New("it is no base64 text"))
	}
	err = errors.New("no plugin can have the ID")
	for binding := range o.bindings() {
		var plaintext []byte
		if plaintext, err = r.aead.Decrypt(ciphertext, []byte(binding+pointer)); err != nil {
			continue
		}
		v, bad := jsontext.Parse(plaintext)
		if bad != nil {
			return locked(errors.New("it does not hold a JSON value"))
		}
		b.value, b.binding = v, binding
		return b
	}
	return locked(fmt.Errorf("%w; its key is missing, or it was sealed for another plugin, instance or place (CopyConfig copies a config with its secrets)", err))
}

// splitSealed returns the key ID and the base64 text of the text in a sealed value.
func splitSealed(text string) (key, ciphertext string, ok bool) {
	rest, ok := strings.CutPrefix(text, sealedVersion)
	i := strings.LastIndexByte(rest, ':')
	if !ok || i < 0 {
		return "", "", false
	}
	return rest[:i], rest[i+1:], true
}

// byNewestKey tells whether a sealed value was sealed by the key that seals now.
func (r *Registry) byNewestKey(sealed *jsontext.Value) bool {
	text, _ := sealedText(sealed)
	key, _, ok := splitSealed(text)
	return ok && key != "" && key == r.keyID()
}

// openAll opens what is sealed in config: it returns the config with what could be opened, and all boxes by their places. A whole config
// is never sealed, even if it looks like that.
func (r *Registry) openAll(o owner, config *jsontext.Value) (*jsontext.Value, map[string]box) {
	var boxes map[string]box
	values := edits{}
	for at, v := range config.All() {
		if v.Kind != jsontext.Object || len(v.Members) != 1 {
			continue
		}
		pointer := at.Pointer()
		if _, ok := sealedText(v); !ok || pointer == "" {
			continue
		}
		at.Skip()
		if boxes == nil {
			boxes = map[string]box{}
		}
		b := r.open(o, pointer, v)
		boxes[pointer] = b
		if b.value != nil {
			values[pointer] = b.value
		}
	}
	return values.in(config), boxes
}

// locked returns the error of the first box that could not be opened.
func locked(boxes map[string]box, unnamed places) error {
	for _, pointer := range sorted(boxes) {
		if err := boxes[pointer].err; err != nil {
			outer, _ := unnamed.cover(pointer)
			return secretFault(outer, err)
		}
	}
	return nil
}

// marks returns the schema that tells which values of a config are secret, or nil if it makes none secret. The error, ErrUnknownPlugin or
// ErrUnusableSchema, is that nobody can tell.
func (r *Registry) marks(o owner) (*schema.Schema, error) {
	switch {
	case !o.known():
		return nil, fmt.Errorf("%w, and so nobody can tell which values are secret", ErrUnknownPlugin)
	case o.schema.unusable() != nil:
		return nil, fmt.Errorf("%w, and so nobody can tell which values are secret: %w", ErrUnusableSchema, o.schema.unusable())
	case !r.maySecret(o.schema):
		return nil, nil
	}
	s := r.use(o.schema, o.id)
	if !s.KnowsSecrets() {
		return nil, fmt.Errorf("%w, and so nobody can tell which values are secret: %w", ErrUnusableSchema, o.schema.reason())
	}
	if !s.HasSecrets() {
		return nil, nil
	}
	return s, nil
}

// marked returns the places in config that are secret by the schema.
func marked(s *schema.Schema, config *jsontext.Value) places {
	if s == nil {
		return nil
	}
	return placesOf(s.Secrets(config))
}

// secretPlaces returns the outermost places in a stored config that a reader must not see: what is sealed, what is secret by today's schema,
// and every string and number if nobody can tell what is secret.
func (r *Registry) secretPlaces(o owner, config *jsontext.Value) places {
	s, unknown := r.marks(o)
	secret := marked(s, config)
	found := places{}
	for at, v := range config.All() {
		pointer := at.Pointer()
		_, sealed := sealedText(v)
		switch {
		case pointer == "" || isEmpty(v):
		case sealed, secret[pointer], unknown != nil && (v.Kind == jsontext.String || v.Kind == jsontext.Number):
			found[pointer] = true
			at.Skip()
		}
	}
	return found
}

// unnamed returns the places in config whose insides no error may name: those that are secret, or if nobody can tell which are, every
// member.
func unnamed(secret places, unknown error, config *jsontext.Value) places {
	if unknown == nil {
		return secret
	}
	all := places{}
	for _, m := range config.Members {
		all[jsontext.JoinPointer(m.Name)] = true
	}
	return all
}

// hide returns a stored config with its secrets hidden. It needs no key.
func (r *Registry) hide(o owner, config *jsontext.Value, revision store.Revision) *jsontext.Value {
	hidden := edits{}
	for pointer := range r.secretPlaces(o, config) {
		hidden[pointer] = text(Redacted)
		if len(lists(config, pointer)) > 0 {
			hidden[pointer] = text(reference(revision, pointer))
		}
	}
	return hidden.in(config)
}

// listItem is an item of a list, and its number.
type listItem struct {
	list   string // its pointer
	number int
}

// lists returns the list items on the way to pointer, outermost first.
func lists(config *jsontext.Value, pointer string) []listItem {
	tokens, _ := jsontext.SplitPointer(pointer)
	var found []listItem
	v, at := config, ""
	for _, t := range tokens {
		if v == nil {
			break
		}
		if v.Kind == jsontext.Array {
			n, err := strconv.Atoi(t)
			if err != nil || n < 0 || n >= len(v.Items) {
				break
			}
			found = append(found, listItem{at, n})
			v = v.Items[n]
		} else {
			v = v.Member(t)
		}
		at += "/" + jsontext.EscapeToken(t)
	}
	return found
}

// revelation is a config in which sealed and hidden values have become what they stand for.
type revelation struct {
	config *jsontext.Value
	sealed places            // where a value was opened: it stays sealed
	opened []*jsontext.Value // the values that were opened
}

// reveal opens what is sealed in a given config, and puts what is stored in the place of what is hidden.
func (r *Registry) reveal(o owner, given *jsontext.Value, was stored) (revelation, error) {
	s, unknown := r.marks(o)
	secret := marked(s, given)
	config, boxes := r.openAll(o, given)
	silent := unnamed(secret, unknown, given)
	if err := locked(boxes, silent); err != nil {
		return revelation{}, err
	}
	got := revelation{sealed: places{}}
	for pointer, b := range boxes {
		got.sealed[pointer] = true
		got.opened = append(got.opened, b.value)
	}
	shapes := places{} // of what is secret in the stored config: a secret list item may move in its list
	for pointer := range was.secret {
		shapes[shape(was.sealed, pointer)] = true
	}
	isSecret := func(pointer string) bool {
		_, marked := secret.cover(pointer)
		_, stored := shapes.cover(shape(given, pointer))
		return marked || stored || unknown != nil
	}
	keepsItem := itemKeeper(given, was, isSecret)
	givenSealed, storedSealed := placesOf(sorted(boxes)), placesOf(sorted(was.boxes))
	found := edits{}
	for at, v := range config.All() {
		if v.Kind != jsontext.String || !strings.HasPrefix(v.Text, Redacted) {
			continue
		}
		revision, from, ok := hiddenText(v.Text)
		pointer := at.Pointer()
		if _, opened := givenSealed.cover(pointer); !ok || opened {
			continue
		}
		outer, _ := silent.cover(pointer)
		refuse := func(why string) error {
			return secretFault(outer, fmt.Errorf("%w: %s stands for the stored value, %s; give the value itself", store.ErrInvalidConfig, Redacted, why))
		}
		bare, stale := from == "", from != "" && revision != was.Revision
		switch {
		case !isSecret(pointer):
			if _, there := was.secret.cover(from); from != "" && !stale && there {
				return got, refuse("and this is no secret field")
			}
			continue // a text like any other
		case stale:
			return got, &store.ConflictError{Want: revision, Current: was.Revision}
		case bare:
			from = pointer
		}
		if _, there := was.secret.cover(from); !there {
			return got, refuse("and none is stored")
		}
		if bare && !keepsItem(pointer) {
			return got, refuse("and it cannot be told which, as this list item is not the stored one at its place, or another looks the same")
		}
		if sealedAt, ok := storedSealed.cover(from); ok {
			if err := was.boxes[sealedAt].err; err != nil {
				return got, secretFault(outer, err)
			}
			got.sealed[pointer] = true
		}
		value := was.opened.At(from)
		if value == nil || isEmpty(value) {
			return got, refuse("and none is stored")
		}
		found[pointer] = value
	}
	got.config = found.in(config)
	return got, nil
}

// itemKeeper returns a function that tells whether every list item on the way to pointer is the stored one at its place, as far as can be
// seen without the secrets, and no other of its list.
func itemKeeper(given *jsontext.Value, was stored, isSecret func(string) bool) func(pointer string) bool {
	type list struct {
		now, before []string       // the items, without secrets
		times       map[string]int // how often each is in one of the lists, at most
	}
	seen := map[string]list{}
	bare := func(config *jsontext.Value, at string, hidden func(pointer string, v *jsontext.Value) bool) []string {
		list := config.At(at)
		if list == nil || list.Kind != jsontext.Array {
			return nil
		}
		items := make([]string, len(list.Items))
		for i, item := range list.Items {
			without := edits{}
			prefix := at + "/" + strconv.Itoa(i)
			for at, v := range item.All() {
				if pointer := at.Pointer(); hidden(prefix+pointer, v) {
					without[pointer] = text(Redacted)
					at.Skip()
				}
			}
			items[i] = key(without.in(item))
		}
		return items
	}
	return func(pointer string) bool {
		for _, item := range lists(given, pointer) {
			l, ok := seen[item.list]
			if !ok {
				l = list{
					now:    bare(given, item.list, func(pointer string, v *jsontext.Value) bool { return isHidden(v) && isSecret(pointer) }),
					before: bare(was.sealed, item.list, func(pointer string, _ *jsontext.Value) bool { return was.secret[pointer] }),
				}
				l.times = map[string]int{}
				for _, items := range [][]string{l.now, l.before} {
					times := map[string]int{}
					for _, item := range items {
						times[item]++
						l.times[item] = max(l.times[item], times[item])
					}
				}
				seen[item.list] = l
			}
			if item.number >= len(l.before) || l.before[item.number] != l.now[item.number] || l.times[l.now[item.number]] > 1 {
				return false
			}
		}
		return true
	}
}

// shape returns pointer with every number of a list item left out: it is the same for all items of a list.
func shape(config *jsontext.Value, pointer string) string {
	for _, item := range slices.Backward(lists(config, pointer)) {
		number := "/" + strconv.Itoa(item.number)
		pointer = item.list + "/-" + strings.TrimPrefix(pointer[len(item.list):], number)
	}
	return pointer
}
