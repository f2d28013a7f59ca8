package schema_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/internal/schema"
)

// Without "$schema" the newest keyword tells the draft; nothing is half enforced.
func TestDraftByKeywords(t *testing.T) {
	runChecks(t, []check{
		{"prefixItems", `{"properties":{"a":{"prefixItems":[{"type":"null"}],"items":false}}}`, `{"a":[1,2]}`, "/a/0 type, /a/1 items"},
		{"$ref with siblings beside $defs", `{"properties":{"a":{"$ref":"#/$defs/s","maxLength":1}},"$defs":{"s":{"type":"string"}}}`, `{"a":"xx"}`, "/a maxLength"},
		{"dependentRequired", `{"dependentRequired":{"a":["b"]}}`, `{"a":1}`, " dependentRequired"},
		{"dependentSchemas", `{"dependentSchemas":{"a":{"required":["b"]}}}`, `{"a":1}`, " required"},
		{"unevaluatedProperties", `{"allOf":[{"properties":{"a":{}}}],"unevaluatedProperties":false}`, `{"a":1,"b":1}`, "/b unevaluatedProperties"},
		{"unevaluatedItems", `{"properties":{"a":{"prefixItems":[true],"unevaluatedItems":false}}}`, `{"a":[1,2]}`, "/a/1 unevaluatedItems"},
		{"minContains", `{"properties":{"a":{"contains":{"const":1},"minContains":2}}}`, `{"a":[1]}`, "/a minContains"},
		{"$anchor", `{"properties":{"a":{"$ref":"#s"}},"definitions":{"s":{"$anchor":"s","type":"null"}}}`, `{"a":1}`, "/a type"},
		{"$dynamicRef", `{"$dynamicAnchor":"n","properties":{"v":{"type":"null"},"a":{"$dynamicRef":"#n"}}}`, `{"a":{"v":1}}`, "/a/v type"},
		{"$recursiveRef", `{"properties":{"v":{"type":"null"},"a":{"$recursiveRef":"#"}}}`, `{"a":{"v":1}}`, "/a/v type"},
		{"an array of items beside newer keywords", `{"properties":{"a":{"items":[{"$ref":"#/$defs/s","maxLength":1}],"additionalItems":false}},"$defs":{"s":{}}}`, `{"a":["xx",1]}`, "/a additionalItems, /a/0 maxLength"},
		{"deep inside", `{"properties":{"o":{"anyOf":[{"properties":{"a":{"dependentRequired":{"x":["y"]}}}}]}}}`, `{"o":{"a":{"x":1}}}`, "/o/a dependentRequired"},
		{"$vocabulary", `{"$vocabulary":{"https://example.com/v":true},"properties":{"a":{"$ref":"#/definitions/s","maxLength":1}},"definitions":{"s":{}}}`, `{"a":"xx"}`, "/a maxLength"},
		{"a draft that nobody knows", `{"$schema":"https://example.com/meta","dependentRequired":{"a":["b"]}}`, `{"a":1}`, " dependentRequired"},
		{"a property named like one", `{"properties":{"prefixItems":{"$ref":"#/definitions/s","maxLength":1}},"definitions":{"s":{}}}`, `{"prefixItems":"xx"}`, ""},
		{"only old ones", `{"properties":{"a":{"$ref":"#/definitions/s","maxLength":1}},"definitions":{"s":{}}}`, `{"a":"xx"}`, ""},
		{"pydantic", `{"$defs":{"Mode":{"enum":["fast","slow"],"type":"string"}},"properties":{"mode":{"$ref":"#/$defs/Mode","default":"fast"},"size":{"anyOf":[{"type":"integer"},{"type":"null"}],"default":null}},"type":"object"}`,
			`{"mode":"x","size":"y"}`, "/mode enum, /size anyOf"},
	}, func(t *testing.T, err error) {
		if err != nil {
			t.Errorf("Err() = %v", err)
		}
	})
}

