// Package schema reads JSON Schemas as they are found in the wild and completes, judges and searches configs with them.
//
// A schema that follows its draft is enforced as the draft says: 04, 06, 07, 2019-09 and 2020-12, told by "$schema". Without a known
// "$schema" it is draft-07, or the draft of the newest keywords that it uses. A document is of one draft as a whole. Formats are
// annotations. A part of a schema that cannot be understood is left out, Err names its place, and the rest is enforced. Leaving out only
// ever makes a schema more permissive, so no good config is refused because of a bad schema. Nothing is ever fetched or read from a file.
package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Limits of a schema. One over maxBytes or maxNodes is not read at all; one over the others has its secrets found if it compiles, but is
// not Usable.
const (
	maxBytes   = 1 << 20 // of the text
	maxNodes   = 21_000  // sub-schemas
	maxInPlace = 400     // sub-schemas that apply to one value because one asks for the next ($ref, allOf, …)
	maxDynamic = 2000    // sub-schemas if there is a $dynamicRef or $recursiveRef
	maxSpread  = 4 << 20 // the sum of the squares of the levels of JSON around each sub-schema, as compiling grows with it
)

// Limits of a number in a config or a schema: over them it is not read, as comparing it exactly would take too long.
const (
	MaxNumberText     = 1000 // bytes
	MaxNumberExponent = 1000 // either way
)

// Options say what Compile knows besides the schema. The zero value is useful.
type Options struct {
	// Documents are schemas that references may name, by their URIs. Nothing else is ever read or fetched.
	Documents map[string]json.RawMessage
	// SecretMark tells whether a keyword of a schema, with its value, marks what the schema applies to as secret. The known marks count
	// without it.
	SecretMark func(keyword string, value json.RawMessage) bool
}

// Schema is a compiled JSON Schema. It is safe for concurrent use.
type Schema struct {
	err      error
	usable   bool
	blind    bool               // it speaks of secrets, and which values are secret cannot be told
	root     *jsonschema.Schema // nil: nothing is known
	steps    int                // how often sub-schemas apply to a config of one value, at most; maxSteps+1 stands for more
	secrets  map[*jsonschema.Schema]bool
	defaults map[*jsonschema.Schema]bool // those that have, or lead to, a default
	named    bool                        // the schema has a property "$schema"
	dynamic  targets
	made     sync.Map                 // what is put in for an absent member, by the schemas that apply to it and, if need be, to what it is in
	frozen   bool                     // nothing more is worked out: that would be too much
	costly   func(*jsonschema.Schema) // told of defaults that are too costly while the schema is made
}

// Compile reads the text of a JSON Schema, which must be a JSON object. It always returns a Schema: see Err and Usable.
// If an object has a name twice the last one counts.
func Compile(raw json.RawMessage, o Options) *Schema {
	s := &Schema{blind: true}
	if len(raw) > maxBytes {
		s.err = fmt.Errorf("the schema has %d bytes, %d are allowed", len(raw), maxBytes)
		return s
	}
	doc, err := jsontext.ParseLenient(raw)
	if err != nil {
		s.err = fmt.Errorf("the schema is not valid JSON: %w", err)
		return s
	}
	if doc.Kind != jsontext.Object {
		s.err = fmt.Errorf("the schema must be a JSON object, this is %s", doc.Kind)
		return s
	}
	b := &builder{options: o, schema: s, resolved: map[place]place{}, there: map[place]bool{}}
	if err := b.build(doc); err != nil {
		s.err = fmt.Errorf("the schema cannot be used to validate: %w", err)
		return s
	}
	s.usable, s.err = true, b.notes.err()
	return s
}

// Err returns nil if all of the schema is enforced; else it tells which parts are not, or why the schema is not Usable.
// It names places in the schema by JSON Pointer, the first few of them.
func (s *Schema) Err() error { return s.err }

// Usable tells whether configs can be judged. If it is false, Secrets and Declares still work as far as the schema could be read.
func (s *Schema) Usable() bool { return s.usable }

// notes collects the parts of a schema that are not enforced or look wrong.
type notes struct {
	first []string
	more  int
	seen  map[string]bool
}

const (
	maxNotes    = 5
	maxNoteText = 200
)

func (n *notes) add(at, reason string) {
	text := fmt.Sprintf("at %s %s", at, reason)
	if n.seen[text] {
		return
	}
	if n.seen == nil {
		n.seen = map[string]bool{}
	}
	n.seen[text] = true
	if len(n.first) == maxNotes {
		n.more++
		return
	}
	n.first = append(n.first, text)
}

func (n *notes) err() error {
	if len(n.first) == 0 {
		return nil
	}
	text := "parts of the schema are not enforced: " + strings.Join(n.first, "; ")
	if n.more > 0 {
		text += fmt.Sprintf("; and %d more", n.more)
	}
	return errors.New(text)
}

// quotePointer writes a JSON Pointer into a message, shortened if it is very long.
func quotePointer(ptr string) string {
	if ptr == "" {
		return "the root"
	}
	return quoteShort(ptr)
}

// quoteShort quotes s for a message, without its end if it is very long.
func quoteShort(s string) string {
	if len(s) > maxNoteText {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(s[:maxNoteText], ""))
	}
	return fmt.Sprintf("%q", s)
}
