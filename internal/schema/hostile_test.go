package schema_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/internal/schema"
)

// many repeats what part makes n times, with commas between.
func many(n int, part func(i int) string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(part(i))
	}
	return b.String()
}

// doubling is a schema where each of n definitions asks twice for the next, as form (with REF for the reference) has it.
func doubling(n int, form string) string {
	defs := many(n, func(i int) string {
		return fmt.Sprintf(`"d%d":%s`, i, strings.ReplaceAll(form, "REF", fmt.Sprintf(`{"$ref":"#/definitions/d%d"}`, i+1)))
	})
	return fmt.Sprintf(`{"$ref":"#/definitions/d0","definitions":{%s,"d%d":{"type":"object"}}}`, defs, n)
}

func nested(n int, open, core, end string) string {
	return strings.Repeat(open, n) + core + strings.Repeat(end, n)
}

// TestHostile feeds schemas that are made to be slow or large. The test's own time limit is the check that none of them is; those that
// can be checked must be, the others must say that they cannot.
func TestHostile(t *testing.T) {
	config := `{"a":{"a":{"a":{"a":{"a":1}}}},"p7":"x"}`
	deepConfig := nested(400, `{"a":`, "1", "}")
	tests := []struct {
		name, schema, config string
		usable               bool
		err                  string // is in Err
		issues               string // what Validate says first, "" nothing
	}{
		{"over a MiB", `{"description":"` + strings.Repeat("x", 1<<20) + `"}`, config, false, "bytes", ""},
		{"many properties and members", `{"properties":{` + many(manyProperties, func(i int) string { return fmt.Sprintf(`"p%d":{"type":"integer"}`, i) }) + `}}`,
			"{" + many(manyProperties, func(i int) string { return fmt.Sprintf(`"p%d":%d`, i, i) }) + "}", true, "", ""},
		{"too many properties", `{"properties":{` + many(60000, func(i int) string { return fmt.Sprintf(`"p%d":{}`, i) }) + `}}`,
			config, false, "sub-schemas", ""},
		{"2^20 branches", `{"anyOf":[` + strings.Repeat("{},", 1<<20) + `{}]}`, config, false, "bytes", ""},
		{"300000 branches", `{"anyOf":[` + strings.Repeat("{},", 300000) + `{}]}`, config, false, "sub-schemas", ""},
		{"5000 branches", `{"anyOf":[` + strings.Repeat(`{"minProperties":9},`, 5000) + `{"minProperties":8}]}`, config, true, "", "fits none"},
		{"nested not", nested(300, `{"not":`, "{}", "}"), config, false, "nested", ""},
		{"nested properties", nested(60, `{"properties":{"a":`, "{}", "}}"), config, true, "", ""},
		{"nested deeper than JSON may be", nested(600, `{"not":`, "{}", "}"), config, false, "JSON", ""},
		{"wide and deep", nested(150, `{"not":`, `{"properties":{`+many(20000, func(i int) string { return fmt.Sprintf(`"p%d":{}`, i) })+`}}`, "}"),
			config, false, "nested too deep", ""},
		{"doubling allOf", doubling(40, `{"allOf":[REF,REF]}`), config, false, "costly", ""},
		{"doubling anyOf", doubling(40, `{"anyOf":[{"not":REF},REF]}`), config, false, "costly", ""},
		{"doubling not", doubling(40, `{"not":{"allOf":[REF,{"not":REF}]}}`), config, false, "costly", ""},
		{"doubling with each level", `{"properties":{"a":{"allOf":[{"$ref":"#"},{"$ref":"#"}]}}}`, deepConfig, true, "", "too costly"},
		{"doubling with each level, shallow config", `{"properties":{"a":{"allOf":[{"$ref":"#"},{"$ref":"#"}]}}}`, config, true, "", ""},
		{"doubling items", doubling(40, `{"properties":{"a":{"allOf":[REF,REF]}}}`), deepConfig, true, "", "too costly"},
		{"nested oneOf", nested(100, `{"oneOf":[{"type":"null"},`, `{"type":"string"}`, "]}"), config, true, "", "fits none"},
		{"long chain", `{"$ref":"#/definitions/d0","definitions":{` + many(5000, func(i int) string {
			return fmt.Sprintf(`"d%d":{"$ref":"#/definitions/d%d"}`, i, i+1)
		}) + `,"d5000":{}}}`, config, false, "chain", ""},
		{"many loops", `{"definitions":{` + many(5000, func(i int) string {
			return fmt.Sprintf(`"d%d":{"$ref":"#/definitions/d%d"}`, i, (i+1)%5000)
		}) + `},"$ref":"#/definitions/d0"}`, config, false, "chain", ""},
		{"large enum", `{"properties":{"p7":{"enum":[` + many(100000, func(i int) string { return fmt.Sprint(i) }) + `]}}}`, config, true, "", "must be one of 0, 1"},
		{"huge repeat", `{"properties":{"p7":{"pattern":"((a{30}){30}){30}"},"a":{"pattern":"(x{1000}){1000}"}}}`, config, true, "/properties/p7/pattern", ""},
		{"many large patterns", `{"patternProperties":{` + many(2000, func(i int) string { return fmt.Sprintf(`"^%d(\\pL{999})":{}`, i) }) + `}}`,
			config, true, "and 1994 more", ""},
		{"one pattern many times", `{"properties":{` + many(2000, func(i int) string {
			return fmt.Sprintf(`"p%d":{"pattern":"^(%s){99}$"}`, i, strings.Repeat("abc|", 9))
		}) + `}}`, config, true, "", "must match"},
		{"patterns against names", `{"patternProperties":{` + many(3000, func(i int) string { return fmt.Sprintf(`"%d[a-z]*$":{}`, i) }) + `}}`,
			"{" + many(20000, func(i int) string { return fmt.Sprintf(`"n%d":1`, i) }) + "}", true, "", "too costly"},
		{"a number with a large exponent", `{"properties":{"a":{"maximum":1e10000000}},"minProperties":3}`, config, true, "/properties/a/maximum", "at least 3"},
		{"a long number", `{"properties":{"a":{"const":` + strings.Repeat("9", 5000) + `}}}`, config, true, "/properties/a/const", ""},
		{"large exponent in the config", `{"properties":{"a":{"maximum":5}}}`, `{"b":{"a":1e10000000}}`, true, "", "exponent of at most 1000"},
		{"large count", `{"maxProperties":1e300,"minProperties":1e300}`, config, true, "", "must have at least 1073741824 properties"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			s := schema.Compile([]byte(tt.schema), schema.Options{})
			compiled := time.Since(start)
			if s.Usable() != tt.usable {
				t.Fatalf("Usable() = %v, Err %v", s.Usable(), s.Err())
			}
			if err := fmt.Sprint(s.Err()); tt.err == "" && s.Err() != nil || !strings.Contains(err, tt.err) || len(err) > 3000 {
				t.Errorf("Err() = %.3000s, want %q in it", err, tt.err)
			}
			v, err := jsontext.Parse([]byte(tt.config))
			if err != nil {
				t.Fatal(err)
			}
			issues := s.Validate([]byte(tt.config))
			first := ""
			for _, i := range issues {
				first += i.Message + "\n"
			}
			if tt.usable && (tt.issues == "" && issues != nil || !strings.Contains(first, tt.issues)) {
				t.Errorf("Validate: %.500s, want %q", first, tt.issues)
			}
			if !tt.usable && len(issues) == 0 {
				t.Error("a schema that is not usable finds a config valid")
			}
			validated := time.Since(start)
			s.Secrets(v)
			s.WithDefaults(v)
			s.Declares("/a/a/a/a")
			t.Logf("%v compile, %v and validate, %v and the rest", compiled.Round(time.Millisecond), validated.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
		})
	}
}

