package settings

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
	"golang.org/x/net/html"
)

// in returns the element with data-pointer, which has the control of a place.
func (a *answer) in(t *testing.T, pointer string) *html.Node {
	t.Helper()
	all := a.with("data-pointer", pointer)
	if len(all) != 1 {
		t.Fatalf("%d elements with data-pointer %q", len(all), pointer)
	}
	return all[0]
}

// labelled returns what the label of the control with that name says.
func (a *answer) labelled(t *testing.T, name string) string {
	t.Helper()
	n := a.named(name)
	if n == nil {
		t.Fatalf("no control %q", name)
	}
	for _, l := range find(a.page, func(l *html.Node) bool { return l.Data == "label" && attr(l, "for") == attr(n, "id") }) {
		return text(l)
	}
	t.Errorf("%q has no label", name)
	return ""
}

func TestFormControls(t *testing.T) {
	s := newSite(t, fake{"p": everything})
	s.save("c_p", `{"name":"n","key":"sk-planted","tags":["a","b"],"servers":[{"host":"h","token":"sk-planted-2"}],"env":{"A":"1"},"strange":1,"big":null,"back":{"type":"local","dir":"d"},"note":"a\nb"}`)
	a := s.get("/plugins/c_p/")
	if a.Code != 200 || strings.Contains(a.body, "sk-planted") || strings.Contains(a.body, "$secret") {
		t.Fatalf("%d, or it shows a secret: %s", a.Code, a.body)
	}
	if h1 := find(a.page, func(n *html.Node) bool { return n.Data == "h1" }); len(h1) != 1 || text(h1[0]) != "Everything" {
		t.Errorf("h1: %d", len(h1))
	}
	views := find(a.page, func(n *html.Node) bool { return n.Data == "nav" && attr(n, "aria-label") == "Views" })
	if len(views) != 1 || !strings.HasPrefix(text(views[0]), "Form JSON History") {
		t.Error("the views")
	}
	if at := find(views[0], func(n *html.Node) bool { return attr(n, "aria-current") == "page" }); len(at) != 1 || text(at[0]) != "Form" {
		t.Error("aria-current")
	}
	for name, label := range map[string]string{
		"v:/name": "Name (required)", "v:/note": "note", "v:/any": "any (JSON)", "v:/pair": "pair (JSON)", "n:/big": "big is null", "c:/key": "Clear key",
		"v:/tags/0": "tags 1", "v:/servers/0/host": "host (required)", "k:/env/A": "Name of A", "v:/env/A": "A", "o:/back": "type", "v:/back/dir": "dir", "v:/union": "union (JSON)",
	} {
		if got := a.labelled(t, name); got != label {
			t.Errorf("%s is labelled %q, want %q", name, got, label)
		}
	}
	for _, n := range find(a.page, func(n *html.Node) bool {
		return (n.Data == "input" && attr(n, "type") != "hidden") || n.Data == "select" || n.Data == "textarea"
	}) {
		if name := attr(n, "name"); name != "" && a.labelled(t, name) == "" {
			t.Errorf("%s has no label", attr(n, "name"))
		}
	}
	options := find(a.named("v:/on"), func(n *html.Node) bool { return n.Data == "option" })
	if text(options[0]) != "Default (Yes)" || attr(options[0], "value") != "" || attr(options[1], "value") != "true" || attr(options[2], "value") != "false" {
		t.Error("the options of a boolean")
	}
	options = find(a.named("v:/mode"), func(n *html.Node) bool { return n.Data == "option" })
	if attr(options[1], "value") != `"fast"` || text(options[1]) != "fast" || attr(options[4], "value") != "2.5" {
		t.Error("the options of an enum")
	}
	if o := find(a.named("v:/level"), func(n *html.Node) bool { return n.Data == "option" }); text(o[2]) != "High" {
		t.Error("the titles of oneOf")
	}
	key := a.named("v:/key")
	if attr(key, "type") != "password" || attr(key, "value") != "" || attr(key, "data-secret") != "stored" {
		t.Error("the secret")
	}
	for name, kind := range map[string]string{"v:/mail": "email", "v:/site": "url", "v:/day": "date", "v:/count": "text"} {
		if got := attr(a.named(name), "type"); got != kind {
			t.Errorf("%s has type %q", name, got)
		}
	}
	if attr(a.named("v:/ratio"), "inputmode") != "decimal" || attr(a.named("v:/count"), "value") != "" {
		t.Error("numbers: inputmode, and defaults are no values")
	}
	if a.named("v:/note").Data != "textarea" || a.named("v:/long").Data != "textarea" {
		t.Error("a text of several lines")
	}
	if hint := a.in(t, "/count"); !strings.Contains(text(hint), "Default: 3") {
		t.Error("the default is no hint")
	}
	if len(a.with("data-unknown", "*")) != 1 || !strings.Contains(text(a.with("data-unknown", "*")[0]), "strange") {
		t.Error("unknown keys")
	}
	tags := a.in(t, "/tags")
	if tags.Data != "fieldset" || text(find(tags, func(n *html.Node) bool { return n.Data == "legend" })[0]) != "tags" {
		t.Error("a list is no fieldset")
	}
	for _, label := range []string{"Add to tags", "Remove tags 1", "Move tags 1 down", "Move tags 2 up", "Remove Server 1", "Add to env", "Remove A", "Use this form"} {
		a.press(t, label)
	}
	if save := a.with("data-save", "*"); len(save) != 1 || text(save[0]) != "Save" {
		t.Error("the save button")
	}
	if buttons := find(a.with("data-save", "*")[0].Parent.Parent, func(n *html.Node) bool { return n.Data == "button" }); attr(buttons[0], "name") != "save" {
		t.Error("Enter presses another button than save")
	}
	if rev := a.with("data-revision", "*"); len(rev) != 1 || attr(rev[0], "data-revision") == "" {
		t.Error("the revision")
	}
	for _, n := range find(a.page, func(n *html.Node) bool {
		return n.Data == "a" || n.Data == "form" || n.Data == "link" || n.Data == "script"
	}) {
		for _, name := range []string{"href", "action", "src"} {
			if u, ok := attrOK(n, name); ok && (strings.HasPrefix(u, "/") || strings.Contains(u, "//")) {
				t.Errorf("the URL %q is not relative", u)
			}
		}
		if n.Data == "script" && n.FirstChild != nil || attr(n, "style") != "" {
			t.Error("the policy forbids inline scripts and styles")
		}
	}
}

