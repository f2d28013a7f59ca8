package main

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestServe(t *testing.T) {
	var out strings.Builder
	in := `{"id":1,"text":"x"}
{"id":2,"config":{"width":2,"indent":"> "}}
{"id":3,"config":{"width":7,"indent":"> "}}
{"id":4,"text":"to be or"}
{"id":5,"text":""}
`
	if err := serve(strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(out.String()), "\n\n")
	slices.Sort(got) // the texts are answered in any order
	want := []string{
		`{"id":1,"error":"the first request has no config"}`,
		`{"id":2,"error":"the width leaves no room beside the indent"}`,
		`{"id":3}`,
		`{"id":4,"lines":["\u003e to be","\u003e or"]}`,
		`{"id":5}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("it answered\n%s\nwant\n%s", got, want)
	}
	for _, bad := range []string{"nonsense\n", "[]\n", `{"text":"x"}` + "\n"} {
		if err := serve(strings.NewReader(bad), &out); err == nil {
			t.Errorf("it took %q for a request", bad)
		}
	}
}

func FuzzWrap(f *testing.F) {
	f.Add("to be or not to be", 7, "> ")
	f.Add("häuser\u00a0x", 3, "")
	f.Fuzz(func(t *testing.T, text string, width int, indent string) {
		if strings.TrimSpace(indent) != "" || !utf8.ValidString(text) {
			return // it could not be told from the words
		}
		lines := wrap(text, config{width, indent})
		if got := strings.Fields(strings.Join(lines, " ")); !slices.Equal(got, strings.Fields(text)) {
			t.Errorf("the words are %q", got)
		}
		for _, line := range lines {
			if utf8.RuneCountInString(line) > width && len(strings.Fields(line)) > 1 {
				t.Errorf("the line %q is wider than %d", line, width)
			}
		}
	})
}
