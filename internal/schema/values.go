package schema

import (
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
)

// toAny gives a value the form that the library reads.
func toAny(v *jsontext.Value) any {
	switch v.Kind {
	case jsontext.Null:
		return nil
	case jsontext.Bool:
		return v.Text == "true"
	case jsontext.Number:
		return json.Number(v.Text)
	case jsontext.String:
		return v.Text
	case jsontext.Array:
		list := make([]any, len(v.Items))
		for i, item := range v.Items {
			list[i] = toAny(item)
		}
		return list
	}
	obj := make(map[string]any, len(v.Members))
	for _, m := range v.Members {
		obj[m.Name] = toAny(m.Value)
	}
	return obj
}

// rational reads a number that is not huge.
func rational(text string) *big.Rat {
	x, _ := new(big.Rat).SetString(text)
	return x
}

// distinct gives values the form that the library reads, equal ones once: before 2019-09 it takes no others.
func distinct(values []*jsontext.Value) []any {
	list := make([]any, 0, len(values))
	seen := make(map[string]bool, len(values))
	for _, v := range values {
		if key := string(appendKey(nil, v)); !seen[key] {
			seen[key] = true
			list = append(list, toAny(v))
		}
	}
	return list
}

// appendKey appends a text that is the same for all values that JSON Schema calls equal.
func appendKey(dst []byte, v *jsontext.Value) []byte {
	switch v.Kind {
	case jsontext.Number:
		return append(dst, rational(v.Text).RatString()...)
	case jsontext.Array:
		dst = append(dst, '[')
		for _, item := range v.Items {
			dst = append(appendKey(dst, item), ',')
		}
		return append(dst, ']')
	case jsontext.Object:
		dst = append(dst, '{')
		for _, m := range slices.SortedFunc(slices.Values(v.Members), func(a, b jsontext.Member) int { return strings.Compare(a.Name, b.Name) }) {
			dst = append(jsontext.AppendQuoted(dst, m.Name), ':')
			dst = append(appendKey(dst, m.Value), ',')
		}
		return append(dst, '}')
	}
	return v.Append(dst)
}

// isHugeNumber tells whether a number is over the limits.
func isHugeNumber(text string) bool {
	if len(text) > MaxNumberText {
		return true
	}
	e := strings.IndexAny(text, "eE")
	if e < 0 {
		return false
	}
	digits := strings.TrimLeft(text[e+1:], "+-0")
	if len(digits) > 5 {
		return true
	}
	exponent, _ := strconv.Atoi("0" + digits)
	return exponent > MaxNumberExponent
}

// findHugeNumber returns the place of the first number over the limits.
func findHugeNumber(v *jsontext.Value) (at string, found bool) {
	for place, v := range v.All() {
		if v.Kind == jsontext.Number && isHugeNumber(v.Text) {
			return place.Pointer(), true
		}
	}
	return "", false
}

// isMark tells whether a keyword marks what its schema applies to as secret.
func isMark(keyword string, v *jsontext.Value) bool {
	says := func(v *jsontext.Value, word string) bool {
		return v != nil && v.Kind == jsontext.String && strings.EqualFold(v.Text, word)
	}
	switch keyword {
	case "writeOnly", "x-secret", "airbyte_secret":
		return truthy(v)
	case "sensitive", "x-sensitive":
		return v.Kind < jsontext.Array && truthy(v)
	case "secret":
		return v.Kind == jsontext.Bool && v.Text == "true"
	case "format", "ui:widget":
		return says(v, "password")
	case "visibility":
		return says(v, "secret")
	case "x-schema-form":
		return says(v.Member("type"), "password")
	case "ui:options":
		return says(v.Member("widget"), "password")
	}
	return false
}

// truthy reads a mark that should be a boolean: what is not plainly a no is a yes.
func truthy(v *jsontext.Value) bool {
	switch v.Kind {
	case jsontext.Null:
		return false
	case jsontext.Bool:
		return v.Text == "true"
	case jsontext.Number:
		return strings.ContainsAny(v.Text, "123456789")
	case jsontext.String:
		switch strings.ToLower(strings.TrimSpace(v.Text)) {
		case "", "false", "no", "off", "0":
			return false
		}
	}
	return true
}

