package settings

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
)

// problem is an answer that is an error, as RFC 9457 has it. It shows no value of a config, no text of a store's error and no path.
type problem struct {
	Type     string // behind problemPrefix
	Status   int
	Detail   string
	Issues   []issue
	Revision *string // the current one, of a conflict
	hash     string  // of the plugin's schema, for the tag
}

const problemPrefix = "urn:pluginregistry:problem:"

type issue struct {
	Pointer string `json:"pointer"`
	Keyword string `json:"keyword"`
	Detail  string `json:"detail"`
}

func issuesOf(issues []registry.Issue) []issue {
	list := make([]issue, len(issues))
	for i, one := range issues {
		list[i] = issue{one.Pointer, one.Keyword, one.Message}
	}
	return list
}

// problemOf says what went wrong. What is none of the registry's own errors is the store's, and is told by a fixed text: its cause goes to
// the log.
func (h *Handler) problemOf(r *http.Request, err error) *problem {
	if invalid, ok := errors.AsType[*registry.ValidationError](err); ok {
		return &problem{Type: "invalid-config", Status: http.StatusUnprocessableEntity, Detail: "The config does not fit the plugin's schema.", Issues: issuesOf(invalid.Issues)}
	}
	if conflict, ok := errors.AsType[*store.ConflictError](err); ok {
		revision := string(conflict.Current)
		return &problem{Type: "conflict", Status: http.StatusPreconditionFailed, Detail: "Somebody else has saved meanwhile. Nothing was changed.", Revision: &revision}
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &problem{Type: "too-large", Status: http.StatusRequestEntityTooLarge, Detail: "The request is larger than this server takes. Nothing was changed."}
	}
	for _, known := range []struct {
		err error
		problem
	}{
		{registry.ErrUnknownPlugin, problem{Type: "unknown-plugin", Status: http.StatusNotFound, Detail: "No such plugin is registered."}},
		{store.ErrInvalidID, problem{Type: "unknown-plugin", Status: http.StatusNotFound, Detail: "This cannot be the ID of a config in this store."}},
		{store.ErrConflict, problem{Type: "conflict", Status: http.StatusPreconditionFailed, Detail: "Somebody else has saved meanwhile. Nothing was changed."}},
		{store.ErrInvalidConfig, problem{Type: "malformed", Status: http.StatusBadRequest, Detail: "The config must be a JSON object of at most 16 MiB and 512 levels, with no name twice in one object."}},
		{registry.ErrUnusableSchema, problem{Type: "unusable-schema", Status: http.StatusUnprocessableEntity, Detail: "The plugin's schema cannot be used, so its config cannot be checked or its secrets be told from the rest."}},
		{registry.ErrNoSecretKey, problem{Type: "no-secret-key", Status: http.StatusUnprocessableEntity, Detail: "The config has secrets, and the application has no key to seal them with. Nothing was changed."}},
		{registry.ErrSecretLocked, problem{Type: "secret-locked", Status: http.StatusUnprocessableEntity, Detail: "A stored secret cannot be opened with the application's keys. Type the secret again, or bring the key back."}},
		{store.ErrCorrupt, problem{Type: "corrupt", Status: http.StatusInternalServerError, Detail: "The stored config cannot be read. It was left as it is."}},
		{store.ErrNotFound, problem{Type: "not-found", Status: http.StatusNotFound, Detail: "It is not in the store."}},
		{errors.ErrUnsupported, problem{Type: "unsupported", Status: http.StatusNotImplemented, Detail: "The application's store cannot do this."}},
		{store.ErrUncertain, problem{Type: "unavailable", Status: http.StatusServiceUnavailable, Detail: "The store did not say whether it was saved. Load the config to find out."}},
	} {
		if errors.Is(err, known.err) {
			if known.Status >= 500 && known.Status != http.StatusNotImplemented {
				h.loggedProblem(r.Context(), "a request failed", err)
			}
			return &known.problem
		}
	}
	if r.Context().Err() == nil || !errors.Is(err, context.Canceled) {
		h.loggedProblem(r.Context(), "a request failed", err)
	}
	return &problem{Type: "unavailable", Status: http.StatusServiceUnavailable, Detail: "The store cannot be used just now. Nothing is known to have been changed. Try again soon."}
}

// problem writes p as application/problem+json.
func (h *Handler) problem(w http.ResponseWriter, r *http.Request, p *problem) {
	body := struct {
		Type     string  `json:"type"`
		Title    string  `json:"title"`
		Status   int     `json:"status"`
		Detail   string  `json:"detail"`
		Revision *string `json:"revision,omitempty"`
		Issues   []issue `json:"issues,omitempty"`
	}{problemPrefix + p.Type, http.StatusText(p.Status), p.Status, p.Detail, p.Revision, p.Issues}
	if p.Revision != nil && p.hash != "" {
		w.Header().Set("ETag", etag(store.Revision(*p.Revision), p.hash))
	}
	retryLater(w, p)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_ = json.NewEncoder(w).Encode(body)
	}
}

func retryLater(w http.ResponseWriter, p *problem) {
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
}
