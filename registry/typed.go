package registry

import (
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/internal/schema"
)

// ConfigAs returns the effective config of id (see EffectiveConfig) as a T, as json.Unmarshal decodes it. It is validated first: as
// SaveConfig would, and a key that neither T nor the plugin's schema knows is an issue, too. The errors are those of EffectiveConfig, a
// *ValidationError, or a *store.Error where a value does not fit the Go type.
func ConfigAs[T any](ctx context.Context, r *Registry, id string) (T, error) {
	var value T
	rec, err := r.EffectiveConfig(ctx, id)
	if err != nil {
		return value, err
	}
	s := r.schemaState(id)
	if err := r.validate(id, s, rec.Config); err != nil {
		return value, err
	}
	config, err := jsontext.Parse(rec.Config)
	if err != nil {
		return value, fault(id, "the config", err)
	}
	declares := func(string) bool { return false }
	if s != nil {
		declares = r.use(s, id).Declares
	}
	var issues []Issue
	eachUnknown(config, reflect.TypeFor[T](), "", func(pointer string) {
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

// eachUnknown calls f with the pointer of every member of v that t has no field for.
func eachUnknown(v *jsontext.Value, t reflect.Type, pointer string, f func(pointer string)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if p := reflect.PointerTo(t); p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler) {
		return // the type itself knows
	}
	switch {
	case t.Kind() == reflect.Struct && v.Kind == jsontext.Object:
		for _, m := range v.Members {
			at := pointer + "/" + jsontext.EscapeToken(m.Name)
			if field, ok := fieldOf(t, m.Name); ok {
				eachUnknown(m.Value, field, at, f)
			} else {
				f(at)
			}
		}
	case t.Kind() == reflect.Map && v.Kind == jsontext.Object:
		for _, m := range v.Members {
			eachUnknown(m.Value, t.Elem(), pointer+"/"+jsontext.EscapeToken(m.Name), f)
		}
	case (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) && v.Kind == jsontext.Array:
		for i, item := range v.Items {
			eachUnknown(item, t.Elem(), pointer+"/"+strconv.Itoa(i), f)
		}
	}
}

// fieldOf returns the type of the field of t that encoding/json decodes a member of that name into.
func fieldOf(t reflect.Type, name string) (reflect.Type, bool) {
	var folded reflect.Type
	for _, field := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		known := field.Name
		switch {
		case tag == "-" && field.Tag.Get("json") == "-", !field.IsExported():
			continue
		case tag != "":
			known = tag
		case field.Anonymous && isStruct(field.Type): // its fields are visible themselves
			continue
		}
		if known == name {
			return field.Type, true
		}
		if strings.EqualFold(known, name) {
			folded = field.Type
		}
	}
	return folded, folded != nil
}

func isStruct(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct
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
	reflector := jsonschema.Reflector{Anonymous: true, ExpandedStruct: true, RequiredFromJSONSchemaTags: true}
	text, err := json.Marshal(reflector.ReflectFromType(t))
	if err != nil {
		return nil, fail(err)
	}
	if compiled := schema.Compile(text); compiled.Err() != nil {
		return nil, fail(compiled.Err())
	}
	return text, nil
}
