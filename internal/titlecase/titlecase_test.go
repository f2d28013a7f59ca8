package titlecase

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestTitle(t *testing.T) {
	for in, want := range map[string]string{
		"":                 "",
		"transcription":    "Transcription",
		"image_generation": "Image_Generation",
		"TEXT-to-speech":   "Text-To-Speech",
		"o'neil":           "O'Neil",
		"llm2x":            "Llm2X",
		"ÜBER text":        "Über Text",
		"ǆ":                "ǅ",
		"ﬁne_tuning":       "Fine_Tuning",
		"ΑΣ ΣΑΣ":           "Ας Σας",
		"ŉx":               "ʼNx",
		"aªb":              "Aªb",
		"xİ":               "Xi̇",
		"日本語":              "日本語",
	} {
		if got := Title(in); got != want {
			t.Errorf("Title(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestGolden compares with what Python 3.11 (Unicode 14.0) wrote. No character in it is newer than that.
func TestGolden(t *testing.T) {
	f, err := os.Open("testdata/golden.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := 0
	for scan := bufio.NewScanner(f); scan.Scan(); lines++ {
		var pair [2]string
		if err := json.Unmarshal(scan.Bytes(), &pair); err != nil {
			t.Fatalf("line %d: %v", lines+1, err)
		}
		if got := Title(pair[0]); got != pair[1] {
			t.Errorf("line %d: Title(%+q) = %+q, want %+q", lines+1, pair[0], got, pair[1])
		}
	}
	if lines < 1000 {
		t.Errorf("the golden file has only %d lines", lines)
	}
}

func TestTitleKeepsInvalidUTF8(t *testing.T) {
	for in, want := range map[string]string{
		"a\xffb":           "A\xffB",
		"\xc3":             "\xc3",
		"é\xe2\x82x":       "É\xe2\x82X",
		"\xed\xa0\x80x":    "\xed\xa0\x80X", // a surrogate, which UTF-8 does not have
		"aΣ\xff":           "Aς\xff",
		"aΣ\xffa":          "Aς\xffA",
		"\ufffda\ufffd":    "\ufffdA\ufffd",
		"\xf4\x90\x80\x80": "\xf4\x90\x80\x80", // over U+10FFFF
	} {
		if got := Title(in); got != want {
			t.Errorf("Title(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestTitleASCIIAllocatesOnce(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Title("image_generation") }); n > 1 {
		t.Errorf("Title of an ASCII text allocates %v times", n)
	}
}

func FuzzTitle(f *testing.F) {
	for _, s := range []string{"", "o'neil", "ÜBER text", "ΑΣ ΣΑΣ", "ŉx", "aΣ'\u0301b", "a\xffΣ\xe2\x82", "xİ\u0345", "ﬃ"} {
		f.Add(s, "b")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		ta, tb := Title(a), Title(b)
		// A space is neither cased nor skipped in looking for the end of a word: both sides of it are on their own.
		if got := Title(a + " " + b); got != ta+" "+tb {
			t.Errorf("Title(%q) = %q, want %q", a+" "+b, got, ta+" "+tb)
		}
		if utf8.ValidString(a) != utf8.ValidString(ta) {
			t.Errorf("Title(%q) = %q: one is valid UTF-8, the other not", a, ta)
		}
		hasCase := func(r rune) bool { return unicode.ToTitle(r) != r || unicode.ToLower(r) != r || cased(r) }
		if ta != a && !strings.ContainsFunc(a, hasCase) {
			t.Errorf("Title(%q) = %q, a text without case", a, ta)
		}
		// The fast path and the general one agree.
		ascii := strings.Map(func(r rune) rune { return r & 0x7f }, a)
		if fast, general := titleASCII(ascii), titleUnicode(ascii); fast != general {
			t.Errorf("Title(%q) = %q by the fast path, %q by the general one", ascii, fast, general)
		}
	})
}
