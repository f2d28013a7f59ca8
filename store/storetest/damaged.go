package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// Damageable is a store with a way to its data that does not lead through it.
type Damageable struct {
	Store store.Store

	// Damage puts something that is no config in the place of the stored config of id, as a bad disk or a hasty editor would.
	Damage func(id string)

	// Stored returns what is stored for id, config or not, as text; "" if there is nothing.
	Stored func(id string) string

	// Aside returns the texts that the store has kept aside when it replaced what it could not read, in any order.
	Aside func(id string) []string
}

// RunDamaged checks what a store promises about configs that cannot be read. open makes an empty store, as for Run.
func RunDamaged(t *testing.T, open func(t *testing.T) Damageable) {
	runAll(t, damagedCases, open)
}

var damagedCases = []testCase[Damageable]{
	{"damaged", "What cannot be read is ErrCorrupt, counts as configured and stays as it is; other configs are read, saved and deleted as ever.", testDamaged},
	{"damaged and saved over", "Put over what cannot be read needs a match that agrees, and keeps the old bytes aside.", testDamagedPut},
	{"damaged and deleted", "Delete of what cannot be read keeps the old bytes aside.", testDamagedDelete},
	{"damaged in a batch", "A batch can save over what cannot be read, keeps its bytes aside, and leaves it alone if it fails.", testDamagedBatch},
	{"damaged and copied", "store.Copy leaves out what cannot be read, names it, and copies the others.", testDamagedCopy},
	{"damaged and noted", "A note can be read and set beside a config that cannot be read, which stays as it is.", testDamagedNote},
	{"damaged and watched", "Watch tells of a config that can no longer be read, and goes on.", testDamagedWatch},
}

// damage makes three configs, of which the one in the middle cannot be read, and returns what is stored for that one.
func damage(t *testing.T, d Damageable) (stored string) {
	t.Helper()
	for _, id := range []string{"a", "bad", "c"} {
		put(t, d.Store, id, `{"key":"hunter2"}`, store.Any)
	}
	d.Damage("bad")
	stored = d.Stored("bad")
	if _, err := store.Canonical(json.RawMessage(stored)); err == nil || stored == "" {
		t.Fatalf("after Damage there is %q, which is nothing or a config", stored)
	}
	return stored
}

func wantStored(t *testing.T, d Damageable, want string) {
	t.Helper()
	if got := d.Stored("bad"); got != want {
		t.Errorf("what cannot be read was %.200q and is %.200q", want, got)
	}
}

func wantAside(t *testing.T, d Damageable, want ...string) {
	t.Helper()
	got := d.Aside("bad")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("kept aside are %.200q, want %.200q", got, want)
	}
}

// badRevision is the revision of what cannot be read, as a conflict tells it.
func badRevision(t *testing.T, s store.Store) store.Revision {
	t.Helper()
	_, err := s.Put(t.Context(), "bad", json.RawMessage(`{}`), store.Absent)
	wantErr(t, "Put with Absent of what cannot be read", err, store.ErrConflict)
	c, ok := errors.AsType[*store.ConflictError](err)
	if !ok || c.Current == store.Absent || c.Current == store.Any {
		t.Fatalf("the conflict is %+v", c)
	}
	return c.Current
}

func testDamaged(t *testing.T, d Damageable) {
	s := d.Store
	stored := damage(t, d)
	for range 2 {
		rec, err := s.Get(t.Context(), "bad")
		wantErr(t, "Get of what cannot be read", err, store.ErrCorrupt)
		if rec.Config != nil || strings.Contains(fmt.Sprintf("%v %+v", err, err), "hunter2") {
			t.Error("it came back, or the error shows the config")
		}
		if e, ok := errors.AsType[*store.Error](err); !ok || e.ID != "bad" {
			t.Errorf("the error does not name the ID: %v", err)
		}
	}
	wantConfigured(t, s, "a", "bad", "c")
	wantConfig(t, s, "a", `{"key":"hunter2"}`)
	put(t, s, "c", `{"n":1}`, store.Any)
	del(t, s, "a", store.Any)
	put(t, s, "new", `{}`, store.Absent)
	wantConfigured(t, s, "bad", "c", "new")
	_, err := s.Put(t.Context(), "bad", json.RawMessage(`{"n":`), store.Any)
	wantErr(t, "Put of no config over what cannot be read", err, store.ErrInvalidConfig)
	_, err = s.Put(t.Context(), "bad", json.RawMessage(`{}`), "7")
	wantErr(t, "Put at no revision that ever was", err, store.ErrConflict)
	wantErr(t, "Delete with Absent", s.Delete(t.Context(), "bad", store.Absent), store.ErrConflict)
	wantStored(t, d, stored)
	wantAside(t, d)
}

