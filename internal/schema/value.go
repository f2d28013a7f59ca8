package schema

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
)

// value reads a keyword that has no sub-schemas.
func (r *reader) value(n *node, f form, name string, v *jsontext.Value, at string) {
	refuse := func(want string) { r.note(n, at, want+" is needed, this is "+kindName(v.Kind)) }
	switch f {
	case formType:
		r.typeWords(n, at, v)
	case formEnum:
		if v.Kind != jsontext.Array {
			refuse("an array")
			return
		}
		if len(v.Items) == 0 && r.draft < 2019 { // choices that are filled in later, as a rule; from 2019-09 on a draft allows to mean it
			r.note(n, at, "a value is needed, this array is empty")
			return
		}
		if at, ok := findHugeNumber(v, at); ok {
			r.note(n, at, hugeNumber)
			return
		}
		n.set(name, distinct(v.Items))
		n.weight += len(v.Items)
	case formConst:
		if at, ok := findHugeNumber(v, at); ok {
			r.note(n, at, hugeNumber)
			return
		}
		n.set(name, toAny(v))
	case formNumber, formPositive, formCount, formExclusive:
		if f == formExclusive && v.Kind == jsontext.Bool {
			n.set(name, v.Text == "true") // see exclusive
			return
		}
		if v.Kind != jsontext.Number {
			refuse("a number")
			return
		}
		if isHugeNumber(v.Text) {
			r.note(n, at, hugeNumber)
			return
		}
		r.number(n, f, name, v.Text, at)
	case formBool:
		if v.Kind != jsontext.Bool {
			refuse("a boolean")
			return
		}
		n.set(name, v.Text == "true")
	case formPattern:
		if v.Kind != jsontext.String {
			refuse("a string")
			return
		}
		if _, err := r.patterns.compile(v.Text); err != nil {
			r.note(n, at, err.Error())
			return
		}
		n.weight += 1 + len(v.Text)/16
		n.scans = true
		n.set(name, v.Text)
	case formRequired:
		switch v.Kind {
		case jsontext.Bool:
			n.required = v.Text == "true"
		case jsontext.Array:
			if list := r.stringList(n, v, at); len(list) > 0 {
				n.set(name, list)
			}
		default:
			refuse("an array of names")
		}
	case formNameMap:
		if v.Kind != jsontext.Object {
			refuse("an object")
			return
		}
		lists := map[string]any{}
		for _, m := range v.Members {
			at := at + "/" + jsontext.EscapeToken(m.Name)
			if m.Value.Kind != jsontext.Array {
				r.note(n, at, "an array of names is needed, this is "+kindName(m.Value.Kind))
				continue
			}
			lists[m.Name] = r.stringList(n, m.Value, at)
		}
		n.set(name, lists)
	}
}

// distinct gives values the form that the validator reads, equal ones once: before 2019-09 it takes no others.
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
		if x, ok := new(big.Rat).SetString(v.Text); ok {
			return append(dst, x.RatString()...)
		}
	case jsontext.Array:
		dst = append(dst, '[')
		for _, item := range v.Items {
			dst = append(appendKey(dst, item), ',')
		}
		return append(dst, ']')
	case jsontext.Object:
		dst = append(dst, '{')
		members := slices.SortedFunc(slices.Values(v.Members), func(a, b jsontext.Member) int { return strings.Compare(a.Name, b.Name) })
		for _, m := range members {
			dst = append(jsontext.AppendQuoted(dst, m.Name), ':')
			dst = append(appendKey(dst, m.Value), ',')
		}
		return append(dst, '}')
	}
	return v.Append(dst)
}

// maxCount is larger than anything counted: the validator keeps counts in an int.
const maxCount = 1 << 30

func (r *reader) number(n *node, f form, name, text, at string) {
	if f == formNumber || f == formExclusive {
		n.set(name, json.Number(text))
		return
	}
	x, ok := new(big.Rat).SetString(text)
	switch {
	case !ok:
		r.note(n, at, "a number is needed")
	case f == formPositive:
		if x.Sign() <= 0 {
			r.note(n, at, "a number greater than 0 is needed")
			return
		}
		n.set(name, json.Number(text))
	case !x.IsInt() || x.Sign() < 0:
		r.note(n, at, "an integer not less than 0 is needed")
	case x.Cmp(big.NewRat(maxCount, 1)) > 0:
		n.set(name, json.Number(strconv.Itoa(maxCount)))
	default:
		n.set(name, json.Number(x.Num().String()))
	}
}

// exclusive turns the boolean exclusiveMinimum and exclusiveMaximum of draft-04, which later drafts' schemas have out of
// habit, into the numbers that they are since draft-06.
func (r *reader) exclusive(n *node) {
	for _, pair := range [...][2]string{{"exclusiveMinimum", "minimum"}, {"exclusiveMaximum", "maximum"}} {
		exclusive, is := n.plain[pair[0]].(bool)
		if !is {
			continue
		}
		delete(n.plain, pair[0])
		if limit, ok := n.plain[pair[1]]; ok && exclusive {
			delete(n.plain, pair[1])
			n.plain[pair[0]] = limit
		}
	}
}

// stringList reads an array of names. Each is taken once.
func (r *reader) stringList(n *node, v *jsontext.Value, at string) []any {
	list := make([]any, 0, len(v.Items))
	seen := make(map[string]bool, len(v.Items))
	for i, item := range v.Items {
		if item.Kind != jsontext.String {
			r.note(n, at+"/"+strconv.Itoa(i), "a name is needed, this is "+kindName(item.Kind))
			continue
		}
		if !seen[item.Text] {
			seen[item.Text] = true
			list = append(list, item.Text)
		}
	}
	n.weight += len(list)
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
func (r *reader) typeWords(n *node, at string, v *jsontext.Value) {
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
				n.secret = true
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
		r.note(n, at, "says no type that JSON has; they are "+strings.Join(jsonTypes, ", "))
		return
	}
	n.set("type", types)
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

var hugeNumber = fmt.Sprintf("a number has over %d characters or an exponent over %d", MaxNumberText, MaxNumberExponent)

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
func findHugeNumber(v *jsontext.Value, at string) (string, bool) {
	switch v.Kind {
	case jsontext.Number:
		return at, isHugeNumber(v.Text)
	case jsontext.Array:
		for i, item := range v.Items {
			if at, ok := findHugeNumber(item, at+"/"+strconv.Itoa(i)); ok {
				return at, true
			}
		}
	case jsontext.Object:
		for _, m := range v.Members {
			if at, ok := findHugeNumber(m.Value, at+"/"+jsontext.EscapeToken(m.Name)); ok {
				return at, true
			}
		}
	}
	return "", false
}

// toAny gives a value the form that the validator reads.
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
