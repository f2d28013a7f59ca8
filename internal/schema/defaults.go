package schema

import (
	"slices"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxDefaults is how many defaults one call adds; those beyond are left out.
const maxDefaults = 10_000

// prepareDefaults gets ready what WithDefaults needs to see whether a default breaks its own schema.
func (s *Schema) prepareDefaults(r *reader, c *jsonschema.Compiler) (err error) {
	r.markReach(func(n *node) bool { return n.def != nil }, func(n *node) *bool { return &n.reachesDefault })
	if !s.root.reachesDefault {
		return nil
	}
	all := costs{r: r, done: map[*node]int{}}
	for _, n := range r.nodes {
		if !n.homed || n.fixed != jsontext.Object {
			n.def = nil
			continue
		}
		if n.sub, err = c.Compile(location + "#" + escapeFragment(n.home)); err != nil {
			return compileError(err)
		}
		n.steps = all.of(n, true)
		if n.def != nil && n.def.Kind < jsontext.Array && n.steps <= maxStepsAhead {
			ahead := filler{budget: maxStepsAhead}
			n.fits = ahead.valid(n.def, []*node{n})
		}
	}
	return nil
}

// maxStepsAhead is how many steps it may take to check a default once and for all; one that takes more is checked when it is needed.
const maxStepsAhead = 100

// WithDefaults returns a tree of its own: config laid over the defaults of the schema, as far as they apply whatever the config
// says: in properties, in what they refer to, in allOf, and in items that are there. What config has stays as it is, null
// included; what is added comes after it, in the order of the schema. An object that is absent is made if there are defaults
// for what is in it. A default that breaks the schema it stands in is left out, and so is an object that would be incomplete.
// Where that would take too long, the rest is left out. If the schema is not Usable, nothing is added.
//
// Each default is checked alone: a config that has all it may have (maxProperties, say) can be too much with them.
func (s *Schema) WithDefaults(config *jsontext.Value) *jsontext.Value {
	if config == nil || s.compiled == nil || !s.root.reachesDefault {
		return cloned(config)
	}
	f := filler{left: maxDefaults, budget: maxWalk / 4}
	return f.fill(config, []*node{s.root}, nil)
}

func cloned(v *jsontext.Value) *jsontext.Value {
	if v == nil {
		return nil
	}
	return v.Clone()
}

type filler struct {
	left   int
	budget steps
}

// path is the schemas of the objects and arrays that a value is in, the innermost first.
type path struct {
	nodes []*node
	up    *path
}

func (p *path) has(n *node) bool {
	for ; p != nil; p = p.up {
		if slices.Contains(p.nodes, n) {
			return true
		}
	}
	return false
}

// fill returns a copy of v with the defaults that nodes have for what is in it. within is what v is in.
func (f *filler) fill(v *jsontext.Value, nodes []*node, within *path) *jsontext.Value {
	all := expand(nodes, certain, &f.budget)
	if v.Kind != jsontext.Object && v.Kind != jsontext.Array {
		return v.Clone()
	}
	nodes = f.useful(all)
	if len(nodes) == 0 || f.budget < 0 {
		return v.Clone()
	}
	within = &path{all, within}
	out := &jsontext.Value{Kind: v.Kind}
	for i, item := range v.Items {
		var kids []*node
		for _, n := range nodes {
			n.item(i, func(k *node, r role) {
				if r == roleItem || r == roleItems || r == roleMoreItems {
					kids = append(kids, k)
				}
			})
		}
		out.Items = append(out.Items, f.fill(item, kids, within))
	}
	if v.Kind == jsontext.Array {
		return out
	}
	out.Members = make([]jsontext.Member, 0, len(v.Members)+4)
	have := make(map[string]bool, len(v.Members)+4)
	for _, m := range v.Members {
		have[m.Name] = true
		var kids []*node
		for _, n := range nodes {
			f.budget.spend(1)
			n.member(m.Name, &f.budget, func(k *node, r role) {
				if r != roleUnevaluated && k.reachesDefault {
					kids = append(kids, k)
				}
			})
		}
		out.Members = append(out.Members, jsontext.Member{Name: m.Name, Value: f.fill(m.Value, kids, within)})
	}
	for _, n := range nodes {
		for _, k := range n.kids {
			if k.role != roleProperty || !k.n.reachesDefault || have[k.name] || f.left <= 0 || !f.budget.spend(1) {
				continue
			}
			have[k.name] = true
			var kids []*node
			for _, n := range all {
				n.member(k.name, &f.budget, func(k *node, r role) {
					if r == roleProperty || r == rolePattern && k.sub != nil {
						kids = append(kids, k)
					}
				})
			}
			if v := f.absent(kids, within); v != nil {
				f.left--
				out.Members = append(out.Members, jsontext.Member{Name: k.name, Value: v})
			}
		}
	}
	return out
}

// absent returns the value of an absent member that the nodes apply to, or nil. A schema that refers to itself makes no object inside
// the one that it applies to: that would go on for ever, and a tree that somebody has ended would grow by one.
func (f *filler) absent(nodes []*node, within *path) *jsontext.Value {
	all := expand(nodes, certain, &f.budget)
	for _, n := range all {
		if n.def == nil || within.has(n) {
			continue
		}
		if n.fits && len(nodes) == 1 && nodes[0] == n {
			return n.def.Clone()
		}
		if filled := f.fill(n.def, all, within); f.valid(filled, nodes) {
			return filled
		}
		if f.valid(n.def, nodes) {
			return n.def.Clone()
		}
	}
	if slices.ContainsFunc(all, func(n *node) bool { return n.noObject || within.has(n) }) {
		return nil
	}
	made := f.fill(&jsontext.Value{Kind: jsontext.Object}, all, within)
	if len(made.Members) == 0 || !f.valid(made, nodes) {
		return nil
	}
	return made
}

// valid tells whether the nodes allow v, and whether there is time to see.
func (f *filler) valid(v *jsontext.Value, nodes []*node) bool {
	if hasHugeNumber(v) {
		return false
	}
	for _, n := range nodes {
		if n.sub != nil && (!f.budget.spend(stepsFor(n, v, n.steps)) || run(n.sub, v) != nil) {
			return false
		}
	}
	return true
}

// useful keeps the nodes that have a default anywhere.
func (f *filler) useful(nodes []*node) []*node {
	var list []*node
	for _, n := range nodes {
		if n.reachesDefault && !n.masked {
			list = append(list, n)
		}
	}
	return list
}
