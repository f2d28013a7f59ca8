package jsontext

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// Encode returns the canonical text of a Go value that must encode to a JSON object: a map, a struct, or JSON as
// json.RawMessage or []byte. Values encode as with encoding/json. What that would change without a word, strings that are not UTF-8, is an
// error, as is a name that stands twice. The text is the caller's own: it shares no bytes with v.
func Encode(v any) (text []byte, err error) {
	switch t := v.(type) {
	case stdjson.RawMessage:
		return encodeText(t)
	case []byte:
		return encodeText(t)
	}
	defer func() {
		if recover() != nil {
			text, err = nil, fmt.Errorf("encoding a Go value of type %T panicked", v)
		}
	}()
	text, err = json.Marshal(v, jsonv1.DefaultOptionsV1(), json.WithMarshalers(json.MarshalToFunc(marshalNumber)),
		jsontext.AllowDuplicateNames(false), jsontext.AllowInvalidUTF8(false), jsontext.PreserveRawStrings(false),
		jsontext.EscapeForHTML(false), jsontext.EscapeForJS(false), jsonv1.ReportErrorsWithLegacySemantics(false))
	if err != nil {
		return nil, encodeError(err)
	}
	if err := checkSize(text); err != nil {
		return nil, err
	}
	if err := needObject(text); err != nil {
		return nil, err
	}
	return text, nil
}

func encodeText(b []byte) ([]byte, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, &Error{Reason: "a JSON object is needed, this is empty"}
	}
	return Canonical(b)
}

// marshalNumber writes a json.Number as encoding/json does: the library knows its own type of that name only.
func marshalNumber(enc *jsontext.Encoder, n stdjson.Number) error {
	if kind, length := enc.StackIndex(enc.StackDepth()); kind == '{' && length%2 == 0 {
		return errors.ErrUnsupported // a name
	}
	if n == "" {
		n = "0"
	}
	if kindOf(n[0]) != Number {
		return errors.New("no number")
	}
	return enc.WriteValue(jsontext.Value(n))
}

// encodeError says what cannot be encoded by type and place alone: the library's own texts may quote values.
func encodeError(err error) error {
	s, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return syntaxError(err)
	}
	at := &Error{Pointer: string(s.JSONPointer), Offset: int(s.ByteOffset)}
	inner, isText := errors.AsType[*jsontext.SyntacticError](s.Err)
	switch kind := s.GoType.Kind(); {
	case strings.Count(at.Pointer, "/") > MaxDepth:
		at.Pointer, at.Offset = "", 0
		at.Reason = fmt.Sprintf("a Go value is nested over %d levels, it may contain itself", MaxDepth)
	case isText:
		at = syntaxError(inner)
		at.Reason = fmt.Sprintf("what the Go type %s encodes to is refused: %s", s.GoType, at.Reason)
	case kind == reflect.Float32, kind == reflect.Float64:
		at.Reason = "JSON has no way to say NaN or an infinity: leave the number out or use null"
	default:
		at.Reason = fmt.Sprintf("the Go type %s does not encode to JSON", s.GoType)
	}
	return at
}