// Lookaheads at the start of a pattern, and repeats that RE2 has not.
func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern   string
		good, bad []string
		err       bool
	}{
		{`^(?!builtin\.)[a-z.]+$`, []string{"a.b", "built"}, []string{"!!", "builtin.x", ""}, false},
		{`^(?=.*[A-Z])(?=.*\d).{4,}$`, []string{"aB3x", "3333Z"}, []string{"abcd", "B3", "ABCD"}, false},
		{`^(?!.*--)(?!-)[a-z-]+(?:x|y)$`, []string{"a-bx"}, []string{"a--bx", "-ax", "a-b"}, false},
		{`^(?!a|b)`, []string{"c", ""}, []string{"a", "bx"}, false},
		{`^(?![\(\)[]x)[^)]+$`, []string{"(y", "ax"}, []string{"(x", ")"}, false},
		{`^(?!a)b|c`, []string{"a", "x"}, nil, true},
		{`^x(?!a)`, []string{"xa"}, nil, true},
		{`(?!a)b`, []string{"a"}, nil, true},
		{`^(?!(?=x)y)z`, []string{"q"}, nil, true},
		{`^(?!x)*y`, []string{"q"}, nil, true},
		{`^(a)\1$`, []string{"ab"}, nil, true},
		{`^[a-z]{0,5000}$`, []string{"", strings.Repeat("a", 5000)}, []string{strings.Repeat("a", 5001), "A"}, false},
		{`^(?:ab){1001}$`, []string{strings.Repeat("ab", 1001)}, []string{strings.Repeat("ab", 1000), strings.Repeat("ab", 1002)}, false},
		{`^\d{1500,}$`, []string{strings.Repeat("1", 1500), strings.Repeat("1", 4000)}, []string{strings.Repeat("1", 1499)}, false},
		{`^.{2,1200}x{1}$`, []string{"aax", strings.Repeat("a", 1200) + "x"}, []string{"ax", strings.Repeat("a", 1201) + "x"}, false},
		{`^\u0041{1001}$`, []string{strings.Repeat("A", 1001)}, []string{"A{1001}"}, false},
		{`^[{]{2000}$`, []string{strings.Repeat("{", 2000)}, []string{"{"}, false},
		{`^a{,2000}$`, []string{"a{,2000}"}, []string{"a"}, false},
	} {
		text, _ := json.Marshal(tt.pattern)
		s := schema.Compile(fmt.Appendf(nil, `{"properties":{"a":{"pattern":%s}}}`, text), schema.Options{})
		if (s.Err() != nil) != tt.err {
			t.Errorf("%s: %v", tt.pattern, s.Err())
		}
		check := func(value string, want bool) {
			config, _ := json.Marshal(map[string]string{"a": value})
			if issues := s.Validate(config); (issues == nil) != want {
				t.Errorf("%s and %.40q (%d bytes): %v", tt.pattern, value, len(value), issues)
			}
		}
		for _, value := range tt.good {
			check(value, true)
		}
		for _, value := range tt.bad {
			check(value, false)
		}
	}
}

// A pattern that takes too long on a text is an issue, at once; long texts that cost little are none.
func TestPatternBudget(t *testing.T) {
	s := schema.Compile([]byte(`{"properties":{"a":{"pattern":"a.{0,999}b"},"l":{"items":{"pattern":"a.{0,99}b"}}},"patternProperties":{"(x.{0,300}){3}y":{}}}`), schema.Options{})
	for name, config := range map[string]string{
		"one text":   `{"a":"` + strings.Repeat("a", 1<<20) + `"}`,
		"many texts": `{"l":[` + many(3000, func(int) string { return `"` + strings.Repeat("a", 200) + `"` }) + `]}`,
		"a name":     `{"` + strings.Repeat("x", 1<<20) + `":1}`,
	} {
		if issues := s.Validate([]byte(config)); len(issues) != 1 || !strings.Contains(issues[0].Message, "too costly") {
			t.Errorf("%s: %.200v", name, issues)
		}
	}
	if issues := s.Validate([]byte(`{"a":"a-b"}`)); issues != nil {
		t.Error(issues)
	}
	long := `{"a":"` + strings.Repeat("x", 12<<20) + `"}`
	for _, text := range []string{
		`{"properties":{"a":{"anyOf":[{"type":"integer"},{"type":"null"},{"maxLength":3},{"enum":["x"]},{"const":1},{"type":"string"}]}}}`,
		`{"properties":{"a":{"pattern":"."}}}`,
	} {
		if issues := schema.Compile([]byte(text), schema.Options{}).Validate([]byte(long)); issues != nil {
			t.Errorf("%s: %v", text, issues)
		}
	}
}

