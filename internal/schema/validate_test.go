package schema_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/internal/schema"
)

// check is a schema, a config and what Validate must say of it: "pointer keyword" of each issue, in order.
type check struct {
	name, schema, config string
	want                 string
}

func runChecks(t *testing.T, checks []check, wantErr func(*testing.T, error)) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			s := schema.Compile([]byte(c.schema), schema.Options{})
			if !s.Usable() {
				t.Fatalf("not usable: %v", s.Err())
			}
			wantErr(t, s.Err())
			if got := places(s.Validate([]byte(c.config))); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func places(issues []schema.Issue) string {
	var list []string
	for _, i := range issues {
		if i.Message == "" {
			list = append(list, "NO MESSAGE")
		}
		list = append(list, i.Pointer+" "+i.Keyword)
	}
	return strings.Join(list, ", ")
}

const (
	d4    = `"$schema":"http://json-schema.org/draft-04/schema#",`
	d6    = `"$schema":"http://json-schema.org/draft-06/schema#",`
	d7    = `"$schema":"https://json-schema.org/draft-07/schema",`
	d2019 = `"$schema":"https://json-schema.org/draft/2019-09/schema",`
	d2020 = `"$schema":"https://json-schema.org/draft/2020-12/schema#",`
)

// TestProper has schemas that follow their drafts: they are enforced to the letter and Err says nothing.
func TestProper(t *testing.T) {
	runChecks(t, []check{
		{"empty schema", `{}`, `{"a":1}`, ""},
		{"type", `{"properties":{"a":{"type":"integer"}}}`, `{"a":"1"}`, "/a type"},
		{"1.0 is an integer", `{"properties":{"a":{"type":"integer"}}}`, `{"a":1.0}`, ""},
		{"every issue, in the order of the config", `{"properties":{"a":{"type":"integer"},"b":{"minLength":3,"pattern":"^x"},"c":{"enum":[1,2]}},"required":["d","e"]}`,
			`{"c":3,"b":"y","a":null}`, " required,  required, /c enum, /b minLength, /b pattern, /a type"},
		{"additionalProperties", `{"properties":{"a":{}},"patternProperties":{"^x":{"type":"null"}},"additionalProperties":false}`,
			`{"z/1":1,"a":1,"x1":1,"y~":1}`, "/z~11 additionalProperties, /x1 type, /y~0 additionalProperties"},
		{"additionalProperties as a schema", `{"additionalProperties":{"type":"string"}}`, `{"a":"b","c":1}`, "/c type"},
		{"required in a nested object", `{"properties":{"o":{"required":["x"]}}}`, `{"o":{}}`, "/o required"},
		{"minProperties and maxProperties", `{"minProperties":2,"properties":{"a":{"maxProperties":0}}}`, `{"a":{"b":1}}`,
			" minProperties, /a maxProperties"},
		{"dependencies", `{"dependencies":{"a":["b"],"c":{"required":["d"]}}}`, `{"a":1,"c":1}`, " dependencies,  required"},
		{"dependentRequired", `{` + d2019 + `"dependentRequired":{"a":["b"]},"dependentSchemas":{"a":{"maxProperties":0}}}`, `{"a":1}`,
			" dependentRequired,  maxProperties"},
		{"dependentRequired is unknown to draft-07", `{` + d7 + `"dependentRequired":{"a":["b"]}}`, `{"a":1}`, ""},
		{"if then else", `{"if":{"properties":{"a":{"const":1}}},"then":{"required":["b"]},"else":{"required":["c"]}}`, `{"a":1}`, " required"},
		{"if is unknown to draft-06", `{` + d6 + `"if":{},"then":{"required":["b"]}}`, `{"a":1}`, ""},
		{"const and propertyNames are meant in draft-04", `{` + d4 + `"properties":{"a":{"const":1},"b":{"propertyNames":{"maxLength":1}},"c":{"contains":{"const":1}}}}`, `{"a":2,"b":{"xx":1},"c":[2]}`,
			"/a const, /b/xx propertyNames, /c contains"},
		{"const", `{"properties":{"a":{"const":{"b":[1]}},"c":{"const":null}}}`, `{"a":{"b":[1.0]},"c":0}`, "/c const"},
		{"exclusiveMaximum of draft-04", `{` + d4 + `"properties":{"a":{"maximum":3,"exclusiveMaximum":true},"b":{"minimum":3,"exclusiveMinimum":false}}}`,
			`{"a":3,"b":3}`, "/a exclusiveMaximum"},
		{"exclusiveMinimum", `{"properties":{"a":{"exclusiveMinimum":3,"minimum":3}}}`, `{"a":3}`, "/a exclusiveMinimum"},
		{"numbers beyond float64", `{"properties":{"a":{"maximum":9007199254740992},"b":{"maximum":9007199254740992}}}`,
			`{"a":9007199254740993,"b":9007199254740992}`, "/a maximum"},
		{"multipleOf", `{"properties":{"a":{"multipleOf":0.01},"b":{"multipleOf":0.01}}}`, `{"a":19.99,"b":19.999}`, "/b multipleOf"},
		{"ref beside others in draft-07", `{"properties":{"a":{"$ref":"#/definitions/s","maxLength":1}},"definitions":{"s":{"type":"string"}}}`,
			`{"a":"long"}`, ""},
		{"what stands beside a ref in draft-07 is no loop", `{"$ref":"#/definitions/x","allOf":[{"$ref":"#"}],"definitions":{"x":{"required":["a"]}}}`, `{}`, " required"},
		{"ref beside others in 2019-09", `{` + d2019 + `"properties":{"a":{"$ref":"#/$defs/s","maxLength":1}},"$defs":{"s":{"type":"string"}}}`,
			`{"a":"long"}`, "/a maxLength"},
		{"ref to the root", `{"properties":{"a":{"$ref":"#"},"b":{"type":"null"}},"additionalProperties":false}`, `{"a":{"a":{"c":1,"b":0}}}`,
			"/a/a/c additionalProperties, /a/a/b type"},
		{"ref at the root", `{"$ref":"#/definitions/x","definitions":{"x":{"required":["a"]}}}`, `{}`, " required"},
		{"ref with escapes", `{"properties":{"a":{"$ref":"#/definitions/p%25q~1r~0%22"}},"definitions":{"p%q/r~\"":{"type":"null"}}}`, `{"a":1}`, "/a type"},
		{"ref to a place that no keyword makes a schema", `{"properties":{"a":{"$ref":"#/components/x/0"}},"components":{"x":[{"$ref":"#/components/y"}],"y":{"type":"null"}}}`,
			`{"a":1}`, "/a type"},
		{"ref into $defs in draft-07", `{"properties":{"a":{"$ref":"#/$defs/x"}},"$defs":{"x":{"properties":{"b":{"type":"null"}}}}}`, `{"a":{"b":1}}`, "/a/b type"},
		{"ref into a part of another ref", `{"properties":{"a":{"$ref":"#/properties/b/properties/c"},"b":{"properties":{"c":{"type":"null"}}}}}`, `{"a":1}`, "/a type"},
		{"$id and relative refs", `{"$id":"http://example.com/root.json","properties":{"a":{"$ref":"item.json"},"b":{"$ref":"http://example.com/item.json#/definitions/d"},"c":{"$ref":"root.json#/definitions/i"}},` +
			`"definitions":{"i":{"$id":"item.json","type":"string","definitions":{"d":{"type":"null"}}}}}`, `{"a":1,"b":1,"c":1}`, "/a type, /b type, /c type"},
		{"the base changes with $id", `{"$id":"http://example.com/","properties":{"a":{"$id":"dir/","properties":{"b":{"$ref":"x.json"}}}},"definitions":{"x":{"$id":"dir/x.json","type":"null"},"y":{"$id":"x.json","type":"string"}}}`,
			`{"a":{"b":1}}`, "/a/b type"},
		{"anchor in $id", `{"properties":{"a":{"$ref":"#foo"}},"definitions":{"x":{"$id":"#foo","type":"null"}}}`, `{"a":1}`, "/a type"},
		{"id of draft-04", `{` + d4 + `"id":"http://example.com/r.json","properties":{"a":{"$ref":"t.json"}},"definitions":{"x":{"id":"t.json","type":"null"}}}`, `{"a":1}`, "/a type"},
		{"$anchor", `{` + d2019 + `"properties":{"a":{"$ref":"#foo"}},"$defs":{"x":{"$anchor":"foo","type":"null"}}}`, `{"a":1}`, "/a type"},
		{"a urn as $id", `{` + d2020 + `"$id":"urn:uuid:deadbeef-1234","properties":{"a":{"$ref":"#/$defs/x"},"b":{"$ref":"urn:uuid:deadbeef-1234#foo"}},"$defs":{"x":{"$anchor":"foo","type":"null"}}}`,
			`{"a":1,"b":1}`, "/a type, /b type"},
		{"ref to a metaschema", `{"properties":{"a":{"$ref":"http://json-schema.org/draft-07/schema#"},"b":{"$ref":"http://json-schema.org/draft-07/schema#/definitions/nonNegativeInteger"}}}`,
			`{"a":{"minLength":-1},"b":-1}`, "/a/minLength minimum, /b minimum"},
		{"$recursiveRef", `{` + d2019 + `"properties":{"a":{"$recursiveRef":"#"}},"additionalProperties":false}`, `{"a":{"b":1}}`, "/a/b additionalProperties"},
		{"$recursiveRef from an extension", `{` + d2019 + `"$id":"http://example.com/strict","$recursiveAnchor":true,"$ref":"tree","unevaluatedProperties":false,` +
			`"$defs":{"tree":{"$id":"tree","$recursiveAnchor":true,"properties":{"kid":{"$recursiveRef":"#"},"v":true}}}}`,
			`{"v":1,"kid":{"w":1}}`, "/kid/w unevaluatedProperties"},
		{"$dynamicRef", `{` + d2020 + `"$id":"http://example.com/strict","$dynamicAnchor":"node","$ref":"tree","unevaluatedProperties":false,` +
			`"$defs":{"tree":{"$id":"tree","$dynamicAnchor":"node","properties":{"kid":{"$dynamicRef":"#node"},"v":true}}}}`,
			`{"v":1,"kid":{"w":1}}`, "/kid/w unevaluatedProperties"},
		{"$dynamicRef to an $anchor", `{` + d2020 + `"properties":{"a":{"$dynamicRef":"#x"}},"$defs":{"x":{"$anchor":"x","type":"null"}}}`, `{"a":1}`, "/a type"},
		{"$dynamicRef by two ways", `{` + d2020 + `"$id":"http://example.com/main","if":{"properties":{"k":{"const":"n"}}},"then":{"$ref":"numbers"},"else":{"$ref":"strings"},"$defs":{` +
			`"list":{"$id":"list","properties":{"l":{"items":{"$dynamicRef":"#it"}}},"$defs":{"d":{"$dynamicAnchor":"it"}}},` +
			`"numbers":{"$id":"numbers","$ref":"list","$defs":{"d":{"$dynamicAnchor":"it","type":"number"}}},` +
			`"strings":{"$id":"strings","$ref":"list","$defs":{"d":{"$dynamicAnchor":"it","type":"string"}}}}}`,
			`{"k":"n","l":["x",1]}`, "/l/0 type"},
		{"unevaluatedProperties and allOf", `{` + d2020 + `"allOf":[{"properties":{"a":true}}],"anyOf":[{"properties":{"b":{"const":1}},"required":["b"]},{"properties":{"c":true}}],"unevaluatedProperties":false}`,
			`{"a":1,"b":2,"c":1,"d":1}`, "/b unevaluatedProperties, /d unevaluatedProperties"},
		{"prefixItems", `{` + d2020 + `"properties":{"a":{"prefixItems":[{"type":"null"}],"items":{"type":"string"}}}}`, `{"a":[1,2,"x"]}`, "/a/0 type, /a/1 type"},
		{"items as an array", `{"properties":{"a":{"items":[{"type":"null"}],"additionalItems":false}}}`, `{"a":[1,2,"x"]}`, "/a additionalItems, /a/0 type"},
		{"unevaluatedItems", `{` + d2020 + `"properties":{"a":{"prefixItems":[true],"unevaluatedItems":false}}}`, `{"a":[1,2]}`, "/a/1 unevaluatedItems"},
		{"contains", `{` + d2019 + `"properties":{"a":{"contains":{"type":"null"},"minContains":2},"b":{"contains":{"const":1},"maxContains":1},"c":{"contains":{"const":1}}}}`,
			`{"a":[null],"b":[1,1],"c":[2]}`, "/a minContains, /b maxContains, /c contains"},
		{"items", `{"properties":{"a":{"minItems":2,"uniqueItems":true},"b":{"maxItems":1},"c":{"uniqueItems":true}}}`, `{"a":[1],"b":[1,2],"c":[1,1.0]}`,
			"/a minItems, /b maxItems, /c uniqueItems"},
		{"not and false", `{"properties":{"a":{"not":{"type":"null"}},"b":false}}`, `{"a":null,"b":1}`, "/a not, /b properties"},
		{"oneOf of required", `{"oneOf":[{"required":["a"]},{"required":["b"]}]}`, `{"a":1,"b":2}`, " oneOf"},
		{"oneOf, none", `{"oneOf":[{"required":["a"]},{"required":["b"]}]}`, `{}`, " oneOf,  required"},
		{"anyOf takes the closest", `{"properties":{"a":{"anyOf":[{"type":"string"},{"type":"object","required":["x"],"properties":{"y":{"type":"null"}}}]}}}`,
			`{"a":{"y":1}}`, "/a anyOf, /a required, /a/y type"},
		{"anyOf of types", `{"properties":{"a":{"anyOf":[{"type":"string"},{"type":"null"}]}}}`, `{"a":1}`, "/a anyOf"},
		{"enum of one in oneOf tells the form", `{"oneOf":[{"properties":{"kind":{"const":"x"},"n":{"type":"string"}}},{"properties":{"kind":{"const":"y"},"n":{"type":"null"}}}]}`,
			`{"kind":"y","n":1}`, " oneOf, /n type"},
		{"properties named like keywords", `{"properties":{"$ref":{"$ref":"#/definitions/s"},"type":{"type":"string"},"required":{"type":"boolean"},"properties":{"type":"object"},"id":{"type":"string"},"title":{"type":"string"},"default":{"type":"null"},"enum":{"type":"array"}},"definitions":{"s":{"type":"string"}}}`,
			`{"$ref":1,"type":1,"required":1,"properties":1,"id":1,"title":1,"default":1,"enum":1}`,
			"/$ref type, /type type, /required type, /properties type, /id type, /title type, /default type, /enum type"},
		{"keywords in const, enum and default", `{"properties":{"a":{"const":{"$ref":"#/nowhere","type":5}},"b":{"enum":[{"required":true}],"default":{"required":true},"examples":[{"pattern":"(?=x)"}]}}}`,
			`{"a":{"$ref":"#/nowhere","type":5},"b":{"required":false}}`, "/b enum"},
		{"dotted and twin names", `{"properties":{"a.b":{"type":"null"},"Host":{"type":"string"},"host":{"type":"integer"}},"additionalProperties":false}`,
			`{"a.b":1,"a":{"b":1},"Host":1,"host":"h"}`, "/a.b type, /a additionalProperties, /Host type, /host type"},
		{"required of the undeclared", `{"properties":{"a":{}},"required":["zz"]}`, `{"a":1}`, " required"},
		{"an empty required", `{` + d4 + `"required":[]}`, `{"a":1}`, ""},
		{"formats are annotations", `{"properties":{"a":{"format":"email"},"b":{"format":"regex"},"c":{"format":"ipv4"}}}`, `{"a":"x","b":"(","c":"y"}`, ""},
		{"no draft of that name", `{"$schema":"http://json-schema.org/schema#","properties":{"a":{"if":true,"then":false}}}`, `{"a":1}`, "/a then"},
		{"a draft from elsewhere", `{"$schema":"http://example.com/mine#","properties":{"a":{"$ref":"#/definitions/s","maxLength":1}},"definitions":{"s":{}}}`, `{"a":"xx"}`, ""},
		{"ECMA-262", `{"properties":{"a":{"pattern":"^\\/\\u0041\\cA[^]$"},"b":{"pattern":"^[\\s\\/\\b]+$"},"c":{"pattern":"^.$"},"d":{"pattern":"^\\d\\w\\S[[]$"},"e":{"pattern":"^[]$"},"f":{"pattern":"^\\ud83d\\ude00\\u{1F600}\\0$"}}}`,
			`{"a":"/A\u0001\n","b":" \u00a0/\b\ufeff","c":"\u2028","d":"1_é[","e":"","f":"😀😀\u0000"}`, "/c pattern, /e pattern"},
	}, func(t *testing.T, err error) {
		if err != nil {
			t.Errorf("Err() = %v", err)
		}
	})
}

