package schema

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// maxChoices is how many allowed values a message names.
const maxChoices = 20

// flattener turns the validator's tree of errors into issues. It takes words from the schema and names from the config, never
// values, and so never the validator's own texts.
type flattener struct{}

func (f flattener) issues(e *jsonschema.ValidationError) []Issue {
	at := jsontext.JoinPointer(e.InstanceLocation...)
	one := func(keyword, format string, args ...any) []Issue {
		return []Issue{{Pointer: at, Keyword: keyword, Message: fmt.Sprintf(format, args...)}}
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		return f.all(e.Causes)
	case *kind.AnyOf:
		return f.closest(at, "anyOf", e.Causes)
	case *kind.OneOf:
		if len(k.Subschemas) > 0 {
			return one("oneOf", "fits more than one of the allowed forms (number %d and number %d), it must fit exactly one",
				k.Subschemas[0]+1, k.Subschemas[1]+1)
		}
		return f.closest(at, "oneOf", e.Causes)
	case *kind.Not:
		return one("not", "has a form that is not allowed here")
	case *kind.FalseSchema:
		return one(falseKeyword(e.SchemaURL), "is not allowed here: remove it")
	case *kind.RefCycle:
		return one("$ref", "cannot be checked: the schema refers back to itself")
	case *kind.Type:
		return one("type", "must be %s", typeNames(k.Want))
	case *kind.Const:
		return one("const", "must be %s", schemaText(k.Want))
	case *kind.Enum:
		return one("enum", "must be %s", choices(k.Want))
	case *kind.Required:
		return f.missing(at, "required", k.Missing, "")
	case *kind.Dependency:
		return f.missing(at, "dependencies", k.Missing, k.Prop)
	case *kind.DependentRequired:
		return f.missing(at, "dependentRequired", k.Missing, k.Prop)
	case *kind.AdditionalProperties:
		var list []Issue
		for _, name := range k.Properties {
			list = append(list, Issue{at + "/" + jsontext.EscapeToken(name), "additionalProperties",
				"the schema does not know this property: remove it or correct its name"})
		}
		return list
	case *kind.PropertyNames:
		why := "the schema does not allow this name"
		for i, cause := range f.all(e.Causes) {
			if i > 0 {
				why += " and"
			}
			why += " " + cause.Message
			if i == 0 {
				why = "the name " + cause.Message
			}
		}
		return []Issue{{at + "/" + jsontext.EscapeToken(k.Property), "propertyNames", why}}
	case *kind.MinProperties:
		return one("minProperties", "must have at least %s", count(k.Want, "property", "properties"))
	case *kind.MaxProperties:
		return one("maxProperties", "must have at most %s", count(k.Want, "property", "properties"))
	case *kind.MinItems:
		return one("minItems", "must have at least %s", count(k.Want, "item", "items"))
	case *kind.MaxItems:
		return one("maxItems", "must have at most %s", count(k.Want, "item", "items"))
	case *kind.AdditionalItems:
		return one("additionalItems", "has %s too many", count(k.Count, "item", "items"))
	case *kind.UniqueItems:
		return one("uniqueItems", "must not have the same item twice, as items %d and %d are", k.Duplicates[0], k.Duplicates[1])
	case *kind.Contains:
		return one("contains", "must have an item of the form that the schema asks for")
	case *kind.MinContains:
		return one("minContains", "must have at least %s of the form that the schema asks for", count(k.Want, "item", "items"))
	case *kind.MaxContains:
		return one("maxContains", "must have at most %s of the form that the schema tells", count(k.Want, "item", "items"))
	case *kind.MinLength:
		if k.Want == 1 {
			return one("minLength", "must not be empty")
		}
		return one("minLength", "must have at least %s", count(k.Want, "character", "characters"))
	case *kind.MaxLength:
		return one("maxLength", "must have at most %s", count(k.Want, "character", "characters"))
	case *kind.Pattern:
		return one("pattern", "must match the regular expression %s", quoteShort(k.Want))
	case *kind.Minimum:
		return one("minimum", "must be at least %s", number(k.Want))
	case *kind.Maximum:
		return one("maximum", "must be at most %s", number(k.Want))
	case *kind.ExclusiveMinimum:
		return one("exclusiveMinimum", "must be greater than %s", number(k.Want))
	case *kind.ExclusiveMaximum:
		return one("exclusiveMaximum", "must be less than %s", number(k.Want))
	case *kind.MultipleOf:
		return one("multipleOf", "must be a multiple of %s", number(k.Want))
	}
	if len(e.Causes) > 0 {
		return f.all(e.Causes)
	}
	keyword := ""
	if path := e.ErrorKind.KeywordPath(); len(path) > 0 {
		keyword = path[0]
	}
	return one(keyword, "is not as the schema wants it")
}

