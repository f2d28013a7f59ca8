package settings

import (
	"fmt"
	"mime"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/registry"
)

// Bounds of a form. What is over them is edited as JSON.
const (
	maxControls = 1000    // controls of one form
	maxForm     = 256_000 // bytes of a config
	maxLevels   = 12      // objects and lists in each other, for what the config does not have yet
)

// form is a config as controls, drawn from a schema and a document. Drawing the same document again gives the same form, so a POST can be
// compared with what was shown.
type form struct {
	doc      *jsontext.Value
	schema   *document
	Root     *field
	byPlace  map[string]*field
	controls int
	ids      int
	blank    map[*jsontext.Value]bool // added items and entries that nobody has filled in yet
	renamed  map[*jsontext.Value]string
	readOnly bool
}

// field is one control, or an object or list of them.
type field struct {
	form   *form
	parent *field
	spec   *spec

	ID       string // for labels; it means nothing
	Pointer  string
	Name     string // of the member; for an item its number
	Label    string // as it is shown
	Title    string // the label without what is added to it
	Kind     kind
	Required bool
	Value    *jsontext.Value // nil: not set

	Shown       string // what the control says
	Type        string // of an input
	Mode        string // inputmode
	Lines       bool   // a textarea
	Placeholder string
	Hint        string
	Examples    []string
	Options     []option
	Nullable    bool
	IsNull      bool
	Stored      bool // a secret is stored
	Typed       bool // a new secret was typed and is not saved yet
	secretJSON  bool // the secret is no text
	Unknown     []string
	Children    []*field
	Entry       bool // a map's entry: its key can be changed
	EntryKey    string
	Item        bool // a list's item
	Index, Last int
	Removable   bool // an object that is set and need not be
	Branch      *branches

	Errors    []string
	Theirs    string // what somebody else saved here meanwhile
	HasTheirs bool
}

type option struct {
	Value, Label string
	Selected     bool
}

// draw makes the form of a document.
func draw(schema *document, doc *jsontext.Value, blank map[*jsontext.Value]bool) *form {
	f := &form{doc: doc, schema: schema, byPlace: map[string]*field{}, blank: blank, renamed: map[*jsontext.Value]string{}}
	if f.blank == nil {
		f.blank = map[*jsontext.Value]bool{}
	}
	f.Root = &field{form: f, Value: doc, Label: "Config", Title: "Config"}
	var s *spec
	if schema != nil {
		s = schema.spec(schema.root)
	}
	f.fill(f.Root, s, nil)
	if f.Root.Kind != kindObject && f.Root.Kind != kindMap && f.Root.Kind != kindBranch || f.tooBig() {
		f.Root.Children, f.Root.Options, f.Root.Branch, f.Root.Unknown = nil, nil, nil, nil
		f.byPlace = map[string]*field{"": f.Root}
		f.json(f.Root)
	}
	f.Root.Hint = "" // the page begins with it
	return f
}

// tooBig tells whether a form has more controls than a page should.
func (f *form) tooBig() bool { return f.controls > maxControls }

// all calls do with every field, parents first.
func (f *form) all(do func(*field)) {
	var walk func(x *field)
	walk = func(x *field) {
		do(x)
		for _, c := range x.Children {
			walk(c)
		}
	}
	walk(f.Root)
}

