package settings

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const whisper = `{"title":"Whisper <&>","type":"object","required":["model"],"properties":{
 "model":{"type":"string","title":"Model","minLength":1},"beam":{"type":"integer","minimum":1,"default":5},"key":{"type":"string","writeOnly":true}},"additionalProperties":false}`

// spoken is the OpenAPI document, to judge answers by.
type spoken struct {
	t   *testing.T
	doc map[string]any
	c   *jsonschema.Compiler
}

func newSpoken(t *testing.T) *spoken {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPI))
	if err != nil {
		t.Fatal(err)
	}
	s := &spoken{t: t, c: jsonschema.NewCompiler(), doc: doc.(map[string]any)}
	if err := s.c.AddResource("https://test.example/openapi", doc); err != nil {
		t.Fatal(err)
	}
	return s
}

// check tells whether the document knows this answer to the operation, and its body.
func (s *spoken) check(method, path string, a *answer) {
	s.t.Helper()
	operation, ok := s.doc["paths"].(map[string]any)[path].(map[string]any)[strings.ToLower(method)].(map[string]any)
	if !ok {
		s.t.Fatalf("%s %s is not in the document", method, path)
	}
	code := strings.TrimLeft(http.StatusText(a.Code), " ")
	response, ok := operation["responses"].(map[string]any)[itoa(a.Code)].(map[string]any)
	if !ok {
		s.t.Fatalf("%s %s: %d %s is not in the document: %s", method, path, a.Code, code, a.body)
	}
	if ref, ok := response["$ref"].(string); ok {
		response = s.doc["components"].(map[string]any)["responses"].(map[string]any)[strings.TrimPrefix(ref, "#/components/responses/")].(map[string]any)
	}
	content, _ := response["content"].(map[string]any)
	if content == nil {
		if a.body != "" {
			s.t.Errorf("%s %s: %d has a body", method, path, a.Code)
		}
		return
	}
	media, ok := content[a.Header().Get("Content-Type")].(map[string]any)
	if !ok {
		s.t.Fatalf("%s %s: %d has Content-Type %q, the document has %v", method, path, a.Code, a.Header().Get("Content-Type"), content)
	}
	schema, _ := media["schema"].(map[string]any)
	ref, ok := schema["$ref"].(string)
	if !ok {
		return
	}
	compiled, err := s.c.Compile("https://test.example/openapi" + ref)
	if err != nil {
		s.t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(a.body))
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	if err := compiled.Validate(v); err != nil {
		s.t.Errorf("%s %s: %v", method, path, err)
	}
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestOpenAPIHasEveryRouteAndNoOther(t *testing.T) {
	s := newSite(t, fake{"p": whisper})
	var have, said []string
	for _, r := range s.h.routes {
		if r.api {
			have = append(have, strings.ToLower(r.method)+" /"+r.path)
		}
	}
	for path, item := range newSpoken(t).doc["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			if method != "parameters" {
				said = append(said, method+" "+path)
			}
		}
	}
	slices.Sort(have)
	slices.Sort(said)
	if !slices.Equal(have, said) {
		t.Errorf("the handler has\n%q\nthe document has\n%q", have, said)
	}
}

