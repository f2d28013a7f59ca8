package jsontext

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// unescape reads the escape that b begins with and returns its rune and length, or a length of 0 if it is none.
func unescape(b []byte) (rune, int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r, ok := hex4(b)
		if !ok {
			return 0, 0
		}
		if !utf16.IsSurrogate(r) {
			return r, 6
		}
		low, ok := hex4(b[6:])
		if pair := utf16.DecodeRune(r, low); ok && pair != utf8.RuneError {
			return pair, 12
		}
	}
	return 0, 0
}

// hex4 reads \uXXXX.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

const hexDigits = "0123456789abcdef"

func appendHex4(dst []byte, r rune) []byte {
	return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// appendEscaped writes r as canonical text does.
func appendEscaped(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	if r < 0x20 {
		return appendHex4(dst, r)
	}
	return utf8.AppendRune(dst, r)
}

// appendASCII writes r as Python's json module does with ensure_ascii, its default.
func appendASCII(dst []byte, r rune) []byte {
	switch {
	case r < 0x7f:
		return appendEscaped(dst, r)
	case r > 0xffff:
		high, low := utf16.EncodeRune(r)
		return appendHex4(appendHex4(dst, high), low)
	}
	return appendHex4(dst, r)
}

// eachRune calls f with every rune of the checked string text raw, escapes read.
func eachRune(raw []byte, f func(r rune)) {
	for i := 0; i < len(raw); {
		var r rune
		var n int
		switch c := raw[i]; {
		case c == '\\':
			r, n = unescape(raw[i:])
		case c < utf8.RuneSelf:
			r, n = rune(c), 1
		default:
			r, n = utf8.DecodeRune(raw[i:])
		}
		f(r)
		i += n
	}
}

// appendString writes the checked string text raw as canonical text, without quotes.
func appendString(dst, raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return append(dst, raw...)
	}
	eachRune(raw, func(r rune) { dst = appendEscaped(dst, r) })
	return dst
}

// decode returns what the checked string text raw says.
func decode(raw []byte) string {
	for _, c := range raw {
		if c == '\\' {
			dst := make([]byte, 0, len(raw))
			eachRune(raw, func(r rune) { dst = utf8.AppendRune(dst, r) })
			return string(dst)
		}
	}
	return string(raw)
}

// AppendQuoted writes s as a JSON string, in canonical text.
func AppendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := len(dst)
	dst = append(dst, s...)
	if plainEnd(dst, start) < len(dst) { // else it stands for itself
		dst = dst[:start]
		for _, r := range s {
			dst = appendEscaped(dst, r)
		}
	}
	return append(dst, '"')
}

// stringEnd returns the index behind the string that starts at i of the checked text b.
func stringEnd(b []byte, i int) int {
	for i++; ; i++ {
		i = plainEnd(b, i)
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
}

// appendCompact writes the checked text b in canonical form.
func appendCompact(dst, b []byte) []byte {
	for i := 0; i < len(b); {
		switch b[i] {
		case ' ', '\t', '\r', '\n':
			i++
		case '"':
			end := stringEnd(b, i)
			dst = append(appendString(append(dst, '"'), b[i+1:end-1]), '"')
			i = end
		default:
			dst = append(dst, b[i])
			i++
		}
	}
	return dst
}

// AppendIndented writes the checked text b byte for byte as Python's json.dump(config, f, indent=2) would: every character
// outside ASCII escaped, two spaces a level, no newline at the end; numbers stay as they are given.
func AppendIndented(dst, b []byte) []byte {
	depth := 0
	line := func() {
		dst = append(dst, '\n')
		for range depth {
			dst = append(dst, ' ', ' ')
		}
	}
	for i := 0; i < len(b); {
		switch c := b[i]; c {
		case ' ', '\t', '\r', '\n':
			i++
		case '"':
			end := stringEnd(b, i)
			dst = append(dst, '"')
			eachRune(b[i+1:end-1], func(r rune) { dst = appendASCII(dst, r) })
			dst = append(dst, '"')
			i = end
		case '{', '[':
			dst = append(dst, c)
			for i++; isSpace(b[i]); i++ {
			}
			if b[i] == c+2 { // the closing bracket: '{'+2 is '}', '['+2 is ']'
				dst = append(dst, b[i])
				i++
				continue
			}
			depth++
			line()
		case '}', ']':
			depth--
			line()
			dst = append(dst, c)
			i++
		case ',':
			dst = append(dst, c)
			line()
			i++
		case ':':
			dst = append(dst, ':', ' ')
			i++
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// eachMember calls f with the name of every member of the object that begins at i of the checked text b, and with where its value is,
// until f returns false.
func eachMember(b []byte, i int, f func(name string, from, to int) bool) {
	i++
	for {
		for isSpace(b[i]) || b[i] == ',' {
			i++
		}
		if b[i] == '}' {
			return
		}
		end := stringEnd(b, i)
		name := decode(b[i+1 : end-1])
		for i = end; isSpace(b[i]) || b[i] == ':'; i++ {
		}
		from := i
		i = valueEnd(b, i)
		if !f(name, from, i) {
			return
		}
	}
}

// eachItem is eachMember for the array that begins at i.
func eachItem(b []byte, i int, f func(index string, from, to int) bool) {
	i++
	for n := 0; ; n++ {
		for isSpace(b[i]) || b[i] == ',' {
			i++
		}
		if b[i] == ']' {
			return
		}
		from := i
		i = valueEnd(b, i)
		if !f(strconv.Itoa(n), from, i) {
			return
		}
	}
}

// valueEnd returns the index behind the value that starts at i of the checked text b.
func valueEnd(b []byte, i int) int {
	depth := 0
	for {
		switch b[i] {
		case '"':
			i = stringEnd(b, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		i++
		if depth == 0 && (b[i] == ',' || b[i] == '}' || b[i] == ']' || isSpace(b[i])) {
			return i
		}
	}
}

// Unquote returns what the checked JSON string b says, and false if b is no string.
func Unquote(b []byte) (string, bool) {
	if b[0] != '"' {
		return "", false
	}
	return decode(b[1 : len(b)-1]), true
}
