package settings

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"counted": counted,
	"segment": url.PathEscape,
}).ParseFS(templateFiles, "templates/*.html"))

// assetVersion changes with any asset, so that each version may be cached for ever.
var assetVersion = sync1(func() string {
	sum := sha256.New()
	_ = fs.WalkDir(assetFiles, "assets", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			b, _ := assetFiles.ReadFile(path)
			sum.Write(b)
		}
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)[:8])
})

// sync1 calls f once, when the package is loaded.
func sync1[T any](f func() T) T { return f() }

func (h *Handler) pageRoutes() []route {
	return []route{
		{"GET", "", h.listPage, false},
		{"GET", "plugins/{id}", addSlash, false},
		{"GET", "plugins/{id}/", h.formPage, false},
		{"POST", "plugins/{id}/", h.saveForm, false},
		{"GET", "plugins/{id}/json", h.jsonPage, false},
		{"POST", "plugins/{id}/json", h.saveJSON, false},
		{"GET", "plugins/{id}/history", h.historyPage, false},
		{"POST", "plugins/{id}/rollback", h.rollbackPage, false},
		{"POST", "plugins/{id}/delete", h.deletePage, false},
		{"POST", "plugins/{id}/note", h.notePage, false},
		{"GET", "plugins/{id}/instances", h.instancesPage, false},
		{"POST", "plugins/{id}/instances", h.addInstance, false},
		{"GET", "compare", h.comparePage, false},
		{"GET", "status", h.statusPage, false},
		{"GET", "assets/{hash}/{name}", h.asset, false},
	}
}

// addSlash sends a browser on to the same path with a slash, relative to itself.
func addSlash(w http.ResponseWriter, r *http.Request) {
	redirect(w, "./"+url.PathEscape(r.PathValue("id"))+"/", http.StatusPermanentRedirect)
}

// redirect sends a relative Location. http.Redirect would make it absolute, and wrong under a prefix.
func redirect(w http.ResponseWriter, location string, status int) {
	w.Header().Set("Location", location)
	w.WriteHeader(status)
}

