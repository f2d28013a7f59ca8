package storetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"os"
	"os/exec"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
	"github.com/pluginregistry/pluginregistry/store/storetest"
)

// broken are stores that each break one promise, and the check that must find it.
var broken = map[string]struct {
	run   func(t *testing.T)
	check string
}{
	"shares the bytes it is given":         alone("own_bytes", func() store.Store { return &sharing{Store: memory.New(), m: map[string]json.RawMessage{}} }),
	"reads what is gone as empty":          alone("get_nothing", func() store.Store { return emptyForNothing{memory.New()} }),
	"ignores match":                        alone("match", func() store.Store { return ignoringMatch{memory.New()} }),
	"forgets to look in a batch":           alone("at_random", func() store.Store { return &hasty{Store: memory.New()} }),
	"decides before it writes":             alone("compare_and_swap", func() store.Store { return &deciding{Store: memory.New()} }),
	"takes what is no config":              alone("refused_configs", func() store.Store { return lenient{memory.New()} }),
	"rounds numbers":                       alone("as_saved", func() store.Store { return rounding{memory.New()} }),
	"folds case":                           alone("configured", func() store.Store { return folding{memory.New()} }),
	"lists in disorder":                    alone("configured", func() store.Store { return disorderly{memory.New()} }),
	"takes a prefix for a pattern":         alone("configured_by_prefix", func() store.Store { return globbing{memory.New()} }),
	"ends a prefix at the last character":  alone("configured_by_prefix", func() store.Store { return ranging{memory.New()} }),
	"folds case in prefixes":               alone("configured_by_prefix", func() store.Store { return foldingPrefix{memory.New()} }),
	"ignores contexts":                     alone("done_contexts", func() store.Store { return timeless{memory.New()} }),
	"acknowledges what it gave up":         alone("contexts_that_end_in_mid-write", func() store.Store { return optimist{memory.New()} }),
	"has an error of its own for contexts": alone("contexts_that_end_in_mid-write", func() store.Store { return vague{memory.New()} }),
	"shows configs in errors":              alone("silent_errors", func() store.Store { return talkative{memory.New()} }),
	"forgets to compare":                   alone("unchanged", func() store.Store { return &restless{Store: memory.New()} }),
	"does half a batch":                    alone("batch_all_or_none", func() store.Store { return halving{memory.New()} }),
	"lists history oldest first":           alone("history", func() store.Store { return backwards{memory.New()} }),
	"keeps no author":                      alone("author", func() store.Store { return anonymous{memory.New()} }),
	"gives a commit one author":            alone("authors_at_once", func() store.Store { return &oneAuthor{Store: memory.New()} }),
	"signs what it rewrites":               alone("rewriting_keeps_authors", func() store.Store { return &signing{Store: memory.New()} }),
	"forgets the deleted":                  alone("kept", func() store.Store { return forgetting{memory.New()} }),
	"scrubs too much":                      alone("scrub", func() store.Store { return scouring{memory.New()} }),
	"deletes notes with configs":           alone("note", func() store.Store { return tidying{memory.New()} }),
	"revisions without notes":              alone("note_revisions", func() store.Store { return &apart{Store: memory.New()} }),
	"sets notes over anything":             alone("note_match", func() store.Store { return noteAny{memory.New()} }),
	"writes the same note again":           alone("note_unchanged", func() store.Store { return &renoting{Store: memory.New()} }),
	"lists all notes":                      alone("notes_by_prefix", func() store.Store { return allNotes{memory.New()} }),
	"cuts titles":                          alone("note_texts", func() store.Store { return cutting{memory.New()} }),
	"keeps notes out of the history":       alone("note_history", func() store.Store { return &apart{Store: memory.New()} }),
	"tells nobody of bare notes":           alone("note_watch", func() store.Store { return discreet{memory.New()} }),
	"decides on notes before it writes":    alone("notes_at_once", func() store.Store { return decidingNotes{memory.New()} }),
	"begins to watch when it is ranged":    alone("watch", func() store.Store { return late{memory.New()} }),
	"watches for ever":                     alone("watch_ends", func() store.Store { return endless{memory.New()} }),

	"remembers what it read": shared("seen_at_once,_shared", func(m *memory.Store) store.Store { return &remembering{Store: m, read: map[string]store.Record{}} }),
	"creates by handle":      shared("create_once,_shared", func(m *memory.Store) store.Store { return &deciding{Store: m} }),
	"decides by handle":      shared("compare_and_swap,_shared", func(m *memory.Store) store.Store { return &deciding{Store: m} }),
	"locks in the order of a batch": shared("batches_in_opposite_order", func() func(m *memory.Store) store.Store {
		locks := &idLocks{}
		return func(m *memory.Store) store.Store { return grabbing{m, locks} }
	}()),
	"tears batches":               shared("batches_in_opposite_order", func(m *memory.Store) store.Store { return tearing{m} }),
	"watches its own writes":      shared("watch_another's_writes", func(m *memory.Store) store.Store { return &selfish{Store: m, mine: map[string]bool{}} }),
	"compares with the last look": shared("watch_overtaken_writes", func(m *memory.Store) store.Store { return polling{m} }),
	"remembers notes":             shared("notes_of_another", func(m *memory.Store) store.Store { return &ownNotes{Store: m, notes: map[string]store.Note{}} }),
	"closes the place with the handle": shared("close_one", func() func(m *memory.Store) store.Store {
		closed := &closing{}
		return func(m *memory.Store) store.Store { return closable{m, closed} }
	}()),

	"reads what is damaged as empty":   damaged("damaged", func(d *damageable) store.Store { return readingEmpty{d} }),
	"hides what is damaged":            damaged("damaged", func(d *damageable) store.Store { return hiding{d} }),
	"saves over what is damaged":       damaged("damaged_and_saved_over", func(d *damageable) store.Store { d.loses = true; return d }),
	"deletes what is damaged":          damaged("damaged_and_deleted", func(d *damageable) store.Store { d.loses = true; return d }),
	"loses what is damaged in a batch": damaged("damaged_in_a_batch", func(d *damageable) store.Store { return &losing{d} }),
	"reads on after what is damaged":   damaged("damaged_and_copied", func(d *damageable) store.Store { return &stopping{damageable: d} }),
	"mends what it notes":              damaged("damaged_and_noted", func(d *damageable) store.Store { return mending{d} }),
	"does not watch what is damaged":   damaged("damaged_and_watched", func(d *damageable) store.Store { return blind{d} }),
}

