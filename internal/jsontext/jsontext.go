// Package jsontext checks and rewrites JSON text without changing what it says: the order of keys and the digits of numbers
// stay as they are.
//
// The grammar is RFC 8259, read strictly as RFC 7493 (I-JSON) recommends: UTF-8 only, no lone surrogates, no name twice in an
// object. Errors tell the place and the reason and never quote a value, because a value may be a secret.
package jsontext

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Limits of what is read: a text over them is refused, so that no input takes unbounded time or stack.
const (
	MaxBytes = 16 << 20
	MaxDepth = 512
)

// Error tells why a text is refused and where.
type Error struct {
	Pointer string // JSON Pointer (RFC 6901) to the innermost value begun, "" is the whole text
	Offset  int    // bytes into the text
	Reason  string
}

func (e *Error) Error() string {
	at := "at the top level"
	if e.Pointer != "" {
		at = "at " + strconv.Quote(e.Pointer)
	}
	return fmt.Sprintf("%s %s (byte %d)", e.Reason, at, e.Offset)
}

// Check reports whether b is one JSON value within the limits.
func Check(b []byte) error {
	_, err := scan(b, true)
	return err
}

// Canonical returns the canonical text of the JSON object b: no white space between tokens, strings with only the escapes that
// JSON demands, everything else as it was. Two texts that differ in nothing but layout have the same canonical text. It returns
// b itself where b is canonical already.
func Canonical(b []byte) ([]byte, error) {
	canonical, err := scan(b, true)
	if err != nil {
		return nil, err
	}
	if err := needObject(b); err != nil {
		return nil, err
	}
	if canonical {
		return b, nil
	}
	return appendCompact(make([]byte, 0, len(b)), b), nil
}

func kindName(first byte) string {
	switch first {
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// scan checks b and tells whether it is canonical. unique demands names that differ within an object.
func scan(b []byte, unique bool) (canonical bool, err error) {
	if len(b) > MaxBytes {
		return false, &Error{Reason: fmt.Sprintf("the JSON text has %d bytes, %d are allowed", len(b), MaxBytes)}
	}
	s := scanner{b: b, unique: unique, canonical: true}
	s.names = s.buf[:0]
	s.space()
	if e := s.value(0); e != nil {
		return false, e
	}
	s.space()
	if s.i < len(b) {
		return false, s.fail("something follows the JSON value")
	}
	return s.canonical, nil
}

type scanner struct {
	b         []byte
	i         int
	unique    bool
	canonical bool
	names     [][]byte // names of the objects that are open, innermost last
	buf       [32][]byte
}

func (s *scanner) fail(reason string) *Error { return &Error{Offset: s.i, Reason: reason} }

// within says that e happened inside the value that token names in its parent.
func (e *Error) within(token string) *Error {
	e.Pointer = "/" + EscapeToken(token) + e.Pointer
	return e
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\r', '\n':
			s.canonical = false
			s.i++
		default:
			return
		}
	}
}

func (s *scanner) value(depth int) *Error {
	if s.i >= len(s.b) {
		return s.fail("the JSON text ends where a value should be")
	}
	switch c := s.b[s.i]; c {
	case '{':
		return s.object(depth + 1)
	case '[':
		return s.array(depth + 1)
	case '"':
		_, _, err := s.str()
		return err
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		if c == '-' || '0' <= c && c <= '9' {
			return s.number()
		}
		return s.fail("no JSON value starts like this")
	}
}

func (s *scanner) word(w string) *Error {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return s.fail("no JSON value starts like this")
	}
	s.i += len(w)
	return nil
}

func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}

func (s *scanner) number() *Error {
	if s.b[s.i] == '-' {
		s.i++
	}
	if s.i < len(s.b) && s.b[s.i] == '0' {
		s.i++
	} else if !s.digits() {
		return s.fail("a number needs a digit here")
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		if !s.digits() {
			return s.fail("a number needs a digit here")
		}
	}
	if s.i < len(s.b) && (s.b[s.i] == 'e' || s.b[s.i] == 'E') {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		if !s.digits() {
			return s.fail("a number needs a digit here")
		}
	}
	return nil
}

