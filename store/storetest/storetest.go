// Package storetest checks that a store keeps the promises of package store. Every store of this module passes it, and a store of
// your own should:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) store.Store { return openMine(t) })
//	}
package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// Run runs every check that one store alone can pass, against stores that open makes: an empty one each time, which open closes with
// t.Cleanup if it needs closing. What a store can do beyond store.Store is found by type assertion and checked if it is there.
//
// A store that several handles or processes can share should pass RunShared and RunProcesses too, and one whose data can be damaged
// from outside RunDamaged.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	runAll(t, cases, open)
}

// testCase checks one promise of a store, or of what else open makes.
type testCase[T any] struct {
	name    string
	promise string
	run     func(t *testing.T, opened T)
}

func runAll[T any](t *testing.T, cases []testCase[T], open func(t *testing.T) T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Log("the promise: " + c.promise)
					for bullet, names := range bullets {
						if slices.Contains(names, c.name) {
							t.Log("in the doc of store.Store: " + bullet)
						}
					}
				}
			})
			c.run(t, open(t))
		})
	}
}

// bullets are the promises in the doc of store.Store, each with the checks that hold a store to it.
var bullets = map[string][]string{
	"An ID is any text that CheckID accepts; any other is ErrInvalidID. A store may refuse more, as a file name is short.": {
		"hostile ids", "invalid ids"},
	"A config is what Canonical makes of it; what Canonical refuses is ErrInvalidConfig and changes nothing.": {
		"as saved", "refused configs", "large configs"},
	"Deciding on match, as Match does, and writing are one step, for all goroutines and processes that share the store.": {
		"match", "compare and swap", "create once", "compare and swap, shared", "create once, shared", "counting together"},
	"A write that returns nil is durable. A write that returns ErrUncertain or the context's error may have been done. A write that returns any other error has changed nothing.": {
		"killed while saving", "contexts that end in mid-write", "refused configs", "batch all or none"},
	"A revision never comes twice for one ID with another config.": {
		"revisions", "at random"},
	"Config bytes are copied on the way in and on the way out.": {
		"own bytes"},
	"What cannot be read is ErrCorrupt and stays as it is; it concerns its own ID only. Writing over it keeps the old bytes aside.": {
		"damaged", "damaged and saved over", "damaged and deleted", "damaged in a batch"},
	"Errors are *Error and show no part of any config.": {
		"get nothing", "silent errors"},
	"A context that is done before the call has begun its write stops it, and the error is the context's.": {
		"done contexts"},
	"All methods may be called by any number of goroutines at once.": {
		"concurrent use", "cancelled among many", "one bad among many"},
}

var cases = []testCase[store.Store]{
	{"get nothing", "Get of an ID that has no config is ErrNotFound in a *store.Error that names the operation and the ID.", testGetNothing},
	{"put and get", "What was put is what Get returns, with the revision and time that Put returned.", testPutGet},
	{"put replaces", "Put replaces the whole config and gives it another revision.", testReplace},
	{"as saved", "Key order and the digits of numbers come back as they were saved; white space and needless escapes do not.", testAsSaved},
	{"refused configs", "What is no config is ErrInvalidConfig, and what was stored stays.", testRefusedConfigs},
	{"large configs", "A config of some megabytes and of 512 levels is kept.", testLargeConfigs},
	{"delete", "Delete removes the config and the configured flag; deleting nothing is no error.", testDelete},
	{"match", "A write happens only if its match agrees with what is there; else ErrConflict tells the current revision.", testMatch},
	{"at random", "After any sequence of writes there is what those that Match allows have left.", testAtRandom},
	{"unchanged", "Saving exactly what is stored writes nothing and keeps revision and time.", testUnchanged},
	{"revisions", "A revision never comes twice for one ID with another config, not after deleting either.", testRevisions},
	{"configured", "Configured lists the IDs that have a config, sorted by code point.", testConfigured},
	{"configured by prefix", "Configured lists the IDs that begin with prefix, byte for byte; an empty prefix means all.", testConfiguredPrefix},
	{"own bytes", "Config bytes are copied on the way in and on the way out.", testOwnBytes},
	{"hostile ids", "Any text of 1 to 512 bytes of UTF-8 without NUL is an ID of its own, or ErrInvalidID; 200 harmless bytes are never refused.", testHostileIDs},
	{"invalid ids", "An empty, over-long, non-UTF-8 or NUL-bearing ID is ErrInvalidID in every method.", testInvalidIDs},
	{"done contexts", "A context that is done stops the call before it changes anything, and its error is the context's.", testDoneContexts},
	{"silent errors", "No error shows any part of a config.", testSilentErrors},
	{"compare and swap", "Deciding on match and writing are one step: no increment of many goroutines is lost.", testCompareAndSwap},
	{"create once", "Of many goroutines that create the same config with match Absent exactly one succeeds.", testCreateOnce},
	{"concurrent use", "Reads, writes and deletions of many goroutines do not disturb each other, and saves of different IDs all succeed.", testConcurrentUse},
	{"cancelled among many", "A caller whose context ends gets that error or its result; the others get their results.", testCancelledAmongMany},
	{"contexts that end in mid-write", "A write whose context ends meanwhile returns nil only if it is done, else the context's error or ErrUncertain, and then it is done whole or not at all.", testEndsInMidWrite},
	{"one bad among many", "One caller's conflict or bad config fails that caller alone.", testOneBadAmongMany},
	{"batch", "PutAll does all the puts and returns their records in order.", testBatch},
	{"batch all or none", "If one put of a batch cannot be done none is: conflict, bad config, bad ID, or an ID twice.", testBatchAllOrNone},
	{"history", "History lists the states of one ID newest first, the current one and deletions included.", testHistory},
	{"rewrite history", "RewriteHistory replaces earlier configs under their revisions, leaves the current one, and is no change.", testRewriteHistory},
	{"rewriting keeps authors", "RewriteHistory keeps the author of every version, whoever calls it.", testRewriteKeepsAuthors},
	{"author", "Version.Author is what store.WithAuthor said for the write that made the version, deletions and batches included.", testAuthor},
	{"authors at once", "Of many writers at once each has its own author in its versions.", testAuthorsAtOnce},
	{"kept", "Kept lists the IDs that have a history, those of deleted configs among them.", testKept},
	{"scrub", "Scrub changes no config, no revision and no history, and makes no event.", testScrub},
	{"note", "A note is kept beside a config and without one, stays when the config is deleted, and goes when it is set to the zero Note.", testNote},
	{"note revisions", "A revision names config and note together: SetNote makes a new one, with the same config, and saves over the old one conflict.", testNoteRevisions},
	{"note match", "SetNote happens only if its match agrees with the revision; without a config that is Absent.", testNoteMatch},
	{"note unchanged", "Saving the note that is stored writes nothing and makes no event.", testNoteUnchanged},
	{"notes by prefix", "Notes returns the notes that differ from the zero Note, of the IDs that begin with prefix.", testNotes},
	{"note texts", "A title is any text that CheckNote accepts and comes back as it was; any other is ErrInvalidNote and changes nothing.", testNoteTexts},
	{"note history", "SetNote adds a state to the history, with the same config and its own author.", testNoteHistory},
	{"note watch", "Watch tells of notes, those of IDs without a config, too.", testNoteWatch},
	{"notes at once", "Deciding on match and writing are one step for notes and configs together.", testNotesAtOnce},
	{"watch", "Watch yields saves and deletions with ID, revision and flag; nothing between the call and the loop is missed.", testWatch},
	{"watch unchanged", "What changes nothing makes no event.", testWatchUnchanged},
	{"watch coalesces", "A slow reader sees the last state of every ID that changed.", testWatchCoalesces},
	{"watch ends", "Watch ends with its context, whose error it yields last, and when the loop is left.", testWatchEnds},
	{"copy", "store.Copy moves every config to and from the store; run again it changes nothing.", testCopy},
	{"closed", "After Close, where there is one, every method is ErrClosed; closing again is no error; closing in mid-use harms nothing.", testClosed},
}