type brokenStore = struct {
	run   func(t *testing.T)
	check string
}

// alone is a store that Run must find.
func alone(check string, open func() store.Store) brokenStore {
	return brokenStore{func(t *testing.T) { storetest.Run(t, func(*testing.T) store.Store { return open() }) }, check}
}

// shared is a store that RunShared must find; handle makes a handle of the memory that they share.
func shared(check string, handle func(*memory.Store) store.Store) brokenStore {
	return brokenStore{func(t *testing.T) {
		storetest.RunShared(t, func(*testing.T) func() store.Store {
			m := memory.New()
			return func() store.Store { return handle(m) }
		})
	}, check}
}

// damaged is a store that RunDamaged must find.
func damaged(check string, around func(*damageable) store.Store) brokenStore {
	return brokenStore{func(t *testing.T) {
		storetest.RunDamaged(t, func(*testing.T) storetest.Damageable { d := newDamageable(); return d.as(around(d)) })
	}, check}
}

const brokenVar = "STORETEST_BROKEN"

// TestBroken: each broken store fails the check that is there for it.
func TestBroken(t *testing.T) {
	if b, ok := broken[os.Getenv(brokenVar)]; ok {
		b.run(t)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(broken)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check := broken[name].check
			cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestBroken$/^"+regexp.QuoteMeta(check)+"$", "-test.v", "-test.timeout=60s")
			cmd.Env = append(os.Environ(), brokenVar+"="+name, "STORETEST_PATIENCE=300ms")
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestBroken/"+check) || strings.Contains(string(out), "panic:") {
				t.Errorf("the suite does not find it: %v\n%s", err, out)
			}
		})
	}
}