func (f *form) fill(x *field, s *spec, above []*jsontext.Value) {
	f.ids++
	x.ID = "f" + strconv.Itoa(f.ids)
	f.byPlace[x.Pointer] = x
	if s == nil {
		s = &spec{words: map[string]*jsontext.Value{}}
	}
	x.spec = s
	x.Nullable = s.nullable
	x.IsNull = x.Value != nil && x.Value.Kind == jsontext.Null && !f.blank[x.Value]
	x.Hint = s.text("description")
	x.Kind = kindJSON
	if f.schema != nil && !f.tooBig() {
		x.Kind = f.schema.kind(s)
	}
	recursive := len(above) > maxLevels || slices.ContainsFunc(s.from, func(v *jsontext.Value) bool { return slices.Contains(above, v) })
	if x.Value == nil && recursive && (x.Kind == kindObject || x.Kind == kindBranch) {
		x.Kind = kindJSON // it would have no end
	}
	above = append(slices.Clip(above), s.from...)
	set := x.Value != nil && !x.IsNull && !f.blank[x.Value]
	switch x.Kind {
	case kindObject, kindMap, kindBranch:
		if set && x.Value.Kind != jsontext.Object {
			break
		}
		x.Removable = set && x.parent != nil && !x.Required && !x.Item && !x.Entry
		f.object(x, s, above)
		return
	case kindList:
		if set && x.Value.Kind != jsontext.Array {
			break
		}
		f.list(x, s, above)
		return
	case kindBoolean, kindEnum:
		f.choose(x, s)
		f.controls++
		return
	case kindNumber, kindString:
		if set && (x.Value.Kind == jsontext.Object || x.Value.Kind == jsontext.Array || x.Value.Kind == jsontext.Bool) {
			break
		}
		f.text(x, s)
		f.controls++
		return
	}
	f.json(x)
	f.controls++
}

func (f *form) child(x *field, name string, value *jsontext.Value, schemas ...*jsontext.Value) (*field, *spec) {
	s := f.schema.spec(schemas...)
	c := &field{form: f, parent: x, Name: name, Pointer: x.Pointer + "/" + jsontext.EscapeToken(name), Value: value, Title: s.text("title")}
	if c.Title == "" {
		c.Title = name
	}
	return c, s
}

func (f *form) object(x *field, s *spec, above []*jsontext.Value) {
	var of *jsontext.Value // the object, if it is there
	if x.Value != nil && x.Value.Kind == jsontext.Object {
		of = x.Value
	}
	merged := s
	if b := f.schema.branches(s); b != nil && x.Kind == kindBranch {
		x.Branch = b
		f.controls++
		chosen := of.Member(b.name)
		x.Options = append(x.Options, option{Label: "Choose …"})
		known := chosen == nil
		for i := range b.forms {
			o := option{Value: string(b.forms[i].value.Append(nil)), Label: b.forms[i].label}
			if chosen != nil && equal(chosen, b.forms[i].value) {
				o.Selected, known = true, true
				x.Shown = o.Value
				merged = f.schema.spec(append([]*jsontext.Value{b.forms[i].schema}, withoutBranches(s.from)...)...)
				above = append(slices.Clip(above), b.forms[i].schema)
			}
			x.Options = append(x.Options, o)
		}
		if !known {
			x.Shown = string(chosen.Append(nil))
			x.Options = append(x.Options, option{Value: x.Shown, Label: label(chosen), Selected: true})
		}
	}
	for _, p := range merged.properties {
		if x.Branch != nil && p.name == x.Branch.name {
			continue
		}
		c, cs := f.child(x, p.name, of.Member(p.name), p.schemas...)
		c.Required = merged.required[p.name]
		x.Children = append(x.Children, c)
		f.fill(c, cs, above)
		if f.tooBig() {
			return
		}
	}
	entries := merged.entries()
	if of != nil {
		for _, m := range of.Members {
			if merged.property(m.Name) != nil || x.Branch != nil && m.Name == x.Branch.name {
				continue
			}
			if entries == nil {
				x.Unknown = append(x.Unknown, m.Name)
				continue
			}
			c, cs := f.child(x, m.Name, m.Value, entries)
			c.Entry, c.EntryKey, c.Title = true, m.Name, m.Name
			if f.blank[m.Value] {
				c.EntryKey, c.Title = "", "New entry"
			}
			if key, ok := f.renamed[m.Value]; ok {
				c.EntryKey = key
			}
			x.Children = append(x.Children, c)
			f.controls++
			f.fill(c, cs, above)
		}
	}
	if entries != nil && x.Kind == kindObject {
		x.Kind = kindMap
	}
}

// withoutBranches keeps what a schema says beside its branches.
func withoutBranches(schemas []*jsontext.Value) []*jsontext.Value {
	var kept []*jsontext.Value
	for _, v := range schemas {
		c := &jsontext.Value{Kind: v.Kind}
		for _, m := range v.Members {
			if m.Name != "oneOf" && m.Name != "anyOf" && m.Name != "title" && m.Name != "$ref" && m.Name != "allOf" {
				c.Members = append(c.Members, m)
			}
		}
		kept = append(kept, c)
	}
	return kept
}