func testDamagedPut(t *testing.T, d Damageable) {
	s := d.Store
	first := damage(t, d)
	rec := put(t, s, "bad", `{"new":1}`, badRevision(t, s))
	wantConfig(t, s, "bad", `{"new":1}`)
	wantAside(t, d, first)
	put(t, s, "bad", `{"new":2}`, rec.Revision)
	wantAside(t, d, first)

	d.Damage("bad")
	second := d.Stored("bad")
	put(t, s, "bad", `{"new":2}`, store.Any)
	wantConfig(t, s, "bad", `{"new":2}`)
	wantAside(t, d, first, second)
	wantConfigured(t, s, "a", "bad", "c")
}

func testDamagedDelete(t *testing.T, d Damageable) {
	s := d.Store
	stored := damage(t, d)
	del(t, s, "bad", badRevision(t, s))
	wantNone(t, s, "bad")
	wantConfigured(t, s, "a", "c")
	wantAside(t, d, stored)
	put(t, s, "bad", `{"new":1}`, store.Absent)
	wantConfig(t, s, "bad", `{"new":1}`)
	wantAside(t, d, stored)
}

func testDamagedBatch(t *testing.T, d Damageable) {
	b, ok := d.Store.(store.Batcher)
	if !ok {
		t.Skipf("%T is no store.Batcher", d.Store)
	}
	stored := damage(t, d)
	batch := func(match store.Revision) error {
		_, err := b.PutAll(t.Context(), []store.Put{
			{ID: "new", Config: json.RawMessage(`{"n":1}`), Match: store.Any}, {ID: "bad", Config: json.RawMessage(`{"n":1}`), Match: store.Any},
			{ID: "a", Config: json.RawMessage(`{"n":1}`), Match: match},
		})
		return err
	}
	wantErr(t, "a batch that conflicts", batch("7"), store.ErrConflict)
	wantStored(t, d, stored)
	wantAside(t, d)
	if err := batch(store.Any); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"new", "bad", "a"} {
		wantConfig(t, d.Store, id, `{"n":1}`)
	}
	wantAside(t, d, stored)
}

func testDamagedCopy(t *testing.T, d Damageable) {
	stored := damage(t, d)
	dst := memory.New()
	put(t, dst, "bad", `{"mine":1}`, store.Any)
	n, err := store.Copy(t.Context(), dst, d.Store)
	if n != 2 || !errors.Is(err, store.ErrCorrupt) || !strings.Contains(fmt.Sprint(err), `"bad"`) {
		t.Errorf("Copy: %d, %v; want 2 and an error that names the third", n, err)
	}
	wantConfig(t, dst, "a", `{"key":"hunter2"}`)
	wantConfig(t, dst, "c", `{"key":"hunter2"}`)
	wantConfig(t, dst, "bad", `{"mine":1}`)
	wantStored(t, d, stored)
}

func testDamagedNote(t *testing.T, d Damageable) {
	a := annotator(t, d.Store)
	stored := damage(t, d)
	wantNote(t, a, "bad", store.Note{})
	setNote(t, a, "bad", workNote, badRevision(t, d.Store))
	wantNote(t, a, "bad", workNote)
	wantNotes(t, a, "", map[string]store.Note{"bad": workNote})
	wantStored(t, d, stored)
	put(t, d.Store, "bad", `{"new":1}`, badRevision(t, d.Store))
	wantNote(t, a, "bad", workNote)
	wantAside(t, d, stored)
}

func testDamagedWatch(t *testing.T, d Damageable) {
	ctx := watcher(t, d.Store)
	put(t, d.Store, "bad", `{"key":"hunter2"}`, store.Any)
	changes := d.Store.(store.Watcher).Watch(ctx)
	d.Damage("bad")
	put(t, d.Store, "marker", `{}`, store.Any)
	told := map[string]bool{}
	for c, err := range changes {
		if err != nil {
			t.Fatalf("told so far: %v: %v", told, err)
		}
		if !c.Configured {
			t.Errorf("change %+v, but it is configured", c)
		}
		if told[c.ID] = true; told["bad"] && told["marker"] {
			return
		}
	}
}
