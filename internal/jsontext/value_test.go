package jsontext

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func mustParse(t *testing.T, text string) *Value {
	t.Helper()
	v, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestParse(t *testing.T) {
	got := mustParse(t, " {\"z\": [null, true ,false,-1.50E+3, \"\\u0061\\n\"], \"a\" : {} , \"\" : [ ]}\n")
	want := &Value{Kind: Object, Members: []Member{
		{"z", &Value{Kind: Array, Items: []*Value{
			{Kind: Null}, {Kind: Bool, Text: "true"}, {Kind: Bool, Text: "false"}, {Kind: Number, Text: "-1.50E+3"}, {Kind: String, Text: "a\n"},
		}}},
		{"a", &Value{Kind: Object}},
		{"", &Value{Kind: Array}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s, want %s", got.Append(nil), want.Append(nil))
	}
	for _, text := range []string{"7", " \"x\" ", "null", "[ ]", "1.5"} {
		if got := string(mustParse(t, text).Append(nil)); got != strings.ReplaceAll(text, " ", "") {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func TestParseLenient(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1,"b":2,"a":3}`: `{"b":2,"a":3}`,
		`{"a":1,"\u0061":2}`:  `{"a":2}`,
		`{"o":[{"a":{"x":1,"x":2}}],"o":[{"x":1,"x":[{"y":1,"y":2}]}]}`: `{"o":[{"x":[{"y":2}]}]}`,
		`{"a":1,"b":2}`:   `{"a":1,"b":2}`,
		`[{"a":1,"a":2}]`: `[{"a":2}]`,
	} {
		v, err := ParseLenient([]byte(text))
		if err != nil || string(v.Append(nil)) != want {
			t.Errorf("%s: %v, %v; want %s", text, v, err, want)
		}
	}
	if v, err := ParseLenient([]byte(`{"a":hide}`)); v != nil || err == nil || strings.Contains(err.Error(), "hide") {
		t.Errorf("bad text: %v, %v", v, err)
	}
}

func TestAt(t *testing.T) {
	v := mustParse(t, `{"a":[10,{"b/c":"x","~1":"y"}],"":{"":0},"0":"zero"}`)
	for pointer, want := range map[string]string{
		"": `{"a":[10,{"b/c":"x","~1":"y"}],"":{"":0},"0":"zero"}`, "/a/0": "10", "/a/1/b~1c": `"x"`, "/a/1/~01": `"y"`, "/": `{"":0}`, "//": "0", "/0": `"zero"`,
	} {
		if got := v.At(pointer); got == nil || string(got.Append(nil)) != want {
			t.Errorf("%q: %v, want %s", pointer, got, want)
		}
	}
	for _, pointer := range []string{"a", "/b", "/a/2", "/a/-", "/a/-1", "/a/01", "/a/+1", "/a/00", "/a/", "/a/0/x", "/b/c/d", "/a/1/b~2c", "/a/99999999999999999999"} {
		if got := v.At(pointer); got != nil {
			t.Errorf("%q: %s, want nothing", pointer, got.Append(nil))
		}
	}
	if got := (*Value)(nil).At("/a"); got != nil {
		t.Errorf("of nothing: %v", got)
	}
	if got := v.Member("a").Member("x").Member("y"); got != nil {
		t.Errorf("a member of an array: %v", got)
	}
}

func TestClone(t *testing.T) {
	const text = `{"a":[1,{"b":null}],"c":"x"}`
	v := mustParse(t, text)
	c := v.Clone()
	if !reflect.DeepEqual(v, c) {
		t.Errorf("%s, want %s", c.Append(nil), v.Append(nil))
	}
	c.Members[0].Value.Items[1].Members[0].Value.Kind = Object
	c.Members[0].Value.Items[0].Text = "2"
	c.Members[0].Value.Items[0], c.Members[1].Name = c.Members[1].Value, "d"
	if got := string(v.Append(nil)); got != text {
		t.Errorf("changing the clone made the value %s", got)
	}
}

func TestPointer(t *testing.T) {
	// The examples of RFC 6901, section 5, and some more.
	for pointer, tokens := range map[string][]string{
		"": nil, "/": {""}, "/foo/0": {"foo", "0"}, "/a~1b": {"a/b"}, "/m~0n": {"m~n"}, "/~01": {"~1"}, "/~10": {"/0"}, "/c%d/ ": {"c%d", " "}, "//": {"", ""},
		"/é\"\\": {"é\"\\"},
	} {
		got, err := SplitPointer(pointer)
		if err != nil || !slices.Equal(got, tokens) {
			t.Errorf("SplitPointer(%q) = %q, %v; want %q", pointer, got, err, tokens)
		}
		if got := JoinPointer(tokens...); got != pointer {
			t.Errorf("JoinPointer(%q) = %q, want %q", tokens, got, pointer)
		}
	}
	for pointer, want := range map[string]string{"a": "slash", "#/a": "slash", "/~": "~0 and ~1", "/a~": "~0 and ~1", "/~2": "~0 and ~1", "/a/~~0": "~0 and ~1"} {
		if got, err := SplitPointer(pointer); got != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("SplitPointer(%q) = %q, %v; want an error with %q", pointer, got, err, want)
		}
	}
}

func FuzzPointer(f *testing.F) {
	for _, p := range []string{"", "/", "/a~1b/~0", "/~01/~10", "x", "/~", "//"} {
		f.Add(p, "a")
	}
	f.Fuzz(func(t *testing.T, s, token string) {
		if !utf8.ValidString(s) || !utf8.ValidString(token) {
			return // no name of a config
		}
		if tokens, err := SplitPointer(s); err == nil {
			if got := JoinPointer(tokens...); got != s {
				t.Fatalf("%q splits to %q, which joins to %q", s, tokens, got)
			}
		}
		pointer := JoinPointer(s, token)
		tokens, err := SplitPointer(pointer)
		if err != nil || !slices.Equal(tokens, []string{s, token}) {
			t.Fatalf("%q and %q join to %q, which splits to %q, %v", s, token, pointer, tokens, err)
		}
		v := &Value{Kind: Object, Members: []Member{{s, &Value{Kind: Object, Members: []Member{{token, &Value{Kind: Bool, Text: "true"}}}}}}}
		if got := v.At(pointer); got == nil || got.Text != "true" {
			t.Fatalf("nothing at %q", pointer)
		}
	})
}

func TestAll(t *testing.T) {
	v := mustParse(t, `{"a":[1,{"b/c":"x"}],"":{"~":{"deep":true}},"s":null}`)
	var got []string
	for at, w := range v.All() {
		got = append(got, at.Pointer()+" "+w.Kind.String())
		switch at.Pointer() {
		case "/":
			at.Skip()
		case "/a/1":
			*w = Value{Kind: Object, Members: []Member{{"new", &Value{Kind: Null}}}}
		}
	}
	if want := []string{" an object", "/a an array", "/a/0 a number", "/a/1 an object", "/a/1/new null", "/ an object", "/s null"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for at := range v.All() {
		if at.Pointer() == "/a/0" {
			break
		} else if at.Pointer() > "/a/0" {
			t.Errorf("the walk came to %s after the loop was left", at.Pointer())
		}
	}
	for range (*Value)(nil).All() {
		t.Error("nothing has a value in it")
	}
}

func TestPointerAt(t *testing.T) {
	text := `{"a":[10,{"b/c":"x"}],"d":true}`
	for in, want := range map[string]string{"{": "", `"a":[10`: "/a/0", `[`: "/a", `x"`: "/a/1/b~1c", "true": "/d"} {
		if got := PointerAt([]byte(text), strings.Index(text, in)+len(in)); got != want {
			t.Errorf("after %s: %q, want %q", in, got, want)
		}
	}
	if got := PointerAt([]byte(`{"a":tru}`), 8); got != "" {
		t.Errorf("in bad text: %q", got)
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(aConfig); err != nil {
			b.Fatal(err)
		}
	}
}
