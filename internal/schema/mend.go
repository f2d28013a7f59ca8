package schema

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Keywords of a mended schema that only this package knows.
const (
	extraKey = "x-pluginregistry"               // an *extra
	namesKey = "x-pluginregistry-propertyNames" // propertyNames, see extra.Validate
	leftKey  = "x-pluginregistry-left"          // what is not enforced
)

// extra is what this package keeps of a schema beside what the library does. It goes through the library as the value of extraKey.
type extra struct {
	doc      *document
	at       string // JSON Pointer in the document as it was given
	secret   bool
	nullable bool
	def      *jsontext.Value
	props    []string             // the names of "properties", in their order
	left     []string             // URIs of schemas that are not enforced and may still tell of secrets
	may      []*jsonschema.Schema // those, compiled
	names    *jsonschema.Schema   // propertyNames
}

// mender makes a document that the library takes out of one that was given, in one pass, JSON to JSON. It knows which places are schemas, so
// that a property named like a keyword and the contents of "const", "enum" and "default" are left alone. What it does not understand is left
// out, and so is whatever would refuse more because of that: under "not", a schema that allows more refuses more.
type mender struct {
	*builder
	*document
}

// object is a schema on its way.
type object struct {
	mender
	at        string
	depth     int
	base      *url.URL // what references are relative to
	v         *jsontext.Value
	out       map[string]any
	extra     *extra
	masked    bool // what stands beside a $ref is ignored, as it is before 2019-09
	loose     bool // not wholly enforced
	open      bool // which members or items are named is not known
	looseKids map[string]bool
	raised    []string // properties that say "required": true themselves
	left      []any
}

func (o *object) note(at, reason string) {
	o.builder.note(o.document, at, reason)
	o.loose = true
}

// schema mends the schema v, which stands at a place of the document, and tells whether it is wholly enforced.
func (m mender) schema(v *jsontext.Value, at string, depth int, base *url.URL) (out any, loose bool) {
	m.nodes++
	m.spread = min(m.spread+depth*depth, maxSpread+1)
	if m.nodes > maxNodes {
		return true, true
	}
	if v.Kind == jsontext.Bool {
		return v.Text == "true", false
	}
	o := &object{mender: m, at: at, depth: depth, base: base, v: v, out: map[string]any{}, extra: &extra{doc: m.document, at: at}, looseKids: map[string]bool{}}
	switch v.Kind {
	case jsontext.Object:
		o.masked = m.draft < 2019 && v.Member("$ref") != nil && v.Member("$ref").Kind == jsontext.String
		o.identify()
		for _, member := range v.Members {
			o.member(member, at+"/"+jsontext.EscapeToken(member.Name))
		}
		o.finish()
	case jsontext.String:
		o.typeWords(at, v)
	default:
		o.note(at, "a schema is needed, this is "+v.Kind.String())
	}
	if x := o.extra; x.secret {
		m.marks++
	}
	o.out[extraKey] = o.extra
	if o.loose {
		m.looseNow[place{m.document, at}] = true
	}
	return o.out, o.loose
}

func (o *object) member(member jsontext.Member, at string) {
	name, v := member.Name, member.Value
	o.extra.secret = o.extra.secret || isMark(name, v) || o.options.SecretMark != nil && o.options.SecretMark(name, v.Append(nil))
	switch name {
	case "default":
		o.extra.def = v
	case "nullable":
		o.extra.nullable = v.Kind == jsontext.Bool && v.Text == "true"
	}
	kw, known := keywords[name]
	if !known && o.targets.within(at) {
		o.out[name] = o.other(v, at, o.depth+1, o.base)
	}
	in := kw.in(o.draft)
	if known {
		o.words.see(name, kw, member)
	}
	if kw.since == 0 || !in && !used(kw, member) || o.noValidation && (kw.form >= formType || kw.form == formNameMap) {
		return
	}
	if reason, ok := o.drop[at]; ok {
		o.note(at, reason)
		o.open = true
		o.blind = o.blind || speaks(v)
		if kw.form == formRef {
			o.reference(name, v, at, false)
		}
		return
	}
	switch kw.form {
	case formRef:
		if in {
			o.reference(name, v, at, true)
		}
		return
	case formSchema:
		o.out[name] = o.kid(name, kw, v, at, 1)
	case formSchemas:
		o.schemas(name, kw, v, at)
	case formItems:
		if v.Kind != jsontext.Array {
			o.out[name] = o.kid(name, kw, v, at, 1)
			break
		}
		o.schemas(name, kw, v, at)
		if name == "items" && o.draft >= 2020 {
			o.note(at, "one schema is needed, this is an array")
			o.open = true
			o.aside(name)
			return
		}
	case formSchemaMap:
		o.schemaMap(name, kw, v, at)
	case formDeps:
		o.dependencies(name, kw, v, at)
	default:
		if in || name == "required" {
			o.value(kw.form, name, v, at)
		}
		return
	}
	switch {
	case kw.role == roleNone:
	case !in:
		o.aside(name)
	case o.masked:
		o.leave(name, o.out[name])
	}
}

