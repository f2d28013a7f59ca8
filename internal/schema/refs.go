package schema

import (
	"net/url"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
)

// ref is a $ref or its like on its way. It stands in the mended schema until it is known where it leads.
type ref struct {
	doc     *document
	at      string // of the keyword
	keyword string
	text    string
	base    *url.URL
	in      map[string]any
}

const (
	refOutside = "refers to another document, and none is ever fetched"
	refNowhere = "refers to a place that the schema does not have"
	refLoop    = "refers back to itself"
)

// targetSet are the places that references of any document name by a JSON Pointer.
type targetSet map[string]bool

func (t *targetSet) collect(doc *jsontext.Value) {
	if *t == nil {
		*t = targetSet{}
	}
	for _, v := range doc.All() {
		for _, name := range []string{"$ref", "$dynamicRef", "$recursiveRef"} {
			if r := v.Member(name); r != nil && r.Kind == jsontext.String {
				if _, fragment, ok := strings.Cut(r.Text, "#"); ok && strings.HasPrefix(fragment, "/") {
					if ptr, err := url.PathUnescape(fragment); err == nil {
						fragment = ptr
					}
					(*t)[fragment] = true
				}
			}
		}
	}
}

// at tells whether a reference may lead to a place. A pointer may be relative to a part of the document.
func (t targetSet) at(ptr string) bool {
	for target := range t {
		if strings.HasSuffix(ptr, target) {
			return true
		}
	}
	return false
}

// within tells whether a reference may lead to a place or below it.
func (t targetSet) within(ptr string) bool {
	last := ptr[strings.LastIndexByte(ptr, '/'):] + "/"
	for target := range t {
		if strings.Contains(target+"/", last) {
			return true
		}
	}
	return false
}

// identify reads the identifiers of a schema: "$id" ("id" in draft-04) and the anchors.
func (o *object) identify() {
	text := func(key string) string {
		if v := o.v.Member(key); v != nil && v.Kind == jsontext.String && o.drop[o.at+"/"+key] == "" {
			return v.Text
		}
		return ""
	}
	here := place{o.document, o.at}
	for _, key := range [...]string{"$id", "$anchor", "$dynamicAnchor"} {
		if reason := o.drop[o.at+"/"+key]; reason != "" {
			o.builder.note(o.document, o.at+"/"+key, reason)
		}
	}
	if o.masked {
		return
	}
	if u, err := url.Parse(text(o.idKey)); err == nil && *u != (url.URL{}) {
		fragment := u.Fragment
		u.Fragment, u.RawFragment = "", ""
		if *u != (url.URL{}) {
			o.base = o.base.ResolveReference(u)
			if _, taken := o.ids[o.base.String()]; !taken {
				o.ids[o.base.String()] = here
			}
			if o.verbatim && o.draft >= 2019 {
				o.out["$id"] = o.base.String()
			}
		}
		if o.draft < 2019 && fragment != "" && fragment[0] != '/' {
			o.anchor(fragment, here, true)
		}
	}
	for _, key := range [...]string{"$anchor", "$dynamicAnchor"} {
		name := text(key)
		if name == "" {
			continue
		}
		o.anchor(name, here, o.draft >= 2020 || o.draft == 2019 && key == "$anchor")
		if key == "$dynamicAnchor" {
			o.dynamicAt[name] = append(o.dynamicAt[name], here)
			o.extends = o.extends || o.draft >= 2020 && name == "meta"
		}
		if o.verbatim && o.draft >= 2019 && (key == "$anchor" || o.draft >= 2020) {
			o.out[key] = name
		}
	}
	if v := o.v.Member("$recursiveAnchor"); v != nil && v.Kind == jsontext.Bool && v.Text == "true" && o.draft == 2019 {
		o.dynamicAt[""] = append(o.dynamicAt[""], here)
		o.extends = true
		if o.verbatim {
			o.out["$recursiveAnchor"] = true
		}
	}
}

// anchor gives a place a name. Anchors of a draft that has none are known as well, for the secrets that are behind them.
func (o *object) anchor(name string, here place, known bool) {
	key := o.base.String() + "#" + name
	if _, taken := o.anchors[key]; !taken || known && o.foreign[key] {
		o.anchors[key] = here
		o.foreign[key] = !known
	}
}

// reference mends a $ref or its like. One that is not followed may still lead to secrets.
func (o *object) reference(name string, v *jsontext.Value, at string, follow bool) {
	if v.Kind != jsontext.String {
		o.note(at, "a reference is needed, this is "+v.Kind.String())
		o.open = true
		return
	}
	key := place{o.document, at}
	if follow {
		r := &ref{o.document, at, name, v.Text, o.base, o.out}
		o.out[name] = r
		o.refs = append(o.refs, r)
		if name != "$ref" && !o.verbatim {
			o.verbatim, o.again = true, true
		}
		o.loose = o.loose || o.looseAll || o.looseBefore[o.resolved[key]] || name != "$ref" && len(o.looseBefore) > 0
		return
	}
	if o.masked { // what stands beside it does not count, whether it leads anywhere or not
		o.out["$ref"] = o.uri + "#/" + trueKey
	}
	if to, ok := o.resolved[key]; ok {
		o.left = append(o.left, o.referTo(to))
	} else {
		o.blindUnless = append(o.blindUnless, o.extra)
	}
}

