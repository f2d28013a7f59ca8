package schema_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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
	documents := map[string]json.RawMessage{}
	remotes := filepath.Join(dir, "remotes")
	_ = filepath.WalkDir(remotes, func(path string, _ fs.DirEntry, err error) error { // not there: those cases are left out
		if text, readErr := os.ReadFile(path); err == nil && readErr == nil && strings.HasSuffix(path, ".json") {
			documents["http://localhost:1234"+filepath.ToSlash(strings.TrimPrefix(path, remotes))] = text
		}
		return nil
	})
	ran := 0
	for _, d := range drafts {
		files, err := filepath.Glob(filepath.Join(dir, "tests", d.folder, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for _, file := range files {
			switch filepath.Base(file) {
			case "refRemote.json", "vocabulary.json", "dynamicRef.json":
				if len(documents) == 0 {
					continue
				}
			}
			count += runSuiteFile(t, file, d.uri, documents)
		}
		t.Logf("%s: %d cases", d.folder, count)
		ran += count
	}
	if ran == 0 {
		t.Fatalf("no cases below %s", dir)
	}
}

// unenforced tells whether err is about more than defaults, which the drafts do not judge.
func unenforced(err error) bool {
	if err == nil {
		return false
	}
	for note := range strings.SplitSeq(err.Error(), "; ") {
		if !strings.Contains(note, "is a default") && !strings.Contains(note, "default\" is too costly") && !strings.HasPrefix(note, "and ") {
			return true
		}
	}
	return false
}

func runSuiteFile(t *testing.T, file, uri string, documents map[string]json.RawMessage) (ran int) {
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
		s := schema.Compile(v.Append(nil), schema.Options{Documents: documents})
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
			if unenforced(s.Err()) {
				t.Errorf("%s: %s: %v", file, g.Description, s.Err())
				break
			}
		}
	}
	return ran
}
