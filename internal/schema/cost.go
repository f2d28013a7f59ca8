package schema

import (
	"fmt"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
)

// cost returns how often sub-schemas are applied to a config of one value in each place, at most: how large the schema is
// with every reference written out. A schema that refers to itself has no such number and gets maxSteps+1, as do very large
// ones. It is an error if one application alone leads to too many.
func (r *reader) cost(root *node) (int, error) {
	inPlace := costs{r: r, done: map[*node]int{}}
	depth := map[*node]int{}
	for _, n := range r.nodes {
		if inPlace.of(n, false) > maxSteps {
			return 0, fmt.Errorf("it is too costly to check: one value takes over %d steps", maxSteps)
		}
		if r.inPlaceDepth(n, depth) > maxInPlace {
			return 0, fmt.Errorf("it is too costly to check: a chain of over %d sub-schemas applies to one value", maxInPlace)
		}
	}
	all := costs{r: r, done: map[*node]int{}}
	return all.of(root, true), nil
}

type costs struct {
	r    *reader
	done map[*node]int
}

const pending = -1

// of adds up n and what is applied because of it, to other values too where deep.
func (c *costs) of(n *node, deep bool) int {
	if known, ok := c.done[n]; ok {
		if known == pending {
			if deep {
				return maxSteps + 1
			}
			return 0 // a $dynamicRef: the validator sees the loop
		}
		return known
	}
	c.done[n] = pending
	sum := 1 + n.weight
	add := func(k *node) {
		if sum <= maxSteps {
			sum += c.of(k, deep)
		}
	}
	for _, ref := range n.refs {
		for _, to := range ref.to {
			add(to)
		}
	}
	if !c.r.masked(n) {
		for _, k := range n.kids {
			if k.role != roleNone && (deep || k.role == roleAll || k.role == roleBranch || k.role == roleNot) {
				add(k.n)
			}
		}
	}
	sum = min(sum, maxSteps+1)
	c.done[n] = sum
	return sum
}

// inPlaceDepth is the length of the longest chain of sub-schemas that apply to the same value from n on.
func (r *reader) inPlaceDepth(n *node, done map[*node]int) int {
	if d, ok := done[n]; ok {
		return d
	}
	done[n] = 0
	d := 0
	for _, ref := range n.refs {
		for _, to := range ref.to {
			d = max(d, r.inPlaceDepth(to, done))
		}
	}
	if !r.masked(n) {
		for _, k := range n.inPlaceKids {
			d = max(d, r.inPlaceDepth(k.n, done))
		}
	}
	done[n] = d + 1
	return d + 1
}

// stepsFor returns how many steps it takes to check v with n, at most, or more than maxSteps if that takes too long. steps is
// what cost says of n.
func stepsFor(n *node, v *jsontext.Value, steps int) int {
	if size := sizeOf(v, maxSteps); size <= maxSteps/steps {
		return size * steps
	}
	c := counter{pairs: maxSteps / 4, done: map[pair]int{}}
	sum := c.count(n, v)
	if c.pairs < 0 {
		return maxSteps + 1
	}
	return sum
}

// sizeOf counts values, long strings as several and every object once more for each member; it stops beyond limit.
func sizeOf(v *jsontext.Value, limit int) int {
	size := 1 + len(v.Text)/64
	for _, item := range v.Items {
		if size > limit {
			break
		}
		size += sizeOf(item, limit)
	}
	for _, m := range v.Members {
		if size > limit {
			break
		}
		size += 1 + sizeOf(m.Value, limit)
	}
	return size
}

// pair is a sub-schema applied to a value.
type pair struct {
	n *node
	v *jsontext.Value
}

// counter works out how many steps a validation takes without taking them: each pair is looked at once.
type counter struct {
	pairs steps
	done  map[pair]int
}

func (c *counter) count(n *node, v *jsontext.Value) int {
	key := pair{n, v}
	if known, ok := c.done[key]; ok {
		return known
	}
	if !c.pairs.spend(1) {
		return maxSteps + 1
	}
	c.done[key] = 0
	sum := 1 + n.weight + len(v.Members)/16 + len(v.Text)/64
	if n.scans {
		sum += n.weight * (len(v.Text) / 1024)
	}
	add := func(k *node, to *jsontext.Value) {
		if sum <= maxSteps {
			sum += c.count(k, to)
		}
	}
	for _, ref := range n.refs {
		for _, to := range ref.to {
			add(to, v)
		}
	}
	for _, k := range n.inPlaceKids {
		add(k.n, v)
	}
	patterns := steps(maxSteps)
	for _, m := range v.Members {
		if patterns < 0 {
			return maxSteps + 1
		}
		n.member(m.Name, &patterns, func(k *node, _ role) { add(k, m.Value) })
		if n.nameRule != nil {
			add(n.nameRule, &jsontext.Value{Kind: jsontext.String, Text: m.Name})
		}
	}
	used := (maxSteps - int(patterns)) / 4
	c.pairs.spend(used / 4)
	sum += used
	for i, item := range v.Items {
		n.item(i, func(k *node, _ role) { add(k, item) })
	}
	sum = min(sum, maxSteps+1)
	c.done[key] = sum
	return sum
}
