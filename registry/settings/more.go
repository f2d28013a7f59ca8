package settings

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/pluginsystem"
	"github.com/pluginregistry/pluginregistry/store"
)

// The pages beside a config's form: its history, its instances and notes, and the overviews.

// maxVersions is how many states the history page shows.
const maxVersions = 50

type versionView struct {
	Revision, Author, Time, ISO, Text string
	Configured, Readable, Current     bool
}

type historyData struct {
	Versions  []versionView
	Revision  string // the current one
	Supported bool
}

func (h *Handler) historyPage(w http.ResponseWriter, r *http.Request) {
	t, ok := h.target(r.PathValue("id"))
	if !ok {
		h.errorPage(w, r, unknownPlugin)
		return
	}
	var d historyData
	rec, err := h.load(r.Context(), t.ID)
	if err == nil {
		d.Revision = string(rec.Revision)
	} else if !errors.Is(err, store.ErrCorrupt) { // a config that cannot be read can be rolled back
		h.errorPage(w, r, h.problemOf(r, err))
		return
	}
	corrupt := err != nil
	versions, err := h.reg.History(r.Context(), t.ID, maxVersions, registry.HideSecrets())
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		h.errorPage(w, r, h.problemOf(r, err))
		return
	}
	d.Supported = err == nil
	for i, version := range versions {
		one := versionView{Revision: string(version.Revision), Author: version.Author, Configured: version.Configured, Readable: version.Err == nil, Current: i == 0 && !corrupt}
		if !version.UpdatedAt.IsZero() {
			one.Time, one.ISO = version.UpdatedAt.UTC().Format("2 January 2006, 15:04:05 UTC"), version.UpdatedAt.UTC().Format(time.RFC3339)
		}
		if version.Configured && version.Err == nil {
			if doc, err := jsontext.Parse(version.Config); err == nil {
				one.Text = string(indented(unmarked(doc)))
			}
		}
		if corrupt && i == 0 {
			d.Revision = one.Revision
		}
		d.Versions = append(d.Versions, one)
	}
	v := h.pluginView(r, t, "history")
	if rev := r.URL.Query().Get("saved"); rev != "" && rev == d.Revision {
		v.Status = "Saved as revision " + rev + "."
	}
	v.Data = d
	h.write(w, r, http.StatusOK, "history", v)
}

// unmarked shows every hidden secret alike: where it was taken from says nothing to a reader.
func unmarked(doc *jsontext.Value) *jsontext.Value {
	doc = doc.Clone()
	for _, v := range doc.All() {
		if hidden(v) {
			v.Text = registry.Redacted
		}
	}
	return doc
}

// act reads a small form that changes a config, and answers if it is none.
func (h *Handler) act(w http.ResponseWriter, r *http.Request) (target, bool) {
	t, ok := h.target(r.PathValue("id"))
	if !ok {
		h.errorPage(w, r, unknownPlugin)
		return t, false
	}
	if err := r.ParseForm(); err != nil || !r.PostForm.Has("revision") {
		h.badForm(w, r, cmp.Or(err, errForm))
		return t, false
	}
	return t, true
}

func (h *Handler) rollbackPage(w http.ResponseWriter, r *http.Request) {
	t, ok := h.act(w, r)
	if !ok {
		return
	}
	rec, err := h.reg.Rollback(r.Context(), t.ID, store.Revision(r.PostForm.Get("to")), registry.IfRevision(store.Revision(r.PostForm.Get("revision"))))
	if err != nil {
		h.errorPage(w, r, h.problemOf(r, err))
		return
	}
	redirect(w, "history?saved="+url.QueryEscape(string(rec.Revision)), http.StatusSeeOther)
}

func (h *Handler) deletePage(w http.ResponseWriter, r *http.Request) {
	t, ok := h.act(w, r)
	if !ok {
		return
	}
	if err := h.reg.DeleteConfig(r.Context(), t.ID, registry.IfRevision(store.Revision(r.PostForm.Get("revision")))); err != nil {
		h.errorPage(w, r, h.problemOf(r, err))
		return
	}
	redirect(w, "./?deleted=1", http.StatusSeeOther)
}

// notePage saves the title and the disabled flag that are kept beside a config.
func (h *Handler) notePage(w http.ResponseWriter, r *http.Request) {
	t, ok := h.act(w, r)
	if !ok {
		return
	}
	err := h.reg.SetNote(r.Context(), t.ID, func(n *store.Note) error {
		// SetNote has read the revision that it saves over before this, so the two agree, or it calls this again.
		rec, err := h.load(r.Context(), t.ID)
		if err != nil && !errors.Is(err, store.ErrCorrupt) {
			return err
		}
		if err == nil && rec.Revision != store.Revision(r.PostForm.Get("revision")) {
			return errStale
		}
		n.Title, n.Disabled = r.PostForm.Get("title"), r.PostForm.Get("disabled") != ""
		return nil
	})
	switch {
	case errors.Is(err, errStale):
		h.errorPage(w, r, h.problemOf(r, &store.ConflictError{}))
	case err != nil:
		h.errorPage(w, r, h.problemOf(r, err))
	default:
		redirect(w, "../"+url.PathEscape(t.Plugin.ID())+"/instances?noted="+url.QueryEscape(t.ID), http.StatusSeeOther)
	}
}

