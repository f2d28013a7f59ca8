package registry

import (
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	jsonv2 "github.com/go-json-experiment/json"
	jsonv2text "github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
	"github.com/invopop/jsonschema"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/internal/schema"
	"github.com/pluginregistry/pluginregistry/store"
)

// ConfigAs returns the effective config of id (see EffectiveConfig) as a T. It is judged first, as SaveConfig would. Names are exact: a name
// that differs from a field's in case only is an issue. A key that neither T nor the plugin's schema knows is an issue, too; what is inside
// a member that only the schema knows is left to the schema. Apart from that it decodes as encoding/json does; an integral number such as
// 5.0 fits an integer, and a number that no float64 holds arrives in an any as a json.Number.
//
// Errors: those of EffectiveConfig, and a *ValidationError if the config does not fit the schema, or a value does not fit the Go type.
func ConfigAs[T any](ctx context.Context, r *Registry, id string) (T, error) {
	value, _, err := configAs[T](ctx, r, r.owner(id))
	return value, failed("config as", id, err)
}

func configAs[T any](ctx context.Context, r *Registry, o owner) (value T, was stored, err error) {
	if was, err = r.read(ctx, o); err == nil {
		err = was.whole()
	}
	if err != nil {
		return value, was, err
	}
	config, issues, err := r.complete(ctx, o, was.opened)
	if err == nil {
		err = r.judge(o, issues, was.unnamed)
	}
	if err != nil {
		return value, was, err
	}
	declares := func(string) bool { return false }
	if o.known() {
		declares = r.use(o.schema, o.id).Declares
	}
	if err = fit(o, was, config, &value, declares); err != nil {
		value = *new(T)
	}
	return value, was, err
}

// fit decodes a config into value. The names of its members must be exact, and known to the Go type or declared.
func fit[T any](o owner, was stored, config *jsontext.Value, value *T, declares func(pointer string) bool) error {
	t := reflect.TypeFor[T]()
	f := fitter{known: knownFields{}, numbers: edits{}}
	f.unknown = func(pointer, almost string) {
		message := fmt.Sprintf("neither the schema nor the Go type %s knows this key; remove it, or correct its name", t)
		switch {
		case almost != "":
			message = fmt.Sprintf("the Go type %s knows this key as %q, and names are exact: correct its case", t, almost)
		case declares(pointer):
			return
		}
		f.misfits = append(f.misfits, Issue{pointer, "additionalProperties", message})
	}
	f.walk(config, t, nil)
	if f.misfits == nil {
		issue := decode(f.numbers.in(config), value, f.huge)
		if issue == nil {
			return nil
		}
		f.misfits = []Issue{*issue}
	}
	return invalid(o, f.misfits, was.unnamed)
}

// UpdateConfigAs loads the effective config of id as ConfigAs does, has edit change it, and saves what edit has changed: every other value
// that is stored keeps its text and its place, and defaults that edit left alone are not stored. If somebody else saves meanwhile, it does
// so again with what is then there, so edit may be called several times. edit's error ends the update and is the cause of the error
// returned; otherwise the errors are those of ConfigAs and SaveConfig, except that the stored config need not fit the schema before.
//
// A field with omitempty, or a slice, map or pointer, that edit sets to its zero value is deleted from the config, and the schema's default,
// if it has one, comes back. A field without it is stored as it is. Use omitzero or omitempty for fields whose zero value means "not set".
func UpdateConfigAs[T any](ctx context.Context, r *Registry, id string, edit func(*T) error) (store.Record, error) {
	rec, err := r.save(ctx, change{id: id, match: store.Any, edits: true, make: func(o owner, was stored) (draft, error) {
		if err := was.whole(); err != nil {
			return draft{}, err
		}
		config, _, err := r.complete(ctx, o, was.opened)
		if err != nil {
			return draft{}, err
		}
		var value T
		if err := fit(o, was, config, &value, func(string) bool { return true }); err != nil {
			return draft{}, err
		}
		before, _, err := r.encode(o, value)
		if err != nil {
			return draft{}, err
		}
		if err := edit(&value); err != nil {
			return draft{}, err
		}
		after, _, err := r.encode(o, value)
		if err != nil {
			return draft{}, err
		}
		return draft{config: merger{}.merge(was.opened, before, after)}, nil
	}})
	return rec, failed("update config", id, err)
}

