package schema

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// How many values the defaults of one config, and of one member, may have. Those beyond are left out.
const (
	maxDefaults = 10_000
	maxMade     = 2_000
)

// maxTries is how many steps Complete takes to find out which defaults do no harm.
const maxTries = 4 * maxSteps

// Complete returns the effective config, which is config with the defaults of the schema, and the verdict on it: no issues say that it is
// valid. It is the only judge: a config is valid exactly if its effective config is.
//
// Defaults apply as far as the schema has them whatever the config says: in properties, in what they refer to, in allOf, and in items that
// are there. What config has stays as it is, null included; what is added comes after it, in the order of the schema. An object that is
// absent is made if there are defaults for what is in it. A default that breaks the schema it stands in is left out, and so is a default or
// a made object with which the config would have an issue that it has not without. Completing an effective config changes nothing.
//
// Issues are in the order of their places in the effective config. Numbers are compared exactly. Numbers over MaxNumberText or
// MaxNumberExponent are issues, and if there is one, or if checking would take too long or ctx is done, nothing else is looked at.
// If the schema is not Usable, effective is config and there is an issue.
//
// config is not changed. The effective config shares subtrees with it and with the schema: neither may be changed afterwards.
func (s *Schema) Complete(ctx context.Context, config *jsontext.Value) (effective *jsontext.Value, issues []Issue) {
	if !s.usable {
		return config, []Issue{{Message: "it cannot be checked, because the schema cannot be used"}}
	}
	if huge := hugeNumbers(config); huge != nil {
		return config, huge
	}
	root := []*jsonschema.Schema{s.root}
	effective = s.complete(config, root, nil, nil, func(v *jsontext.Value) []Issue {
		issues = s.judge(ctx, s.root, v, s.steps)
		return issues
	})
	return effective, s.withoutEchoes(issues)
}

// complete adds the defaults to v that do no harm. judge tells what is wrong with a value; it is called last with the one that is returned.
func (s *Schema) complete(v *jsontext.Value, nodes []*jsonschema.Schema, within *path, work *labor, judge func(*jsontext.Value) []Issue) *jsontext.Value {
	var now []Issue // what is wrong with v
	known := false
	tries := steps(maxTries)
	for range 16 {
		f := filler{s: s, work: work}
		full := f.fill(v, nodes, within)
		if f.count == 0 {
			break
		}
		if judge(full) == nil {
			return full
		}
		if !known {
			now, known = judge(v), true
		}
		one := 1000 + s.stepsFor(context.Background(), nodes[0], full, maxSteps+1)
		chosen := map[int]bool{}
		next := v
		mend := now != nil // first what mends an issue, lest something else takes its place
		var try func(low, high int)
		try = func(low, high int) {
			if !tries.spend(one) {
				return
			}
			g := filler{s: s, work: work, take: func(i int) bool { return chosen[i] || low <= i && i < high }}
			with := g.fill(v, nodes, within)
			issues := judge(with)
			if !slices.ContainsFunc(issues, func(i Issue) bool { return !slices.Contains(now, i) }) && (!mend || len(issues) < len(now)) {
				now, next = issues, with
				for i := low; i < high; i++ {
					chosen[i] = true
				}
			} else if high-low > 1 {
				middle := (low + high) / 2
				try(low, middle)
				try(middle, high)
			}
		}
		if try(0, f.count); len(chosen) == 0 && mend {
			mend = false
			try(0, f.count)
		}
		if len(chosen) == 0 {
			break
		}
		v = next
	}
	judge(v)
	return v
}

// path is the schemas of the objects and arrays that a value is in, the innermost first.
type path struct {
	nodes  []*jsonschema.Schema
	up     *path
	length int
}

// times returns how often one of the nodes is on the path, at most.
func (p *path) times(nodes []*jsonschema.Schema) (most int) {
	for _, n := range nodes {
		count := 0
		for p := p; p != nil; p = p.up {
			if slices.Contains(p.nodes, n) {
				count++
			}
		}
		most = max(most, count)
	}
	return most
}

// filler puts in defaults.
type filler struct {
	s     *Schema
	work  *labor           // how much may still be done for a default; nil: each has its own
	size  int              // of what is put in
	count int              // of the members that are or could be put in
	take  func(i int) bool // whether the one of that number is; nil: all are
}