// TestWhole: the stores that the broken ones are made of pass.
func TestWhole(t *testing.T) {
	t.Run("shared", func(t *testing.T) {
		storetest.RunShared(t, func(*testing.T) func() store.Store {
			m := memory.New()
			return func() store.Store { return m }
		})
	})
	t.Run("damaged", func(t *testing.T) {
		storetest.RunDamaged(t, func(*testing.T) storetest.Damageable { d := newDamageable(); return d.as(d) })
	})
}

type sharing struct {
	store.Store
	m map[string]json.RawMessage
}

func (s *sharing) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	rec, err := s.Store.Put(ctx, id, config, match)
	s.m[id] = config
	return rec, err
}

func (s *sharing) Get(ctx context.Context, id string) (store.Record, error) {
	rec, err := s.Store.Get(ctx, id)
	if shared, ok := s.m[id]; ok {
		rec.Config = shared
	}
	return rec, err
}

type emptyForNothing struct{ store.Store }

func (s emptyForNothing) Get(ctx context.Context, id string) (store.Record, error) {
	rec, err := s.Store.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return store.Record{ID: id, Config: json.RawMessage(`{}`)}, nil
	}
	return rec, err
}

type ignoringMatch struct{ store.Store }

func (s ignoringMatch) Put(ctx context.Context, id string, config json.RawMessage, _ store.Revision) (store.Record, error) {
	return s.Store.Put(ctx, id, config, store.Any)
}

// hasty does not look what is there when a batch comes before.
type hasty struct {
	store.Store
	batch bool
}

func (s *hasty) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	if s.batch {
		match = store.Any
	}
	s.batch = false
	return s.Store.Put(ctx, id, config, match)
}

func (s *hasty) PutAll(ctx context.Context, puts []store.Put) ([]store.Record, error) {
	s.batch = true
	return s.Store.(store.Batcher).PutAll(ctx, puts)
}

type deciding struct{ store.Store }

func (s *deciding) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	rec, err := s.Store.Get(ctx, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.Record{}, err
	}
	if err := store.Match(match, rec.Revision); err != nil {
		return store.Record{}, &store.Error{Op: "put", ID: id, Err: err}
	}
	for range 100 { // let others come between deciding and writing
		runtime.Gosched()
	}
	return s.Store.Put(ctx, id, config, store.Any)
}

type lenient struct{ store.Store }

func (s lenient) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	if !json.Valid(config) {
		return s.Store.Put(ctx, id, config, match)
	}
	var v map[string]any
	if json.Unmarshal(config, &v) != nil {
		return s.Store.Put(ctx, id, config, match)
	}
	config, _ = json.Marshal(v) // the last of two names counts
	return s.Store.Put(ctx, id, config, match)
}

type rounding struct{ store.Store }

func (s rounding) Get(ctx context.Context, id string) (store.Record, error) {
	rec, err := s.Store.Get(ctx, id)
	var v map[string]any
	if err == nil && json.Unmarshal(rec.Config, &v) == nil {
		rec.Config, err = json.Marshal(v)
	}
	return rec, err
}

type folding struct{ store.Store }

func (s folding) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	return s.Store.Put(ctx, strings.ToLower(id), config, match)
}

type disorderly struct{ store.Store }

func (s disorderly) Configured(ctx context.Context, prefix string) ([]string, error) {
	ids, err := s.Store.Configured(ctx, prefix)
	slices.Reverse(ids)
	return ids, err
}

type timeless struct{ store.Store }

func (s timeless) Get(ctx context.Context, id string) (store.Record, error) {
	return s.Store.Get(context.WithoutCancel(ctx), id)
}

type talkative struct{ store.Store }