// TestPropertyNames checks the place of a bad name below siblings that come after it.
func TestPropertyNames(t *testing.T) {
	for _, draft := range []string{d6, d7, d2019, d2020} {
		s := schema.Compile([]byte(`{`+draft+`"additionalProperties":{"propertyNames":{"pattern":"^[a-z]+$","maxLength":3}}}`), schema.Options{})
		if s.Err() != nil {
			t.Fatal(s.Err())
		}
		config := `{"one":{"A":1,"b":2,"WXYZ":0},"two":{"c":3},"three":{"D":4},"four":{"e":{"F":1}}}`
		got := s.Validate([]byte(config))
		if want := "/one/A propertyNames, /one/WXYZ propertyNames, /three/D propertyNames"; places(got) != want {
			t.Errorf("%s got %s", draft, places(got))
		}
		if m := got[1].Message; !strings.Contains(m, `"^[a-z]+$"`) || !strings.Contains(m, "at most 3 characters") {
			t.Error(m)
		}
	}
	s := schema.Compile([]byte(`{"not":{"propertyNames":{"maxLength":1}},"properties":{"a":{"propertyNames":false}}}`), schema.Options{})
	if got := places(s.Validate([]byte(`{"a":{"b":1}}`))); got != " not, /a/b propertyNames" {
		t.Error(got)
	}
}

