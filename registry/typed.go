package registry

import (
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/invopop/jsonschema"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/internal/schema"
)

// ConfigAs returns the effective config of id (see EffectiveConfig) as a T, as json.Unmarshal decodes it. It is validated first: as
// SaveConfig would, and a key that neither T nor the plugin's schema knows is an issue, too; what is inside a member that only the schema
// knows is left to the schema. The errors are those of EffectiveConfig, a *ValidationError, or a *store.Error where a value does not fit
// the Go type.
func ConfigAs[T any](ctx context.Context, r *Registry, id string) (T, error) {
	var value T
	s := r.schemaState(id)
	rec, config, err := r.effective(ctx, id, s)
	if err != nil {
		return value, err
	}
	if config == nil {
		if config, err = jsontext.Parse(rec.Config); err != nil {
			return value, fault(id, "the config", err)
		}
	}
	if err := r.validate(id, s, rec.Config, config); err != nil {
		return value, err
	}
	declares := func(string) bool { return false }
	if s != nil {
		declares = r.use(s, id).Declares
	}
	var issues []Issue
	known := knownFields{}
	known.eachUnknown(config, reflect.TypeFor[T](), "", func(pointer string) {
		if !declares(pointer) {
			issues = append(issues, Issue{pointer, "additionalProperties",
				fmt.Sprintf("neither the schema nor the Go type %s knows this key; remove it, or correct its name", reflect.TypeFor[T]())})
		}
	})
	if issues != nil {
		return value, &ValidationError{ID: id, Issues: issues}
	}
	if err := rec.Decode(&value); err != nil {
		return *new(T), err
	}
	return value, nil
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// knownFields are the fields of the struct types that were met.
type knownFields map[reflect.Type][]field

// field is one as encoding/json sees it.
type field struct {
	name  string
	t     reflect.Type
	index []int // the way to it through embedded structs
}

// eachUnknown calls f with the pointer of every member of v that t has no field for. Only objects and arrays have any.
func (k knownFields) eachUnknown(v *jsontext.Value, t reflect.Type, pointer string, f func(pointer string)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if p := reflect.PointerTo(t); p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler) {
		return // the type itself knows
	}
	switch {
	case t.Kind() == reflect.Struct && v.Kind == jsontext.Object:
		for _, m := range v.Members {
			if field, ok := k.field(t, m.Name); !ok {
				f(pointer + "/" + jsontext.EscapeToken(m.Name))
			} else if m.Value.Kind >= jsontext.Array {
				k.eachUnknown(m.Value, field, pointer+"/"+jsontext.EscapeToken(m.Name), f)
			}
		}
	case t.Kind() == reflect.Map && v.Kind == jsontext.Object:
		for _, m := range v.Members {
			if m.Value.Kind >= jsontext.Array {
				k.eachUnknown(m.Value, t.Elem(), pointer+"/"+jsontext.EscapeToken(m.Name), f)
			}
		}
	case (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) && v.Kind == jsontext.Array:
		for i, item := range v.Items {
			k.eachUnknown(item, t.Elem(), pointer+"/"+strconv.Itoa(i), f)
		}
	}
}

// field returns the type of the field of t that encoding/json decodes a member of that name into: one of just that name, else one whose
// name differs in case only.
func (k knownFields) field(t reflect.Type, name string) (reflect.Type, bool) {
	fields, ok := k[t]
	if !ok {
		fields = fieldsOf(t)
		k[t] = fields
	}
	for _, same := range []func(a, b string) bool{func(a, b string) bool { return a == b }, strings.EqualFold} {
		if i := slices.IndexFunc(fields, func(f field) bool { return same(f.name, name) }); i >= 0 {
			return fields[i].t, true
		}
	}
	return nil, false
}