func (s talkative) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	rec, err := s.Store.Put(ctx, id, config, match)
	if err != nil {
		err = &store.Error{Op: "put " + string(config), ID: id, Err: err}
	}
	return rec, err
}

type restless struct {
	store.Store
	n int
}

func (s *restless) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	rec, err := s.Store.Put(ctx, id, config, match)
	s.n++
	rec.Revision = store.Revision(strings.Repeat("i", s.n))
	return rec, err
}

type halving struct{ *memory.Store }

func (s halving) PutAll(ctx context.Context, puts []store.Put) (recs []store.Record, err error) {
	for _, p := range puts {
		rec, err := s.Put(ctx, p.ID, p.Config, p.Match)
		if err != nil {
			return nil, err
		}
		recs = append(recs, rec)
	}
	return recs, nil
}

type backwards struct{ *memory.Store }

func (s backwards) History(ctx context.Context, id string, limit int) ([]store.Version, error) {
	versions, err := s.Store.History(ctx, id, limit)
	slices.Reverse(versions)
	return versions, err
}

type late struct{ *memory.Store }

func (s late) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	return func(yield func(store.Change, error) bool) { s.Store.Watch(ctx)(yield) }
}

type endless struct{ *memory.Store }

func (s endless) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	changes := s.Store.Watch(ctx)
	return func(yield func(store.Change, error) bool) {
		for c, err := range changes {
			if err == nil && !yield(c, nil) { // and never the end
				return
			}
		}
	}
}

type globbing struct{ store.Store }

func (s globbing) Configured(ctx context.Context, prefix string) ([]string, error) {
	ids, err := s.Store.Configured(ctx, "")
	pattern := strings.NewReplacer("%", "*", "_", "?").Replace(prefix) + "*"
	return slices.DeleteFunc(ids, func(id string) bool { ok, _ := path.Match(pattern, id); return !ok }), err
}

type ranging struct{ store.Store }

func (s ranging) Configured(ctx context.Context, prefix string) ([]string, error) {
	ids, err := s.Store.Configured(ctx, "")
	return slices.DeleteFunc(ids, func(id string) bool { return id < prefix || id >= prefix+"\U0010FFFF" }), err
}

type foldingPrefix struct{ store.Store }

func (s foldingPrefix) Configured(ctx context.Context, prefix string) ([]string, error) {
	ids, err := s.Store.Configured(ctx, "")
	return slices.DeleteFunc(ids, func(id string) bool { return !strings.HasPrefix(strings.ToLower(id), strings.ToLower(prefix)) }), err
}

// optimist takes a context that ended on the way for a save that was done.
type optimist struct{ store.Store }

func (s optimist) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	if ctx.Err() == nil {
		for range 50 {
			runtime.Gosched()
		}
		if ctx.Err() != nil {
			return store.Record{ID: id, Config: config}, nil
		}
	}
	return s.Store.Put(ctx, id, config, match)
}

type vague struct{ store.Store }

func (s vague) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	for range 50 {
		runtime.Gosched()
	}
	rec, err := s.Store.Put(ctx, id, config, match)
	if errors.Is(err, context.Canceled) {
		err = &store.Error{Op: "put", ID: id, Err: errors.New("interrupted")}
	}
	return rec, err
}

type anonymous struct{ *memory.Store }

func (s anonymous) Delete(ctx context.Context, id string, match store.Revision) error {
	return s.Store.Delete(store.WithAuthor(ctx, ""), id, match)
}

// oneAuthor writes what comes together under the name of who came first.
type oneAuthor struct {
	*memory.Store
	mu     sync.Mutex
	saving int
	author string
}

func (s *oneAuthor) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	s.mu.Lock()
	if s.saving++; s.saving == 1 {
		s.author = store.Author(ctx)
	}
	author := s.author
	s.mu.Unlock()
	runtime.Gosched()
	rec, err := s.Store.Put(store.WithAuthor(ctx, author), id, config, match)
	s.mu.Lock()
	s.saving--
	s.mu.Unlock()
	return rec, err
}

