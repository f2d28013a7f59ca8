package jsontext

import (
	"strconv"
	"strings"
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
func Parse(b []byte) (*Value, error) {
	if _, err := scan(b, true, nil); err != nil {
		return nil, err
	}
	return build(b), nil
}

// ParseLenient reads b as Parse does, but where an object has a name twice the last one counts, as in most readers.
func ParseLenient(b []byte) (*Value, error) {
	if _, err := scan(b, false, nil); err != nil {
		return nil, err
	}
	v := build(b)
	v.dropShadowed()
	return v, nil
}

func build(b []byte) *Value {
	p := parser{b: b, s: string(b)}
	return p.value()
}

// parser builds the tree of a checked text.
type parser struct {
	b    []byte
	s    string // the same, for the strings of the tree to be parts of
	i    int
	room []Value // for the next values
}

func (p *parser) new(k Kind, text string) *Value {
	if len(p.room) == 0 {
		p.room = make([]Value, min(max(1, (len(p.b)-p.i)/16), 64))
	}
	v := &p.room[0]
	p.room = p.room[1:]
	v.Kind, v.Text = k, text
	return v
}

func (p *parser) space() {
	for p.i < len(p.b) && isSpace(p.b[p.i]) {
		p.i++
	}
}

func (p *parser) str() string {
	from, end := p.i+1, stringEnd(p.b, p.i)
	p.i = end
	if s := p.s[from : end-1]; strings.IndexByte(s, '\\') < 0 {
		return s
	}
	return decode(p.b[from : end-1])
}

// more steps over a comma and tells whether there is one; otherwise it steps over the closing bracket.
func (p *parser) more() bool {
	p.space()
	p.i++
	return p.b[p.i-1] == ','
}

// empty steps over the opening bracket and, if the closing one follows at once, over that too.
func (p *parser) empty() bool {
	closing := p.b[p.i] + 2
	p.i++
	p.space()
	if p.b[p.i] != closing {
		return false
	}
	p.i++
	return true
}

func (p *parser) value() *Value {
	p.space()
	switch p.b[p.i] {
	case '{':
		v := p.new(Object, "")
		if p.empty() {
			return v
		}
		v.Members = make([]Member, 0, 4)
		for {
			p.space()
			name := p.str()
			p.space()
			p.i++ // the colon
			v.Members = append(v.Members, Member{name, p.value()})
			if !p.more() {
				return v
			}
		}
	case '[':
		v := p.new(Array, "")
		if p.empty() {
			return v
		}
		for {
			v.Items = append(v.Items, p.value())
			if !p.more() {
				return v
			}
		}
	case '"':
		return p.new(String, p.str())
	case 't':
		p.i += 4
		return p.new(Bool, "true")
	case 'f':
		p.i += 5
		return p.new(Bool, "false")
	case 'n':
		p.i += 4
		return p.new(Null, "")
	}
	start := p.i
	for p.i < len(p.b) && numberByte(p.b[p.i]) {
		p.i++
	}
	return p.new(Number, p.s[start:p.i])
}

func numberByte(c byte) bool {
	return '0' <= c && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'
}

func (v *Value) dropShadowed() {
	if len(v.Members) > 1 {
		last := make(map[string]int, len(v.Members))
		for i, m := range v.Members {
			last[m.Name] = i
		}
		if len(last) < len(v.Members) {
			kept := v.Members[:0]
			for i, m := range v.Members {
				if last[m.Name] == i {
					kept = append(kept, m)
				}
			}
			v.Members = kept
		}
	}
	for _, m := range v.Members {
		m.Value.dropShadowed()
	}
	for _, item := range v.Items {
		item.dropShadowed()
	}
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
		case v.Kind == Object:
			v = v.Member(t)
		case v.Kind == Array:
			i, err := strconv.Atoi(t)
			if err != nil || i < 0 || i >= len(v.Items) || strconv.Itoa(i) != t {
				return nil
			}
			v = v.Items[i]
		default:
			return nil
		}
	}
	return v
}

// Clone returns a tree of its own that says the same.
func (v *Value) Clone() *Value {
	c := new(Value)
	v.cloneTo(c)
	return c
}

// cloneTo makes c say what v does. What is in one array or object takes its memory together.
func (v *Value) cloneTo(c *Value) {
	c.Kind, c.Text = v.Kind, v.Text
	if len(v.Items) > 0 {
		room := make([]Value, len(v.Items))
		c.Items = make([]*Value, len(v.Items))
		for i, item := range v.Items {
			item.cloneTo(&room[i])
			c.Items[i] = &room[i]
		}
	}
	if len(v.Members) > 0 {
		room := make([]Value, len(v.Members))
		c.Members = make([]Member, len(v.Members))
		for i, m := range v.Members {
			m.Value.cloneTo(&room[i])
			c.Members[i] = Member{m.Name, &room[i]}
		}
	}
}
