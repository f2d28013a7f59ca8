package schema

import (
	"slices"
	"strconv"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// targets are the schemas that a $dynamicRef may lead to, by its anchor, and under "" those for $recursiveRef.
type targets map[string][]*jsonschema.Schema

// scope says which sub-schemas a walk takes into account.
type scope byte

const (
	certain  scope = iota // only what applies whatever the value is: $ref and allOf
	possible              // every branch as well
	secretly              // and what is not enforced
)

// steps is the budget of a walk.
type steps int

func (s *steps) spend(n int) bool {
	if *s >= 0 {
		*s -= steps(n)
	}
	return *s >= 0
}

// inPlace calls f with the sub-schemas that apply to the same value as n: certainly or perhaps, and whether that is by a dynamic reference.
func (s *Schema) inPlace(n *jsonschema.Schema, f func(k *jsonschema.Schema, certain, dynamic bool)) {
	if n.Ref != nil {
		f(n.Ref, true, false)
		if n.DraftVersion < 2019 {
			return
		}
	}
	dynamic := func(to *jsonschema.Schema, others []*jsonschema.Schema) {
		only := !slices.ContainsFunc(others, func(k *jsonschema.Schema) bool { return k != to })
		f(to, only, true)
		for _, k := range others {
			f(k, only, true)
		}
	}
	if to := n.RecursiveRef; to != nil {
		if to.RecursiveAnchor {
			dynamic(to, s.dynamic[""])
		} else {
			dynamic(to, nil)
		}
	}
	if ref := n.DynamicRef; ref != nil {
		if ref.Anchor != "" && ref.Ref.DynamicAnchor == ref.Anchor {
			dynamic(ref.Ref, s.dynamic[ref.Anchor])
		} else {
			dynamic(ref.Ref, nil)
		}
	}
	for _, k := range n.AllOf {
		f(k, true, false)
	}
	for i, k := range n.AnyOf {
		f(k, i == 1 && extraOf(n).nullable, false)
	}
	for _, k := range n.OneOf {
		f(k, false, false)
	}
	for _, k := range [...]*jsonschema.Schema{n.If, n.Then, n.Else, n.Not} {
		if k != nil {
			f(k, false, false)
		}
	}
	for _, k := range n.DependentSchemas {
		f(k, false, false)
	}
	for _, k := range n.Dependencies {
		if k, ok := k.(*jsonschema.Schema); ok {
			f(k, false, false)
		}
	}
}

// rule is how a schema comes to apply to a member or an item.
type rule byte

const (
	byName rule = iota // properties, prefixItems
	byPattern
	byRest  // additionalProperties, items
	byGuess // a pattern that nobody can read
	byUnevaluated
	byContains
)

// member calls f with the sub-schemas of n that may apply to a member of that name. When the budget is used up, every pattern
// counts as matching.
func member(n *jsonschema.Schema, name string, budget *steps, f func(k *jsonschema.Schema, by rule)) {
	if n.Ref != nil && n.DraftVersion < 2019 {
		return
	}
	p, named := n.Properties[name]
	if named {
		f(p, byName)
	}
	var unknown []*jsonschema.Schema
	for re, k := range n.PatternProperties {
		switch p, _ := re.(*pattern); {
		case p == nil || p.re == nil:
			unknown = append(unknown, k)
		case !budget.spend(patternCost(p, len(name))): // no time left to see whether it matches: it may
			f(k, byPattern)
		case p.MatchString(name):
			named = true
			f(k, byPattern)
		}
	}
	if named {
		return
	}
	for _, k := range unknown { // all that is left may match
		f(k, byGuess)
	}
	if k, ok := n.AdditionalProperties.(*jsonschema.Schema); ok {
		f(k, byRest)
	}
	if n.UnevaluatedProperties != nil {
		f(n.UnevaluatedProperties, byUnevaluated)
	}
}

// item calls f with the sub-schemas of n that may apply to the item of that index.
func item(n *jsonschema.Schema, index int, f func(k *jsonschema.Schema, by rule)) {
	if n.Ref != nil && n.DraftVersion < 2019 {
		return
	}
	prefix := n.PrefixItems
	rest := n.Items2020
	if n.DraftVersion < 2020 {
		switch items := n.Items.(type) {
		case []*jsonschema.Schema:
			prefix = items
			rest, _ = n.AdditionalItems.(*jsonschema.Schema)
		case *jsonschema.Schema:
			rest = items
		}
	}
	switch {
	case index < len(prefix):
		f(prefix[index], byName)
	case rest != nil:
		f(rest, byRest)
	}
	if n.Contains != nil {
		f(n.Contains, byContains)
	}
	if n.UnevaluatedItems != nil && index >= len(prefix) {
		f(n.UnevaluatedItems, byUnevaluated)
	}
}

// kids calls f with every sub-schema of n but for names.
func (s *Schema) kids(n *jsonschema.Schema, f func(k *jsonschema.Schema)) {
	s.inPlace(n, func(k *jsonschema.Schema, _, _ bool) { f(k) })
	if n.Ref != nil && n.DraftVersion < 2019 {
		return
	}
	for _, k := range n.Properties {
		f(k)
	}
	for _, k := range n.PatternProperties {
		f(k)
	}
	prefix, _ := n.Items.([]*jsonschema.Schema)
	for _, k := range slices.Concat(prefix, n.PrefixItems) {
		f(k)
	}
	for _, v := range [...]any{n.AdditionalProperties, n.Items, n.AdditionalItems, n.UnevaluatedProperties, n.Items2020, n.UnevaluatedItems, n.Contains} {
		if k, ok := v.(*jsonschema.Schema); ok && k != nil {
			f(k)
		}
	}
}

// each calls f once with every schema that can be reached from root, the ones not in force as well.
func (s *Schema) each(root *jsonschema.Schema, f func(n *jsonschema.Schema)) {
	seen := map[*jsonschema.Schema]bool{root: true}
	queue := []*jsonschema.Schema{root}
	add := func(k *jsonschema.Schema) {
		if !seen[k] {
			seen[k] = true
			queue = append(queue, k)
		}
	}
	for i := 0; i < len(queue); i++ {
		n := queue[i]
		f(n)
		s.kids(n, add)
		for _, k := range extraOf(n).may {
			add(k)
		}
		if names := extraOf(n).names; names != nil {
			add(names)
		}
	}
}

// reach returns the schemas from which one that is wanted can be reached.
func (s *Schema) reach(wanted func(*jsonschema.Schema) bool) map[*jsonschema.Schema]bool {
	found := map[*jsonschema.Schema]bool{}
	users := map[*jsonschema.Schema][]*jsonschema.Schema{}
	var queue []*jsonschema.Schema
	s.each(s.root, func(n *jsonschema.Schema) {
		if wanted(n) {
			found[n] = true
			queue = append(queue, n)
		}
		add := func(k *jsonschema.Schema) { users[k] = append(users[k], n) }
		s.kids(n, add)
		for _, k := range extraOf(n).may {
			add(k)
		}
	})
	for len(queue) > 0 {
		n := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, user := range users[n] {
			if !found[user] {
				found[user] = true
				queue = append(queue, user)
			}
		}
	}
	return found
}

// expand adds to the nodes all that apply to the same value.
func (s *Schema) expand(nodes []*jsonschema.Schema, sc scope, budget *steps) []*jsonschema.Schema {
	all := make([]*jsonschema.Schema, 0, 2*len(nodes))
	var seen map[*jsonschema.Schema]bool
	var add func(n *jsonschema.Schema)
	add = func(n *jsonschema.Schema) {
		if len(all) < 8 && slices.Contains(all, n) || seen[n] || !budget.spend(1) {
			return
		}
		all = append(all, n)
		if len(all) == 8 {
			seen = make(map[*jsonschema.Schema]bool, 64)
			for _, n := range all {
				seen[n] = true
			}
		} else if seen != nil {
			seen[n] = true
		}
		s.inPlace(n, func(k *jsonschema.Schema, always, _ bool) {
			if always || sc != certain {
				add(k)
			}
		})
		if sc == secretly {
			for _, k := range extraOf(n).may {
				add(k)
			}
		}
	}
	for _, n := range nodes {
		add(n)
	}
	return all
}

// Declares tells whether the schema says something of the place that a JSON Pointer points to, in any of its branches: by
// "properties", "patternProperties", "items" and the like, or by an "additionalProperties" that is there and not false. A
// place that is allowed only because nothing forbids it is not declared. The whole config is.
func (s *Schema) Declares(pointer string) bool {
	tokens, err := jsontext.SplitPointer(pointer)
	if err != nil || s.root == nil {
		return false
	}
	budget := steps(maxWalk)
	nodes := []*jsonschema.Schema{s.root}
	for _, t := range tokens {
		var next []*jsonschema.Schema
		seen := map[*jsonschema.Schema]bool{}
		take := func(k *jsonschema.Schema, _ rule) {
			if !seen[k] && (k.Bool == nil || *k.Bool) {
				seen[k] = true
				next = append(next, k)
			}
		}
		index, err := strconv.Atoi(t)
		isIndex := err == nil && index >= 0 && strconv.Itoa(index) == t
		for _, n := range s.expand(nodes, possible, &budget) {
			if !budget.spend(1) {
				return false
			}
			if open, ok := n.AdditionalProperties.(bool); ok && open && n.Properties[t] == nil {
				return true
			}
			member(n, t, &budget, take)
			if isIndex {
				item(n, index, take)
			}
		}
		nodes = next
	}
	return len(nodes) > 0
}

// declaresAtRoot tells whether the schema speaks of a property of that name of the whole config.
func (s *Schema) declaresAtRoot(name string) bool {
	budget := steps(maxWalk)
	return slices.ContainsFunc(s.expand([]*jsonschema.Schema{s.root}, possible, &budget), func(n *jsonschema.Schema) bool {
		return n.Properties[name] != nil || slices.Contains(n.Required, name)
	})
}
