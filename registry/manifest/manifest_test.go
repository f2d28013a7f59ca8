package manifest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/registry"
)

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		want   registry.Info
		schema string
	}{
		"flat": {
			text: `{"name": "whisper", "version": "1.2", "title": "Whisper", "description": "d", "conda_env": "speech", "module": "m",
				"python_path": "/p", "env_vars": {"A": "1"}, "config_schema": { "type" : "object" } }`,
			want: registry.Info{Name: "whisper", Version: "1.2", Title: "Whisper", Description: "d", ExecutionMode: registry.ModeCondaEnv,
				Resources: registry.Resources{CondaEnv: "speech"}},
			schema: `{ "type" : "object" }`,
		},
		"nested": {
			text: `{"format_version": "2.0", "install": {"python_path": "/p", "conda_env": "speech", "db_path": "", "env_vars": {}},
				"code": {"name": "whisper", "version": "1.2", "title": "Whisper", "description": "d", "class": "C",
				"config_schema": {"type":"object"}}, "drift_tracking": {}, "overrides": {"name": "other"}, "name": "not this one"}`,
			want: registry.Info{Name: "whisper", Version: "1.2", Title: "Whisper", Description: "d", ExecutionMode: registry.ModeCondaEnv,
				Resources: registry.Resources{CondaEnv: "speech"}},
			schema: `{"type":"object"}`,
		},
		"only a name": {text: `{"name":"a"}`, want: registry.Info{Name: "a"}},
		"null is nothing": {
			text: `{"format_version": null, "name": "a", "version": null, "title": null, "description": null, "conda_env": null,
				"execution_mode": null, "config_schema": null}`,
			want: registry.Info{Name: "a"},
		},
		"nested without an installation": {
			text: `{"format_version": "2.0", "install": null, "code": {"name": "a", "config_schema": null}}`,
			want: registry.Info{Name: "a"},
		},
		"a mode": {
			text: `{"name": "a", "conda_env": "e", "execution_mode": "docker"}`,
			want: registry.Info{Name: "a", ExecutionMode: registry.ModeDocker, Resources: registry.Resources{CondaEnv: "e"}},
		},
		"a mode of the installation": {
			text: `{"format_version": "2.0", "install": {"execution_mode": "docker"}, "code": {"name": "a", "execution_mode": "external"}}`,
			want: registry.Info{Name: "a", ExecutionMode: registry.ModeDocker},
		},
		"a mode of the code": {
			text: `{"format_version": "2.0", "install": {"execution_mode": ""}, "code": {"name": "a", "execution_mode": "external"}}`,
			want: registry.Info{Name: "a", ExecutionMode: registry.ModeExternal},
		},
		"a mode of tomorrow": {
			text: `{"name": "a", "conda_env": "e", "execution_mode": "orbit"}`,
			want: registry.Info{Name: "a", ExecutionMode: "orbit", Resources: registry.Resources{CondaEnv: "e"}},
		},
		"other cases are other names": {
			text: `{"name": "a", "Version": "1", "NAME": "b", "Config_Schema": {}}`,
			want: registry.Info{Name: "a"},
		},
		"the last of two": {
			text:   `{"name": "a", "config_schema": {"title": "old"}, "name": "b", "config_schema": {"a": 1, "a": 2.50}}`,
			want:   registry.Info{Name: "b"},
			schema: `{"a": 1, "a": 2.50}`,
		},
		"escapes": {
			text:   `{"n\u0061me": "\u00fc\ud83d\ude00", "config_schem\u0061": {"x": "\u0061"}}`,
			want:   registry.Info{Name: "ü😀"},
			schema: `{"x": "\u0061"}`,
		},
		"a schema that is none": {text: `{"name": "a", "config_schema": "later"}`, want: registry.Info{Name: "a"}, schema: `"later"`},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := parse([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if !sameInfo(m.info, c.want) {
				t.Errorf("info is %+v, want %+v", m.info, c.want)
			}
			if string(m.schema) != c.schema || (m.schema == nil) != (c.schema == "") {
				t.Errorf("schema is %q, want %q", m.schema, c.schema)
			}
		})
	}
}

// sameInfo compares what a manifest can say.
func sameInfo(a, b registry.Info) bool {
	return a.Name == b.Name && a.Version == b.Version && a.Title == b.Title && a.Description == b.Description &&
		a.ExecutionMode == b.ExecutionMode && a.CondaEnv == b.CondaEnv
}

