package registry

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/store"
)

// floats are the numbers that a Go float wrote, with its size in bits: they are as exact as that.
type floats map[*jsontext.Value]int

// writer follows what a Go value has written.
type writer struct {
	floats floats
	fields knownFields
}

// encode reads a config that is given as a Go value or as JSON. Members of structs that are nil slices, maps, pointers or interfaces are
// left out: they would be null, which few schemas allow.
func (r *Registry) encode(o owner, config any) (*jsontext.Value, floats, error) {
	text, err := jsontext.Encode(config)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", store.ErrInvalidConfig, r.shorten(o, err))
	}
	v, err := jsontext.Parse(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", store.ErrInvalidConfig, r.shorten(o, err))
	}
	w := writer{floats{}, knownFields{}}
	switch config.(type) {
	case json.RawMessage, []byte:
	default:
		w.follow(v, reflect.ValueOf(config))
	}
	return v, w.floats, nil
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// follow goes through v and the Go value that it was written from.
func (w writer) follow(v *jsontext.Value, from reflect.Value) {
	for from.IsValid() {
		t := from.Type()
		if t.Implements(jsonMarshaler) || t.Implements(textMarshaler) || reflect.PointerTo(t).Implements(jsonMarshaler) || reflect.PointerTo(t).Implements(textMarshaler) {
			return
		}
		if from.Kind() != reflect.Pointer && from.Kind() != reflect.Interface {
			break
		}
		from = from.Elem()
	}
	switch kind := from.Kind(); {
	case v.Kind == jsontext.Number && (kind == reflect.Float32 || kind == reflect.Float64):
		w.floats[v] = from.Type().Bits()
	case v.Kind == jsontext.Array && (kind == reflect.Slice || kind == reflect.Array):
		for i, item := range v.Items {
			w.follow(item, from.Index(i))
		}
	case v.Kind == jsontext.Object && kind == reflect.Map && from.Type().Key().Kind() == reflect.String:
		for _, m := range v.Members {
			w.follow(m.Value, from.MapIndex(reflect.ValueOf(m.Name).Convert(from.Type().Key())))
		}
	case v.Kind == jsontext.Object && kind == reflect.Struct:
		fields := w.fields.of(from.Type())
		v.Members = slices.DeleteFunc(v.Members, func(m jsontext.Member) bool {
			i := slices.IndexFunc(fields, func(f field) bool { return f.name == m.Name })
			if i < 0 {
				return false
			}
			value, err := from.FieldByIndexErr(fields[i].index)
			if err != nil {
				return false
			}
			switch value.Kind() {
			case reflect.Slice, reflect.Map, reflect.Pointer, reflect.Interface:
				if value.IsNil() {
					return m.Value.Kind == jsontext.Null
				}
			}
			w.follow(m.Value, value)
			return false
		})
	}
}

// floatText returns a number as encoding/json writes it after reading it into a Go float of that size.
func floatText(number string, bits int) string {
	n, err := strconv.ParseFloat(number, bits)
	if err != nil {
		return number
	}
	var text []byte
	if bits == 32 {
		text, err = json.Marshal(float32(n))
	} else {
		text, err = json.Marshal(n)
	}
	if err != nil || math.IsInf(n, 0) {
		return number
	}
	return string(text)
}

// merger carries an edit over to a stored config: what the edit left as it was keeps its stored text and its place, and what is new comes
// last.
type merger struct{ written floats }

// same tells whether an edit left a value as it was.
func (m merger) same(before, after *jsontext.Value) bool {
	if before == nil || before.Kind != after.Kind {
		return false
	}
	switch after.Kind {
	case jsontext.Number:
		bits := m.written[after]
		return before.Text == after.Text || bits > 0 && floatText(before.Text, bits) == after.Text
	case jsontext.Array:
		return slices.EqualFunc(before.Items, after.Items, m.same)
	case jsontext.Object:
		if len(before.Members) != len(after.Members) {
			return false
		}
		names := membersOf(before)
		for _, member := range after.Members {
			if !m.same(names[member.Name], member.Value) {
				return false
			}
		}
		return true
	}
	return before.Text == after.Text
}

// merge returns stored with what differs between before and after. stored may lack what is in before, such as defaults.
func (m merger) merge(stored, before, after *jsontext.Value) *jsontext.Value {
	switch {
	case stored != nil && m.same(before, after):
		return stored
	case before == nil || before.Kind != after.Kind || stored != nil && stored.Kind != after.Kind:
		return after
	case after.Kind == jsontext.Object:
		return m.mergeObject(stored, before, after)
	case after.Kind == jsontext.Array && stored != nil:
		return m.mergeList(stored, before, after)
	}
	return after
}