// other keeps what no keyword makes a schema, as far as a reference leads there.
func (m mender) other(v *jsontext.Value, at string, depth int, base *url.URL) any {
	if m.targets.at(at) && (v.Kind == jsontext.Object || v.Kind == jsontext.Bool) {
		out, _ := m.schema(v, at, depth, base)
		return out
	}
	switch v.Kind {
	case jsontext.Object:
		out := make(map[string]any, len(v.Members))
		for _, member := range v.Members {
			out[member.Name] = m.other(member.Value, at+"/"+jsontext.EscapeToken(member.Name), depth+1, base)
		}
		return out
	case jsontext.Array:
		out := make([]any, len(v.Items))
		for i, item := range v.Items {
			out[i] = m.other(item, at+"/"+strconv.Itoa(i), depth+1, base)
		}
		return out
	}
	return nil
}

// kid mends a sub-schema.
func (o *object) kid(keyword string, kw keyword, v *jsontext.Value, at string, levels int) any {
	marks := o.marks
	out, loose := o.mender.schema(v, at, o.depth+levels, o.base)
	switch keyword {
	case "not", "oneOf", "if", "contains", "unevaluatedProperties", "unevaluatedItems":
		o.delicate = true
	}
	if loose && kw.role != roleNone && kw.in(o.draft) {
		o.loose, o.looseKids[keyword] = true, true
	}
	if keyword == "contentSchema" && o.marks > marks { // the text that has a secret in it is one
		o.extra.secret = true
	}
	return out
}

func (o *object) schemas(name string, kw keyword, v *jsontext.Value, at string) {
	if v.Kind != jsontext.Array || len(v.Items) == 0 && name != "items" {
		o.note(at, "an array of schemas is needed")
		o.open = true
		return
	}
	list := make([]any, len(v.Items))
	for i, item := range v.Items {
		list[i] = o.kid(name, kw, item, at+"/"+strconv.Itoa(i), 2)
	}
	o.out[name] = list
}

func (o *object) schemaMap(name string, kw keyword, v *jsontext.Value, at string) {
	if v.Kind != jsontext.Object {
		o.note(at, "an object of schemas is needed, this is "+v.Kind.String())
		o.open = true
		return
	}
	out := make(map[string]any, len(v.Members))
	for _, m := range v.Members {
		at := at + "/" + jsontext.EscapeToken(m.Name)
		switch name {
		case "patternProperties":
			if _, err := o.patterns.compile(m.Name); err != nil {
				o.note(at, err.Error())
				o.open = true
			}
		case "properties":
			o.extra.props = append(o.extra.props, m.Name)
			if o.requiresItself(m.Value) {
				o.raised = append(o.raised, m.Name)
			}
		}
		out[m.Name] = o.kid(name, kw, m.Value, at, 2)
	}
	o.out[name] = out
}

// requiresItself tells whether a property says "required": true, the way of draft-03, itself or by the definition that it refers to. With a
// condition beside it (homebridge) it is required in some cases only.
func (o *object) requiresItself(v *jsontext.Value) bool {
	for range 20 {
		if r := v.Member("required"); r != nil && r.Kind == jsontext.Bool {
			return r.Text == "true" && v.Member("condition") == nil
		}
		ref := v.Member("$ref")
		if ref == nil || !strings.HasPrefix(ref.Text, "#/") || v.Member("condition") != nil {
			return false
		}
		ptr, err := url.PathUnescape(ref.Text[1:])
		if v = o.document.value.At(ptr); err != nil || v == nil {
			return false
		}
	}
	return false
}