// TestSave goes through what a person does with one form.
func TestSave(t *testing.T) {
	s := newSite(t, fake{"p": everything})
	page := s.get("/plugins/c_p/")
	values := page.values(t)
	values.Set("v:/count", "many")
	values.Set("v:/key", "sk-planted")
	refused := s.post("/plugins/c_p/", values)
	if refused.Code != http.StatusUnprocessableEntity || strings.Contains(refused.body, "sk-planted") {
		t.Fatalf("%d, or it shows what was typed: %s", refused.Code, refused.body)
	}
	count := refused.named("v:/count")
	if attr(count, "value") != "many" || attr(count, "aria-invalid") != "true" {
		t.Error("what was typed is lost, or not marked")
	}
	describes := map[string]string{}
	for _, n := range refused.with("id", "*") {
		describes[attr(n, "id")] = text(n)
	}
	said := ""
	for _, id := range strings.Fields(attr(count, "aria-describedby")) {
		said += describes[id] + " "
	}
	if !strings.Contains(said, "integer") || !strings.Contains(said, "Default: 3") {
		t.Errorf("the control is described by %q", said)
	}
	if attr(refused.named("v:/name"), "aria-invalid") != "true" {
		t.Error("a required field that is missing is not marked")
	}
	alerts := refused.with("role", "alert")
	if len(alerts) != 1 || len(find(alerts[0], func(n *html.Node) bool { return n.Data == "a" && describesOK(describes, attr(n, "href")) })) != 2 {
		t.Errorf("the summary: %s", text(alerts[0]))
	}

	values = refused.values(t)
	values.Set("v:/count", "4.0")
	values.Set("v:/name", "n")
	saved := s.post("/plugins/c_p/", values)
	location := saved.Header().Get("Location")
	if saved.Code != http.StatusSeeOther || !strings.HasPrefix(location, "?saved=") {
		t.Fatalf("%d %q %s", saved.Code, location, saved.body)
	}
	if got := s.opened("c_p"); got != `{"count":4.0,"key":"sk-planted","name":"n"}` {
		t.Errorf("saved %s", got)
	}
	after := s.get("/plugins/c_p/" + location)
	rev := strings.TrimPrefix(location, "?saved=")
	if status := after.with("role", "status"); text(status[0]) != "Saved as revision "+rev+"." {
		t.Errorf("status %q", text(status[0]))
	}
	if strings.Contains(s.get("/plugins/c_p/?saved=other").body, "Saved as") {
		t.Error("it says saved of a revision that is not stored")
	}

	values = after.values(t)
	values.Set("v:/name", "") // required
	values.Set("v:/key", "")
	if got := s.post("/plugins/c_p/", values); got.Code != 422 {
		t.Errorf("%d", got.Code)
	}
	values = after.values(t)
	values.Set("v:/count", "")
	values.Set("c:/key", "1")
	if got := s.post("/plugins/c_p/", values); got.Code != 303 || s.opened("c_p") != `{"name":"n"}` {
		t.Errorf("emptied and cleared: %d %s", got.Code, s.opened("c_p"))
	}
}

func describesOK(ids map[string]string, href string) bool {
	_, ok := ids[strings.TrimPrefix(href, "#")]
	return ok
}

