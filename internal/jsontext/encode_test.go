package jsontext

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

type inner struct {
	Text string `json:"text"`
}

type failing struct{}

func (failing) MarshalJSON() ([]byte, error) { return nil, errors.New("hide") }

type failingText struct{}

func (failingText) MarshalText() ([]byte, error) { return nil, errors.New("hide") }

type says string

func (s says) MarshalJSON() ([]byte, error) { return []byte(s), nil }

// textual writes its bytes as text.
type textual [3]byte

func (b textual) MarshalText() ([]byte, error) { return b[:], nil }

// byPointer is textual where its address can be taken.
type byPointer struct{ B [3]byte }

func (b *byPointer) MarshalText() ([]byte, error) { return b.B[:], nil }

type panicking struct{}

func (panicking) MarshalJSON() ([]byte, error) { panic("hide") }

type panickingText struct{}

func (panickingText) MarshalText() ([]byte, error) { panic(errors.New("hide")) }

type node struct {
	Name     string
	Parent   *node `json:"-"`
	Children []*node
}

func TestEncode(t *testing.T) {
	type embedded struct {
		inner
		Number json.Number       `json:"number"`
		Raw    json.RawMessage   `json:"raw"`
		Bytes  []byte            `json:"bytes"`
		Left   string            `json:"left,omitempty"`
		Map    map[textual]int   `json:"map"`
		Any    any               `json:"any"`
		Nil    map[string]string `json:"nil"`
		Out    string            `json:"-"`
		hidden string
	}
	family := &node{Name: "\ufffd \\ufffd"}
	for range 40 { // each leads to all others, through the field that is not encoded
		family.Children = append(family.Children, &node{Name: "child", Parent: family})
	}
	var children []string
	for range family.Children {
		children = append(children, `{"Name":"child","Children":null}`)
	}
	for name, c := range map[string]struct {
		v    any
		want string
	}{
		"map":        {map[string]any{"b": 1, "a": []int{1}, "": nil}, `{"":null,"a":[1],"b":1}`},
		"HTML":       {map[string]string{"a<b>": "<&>\u2028\u2029"}, "{\"a<b>\":\"<&>\u2028\u2029\"}"},
		"controls":   {map[string]string{"a": "\x00\x1f\x7f\b\f\n\r\t\"\\/"}, "{\"a\":\"\\u0000\\u001f\x7f\\b\\f\\n\\r\\t\\\"\\\\/\"}"},
		"struct":     {inner{"x"}, `{"text":"x"}`},
		"pointer":    {&inner{"x"}, `{"text":"x"}`},
		"raw":        {json.RawMessage(" {\"b\": 1.50, \"a\":\"\\u0041\"}\n"), `{"b":1.50,"a":"A"}`},
		"bytes":      {[]byte(`{"b":1e5,"a":1}`), `{"b":1e5,"a":1}`},
		"nested raw": {map[string]any{"r": json.RawMessage(`{ "z":1.50, "a":"\u0041\ufffd" }`)}, "{\"r\":{\"z\":1.50,\"a\":\"A\ufffd\"}}"},
		"marshaler":  {says(`{"a" : "<\u0041>"}`), `{"a":"<A>"}`},
		"time":       {map[string]any{"t": time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)}, `{"t":"2020-01-02T03:04:05Z"}`},
		"text keys":  {map[textual]int{{'a', 'b', 'c'}: 1}, `{"abc":1}`},
		"U+FFFD":     {map[string]string{"\ufffd": "\ufffd", `\ufffd`: `\ufffd`}, `{"\\ufffd":"\\ufffd",` + "\"\ufffd\":\"\ufffd\"}"},
		"embedded": {embedded{inner: inner{"x"}, Number: "1.50", Raw: json.RawMessage(`[1, 2]`), Bytes: []byte{0xff}, Map: map[textual]int{{'k', 'e', 'y'}: 1}, Any: 1.5},
			`{"text":"x","number":1.50,"raw":[1,2],"bytes":"/w==","map":{"key":1},"any":1.5,"nil":null}`},
		// What is not encoded may be what it likes.
		"not encoded": {embedded{Number: "1", Raw: json.RawMessage(`"\ufffd"`), Out: "\xff", hidden: "\xff", Bytes: []byte("\xff")},
			"{\"text\":\"\",\"number\":1,\"raw\":\"\ufffd\",\"bytes\":\"/w==\",\"map\":null,\"any\":null,\"nil\":null}"},
		"family": {family, "{\"Name\":\"\ufffd \\\\ufffd\",\"Children\":[" + strings.Join(children, ",") + "]}"},
	} {
		got, err := Encode(c.v)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, c.want)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	type cycle struct{ Next *cycle }
	loop := &cycle{}
	loop.Next = loop
	selfMap := map[string]any{}
	selfMap["x"] = selfMap
	var deep any
	for range MaxDepth {
		deep = []any{deep}
	}
	type anonymous struct{ inner }
	invalid := "hide\xff"
	for name, c := range map[string]struct {
		v    any
		want string
	}{
		"nil":                   {nil, "this is null"},
		"nil map":               {map[string]int(nil), "this is null"},
		"nil pointer":           {(*inner)(nil), "this is null"},
		"nil raw":               {json.RawMessage(nil), "this is empty"},
		"empty bytes":           {[]byte{}, "this is empty"},
		"blank bytes":           {[]byte(" \n"), "this is empty"},
		"slice":                 {[]string{"hide"}, "this is an array"},
		"string":                {"hide", "this is a string"},
		"number":                {7777, "this is a number"},
		"raw array":             {json.RawMessage(`["hide"]`), "this is an array"},
		"bad raw":               {json.RawMessage(`{"a":hide}`), `at "/a"`},
		"bad nested raw":        {map[string]any{"a": json.RawMessage(`{"k":hide}`)}, "json.RawMessage encodes to is refused"},
		"twice in raw":          {map[string]any{"a": json.RawMessage(`{"k":"hide","k":1}`)}, `at "/a/k"`},
		"twice by embedding":    {says(`{"a":"hide","\u0061":1}`), `at "/a"`},
		"lone surrogate in raw": {map[string]any{"a": json.RawMessage(`"hide\ud800"`)}, `at "/a"`},
		"NaN":                   {map[string]any{"a": math.NaN()}, "NaN or an infinity"},
		"infinity":              {map[string]any{"a": float32(math.Inf(-1))}, "NaN or an infinity"},
		"channel":               {map[string]any{"a": make(chan int)}, "chan int"},
		"function":              {map[string]any{"a": func() {}}, "func()"},
		"complex":               {map[string]any{"a": 1i}, "complex128"},
		"map of bad keys":       {map[[1]int]int{{7777}: 1}, "[1]int encodes to is refused"},
		"panic":                 {map[string]any{"a": panicking{}}, "panicked"},
		"panic at the top":      {panicking{}, "panicked"},
		"panic of a text":       {map[string]panickingText{"a": {}}, "panicked"},
		"cycle":                 {loop, "may contain itself"},
		"map in itself":         {selfMap, "may contain itself"},
		"too deep":              {map[string]any{"a": deep}, "nested over 512 levels"},
		"marshaler":             {map[string]any{"a": failing{}}, "jsontext.failing does not encode"},
		"marshaler of nonsense": {map[string]any{"a": says("hide")}, "jsontext.says encodes to is refused"},
		"text marshaler":        {map[string]any{"a": failingText{}}, "jsontext.failingText does not encode"},
		"text marshaler as key": {map[failingText]int{{}: 1}, "does not encode to JSON"},
		"bad number":            {map[string]any{"a": json.Number("hide")}, "json.Number encodes to is refused"},

		"UTF-8 in value":          {map[string]any{"a": invalid}, "not valid UTF-8"},
		"UTF-8 in key":            {map[string]any{invalid: 1}, "not valid UTF-8"},
		"UTF-8 in string type":    {map[says]any{says(invalid): 1}, "not valid UTF-8"},
		"UTF-8 in slice":          {map[string]any{"a": []any{1, []string{invalid}}}, "not valid UTF-8"},
		"UTF-8 in array":          {map[string]any{"a": [1]string{invalid}}, "not valid UTF-8"},
		"UTF-8 in field":          {inner{invalid}, "not valid UTF-8"},
		"UTF-8 behind pointer":    {&inner{invalid}, "not valid UTF-8"},
		"UTF-8 in embedded":       {anonymous{inner{invalid}}, "not valid UTF-8"},
		"UTF-8 in raw":            {json.RawMessage(`{"a":"` + invalid + `"}`), "not valid UTF-8"},
		"UTF-8 in nested raw":     {map[string]any{"a": json.RawMessage(`"` + invalid + `"`)}, "not valid UTF-8"},
		"UTF-8 in marshaler":      {says(`{"a":"` + invalid + `"}`), "not valid UTF-8"},
		"UTF-8 in text":           {map[string]any{"a": textual{0xff}}, "not valid UTF-8"},
		"UTF-8 in text key":       {map[textual]int{{0xff}: 1}, "not valid UTF-8"},
		"UTF-8 in pointer's text": {map[string]any{"a": []byPointer{{[3]byte{0xff}}}}, "not valid UTF-8"},
		"UTF-8 beside U+FFFD":     {map[string]any{"a": "\ufffd", "b": invalid}, "not valid UTF-8"},
		"UTF-8 of a surrogate":    {map[string]any{"a": "\xed\xa0\x80"}, "not valid UTF-8"},
	} {
		got, err := Encode(c.v)
		if got != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v; want an error with %q", name, got, err, c.want)
			continue
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if text := e.Error(); strings.Contains(text, "hide") || strings.Contains(text, "7777") {
				t.Errorf("%s: the error shows a value: %s", name, text)
			}
		}
	}
}