// fill returns v with the defaults that nodes have for what is in it. within is what v is in.
func (f *filler) fill(v *jsontext.Value, nodes []*jsonschema.Schema, within *path) *jsontext.Value {
	if v.Kind < jsontext.Array || len(nodes) == 0 {
		return v
	}
	budget := steps(maxWalk / 4)
	all := f.s.expand(nodes, certain, &budget)
	useful := slices.DeleteFunc(slices.Clone(all), func(n *jsonschema.Schema) bool { return !f.s.defaults[n] })
	if len(useful) == 0 {
		return v
	}
	within = &path{all, within, within.depth() + 1}
	added := f.absent(v, all, useful, within, &budget)
	out := &jsontext.Value{Kind: v.Kind}
	for i, v := range v.Items {
		var kids []*jsonschema.Schema
		for _, n := range useful {
			item(n, i, func(k *jsonschema.Schema, by rule) {
				if (by == byName || by == byRest) && f.s.defaults[k] {
					kids = append(kids, k)
				}
			})
		}
		out.Items = append(out.Items, f.fill(v, kids, within))
	}
	for _, m := range v.Members {
		var kids []*jsonschema.Schema
		for _, n := range useful {
			member(n, m.Name, &budget, func(k *jsonschema.Schema, by rule) {
				if by <= byRest && f.s.defaults[k] {
					kids = append(kids, k)
				}
			})
		}
		out.Members = append(out.Members, jsontext.Member{Name: m.Name, Value: f.fill(m.Value, kids, within)})
	}
	out.Members = append(out.Members, added...)
	return out
}

// absent returns the members to add to v itself, in the order of the schema.
func (f *filler) absent(v *jsontext.Value, all, useful []*jsonschema.Schema, within *path, budget *steps) (list []jsontext.Member) {
	if v.Kind != jsontext.Object {
		return nil
	}
	have := make(map[string]bool, len(v.Members)+4)
	for _, m := range v.Members {
		have[m.Name] = true
	}
	var sizes []int
	for _, n := range useful {
		if n.Ref != nil && n.DraftVersion < 2019 {
			continue
		}
		for _, name := range extraOf(n).props {
			if have[name] || !f.s.defaults[n.Properties[name]] || *budget < 0 {
				continue
			}
			have[name] = true
			var kids []*jsonschema.Schema
			for _, n := range all {
				budget.spend(1)
				member(n, name, budget, func(k *jsonschema.Schema, by rule) {
					if by == byName || by == byPattern {
						kids = append(kids, k)
					}
				})
			}
			if m := f.s.absent(kids, within, f.work); m.value != nil {
				list = append(list, jsontext.Member{Name: name, Value: m.value})
				sizes = append(sizes, m.size)
			}
		}
	}
	// The plain ones first: the others may be too much.
	taken := make([]bool, len(list))
	for _, plain := range []bool{true, false} {
		for i, size := range sizes {
			if plain == (size == 1) && f.size+size <= maxDefaults {
				f.size += size
				taken[i] = f.take == nil || f.take(f.count)
				f.count++
			}
		}
	}
	kept := list[:0]
	for i, m := range list {
		if taken[i] {
			kept = append(kept, m)
		}
	}
	return kept
}

func (p *path) depth() int {
	if p == nil {
		return 0
	}
	return p.length
}

// made is what is put in for an absent member, if anything.
type made struct {
	value *jsontext.Value
	size  int // values in it
}

// absent returns what is put in for an absent member that the nodes apply to. It is worked out once for each way to come there.
func (s *Schema) absent(nodes []*jsonschema.Schema, within *path, work *labor) made {
	var key any = nodes[0]
	if len(nodes) > 1 {
		key = joined("", nodes)
	}
	if known, ok := s.made.Load(key); ok {
		return known.(made)
	}
	here := joined("", nodes)
	for p := within; p != nil; p = p.up {
		here = joined(here+"in", p.nodes[:1])
	}
	if known, ok := s.made.Load(here); ok {
		if work != nil {
			work.depends = true
		}
		return known.(made)
	}
	mine := &labor{left: maxWork}
	if work != nil {
		mine.total = work.total
	} else {
		mine.total = new(steps)
		*mine.total = maxTotalWork
	}
	if *mine.total < 0 || s.frozen {
		if !slices.ContainsFunc(nodes, func(n *jsonschema.Schema) bool { def := extraOf(n).def; return def != nil && def.Kind < jsontext.Array }) {
			return made{}
		}
		mine.total = new(steps) // plain ones cost next to nothing
		*mine.total = maxWork
	}
	m := &maker{s: s, within: within, work: mine}
	found := made{value: m.make(nodes)}
	found.size = sizeOf(found.value)
	if mine.left < 0 || *mine.total < 0 {
		found = made{}
		if s.costly != nil {
			s.costly(nodes[0])
		}
	}
	switch {
	case *mine.total < 0 || within.depth() >= 8:
	case mine.depends:
		s.made.Store(here, found)
	default:
		s.made.Store(key, found)
	}
	if work != nil {
		work.depends = work.depends || mine.depends
	}
	return found
}