func TestListsAndMaps(t *testing.T) {
	s := newSite(t, fake{"p": everything})
	s.save("c_p", `{"name":"n","servers":[{"host":"a","token":"sk-a"},{"host":"b"},{"host":"c","token":"sk-c"}],"tags":["x","y"],"env":{"A":"1","B":"2"}}`)
	a := s.get("/plugins/c_p/")
	steps := func(a *answer, labels ...string) *answer {
		for _, label := range labels {
			if a = s.post("/plugins/c_p/", a.press(t, label)); a.Code != 200 {
				t.Fatalf("%s: %d %s", label, a.Code, a.body)
			}
		}
		return a
	}
	a = steps(a, "Move Server 3 up", "Remove Server 1", "Add to servers", "Remove tags 1", "Add to env")
	values := a.values(t)
	values.Set("v:/servers/2/host", "d")
	values.Set("v:/servers/2/token", "sk-d")
	values.Set("v:/tags/0", "")
	values.Set("k:/env/B", "Z")
	for name := range values {
		if strings.HasPrefix(name, "k:/env/") && values.Get(name) == "" {
			values.Set(name, "C")
			values.Set("v:"+name[2:], "3")
		}
	}
	values.Set("v:/count", "x") // one round more with what was typed
	a = s.post("/plugins/c_p/", values)
	if a.Code != 422 || strings.Contains(a.body, "sk-") {
		t.Fatalf("%d, or it shows a secret", a.Code)
	}
	a = s.post("/plugins/c_p/", a.press(t, "Move Server 3 up"))
	values = a.values(t)
	values.Set("v:/count", "")
	if got := s.post("/plugins/c_p/", values); got.Code != 303 {
		t.Fatalf("%d %s", got.Code, text(got.page))
	}
	want := `{"name":"n","servers":[{"host":"c","token":"sk-c"},{"host":"d","token":"sk-d"},{"host":"b"}],"tags":[],"env":{"A":"1","Z":"2","C":"3"}}`
	if got := s.opened("c_p"); got != want {
		t.Errorf("saved\n%s\nwant\n%s", got, want)
	}
	values = s.get("/plugins/c_p/").values(t)
	values.Set("k:/env/A", "C")
	if got := s.post("/plugins/c_p/", values); got.Code != 422 || s.opened("c_p") != want {
		t.Errorf("a key that is taken: %d %s", got.Code, s.opened("c_p"))
	}
}

func TestObjectBranches(t *testing.T) {
	s := newSite(t, fake{"p": everything})
	s.save("c_p", `{"name":"n","back":{"type":"local","dir":"d","name":"both","extra":1}}`)
	a := s.get("/plugins/c_p/")
	values := a.press(t, "Use this form") // the button alone changes nothing
	values.Set("o:/back", `"remote"`)
	a = s.post("/plugins/c_p/", values)
	if a.Code != 200 || a.named("v:/back/url") == nil || a.named("v:/back/dir") != nil || !strings.Contains(text(a.with("role", "alert")[0]), "dir") {
		t.Fatalf("%d %s", a.Code, text(a.page))
	}
	values = a.values(t)
	values.Set("v:/back/url", "u")
	if got := s.post("/plugins/c_p/", values); got.Code != 303 || s.opened("c_p") != `{"name":"n","back":{"type":"remote","name":"both","extra":1,"url":"u"}}` {
		t.Errorf("%d %s", got.Code, s.opened("c_p"))
	}
}

func TestConflict(t *testing.T) {
	s := newSite(t, fake{"p": everything})
	s.save("c_p", `{"name":"n","count":1,"note":"a","servers":[{"host":"h","token":"sk-1"}]}`)
	a := s.get("/plugins/c_p/")
	s.save("c_p", `{"name":"n","count":2,"note":"theirs","ratio":2.0,"servers":[{"host":"h","token":"sk-1"}]}`)
	values := a.values(t)
	values.Set("v:/note", "mine")
	values.Set("v:/servers/0/port", "7")
	a = s.post("/plugins/c_p/", values)
	if a.Code != 409 || len(a.with("role", "alert")) != 1 {
		t.Fatalf("%d %s", a.Code, text(a.page))
	}
	if theirs := a.with("data-theirs", "*"); len(theirs) != 1 || !strings.Contains(text(theirs[0]), "theirs") || attr(a.named("v:/note"), "value") != "mine" || attr(a.named("v:/count"), "value") != "2" {
		t.Errorf("what both changed: %d", len(theirs))
	}
	if got := s.opened("c_p"); !strings.Contains(got, `"theirs"`) {
		t.Errorf("a conflict was saved: %s", got)
	}
	if got := s.post("/plugins/c_p/", a.values(t)); got.Code != 303 {
		t.Fatalf("saving again: %d %s", got.Code, text(got.page))
	}
	if got := s.opened("c_p"); got != `{"name":"n","count":2,"note":"mine","ratio":2.0,"servers":[{"host":"h","token":"sk-1","port":7}]}` {
		t.Errorf("saved %s", got)
	}
	// without secrets, whose masks would tell of another revision
	s.save("c_p", `{"name":"n","count":1}`)
	a = s.get("/plugins/c_p/")
	s.save("c_p", `{"name":"n","count":2}`)
	values = a.values(t)
	values.Set("v:/note", "mine")
	if a = s.post("/plugins/c_p/", values); a.Code != 409 || s.opened("c_p") != `{"name":"n","count":2}` || len(a.with("data-theirs", "*")) != 0 {
		t.Errorf("without secrets: %d %s", a.Code, s.opened("c_p"))
	}
	// the JSON page
	s.save("c_p", `{"name":"n","note":"mine"}`)
	b := s.get("/plugins/c_p/json")
	s.save("c_p", `{"name":"other"}`)
	values = b.values(t)
	values.Set("v:", strings.Replace(values.Get("v:"), `"mine"`, `"json"`, 1))
	if b = s.post("/plugins/c_p/json", values); b.Code != 409 || s.opened("c_p") != `{"name":"other"}` || !strings.Contains(b.named("v:").FirstChild.Data, `"json"`) {
		t.Errorf("JSON: %d %s", b.Code, text(b.page))
	}
}

