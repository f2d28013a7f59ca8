package jsontext

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// Check is Parse for the error alone.
func Check(b []byte) error { _, err := Parse(b); return err }

func TestCheckAccepts(t *testing.T) {
	for _, text := range []string{
		`null`, `true`, `false`, `0`, `-0`, `-1`, `10`, `1.5`, `0.0`, `1e5`, `1E+5`, `1e-05`, `-0.1e0`, strings.Repeat("9", 1000), `1e999999`,
		`""`, `"a"`, `"\"\\\/\b\f\n\r\t"`, `"\u0041\u00e9\uFFFF\uabCD"`, `"\ud83d\ude00"`, `"é😀"`, "\"\u007f\u2028\"", `"\ufffd"`, "\"\ufffd\"",
		`[]`, `{}`, `[[],{}]`, `{"":""}`, `{"a":1,"b":[true,null]}`, " \t\r\n{ \"a\" : [ 1 , 2 ] } \n",
		`{"a":{"a":1},"b":{"a":1}}`, `[{"a":1},{"a":1}]`, `{"a":1,"A":2}`,
		strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth),
		strings.Repeat(`{"":`, MaxDepth) + "1" + strings.Repeat("}", MaxDepth),
	} {
		if err := Check([]byte(text)); err != nil {
			t.Errorf("%.60q: %v", text, err)
		}
		if !json.Valid([]byte(text)) {
			t.Errorf("%.60q: encoding/json does not agree", text)
		}
	}
}

// Every byte of a string, at every offset of the eight that are looked at together.
func TestStringBytes(t *testing.T) {
	for c := range 256 {
		for before := range 18 {
			for _, after := range []int{0, 9} {
				text := `"` + strings.Repeat("é", before%2) + strings.Repeat("x", before) + string([]byte{byte(c)}) + strings.Repeat("y", after) + `"`
				want := json.Valid([]byte(text)) && utf8.ValidString(text)
				if err := Check([]byte(text)); (err == nil) != want {
					t.Errorf("byte %#x at %d of %q: %v, want ok to be %t", c, before, text, err, want)
				}
			}
		}
	}
}

