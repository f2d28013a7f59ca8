package schema

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Issue is one thing that is wrong with a config.
type Issue struct {
	Pointer string // JSON Pointer (RFC 6901) to the place in the config; "" is the whole config
	Keyword string // of the schema, or "" where it is not the schema that objects
	Message string // a sentence that says what is wanted; it quotes the schema, never a value of the config
}

// Validate returns every issue of config, the text of a JSON object, in the order of its places in the text; nil says that it
// is valid. Numbers are compared exactly. Numbers over MaxNumberText or MaxNumberExponent are issues, and where there is one,
// or where checking would take too long, nothing else is looked at.
//
// It must not be called where the schema is not Usable: nothing is valid then.
func (s *Schema) Validate(config []byte) []Issue {
	v, err := jsontext.Parse(config)
	if err != nil {
		e, _ := errors.AsType[*jsontext.Error](err)
		return []Issue{{Pointer: e.Pointer, Message: "it is not valid JSON: " + e.Reason}}
	}
	return s.ValidateValue(v)
}

// ValidateValue is Validate for a config that was read already.
func (s *Schema) ValidateValue(config *jsontext.Value) []Issue {
	if s.compiled == nil {
		return []Issue{{Message: "it cannot be checked, because the schema cannot be used"}}
	}
	return s.withoutEchoes(s.validate(config))
}

// maxEchoes is how many issues are looked through for echoes.
const maxEchoes = 1000

// withoutEchoes drops what unevaluatedProperties and unevaluatedItems say of places that the schema does declare, where there
// is another issue beside or below: they count as unevaluated only because of that.
func (s *Schema) withoutEchoes(issues []Issue) []Issue {
	if len(issues) < 2 || len(issues) > maxEchoes {
		return issues
	}
	kept := slices.DeleteFunc(slices.Clone(issues), func(i Issue) bool {
		if i.Pointer == "" || !strings.HasPrefix(i.Keyword, "unevaluated") || !s.Declares(i.Pointer) {
			return false
		}
		parent := i.Pointer[:strings.LastIndexByte(i.Pointer, '/')]
		return slices.ContainsFunc(issues, func(other Issue) bool {
			rest, below := strings.CutPrefix(other.Pointer, parent+"/")
			return below && (strings.Contains(rest, "/") || other.Keyword != i.Keyword) || other.Pointer == parent
		})
	})
	if len(kept) == 0 { // each is an echo of another
		return issues
	}
	return kept
}

func (s *Schema) validate(v *jsontext.Value) (issues []Issue) {
	if hasHugeNumber(v) {
		eachHugeNumber(v, "", func(at string) {
			issues = append(issues, Issue{Pointer: at, Message: fmt.Sprintf(
				"the number must have at most %d characters and an exponent of at most %d", MaxNumberText, MaxNumberExponent)})
		})
		return issues
	}
	if stepsFor(s.root, v, s.steps) > maxSteps {
		return []Issue{{Message: "the schema is too costly to check on this config"}}
	}
	err := run(s.compiled, v)
	if err == nil {
		return nil
	}
	var f flattener
	if e, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		issues = f.issues(e)
	}
	if len(issues) == 0 { // an invalid config never goes without one
		issues = []Issue{{Message: "the schema does not allow it"}}
	}
	return arrange(issues, v)
}

// run lets the validator check v. Its errors quote values.
func run(compiled *jsonschema.Schema, v *jsontext.Value) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the validator failed")
		}
	}()
	return compiled.Validate(toAny(v))
}

// arrange sorts issues by their places in v and drops those that say the same twice.
func arrange(issues []Issue, v *jsontext.Value) []Issue {
	if len(issues) == 1 {
		return issues
	}
	rank := make(map[string]int, len(issues))
	for _, i := range issues {
		rank[i.Pointer] = 0
	}
	left := len(rank)
	count := 0
	var walk func(v *jsontext.Value, at string)
	walk = func(v *jsontext.Value, at string) {
		count++
		if _, ok := rank[at]; ok {
			rank[at] = count
			left--
		}
		for i, item := range v.Items {
			if left > 0 {
				walk(item, at+"/"+strconv.Itoa(i))
			}
		}
		for _, m := range v.Members {
			if left > 0 {
				walk(m.Value, at+"/"+jsontext.EscapeToken(m.Name))
			}
		}
	}
	walk(v, "")
	slices.SortFunc(issues, func(a, b Issue) int {
		if c := rank[a.Pointer] - rank[b.Pointer]; c != 0 {
			return c
		}
		if c := strings.Compare(a.Keyword, b.Keyword); c != 0 {
			return c
		}
		return strings.Compare(a.Message, b.Message)
	})
	return slices.Compact(issues)
}

func hasHugeNumber(v *jsontext.Value) bool {
	switch v.Kind {
	case jsontext.Number:
		return isHugeNumber(v.Text)
	case jsontext.Array:
		return slices.ContainsFunc(v.Items, hasHugeNumber)
	case jsontext.Object:
		return slices.ContainsFunc(v.Members, func(m jsontext.Member) bool { return hasHugeNumber(m.Value) })
	}
	return false
}

func eachHugeNumber(v *jsontext.Value, at string, f func(at string)) {
	switch v.Kind {
	case jsontext.Number:
		if isHugeNumber(v.Text) {
			f(at)
		}
	case jsontext.Array:
		for i, item := range v.Items {
			eachHugeNumber(item, at+"/"+strconv.Itoa(i), f)
		}
	case jsontext.Object:
		for _, m := range v.Members {
			eachHugeNumber(m.Value, at+"/"+jsontext.EscapeToken(m.Name), f)
		}
	}
}