type signing struct {
	*memory.Store
	by string
}

func (s *signing) RewriteHistory(ctx context.Context, id string, rewrite func(store.Version) (json.RawMessage, error)) error {
	s.by = store.Author(ctx)
	return s.Store.RewriteHistory(ctx, id, rewrite)
}

func (s *signing) History(ctx context.Context, id string, limit int) ([]store.Version, error) {
	versions, err := s.Store.History(ctx, id, limit)
	for i := range versions {
		if i > 0 && s.by != "" {
			versions[i].Author = s.by
		}
	}
	return versions, err
}

type forgetting struct{ *memory.Store }

func (s forgetting) Kept(ctx context.Context) ([]string, error) { return s.Configured(ctx, "") }

type scouring struct{ *memory.Store }

func (s scouring) Scrub(ctx context.Context) error {
	ids, err := s.Kept(ctx)
	for _, id := range ids {
		err = errors.Join(err, s.RewriteHistory(ctx, id, func(store.Version) (json.RawMessage, error) { return json.RawMessage(`{}`), nil }))
	}
	rec, getErr := s.Get(ctx, ids[0])
	_, putErr := s.Put(ctx, rec.ID, json.RawMessage(`{"scrubbed":true}`), store.Any)
	return errors.Join(err, getErr, putErr)
}

type tidying struct{ *memory.Store }

func (s tidying) Delete(ctx context.Context, id string, match store.Revision) error {
	err := s.Store.Delete(ctx, id, match)
	if err == nil {
		_, err = s.SetNote(ctx, id, store.Note{}, store.Any)
	}
	return err
}

// apart keeps notes beside the configs, without a revision.
type apart struct {
	*memory.Store
	notes map[string]store.Note
}

func (s *apart) Note(ctx context.Context, id string) (store.Note, error) { return s.notes[id], nil }

func (s *apart) SetNote(ctx context.Context, id string, note store.Note, match store.Revision) (store.Revision, error) {
	rec, _ := s.Get(ctx, id)
	if s.notes == nil {
		s.notes = map[string]store.Note{}
	}
	s.notes[id] = note
	return rec.Revision, store.Match(match, rec.Revision)
}

type noteAny struct{ *memory.Store }

func (s noteAny) SetNote(ctx context.Context, id string, note store.Note, _ store.Revision) (store.Revision, error) {
	return s.Store.SetNote(ctx, id, note, store.Any)
}

type renoting struct {
	*memory.Store
	n int
}

func (s *renoting) SetNote(ctx context.Context, id string, note store.Note, match store.Revision) (store.Revision, error) {
	if _, err := s.Store.SetNote(ctx, id, store.Note{Title: strings.Repeat("x", s.n)}, match); err != nil {
		return "", err
	}
	s.n++
	return s.Store.SetNote(ctx, id, note, store.Any)
}

type allNotes struct{ *memory.Store }

func (s allNotes) Notes(ctx context.Context, _ string) (map[string]store.Note, error) {
	return s.Store.Notes(ctx, "")
}

type cutting struct{ *memory.Store }

func (s cutting) SetNote(ctx context.Context, id string, note store.Note, match store.Revision) (store.Revision, error) {
	note.Title = strings.ToValidUTF8(note.Title[:min(len(note.Title), store.MaxTitle)], "?")
	return s.Store.SetNote(ctx, id, note, match)
}

type discreet struct{ *memory.Store }

func (s discreet) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	changes := s.Store.Watch(ctx)
	return func(yield func(store.Change, error) bool) {
		for c, err := range changes {
			if (err != nil || c.Configured) && !yield(c, err) {
				return
			}
		}
	}
}

type decidingNotes struct{ *memory.Store }