var errStale = errors.New("the config has changed since the page was drawn")

// note reads what is kept beside a config.
func (h *Handler) note(ctx context.Context, id string) (note store.Note, ok bool) {
	errSeen := errors.New("seen")
	err := h.reg.SetNote(ctx, id, func(n *store.Note) error { note = *n; return errSeen })
	return note, errors.Is(err, errSeen)
}

type instanceView struct {
	ID, Name, Title, Revision string
	Own, Configured, Disabled bool
}

type instancesData struct {
	Instances []instanceView
	Notes     bool // the store keeps notes
	Name      string
	Title     string
	From      string
	Error     string
}

func (h *Handler) instancesPage(w http.ResponseWriter, r *http.Request) {
	t, ok := h.target(r.PathValue("id"))
	if !ok {
		h.errorPage(w, r, unknownPlugin)
		return
	}
	if t.Instance != "" {
		redirect(w, "../"+url.PathEscape(t.Plugin.ID())+"/instances", http.StatusSeeOther)
		return
	}
	v := h.pluginView(r, t, "instances")
	if noted := r.URL.Query().Get("noted"); noted != "" {
		if _, ok := h.target(noted); ok {
			v.Status = "Saved."
		}
	}
	h.showInstances(w, r, http.StatusOK, v, instancesData{})
}

func (h *Handler) showInstances(w http.ResponseWriter, r *http.Request, status int, v *view, d instancesData) {
	t := v.Target
	all, err := h.reg.Instances(r.Context(), t.Plugin.ID())
	if err != nil {
		h.errorPage(w, r, h.problemOf(r, err))
		return
	}
	note, ok := h.note(r.Context(), t.Plugin.ID())
	d.Notes = ok
	d.Instances = []instanceView{{ID: t.Plugin.ID(), Name: "", Title: note.Title, Own: true, Configured: t.Plugin.Configured, Disabled: note.Disabled}}
	for _, i := range all {
		d.Instances = append(d.Instances, instanceView{ID: i.ID, Name: i.Name, Title: i.Title, Configured: i.Configured, Disabled: i.Disabled})
	}
	for i := range d.Instances {
		if rec, err := h.load(r.Context(), d.Instances[i].ID); err == nil {
			d.Instances[i].Revision = string(rec.Revision)
		}
	}
	v.Data = d
	h.write(w, r, status, "instances", v)
}

func (h *Handler) addInstance(w http.ResponseWriter, r *http.Request) {
	t, ok := h.target(r.PathValue("id"))
	if !ok {
		h.errorPage(w, r, unknownPlugin)
		return
	}
	if err := r.ParseForm(); err != nil {
		h.badForm(w, r, err)
		return
	}
	d := instancesData{Name: r.PostForm.Get("name"), Title: r.PostForm.Get("title"), From: r.PostForm.Get("from")}
	v := h.pluginView(r, t, "instances")
	refuse := func(why string) {
		d.Error = why
		v.Alerts = append(v.Alerts, alert{Title: "The instance was not added", Links: []link{{"#name", "Key", why}}})
		h.showInstances(w, r, http.StatusUnprocessableEntity, v, d)
	}
	id, err := registry.ConfigID(t.Plugin.ID(), d.Name)
	if err != nil {
		refuse("A key has 1 to 64 of the characters A–Z, a–z, 0–9, dot, underscore and hyphen.")
		return
	}
	all, err := h.reg.Instances(r.Context(), t.Plugin.ID())
	if err != nil {
		h.errorPage(w, r, h.problemOf(r, err))
		return
	}
	if slices.ContainsFunc(all, func(i registry.Instance) bool { return i.ID == id }) {
		refuse("There is an instance with this key already.")
		return
	}
	if d.From != "" {
		from, ok := h.target(d.From)
		if !ok || from.Plugin.ID() != t.Plugin.ID() {
			refuse("There is no such config to copy.")
			return
		}
		_, err := h.reg.CopyConfig(r.Context(), d.From, id, registry.IfRevision(store.Absent))
		switch {
		case errors.Is(err, store.ErrConflict):
			refuse("There is an instance with this key already.")
			return
		case errors.Is(err, store.ErrNotFound):
			refuse("The config to copy is not in the store.")
			return
		case err != nil:
			refuse(h.problemOf(r, err).Detail)
			return
		}
	}
	if d.Title != "" {
		if err := h.reg.SetNote(r.Context(), id, func(n *store.Note) error { n.Title = d.Title; return nil }); err != nil {
			h.errorPage(w, r, h.problemOf(r, err))
			return
		}
	}
	redirect(w, "../"+url.PathEscape(id)+"/", http.StatusSeeOther)
}

