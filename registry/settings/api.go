package settings

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
)

//go:embed openapi.json
var openAPI []byte

func (h *Handler) apiRoutes() []route {
	return []route{
		{"GET", "api/openapi.json", h.getOpenAPI, true},
		{"GET", "api/categories", h.getCategories, true},
		{"GET", "api/plugins", h.getPlugins, true},
		{"GET", "api/plugins/{id}", h.withTarget(h.getPlugin), true},
		{"GET", "api/plugins/{id}/schema", h.withTarget(h.getSchema), true},
		{"GET", "api/plugins/{id}/config", h.withTarget(h.getConfig), true},
		{"PUT", "api/plugins/{id}/config", h.withTarget(h.putConfig), true},
		{"PATCH", "api/plugins/{id}/config", h.withTarget(h.patchConfig), true},
		{"DELETE", "api/plugins/{id}/config", h.withTarget(h.deleteConfig), true},
		{"POST", "api/plugins/{id}/validate", h.withTarget(h.validateConfig), true},
		{"GET", "api/plugins/{id}/history", h.withTarget(h.getHistory), true},
		{"GET", "api/plugins/{id}/history/{revision}", h.withTarget(h.getVersion), true},
		{"POST", "api/plugins/{id}/rollback", h.withTarget(h.rollback), true},
		{"GET", "api/events", h.serveEvents, true},
	}
}

func (h *Handler) withTarget(serve func(http.ResponseWriter, *http.Request, target)) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		t, ok := h.target(r.PathValue("id"))
		if !ok {
			h.problem(w, r, unknownPlugin)
			return
		}
		serve(w, r, t)
	}
}

// fail answers with what went wrong with the config of t.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, t target, err error) {
	p := h.problemOf(r, err)
	p.hash = schemaHash(t.Plugin)
	h.problem(w, r, p)
}

func (h *Handler) json(w http.ResponseWriter, r *http.Request, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		h.problem(w, r, h.problemOf(r, err))
		return
	}
	h.text(w, r, "application/json", b.Bytes())
}

func (h *Handler) text(w http.ResponseWriter, r *http.Request, contentType string, b []byte) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b)
	}
}

func (h *Handler) getOpenAPI(w http.ResponseWriter, r *http.Request) {
	h.text(w, r, "application/json", openAPI)
}

func (h *Handler) getCategories(w http.ResponseWriter, r *http.Request) {
	type one struct {
		Name       string `json:"name"`
		Title      string `json:"title"`
		Total      int    `json:"total"`
		Configured int    `json:"configured"`
	}
	all := []one{}
	for _, name := range h.reg.Categories() {
		plugins := h.reg.PluginsIn(name)
		all = append(all, one{name, h.reg.DisplayName(name), len(plugins), len(plugins.Configured())})
	}
	h.json(w, r, map[string]any{"categories": all})
}

// pluginJSON is what the API says of a plugin: no process, container or host name.
type pluginJSON struct {
	ID            string                 `json:"id"`
	Category      string                 `json:"category"`
	Name          string                 `json:"name"`
	Title         string                 `json:"title"`
	Description   string                 `json:"description,omitempty"`
	Version       string                 `json:"version,omitempty"`
	ExecutionMode registry.ExecutionMode `json:"execution_mode"`
	Configured    bool                   `json:"configured"`
	Disabled      bool                   `json:"disabled"`
	SchemaProblem bool                   `json:"schema_problem"` // SchemaErr may name files, so only that there is one
}

func pluginOf(p registry.Plugin) pluginJSON {
	return pluginJSON{p.ID(), p.Category, p.Name, titleOf(p), p.Description, p.Version, p.ExecutionMode, p.Configured, p.Disabled, p.SchemaErr != nil}
}

