package settings

import (
	"context"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
)

// Option changes how a Handler works. Its zero value changes nothing.
type Option struct{ set func(*Handler) }

// WithTitle names the pages. Without it they are called "Settings".
func WithTitle(title string) Option {
	return Option{func(h *Handler) { h.title = title }}
}

// Page is what a layout puts into the host's frame.
type Page struct {
	Title string        // for the title element
	Head  template.HTML // goes into head: the stylesheets and the script
	Body  template.HTML // goes into body; it has a skip link, a main and an h1
}

// WithLayout makes layout write each page, in the frame of the host's other pages. The layout writes the whole HTML document, head and body.
// What it writes is sent only if it returns nil. It may be called by several goroutines at once.
func WithLayout(layout func(w io.Writer, r *http.Request, p Page) error) Option {
	return Option{func(h *Handler) { h.layout = layout }}
}

// WithStylesheet links stylesheets after the handler's own. The Content-Security-Policy allows those of the same origin only.
func WithStylesheet(url ...string) Option {
	return Option{func(h *Handler) { h.stylesheets = append(h.stylesheets, url...) }}
}

// WithReadOnly makes the pages show, and nothing be saved, while readOnly returns true for the request.
func WithReadOnly(readOnly func(*http.Request) bool) Option {
	return Option{func(h *Handler) { h.readOnly = readOnly }}
}

// WithAuthor names who makes a request, such as the user that the host's middleware has found. The name goes into the history of stores
// that keep one, see store.WithAuthor.
func WithAuthor(author func(*http.Request) string) Option {
	return Option{func(h *Handler) { h.author = author }}
}

// WithTrustedOrigins lets pages of other origins send requests that save, each such as "https://example.org". The constructor panics if one
// is no origin.
func WithTrustedOrigins(origins ...string) Option {
	return Option{func(h *Handler) {
		for _, origin := range origins {
			if err := h.csrf.AddTrustedOrigin(origin); err != nil {
				panic("settings: WithTrustedOrigins: " + err.Error())
			}
		}
	}}
}

// WithAllowedHosts answers requests for any other host with 421, so that a page of another name that resolves to this machine's address
// cannot use it. A host is given without a port for all ports, or with one.
func WithAllowedHosts(hosts ...string) Option {
	return Option{func(h *Handler) {
		for _, host := range hosts {
			h.hosts = append(h.hosts, strings.ToLower(host))
		}
	}}
}

// WithMaxBytes limits the body of a request. Without it, or if n is not positive, it is DefaultMaxBytes.
func WithMaxBytes(n int64) Option {
	return Option{func(h *Handler) {
		if n > 0 {
			h.maxBytes = n
		}
	}}
}

// DefaultMaxBytes is the limit of a request's body.
const DefaultMaxBytes = 4 << 20

// WithLogger makes the handler log to l what it answers with 500 and 503. No value of a config is logged. Without it nothing is logged.
func WithLogger(l *slog.Logger) Option {
	return Option{func(h *Handler) {
		if l != nil {
			h.log = l
		}
	}}
}

// WithoutPages serves the API only.
func WithoutPages() Option { return Option{func(h *Handler) { h.pages = false }} }

// WithoutAPI serves the pages only; they then do not tell of changes that others make while they are open.
func WithoutAPI() Option { return Option{func(h *Handler) { h.api = false }} }

// Handler serves settings pages and an HTTP API over a registry. Make it with New.
type Handler struct {
	reg         *registry.Registry
	title       string
	layout      func(io.Writer, *http.Request, Page) error
	stylesheets []string
	readOnly    func(*http.Request) bool
	author      func(*http.Request) string
	csrf        *http.CrossOriginProtection
	hosts       []string
	maxBytes    int64
	log         *slog.Logger
	pages, api  bool
	typed       typist
	routes      []route
	events      *events
}

// New returns a handler over reg. It does no I/O, and starts no goroutine until the first event stream is asked for. It panics if reg is nil.
//
// The handler does not authenticate: whoever reaches it may read and change every config, but never read a secret. Put the host's
// middleware around it. All links are relative, so it may be mounted under any prefix that ends with a slash:
//
//	mux.Handle("/admin/settings/", http.StripPrefix("/admin/settings", auth(settings.New(reg))))
func New(reg *registry.Registry, opts ...Option) *Handler {
	if reg == nil {
		panic("settings: New needs a registry")
	}
	h := &Handler{
		reg: reg, title: "Settings", csrf: http.NewCrossOriginProtection(), maxBytes: DefaultMaxBytes,
		log: slog.New(slog.DiscardHandler), pages: true, api: true, typed: newTypist(),
	}
	for _, opt := range opts {
		if opt.set != nil {
			opt.set(h)
		}
	}
	h.events = newEvents(reg, h.log)
	if h.pages {
		h.routes = append(h.routes, h.pageRoutes()...)
	}
	if h.api {
		h.routes = append(h.routes, h.apiRoutes()...)
	}
	return h
}