func (f *form) list(x *field, s *spec, above []*jsontext.Value) {
	if x.Value == nil {
		return
	}
	items := s.words["items"]
	for i, item := range x.Value.Items {
		c, cs := f.child(x, strconv.Itoa(i), item, items)
		title := cs.text("title")
		if title == "" {
			title = x.Title
		}
		c.Title = title + " " + strconv.Itoa(i+1)
		c.Item, c.Index, c.Last = true, i, len(x.Value.Items)-1
		x.Children = append(x.Children, c)
		f.fill(c, cs, above)
	}
}

// choose draws a boolean or an enum as a select.
func (f *form) choose(x *field, s *spec) {
	first := "Not set"
	if def := s.words["default"]; def != nil {
		first = "Default (" + shorten(f.named(s, def)) + ")"
	} else if x.Required {
		first = "Choose …"
	}
	x.Options = []option{{Label: first}}
	choices := f.schema.choices(s)
	if x.Kind == kindBoolean {
		choices = []choice{{&jsontext.Value{Kind: jsontext.Bool, Text: "true"}, "Yes"}, {&jsontext.Value{Kind: jsontext.Bool, Text: "false"}, "No"}}
	}
	set := x.Value
	if set != nil && (f.blank[set] || x.IsNull) {
		set = nil
	}
	known := set == nil
	for _, c := range choices {
		if c.value.Kind == jsontext.Null {
			x.Nullable = true
			if x.IsNull {
				known = true
			}
			continue
		}
		o := option{Value: string(c.value.Append(nil)), Label: c.label}
		if set != nil && !known && equal(set, c.value) {
			o.Selected, known, x.Shown = true, true, o.Value
		}
		x.Options = append(x.Options, o)
	}
	if !known {
		x.Shown = string(set.Append(nil))
		x.Options = append(x.Options, option{Value: x.Shown, Label: label(set), Selected: true})
	}
}

func (f *form) named(s *spec, v *jsontext.Value) string {
	if v.Kind == jsontext.Bool {
		if v.Text == "true" {
			return "Yes"
		}
		return "No"
	}
	for _, c := range f.schema.choices(s) {
		if equal(c.value, v) {
			return c.label
		}
	}
	return label(v)
}

var (
	isDate = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)
	isTime = regexp.MustCompile(`^\d{2}:\d{2}$`)
)

// text draws a string or a number. A type of input is chosen only if the browser gives back what is stored as it was.
func (f *form) text(x *field, s *spec) {
	x.Type = "text"
	if x.Value != nil && !f.blank[x.Value] && !x.IsNull {
		x.Shown = x.Value.Text
	}
	format := strings.ToLower(s.text("format"))
	switch {
	case x.Kind == kindNumber:
		x.Mode = "decimal"
		if s.text("type") == "integer" {
			x.Mode = "numeric"
			if minimum := s.words["minimum"]; minimum == nil || strings.HasPrefix(minimum.Text, "-") {
				x.Mode = "text" // numeric keyboards have no minus
			}
		}
	case strings.Contains(x.Shown, "\n") || isMultiline(s):
		x.Lines = true
	case format == "email" || format == "idn-email":
		x.Type = "email"
	case format == "uri" || format == "url" || format == "iri":
		x.Type = "url"
	case format == "date" && (x.Shown == "" || isDate.MatchString(x.Shown)):
		x.Type = "date"
	case format == "time" && isTime.MatchString(x.Shown):
		x.Type = "time"
	case format == "date-time":
		x.Placeholder = "2026-01-31T18:30:00Z"
	case format == "time":
		x.Placeholder = "18:30:00Z"
	}
	if x.Placeholder == "" {
		if examples := s.words["examples"]; examples != nil && len(examples.Items) > 0 && examples.Items[0].Kind < jsontext.Array {
			x.Placeholder = examples.Items[0].Text
		} else if example := s.words["example"]; example != nil && example.Kind < jsontext.Array {
			x.Placeholder = example.Text
		}
	}
	f.hintDefault(x, s)
}

