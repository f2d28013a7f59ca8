package schema

import (
	"strconv"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
)

// Declares tells whether the schema says something of the place that a JSON Pointer points to, in any of its branches: by
// "properties", "patternProperties", "items" and the like, or by an "additionalProperties" that is there and not false. A
// place that is allowed only because nothing forbids it is not declared. The whole config is.
func (s *Schema) Declares(pointer string) bool {
	tokens, err := jsontext.SplitPointer(pointer)
	if err != nil || s.root == nil {
		return false
	}
	budget := steps(maxWalk)
	nodes := []*node{s.root}
	for _, t := range tokens {
		var next []*node
		seen := map[*node]bool{}
		take := func(k *node, _ role) {
			if !seen[k] && !(k.fixed == jsontext.Bool && !k.allow) {
				seen[k] = true
				next = append(next, k)
			}
		}
		index, err := strconv.Atoi(t)
		isIndex := err == nil && index >= 0 && strconv.Itoa(index) == t
		for _, n := range expand(nodes, possible, &budget) {
			if !budget.spend(1) {
				return false
			}
			n.member(t, &budget, take)
			if isIndex {
				n.item(index, take)
			}
		}
		nodes = next
	}
	return len(nodes) > 0
}