func (h *Handler) getPlugins(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	switch query.Get("configured") {
	case "", "true", "false":
	default:
		h.problem(w, r, &problem{Type: "malformed", Status: http.StatusBadRequest, Detail: "configured is true or false."})
		return
	}
	all := []pluginJSON{}
	for _, p := range h.reg.Plugins() {
		if category := query.Get("category"); category != "" && p.Category != category {
			continue
		}
		if wanted(p, query.Get("q"), query.Get("configured")) {
			all = append(all, pluginOf(p))
		}
	}
	h.json(w, r, map[string]any{"plugins": all})
}

func (h *Handler) getPlugin(w http.ResponseWriter, r *http.Request, t target) {
	p := pluginOf(t.Plugin)
	if t.Instance != "" {
		p.ID = t.ID
		p.Disabled = h.disabled(r.Context(), t)
		rec, err := h.load(r.Context(), t.ID)
		if err != nil {
			h.fail(w, r, t, err)
			return
		}
		p.Configured = rec.Revision != store.Absent
	}
	h.json(w, r, p)
}

func (h *Handler) getSchema(w http.ResponseWriter, r *http.Request, t target) {
	if t.Plugin.Schema == nil {
		h.problem(w, r, &problem{Type: "not-found", Status: http.StatusNotFound, Detail: "The plugin has no schema."})
		return
	}
	h.text(w, r, "application/schema+json", t.Plugin.Schema)
}

// etag names one state of a config as it is shown: what is hidden in it depends on the schema.
func etag(rev store.Revision, hash string) string {
	return `"r` + url.QueryEscape(string(rev)) + "." + hash + `"`
}

func schemaHash(p registry.Plugin) string {
	sum := sha256.Sum256(p.Schema)
	return hex.EncodeToString(sum[:6])
}

// tags splits a list of entity tags. ok is false if the header is none.
func tags(header []string) (list []string, any, ok bool) {
	text := strings.Join(header, ",")
	for {
		text = strings.TrimLeft(text, " \t,")
		if text == "" {
			return list, any, true
		}
		if text[0] == '*' {
			any, text = true, text[1:]
			continue
		}
		weak := ""
		if strings.HasPrefix(text, "W/") {
			weak, text = "W/", text[2:]
		}
		if text == "" || text[0] != '"' {
			return nil, false, false
		}
		end := strings.IndexByte(text[1:], '"')
		if end < 0 {
			return nil, false, false
		}
		list = append(list, weak+text[:end+2])
		text = text[end+2:]
	}
}

// revisionOf is the revision that a strong tag names. The schema's part does not count: it says how the config was shown.
func revisionOf(tag string) (store.Revision, bool) {
	inner, ok := strings.CutPrefix(tag, `"r`)
	if !ok {
		return "", false
	}
	inner = strings.TrimSuffix(inner, `"`)
	dot := strings.LastIndexByte(inner, '.')
	if dot < 0 {
		return "", false
	}
	rev, err := url.QueryUnescape(inner[:dot])
	return store.Revision(rev), err == nil && rev != string(store.Any)
}

// precondition reads If-Match and If-None-Match of a write, and answers if there is neither or it cannot be met.
func (h *Handler) precondition(w http.ResponseWriter, r *http.Request, t target) (match store.Revision, ok bool) {
	ifMatch, ifNone := r.Header.Values("If-Match"), r.Header.Values("If-None-Match")
	refuse := func(p *problem) (store.Revision, bool) {
		p.hash = schemaHash(t.Plugin)
		h.problem(w, r, p)
		return "", false
	}
	switch {
	case len(ifMatch) > 0:
		list, any, ok := tags(ifMatch)
		if !ok || len(list) == 0 && !any {
			return refuse(&problem{Type: "malformed", Status: http.StatusBadRequest, Detail: "If-Match is an entity tag in double quotes, or *."})
		}
		if any {
			return store.Any, true
		}
		var revisions []store.Revision
		for _, tag := range list {
			if rev, ok := revisionOf(tag); ok {
				revisions = append(revisions, rev)
			}
		}
		if len(revisions) == 1 {
			return revisions[0], true
		}
		rec, err := h.load(r.Context(), t.ID)
		if err != nil {
			return refuse(h.problemOf(r, err))
		}
		for _, rev := range revisions {
			if rev == rec.Revision {
				return rev, true
			}
		}
		return refuse(h.problemOf(r, &store.ConflictError{Current: rec.Revision}))
	case len(ifNone) > 0:
		list, any, ok := tags(ifNone)
		if !ok || len(list) > 0 || !any {
			return refuse(&problem{Type: "malformed", Status: http.StatusBadRequest, Detail: "If-None-Match of a write is *: only if nothing is stored. Use If-Match with a tag."})
		}
		return store.Absent, true
	}
	return refuse(&problem{Type: "precondition-required", Status: http.StatusPreconditionRequired,
		Detail: "Send If-Match with the ETag of the config that you have seen, If-None-Match: * if none may be stored, or If-Match: * to overwrite whatever is stored."})
}