const id = "llm_gpt"

func get(t *testing.T, s store.Store, id string) store.Record {
	t.Helper()
	rec, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("Get(%q): %v", id, err)
	}
	return rec
}

func put(t *testing.T, s store.Store, id, config string, match store.Revision) store.Record {
	t.Helper()
	rec, err := s.Put(t.Context(), id, json.RawMessage(config), match)
	if err != nil {
		t.Fatalf("Put(%q): %v", id, err)
	}
	return rec
}

func del(t *testing.T, s store.Store, id string, match store.Revision) {
	t.Helper()
	if err := s.Delete(t.Context(), id, match); err != nil {
		t.Fatalf("Delete(%q): %v", id, err)
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error is %v, want %v", what, err, want)
	}
	var e *store.Error
	if err != nil && !errors.As(err, &e) {
		t.Errorf("%s: error is a %T, want a *store.Error", what, err)
	}
}

func wantConflict(t *testing.T, what string, err error, current store.Revision) {
	t.Helper()
	wantErr(t, what, err, store.ErrConflict)
	var c *store.ConflictError
	if !errors.As(err, &c) {
		t.Errorf("%s: error is %v, want a *store.ConflictError", what, err)
	} else if c.Current != current {
		t.Errorf("%s: current revision is said to be %q, it is %q", what, c.Current, current)
	}
}

func wantConfig(t *testing.T, s store.Store, id, config string) {
	t.Helper()
	if got := get(t, s, id); string(got.Config) != config {
		t.Errorf("config of %q is %.200s, want %.200s", id, got.Config, config)
	}
}

func wantNone(t *testing.T, s store.Store, id string) {
	t.Helper()
	if _, err := s.Get(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get(%q): error is %v, want ErrNotFound", id, err)
	}
}

func wantConfigured(t *testing.T, s store.Store, want ...string) {
	t.Helper()
	got, err := s.Configured(t.Context(), "")
	if err != nil {
		t.Fatalf("Configured: %v", err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("Configured is %q, want %q", got, want)
	}
}

func testGetNothing(t *testing.T, s store.Store) {
	_, err := s.Get(t.Context(), id)
	wantErr(t, "Get", err, store.ErrNotFound)
	if e, ok := errors.AsType[*store.Error](err); !ok || e.ID != id || e.Op == "" {
		t.Errorf("error is %#v, want one that tells operation and ID", e)
	}
	wantConfigured(t, s)
}

func testPutGet(t *testing.T, s store.Store) {
	before := time.Now().Add(-5 * time.Second)
	rec := put(t, s, id, `{"model":"gpt-4o","temperature":0.7}`, store.Any)
	got := get(t, s, id)
	if got.ID != id || string(got.Config) != `{"model":"gpt-4o","temperature":0.7}` {
		t.Errorf("got %q with %s", got.ID, got.Config)
	}
	if rec.ID != got.ID || string(rec.Config) != string(got.Config) || rec.Revision != got.Revision || !rec.UpdatedAt.Equal(got.UpdatedAt) {
		t.Errorf("Put returned %v, Get %v", rec, got)
	}
	if got.Revision == store.Absent || got.Revision == store.Any {
		t.Errorf("revision is %q", got.Revision)
	}
	if got.UpdatedAt.Before(before) || got.UpdatedAt.After(time.Now().Add(5*time.Second)) || got.UpdatedAt.Location() != time.UTC {
		t.Errorf("updated at %v, want now in UTC", got.UpdatedAt)
	}
	var decoded struct{ Model string }
	if err := got.Decode(&decoded); err != nil || decoded.Model != "gpt-4o" {
		t.Errorf("Decode: %v, %v", decoded, err)
	}
}

func testReplace(t *testing.T, s store.Store) {
	first := put(t, s, id, `{"a":1,"b":2}`, store.Any)
	second := put(t, s, id, `{"b":3}`, store.Any)
	wantConfig(t, s, id, `{"b":3}`)
	if first.Revision == second.Revision {
		t.Error("the revision is the same after another config was put")
	}
	put(t, s, id, `{}`, store.Any)
	wantConfig(t, s, id, `{}`)
	wantConfigured(t, s, id)
}

func testAsSaved(t *testing.T, s store.Store) {
	for _, c := range [][2]string{
		{`{"z":1,"a":2,"m":3}`, ``},
		{`{"big":9007199254740993,"huge":1` + strings.Repeat("0", 30) + `,"one":1.0,"tiny":1e-400,"e":1E+2,"neg":-0}`, ``},
		{" {\n  \"a\" : [ 1 , 2 ] ,\t\"b\" : { } }\r\n", `{"a":[1,2],"b":{}}`},
		{`{"s":"\u00e9\/\ud83d\ude00\u0001\u001F\b\f\n\r\t\"\\"}`, `{"s":"é/😀\u0001\u001f\b\f\n\r\t\"\\"}`},
		{`{"\u0061":"\u2028<>&"}`, "{\"a\":\"\u2028<>&\"}"},
		{`{"":{"":[[],{},null,true,false,""]},"ünï":"日本語 🎉"}`, ``},
		{"{\"del\":\"\u007f\",\"nonchar\":\"\ufffe\",\"bom\":\"\ufeff\",\"rep\":\"\ufffd\"}", ``},
		{`{"nul":"\u0000"}`, ``},
	} {
		want := c[1]
		if want == "" {
			want = c[0]
		}
		rec := put(t, s, id, c[0], store.Any)
		if string(rec.Config) != want {
			t.Errorf("Put of %s returned %s, want %s", c[0], rec.Config, want)
		}
		wantConfig(t, s, id, want)
	}
}

// badConfigs are texts that are no configs, each with a secret that must not show.
var badConfigs = map[string]string{
	"empty":               ``,
	"space":               "  ",
	"not JSON":            `hunter2`,
	"null":                `null`,
	"array":               `["hunter2"]`,
	"string":              `"hunter2"`,
	"number":              `12`,
	"NaN":                 `{"a":NaN,"b":"hunter2"}`,
	"infinity":            `{"a":-Infinity}`,
	"name twice":          `{"a":"hunter2","a":2}`,
	"name twice, escaped": `{"a":1,"\u0061":"hunter2"}`,
	"name twice, deep":    `{"x":[{"a":1,"b":2,"a":"hunter2"}]}`,
	"half a surrogate":    `{"a":"hunter2\ud800"}`,
	"half, reversed":      `{"a":"\udc00\ud800hunter2"}`,
	"not UTF-8":           "{\"a\":\"hunter2\xff\"}",
	"not UTF-8, name":     "{\"hunter\xc0\xaf\":1}",
	"CESU-8":              "{\"a\":\"\xed\xa0\x80\xed\xb0\x80hunter2\"}",
	"byte order mark":     "\ufeff{}",
	"control character":   "{\"a\":\"hunter2\n\"}",
	"trailing comma":      `{"a":"hunter2",}`,
	"comment":             `{"a":1}//hunter2`,
	"two values":          `{"a":"hunter2"}{}`,
	"cut":                 `{"a":"hunter2`,
	"leading zero":        `{"a":012}`,
	"bare point":          `{"a":1.}`,
	"513 levels":          strings.Repeat(`{"a":`, 512) + `{}` + strings.Repeat(`}`, 512),
	"million levels":      strings.Repeat(`{"a":`, 1_000_000),
	"over 16 MiB":         `{"a":"` + strings.Repeat("x", 16<<20) + `"}`,
}

func testRefusedConfigs(t *testing.T, s store.Store) {
	rec := put(t, s, id, `{"kept":true}`, store.Any)
	for name, bad := range badConfigs {
		got, err := s.Put(t.Context(), id, json.RawMessage(bad), store.Any)
		wantErr(t, name, err, store.ErrInvalidConfig)
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the config", name)
		}
		if got.Config != nil {
			t.Errorf("%s: a config came back", name)
		}
	}
	if now := get(t, s, id); string(now.Config) != `{"kept":true}` || now.Revision != rec.Revision {
		t.Errorf("what was stored is now %s, revision %q, was %q", now.Config, now.Revision, rec.Revision)
	}
}