// TestMessages checks that messages say what is wanted.
func TestMessages(t *testing.T) {
	s := schema.Compile([]byte(`{"required":["key"],"additionalProperties":false,"properties":{"key":{},"a":{"type":["string","null"]},"b":{"enum":["x",1,null]},
		"c":{"minimum":0.5},"d":{"minLength":1},"e":{"multipleOf":9007199254740993},"f":{"pattern":"^v[0-9]$"},"g":{"const":"only"},"h":{"anyOf":[{"type":"string"},{"type":"array"}]},
		"i":{"type":"integer"},"j":{"exclusiveMaximum":1e30}}}`), schema.Options{})
	got := s.Validate([]byte(`{"a":1,"b":2,"c":0,"d":"","e":1,"f":"x","g":1,"h":1,"i":1.5,"j":1e31,"z":1}`))
	want := []string{
		`the property "key" is missing`, `must be null or a string`, `must be one of "x", 1 or null`, `must be at least 0.5`, `must not be empty`,
		`must be a multiple of 9007199254740993`, `must match the regular expression "^v[0-9]$"`, `must be "only"`,
		`fits none of the allowed forms: it must be a string or it must be an array`, `must be an integer`,
		`must be less than 1000000000000000000000000000000`, `the schema does not know this property: remove it or correct its name`,
	}
	for i, issue := range got {
		if i >= len(want) || issue.Message != want[i] {
			t.Errorf("%s: %s", issue.Pointer, issue.Message)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d issues, want %d", len(got), len(want))
	}
}

// TestStable checks that the same config has the same issues in the same order each time.
func TestStable(t *testing.T) {
	s := schema.Compile([]byte(`{"additionalProperties":{"anyOf":[{"type":"integer","minimum":5},{"type":"string","maxLength":1},{"type":"object","required":["x"]}]},"dependencies":{"a":["q"],"b":["r"],"c":["s"]}}`), schema.Options{})
	config := []byte(`{"a":1,"b":"xx","c":{},"d":2,"e":3}`)
	first := s.Validate(config)
	if len(first) < 8 {
		t.Fatalf("%v", first)
	}
	for range 50 {
		if again := s.Validate(config); !slices.Equal(first, again) {
			t.Fatalf("%v\n%v", first, again)
		}
	}
}

// TestNoValueInMessage checks that no message quotes a value of the config, whatever the keyword.
func TestNoValueInMessage(t *testing.T) {
	const secret = "hunter2"
	s := schema.Compile([]byte(`{"properties":{"a":{"type":"integer"},"b":{"enum":["x"]},"c":{"const":1},"d":{"pattern":"^x$"},"e":{"maxLength":1},"f":{"not":{"type":"string"}},
		"g":{"anyOf":[{"const":"p"},{"pattern":"^q$"}]},"h":{"uniqueItems":true},"i":{"contains":{"const":1}},"j":{"items":{"type":"null"}},"k":false,"l":{"oneOf":[{"type":"string"},{"minLength":1}]}}}`), schema.Options{})
	var members []string
	for _, name := range strings.Split("abcdefgkl", "") {
		members = append(members, fmt.Sprintf(`%q:%q`, name, secret))
	}
	for _, name := range strings.Split("hij", "") {
		members = append(members, fmt.Sprintf(`%q:[%q,%[2]q]`, name, secret))
	}
	issues := s.Validate([]byte("{" + strings.Join(members, ",") + "}"))
	if len(issues) < 13 {
		t.Errorf("only %d issues", len(issues))
	}
	for _, i := range issues {
		if strings.Contains(i.Message, secret) {
			t.Errorf("%s %s tells the value", i.Pointer, i.Keyword)
		}
	}
	for _, bad := range []string{`{"a":"` + secret, `["` + secret + `"]`, secret} {
		for _, i := range s.Validate([]byte(bad)) {
			if strings.Contains(i.Message, secret) {
				t.Error("a message about bad JSON tells the value")
			}
		}
	}
}
