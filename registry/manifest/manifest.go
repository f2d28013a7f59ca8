// Package manifest is a registry.Manager over directories of JSON plugin manifests, one file a plugin.
//
// The manifests are those of the Python project cjm-plugin-system, in both of its layouts. A flat one has all its fields in one
// object:
//
//	{"name": "whisper", "version": "1.2.0", "description": "…", "conda_env": "speech", "config_schema": {…}, …}
//
// One with a "format_version" of "2.0" has them in two, facts of the plugin and facts of the installation:
//
//	{"format_version": "2.0", "code": {"name": "whisper", "config_schema": {…}, …}, "install": {"conda_env": "speech", …}, …}
//
// Read are the name, which must be there, and where they are given version, title, description, conda_env, execution_mode (of
// install, else of code) and config_schema. A null is as good as nothing. All else may be there and is not looked at.
//
// A manifest is UTF-8 text of at most [MaxFileBytes] bytes. Names of members are compared exactly; where an object has one twice,
// the last one counts, as in Python.
package manifest

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/registry"
)

// manifest is what one file says.
type manifest struct {
	info   registry.Info
	schema json.RawMessage // the text of config_schema as it is, or nil
}

// parse reads the text of a manifest. Its errors name the place and quote no value: an env_vars may hold secrets.
func parse(text []byte) (manifest, error) {
	if string(text[:min(3, len(text))]) == "\ufeff" {
		return manifest{}, errors.New("the file starts with a byte order mark: save it as UTF-8 without one")
	}
	doc, err := jsontext.ParseLenient(text)
	if err != nil {
		return manifest{}, err
	}
	if doc.Kind != jsontext.Object {
		return manifest{}, fmt.Errorf("a manifest is a JSON object, this is %s", kindNames[doc.Kind])
	}
	code, install, err := sections(doc)
	if err != nil {
		return manifest{}, err
	}

	var m manifest
	var mode, codeMode string
	for _, field := range []struct {
		in   section
		name string
		to   *string
	}{
		{code, "name", &m.info.Name},
		{code, "version", &m.info.Version},
		{code, "title", &m.info.Title},
		{code, "description", &m.info.Description},
		{install, "conda_env", &m.info.CondaEnv},
		{install, "execution_mode", &mode},
		{code, "execution_mode", &codeMode},
	} {
		if *field.to, err = field.in.text(field.name); err != nil {
			return manifest{}, err
		}
	}
	if m.info.Name == "" {
		return manifest{}, fmt.Errorf("the plugin has no name: %q must be a string that is not empty", code.pointer+"/name")
	}
	m.info.ExecutionMode = executionMode(mode, codeMode, m.info.CondaEnv)
	m.schema, err = member(text, append(code.path, "config_schema")...)
	return m, err
}

// executionMode is the mode that is given, or what a conda environment implies. A mode that package registry does not know stays
// as it is: to leave it out would say that the plugin runs in this process.
func executionMode(install, code, condaEnv string) registry.ExecutionMode {
	switch {
	case install != "":
		return registry.ExecutionMode(install)
	case code != "":
		return registry.ExecutionMode(code)
	case condaEnv != "":
		return registry.ModeCondaEnv
	}
	return ""
}

// section is an object of a manifest and where it is.
type section struct {
	value   *jsontext.Value // nil where it is left out
	path    []string
	pointer string
}

// sections finds the objects that have the fields of the plugin and of the installation: in a flat manifest, the whole of it.
func sections(doc *jsontext.Value) (code, install section, err error) {
	switch v := doc.Member("format_version"); {
	case v == nil || v.Kind == jsontext.Null:
		return section{value: doc}, section{value: doc}, nil
	case v.Kind != jsontext.String || v.Text != "2.0":
		return code, install, fmt.Errorf(`%q is none that is known: it is the string "2.0", or left out in a flat manifest`,
			"/format_version")
	}
	if code, err = subsection(doc, "code"); err != nil {
		return code, install, err
	}
	install, err = subsection(doc, "install")
	return code, install, err
}

func subsection(doc *jsontext.Value, name string) (section, error) {
	s := section{path: []string{name}, pointer: "/" + name}
	v := doc.Member(name)
	switch {
	case v == nil || v.Kind == jsontext.Null:
		return s, nil
	case v.Kind != jsontext.Object:
		return s, fmt.Errorf("%q must be an object, this is %s", s.pointer, kindNames[v.Kind])
	}
	s.value = v
	return s, nil
}

// text returns a string, or "" where it is left out or null.
func (s section) text(name string) (string, error) {
	v := s.value.Member(name)
	switch {
	case v == nil || v.Kind == jsontext.Null:
		return "", nil
	case v.Kind != jsontext.String:
		return "", fmt.Errorf("%q must be a string, this is %s", s.pointer+"/"+name, kindNames[v.Kind])
	}
	return v.Text, nil
}

var kindNames = [...]string{
	jsontext.Null:   "null",
	jsontext.Bool:   "a boolean",
	jsontext.Number: "a number",
	jsontext.String: "a string",
	jsontext.Array:  "an array",
	jsontext.Object: "an object",
}

// member returns the text of the value at that path of objects as it stands in text, or nil where there is none or null.
func member(text json.RawMessage, path ...string) (json.RawMessage, error) {
	for _, name := range path {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(text, &object); err != nil {
			return nil, fmt.Errorf("reading the text of %q: %w", jsontext.JoinPointer(path...), err)
		}
		text = object[name]
		if text == nil || string(text) == "null" {
			return nil, nil
		}
	}
	return text, nil
}
