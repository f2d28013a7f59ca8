package jsontext

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"
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
	if bytes.Contains(buf.Bytes(), []byte(`\ufffd`)) && hasInvalidString(reflect.ValueOf(v), 0) {
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

// hasInvalidString looks for a string that is not UTF-8 anywhere in v.
func hasInvalidString(v reflect.Value, depth int) bool {
	if depth > 4*MaxDepth { // deeper than anything that encodes
		return false
	}
	switch v.Kind() {
	case reflect.String:
		return !utf8.ValidString(v.String())
	case reflect.Interface, reflect.Pointer:
		return !v.IsNil() && hasInvalidString(v.Elem(), depth+1)
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if hasInvalidString(it.Key(), depth+1) || hasInvalidString(it.Value(), depth+1) {
				return true
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if hasInvalidString(v.Index(i), depth+1) {
				return true
			}
		}
	case reflect.Struct:
		for _, f := range v.Fields() {
			if hasInvalidString(f, depth+1) {
				return true
			}
		}
	}
	return false
}
