package schema_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/internal/schema"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The drafts, by the names that the groups call them.
var diffDrafts = map[string]struct {
	uri   string
	draft *jsonschema.Draft
}{
	"4":  {"http://json-schema.org/draft-04/schema#", jsonschema.Draft4},
	"6":  {"http://json-schema.org/draft-06/schema#", jsonschema.Draft6},
	"7":  {"http://json-schema.org/draft-07/schema#", jsonschema.Draft7},
	"19": {"https://json-schema.org/draft/2019-09/schema", jsonschema.Draft2019},
	"20": {"https://json-schema.org/draft/2020-12/schema", jsonschema.Draft2020},
}

// diffFormats are all formats of the drafts.
var diffFormats = strings.Fields("date-time date time duration email idn-email hostname idn-hostname ipv4 ipv6 uri uri-reference " +
	"iri iri-reference uuid uri-template json-pointer relative-json-pointer regex")

// noLoader fetches nothing.
type noLoader struct{}

func (noLoader) Load(string) (any, error) { return nil, errors.New("nothing is fetched") }

// compileAlone compiles a schema by the validator alone, the way that passes the official suite.
func compileAlone(draft *jsonschema.Draft, text []byte) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(draft)
	c.UseLoader(noLoader{})
	for _, name := range diffFormats { // draft-07 and before assert formats else
		c.RegisterFormat(&jsonschema.Format{Name: name, Validate: func(any) error { return nil }})
	}
	if err := c.AddResource("schema:///document", doc); err != nil {
		return nil, err
	}
	return c.Compile("schema:///document")
}

func validAlone(t *testing.T, s *jsonschema.Schema, config string) bool {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(config))
	if err != nil {
		t.Fatalf("%s: %v", config, err)
	}
	return s.Validate(v) == nil
}

// diffGroup is a schema with the configs that it allows and those that it does not. drafts are those that it is for, as diffDrafts
// names them; "" are the last two.
type diffGroup struct {
	name, drafts, schema string
	good, bad            []string
}

// TestDifferential compares Validate with the right answers and with those of the validator alone.
func TestDifferential(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range diffGroups {
		if seen[g.name] {
			t.Errorf("two groups are named %q", g.name)
		}
		seen[g.name] = true
		if g.drafts == "" {
			g.drafts = "19 20"
		}
		for name := range strings.FieldsSeq(g.drafts) {
			t.Run(name+"/"+g.name, func(t *testing.T) { runDiffGroup(t, name, g) })
		}
	}
}

func runDiffGroup(t *testing.T, draft string, g diffGroup) {
	d := diffDrafts[draft]
	text := g.schema
	if !strings.Contains(text, `"$schema":`) {
		text = strings.TrimSuffix(`{"$schema":"`+d.uri+`",`+text[1:], ",}")
		if g.schema == "{}" {
			text += "}"
		}
	}
	alone, err := compileAlone(d.draft, []byte(text))
	if err != nil {
		t.Fatalf("the validator alone: %v", err)
	}
	s := schema.Compile([]byte(text), schema.Options{})
	if unenforced(s.Err()) {
		t.Fatalf("Err() = %v", s.Err())
	}
	check := func(config string, want bool) {
		if got := validAlone(t, alone, config); got != want {
			t.Errorf("%s: the validator alone says valid=%v, want %v", config, got, want)
		}
		if issues := s.Validate([]byte(config)); (issues == nil) != want {
			t.Errorf("%s: want valid=%v, issues %v", config, want, issues)
		}
	}
	for _, config := range g.good {
		check(config, true)
	}
	for _, config := range g.bad {
		check(config, false)
	}
}

// TestDifferentialRandom compares Validate with the validator alone on random schemas.
func TestDifferentialRandom(t *testing.T) {
	schemas := 200
	if os.Getenv("PLUGINREGISTRY_LONG") != "" {
		schemas = 2000
	}
	random := rand.NewChaCha8([32]byte{'d', 'i', 'f', 'f'})
	data := make([]byte, 600)
	pairs, invalid := map[string]int{}, map[string]int{}
	for range schemas {
		random.Read(data)
		draft, p, i := compareRandom(t, data)
		pairs[draft] += p
		invalid[draft] += i
	}
	for draft := range diffDrafts {
		p, i := pairs[draft], invalid[draft]
		t.Logf("draft %s: %d pairs, %d of them invalid", draft, p, i)
		if p < schemas*3/10 || i < p/5 || i > p*4/5 {
			t.Errorf("draft %s: %d pairs compared, %d of them invalid: the generator is not what it should be", draft, p, i)
		}
	}
}