func (f flattener) all(causes []*jsonschema.ValidationError) (list []Issue) {
	for _, c := range causes {
		list = append(list, f.issues(c)...)
	}
	return list
}

// closest says that a value fits none of several forms, and why it does not fit the one that it comes closest to: one that
// does not fail at once by its type or by a fixed value, then the one with the fewest issues.
func (f flattener) closest(at, keyword string, branches []*jsonschema.ValidationError) []Issue {
	var best, all []Issue
	bestCost := 0
	for _, b := range branches {
		list := f.issues(b)
		all = append(all, list...)
		if len(branches) == 1 {
			return list
		}
		cost := len(list)
		for _, i := range list {
			switch i.Keyword {
			case "type":
				if i.Pointer == at {
					cost += 1 << 20
				}
			case "const", "enum":
				cost += 1 << 10
			}
		}
		if best == nil || cost < bestCost {
			best, bestCost = list, cost
		}
	}
	if bestCost < 1<<20 {
		return append([]Issue{{at, keyword, "fits none of the allowed forms; the closest one has the issues that follow"}}, best...)
	}
	var wants []string
	for _, i := range all {
		if i.Pointer == at && i.Keyword == "type" {
			wants = append(wants, i.Message)
		}
	}
	slices.Sort(wants)
	wants = slices.Compact(wants)
	return []Issue{{at, keyword, "fits none of the allowed forms: it " + list(wants, "or it")}}
}

func (f flattener) missing(at, keyword string, names []string, because string) (list []Issue) {
	for _, name := range names {
		message := "the property " + quoteShort(name) + " is missing"
		if because != "" {
			message += ", it is needed because " + quoteShort(because) + " is there"
		}
		list = append(list, Issue{at, keyword, message})
	}
	return list
}

// falseKeyword finds the keyword that has the schema false at that URL.
func falseKeyword(schemaURL string) string {
	_, ptr, _ := strings.Cut(schemaURL, "#")
	if raw, err := url.PathUnescape(ptr); err == nil {
		ptr = raw
	}
	tokens, err := jsontext.SplitPointer(ptr)
	if err != nil {
		return ""
	}
	keyword := ""
	for i := 0; i < len(tokens); i++ { // a keyword, then the names or indexes below it
		kw, ok := keywords[tokens[i]]
		if !ok || kw.since == 0 {
			break
		}
		keyword = tokens[i]
		switch kw.form {
		case formSchemas, formSchemaMap, formDeps:
			i++
		case formItems:
			if i+1 < len(tokens) {
				if _, err := strconv.Atoi(tokens[i+1]); err == nil {
					i++
				}
			}
		}
	}
	if keywords[keyword].role == roleNone && keyword != "" {
		return "$ref"
	}
	return keyword
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// list joins words as a sentence does.
func list(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	n := len(words) - 1
	return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
}

func typeNames(types []string) string {
	var names []string
	for _, t := range types {
		switch t {
		case "null":
			names = append(names, "null")
		case "integer", "array", "object":
			names = append(names, "an "+t)
		default:
			names = append(names, "a "+t)
		}
	}
	return list(names, "or")
}

func choices(values []any) string {
	var texts []string
	for i, v := range values {
		if i == maxChoices {
			texts = append(texts, fmt.Sprintf("%d others", len(values)-i))
			break
		}
		texts = append(texts, schemaText(v))
	}
	switch len(texts) {
	case 0:
		return "left out: no value is allowed"
	case 1:
		return texts[0]
	}
	return "one of " + list(texts, "or")
}

// schemaText writes a value of the schema.
func schemaText(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "what the schema says"
	}
	text := strings.TrimSuffix(b.String(), "\n")
	if len(text) > maxNoteText {
		return strings.ToValidUTF8(text[:maxNoteText], "") + "…"
	}
	return text
}

// number writes a limit exactly, as far as it has an end.
func number(x *big.Rat) string {
	if x.IsInt() {
		if text := x.Num().String(); len(text) <= 40 {
			return text
		}
		return x.FloatString(0)[:20] + "… (" + strconv.Itoa(len(x.Num().String())) + " digits)"
	}
	if digits, exact := x.FloatPrec(); exact && digits <= 40 {
		return x.FloatString(digits)
	}
	f, _ := x.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}
