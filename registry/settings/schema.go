package settings

import (
	"net/url"
	"slices"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
)

// A schema says here what to draw, never what is allowed: the registry judges. So reading it is lenient, and what cannot be understood
// becomes a JSON text in place.

// document is one schema with what its references need.
type document struct {
	root    *jsontext.Value
	anchors map[string]*jsontext.Value
}

func readDocument(schema []byte) *document {
	root, err := jsontext.ParseLenient(schema)
	if err != nil || root.Kind != jsontext.Object {
		return nil
	}
	d := &document{root: root, anchors: map[string]*jsontext.Value{}}
	for _, v := range root.All() {
		for _, m := range v.Members {
			switch m.Name {
			case "$anchor", "$dynamicAnchor":
				if m.Value.Kind == jsontext.String {
					d.anchors[m.Value.Text] = v
				}
			case "$id", "id":
				if m.Value.Kind == jsontext.String {
					d.anchors[m.Value.Text] = v
				}
			}
		}
	}
	return d
}

// target returns what a reference within the document points to, or nil.
func (d *document) target(ref string) *jsontext.Value {
	base, fragment, _ := strings.Cut(ref, "#")
	from := d.root
	if base != "" {
		if from = d.anchors[base]; from == nil {
			return nil
		}
	}
	if fragment == "" {
		return from
	}
	if f, err := url.PathUnescape(fragment); err == nil {
		fragment = f
	}
	if strings.HasPrefix(fragment, "/") {
		return from.At(fragment)
	}
	if v := d.anchors[fragment]; v != nil {
		return v
	}
	return d.anchors["#"+fragment]
}

// spec is what a schema says of one place, with its references and allOf merged.
type spec struct {
	words      map[string]*jsontext.Value // the first that says it counts
	properties []property
	required   map[string]bool
	nullable   bool
	from       []*jsontext.Value // the schemas merged, to notice recursion
}

type property struct {
	name    string
	schemas []*jsontext.Value
}

func (s *spec) text(word string) string {
	if v := s.words[word]; v != nil && v.Kind == jsontext.String {
		return v.Text
	}
	return ""
}

func (s *spec) is(word string) bool {
	v := s.words[word]
	return v != nil && v.Kind == jsontext.Bool && v.Text == "true"
}

func (s *spec) property(name string) *property {
	for i := range s.properties {
		if s.properties[i].name == name {
			return &s.properties[i]
		}
	}
	return nil
}

func (s *spec) declare(name string, schema *jsontext.Value) {
	if p := s.property(name); p != nil {
		p.schemas = append(p.schemas, schema)
		return
	}
	s.properties = append(s.properties, property{name, []*jsontext.Value{schema}})
}

// spec merges schemas that all count at one place.
func (d *document) spec(schemas ...*jsontext.Value) *spec {
	s := &spec{words: map[string]*jsontext.Value{}, required: map[string]bool{}}
	for _, v := range schemas {
		d.merge(s, v)
	}
	d.simplify(s)
	return s
}

// maxMerged bounds how many schemas count at one place.
const maxMerged = 100

func (d *document) merge(s *spec, v *jsontext.Value) {
	if v == nil || v.Kind != jsontext.Object || slices.Contains(s.from, v) || len(s.from) >= maxMerged {
		return
	}
	s.from = append(s.from, v)
	for _, m := range v.Members {
		switch m.Name {
		case "properties":
			for _, p := range m.Value.Members {
				s.declare(p.Name, p.Value)
				if required := p.Value.Member("required"); required != nil && required.Kind == jsontext.Bool &&
					required.Text == "true" && p.Value.Member("condition") == nil {
					s.required[p.Name] = true // as drafts before 4 had it, and as many write it today
				}
			}
		case "required":
			for _, name := range m.Value.Items {
				if name.Kind == jsontext.String {
					s.required[name.Text] = true
				}
			}
		case "$ref", "$dynamicRef", "$recursiveRef", "allOf", "if", "then", "else", "dependentSchemas", "dependencies":
		default:
			if s.words[m.Name] == nil {
				s.words[m.Name] = m.Value
			}
		}
	}
	for _, word := range []string{"$ref", "$dynamicRef", "$recursiveRef"} {
		if ref := v.Member(word); ref != nil && ref.Kind == jsontext.String {
			d.merge(s, d.target(ref.Text))
		}
	}
	if all := v.Member("allOf"); all != nil {
		for _, part := range all.Items {
			d.merge(s, part)
		}
	}
	for _, word := range []string{"then", "else"} {
		d.offer(s, v.Member(word))
	}
	for _, word := range []string{"dependentSchemas", "dependencies"} {
		if by := v.Member(word); by != nil {
			for _, m := range by.Members {
				d.offer(s, m.Value)
			}
		}
	}
}

