// Package jsontext reads and writes JSON text without changing what it says: the order of names and the digits of numbers stay.
//
// JSON is read as RFC 7493 (I-JSON) asks: UTF-8 only, no lone surrogates, no name twice in an object. Errors name the place and the
// reason and never quote a value, because a value may be a secret.
package jsontext

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits of what is read: a text over them is refused, so that no input takes unbounded time or stack.
const (
	MaxBytes = 16 << 20
	MaxDepth = 512
)

// Error tells why a text is refused and where.
type Error struct {
	Pointer string // JSON Pointer (RFC 6901) to the innermost value begun; "" is the whole text
	Offset  int    // bytes into the text
	Reason  string
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

// Canonical returns the canonical text of the JSON object b in a slice of its own: no white space between tokens, strings with only the
// escapes that JSON demands, everything else as it was. Two texts that differ in nothing but layout have the same canonical text.
func Canonical(b []byte) ([]byte, error) {
	if err := checkSize(b); err != nil {
		return nil, err
	}
	text, err := jsontext.AppendFormat(make([]byte, 0, len(b)), b)
	if err != nil {
		return nil, syntaxError(err)
	}
	if err := needObject(text); err != nil {
		return nil, err
	}
	return text, nil
}

// EachMember reports whether b is one JSON object within the limits, where a name may stand twice. It calls f with the names and values of
// its members, in order; what f was told counts only if there is no error.
func EachMember(b []byte, f func(name string, value []byte)) error {
	if err := checkSize(b); err != nil {
		return err
	}
	d := decoder(b, jsontext.AllowDuplicateNames(true))
	if d.PeekKind() != '{' {
		v, err := parse(b)
		if err != nil {
			return err
		}
		return &Error{Reason: notObject(v.Kind)}
	}
	for {
		t, err := d.ReadToken()
		if err != nil {
			return syntaxError(err)
		}
		switch t.Kind() {
		case '{':
			continue
		case '}':
			return atEnd(d)
		}
		name := t.String()
		value, err := d.ReadValue()
		if err != nil {
			return syntaxError(err)
		}
		f(name, value)
	}
}

// AppendIndented writes the checked text b as Python's json.dump(config, f, indent=2) does: every character outside ASCII escaped, two
// spaces a level, no newline at the end; numbers stay as they are given.
func AppendIndented(dst, b []byte) []byte {
	text, err := jsontext.AppendFormat(nil, b, jsontext.AllowDuplicateNames(true), jsontext.Multiline(true), jsontext.WithIndent("  "))
	if err != nil {
		return append(dst, b...)
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r < 0x7f:
			dst = append(dst, byte(r))
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, high, low)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
		i += n
	}
	return dst
}

// AppendQuoted writes s as a JSON string, in canonical text. Bytes that are not UTF-8 become U+FFFD.
func AppendQuoted(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}

// Unquote returns what the checked JSON string b says, and false if b is no string.
func Unquote(b []byte) (string, bool) {
	s, err := jsontext.AppendUnquote(nil, b)
	return string(s), err == nil
}

// JoinPointer makes the JSON Pointer of the given tokens; none make "", the whole document.
func JoinPointer(tokens ...string) string {
	var p jsontext.Pointer
	for _, t := range tokens {
		p = p.AppendToken(t)
	}
	return string(p)
}

// SplitPointer returns the tokens of a JSON Pointer, or an error if p is none.
func SplitPointer(p string) ([]string, error) {
	if !jsontext.Pointer(p).IsValid() {
		return nil, errors.New("a JSON Pointer is empty or starts with a slash, and has ~ only in ~0 and ~1")
	}
	var tokens []string
	for t := range jsontext.Pointer(p).Tokens() {
		tokens = append(tokens, t)
	}
	return tokens, nil
}

// EscapeToken writes s as a reference token of a JSON Pointer (RFC 6901, section 3).
func EscapeToken(s string) string { return JoinPointer(s)[1:] }

// PointerAt returns the JSON Pointer of the innermost value of b that has begun before offset and has not ended before it. If b is
// not valid JSON it returns "".
func PointerAt(b []byte, offset int) string {
	d := decoder(b)
	for d.InputOffset() < int64(offset) {
		if _, err := d.ReadToken(); err != nil {
			return ""
		}
	}
	return string(d.StackPointer())
}

// decoder reads from b without copying it.
func decoder(b []byte, opts ...jsontext.Options) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewBuffer(b), opts...)
}

func atEnd(d *jsontext.Decoder) error {
	if _, err := d.ReadToken(); err != io.EOF {
		return &Error{Offset: int(d.InputOffset()), Reason: follows}
	}
	return nil
}

// checkSize checks the limits. What is no JSON passes.
func checkSize(b []byte) error {
	if len(b) > MaxBytes {
		return &Error{Reason: fmt.Sprintf("the JSON text has %d bytes, %d are allowed", len(b), MaxBytes)}
	}
	if bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) <= MaxDepth {
		return nil
	}
	d := decoder(b, jsontext.AllowDuplicateNames(true))
	for {
		if _, err := d.ReadToken(); err != nil {
			return nil // the end, or an error that the caller meets, too
		}
		if d.StackDepth() > MaxDepth {
			return &Error{string(d.StackPointer()), int(d.InputOffset()) - 1, fmt.Sprintf("values are nested over %d levels", MaxDepth)}
		}
	}
}

func needObject(b []byte) error {
	if k := kindOf(b[0]); k != Object {
		return &Error{Reason: notObject(k)}
	}
	return nil
}

const follows = "something follows the JSON value"

func notObject(k Kind) string { return "a JSON object is needed, this is " + k.String() }

// syntaxError tells what the library found, without the parts of the text that it quotes.
func syntaxError(err error) *Error {
	s, ok := errors.AsType[*jsontext.SyntacticError](err)
	if !ok { // io.EOF
		return &Error{Reason: "the JSON text ends where a value should be"}
	}
	e := &Error{Pointer: string(s.JSONPointer), Offset: int(s.ByteOffset), Reason: "the text is not valid JSON"}
	said := s.Err.Error() // such as: invalid character 'x' at start of value
	switch {
	case errors.Is(s.Err, jsontext.ErrDuplicateName):
		e.Reason = "a name stands twice in one object"
	case errors.Is(s.Err, jsontext.ErrNonStringName):
		e.Reason = "an object needs a name in double quotes here"
	case errors.Is(s.Err, io.ErrUnexpectedEOF):
		e.Reason = "the JSON text ends too early"
	case strings.HasSuffix(said, "after top-level value"):
		e.Reason = follows
	case said == "invalid UTF-8":
		e.Reason = "a string is not valid UTF-8"
	default:
		for _, what := range []string{"invalid character ", "invalid escape sequence ", "invalid surrogate pair "} {
			rest, ok := strings.CutPrefix(said, what)
			if quoted, err := strconv.QuotedPrefix(rest); ok && err == nil {
				e.Reason = "the JSON text has an " + what + rest[len(quoted)+1:]
			}
		}
	}
	return e
}