func TestEncodeSharesNothing(t *testing.T) {
	for _, text := range []string{`{"a":1}`, ` {"a":1}`} {
		for _, v := range []any{json.RawMessage(text), []byte(text)} {
			got, err := Encode(v)
			if err != nil {
				t.Fatal(err)
			}
			clear(got)
			switch v := v.(type) {
			case json.RawMessage:
				if string(v) != text {
					t.Errorf("%T %q shares its bytes", v, text)
				}
			case []byte:
				if string(v) != text {
					t.Errorf("%T %q shares its bytes", v, text)
				}
			}
		}
	}
}

// FuzzEncode saves strings as they come from a program: they come back as they were, or are refused.
func FuzzEncode(f *testing.F) {
	f.Add("key", "value", 1.5, []byte(`{"a":1}`))
	f.Add("\ufffd", "\xff", math.Inf(1), []byte(`"\ufffd"`))
	f.Add(`\ufffd`, "<\u2028>\x00", math.Copysign(0, -1), []byte(` [ ] `))
	f.Fuzz(func(t *testing.T, key, value string, number float64, raw []byte) {
		in := map[string]any{"k" + key: value, "n": number, "b": raw, "r": json.RawMessage(raw)}
		got, err := Encode(in)
		valid := utf8.ValidString(key) && utf8.ValidString(value) && !math.IsNaN(number) && !math.IsInf(number, 0) &&
			(raw == nil || Check(raw) == nil) // a nil RawMessage encodes to null
		if valid != (err == nil) && len(raw) < 500 {
			t.Fatalf("%q: %v, want ok to be %t", in, err, valid)
		}
		if err != nil {
			return
		}
		var out struct {
			N float64
			B []byte
			R json.RawMessage
		}
		if err := json.Unmarshal(got, &out); err != nil {
			t.Fatal(err)
		}
		m := decodeAny(t, got).(map[string]any)
		if m["k"+key] != value || out.N != number || !bytes.Equal(out.B, raw) {
			t.Fatalf("%q came back as %s", in, got)
		}
		if c, err := Canonical(got); err != nil || !bytes.Equal(c, got) {
			t.Fatalf("%s is not canonical: %v", got, err)
		}
	})
}
