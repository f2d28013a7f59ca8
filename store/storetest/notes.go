package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/pluginregistry/pluginregistry/store"
)

func annotator(t *testing.T, s store.Store) store.Annotator {
	a, ok := s.(store.Annotator)
	if !ok {
		t.Skipf("%T is no store.Annotator", s)
	}
	return a
}

func setNote(t *testing.T, a store.Annotator, id string, note store.Note, match store.Revision) store.Revision {
	t.Helper()
	rev, err := a.SetNote(t.Context(), id, note, match)
	if err != nil {
		t.Fatalf("SetNote(%q): %v", id, err)
	}
	return rev
}

func wantNote(t *testing.T, a store.Annotator, id string, want store.Note) {
	t.Helper()
	if got, err := a.Note(t.Context(), id); err != nil || got != want {
		t.Errorf("the note of %q is %+v, %v; want %+v", id, got, err, want)
	}
}

func wantNotes(t *testing.T, a store.Annotator, prefix string, want map[string]store.Note) {
	t.Helper()
	if got, err := a.Notes(t.Context(), prefix); err != nil || !maps.Equal(got, want) {
		t.Errorf("Notes(%.30q) is %v, %v; want %v", prefix, got, err, want)
	}
}

var workNote = store.Note{Title: "Work account", Disabled: true}

func testNote(t *testing.T, s store.Store) {
	a := annotator(t, s)
	wantNote(t, a, id, store.Note{})
	put(t, s, id, `{"n":1}`, store.Any)
	wantNote(t, a, id, store.Note{})
	setNote(t, a, id, workNote, store.Any)
	wantNote(t, a, id, workNote)
	wantConfig(t, s, id, `{"n":1}`)
	put(t, s, id, `{"n":2}`, store.Any)
	wantNote(t, a, id, workNote)
	del(t, s, id, store.Any)
	wantNote(t, a, id, workNote)
	wantNone(t, s, id)
	wantConfigured(t, s)
	put(t, s, id, `{"n":3}`, store.Absent)
	wantNote(t, a, id, workNote)
	setNote(t, a, id, store.Note{Disabled: true}, store.Any)
	wantNote(t, a, id, store.Note{Disabled: true})
	setNote(t, a, id, store.Note{}, store.Any)
	wantNote(t, a, id, store.Note{})
	wantConfig(t, s, id, `{"n":3}`)

	if rev := setNote(t, a, "bare", workNote, store.Absent); rev != store.Absent {
		t.Errorf("without a config the revision is %q, want Absent", rev)
	}
	wantNote(t, a, "bare", workNote)
	wantNone(t, s, "bare")
	wantConfigured(t, s, id)
	del(t, s, "bare", store.Absent)
	wantNote(t, a, "bare", workNote)
	put(t, s, "bare", `{}`, store.Absent)
	wantNote(t, a, "bare", workNote)
	setNote(t, a, "bare", store.Note{}, store.Any)
	del(t, s, "bare", store.Any)
	wantNote(t, a, "bare", store.Note{})
}

func testNoteRevisions(t *testing.T, s store.Store) {
	a := annotator(t, s)
	first := put(t, s, id, `{"n":1}`, store.Any)
	noted := setNote(t, a, id, workNote, first.Revision)
	if noted == first.Revision || noted == store.Absent || noted == store.Any {
		t.Errorf("SetNote made revision %q of %q", noted, first.Revision)
	}
	if rec := get(t, s, id); rec.Revision != noted || string(rec.Config) != `{"n":1}` {
		t.Errorf("after SetNote, which returned revision %q, Get returns %v with %s", noted, rec, rec.Config)
	}
	_, err := s.Put(t.Context(), id, json.RawMessage(`{"n":2}`), first.Revision)
	wantConflict(t, "Put at the revision before the note", err, noted)
	wantConflict(t, "Delete at the revision before the note", s.Delete(t.Context(), id, first.Revision), noted)
	if b, ok := s.(store.Batcher); ok {
		_, err := b.PutAll(t.Context(), []store.Put{{ID: id, Config: json.RawMessage(`{"n":2}`), Match: first.Revision}})
		wantConflict(t, "PutAll at the revision before the note", err, noted)
	}
	if same := put(t, s, id, ` {"n": 1}`, noted); same.Revision != noted {
		t.Errorf("saving the same config changed the revision from %q to %q", noted, same.Revision)
	}
	second := put(t, s, id, `{"n":2}`, noted)
	if got := get(t, s, id); got.Revision != second.Revision {
		t.Errorf("Put returned revision %q, Get %q", second.Revision, got.Revision)
	}
	_, err = a.SetNote(t.Context(), id, store.Note{}, noted)
	wantConflict(t, "SetNote at an old revision", err, second.Revision)
	again := setNote(t, a, id, store.Note{Title: "Home"}, second.Revision)
	if again == second.Revision || again == noted {
		t.Errorf("another note has revision %q, before it were %q and %q", again, second.Revision, noted)
	}
	del(t, s, id, again)
	back := put(t, s, id, `{"n":3}`, store.Absent)
	if got := get(t, s, id); got.Revision != back.Revision {
		t.Errorf("beside a note that was there before, Put returned revision %q, Get %q", back.Revision, got.Revision)
	}
}