func testLargeConfigs(t *testing.T, s store.Store) {
	for _, config := range []string{
		`{"a":"` + strings.Repeat("x", 4<<20) + `"}`,
		strings.Repeat(`{"a":`, 511) + `{}` + strings.Repeat(`}`, 511),
	} {
		put(t, s, id, config, store.Any)
		wantConfig(t, s, id, config)
	}
}

func testDelete(t *testing.T, s store.Store) {
	del(t, s, id, store.Any)
	del(t, s, id, store.Absent)
	rec := put(t, s, id, `{"a":1}`, store.Any)
	put(t, s, "other", `{"b":1}`, store.Any)
	del(t, s, id, rec.Revision)
	wantNone(t, s, id)
	wantConfigured(t, s, "other")
	del(t, s, id, store.Any)
	put(t, s, id, `{"a":2}`, store.Absent)
	del(t, s, id, store.Any)
	wantNone(t, s, id)
	wantConfig(t, s, "other", `{"b":1}`)
}

func testMatch(t *testing.T, s store.Store) {
	try := func(match store.Revision) error {
		_, err := s.Put(t.Context(), id, json.RawMessage(`{"n":99}`), match)
		return err
	}
	wantConflict(t, "Put of nothing at a revision", try("7"), store.Absent)
	wantConflict(t, "Delete of nothing at a revision", s.Delete(t.Context(), id, "7"), store.Absent)
	wantNone(t, s, id)

	first := put(t, s, id, `{"n":1}`, store.Absent)
	wantConflict(t, "Put with Absent of what is there", try(store.Absent), first.Revision)
	wantConflict(t, "Put at no revision that ever was", try("no such revision"), first.Revision)
	wantConflict(t, "Delete with Absent of what is there", s.Delete(t.Context(), id, store.Absent), first.Revision)

	second := put(t, s, id, `{"n":2}`, first.Revision)
	wantConflict(t, "Put at the old revision", try(first.Revision), second.Revision)
	wantConflict(t, "Delete at the old revision", s.Delete(t.Context(), id, first.Revision), second.Revision)
	_, err := s.Put(t.Context(), id, json.RawMessage(`{"n":2}`), first.Revision)
	wantConflict(t, "Put of what is stored, at the old revision", err, second.Revision)
	wantConfig(t, s, id, `{"n":2}`)

	del(t, s, id, second.Revision)
	wantConflict(t, "Put at a deleted revision", try(second.Revision), store.Absent)
	wantNone(t, s, id)
	third := put(t, s, id, `{"n":3}`, store.Absent)
	put(t, s, id, `{"n":4}`, third.Revision)
	put(t, s, id, `{"n":5}`, store.Any)
	wantConfig(t, s, id, `{"n":5}`)
}

func testAtRandom(t *testing.T, s store.Store) {
	for seed := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, 0))
		ids := []string{fmt.Sprint("a", seed), fmt.Sprint("b", seed), fmt.Sprint("c", seed)}
		there := map[string]store.Record{}              // what should be there
		given := map[string]map[store.Revision]string{} // the configs that revisions were given to
		for _, id := range ids {
			there[id], given[id] = store.Record{Revision: store.Absent}, map[store.Revision]string{}
		}
		some := func(id string) store.Put {
			config := fmt.Sprintf(`{"%s":%d}`, []string{"n", "word"}[r.IntN(2)], r.IntN(4))
			matches := []store.Revision{store.Any, store.Any, store.Absent, there[id].Revision}
			if old := slices.Sorted(maps.Keys(given[id])); len(old) > 0 {
				matches = append(matches, old[r.IntN(len(old))])
			}
			return store.Put{ID: id, Config: json.RawMessage(config), Match: matches[r.IntN(len(matches))]}
		}
		allowed := func(p store.Put) bool { return store.Match(p.Match, there[p.ID].Revision) == nil }
		check := func(what string, allowed bool, err error) {
			t.Helper()
			if allowed == (err != nil) || err != nil && !errors.Is(err, store.ErrConflict) {
				t.Fatalf("%s: %v; a conflict: %v", what, err, !allowed)
			}
		}
		saved := func(p store.Put, rec store.Record) {
			t.Helper()
			before, known := given[p.ID][rec.Revision]
			switch same := string(there[p.ID].Config) == string(p.Config); {
			case same != (rec.Revision == there[p.ID].Revision):
				t.Fatalf("%v makes %v of %v", p, rec, there[p.ID])
			case known && before != string(p.Config):
				t.Fatalf("%v has a revision again that was another config's", rec)
			}
			given[p.ID][rec.Revision] = string(p.Config)
			there[p.ID] = rec
		}
		b, batches := s.(store.Batcher)
		for range 60 {
			p := some(ids[r.IntN(len(ids))])
			switch n := r.IntN(6); {
			case n == 0:
				err := s.Delete(t.Context(), p.ID, p.Match)
				check(fmt.Sprintf("deletion, %v", p), allowed(p), err)
				if err == nil {
					there[p.ID] = store.Record{Revision: store.Absent}
				}
			case n < 3 && batches:
				var puts []store.Put
				all := true
				for _, id := range ids[r.IntN(len(ids)):] {
					p := some(id)
					puts, all = append(puts, p), all && allowed(p)
				}
				recs, err := b.PutAll(t.Context(), puts)
				check(fmt.Sprint("batch, ", puts), all, err)
				for i, rec := range recs {
					saved(puts[i], rec)
				}
			default:
				rec, err := s.Put(t.Context(), p.ID, p.Config, p.Match)
				check(p.String(), allowed(p), err)
				if err == nil {
					saved(p, rec)
				}
			}
			for _, id := range ids {
				switch got, err := s.Get(t.Context(), id); {
				case there[id].Revision == store.Absent:
					wantErr(t, "Get of what is not there", err, store.ErrNotFound)
				case err != nil || got.Revision != there[id].Revision || string(got.Config) != string(there[id].Config):
					t.Fatalf("there is %v with %s, %v; want %v with %s", got, got.Config, err, there[id], there[id].Config)
				}
			}
		}
	}
}