func TestJSONPage(t *testing.T) {
	s := newSite(t, fake{"p": everything})
	s.save("c_p", `{"name":"n","count":1.0,"key":"sk-planted"}`)
	a := s.get("/plugins/c_p/json")
	values := a.values(t)
	for _, typed := range []string{`{"name":1,"key":"sk-typed"}`, `{"name":"n","key":"sk-typed"`, `{"name":"n","key":sk-typed}`, `"sk-typed"`, `{"name":"n","key":"sk-typed` + "\n"} {
		values.Set("v:", typed)
		got := s.post("/plugins/c_p/json", values)
		if got.Code != 422 || strings.Contains(got.body, "sk-typed") {
			t.Fatalf("%s: %d, or it shows what was typed: %s", typed, got.Code, got.body)
		}
		if again := s.post("/plugins/c_p/json", got.values(t)); again.Code != 422 || strings.Contains(again.body, "sk-typed") {
			t.Fatalf("%s sent again: %d", typed, again.Code)
		}
	}
	values.Set("v:", `{"name":"new","key":"sk-typed"`)
	values = s.post("/plugins/c_p/json", values).values(t)
	values.Set("v:", strings.TrimSpace(values.Get("v:"))+"}")
	if got := s.post("/plugins/c_p/json", values); got.Code != 303 || s.opened("c_p") != `{"name":"new","key":"sk-typed"}` {
		t.Errorf("mended: %d %s", got.Code, s.opened("c_p"))
	}
}

func TestListPage(t *testing.T) {
	s := newSite(t, fake{"p": whisper, "b": ""}, WithTitle("Our plugins"))
	s.save("c_p", `{"model":"m"}`)
	a := s.get("/")
	regions := find(a.page, func(n *html.Node) bool { return n.Data == "section" })
	if len(regions) != 1 || !strings.Contains(text(regions[0]), "1 of 2 configured") {
		t.Error("the category")
	}
	if len(a.with("data-plugin", "*")) != 2 {
		t.Error("the plugins")
	}
	p := a.with("data-plugin", "c_p")[0]
	if !strings.Contains(text(p), "Whisper <&>") || !strings.Contains(text(p), "Configured") {
		t.Errorf("the plugin: %s", text(p))
	}
	for query, n := range map[string]int{"?q=whisper": 1, "?q=c_b": 1, "?q=none": 0, "?configured=true": 1, "?configured=false": 1, "?q=whisper&configured=false": 0} {
		if got := s.get("/"+query).with("data-plugin", "*"); len(got) != n {
			t.Errorf("%s: %d", query, len(got))
		}
	}
}

