package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/manifest"
)

const pluginsDir = "plugins"

// secretName is what a property is called whose value must not be shown.
var secretName = regexp.MustCompile(`(?i)(password|secret|token|key)$`)

func TestPlugins(t *testing.T) {
	categories, err := os.ReadDir(pluginsDir)
	if err != nil {
		t.Fatal(err)
	}
	plugins, layouts := 0, map[bool]int{}
	for _, category := range categories {
		m := manifest.Dirs(filepath.Join(pluginsDir, category.Name()))
		infos, err := m.Discover(t.Context())
		if err != nil {
			t.Error(err)
		}
		if len(infos) < 2 {
			t.Errorf("category %s has %d plugins, an example needs some to choose from", category.Name(), len(infos))
		}
		for _, info := range infos {
			plugins++
			t.Run(category.Name()+"_"+info.Name, func(t *testing.T) {
				layouts[checkFile(t, filepath.Join(pluginsDir, category.Name(), info.Name+".json"))]++
				checkInfo(t, info)
				schema, err := m.ConfigSchema(t.Context(), info.Name)
				if err != nil {
					t.Fatal(err)
				}
				checkSchema(t, schema)
			})
		}
	}
	if plugins < 8 || len(layouts) != 2 {
		t.Errorf("there are %d plugins, by layout %v: at least 8, of both layouts, are wanted", plugins, layouts)
	}
}

// checkFile checks the text of a manifest, which is to be named after its plugin, and tells whether it is a nested one.
func checkFile(t *testing.T, path string) (nested bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(indented.Bytes(), text) || !bytes.HasSuffix(text, []byte("}\n")) {
		t.Error("the file should be indented by two spaces and end with a newline")
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	_, nested = doc["format_version"]
	return nested
}

func checkInfo(t *testing.T, info registry.Info) {
	if info.Version == "" || info.Title == "" || info.Description == "" {
		t.Errorf("a version, a title and a description are wanted: %+v", info)
	}
	if m := info.ExecutionMode; m == "" || !m.IsLocal() && !m.IsCloud() {
		t.Errorf("execution mode %q is none that is known", m)
	}
	if (info.ExecutionMode == registry.ModeCondaEnv) != (info.CondaEnv != "") {
		t.Errorf("execution mode %q does not fit the conda environment %q", info.ExecutionMode, info.CondaEnv)
	}
}

// checkSchema checks that the schema is one, with what a form needs, and that every default in it is allowed by it.
func checkSchema(t *testing.T, text json.RawMessage) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	const url = "plugin:schema"
	if err := c.AddResource(url, doc); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compile(url); err != nil {
		t.Fatal(err)
	}
	object := doc.(map[string]any)
	for _, name := range []string{"$schema", "title", "description"} {
		if s, _ := object[name].(string); s == "" {
			t.Errorf("the schema has no %s", name)
		}
	}
	defaults := checkProperties(t, c, url+"#", object)

	// The defaults together are a config to which at most something required is missing.
	optional(object)
	c = jsonschema.NewCompiler()
	if err := c.AddResource(url, object); err != nil {
		t.Fatal(err)
	}
	if loose, err := c.Compile(url); err != nil {
		t.Error(err)
	} else if err := loose.Validate(defaults); err != nil {
		t.Errorf("the defaults together: %v", err)
	}
}

// checkProperties checks the properties of a schema object, and those of objects in it, and returns the defaults.
func checkProperties(t *testing.T, c *jsonschema.Compiler, pointer string, object map[string]any) map[string]any {
	defaults := map[string]any{}
	properties, _ := object["properties"].(map[string]any)
	if len(properties) == 0 {
		t.Errorf("%s has no properties", pointer)
	}
	if object["additionalProperties"] != false {
		t.Errorf("%s would take a misspelt option without a word: additionalProperties should be false", pointer)
	}
	required, _ := object["required"].([]any)
	for _, name := range required {
		if _, ok := properties[name.(string)]; !ok {
			t.Errorf("%s requires %q, which is no property", pointer, name)
		}
	}
	for name, v := range properties {
		at := pointer + "/properties/" + name
		p := v.(map[string]any)
		for _, word := range []string{"title", "description"} {
			if s, _ := p[word].(string); s == "" || strings.TrimSpace(s) != s {
				t.Errorf("%s has no good %s", at, word)
			}
		}
		if secretName.MatchString(name) && (p["format"] != "password" || p["writeOnly"] != true) {
			t.Errorf("%s should have the format password and be writeOnly", at)
		}
		if p["type"] == "object" {
			if inner := checkProperties(t, c, at, p); len(inner) > 0 {
				defaults[name] = inner
			}
			continue
		}
		own, err := c.Compile(at)
		if err != nil {
			t.Error(err)
			continue
		}
		examples, _ := p["examples"].([]any)
		if d, ok := p["default"]; ok {
			defaults[name] = d
			examples = append(examples, d)
			if p["writeOnly"] == true {
				t.Errorf("%s is a secret with a default", at)
			}
		}
		for _, e := range examples {
			if err := own.Validate(e); err != nil {
				t.Errorf("%s does not allow its own default or example: %v", at, err)
			}
		}
	}
	return defaults
}

// optional takes away what requires a property.
func optional(object map[string]any) {
	delete(object, "required")
	delete(object, "anyOf")
	properties, _ := object["properties"].(map[string]any)
	for _, p := range properties {
		if p := p.(map[string]any); p["type"] == "object" {
			optional(p)
		}
	}
}
