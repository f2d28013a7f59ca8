package settings

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"iter"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

func newLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// counting counts the watches that run.
type counting struct {
	*memory.Store
	running atomic.Int32
}

func (c *counting) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	c.running.Add(1)
	seq := c.Store.Watch(ctx)
	return func(yield func(store.Change, error) bool) {
		defer c.running.Add(-1)
		seq(yield)
	}
}

// TestEvents: every stream is told of every change by one watch, without values, and Close ends them.
func TestEvents(t *testing.T) {
	st := &counting{Store: memory.New()}
	s := newSiteOn(t, st, fake{"p": everything})
	server := httptest.NewServer(s.h)
	defer server.Close()
	var streams []*bufio.Reader
	for range 3 {
		res, err := http.Get(server.URL + "/api/events")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("Content-Type %q", res.Header.Get("Content-Type"))
		}
		r := bufio.NewReader(res.Body)
		if line, _ := r.ReadString('\n'); line != "retry: 2000\n" {
			t.Fatalf("it begins with %q", line)
		}
		_, _ = r.ReadString('\n')
		streams = append(streams, r)
	}
	if n := st.running.Load(); n != 1 {
		t.Errorf("%d watches run", n)
	}
	rec := s.save("c_p", `{"name":"sk-planted","key":"sk-planted"}`)
	for _, r := range streams {
		event, _ := r.ReadString('\n')
		data, err := r.ReadString('\n')
		want := `data: {"id":"c_p","revision":"` + string(rec.Revision) + `","configured":true,"disabled":false}` + "\n"
		if event != "event: config\n" || data != want || err != nil {
			t.Errorf("got %q %q, want %q", event, data, want)
		}
		_, _ = r.ReadString('\n')
	}
	if err := s.reg.SetNote(t.Context(), "c_p", func(n *store.Note) error { n.Disabled = true; return nil }); err != nil {
		t.Fatal(err)
	}
	_, _ = streams[0].ReadString('\n')
	if data, _ := streams[0].ReadString('\n'); !strings.Contains(data, `"disabled":true`) {
		t.Errorf("the note: %q", data)
	}
	if err := s.h.Close(); err != nil {
		t.Fatal(err)
	}
	for _, r := range streams {
		if _, err := io.ReadAll(r); err != nil {
			t.Errorf("the stream ended with %v", err)
		}
	}
	if n := st.running.Load(); n != 0 {
		t.Errorf("%d watches run after Close", n)
	}
	if a := s.get("/api/events"); a.Code != 503 {
		t.Errorf("after Close: %d", a.Code)
	}
}

// TestRegistryLinksNoWeb: whoever uses the registry without these pages links neither net/http nor html/template.
func TestRegistryLinksNoWeb(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command to list what is linked with")
	}
	const module = "github.com/pluginregistry/pluginregistry/"
	for _, users := range []string{"registry", "registry/manifest", "registry/secret", "store/jsonfile", "store/memory", "store/sqlite"} {
		out, err := exec.Command("go", "list", "-deps", module+users).Output()
		if err != nil {
			t.Skipf("go list does not work here: %v", err)
		}
		for _, line := range strings.Fields(string(out)) {
			if line == "net/http" || line == "html/template" || line == module+"registry/settings" {
				t.Errorf("%s links %s", users, line)
			}
		}
	}
}