// speaks tells whether there is a mark anywhere in v.
func speaks(v *jsontext.Value) bool {
	for _, v := range v.All() {
		if slices.ContainsFunc(v.Members, func(m jsontext.Member) bool { return isMark(m.Name, m.Value) }) {
			return true
		}
	}
	return false
}

// isBareMap tells whether a whole schema is but a map of properties: no keyword is used as one, and there is a member that is
// no keyword and looks like the schema of a property.
func isBareMap(doc *jsontext.Value) bool {
	found := false
	for _, m := range doc.Members {
		kw, ok := keywords[m.Name]
		switch {
		case ok && used(kw, m):
			if kw.since != 0 {
				return false
			}
		case strings.HasPrefix(m.Name, "$") && !ok, strings.HasPrefix(m.Name, "x-"):
		default:
			found = found || looksLikeSchema(m.Value)
		}
	}
	return found
}

// wrapped returns the name of the member that is the schema, if doc is a document of homebridge, Airbyte or their like around one.
func wrapped(doc *jsontext.Value) string {
	for _, name := range []string{"schema", "connectionSpecification", "configSchema", "configurationSchema"} {
		inner := doc.Member(name)
		if inner != nil && inner.Kind == jsontext.Object && inner.Member("properties") != nil && inner.Member("properties").Kind == jsontext.Object &&
			(doc.Member("properties") == nil || doc.Member("properties").Kind != jsontext.Object) {
			return name
		}
	}
	return ""
}

// used tells whether a member with the name of a keyword has a value such as that keyword has.
func used(kw keyword, m jsontext.Member) bool {
	kind := m.Value.Kind
	switch kw.form {
	case formText, formRef, formPattern:
		return kind == jsontext.String
	case formFlag, formBool:
		return kind == jsontext.Bool
	case formAnnotation:
		return !looksLikeSchema(m.Value)
	case formSchema:
		return kind == jsontext.Object || kind == jsontext.Bool
	case formSchemas, formEnum:
		return kind == jsontext.Array
	case formRequired:
		return kind == jsontext.Array || kind == jsontext.Bool
	case formSchemaMap, formDeps, formNameMap:
		return kind == jsontext.Object
	case formItems:
		return kind == jsontext.Object || kind == jsontext.Array || kind == jsontext.Bool
	case formType:
		return kind == jsontext.String || kind == jsontext.Array
	case formNumber, formPositive, formCount:
		return kind == jsontext.Number
	case formExclusive:
		return kind == jsontext.Number || kind == jsontext.Bool
	}
	return true
}

// looksLikeSchema tells whether v is the name of a type or an object with a keyword used as one.
func looksLikeSchema(v *jsontext.Value) bool {
	switch v.Kind {
	case jsontext.String:
		_, known := splitTypes(v.Text)
		return known
	case jsontext.Object:
		return slices.ContainsFunc(v.Members, func(m jsontext.Member) bool {
			kw, ok := keywords[m.Name]
			if !ok {
				return isMark(m.Name, m.Value)
			}
			if kw.form == formAnnotation || kw.form == formConst {
				return m.Name == "default"
			}
			return used(kw, m)
		})
	}
	return false
}

// asProperties writes a bare map as the schema it stands for.
func asProperties(doc *jsontext.Value) *jsontext.Value {
	props := &jsontext.Value{Kind: jsontext.Object}
	out := &jsontext.Value{Kind: jsontext.Object}
	for _, m := range doc.Members {
		if kw, ok := keywords[m.Name]; ok && used(kw, m) || strings.HasPrefix(m.Name, "$") && !ok && m.Value.Kind != jsontext.Object {
			out.Members = append(out.Members, m)
		} else {
			props.Members = append(props.Members, m)
		}
	}
	out.Members = append(out.Members, jsontext.Member{Name: "properties", Value: props})
	return out
}