// referTo makes a reference to a place of a given document.
func (b *builder) referTo(to place) map[string]any {
	out := map[string]any{}
	b.later = append(b.later, func() { out["$ref"] = to.uri() })
	return out
}

// uri is where the schema at the place stands among the mended documents.
func (p place) uri() string { return p.doc.uri + "#" + escapeFragment(p.doc.home(p.ptr)) }

// resolveAll finds where the references lead. Those that lead nowhere are left out in the next pass.
func (b *builder) resolveAll() {
	for _, r := range b.refs {
		to, uri, reason := b.resolve(r)
		if to.doc != nil {
			b.resolved[place{r.doc, r.at}] = to
		}
		if reason != "" && !b.redraft {
			r.doc.drop[r.at] = reason
			b.again = true
		}
		r.in[r.keyword] = uri
	}
	for _, f := range b.later {
		f()
	}
}

// resolve finds where r leads, and what is written for it, or the reason why it is left out.
func (b *builder) resolve(r *ref) (to place, uri, reason string) {
	u, err := url.Parse(r.text)
	if err != nil && strings.HasPrefix(r.text, "#") { // a JSON Pointer that nobody escaped
		u, err = &url.URL{Fragment: r.text[1:]}, nil
	}
	if err != nil {
		return place{}, "", "is no URI reference"
	}
	fragment := u.Fragment
	u.Fragment, u.RawFragment = "", ""
	abs := r.base
	if *u != (url.URL{}) {
		abs = r.base.ResolveReference(u)
	}
	to, ok := b.ids[abs.String()]
	if !ok {
		if name := metaName(abs.String()); metaSchemas[name] {
			if b.extends && !b.verbatim {
				b.verbatim, b.again = true, true
			}
			return place{}, metaURL(name, fragment), ""
		}
		if doc := b.given(abs.String()); doc != nil {
			b.add(abs.String(), doc)
			b.again = true
			return place{}, r.doc.uri + "#/" + trueKey, ""
		}
		return place{}, "", refOutside
	}
	named := fragment != "" && fragment[0] != '/'
	switch {
	case named:
		var ok bool
		if to, ok = b.anchors[abs.String()+"#"+fragment]; !ok {
			return place{}, "", refNowhere
		}
		if b.foreign[abs.String()+"#"+fragment] {
			return to, "", "refers to an anchor of another draft"
		}
	case fragment != "":
		to.ptr += fragment
		there, known := b.there[to]
		if !known {
			v := to.doc.value.At(to.ptr)
			there = v != nil && (v.Kind == jsontext.Object || v.Kind == jsontext.Bool)
			b.there[to] = there
		}
		if !there {
			return place{}, "", refNowhere
		}
	}
	if r.keyword != "$ref" && named || r.keyword == "$recursiveRef" {
		return to, r.text, ""
	}
	return to, to.uri(), ""
}

// The metaschemas that the library has with it.
var metaSchemas = map[string]bool{
	"draft-04/schema": true, "draft-06/schema": true, "draft-07/schema": true,
	"draft/2019-09/schema": true, "draft/2019-09/meta/core": true, "draft/2019-09/meta/applicator": true,
	"draft/2019-09/meta/validation": true, "draft/2019-09/meta/meta-data": true, "draft/2019-09/meta/format": true,
	"draft/2019-09/meta/content": true,
	"draft/2020-12/schema":       true, "draft/2020-12/meta/core": true, "draft/2020-12/meta/applicator": true,
	"draft/2020-12/meta/unevaluated": true, "draft/2020-12/meta/validation": true, "draft/2020-12/meta/meta-data": true,
	"draft/2020-12/meta/format-annotation": true, "draft/2020-12/meta/format-assertion": true, "draft/2020-12/meta/content": true,
}

// metaName is the part of the URI of a metaschema that tells which one it is.
func metaName(uri string) string {
	uri = strings.TrimSuffix(uri, "#")
	for _, scheme := range [...]string{"http://", "https://"} {
		if rest, ok := strings.CutPrefix(uri, scheme+"json-schema.org/"); ok {
			return rest
		}
	}
	return ""
}

func metaURL(name, fragment string) string {
	scheme := "http"
	if strings.HasPrefix(name, "draft/") {
		scheme = "https"
	}
	return scheme + "://json-schema.org/" + name + "#" + escapeFragment(fragment)
}

// escapeFragment writes a JSON Pointer as the fragment of a URI.
func escapeFragment(ptr string) string { return (&url.URL{Fragment: ptr}).EscapedFragment() }