// saveOptions makes a match an option; any is none.
func saveOptions(match store.Revision) []registry.SaveOption {
	if match == store.Any {
		return nil
	}
	return []registry.SaveOption{registry.IfRevision(match)}
}

// body reads the JSON of a request of that media type.
func (h *Handler) body(w http.ResponseWriter, r *http.Request, t target, mediaType string) (json.RawMessage, bool) {
	got, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := strings.ToLower(params["charset"]); err != nil || got != mediaType || charset != "" && charset != "utf-8" {
		if mediaType == "application/merge-patch+json" {
			w.Header().Set("Accept-Patch", mediaType)
		}
		h.problem(w, r, &problem{Type: "media-type", Status: http.StatusUnsupportedMediaType, Detail: "Send " + mediaType + "."})
		return nil, false
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); !ok {
			h.problem(w, r, &problem{Type: "malformed", Status: http.StatusBadRequest, Detail: "The body could not be read."})
			return nil, false
		}
		h.fail(w, r, t, err)
		return nil, false
	}
	return b, true
}

func (h *Handler) getConfig(w http.ResponseWriter, r *http.Request, t target) {
	var rec store.Record
	var err error
	switch r.URL.Query().Get("view") {
	case "":
		rec, err = h.load(r.Context(), t.ID)
	case "effective":
		rec, err = h.reg.EffectiveConfig(r.Context(), t.ID, registry.HideSecrets())
	default:
		h.problem(w, r, &problem{Type: "malformed", Status: http.StatusBadRequest, Detail: "view is effective, or left out."})
		return
	}
	if err != nil {
		h.fail(w, r, t, err)
		return
	}
	tag := etag(rec.Revision, schemaHash(t.Plugin))
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "private, no-cache")
	if !rec.UpdatedAt.IsZero() {
		w.Header().Set("Last-Modified", rec.UpdatedAt.UTC().Format(http.TimeFormat))
	}
	list, any, ok := tags(r.Header.Values("If-None-Match"))
	for _, have := range list {
		any = any || strings.TrimPrefix(have, "W/") == tag
	}
	if ok && any {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.text(w, r, "application/json", rec.Config)
}

// saved answers a write that is done.
func (h *Handler) saved(w http.ResponseWriter, t target, rev store.Revision) {
	w.Header().Set("ETag", etag(rev, schemaHash(t.Plugin)))
	w.WriteHeader(http.StatusNoContent)
}

func (h *Handler) putConfig(w http.ResponseWriter, r *http.Request, t target) {
	match, ok := h.precondition(w, r, t)
	if !ok {
		return
	}
	config, ok := h.body(w, r, t, "application/json")
	if !ok {
		return
	}
	rec, err := h.reg.SaveConfig(r.Context(), t.ID, config, saveOptions(match)...)
	if err != nil {
		h.fail(w, r, t, err)
		return
	}
	h.saved(w, t, rec.Revision)
}