func (s decidingNotes) SetNote(ctx context.Context, id string, note store.Note, match store.Revision) (store.Revision, error) {
	rec, err := s.Get(ctx, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	if err := store.Match(match, rec.Revision); err != nil {
		return "", &store.Error{Op: "set note", ID: id, Err: err}
	}
	for range 100 {
		runtime.Gosched()
	}
	return s.Store.SetNote(ctx, id, note, store.Any)
}

type remembering struct {
	store.Store
	read map[string]store.Record
}

func (s *remembering) Get(ctx context.Context, id string) (store.Record, error) {
	if rec, ok := s.read[id]; ok {
		return rec, nil
	}
	rec, err := s.Store.Get(ctx, id)
	if err == nil {
		s.read[id] = rec
	}
	return rec, err
}

// idLocks are locks of IDs, which wait no longer than the context.
type idLocks struct {
	mu    sync.Mutex
	locks map[string]chan struct{}
}

func (l *idLocks) lock(ctx context.Context, id string) (unlock func(), err error) {
	l.mu.Lock()
	if l.locks == nil {
		l.locks = map[string]chan struct{}{}
	}
	c := l.locks[id]
	if c == nil {
		c = make(chan struct{}, 1)
		l.locks[id] = c
	}
	l.mu.Unlock()
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type grabbing struct {
	*memory.Store
	locks *idLocks
}

func (s grabbing) PutAll(ctx context.Context, puts []store.Put) ([]store.Record, error) {
	for _, p := range puts {
		unlock, err := s.locks.lock(ctx, p.ID)
		if err != nil {
			return nil, err
		}
		defer unlock()
		runtime.Gosched()
	}
	return s.Store.PutAll(ctx, puts)
}

type tearing struct{ *memory.Store }

func (s tearing) PutAll(ctx context.Context, puts []store.Put) (recs []store.Record, err error) {
	for _, p := range puts {
		rec, err := s.Put(ctx, p.ID, p.Config, p.Match)
		if err != nil {
			return nil, err
		}
		recs = append(recs, rec)
		time.Sleep(time.Microsecond) // let others come between
	}
	return recs, nil
}

type selfish struct {
	*memory.Store
	mine map[string]bool
}

func (s *selfish) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	s.mine[id] = true
	return s.Store.Put(ctx, id, config, match)
}

func (s *selfish) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	changes := s.Store.Watch(ctx)
	return func(yield func(store.Change, error) bool) {
		for c, err := range changes {
			if (err != nil || s.mine[c.ID]) && !yield(c, err) {
				return
			}
		}
	}
}

// polling looks now and then, and compares with the look before.
type polling struct{ *memory.Store }

func (s polling) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	return store.Watch(ctx, plain{s.Store}, time.Millisecond)
}

type plain struct{ store.Store }

type ownNotes struct {
	*memory.Store
	notes map[string]store.Note
}

func (s *ownNotes) Note(ctx context.Context, id string) (store.Note, error) { return s.notes[id], nil }

func (s *ownNotes) SetNote(ctx context.Context, id string, note store.Note, match store.Revision) (store.Revision, error) {
	s.notes[id] = note
	return s.Store.SetNote(ctx, id, note, match)
}

type closing struct{ closed bool }

type closable struct {
	store.Store
	*closing
}

func (s closable) Close() error { s.closed = true; return nil }

func (s closable) Get(ctx context.Context, id string) (store.Record, error) {
	if s.closed {
		return store.Record{}, &store.Error{Op: "get", ID: id, Err: store.ErrClosed}
	}
	return s.Store.Get(ctx, id)
}

// damageable is a memory store whose configs can be damaged. What is damaged has its own revision, and goes aside when it is replaced.
type damageable struct {
	*memory.Store
	mu      sync.Mutex
	damaged map[string]string
	aside   map[string][]string
	loses   bool // keeps nothing aside: broken
}

func newDamageable() *damageable {
	return &damageable{Store: memory.New(), damaged: map[string]string{}, aside: map[string][]string{}}
}

