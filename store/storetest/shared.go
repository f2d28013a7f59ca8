package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/pluginregistry/pluginregistry/store"
)

// RunShared checks what a store promises to several handles on one place in one process, such as two Opens of one directory. open
// prepares an empty place. The function it returns opens another handle on that place at each call; open closes them with t.Cleanup
// if they need closing. RunShared opens at most five handles at once.
func RunShared(t *testing.T, open func(t *testing.T) func() store.Store) {
	runAll(t, sharedCases, open)
}

var sharedCases = []testCase[func() store.Store]{
	{"seen at once, shared", "What one handle has written, every other reads, lists and matches from then on.", testSeenAtOnce},
	{"create once, shared", "Of many handles that create the same config with match Absent exactly one succeeds.", testCreateOnceShared},
	{"compare and swap, shared", "No increment made through any handle is lost.", testCompareAndSwapShared},
	{"batches in opposite order", "Batches that name the same IDs in another order wait for each other, do not deadlock, and none is torn.", testOppositeBatches},
	{"watch another's writes", "A watcher of one handle sees what another writes and deletes.", testWatchShared},
	{"watch overtaken writes", "A watcher learns that another handle has undone its own handle's write, even if nothing seems to have changed.", testWatchOvertaken},
	{"notes of another", "Notes set through one handle are seen, matched and watched through another.", testNotesShared},
	{"close one", "Closing one handle ends its own calls only.", testCloseOne},
}

// handles opens n handles.
func handles(open func() store.Store, n int) []store.Store {
	all := make([]store.Store, n)
	for i := range all {
		all[i] = open()
	}
	return all
}

func testSeenAtOnce(t *testing.T, open func() store.Store) {
	a, b := open(), open()
	rec := put(t, a, id, `{"n":1}`, store.Any)
	if got := get(t, b, id); got.Revision != rec.Revision || string(got.Config) != `{"n":1}` || !got.UpdatedAt.Equal(rec.UpdatedAt) {
		t.Errorf("one handle has put %v, the other gets %v", rec, got)
	}
	wantConfigured(t, b, id)
	second := put(t, b, id, `{"n":2}`, rec.Revision)
	_, err := a.Put(t.Context(), id, json.RawMessage(`{"n":3}`), rec.Revision)
	wantConflict(t, "Put over what the other handle has saved", err, second.Revision)
	wantConfig(t, a, id, `{"n":2}`)
	if _, ok := a.(store.Historian); ok {
		if one, other := fmt.Sprint(history(t, a, id)), fmt.Sprint(history(t, b, id)); one != other {
			t.Errorf("the histories differ: %s and %s", one, other)
		}
	}
	del(t, b, id, second.Revision)
	wantNone(t, a, id)
	wantConfigured(t, a)
	wantNone(t, open(), id)
}

