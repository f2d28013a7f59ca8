package jsontext

import (
	"iter"
	"slices"
	"strings"
	"testing"
)

// CheckLenient is EachMember for the error alone.
func CheckLenient(b []byte) error { return EachMember(b, func(string, []byte) {}) }

// Members are what EachMember tells of a checked object.
func Members(b []byte) iter.Seq2[string, []byte] {
	type member struct {
		name  string
		value []byte
	}
	var all []member
	if err := EachMember(b, func(name string, value []byte) { all = append(all, member{name, value}) }); err != nil {
		panic(err)
	}
	return func(yield func(string, []byte) bool) {
		for _, m := range all {
			if !yield(m.name, m.value) {
				return
			}
		}
	}
}

// Only the members of the object itself are told of, each with its value and nothing around it.
func TestEachMember(t *testing.T) {
	for text, want := range map[string][]string{
		`{}`: nil, " { } ": nil,
		` { "a" : 1 , "b" : { "c" : { "a" : 2 } , "d" : [ { "e" : 3 } ] } , "a" : "x\"}" } `: {"a", "1", "b", `{ "c" : { "a" : 2 } , "d" : [ { "e" : 3 } ] }`, "a", `"x\"}"`},
		`{"\u0061\"":true,"":null,"é😀":-1.5e3}`:                                              {`a"`, "true", "", "null", "é😀", "-1.5e3"},
	} {
		var got []string
		if err := EachMember([]byte(text), func(name string, value []byte) { got = append(got, name, string(value)) }); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		`[{"a":1}]`: "a JSON object is needed, this is an array", `{"a":1,"b":}`: "invalid character at start of value", `{"a":1}}`: "something follows",
	} {
		if err := CheckLenient([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