// FuzzDifferential does the same with the choices of the fuzzer.
func FuzzDifferential(f *testing.F) {
	random := rand.NewChaCha8([32]byte{'f', 'u', 'z', 'z'})
	for range 20 {
		data := make([]byte, 300)
		random.Read(data)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { compareRandom(t, data) })
}

// compareRandom makes a schema and configs out of data and returns the draft, how many configs were compared and how many of them
// are invalid.
func compareRandom(t *testing.T, data []byte) (draft string, pairs, invalid int) {
	t.Helper()
	g := &generator{data: data}
	names := [...]string{"20", "19", "7", "20", "19", "6", "20", "19", "4"}
	g.draft = names[g.pick(len(names))]
	d := diffDrafts[g.draft]
	doc := g.document(d.uri)
	if g.draft == "4" { // what draft-06 has more is enforced all the same
		for _, v := range doc.All() {
			v.Members = slices.DeleteFunc(v.Members, func(m jsontext.Member) bool { return m.Name == "const" })
			for i, m := range v.Members {
				if m.Name == "contains" || m.Name == "propertyNames" {
					v.Members[i].Value = &jsontext.Value{Kind: jsontext.Object}
				}
			}
		}
	}
	text := doc.Append(nil)
	alone, err := compileAlone(d.draft, text)
	if err != nil {
		return g.draft, 0, 0
	}
	s := schema.Compile(text, schema.Options{})
	if unenforced(s.Err()) {
		if !strings.Contains(s.Err().Error(), "refers back to itself") {
			t.Errorf("Err() = %v\n%s", s.Err(), text)
		}
		return g.draft, 0, 0
	}
	for range 5 {
		config := string(g.config(3).Append(nil))
		want := validAlone(t, alone, config)
		pairs++
		if !want {
			invalid++
		}
		if issues := s.Validate([]byte(config)); (issues == nil) != want {
			t.Errorf("want valid=%v, issues %v\nschema %s\nconfig %s", want, issues, text, config)
		}
	}
	return g.draft, pairs, invalid
}

// generator makes schemas and configs; data decides which. Where data ends, all is as simple as can be.
type generator struct {
	data  []byte
	draft string
	root  string // URI of the document
	defs  string // the keyword of the definitions
	id    int    // number of the definition that it is in, if that has an identifier of its own
}

// pick returns a number below n.
func (g *generator) pick(n int) int {
	if len(g.data) == 0 {
		return 0
	}
	b := g.data[0]
	g.data = g.data[1:]
	return int(b) % n
}

func (g *generator) one(list ...string) string { return list[g.pick(len(list))] }

func str(s string) *jsontext.Value { return &jsontext.Value{Kind: jsontext.String, Text: s} }
func num(s string) *jsontext.Value { return &jsontext.Value{Kind: jsontext.Number, Text: s} }
func boolean(b bool) *jsontext.Value {
	return &jsontext.Value{Kind: jsontext.Bool, Text: strconv.FormatBool(b)}
}

func array(items ...*jsontext.Value) *jsontext.Value {
	return &jsontext.Value{Kind: jsontext.Array, Items: items}
}

// put sets a member that is not there yet.
func put(obj *jsontext.Value, name string, v *jsontext.Value) {
	if v != nil && obj.Member(name) == nil {
		obj.Members = append(obj.Members, jsontext.Member{Name: name, Value: v})
	}
}