// Close ends the event streams, which http.Server.Shutdown waits for, and refuses new ones. Pages and API go on working. It may be
// called more than once.
func (h *Handler) Close() error {
	h.events.close()
	return nil
}

// route is one path of the handler, relative to where it is mounted. A segment in braces stands for any one segment.
type route struct {
	method, path string
	serve        func(http.ResponseWriter, *http.Request)
	api          bool
}

// contentSecurityPolicy allows what the pages need: their own stylesheets, script and forms.
const contentSecurityPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'self'"

// ServeHTTP answers a request. Any number of goroutines may call it at once.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", contentSecurityPolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Cache-Control", "no-store")
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	api := strings.HasPrefix(path, "api/")
	refuse := func(p *problem) {
		if api {
			h.problem(w, r, p)
		} else {
			h.errorPage(w, r, p)
		}
	}
	if !h.hostAllowed(r.Host) {
		refuse(&problem{Type: "misdirected", Status: http.StatusMisdirectedRequest, Detail: "This server does not answer for that host name."})
		return
	}
	if err := h.csrf.Check(r); err != nil {
		refuse(&problem{Type: "cross-origin", Status: http.StatusForbidden, Detail: "The request comes from a page of another site. Nothing was changed."})
		return
	}
	found, allowed := h.find(r, path)
	switch {
	case found == nil && allowed == nil:
		refuse(&problem{Type: "not-found", Status: http.StatusNotFound, Detail: "There is no such page."})
		return
	case found == nil:
		header.Set("Allow", strings.Join(allowed, ", "))
		refuse(&problem{Type: "method-not-allowed", Status: http.StatusMethodNotAllowed, Detail: "Use " + strings.Join(allowed, ", ") + " here."})
		return
	}
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead
	if !safe && h.isReadOnly(r) && !strings.HasSuffix(found.path, "/validate") {
		refuse(&problem{Type: "read-only", Status: http.StatusForbidden, Detail: "You may look at the settings, not change them. Nothing was changed."})
		return
	}
	if !safe {
		r.Body = http.MaxBytesReader(w, r.Body, h.maxBytes)
	}
	if h.author != nil {
		r = r.WithContext(store.WithAuthor(r.Context(), h.author(r)))
	}
	found.serve(w, r)
}

func (h *Handler) isReadOnly(r *http.Request) bool { return h.readOnly != nil && h.readOnly(r) }

func (h *Handler) hostAllowed(host string) bool {
	if h.hosts == nil {
		return true
	}
	host = strings.ToLower(host)
	name := host
	if n, _, err := net.SplitHostPort(host); err == nil {
		name = n
	}
	return slices.Contains(h.hosts, host) || slices.Contains(h.hosts, strings.TrimSuffix(name, ".")) || slices.Contains(h.hosts, "["+name+"]")
}

// find returns the route of a request, or the methods that its path has, and sets the request's path values. It is not http.ServeMux
// because that redirects to absolute paths, which are wrong where the handler is mounted under a prefix.
func (h *Handler) find(r *http.Request, path string) (*route, []string) {
	var allowed []string
	segments := strings.Split(path, "/")
	for i := range h.routes {
		rt := &h.routes[i]
		values, ok := match(rt.path, segments)
		if !ok {
			continue
		}
		if rt.method != r.Method && !(rt.method == http.MethodGet && r.Method == http.MethodHead) {
			allowed = append(allowed, rt.method)
			if rt.method == http.MethodGet {
				allowed = append(allowed, http.MethodHead)
			}
			continue
		}
		for name, value := range values {
			r.SetPathValue(name, value)
		}
		return rt, nil
	}
	return nil, allowed
}

func match(pattern string, segments []string) (map[string]string, bool) {
	parts := strings.Split(pattern, "/")
	if len(parts) != len(segments) {
		return nil, false
	}
	values := map[string]string{}
	for i, part := range parts {
		if !strings.HasPrefix(part, "{") {
			if part != segments[i] {
				return nil, false
			}
			continue
		}
		value, err := url.PathUnescape(segments[i])
		if err != nil || value == "" {
			return nil, false
		}
		values[strings.Trim(part, "{}")] = value
	}
	return values, true
}

// target is the plugin whose config a request is about.
type target struct {
	ID       string // of the config
	Plugin   registry.Plugin
	Instance string // "" is the plugin's own config
	Heading  string
	Label    string
}

func (h *Handler) target(id string) (target, bool) {
	if p, ok := h.reg.Plugin(id); ok {
		return target{ID: id, Plugin: p, Heading: titleOf(p)}, true
	}
	pluginID, instance, ok := h.reg.SplitConfigID(id)
	if !ok || instance == "" {
		return target{}, false
	}
	p, ok := h.reg.Plugin(pluginID)
	return target{ID: id, Plugin: p, Instance: instance, Heading: titleOf(p)}, ok
}

func titleOf(p registry.Plugin) string {
	if p.Title != "" {
		return p.Title
	}
	return p.Name
}

func (h *Handler) loggedProblem(ctx context.Context, op string, err error) {
	h.log.ErrorContext(ctx, "settings: "+op, "error", err)
}