// What stands beside a $ref that is left out does not count before 2019-09, as if it had led somewhere.
func TestBesideLeftOutRef(t *testing.T) {
	for _, tt := range []struct{ schema, good, bad string }{
		{`{"properties":{"a":{"$ref":"https://example.com/x.json","type":"object"}}}`, `{"a":"s"}`, ``},
		{`{"properties":{"a":{"$ref":"#/definitions/none","const":1,"minProperties":5,"required":["x"]},"b":{"$ref":"#/properties/a/definitions/d"},"c":{"$ref":"%zz","enum":[1]}}}`, `{"a":{},"c":2}`, ``},
		{`{` + d2020 + `"properties":{"a":{"$ref":"https://example.com/x.json","type":"object"}}}`, `{"a":{}}`, `{"a":"s"}`},
		{`{` + d4 + `"properties":{"a":{"$ref":"#/nowhere","additionalProperties":false,"definitions":{"d":{"type":"null"}}},"b":{"$ref":"#/properties/a/definitions/d"}}}`, `{"a":{"x":1},"b":null}`, `{"b":1}`},
	} {
		s := schema.Compile([]byte(tt.schema), schema.Options{})
		if issues := s.Validate([]byte(tt.good)); issues != nil || s.Err() == nil {
			t.Errorf("%s: %v, Err %v", tt.schema, issues, s.Err())
		}
		if tt.bad != "" && s.Validate([]byte(tt.bad)) == nil {
			t.Errorf("%s allows %s", tt.schema, tt.bad)
		}
	}
}

// Documents are read for the references that name them, and for those in them.
func TestDocuments(t *testing.T) {
	docs := map[string]json.RawMessage{
		"https://example.com/key.json":    json.RawMessage(`{"type":"string","writeOnly":true,"minLength":2}`),
		"https://example.com/other.json":  json.RawMessage(`{"definitions":{"o":{"properties":{"k":{"$ref":"key.json"},"n":{"default":1,"type":"text"}}}}}`),
		"relative.json":                   json.RawMessage(`{"$defs":{"x":{"$anchor":"x","prefixItems":[{"type":"null"}]}}}`),
		"https://example.com/anything":    json.RawMessage(`{"$id":"https://example.com/id.json","id":"urn:example:old","type":"null"}`),
		"https://example.com/broken.json": json.RawMessage(`{"type":`),
		"https://example.com/plain":       json.RawMessage(`{"$schema":"https://json-schema.org/draft/2020-12/schema","$vocabulary":{"https://json-schema.org/draft/2020-12/vocab/applicator":true}}`),
	}
	s := schema.Compile([]byte(`{"properties":{"o":{"$ref":"https://example.com/other.json#/definitions/o"},"r":{"$ref":"relative.json#x"},"i":{"$ref":"https://example.com/id.json"},
		"b":{"$ref":"https://example.com/broken.json"},"none":{"$ref":"https://example.com/none.json"}}}`), schema.Options{Documents: docs})
	if got := places(s.Validate([]byte(`{"o":{"k":"x"},"r":[1],"i":1,"b":1,"none":1}`))); got != "/o/k minLength, /r/0 type, /i type" {
		t.Errorf("%s, Err %v", got, s.Err())
	}
	for _, want := range []string{`"/properties/none/$ref" refers to another document`, `"/properties/b/$ref"`, `"/definitions/o/properties/n/type" of the document "https://example.com/other.json"`} {
		if !strings.Contains(fmt.Sprint(s.Err()), want) {
			t.Errorf("%q is not in %v", want, s.Err())
		}
	}
	config := parse(t, `{"o":{"k":"secret"}}`)
	if got := fmt.Sprint(s.Secrets(config)); got != "[/o/k]" {
		t.Error(got)
	}
	if out, issues := s.Complete(t.Context(), config); issues != nil || out.At("/o/n") == nil {
		t.Errorf("%s, %v", out.Append(nil), issues)
	}
	s = schema.Compile([]byte(`{"$schema":"https://example.com/plain","properties":{"a":{"type":"null","minimum":5},"b":false}}`), schema.Options{Documents: docs})
	if got := places(s.Validate([]byte(`{"a":1,"b":1}`))); got != "/b properties" || s.Err() != nil {
		t.Errorf("a metaschema without validation: %s, %v", got, s.Err())
	}
}