func testUnchanged(t *testing.T, s store.Store) {
	first := put(t, s, id, `{"a":1,"b":[1.0]}`, store.Any)
	for _, match := range []store.Revision{store.Any, first.Revision} {
		again := put(t, s, id, ` {"a": 1, "\u0062": [1.0]}`, match)
		if again.Revision != first.Revision || !again.UpdatedAt.Equal(first.UpdatedAt) || string(again.Config) != string(first.Config) {
			t.Errorf("saving what is stored gave %v, it was %v", again, first)
		}
	}
	if other := put(t, s, id, `{"a":1,"b":[1]}`, store.Any); other.Revision == first.Revision {
		t.Error("1 for 1.0 is a change, but the revision stayed")
	}
	if h, ok := s.(store.Historian); ok {
		if versions, err := h.History(t.Context(), id, 0); err != nil || len(versions) != 2 {
			t.Errorf("history has %d states, %v; want 2", len(versions), err)
		}
	}
}

func testRevisions(t *testing.T, s store.Store) {
	meaning := map[store.Revision]string{}
	for n := range 12 {
		for _, config := range []string{`{"a":1}`, fmt.Sprintf(`{"n":%d}`, n)} {
			rec := put(t, s, id, config, store.Any)
			if before, ok := meaning[rec.Revision]; ok && before != config {
				t.Fatalf("revision %q was %s and is %s", rec.Revision, before, config)
			}
			meaning[rec.Revision] = config
		}
		if n%3 == 0 {
			del(t, s, id, store.Any)
		}
	}
}

func testConfigured(t *testing.T, s store.Store) {
	for _, id := range []string{"b", "a_b", "B", "a-b", "é", "z", "ab", "10", "9", "😀", "\uffee"} {
		put(t, s, id, `{}`, store.Any)
	}
	del(t, s, "z", store.Any)
	wantConfigured(t, s, "10", "9", "B", "a-b", "a_b", "ab", "b", "é", "\uffee", "😀")
}

