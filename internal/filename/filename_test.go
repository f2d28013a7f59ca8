package filename

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEncode(t *testing.T) {
	for id, want := range map[string]string{
		"llm_gpt":                "llm_gpt.json",
		"image gen_x (2) é日本":    "image gen_x (2) é日本.json",
		"a.b-c+d~e,f;g=h'i!":     "a.b-c+d~e,f;g=h'i!.json",
		"a/b":                    "a%2Fb.json",
		`a\b:c*d?e"f<g>h|i%`:     "a%5Cb%3Ac%2Ad%3Fe%22f%3Cg%3Eh%7Ci%25.json",
		"a\nb\x01\x7f":           "a%0Ab%01%7F.json",
		"a\u0085b\u009f\u00a0":   "a%C2%85b%C2%9F\u00a0.json",
		".":                      "%2E.json",
		"..":                     "%2E%2E.json",
		"...":                    "%2E.%2E.json",
		".hidden":                "%2Ehidden.json",
		"../../etc/passwd":       "%2E.%2F..%2Fetc%2Fpasswd.json",
		"end.":                   "end%2E.json",
		"end ":                   "end%20.json",
		" ":                      "%20.json",
		" lead":                  " lead.json",
		"con":                    "%63on.json",
		"CON":                    "%43ON.json",
		"Nul.txt":                "%4Eul.txt.json",
		"aux  .x":                "%61ux  .x.json",
		"com0":                   "%63om0.json",
		"LPT9.":                  "%4CPT9%2E.json",
		"com¹":                   "%63om¹.json",
		"lpt³":                   "%6Cpt³.json",
		"conin$":                 "%63onin$.json",
		"CONOUT$":                "%43ONOUT$.json",
		"com10":                  "com10.json",
		"com":                    "com.json",
		"com⁴":                   "com⁴.json",
		"console":                "console.json",
		"a.con":                  "a.con.json",
		"x.json":                 "x.json.json",
		strings.Repeat("a", 250): strings.Repeat("a", 250) + ".json",
	} {
		got, err := Encode(id)
		if got != want || err != nil {
			t.Errorf("Encode(%q) is %q, %v; want %q", id, got, err, want)
		}
		if back, ok := Decode(want); back != id || !ok {
			t.Errorf("Decode(%q) is %q, %t; want %q", want, back, ok, id)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, id := range []string{"", "a\x00b", "a\xff", "\xed\xa0\x80", strings.Repeat("a", 251), strings.Repeat("é", 126), strings.Repeat(":", 84)} {
		if name, err := Encode(id); err == nil || name != "" {
			t.Errorf("Encode(%.20q) is %q, %v; want an error", id, name, err)
		}
	}
}

// What Encode never returns is nobody's file.
func TestDecodeRefuses(t *testing.T) {
	for _, name := range []string{
		"", "json", ".json", "a", "a.JSON", "a.json~", ".a.json", "..json", "con.json", "a:b.json", "a%3ab.json", "a%41.json", "%61.json", "a%.json",
		"a%2.json", "a%zz.json", "a%+1.json", "a%00.json", "a%FF.json", "a\xff.json", "a .json", "a\nb.json", "a.json.corrupt-1", ".pluginregistry.lock",
		".pluginregistry-journal", ".pluginregistry-X.tmp", strings.Repeat("a", 251) + ".json", "a/b.json",
	} {
		if id, ok := Decode(name); ok {
			t.Errorf("Decode(%q) is %q, want none", name, id)
		}
	}
}

func TestLegacy(t *testing.T) {
	for id, want := range map[string]string{
		"a:b":                   "a:b.json",
		"a*?":                   "a*?.json",
		"con":                   "con.json",
		"end.":                  "end..json",
		"100%":                  "100%.json",
		"a%3ab":                 "a%3ab.json", // Encode writes upper-case hex
		"a\nb":                  "a\nb.json",
		`a\b`:                   `a\b.json`,
		"plain":                 "", // both names are the same
		"a%3Ab":                 "", // its name is that of a:b
		"a/b":                   "",
		".hidden":               "",
		"..":                    "",
		"":                      "",
		"\xff":                  "",
		strings.Repeat(":", 84): "", // has no name of its own
	} {
		got, ok := Legacy(id)
		if got != want || ok != (want != "") {
			t.Errorf("Legacy(%q) is %q, %t; want %q", id, got, ok, want)
		}
		if want == "" {
			continue
		}
		if back, ok := DecodeLegacy(want); back != id || !ok {
			t.Errorf("DecodeLegacy(%q) is %q, %t", want, back, ok)
		}
	}
	for _, name := range []string{"plain.json", "a%3Ab.json", ".hidden.json", "a:b", "a:b.JSON", "a:b.json.corrupt-1", ".json"} {
		if id, ok := DecodeLegacy(name); ok {
			t.Errorf("DecodeLegacy(%q) is %q, want none", name, id)
		}
	}
}

func TestTwins(t *testing.T) {
	for name, want := range map[string][]string{
		"abc.json":     {"abc.JSON"},
		"\u00e9.json":  {"\u00e9.JSON", "e\u0301.json"},
		"e\u0301.json": {"e\u0301.JSON", "\u00e9.json"},
		"日本.json":      {"日本.JSON"},
	} {
		if got := Twins(name); !slices.Equal(got, want) {
			t.Errorf("Twins(%+q) is %+q, want %+q", name, got, want)
		}
	}
}

func TestFold(t *testing.T) {
	for _, c := range []struct {
		a, b          string
		fold, compose bool
	}{
		{"a_b", "A_b", true, false},
		{"\u00e9", "e\u0301", true, true},
		{"\u00c9", "e\u0301", true, false},
		{"\u03c3", "\u03c2", true, false}, // two small sigmas, one capital
		{"a", "b", false, false},
	} {
		if Fold(c.a) == Fold(c.b) != c.fold || Compose(c.a) == Compose(c.b) != c.compose {
			t.Errorf("%+q and %+q: fold %t, compose %t", c.a, c.b, !c.fold, !c.compose)
		}
	}
}

// devices is what Windows documents, as one list and not as a rule.
var devices = strings.Fields(`con prn aux nul conin$ conout$ com0 com1 com2 com3 com4 com5 com6 com7 com8 com9 com¹ com² com³
	lpt0 lpt1 lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 lpt8 lpt9 lpt¹ lpt² lpt³`)

func FuzzEncode(f *testing.F) {
	for _, s := range []string{"llm_gpt", "../x", "con", "COM¹.x", "a:b*c", ".a. ", "%41", "é\u0085", "\x00", "\xff", "nul ."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		name, err := Encode(id)
		if err != nil {
			if id != "" && len(id) < 80 && utf8.ValidString(id) && !strings.Contains(id, "\x00") {
				t.Fatalf("Encode(%q): %v", id, err)
			}
			return
		}
		if len(name) > MaxBytes || !utf8.ValidString(name) || strings.ContainsAny(name, `/\:*?"<>|`) || name[0] == '.' || name[0] == '%' && len(name) < 4 {
			t.Fatalf("Encode(%q) is %q", id, name)
		}
		for _, r := range name {
			if r < 0x20 || 0x7f <= r && r < 0xa0 {
				t.Fatalf("Encode(%q) is %q", id, name)
			}
		}
		stem := strings.TrimSuffix(name, ".json")
		if stem == name || strings.HasSuffix(stem, ".") || strings.HasSuffix(stem, " ") {
			t.Fatalf("Encode(%q) is %q", id, name)
		}
		base, _, _ := strings.Cut(strings.ToLower(name), ".")
		if slices.Contains(devices, strings.TrimRight(base, " ")) {
			t.Fatalf("Encode(%q) is the device %q", id, name)
		}
		if back, ok := Decode(name); back != id || !ok {
			t.Fatalf("Decode(%q) is %q, %t; want %q", name, back, ok, id)
		}
		if legacy, ok := Legacy(id); ok {
			if back, ok := DecodeLegacy(legacy); back != id || !ok || legacy == name {
				t.Fatalf("DecodeLegacy(%q) is %q, %t; want %q", legacy, back, ok, id)
			}
			if other, ok := Decode(legacy); ok {
				t.Fatalf("%q is the file of %q and of %q", legacy, id, other)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"a.json", "a%2F.json", "a%2f.json", "%63on.json", "con.json", "%.json", "%4.json", ".json", "a:b.json"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		id, ok := Decode(name)
		legacyID, legacy := DecodeLegacy(name)
		if ok && legacy {
			t.Fatalf("%q is the file of %q and of %q", name, id, legacyID)
		}
		if ok {
			if again, err := Encode(id); again != name || err != nil {
				t.Fatalf("Encode(Decode(%q)) is %q, %v", name, again, err)
			}
		}
		if legacy {
			if again, ok := Legacy(legacyID); again != name || !ok {
				t.Fatalf("Legacy(DecodeLegacy(%q)) is %q, %t", name, again, ok)
			}
		}
	})
}

// A program that looks for the ID and ".json", as the Python original does, finds all IDs but those that the docs of store/jsonfile list.
func TestNamesWithoutEscapes(t *testing.T) {
	for id, same := range map[string]bool{
		"llm_gpt": true, "llm_openai@work": true, "a.b": true, "a b": true, " a": true, "a-b_c+d=e,f;g!h#i$j&k(l)[m]{n}'o~p`q^r": true, "ünï_日本語_🎉": true, "CONSOLE": true,
		`a\b`: false, "a:b": false, "a*b": false, "a?b": false, `a"b`: false, "a<b": false, "a>b": false, "a|b": false, "100%": false, "a/b": false,
		"tab\t": false, "\x7f": false, "\u0085": false, ".hidden": false, "end.": false, "end ": false, "con": false, "NUL": false, "com1": false, "lpt9.x": false,
	} {
		name, err := Encode(id)
		if err != nil || (name == id+".json") != same {
			t.Errorf("the file of %q is %q, %v", id, name, err)
		}
	}
}