func (h *Handler) asset(w http.ResponseWriter, r *http.Request) {
	b, err := assetFiles.ReadFile("assets/" + r.PathValue("name"))
	if err != nil || r.PathValue("hash") != assetVersion {
		h.errorPage(w, r, &problem{Type: "not-found", Status: http.StatusNotFound, Detail: "There is no such file."})
		return
	}
	types := map[string]string{"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
	_, ext, _ := strings.Cut(r.PathValue("name"), ".")
	w.Header().Set("Content-Type", types[ext])
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(b)
}

// view is what every page has.
type view struct {
	Site     string // the name of all pages
	Title    string
	Root     string // from the page to where the handler is mounted, with a slash at its end
	Assets   string
	Styles   []string
	Live     bool // changes elsewhere are told
	ReadOnly bool
	Sidebar  []category
	Current  string // a plugin's ID
	Target   target
	View     string // form, json, history, …
	Alerts   []alert
	Status   string
	History  bool
	Data     any
}

// alert is a message that a page begins with.
type alert struct {
	Title string
	Text  string
	Links []link
}

type link struct{ Href, Text, Detail string }

type category struct {
	Name, Title       string
	Configured, Total int
	Plugins           []registry.Plugin
	Open              bool
	Index             int // of its section on the list page
}

// root is the way up from a page of that route.
func root(path string) string {
	if n := strings.Count(path, "/"); n > 0 {
		return strings.Repeat("../", n)
	}
	return "./"
}

func (h *Handler) view(r *http.Request, title string) *view {
	v := &view{Site: h.title, Title: title, Root: root(strings.TrimPrefix(r.URL.EscapedPath(), "/")), ReadOnly: h.isReadOnly(r), Live: h.api, Styles: h.stylesheets}
	v.Assets = v.Root + "assets/" + assetVersion + "/"
	return v
}

// pluginView is a page of one config.
func (h *Handler) pluginView(r *http.Request, t target, name string) *view {
	v := h.view(r, t.Heading)
	v.Target = t
	if t.Instance != "" {
		v.Target.Label, v.Target.Plugin.Disabled, v.Target.Plugin.Configured = h.instanceState(r.Context(), t)
	}
	v.View, v.Current = name, t.Plugin.ID()
	v.Sidebar = h.categories(func(p registry.Plugin) bool { return p.Category == t.Plugin.Category })
	return v
}

// maxListed is how many plugins one page lists.
const maxListed = 2000

// categories lists the categories that have plugins, each with the plugins that keep wants.
func (h *Handler) categories(keep func(registry.Plugin) bool) []category {
	var all []category
	for i, name := range h.reg.CategoriesWithPlugins() {
		c := category{Name: name, Title: h.reg.DisplayName(name), Index: i}
		for _, p := range h.reg.PluginsIn(name) {
			c.Total++
			if p.Configured {
				c.Configured++
			}
			if keep(p) {
				c.Plugins = append(c.Plugins, p)
			}
		}
		slices.SortStableFunc(c.Plugins, func(a, b registry.Plugin) int {
			return strings.Compare(strings.ToLower(titleOf(a)), strings.ToLower(titleOf(b)))
		})
		c.Open = len(c.Plugins) > 0
		all = append(all, c)
	}
	return all
}

// write sends a page, or nothing of it if it cannot be made.
func (h *Handler) write(w http.ResponseWriter, r *http.Request, status int, name string, v *view) {
	var head, body, page bytes.Buffer
	err := templates.ExecuteTemplate(&head, "head", v)
	if err == nil {
		err = templates.ExecuteTemplate(&body, name, v)
	}
	title := v.Title
	if title != v.Site {
		title += " – " + v.Site
	}
	if err == nil {
		p := Page{title, template.HTML(head.String()), template.HTML(body.String())}
		if h.layout != nil {
			err = h.layout(&page, r, p)
		} else {
			err = templates.ExecuteTemplate(&page, "layout", p)
		}
	}
	if err != nil {
		h.loggedProblem(r.Context(), "a page could not be written", err)
		http.Error(w, "The page could not be written.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(page.Bytes())
	}
}

func (h *Handler) errorPage(w http.ResponseWriter, r *http.Request, p *problem) {
	if !h.pages {
		h.problem(w, r, p)
		return
	}
	status := p.Status
	if status == http.StatusPreconditionFailed {
		status = http.StatusConflict // a form has no precondition that a browser knows of
	}
	v := h.view(r, http.StatusText(status))
	v.Data = p
	retryLater(w, p)
	h.write(w, r, status, "error", v)
}

func (h *Handler) listPage(w http.ResponseWriter, r *http.Request) {
	v := h.view(r, h.title)
	v.View = "list"
	q := r.URL.Query().Get("q")
	configured := r.URL.Query().Get("configured")
	listed, more := 0, false
	all := h.categories(func(p registry.Plugin) bool {
		if !wanted(p, q, configured) {
			return false
		}
		listed++
		more = more || listed > maxListed
		return listed <= maxListed
	})
	for _, c := range all {
		if c.Open || q == "" && configured == "" {
			c.Plugins = nil
			v.Sidebar = append(v.Sidebar, c)
		}
	}
	v.Data = struct {
		Query, Configured string
		Categories        []category
		Listed            int
		More, Filtered    bool
	}{q, configured, all, listed, more, q != "" || configured != ""}
	h.write(w, r, http.StatusOK, "list", v)
}

// wanted tells whether a plugin is one that is looked for.
func wanted(p registry.Plugin, q, configured string) bool {
	if configured == "true" && !p.Configured || configured == "false" && p.Configured {
		return false
	}
	for _, word := range strings.Fields(strings.ToLower(q)) {
		if !strings.Contains(strings.ToLower(p.Title+" "+p.ID()+" "+p.Description), word) {
			return false
		}
	}
	return true
}

// formData is what the form's template needs.
type formData struct {
	Form     *form
	Revision string
	Base     string // the document as it is stored, secrets hidden
	Doc      string // the document that is shown, if it is another
	Blank    string
	Taken    []string
	Unknown  []string
}

// state is a form between a request and its answer.
type state struct {
	base     *jsontext.Value
	doc      *jsontext.Value
	blank    map[*jsontext.Value]bool
	revision store.Revision
}

func (h *Handler) formPage(w http.ResponseWriter, r *http.Request) {
	t, ok := h.target(r.PathValue("id"))
	if !ok {
		h.errorPage(w, r, unknownPlugin)
		return
	}
	rec, err := h.load(r.Context(), t.ID)
	if err != nil {
		h.errorPage(w, r, h.problemOf(r, err))
		return
	}
	if len(rec.Config) > maxForm {
		redirect(w, "json", http.StatusSeeOther)
		return
	}
	doc, err := jsontext.Parse(rec.Config)
	if err != nil {
		h.errorPage(w, r, h.problemOf(r, errors.Join(store.ErrCorrupt, err)))
		return
	}
	v := h.pluginView(r, t, "form")
	if rev := r.URL.Query().Get("saved"); rev != "" && rev == string(rec.Revision) {
		v.Status = "Saved as revision " + rev + "."
	}
	if r.URL.Query().Has("deleted") && rec.Revision == store.Absent {
		v.Status = "The config is deleted."
	}
	h.showForm(w, r, http.StatusOK, v, &state{base: doc, doc: doc, revision: rec.Revision}, nil)
}

var unknownPlugin = &problem{Type: "unknown-plugin", Status: http.StatusNotFound, Detail: "No such plugin is registered."}

// drawn returns the form of a document, with its secrets hidden.
func (h *Handler) drawn(t target, doc *jsontext.Value, blank map[*jsontext.Value]bool) (*form, map[string]bool, error) {
	f := draw(readDocument(t.Plugin.Schema), doc, blank)
	secrets, err := h.secrets(t, f.probe())
	if err != nil {
		return nil, nil, err
	}
	f.hide(secrets)
	return f, secrets, nil
}

// showForm writes the page of a form. edited is what a POST changed, or nil.
func (h *Handler) showForm(w http.ResponseWriter, r *http.Request, status int, v *view, s *state, then func(*form)) {
	t := v.Target
	_, secrets, err := h.drawn(t, s.doc, s.blank)
	if err != nil {
		h.errorPage(w, r, h.problemOf(r, err))
		return
	}
	h.typed.sealAll(t.ID, s.doc, secrets)
	f, _, err := h.drawn(t, s.doc, s.blank)
	if err != nil {
		h.errorPage(w, r, h.problemOf(r, err))
		return
	}
	f.readOnly = v.ReadOnly
	f.label()
	if then != nil {
		then(f)
	}
	d := formData{Form: f, Revision: string(s.revision), Base: string(s.base.Append(nil))}
	if doc := string(s.doc.Append(nil)); doc != d.Base {
		d.Doc = doc
	}
	if places := blanks(s.doc, f.blank); places != nil {
		b, _ := json.Marshal(places)
		d.Blank = string(b)
	}
	v.Data = d
	if err := t.Plugin.SchemaErr; err != nil {
		v.Alerts = append(v.Alerts, alert{Title: "This plugin's schema has a problem", Text: "Parts of it are not enforced, or not shown as a form."})
	}
	if f.tooBig() {
		v.Alerts = append(v.Alerts, alert{Title: "There are too many settings for one form", Text: "They are shown as one JSON text."})
	}
	h.write(w, r, status, "form", v)
}

// read takes a form back from a POST.
func (h *Handler) read(r *http.Request, t target) (*state, []string, error) {
	if err := r.ParseForm(); err != nil {
		return nil, nil, err
	}
	s := &state{revision: store.Revision(r.PostForm.Get("revision")), blank: map[*jsontext.Value]bool{}}
	var err error
	if s.base, err = jsontext.Parse([]byte(r.PostForm.Get("base"))); err != nil {
		return nil, nil, errForm
	}
	doc := r.PostForm.Get("doc")
	if doc == "" {
		doc = r.PostForm.Get("base")
	}
	if s.doc, err = jsontext.Parse([]byte(doc)); err != nil || s.doc.Kind != jsontext.Object || s.base.Kind != jsontext.Object {
		return nil, nil, errForm
	}
	var places []string
	_ = json.Unmarshal([]byte(r.PostForm.Get("blank")), &places)
	for _, p := range places {
		if v := s.doc.At(p); v != nil && p != "" {
			s.blank[v] = true
		}
	}
	for name, values := range r.PostForm {
		if place, ok := strings.CutPrefix(name, "v:"); ok && strings.Contains(values[0], partPrefix) {
			values[0] = h.typed.reveal(t.ID, place, values[0])
		}
	}
	return s, h.typed.openAll(t.ID, s.doc), nil
}

var errForm = errors.New("what was sent is not the form")

func (h *Handler) badForm(w http.ResponseWriter, r *http.Request, err error) {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		h.errorPage(w, r, &problem{Type: "too-large", Status: http.StatusRequestEntityTooLarge, Detail: "What you sent is larger than this server takes. Nothing was changed. Go back: your browser still has what you typed."})
		return
	}
	h.errorPage(w, r, &problem{Type: "malformed", Status: http.StatusBadRequest, Detail: "What was sent is not this page's form. Nothing was changed. Open the page again."})
}

func (h *Handler) saveForm(w http.ResponseWriter, r *http.Request) {
	t, ok := h.target(r.PathValue("id"))
	if !ok {
		h.errorPage(w, r, unknownPlugin)
		return
	}
	s, lost, err := h.read(r, t)
	if err != nil {
		h.badForm(w, r, err)
		return
	}
	f, _, err := h.drawn(t, s.doc, s.blank)
	if err != nil {
		h.errorPage(w, r, h.problemOf(r, err))
		return
	}
	e := f.apply(r.PostForm)
	lost = append(lost, h.typed.openAll(t.ID, s.doc)...) // those in the texts of JSON parts
	for _, place := range lost {
		if v := s.doc.At(place); v != nil && v.Kind == jsontext.Null {
			e.issues = append(e.issues, registry.Issue{Pointer: place, Keyword: "secret", Message: "was typed before the application was started again: type it again"})
		}
	}
	_, button := posted(r.PostForm, "op")
	_, saving := posted(r.PostForm, "save")
	saving = saving || !button
	e.finish(f, saving && len(e.issues) == 0)
	v := h.pluginView(r, t, "form")
	switch {
	case len(e.issues) > 0:
		h.refused(w, r, v, s, f, e, e.issues)
	case !saving || len(e.taken) > 0:
		if len(e.taken) > 0 {
			v.Alerts = append(v.Alerts, alert{Title: "Only the form before had: " + strings.Join(e.taken, ", "), Text: "They are taken out when you save."})
		}
		h.showForm(w, r, http.StatusOK, v, s, nil)
	default:
		h.save(w, r, v, s, f, e)
	}
}

// save stores a form's document over the revision that it was drawn from.
func (h *Handler) save(w http.ResponseWriter, r *http.Request, v *view, s *state, f *form, e *edit) {
	rec, err := h.reg.SaveConfig(r.Context(), v.Target.ID, json.RawMessage(s.doc.Append(nil)), registry.IfRevision(s.revision))
	invalid, isInvalid := errors.AsType[*registry.ValidationError](err)
	switch {
	case err == nil:
		redirect(w, "?saved="+url.QueryEscape(string(rec.Revision)), http.StatusSeeOther)
	case isInvalid:
		h.refused(w, r, v, s, f, e, invalid.Issues)
	case errors.Is(err, store.ErrConflict):
		h.conflict(w, r, v, s)
	default:
		p := h.problemOf(r, err)
		retryLater(w, p)
		v.Alerts = append(v.Alerts, alert{Title: "Nothing was saved", Text: p.Detail})
		h.showForm(w, r, p.Status, v, s, nil)
	}
}

// refused shows a form again with what is wrong with it.
func (h *Handler) refused(w http.ResponseWriter, r *http.Request, v *view, s *state, f *form, e *edit, issues []registry.Issue) {
	raw, renamed := e.raw, e.renamed
	names := map[*jsontext.Value]string{}
	for value, key := range renamed {
		names[value] = key
	}
	h.showForm(w, r, http.StatusUnprocessableEntity, v, s, func(f *form) {
		f.all(func(x *field) {
			if key, ok := names[x.Value]; ok && x.Value != nil {
				x.EntryKey = key
			}
		})
		for place, text := range raw {
			if x := f.byPlace[place]; x != nil && x.Kind != kindSecret {
				x.Shown = h.typed.conceal(v.Target, place, text, x.Shown)
			}
		}
		v.Alerts = append(v.Alerts, f.blame(issues))
	})
}

// blame puts each issue at its field and returns the summary of all.
func (f *form) blame(issues []registry.Issue) alert {
	a := alert{Title: counted(len(issues), "setting") + " cannot be saved like this"}
	if len(issues) == 1 {
		a.Title = "One setting cannot be saved like this"
	}
	for _, one := range issues {
		x := f.at(one.Pointer)
		if one.Keyword == "required" {
			for _, c := range x.Children {
				if c.Required && strings.Contains(one.Message, quoted(c.Name)) && c.Value == nil {
					x, one.Message = c, "is required"
					break
				}
			}
		}
		x.Errors = append(x.Errors, one.Message)
		a.Links = append(a.Links, link{Href: "#" + x.ID, Text: x.Title, Detail: one.Message})
	}
	return a
}

func quoted(name string) string { return string(jsontext.AppendQuoted(nil, name)) }

// at returns the field of a place, or the one that it is in.
func (f *form) at(place string) *field {
	for {
		if x := f.byPlace[place]; x != nil && f.shown(x) {
			return x
		}
		i := strings.LastIndexByte(place, '/')
		if i < 0 {
			return f.Root
		}
		place = place[:i]
	}
}

// shown tells whether a field is still in the form: what is within a secret is not.
func (f *form) shown(x *field) bool {
	for ; x.parent != nil; x = x.parent {
		if !slices.Contains(x.parent.Children, x) {
			return false
		}
	}
	return true
}

// conflict shows what is stored now, with the changes of this form on top.
func (h *Handler) conflict(w http.ResponseWriter, r *http.Request, v *view, s *state) {
	theirs, revision, err := h.current(r, v.Target.ID)
	if err != nil {
		h.errorPage(w, r, h.problemOf(r, err))
		return
	}
	both := map[string]*jsontext.Value{}
	merged := merge(s.base, s.doc, theirs, "", both)
	if merged == nil {
		merged = &jsontext.Value{Kind: jsontext.Object}
	}
	places := blanks(s.doc, s.blank)
	next := &state{base: theirs, doc: merged.Clone(), revision: revision, blank: map[*jsontext.Value]bool{}}
	for _, p := range places {
		if b := next.doc.At(p); b != nil && b.Kind == s.doc.At(p).Kind {
			next.blank[b] = true
		}
	}
	h.showForm(w, r, http.StatusConflict, v, next, func(f *form) {
		a := alert{Title: "Somebody else has saved meanwhile", Text: "This is what is stored now, with your changes on top. Nothing of yours is saved yet: look at it and save again."}
		for place, value := range both {
			x := f.at(place)
			x.HasTheirs = true
			x.Theirs = told(value)
			if x.Kind == kindSecret {
				x.Theirs = "another secret"
			}
			a.Links = append(a.Links, link{Href: "#" + x.ID, Text: x.Title, Detail: "both of you have changed it"})
		}
		slices.SortFunc(a.Links, func(x, y link) int { return strings.Compare(x.Href, y.Href) })
		v.Alerts = append(v.Alerts, a)
	})
}

// told shows a value to people, secrets hidden.
func told(v *jsontext.Value) string {
	switch {
	case v == nil:
		return "nothing"
	case hidden(v):
		return "a secret"
	}
	return label(v)
}

// current loads what is stored now.
func (h *Handler) current(r *http.Request, id string) (*jsontext.Value, store.Revision, error) {
	rec, err := h.load(r.Context(), id)
	if err != nil {
		return nil, "", err
	}
	doc, err := jsontext.Parse(rec.Config)
	if err != nil {
		return nil, "", errors.Join(store.ErrCorrupt, err)
	}
	return doc, rec.Revision, nil
}
