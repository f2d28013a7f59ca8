package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/internal/schema"
)

// typical is a schema of about 1.5 KB, as plugins have them.
const typical = `{
  "$schema": "http://json-schema.org/draft-07/schema#",
  "title": "Speech to text", "description": "What the transcription plugin needs to reach its service.",
  "type": "object",
  "properties": {
    "model": {"type": "string", "enum": ["tiny", "base", "small", "medium", "large"], "default": "base", "description": "Model size"},
    "language": {"type": "string", "pattern": "^[a-z]{2}(-[A-Z]{2})?$", "default": "en", "description": "BCP 47 tag"},
    "api_key": {"type": "string", "minLength": 8, "writeOnly": true, "description": "Key of the service"},
    "endpoint": {"type": "string", "format": "uri", "default": "https://example.com/v1"},
    "timeout": {"type": "number", "minimum": 0.5, "maximum": 600, "default": 30, "description": "Seconds"},
    "retries": {"type": "integer", "minimum": 0, "maximum": 10, "default": 3},
    "beam": {"type": "integer", "minimum": 1, "default": 5},
    "words": {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": true, "default": []},
    "output": {"type": "object", "additionalProperties": false, "required": ["format"], "properties": {
      "format": {"type": "string", "enum": ["text", "srt", "vtt", "json"], "default": "text"},
      "timestamps": {"type": "boolean", "default": false},
      "max_line": {"type": "integer", "minimum": 10, "maximum": 200, "default": 42}
    }},
    "proxy": {"$ref": "#/definitions/proxy"}
  },
  "required": ["model", "api_key"],
  "additionalProperties": false,
  "definitions": {
    "proxy": {"type": "object", "properties": {"host": {"type": "string"}, "port": {"type": "integer", "minimum": 1, "maximum": 65535, "default": 8080}}, "required": ["host"]}
  }
}`

// typicalConfig is about 1 KB.
var typicalConfig = []byte(`{"model":"base","language":"en-US","api_key":"0123456789abcdef","endpoint":"https://example.com/v2",` +
	`"timeout":12.5,"retries":2,"words":[` + words(60) + `],"output":{"format":"srt","timestamps":true},"proxy":{"host":"localhost"}}`)

func words(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("%q", fmt.Sprintf("word-%05d", i)))
	}
	return strings.Join(list, ",")
}

func BenchmarkCompile(b *testing.B) {
	raw := []byte(typical)
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if s := schema.Compile(raw, schema.Options{}); s.Err() != nil {
			b.Fatal(s.Err())
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	s := schema.Compile([]byte(typical), schema.Options{})
	b.ReportAllocs()
	b.SetBytes(int64(len(typicalConfig)))
	for b.Loop() {
		if issues := s.Validate(typicalConfig); issues != nil {
			b.Fatal(issues)
		}
	}
}

func BenchmarkSecrets(b *testing.B) {
	s := schema.Compile([]byte(typical), schema.Options{})
	config, err := jsontext.Parse(typicalConfig)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if found := s.Secrets(config); len(found) != 1 {
			b.Fatal(found)
		}
	}
}

func BenchmarkWithDefaults(b *testing.B) {
	s := schema.Compile([]byte(typical), schema.Options{})
	config, err := jsontext.Parse(typicalConfig)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if s.WithDefaults(config).Member("beam") == nil {
			b.Fatal("no default")
		}
	}
}

func BenchmarkComplete(b *testing.B) {
	plain := `{"properties":{` + many(300, func(i int) string { return fmt.Sprintf(`"p%d":{"type":"integer","default":%[1]d}`, i) }) + `}}`
	for name, c := range map[string]struct{ schema, config string }{
		"typical": {typical, string(typicalConfig)}, "300 defaults": {plain, `{}`},
		"one default too many": {typical[:len(typical)-1] + `,"maxProperties":9}`, string(typicalConfig)},
	} {
		b.Run(name, func(b *testing.B) {
			s := schema.Compile([]byte(c.schema), schema.Options{})
			config, err := jsontext.Parse([]byte(c.config))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, issues := s.Complete(b.Context(), config); issues != nil {
					b.Fatal(issues)
				}
			}
		})
	}
}