func testCreateOnceShared(t *testing.T, open func() store.Store) {
	all := handles(open, 4)
	for round := range 5 {
		id := fmt.Sprintf("new_%d", round)
		var wg sync.WaitGroup
		var mu sync.Mutex
		var winners []int
		for n := range 8 {
			wg.Go(func() {
				_, err := all[n%len(all)].Put(t.Context(), id, fmt.Appendf(nil, `{"n":%d}`, n), store.Absent)
				if err == nil {
					mu.Lock()
					winners = append(winners, n)
					mu.Unlock()
				} else if !errors.Is(err, store.ErrConflict) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(winners) != 1 {
			t.Fatalf("%d of 8 created the config, want 1", len(winners))
		}
		wantConfig(t, all[round%len(all)], id, fmt.Sprintf(`{"n":%d}`, winners[0]))
	}
}

func testCompareAndSwapShared(t *testing.T, open func() store.Store) {
	const increments = 20
	all := handles(open, 4)
	put(t, all[0], id, `{"n":0}`, store.Any)
	var wg sync.WaitGroup
	for _, s := range all {
		for range 2 {
			wg.Go(func() {
				for range increments {
					if err := increment(t.Context(), s, id); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	for _, s := range all {
		wantConfig(t, s, id, fmt.Sprintf(`{"n":%d}`, 2*len(all)*increments))
	}
}

func testOppositeBatches(t *testing.T, open func() store.Store) {
	all := handles(open, 4)
	if _, ok := all[0].(store.Batcher); !ok {
		t.Skipf("%T is no store.Batcher", all[0])
	}
	const ids, rounds = 6, 15
	ctx, cancel := context.WithTimeout(t.Context(), patience())
	defer cancel()
	for round := range rounds {
		var wg sync.WaitGroup
		for h, s := range all {
			wg.Go(func() {
				puts := make([]store.Put, ids)
				for i := range puts {
					at := (i + h*2) % ids
					if h%2 == 1 {
						at = ids - 1 - i
					}
					puts[i] = store.Put{ID: fmt.Sprint("b_", at), Config: fmt.Appendf(nil, `{"by":%d,"round":%d}`, h, round), Match: store.Any}
				}
				if recs, err := s.(store.Batcher).PutAll(ctx, puts); err != nil || len(recs) != ids {
					t.Errorf("batch %d of handle %d: %d records, %v", round, h, len(recs), err)
				}
				if _, err := s.Put(ctx, fmt.Sprint("own_", h), fmt.Appendf(nil, `{"round":%d}`, round), store.Any); err != nil {
					t.Errorf("save %d of handle %d: %v", round, h, err)
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		last := string(get(t, all[0], "b_0").Config)
		for i := range ids {
			wantConfig(t, all[i%len(all)], fmt.Sprint("b_", i), last)
		}
		for h := range all {
			wantConfig(t, all[0], fmt.Sprint("own_", h), fmt.Sprintf(`{"round":%d}`, round))
		}
	}
}

func testWatchShared(t *testing.T, open func() store.Store) {
	a, b := open(), open()
	ctx := watcher(t, a)
	changes := a.(store.Watcher).Watch(ctx)
	want := store.Change{ID: id, Revision: put(t, b, id, `{"n":0}`, store.Any).Revision, Configured: true}
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
			want.Revision = put(t, b, id, `{"n":1}`, store.Any).Revision
		case 2:
			want.Revision = put(t, a, id, `{"n":2}`, store.Any).Revision // its own
		case 3:
			del(t, b, id, store.Any)
			want = store.Change{ID: id}
		case 4:
			want = store.Change{ID: "batched", Configured: true}
			if batcher, ok := b.(store.Batcher); ok {
				recs, err := batcher.PutAll(t.Context(), []store.Put{{ID: "batched", Config: json.RawMessage(`{}`), Match: store.Any}})
				if err != nil {
					t.Fatal(err)
				}
				want.Revision = recs[0].Revision
			} else {
				want.Revision = put(t, b, "batched", `{}`, store.Any).Revision
			}
		case 5:
			return
		}
	}
	t.Errorf("the watch ended at step %d", step)
}

// testWatchOvertaken: whoever takes its own write for the truth until the watcher says something else must be told.
func testWatchOvertaken(t *testing.T, open func() store.Store) {
	a, b := open(), open()
	ctx := watcher(t, a)
	put(t, a, "there", `{"n":1}`, store.Any)
	put(t, a, "gone", `{}`, store.Any)
	changes := a.(store.Watcher).Watch(ctx)
	put(t, a, "new", `{}`, store.Any)
	del(t, b, "new", store.Any)
	del(t, a, "there", store.Any)
	back := put(t, b, "there", `{"n":1}`, store.Any)
	// A save or deletion that finds its work done by another counts, too: the caller has learned of it.
	put(t, b, "same", `{}`, store.Any)
	put(t, a, "same", `{}`, store.Any)
	del(t, b, "same", store.Any)
	del(t, b, "gone", store.Any)
	del(t, a, "gone", store.Any)
	again := put(t, b, "gone", `{}`, store.Any)
	// And so does a caller who has read or listed it.
	put(t, b, "read", `{}`, store.Any)
	get(t, a, "read")
	del(t, b, "read", store.Any)
	put(t, b, "listed", `{}`, store.Any)
	if _, err := a.Configured(ctx, "li"); err != nil {
		t.Fatal(err)
	}
	del(t, b, "listed", store.Any)
	put(t, b, "zz_marker", `{}`, store.Any)
	want := map[string]store.Change{
		"read": {ID: "read"}, "listed": {ID: "listed"},
		"new": {ID: "new"}, "there": {ID: "there", Revision: back.Revision, Configured: true},
		"same": {ID: "same"}, "gone": {ID: "gone", Revision: again.Revision, Configured: true},
	}
	last := map[string]store.Change{}
	for c, err := range changes {
		if err != nil {
			t.Fatalf("told so far: %v: %v", last, err)
		}
		last[c.ID] = c
		if c.ID == "zz_marker" {
			break
		}
	}
	for id, w := range want {
		c, told := last[id]
		if !told || c.Configured != w.Configured || w.Configured && c.Revision != w.Revision {
			t.Errorf("of %q the last that was told is %+v, told %t; want %+v", id, c, told, w)
		}
	}
}

func testNotesShared(t *testing.T, open func() store.Store) {
	a, b := open(), open()
	first, second := annotator(t, a), annotator(t, b)
	rec := put(t, a, id, `{}`, store.Any)
	var changes func(func(store.Change, error) bool)
	if _, ok := b.(store.Watcher); ok {
		changes = b.(store.Watcher).Watch(watcher(t, b))
	}
	noted := setNote(t, first, id, workNote, rec.Revision)
	wantNote(t, second, id, workNote)
	wantNotes(t, second, "", map[string]store.Note{id: workNote})
	if got := get(t, b, id); got.Revision != noted {
		t.Errorf("through the other handle the revision is %q, want %q", got.Revision, noted)
	}
	_, err := second.SetNote(t.Context(), id, store.Note{}, rec.Revision)
	wantConflict(t, "SetNote over the other handle's note", err, noted)
	if changes != nil {
		for c, err := range changes {
			if want := (store.Change{ID: id, Revision: noted, Configured: true}); c != want || err != nil {
				t.Errorf("change %+v, %v; want %+v", c, err, want)
			}
			break
		}
	}
	setNote(t, second, "bare", workNote, store.Absent)
	wantNotes(t, first, "", map[string]store.Note{id: workNote, "bare": workNote})
}

func testCloseOne(t *testing.T, open func() store.Store) {
	a, b := open(), open()
	c, ok := a.(io.Closer)
	if !ok {
		t.Skipf("%T has no Close", a)
	}
	put(t, a, id, `{"n":1}`, store.Any)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	wantConfig(t, b, id, `{"n":1}`)
	put(t, b, id, `{"n":2}`, store.Any)
	wantConfigured(t, b, id)
	_, err := a.Get(t.Context(), id)
	wantErr(t, "Get of the closed handle", err, store.ErrClosed)
	wantConfig(t, open(), id, `{"n":2}`)
}