func testConfiguredPrefix(t *testing.T, s store.Store) {
	ids := []string{
		"a", "ab", "a_", "a_b", "a%", "a%b", "a*b", "[a]", "_", "%", "?", `a\`, "a'", "A", "AB", "b", "é", "e\u0301", "ê", "İ", "i", "ß", "ss",
		"\U0010FFFF", "\U0010FFFFx", "a\U0010FFFF", "a\U0010FFFFb", "z\uffffz", "llm_openai", "llm_openai@work", "llm_openai2", "llm", "llmx_a",
	}
	for _, id := range ids {
		put(t, s, id, `{}`, store.Any)
	}
	put(t, s, "a_gone", `{}`, store.Any)
	del(t, s, "a_gone", store.Any)
	slices.Sort(ids)
	prefixes := append(slices.Clone(ids), "", "a_gone", "ll", "llm_", "LLM_", "llm_openai@", "e", "x", "a__", "aa", "\x00", "a\x00", "\xff",
		"\U0010FFFF\U0010FFFF", strings.Repeat("a", 600), "'; DROP TABLE plugin_configs; --")
	for _, prefix := range prefixes {
		want := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !strings.HasPrefix(id, prefix) })
		got, err := s.Configured(t.Context(), prefix)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Configured(%.30q) is %q, %v; want %q", prefix, got, err, want)
		}
	}
}

func testOwnBytes(t *testing.T, s store.Store) {
	config := []byte(`{"a":1}`)
	rec, err := s.Put(t.Context(), id, config, store.Any)
	if err != nil {
		t.Fatal(err)
	}
	copy(config, `{"x":9}`)
	wantConfig(t, s, id, `{"a":1}`)
	copy(rec.Config, `{"y":9}`)
	wantConfig(t, s, id, `{"a":1}`)
	got := get(t, s, id)
	_ = append(got.Config[:1], `"z":9}`...)
	wantConfig(t, s, id, `{"a":1}`)
}

var hostileIDs = []string{
	"../x", "..", ".", "/abs", "a/b", `a\b`, "a//b", "../../etc/passwd", "./x", "x/", "..\\x", "~", "-rf", "--help",
	".hidden", ".json", "x.json", "x.json.json", "con", "NUL", "nul.txt", "com1", "LPT9.x", "aux.", "PRN ", "a:b", "C:x", "a*b", "a?b",
	`a"b`, "a<b>c|d", "%", "%2F", "%41", "100%", "trailing.", "trailing ", " leading", "tab\there", "line\nbreak", "\x01", "\x1b[31m", "\x7f", "\u0085",
	"'; DROP TABLE plugin_configs; --", "a'b", "$HOME", "`id`", "ünïcödé", "日本語_プラグイン", "😀_🎉", "مرحبا", "e\u0301", "é", "\u200b", "\u202e_x", "\ufeffbom", "ﬁ", "İ", "ß",
	"name with spaces", "UPPER_x", strings.Repeat("a", 200), strings.Repeat("b", 512), strings.Repeat("é", 256), strings.Repeat("/", 300),
}

func testHostileIDs(t *testing.T, s store.Store) {
	var kept []string
	for n, id := range hostileIDs {
		_, err := s.Put(t.Context(), id, fmt.Appendf(nil, `{"n":%d}`, n), store.Absent)
		switch {
		case err == nil:
			kept = append(kept, id)
		case !errors.Is(err, store.ErrInvalidID):
			t.Errorf("Put(%q): %v", id, err)
		case len(id) <= 80 || id == strings.Repeat("a", 200):
			t.Errorf("Put(%q): %v, but this ID must be accepted", id, err)
		default:
			_, err := s.Get(t.Context(), id)
			wantErr(t, "Get of an ID that Put refused", err, store.ErrInvalidID)
		}
	}
	for n, id := range hostileIDs {
		if slices.Contains(kept, id) {
			wantConfig(t, s, id, fmt.Sprintf(`{"n":%d}`, n))
		}
	}
	slices.Sort(kept)
	wantConfigured(t, s, kept...)
	for _, id := range kept {
		del(t, s, id, store.Any)
	}
	wantConfigured(t, s)
}

func testInvalidIDs(t *testing.T, s store.Store) {
	for _, id := range []string{"", "a\x00b", "\x00", strings.Repeat("x", 513), strings.Repeat("x", 1<<20), "\xff", "a\xed\xa0\x80"} {
		what := fmt.Sprintf("%.20q", id)
		_, err := s.Get(t.Context(), id)
		wantErr(t, "Get of "+what, err, store.ErrInvalidID)
		_, err = s.Put(t.Context(), id, json.RawMessage(`{}`), store.Any)
		wantErr(t, "Put of "+what, err, store.ErrInvalidID)
		if err != nil && len(err.Error()) > 2000 {
			t.Errorf("the error for an ID of %d bytes has %d bytes", len(id), len(err.Error()))
		}
		wantErr(t, "Delete of "+what, s.Delete(t.Context(), id, store.Any), store.ErrInvalidID)
		if h, ok := s.(store.Historian); ok {
			_, err = h.History(t.Context(), id, 0)
			wantErr(t, "History of "+what, err, store.ErrInvalidID)
		}
		if r, ok := s.(store.Resealer); ok {
			wantErr(t, "RewriteHistory of "+what, r.RewriteHistory(t.Context(), id, unchanged), store.ErrInvalidID)
		}
		if a, ok := s.(store.Annotator); ok {
			_, err = a.Note(t.Context(), id)
			wantErr(t, "Note of "+what, err, store.ErrInvalidID)
			_, err = a.SetNote(t.Context(), id, store.Note{Disabled: true}, store.Any)
			wantErr(t, "SetNote of "+what, err, store.ErrInvalidID)
		}
	}
	wantConfigured(t, s)
}

func testDoneContexts(t *testing.T, s store.Store) {
	put(t, s, id, `{"kept":true}`, store.Any)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Hour))
	defer cancel()
	for ctx, want := range map[context.Context]error{cancelled: context.Canceled, late: context.DeadlineExceeded} {
		_, err := s.Get(ctx, id)
		wantErr(t, "Get", err, want)
		_, err = s.Put(ctx, id, json.RawMessage(`{"kept":false}`), store.Any)
		wantErr(t, "Put", err, want)
		wantErr(t, "Delete", s.Delete(ctx, id, store.Any), want)
		_, err = s.Configured(ctx, "")
		wantErr(t, "Configured", err, want)
		if b, ok := s.(store.Batcher); ok {
			_, err = b.PutAll(ctx, []store.Put{{ID: id, Config: json.RawMessage(`{"kept":false}`), Match: store.Any}})
			wantErr(t, "PutAll", err, want)
		}
		if h, ok := s.(store.Historian); ok {
			_, err = h.History(ctx, id, 0)
			wantErr(t, "History", err, want)
		}
		testBeyond(t, s, ctx, want)
	}
	wantConfig(t, s, id, `{"kept":true}`)
}

func testSilentErrors(t *testing.T, s store.Store) {
	rec := put(t, s, id, `{"key":"hunter2"}`, store.Any)
	_, err := s.Put(t.Context(), id, json.RawMessage(`{"key":"hunter2-new"}`), store.Absent)
	errs := []error{err, s.Delete(t.Context(), id, "1000000")}
	var number struct{ Key int }
	errs = append(errs, rec.Decode(&number))
	if b, ok := s.(store.Batcher); ok {
		_, err = b.PutAll(t.Context(), []store.Put{{ID: id, Config: json.RawMessage(`{"key":"hunter2-b"}`), Match: store.Absent}})
		errs = append(errs, err)
	}
	for _, err := range errs {
		if err == nil {
			t.Error("no error where one was due")
		} else if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, "hunter2") {
			t.Error("an error shows the config")
		}
	}
	if text := fmt.Sprintf("%v %+v %#v %s", rec, rec, rec, rec.LogValue()); strings.Contains(text, "hunter2") {
		t.Error("a formatted record shows the config")
	}
}

