package settings

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

const everything = `{"title":"Everything","type":"object","required":["name"],"properties":{
 "name":{"type":"string","title":"Name"},
 "note":{"type":"string","description":"A note"},
 "count":{"type":"integer","default":3},
 "ratio":{"type":"number"},
 "big":{"type":["integer","null"]},
 "on":{"type":"boolean","default":true},
 "mode":{"enum":["fast","slow",1,2.5,null]},
 "level":{"oneOf":[{"const":1,"title":"Low"},{"const":2,"title":"High"}]},
 "mail":{"type":"string","format":"email"},
 "site":{"type":"string","format":"uri"},
 "day":{"type":"string","format":"date"},
 "at":{"type":"string","format":"time"},
 "when":{"type":"string","format":"date-time"},
 "long":{"type":"string","format":"textarea"},
 "key":{"type":"string","writeOnly":true},
 "tags":{"type":"array","items":{"type":"string"}},
 "numbers":{"type":"array","items":{"type":"number"}},
 "servers":{"type":"array","items":{"type":"object","title":"Server","required":["host"],"properties":{"host":{"type":"string"},"port":{"type":"integer"},"token":{"type":"string","format":"password"}}}},
 "env":{"type":"object","additionalProperties":{"type":"string"}},
 "limits":{"type":"object","properties":{"cpu":{"type":"number"},"deep":{"$ref":"#/$defs/deep"}}},
 "any":{},
 "pair":{"type":"array","prefixItems":[{"type":"string"},{"type":"integer"}]},
 "back":{"oneOf":[{"title":"Local","properties":{"type":{"const":"local"},"dir":{"type":"string"},"name":{"type":"string"}},"required":["type"]},
                  {"title":"Remote","properties":{"type":{"const":"remote"},"url":{"type":"string"},"name":{"type":"string"}},"required":["type"]}]},
 "maybe":{"anyOf":[{"type":"string"},{"type":"null"}]},
 "union":{"type":["string","integer"]}
},"$defs":{"deep":{"type":"object","properties":{"x":{"type":"integer"},"again":{"$ref":"#/$defs/deep"}}}}}`

// generator makes configs for the schema above with the traits that real configs have.
type generator struct{ *rand.Rand }

func (g generator) pick(of ...string) string { return of[g.IntN(len(of))] }

func (g generator) text() string {
	return g.pick(`""`, `"a"`, `"  spaces  "`, `"ünï"`, `"a\nb"`, `"a\r\nb\n"`, `"\n"`, `"\r"`, `"<b>&amp;\"'"`, `"a\tb"`, `"null"`, `"true"`, `"12"`,
		`"\u0000x"`, `"\u2028"`, `"😀"`, `"a\\b"`, `"**"`, `"&#10;"`)
}

func (g generator) number() string {
	return g.pick("0", "-0", "1", "1.0", "1e2", "1E+2", "9007199254740993", "12345678901234567890", "0.1", "-1.50", "1e-7")
}

func (g generator) config() string {
	type member struct{ name, value string }
	members := []member{{"name", g.text()}}
	maybe := func(name string, value func() string) {
		if g.IntN(3) == 0 {
			members = append(members, member{name, value()})
		}
	}
	list := func(of func() string) func() string {
		return func() string {
			items := []string{}
			for range g.IntN(4) {
				items = append(items, of())
			}
			return "[" + strings.Join(items, ",") + "]"
		}
	}
	maybe("note", g.text)
	maybe("count", func() string { return g.pick("3", "0", "1.0", "1e2", "9007199254740993") })
	maybe("ratio", g.number)
	maybe("big", func() string { return g.pick("null", "12345678901234567890", "7") })
	maybe("on", func() string { return g.pick("true", "false") })
	maybe("mode", func() string { return g.pick(`"fast"`, `"slow"`, "1", "1.0", "2.5", "null") })
	maybe("level", func() string { return g.pick("1", "2", "2.0") })
	maybe("day", func() string { return `"2026-01-31"` })
	maybe("at", func() string { return g.pick(`"12:30"`, `"12:30:00Z"`) })
	for _, name := range []string{"mail", "site", "day", "at", "when", "long", "maybe"} {
		maybe(name, g.text)
	}
	maybe("key", func() string { return g.pick(`""`, `"sk-planted-1"`) })
	maybe("tags", list(g.text))
	maybe("numbers", list(g.number))
	maybe("servers", list(func() string {
		return `{"port":1,"host":` + g.text() + g.pick("", `,"token":"sk-planted-2"`, `,"token":""`) + g.pick("", `,"unknown":[1.0,null]`) + "}"
	}))
	maybe("env", func() string { return `{"B":` + g.text() + `,"A/b~c":` + g.text() + `,"":"e"}` })
	maybe("limits", func() string {
		return g.pick("{}", `{"cpu":1.50}`, `{"deep":{"again":{"x":1,"again":{}},"x":2,"zz":{"b":1,"a":2.0}}}`)
	})
	maybe("any", func() string { return g.pick("1.0", `"x"`, "null", `[1,{"b":1,"a":[]}]`, "{}", "[]", "true") })
	maybe("pair", func() string { return `["x",1]` })
	maybe("back", func() string { return g.pick(`{"type":"local","dir":"d"}`, `{"url":"u","type":"remote","extra":1.0}`) })
	maybe("union", func() string { return g.pick("1", `"1"`) })
	for i := range g.IntN(3) {
		members = append(members, member{fmt.Sprintf("unknown %d/~", i), g.pick("1.0", "null", `{"z":1,"a":2}`, `"\n"`)})
	}
	g.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	var b strings.Builder
	seen := map[string]bool{}
	for _, m := range members {
		if seen[m.name] {
			continue
		}
		if len(seen) > 0 {
			b.WriteString(",")
		}
		seen[m.name] = true
		name, _ := json.Marshal(m.name)
		b.WriteString(string(name) + ":" + m.value)
	}
	return "{" + b.String() + "}"
}

