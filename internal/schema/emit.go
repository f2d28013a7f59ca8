package schema

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// emitter writes the nodes as a document for the validator: only what is enforced is in it, and every reference is a JSON
// Pointer into it, so that the validator has no URI to work out. Only documents with a $dynamicRef or $recursiveRef keep their
// identifiers and, as far as what they refer to is in the same place, their references.
type emitter struct {
	r     *reader
	draft int
	extra map[*node][]*node // referred to, but in no place where the validator looks for schemas, by where they are put
	taken map[string]bool   // names of definitions
	count int
}

// namesKeyword stands for propertyNames, see nameChecker.
const namesKeyword = "x-pluginregistry-propertyNames"

// extraName names an extra node among definitions.
func extraName(i int) string { return "x-pluginregistry-" + strconv.Itoa(i) }

// keep returns the sub-schemas of n that the validator is given.
func (e *emitter) keep(n *node) []kid {
	kept := make([]kid, 0, len(n.kids))
	branches := slices.ContainsFunc(n.kids, func(k kid) bool { return k.keyword == "anyOf" })
	looseOne := slices.ContainsFunc(n.kids, func(k kid) bool { return k.keyword == "oneOf" && k.n.loose })
	looseIf := slices.ContainsFunc(n.kids, func(k kid) bool { return k.keyword == "if" && k.n.loose })
	for _, k := range n.kids {
		if !keywords[k.keyword].in(e.draft) {
			continue
		}
		switch k.keyword {
		case "not":
			if k.n.loose {
				continue
			}
		case "oneOf": // two branches may fit only because one is not wholly enforced
			if looseOne && branches {
				continue
			}
			if looseOne {
				k.keyword = "anyOf"
			}
		case "if", "then", "else":
			if looseIf {
				continue
			}
		case "additionalProperties", "additionalItems":
			if n.open {
				continue
			}
		case "unevaluatedProperties", "unevaluatedItems":
			if n.loose {
				continue
			}
		case "patternProperties":
			if k.pattern == nil {
				continue
			}
		case "items":
			if k.form == formSchemas && e.draft >= 2020 {
				continue
			}
			if k.form == formSchema && n.open && e.draft >= 2020 {
				continue // what comes before the items is not known
			}
		case "propertyNames":
			k.keyword = namesKeyword
		case "contentSchema":
			continue
		}
		kept = append(kept, k)
	}
	return kept
}

// place gives n and all below it their places in the document.
func (e *emitter) place(n *node, home string) {
	if n.homed {
		return
	}
	n.home, n.homed = home, true
	for _, k := range e.keep(n) {
		at := home + "/" + k.keyword
		switch k.form {
		case formSchemas:
			at += "/" + strconv.Itoa(k.index)
		case formSchemaMap:
			at += "/" + jsontext.EscapeToken(k.name)
		}
		e.place(k.n, at)
	}
}

// document returns what the validator is given.
func (e *emitter) document(root *node) any {
	e.place(root, "")
	e.extra, e.taken = map[*node][]*node{}, map[string]bool{}
	for _, n := range e.r.nodes {
		for _, k := range n.kids {
			if k.keyword == "definitions" {
				e.taken[k.name] = true
			}
		}
	}
	for _, n := range e.r.nodes {
		for _, ref := range n.refs {
			for _, to := range ref.to {
				e.placeExtra(root, to)
			}
		}
	}
	return e.emit(root)
}

// placeExtra gives n a place among the definitions of the root, or of its own resource where the resources stay.
func (e *emitter) placeExtra(root, n *node) {
	host := root
	if e.r.verbatim && n != n.res.root {
		host = n.res.root
		e.placeExtra(root, host)
	}
	if n.homed {
		return
	}
	for e.taken[extraName(e.count)] {
		e.count++
	}
	name := extraName(e.count)
	e.taken[name] = true
	e.extra[host] = append(e.extra[host], n)
	e.place(n, host.home+"/definitions/"+name)
}

func (e *emitter) emit(n *node) any {
	if n.fixed == jsontext.Bool {
		return n.allow
	}
	out := make(map[string]any, len(n.plain)+len(n.refs)+2)
	maps.Copy(out, n.plain)
	if n.loose {
		e.weaken(n, out)
	}
	for _, ref := range n.refs {
		switch {
		case ref.dropped:
		case e.r.verbatim && (ref.meta != "" || ref.named || ref.to[0].home == ref.to[0].ptr):
			out[ref.keyword] = ref.text
		case ref.meta != "":
			out[ref.keyword] = ref.meta
		default:
			out[ref.keyword] = location + "#" + escapeFragment(ref.to[0].home)
		}
	}
	if e.r.verbatim {
		e.identifiers(n, out)
	}
	for _, k := range e.keep(n) {
		sub := e.emit(k.n)
		switch k.form {
		case formSchemas:
			list, _ := out[k.keyword].([]any)
			out[k.keyword] = append(list, sub)
		case formSchemaMap:
			m, ok := out[k.keyword].(map[string]any)
			if !ok {
				m = map[string]any{}
			} else if _, plain := n.plain[k.keyword]; plain {
				m = maps.Clone(m)
			}
			m[k.name] = sub
			out[k.keyword] = m
		default:
			out[k.keyword] = sub
		}
	}
	if extra := e.extra[n]; len(extra) > 0 {
		defs, ok := out["definitions"].(map[string]any)
		if !ok {
			defs = make(map[string]any, len(extra))
			out["definitions"] = defs
		}
		for _, x := range extra {
			defs[x.home[strings.LastIndexByte(x.home, '/')+1:]] = e.emit(x)
		}
	}
	return out
}

