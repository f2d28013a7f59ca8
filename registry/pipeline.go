package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/internal/schema"
	"github.com/pluginregistry/pluginregistry/store"
)

// A config goes the same way whoever saves it: it is read (given), sealed and hidden values become what they stand for (reveal), defaults
// are added (complete), the result is judged (judge), secrets are sealed (seal), and the sealed config is put over the revision that was
// read. Each step returns a new value; none changes a config that it is given. Reading goes the same way back.

// stored is a config as a store has it, opened as far as it can be.
type stored struct {
	store.Record                 // Config is the stored text
	sealed       *jsontext.Value // what it says
	opened       *jsontext.Value // the same with its secrets opened
	boxes        map[string]box  // what is sealed, by place
	secret       places          // what a reader must not see
	unnamed      places          // what no error may name the inside of
}

// nothing is the record of a config that is not there.
func nothing(id string) store.Record {
	return store.Record{ID: id, Config: json.RawMessage(`{}`), Revision: store.Absent}
}

// get returns the record of a config, or nothing.
func (r *Registry) get(ctx context.Context, id string) (store.Record, error) {
	rec, err := r.configs().Get(ctx, id)
	r.settle(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nothing(id), nil
	}
	return rec, err
}

// read returns what is stored.
func (r *Registry) read(ctx context.Context, o owner) (stored, error) {
	rec, err := r.get(ctx, o.id)
	if err != nil {
		return stored{}, err
	}
	return r.parse(o, rec)
}

func (r *Registry) parse(o owner, rec store.Record) (stored, error) {
	config, err := jsontext.Parse(rec.Config)
	if err != nil {
		return stored{}, fmt.Errorf("%w: %w", store.ErrCorrupt, r.shorten(o, err))
	}
	was := stored{Record: rec, sealed: config, secret: r.secretPlaces(o, config)}
	was.opened, was.boxes = r.openAll(o, config)
	_, unknown := r.marks(o)
	was.unnamed = unnamed(was.secret, unknown, config)
	return was, nil
}

// whole returns an error if a secret could not be opened.
func (was stored) whole() error { return locked(was.boxes, was.unnamed) }

// draft is a config that somebody wants to save.
type draft struct {
	config *jsontext.Value
	// from are stored configs that parts of config may come from, beside the one it replaces: their secrets stay secret.
	from []stored
}

// plan is a config that may be saved.
type plan struct {
	plain  json.RawMessage // as its readers get it
	sealed json.RawMessage // as it is stored
}

// plan does all that comes before a config is put into the store.
func (r *Registry) plan(ctx context.Context, o owner, d draft, was stored) (plan, error) {
	s, unknown := r.marks(o)
	if err := r.refuseUnknown(o, unknown, was); err != nil {
		return plan{}, err
	}
	revealed, err := r.reveal(o, d.config, was)
	if err != nil {
		return plan{}, err
	}
	secret := keptSecret(revealed, marked(s, revealed.config), append(slices.Clone(d.from), was))
	_, issues, err := r.complete(ctx, o, revealed.config)
	if err == nil {
		err = r.judge(o, issues, secret)
	}
	if err != nil {
		return plan{}, err
	}
	sealed, err := r.sealAll(o, revealed.config, secret, was)
	if err != nil {
		return plan{}, err
	}
	p := plan{plain: revealed.config.Append(nil)}
	if p.sealed = p.plain; sealed != revealed.config {
		p.sealed = sealed.Append(nil)
	}
	return p, nil
}

// refuseUnknown is an error if a config must not be saved because nobody can tell which of its values are secret.
func (r *Registry) refuseUnknown(o owner, unknown error, was stored) error {
	switch {
	case unknown == nil, r.plaintext:
		return nil
	case r.aead != nil, r.speaksOfSecrets(o), len(was.boxes) > 0:
		return fmt.Errorf("%w: register the plugin with a schema that can be read, or allow secrets to be stored in plain text with "+
			"WithPlaintextSecrets", unknown)
	}
	return nil
}

// speaksOfSecrets tells whether the plugin's schema, readable or not, seems to make something secret.
func (r *Registry) speaksOfSecrets(o owner) bool {
	return o.known() && len(o.schema.raw) > 0 && r.maySecret(o.schema)
}

