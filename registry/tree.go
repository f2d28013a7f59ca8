package registry

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
)

// edits are new values for places in a config, by JSON Pointer.
type edits map[string]*jsontext.Value

// in returns v with the edits made. v is not changed; what is not edited is shared.
func (e edits) in(v *jsontext.Value) *jsontext.Value {
	if len(e) == 0 {
		return v
	}
	return e.at(v, nil)
}

func (e edits) at(v *jsontext.Value, at []byte) *jsontext.Value {
	if edited, ok := e[string(at)]; ok {
		return edited
	}
	edited := v
	for i, item := range v.Items {
		if now := e.at(item, strconv.AppendInt(append(at, '/'), int64(i), 10)); now != item {
			if edited == v {
				edited = &jsontext.Value{Kind: v.Kind, Items: slices.Clone(v.Items)}
			}
			edited.Items[i] = now
		}
	}
	for i, m := range v.Members {
		if now := e.at(m.Value, append(append(at, '/'), jsontext.EscapeToken(m.Name)...)); now != m.Value {
			if edited == v {
				edited = &jsontext.Value{Kind: v.Kind, Members: slices.Clone(v.Members)}
			}
			edited.Members[i].Value = now
		}
	}
	return edited
}

// places is a set of JSON Pointers.
type places map[string]bool

func placesOf(pointers []string) places {
	p := make(places, len(pointers))
	for _, at := range pointers {
		p[at] = true
	}
	return p
}

// cover returns the outermost of the places that pointer is at or in, or pointer itself and false if it is in none.
func (p places) cover(pointer string) (string, bool) {
	if len(p) == 0 {
		return pointer, false
	}
	for i := range len(pointer) {
		if i > 0 && pointer[i] == '/' && p[pointer[:i]] {
			return pointer[:i], true
		}
	}
	return pointer, p[pointer]
}

func text(s string) *jsontext.Value { return &jsontext.Value{Kind: jsontext.String, Text: s} }

// isEmpty tells whether v is null or "", which are no secrets.
func isEmpty(v *jsontext.Value) bool {
	return v.Kind == jsontext.Null || v.Kind == jsontext.String && v.Text == ""
}

func isContainer(v *jsontext.Value) bool { return v.Kind >= jsontext.Array }

// key returns a text that two values have in common if and only if they are equal JSON: the order of members and the way in which a number
// is written do not count.
func key(v *jsontext.Value) string { return string(appendKey(nil, v)) }

func appendKey(dst []byte, v *jsontext.Value) []byte {
	switch v.Kind {
	case jsontext.Number:
		return append(dst, decimal(v.Text)...)
	case jsontext.Array:
		dst = append(dst, '[')
		for _, item := range v.Items {
			dst = append(appendKey(dst, item), ',')
		}
		return append(dst, ']')
	case jsontext.Object:
		members := slices.SortedFunc(slices.Values(v.Members), func(a, b jsontext.Member) int { return strings.Compare(a.Name, b.Name) })
		dst = append(dst, '{')
		for _, m := range members {
			dst = append(jsontext.AppendQuoted(dst, m.Name), ':')
			dst = append(appendKey(dst, m.Value), ',')
		}
		return append(dst, '}')
	}
	return v.Append(dst)
}

// decimal returns the one form of a JSON number: its digits without zeros at either end, and the power of ten of the last one.
func decimal(number string) string {
	sign, rest := "", number
	if strings.HasPrefix(rest, "-") {
		sign, rest = "-", rest[1:]
	}
	mantissa, exponent := rest, 0
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		n, err := strconv.Atoi(rest[i+1:])
		if err != nil || n > 1<<29 || n < -1<<29 {
			return number
		}
		mantissa, exponent = rest[:i], n
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	exponent -= len(fraction)
	trimmed := strings.TrimRight(digits, "0")
	exponent += len(digits) - len(trimmed)
	if trimmed == "" {
		return "0"
	}
	return sign + trimmed + "e" + strconv.Itoa(exponent)
}

// integer returns an integral number without fraction and exponent, as Go reads integers. It is false for what is not integral, and for
// what has more digits than any integer of Go.
func integer(number string) (string, bool) {
	digits, exponent, ok := strings.Cut(decimal(number), "e")
	if !ok {
		return "0", digits == "0"
	}
	n, err := strconv.Atoi(exponent)
	if err != nil || n < 0 || n+len(digits) > 21 {
		return "", false
	}
	return digits + strings.Repeat("0", n), true
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