func (s *damageable) as(open store.Store) storetest.Damageable {
	damages := 0
	return storetest.Damageable{
		Store: open,
		Damage: func(id string) {
			damages++
			s.mu.Lock()
			defer s.mu.Unlock()
			s.damaged[id] = `{"key":"hunter2` + strings.Repeat("x", damages)
			if _, err := s.Store.Put(context.Background(), id, json.RawMessage(`{"damaged":`+strings.Repeat("1", damages)+`}`), store.Any); err != nil {
				panic(err)
			}
		},
		Stored: func(id string) string {
			s.mu.Lock()
			defer s.mu.Unlock()
			if text, ok := s.damaged[id]; ok {
				return text
			}
			rec, _ := s.Store.Get(context.Background(), id)
			return string(rec.Config)
		},
		Aside: func(id string) []string {
			s.mu.Lock()
			defer s.mu.Unlock()
			return slices.Clone(s.aside[id])
		},
	}
}

func (s *damageable) Get(ctx context.Context, id string) (store.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.damaged[id]; ok {
		return store.Record{}, &store.Error{Op: "get", ID: id, Err: store.ErrCorrupt}
	}
	return s.Store.Get(ctx, id)
}

// keep keeps aside what was damaged of an ID that was written. The caller holds s.mu.
func (s *damageable) keep(id string) {
	if text, ok := s.damaged[id]; ok && !s.loses {
		s.aside[id] = append(s.aside[id], text)
	}
	delete(s.damaged, id)
}

func (s *damageable) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec, err := s.Store.Put(ctx, id, config, match)
	if err == nil {
		s.keep(id)
	}
	return rec, err
}

func (s *damageable) PutAll(ctx context.Context, puts []store.Put) ([]store.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	recs, err := s.Store.PutAll(ctx, puts)
	if err == nil {
		for _, p := range puts {
			s.keep(p.ID)
		}
	}
	return recs, err
}

func (s *damageable) Delete(ctx context.Context, id string, match store.Revision) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.Store.Delete(ctx, id, match)
	if err == nil {
		s.keep(id)
	}
	return err
}

type readingEmpty struct{ *damageable }

func (s readingEmpty) Get(ctx context.Context, id string) (store.Record, error) {
	rec, err := s.damageable.Get(ctx, id)
	if errors.Is(err, store.ErrCorrupt) {
		return store.Record{ID: id, Config: json.RawMessage(`{}`)}, nil
	}
	return rec, err
}

type hiding struct{ *damageable }

func (s hiding) Configured(ctx context.Context, prefix string) ([]string, error) {
	ids, err := s.Store.Configured(ctx, prefix)
	return slices.DeleteFunc(ids, func(id string) bool { _, bad := s.damaged[id]; return bad }), err
}

type losing struct{ *damageable }

func (s *losing) PutAll(ctx context.Context, puts []store.Put) ([]store.Record, error) {
	s.loses = true
	defer func() { s.loses = false }()
	return s.damageable.PutAll(ctx, puts)
}

// stopping reads nothing more once it has found something that it cannot read.
type stopping struct {
	*damageable
	stopped bool
}

func (s *stopping) Get(ctx context.Context, id string) (store.Record, error) {
	if s.stopped {
		return store.Record{}, &store.Error{Op: "get", ID: id, Err: store.ErrCorrupt}
	}
	rec, err := s.damageable.Get(ctx, id)
	s.stopped = errors.Is(err, store.ErrCorrupt)
	return rec, err
}

type mending struct{ *damageable }

func (s mending) SetNote(ctx context.Context, id string, note store.Note, match store.Revision) (store.Revision, error) {
	rev, err := s.Store.SetNote(ctx, id, note, match)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.damaged, id)
	return rev, err
}

// blind tells nothing of what was damaged.
type blind struct{ *damageable }

func (s blind) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	changes := s.Store.Watch(ctx)
	return func(yield func(store.Change, error) bool) {
		for c, err := range changes {
			s.mu.Lock()
			_, bad := s.damaged[c.ID]
			s.mu.Unlock()
			if !bad && !yield(c, err) {
				return
			}
		}
	}
}