// configs is how many configs the round trip is tried with.
const configs = 465

func TestUntouchedFormChangesNoByte(t *testing.T) {
	s := newSite(t, fake{"p": everything})
	g := generator{rand.New(rand.NewPCG(1, 2))}
	for i := range configs {
		config := g.config()
		s.save("c_p", config)
		before := s.stored("c_p")
		paths := []string{"/plugins/c_p/", "/plugins/c_p/json"}
		for _, path := range paths[:1+(i%5)/4] {
			if got := s.post(path, s.get(path).values(t)); got.Code != http.StatusSeeOther {
				t.Fatalf("config %d %s: %d %s", i, config, got.Code, text(got.page))
			}
			if after := s.stored("c_p"); after != before {
				t.Fatalf("config %d was changed by sending %s back:\n%s\n%s", i, path, before, after)
			}
		}
	}
}

func TestItemsAddedAndLeftEmptyAreNotSaved(t *testing.T) {
	s := newSite(t, fake{"p": everything})
	g := generator{rand.New(rand.NewPCG(3, 4))}
	for i := range 60 {
		s.save("c_p", g.config())
		before := s.stored("c_p")
		page := s.get("/plugins/c_p/")
		for _, label := range []string{"Add to tags", "Add to servers", "Add to env"} {
			page = s.post("/plugins/c_p/", page.press(t, label))
			if page.Code != http.StatusOK {
				t.Fatalf("%d %s", page.Code, page.body)
			}
		}
		if got := s.post("/plugins/c_p/", page.values(t)); got.Code != http.StatusSeeOther {
			t.Fatalf("config %d: %d %s", i, got.Code, text(got.page))
		}
		want := before
		for _, empty := range []string{`"tags":[]`, `"servers":[]`, `"env":{}`} {
			if name, _, _ := strings.Cut(empty, ":"); !strings.Contains(before, name+":") {
				want = want[:len(want)-1] + "," + empty + "}"
			}
		}
		if after := s.stored("c_p"); after != want {
			t.Fatalf("config %d: added and left empty:\n%s\n%s", i, want, after)
		}
	}
}

func TestEditingOneFieldChangesThatFieldOnly(t *testing.T) {
	s := newSite(t, fake{"p": everything})
	g := generator{rand.New(rand.NewPCG(5, 6))}
	edits := []struct{ name, typed, stored string }{
		{"count", "41", "41"}, {"ratio", "1.50", "1.50"}, {"note", "new", `"new"`}, {"on", "false", "false"}, {"mode", `"slow"`, `"slow"`},
		{"mail", "a@b.example", `"a@b.example"`}, {"big", "9007199254740995", "9007199254740995"}, {"any", `{"b":1.0,"a":[]}`, `{"b":1.0,"a":[]}`},
		{"level", "1", "1"}, {"name", "other", `"other"`}, {"ratio", "1e2", "1e2"}, {"long", "one\r\ntwo", `"one\ntwo"`},
	}
	for i := range configs {
		edit := edits[i%len(edits)]
		s.save("c_p", g.config())
		before := s.stored("c_p")
		values := s.get("/plugins/c_p/").values(t)
		values.Set("v:/"+edit.name, edit.typed)
		values.Del("n:/" + edit.name)
		if got := s.post("/plugins/c_p/", values); got.Code != http.StatusSeeOther {
			t.Fatalf("config %d, %s: %d %s", i, edit.name, got.Code, text(got.page))
		}
		stored := edit.stored
		if edit.name == "long" && strings.Contains(before, `"long":"a\r\nb\n"`) {
			stored = `"one\r\ntwo"` // the line ends that it had
		}
		if edit.name == "level" && strings.Contains(before, `"level":1`) {
			continue
		}
		if after, want := s.stored("c_p"), replaced(t, before, edit.name, stored); after != want {
			t.Fatalf("config %d, %s:\nbefore %s\nafter  %s\nwant   %s", i, edit.name, before, after, want)
		}
	}
}

// replaced sets a member at the top level of a text and leaves the rest as it is.
func replaced(t *testing.T, config, name, value string) string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(config))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	var members []string
	found := false
	for d.More() {
		from := d.InputOffset()
		key, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		keyText := strings.TrimLeft(config[from:d.InputOffset()], ",")
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			t.Fatal(err)
		}
		if key == name {
			raw, found = json.RawMessage(value), true
		}
		members = append(members, keyText+":"+string(raw))
	}
	if !found {
		members = append(members, `"`+name+`":`+value)
	}
	return "{" + strings.Join(members, ",") + "}"
}

// BenchmarkForm is the page of a form of 200 controls, and its size.
func BenchmarkForm(b *testing.B) {
	var properties strings.Builder
	for i := range 200 {
		fmt.Fprintf(&properties, `,"setting_%d":{"type":"%s","title":"Setting %d","description":"What setting %d is for.","default":1}`, i, []string{"integer", "boolean", "number"}[i%3], i, i)
	}
	reg := registry.New(memory.New(), registry.WithPlaintextSecrets())
	if _, err := reg.RegisterManager(b.Context(), "c", fake{"p": `{"type":"object","properties":{"name":{"type":"string"}` + properties.String() + `}}`}); err != nil {
		b.Fatal(err)
	}
	h := New(reg)
	defer h.Close()
	size := 0
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/plugins/c_p/", nil))
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
		size = w.Body.Len()
	}
	b.ReportMetric(float64(size), "bytes/page")
}
