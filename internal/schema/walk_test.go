package schema_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/internal/schema"
)

func parse(t *testing.T, text string) *jsontext.Value {
	t.Helper()
	v, err := jsontext.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSecrets(t *testing.T) {
	const s = `{"writeOnly":true}`
	tests := []struct{ name, schema, config, want string }{
		{"all four marks", `{"properties":{"a":{"writeOnly":true},"b":{"format":"password"},"c":{"x-secret":true},"d":{"airbyte_secret":true},"e":{"type":"string"}}}`,
			`{"e":"1","d":"2","c":"3","b":"4","a":"5"}`, "/d /c /b /a"},
		{"not marked", `{"properties":{"a":{"writeOnly":false},"b":{"format":"email"},"c":{"x-secret":"false"},"d":{"x-secret":0},"e":{"x-secret":null}}}`,
			`{"a":1,"b":1,"c":1,"d":1,"e":1}`, ""},
		{"junk marks", `{"properties":{"a":{"x-secret":"true"},"b":{"x-secret":1},"c":{"writeOnly":"yes"},"d":{"airbyte_secret":{}},"e":{"format":"Password"}}}`,
			`{"a":1,"b":1,"c":1,"d":1,"e":1}`, "/a /b /c /d /e"},
		{"absent members", `{"properties":{"a":` + s + `}}`, `{"b":1}`, ""},
		{"not strings", `{"properties":{"a":` + s + `,"b":` + s + `,"c":` + s + `}}`, `{"a":{"x":{"y":1}},"b":[1,2],"c":null}`, "/a /b /c"},
		{"no descent into a secret", `{"properties":{"a":{"writeOnly":true,"properties":{"b":` + s + `}}}}`, `{"a":{"b":1}}`, "/a"},
		{"nested, with escapes", `{"properties":{"a/b":{"properties":{"c~d":` + s + `}}}}`, `{"a/b":{"c~d":1}}`, "/a~1b/c~0d"},
		{"ref", `{"properties":{"a":{"$ref":"#/definitions/k"}},"definitions":{"k":{"$ref":"#/definitions/l"},"l":` + s + `}}`, `{"a":1}`, "/a"},
		{"beside a ref in draft-07", `{"properties":{"a":{"$ref":"#/definitions/k","writeOnly":true}},"definitions":{"k":{}}}`, `{"a":1}`, "/a"},
		{"beside a ref to nowhere", `{"properties":{"a":{"$ref":"http://x/y","writeOnly":true}}}`, `{"a":1}`, "/a"},
		{"$dynamicRef", `{` + d2020 + `"$dynamicAnchor":"n","properties":{"k":` + s + `,"a":{"$dynamicRef":"#n"}}}`, `{"a":{"a":{"k":1}}}`, "/a/a/k"},
		{"$recursiveRef", `{` + d2019 + `"$id":"http://e.com/x","$recursiveAnchor":true,"properties":{"k":` + s + `},"$ref":"tree","$defs":{"tree":{"$id":"tree","$recursiveAnchor":true,"properties":{"a":{"$recursiveRef":"#"}}}}}`,
			`{"a":{"k":1}}`, "/a/k"},
		{"branches", `{"allOf":[{"properties":{"a":` + s + `}}],"anyOf":[{"properties":{"b":` + s + `}}],"oneOf":[{"properties":{"c":` + s + `},"required":["zz"]},{"properties":{"d":` + s + `}}],` +
			`"if":{"properties":{"e":` + s + `}},"then":{"properties":{"f":` + s + `}},"else":{"properties":{"g":` + s + `}}}`,
			`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1}`, "/a /b /c /d /e /f /g"},
		{"dependencies", `{"dependentSchemas":{"x":{"properties":{"a":` + s + `}}},"dependencies":{"x":{"properties":{"b":` + s + `}},"y":["z"]}}`, `{"a":1,"b":1,"c":1}`, "/a /b"},
		{"patternProperties", `{"patternProperties":{"_key$":` + s + `}}`, `{"a_key":1,"key_a":1}`, "/a_key"},
		{"a pattern that RE2 refuses", `{"patternProperties":{"(?<!x)$":` + s + `,"^n":{}},"properties":{"p":{}}}`, `{"a":1,"p":1,"n1":1}`, "/a"},
		{"additionalProperties", `{"properties":{"p":{}},"patternProperties":{"^x":{}},"additionalProperties":` + s + `}`, `{"p":1,"x":1,"a":1}`, "/a"},
		{"unevaluatedProperties", `{` + d2020 + `"properties":{"p":{}},"allOf":[{"properties":{"q":{}}}],"anyOf":[{"properties":{"r":{}}}],"unevaluatedProperties":` + s + `}`, `{"p":1,"q":1,"r":1,"a":1}`, "/r /a"},
		{"items", `{"properties":{"a":{"items":` + s + `},"b":{"items":{"properties":{"k":` + s + `}}}}}`, `{"a":[1,2],"b":[{"k":1},{"l":1}]}`, "/a/0 /a/1 /b/0/k"},
		{"items as an array", `{"properties":{"a":{"items":[{},` + s + `],"additionalItems":` + s + `},"b":{"items":[` + s + `]}}}`, `{"a":[1,2,3],"b":[1,2]}`, "/a/1 /a/2 /b/0"},
		{"prefixItems", `{` + d2020 + `"properties":{"a":{"prefixItems":[` + s + `,{}],"items":` + s + `}}}`, `{"a":[1,2,3]}`, "/a/0 /a/2"},
		{"contains", `{"properties":{"a":{"contains":` + s + `}}}`, `{"a":[1]}`, "/a/0"},
		{"the root", `{"writeOnly":true}`, `{"a":{"b":1},"c/d":1}`, "/a /c~1d"},
		{"the root by a branch", `{"anyOf":[{},{"$ref":"#/definitions/s"}],"definitions":{"s":` + s + `}}`, `{"a":1}`, "/a"},
		{"under not", `{"properties":{"a":{"not":` + s + `}}}`, `{"a":1}`, "/a"},
		{"bare map", `{"key":{"type":"string","writeOnly":true},"host":{"type":"string"}}`, `{"key":1,"host":1}`, "/key"},
		{"bare map with junk", `{"version":2,"key":{"x-secret":true}}`, `{"key":1,"version":1}`, "/key"},
		{"a word for a schema", `{"properties":{"key":"password","host":"string"}}`, `{"key":1,"host":1}`, "/key"},
		{"a word for a type", `{"properties":{"key":{"type":"password"}}}`, `{"key":1}`, "/key"},
		{"recursive", `{"properties":{"k":` + s + `,"a":{"$ref":"#"}}}`, `{"a":{"a":{"k":1}},"k":2}`, "/a/a/k /k"},
		{"dirty", `{"type":["strnig"],"minimum":"x","properties":{"a":{"pattern":"(?=","writeOnly":true,"$ref":5}},"required":{}}`, `{"a":1}`, "/a"},
		{"not usable: too costly", strings.Replace(doubling(40, `{"allOf":[REF,REF]}`), `{"$ref"`, `{"properties":{},"allOf":[{"properties":{"k":`+s+`}}],"$ref"`, 1), `{"k":1}`, "/k"},
		{"a name declared in another branch", `{"allOf":[{"properties":{"a":` + s + `}},{"properties":{"a":{}}}]}`, `{"a":1}`, "/a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := schema.Compile([]byte(tt.schema), schema.Options{})
			config := parse(t, tt.config)
			got := s.Secrets(config)
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %q, want %q; Err %v", got, tt.want, s.Err())
			}
			if len(got) > 0 && !s.HasSecrets() {
				t.Error("HasSecrets() = false")
			}
			for _, p := range got {
				if config.At(p) == nil {
					t.Errorf("nothing at %s", p)
				}
			}
		})
	}
	if schema.Compile([]byte(typical), schema.Options{}).HasSecrets() != true || schema.Compile([]byte(`{"properties":{"a":{"default":{"writeOnly":true}}},"definitions":{"x":{"writeOnly":true}}}`), schema.Options{}).HasSecrets() {
		t.Error("HasSecrets is wrong")
	}
}

