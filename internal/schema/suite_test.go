package schema_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/internal/schema"
)

const suiteEnv = "PLUGINREGISTRY_JSONSCHEMA_SUITE"

type suiteGroup struct {
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"schema"`
	Tests       []struct {
		Description string          `json:"description"`
		Data        json.RawMessage `json:"data"`
		Valid       bool            `json:"valid"`
	} `json:"tests"`
}

// TestSuite runs the required cases of the official JSON-Schema-Test-Suite whose instance is an object.
func TestSuite(t *testing.T) {
	dir := os.Getenv(suiteEnv)
	if dir == "" {
		t.Skip("the JSON-Schema-Test-Suite is missing: set " + suiteEnv + " to its folder, which has the folder tests in it")
	}
	drafts := []struct{ folder, uri string }{
		{"draft4", "http://json-schema.org/draft-04/schema#"},
		{"draft6", "http://json-schema.org/draft-06/schema#"},
		{"draft7", "http://json-schema.org/draft-07/schema#"},
		{"draft2019-09", "https://json-schema.org/draft/2019-09/schema"},
		{"draft2020-12", "https://json-schema.org/draft/2020-12/schema"},
	}
	ran := 0
	for _, d := range drafts {
		files, err := filepath.Glob(filepath.Join(dir, "tests", d.folder, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for _, file := range files {
			switch filepath.Base(file) {
			case "refRemote.json", "vocabulary.json":
				continue // documents from elsewhere are never fetched
			}
			count += runSuiteFile(t, file, d.uri)
		}
		t.Logf("%s: %d cases", d.folder, count)
		ran += count
	}
	if ran == 0 {
		t.Fatalf("no cases below %s", dir)
	}
}

func runSuiteFile(t *testing.T, file, uri string) (ran int) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var groups []suiteGroup
	if err := json.Unmarshal(text, &groups); err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		v, err := jsontext.Parse(g.Schema)
		if err != nil || v.Kind != jsontext.Object {
			continue
		}
		if v.Member("$schema") == nil {
			v.Members = append([]jsontext.Member{{Name: "$schema", Value: &jsontext.Value{Kind: jsontext.String, Text: uri}}},
				v.Members...)
		}
		s := schema.Compile(v.Append(nil), schema.Options{})
		for _, c := range g.Tests {
			config, err := jsontext.Parse(c.Data)
			if err != nil || config.Kind != jsontext.Object {
				continue
			}
			ran++
			if !s.Usable() {
				t.Errorf("%s: %s: not usable: %v", filepath.Base(file), g.Description, s.Err())
				break
			}
			issues := s.Validate(config.Append(nil))
			if (len(issues) == 0) != c.Valid {
				t.Errorf("%s: %s: %s: want valid=%v, issues %v, Err %v",
					file, g.Description, c.Description, c.Valid, issues, s.Err())
			}
			if s.Err() != nil {
				t.Errorf("%s: %s: %v", file, g.Description, s.Err())
				break
			}
		}
	}
	return ran
}