// weaken leaves out what would refuse more because something else allows more.
func (e *emitter) weaken(n *node, out map[string]any) {
	if slices.ContainsFunc(n.kids, func(k kid) bool { return k.role == roleContains && k.n.loose }) {
		delete(out, "maxContains")
	}
}

// identifiers keeps what a $dynamicRef or $recursiveRef needs.
func (e *emitter) identifiers(n *node, out map[string]any) {
	v := e.r.doc.At(n.ptr)
	for _, key := range [...]string{"$id", "$anchor", "$dynamicAnchor"} {
		if id := v.Member(key); id != nil && id.Kind == jsontext.String {
			out[key] = id.Text
		}
	}
	if base := n.res.base.String(); n == n.res.root && base != location {
		out["$id"] = base // what it is relative to may have changed with its place
	}
	if again := v.Member("$recursiveAnchor"); again != nil && again.Kind == jsontext.Bool && e.draft == 2019 {
		out["$recursiveAnchor"] = again.Text == "true"
	}
}

// refuser is a loader that loads nothing.
type refuser struct{}

func (refuser) Load(string) (any, error) { return nil, errors.New("nothing is ever fetched") }

// compile has the validator compile the schema, if it is not too large for that.
func (s *Schema) compile(r *reader) (err error) {
	if r.spread > maxSpread {
		return errors.New("its sub-schemas are nested too deep, or too many of them are nested deep")
	}
	if r.verbatim && len(r.nodes) > maxDynamic {
		return fmt.Errorf("it has over %d sub-schemas and a $dynamicRef or $recursiveRef", maxDynamic)
	}
	if s.steps, err = r.cost(s.root); err != nil {
		return err
	}
	err = s.hand(r)
	if err != nil && r.verbatim {
		r.dropDynamic()
		err = s.hand(r)
	}
	return err
}

// dropDynamic leaves out the references that only the validator can follow, as it does not take the identifiers they need.
func (r *reader) dropDynamic() {
	r.verbatim = false
	for _, n := range r.nodes {
		n.homed = false
		for _, ref := range n.refs {
			if len(ref.to) > 1 || ref.meta != "" && r.extends {
				r.note(n, n.ptr+"/"+ref.keyword, "needs identifiers, and some in the schema are not valid")
				n.open, ref.dropped = true, true
			}
		}
	}
	r.loosen()
}

// hand hands the schema to the validator.
func (s *Schema) hand(r *reader) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the validator failed on it")
		}
	}()
	c := jsonschema.NewCompiler()
	c.UseLoader(refuser{})
	c.UseRegexpEngine(r.patterns.engine)
	switch r.draft {
	case 2019:
		c.DefaultDraft(jsonschema.Draft2019)
	case 2020:
		c.DefaultDraft(jsonschema.Draft2020)
	default: // what draft-04 and draft-06 say differently has been put in the words of draft-07
		c.DefaultDraft(jsonschema.Draft7)
	}
	if r.names {
		c.RegisterVocabulary(nameVocabulary())
		c.AssertVocabs()
	}
	e := &emitter{r: r, draft: r.draft}
	if err := c.AddResource(location, e.document(s.root)); err != nil {
		return compileError(err)
	}
	if s.compiled, err = c.Compile(location); err != nil {
		return compileError(err)
	}
	return s.prepareDefaults(r, c)
}

// compileError says what the validator has against a schema, without its words, which quote the schema at length.
func compileError(err error) error {
	var invalid *jsonschema.SchemaValidationError
	var inner *jsonschema.ValidationError
	if errors.As(err, &invalid) && errors.As(invalid.Err, &inner) {
		var f flattener
		for _, i := range f.issues(inner) {
			return fmt.Errorf("the validator refuses what is at %s: %s", quotePointer(i.Pointer), i.Message)
		}
	}
	return fmt.Errorf("the validator refuses it (%T)", err)
}

// nameVocabulary checks propertyNames in the validator's stead: the place that it reports for a bad name is not always right.
func nameVocabulary() *jsonschema.Vocabulary {
	return &jsonschema.Vocabulary{
		URL:        "schema:///names",
		Subschemas: []jsonschema.SchemaPath{{jsonschema.Prop(namesKeyword)}},
		Compile: func(ctx *jsonschema.CompilerContext, obj map[string]any) (jsonschema.SchemaExt, error) {
			if _, ok := obj[namesKeyword]; !ok {
				return nil, nil
			}
			return &nameChecker{ctx.Enqueue([]string{namesKeyword})}, nil
		},
	}
}

type nameChecker struct{ names *jsonschema.Schema }

func (c *nameChecker) Validate(ctx *jsonschema.ValidatorContext, v any) {
	obj, ok := v.(map[string]any)
	if !ok {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(obj)) {
		if err, ok := errors.AsType[*jsonschema.ValidationError](c.names.Validate(name)); ok {
			ctx.AddErrors(err.Causes, &kind.PropertyNames{Property: name})
		}
	}
}
