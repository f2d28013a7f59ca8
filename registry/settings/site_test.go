package settings

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/secret"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
	"golang.org/x/net/html"
)

// fake is a plugin system of schemas by name.
type fake map[string]string

func (f fake) Discover(context.Context) ([]registry.Info, error) {
	var all []registry.Info
	for name := range f {
		all = append(all, registry.Info{Name: name, Version: "1.0"})
	}
	slices.SortFunc(all, func(a, b registry.Info) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func (f fake) ConfigSchema(_ context.Context, name string) (json.RawMessage, error) {
	if f[name] == "" {
		return nil, nil
	}
	return json.RawMessage(f[name]), nil
}

// site is a handler over plugins of category "c", with a browser that has no script.
type site struct {
	t   *testing.T
	reg *registry.Registry
	h   *Handler
	st  store.Store
}

func newSite(t *testing.T, plugins fake, opts ...Option) *site {
	t.Helper()
	return newSiteOn(t, memory.New(), plugins, opts...)
}

func newSiteOn(t *testing.T, st store.Store, plugins fake, opts ...Option) *site {
	t.Helper()
	keys, err := secret.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	reg := registry.New(st, registry.WithSecrets(keys))
	if _, err := reg.RegisterManager(t.Context(), "c", plugins); err != nil {
		t.Fatal(err)
	}
	h := New(reg, opts...)
	t.Cleanup(func() { _ = h.Close() })
	return &site{t, reg, h, st}
}

// answer is what came back.
type answer struct {
	*httptest.ResponseRecorder
	body string
	page *html.Node
}

func (s *site) do(r *http.Request) *answer {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	body, _ := io.ReadAll(w.Result().Body)
	a := &answer{ResponseRecorder: w, body: string(body)}
	a.page, _ = html.Parse(strings.NewReader(a.body))
	return a
}

func (s *site) get(path string) *answer {
	s.t.Helper()
	return s.do(httptest.NewRequest("GET", path, nil))
}

func (s *site) post(path string, values url.Values) *answer {
	s.t.Helper()
	r := httptest.NewRequest("POST", path, strings.NewReader(values.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return s.do(r)
}

// api sends a request to the API; header is names and values in turn.
func (s *site) api(method, path, body string, header ...string) *answer {
	s.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return s.do(r)
}

func (s *site) save(id, config string) store.Record {
	s.t.Helper()
	rec, err := s.reg.SaveConfig(s.t.Context(), id, json.RawMessage(config))
	if err != nil {
		s.t.Fatalf("saving %s: %v", config, err)
	}
	return rec
}

// stored returns the text in the store itself.
func (s *site) stored(id string) string {
	s.t.Helper()
	rec, err := s.st.Get(s.t.Context(), id)
	if err != nil {
		return err.Error()
	}
	return string(rec.Config)
}

// opened returns the text as it was saved.
func (s *site) opened(id string) string {
	s.t.Helper()
	rec, err := s.reg.LoadConfig(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(rec.Config)
}

func attr(n *html.Node, name string) string {
	v, _ := attrOK(n, name)
	return v
}

func attrOK(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func find(n *html.Node, is func(*html.Node) bool) []*html.Node {
	var all []*html.Node
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && is(d) {
			all = append(all, d)
		}
	}
	return all
}

// named returns the element with that name, or nil.
func (a *answer) named(name string) *html.Node {
	for _, n := range find(a.page, func(n *html.Node) bool { return attr(n, "name") == name }) {
		return n
	}
	return nil
}

// with returns the elements that have an attribute, with that value unless it is "*".
func (a *answer) with(attribute, value string) []*html.Node {
	return find(a.page, func(n *html.Node) bool {
		v, ok := attrOK(n, attribute)
		return ok && (value == "*" || v == value)
	})
}

func rawText(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

func text(n *html.Node) string { return strings.Join(strings.Fields(rawText(n)), " ") }

// values are what a browser would send of the page's form, without a button.
func (a *answer) values(t *testing.T) url.Values {
	t.Helper()
	forms := find(a.page, func(n *html.Node) bool { return n.Data == "form" && attr(n, "class") == "pr-form" })
	if len(forms) != 1 {
		t.Fatalf("%d forms: %d %s", len(forms), a.Code, a.body)
	}
	return sent(forms[0])
}

func sent(form *html.Node) url.Values {
	values := url.Values{}
	for _, n := range find(form, func(n *html.Node) bool { return attr(n, "name") != "" }) {
		name := attr(n, "name")
		switch n.Data {
		case "input":
			_, checked := attrOK(n, "checked")
			if attr(n, "type") == "checkbox" && !checked {
				continue
			}
			v := attr(n, "value")
			switch attr(n, "type") { // as browsers clean what they were given
			case "hidden":
			case "email", "url":
				v = strings.Trim(strings.NewReplacer("\r", "", "\n", "").Replace(v), " \t\f")
			case "date":
				if !isDate.MatchString(v) {
					v = ""
				}
			case "time":
				if !isTime.MatchString(v) {
					v = ""
				}
			default:
				v = strings.NewReplacer("\r", "", "\n", "").Replace(v)
			}
			values.Add(name, v)
		case "textarea":
			values.Add(name, strings.ReplaceAll(rawText(n), "\n", "\r\n"))
		case "select":
			chosen := ""
			for i, o := range find(n, func(n *html.Node) bool { return n.Data == "option" }) {
				if _, selected := attrOK(o, "selected"); selected || i == 0 {
					chosen = attr(o, "value")
				}
			}
			values.Add(name, chosen)
		}
	}
	return values
}

// press is what a browser sends when a button is pressed.
func (a *answer) press(t *testing.T, label string) url.Values {
	t.Helper()
	values := a.values(t)
	for _, n := range find(a.page, func(n *html.Node) bool { return n.Data == "button" && text(n) == label && attr(n, "name") != "" }) {
		values.Set(attr(n, "name"), attr(n, "value"))
		return values
	}
	t.Fatalf("no button %q in %s", label, a.body)
	return nil
}