func TestHistoryRollbackDelete(t *testing.T) {
	s := newSite(t, fake{"p": everything}, WithAuthor(func(*http.Request) string { return "<Ann>" }))
	first := s.save("c_p", `{"name":"one","key":"sk-planted","servers":[{"host":"h","token":"sk-planted"}]}`)
	values := s.get("/plugins/c_p/").values(t)
	values.Set("v:/name", "two")
	s.post("/plugins/c_p/", values)
	a := s.get("/plugins/c_p/history")
	if len(a.with("data-version", "*")) != 2 || strings.Contains(a.body, "sk-planted") || len(a.with("data-author", "*")) != 1 || text(a.with("data-author", "*")[0]) != "<Ann>" {
		t.Fatalf("history: %s", a.body)
	}
	old := a.with("data-version", string(first.Revision))[0]
	form := find(old, func(n *html.Node) bool { return n.Data == "form" })[0]
	if !strings.Contains(text(form), "Roll back to revision "+string(first.Revision)) {
		t.Error("the button")
	}
	values = sent(form)
	stale := s.get("/plugins/c_p/")
	got := s.post("/plugins/c_p/rollback", values)
	if got.Code != 303 || !strings.HasPrefix(got.Header().Get("Location"), "history?saved=") || !strings.Contains(s.opened("c_p"), `"one"`) {
		t.Fatalf("rollback: %d %s", got.Code, s.opened("c_p"))
	}
	if got := s.post("/plugins/c_p/rollback", values); got.Code != 409 {
		t.Errorf("rolled back from an old page: %d", got.Code)
	}
	remove := func(a *answer) *answer {
		return s.post("/plugins/c_p/delete", sent(find(a.page, func(n *html.Node) bool { return n.Data == "form" && attr(n, "action") == "delete" })[0]))
	}
	if got := remove(stale); got.Code != 409 {
		t.Errorf("deleted from an old page: %d", got.Code)
	}
	if got := remove(s.get("/plugins/c_p/")); got.Code != 303 {
		t.Errorf("delete: %d", got.Code)
	}
	if p, _ := s.reg.Plugin("c_p"); p.Configured {
		t.Error("it is still configured")
	}
	if got := s.post("/plugins/c_p/delete", url.Values{}); got.Code != 400 {
		t.Errorf("delete without a revision: %d", got.Code)
	}
}

func TestInstancesAndNotes(t *testing.T) {
	s := newSite(t, fake{"p": everything})
	s.save("c_p", `{"name":"own","key":"sk-planted"}`)
	if got := s.post("/plugins/c_p/instances", url.Values{"name": {"work"}, "title": {"At <work>"}, "from": {"c_p"}}); got.Code != 303 || got.Header().Get("Location") != "../c_p@work/" {
		t.Fatalf("add: %d %q %s", got.Code, got.Header().Get("Location"), got.body)
	}
	if got := s.opened("c_p@work"); got != `{"name":"own","key":"sk-planted"}` {
		t.Errorf("the copy: %s", got)
	}
	for _, bad := range []string{"work", "", "a b", "../x", strings.Repeat("x", 65)} {
		if got := s.post("/plugins/c_p/instances", url.Values{"name": {bad}}); got.Code != 422 {
			t.Errorf("%q: %d", bad, got.Code)
		}
	}
	page := s.get("/plugins/c_p@work/")
	values := page.values(t)
	values.Set("v:/count", "9")
	if got := s.post("/plugins/c_p@work/", values); got.Code != 303 || !strings.Contains(s.opened("c_p@work"), `"count":9`) || strings.Contains(s.opened("c_p"), "count") {
		t.Errorf("the instance's form: %d", got.Code)
	}
	a := s.get("/plugins/c_p/instances")
	row := a.with("data-instance", "c_p@work")[0]
	if !strings.Contains(text(row), "At <work>") || len(a.with("data-instance", "*")) != 2 {
		t.Errorf("instances: %s", text(row))
	}
	values = sent(find(row, func(n *html.Node) bool { return n.Data == "form" })[0])
	values.Set("disabled", "1")
	values.Set("title", "New title")
	if got := s.post("/plugins/c_p@work/note", values); got.Code != 303 {
		t.Fatalf("note: %d %s", got.Code, got.body)
	}
	all, err := s.reg.Instances(t.Context(), "c_p")
	if err != nil || len(all) != 1 || !all[0].Disabled || all[0].Title != "New title" {
		t.Errorf("instances: %+v %v", all, err)
	}
	s.save("c_p@work", `{"name":"meanwhile"}`)
	if got := s.post("/plugins/c_p@work/note", values); got.Code != 409 {
		t.Errorf("a note from an old page: %d", got.Code)
	}
}

