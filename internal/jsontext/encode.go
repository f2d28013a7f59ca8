package jsontext

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"
	"unsafe"
)

// Encode returns the canonical text of a Go value that must encode to a JSON object: a map, a struct, or JSON as
// json.RawMessage or []byte. What encoding/json would change without a word, strings that are not UTF-8, is an error.
// The text is the caller's own: it shares no bytes with v.
func Encode(v any) ([]byte, error) {
	switch t := v.(type) {
	case json.RawMessage:
		return canonicalCopy(t)
	case []byte:
		return canonicalCopy(t)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, encodeError(err)
	}
	// encoding/json writes this escape for a byte that is not UTF-8, and U+FFFD itself as it is.
	if bytes.Contains(buf.Bytes(), []byte(`\ufffd`)) && new(invalidStrings).in(reflect.ValueOf(v), false, 0) {
		return nil, &Error{Reason: "a string is not valid UTF-8"}
	}
	return Canonical(buf.Bytes()[:buf.Len()-1])
}

func canonicalCopy(b []byte) ([]byte, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, &Error{Reason: "a JSON object is needed, this is empty"}
	}
	c, err := Canonical(b)
	if err != nil {
		return nil, err
	}
	if len(c) > 0 && &c[0] == &b[0] {
		c = bytes.Clone(c)
	}
	return c, nil
}

// encodeError says what encoding/json could not encode, by type alone: its own texts may quote values.
func encodeError(err error) error {
	if t, ok := errors.AsType[*json.UnsupportedTypeError](err); ok {
		return fmt.Errorf("JSON has no way to say a Go value of type %s", t.Type)
	}
	if v, ok := errors.AsType[*json.UnsupportedValueError](err); ok {
		switch v.Value.Kind() {
		case reflect.Float32, reflect.Float64:
			return errors.New("JSON has no way to say NaN or an infinity: leave the number out or use null")
		}
		return fmt.Errorf("JSON has no way to say this Go value of type %s: it may contain itself", v.Value.Type())
	}
	if m, ok := errors.AsType[*json.MarshalerError](err); ok {
		return fmt.Errorf("the JSON encoding of Go type %s failed", m.Type)
	}
	return fmt.Errorf("the Go value does not encode to JSON (%T)", err)
}

// invalidStrings looks for strings that are not UTF-8 among what encoding/json encodes.
type invalidStrings struct {
	seen map[visit]struct{} // what need not be looked at again: values that are not encoded may form cycles
}

type visit struct {
	at    unsafe.Pointer
	len   int
	typ   reflect.Type
	whole bool
}

var (
	marshalerType     = reflect.TypeFor[json.Marshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
)

// in tells whether there is one in v. whole counts the fields too that encoding/json leaves out: v is inside a json.Marshaler, which
// may encode whatever it has.
func (s *invalidStrings) in(v reflect.Value, whole bool, depth int) bool {
	if !v.IsValid() || depth > 4*MaxDepth { // deeper than anything that encodes
		return false
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice:
		at := visit{at: v.UnsafePointer(), typ: v.Type(), whole: whole}
		if v.Kind() == reflect.Slice {
			at.len = v.Len()
		}
		if _, again := s.seen[at]; again || v.IsNil() {
			return false
		}
		if s.seen == nil {
			s.seen = make(map[visit]struct{})
		}
		s.seen[at] = struct{}{}
	case reflect.Interface:
		return s.in(v.Elem(), whole, depth+1)
	}
	if implements(v, marshalerType) {
		whole = true
	} else if v.CanInterface() && implements(v, textMarshalerType) {
		m, ok := v.Interface().(encoding.TextMarshaler)
		if !ok {
			m = v.Addr().Interface().(encoding.TextMarshaler)
		}
		text, err := m.MarshalText()
		return err == nil && !utf8.Valid(text)
	}
	switch v.Kind() {
	case reflect.String:
		return !utf8.ValidString(v.String())
	case reflect.Pointer:
		return s.in(v.Elem(), whole, depth+1)
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			k := it.Key()
			if k.Kind() == reflect.String { // then encoding/json asks no TextMarshaler
				k = reflect.ValueOf(k.String())
			}
			if s.in(k, whole, depth+1) || s.in(it.Value(), whole, depth+1) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem() == reflect.TypeFor[byte]() {
			return false
		}
		for i := range v.Len() {
			if s.in(v.Index(i), whole, depth+1) {
				return true
			}
		}
	case reflect.Struct:
		for f, field := range v.Fields() {
			encoded := f.Tag.Get("json") != "-" && (f.IsExported() || f.Anonymous)
			if (encoded || whole) && s.in(field, whole, depth+1) {
				return true
			}
		}
	}
	return false
}

// implements tells whether encoding/json finds the interface on v: by its type, or by that of a pointer where it can make one.
func implements(v reflect.Value, iface reflect.Type) bool {
	return v.Type().Implements(iface) || v.CanAddr() && reflect.PointerTo(v.Type()).Implements(iface)
}
