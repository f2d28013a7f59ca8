package jsontext

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestCanonical(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:            `{}`,
		" \t\r\n{ } \n": `{}`,
		`{"b":1,"a":2}`: `{"b":1,"a":2}`, // the order stays
		"{\n  \"a\" : [ 1 , { \"b\" : [ ] } ]\r\n}":                           `{"a":[1,{"b":[]}]}`,
		`{"n":[1.0,1.50,-0,1E+5,1e-05,100000000000000000000000000000000001]}`: `{"n":[1.0,1.50,-0,1E+5,1e-05,100000000000000000000000000000000001]}`,
		`{"s":"a b\tc  d"}`:                                  `{"s":"a b\tc  d"}`,
		`{"\u0061":"\u00e9\u20AC\/\ud83d\ude00"}`:            `{"a":"é€/😀"}`,
		`{"s":"\u0008\u0009\u000a\u000c\u000d\u0022\u005c"}`: `{"s":"\b\t\n\f\r\"\\"}`,
		`{"s":"\u0000\u001F\u007f"}`:                         "{\"s\":\"\\u0000\\u001f\u007f\"}",
		`{"s":"\u001F"}`:                                     `{"s":"\u001f"}`,
		`{"s":"\u003cb\u003e\u0026\u2028\ufffd\ufeff"}`:      "{\"s\":\"<b>&\u2028\ufffd\ufeff\"}",
		`{"s":"\\u0041"}`:                                    `{"s":"\\u0041"}`, // a backslash, then text
		`{"s":"\\\u0041"}`:                                   `{"s":"\\A"}`,
		`{"s":"x\\"} `:                                       `{"s":"x\\"}`,
		`{"s":"{ \"a\" : 1 }"}`:                              `{"s":"{ \"a\" : 1 }"}`,
	} {
		before := strings.Clone(text)
		got, err := Canonical([]byte(text))
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", before, got, err, want)
		}
		b := []byte(want)
		again, err := Canonical(b)
		if err != nil || string(again) != want {
			t.Errorf("%s: canonical text becomes %s, %v", want, again, err)
		} else if &again[0] == &b[0] {
			t.Errorf("%s: canonical text shares the bytes it was made from", want)
		}
	}
	for text, want := range map[string]string{`[]`: "an array", `"hide"`: "a string", ` false`: "a boolean", `null`: "null", "\n-7777": "a number"} {
		if _, err := Canonical([]byte(text)); err == nil || !strings.Contains(err.Error(), "a JSON object is needed, this is "+want) ||
			strings.Contains(err.Error(), "hide") || strings.Contains(err.Error(), "7777") {
			t.Errorf("%s: %v, want that this is %s, and no value", text, err, want)
		}
	}
}

func TestCanonicalLeavesItsInput(t *testing.T) {
	text := []byte(` { "\u0061" : 1 } `)
	before := bytes.Clone(text)
	got, err := Canonical(text)
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	if !bytes.Equal(text, before) {
		t.Error("the input was changed, or shares its bytes")
	}
}

func TestPythonGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/python/*.indented.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		indented, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		compact, err := os.ReadFile(strings.TrimSuffix(file, ".indented.json") + ".json")
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range [][]byte{indented, compact} {
			got, err := Canonical(text)
			if err != nil || !bytes.Equal(got, compact) {
				t.Errorf("%s: Canonical: %s, %v; want %s", file, got, err, compact)
			}
			if got := AppendIndented(nil, text); !bytes.Equal(got, indented) {
				t.Errorf("%s: AppendIndented: %s; want %s", file, got, indented)
			}
		}
	}
}

func TestAppendIndented(t *testing.T) {
	for text, want := range map[string]string{
		`null`:                       `null`,
		` "é" `:                      `"\u00e9"`,
		`{"a":[1.50,[ ],{ }],"b":2}`: "{\n  \"a\": [\n    1.50,\n    [],\n    {}\n  ],\n  \"b\": 2\n}",
		`[" , : {} "]`:               "[\n  \" , : {} \"\n]",
		`["\u0041\/\u007F"]`:         "[\n  \"A/\\u007f\"\n]",
	} {
		if got := AppendIndented([]byte("kept"), []byte(text)); string(got) != "kept"+want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestMembers(t *testing.T) {
	text := " {\"a\" : [1, {\"x\":\"}\"}] , \"\\u0062\\\"\":\"s,\\\"}\" ,\"\":{},\"n\":-1.5e3\n,\"t\":true}"
	want := []string{"a", `[1, {"x":"}"}]`, `b"`, `"s,\"}"`, "", `{}`, "n", `-1.5e3`, "t", `true`}
	var got []string
	for name, value := range Members([]byte(text)) {
		got = append(got, name, string(value))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for name := range Members([]byte(text)) {
		if name != "a" {
			t.Error("it went on after the loop was left")
		}
		break
	}
	for range Members([]byte(" { } ")) {
		t.Error("an empty object has a member")
	}
}

func TestUnquote(t *testing.T) {
	for text, want := range map[string]string{`""`: "", `"a"`: "a", `"\u0061\n\"é\ud83d\ude00"`: "a\n\"é😀"} {
		if got, ok := Unquote([]byte(text)); !ok || got != want {
			t.Errorf("%s: %q, %t", text, got, ok)
		}
	}
	for _, text := range []string{`1`, `null`, `{"a":"b"}`, `["a"]`} {
		if got, ok := Unquote([]byte(text)); ok || got != "" {
			t.Errorf("%s: %q, %t; it is no string", text, got, ok)
		}
	}
}

func TestAppendQuoted(t *testing.T) {
	const s = "a\"\\/\b\x00\x1f\x7f<é😀\u2028"
	const want = `x"a\"\\/\b\u0000\u001f` + "\x7f<é😀\u2028" + `"`
	if got := AppendQuoted([]byte("x"), s); string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// FuzzCanonical checks what all stores build on: canonical text says the same, is the same for all layouts of one text, and is itself
// canonical.
// A character that needs an escape, or that is none, at every place of the words of eight bytes that are looked at together.
func TestAppendQuotedAtEachPlace(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`"`, `\"`}, {`\`, `\\`}, {"\n", `\n`}, {"\x00", `\u0000`}, {"\x1f", `\u001f`}, {" ", " "}, {"\x7f", "\x7f"}, {"é", "é"}, {"😀", "😀"},
		{"\xff", "\ufffd"}, {"\xf0\x9f", "\ufffd\ufffd"},
	} {
		for before := range 17 {
			for after := range 17 {
				x, y := strings.Repeat("x", before), strings.Repeat("y", after)
				if got, want := string(AppendQuoted([]byte("["), x+c.in+y)), `["`+x+c.want+y+`"`; got != want {
					t.Errorf("%q after %d and before %d bytes: %q, want %q", c.in, before, after, got, want)
				}
			}
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, text := range []string{
		`{"a":[1,2.50e-3,"x\u0041\n\/é\ud83d\ude00",{"b":null,"c":{}}],"d":true}`, " {\t\"a\" : [ ] , \"b\":{ } }\n", `{"":"\u0000\u007f\\u0041"}`, `[1]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		got, err := Canonical(text)
		if !bytes.Equal(before, text) {
			t.Fatal("Canonical changed its input")
		}
		object := Check(text) == nil && bytes.TrimLeft(text, " \t\r\n")[0] == '{'
		if (err == nil) != object {
			t.Fatalf("%q: %v, want ok to be %t", text, err, object)
		}
		if lenient := CheckLenient(text); err == nil && lenient != nil {
			t.Fatalf("%q: CheckLenient: %v", text, lenient)
		}
		if err != nil {
			return
		}
		sameMeaning(t, text, got)
		if len(got) > len(text) {
			t.Fatalf("%q became longer: %q", text, got)
		}
		if again, err := Canonical(bytes.Clone(got)); err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%q becomes %q, %v", got, again, err)
		}
		indented := AppendIndented(nil, text)
		if back, err := Canonical(indented); err != nil || !bytes.Equal(back, got) {
			t.Fatalf("%q, indented %q, becomes %q, %v; want %q", text, indented, back, err, got)
		}
		for _, c := range indented {
			if c >= 0x7f {
				t.Fatalf("%q is not ASCII", indented)
			}
		}
		v, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if tree := v.Append(nil); !bytes.Equal(tree, got) {
			t.Fatalf("the tree of %q says %q, want %q", text, tree, got)
		}
		if lenient, err := ParseLenient(text); err != nil || !bytes.Equal(lenient.Append(nil), got) {
			t.Fatalf("ParseLenient of %q: %v", text, err)
		}
		i := 0
		for name, value := range Members(text) {
			m := v.Members[i]
			if w, err := Parse(value); err != nil || m.Name != name || !bytes.Equal(w.Append(nil), m.Value.Append(nil)) {
				t.Fatalf("member %d of %q is %q %q, %v", i, text, name, value, err)
			}
			if s, ok := Unquote(value); ok != (m.Value.Kind == String) || ok && s != m.Value.Text {
				t.Fatalf("member %d of %q is %q, %t", i, text, s, ok)
			}
			i++
		}
		if i != len(v.Members) {
			t.Fatalf("%d members of %q, want %d", i, text, len(v.Members))
		}
	})
}

// aConfig is a config of about 1 KB, in canonical text.
var aConfig = []byte(`{"api_key":"sk-0123456789abcdef0123456789abcdef0123456789abcdef","model":"large-v3-turbo",` +
	`"base_url":"https://api.example.com/v1/audio/transcriptions","language":"en","temperature":0.2,"max_tokens":4096,"stream":true,` +
	`"timeout_seconds":30,"retry":{"attempts":5,"backoff_ms":[100,200,400,800,1600],"jitter":true},"proxy":null,` +
	`"headers":{"X-Organization":"org-0123456789","X-Project":"proj_abcdefghijklmnop","User-Agent":"example/1.0"},` +
	`"prompt":"Write what is said, keep the names, and mark what you did not understand.","devices":[{"id":0,"name":"cuda:0",` +
	`"memory_gb":24},{"id":1,"name":"cuda:1","memory_gb":24}],"vad":{"enabled":true,"threshold":0.5,"min_silence_ms":500,` +
	`"speech_pad_ms":200},"output":{"format":"srt","directory":"/var/lib/app/out","overwrite":false,"max_line_width":42},` +
	`"tags":["speech","gpu","production"],"notes":"Checked by hand after the last change of the model; see the wiki.",` +
	`"beam_size":5,"best_of":5,"patience":1.0,"compression_ratio_threshold":2.4}`)

func BenchmarkCanonical(b *testing.B) {
	for name, text := range map[string][]byte{"canonical": aConfig, "indented": AppendIndented(nil, aConfig)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Canonical(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCheckManyNames(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		text := nameList(n, "last")
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if err := Check(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