// joined appends something that tells the nodes from all others.
func joined(key string, nodes []*jsonschema.Schema) string {
	for _, n := range nodes {
		key += fmt.Sprintf(" %p", n)
	}
	return key
}

// labor is the work on one default, without that on the defaults in it, and on all together.
type labor struct {
	left    steps
	total   *steps
	depends bool // the outcome depends on what the default is in
}

func (l *labor) spend(n int) bool {
	ok := l.left.spend(n)
	return l.total.spend(n) && ok
}

// sizeOf counts values, not many more than maxDefaults.
func sizeOf(v *jsontext.Value) (size int) {
	for at := range v.All() {
		if size++; size > maxDefaults {
			at.Skip()
		}
	}
	return size
}

// maker works out what is put in for an absent member. A schema that refers to itself makes no object inside the one that it applies to, and
// gives a default only once there: that would go on for ever, and a tree that somebody has ended would grow.
type maker struct {
	s      *Schema
	within *path
	work   *labor
}

func (m *maker) make(nodes []*jsonschema.Schema) *jsontext.Value {
	budget := steps(maxWork)
	all := m.s.expand(nodes, certain, &budget)
	m.work.spend(maxWork - int(budget))
	times := m.within.times(all)
	m.work.depends = m.work.depends || times > 0
	mayBeObject := times == 0
	for _, n := range all {
		if def := extraOf(n).def; def != nil && times < 2 {
			if made := m.valid(def, nodes); made != nil {
				return made
			}
		}
		mayBeObject = mayBeObject && n.Bool == nil && (n.Types == nil || slices.Contains(n.Types.ToStrings(), "object"))
	}
	if !mayBeObject {
		return nil
	}
	made := m.valid(&jsontext.Value{Kind: jsontext.Object}, nodes)
	if made == nil || len(made.Members) == 0 {
		return nil
	}
	return made
}

// valid returns v with the defaults for what is in it, or nil if the nodes do not allow that or it would take too long to see.
func (m *maker) valid(v *jsontext.Value, nodes []*jsonschema.Schema) *jsontext.Value {
	var issues []Issue
	made := m.s.complete(v, nodes, m.within, m.work, func(v *jsontext.Value) []Issue {
		size := sizeOf(v)
		if !m.work.spend(size) || size > maxMade {
			issues = []Issue{{Message: "it is too large"}}
			return issues
		}
		issues = nil
		for _, n := range nodes {
			issues = append(issues, m.s.judge(context.Background(), n, v, maxSteps+1)...)
		}
		return issues
	})
	if issues != nil {
		return nil
	}
	return made
}

// prepareDefaults drops the defaults that break their own schemas, and works out those for an empty config.
func (b *builder) prepareDefaults() {
	s := b.schema
	var list []*jsonschema.Schema
	s.each(s.root, func(n *jsonschema.Schema) {
		if x := extraOf(n); x.def != nil {
			if n == s.root {
				x.def = nil
				return
			}
			list = append(list, n)
		}
	})
	slices.SortFunc(list, func(x, y *jsonschema.Schema) int { return strings.Compare(extraOf(x).at, extraOf(y).at) })
	find := func() {
		s.defaults = s.reach(func(n *jsonschema.Schema) bool { return extraOf(n).def != nil })
	}
	find()
	total := new(steps)
	*total = 10 * maxTotalWork
	for _, n := range list {
		x := extraOf(n)
		if _, huge := findHugeNumber(x.def); huge {
			b.note(x.doc, x.at+"/default", hugeNumber)
			x.def = nil
			continue
		}
		m := &maker{s: s, work: &labor{left: maxWork, total: total}}
		switch costly := s.stepsFor(context.Background(), n, x.def, maxSteps+1) > maxWork; {
		case !costly && m.valid(x.def, []*jsonschema.Schema{n}) != nil:
		case costly || m.work.left < 0:
			b.note(x.doc, x.at, "has a default that is too costly to check, and not used")
			x.def = nil
		default:
			b.note(x.doc, x.at+"/default", "is a default that its own schema does not allow, and not used")
			x.def = nil
		}
	}
	find()
	s.made.Clear()
	s.costly = func(n *jsonschema.Schema) {
		if x := extraOf(n); x.doc != nil {
			b.note(x.doc, x.at, "has defaults in it that are too many to work out, and are not used")
		}
	}
	*total = maxTotalWork
	f := filler{s: s, work: &labor{left: maxWork, total: total}}
	f.fill(&jsontext.Value{Kind: jsontext.Object}, []*jsonschema.Schema{s.root}, nil)
	s.costly, s.frozen = nil, *total < 0
}