func TestReadOnlyLayoutAndParts(t *testing.T) {
	s := newSite(t, fake{"p": everything}, WithReadOnly(func(*http.Request) bool { return true }), WithStylesheet("/site.css"),
		WithLayout(func(w io.Writer, r *http.Request, p Page) error {
			_, err := fmt.Fprintf(w, "<title>HOST %s</title>%s<hr>%s", html.EscapeString(p.Title), p.Head, p.Body)
			return err
		}))
	s.save("c_p", `{"name":"n"}`)
	a := s.get("/plugins/c_p/")
	if !strings.Contains(a.body, "HOST Everything") || !strings.Contains(a.body, `href="/site.css"`) || len(a.with("data-save", "*")) != 0 {
		t.Errorf("the page: %s", a.body)
	}
	for _, path := range []string{"/plugins/c_p/", "/plugins/c_p/json", "/plugins/c_p/delete", "/plugins/c_p/rollback", "/plugins/c_p/note", "/plugins/c_p/instances"} {
		if got := s.post(path, a.values(t)); got.Code != 403 {
			t.Errorf("%s: %d", path, got.Code)
		}
	}
	if got := s.api("DELETE", "/api/plugins/c_p/config", "", "If-Match", "*"); got.Code != 403 || s.opened("c_p") != `{"name":"n"}` {
		t.Errorf("the API: %d", got.Code)
	}
	if got := s.api("POST", "/api/plugins/c_p/validate", `{"name":"n"}`, "Content-Type", "application/json"); got.Code != 204 {
		t.Errorf("validate: %d", got.Code)
	}
	only := newSite(t, fake{"p": everything}, WithoutPages())
	if only.get("/").Code != 404 || only.get("/api/plugins").Code != 200 || strings.HasPrefix(only.get("/").Header().Get("Content-Type"), "text/html") {
		t.Error("WithoutPages")
	}
	only = newSite(t, fake{"p": everything}, WithoutAPI())
	if only.get("/").Code != 200 || only.get("/api/plugins").Code != 404 || strings.Contains(only.get("/plugins/c_p/").body, `id="live"`) {
		t.Error("WithoutAPI")
	}
	failing := newSite(t, fake{"p": everything}, WithLayout(func(w io.Writer, _ *http.Request, _ Page) error {
		_, _ = io.WriteString(w, "half")
		return errors.New("x")
	}))
	if got := failing.get("/"); got.Code != 500 || strings.Contains(got.body, "half") {
		t.Errorf("a layout that fails: %d %s", got.Code, got.body)
	}
}

// TestHeaders: every answer, of whatever kind, has the headers that keep other sites out.
func TestHeaders(t *testing.T) {
	s := newSite(t, fake{"p": everything}, WithAllowedHosts("example.com"), WithMaxBytes(2000))
	s.save("c_p", `{"name":"n"}`)
	send := func(method, path, body string, header ...string) *answer { return s.api(method, path, body, header...) }
	big := strings.Repeat("x", 3000)
	other := httptest.NewRequest("GET", "/", nil)
	other.Host = "rebound.example:80"
	otherAPI := httptest.NewRequest("GET", "/api/plugins", nil)
	otherAPI.Host = "127.0.0.1"
	for name, a := range map[string]*answer{
		"200 list": s.get("/"), "200 form": s.get("/plugins/c_p/"), "200 json": s.get("/plugins/c_p/json"), "200 history": s.get("/plugins/c_p/history"),
		"200 compare": s.get("/compare"), "200 status": s.get("/status"), "200 asset": s.get("/assets/" + assetVersion + "/style.css"), "200 api": s.get("/api/plugins"),
		"404 page": s.get("/nothing"), "404 plugin": s.get("/plugins/c_x/"), "404 asset": s.get("/assets/old/style.css"), "404 dots": s.get("/plugins/%2e%2e/"), "404 slashes": s.get("//evil.example/"),
		"404 api": s.get("/api/x"), "405 page": s.post("/", url.Values{}), "308 slash": s.get("/plugins/c_p"),
		"400 form":   s.post("/plugins/c_p/", url.Values{"base": {"{"}}),
		"413 form":   s.post("/plugins/c_p/", url.Values{"base": {"{}"}, "v:/note": {big}}),
		"413 json":   s.post("/plugins/c_p/json", url.Values{"base": {"{}"}, "v:": {big}}),
		"413 api":    send("PUT", "/api/plugins/c_p/config", `{"name":"`+big+`"}`, "If-Match", "*", "Content-Type", "application/json"),
		"403 cross":  send("POST", "/plugins/c_p/delete", "revision=", "Sec-Fetch-Site", "cross-site", "Content-Type", "application/x-www-form-urlencoded"),
		"403 origin": send("PUT", "/api/plugins/c_p/config", "{}", "Origin", "https://evil.example", "If-Match", "*", "Content-Type", "application/json"),
		"421 host":   s.do(other), "421 api": s.do(otherAPI),
	} {
		if !strings.HasPrefix(name, itoa(a.Code)) {
			t.Errorf("%s: %d %s", name, a.Code, a.body)
		}
		h := a.Header()
		if h.Get("Content-Security-Policy") != contentSecurityPolicy || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s: headers %v", name, h)
		}
		if cache := h.Get("Cache-Control"); strings.HasPrefix(h.Get("Content-Type"), "text/html") && cache != "no-store" {
			t.Errorf("%s: cache %q", name, cache)
		}
		if strings.HasPrefix(h.Get("Location"), "/") || strings.Contains(h.Get("Location"), "//") {
			t.Errorf("%s: Location %q", name, h.Get("Location"))
		}
	}
	if s.opened("c_p") != `{"name":"n"}` {
		t.Errorf("something was changed: %s", s.opened("c_p"))
	}
	if !strings.Contains(s.get("/assets/"+assetVersion+"/script.js").Header().Get("Cache-Control"), "immutable") {
		t.Error("assets are not immutable")
	}
	trusted := newSite(t, fake{"p": everything}, WithTrustedOrigins("https://host.example"))
	if a := trusted.api("PUT", "/api/plugins/c_p/config", `{"name":"n"}`, "Origin", "https://host.example", "If-Match", "*", "Content-Type", "application/json"); a.Code != 204 {
		t.Errorf("a trusted origin: %d", a.Code)
	}
}

