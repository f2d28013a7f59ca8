package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
)

const workerEnv = "worker_env"

// withWorkerEnv adds the environment variables of the worker to a schema.
func withWorkerEnv(text json.RawMessage, code section) (json.RawMessage, error) {
	list := code.value.Member(workerEnv)
	switch {
	case list == nil || list.Kind == jsontext.Null:
		return text, nil
	case list.Kind != jsontext.Array:
		return nil, fmt.Errorf("%q must be an array, this is %s", code.pointer+"/"+workerEnv, list.Kind)
	case len(list.Items) == 0:
		return text, nil
	}
	env, err := envSchema(list.Items, code.pointer+"/"+workerEnv)
	if err != nil {
		return nil, err
	}
	schema := object(member("type", quoted("object")))
	if text != nil {
		if schema, err = jsontext.ParseLenient(text); err != nil {
			return nil, err
		}
	}
	place := code.pointer + "/config_schema"
	if schema.Kind != jsontext.Object {
		return nil, fmt.Errorf("%q must be an object, as there is a %s; this is %s", place, workerEnv, schema.Kind)
	}
	properties := schema.Member("properties")
	if properties == nil {
		properties = object()
		schema.Members = append(schema.Members, member("properties", properties))
	}
	if properties.Kind != jsontext.Object || properties.Member(workerEnv) != nil {
		return nil, fmt.Errorf("%q must be an object without a property %s: that is made of the environment variables", place+"/properties", workerEnv)
	}
	properties.Members = append(properties.Members, member(workerEnv, env))
	return schema.Append(nil), nil
}

// envSchema is the schema of an object with these variables. pointer is that of the list.
func envSchema(list []*jsontext.Value, pointer string) (*jsontext.Value, error) {
	properties, required := object(), &jsontext.Value{Kind: jsontext.Array}
	for i, item := range list {
		at := section{value: item, pointer: fmt.Sprintf("%s/%d", pointer, i)}
		if item.Kind != jsontext.Object {
			return nil, fmt.Errorf("%q must be an object, this is %s", at.pointer, item.Kind)
		}
		name, nameErr := at.text("name")
		label, labelErr := at.text("label")
		description, descriptionErr := at.text("description")
		secret, secretErr := at.flag("secret", true) // unsure, it is one
		needed, neededErr := at.flag("required", false)
		if err := errors.Join(nameErr, labelErr, descriptionErr, secretErr, neededErr); err != nil {
			return nil, err
		}
		if name == "" || properties.Member(name) != nil {
			return nil, fmt.Errorf("%q must be the name of a variable that is not in the list already", at.pointer+"/name")
		}
		variable := object(member("type", quoted("string")))
		if label != "" {
			variable.Members = append(variable.Members, member("title", quoted(label)))
		}
		if description != "" {
			variable.Members = append(variable.Members, member("description", quoted(description)))
		}
		if secret {
			variable.Members = append(variable.Members, member("writeOnly", &jsontext.Value{Kind: jsontext.Bool, Text: "true"}))
		} else if d := item.Member("default"); d != nil && d.Kind == jsontext.String {
			variable.Members = append(variable.Members, member("default", d))
		}
		properties.Members = append(properties.Members, member(name, variable))
		if needed {
			required.Items = append(required.Items, quoted(name))
		}
	}
	env := object(
		member("type", quoted("object")),
		member("title", quoted("Environment variables")),
		member("properties", properties),
	)
	if len(required.Items) > 0 {
		env.Members = append(env.Members, member("required", required))
	}
	return env, nil
}

// flag returns a boolean, or missing if there is none.
func (s section) flag(name string, missing bool) (bool, error) {
	v := s.value.Member(name)
	switch {
	case v == nil || v.Kind == jsontext.Null:
		return missing, nil
	case v.Kind != jsontext.Bool:
		return false, fmt.Errorf("%q must be true or false, this is %s", s.pointer+"/"+name, v.Kind)
	}
	return v.Text == "true", nil
}

func object(members ...jsontext.Member) *jsontext.Value {
	return &jsontext.Value{Kind: jsontext.Object, Members: slices.Clone(members)}
}

func member(name string, v *jsontext.Value) jsontext.Member {
	return jsontext.Member{Name: name, Value: v}
}

func quoted(text string) *jsontext.Value { return &jsontext.Value{Kind: jsontext.String, Text: text} }
