package schema

import (
	"context"
	"fmt"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxSteps is how many times a sub-schema may be applied to a value in one validation. A step takes about a microsecond.
const maxSteps = 1_000_000

// cost returns how often sub-schemas are applied to a config of one value in each place, at most: how large the schema is
// with every reference written out. A schema that refers to itself has no such number and gets maxSteps+1, as do very large
// ones. It is an error if one application alone leads to too many.
func (s *Schema) cost(root *jsonschema.Schema) (total int, err error) {
	here := costs{s: s, done: map[*jsonschema.Schema]int{}}
	depth := map[*jsonschema.Schema]int{}
	s.each(root, func(n *jsonschema.Schema) {
		if err == nil && here.of(n, false) > maxSteps {
			err = fmt.Errorf("it is too costly to check: one value takes over %d steps", maxSteps)
		}
		if err == nil && s.inPlaceDepth(n, depth) > maxInPlace {
			err = fmt.Errorf("it is too costly to check: a chain of over %d sub-schemas applies to one value", maxInPlace)
		}
	})
	all := costs{s: s, done: map[*jsonschema.Schema]int{}}
	return all.of(root, true), err
}

// weight is what a schema itself takes on a value, in steps.
func weight(n *jsonschema.Schema) int {
	w := 1 + len(n.Required)
	if n.Enum != nil {
		w += len(n.Enum.Values)
	}
	return w
}

type costs struct {
	s    *Schema
	done map[*jsonschema.Schema]int
}

const pending = -1

const longText = 256

// of adds up n and what is applied because of it, to other values too if deep.
func (c *costs) of(n *jsonschema.Schema, deep bool) int {
	if known, ok := c.done[n]; ok {
		if known == pending {
			if deep {
				return maxSteps + 1
			}
			return 0 // a dynamic reference: the library sees the loop
		}
		return known
	}
	c.done[n] = pending
	sum := weight(n)
	if deep { // what is longer, stepsFor sees
		sum += patternCost(n.Pattern, longText)
		for re := range n.PatternProperties {
			sum += patternCost(re, longText)
		}
	}
	add := func(k *jsonschema.Schema) {
		if sum <= maxSteps {
			sum += c.of(k, deep)
		}
	}
	if names := extraOf(n).names; deep && names != nil {
		add(names)
	}
	if deep {
		c.s.kids(n, add)
	} else {
		c.s.inPlace(n, func(k *jsonschema.Schema, _, _ bool) { add(k) })
	}
	sum = min(sum, maxSteps+1)
	c.done[n] = sum
	return sum
}

// inPlaceDepth is the length of the longest chain of sub-schemas that apply to the same value from n on.
func (s *Schema) inPlaceDepth(n *jsonschema.Schema, done map[*jsonschema.Schema]int) int {
	if d, ok := done[n]; ok {
		return d
	}
	done[n] = 0
	d := 0
	s.inPlace(n, func(k *jsonschema.Schema, _, _ bool) { d = max(d, s.inPlaceDepth(k, done)) })
	done[n] = d + 1
	return d + 1
}

// stepsFor returns how many steps it takes to check v with n, at most, or more than maxSteps if that takes too long.
func (s *Schema) stepsFor(ctx context.Context, n *jsonschema.Schema, v *jsontext.Value, known int) int {
	if known <= maxSteps {
		size := 0
		for place, v := range v.All() {
			size += 1 + len(v.Members)
			if len(v.Text) > longText || size > maxSteps/known {
				size = maxSteps
			}
			for _, m := range v.Members {
				if len(m.Name) > longText {
					size = maxSteps
				}
			}
			if size >= maxSteps {
				place.Skip()
			}
		}
		if size <= maxSteps/known {
			return size * known
		}
	}
	c := counter{s: s, ctx: ctx, pairs: maxSteps / 4, done: map[pair]int{}}
	sum := c.count(n, v)
	if c.pairs < 0 {
		return maxSteps + 1
	}
	return sum
}

// pair is a sub-schema applied to a value.
type pair struct {
	n *jsonschema.Schema
	v *jsontext.Value
}

// counter works out how many steps a validation takes without taking them: each pair is looked at once.
type counter struct {
	s     *Schema
	ctx   context.Context
	pairs steps
	done  map[pair]int
}

func (c *counter) count(n *jsonschema.Schema, v *jsontext.Value) int {
	key := pair{n, v}
	if known, ok := c.done[key]; ok {
		return known
	}
	if !c.pairs.spend(1) || c.pairs%1024 == 0 && c.ctx.Err() != nil {
		return maxSteps + 1
	}
	c.done[key] = 0
	sum := weight(n) + len(v.Members)/16
	if v.Kind == jsontext.String {
		sum += patternCost(n.Pattern, len(v.Text))
	}
	if n.MinLength != nil || n.MaxLength != nil || n.Enum != nil || n.Const != nil {
		sum += len(v.Text) / 4096
	}
	add := func(k *jsonschema.Schema, to *jsontext.Value) {
		if sum <= maxSteps {
			sum += c.count(k, to)
		}
	}
	c.s.inPlace(n, func(k *jsonschema.Schema, _, _ bool) { add(k, v) })
	patterns := steps(maxSteps)
	for _, m := range v.Members {
		if member(n, m.Name, &patterns, func(k *jsonschema.Schema, _ rule) { add(k, m.Value) }); patterns < 0 {
			return maxSteps + 1
		}
		if names := extraOf(n).names; names != nil {
			add(names, &jsontext.Value{Kind: jsontext.String, Text: m.Name})
		}
	}
	sum += maxSteps - int(patterns)
	for i, v := range v.Items {
		item(n, i, func(k *jsonschema.Schema, _ rule) { add(k, v) })
	}
	sum = min(sum, maxSteps+1)
	c.done[key] = sum
	return sum
}