// decode decodes a config into value, and returns how it does not fit.
func decode[T any](config *jsontext.Value, value *T, huge bool) *Issue {
	text := config.Append(nil)
	opts := []jsonv2.Options{jsonv1.DefaultOptionsV1(), jsonv1.ReportErrorsWithLegacySemantics(false)}
	var err error
	if huge {
		opts = append(opts, jsonv2.WithUnmarshalers(jsonv2.UnmarshalFromFunc(unmarshalHuge)))
		err = jsonv2.Unmarshal(text, value, opts...)
	} else {
		err = json.Unmarshal(text, value)
	}
	if err == nil {
		return nil
	}
	if !huge { // encoding/json does not tell the place
		err = jsonv2.Unmarshal(text, new(T), opts...)
	}
	at, t := "", reflect.TypeFor[T]()
	if s, ok := errors.AsType[*jsonv2.SemanticError](err); ok {
		at = string(s.JSONPointer)
		if s.GoType != nil {
			t = s.GoType
		}
	}
	return misfit(config, at, t)
}

// misfit is the issue that a value does not fit a Go type. Its text does not say more: an error of the type's own may quote the value.
func misfit(config *jsontext.Value, at string, t reflect.Type) *Issue {
	kind := "the value"
	if v := config.At(at); v != nil {
		kind = v.Kind.String()
	}
	return &Issue{at, "type", fmt.Sprintf("%s here does not fit the Go type %s", kind, t)}
}

