package main

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestServe(t *testing.T) {
	var out strings.Builder
	in := `nonsense` + "\n" + `{"width":2,"indent":"> "}` + "\n" + `{"width":7,"indent":"> "}` + "\n" + `{"text":"to be or"}` + "\n" + `[]` + "\n" + `{"text":""}` + "\n"
	if err := serve(strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	want := `{"lines":null,"error":"the first line is no config"}
{"lines":null,"error":"the width leaves no room beside the indent"}
{"lines":null}
{"lines":["\u003e to be","\u003e or"]}
{"lines":null,"error":"the line is no request"}
{"lines":null}
`
	if out.String() != want {
		t.Errorf("it answered\n%s\nwant\n%s", out.String(), want)
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
