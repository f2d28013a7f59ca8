package jsonfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pluginregistry/pluginregistry/internal/atomicfile"
	"github.com/pluginregistry/pluginregistry/store"
)

func setNote(t *testing.T, s *Store, id string, n store.Note) store.Revision {
	t.Helper()
	rev, err := s.SetNote(t.Context(), id, n, store.Any)
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

// The notes are one file that people can read, whose name is that of no config.
func TestNotesFile(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	rec := put(t, s, "llm_openai@work", `{}`)
	noted := setNote(t, s, "llm_openai@work", store.Note{Title: `José's "work" <account>`, Disabled: true})
	setNote(t, s, "bare", store.Note{Title: "later"})
	wantNames(t, dir, notesName, "llm_openai@work.json")
	wantFile(t, dir, notesName, `{
  "version": 1,
  "notes": {
    "bare": {
      "title": "later"
    },
    "llm_openai@work": {
      "title": "José's \"work\" <account>",
      "disabled": true
    }
  }
}
`)
	if _, ok := idOf(notesName); ok || strings.HasSuffix(notesName, ".json") {
		t.Errorf("%s would be a config", notesName)
	}
	wantConfigured(t, s, "llm_openai@work")

	// Without the note the revision is that of the file again.
	if setNote(t, s, "llm_openai@work", store.Note{}) != rec.Revision || noted == rec.Revision {
		t.Errorf("the revision was %q, with the note %q", rec.Revision, noted)
	}
	if err := os.Remove(filepath.Join(dir, notesName)); err != nil { // by hand
		t.Fatal(err)
	}
	if n, err := s.Notes(t.Context(), ""); len(n) != 0 || err != nil {
		t.Errorf("without the file there are notes %v, %v", n, err)
	}
}

// A file of notes that cannot be read is an error of the notes, keeps its bytes, and concerns no config.
func TestBadNotes(t *testing.T) {
	for content, want := range map[string]error{
		"":                                 store.ErrCorrupt,
		`{"version":1,"notes":{"a":{`:      store.ErrCorrupt,
		`{"notes":{}}`:                     store.ErrCorrupt,
		`{"version":2,"notes":{}}`:         store.ErrTooNew,
		`{"version":1,"notes":{"":{}}}`:    store.ErrCorrupt,
		`{"version":1,"notes":["secret"]}`: store.ErrCorrupt,
		fmt.Sprintf(`{"version":1,"notes":{"a":{"title":%q}}}`, strings.Repeat("x", store.MaxTitle+1)): store.ErrCorrupt,
	} {
		dir := t.TempDir()
		s := openTest(t, dir)
		put(t, s, "a", `{"n":1}`)
		setNote(t, s, "a", store.Note{Title: "mine"})
		write(t, dir, notesName, content)
		_, err := s.Note(t.Context(), "a")
		wantErr(t, err, want)
		_, err = s.Notes(t.Context(), "")
		wantErr(t, err, want)
		_, err = s.SetNote(t.Context(), "b", store.Note{Title: "new"}, store.Any)
		wantErr(t, err, want)
		if strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("the error shows what is in the file: %v", err)
		}
		wantFile(t, dir, notesName, content)
		wantConfig(t, s, "a", `{"n":1}`)
		put(t, s, "a", `{"n":2}`)
		wantConfigured(t, s, "a")
		if err := s.Delete(t.Context(), "a", store.Any); err != nil {
			t.Error(err)
		}
		wantFile(t, dir, notesName, content)
		write(t, dir, notesName, `{"version":1,"notes":{"b":{"disabled":true}}}`)
		if n, err := s.Note(t.Context(), "b"); !n.Disabled || err != nil {
			t.Errorf("repaired, it is %+v, %v", n, err)
		}
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, notesName), 0o700); err != nil {
		t.Fatal(err)
	}
	s := openTest(t, dir)
	_, err := s.SetNote(t.Context(), "a", store.Note{Title: "x"}, store.Any)
	wantErr(t, err, store.ErrCorrupt)
	put(t, s, "a", `{}`)
}

// One change that fails leaves the notes as they were or as they were to be, and nothing over.
func TestNoteFailsAnywhere(t *testing.T) {
	for steps := 0; ; steps++ {
		dir := t.TempDir()
		s := openTest(t, dir)
		put(t, s, "a", `{}`)
		setNote(t, s, "a", store.Note{Title: "old"})
		real := s.dir
		faulty := &failing{directory: real, left: steps, err: syscall.ENOSPC}
		s.dir = faulty
		_, err := s.SetNote(t.Context(), "a", store.Note{Title: "new"}, store.Any)
		s.dir = real
		n, noteErr := s.Note(t.Context(), "a")
		switch {
		case noteErr != nil, err == nil && n.Title != "new", err != nil && n.Title != "old" && !errors.Is(err, store.ErrUncertain):
			t.Errorf("failure of change %d: %v, and the note is %+v, %v", steps, err, n, noteErr)
		case err != nil:
			wantErr(t, err, syscall.ENOSPC)
			setNote(t, s, "a", store.Note{Title: "new"})
		}
		if slices.ContainsFunc(names(t, dir), atomicfile.IsTemp) {
			t.Errorf("failure of change %d: left are %q", steps, names(t, dir))
		}
		if faulty.left >= 0 {
			if steps < 3 {
				t.Errorf("only %d changes were tried", steps)
			}
			return
		}
	}
}

// An edit of the notes by hand is told like any other change; notes that cannot be read change nothing.
func TestWatchNotesByHand(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.json", `{}`)
	watch(t, dir, func(w *watching) {
		t := w.t
		write(t, dir, notesName, `{"version":1,"notes":{"a":{"disabled":true},"bare":{"title":"x"}}}`)
		with := saved("a", `{}`)
		with.Revision = noted(with.Revision, store.Note{Disabled: true})
		w.want(with, store.Change{ID: "bare"})
		if rec, err := w.s.Get(t.Context(), "a"); rec.Revision != with.Revision || err != nil {
			t.Errorf("the revision is %q, %v; want %q", rec.Revision, err, with.Revision)
		}
		write(t, dir, notesName, `{"torn`)
		_, err, _ := w.next()
		wantErr(t, err, store.ErrCorrupt)
		write(t, dir, "b.json", `{}`)
		w.want(saved("b", `{}`))
		write(t, dir, notesName, `{"version":1,"notes":{"a":{"disabled":true}}}`)
		w.want(store.Change{ID: "bare"})
		if err := os.Remove(filepath.Join(dir, notesName)); err != nil {
			t.Fatal(err)
		}
		w.want(saved("a", `{}`))
		w.wantNothing()
	})
}

func FuzzParseNotes(f *testing.F) {
	f.Add([]byte(`{"version":1,"notes":{"a":{"title":"x","disabled":true}}}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := parseNotes(data)
		if err != nil {
			if all != nil || !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrTooNew) {
				t.Fatalf("%d notes with the error %v", len(all), err)
			}
			return
		}
		text, err := formatNotes(all)
		if err != nil || !json.Valid(text) {
			t.Fatalf("%v: %s", err, text)
		}
		again, err := parseNotes(text)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(all) {
			t.Fatalf("%v became %v, %v", all, again, err)
		}
	})
}
