package schema

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// builder makes a Schema: it mends the documents and has the library compile them. What the library objects to is left out, and so on
// until it compiles.
type builder struct {
	options   Options
	schema    *Schema
	docs      []*document // the schema, then the documents that it refers to
	notes     notes
	patterns  patterns
	targets   targetSet
	documents map[string]*jsontext.Value // of options, by all their names
	redraft   bool                       // the pass was of the wrong draft
	again     bool                       // the pass found out something that it needed before
	verbatim  bool                       // there is a reference that only the library can follow, so identifiers must stay
	extends   bool                       // there is an anchor that changes what metaschemas refer to
	looseAll  bool
	delicate  bool            // there is a keyword that must not stand if what is in it is loose
	resolved  map[place]place // references and where they led
	there     map[place]bool  // places of documents that were looked for

	// Of the pass before, by document and pointer.
	looseBefore map[place]bool

	// Of this pass.
	looseNow    map[place]bool
	refs        []*ref
	ids         map[string]place
	anchors     map[string]place
	foreign     map[string]bool    // anchors that their draft does not have
	dynamicAt   map[string][]place // the schemas with a $dynamicAnchor, by its name; "" are those with $recursiveAnchor
	later       []func()           // what needs to know where all stands in the mended documents
	nodes       int
	spread      int
	marks       int
	blind       bool     // there may be a secret where nobody looks
	blindUnless []*extra // the same, unless these are secret themselves
	withLeft    []*extra
}

// document is the schema or one that it refers to.
type document struct {
	uri          string
	value        *jsontext.Value
	bare         bool // a map of properties
	draft        int
	idKey        string
	noValidation bool              // its metaschema has no keywords that validate
	drop         map[string]string // keywords that are left out, by pointer, and why
	moved        map[string]string // keywords that stand elsewhere in out, and where in their schema
	words        words
	out          any
}

type place struct {
	doc *document
	ptr string
}

// location is the URI of a document that has none. Nothing can be reached there.
const location = "schema:///document"

const maxPasses = 200

func (b *builder) note(d *document, at, reason string) {
	if d.bare {
		at = strings.TrimPrefix(at, "/properties")
	}
	if d.uri == location {
		b.notes.add(quotePointer(at), reason)
	} else {
		b.notes.add(quotePointer(at)+" of the document "+quoteShort(d.uri), reason)
	}
}

func (b *builder) build(doc *jsontext.Value) error {
	defer func() {
		for _, d := range b.docs { // the compiled schema holds on to them
			*d = document{uri: d.uri}
		}
	}()
	b.add(location, doc)
	s := b.schema
	for range maxPasses {
		if err := b.mend(); err != nil {
			return err
		}
		compiler, root, err := b.compile()
		if err != nil {
			if !b.blame(err) {
				return compileError(err)
			}
			continue
		}
		s.root = root
		if s.dynamic, err = b.dynamicTargets(compiler); err != nil {
			return compileError(err)
		}
		if b.cutLoops(root) {
			continue
		}
		b.findSecrets(compiler)
		if s.steps, err = s.cost(root); err != nil {
			return err
		}
		s.named = s.declaresAtRoot("$schema")
		b.prepareDefaults()
		return nil
	}
	s.root = nil
	return errors.New("too many of its parts are not valid")
}

// add takes in a document.
func (b *builder) add(uri string, value *jsontext.Value) *document {
	d := &document{uri: uri, value: value, drop: map[string]string{}, idKey: "$id"}
	if name := wrapped(value); name != "" {
		b.blind = b.blind || speaks(value)
		d.drop["/"+name] = "looks like the schema itself, with a wrapper around it: give what is in there"
	} else if d.bare = isBareMap(value); d.bare {
		d.value = asProperties(value)
	}
	b.draftOf(d)
	b.targets.collect(value)
	b.docs = append(b.docs, d)
	return d
}

// draftOf finds the draft of a document by its "$schema"; 0 says that its keywords decide.
func (b *builder) draftOf(d *document) {
	uri := d.value.Member("$schema")
	for range 5 { // the metaschema may be one of the documents
		if uri == nil || uri.Kind != jsontext.String {
			break
		}
		switch name := metaName(uri.Text); name {
		case "draft-04/schema":
			d.draft, d.idKey = 6, "id" // with the keywords that draft-06 has more: who writes them means them
		case "draft-06/schema":
			d.draft = 6
		case "draft-07/schema":
			d.draft = 7
		case "draft/2019-09/schema":
			d.draft = 2019
		case "draft/2020-12/schema":
			d.draft = 2020
		}
		meta := b.given(strings.TrimSuffix(uri.Text, "#"))
		if d.draft != 0 || meta == nil {
			break
		}
		if vocabulary := meta.Member("$vocabulary"); vocabulary != nil {
			d.noValidation = !slices.ContainsFunc(vocabulary.Members, func(m jsontext.Member) bool { return strings.HasSuffix(m.Name, "/vocab/validation") })
		}
		uri = meta.Member("$schema")
	}
}