func testCompareAndSwap(t *testing.T, s store.Store) {
	const goroutines, increments = 8, 25
	put(t, s, id, `{"n":0}`, store.Any)
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range increments {
				if err := increment(t.Context(), s, id); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	wantConfig(t, s, id, fmt.Sprintf(`{"n":%d}`, goroutines*increments))
}

func increment(ctx context.Context, s store.Store, id string) error {
	for {
		rec, err := s.Get(ctx, id)
		if err != nil {
			return err
		}
		var count struct{ N int }
		if err := rec.Decode(&count); err != nil {
			return err
		}
		_, err = s.Put(ctx, id, fmt.Appendf(nil, `{"n":%d}`, count.N+1), rec.Revision)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

func testCreateOnce(t *testing.T, s store.Store) {
	for round := range 5 {
		id := fmt.Sprintf("new_%d", round)
		var wg sync.WaitGroup
		var mu sync.Mutex
		var winners []int
		for n := range 8 {
			wg.Go(func() {
				_, err := s.Put(t.Context(), id, fmt.Appendf(nil, `{"n":%d}`, n), store.Absent)
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
		wantConfig(t, s, id, fmt.Sprintf(`{"n":%d}`, winners[0]))
	}
}

func testConcurrentUse(t *testing.T, s store.Store) {
	const goroutines, rounds = 16, 10
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			mine := fmt.Sprintf("g_%d", g)
			for n := range rounds {
				config := fmt.Sprintf(`{"g":%d,"n":%d}`, g, n)
				if rec, err := s.Put(t.Context(), mine, json.RawMessage(config), store.Any); err != nil || string(rec.Config) != config {
					t.Errorf("Put: %v, %v", rec, err)
				}
				if rec, err := s.Get(t.Context(), mine); err != nil || string(rec.Config) != config {
					t.Errorf("Get: %v, %v", rec, err)
				}
				if _, err := s.Configured(t.Context(), ""); err != nil {
					t.Errorf("Configured: %v", err)
				}
				if _, err := s.Put(t.Context(), "shared", json.RawMessage(config), store.Any); err != nil {
					t.Errorf("Put: %v", err)
				}
				if n%4 == 3 {
					if err := s.Delete(t.Context(), "shared", store.Any); err != nil {
						t.Errorf("Delete: %v", err)
					}
				}
				if _, err := s.Get(t.Context(), "shared"); err != nil && !errors.Is(err, store.ErrNotFound) {
					t.Errorf("Get: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for g := range goroutines {
		wantConfig(t, s, fmt.Sprintf("g_%d", g), fmt.Sprintf(`{"g":%d,"n":%d}`, g, rounds-1))
	}
}

func testCancelledAmongMany(t *testing.T, s store.Store) {
	const callers = 32
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for n := range callers {
		wg.Go(func() {
			mine, id := t.Context(), fmt.Sprintf("c_%02d", n)
			if n%4 == 0 {
				mine = ctx
			}
			for round := range 8 {
				if n == 1 && round == 2 {
					cancel()
				}
				_, err := s.Put(mine, id, fmt.Appendf(nil, `{"n":%d}`, round), store.Any)
				switch {
				case err == nil:
				case n%4 != 0:
					t.Errorf("a caller that nobody cancelled got %v", err)
				case !errors.Is(err, context.Canceled):
					t.Errorf("a cancelled caller got %v", err)
				}
			}
		})
	}
	wg.Wait()
	for n := range callers {
		if n%4 != 0 {
			wantConfig(t, s, fmt.Sprintf("c_%02d", n), `{"n":7}`)
		}
	}
}

// testEndsInMidWrite counts with compare-and-swap, while contexts end whenever it pleases them.
func testEndsInMidWrite(t *testing.T, s store.Store) {
	const callers, rounds = 8, 30
	put(t, s, "count", `{"n":0}`, store.Any)
	var wg sync.WaitGroup
	var done, perhaps atomic.Int64
	for caller := range callers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(caller), 0))
			for round := range rounds {
				ctx, cancel := context.WithCancel(t.Context())
				rec, err := s.Get(t.Context(), "count")
				var count struct{ N int }
				if err == nil {
					err = rec.Decode(&count)
				}
				if err != nil {
					t.Error(err)
				}
				yields := r.IntN(200)
				var ending sync.WaitGroup
				ending.Go(func() {
					for range yields {
						runtime.Gosched()
					}
					cancel()
				})
				next := fmt.Appendf(nil, `{"n":%d}`, count.N+1)
				if b, ok := s.(store.Batcher); ok && round%3 == 0 {
					_, err = b.PutAll(ctx, []store.Put{{ID: "count", Config: next, Match: rec.Revision}})
				} else {
					_, err = s.Put(ctx, "count", next, rec.Revision)
				}
				switch {
				case err == nil:
					done.Add(1)
				case errors.Is(err, context.Canceled), errors.Is(err, store.ErrUncertain):
					perhaps.Add(1)
				case !errors.Is(err, store.ErrConflict):
					t.Errorf("a save whose context ends in the middle: %v", err)
				}
				ending.Wait()
			}
		})
	}
	wg.Wait()
	// What was given up may still be on its way: a save after it, over the revision that is there, settles it.
	for range 100 {
		rec := get(t, s, "count")
		if _, err := s.Put(t.Context(), "count", json.RawMessage(`{"settled":true}`), rec.Revision); err == nil {
			var count struct{ N int64 }
			if err := rec.Decode(&count); err != nil {
				t.Fatal(err)
			}
			if count.N < done.Load() || count.N > done.Load()+perhaps.Load() {
				t.Errorf("%d saves were acknowledged and %d given up; counted to %d", done.Load(), perhaps.Load(), count.N)
			}
			return
		} else if !errors.Is(err, store.ErrConflict) {
			t.Fatal(err)
		}
	}
	t.Error("it never comes to rest")
}

func testOneBadAmongMany(t *testing.T, s store.Store) {
	put(t, s, "taken", `{"n":0}`, store.Any)
	var wg sync.WaitGroup
	for n := range 32 {
		wg.Go(func() {
			for round := range 5 {
				config := fmt.Appendf(nil, `{"n":%d}`, round)
				switch {
				case n%8 == 0:
					_, err := s.Put(t.Context(), "taken", config, store.Absent)
					wantErr(t, "a conflicting caller", err, store.ErrConflict)
				case n%8 == 1:
					_, err := s.Put(t.Context(), fmt.Sprintf("m_%02d", n), json.RawMessage(`{"n":`), store.Any)
					wantErr(t, "a caller with a bad config", err, store.ErrInvalidConfig)
				default:
					if _, err := s.Put(t.Context(), fmt.Sprintf("m_%02d", n), config, store.Any); err != nil {
						t.Errorf("a good caller got %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	wantConfig(t, s, "taken", `{"n":0}`)
	for n := range 32 {
		switch id := fmt.Sprintf("m_%02d", n); n % 8 {
		case 0, 1:
			wantNone(t, s, id)
		default:
			wantConfig(t, s, id, `{"n":4}`)
		}
	}
}

func testBatch(t *testing.T, s store.Store) {
	b, ok := s.(store.Batcher)
	if !ok {
		t.Skipf("%T is no store.Batcher", s)
	}
	if recs, err := b.PutAll(t.Context(), nil); err != nil || len(recs) != 0 {
		t.Errorf("PutAll of nothing: %v, %v", recs, err)
	}
	a := put(t, s, "a", `{"n":0}`, store.Any)
	same := put(t, s, "same", `{"n":0}`, store.Any)
	config := []byte(` {"n": 1}`)
	recs, err := b.PutAll(t.Context(), []store.Put{
		{ID: "z", Config: config, Match: store.Absent},
		{ID: "a", Config: config, Match: a.Revision},
		{ID: "same", Config: json.RawMessage(`{"n":0}`), Match: store.Any},
		{ID: "m/../n", Config: config, Match: store.Any},
	})
	if err != nil {
		t.Fatal(err)
	}
	copy(config, `{"x":9999}`)
	for i, id := range []string{"z", "a", "same", "m/../n"} {
		got := get(t, s, id)
		if rec := recs[i]; rec.ID != id || string(rec.Config) != string(got.Config) || rec.Revision != got.Revision || !rec.UpdatedAt.Equal(got.UpdatedAt) {
			t.Errorf("PutAll returned %v, Get %v", rec, got)
		}
	}
	if recs[2].Revision != same.Revision {
		t.Error("an unchanged config of a batch got another revision")
	}
	wantConfig(t, s, "a", `{"n":1}`)
	wantConfigured(t, s, "a", "m/../n", "same", "z")
}

func testBatchAllOrNone(t *testing.T, s store.Store) {
	b, ok := s.(store.Batcher)
	if !ok {
		t.Skipf("%T is no store.Batcher", s)
	}
	put(t, s, "taken", `{"n":0}`, store.Any)
	good := func(id string) store.Put {
		return store.Put{ID: id, Config: json.RawMessage(`{"n":1}`), Match: store.Any}
	}
	for _, c := range []struct {
		bad  store.Put
		want error
	}{
		{store.Put{ID: "taken", Config: json.RawMessage(`{"n":1}`), Match: store.Absent}, store.ErrConflict},
		{store.Put{ID: "nothing", Config: json.RawMessage(`{"n":1}`), Match: "7"}, store.ErrConflict},
		{store.Put{ID: "bad", Config: json.RawMessage(`[]`), Match: store.Any}, store.ErrInvalidConfig},
		{store.Put{ID: "", Config: json.RawMessage(`{}`), Match: store.Any}, store.ErrInvalidID},
		{store.Put{ID: "first", Config: json.RawMessage(`{}`), Match: store.Any}, store.ErrInvalidID},
	} {
		_, err := b.PutAll(t.Context(), []store.Put{good("first"), c.bad, good("last")})
		wantErr(t, fmt.Sprintf("PutAll with %q", c.bad.ID), err, c.want)
		if e, ok := errors.AsType[*store.Error](err); ok && e.ID != c.bad.ID {
			t.Errorf("the error names %q, want %q", e.ID, c.bad.ID)
		}
		wantConfigured(t, s, "taken")
		wantConfig(t, s, "taken", `{"n":0}`)
	}
}

func testHistory(t *testing.T, s store.Store) {
	h, ok := s.(store.Historian)
	if !ok {
		t.Skipf("%T is no store.Historian", s)
	}
	if versions, err := h.History(t.Context(), id, 0); err != nil || len(versions) != 0 {
		t.Errorf("history of nothing: %v, %v", versions, err)
	}
	first := put(t, s, id, `{"n":1}`, store.Any)
	second := put(t, s, id, `{"n":2}`, store.Any)
	put(t, s, "other", `{"n":9}`, store.Any)
	del(t, s, id, store.Any)
	del(t, s, id, store.Any)
	fourth := put(t, s, id, `{"n":4}`, store.Any)
	versions, err := h.History(t.Context(), id, 0)
	if err != nil || len(versions) != 4 {
		t.Fatalf("history has %d states, %v; want 4", len(versions), err)
	}
	revisions := map[store.Revision]bool{}
	for i, want := range []struct {
		rev    store.Revision
		config string
	}{{fourth.Revision, `{"n":4}`}, {"", ""}, {second.Revision, `{"n":2}`}, {first.Revision, `{"n":1}`}} {
		v := versions[i]
		revisions[v.Revision] = true
		if v.ID != id || string(v.Config) != want.config || v.Configured != (want.config != "") || want.rev != "" && v.Revision != want.rev {
			t.Errorf("state %d is %v, configured %t, config %s; want %+v", i, v, v.Configured, v.Config, want)
		}
		if v.UpdatedAt.IsZero() || v.UpdatedAt.Location() != time.UTC {
			t.Errorf("state %d has the time %v", i, v.UpdatedAt)
		}
	}
	if len(revisions) != 4 {
		t.Errorf("4 states have %d revisions", len(revisions))
	}
	if !versions[0].UpdatedAt.Equal(fourth.UpdatedAt) {
		t.Errorf("the current state has the time %v, the config %v", versions[0].UpdatedAt, fourth.UpdatedAt)
	}
	if versions, err = h.History(t.Context(), id, 2); err != nil || len(versions) != 2 || versions[0].Revision != fourth.Revision {
		t.Errorf("history of 2: %v, %v", versions, err)
	}
}

func configsOf(versions []store.Version) []string {
	var configs []string
	for _, v := range versions {
		configs = append(configs, string(v.Config))
	}
	return configs
}

func testRewriteHistory(t *testing.T, s store.Store) {
	r, ok := s.(store.Resealer)
	if !ok {
		t.Skipf("%T is no store.Resealer", s)
	}
	for n := range 3 {
		put(t, s, id, fmt.Sprintf(`{"n":%d}`, n), store.Any)
	}
	del(t, s, id, store.Any)
	now := put(t, s, id, `{"n":3}`, store.Any)
	before, err := store.History(t.Context(), s, id, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch := store.Watch(ctx, s, time.Millisecond)
	if err := r.RewriteHistory(t.Context(), id, func(v store.Version) (json.RawMessage, error) {
		return bytes.ReplaceAll(v.Config, []byte(`"n"`), []byte(`"m"`)), nil
	}); err != nil {
		t.Fatal(err)
	}
	after, err := store.History(t.Context(), s, id, 0)
	if err != nil || len(after) != len(before) {
		t.Fatalf("history has %d states, had %d, %v", len(after), len(before), err)
	}
	for i, v := range after {
		want := string(before[i].Config)
		if i > 0 {
			want = strings.ReplaceAll(want, `"n"`, `"m"`)
		}
		if string(v.Config) != want || v.Revision != before[i].Revision || !v.UpdatedAt.Equal(before[i].UpdatedAt) || v.Configured != before[i].Configured {
			t.Errorf("state %d is %v with %s, was %v; want %s", i, v, v.Config, before[i], want)
		}
	}
	if rec := get(t, s, id); rec.Revision != now.Revision || string(rec.Config) != `{"n":3}` {
		t.Errorf("the current config changed: %v", rec)
	}
	failure := errors.New("rewriting failed")
	rewritten := 0
	err = r.RewriteHistory(t.Context(), id, func(v store.Version) (json.RawMessage, error) {
		if string(v.Config) == `{"m":1}` {
			return nil, failure
		}
		rewritten++
		return json.RawMessage(`{"k":0}`), nil
	})
	wantErr(t, "a rewrite that fails", err, failure)
	after, err = store.History(t.Context(), s, id, 0)
	if kept := strings.Count(fmt.Sprint(configsOf(after)), `{"k":0}`); err != nil || rewritten != 2 || kept != 2 {
		t.Errorf("beside a state whose rewrite fails %d of 2 were asked about and %d rewritten: %v", rewritten, kept, err)
	}
	put(t, s, "marker", `{}`, store.Any)
	for c, err := range watch {
		if err != nil || c.ID != "marker" {
			t.Errorf("the rewrite made an event: %v, %v", c, err)
		}
		break
	}
}

// patienceVar may name how long a test waits for an event that does not come.
const patienceVar = "STORETEST_PATIENCE"

func patience() time.Duration {
	if d, err := time.ParseDuration(os.Getenv(patienceVar)); err == nil {
		return d
	}
	return 30 * time.Second
}

func watcher(t *testing.T, s store.Store) context.Context {
	if _, ok := s.(store.Watcher); !ok {
		t.Skipf("%T is no store.Watcher", s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience())
	t.Cleanup(cancel)
	return ctx
}

func testWatch(t *testing.T, s store.Store) {
	ctx := watcher(t, s)
	put(t, s, "before", `{}`, store.Any)
	changes := s.(store.Watcher).Watch(ctx)
	want := store.Change{ID: id, Revision: put(t, s, id, `{"n":0}`, store.Any).Revision, Configured: true}
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
		case 1, 2:
			want.Revision = put(t, s, id, fmt.Sprintf(`{"n":%d}`, step), store.Any).Revision
		case 3:
			del(t, s, id, store.Any)
			want = store.Change{ID: id}
		case 4:
			want = store.Change{ID: "before", Revision: put(t, s, "before", `{"n":9}`, store.Any).Revision, Configured: true}
		case 5:
			return
		}
	}
	t.Errorf("the watch ended at step %d", step)
}

func testWatchUnchanged(t *testing.T, s store.Store) {
	ctx := watcher(t, s)
	rec := put(t, s, id, `{"n":1}`, store.Any)
	changes := s.(store.Watcher).Watch(ctx)
	put(t, s, id, `{"n":1}`, store.Any)
	del(t, s, "nothing", store.Any)
	if _, err := s.Put(ctx, id, json.RawMessage(`{"n":2}`), store.Absent); err == nil {
		t.Error("a conflict was due")
	}
	put(t, s, "marker", `{}`, store.Any)
	for c, err := range changes {
		if err != nil || c.ID != "marker" {
			t.Errorf("change %+v, %v; want only that of the marker", c, err)
		}
		break
	}
	if now := get(t, s, id); now.Revision != rec.Revision {
		t.Error("the revision changed")
	}
}

func testWatchCoalesces(t *testing.T, s store.Store) {
	ctx := watcher(t, s)
	changes := s.(store.Watcher).Watch(ctx)
	want := map[string]store.Revision{}
	for n := range 20 {
		for _, id := range []string{"a", "b", "c"} {
			want[id] = put(t, s, id, fmt.Sprintf(`{"n":%d}`, n), store.Any).Revision
		}
	}
	put(t, s, "gone", `{}`, store.Any)
	del(t, s, "gone", store.Any)
	last := put(t, s, "zz_last", `{}`, store.Any).Revision
	got := map[string]store.Revision{}
	events := 0
	for c, err := range changes {
		if err != nil {
			t.Fatal(err)
		}
		events++
		if c.Configured {
			got[c.ID] = c.Revision
		} else {
			delete(got, c.ID)
		}
		if got["a"] == want["a"] && got["b"] == want["b"] && got["c"] == want["c"] && got["zz_last"] == last && got["gone"] == "" {
			break
		}
	}
	if events > 63 {
		t.Errorf("63 writes made %d events", events)
	}
}

func testWatchEnds(t *testing.T, s store.Store) {
	w, ok := s.(store.Watcher)
	if !ok {
		t.Skipf("%T is no store.Watcher", s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changes := w.Watch(ctx)
	put(t, s, id, `{}`, store.Any)
	events := 0
	var last error
	for _, err := range changes {
		events++
		last = err
		cancel()
	}
	if events != 2 || !errors.Is(last, context.Canceled) {
		t.Errorf("%d events, the last %v; want the change, then the context's error", events, last)
	}
	for _, err := range w.Watch(ctx) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a watch under a done context yields %v", err)
		}
	}
}

func testCopy(t *testing.T, s store.Store) {
	other := plainStore{memory.New()}
	for n := range 30 {
		put(t, other, fmt.Sprintf("x_%02d", n), fmt.Sprintf(`{"n":%d,"big":9007199254740993,"é":1.0}`, n), store.Any)
	}
	put(t, s, "x_00", `{"other":true}`, store.Any)
	put(t, s, "mine", `{}`, store.Any)
	for round := range 2 {
		if n, err := store.Copy(t.Context(), s, other); n != 30 || err != nil {
			t.Fatalf("round %d: Copy: %d, %v", round, n, err)
		}
	}
	wantConfig(t, s, "x_00", `{"n":0,"big":9007199254740993,"é":1.0}`)
	back := memory.New()
	if n, err := store.Copy(t.Context(), back, s); n != 31 || err != nil {
		t.Fatalf("Copy: %d, %v", n, err)
	}
	del(t, back, "mine", store.Any)
	want, _ := other.Configured(t.Context(), "")
	wantConfigured(t, back, want...)
	for _, id := range want {
		wantConfig(t, back, id, string(get(t, other, id).Config))
	}
}

func testClosed(t *testing.T, s store.Store) {
	c, ok := s.(io.Closer)
	if !ok {
		t.Skipf("%T has no Close", s)
	}
	put(t, s, id, `{}`, store.Any)
	started := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				_, err := s.Put(t.Context(), fmt.Sprintf("g_%d", g), fmt.Appendf(nil, `{"n":%d}`, n), store.Any)
				if err == nil {
					_, err = s.Get(t.Context(), id)
				}
				if err != nil {
					wantErr(t, "a call while the store is closed", err, store.ErrClosed)
					return
				}
				if n == 2 {
					started <- struct{}{}
				}
			}
		})
	}
	for range 8 {
		<-started
	}
	if err := c.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	wg.Wait()
	if err := c.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
	_, err := s.Get(t.Context(), id)
	wantErr(t, "Get", err, store.ErrClosed)
	_, err = s.Put(t.Context(), id, json.RawMessage(`{}`), store.Any)
	wantErr(t, "Put", err, store.ErrClosed)
	wantErr(t, "Delete", s.Delete(t.Context(), id, store.Any), store.ErrClosed)
	_, err = s.Configured(t.Context(), "")
	wantErr(t, "Configured", err, store.ErrClosed)
	if b, ok := s.(store.Batcher); ok {
		_, err = b.PutAll(t.Context(), []store.Put{{ID: id, Config: json.RawMessage(`{}`), Match: store.Any}})
		wantErr(t, "PutAll", err, store.ErrClosed)
	}
	if h, ok := s.(store.Historian); ok {
		_, err = h.History(t.Context(), id, 0)
		wantErr(t, "History", err, store.ErrClosed)
	}
	if w, ok := s.(store.Watcher); ok {
		var last error
		for _, err := range w.Watch(t.Context()) {
			last = err
		}
		wantErr(t, "Watch", last, store.ErrClosed)
	}
	testBeyond(t, s, t.Context(), store.ErrClosed)
}

func unchanged(v store.Version) (json.RawMessage, error) { return v.Config, nil }

// testBeyond calls the methods of Resealer and Annotator, all of which must return want.
func testBeyond(t *testing.T, s store.Store, ctx context.Context, want error) {
	t.Helper()
	if r, ok := s.(store.Resealer); ok {
		wantErr(t, "RewriteHistory", r.RewriteHistory(ctx, id, unchanged), want)
		_, err := r.Kept(ctx)
		wantErr(t, "Kept", err, want)
		wantErr(t, "Scrub", r.Scrub(ctx), want)
	}
	if a, ok := s.(store.Annotator); ok {
		_, err := a.Note(ctx, id)
		wantErr(t, "Note", err, want)
		_, err = a.Notes(ctx, "")
		wantErr(t, "Notes", err, want)
		_, err = a.SetNote(ctx, id, store.Note{Disabled: true}, store.Any)
		wantErr(t, "SetNote", err, want)
	}
}

// plainStore hides what a store can do beyond store.Store.
type plainStore struct{ store.Store }