func testNoteMatch(t *testing.T, s store.Store) {
	a := annotator(t, s)
	_, err := a.SetNote(t.Context(), id, workNote, "7")
	wantConflict(t, "SetNote of nothing at a revision", err, store.Absent)
	wantNote(t, a, id, store.Note{})
	setNote(t, a, id, workNote, store.Absent)
	setNote(t, a, id, store.Note{Title: "again"}, store.Absent)
	_, err = a.SetNote(t.Context(), id, workNote, "7")
	wantConflict(t, "SetNote of a note without a config, at a revision", err, store.Absent)
	rec := put(t, s, id, `{}`, store.Absent)
	_, err = a.SetNote(t.Context(), id, workNote, store.Absent)
	wantConflict(t, "SetNote with Absent, where there is a config", err, rec.Revision)
	_, err = a.SetNote(t.Context(), id, store.Note{Title: "again"}, "7")
	wantConflict(t, "SetNote of what is stored, at a revision that never was", err, rec.Revision)
	wantNote(t, a, id, store.Note{Title: "again"})
	setNote(t, a, id, workNote, rec.Revision)
	wantNote(t, a, id, workNote)
}

func testNoteUnchanged(t *testing.T, s store.Store) {
	a := annotator(t, s)
	put(t, s, id, `{}`, store.Any)
	noted := setNote(t, a, id, workNote, store.Any)
	rec := get(t, s, id)
	setNote(t, a, "bare", workNote, store.Any)
	states := 0
	if _, ok := s.(store.Historian); ok {
		states = len(history(t, s, id))
	}
	var changes func(func(store.Change, error) bool)
	if w, ok := s.(store.Watcher); ok {
		ctx, cancel := context.WithTimeout(t.Context(), patience())
		defer cancel()
		changes = w.Watch(ctx)
	}
	if rev := setNote(t, a, id, workNote, noted); rev != noted {
		t.Errorf("saving the note that is stored made revision %q of %q", rev, noted)
	}
	setNote(t, a, "bare", workNote, store.Any)
	setNote(t, a, "nothing", store.Note{}, store.Any)
	if now := get(t, s, id); now.Revision != rec.Revision || !now.UpdatedAt.Equal(rec.UpdatedAt) {
		t.Errorf("there is %v, there was %v", now, rec)
	}
	if _, ok := s.(store.Historian); ok && len(history(t, s, id)) != states {
		t.Errorf("the history has %d states, it had %d", len(history(t, s, id)), states)
	}
	put(t, s, "marker", `{}`, store.Any)
	if changes == nil {
		return
	}
	for c, err := range changes {
		if err != nil || c.ID != "marker" {
			t.Errorf("change %+v, %v; want only that of the marker", c, err)
		}
		break
	}
}

func testNotes(t *testing.T, s store.Store) {
	a := annotator(t, s)
	wantNotes(t, a, "", map[string]store.Note{})
	all := map[string]store.Note{}
	for n, id := range []string{"llm_openai", "llm_openai@work", "LLM_x", "llm%", "tts_a", "é", "\U0010FFFF", "a/b", ".hidden", "con"} {
		note := store.Note{Title: fmt.Sprint("title ", n), Disabled: n%2 == 0}
		setNote(t, a, id, note, store.Any)
		all[id] = note
		if n%3 == 0 {
			put(t, s, id, `{}`, store.Any)
		}
	}
	put(t, s, "llm_without", `{}`, store.Any)
	setNote(t, a, "llm_gone", workNote, store.Any)
	setNote(t, a, "llm_gone", store.Note{}, store.Any)
	for _, prefix := range []string{"", "llm_", "llm_openai", "llm_openai@", "llm%", "LLM_", "é", "\U0010FFFF", "x", "\xff", "\x00", strings.Repeat("a", 600)} {
		want := maps.Clone(all)
		maps.DeleteFunc(want, func(id string, _ store.Note) bool { return !strings.HasPrefix(id, prefix) })
		wantNotes(t, a, prefix, want)
	}
}

