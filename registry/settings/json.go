package settings

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
)

// jsonData is what the template of the JSON page needs.
type jsonData struct {
	Text, Base, Revision, Error, Mask string
	Theirs                            []string
	Rows                              int
}

func (h *Handler) jsonPage(w http.ResponseWriter, r *http.Request) {
	t, ok := h.target(r.PathValue("id"))
	if !ok {
		h.errorPage(w, r, unknownPlugin)
		return
	}
	doc, revision, err := h.current(r, t.ID)
	if err != nil {
		h.errorPage(w, r, h.problemOf(r, err))
		return
	}
	v := h.pluginView(r, t, "json")
	if rev := r.URL.Query().Get("saved"); rev != "" && rev == string(revision) {
		v.Status = "Saved as revision " + rev + "."
	}
	h.showJSON(w, r, http.StatusOK, v, jsonData{Text: string(indented(doc)), Base: string(doc.Append(nil)), Revision: string(revision)})
}

func (h *Handler) showJSON(w http.ResponseWriter, r *http.Request, status int, v *view, d jsonData) {
	d.Rows, d.Mask = min(max(strings.Count(d.Text, "\n")+2, 8), 40), registry.Redacted
	v.Data = d
	h.write(w, r, status, "json", v)
}

func (h *Handler) saveJSON(w http.ResponseWriter, r *http.Request) {
	t, ok := h.target(r.PathValue("id"))
	if !ok {
		h.errorPage(w, r, unknownPlugin)
		return
	}
	if err := r.ParseForm(); err != nil {
		h.badForm(w, r, err)
		return
	}
	base, err := jsontext.Parse([]byte(r.PostForm.Get("base")))
	if err != nil || base.Kind != jsontext.Object || !r.PostForm.Has("v:") {
		h.badForm(w, r, errForm)
		return
	}
	v := h.pluginView(r, t, "json")
	d := jsonData{Base: r.PostForm.Get("base"), Revision: r.PostForm.Get("revision")}
	text := h.typed.reveal(t.ID, "", strings.ReplaceAll(r.PostForm.Get("v:"), "\r\n", "\n"))
	doc, err := jsontext.Parse([]byte(text))
	if err == nil && doc.Kind != jsontext.Object {
		err = errors.New("")
		d.Error = "The config must be a JSON object: begin it with { and end it with }."
	} else if err != nil {
		d.Error = "The text " + badJSON(text, err) + "."
	}
	if err != nil {
		d.Text = h.typed.conceal(t, "", text, string(indented(base)))
		v.Alerts = append(v.Alerts, alert{Title: "Nothing was saved", Links: []link{{"#text", "Config", d.Error}}})
		h.showJSON(w, r, http.StatusUnprocessableEntity, v, d)
		return
	}
	lost := h.typed.openAll(t.ID, doc)
	if lost != nil {
		err = &registry.ValidationError{ID: t.ID}
		for _, p := range lost {
			err.(*registry.ValidationError).Issues = append(err.(*registry.ValidationError).Issues, registry.Issue{Pointer: p, Keyword: "secret", Message: "was typed before the application was started again, or moved: type it again"})
		}
	}
	var rec store.Record
	if err == nil {
		rec, err = h.reg.SaveConfig(r.Context(), t.ID, json.RawMessage(doc.Append(nil)), registry.IfRevision(store.Revision(d.Revision)))
	}
	if err == nil {
		redirect(w, "json?saved="+url.QueryEscape(string(rec.Revision)), http.StatusSeeOther)
		return
	}
	status := http.StatusUnprocessableEntity
	invalid, isInvalid := errors.AsType[*registry.ValidationError](err)
	switch {
	case isInvalid:
		a := alert{Title: counted(len(invalid.Issues), "setting") + " cannot be saved like this"}
		for _, one := range invalid.Issues {
			at := one.Pointer
			if at == "" {
				at = "The config"
			}
			a.Links = append(a.Links, link{"#text", at, one.Message})
		}
		d.Error = "The config does not fit the plugin's schema."
		v.Alerts = append(v.Alerts, a)
	case errors.Is(err, store.ErrConflict):
		theirs, revision, err := h.current(r, t.ID)
		if err != nil {
			h.errorPage(w, r, h.problemOf(r, err))
			return
		}
		both := map[string]*jsontext.Value{}
		if doc = merge(base, doc, theirs, "", both); doc == nil {
			doc = &jsontext.Value{Kind: jsontext.Object}
		}
		doc = doc.Clone()
		for place, value := range both {
			d.Theirs = append(d.Theirs, place+": saved by somebody else meanwhile: "+told(value))
		}
		slices.Sort(d.Theirs)
		d.Base, d.Revision = string(theirs.Append(nil)), string(revision)
		status = http.StatusConflict
		v.Alerts = append(v.Alerts, alert{Title: "Somebody else has saved meanwhile", Text: "This is what is stored now, with your changes on top. Nothing of yours is saved yet: look at it and save again."})
	default:
		p := h.problemOf(r, err)
		retryLater(w, p)
		status = p.Status
		v.Alerts = append(v.Alerts, alert{Title: "Nothing was saved", Text: p.Detail})
	}
	secrets, err := h.secrets(t, doc)
	if err != nil {
		h.errorPage(w, r, h.problemOf(r, err))
		return
	}
	h.typed.sealAll(t.ID, doc, secrets)
	d.Text = string(indented(doc))
	h.showJSON(w, r, status, v, d)
}
