package jsontext

import (
	"iter"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Kind is the kind of a JSON value.
type Kind byte

// The kinds; those from Array on hold other values.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

// String names the kind with its article, as messages need it: "an array".
func (k Kind) String() string {
	switch k {
	case Null:
		return "null"
	case Bool:
		return "a boolean"
	case Number:
		return "a number"
	case String:
		return "a string"
	case Array:
		return "an array"
	}
	return "an object"
}

// kindOf tells the kind of a value by its first byte.
func kindOf(first byte) Kind {
	switch first {
	case 'n':
		return Null
	case 't', 'f':
		return Bool
	case '"':
		return String
	case '[':
		return Array
	case '{':
		return Object
	}
	return Number
}

// Value is a JSON value as a tree that keeps the order of members and the digits of numbers.
type Value struct {
	Kind    Kind
	Text    string // Number: its digits. String: what it says. Bool: "true" or "false"
	Items   []*Value
	Members []Member
}

// Member is one name and value of an object.
type Member struct {
	Name  string
	Value *Value
}

// Parse reads b, which may be any JSON value within the limits.
func Parse(b []byte) (*Value, error) { return parse(b) }

// ParseLenient reads b as Parse does, but if an object has a name twice the last one counts, as in most readers.
func ParseLenient(b []byte) (*Value, error) {
	v, err := parse(b, jsontext.AllowDuplicateNames(true))
	if err != nil {
		return nil, err
	}
	for _, v := range v.All() {
		v.dropShadowed()
	}
	return v, nil
}

func parse(b []byte, opts ...jsontext.Options) (*Value, error) {
	if err := checkSize(b); err != nil {
		return nil, err
	}
	d := decoder(b, opts...)
	t, err := d.ReadToken()
	if err != nil {
		return nil, syntaxError(err)
	}
	v, err := build(d, t)
	if err != nil {
		return nil, syntaxError(err)
	}
	if err := atEnd(d); err != nil {
		return nil, err
	}
	return v, nil
}

// build makes the value that begins with t.
func build(d *jsontext.Decoder, t jsontext.Token) (*Value, error) {
	v := &Value{Kind: kindOf(byte(t.Kind()))}
	switch v.Kind {
	case Null:
	case Array:
		for {
			t, err := d.ReadToken()
			if err != nil || t.Kind() == ']' {
				return v, err
			}
			item, err := build(d, t)
			if err != nil {
				return nil, err
			}
			v.Items = append(v.Items, item)
		}
	case Object:
		for {
			t, err := d.ReadToken()
			if err != nil || t.Kind() == '}' {
				return v, err
			}
			name := t.String()
			if t, err = d.ReadToken(); err != nil {
				return nil, err
			}
			value, err := build(d, t)
			if err != nil {
				return nil, err
			}
			v.Members = append(v.Members, Member{name, value})
		}
	default:
		v.Text = t.String()
	}
	return v, nil
}

func (v *Value) dropShadowed() {
	last := make(map[string]int, len(v.Members))
	for i, m := range v.Members {
		last[m.Name] = i
	}
	if len(last) == len(v.Members) {
		return
	}
	kept := v.Members[:0]
	for i, m := range v.Members {
		if last[m.Name] == i {
			kept = append(kept, m)
		}
	}
	v.Members = kept
}

// Place is where a walk is. It is valid until the walk goes on.
type Place struct {
	pointer []byte
	skip    bool
}

// Pointer returns the JSON Pointer of the place in the value that is walked.
func (p *Place) Pointer() string { return string(p.pointer) }

// Skip leaves out what is below the place.
func (p *Place) Skip() { p.skip = true }

// All walks v and everything below it, parents first, in the order of the text. The loop may change a value that it is given; the walk
// then goes below what the value has become.
func (v *Value) All() iter.Seq2[*Place, *Value] {
	return func(yield func(*Place, *Value) bool) {
		if v != nil {
			new(Place).walk(v, yield)
		}
	}
}

func (p *Place) walk(v *Value, yield func(*Place, *Value) bool) bool {
	p.skip = false
	if !yield(p, v) {
		return false
	}
	if p.skip {
		return true
	}
	here := len(p.pointer)
	for i, item := range v.Items {
		p.pointer = strconv.AppendInt(append(p.pointer[:here], '/'), int64(i), 10)
		if !p.walk(item, yield) {
			return false
		}
	}
	for _, m := range v.Members {
		p.pointer = append(append(p.pointer[:here], '/'), EscapeToken(m.Name)...)
		if !p.walk(m.Value, yield) {
			return false
		}
	}
	p.pointer = p.pointer[:here]
	return true
}

// Append writes v in canonical text.
func (v *Value) Append(dst []byte) []byte {
	switch v.Kind {
	case Null:
		return append(dst, "null"...)
	case String:
		return AppendQuoted(dst, v.Text)
	case Array:
		dst = append(dst, '[')
		for i, item := range v.Items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = item.Append(dst)
		}
		return append(dst, ']')
	case Object:
		dst = append(dst, '{')
		for i, m := range v.Members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(AppendQuoted(dst, m.Name), ':')
			dst = m.Value.Append(dst)
		}
		return append(dst, '}')
	}
	return append(dst, v.Text...)
}

// Member returns the value that an object has under name, or nil.
func (v *Value) Member(name string) *Value {
	if v == nil {
		return nil
	}
	for _, m := range v.Members {
		if m.Name == name {
			return m.Value
		}
	}
	return nil
}

// At returns what a JSON Pointer points to, or nil.
func (v *Value) At(pointer string) *Value {
	tokens, err := SplitPointer(pointer)
	if err != nil {
		return nil
	}
	for _, t := range tokens {
		switch {
		case v == nil:
			return nil
		case v.Kind == Array:
			i, err := strconv.Atoi(t)
			if err != nil || i < 0 || i >= len(v.Items) || strconv.Itoa(i) != t {
				return nil
			}
			v = v.Items[i]
		default:
			v = v.Member(t)
		}
	}
	return v
}

// Clone returns a tree of its own that says the same.
func (v *Value) Clone() *Value {
	c := &Value{Kind: v.Kind, Text: v.Text}
	for _, item := range v.Items {
		c.Items = append(c.Items, item.Clone())
	}
	for _, m := range v.Members {
		c.Members = append(c.Members, Member{m.Name, m.Value.Clone()})
	}
	return c
}