func (h *Handler) patchConfig(w http.ResponseWriter, r *http.Request, t target) {
	match, ok := h.precondition(w, r, t)
	if !ok {
		return
	}
	patch, ok := h.body(w, r, t, "application/merge-patch+json")
	if !ok {
		return
	}
	rec, err := h.reg.PatchConfig(r.Context(), t.ID, patch, saveOptions(match)...)
	if err != nil {
		h.fail(w, r, t, err)
		return
	}
	h.saved(w, t, rec.Revision)
}

func (h *Handler) deleteConfig(w http.ResponseWriter, r *http.Request, t target) {
	match, ok := h.precondition(w, r, t)
	if !ok {
		return
	}
	if err := h.reg.DeleteConfig(r.Context(), t.ID, saveOptions(match)...); err != nil {
		h.fail(w, r, t, err)
		return
	}
	h.saved(w, t, store.Absent)
}

func (h *Handler) validateConfig(w http.ResponseWriter, r *http.Request, t target) {
	config, ok := h.body(w, r, t, "application/json")
	if !ok {
		return
	}
	if err := h.reg.Validate(r.Context(), t.ID, config); err != nil {
		h.fail(w, r, t, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

type versionJSON struct {
	Revision   string     `json:"revision"`
	Configured bool       `json:"configured"`
	UpdatedAt  *time.Time `json:"updated_at,omitempty"`
	Author     string     `json:"author,omitempty"`
	Readable   bool       `json:"readable"`
}

func versionOf(v store.Version) versionJSON {
	j := versionJSON{Revision: string(v.Revision), Configured: v.Configured, Author: v.Author, Readable: v.Err == nil}
	if !v.UpdatedAt.IsZero() {
		j.UpdatedAt = &v.UpdatedAt
	}
	return j
}

func (h *Handler) getHistory(w http.ResponseWriter, r *http.Request, t target) {
	limit := 0
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			h.problem(w, r, &problem{Type: "malformed", Status: http.StatusBadRequest, Detail: "limit is a whole number from 1."})
			return
		}
		limit = n
	}
	versions, err := h.reg.History(r.Context(), t.ID, limit, registry.HideSecrets())
	if err != nil {
		h.fail(w, r, t, err)
		return
	}
	all := []versionJSON{}
	for _, v := range versions {
		all = append(all, versionOf(v))
	}
	h.json(w, r, map[string]any{"versions": all})
}

func (h *Handler) getVersion(w http.ResponseWriter, r *http.Request, t target) {
	v, err := h.version(r.Context(), t.ID, store.Revision(r.PathValue("revision")))
	if err == nil {
		err = v.Err
	}
	if err == nil && !v.Configured {
		err = store.ErrNotFound
	}
	if err != nil {
		h.fail(w, r, t, err)
		return
	}
	w.Header().Set("ETag", etag(v.Revision, schemaHash(t.Plugin)))
	h.text(w, r, "application/json", v.Config)
}

// version returns one state of a config from its history.
func (h *Handler) version(ctx context.Context, id string, rev store.Revision) (store.Version, error) {
	versions, err := h.reg.History(ctx, id, 0, registry.HideSecrets())
	if err != nil {
		return store.Version{}, err
	}
	for _, v := range versions {
		if v.Revision == rev {
			return v, nil
		}
	}
	return store.Version{}, store.ErrNotFound
}

func (h *Handler) rollback(w http.ResponseWriter, r *http.Request, t target) {
	match, ok := h.precondition(w, r, t)
	if !ok {
		return
	}
	text, ok := h.body(w, r, t, "application/json")
	if !ok {
		return
	}
	var to struct {
		Revision *string `json:"revision"`
	}
	if err := json.Unmarshal(text, &to); err != nil || to.Revision == nil {
		h.problem(w, r, &problem{Type: "malformed", Status: http.StatusBadRequest, Detail: `Send {"revision": "…"} with a revision of the history.`})
		return
	}
	rec, err := h.reg.Rollback(r.Context(), t.ID, store.Revision(*to.Revision), saveOptions(match)...)
	if err != nil {
		h.fail(w, r, t, err)
		return
	}
	h.saved(w, t, rec.Revision)
}
