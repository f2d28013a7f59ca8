package jsontext

import (
	"errors"
	"strings"
)

var (
	escapeToken   = strings.NewReplacer("~", "~0", "/", "~1")
	unescapeToken = strings.NewReplacer("~0", "~", "~1", "/")
)

// EscapeToken writes s as a reference token of a JSON Pointer (RFC 6901, section 3).
func EscapeToken(s string) string {
	if !strings.ContainsAny(s, "~/") {
		return s
	}
	return escapeToken.Replace(s)
}

// JoinPointer makes the JSON Pointer of the given tokens; none make "", the whole document.
func JoinPointer(tokens ...string) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteByte('/')
		b.WriteString(EscapeToken(t))
	}
	return b.String()
}

// SplitPointer returns the tokens of a JSON Pointer, or an error if p is none.
func SplitPointer(p string) ([]string, error) {
	if p == "" {
		return nil, nil
	}
	if p[0] != '/' {
		return nil, errors.New("a JSON Pointer starts with a slash")
	}
	tokens := strings.Split(p[1:], "/")
	for i, t := range tokens {
		for j := 0; j < len(t); j++ {
			if t[j] == '~' && (j+1 == len(t) || t[j+1] != '0' && t[j+1] != '1') {
				return nil, errors.New("a JSON Pointer has ~ only in ~0 and ~1")
			}
		}
		tokens[i] = unescapeToken.Replace(t)
	}
	return tokens, nil
}

// PointerAt returns the JSON Pointer of the innermost value of b that has begun before offset and has not ended before it. Where b is
// not valid JSON it returns "".
func PointerAt(b []byte, offset int) string {
	if Check(b) != nil {
		return ""
	}
	var pointer strings.Builder
	start := 0 // of the value that the pointer names
	for {
		i := start
		for isSpace(b[i]) {
			i++
		}
		if b[i] != '{' && b[i] != '[' {
			return pointer.String()
		}
		token, child := "", -1
		each := func(name string, from, to int) bool {
			if from < offset && offset <= to {
				token, child = name, from
			}
			return child < 0 && from < offset
		}
		if b[i] == '{' {
			eachMember(b, i, each)
		} else {
			eachItem(b, i, each)
		}
		if child < 0 {
			return pointer.String()
		}
		pointer.WriteString("/" + EscapeToken(token))
		start = child
	}
}