// What looks wrong is named, and what people mean is done.
func TestNamed(t *testing.T) {
	for _, tt := range []struct{ name, schema, config, issues, err string }{
		{"required with a condition", `{"properties":{"a":{"type":"string","required":true,"condition":{"functionBody":"return true"}},"b":{"required":true}}}`, `{}`, " required", ""},
		{"required with a condition beside a ref", `{"properties":{"a":{"$ref":"#/definitions/r","condition":"x"}},"definitions":{"r":{"required":true}}}`, `{}`, "", ""},
		{"a default of the wrong type", `{"properties":{"a":{"type":"integer","default":"5"}}}`, `{}`, "", "/properties/a/default"},
		{"a default that is null", `{"properties":{"a":{"type":"string","default":null}}}`, `{}`, "", "/properties/a/default"},
		{"a default of an object", `{"properties":{"o":{"type":"object","required":["x"],"default":{"y":1}}}}`, `{}`, "", "/properties/o/default"},
		{"a default in an item", `{"properties":{"l":{"items":{"type":"null","default":1}}}}`, `{}`, "", "/properties/l/items/default"},
		{"a default at the root", `{"default":{"a":1},"properties":{"a":{}}}`, `{}`, "", "/default"},
		{"a wrapper of homebridge", `{"pluginAlias":"X","pluginType":"platform","singular":true,"schema":{"type":"object","properties":{"a":{"type":"string"}}}}`, `{"a":1}`, "", "/schema"},
		{"a wrapper of Airbyte", `{"documentationUrl":"https://example.com","connectionSpecification":{"type":"object","properties":{"a":{"type":"string"}}}}`, `{"a":1}`, "", "/connectionSpecification"},
		{"a property called schema", `{"properties":{"schema":{"type":"object","properties":{"a":{"type":"null"}}}}}`, `{"schema":{"a":1}}`, "/schema/a type", ""},
		{"a bare map with one called schema", `{"schema":{"type":"string"},"host":{"type":"string"}}`, `{"schema":1}`, "/schema type", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := schema.Compile([]byte(tt.schema), schema.Options{})
			if got := places(s.Validate([]byte(tt.config))); got != tt.issues {
				t.Errorf("got %s, want %s", got, tt.issues)
			}
			if (tt.err == "") != (s.Err() == nil) || !strings.Contains(fmt.Sprint(s.Err()), tt.err) {
				t.Errorf("Err() = %v, want %q in it", s.Err(), tt.err)
			}
		})
	}
}

// The marks of other systems, and marks that are hard to find.
func TestMarks(t *testing.T) {
	const s = `{"writeOnly":true}`
	own := schema.Options{SecretMark: func(keyword string, value json.RawMessage) bool {
		return keyword == "x-vault" && string(value) == `{"path":"k"}`
	}}
	for _, tt := range []struct{ name, schema, config, want string }{
		{"all marks", `{"properties":{"a":{"visibility":"secret"},"b":{"x-schema-form":{"type":"password"}},"c":{"ui:widget":"password"},"d":{"sensitive":true},"e":{"x-sensitive":"yes"},"f":{"secret":true},"g":{"ui:options":{"widget":"password"}},"h":{"x-vault":{"path":"k"}}}}`,
			`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1}`, "/a /b /c /d /e /f /g /h"},
		{"no marks", `{"properties":{"a":{"visibility":"frontend"},"b":{"x-schema-form":{"type":"text"}},"c":{"ui:widget":"textarea"},"d":{"sensitive":false},"e":{"x-sensitive":null},"f":{"secret":"true"},"g":{"x-vault":{}},"h":{"enum":[{"secret":true}]},"secret":{}}}`,
			`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"secret":true}`, ""},
		{"$anchor without $schema", `{"properties":{"a":{"$ref":"#k"}},"definitions":{"k":{"$anchor":"k","writeOnly":true}}}`, `{"a":1}`, "/a"},
		{"$anchor in draft-07", `{` + d7 + `"properties":{"a":{"$ref":"#k"}},"definitions":{"k":{"$anchor":"k","writeOnly":true}}}`, `{"a":1}`, "/a"},
		{"$dynamicRef without $schema", `{"$dynamicAnchor":"n","properties":{"k":` + s + `,"a":{"$dynamicRef":"#n"}}}`, `{"a":{"k":1}}`, "/a/k"},
		{"$dynamicRef to what only it finds", `{` + d2020 + `"$id":"https://e.com/r","$ref":"list","$defs":{"list":{"$id":"list","properties":{"a":{"$dynamicRef":"#it"}},"$defs":{"d":{"$dynamicAnchor":"it"}}},"d":{"$dynamicAnchor":"it","writeOnly":true}}}`, `{"a":1}`, "/a"},
		{"a loop that is cut", `{"properties":{"a":{"$ref":"#/definitions/p/allOf/0"}},"definitions":{"p":{"allOf":[{"$ref":"#/definitions/p"}],"properties":{"k":` + s + `}}}}`, `{"a":{"k":1}}`, "/a/k"},
		{"beside a ref in draft-07", `{"properties":{"a":{"$ref":"#/definitions/k","properties":{"k":` + s + `},"additionalProperties":` + s + `}},"definitions":{"k":{}}}`, `{"a":{"k":1,"l":1}}`, "/a/k /a/l"},
		{"dependentSchemas in draft-07", `{` + d7 + `"dependentSchemas":{"x":{"properties":{"k":` + s + `}}}}`, `{"k":1}`, "/k"},
		{"unevaluatedProperties in draft-07", `{` + d7 + `"properties":{"a":{"unevaluatedProperties":` + s + `}}}`, `{"a":{"k":1}}`, "/a/k"},
		{"prefixItems in draft-07", `{` + d7 + `"properties":{"a":{"prefixItems":[` + s + `]}}}`, `{"a":[1]}`, "/a/0"},
		{"an array of items in 2020-12", `{` + d2020 + `"properties":{"a":{"items":[{},` + s + `]}}}`, `{"a":[1,2]}`, "/a/0 /a/1"},
		{"if in draft-06", `{` + d6 + `"if":{"properties":{"k":` + s + `}}}`, `{"k":1}`, "/k"},
		{"under not that is left out", `{"not":{"properties":{"k":{"writeOnly":true,"pattern":"(?<=x)"}}}}`, `{"k":1}`, "/k"},
		{"by a ref under not that is left out", `{"not":{"pattern":"(?<=x)","properties":{"k":{"$ref":"#/definitions/s"}}},"definitions":{"s":` + s + `}}`, `{"k":1}`, "/k"},
		{"in oneOf that is left out", `{"anyOf":[{}],"oneOf":[{"pattern":"(?<=x)"},{"properties":{"k":` + s + `}}]}`, `{"k":1}`, "/k"},
		{"additionalProperties that is left out", `{"patternProperties":{"(?<=x)":{}},"additionalProperties":` + s + `}`, `{"k":1}`, "/k"},
		{"nullable", `{"properties":{"a":{"nullable":true,"allOf":[{"properties":{"k":` + s + `}}]}}}`, `{"a":{"k":1}}`, "/a/k"},
		{"contentSchema", `{` + d2020 + `"properties":{"a":{"contentMediaType":"application/json","contentSchema":{"properties":{"k":` + s + `}}}}}`, `{"a":"{}"}`, "/a"},
		{"extends of draft-03", `{"properties":{"a":{"extends":` + s + `},"b":{"extends":[{},{"properties":{"k":` + s + `}}]}}}`, `{"a":1,"b":{"k":1}}`, "/a /b/k"},
		{"unevaluatedItems", `{` + d2020 + `"properties":{"a":{"unevaluatedItems":` + s + `}}}`, `{"a":[1]}`, "/a/0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := schema.Compile([]byte(tt.schema), own)
			if got := strings.Join(s.Secrets(parse(t, tt.config)), " "); got != tt.want || !s.KnowsSecrets() {
				t.Errorf("got %q, want %q; KnowsSecrets() = %v, Err %v", got, tt.want, s.KnowsSecrets(), s.Err())
			}
		})
	}
}