func (o *object) dependencies(name string, kw keyword, v *jsontext.Value, at string) {
	if v.Kind != jsontext.Object {
		o.note(at, "an object is needed, this is "+v.Kind.String())
		return
	}
	out := make(map[string]any, len(v.Members))
	for _, m := range v.Members {
		at := at + "/" + jsontext.EscapeToken(m.Name)
		switch m.Value.Kind {
		case jsontext.Array:
			out[m.Name] = o.stringList(m.Value, at)
		case jsontext.String: // one name, as draft-03 had it
			out[m.Name] = []any{m.Value.Text}
		default:
			out[m.Name] = o.kid(name, kw, m.Value, at, 2)
		}
	}
	o.out[name] = out
}

// finish leaves out what must not be enforced because something else is not.
func (o *object) finish() {
	for _, pair := range [...][2]string{{"exclusiveMinimum", "minimum"}, {"exclusiveMaximum", "maximum"}} {
		// The booleans of draft-04, which later drafts' schemas have out of habit, become the numbers that they are since draft-06.
		if exclusive, is := o.out[pair[0]].(bool); is {
			delete(o.out, pair[0])
			if limit, ok := o.out[pair[1]]; ok && exclusive {
				delete(o.out, pair[1])
				o.out[pair[0]] = limit
			}
		}
	}
	if len(o.raised) > 0 {
		list, _ := o.out["required"].([]any)
		for _, name := range o.raised {
			if !slices.Contains(list, any(name)) {
				list = append(list, name)
			}
		}
		o.out["required"] = list
	}
	if o.masked {
		delete(o.out, "const") // the library enforces it even there
		key := place{o.document, o.at + "/$ref"}
		o.loose = o.drop[key.ptr] != "" || o.looseBefore[o.resolved[key]]
	}
	if o.looseKids["not"] {
		o.aside("not")
	}
	if o.looseKids["if"] {
		o.aside("if", "then", "else")
	}
	if o.looseKids["oneOf"] { // two branches may fit only because one is not wholly enforced
		if o.out["anyOf"] != nil {
			o.aside("oneOf")
		} else {
			o.move("oneOf", "anyOf")
		}
	}
	if o.looseKids["contains"] {
		delete(o.out, "maxContains")
	}
	if o.open {
		o.aside("additionalProperties", "additionalItems")
		if o.draft >= 2020 {
			o.aside("items") // what comes before them is not known
		}
	}
	if o.loose {
		o.aside("unevaluatedProperties", "unevaluatedItems")
	}
	if names, ok := o.out["propertyNames"]; ok && keywords["propertyNames"].in(o.draft) {
		delete(o.out, "propertyNames")
		o.out[namesKey] = names
		o.moved[o.at+"/propertyNames"] = "/" + namesKey
	}
	if o.extra.nullable {
		o.allowNull()
	}
	if o.left != nil {
		o.leftovers()["="] = o.left
		o.withLeft = append(o.withLeft, o.extra)
		o.later = append(o.later, func() {
			for i := range o.left {
				o.extra.left = append(o.extra.left, place{o.document, o.at}.uri()+"/"+leftKey+"/=/"+strconv.Itoa(i))
			}
		})
	}
}

// leftovers is where the keywords go that are not in force.
func (o *object) leftovers() map[string]any {
	left, ok := o.out[leftKey].(map[string]any)
	if !ok {
		left = map[string]any{}
		o.out[leftKey] = left
	}
	return left
}