// TestHostileNames: markup and odd characters in every text that a page shows stay text, and every ID has a page.
func TestHostileNames(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>'{{.}}`
	quoted, _ := json.Marshal(evil)
	q := string(quoted)
	schema := `{"title":` + q + `,"description":` + q + `,"type":"object","properties":{` + q + `:{"type":"string","title":` + q + `,"description":` + q + `,"default":` + q + `,"examples":[` + q + `]},
		"e":{"enum":[` + q + `,1]},"m":{"type":"object","additionalProperties":{"type":"string"}},"l":{"type":"array","items":{"type":"string","title":` + q + `}},"a\/b~c d'e\u0000f":{"type":"integer"},
		"b":{"oneOf":[{"title":` + q + `,"properties":{"t":{"const":` + q + `}}},{"properties":{"t":{"const":"2"}}}]}}}`
	names := []string{"a/b", "a b", `a"b`, "../up", "a?b#c", "%2F", "ü;x", "a&b=c", "a\nSet-Cookie: x=1", "<b>", "a\\b", "a:b"}
	plugins := fake{}
	for _, n := range names {
		plugins[n] = schema
	}
	s := newSite(t, plugins)
	for _, n := range names {
		id := "c_" + n
		s.save(id, `{`+q+`:`+q+`,"m":{`+q+`:`+q+`},"l":[`+q+`],"e":`+q+`,`+strings.Replace(q, `"\"`, `"unknown\"`, 1)+`:1,"b":{"t":`+q+`}}`)
		before := s.stored(id)
		for _, view := range []string{"", "json", "history", "instances"} {
			path := "/plugins/" + url.PathEscape(id) + "/" + view
			a := s.get(path)
			if a.Code != 200 {
				t.Fatalf("%s: %d", path, a.Code)
			}
			for _, n := range find(a.page, func(n *html.Node) bool { return n.Data == "script" || n.Data == "img" }) {
				if attr(n, "src") != "../../assets/"+assetVersion+"/script.js" {
					t.Fatalf("%s: markup got through: %v", path, n.Attr)
				}
			}
			for header, values := range a.Header() {
				if header == "Set-Cookie" || strings.ContainsAny(strings.Join(values, ""), "\r\n") {
					t.Errorf("%s: header %s", path, header)
				}
			}
			if view == "" {
				if got := s.post(path, a.values(t)); got.Code != 303 || s.stored(id) != before {
					t.Errorf("%s: %d\n%s\n%s", path, got.Code, before, s.stored(id))
				}
			}
		}
		for _, sub := range []string{"", "/schema", "/config", "/history"} {
			if a := s.get("/api/plugins/" + url.PathEscape(id) + sub); a.Code != 200 {
				t.Errorf("API %q%s: %d", id, sub, a.Code)
			}
		}
		if a := s.get("/plugins/" + url.PathEscape(id)); a.Code != 308 || a.Header().Get("Location") != "./"+url.PathEscape(id)+"/" {
			t.Errorf("without a slash: %d %q", a.Code, a.Header().Get("Location"))
		}
	}
	a := s.get("/?q=" + url.QueryEscape(evil))
	if len(find(a.page, func(n *html.Node) bool { return n.Data == "img" })) > 0 {
		t.Error("markup in the search")
	}
	if len(s.get("/").with("data-plugin", "*")) != len(names) {
		t.Error("the list")
	}
}