// What nobody can follow, in a schema that speaks of secrets, is said.
func TestKnowsSecrets(t *testing.T) {
	const secret = `"k":{"writeOnly":true}`
	for text, want := range map[string]bool{
		`{"properties":{` + secret + `}}`:                                                                                         true,
		`{"properties":{"a":{"$ref":"https://example.com/x.json"}}}`:                                                              true, // it does not speak of any
		`{"properties":{` + secret + `,"a":{"$ref":"https://example.com/x.json"}}}`:                                               false,
		`{"properties":{` + secret + `,"a":{"$ref":"#/definitions/none"}}}`:                                                       false,
		`{"properties":{` + secret + `,"a":{"$ref":"#none"}}}`:                                                                    false,
		`{` + d2020 + `"properties":{` + secret + `,"a":{"$dynamicRef":"#none"}}}`:                                                false,
		`{"properties":{"a":{"$ref":"https://example.com/x.json","writeOnly":true}}}`:                                             true,
		`{"connectionSpecification":{"type":"object","properties":{"k":{"type":"string","airbyte_secret":true}}}}`:                false,
		`{"schema":{"type":"object","properties":{"k":{"type":"string","x-schema-form":{"type":"password"}}}},"pluginAlias":"X"}`: false,
		`{"schema":{"type":"object","properties":{"k":{"type":"string"}}},"pluginAlias":"X"}`:                                     true,
		nested(200, `{"allOf":[`, `{"properties":{`+secret+`}}`, `]}`):                                                            false,
		`[]`: false, `{`: false,
	} {
		if s := schema.Compile([]byte(text), schema.Options{}); s.KnowsSecrets() != want {
			t.Errorf("%.200s: KnowsSecrets() = %v, Err %v", text, s.KnowsSecrets(), s.Err())
		}
	}
}
