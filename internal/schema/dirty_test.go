package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/internal/schema"
)

// TestDirty has schemas that no draft allows but people write: what can be understood is enforced, and Err names the rest.
func TestDirty(t *testing.T) {
	tests := []struct {
		name, schema string
		good, bad    string // configs; bad may be "" where nothing is enforced
		want         string // places of the issues of bad
		err          string // in Err; "" for no Err
	}{
		{"required true", `{"properties":{"a":{"type":"string","required":true},"b":{"required":false}},"required":["c"]}`,
			`{"a":"x","c":1}`, `{}`, " required,  required", ""},
		{"required true, deep", `{"properties":{"o":{"properties":{"a":{"required":true}}}}}`, `{"o":{"a":1}}`, `{"o":{}}`, "/o required", ""},
		{"required true in definitions", `{"properties":{"o":{"$ref":"#/definitions/o"}},"definitions":{"o":{"properties":{"a":{"required":true}}}}}`,
			`{"o":{"a":1}}`, `{"o":{}}`, "/o required", ""},
		{"required true of a definition", `{"properties":{"a":{"$ref":"#/$defs/x"},"b":{"$ref":"#/$defs/y"}},"$defs":{"x":{"$ref":"#/$defs/z"},"y":{"required":false},"z":{"required":true,"type":"string"}}}`,
			`{"a":"x"}`, `{}`, " required", ""},
		{"required true beside a ref", `{` + d2020 + `"properties":{"a":{"$ref":"#/$defs/x","required":true}},"$defs":{"x":{}}}`, `{"a":1}`, `{}`, " required", ""},
		{"required true twice", `{"required":["a"],"properties":{"a":{"required":true}}}`, `{"a":1}`, `{}`, " required", ""},
		{"bare map", `{"host":{"type":"string","required":true},"port":{"type":"integer"}}`, `{"host":"h","port":1}`, `{"port":"1"}`, " required, /port type", ""},
		{"bare map with names of keywords", `{"type":{"type":"string"},"id":{"type":"string"},"required":{"type":"boolean"},"$ref":{"type":"string"},"title":{"type":"string"},"format":{"enum":["a"]},"default":{"type":"null"}}`,
			`{"type":"x","required":true}`, `{"type":1,"id":1,"required":1,"$ref":1,"title":1,"format":1,"default":1}`,
			"/type type, /id type, /required type, /$ref type, /title type, /format enum, /default type", ""},
		{"bare map with a title", `{"$schema":"http://json-schema.org/draft-07/schema#","title":"My plugin","description":"d","host":{"type":"string"}}`,
			`{"host":"h","title":1}`, `{"host":1}`, "/host type", ""},
		{"bare map of strings", `{"host":"string","port":"integer | null"}`, `{"host":"h","port":null}`, `{"host":1,"port":"x"}`, "/host type, /port type", ""},
		{"bare map with what is no schema", `{"version":2,"host":{"type":"string"}}`, `{"host":"h","version":"x"}`, `{"host":1}`, "/host type", "/version"},
		{"no bare map: a keyword is used", `{"host":{"type":"string"},"minProperties":1}`, `{"host":1}`, `{}`, " minProperties", ""},
		{"no bare map: nothing looks like a schema", `{"x-order":{"type":"string"},"note":{"en":"text"}}`, `{"x-order":1,"note":1}`, "", "", ""},
		{"a string as a schema", `{"properties":{"a":"string","b":"the host to use","c":"Integer"}}`, `{"a":"x","b":1,"c":1}`, `{"a":1,"b":1,"c":"x"}`, "/a type, /c type", "/properties/b"},
		{"types in one string", `{"properties":{"a":{"type":"boolean | string"},"b":{"type":"string, null"},"c":{"type":"string|null"},"d":{"type":"integer or null"},"e":{"type":["string|null","integer"]}}}`,
			`{"a":true,"b":null,"c":"x","d":null,"e":1}`, `{"a":1,"b":1,"c":1,"d":"x","e":true}`, "/a type, /b type, /c type, /d type, /e type", ""},
		{"null in a list of types", `{"properties":{"a":{"type":["string",null]}}}`, `{"a":null}`, `{"a":1}`, "/a type", ""},
		{"words that are no types", `{"properties":{"a":{"type":"text"},"b":{"type":"int","maximum":3},"c":{"type":["string","password"]},"d":{"type":[]},"e":{"type":5},"f":{"type":null}}}`,
			`{"a":1,"b":1,"c":1,"d":1}`, `{"b":4}`, "/b maximum", "/properties/a/type"},
		{"misspelt keywords", `{"propertys":{"a":{"type":"string"}},"properties":{"b":{"minlength":5,"type":"string"}}}`, `{"a":1,"b":"x"}`, `{"b":1}`, "/b type", ""},
		{"wrong kinds of values", `{"minProperties":"2","required":"a","properties":{"a":{"minimum":"5","enum":"a","items":null,"type":"integer"},"b":{"properties":[],"additionalProperties":false,"required":["x"]},"c":{"pattern":5,"maxLength":-1,"minLength":1.5,"multipleOf":0,"uniqueItems":"yes","maxItems":1}}}`,
			`{"a":3,"b":{"x":1},"c":"xx"}`, `{"a":"x","b":{},"c":[1,2]}`, "/a type, /b required, /c maxItems", "/minProperties"},
		{"empty enum", `{"properties":{"a":{"enum":[],"type":"string"}}}`, `{"a":"x"}`, `{"a":1}`, "/a type", "/properties/a/enum"},
		{"empty enum that its draft allows", `{"$schema":"https://json-schema.org/draft/2020-12/schema","properties":{"a":{"enum":[]}}}`, `{}`, `{"a":1}`, "/a enum", ""},
		{"the same twice in enum", `{"properties":{"a":{"enum":["x","x",1,1.0,{"a":1,"b":[null]},{"b":[null],"a":10e-1},true]}}}`, `{"a":1.0}`, `{"a":"y"}`, "/a enum", ""},
		{"applicators of the wrong kind", `{"allOf":{},"anyOf":[],"oneOf":"x","not":null,"if":3,"then":{"required":["zz"]},"dependencies":[],"definitions":5,"patternProperties":[1],"additionalProperties":false,"maxProperties":1}`,
			`{"a":1}`, `{"a":1,"b":2}`, " maxProperties", "/allOf"},
		{"one wrong in a list", `{"required":["a",5,null],"allOf":[{"required":["b"]},7],"dependencies":{"b":["c",1],"x":"y"}}`,
			`{"a":1,"b":1,"c":1}`, `{"b":1,"x":1}`, " dependencies,  dependencies,  required", "/required/1"},
		{"boolean exclusiveMaximum in draft-07", `{"properties":{"a":{"maximum":5,"exclusiveMaximum":true}}}`, `{"a":4}`, `{"a":5}`, "/a exclusiveMaximum", ""},
		{"lookbehind", `{"properties":{"a":{"pattern":"(?<=x)y","maxLength":2},"b":{"type":"null"}}}`, `{"a":"yy","b":null}`, `{"a":"yyy","b":1}`, "/a maxLength, /b type", "/properties/a/pattern"},
		{"backreference in patternProperties", `{"patternProperties":{"^(a)\\1$":{"type":"null"},"^n":{"type":"null"}},"additionalProperties":false,"properties":{"b":{"type":"string"}}}`,
			`{"aa":1,"z":1}`, `{"n":1,"b":1}`, "/n type, /b type", `"/patternProperties/^(a)\\1$"`},
		{"what is loose under not", `{"properties":{"a":{"not":{"pattern":"(?=x)"}},"b":{"not":{"type":"null"}}}}`, `{"a":"x"}`, `{"a":1,"b":null}`, "/b not", "/properties/a/not/pattern"},
		{"what is loose in oneOf", `{"oneOf":[{"properties":{"a":{"pattern":"(?=x)"}}},{"properties":{"a":{"type":"string"}}}]}`, `{"a":"y"}`, ``, "", "/oneOf/0/properties/a/pattern"},
		{"what is loose in oneOf still must fit", `{"oneOf":[{"properties":{"a":{"pattern":"(?=x)","type":"string"}}},{"properties":{"a":{"type":"null"}}}]}`, `{"a":"y"}`, `{"a":1}`, " anyOf, /a type", "pattern"},
		{"what is loose in a keyword of another draft", `{` + d7 + `"oneOf":[{"dependentSchemas":{"a":{"type":"text"}}},{"required":["b"]}]}`, `{"a":1}`, `{"b":1}`, " oneOf", "/oneOf/0/dependentSchemas/a/type"},
		{"what is loose in if", `{"if":{"properties":{"a":{"pattern":"(?=x)"}}},"then":{"required":["b"]}}`, `{"a":"y"}`, ``, "", "pattern"},
		{"what is loose by a ref under not", `{"not":{"$ref":"#/definitions/x"},"definitions":{"x":{"$ref":"http://example.com/y"}}}`, `{"a":1}`, ``, "", "another document"},
		{"what is loose beside unevaluatedProperties", `{` + d2020 + `"$ref":"other.json","properties":{"b":{"type":"null"}},"unevaluatedProperties":false}`, `{"a":1}`, `{"b":1}`, "/b type", "/$ref"},
		{"contains and maxContains", `{` + d2020 + `"properties":{"a":{"contains":{"pattern":"(?=x)"},"maxContains":1,"maxItems":3}}}`, `{"a":["y","y"]}`, `{"a":[1,2,3,4]}`, "/a maxItems", "pattern"},
		{"remote refs", `{"properties":{"a":{"$ref":"https://example.com/s.json"},"b":{"$ref":"file:///etc/passwd"},"c":{"$ref":"other.json#/x"},"d":{"type":"null"}}}`,
			`{"a":1,"b":1,"c":1}`, `{"d":1}`, "/d type", "/properties/b/$ref"},
		{"a ref that is not escaped", `{"properties":{"a":{"$ref":"#/definitions/50% of it"}},"definitions":{"50% of it":{"type":"null"}}}`, `{"a":null}`, `{"a":1}`, "/a type", ""},
		{"refs to nowhere", `{"properties":{"a":{"$ref":"#/definitions/none"},"b":{"$ref":"#nope"},"c":{"$ref":"%zz"},"d":{"$ref":5,"type":"null"},"e":{"$ref":"#/~5"}}}`,
			`{"a":1,"b":1,"c":1,"e":1}`, `{"d":1}`, "/d type", "/properties/c/$ref"},
		{"a loop of refs", `{"properties":{"a":{"$ref":"#/definitions/x"},"b":{"type":"null"}},"definitions":{"x":{"$ref":"#/definitions/y"},"y":{"$ref":"#/definitions/x"}}}`,
			`{"a":1}`, `{"a":1,"b":1}`, "/b type", "refers back to itself"},
		{"a ref to itself", `{"$ref":"#"}`, `{"a":1}`, ``, "", "refers back to itself"},
		{"a loop through allOf", `{` + d2019 + `"allOf":[{"$ref":"#"}],"required":["a"]}`, `{"a":1}`, `{}`, " required", "/allOf/0/$ref"},
		{"a loop entered in the middle", `{"properties":{"a":{"$ref":"#/definitions/p/allOf/0"}},"definitions":{"p":{"allOf":[{"$ref":"#/definitions/p"}],"type":"null"}}}`,
			`{"a":null}`, ``, "", "refers back to itself"},
		{"the same name twice", `{"properties":{"a":{"type":"string"},"a":{"type":"null"}}}`, `{"a":null}`, `{"a":"x"}`, "/a type", ""},
		{"identifiers that are none", `{"$id":"%zz","properties":{"a":{"$id":5,"type":"null"},"b":{"$id":"#x"},"c":{"$id":"#x"}}}`, `{"a":null}`, `{"a":1}`, "/a type", ""},
		{"the same $id twice", `{"definitions":{"x":{"$id":"http://e.com/x"},"y":{"$id":"http://e.com/x"}},"properties":{"a":{"type":"null"}}}`, `{"a":null}`, `{"a":1}`, "/a type", ""},
		{"$dynamicRef with identifiers that are none", `{` + d2020 + `"$dynamicAnchor":"n","properties":{"a":{"$dynamicRef":"#n"},"b":{"$anchor":"not one","type":"null"}}}`, `{"a":{"a":1}}`, `{"a":{"b":1}}`, "/a/b type", "/properties/b/$anchor"},
		{"$dynamicRef beside identifiers that are none", `{` + d2020 + `"$id":"http://e.com/x","$dynamicAnchor":"n","required":["a"],"$ref":"tree","$defs":{"tree":{"$id":"tree","$dynamicAnchor":"n","properties":{"a":{"$dynamicRef":"#n"}},"$defs":{"q":{"$anchor":"not one"}}}}}`,
			`{"a":{"a":1}}`, `{"a":{}}`, "/a required", "/$defs/tree/$defs/q/$anchor"},
		{"a metaschema with more rules beside identifiers that are none", `{` + d2020 + `"$id":"http://e.com/x","$dynamicAnchor":"meta","allOf":[{"$ref":"https://json-schema.org/draft/2020-12/schema"}],"required":["a"],"$defs":{"q":{"$anchor":"not one"}}}`,
			`{"a":{}}`, `{}`, " required", "/$defs/q/$anchor"},
		{"numbers that are too large", `{"properties":{"a":{"minimum":1e99999,"maximum":5},"b":{"enum":[1e-5000,2]}}}`, `{"a":1,"b":5}`, `{"a":6}`, "/a maximum", "/properties/b/enum/0"},
		{"what has no root title", `{"type":"object","properties":{"a":{"type":"null","title":5,"description":[]}}}`, `{"a":null}`, `{"a":1}`, "/a type", ""},
		{"an array of items in 2020-12", `{` + d2020 + `"properties":{"a":{"items":[{"type":"null"}],"maxItems":2}}}`, `{"a":[1]}`, `{"a":[1,2,3]}`, "/a maxItems", "/properties/a/items"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := schema.Compile([]byte(tt.schema), schema.Options{})
			if !s.Usable() {
				t.Fatalf("not usable: %v", s.Err())
			}
			if (tt.err == "") != (s.Err() == nil) || !strings.Contains(fmt.Sprint(s.Err()), tt.err) {
				t.Errorf("Err() = %v, want %q in it", s.Err(), tt.err)
			}
			if issues := s.Validate([]byte(tt.good)); issues != nil {
				t.Errorf("good: %v", issues)
			}
			if tt.bad != "" {
				if got := places(s.Validate([]byte(tt.bad))); got != tt.want {
					t.Errorf("bad: got  %s\nwant %s", got, tt.want)
				}
			}
		})
	}
}