// instanceState is what the pages of an instance say of it.
func (h *Handler) instanceState(ctx context.Context, t target) (title string, disabled, configured bool) {
	all, err := h.reg.Instances(ctx, t.Plugin.ID())
	if err != nil {
		return "", false, false
	}
	for _, i := range all {
		if i.ID == t.ID {
			return i.Title, i.Disabled, i.Configured
		}
	}
	return "", false, false
}

// compareRow is one plugin in the table of its category.
type compareRow struct {
	ID, Title, Version, Mode, Place, Cost, GPU string
	Configured, Disabled                       bool
}

func (h *Handler) comparePage(w http.ResponseWriter, r *http.Request) {
	type option struct {
		Name, Title string
		Selected    bool
	}
	chosen := r.URL.Query().Get("category")
	var categories []option
	names := h.reg.CategoriesWithPlugins()
	if chosen == "" && len(names) > 0 {
		chosen = names[0]
	}
	for _, name := range names {
		categories = append(categories, option{name, h.reg.DisplayName(name), name == chosen})
	}
	var rows []compareRow
	for _, p := range h.reg.PluginsIn(chosen) {
		row := compareRow{ID: p.ID(), Title: titleOf(p), Version: p.Version, Mode: modeName(p.ExecutionMode), Configured: p.Configured, Disabled: p.Disabled}
		switch {
		case p.ExecutionMode.IsLocal():
			row.Place = "This machine"
		case p.ExecutionMode.IsCloud():
			row.Place = "Elsewhere"
		}
		if remote := p.Remote; remote != nil {
			row.Cost = dollars(remote.CostPerHour)
			row.GPU = gpus(remote)
		}
		rows = append(rows, row)
	}
	if len(rows) > maxListed {
		rows = rows[:maxListed]
	}
	v := h.view(r, "Compare")
	v.View = "compare"
	v.Data = struct {
		Categories []option
		Title      string
		Rows       []compareRow
	}{categories, h.reg.DisplayName(chosen), rows}
	h.write(w, r, http.StatusOK, "compare", v)
}

func modeName(m registry.ExecutionMode) string {
	return strings.ReplaceAll(string(cmp.Or(m, registry.ModeInProcess)), "_", " ")
}

func dollars(perHour float64) string {
	if perHour == 0 {
		return ""
	}
	return "$" + strconv.FormatFloat(perHour, 'f', 2, 64)
}

func gpus(remote *registry.RemoteResource) string {
	if remote.GPUCount == 0 {
		return remote.GPUType
	}
	return strings.TrimSpace(strconv.Itoa(remote.GPUCount) + " × " + cmp.Or(remote.GPUType, "GPU"))
}

// statusTime is how long the status page waits for what plugins say of themselves.
const statusTime = 5 * time.Second

type heldView struct {
	ID, Category, Name, Mode, Container, Env, Remote, Cost, Memory string
	Processes                                                      []string
	Unknown                                                        bool
}

func (h *Handler) statusPage(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), statusTime)
	defer cancel()
	held, err := pluginsystem.Resources(ctx, h.reg)
	if err != nil {
		h.loggedProblem(r.Context(), "what the loaded plugins hold is not all known", err)
	}
	var rows []heldView
	cost := 0.0
	for _, one := range held {
		row := heldView{Category: h.reg.DisplayName(one.Category), ID: one.Category + "_" + one.Name, Name: one.Name, Mode: modeName(one.ExecutionMode),
			Container: one.ContainerID, Env: one.CondaEnv, Unknown: one.Err != nil}
		var memory uint64
		for _, p := range one.Processes {
			state := "running"
			if !p.Alive {
				state = "ended"
			}
			row.Processes = append(row.Processes, strconv.Itoa(p.PID)+" "+state)
			memory += p.RSS
		}
		if memory > 0 {
			row.Memory = strconv.FormatFloat(float64(memory)/(1<<20), 'f', 1, 64) + " MiB"
		}
		if remote := one.Remote; remote != nil {
			parts := slices.DeleteFunc([]string{string(remote.Provider), remote.Region, remote.Type, gpus(remote), remote.Status}, func(s string) bool { return s == "" })
			row.Remote = strings.Join(parts, ", ")
			row.Cost = dollars(remote.CostPerHour)
			if remote.Status == registry.StatusRunning {
				cost += remote.CostPerHour
			}
		}
		rows = append(rows, row)
	}
	stats := h.reg.Plugins().Stats()
	v := h.view(r, "Status")
	v.View = "status"
	v.Data = struct {
		Stats   registry.Stats
		Rows    []heldView
		Cost    string
		Unknown bool
	}{stats, rows, dollars(cost), err != nil}
	h.write(w, r, http.StatusOK, "status", v)
}