func isMultiline(s *spec) bool {
	if s.is("multiline") || s.text("format") == "textarea" || s.text("format") == "multiline" || s.text("ui:widget") == "textarea" {
		return true
	}
	if media, _, err := mime.ParseMediaType(s.text("contentMediaType")); err == nil {
		return strings.HasPrefix(media, "text/")
	}
	return false
}

func (f *form) hintDefault(x *field, s *spec) {
	if def := s.words["default"]; def != nil {
		text := string(def.Append(nil))
		if def.Kind == jsontext.String && def.Text != "" {
			text = def.Text
		}
		x.Hint = strings.TrimSpace(x.Hint + " Default: " + shorten(text))
	}
}

const shownDefault = 200

func shorten(s string) string {
	if len(s) <= shownDefault {
		return s
	}
	return strings.ToValidUTF8(s[:shownDefault], "") + "…"
}

func (f *form) json(x *field) {
	x.Kind, x.Lines = kindJSON, true
	if x.Value != nil && !f.blank[x.Value] {
		x.Shown = string(indented(x.Value))
	}
	x.Nullable = false
	f.hintDefault(x, x.spec)
}

// hide turns what is secret into controls that show nothing. secrets are the places that the registry calls secret, or nil with all set if
// nobody can tell.
func (f *form) hide(secrets map[string]bool) {
	var walk func(x *field, within bool)
	walk = func(x *field, within bool) {
		within = within || secrets[x.Pointer]
		stored := x.Value != nil && hidden(x.Value)
		if x.parent != nil && (within || stored) {
			f.secret(x)
			return
		}
		for _, c := range x.Children {
			walk(c, within)
		}
	}
	walk(f.Root, false)
}

func (f *form) secret(x *field) {
	// a whole secret object or list is one text of JSON
	x.secretJSON = x.Kind != kindString && !(x.Kind == kindJSON && x.spec.text("type") == "string") && x.Kind != kindNumber
	if x.Kind == kindJSON && x.Value != nil && hidden(x.Value) && f.schema != nil {
		// the mask made a text of what the schema says is something else
		k := f.schema.kind(x.spec)
		x.secretJSON = k != kindString && k != kindNumber
	}
	x.Lines = isMultiline(x.spec) || x.secretJSON
	x.Kind, x.Type, x.Mode, x.Shown, x.Placeholder = kindSecret, "password", "", "", ""
	x.Children, x.Options, x.Unknown, x.Branch = nil, nil, nil, nil
	x.Hint = x.spec.text("description") // a default may be secret, too
	x.Removable, x.Nullable = false, false
	x.Stored = x.Value != nil && hidden(x.Value) && !isTyped(x.Value)
	x.Typed = x.Value != nil && isTyped(x.Value)
}

// label puts the words beside a label that are part of it.
func (f *form) label() {
	f.all(func(x *field) {
		x.Label = x.Title
		if x.Required && x.Children == nil && x.Kind != kindObject && x.Kind != kindMap && x.Kind != kindList && x.Kind != kindBranch {
			x.Label += " (required)"
		}
		if x.Kind == kindJSON || x.Kind == kindSecret && x.secretJSON {
			x.Label += " (JSON)"
		}
	})
}

// probe is the document with something at every place that has a control, so that the registry can say which of them are secret.
func (f *form) probe() *jsontext.Value {
	var fill func(x *field) *jsontext.Value
	fill = func(x *field) *jsontext.Value {
		if len(x.Children) == 0 && x.Kind != kindObject && x.Kind != kindMap && x.Kind != kindBranch || x.Value != nil && hidden(x.Value) {
			if x.Value != nil && x.Value.Kind != jsontext.Null && x.Value.Text != "" || x.Value != nil && x.Value.Kind >= jsontext.Array {
				return x.Value
			}
			return &jsontext.Value{Kind: jsontext.String, Text: "x"}
		}
		if x.Kind == kindList {
			v := &jsontext.Value{Kind: jsontext.Array}
			for _, c := range x.Children {
				v.Items = append(v.Items, fill(c))
			}
			return v
		}
		v := &jsontext.Value{Kind: jsontext.Object}
		for _, c := range x.Children {
			v.Members = append(v.Members, jsontext.Member{Name: c.Name, Value: fill(c)})
		}
		if x.Value != nil {
			for _, m := range x.Value.Members {
				if v.Member(m.Name) == nil {
					v.Members = append(v.Members, m)
				}
			}
		}
		return v
	}
	return fill(f.Root)
}