// How many steps it may take to work out one default, and all that the schema has for an empty config.
const (
	maxWork      = 25_000
	maxTotalWork = 100_000
)

// Issue is one thing that is wrong with a config.
type Issue struct {
	Pointer string // JSON Pointer (RFC 6901) to the place in the config; "" is the whole config
	Keyword string // of the schema, or "" if it is not the schema that objects
	Message string // a sentence that says what is wanted; it quotes the schema, never a value of the config
}

// maxEchoes is how many issues are looked through for echoes.
const maxEchoes = 1000

// withoutEchoes drops what unevaluatedProperties and unevaluatedItems say of places that the schema does declare, if there
// is another issue beside or below: they count as unevaluated only because of that.
func (s *Schema) withoutEchoes(issues []Issue) []Issue {
	if len(issues) < 2 || len(issues) > maxEchoes {
		return issues
	}
	kept := slices.DeleteFunc(slices.Clone(issues), func(i Issue) bool {
		if i.Pointer == "" || !strings.HasPrefix(i.Keyword, "unevaluated") || !s.Declares(i.Pointer) {
			return false
		}
		parent := i.Pointer[:strings.LastIndexByte(i.Pointer, '/')]
		return slices.ContainsFunc(issues, func(other Issue) bool {
			rest, below := strings.CutPrefix(other.Pointer, parent+"/")
			return below && (strings.Contains(rest, "/") || other.Keyword != i.Keyword) || other.Pointer == parent
		})
	})
	if len(kept) == 0 { // each is an echo of another
		return issues
	}
	return kept
}

func hugeNumbers(v *jsontext.Value) (issues []Issue) {
	for at, v := range v.All() {
		if v.Kind == jsontext.Number && isHugeNumber(v.Text) {
			issues = append(issues, Issue{Pointer: at.Pointer(), Message: fmt.Sprintf(
				"the number must have at most %d characters and an exponent of at most %d", MaxNumberText, MaxNumberExponent)})
		}
	}
	return issues
}

// judge returns what n has against v.
func (s *Schema) judge(ctx context.Context, n *jsonschema.Schema, v *jsontext.Value, steps int) (issues []Issue) {
	if n == s.root && !s.named && v.Member("$schema") != nil { // editors write it, to know the schema
		v = &jsontext.Value{Kind: v.Kind, Members: slices.DeleteFunc(slices.Clone(v.Members), func(m jsontext.Member) bool { return m.Name == "$schema" })}
	}
	if err := ctx.Err(); err != nil {
		return []Issue{{Message: "it was not checked, because the time is over or the caller gave up"}}
	}
	if s.stepsFor(ctx, n, v, steps) > maxSteps {
		return []Issue{{Message: "the schema is too costly to check on this config"}}
	}
	err := run(n, v)
	if err == nil {
		return nil
	}
	var f flattener
	if e, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		issues = f.issues(e)
	}
	if len(issues) == 0 { // an invalid config never goes without one
		issues = []Issue{{Message: "the schema does not allow it"}}
	}
	return arrange(issues, v)
}

// run lets the library check v. Its errors quote values.
func run(compiled *jsonschema.Schema, v *jsontext.Value) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the validator failed")
		}
	}()
	return compiled.Validate(toAny(v))
}

// arrange sorts issues by their places in v and drops those that say the same twice.
func arrange(issues []Issue, v *jsontext.Value) []Issue {
	if len(issues) == 1 {
		return issues
	}
	rank := make(map[string]int, len(issues))
	for _, i := range issues {
		rank[i.Pointer] = 0
	}
	left, count := len(rank), 0
	for at := range v.All() {
		if left == 0 {
			break
		}
		count++
		if _, ok := rank[at.Pointer()]; ok {
			rank[at.Pointer()] = count
			left--
		}
	}
	slices.SortFunc(issues, func(a, b Issue) int {
		if c := rank[a.Pointer] - rank[b.Pointer]; c != 0 {
			return c
		}
		if c := strings.Compare(a.Keyword, b.Keyword); c != 0 {
			return c
		}
		return strings.Compare(a.Message, b.Message)
	})
	return slices.Compact(issues)
}