// allowNull makes null valid beside all else, as OpenAPI's "nullable" says.
func (o *object) allowNull() {
	if types, ok := o.out["type"].([]any); ok && !slices.Contains(types, any("null")) {
		o.out["type"] = append(types, "null")
	}
	if choices, ok := o.out["enum"].([]any); ok && !slices.Contains(choices, nil) {
		o.out["enum"] = append(choices, nil)
	}
	rest := map[string]any{}
	for _, name := range []string{"$ref", "allOf", "anyOf", "oneOf", "not", "const", "if", "then", "else"} {
		if v, ok := o.out[name]; ok {
			delete(o.out, name)
			rest[name] = v
			o.moved[o.at+"/"+name] = "/anyOf/1/" + name
			if r, ok := v.(*ref); ok {
				r.in = rest
			}
		}
	}
	if o.extra.nullable = len(rest) > 0; o.extra.nullable {
		o.out["anyOf"] = []any{map[string]any{"type": "null"}, rest}
	}
}

// move gives a keyword another name in the mended schema.
func (o *object) move(from, to string) {
	o.out[to] = o.out[from]
	delete(o.out, from)
	o.moved[o.at+"/"+from] = "/" + to
}

// aside takes keywords out of force. References into them, and secrets that they tell of, stay.
func (o *object) aside(names ...string) {
	for _, name := range names {
		v, ok := o.out[name]
		if !ok {
			continue
		}
		o.leftovers()[name] = v
		delete(o.out, name)
		o.moved[o.at+"/"+name] = "/" + leftKey + "/" + name
		o.leave(name, v)
	}
}

// leave notes that the sub-schemas v of a keyword are not in force and may tell of secrets.
func (o *object) leave(name string, v any) {
	refer := func(below string) any { return o.referTo(place{o.document, o.at + "/" + name + below}) }
	var all []any
	byName := map[string]any{}
	switch v := v.(type) {
	case []any:
		for i := range v {
			all = append(all, refer("/"+strconv.Itoa(i)))
		}
	case map[string]any:
		if keywords[name].form == formSchema || keywords[name].form == formItems {
			all = []any{refer("")}
			break
		}
		for key, sub := range v {
			if _, names := sub.([]any); !names { // of dependencies
				byName[key] = refer("/" + jsontext.EscapeToken(key))
				all = append(all, byName[key])
			}
		}
	}
	if all == nil {
		return
	}
	either := map[string]any{"anyOf": all}
	switch {
	case name == "properties":
		o.left = append(o.left, map[string]any{"properties": byName})
	case keywords[name].role == roleMember:
		o.left = append(o.left, map[string]any{"additionalProperties": either})
	case keywords[name].role == roleItem:
		o.left = append(o.left, map[string]any{"items": either})
	default:
		o.left = append(o.left, either)
	}
}

// home returns where the schema at a place of the given document stands in the mended one.
func (d *document) home(at string) string {
	if len(d.moved) == 0 {
		return at
	}
	var given, home strings.Builder
	for token := range strings.SplitSeq(strings.TrimPrefix(at, "/"), "/") {
		if at == "" {
			break
		}
		given.WriteString("/" + token)
		if to, ok := d.moved[given.String()]; ok {
			home.WriteString(to)
		} else {
			home.WriteString("/" + token)
		}
	}
	return home.String()
}

