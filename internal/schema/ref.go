package schema

import (
	"net/url"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
)

// resource is a part of the document with a URI of its own: the whole, and whatever has an "$id".
type resource struct {
	base    *url.URL
	ptr     string
	root    *node
	anchors map[string]*node
	dynamic map[string]*node // of $dynamicAnchor
	again   bool             // $recursiveAnchor is true
}

// location is the URI of a document that has none. Nothing can be reached there.
const location = "schema:///document"

// identify reads the identifiers of a schema object: "$id" ("id" in draft-04) and the anchors.
func (r *reader) identify(n *node, v *jsontext.Value) {
	if n.res == nil {
		base, _ := url.Parse(location)
		n.res = &resource{base: base, root: n}
		r.resources[location] = n.res
	}
	if r.draft < 2019 && v.Member("$ref") != nil {
		return // before 2019-09 all else beside a $ref is ignored
	}
	key := "$id"
	if r.draft == 4 {
		key = "id"
	}
	if id := v.Member(key); id != nil && id.Kind == jsontext.String && id.Text != "" {
		if u, err := url.Parse(id.Text); err == nil {
			fragment := u.Fragment
			u.Fragment, u.RawFragment = "", ""
			if id := *u; id != (url.URL{}) {
				base := n.res.base.ResolveReference(u)
				n.res = &resource{base: base, ptr: n.ptr, root: n}
				if _, taken := r.resources[base.String()]; !taken {
					r.resources[base.String()] = n.res
				}
			}
			if r.draft < 2019 && fragment != "" && fragment[0] != '/' {
				n.res.anchor(fragment, n, false)
			}
		}
	}
	if r.draft < 2019 {
		return
	}
	if again := v.Member("$recursiveAnchor"); again != nil && again.Text == "true" {
		n.res.again = true
		r.extends = r.extends || r.draft == 2019
	}
	for _, key := range [...]string{"$anchor", "$dynamicAnchor"} {
		if a := v.Member(key); a != nil && a.Kind == jsontext.String && a.Text != "" {
			n.res.anchor(a.Text, n, key == "$dynamicAnchor")
			r.extends = r.extends || r.draft == 2020 && key == "$dynamicAnchor" && a.Text == "meta"
		}
	}
}

func (res *resource) anchor(name string, n *node, dynamic bool) {
	if res.anchors == nil {
		res.anchors = map[string]*node{}
	}
	if _, taken := res.anchors[name]; !taken {
		res.anchors[name] = n
	}
	if dynamic {
		if res.dynamic == nil {
			res.dynamic = map[string]*node{}
		}
		res.dynamic[name] = n
	}
}

// reference reads a $ref or its like; resolve finds where it leads.
func (r *reader) reference(n *node, kw keyword, name string, v *jsontext.Value, at string) {
	if !kw.in(r.draft) {
		return
	}
	if v.Kind != jsontext.String {
		r.note(n, at, "a reference is needed, this is "+kindName(v.Kind))
		n.open = true
		return
	}
	if name != "$ref" {
		r.verbatim = true
	}
	n.refs = append(n.refs, &ref{keyword: name, text: v.Text})
}

// resolve finds where the references of n lead. One that leads nowhere in the document is left out.
func (r *reader) resolve(n *node) error {
	kept := n.refs[:0]
	for _, ref := range n.refs {
		reason, err := r.follow(n, ref)
		if err != nil {
			return err
		}
		if reason != "" {
			r.note(n, n.ptr+"/"+ref.keyword, reason)
			n.open = true
			continue
		}
		kept = append(kept, ref)
	}
	n.refs = kept
	return nil
}

const (
	refOutside = "refers to another document, and none is ever fetched"
	refNowhere = "refers to a place that the schema does not have"
	refLoop    = "refers back to itself"
)