// TestAPI goes through every operation and status of the API and holds each answer against the document.
func TestAPI(t *testing.T) {
	s := newSite(t, fake{"p": whisper, "bad": `{"type":"object","properties":{"a":{"$ref":"#/nowhere"}}}`})
	doc := newSpoken(t)
	const config = "/api/plugins/c_p/config"
	jsonType := []string{"Content-Type", "application/json"}
	patchType := []string{"Content-Type", "application/merge-patch+json"}
	first := s.api("GET", config, "")
	tag := first.Header().Get("ETag")
	if first.Code != 200 || first.body != "{}" || !strings.HasPrefix(tag, `"r.`) {
		t.Fatalf("nothing stored: %d %q %q", first.Code, first.body, tag)
	}
	try := func(code int, method, path, body string, header ...string) *answer {
		t.Helper()
		a := s.api(method, path, body, header...)
		if a.Code != code {
			t.Fatalf("%s %s %s %v: %d, want %d: %s", method, path, body, header, a.Code, code, a.body)
		}
		known := strings.NewReplacer("/c_p", "/{id}", "/c_bad", "/{id}", "/c_none", "/{id}").Replace(strings.SplitN(path, "?", 2)[0])
		if strings.Contains(known, "/history/") {
			known = "/api/plugins/{id}/history/{revision}"
		}
		if method != "HEAD" && a.Code != 405 {
			doc.check(method, known, a)
		}
		return a
	}
	is := func(a *answer, problem string) {
		t.Helper()
		var got struct{ Type string }
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Type != problemPrefix+problem {
			t.Errorf("problem %q, want %q", got.Type, problem)
		}
	}
	with := func(lists ...[]string) (all []string) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	match := func(tag string) []string { return []string{"If-Match", tag} }

	is(try(428, "PUT", config, `{"model":"a"}`, jsonType...), "precondition-required")
	is(try(415, "PUT", config, `{"model":"a"}`, with(match(tag), []string{"Content-Type", "text/plain"})...), "media-type")
	is(try(415, "PUT", config, `{"model":"a"}`, match(tag)...), "media-type")
	is(try(400, "PUT", config, `{"model":`, with(match(tag), jsonType)...), "malformed")
	is(try(400, "PUT", config, `[]`, with(match(tag), jsonType)...), "malformed")
	is(try(400, "PUT", config, `{"model":"a","model":"b"}`, with(match(tag), jsonType)...), "malformed")
	is(try(400, "PUT", config, `{}`, with(match("rubbish"), jsonType)...), "malformed")
	invalid := try(422, "PUT", config, `{"model":"","beam":0,"key":"sk-planted"}`, with(match(tag), jsonType)...)
	is(invalid, "invalid-config")
	if !strings.Contains(invalid.body, `"pointer":"/beam"`) || strings.Contains(invalid.body, "sk-planted") {
		t.Errorf("issues: %s", invalid.body)
	}
	is(try(404, "GET", "/api/plugins/c_none/config", ""), "unknown-plugin")
	is(try(404, "PUT", "/api/plugins/c_none/config", `{}`, with(match("*"), jsonType)...), "unknown-plugin")

	saved := try(204, "PUT", config, `{ "model": "a", "beam": 9007199254740993, "key": "sk-planted" }`, with([]string{"If-None-Match", "*"}, jsonType)...)
	old := saved.Header().Get("ETag")
	is(try(412, "PUT", config, `{"model":"b"}`, with([]string{"If-None-Match", "*"}, jsonType)...), "conflict")
	conflict := try(412, "PUT", config, `{"model":"b"}`, with(match(tag), jsonType)...)
	if conflict.Header().Get("ETag") != old {
		t.Errorf("412 brings %q, the current tag is %q", conflict.Header().Get("ETag"), old)
	}
	try(412, "PUT", config, `{"model":"b"}`, with(match("W/"+old), jsonType)...)
	try(412, "PUT", config, `{"model":"b"}`, with(match(`"other"`), jsonType)...)
	got := try(200, "GET", config, "")
	if want := `{"model":"a","beam":9007199254740993,"key":"**********"}`; got.body != want || got.Header().Get("ETag") != old {
		t.Errorf("got %s %s", got.body, got.Header().Get("ETag"))
	}
	if head := try(200, "HEAD", config, ""); head.body != "" || head.Header().Get("ETag") != old {
		t.Errorf("HEAD: %q %v", head.body, head.Header())
	}
	try(304, "GET", config, "", "If-None-Match", old)
	try(304, "GET", config, "", "If-None-Match", `"x", W/`+old)
	try(200, "GET", config, "", "If-None-Match", tag)
	try(400, "GET", config+"?view=all", "")

	patched := try(204, "PATCH", config, `{"beam":null,"model":"b"}`, with(match(`"x", `+old), patchType)...)
	try(415, "PATCH", config, `{}`, with(match(old), jsonType)...)
	try(428, "PATCH", config, `{}`, patchType...)
	try(412, "PATCH", config, `{"model":"c"}`, with(match(old), patchType)...)
	if got := s.opened("c_p"); got != `{"model":"b","key":"sk-planted"}` {
		t.Errorf("after the patch: %s", got)
	}
	if got := try(200, "GET", config+"?view=effective", ""); got.body != `{"model":"b","key":"**********","beam":5}` {
		t.Errorf("effective: %s", got.body)
	}
	try(422, "PATCH", config, `{"model":null}`, with(match("*"), patchType)...)
	try(400, "PATCH", config, `[`, with(match("*"), patchType)...)

	try(204, "POST", "/api/plugins/c_p/validate", `{"model":"x"}`, jsonType...)
	try(422, "POST", "/api/plugins/c_p/validate", `{"model":1}`, jsonType...)
	try(400, "POST", "/api/plugins/c_p/validate", `{`, jsonType...)
	try(415, "POST", "/api/plugins/c_p/validate", `{}`)

	versions := try(200, "GET", "/api/plugins/c_p/history?limit=1", "")
	if strings.Count(versions.body, `"revision"`) != 1 || strings.Contains(versions.body, "sk-planted") {
		t.Errorf("history: %s", versions.body)
	}
	try(400, "GET", "/api/plugins/c_p/history?limit=x", "")
	all := try(200, "GET", "/api/plugins/c_p/history", "")
	var list struct{ Versions []versionJSON }
	if err := json.Unmarshal([]byte(all.body), &list); err != nil || len(list.Versions) != 2 {
		t.Fatalf("history: %s", all.body)
	}
	oldest := list.Versions[1].Revision
	if got := try(200, "GET", "/api/plugins/c_p/history/"+oldest, ""); got.body != `{"model":"a","beam":9007199254740993,"key":"**********"}` {
		t.Errorf("version: %s", got.body)
	}
	try(404, "GET", "/api/plugins/c_p/history/none", "")
	try(428, "POST", "/api/plugins/c_p/rollback", `{"revision":"`+oldest+`"}`, jsonType...)
	try(412, "POST", "/api/plugins/c_p/rollback", `{"revision":"`+oldest+`"}`, with(match(old), jsonType)...)
	try(400, "POST", "/api/plugins/c_p/rollback", `{}`, with(match("*"), jsonType)...)
	try(404, "POST", "/api/plugins/c_p/rollback", `{"revision":"none"}`, with(match("*"), jsonType)...)
	back := try(204, "POST", "/api/plugins/c_p/rollback", `{"revision":"`+oldest+`"}`, with(match(patched.Header().Get("ETag")), jsonType)...)
	if got := s.opened("c_p"); got != `{"model":"a","beam":9007199254740993,"key":"sk-planted"}` {
		t.Errorf("after the rollback: %s", got)
	}
	try(428, "DELETE", config, "")
	try(412, "DELETE", config, "", match(old)...)
	if gone := try(204, "DELETE", config, "", match(back.Header().Get("ETag"))...); gone.Header().Get("ETag") != tag {
		t.Errorf("deleted: %q, nothing stored: %q", gone.Header().Get("ETag"), tag)
	}

	try(200, "GET", "/api/categories", "")
	if got := try(200, "GET", "/api/plugins?category=c&configured=false&q=WHIS", ""); strings.Count(got.body, `"id"`) != 1 {
		t.Errorf("plugins: %s", got.body)
	}
	try(400, "GET", "/api/plugins?configured=maybe", "")
	try(200, "GET", "/api/plugins/c_p", "")
	try(404, "GET", "/api/plugins/c_none", "")
	if got := try(200, "GET", "/api/plugins/c_p/schema", ""); got.body != whisper {
		t.Errorf("schema: %s", got.body)
	}
	try(404, "GET", "/api/plugins/c_none/schema", "")
	try(200, "GET", "/api/openapi.json", "")
	if a := s.api("PUT", "/api/categories", ""); a.Code != 405 || a.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("405: %d %q", a.Code, a.Header().Get("Allow"))
	}
	if a := s.api("GET", "/api/nothing", ""); a.Code != 404 || a.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("404: %d %s", a.Code, a.body)
	}
}
