package schema

import (
	"strconv"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
)

// maxWalk is the budget of a walk through a config. Where it is used up, Secrets takes what is left for secret.
const maxWalk = 500_000

// HasSecrets tells whether the schema can make any value secret.
func (s *Schema) HasSecrets() bool { return s.root != nil && s.root.reachesSecret }

// KnowsSecrets tells whether it is known which values the schema makes secret: false where the text is no JSON object or over the limits.
func (s *Schema) KnowsSecrets() bool { return s.root != nil }

// Secrets returns JSON Pointers to the values in config, a JSON object, that the schema says are secret, in the order of the
// text: by writeOnly, by the format "password", by x-secret or airbyte_secret. All branches count, whether the config takes
// them or not. Nothing in a secret value has a pointer of its own. If the schema says that the whole config is secret, each of
// its members is.
func (s *Schema) Secrets(config *jsontext.Value) []string {
	if !s.HasSecrets() || config == nil || config.Kind != jsontext.Object {
		return nil
	}
	w := secretWalk{budget: maxWalk}
	nodes := expand([]*node{s.root}, possible, &w.budget)
	if anySecret(nodes) {
		for _, m := range config.Members {
			w.found = append(w.found, "/"+jsontext.EscapeToken(m.Name))
		}
		return w.found
	}
	w.inside(nodes, config, "")
	return w.found
}

type secretWalk struct {
	budget steps
	found  []string
}

func anySecret(nodes []*node) bool {
	for _, n := range nodes {
		if n.secret {
			return true
		}
	}
	return false
}

// value looks at a value that the nodes apply to.
func (w *secretWalk) value(nodes []*node, v *jsontext.Value, at func() string) {
	if len(nodes) == 0 {
		return
	}
	if w.budget > 0 {
		nodes = expand(nodes, possible, &w.budget)
	}
	if w.budget <= 0 || anySecret(nodes) {
		w.found = append(w.found, at())
		return
	}
	if v.Kind == jsontext.Object || v.Kind == jsontext.Array {
		w.inside(nodes, v, at())
	}
}

// inside looks at the members or items of v.
func (w *secretWalk) inside(nodes []*node, v *jsontext.Value, at string) {
	var kids []*node
	seen := map[*node]bool{}
	take := func(k *node, _ role) {
		if k.reachesSecret && !seen[k] {
			seen[k] = true
			kids = append(kids, k)
		}
	}
	for _, m := range v.Members {
		kids = nil
		clear(seen)
		w.budget.spend(1 + len(nodes))
		for _, n := range nodes {
			if n.reachesSecret {
				n.member(m.Name, &w.budget, func(k *node, r role) {
					if r != roleUnevaluated || !named(n, m.Name, &w.budget) {
						take(k, r)
					}
				})
			}
		}
		w.value(kids, m.Value, func() string { return at + "/" + jsontext.EscapeToken(m.Name) })
	}
	for i, item := range v.Items {
		kids = nil
		clear(seen)
		w.budget.spend(1 + len(nodes))
		for _, n := range nodes {
			if n.reachesSecret {
				n.item(i, take)
			}
		}
		w.value(kids, item, func() string { return at + "/" + strconv.Itoa(i) })
	}
}

// named tells whether what certainly applies beside the unevaluatedProperties of n certainly says something of the member.
func named(n *node, name string, budget *steps) bool {
	for _, k := range expand([]*node{n}, certain, budget) {
		if k.masked {
			continue
		}
		if k.property(name) != nil {
			return true
		}
		for _, m := range k.memberKids {
			if m.role == roleAdditional || m.role == rolePattern && m.pattern != nil && budget.spend(1+len(name)/16) && m.pattern.MatchString(name) {
				return true
			}
		}
	}
	return false
}