func testNoteTexts(t *testing.T, s store.Store) {
	a := annotator(t, s)
	put(t, s, id, `{}`, store.Any)
	for _, title := range []string{
		" spaces ", "José's 日本語 🎉", "line\nbreak\t\x01\x1b[31m", `quote " and \ and '; DROP TABLE plugin_configs; --`, "<script>", "\u2028\ufeff\uffff", "null", "0",
		strings.Repeat("x", store.MaxTitle), strings.Repeat("é", store.MaxTitle/2), "e\u0301", "é",
	} {
		setNote(t, a, id, store.Note{Title: title}, store.Any)
		wantNote(t, a, id, store.Note{Title: title})
		wantNotes(t, a, "", map[string]store.Note{id: {Title: title}})
	}
	setNote(t, a, id, workNote, store.Any)
	before := get(t, s, id)
	for _, title := range []string{"nul\x00", "not \xff UTF-8", "half \xed\xa0\x80", strings.Repeat("x", store.MaxTitle+1), strings.Repeat("é", 1<<20)} {
		_, err := a.SetNote(t.Context(), id, store.Note{Title: title}, store.Any)
		wantErr(t, fmt.Sprintf("SetNote with the title %.20q", title), err, store.ErrInvalidNote)
	}
	wantNote(t, a, id, workNote)
	if now := get(t, s, id); now.Revision != before.Revision {
		t.Error("a note that was refused changed the revision")
	}
}

func testNoteHistory(t *testing.T, s store.Store) {
	a := annotator(t, s)
	needHistory(t, s)
	first, err := s.Put(by(t, "ann"), id, json.RawMessage(`{"n":1}`), store.Any)
	if err != nil {
		t.Fatal(err)
	}
	noted, err := a.SetNote(by(t, "bob"), id, workNote, store.Any)
	if err != nil {
		t.Fatal(err)
	}
	versions := history(t, s, id)
	if len(versions) != 2 {
		t.Fatalf("the history has %d states, want 2", len(versions))
	}
	for i, want := range []struct {
		rev    store.Revision
		author string
	}{{noted, "bob"}, {first.Revision, "ann"}} {
		v := versions[i]
		if v.Revision != want.rev || v.Author != want.author || string(v.Config) != `{"n":1}` || !v.Configured {
			t.Errorf("state %d is %v by %q, configured %t, with %s; want %+v", i, v, v.Author, v.Configured, v.Config, want)
		}
	}
}

func testNoteWatch(t *testing.T, s store.Store) {
	a := annotator(t, s)
	ctx := watcher(t, s)
	put(t, s, id, `{}`, store.Any)
	changes := s.(store.Watcher).Watch(ctx)
	want := store.Change{ID: id, Revision: setNote(t, a, id, workNote, store.Any), Configured: true}
	step := 0
	for c, err := range changes {
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		if c.ID != want.ID || c.Configured != want.Configured || c.Configured && c.Revision != want.Revision {
			t.Fatalf("step %d: change is %+v, want %+v", step, c, want)
		}
		step++
		switch step {
		case 1:
			setNote(t, a, "bare", workNote, store.Any)
			want = store.Change{ID: "bare"}
		case 2:
			setNote(t, a, "bare", store.Note{Title: "other"}, store.Any)
		case 3:
			setNote(t, a, "bare", store.Note{}, store.Any)
		case 4:
			want = store.Change{ID: id, Revision: setNote(t, a, id, store.Note{}, store.Any), Configured: true}
		case 5:
			return
		}
	}
	t.Errorf("the watch ended at step %d", step)
}

// testNotesAtOnce counts with compare-and-swap in the config and in the title of one ID.
func testNotesAtOnce(t *testing.T, s store.Store) {
	a := annotator(t, s)
	const goroutines, increments = 4, 10
	put(t, s, id, `{"n":0}`, store.Any)
	setNote(t, a, id, store.Note{Title: "0"}, store.Any)
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range increments {
				if err := increment(t.Context(), s, id); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range increments {
				for {
					rec, err := s.Get(t.Context(), id)
					if err != nil {
						t.Error(err)
						return
					}
					note, err := a.Note(t.Context(), id)
					if err != nil {
						t.Error(err)
						return
					}
					var n int
					fmt.Sscan(note.Title, &n)
					note.Title = fmt.Sprint(n + 1)
					_, err = a.SetNote(t.Context(), id, note, rec.Revision)
					if err == nil {
						break
					}
					if !errors.Is(err, store.ErrConflict) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	wantConfig(t, s, id, fmt.Sprintf(`{"n":%d}`, goroutines*increments))
	wantNote(t, a, id, store.Note{Title: fmt.Sprint(goroutines * increments)})
}
