package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/store"
)

func by(t *testing.T, author string) context.Context { return store.WithAuthor(t.Context(), author) }

func history(t *testing.T, s store.Store, id string) []store.Version {
	t.Helper()
	versions, err := store.History(t.Context(), s, id, 0)
	if err != nil {
		t.Fatal(err)
	}
	return versions
}

func needHistory(t *testing.T, s store.Store) {
	if _, ok := s.(store.Historian); !ok {
		t.Skipf("%T is no store.Historian", s)
	}
}

func wantAuthors(t *testing.T, s store.Store, id string, want ...string) {
	t.Helper()
	var got []string
	for _, v := range history(t, s, id) {
		got = append(got, v.Author)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the authors of %q are %q, want %q", id, got, want)
	}
}

func testAuthor(t *testing.T, s store.Store) {
	needHistory(t, s)
	save := func(ctx context.Context, n int) {
		t.Helper()
		if _, err := s.Put(ctx, id, fmt.Appendf(nil, `{"n":%d}`, n), store.Any); err != nil {
			t.Fatal(err)
		}
	}
	save(t.Context(), 1)
	save(by(t, "ann"), 2)
	save(by(t, "bob"), 2) // writes nothing
	if err := s.Delete(by(t, "cleo"), id, store.Any); err != nil {
		t.Fatal(err)
	}
	save(by(t, ""), 3)
	wantAuthors(t, s, id, "", "cleo", "ann", "")

	if b, ok := s.(store.Batcher); ok {
		if _, err := b.PutAll(by(t, "dan"), []store.Put{
			{ID: id, Config: json.RawMessage(`{"n":4}`), Match: store.Any}, {ID: "other", Config: json.RawMessage(`{"n":4}`), Match: store.Any},
		}); err != nil {
			t.Fatal(err)
		}
		wantAuthors(t, s, id, "dan", "", "cleo", "ann", "")
		wantAuthors(t, s, "other", "dan")
	}
	for n, hostile := range []string{
		"José 日本語 🎉", "o'brien\"; DROP TABLE plugin_config_history; --", "two\nlines\tand \\", "nul\x00nul", "not \xff UTF-8",
		strings.Repeat("x", store.MaxAuthor), strings.Repeat("é", store.MaxAuthor), strings.Repeat("y", 1<<20),
	} {
		id := fmt.Sprintf("hostile_%d", n)
		if _, err := s.Put(by(t, hostile), id, json.RawMessage(`{}`), store.Any); err != nil {
			t.Errorf("Put by %.40q: %v", hostile, err)
			continue
		}
		wantAuthors(t, s, id, store.Author(by(t, hostile)))
	}
}

func testAuthorsAtOnce(t *testing.T, s store.Store) {
	needHistory(t, s)
	const writers, rounds = 64, 3
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			name := fmt.Sprintf("writer_%02d", w)
			for n := range rounds {
				config := fmt.Appendf(nil, `{"by":%q,"n":%d}`, name, n)
				for _, id := range []string{name, "shared"} {
					if _, err := s.Put(by(t, name), id, config, store.Any); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	for w := range writers {
		name := fmt.Sprintf("writer_%02d", w)
		wantAuthors(t, s, name, slices.Repeat([]string{name}, rounds)...)
	}
	for _, v := range history(t, s, "shared") {
		var config struct{ By string }
		if err := v.Decode(&config); err != nil || config.By != v.Author {
			t.Errorf("the version that %q saved is said to be by %q, %v", config.By, v.Author, err)
		}
	}
}

func testRewriteKeepsAuthors(t *testing.T, s store.Store) {
	r, ok := s.(store.Resealer)
	if !ok {
		t.Skipf("%T is no store.Resealer", s)
	}
	for _, name := range []string{"ann", "bob", "cleo"} {
		if _, err := s.Put(by(t, name), id, fmt.Appendf(nil, `{"by":%q}`, name), store.Any); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	if err := r.RewriteHistory(by(t, "rotation"), id, func(v store.Version) (json.RawMessage, error) {
		seen[v.Author] = true
		return bytes.ReplaceAll(v.Config, []byte(`"by"`), []byte(`"of"`)), nil
	}); err != nil {
		t.Fatal(err)
	}
	if !seen["ann"] || !seen["bob"] {
		t.Errorf("rewrite was called with versions of %v, want ann's and bob's", seen)
	}
	wantAuthors(t, s, id, "cleo", "bob", "ann")
}

func testKept(t *testing.T, s store.Store) {
	r, ok := s.(store.Resealer)
	if !ok {
		t.Skipf("%T is no store.Resealer", s)
	}
	wantKept := func(want ...string) {
		t.Helper()
		got, err := r.Kept(t.Context())
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Kept is %q, %v; want %q", got, err, want)
		}
	}
	wantKept()
	put(t, s, "a", `{}`, store.Any)
	put(t, s, "b", `{}`, store.Any)
	put(t, s, "b", `{"n":1}`, store.Any)
	del(t, s, "b", store.Any)
	del(t, s, "never", store.Any)
	if _, err := s.Put(t.Context(), "refused", json.RawMessage(`{}`), "7"); err == nil {
		t.Error("a conflict was due")
	}
	wantKept("a", "b")
	put(t, s, "b", `{"n":2}`, store.Any)
	wantKept("a", "b")
}

func testScrub(t *testing.T, s store.Store) {
	r, ok := s.(store.Resealer)
	if !ok {
		t.Skipf("%T is no store.Resealer", s)
	}
	for n := range 5 {
		put(t, s, id, fmt.Sprintf(`{"n":%d}`, n), store.Any)
	}
	put(t, s, "gone", `{}`, store.Any)
	del(t, s, "gone", store.Any)
	before, gone := fmt.Sprint(history(t, s, id)), fmt.Sprint(history(t, s, "gone"))
	ctx, cancel := context.WithTimeout(t.Context(), patience())
	defer cancel()
	changes := store.Watch(ctx, s, time.Millisecond)
	if err := r.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := fmt.Sprint(history(t, s, id)); after != before {
		t.Errorf("the history is %s, it was %s", after, before)
	}
	if after := fmt.Sprint(history(t, s, "gone")); after != gone {
		t.Errorf("the history of the deleted one is %s, it was %s", after, gone)
	}
	wantConfig(t, s, id, `{"n":4}`)
	wantConfigured(t, s, id)
	put(t, s, "marker", `{}`, store.Any)
	for c, err := range changes {
		if err != nil || c.ID != "marker" {
			t.Errorf("change %+v, %v; want only that of the marker", c, err)
		}
		break
	}
}