// follow sets where ref leads, or returns the reason why it leads nowhere.
func (r *reader) follow(n *node, ref *ref) (reason string, err error) {
	u, parseErr := url.Parse(ref.text)
	if parseErr != nil && strings.HasPrefix(ref.text, "#") { // a JSON Pointer that nobody escaped
		u, parseErr = &url.URL{Fragment: ref.text[1:]}, nil
	}
	if parseErr != nil {
		return "is no URI reference", nil
	}
	fragment := u.Fragment
	target := *u
	target.Fragment, target.RawFragment = "", ""
	res := n.res
	if target != (url.URL{}) {
		abs := n.res.base.ResolveReference(&target)
		res = r.resources[abs.String()]
		if res == nil {
			if name := metaName(abs.String()); metaSchemas[name] {
				ref.meta = metaURL(name, fragment)
				r.verbatim = r.verbatim || r.extends // the root has been read by now, and only its anchors are for metaschemas
				return "", nil
			}
			return refOutside, nil
		}
	}
	var to *node
	switch {
	case fragment == "":
		to = res.root
	case fragment[0] == '/':
		if to, err = r.at(res, fragment); err != nil {
			return "", err
		}
	default:
		to, ref.named = res.anchors[fragment], true
	}
	if to == nil {
		return refNowhere, nil
	}
	ref.to = append(ref.to, to)
	switch {
	case ref.keyword == "$dynamicRef" && to.res.dynamic[fragment] == to:
		for _, n := range r.dynamicTargets(fragment) {
			if n != to {
				ref.to = append(ref.to, n)
			}
		}
	case ref.keyword == "$recursiveRef" && to.res.again:
		for _, n := range r.nodes {
			if n != to && n.res.root == n && n.res.again {
				ref.to = append(ref.to, n)
			}
		}
	}
	return "", nil
}

// dynamicTargets returns all schemas with that $dynamicAnchor: which of them a reference leads to depends on the way there.
func (r *reader) dynamicTargets(name string) (list []*node) {
	for _, n := range r.nodes {
		if n.res.dynamic[name] == n {
			list = append(list, n)
		}
	}
	return list
}

// at returns the schema that a JSON Pointer within a resource points to, or nil. A place that is no schema by its position is
// read as one.
func (r *reader) at(res *resource, pointer string) (*node, error) {
	if r.byPtr == nil {
		r.byPtr = make(map[string]*node, len(r.nodes))
	}
	for i := len(r.byPtr); i < len(r.nodes); i++ { // every node has a pointer of its own
		r.byPtr[r.nodes[i].ptr] = r.nodes[i]
	}
	tokens, err := jsontext.SplitPointer(pointer)
	if err != nil {
		return nil, nil
	}
	ptr := res.ptr + jsontext.JoinPointer(tokens...)
	if n := r.byPtr[ptr]; n != nil {
		return n, nil
	}
	v := r.doc.At(ptr)
	if v == nil || v.Kind != jsontext.Object && v.Kind != jsontext.Bool {
		return nil, nil
	}
	for above := ptr; len(above) > len(res.ptr); above = above[:strings.LastIndexByte(above, '/')] {
		if n := r.byPtr[above]; n != nil { // it may have an identifier that changes the base
			res = n.res
			break
		}
	}
	return r.schema(v, ptr, 1+strings.Count(ptr, "/"), res)
}

// The metaschemas that the validator has with it.
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

// masked tells whether what stands beside the $ref of n is ignored, as it is before 2019-09.
func (r *reader) masked(n *node) bool { return r.draft < 2019 && len(n.refs) > 0 }

// cutLoops leaves out references that would apply a schema to the same value over and over again.
func (r *reader) cutLoops() {
	const (
		open = 1
		done = 2
	)
	state := make(map[*node]byte, len(r.nodes))
	type step struct {
		n   *node
		via *ref // of the step before; nil: it has n as a sub-schema
	}
	var path []step
	var visit func(n *node, via *ref)
	visit = func(n *node, via *ref) {
		switch state[n] {
		case done:
			return
		case open: // cut the last reference of the loop
			path = append(path, step{n, via})
			for i := len(path) - 1; i > 0; i-- {
				if ref := path[i].via; ref != nil {
					from := path[i-1].n
					r.note(from, from.ptr+"/"+ref.keyword, refLoop)
					from.open = true
					ref.to, ref.meta = nil, ""
					break
				}
			}
			path = path[:len(path)-1]
			return
		}
		state[n] = open
		path = append(path, step{n, via})
		for _, ref := range n.refs {
			if ref.keyword == "$ref" {
				for _, to := range ref.to {
					visit(to, ref)
				}
			}
		}
		if !r.masked(n) {
			for _, k := range n.inPlaceKids {
				if keywords[k.keyword].in(r.draft) {
					visit(k.n, nil)
				}
			}
		}
		path = path[:len(path)-1]
		state[n] = done
	}
	for _, n := range r.nodes {
		visit(n, nil)
	}
	for _, n := range r.nodes {
		kept := n.refs[:0]
		for _, ref := range n.refs {
			if len(ref.to) > 0 || ref.meta != "" {
				kept = append(kept, ref)
			}
		}
		n.refs = kept
	}
}
