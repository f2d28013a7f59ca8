// Package schema reads JSON Schemas as they are found in the wild and checks, completes and searches configs with them.
//
// A schema that follows its draft is enforced as the draft says: 04, 06, 07, 2019-09 and 2020-12, told by "$schema"; draft-07
// where that is missing, undated or unknown. A document is of one draft as a whole. Formats are annotations. A part of a schema
// that cannot be understood is left out, Err names its place, and the rest is enforced. Leaving out only ever makes a schema
// more permissive, so no good config is refused because of a bad schema. Nothing is ever fetched or read from a file.
package schema

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Limits of a schema. One over maxBytes or maxNodes is not read at all; one over the others has its secrets found but is not
// Usable.
const (
	maxBytes   = 1 << 20 // of the text
	maxNodes   = 21_000  // sub-schemas
	maxInPlace = 400     // sub-schemas that apply to one value because one asks for the next ($ref, allOf, …)
	maxDynamic = 2000    // sub-schemas where there is a $dynamicRef or $recursiveRef
	maxSpread  = 4 << 20 // the sum of the squares of the levels of JSON around each sub-schema, as compiling grows with it
)

// Limits of a number in a config or a schema: over them it is not read, as comparing it exactly would take too long.
const (
	MaxNumberText     = 1000 // bytes
	MaxNumberExponent = 1000 // either way
)

// maxSteps is how many times a sub-schema may be applied to a value in one validation.
const maxSteps = 1_000_000

// Schema is a compiled JSON Schema. It is immutable and safe for concurrent use.
type Schema struct {
	err      error
	root     *node // nil: the text is no schema, nothing is known
	compiled *jsonschema.Schema
	steps    int // how often sub-schemas apply to a config of one value, at most; maxSteps+1 stands for more
}

// Compile reads the text of a JSON Schema, which must be a JSON object. It always returns a Schema: see Err and Usable.
// Where an object has a name twice the last one counts.
func Compile(raw json.RawMessage, _ Options) *Schema {
	s := &Schema{}
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
		s.err = fmt.Errorf("the schema must be a JSON object, this is %s", kindName(doc.Kind))
		return s
	}
	r := newReader(doc)
	root, err := r.read()
	if err != nil {
		s.err = err
		return s
	}
	s.root = root
	for _, n := range r.nodes {
		n.masked = r.masked(n)
	}
	defer func() {
		for _, n := range r.nodes {
			n.finish()
		}
	}()
	r.markReach(func(n *node) bool { return n.secret }, func(n *node) *bool { return &n.reachesSecret })
	if err := s.compile(r); err != nil {
		s.compiled = nil
		s.err = fmt.Errorf("the schema cannot be used to validate: %w", err)
		return s
	}
	s.err = r.notes.err()
	return s
}

// Err returns nil where all of the schema is enforced; else it tells which parts are not, or why the schema is not Usable.
// It names places in the schema by JSON Pointer, the first few of them.
func (s *Schema) Err() error { return s.err }

// Usable tells whether Validate validates. Where it is false, Secrets and Declares still work if the text is a JSON object
// within the limits, and WithDefaults adds nothing.
func (s *Schema) Usable() bool { return s.compiled != nil }

// notes collects the parts of a schema that are not enforced.
type notes struct {
	first []string
	more  int
	seen  map[string]bool
}

const (
	maxNotes    = 5
	maxNoteText = 200
)

func (n *notes) add(ptr, reason string) {
	text := fmt.Sprintf("at %s %s", quotePointer(ptr), reason)
	if n.seen[text] {
		return
	}
	if len(n.first) == maxNotes {
		n.more++
		return
	}
	if n.seen == nil {
		n.seen = map[string]bool{}
	}
	n.seen[text] = true
	n.first = append(n.first, text)
}

func (n *notes) err() error {
	if len(n.first) == 0 {
		return nil
	}
	text := strings.Join(n.first, "; ")
	if n.more > 0 {
		text += fmt.Sprintf("; and %d more", n.more)
	}
	return fmt.Errorf("parts of the schema are not enforced: %s", text)
}

// quotePointer writes a JSON Pointer into a message, shortened where it is very long.
func quotePointer(ptr string) string {
	if ptr == "" {
		return "the root"
	}
	return quoteShort(ptr)
}

// quoteShort quotes s for a message, without its end where it is very long.
func quoteShort(s string) string {
	if len(s) > maxNoteText {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(s[:maxNoteText], ""))
	}
	return fmt.Sprintf("%q", s)
}

func kindName(k jsontext.Kind) string {
	switch k {
	case jsontext.Null:
		return "null"
	case jsontext.Bool:
		return "a boolean"
	case jsontext.Number:
		return "a number"
	case jsontext.String:
		return "a string"
	case jsontext.Array:
		return "an array"
	}
	return "an object"
}