// value mends a keyword that has no sub-schemas.
func (o *object) value(f form, name string, v *jsontext.Value, at string) {
	refuse := func(want string) { o.note(at, want+" is needed, this is "+v.Kind.String()) }
	want := map[form]jsontext.Kind{formEnum: jsontext.Array, formNumber: jsontext.Number, formPositive: jsontext.Number, formCount: jsontext.Number,
		formBool: jsontext.Bool, formPattern: jsontext.String, formNameMap: jsontext.Object}
	if kind, ok := want[f]; ok && v.Kind != kind {
		refuse(kind.String())
		return
	}
	if huge, ok := findHugeNumber(v); ok && (f == formEnum || f == formConst || v.Kind == jsontext.Number) {
		o.note(at+huge, hugeNumber)
		return
	}
	switch f {
	case formType:
		o.typeWords(at, v)
	case formEnum:
		if len(v.Items) == 0 && o.draft < 2019 { // choices that are filled in later, as a rule; from 2019-09 on a draft allows to mean it
			o.note(at, "a value is needed, this array is empty")
			return
		}
		o.out[name] = distinct(v.Items)
	case formConst:
		o.out[name] = toAny(v)
	case formExclusive:
		switch v.Kind {
		case jsontext.Bool, jsontext.Number:
			o.out[name] = toAny(v) // see finish
		default:
			refuse("a number")
		}
	case formNumber:
		o.out[name] = toAny(v)
	case formPositive:
		if rational(v.Text).Sign() <= 0 {
			o.note(at, "a number greater than 0 is needed")
			return
		}
		o.out[name] = toAny(v)
	case formCount:
		x := rational(v.Text)
		if !x.IsInt() || x.Sign() < 0 {
			o.note(at, "an integer not less than 0 is needed")
			return
		}
		count := int64(maxCount)
		if x.Num().IsInt64() {
			count = min(count, x.Num().Int64())
		}
		o.out[name] = json.Number(strconv.FormatInt(count, 10))
	case formBool:
		o.out[name] = toAny(v)
	case formPattern:
		if _, err := o.patterns.compile(v.Text); err != nil {
			o.note(at, err.Error())
			return
		}
		o.out[name] = v.Text
	case formRequired:
		switch v.Kind {
		case jsontext.Bool: // see requiresItself
		case jsontext.Array:
			if list := o.stringList(v, at); len(list) > 0 {
				o.out[name] = list
			}
		default:
			refuse("an array of names")
		}
	case formNameMap:
		lists := map[string]any{}
		for _, m := range v.Members {
			at := at + "/" + jsontext.EscapeToken(m.Name)
			if m.Value.Kind != jsontext.Array {
				o.note(at, "an array of names is needed, this is "+m.Value.Kind.String())
				continue
			}
			lists[m.Name] = o.stringList(m.Value, at)
		}
		o.out[name] = lists
	}
}

// maxCount is larger than anything counted: the library keeps counts in an int.
const maxCount = 1 << 30

// stringList reads an array of names. Each is taken once.
func (o *object) stringList(v *jsontext.Value, at string) []any {
	list := make([]any, 0, len(v.Items))
	seen := make(map[string]bool, len(v.Items))
	for i, item := range v.Items {
		if item.Kind != jsontext.String {
			o.note(at+"/"+strconv.Itoa(i), "a name is needed, this is "+item.Kind.String())
			continue
		}
		if !seen[item.Text] {
			seen[item.Text] = true
			list = append(list, item.Text)
		}
	}
	return list
}

var jsonTypes = []string{"null", "boolean", "integer", "number", "string", "array", "object"}

// splitTypes reads what people write as a type: a type, or several with a bar, a comma, a slash or "or" between them. known is
// false if one of the words is no type of JSON.
func splitTypes(text string) (types []string, known bool) {
	known = true
	text = strings.ToLower(text)
	for part := range strings.SplitSeq(strings.ReplaceAll(text, " or ", "|"), "|") {
		for word := range strings.FieldsFuncSeq(part, func(c rune) bool { return c == ',' || c == '/' }) {
			switch word = strings.TrimSpace(word); {
			case slices.Contains(jsonTypes, word):
				types = append(types, word)
			case word != "":
				known = false
			}
		}
	}
	return types, known && len(types) > 0
}

// typeWords reads the value of "type", or the text that stands for a whole schema.
func (o *object) typeWords(at string, v *jsontext.Value) {
	words := []*jsontext.Value{v}
	if v.Kind == jsontext.Array {
		words = v.Items
	}
	var types []any
	ok := len(words) > 0
	for _, w := range words {
		var list []string
		known := false
		switch w.Kind {
		case jsontext.Null:
			list, known = []string{"null"}, v.Kind == jsontext.Array
		case jsontext.String:
			if t := strings.ToLower(strings.TrimSpace(w.Text)); t == "password" || t == "secret" {
				o.extra.secret = true
			}
			list, known = splitTypes(w.Text)
		}
		ok = ok && known
		for _, t := range list {
			if !slices.Contains(types, any(t)) {
				types = append(types, t)
			}
		}
	}
	if !ok {
		o.note(at, "says no type that JSON has; they are "+strings.Join(jsonTypes, ", "))
		return
	}
	o.out["type"] = types
}

var hugeNumber = fmt.Sprintf("a number has over %d characters or an exponent over %d", MaxNumberText, MaxNumberExponent)