func TestWithDefaults(t *testing.T) {
	tests := []struct{ name, schema, config, want string }{
		{"after what is there, in the order of the schema", `{"properties":{"b":{"default":1},"a":{"default":2},"c":{"default":3},"d":{}}}`, `{"z":1.50,"a":9}`, `{"z":1.50,"a":9,"b":1,"c":3}`},
		{"digits stay", `{"properties":{"a":{"default":1.0},"b":{"default":1000000000000000000000000000000},"c":{"default":1e3}}}`, `{"x":1E5}`,
			`{"x":1E5,"a":1.0,"b":1000000000000000000000000000000,"c":1e3}`},
		{"null stays", `{"properties":{"a":{"default":1},"o":{"properties":{"b":{"default":1}}}}}`, `{"a":null,"o":null}`, `{"a":null,"o":null}`},
		{"nested in what is there", `{"properties":{"o":{"properties":{"a":{"default":1}}}}}`, `{"o":{"x":0}}`, `{"o":{"x":0,"a":1}}`},
		{"nested in what is absent", `{"properties":{"o":{"type":"object","properties":{"p":{"properties":{"a":{"default":1}}},"q":{"properties":{"r":{}}}}}}}`, `{}`, `{"o":{"p":{"a":1}}}`},
		{"a default with nested ones under it", `{"properties":{"o":{"default":{"a":5},"properties":{"a":{"default":1},"b":{"default":2}}}}}`, `{}`, `{"o":{"a":5,"b":2}}`},
		{"none where the type is another", `{"properties":{"o":{"type":"string","properties":{"a":{"default":1}}}}}`, `{}`, `{}`},
		{"ref", `{"properties":{"o":{"$ref":"#/definitions/o"}},"definitions":{"o":{"properties":{"a":{"$ref":"#/definitions/a"}}},"a":{"default":1}}}`, `{}`, `{"o":{"a":1}}`},
		{"beside a ref", `{"properties":{"a":{"$ref":"#/definitions/a","default":2}},"definitions":{"a":{"default":1,"type":"integer"}}}`, `{}`, `{"a":2}`},
		{"allOf", `{"allOf":[{"properties":{"a":{"default":1},"o":{"properties":{"x":{"default":1}}}}},{"properties":{"b":{"default":2},"o":{"properties":{"y":{"default":2}}}}}]}`, `{"a":0}`, `{"a":0,"o":{"x":1,"y":2},"b":2}`},
		{"no branches", `{"anyOf":[{"properties":{"a":{"default":1}}}],"oneOf":[{"properties":{"b":{"default":1}}}],"if":{"properties":{"c":{"default":1}}},"then":{"properties":{"d":{"default":1}}}}`, `{}`, `{}`},
		{"items", `{"properties":{"l":{"items":{"properties":{"a":{"default":1}}}}}}`, `{"l":[{},{"a":2},3]}`, `{"l":[{"a":1},{"a":2},3]}`},
		{"items as an array", `{"properties":{"l":{"items":[{"properties":{"a":{"default":1}}}],"additionalItems":{"properties":{"b":{"default":2}}}}}}`, `{"l":[{},{}]}`, `{"l":[{"a":1},{"b":2}]}`},
		{"prefixItems", `{` + d2020 + `"properties":{"l":{"prefixItems":[{"properties":{"a":{"default":1}}}]}}}`, `{"l":[{},{}]}`, `{"l":[{"a":1},{}]}`},
		{"no items are made", `{"properties":{"l":{"items":{"default":1}}}}`, `{"l":[]}`, `{"l":[]}`},
		{"members of a map", `{"additionalProperties":{"properties":{"a":{"default":1}}}}`, `{"x":{}}`, `{"x":{"a":1}}`},
		{"recursive", `{"properties":{"v":{"default":1},"kid":{"$ref":"#"}}}`, `{"kid":{}}`, `{"kid":{"v":1},"v":1}`},
		{"recursive by a default", `{"properties":{"kid":{"$ref":"#","default":{}}}}`, `{}`, `{"kid":{}}`},
		{"a default that breaks its schema", `{"properties":{"a":{"type":"integer","default":"x"},"b":{"enum":[1],"default":2},"c":{"default":3,"$ref":"#/definitions/s"},"d":{"type":"string","default":""}},"definitions":{"s":{"type":"string"}}}`, `{}`, `{"d":""}`},
		{"a nested default that breaks its schema", `{"properties":{"o":{"properties":{"a":{"type":"integer","default":"x"}}}}}`, `{}`, `{}`},
		{"a default that breaks another schema of the place", `{"allOf":[{"properties":{"a":{"default":5}}},{"properties":{"a":{"maximum":3}}}]}`, `{}`, `{}`},
		{"a default that breaks its schema before one that does not", `{"properties":{"a":{"$ref":"#/definitions/n","default":"x"}},"definitions":{"n":{"type":"integer","default":1}}}`, `{}`, `{"a":1}`},
		{"an object that would be incomplete", `{"properties":{"proxy":{"properties":{"host":{},"port":{"default":8080}},"required":["host"]}}}`, `{}`, `{}`},
		{"the same object where it is there", `{"properties":{"proxy":{"properties":{"host":{},"port":{"default":8080}},"required":["host"]}}}`, `{"proxy":{"host":"h"}}`, `{"proxy":{"host":"h","port":8080}}`},
		{"a default that must have more", `{"properties":{"o":{"default":{},"required":["x"],"properties":{"x":{"default":1}}}}}`, `{}`, `{"o":{"x":1}}`},
		{"a default that takes no more", `{"properties":{"o":{"default":{"a":1},"maxProperties":1,"properties":{"b":{"default":2}}}}}`, `{}`, `{"o":{"a":1}}`},
		{"secret", `{"properties":{"k":{"writeOnly":true,"default":"none"}}}`, `{}`, `{"k":"none"}`},
		{"null as a default", `{"properties":{"k":{"default":null}}}`, `{}`, `{"k":null}`},
		{"a default in what is not enforced", `{"properties":{"k":{"type":"text","default":"x"},"l":{"pattern":"(?=x)","default":"y"}}}`, `{}`, `{"k":"x","l":"y"}`},
		{"bare map", `{"host":{"type":"string","default":"h"}}`, `{}`, `{"host":"h"}`},
		{"a number that is too large", `{"properties":{"a":{"default":1e99999}}}`, `{}`, `{}`},
		{"case twins", `{"properties":{"Host":{"default":1},"host":{"default":2},"a.b":{"default":3}}}`, `{"HOST":0}`, `{"HOST":0,"Host":1,"host":2,"a.b":3}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := schema.Compile([]byte(tt.schema), schema.Options{})
			if !s.Usable() {
				t.Fatal(s.Err())
			}
			config := parse(t, tt.config)
			out := s.WithDefaults(config)
			if got := string(out.Append(nil)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if again := string(config.Append(nil)); again != tt.config {
				t.Errorf("the config became %s", again)
			}
			if again := string(s.WithDefaults(out).Append(nil)); again != tt.want {
				t.Errorf("completed again: %s", again)
			}
		})
	}
	unusable := schema.Compile([]byte(nested(200, `{"allOf":[`, `{"properties":{"k":{"default":1}}}`, `]}`)), schema.Options{})
	if got := string(unusable.WithDefaults(parse(t, `{"a":1}`)).Append(nil)); got != `{"a":1}` {
		t.Error(got)
	}
}

func TestDeclares(t *testing.T) {
	s := schema.Compile([]byte(`{"properties":{"a":{"properties":{"b":{}}},"list":{"items":{"properties":{"x":{}}}},"tuple":{"items":[{},{"properties":{"y":{}}}]},"r":{"$ref":"#/definitions/r"},
		"open":{"additionalProperties":true},"shut":{"additionalProperties":false},"map":{"additionalProperties":{"properties":{"m":{}}}},"never":false,"a.b":{},"p/q":{}},
		"patternProperties":{"^x-":{}},"allOf":[{"properties":{"all":{}}}],"anyOf":[{"properties":{"any":{}}}],"oneOf":[{"properties":{"one":{}}}],"if":{"properties":{"if":{}}},"then":{"properties":{"then":{}}},"else":{"properties":{"else":{}}},
		"dependencies":{"a":{"properties":{"dep":{}}}},"required":["req"],"definitions":{"r":{"properties":{"deep":{"$ref":"#"}}}}}`), schema.Options{})
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	yes := []string{"", "/a", "/a/b", "/list", "/list/0", "/list/7/x", "/tuple/1/y", "/r/deep/a/b", "/open/z", "/map/k/m", "/a.b", "/p~1q", "/x-1", "/all", "/any", "/one", "/if", "/then", "/else", "/dep"}
	no := []string{"/z", "/a/c", "/A", "/list/x", "/list/01", "/list/-1", "/list/0/z", "/tuple/2", "/shut/z", "/map/k/n", "/never", "/req", "/p/q", "a", "/~", "/x-1/y"}
	for _, p := range yes {
		if !s.Declares(p) {
			t.Errorf("%q is not declared", p)
		}
	}
	for _, p := range no {
		if s.Declares(p) {
			t.Errorf("%q is declared", p)
		}
	}
}

// TestConcurrent uses one Schema from many goroutines, for the race detector.
func TestConcurrent(t *testing.T) {
	s := schema.Compile([]byte(typical), schema.Options{})
	config := parse(t, string(typicalConfig))
	want := s.Validate([]byte(`{"model":"huge"}`))
	done := make(chan bool)
	for range 8 {
		go func() {
			ok := true
			for range 20 {
				ok = ok && s.Validate(typicalConfig) == nil && slices.Equal(s.Validate([]byte(`{"model":"huge"}`)), want) &&
					len(s.Secrets(config)) == 1 && s.WithDefaults(config).Member("beam") != nil && s.Declares("/proxy/port")
			}
			done <- ok
		}()
	}
	for range 8 {
		if !<-done {
			t.Error("another answer")
		}
	}
}
