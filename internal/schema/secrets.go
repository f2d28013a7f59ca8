package schema

import (
	"strconv"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxWalk is the budget of a walk through a config. If it is used up, Secrets takes what is left for secret.
const maxWalk = 500_000

// findSecrets compiles what is not in force and may tell of secrets, and finds what leads to one.
func (b *builder) findSecrets(c *jsonschema.Compiler) {
	s := b.schema
	if b.marks > 0 {
		for _, x := range b.blindUnless {
			b.blind = b.blind || !x.secret
		}
		for _, x := range b.withLeft {
			for _, uri := range x.left {
				k, err := compileMore(c, uri)
				if err != nil {
					b.blind = true
					continue
				}
				x.may = append(x.may, k)
			}
		}
	}
	s.blind = b.blind
	s.secrets = s.reach(func(n *jsonschema.Schema) bool { return extraOf(n).secret })
}

// HasSecrets tells whether the schema can make any value secret.
func (s *Schema) HasSecrets() bool { return s.secrets[s.root] }

// KnowsSecrets tells whether it is known which values the schema makes secret. It is false if the text is no JSON object or over the limits,
// and if the schema speaks of secrets and refers to what is not known or is itself only a part of the document.
func (s *Schema) KnowsSecrets() bool { return !s.blind }

// Secrets returns JSON Pointers to the values in config, a JSON object, that the schema says are secret, in the order of the
// text. All branches count, whether the config takes them or not, and so does what is not enforced. Nothing in a secret value has a pointer
// of its own. If the schema says that the whole config is secret, each of its members is.
func (s *Schema) Secrets(config *jsontext.Value) []string {
	if !s.HasSecrets() || config == nil || config.Kind != jsontext.Object {
		return nil
	}
	w := secretWalk{s: s, budget: maxWalk}
	nodes := s.expand([]*jsonschema.Schema{s.root}, secretly, &w.budget)
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
	s      *Schema
	budget steps
	found  []string
}

func anySecret(nodes []*jsonschema.Schema) bool {
	for _, n := range nodes {
		if extraOf(n).secret {
			return true
		}
	}
	return false
}

// value looks at a value that the nodes apply to.
func (w *secretWalk) value(nodes []*jsonschema.Schema, v *jsontext.Value, at func() string) {
	if len(nodes) == 0 {
		return
	}
	if w.budget > 0 {
		nodes = w.s.expand(nodes, secretly, &w.budget)
	}
	if w.budget <= 0 || anySecret(nodes) {
		w.found = append(w.found, at())
	} else if v.Kind >= jsontext.Array {
		w.inside(nodes, v, at())
	}
}

// inside looks at the members or items of v.
func (w *secretWalk) inside(nodes []*jsonschema.Schema, v *jsontext.Value, at string) {
	var kids []*jsonschema.Schema
	seen := map[*jsonschema.Schema]bool{}
	take := func(k *jsonschema.Schema, _ rule) {
		if w.s.secrets[k] && !seen[k] {
			seen[k] = true
			kids = append(kids, k)
		}
	}
	each := func(v *jsontext.Value, token string, f func(n *jsonschema.Schema)) {
		kids = nil
		clear(seen)
		w.budget.spend(1 + len(nodes))
		for _, n := range nodes {
			if w.s.secrets[n] {
				f(n)
			}
		}
		w.value(kids, v, func() string { return at + "/" + token })
	}
	for _, m := range v.Members {
		each(m.Value, jsontext.EscapeToken(m.Name), func(n *jsonschema.Schema) {
			member(n, m.Name, &w.budget, func(k *jsonschema.Schema, by rule) {
				if by != byUnevaluated || !w.named(n, m.Name) {
					take(k, by)
				}
			})
		})
	}
	for i, v := range v.Items {
		each(v, strconv.Itoa(i), func(n *jsonschema.Schema) { item(n, i, take) })
	}
}

// named tells whether what certainly applies beside the unevaluatedProperties of n certainly says something of the member.
func (w *secretWalk) named(n *jsonschema.Schema, name string) (named bool) {
	for _, k := range w.s.expand([]*jsonschema.Schema{n}, certain, &w.budget) {
		open, _ := k.AdditionalProperties.(bool)
		named = named || open
		member(k, name, &w.budget, func(_ *jsonschema.Schema, by rule) { named = named || by <= byRest && w.budget >= 0 })
	}
	return named
}
