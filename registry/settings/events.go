package settings

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
)

const (
	heartbeat = 15 * time.Second // between comments that keep a stream open
	patience  = 30 * time.Second // for a browser that does not read
	again     = time.Second      // before a watch that ended is begun again
)

// events tells all event streams of the changes that one watch sees. The watch runs while there are streams.
type events struct {
	reg *registry.Registry
	log *slog.Logger

	mu      sync.Mutex
	streams map[*stream]bool
	stop    context.CancelFunc // of the watch that runs, or nil
	closed  bool
	ended   sync.WaitGroup
}

// stream is one browser that listens. A change that it has not read yet is replaced by the next of the same config.
type stream struct {
	mu      sync.Mutex
	pending map[string]store.Change
	order   []string
	ready   chan struct{}
	done    chan struct{}
}

func newEvents(reg *registry.Registry, log *slog.Logger) *events {
	return &events{reg: reg, log: log, streams: map[*stream]bool{}}
}

// open begins a stream, and the watch with the first. It returns nil after close.
func (e *events) open() *stream {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	s := &stream{pending: map[string]store.Change{}, ready: make(chan struct{}, 1), done: make(chan struct{})}
	e.streams[s] = true
	if e.stop == nil {
		ctx, stop := context.WithCancel(context.Background())
		e.stop = stop
		changes := e.reg.Watch(ctx) // before the stream is told that it is open: no later change is missed
		e.ended.Add(1)
		go e.watch(ctx, changes)
	}
	return s
}

func (e *events) watch(ctx context.Context, changes func(func(store.Change, error) bool)) {
	defer e.ended.Done()
	for {
		for change, err := range changes {
			if err != nil {
				if ctx.Err() == nil {
					e.log.ErrorContext(ctx, "settings: watching the store failed", "error", err)
				}
				continue
			}
			e.mu.Lock()
			for s := range e.streams {
				s.tell(change)
			}
			e.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(again):
			changes = e.reg.Watch(ctx)
		}
	}
}

// leave ends a stream, and the watch with the last.
func (e *events) leave(s *stream) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.streams, s)
	if len(e.streams) == 0 && e.stop != nil {
		e.stop()
		e.stop = nil
	}
}

func (e *events) close() {
	e.mu.Lock()
	e.closed = true
	for s := range e.streams {
		select {
		case <-s.done:
		default:
			close(s.done)
		}
	}
	if e.stop != nil {
		e.stop()
		e.stop = nil
	}
	e.mu.Unlock()
	e.ended.Wait()
}

func (s *stream) tell(c store.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, waits := s.pending[c.ID]; !waits {
		s.order = append(s.order, c.ID)
	}
	s.pending[c.ID] = c
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *stream) take() []store.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []store.Change
	for _, id := range s.order {
		all = append(all, s.pending[id])
	}
	s.order, s.pending = nil, map[string]store.Change{}
	return all
}

// serveEvents streams changes: which config, and at which revision it is now; never a value.
func (h *Handler) serveEvents(w http.ResponseWriter, r *http.Request) {
	s := h.events.open()
	if s == nil {
		h.problem(w, r, &problem{Type: "unavailable", Status: http.StatusServiceUnavailable, Detail: "The application is ending."})
		return
	}
	defer h.events.leave(s)
	out := http.NewResponseController(w)
	send := func(text string) bool {
		_ = out.SetWriteDeadline(time.Now().Add(patience)) // the server's own is for pages; a writer without deadlines has none
		_, err := w.Write([]byte(text))
		return err == nil && out.Flush() == nil
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead || !send("retry: 2000\n\n") {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-s.done:
			return
		case <-beat.C:
			if !send(": still here\n\n") {
				return
			}
		case <-s.ready:
			for _, change := range s.take() {
				t, ok := h.target(change.ID)
				if !ok {
					continue // of no registered plugin
				}
				data, err := json.Marshal(struct {
					ID         string `json:"id"`
					Revision   string `json:"revision"`
					Configured bool   `json:"configured"`
					Disabled   bool   `json:"disabled"`
				}{change.ID, string(change.Revision), change.Configured, h.disabled(r.Context(), t)})
				if err != nil || !send(fmt.Sprintf("event: config\ndata: %s\n\n", data)) {
					return
				}
			}
		}
	}
}

// disabled tells whether the note of a config switches it off.
func (h *Handler) disabled(ctx context.Context, t target) bool {
	if t.Instance == "" {
		return t.Plugin.Disabled
	}
	_, disabled, _ := h.instanceState(ctx, t)
	return disabled
}