// The strings in these texts say "hide" or "7777" where a value is: no error may.
func TestRefusals(t *testing.T) {
	deep := strings.Repeat(`{"k":`, MaxDepth)
	for _, c := range []struct{ text, pointer, reason string }{
		{``, ``, "ends"},
		{` `, ``, "ends"},
		{`{"a":`, `/a`, "ends too early"},
		{`[1,`, ``, "ends too early"},
		{`hide`, ``, "invalid character at start of value"},
		{`nul`, ``, "ends too early"},
		{`nulL`, ``, "invalid character in literal null"},
		{`[NaN]`, `/0`, "invalid character at start of value"},
		{`{"a":+7777}`, `/a`, "invalid character at start of value"},
		{`["7777", x]`, `/1`, "invalid character at start of value"},
		{"\ufeff{}", ``, "invalid character at start of value"},
		{`// {}`, ``, "invalid character at start of value"},
		{`{"a":[7777.]}`, `/a/0`, "invalid character in number (expecting digit)"},
		{`7777e`, ``, "ends too early"},
		{`07777`, ``, "something follows"},
		{`{"a":07777}`, ``, "invalid character after object value"},
		{`{} "hide"`, ``, "something follows"},
		{`"hide`, ``, "ends too early"},
		{`"a longer one: hide` + "\n" + `"`, ``, "invalid character in string (expecting non-control character)"},
		{`{"a":"hide\x"}`, `/a`, "invalid escape sequence in string"},
		{`"hide\u12g4"`, ``, "invalid escape sequence in string"},
		{`"hide\ud83d"`, ``, "invalid"},
		{`"hide\ud83d\u0041"`, ``, "invalid surrogate pair in string"},
		{`"hide\ude00\ud83d"`, ``, "invalid surrogate pair in string"},
		{"\"hide\xff\"", ``, "not valid UTF-8"},
		{"\"hide\xed\xa0\x80\"", ``, "not valid UTF-8"}, // a surrogate
		{`["hide" "hide"]`, ``, "invalid character after array"},
		{`{"a" "hide"}`, `/a`, "invalid character after object name"},
		{`{7777:1}`, ``, ""},
		{`{'a':7777}`, ``, "invalid character"},
		{`{"x":[{"y":{"a/b~c":[1,"hide",tru]}}]}`, `/x/0/y/a~1b~0c/2`, "invalid character"},
		{`{"a":"hide","b":1,"a":"hide"}`, `/a`, "stands twice"},
		{`{"o":[0,{"a":"hide","a":"hide"}]}`, `/o/1/a`, "stands twice"},
		{`{"a":"hide","\u0061":"hide"}`, `/a`, "stands twice"},
		{`{"\ud83d\uDE00":"hide","😀":"hide"}`, `/😀`, "stands twice"},
		{`{"":"hide","":"hide"}`, `/`, "stands twice"},
		{deep + "[7777]" + strings.Repeat("}", MaxDepth), strings.Repeat("/k", MaxDepth), "nested over 512 levels"},
		{strings.Repeat("[", MaxDepth+1), strings.Repeat("/0", MaxDepth), "nested over 512 levels"},
		{strings.Repeat("[", 20*MaxDepth), strings.Repeat("/0", MaxDepth), "nested over 512 levels"},
	} {
		for name, f := range map[string]func([]byte) error{
			"Canonical":   func(b []byte) error { _, err := Canonical(b); return err },
			"Parse":       Check,
			"EachMember":  CheckLenient,
			"Encode":      func(b []byte) error { _, err := Encode(b); return err },
			"a Marshaler": func(b []byte) error { _, err := Encode(map[string]says{"in": says(b)}); return err },
		} {
			err := f([]byte(c.text))
			if name == "EachMember" && c.reason == "stands twice" {
				continue
			}
			e, ok := errors.AsType[*Error](err)
			if !ok {
				t.Errorf("%s: %.80q: %v, want an *Error", name, c.text, err)
				continue
			}
			if text := e.Error(); strings.Contains(text, "hide") || strings.Contains(text, "7777") {
				t.Errorf("%s: %.80q: the error shows a value: %s", name, c.text, text)
			}
			if name != "Canonical" && name != "Parse" {
				continue // other words, or another place
			}
			if e.Pointer != c.pointer || !strings.Contains(e.Reason, c.reason) || e.Offset < 0 || e.Offset > len(c.text) {
				t.Errorf("%s: %.80q: %q at %.80q, byte %d; want %q at %.80q", name, c.text, e.Reason, e.Pointer, e.Offset, c.reason, c.pointer)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	text := []byte(`{"a":"` + strings.Repeat("x", MaxBytes-8) + `"}`)
	if err := Check(text); err != nil || len(text) != MaxBytes {
		t.Errorf("%d bytes: %v", len(text), err)
	}
	text = append(text, ' ')
	for name, err := range map[string]error{
		"Check":        Check(text),
		"CheckLenient": CheckLenient(text),
		"Canonical":    func() error { _, err := Canonical(text); return err }(),
		"Encode":       func() error { _, err := Encode(json.RawMessage(text)); return err }(),
		"Encode map":   func() error { _, err := Encode(map[string]string{"a": string(text[:MaxBytes-6])}); return err }(),
	} {
		if err == nil || !strings.Contains(err.Error(), "16777216 are allowed") {
			t.Errorf("%s of a byte too many: %v", name, err)
		}
	}
}

// nameList is an object of n names, the last of which is last.
func nameList(n int, last string) []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i := range n - 1 {
		fmt.Fprintf(&b, `"name%d":"hide",`, i)
	}
	fmt.Fprintf(&b, `"%s":"hide"}`, last)
	return b.Bytes()
}

func TestNamesTwiceInAllSizes(t *testing.T) {
	for _, n := range []int{2, 3, 23, 31, 32, 64, 200, 2000} {
		if err := Check(nameList(n, "last")); err != nil {
			t.Errorf("%d names: %v", n, err)
		}
		for _, i := range []int{0, n / 2, n - 2} {
			if i > n-2 {
				continue
			}
			name := fmt.Sprintf("name%d", i)
			escaped := strings.Replace(name, "m", `\u006D`, 1)
			for _, last := range []string{name, escaped} {
				text := nameList(n, last)
				err := Check(text)
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Pointer != "/"+name || e.Offset != bytes.LastIndex(text, []byte(`"`+last)) {
					t.Errorf("%d names, %s again: %v", n, last, err)
				}
				if err := CheckLenient(text); err != nil {
					t.Errorf("%d names, %s again: CheckLenient: %v", n, last, err)
				}
				// The escaped one first.
				text = bytes.Replace(nameList(n, name), []byte(`"`+name+`"`), []byte(`"`+escaped+`"`), 1)
				if err := Check(text); err == nil || !strings.Contains(err.Error(), "twice") {
					t.Errorf("%d names, %s again after its escaped twin: %v", n, name, err)
				}
			}
		}
	}
}

// A name is its own in each object, however the objects lie in one another.
func TestNamesOfNestedObjects(t *testing.T) {
	var inner strings.Builder
	for i := range 64 {
		fmt.Fprintf(&inner, `"n%d":%d,`, i, i)
	}
	object := func(child string) string { return "{" + inner.String() + `"child":` + child + "}" }
	text := object(object(object("[" + object("1") + "," + object("{}") + "]")))
	if err := Check([]byte(text)); err != nil {
		t.Error(err)
	}
	twice := strings.TrimSuffix(text, "}") + `,"n0":1}`
	if err := Check([]byte(twice)); err == nil || !strings.Contains(err.Error(), `twice in one object at "/n0"`) {
		t.Errorf("after its child an object no longer knows its names: %v", err)
	}
}

// An error deep inside is told in one go, not by copying the pointer at each level: with long names that took half a second.
func TestDeepErrorHasWholePointer(t *testing.T) {
	name := strings.Repeat("n", 1000)
	err := Check([]byte(strings.Repeat(`{"`+name+`":`, MaxDepth) + "x"))
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Pointer != strings.Repeat("/"+name, MaxDepth) {
		t.Fatalf("%.100v", err)
	}
}

func TestCheckLenient(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1,"a":2}`:        "",
		` {"a":{"b":1,"b":2}}`: "",
		`[1]`:                  "this is an array",
		`"hide"`:               "this is a string",
		`7777`:                 "this is a number",
		` true`:                "this is a boolean",
		`null`:                 "this is null",
		`{"a":hide}`:           "invalid character at start of value",
		``:                     "ends where",
	} {
		err := CheckLenient([]byte(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if strings.Contains(fmt.Sprint(err), "hide") {
			t.Errorf("%s: the error shows a value: %v", text, err)
		}
	}
}

// FuzzCheck holds Check against encoding/json, which is laxer in what the package comment tells and in depth only.
func FuzzCheck(f *testing.F) {
	for _, text := range []string{
		`{"a":[1,2.5e-3,"x\u0041\n",{"b":null}],"c":true}`, `{"a":1,"\u0061":2}`, `"\ud800"`, "\"\xff\"", " [ ] ", `{"":{"":{}}}`, `[[[[`, `-0.0E+1`, `{"k" :"`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		err := Check(text)
		if !bytes.Equal(before, text) {
			t.Fatal("Check changed its input")
		}
		want := json.Valid(text) && !stricter(text)
		if (err == nil) != want {
			t.Fatalf("%q: %v, want ok to be %t", text, err, want)
		}
		if e, ok := errors.AsType[*Error](err); ok {
			if e.Offset < 0 || e.Offset > len(text) || e.Reason == "" {
				t.Fatalf("%q: %#v", text, e)
			}
			if _, err := SplitPointer(e.Pointer); err != nil {
				t.Fatalf("%q: pointer %q: %v", text, e.Pointer, err)
			}
		} else if err != nil {
			t.Fatalf("%q: %T", text, err)
		}
		if err != nil {
			return
		}
		v, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		compact := v.Append(nil)
		if !json.Valid(compact) || Check(compact) != nil {
			t.Fatalf("%q: the tree says %q", text, compact)
		}
		if again := v.Clone().Append(nil); !bytes.Equal(again, compact) {
			t.Fatalf("%q: the clone says %q, the tree %q", text, again, compact)
		}
		sameMeaning(t, text, compact)
	})
}

// stricter tells whether valid JSON breaks a rule that encoding/json does not have.
func stricter(text []byte) bool {
	if !utf8.Valid(text) {
		return true
	}
	for i := 0; i < len(text); i++ { // half a surrogate pair
		if text[i] != '\\' {
			continue
		}
		i++
		if text[i] != 'u' {
			continue
		}
		r, _ := strconv.ParseUint(string(text[i+1:i+5]), 16, 32)
		i += 4
		if r < 0xd800 || r > 0xdfff {
			continue
		}
		if r >= 0xdc00 || i+6 >= len(text) || text[i+1] != '\\' || text[i+2] != 'u' {
			return true
		}
		if low, err := strconv.ParseUint(string(text[i+3:i+7]), 16, 32); err != nil || low < 0xdc00 || low > 0xdfff {
			return true
		}
		i += 6
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	type level struct {
		names map[string]bool // nil in an array
		name  bool            // a name comes next
	}
	var open []level
	value := func() {
		if n := len(open); n > 0 && open[n-1].names != nil {
			open[n-1].name = true
		}
	}
	for {
		token, err := dec.Token()
		if err != nil {
			return false // the end
		}
		switch d, _ := token.(json.Delim); d {
		case '{', '[':
			var l level
			if d == '{' {
				l = level{map[string]bool{}, true}
			}
			if open = append(open, l); len(open) > MaxDepth {
				return true
			}
			continue
		case '}', ']':
			open = open[:len(open)-1]
			value()
			continue
		}
		if n := len(open); n > 0 && open[n-1].name {
			name := token.(string)
			if open[n-1].names[name] {
				return true
			}
			open[n-1].names[name] = true
			open[n-1].name = false
			continue
		}
		value()
	}
}

func decodeAny(t *testing.T, text []byte) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return v
}

// sameMeaning holds two texts against each other as encoding/json reads them, numbers by their digits.
func sameMeaning(t *testing.T, a, b []byte) {
	t.Helper()
	if !reflect.DeepEqual(decodeAny(t, a), decodeAny(t, b)) {
		t.Fatalf("%q and %q say different things", a, b)
	}
}