// TestHostileWalks has secrets and defaults at the end of schemas that double at each step.
func TestHostileWalks(t *testing.T) {
	deep, err := jsontext.Parse([]byte(nested(300, `{"a":`, `{"key":"k"}`, "}")))
	if err != nil {
		t.Fatal(err)
	}
	s := schema.Compile([]byte(`{"properties":{"key":{"writeOnly":true},"a":{"allOf":[{"$ref":"#"},{"$ref":"#"}]},"b":{"$ref":"#"}}}`), schema.Options{})
	if got, want := s.Secrets(deep), strings.Repeat("/a", 300)+"/key"; len(got) != 1 || got[0] != want {
		t.Errorf("Secrets = %q", got)
	}
	s = schema.Compile([]byte(`{"patternProperties":{`+many(2500, func(i int) string {
		return fmt.Sprintf(`"%d[a-z]*$":{"properties":{"k":{"$ref":"#/definitions/s"}}}`, i)
	})+`},"definitions":{"s":{"writeOnly":true}}}`), schema.Options{})
	names, err := jsontext.Parse([]byte("{" + many(1000, func(i int) string { return fmt.Sprintf(`"n%d":{"k":"%[1]d"}`, i+2000) }) + "}"))
	if err != nil {
		t.Fatal(err)
	}
	found := s.Secrets(names)
	for i, m := range names.Members {
		if !strings.HasPrefix(found[i], "/"+m.Name) { // the place itself, or all of it where there is no time to look
			t.Fatalf("%s is not secret, %s is", m.Name, found[i])
		}
	}
	wide := `{"definitions":{` + many(40, func(i int) string {
		return fmt.Sprintf(`"d%d":{"properties":{"a":{"$ref":"#/definitions/d%d"},"b":{"$ref":"#/definitions/d%[2]d"}}}`, i, i+1)
	}) + `,"d40":{"properties":{"x":{"default":1}}}},"$ref":"#/definitions/d0"}`
	s = schema.Compile([]byte(wide), schema.Options{})
	if s.Err() == nil || !strings.Contains(s.Err().Error(), "too many to work out") {
		t.Fatal(s.Err())
	}
	out := s.WithDefaults(&jsontext.Value{Kind: jsontext.Object})
	if n := len(out.Append(nil)); n > 10<<20 {
		t.Errorf("%d bytes of defaults", n)
	}
}
