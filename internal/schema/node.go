package schema

import (
	"slices"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// node is one sub-schema.
type node struct {
	ptr   string // JSON Pointer in the schema's text
	depth int    // levels of JSON text around it
	res   *resource

	fixed jsontext.Kind   // Bool: the schema is true or false, as allow says; Object: the rest counts
	allow bool            // of a fixed schema
	plain map[string]any  // keywords without sub-schemas, checked, in the form of encoding/json with json.Number
	kids  []kid           // sub-schemas, in the order of the text; after finish only those in "properties"
	refs  []*ref          // $ref and its like
	def   *jsontext.Value // the default

	// What sort makes of kids.
	names                             map[string]*node // properties by name, where they are many
	inPlaceKids, memberKids, itemKids []kid            // by what they apply to
	prefix                            []*node          // for items of one index
	nameRule                          *node            // for the names of members

	secret   bool
	required bool // says "required": true, as draft-03 did
	masked   bool // before 2019-09, beside a $ref: what is in it does not count
	loose    bool // something in it, or in what it uses, is not enforced
	open     bool // which members or items it declares is not known for sure
	noObject bool // no object is allowed; set by finish
	weight   int  // how much longer than usual it takes to apply it to a value
	scans    bool // has a pattern: the longer a string, the longer it takes

	reachesSecret, reachesDefault bool

	home  string             // JSON Pointer in what the validator is given
	homed bool               // home is set
	sub   *jsonschema.Schema // the validator of this node alone, where defaults need it
	steps int                // as cost says of it, where there is a sub
	fits  bool               // def is neither an object nor an array, and sub was found to allow it
}

// finish lets go of what only Compile needs.
func (n *node) finish() {
	n.noObject = n.fixed != jsontext.Object
	if types, ok := n.plain["type"].([]any); ok && !slices.Contains(types, any("object")) {
		n.noObject = true
	}
	n.ptr, n.home, n.res, n.plain = "", "", nil, nil
	n.kids = slices.Clip(slices.DeleteFunc(n.kids, func(k kid) bool { return k.role != roleProperty }))
	for _, r := range n.refs {
		r.text, r.meta = "", ""
	}
}

// kid is a sub-schema and the place it has in its parent.
type kid struct {
	keyword string
	role    role
	form    form // how the keyword's value is written: one schema, an array or an object
	name    string
	index   int
	pattern *pattern // of patternProperties; nil: not known what it matches
	n       *node
}

// ref is a $ref or its like.
type ref struct {
	keyword string
	text    string
	to      []*node // where it leads; several only for a $dynamicRef or $recursiveRef
	named   bool    // it leads there by an anchor
	meta    string  // or the metaschema it leads to
	dropped bool    // the validator is not given it
}

// property returns the sub-schema that "properties" has for name, or nil.
func (n *node) property(name string) *node {
	if n.names != nil {
		return n.names[name]
	}
	for i := range n.kids {
		if k := &n.kids[i]; k.role == roleProperty && k.name == name {
			return k.n
		}
	}
	return nil
}

// scope says which sub-schemas a walk takes into account.
type scope byte

const (
	certain  scope = iota // only what applies whatever the value is: $ref and allOf
	possible              // every branch as well
)

// steps is the budget of a walk.
type steps int

func (s *steps) spend(n int) bool {
	*s -= steps(n)
	return *s >= 0
}

// expand adds to the nodes all that apply to the same value.
func expand(nodes []*node, sc scope, budget *steps) []*node {
	if len(nodes) == 1 && len(nodes[0].refs) == 0 && len(nodes[0].inPlaceKids) == 0 {
		return nodes
	}
	all := make([]*node, 0, 2*len(nodes))
	seen := make(map[*node]bool, 2*len(nodes))
	var add func(n *node)
	add = func(n *node) {
		if seen[n] || !budget.spend(1) {
			return
		}
		seen[n] = true
		all = append(all, n)
		n.inPlace(sc, add)
	}
	for _, n := range nodes {
		add(n)
	}
	return all
}

// inPlace calls f with the sub-schemas that apply to the same value as n, but for "not".
func (n *node) inPlace(sc scope, f func(*node)) {
	for _, r := range n.refs {
		if sc == possible || len(r.to) == 1 {
			for _, to := range r.to {
				f(to)
			}
		}
	}
	for _, k := range n.inPlaceKids {
		if sc == certain && n.masked {
			break
		}
		if k.role == roleAll || k.role == roleBranch && sc == possible {
			f(k.n)
		}
	}
}

// member calls f with the sub-schemas of n itself that may apply to a member of that name, and tells whether there is one in
// "properties" or "patternProperties". When the budget is used up, every pattern counts as matching.
func (n *node) member(name string, budget *steps, f func(k *node, r role)) (named bool) {
	if p := n.property(name); p != nil {
		named = true
		f(p, roleProperty)
	}
	for _, k := range n.memberKids {
		if k.pattern == nil {
			continue
		}
		if !budget.spend(1 + len(name)/16) { // no time left to see whether it matches: it may
			f(k.n, rolePattern)
		} else if k.pattern.MatchString(name) {
			named = true
			f(k.n, rolePattern)
		}
	}
	for _, k := range n.memberKids {
		if k.role == rolePattern && k.pattern == nil && !named { // what it matches is not known: all that is left may be
			f(k.n, rolePattern)
		}
	}
	for _, k := range n.memberKids {
		if k.role != rolePattern && !named {
			f(k.n, k.role)
		}
	}
	return named
}

// item calls f with the sub-schemas of n itself that may apply to the item of that index.
func (n *node) item(index int, f func(k *node, r role)) {
	if index < len(n.prefix) {
		f(n.prefix[index], roleItem)
	}
	for _, k := range n.itemKids {
		switch {
		case k.role == roleItem: // of a keyword that the draft does not have: it may be meant
			if k.index == index {
				f(k.n, roleContains)
			}
		case k.role == roleMoreItems && len(n.prefix) == 0:
			f(k.n, roleContains)
		case index >= len(n.prefix) || k.role == roleContains:
			f(k.n, k.role)
		}
	}
}

// sort files the kids by what they apply to.
func (n *node) sort(draft int) {
	tuple := "items"
	if draft >= 2020 {
		tuple = "prefixItems"
	}
	isTuple := slices.ContainsFunc(n.kids, func(k kid) bool { return k.role == roleItem && k.keyword == tuple })
	many := len(n.kids) > 8
	if many {
		n.names = make(map[string]*node, len(n.kids))
	}
	for _, k := range n.kids {
		switch k.role {
		case roleAll, roleBranch, roleNot:
			n.inPlaceKids = append(n.inPlaceKids, k)
		case roleProperty:
			if many {
				n.names[k.name] = k.n
			}
		case rolePattern, roleAdditional, roleUnevaluated:
			n.memberKids = append(n.memberKids, k)
		case roleNames:
			n.nameRule = k.n
		case roleItem:
			if k.keyword == tuple || draft >= 2020 && !isTuple {
				n.prefix = append(n.prefix, k.n)
			} else {
				n.itemKids = append(n.itemKids, k)
			}
		case roleItems, roleMoreItems, roleUnevaluatedItems, roleContains:
			n.itemKids = append(n.itemKids, k)
		}
	}
}