// offer declares the properties of a schema that counts only at times: they can be filled in, and the registry says when they are needed.
func (d *document) offer(s *spec, v *jsontext.Value) {
	if v == nil || v.Kind != jsontext.Object {
		return
	}
	part := &spec{words: map[string]*jsontext.Value{}, required: map[string]bool{}, from: s.from}
	d.merge(part, v)
	for _, p := range part.properties {
		if s.property(p.name) == nil {
			s.properties = append(s.properties, p)
		}
	}
}

// simplify takes null out of the types, and merges the one branch that is left beside null.
func (d *document) simplify(s *spec) {
	if s.is("nullable") {
		s.nullable = true
	}
	if t := s.words["type"]; t != nil && t.Kind == jsontext.Array {
		var rest []*jsontext.Value
		for _, item := range t.Items {
			if item.Text == "null" {
				s.nullable = true
			} else {
				rest = append(rest, item)
			}
		}
		if len(rest) == 2 && (rest[0].Text == "integer" || rest[1].Text == "integer") && (rest[0].Text == "number" || rest[1].Text == "number") {
			rest = []*jsontext.Value{{Kind: jsontext.String, Text: "number"}}
		}
		if len(rest) == 1 {
			s.words["type"] = rest[0]
		} else {
			s.words["type"] = &jsontext.Value{Kind: jsontext.Array, Items: rest}
		}
	}
	for _, word := range []string{"oneOf", "anyOf"} {
		branches := s.words[word]
		if branches == nil || branches.Kind != jsontext.Array {
			continue
		}
		var rest []*jsontext.Value
		for _, b := range branches.Items {
			if isNullSchema(b) {
				s.nullable = true
			} else {
				rest = append(rest, b)
			}
		}
		if len(rest) != 1 {
			if len(rest) < len(branches.Items) {
				s.words[word] = &jsontext.Value{Kind: jsontext.Array, Items: rest}
			}
			continue
		}
		delete(s.words, word)
		d.merge(s, rest[0])
		if t := s.words["type"]; t != nil && t.Kind == jsontext.Array {
			d.simplify(s)
		}
	}
}

func isNullSchema(v *jsontext.Value) bool {
	if t := v.Member("type"); t != nil && t.Kind == jsontext.String {
		return t.Text == "null"
	}
	c := v.Member("const")
	return c != nil && c.Kind == jsontext.Null
}

// kind says what is drawn at a place.
type kind string

const (
	kindObject  kind = "object"
	kindMap     kind = "map"
	kindList    kind = "list"
	kindBoolean kind = "boolean"
	kindEnum    kind = "enum"
	kindNumber  kind = "number"
	kindString  kind = "string"
	kindBranch  kind = "branch"
	kindSecret  kind = "secret"
	kindJSON    kind = "json"
)

// words by which a schema without a type tells its type.
var typeWords = []struct {
	kind  kind
	words []string
}{
	{kindObject, []string{"properties", "additionalProperties", "patternProperties", "minProperties", "maxProperties"}},
	{kindList, []string{"items", "minItems", "maxItems", "uniqueItems"}},
	{kindString, []string{"pattern", "minLength", "maxLength", "format"}},
	{kindNumber, []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}},
}

func (d *document) kind(s *spec) kind { return d.kindWithin(s, 10) }

// kindWithin looks at lists in lists to that depth: a list may be of itself.
func (d *document) kindWithin(s *spec, depth int) kind {
	if len(d.choices(s)) > 0 {
		return kindEnum
	}
	k := kindJSON
	switch t := s.words["type"]; {
	case t != nil && t.Kind == jsontext.String:
		switch t.Text {
		case "object":
			k = kindObject
		case "array":
			k = kindList
		case "string":
			k = kindString
		case "number", "integer":
			k = kindNumber
		case "boolean":
			k = kindBoolean
		}
	case t == nil && len(s.properties) > 0:
		k = kindObject
	case t == nil:
		for _, by := range typeWords {
			if k == kindJSON && slices.ContainsFunc(by.words, func(w string) bool { return s.words[w] != nil }) {
				k = by.kind
			}
		}
		if k == kindJSON && d.branches(s) != nil {
			k = kindObject
		}
	}
	switch k {
	case kindObject:
		return d.objectKind(s)
	case kindList:
		items := s.words["items"]
		if items == nil || items.Kind != jsontext.Object || s.words["prefixItems"] != nil || depth == 0 {
			return kindJSON
		}
		if d.kindWithin(d.spec(items), depth-1) == kindJSON && !d.hasKind(items) {
			return kindJSON
		}
	case kindString, kindNumber, kindBoolean:
		if s.words["contentEncoding"] != nil {
			return kindJSON
		}
	}
	return k
}