func TestParseBad(t *testing.T) {
	const secret = "hunter2"
	for name, c := range map[string]struct{ text, want string }{
		"empty":                {``, "ends where a value should be"},
		"cut off":              {`{"name": "a", "env_vars": {"KEY": "` + secret, `at "/env_vars/KEY"`},
		"not JSON":             {secret, "an invalid character at start of value"},
		"two values":           {`{"name": "a"} "` + secret + `"`, "something follows"},
		"byte order mark":      {"\ufeff" + `{"name": "a"}`, "byte order mark"},
		"an array":             {`["` + secret + `"]`, "this is an array"},
		"a string":             {`"` + secret + `"`, "this is a string"},
		"null":                 {`null`, "this is null"},
		"no name":              {`{"version": "` + secret + `"}`, `"/name" must be`},
		"empty name":           {`{"name": ""}`, `"/name" must be`},
		"null name":            {`{"name": null}`, `"/name" must be`},
		"number for a name":    {`{"name": 7}`, `"/name" must be a string, this is a number`},
		"name of bad UTF-8":    {"{\"name\": \"a\xff\"}", "not valid UTF-8"},
		"name of half a pair":  {`{"name": "\ud800"}`, "an invalid surrogate pair"},
		"version":              {`{"name": "a", "version": 3}`, `"/version" must be a string, this is a number`},
		"title":                {`{"name": "a", "title": ["` + secret + `"]}`, `"/title" must be a string, this is an array`},
		"description":          {`{"name": "a", "description": true}`, `"/description" must be a string, this is a boolean`},
		"environment":          {`{"name": "a", "conda_env": {"x": "` + secret + `"}}`, `"/conda_env" must be a string, this is an object`},
		"mode":                 {`{"name": "a", "execution_mode": 1}`, `"/execution_mode" must be a string`},
		"nested without code":  {`{"format_version": "2.0", "name": "a"}`, `"/code/name" must be`},
		"code is an array":     {`{"format_version": "2.0", "code": []}`, `"/code" must be an object, this is an array`},
		"install is a string":  {`{"format_version": "2.0", "code": {"name": "a"}, "install": "` + secret + `"}`, `"/install" must be an object`},
		"nested version":       {`{"format_version": "2.0", "code": {"name": "a", "version": 3}}`, `"/code/version" must be a string`},
		"nested environment":   {`{"format_version": "2.0", "code": {"name": "a"}, "install": {"conda_env": 3}}`, `"/install/conda_env" must be`},
		"a later format":       {`{"format_version": "` + secret + `", "name": "a", "code": {"name": "a"}}`, `"/format_version" is none that is known`},
		"a number of a format": {`{"format_version": 2.0, "code": {"name": "a"}}`, `"/format_version" is none that is known`},
		"too deep":             {`{"name": "a", "x": ` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, "nested over"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse([]byte(c.text))
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %q, it should contain %q", err, c.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error tells a value of the manifest: %q", err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"name": "a", "version": "1", "config_schema": { "type" : "object" }, "conda_env": "e"}`))
	f.Add([]byte(`{"format_version": "2.0", "code": {"name": "a", "config_schema": {"a": 1e5}}, "install": {"execution_mode": "docker"}}`))
	f.Add([]byte(`{"name": "a", "name": "b", "config_schema": {}, "config_schema": null}`))
	f.Add([]byte(`{"n\u0061me": "\ud83d\ude00", "config_schem\u0061": [ 1 ]}`))
	f.Add([]byte("\ufeff{}"))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		m, err := parse(text)
		if !bytes.Equal(text, before) {
			t.Fatal("parse changed its input")
		}
		if err != nil {
			return
		}
		if m.info.Name == "" {
			t.Error("a manifest without a name is taken as good")
		}
		doc, err := jsontext.ParseLenient(text)
		if err != nil {
			t.Fatalf("a text that is no JSON is taken as good: %v", err)
		}
		if v := doc.Member("format_version"); v != nil && v.Kind != jsontext.Null {
			doc = doc.Member("code")
		}
		said := doc.Member("config_schema")
		if m.schema == nil {
			if said != nil && said.Kind != jsontext.Null {
				t.Error("the schema got lost")
			}
			return
		}
		if !bytes.Contains(text, m.schema) {
			t.Errorf("the schema %q is not as the manifest has it", m.schema)
		}
		schema, err := jsontext.ParseLenient(m.schema)
		if err != nil {
			t.Fatalf("the schema %q is no JSON value: %v", m.schema, err)
		}
		if got, want := schema.Append(nil), said.Append(nil); !bytes.Equal(got, want) {
			t.Errorf("the schema says %s, the manifest %s", got, want)
		}
	})
}