// TestUselessSchemas: a plugin whose schema no form can be made of has its page.
func TestUselessSchemas(t *testing.T) {
	deep := strings.Repeat(`{"type":"object","properties":{"a":`, 200) + "{}" + strings.Repeat("}}", 200)
	many := `{"type":"object","properties":{"p0":{}` + func() string {
		var b strings.Builder
		for i := range 20000 {
			fmt.Fprintf(&b, `,"property%d":{"type":"string","title":"T"}`, i)
		}
		return b.String()
	}() + `}}`
	plugins := fake{"none": "", "empty": `{}`, "list": `[]`, "text": `"x"`, "false": `false`, "broken": `{"type":`, "array": `{"type":"array"}`, "loop": `{"$ref":"#"}`, "loop2": `{"type":"array","items":{"$ref":"#"}}`,
		"loop3": `{"type":"object","properties":{"a":{"$ref":"#"},"l":{"type":"array","items":{"$ref":"#/properties/l"}}}}`, "odd": `{"type":7,"properties":[],"required":"x","enum":{},"oneOf":5,"title":[]}`,
		"all": `{"allOf":[{"$ref":"#/allOf/0"},{"oneOf":[{"$ref":"#"}]}]}`, "deep": deep, "many": many, "branch": `{"oneOf":[{"properties":{"t":{"const":1}}},{"properties":{"t":{"const":1}}}]}`}
	s := newSite(t, plugins)
	for name := range plugins {
		a := s.get("/plugins/c_" + name + "/")
		if a.Code != 200 || len(a.with("data-save", "*")) != 1 {
			t.Errorf("%s: %d %.200s", name, a.Code, text(a.page))
		}
		if len(a.body) > 1<<20 {
			t.Errorf("%s: %d bytes", name, len(a.body))
		}
		if a := s.get("/plugins/c_" + name + "/json"); a.Code != 200 {
			t.Errorf("%s/json: %d", name, a.Code)
		}
	}
	values := s.get("/plugins/c_empty/").values(t)
	values.Set("v:", `{"b":1.0,"a":[]}`)
	if got := s.post("/plugins/c_empty/", values); got.Code != 303 || s.opened("c_empty") != `{"b":1.0,"a":[]}` {
		t.Errorf("without a schema: %d %s", got.Code, s.opened("c_empty"))
	}
	s.save("c_empty", `{"x":"`+strings.Repeat("y", maxForm)+`"}`)
	if a := s.get("/plugins/c_empty/"); a.Code != 303 || a.Header().Get("Location") != "json" {
		t.Errorf("a large config: %d", a.Code)
	}
}

// broken is a store that fails with a text nobody may see.
type broken struct {
	store.Store
	err error
}

func (b *broken) Get(ctx context.Context, id string) (store.Record, error) {
	if b.err != nil {
		return store.Record{}, b.err
	}
	return b.Store.Get(ctx, id)
}

func (b *broken) Put(ctx context.Context, id string, c json.RawMessage, m store.Revision) (store.Record, error) {
	if b.err != nil {
		return store.Record{}, b.err
	}
	return b.Store.Put(ctx, id, c, m)
}

func (b *broken) Delete(ctx context.Context, id string, m store.Revision) error {
	if b.err != nil {
		return b.err
	}
	return b.Store.Delete(ctx, id, m)
}

func (b *broken) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	return b.Store.(store.Watcher).Watch(ctx)
}

func TestStoreThatFails(t *testing.T) {
	st := &broken{Store: memory.New()}
	var logged strings.Builder
	s := newSiteOn(t, st, fake{"p": everything}, WithLogger(newLogger(&logged)))
	s.save("c_p", `{"name":"n"}`)
	page := s.get("/plugins/c_p/")
	st.err = errors.New("disk /var/lib/private full")
	for name, a := range map[string]*answer{
		"form": s.get("/plugins/c_p/"), "json": s.get("/plugins/c_p/json"), "save": s.post("/plugins/c_p/", page.values(t)), "delete": s.post("/plugins/c_p/delete", url.Values{"revision": {"1"}}),
		"api": s.get("/api/plugins/c_p/config"), "put": s.api("PUT", "/api/plugins/c_p/config", `{"name":"x"}`, "If-Match", "*", "Content-Type", "application/json"),
	} {
		if a.Code != 503 || a.Header().Get("Retry-After") == "" || strings.Contains(a.body, "private") {
			t.Errorf("%s: %d %v %s", name, a.Code, a.Header(), a.body)
		}
	}
	values := page.values(t)
	values.Set("v:/note", "typed")
	if a := s.post("/plugins/c_p/", values); attr(a.named("v:/note"), "value") != "typed" {
		t.Error("what was typed is lost when the store fails")
	}
	if !strings.Contains(logged.String(), "private") {
		t.Error("the cause is not in the log")
	}
	st.err = nil
	if a := s.post("/plugins/c_p/", values); a.Code != 303 {
		t.Errorf("afterwards: %d", a.Code)
	}
	st.err = store.ErrCorrupt
	if a := s.get("/api/plugins/c_p/config"); a.Code != 500 || !strings.Contains(a.body, "problem:corrupt") {
		t.Errorf("corrupt: %d %s", a.Code, a.body)
	}
	if a := s.get("/plugins/c_p/"); a.Code != 500 {
		t.Errorf("corrupt: %d", a.Code)
	}
}

func TestNoSecretKey(t *testing.T) {
	reg := registry.New(memory.New())
	if _, err := reg.RegisterManager(t.Context(), "c", fake{"p": everything}); err != nil {
		t.Fatal(err)
	}
	h := New(reg)
	defer h.Close()
	s := &site{t, reg, h, nil}
	values := s.get("/plugins/c_p/").values(t)
	values.Set("v:/name", "n")
	values.Set("v:/key", "sk-typed")
	a := s.post("/plugins/c_p/", values)
	if a.Code != 422 || !strings.Contains(text(a.page), "no key") || strings.Contains(a.body, "sk-typed") {
		t.Errorf("%d %s", a.Code, text(a.page))
	}
}