// hasKind tells whether the items of a list are worth a box each, though each is a JSON text.
func (d *document) hasKind(items *jsontext.Value) bool {
	s := d.spec(items)
	return s.words["type"] != nil || s.words["oneOf"] != nil || s.words["anyOf"] != nil
}

func (d *document) objectKind(s *spec) kind {
	if b := d.branches(s); b != nil {
		return kindBranch
	}
	for _, word := range []string{"oneOf", "anyOf"} {
		if of := s.words[word]; of != nil {
			for _, branch := range of.Items {
				for _, p := range d.spec(branch).properties {
					if s.property(p.name) == nil {
						return kindJSON // two forms that nothing tells apart
					}
				}
			}
		}
	}
	if len(s.properties) > 0 {
		return kindObject
	}
	if s.entries() != nil {
		return kindMap
	}
	if v := s.words["additionalProperties"]; v != nil && v.Kind == jsontext.Bool && v.Text == "false" {
		return kindObject
	}
	return kindJSON
}

// entries is the schema of the keys that properties does not name, or nil if there is none that can be drawn.
func (s *spec) entries() *jsontext.Value {
	v := s.words["additionalProperties"]
	if v != nil && v.Kind == jsontext.Object && len(v.Members) > 0 {
		return v
	}
	if p := s.words["patternProperties"]; p != nil && len(p.Members) == 1 && p.Members[0].Value.Kind == jsontext.Object {
		return p.Members[0].Value
	}
	return nil
}

// choice is one value of an enum.
type choice struct {
	value *jsontext.Value
	label string
}

// choices returns the values that a place may have, if the schema lists them.
func (d *document) choices(s *spec) []choice {
	if c := s.words["const"]; c != nil {
		return []choice{{c, label(c)}}
	}
	if e := s.words["enum"]; e != nil && e.Kind == jsontext.Array {
		var all []choice
		names := s.words["enumNames"]
		if names == nil {
			names = s.words["x-enumNames"]
		}
		for i, v := range e.Items {
			c := choice{v, label(v)}
			if names != nil && i < len(names.Items) && names.Items[i].Kind == jsontext.String && names.Items[i].Text != "" {
				c.label = names.Items[i].Text
			}
			all = append(all, c)
		}
		return all
	}
	for _, word := range []string{"oneOf", "anyOf"} {
		of := s.words[word]
		if of == nil || len(of.Items) == 0 {
			continue
		}
		var all []choice
		for _, branch := range of.Items {
			b := d.spec(branch)
			if len(b.properties) > 0 || b.words["oneOf"] != nil || b.words["anyOf"] != nil {
				all = nil
				break
			}
			some := d.choices(b)
			if len(some) == 0 {
				all = nil
				break
			}
			if title := b.text("title"); title != "" && len(some) == 1 {
				some[0].label = title
			}
			all = append(all, some...)
		}
		if all != nil {
			return all
		}
	}
	return nil
}

// label is how a value is shown to people.
func label(v *jsontext.Value) string {
	if v.Kind == jsontext.String && v.Text != "" {
		return v.Text
	}
	return string(v.Append(nil))
}

// branches are object forms told apart by one name.
type branches struct {
	name  string // of the property that tells them apart
	forms []branch
}

type branch struct {
	value  *jsontext.Value // of that property
	label  string
	schema *jsontext.Value
	spec   *spec
}

func (d *document) branches(s *spec) *branches {
	for _, word := range []string{"oneOf", "anyOf"} {
		of := s.words[word]
		if of == nil || of.Kind != jsontext.Array || len(of.Items) < 2 {
			continue
		}
		specs := make([]*spec, len(of.Items))
		for i, v := range of.Items {
			specs[i] = d.spec(v)
		}
		for _, p := range specs[0].properties {
			b := &branches{name: p.name}
			taken := map[string]bool{}
			for i, one := range specs {
				q := one.property(p.name)
				if q == nil {
					break
				}
				what := d.spec(q.schemas...)
				choices := d.choices(what)
				if len(choices) != 1 || taken[string(choices[0].value.Append(nil))] {
					break
				}
				taken[string(choices[0].value.Append(nil))] = true
				title := one.text("title")
				if title == "" {
					title = choices[0].label
				}
				b.forms = append(b.forms, branch{choices[0].value, title, of.Items[i], one})
			}
			if len(b.forms) == len(specs) {
				return b
			}
		}
	}
	return nil
}
