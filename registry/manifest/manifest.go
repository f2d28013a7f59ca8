// Package manifest is a [registry.Manager] over directories of JSON plugin manifests, one file a plugin.
//
// It reads the manifests of the Python projects cjm-plugin-system and cjm-substrate, in both layouts. A flat manifest has all its members
// in one object:
//
//	{"name": "whisper", "version": "1.2.0", "description": "…", "conda_env": "speech", "config_schema": {…}, …}
//
// One with a "format_version" of "2.0" has the facts of the plugin apart from those of the installation:
//
//	{"format_version": "2.0", "code": {"name": "whisper", "config_schema": {…}, …}, "install": {"conda_env": "speech", …}, …}
//
// These members are read: name, which is required, version, title, description, conda_env, execution_mode (of install, else of code),
// config_schema and worker_env. A member that is null counts as missing. Other members are ignored, also resources with its platforms: a
// plugin for another platform is listed, so that its config can be edited here.
//
// A manifest is UTF-8 text of at most [MaxFileBytes] bytes. Names of members are compared exactly; if an object has one twice, the last
// one counts, as in Python.
//
// # Environment variables
//
// worker_env lists the environment variables that a plugin's worker process gets, API keys among them:
//
//	"worker_env": [{"name": "HF_TOKEN", "secret": true, "label": "…", "description": "…", "default": "…", "required": true}]
//
// They become one more property of the config: the schema gets an object worker_env with a string for each variable. A variable is marked
// secret unless it says "secret": false; the default of a secret one is not used. A required variable must be there if worker_env is; a
// config without worker_env is valid, as the variables may come from elsewhere.
//
// # Files that are no manifests
//
// These files are ignored: package.json and package-lock.json; adapters ("unit": "adapter"); JSON objects that have none of a manifest's
// members; and those that have a name or version, but also members such as dependencies or scripts, and none that only manifests have.
package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/registry"
)

// manifest is what one file says.
type manifest struct {
	info   registry.Info
	schema json.RawMessage // the text of config_schema as it is, or nil
}

// errOther: the file is no manifest of a plugin, and need not be one.
var errOther = errors.New("this is no manifest of a plugin")

// parse reads the text of a manifest. Its errors name the place and quote no value: env_vars may hold secrets.
func parse(text []byte) (manifest, error) {
	if string(text[:min(3, len(text))]) == "\ufeff" {
		return manifest{}, errors.New("the file starts with a byte order mark: save it as UTF-8 without one")
	}
	doc, err := jsontext.ParseLenient(text)
	if err != nil {
		return manifest{}, err
	}
	if doc.Kind != jsontext.Object {
		return manifest{}, fmt.Errorf("a manifest is a JSON object, this is %s", doc.Kind)
	}
	if err := checkUnit(doc); err != nil {
		return manifest{}, err
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
	if m.schema, err = textAt(text, append(code.path, "config_schema")...); err != nil {
		return manifest{}, err
	}
	m.schema, err = withWorkerEnv(m.schema, code)
	return m, err
}

// Members that only manifests have, members that manifests share with other files, and members that only other files have.
var (
	ownMembers    = []string{"format_version", "code", "install", "config_schema", "worker_env", "conda_env", "execution_mode", "module", "class", "python_path", "db_path", "env_vars", "unit"}
	sharedMembers = []string{"name", "version", "title", "description"}
	otherMembers  = []string{
		"dependencies", "devDependencies", "peerDependencies", "scripts", "main", "private", "license", "engines", "workspaces", "packages",
		"lockfileVersion", "exports", "bin", "repository", "keywords", "author", "require", "autoload", "compilerOptions", "$schema",
	}
)

// checkUnit returns errOther for what is no plugin's.
func checkUnit(doc *jsontext.Value) error {
	has := func(names []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return doc.Member(name) != nil })
	}
	if !has(ownMembers) && (!has(sharedMembers) || has(otherMembers)) {
		return errOther
	}
	switch unit := doc.Member("unit"); {
	case unit == nil, unit.Kind == jsontext.Null:
		return nil
	case unit.Kind != jsontext.String:
		return fmt.Errorf(`"/unit" must be a string, this is %s`, unit.Kind)
	case unit.Text == "adapter":
		return errOther
	case unit.Text == "plugin", unit.Text == "capability":
		return nil
	}
	return errors.New(`"/unit" is none that is known: leave it out for a plugin`)
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
		return s, fmt.Errorf("%q must be an object, this is %s", s.pointer, v.Kind)
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
		return "", fmt.Errorf("%q must be a string, this is %s", s.pointer+"/"+name, v.Kind)
	}
	return v.Text, nil
}

// textAt returns the text of the value at that path of objects as it stands in text, or nil where there is none or null.
func textAt(text json.RawMessage, path ...string) (json.RawMessage, error) {
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