func (m merger) mergeObject(stored, before, after *jsontext.Value) *jsontext.Value {
	if stored == nil {
		stored = &jsontext.Value{Kind: jsontext.Object}
	}
	was, is, has := membersOf(before), membersOf(after), membersOf(stored)
	merged := &jsontext.Value{Kind: jsontext.Object}
	for _, member := range stored.Members {
		now, edited := is[member.Name], was[member.Name] != nil
		switch {
		case now != nil:
			merged.Members = append(merged.Members, jsontext.Member{Name: member.Name, Value: m.merge(member.Value, was[member.Name], now)})
		case !edited: // the edit did not see it
			merged.Members = append(merged.Members, member)
		}
	}
	for _, member := range after.Members {
		if has[member.Name] == nil && !m.same(was[member.Name], member.Value) {
			merged.Members = append(merged.Members, jsontext.Member{Name: member.Name, Value: m.merge(nil, was[member.Name], member.Value)})
		}
	}
	return merged
}

// mergeList finds for each item of after the item of before that it was, and merges the two.
func (m merger) mergeList(stored, before, after *jsontext.Value) *jsontext.Value {
	if len(stored.Items) != len(before.Items) {
		return after
	}
	merged := &jsontext.Value{Kind: jsontext.Array, Items: make([]*jsontext.Value, len(after.Items))}
	used := make([]bool, len(before.Items))
	take := func(i, n int) {
		merged.Items[i] = m.merge(stored.Items[n], before.Items[n], after.Items[i])
		used[n] = true
	}
	if gone := len(before.Items) - len(after.Items); gone > 0 && slices.EqualFunc(before.Items[gone:], after.Items, m.same) {
		for i := range after.Items { // the first ones were deleted, as far as can be seen
			take(i, gone+i)
		}
		return merged
	}
	for i := range min(len(before.Items), len(after.Items)) { // those at their old place first
		if m.same(before.Items[i], after.Items[i]) {
			take(i, i)
		}
	}
	unused := map[string][]int{}
	for n, item := range before.Items {
		if !used[n] {
			unused[roughKey(item)] = append(unused[roughKey(item)], n)
		}
	}
	var changed []int
	for i, item := range after.Items {
		if merged.Items[i] != nil {
			continue
		}
		candidates := unused[roughKey(item)]
		at := slices.IndexFunc(candidates, func(n int) bool { return !used[n] && m.same(before.Items[n], item) })
		if at < 0 {
			changed = append(changed, i)
			continue
		}
		take(i, candidates[at])
	}
	for _, i := range changed {
		n := m.likest(before.Items, used, after.Items[i], i)
		if n < 0 {
			merged.Items[i] = after.Items[i]
			continue
		}
		take(i, n)
	}
	return merged
}

// maxLikest is how many items of a list are compared to find the one that an edited item was.
const maxLikest = 64

// likest returns the unused item that has most members in common with item, or -1. If several do, the one at place i counts, else the first.
func (m merger) likest(items []*jsontext.Value, used []bool, item *jsontext.Value, i int) int {
	best, most, compared := -1, 0, 0
	try := func(n int) {
		if used[n] || items[n].Kind != item.Kind {
			return
		}
		compared++
		common := 1
		names := membersOf(items[n])
		for _, member := range item.Members {
			if m.same(names[member.Name], member.Value) {
				common += 2
			}
		}
		if common > most {
			best, most = n, common
		}
	}
	if i < len(items) {
		try(i)
	}
	for n := range items {
		if compared < maxLikest {
			try(n)
		}
	}
	return best
}

// roughKey returns a text that two values have in common if same may say that one was the other.
func roughKey(v *jsontext.Value) string {
	numbers := edits{}
	for at, v := range v.All() {
		if v.Kind == jsontext.Number {
			numbers[at.Pointer()] = &jsontext.Value{Kind: jsontext.Number, Text: floatText(v.Text, 32)}
		}
	}
	return key(numbers.in(v))
}

func membersOf(v *jsontext.Value) map[string]*jsontext.Value {
	members := make(map[string]*jsontext.Value, len(v.Members))
	for _, m := range v.Members {
		members[m.Name] = m.Value
	}
	return members
}

// patched returns config with an RFC 7396 merge patch.
func (m merger) patched(config, patch *jsontext.Value) *jsontext.Value {
	if patch.Kind != jsontext.Object {
		if config != nil {
			return m.merge(config, config, patch)
		}
		return patch
	}
	if config == nil || config.Kind != jsontext.Object {
		config = &jsontext.Value{Kind: jsontext.Object}
	}
	changes, has := membersOf(patch), membersOf(config)
	merged := &jsontext.Value{Kind: jsontext.Object}
	for _, member := range config.Members {
		switch change := changes[member.Name]; {
		case change == nil:
			merged.Members = append(merged.Members, member)
		case change.Kind != jsontext.Null:
			merged.Members = append(merged.Members, jsontext.Member{Name: member.Name, Value: m.patched(member.Value, change)})
		}
	}
	for _, member := range patch.Members {
		if has[member.Name] == nil && member.Value.Kind != jsontext.Null {
			merged.Members = append(merged.Members, jsontext.Member{Name: member.Name, Value: m.patched(nil, member.Value)})
		}
	}
	return merged
}
