package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestServes: it prints its address, serves the list, and ends cleanly though an event stream is open.
func TestServes(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, w, options{"127.0.0.1:0", filepath.Join(dir, "s.db"), filepath.Join(dir, "s.key"), filepath.Join("..", "quickstart", "plugins")})
		_ = w.Close()
	}()
	lines := bufio.NewScanner(r)
	if !lines.Scan() {
		t.Fatal(<-ended)
	}
	at, ok := strings.CutPrefix(lines.Text(), "The settings are at ")
	if !ok {
		t.Fatalf("it says %q", lines.Text())
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	res, err := http.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if !strings.Contains(string(body), `data-plugin="language_model_openai_chat"`) {
		t.Errorf("the list: %d %s", res.StatusCode, body)
	}
	stream, err := http.Get(at + "api/events")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	stop()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}