// plain marks the bytes that stand for themselves in a string and need no further look.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// str reads a string and returns what stands between its quotes, and whether that is canonical.
func (s *scanner) str() (raw []byte, canonical bool, err *Error) {
	b, i := s.b, s.i+1
	start := i
	canonical = true
	for {
		for i < len(b) && plain[b[i]] {
			i++
		}
		if i >= len(b) {
			s.i = i
			return nil, false, s.fail("a string has no end")
		}
		switch c := b[i]; {
		case c == '"':
			s.i = i + 1
			if !canonical {
				s.canonical = false
			}
			return b[start:i], canonical, nil
		case c == '\\':
			r, n := unescape(b[i:])
			if n == 0 {
				s.i = i
				return nil, false, s.fail("a string has a backslash that begins no JSON escape, or half a surrogate pair")
			}
			var e [6]byte
			if want := appendEscaped(e[:0], r); len(want) != n || string(want) != string(b[i:i+n]) {
				canonical = false
			}
			i += n
		case c < 0x20:
			s.i = i
			return nil, false, s.fail("a string has a control character that is not escaped")
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				s.i = i
				return nil, false, s.fail("a string is not valid UTF-8")
			}
			i += n
		}
	}
}

func (s *scanner) array(depth int) *Error {
	if depth > MaxDepth {
		return s.fail(tooDeep)
	}
	s.i++
	s.space()
	if s.i < len(s.b) && s.b[s.i] == ']' {
		s.i++
		return nil
	}
	for n := 0; ; n++ {
		if err := s.value(depth); err != nil {
			return err.within(strconv.Itoa(n))
		}
		s.space()
		if s.i >= len(s.b) {
			return s.fail("an array has no end")
		}
		switch s.b[s.i] {
		case ',':
			s.i++
			s.space()
		case ']':
			s.i++
			return nil
		default:
			return s.fail("an array needs a comma or its end here")
		}
	}
}

var tooDeep = fmt.Sprintf("values are nested over %d levels", MaxDepth)

// manyNames is the size from which names are looked up in a map rather than compared one by one.
const manyNames = 24

func (s *scanner) object(depth int) *Error {
	if depth > MaxDepth {
		return s.fail(tooDeep)
	}
	s.i++
	s.space()
	if s.i < len(s.b) && s.b[s.i] == '}' {
		s.i++
		return nil
	}
	base := len(s.names)
	var seen map[string]struct{}
	for {
		if s.i >= len(s.b) || s.b[s.i] != '"' {
			return s.fail("an object needs a name in double quotes here")
		}
		at := s.i
		name, canonical, err := s.str()
		if err != nil {
			return err
		}
		if !canonical {
			name = appendString(nil, name)
		}
		if s.unique {
			if s.known(base, &seen, name) {
				s.i = at
				return s.fail("a name stands twice in one object").within(decode(name))
			}
			s.names = append(s.names, name)
		}
		s.space()
		if s.i >= len(s.b) || s.b[s.i] != ':' {
			return s.fail("an object needs a colon here")
		}
		s.i++
		s.space()
		if err := s.value(depth); err != nil {
			return err.within(decode(name))
		}
		s.space()
		if s.i >= len(s.b) {
			return s.fail("an object has no end")
		}
		switch s.b[s.i] {
		case ',':
			s.i++
			s.space()
		case '}':
			s.i++
			s.names = s.names[:base]
			return nil
		default:
			return s.fail("an object needs a comma or its end here")
		}
	}
}

// known tells whether name is among the names from base on, and remembers it where they are many.
func (s *scanner) known(base int, seen *map[string]struct{}, name []byte) bool {
	have := s.names[base:]
	if len(have) < manyNames {
		for _, n := range have {
			if string(n) == string(name) {
				return true
			}
		}
		return false
	}
	if *seen == nil {
		*seen = make(map[string]struct{}, 2*len(have))
		for _, n := range have {
			(*seen)[string(n)] = struct{}{}
		}
	}
	if _, ok := (*seen)[string(name)]; ok {
		return true
	}
	(*seen)[string(name)] = struct{}{}
	return false
}

// CheckLenient reports whether b is one JSON object within the limits, where a name may stand twice.
func CheckLenient(b []byte) error {
	if _, err := scan(b, false); err != nil {
		return err
	}
	return needObject(b)
}

func needObject(b []byte) error {
	if first := bytes.TrimLeft(b, " \t\r\n")[0]; first != '{' {
		return &Error{Reason: "a JSON object is needed, this is " + kindName(first)}
	}
	return nil
}