// given returns the document that Options have for a URI, or nil.
func (b *builder) given(uri string) *jsontext.Value {
	if b.documents == nil {
		b.documents = map[string]*jsontext.Value{}
		base, _ := url.Parse(location)
		for _, key := range slices.Sorted(maps.Keys(b.options.Documents)) {
			raw := b.options.Documents[key]
			doc, err := jsontext.ParseLenient(raw)
			if err != nil || doc.Kind != jsontext.Object || len(raw) > maxBytes {
				continue
			}
			for _, name := range []string{"$id", "id", ""} {
				name := doc.Member(name)
				if name == nil {
					name = &jsontext.Value{Kind: jsontext.String, Text: key}
				}
				if u, err := base.Parse(name.Text); err == nil && name.Kind == jsontext.String {
					u.Fragment, u.RawFragment = "", ""
					b.documents[u.String()] = doc
				}
			}
		}
	}
	return b.documents[uri]
}

// mend mends all documents until nothing is found that a pass would have needed to know before.
func (b *builder) mend() error {
	b.looseBefore = map[place]bool{}
	for pass := 0; ; pass++ {
		b.notes, b.again, b.redraft = notes{}, false, false
		b.looseNow, b.refs, b.later = map[place]bool{}, nil, nil
		b.ids, b.anchors, b.foreign, b.dynamicAt = map[string]place{}, map[string]place{}, map[string]bool{}, map[string][]place{}
		b.nodes, b.spread, b.marks, b.blindUnless, b.withLeft = 0, 0, 0, nil, nil
		for _, d := range b.docs {
			b.mendDocument(d)
		}
		if b.nodes > maxNodes {
			return fmt.Errorf("it has over %d sub-schemas", maxNodes)
		}
		b.resolveAll()
		b.looseAll = b.looseAll || pass > 8 // it would take one pass for each step of a chain of references
		if !b.again && (!b.delicate || maps.Equal(b.looseNow, b.looseBefore)) || pass > 20 {
			break
		}
		b.looseBefore = b.looseNow
	}
	if b.spread > maxSpread {
		return errors.New("its sub-schemas are nested too deep, or too many of them are nested deep")
	}
	if b.verbatim && b.nodes > maxDynamic {
		return fmt.Errorf("it has over %d sub-schemas and a $dynamicRef or $recursiveRef", maxDynamic)
	}
	return nil
}

func (b *builder) mendDocument(d *document) {
	draft := d.draft
	if draft == 0 {
		d.draft = d.words.draft()
	}
	d.moved = map[string]string{}
	base, err := url.Parse(d.uri)
	if err != nil {
		base, _ = url.Parse(location)
	}
	b.ids[d.uri] = place{d, ""}
	before := d.words
	out, _ := mender{b, d}.schema(d.value, "", 1, base)
	root, ok := out.(map[string]any)
	if !ok {
		root = map[string]any{}
	}
	switch {
	case d.draft >= 2020:
		root["$schema"] = jsonschema.Draft2020.String()
	case d.draft == 2019:
		root["$schema"] = jsonschema.Draft2019.String()
	default: // what draft-04 and draft-06 say differently has been put in the words of draft-07
		root["$schema"] = jsonschema.Draft7.String()
	}
	root[trueKey] = true
	d.out = root
	if d.words != before && draft == 0 && d.words.draft() != d.draft {
		b.again, b.redraft = true, true
	}
	d.draft = draft
	if _, wrong := d.drop["/default"]; !wrong && d.value.Member("default") != nil && d.uri == location && !d.bare {
		b.note(d, "/default", "is a default of the whole config, which is not used: give its members their own")
	}
	for name, reason := range d.drop {
		if _, known := keywords[strings.TrimPrefix(name, "/")]; !known && strings.Count(name, "/") == 1 {
			b.note(d, name, reason) // a wrapper
		}
	}
}

// trueKey is a schema of the root that allows everything.
const trueKey = "x-pluginregistry-true"

// words are the keywords seen that tell the draft of a document that does not say it.
type words struct{ later, last, recursive, tuple bool }

func (w *words) see(name string, kw keyword, m jsontext.Member) {
	if !used(kw, m) && name != "$vocabulary" {
		return
	}
	switch name {
	case "$recursiveRef", "$recursiveAnchor":
		w.recursive = true
	case "prefixItems", "$dynamicRef", "$dynamicAnchor":
		w.last = true
	case "items":
		w.tuple = w.tuple || m.Value.Kind == jsontext.Array
	case "$anchor", "$vocabulary":
		w.later = true
	default:
		w.later = w.later || kw.since == 2019
	}
}

func (w words) draft() int {
	switch {
	case w.last:
		return 2020
	case w.recursive, w.later && w.tuple:
		return 2019
	case w.later:
		return 2020
	}
	return 7
}

// refuser is a loader that loads nothing.
type refuser struct{}

func (refuser) Load(string) (any, error) { return nil, errors.New("nothing is ever fetched") }