// unmarshalHuge decodes a number that no float64 holds into an any.
func unmarshalHuge(d *jsonv2text.Decoder, v *any) error {
	if d.PeekKind() != '0' {
		return errors.ErrUnsupported
	}
	text, err := d.ReadValue()
	if err != nil {
		return err
	}
	if n, err := strconv.ParseFloat(string(text), 64); err == nil {
		*v = n
	} else {
		*v = json.Number(text)
	}
	return nil
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// knownFields are the fields of the struct types that were met.
type knownFields map[reflect.Type][]field

func (k knownFields) of(t reflect.Type) []field {
	fields, ok := k[t]
	if !ok {
		fields = fieldsOf(t)
		k[t] = fields
	}
	return fields
}

// field is one as encoding/json sees it.
type field struct {
	name  string
	t     reflect.Type
	index []int // the way to it through embedded structs
}

// fitter compares a config with a Go type.
type fitter struct {
	known   knownFields
	unknown func(pointer, almost string) // is called with every member that no field has the name of, and with one of almost that name
	misfits []Issue                      // lists that are longer or shorter than the Go array
	numbers edits                        // integral numbers as Go reads integers
	huge    bool                         // there is a number that no float64 holds
}

func (f *fitter) walk(v *jsontext.Value, t reflect.Type, at []byte) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if p := reflect.PointerTo(t); p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler) {
		return // the type itself knows
	}
	member := func(name string) []byte { return append(append(at, '/'), jsontext.EscapeToken(name)...) }
	switch kind := t.Kind(); {
	case kind == reflect.Struct && v.Kind == jsontext.Object:
		fields := f.known.of(t)
		for _, m := range v.Members {
			if i := slices.IndexFunc(fields, func(f field) bool { return f.name == m.Name }); i >= 0 {
				f.walk(m.Value, fields[i].t, member(m.Name))
			} else if i := slices.IndexFunc(fields, func(f field) bool { return strings.EqualFold(f.name, m.Name) }); i >= 0 {
				f.unknown(string(member(m.Name)), fields[i].name)
			} else {
				f.unknown(string(member(m.Name)), "")
			}
		}
	case kind == reflect.Map && v.Kind == jsontext.Object:
		for _, m := range v.Members {
			f.walk(m.Value, t.Elem(), member(m.Name))
		}
	case (kind == reflect.Slice || kind == reflect.Array) && v.Kind == jsontext.Array:
		if kind == reflect.Array && len(v.Items) != t.Len() {
			f.misfits = append(f.misfits, *misfit(v, "", t))
			f.misfits[len(f.misfits)-1].Pointer = string(at)
		}
		for i, item := range v.Items {
			f.walk(item, t.Elem(), strconv.AppendInt(append(at, '/'), int64(i), 10))
		}
	case kind == reflect.Interface:
		for _, v := range v.All() {
			if v.Kind == jsontext.Number {
				_, err := strconv.ParseFloat(v.Text, 64)
				f.huge = f.huge || err != nil
			}
		}
	case reflect.Int <= kind && kind <= reflect.Uintptr && v.Kind == jsontext.Number && strings.ContainsAny(v.Text, ".eE"):
		if whole, ok := integer(v.Text); ok {
			f.numbers[string(at)] = &jsontext.Value{Kind: jsontext.Number, Text: whole}
		}
	}
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
// not allowed. Numbers have the range of their Go type, a time.Time is an RFC 3339 text, a []byte is base64: what the schema takes, the
// type takes. A default is hidden by a Go zero that is saved: give a field that has one omitzero or omitempty, unless zero is meant. A
// type that no schema can describe, or a tag that does not fit its field, is an error.
func SchemaFor[T any]() (_ json.RawMessage, err error) {
	t := reflect.TypeFor[T]()
	fail := func(err error) error { return failed("schema for", "", fmt.Errorf("the Go type %s: %w", t, err)) }
	if t.Kind() != reflect.Struct {
		return nil, fail(errors.New("a config is made from a struct"))
	}
	defer func() {
		if p := recover(); p != nil { // as the library does for a channel or a function
			err = fail(fmt.Errorf("%v", p))
		}
	}()
	for _, expanded := range []bool{true, false} { // a struct that refers to itself needs a definition to refer to
		reflector := jsonschema.Reflector{Anonymous: true, ExpandedStruct: expanded, RequiredFromJSONSchemaTags: true, Mapper: exactly}
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

// The texts that time.Time and []byte decode.
const (
	datePattern = `(?:\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))` +
		`|(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)` // in leap years
	timePattern   = `^` + datePattern + `T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$`
	base64Pattern = `^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$`
)

// exactly returns the schema of a type of which not every number or text can be decoded, or nil.
func exactly(t reflect.Type) *jsonschema.Schema {
	if t == reflect.TypeFor[time.Time]() {
		return &jsonschema.Schema{Type: "string", Format: "date-time", Pattern: timePattern}
	}
	if p := reflect.PointerTo(t); p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler) ||
		p.Implements(reflect.TypeFor[interface{ JSONSchema() *jsonschema.Schema }]()) {
		return nil
	}
	number := func(kind string, least, most any) *jsonschema.Schema {
		return &jsonschema.Schema{Type: kind, Minimum: json.Number(fmt.Sprint(least)), Maximum: json.Number(fmt.Sprint(most))}
	}
	switch kind := t.Kind(); kind {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return number("integer", int64(-1)<<(t.Bits()-1), ^(int64(-1) << (t.Bits() - 1)))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return number("integer", 0, ^uint64(0)>>(64-t.Bits()))
	case reflect.Float32:
		return number("number", float32(-math.MaxFloat32), float32(math.MaxFloat32))
	case reflect.Float64:
		return number("number", -math.MaxFloat64, math.MaxFloat64)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return &jsonschema.Schema{Type: "string", ContentEncoding: "base64", Pattern: base64Pattern}
		}
	}
	return nil
}