// fieldsOf follows the rules of encoding/json: the fields of an embedded struct without a name in its tag are those of the outer struct,
// and of several with one name the least nested counts, then the only one that has the name by its tag, then none. They come in the order
// of their declaration.
func fieldsOf(t reflect.Type) []field {
	type embedding struct {
		t     reflect.Type
		index []int
		count int // how many there are of it on its level
	}
	type candidate struct {
		field
		tagged bool
		count  int
	}
	var fields []field
	seen := map[reflect.Type]bool{}
	taken := map[string]bool{}
	for level := []embedding{{t: t, count: 1}}; len(level) > 0; {
		var next []embedding
		found := map[string]candidate{}
		for _, outer := range level {
			if seen[outer.t] {
				continue
			}
			seen[outer.t] = true
			for i := range outer.t.NumField() {
				f := outer.t.Field(i)
				tag := f.Tag.Get("json")
				name, _, _ := strings.Cut(tag, ",")
				if !isTagName(name) {
					name = ""
				}
				inner := f.Type
				if inner.Kind() == reflect.Pointer {
					inner = inner.Elem()
				}
				embedded := f.Anonymous && inner.Kind() == reflect.Struct
				index := append(slices.Clone(outer.index), i)
				switch {
				case tag == "-", !f.IsExported() && !embedded:
					continue
				case embedded && name == "":
					if i := slices.IndexFunc(next, func(e embedding) bool { return e.t == inner }); i >= 0 {
						next[i].count++
					} else {
						next = append(next, embedding{inner, index, 1})
					}
					continue
				}
				c := candidate{field{name, f.Type, index}, name != "", outer.count}
				if name == "" {
					c.name = f.Name
				}
				switch old, ok := found[c.name]; {
				case ok && old.tagged && !c.tagged:
					c = old
				case ok && old.tagged == c.tagged:
					c.count += old.count
				}
				found[c.name] = c
			}
		}
		for name, c := range found {
			if !taken[name] && c.count == 1 {
				fields = append(fields, c.field)
			}
			taken[name] = true
		}
		level = next
	}
	slices.SortFunc(fields, func(a, b field) int { return slices.Compare(a.index, b.index) })
	return fields
}

// isTagName tells whether encoding/json takes the name in a tag: letters, digits, and most ASCII punctuation.
func isTagName(name string) bool {
	return !strings.ContainsFunc(name, func(c rune) bool {
		return !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c)
	})
}

// SchemaFor makes the JSON Schema (2020-12) of a Go struct: its fields by their json tags, and what else there is to say in tags of
// github.com/invopop/jsonschema, as in
//
//	type Config struct {
//		Device string  `json:"device" jsonschema:"title=Device,enum=cpu,enum=cuda,default=cpu"`
//		Beam   int     `json:"beam" jsonschema:"minimum=1,maximum=20,default=5" jsonschema_description:"How many to keep."`
//		APIKey string  `json:"api_key" jsonschema:"required,writeOnly=true"`
//	}
//
// A field is required if its tag says required, and secret if it says writeOnly=true or format=password. Keys that are no fields are
// not allowed. A type that no schema can describe, or a tag that does not fit its field, is an error.
func SchemaFor[T any]() (_ json.RawMessage, err error) {
	t := reflect.TypeFor[T]()
	fail := func(err error) error { return fmt.Errorf("registry: a schema for the Go type %s: %w", t, err) }
	if t.Kind() != reflect.Struct {
		return nil, fail(errors.New("a config is made from a struct"))
	}
	defer func() {
		if p := recover(); p != nil { // as the library does for a channel or a function
			err = fail(fmt.Errorf("%v", p))
		}
	}()
	for _, expanded := range []bool{true, false} { // a struct that refers to itself needs a definition to refer to
		reflector := jsonschema.Reflector{Anonymous: true, ExpandedStruct: expanded, RequiredFromJSONSchemaTags: true}
		text, failure := json.Marshal(reflector.ReflectFromType(t))
		if failure == nil {
			failure = schema.Compile(text, schema.Options{}).Err()
		}
		if failure == nil {
			return text, nil
		}
		err = fail(failure)
	}
	return nil, err
}