// compile has the library compile the mended documents.
func (b *builder) compile() (c *jsonschema.Compiler, root *jsonschema.Schema, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the validator failed on it")
		}
	}()
	c = jsonschema.NewCompiler()
	c.UseLoader(refuser{})
	c.UseRegexpEngine(b.patterns.engine)
	c.RegisterVocabulary(&jsonschema.Vocabulary{
		URL:        "schema:///extra",
		Subschemas: []jsonschema.SchemaPath{{jsonschema.Prop(namesKey)}},
		Compile: func(ctx *jsonschema.CompilerContext, obj map[string]any) (jsonschema.SchemaExt, error) {
			x, ok := obj[extraKey].(*extra)
			if !ok {
				return nil, nil
			}
			if _, ok := obj[namesKey]; ok {
				x.names = ctx.Enqueue([]string{namesKey})
			}
			return x, nil
		},
	})
	c.AssertVocabs()
	for _, d := range b.docs {
		if err := c.AddResource(d.uri, d.out); err != nil {
			return nil, nil, err
		}
	}
	root, err = c.Compile(location)
	return c, root, err
}

// Validate checks propertyNames in the library's stead: the place that it reports for a bad name is not always right.
func (x *extra) Validate(ctx *jsonschema.ValidatorContext, v any) {
	obj, ok := v.(map[string]any)
	if !ok || x.names == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(obj)) {
		if err, ok := errors.AsType[*jsonschema.ValidationError](x.names.Validate(name)); ok {
			ctx.AddErrors(err.Causes, &kind.PropertyNames{Property: name})
		}
	}
}

func extraOf(s *jsonschema.Schema) *extra {
	if len(s.Extensions) == 0 {
		return &extra{}
	}
	return s.Extensions[0].(*extra)
}

// blame leaves out what the library's error points at, and tells whether it found it.
func (b *builder) blame(err error) bool {
	var where, reason string
	if e, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		where, reason = e.URL, "is not valid"
		if inner, ok := errors.AsType[*jsonschema.ValidationError](e.Err); ok {
			if issues := (flattener{}).issues(inner); len(issues) > 0 {
				last := issues[len(issues)-1]
				where, reason = e.URL+escapeFragment(last.Pointer), "is not valid: it "+last.Message
			}
		}
	} else if e, ok := errors.AsType[*jsonschema.DuplicateIDError](err); ok {
		where, reason = e.URL+"#"+escapeFragment(max(e.Ptr1, e.Ptr2)+"/$id"), "is the identifier of two schemas"
	} else if e, ok := errors.AsType[*jsonschema.DuplicateAnchorError](err); ok {
		where, reason = e.URL+"#"+escapeFragment(max(e.Ptr1, e.Ptr2)+"/$anchor"), "is the anchor of two schemas"
		if _, again := b.docs[0].drop[max(e.Ptr1, e.Ptr2)+"/$anchor"]; again {
			where = strings.TrimSuffix(where, "$anchor") + "$dynamicAnchor"
		}
	}
	uri, fragment, _ := strings.Cut(where, "#")
	ptr, err := url.PathUnescape(fragment)
	if err != nil {
		return false
	}
	for _, d := range b.docs {
		for ; d.uri == uri && ptr != ""; ptr = ptr[:strings.LastIndexByte(ptr, '/')] {
			if _, again := d.drop[ptr]; !again {
				d.drop[ptr] = reason
				return true
			}
		}
	}
	return false
}

// compileError says what the library has against a schema, without its words, which quote the schema at length.
func compileError(err error) error { return fmt.Errorf("the validator refuses it (%T)", err) }

// cutLoops leaves out references that would apply a schema to the same value over and over again, and tells whether there are any.
func (b *builder) cutLoops(root *jsonschema.Schema) (found bool) {
	const (
		open = 1
		done = 2
	)
	state := map[*jsonschema.Schema]byte{}
	var path []*jsonschema.Schema
	var visit func(n *jsonschema.Schema)
	visit = func(n *jsonschema.Schema) {
		if state[n] == done {
			return
		}
		path = append(path, n)
		defer func() { path = path[:len(path)-1] }()
		if state[n] == open { // cut the last reference of the loop
			for i := len(path) - 2; i >= 0; i-- {
				if x := extraOf(path[i]); path[i].Ref == path[i+1] && x.doc != nil {
					x.doc.drop[x.at+"/$ref"] = refLoop
					found = true
					return
				}
			}
			return
		}
		state[n] = open
		b.schema.inPlace(n, func(k *jsonschema.Schema, _, dynamic bool) {
			if !dynamic {
				visit(k)
			}
		})
		state[n] = done
	}
	b.schema.each(root, visit)
	return found
}

// dynamicTargets compiles what dynamic references may lead to.
func (b *builder) dynamicTargets(c *jsonschema.Compiler) (targets, error) {
	found := targets{}
	if !b.verbatim {
		return found, nil
	}
	for name, places := range b.dynamicAt {
		for _, p := range places {
			n, err := compileMore(c, p.uri())
			if err != nil {
				return nil, err
			}
			found[name] = append(found[name], n)
		}
	}
	return found, nil
}

func compileMore(c *jsonschema.Compiler, uri string) (n *jsonschema.Schema, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("the validator failed on it")
		}
	}()
	return c.Compile(uri)
}