// hidden tells whether v stands for a secret that is not shown.
func hidden(v *jsontext.Value) bool {
	return v.Kind == jsontext.String && strings.HasPrefix(v.Text, registry.Redacted)
}

// equal tells whether two values say the same; numbers are the same if their digits are, or if both are whole and equal.
func equal(a, b *jsontext.Value) bool {
	if a == nil || b == nil || a.Kind != b.Kind || len(a.Items) != len(b.Items) || len(a.Members) != len(b.Members) {
		return a == b
	}
	if a.Kind == jsontext.Number && a.Text != b.Text {
		return plain(a.Text) == plain(b.Text)
	}
	if a.Text != b.Text {
		return false
	}
	for i := range a.Items {
		if !equal(a.Items[i], b.Items[i]) {
			return false
		}
	}
	for _, m := range a.Members {
		if !equal(m.Value, b.Member(m.Name)) {
			return false
		}
	}
	return true
}

// plain drops the zeros behind the point that say nothing.
func plain(digits string) string {
	if strings.ContainsAny(digits, "eE") || !strings.Contains(digits, ".") {
		return digits
	}
	return strings.TrimSuffix(strings.TrimRight(digits, "0"), ".")
}

// indented is the text of a value with two spaces a level.
func indented(v *jsontext.Value) []byte {
	var b []byte
	var write func(v *jsontext.Value, indent string)
	write = func(v *jsontext.Value, indent string) {
		switch {
		case v.Kind == jsontext.Array && len(v.Items) > 0:
			b = append(b, '[')
			for i, item := range v.Items {
				if i > 0 {
					b = append(b, ',')
				}
				b = append(b, "\n"+indent+"  "...)
				write(item, indent+"  ")
			}
			b = append(b, "\n"+indent+"]"...)
		case v.Kind == jsontext.Object && len(v.Members) > 0:
			b = append(b, '{')
			for i, m := range v.Members {
				if i > 0 {
					b = append(b, ',')
				}
				b = append(b, "\n"+indent+"  "...)
				b = append(jsontext.AppendQuoted(b, m.Name), ": "...)
				write(m.Value, indent+"  ")
			}
			b = append(b, "\n"+indent+"}"...)
		default:
			b = v.Append(b)
		}
	}
	write(v, "")
	return b
}

// counted says a number of things.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Controls counts the controls of the form.
func (f *form) Controls() int { return f.controls }

// Group tells whether the field is drawn as a fieldset.
func (x *field) Group() bool {
	return x.Kind == kindObject || x.Kind == kindMap || x.Kind == kindBranch || x.Kind == kindList
}

// Open tells whether entries can be added to the object.
func (x *field) Open() bool { return x.Kind == kindMap }

// Described lists the IDs of the texts that describe the control.
func (x *field) Described() string {
	var ids []string
	for _, part := range []struct {
		is     bool
		suffix string
	}{{x.Errors != nil, "-e"}, {x.HasTheirs, "-t"}, {x.Hint != "", "-h"}, {x.Kind == kindSecret, "-s"}} {
		if part.is {
			ids = append(ids, x.ID+part.suffix)
		}
	}
	return strings.Join(ids, " ")
}

// SecretState says whether a secret is stored.
func (x *field) SecretState() string {
	if x.Stored {
		return "stored"
	}
	return "none"
}

// Rows is the height of a textarea.
func (x *field) Rows() int { return rows(x.Shown) }

func rows(text string) int { return min(max(strings.Count(text, "\n")+2, 4), 24) }

// BranchLabel names the select that chooses an object's form.
func (x *field) BranchLabel() string {
	for _, b := range x.Branch.forms {
		for _, p := range b.spec.properties {
			if p.name == x.Branch.name {
				if title := x.form.schema.spec(p.schemas...).text("title"); title != "" {
					return title
				}
			}
		}
	}
	return x.Branch.name
}