// The names of properties and definitions.
var (
	diffNames = []string{"a", "b", "c", "ab", "", "$ref", "x/y", "m~n", "p%q", "const", "é", "__proto__", `"\`}
	diffDefs  = []string{"d0", "d1", "d/2", "d~3", "d%4", "d 5", "d\"6", "d^7\\#?"}
)

func (g *generator) name() string { return diffNames[g.pick(len(diffNames))] }

// document makes a whole schema. In place, a definition refers only to those that come later, so that loops are rare.
func (g *generator) document(uri string) *jsontext.Value {
	g.root, g.defs = "schema:///document", "definitions"
	if g.pick(2) == 1 {
		g.root = "http://example.com/root.json"
	}
	if g.modern() && g.pick(2) == 1 {
		g.defs = "$defs"
	}
	defs := &jsontext.Value{Kind: jsontext.Object}
	for i, name := range diffDefs {
		g.id = i
		if i != 4 && i != 5 {
			g.id = 0
		}
		d := g.schema(2, i+1)
		if i >= 1 && i <= 5 {
			d = g.base(d)
		}
		switch {
		case g.id > 0:
			put(d, g.idKey(), str("http://example.com/dir/r"+strconv.Itoa(i)))
			if g.draft != "20" { // its metaschema refuses it
				put(d, "$recursiveAnchor", boolean(g.pick(2) == 1))
			}
			inner := &jsontext.Value{Kind: jsontext.Object}
			leaf := g.base(g.leaf())
			put(leaf, "$dynamicAnchor", str("dyn"+strconv.Itoa(1-i%2)))
			put(inner, "in", leaf)
			put(d, g.defs, inner)
			if i == 4 {
				put(d, "$dynamicAnchor", str("dyn0"))
			}
		case i == 1 && g.modern():
			put(d, "$anchor", str("anchor"))
		case i == 1:
			put(d, g.idKey(), str("#anchor"))
		case i == 2 || i == 3:
			put(d, "$dynamicAnchor", str("dyn"+strconv.Itoa(i%2)))
		}
		put(defs, name, d)
	}
	g.id = 0
	root := g.base(g.schema(3, 0))
	if g.root != "schema:///document" {
		put(root, g.idKey(), str(g.root))
	}
	if g.pick(2) == 1 && g.draft != "20" {
		put(root, "$recursiveAnchor", boolean(true))
	}
	if g.pick(4) == 1 && g.draft == "20" {
		put(root, "$dynamicAnchor", str("meta"))
	}
	// What reference refers to.
	put(root, "properties", g.schemas(g.name, 2))
	put(root.Member("properties"), "a", g.schema(1, 0))
	put(root, "allOf", g.list(1, len(diffDefs)))
	put(root, "contentSchema", g.schema(1, 0))
	names := &jsontext.Value{Kind: jsontext.Object}
	put(names, "maxLength", num("8"))
	put(root, "propertyNames", names)
	put(root, g.defs, defs)
	unknown := &jsontext.Value{Kind: jsontext.Object}
	put(unknown, "u", g.schema(1, len(diffDefs)+1))
	put(root, "unknown", unknown)
	doc := &jsontext.Value{Kind: jsontext.Object}
	put(doc, "$schema", str(uri))
	doc.Members = append(doc.Members, root.Members...)
	return doc
}

// modern tells whether all that stands beside a $ref counts.
func (g *generator) modern() bool { return g.draft == "19" || g.draft == "20" }

// base makes an object that can have an identifier of v.
func (g *generator) base(v *jsontext.Value) *jsontext.Value {
	obj := &jsontext.Value{Kind: jsontext.Object}
	for _, m := range v.Members {
		if m.Name != "$ref" || g.modern() {
			obj.Members = append(obj.Members, m)
		}
	}
	return obj
}

func (g *generator) idKey() string {
	if g.draft == "4" {
		return "id"
	}
	return "$id"
}

// reference returns a reference to a definition from the one numbered from on, or to anything where from is 0.
func (g *generator) reference(from int) string {
	root := ""
	if g.id > 0 {
		root = g.root
		if g.pick(4) == 1 {
			return "#/" + g.defs + "/in"
		}
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1", "%", "%25", " ", "%20", `"`, "%22", `\`, "%5C", "^", "%5E", "#", "%23", "?", "%3F")
	switch i := from + g.pick(len(diffDefs)+5); {
	case i < len(diffDefs):
		return root + "#/" + g.defs + "/" + escape.Replace(diffDefs[i])
	case i == len(diffDefs):
		return root + "#/unknown/u"
	case from <= 4 && i < len(diffDefs)+3:
		const dir = "http://example.com/dir/"
		if g.draft == "20" {
			return dir + g.one("r4", "r5", "r4#/"+g.defs+"/in", "r5#dyn0", "r4#dyn1")
		}
		return dir + g.one("r4", "r5", "r4#/"+g.defs+"/in")
	case from == 0:
		return root + g.one("#", "#/properties/a", "#/allOf/0", "#/propertyNames", "#/contentSchema", "#anchor")
	}
	return g.one("https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema#",
		"https://json-schema.org/draft/2019-09/schema#", "https://json-schema.org/draft/2020-12/meta/applicator")
}

// dynamic returns a $dynamicRef.
func (g *generator) dynamic() string {
	switch {
	case g.pick(3) == 1:
		return "http://example.com/dir/" + g.one("r4#dyn0", "r5#dyn0", "r4#dyn1", "r4")
	case g.id == 4:
		return g.one("#dyn0", "#dyn1")
	case g.id == 5:
		return "#dyn0"
	}
	return g.one("#dyn0", "#dyn1", "#anchor", "#/unknown/u", "#/"+g.defs+"/d0", "#")
}

// schemas makes an object of schemas for other values.
func (g *generator) schemas(name func() string, depth int) *jsontext.Value {
	obj := &jsontext.Value{Kind: jsontext.Object}
	for range 1 + g.pick(4) {
		put(obj, name(), g.schema(depth-1, 0))
	}
	return obj
}

// list makes an array of schemas.
func (g *generator) list(depth, from int) *jsontext.Value {
	out := array()
	for range 1 + g.pick(3) {
		out.Items = append(out.Items, g.schema(depth-1, from))
	}
	return out
}

func (g *generator) nameList() *jsontext.Value {
	out := array()
	seen := map[string]bool{}
	for range 1 + g.pick(2) {
		if name := g.name(); !seen[name] {
			seen[name] = true
			out.Items = append(out.Items, str(name))
		}
	}
	return out
}

func (g *generator) leaf() *jsontext.Value {
	obj := &jsontext.Value{Kind: jsontext.Object}
	switch g.pick(16) {
	case 1, 2:
		if g.draft != "4" {
			return boolean(g.pick(3) > 0)
		}
	case 3:
		put(obj, "type", str("object"))
	case 4, 5:
		put(obj, "type", str(g.one("object", "string", "integer", "number", "null", "boolean", "array")))
	case 6:
		put(obj, "type", array(str("object"), str(g.one("string", "integer", "null", "array"))))
	case 7:
		put(obj, "const", g.value(2))
	case 8:
		put(obj, "enum", array(g.value(1), str("only"), g.value(0)))
	case 9:
		put(obj, g.one("minimum", "maximum"), num(g.one("0", "1", "0.5", "1.0", "2")))
	case 10:
		if g.draft != "4" {
			put(obj, g.one("exclusiveMinimum", "exclusiveMaximum"), num(g.one("0", "1", "0.5")))
		}
	case 11:
		put(obj, g.one("minLength", "maxLength", "minItems", "maxItems"), num(g.one("0", "1", "2", "1.0")))
	case 12:
		put(obj, "pattern", str(g.one("^a", "b$", "^.?$", "[a-c]+", "é")))
	case 13:
		put(obj, "multipleOf", num(g.one("0.5", "1", "2", "0.01")))
	case 14:
		put(obj, "format", str(g.one("date", "uuid", "ipv4", "email")))
		put(obj, "contentMediaType", str("application/json"))
	case 15:
		put(obj, "uniqueItems", boolean(true))
	}
	return obj
}

// schema makes a schema; what it refers to in place is numbered from on.
func (g *generator) schema(depth, from int) *jsontext.Value {
	obj := &jsontext.Value{Kind: jsontext.Object}
	if depth <= 0 || g.pick(4) == 1 {
		obj = g.leaf()
	}
	if depth <= 0 || obj.Kind != jsontext.Object {
		return obj
	}
	kid := func() *jsontext.Value { return g.schema(depth-1, 0) }
	same := func() *jsontext.Value { return g.schema(depth-1, from) }
	for range g.pick(5) {
		switch g.pick(40) {
		case 0, 1, 2:
			put(obj, "properties", g.schemas(g.name, depth))
		case 3:
			put(obj, "patternProperties", g.schemas(func() string { return g.one("^a", "b", "^$", "é", "/") }, depth))
		case 4, 5:
			put(obj, "additionalProperties", kid())
		case 6, 7, 8, 9:
			put(obj, "unevaluatedProperties", kid())
		case 10:
			put(obj, "required", g.nameList())
		case 11:
			put(obj, g.one("minProperties", "maxProperties"), num(g.one("1", "2.0", "3", "0")))
		case 12:
			put(obj, "propertyNames", kid())
		case 13:
			deps := &jsontext.Value{Kind: jsontext.Object}
			put(deps, g.name(), g.nameList())
			put(obj, "dependentRequired", deps)
		case 14:
			deps := &jsontext.Value{Kind: jsontext.Object}
			put(deps, g.name(), same())
			put(obj, "dependentSchemas", deps)
		case 15:
			deps := &jsontext.Value{Kind: jsontext.Object}
			put(deps, g.name(), same())
			put(deps, g.name(), g.nameList())
			put(obj, "dependencies", deps)
		case 16, 17:
			put(obj, "allOf", g.list(depth, from))
		case 18, 19:
			put(obj, "anyOf", g.list(depth, from))
		case 20:
			put(obj, "oneOf", g.list(depth, from))
		case 21:
			put(obj, "not", same())
		case 22, 23:
			put(obj, "if", same())
			put(obj, "then", same())
			if g.pick(2) == 1 {
				put(obj, "else", same())
			}
		case 24:
			put(obj, g.one("then", "else"), same())
		case 25, 26, 27:
			put(obj, "$ref", str(g.reference(from)))
		case 28, 29:
			if g.draft == "19" {
				put(obj, "$recursiveRef", str("#"))
			} else {
				put(obj, "$dynamicRef", str(g.dynamic()))
			}
		case 30:
			put(obj, "items", kid())
		case 31:
			if g.draft != "20" {
				put(obj, "items", g.list(depth, 0))
			} else {
				put(obj, "prefixItems", g.list(depth, 0))
			}
		case 32:
			put(obj, g.one("additionalItems", "unevaluatedItems"), kid())
		case 33:
			put(obj, "unevaluatedItems", kid())
		case 34:
			put(obj, "contains", kid())
			put(obj, g.one("minContains", "maxContains", "$comment"), nil)
			if g.pick(2) == 1 {
				put(obj, g.one("minContains", "maxContains"), num(g.one("0", "1", "2.0")))
			}
		case 35:
			put(obj, "default", g.value(2))
		case 36:
			put(obj, "contentSchema", kid())
		case 37:
			put(obj, g.one("x-unknown", "discriminator", "nullable"), g.value(2))
		case 38:
			put(obj, "title", str("a title"))
			put(obj, "$comment", str("a comment"))
		}
	}
	return obj
}

// value makes any JSON.
func (g *generator) value(depth int) *jsontext.Value {
	switch kind := g.pick(14); {
	case kind < 8:
		return [...]*jsontext.Value{str("a"), num("1"), num("1.0"), num("0"), boolean(true), boolean(false), {}, str("")}[kind]
	case kind < 10:
		return [...]*jsontext.Value{num("0.5"), str("abé")}[kind-8]
	case depth > 0 && kind < 12:
		return g.config(depth)
	case depth > 0:
		out := array()
		for range g.pick(4) {
			out.Items = append(out.Items, g.value(depth-1))
		}
		return out
	}
	return num("2")
}

// config makes an object.
func (g *generator) config(depth int) *jsontext.Value {
	obj := &jsontext.Value{Kind: jsontext.Object}
	for range g.pick(5) {
		put(obj, g.name(), g.value(depth-1))
	}
	return obj
}