// TestUnusable has what is no schema at all.
func TestUnusable(t *testing.T) {
	for _, text := range []string{``, ` `, `null`, `true`, `false`, `[]`, `"string"`, `5`, `{`, `{"a":}`, "{\"\xff\":1}", `{}{}`} {
		s := schema.Compile([]byte(text), schema.Options{})
		if s.Usable() || s.Err() == nil {
			t.Errorf("%q: Usable() = %v, Err() = %v", text, s.Usable(), s.Err())
		}
		if issues := s.Validate([]byte(`{}`)); len(issues) != 1 {
			t.Errorf("%q: %v", text, issues)
		}
		if s.HasSecrets() || s.Declares("/a") {
			t.Errorf("%q knows secrets or places", text)
		}
	}
	if s := schema.Compile([]byte(`{}`), schema.Options{}); !s.Usable() || s.Err() != nil || s.Validate([]byte(`{"a":[1]}`)) != nil {
		t.Error("the empty schema does not allow everything")
	}
}

// TestErrIsShort checks that Err names the first places only.
func TestErrIsShort(t *testing.T) {
	s := schema.Compile([]byte(`{"properties":{`+many(1000, func(i int) string { return fmt.Sprintf(`"p%d%s":{"type":"x"}`, i, strings.Repeat("y", 300)) })+`}}`), schema.Options{})
	if text := s.Err().Error(); len(text) > 2500 || !strings.HasSuffix(text, "; and 995 more") {
		t.Errorf("%d bytes: %s", len(text), text)
	}
}