// keptSecret returns the outermost places in config that are to be sealed: those marked by the schema, those where something sealed was
// put, and every value that was sealed in one of the stored configs it comes from, or is a part of what was, wherever it is now. A value
// that was in plain text at its place before is not kept secret for that.
func keptSecret(config revelation, marked places, from []stored) places {
	opened := values{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	for _, v := range config.opened {
		opened.add(v)
	}
	for _, was := range from {
		for _, b := range was.boxes {
			opened.add(b.value)
		}
	}
	wasSealed := func(pointer string, v *jsontext.Value) bool {
		return slices.ContainsFunc(from, func(was stored) bool {
			b := was.boxes[pointer]
			return b.value != nil && (isContainer(b.value) && isContainer(v) || key(b.value) == key(v))
		})
	}
	wasPlain := func(pointer string, v *jsontext.Value) bool {
		return slices.ContainsFunc(from, func(was stored) bool {
			before := was.sealed.At(pointer)
			return before != nil && key(before) == key(v)
		})
	}
	secret := places{}
	for at, v := range config.config.All() {
		pointer := at.Pointer()
		if pointer != "" && !isEmpty(v) &&
			(marked[pointer] || config.sealed[pointer] || wasSealed(pointer, v) || opened.have(v) && !wasPlain(pointer, v)) {
			secret[pointer] = true
			at.Skip()
		}
	}
	return secret
}

// values are values that were sealed, and their parts. Booleans and what is empty are not among them: they tell nothing.
type values struct{ strings, numbers, containers map[string]bool }

func (s values) add(v *jsontext.Value) {
	for _, v := range v.All() {
		switch {
		case isContainer(v) && len(v.Items)+len(v.Members) > 0:
			s.containers[key(v)] = true
		case v.Kind == jsontext.String && v.Text != "":
			s.strings[v.Text] = true
		case v.Kind == jsontext.Number: // also as a Go program writes it that has read it into a float64
			s.numbers[decimal(v.Text)] = true
			s.numbers[decimal(floatText(v.Text, 64))] = true
		}
	}
}

func (s values) have(v *jsontext.Value) bool {
	switch {
	case isContainer(v):
		return len(s.containers) > 0 && s.containers[key(v)]
	case v.Kind == jsontext.String:
		return s.strings[v.Text]
	case v.Kind == jsontext.Number:
		return len(s.numbers) > 0 && s.numbers[decimal(v.Text)]
	}
	return false
}

// complete returns the effective config and how it does not fit the schema of o.
func (r *Registry) complete(ctx context.Context, o owner, config *jsontext.Value) (*jsontext.Value, []schema.Issue, error) {
	if !o.known() {
		return config, nil, nil
	}
	s := r.use(o.schema, o.id)
	if !s.Usable() {
		return config, nil, nil
	}
	effective, issues := s.Complete(ctx, config)
	if err := ctx.Err(); err != nil && issues != nil {
		return nil, nil, err
	}
	return effective, issues, nil
}

// judge returns the verdict on a config in which complete has found the issues, and where these places are secret.
func (r *Registry) judge(o owner, issues []schema.Issue, secret places) error {
	if r.withoutChecking || !o.known() {
		return nil
	}
	if s := r.use(o.schema, o.id); !s.Usable() && r.strict {
		return fmt.Errorf("%w to validate: %w", ErrUnusableSchema, o.schema.reason())
	}
	found := make([]Issue, len(issues))
	for n, i := range issues {
		found[n] = Issue(i)
	}
	return invalid(o, found, secret)
}

// invalid returns the error of the issues, which names nothing that is inside a secret, or nil if there are none.
func invalid(o owner, issues []Issue, secret places) error {
	var found []Issue
	for _, i := range issues {
		if issue := hideName(i, secret); !slices.Contains(found, issue) {
			found = append(found, issue)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return &ValidationError{ID: o.id, Issues: found}
}

// hideName returns an issue that does not name what is inside a secret.
func hideName(i Issue, secret places) Issue {
	outer, _ := secret.cover(i.Pointer)
	if outer == i.Pointer {
		return i
	}
	return Issue{outer, i.Keyword, "something inside this secret does not fit its schema"}
}

// sealAll returns config with the secret places sealed. What is stored at its place already keeps its ciphertext.
func (r *Registry) sealAll(o owner, config *jsontext.Value, secret places, was stored) (*jsontext.Value, error) {
	if len(secret) == 0 || r.aead == nil && r.plaintext {
		return config, nil
	}
	if r.aead == nil {
		return nil, ErrNoSecretKey
	}
	binding := ""
	for binding = range o.bindings() {
		break
	}
	sealed := edits{}
	for _, pointer := range sorted(secret) {
		v := config.At(pointer)
		if b := was.boxes[pointer]; b.value != nil && string(b.value.Append(nil)) == string(v.Append(nil)) {
			sealed[pointer] = b.sealed
			continue
		}
		s, err := r.seal(binding, pointer, v)
		if err != nil {
			return nil, err
		}
		sealed[pointer] = s
	}
	return sealed.in(config), nil
}

// change is one save of one config.
type change struct {
	id    string
	match store.Revision
	given *jsontext.Value // the new config, or nil: then make makes it
	make  func(o owner, was stored) (draft, error)
	edits bool // make needs to know what is stored; else what cannot be read is written over
}

// prepare does all of a change but the put.
func (r *Registry) prepare(ctx context.Context, c change) (plan, store.Put, error) {
	o := r.owner(c.id)
	put := store.Put{ID: c.id, Match: c.match}
	d := draft{config: c.given}
	was := stored{Record: nothing(c.id)}
	var err error
	if c.given == nil || r.needsStored(o, c.given) {
		was, err = r.read(ctx, o)
		switch {
		case errors.Is(err, store.ErrCorrupt) && !c.edits:
			was, err = stored{Record: nothing(c.id)}, nil
		case err == nil:
			put.Match = was.Revision
			err = store.Match(c.match, was.Revision)
		}
	}
	if err == nil && c.given == nil {
		d, err = c.make(o, was)
	}
	if err != nil {
		return plan{}, put, err
	}
	p, err := r.plan(ctx, o, d, was)
	put.Config = p.sealed
	return p, put, err
}

// needsStored tells whether a given config can only be saved over what is known to be stored: what is sealed there must stay sealed.
func (r *Registry) needsStored(o owner, given *jsontext.Value) bool {
	if r.aead != nil {
		return true
	}
	if _, unknown := r.marks(o); unknown != nil && !r.plaintext {
		return true
	}
	for at, v := range given.All() {
		if _, sealed := sealedText(v); isHidden(v) || sealed && at.Pointer() != "" {
			return true
		}
	}
	return false
}

// save makes a change, again if somebody else saves meanwhile and the caller did not name a revision.
func (r *Registry) save(ctx context.Context, c change) (store.Record, error) {
	for try := 0; ; try++ {
		p, put, err := r.prepare(ctx, c)
		if err != nil {
			return store.Record{}, err
		}
		var rec store.Record
		err = r.writing(ctx, setting(configured, true), func() (err error) {
			rec, err = r.configs().Put(ctx, put.ID, put.Config, put.Match)
			return err
		}, put.ID)
		if err == nil {
			rec.Config = p.plain
			return rec, nil
		}
		if !errors.Is(err, store.ErrConflict) || c.match != store.Any {
			return store.Record{}, err
		}
		if err := pause(ctx, try); err != nil {
			return store.Record{}, err
		}
	}
}

// pause waits before a save is tried again, longer with each try, so that those who try at once do not meet again.
func pause(ctx context.Context, try int) error {
	longest := min(time.Millisecond<<min(try, 10), 100*time.Millisecond)
	timer := time.NewTimer(rand.N(longest))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// shorten returns an error of package jsontext without the names inside a secret of o.
func (r *Registry) shorten(o owner, err error) error {
	e, ok := errors.AsType[*jsontext.Error](err)
	if !ok || e.Pointer == "" {
		return err
	}
	short := *e
	short.Pointer = r.outside(o, e.Pointer)
	return &short
}

// outside returns the pointer without what is inside a secret of o, for a config that cannot be read. If nobody can tell what is secret it
// is cut after its first name.
func (r *Registry) outside(o owner, pointer string) string {
	tokens, err := jsontext.SplitPointer(pointer)
	if err != nil || len(tokens) == 0 {
		return ""
	}
	s, unknown := r.marks(o)
	if unknown != nil {
		return jsontext.JoinPointer(tokens[0])
	}
	for _, inLists := range []bool{false, true} {
		if at, ok := marked(s, along(tokens, inLists)).cover(pointer); ok {
			pointer = at
		}
	}
	return pointer
}

// along returns a config that has nothing but what tokens name; a number is that of a list item if inLists.
func along(tokens []string, inLists bool) *jsontext.Value {
	v := text("")
	for _, t := range slices.Backward(tokens) {
		n, err := strconv.Atoi(t)
		if inLists && err == nil && 0 <= n && n < 1<<20 && strconv.Itoa(n) == t {
			v = &jsontext.Value{Kind: jsontext.Array, Items: append(slices.Repeat([]*jsontext.Value{text("")}, n), v)}
		} else {
			v = &jsontext.Value{Kind: jsontext.Object, Members: []jsontext.Member{{Name: t, Value: v}}}
		}
	}
	return v
}
