// Package jsontext checks and rewrites JSON text without changing what it says: the order of keys and the digits of numbers
// stay as they are.
//
// The grammar is RFC 8259, read strictly as RFC 7493 (I-JSON) recommends: UTF-8 only, no lone surrogates, no name twice in an
// object. Errors tell the place and the reason and never quote a value, because a value may be a secret.
package jsontext

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
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

	path []string // the tokens of Pointer, innermost first, while the scanner finds its way out
}

// shownPointer is how much of a pointer the text of an Error shows: names can be as long as the text itself.
const shownPointer = 2048

func (e *Error) Error() string {
	at := "at the top level"
	if p := e.Pointer; p != "" {
		if len(p) > shownPointer {
			p = strings.ToValidUTF8(p[:shownPointer], "") + "…"
		}
		at = "at " + strconv.Quote(p)
	}
	return fmt.Sprintf("%s %s (byte %d)", e.Reason, at, e.Offset)
}

// Check reports whether b is one JSON value within the limits.
func Check(b []byte) error {
	_, err := scan(b, true, nil)
	return err
}

// Canonical returns the canonical text of the JSON object b: no white space between tokens, strings with only the escapes that
// JSON demands, everything else as it was. Two texts that differ in nothing but layout have the same canonical text. It returns
// b itself where b is canonical already.
func Canonical(b []byte) ([]byte, error) {
	canonical, err := scan(b, true, nil)
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

// scan checks b and tells whether it is canonical. unique demands names that differ within an object. each, if not nil, is called with the
// members of b itself as they are read.
func scan(b []byte, unique bool, each func(name string, value []byte)) (canonical bool, err error) {
	if len(b) > MaxBytes {
		return false, &Error{Reason: fmt.Sprintf("the JSON text has %d bytes, %d are allowed", len(b), MaxBytes)}
	}
	var room [64][]byte // for most texts no more is needed, and it stays on the stack
	s := scanner{b: b, unique: unique, each: each, canonical: true}
	s.space()
	if e := s.value(0, room[:0]); e != nil {
		slices.Reverse(e.path)
		e.Pointer = JoinPointer(e.path...)
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
	each      func(name string, value []byte)
	canonical bool
}

func (s *scanner) fail(reason string) *Error { return &Error{Offset: s.i, Reason: reason} }

// within says that e happened inside the value that token names in its parent.
func (e *Error) within(token string) *Error {
	e.path = append(e.path, token)
	return e
}

func (s *scanner) space() {
	if s.i < len(s.b) && s.b[s.i] <= ' ' { // apart, so that the compiler can put it in place
		s.spaces()
	}
}

func (s *scanner) spaces() {
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

// value reads a value. room is an empty slice with room for the names of objects.
func (s *scanner) value(depth int, room [][]byte) *Error {
	if s.i >= len(s.b) {
		return s.fail("the JSON text ends where a value should be")
	}
	switch c := s.b[s.i]; c {
	case '{':
		return s.object(depth+1, room)
	case '[':
		return s.array(depth+1, room)
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

const (
	eachByte = 0x0101010101010101 // times a byte: that byte eight times
	highBits = 0x80 * eachByte
)

// special sets the high bit of those bytes among the eight of x that do not stand for themselves in a string, or that need a further look: a
// quote, a backslash, a control character, or any byte of a character outside ASCII. A subtraction borrows from the next byte only where it
// has found one, so the lowest is right.
func special(x uint64) uint64 {
	return (x | (x - ' '*eachByte) | ((x ^ '"'*eachByte) - eachByte) | ((x ^ '\\'*eachByte) - eachByte)) & highBits
}

func wordAt(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i : i+8 : i+8]) }

// plainEnd returns the index of the first special byte of b from i on. It is len(b) if there is none.
func plainEnd(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		if found := special(wordAt(b, i)); found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && 0x20 <= b[i] && b[i] < utf8.RuneSelf && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// str reads a string and returns what stands between its quotes, and whether that is canonical.
func (s *scanner) str() (raw []byte, canonical bool, err *Error) {
	b, i := s.b, s.i+1
	start := i
	canonical = true
	for {
		if i+8 <= len(b) { // as plainEnd does it, in place: most strings end here
			found := special(wordAt(b, i))
			if found == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(found) / 8
		} else if i = plainEnd(b, i); i == len(b) {
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

func (s *scanner) array(depth int, room [][]byte) *Error {
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
		if err := s.value(depth, room); err != nil {
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
const manyNames = 32

func (s *scanner) object(depth int, names [][]byte) *Error {
	if depth > MaxDepth {
		return s.fail(tooDeep)
	}
	s.i++
	s.space()
	if s.i < len(s.b) && s.b[s.i] == '}' {
		s.i++
		return nil
	}
	var set nameSet
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
			if set.has(names, name) {
				s.i = at
				return s.fail("a name stands twice in one object").within(decode(name))
			}
			if len(names) < manyNames {
				names = append(names, name)
			}
		}
		s.space()
		if s.i >= len(s.b) || s.b[s.i] != ':' {
			return s.fail("an object needs a colon here")
		}
		s.i++
		s.space()
		at = s.i
		if err := s.value(depth, names[len(names):]); err != nil {
			return err.within(decode(name))
		}
		if depth == 1 && s.each != nil {
			s.each(decode(name), s.b[at:s.i])
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
			return nil
		default:
			return s.fail("an object needs a comma or its end here")
		}
	}
}

// nameSet helps to find out whether a name of an object has been there before.
type nameSet struct {
	bits uint64              // what nameBit gives for the names there were
	many map[string]struct{} // all of them, from manyNames on
}

// nameBit sets one bit of 64. Most names are told apart by that alone.
func nameBit(name []byte) uint64 {
	n := uint(len(name))
	if n == 0 {
		return 1
	}
	next := min(1, n-1) // as names like minimum and maximum, or option_01 and option_11, are alike at their ends
	return 1 << ((uint(name[0]) + 3*uint(name[next]) + 5*uint(name[n-1-next]) + 7*uint(name[n-1]) + 13*n) % 64)
}

// has tells whether name was there before, and remembers it. have are the names before it, the first manyNames of them.
func (s *nameSet) has(have [][]byte, name []byte) bool {
	if len(have) < manyNames {
		bit := nameBit(name)
		if s.bits&bit == 0 {
			s.bits |= bit
			return false
		}
		for _, n := range have {
			if string(n) == string(name) {
				return true
			}
		}
		return false
	}
	if s.many == nil {
		s.many = make(map[string]struct{}, 2*manyNames)
		for _, n := range have {
			s.many[string(n)] = struct{}{}
		}
	}
	before := len(s.many)
	s.many[string(name)] = struct{}{}
	return len(s.many) == before
}

// EachMember reports whether b is one JSON object within the limits, where a name may stand twice. It calls f with the names and values of
// its members, in order; what f was told counts only if there is no error.
func EachMember(b []byte, f func(name string, value []byte)) error {
	if _, err := scan(b, false, f); err != nil {
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
