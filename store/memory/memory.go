// Package memory is a store that keeps configs in memory, for tests and for programs that need nothing kept. It is the reference:
// the plainest code that does all that package store asks for, the optional interfaces included. Nothing survives the process.
package memory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pluginregistry/pluginregistry/store"
)

// keptVersions is how many states of a config History knows, the current one included.
const keptVersions = 50

// Store is a store in memory. Its methods may be called by any number of goroutines at once. The zero Store is empty and ready; a nil
// *Store panics.
type Store struct {
	mu      sync.Mutex
	entries map[string]*entry
	count   int           // of writes; the revisions come from it
	changed chan struct{} // closed at the next write
}

// entry is what is stored for one ID.
type entry struct {
	versions []store.Version // newest last; a deleted config ends with its deletion
	note     store.Note
	written  int // the count at the last write
}

// New returns an empty store.
func New() *Store { return &Store{} }

// Get returns the config of id, or store.ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (store.Record, error) {
	if err := begin(ctx, id); err != nil {
		return store.Record{}, &store.Error{Op: "get", ID: id, Err: err}
	}
	defer s.lock()()
	v, ok := s.current(id)
	if !ok {
		return store.Record{}, &store.Error{Op: "get", ID: id, Err: store.ErrNotFound}
	}
	return own(v.Record), nil
}

// Put saves config under id; see store.Store.
func (s *Store) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	recs, err := s.put(ctx, "put", []store.Put{{ID: id, Config: config, Match: match}})
	if err != nil {
		return store.Record{}, err
	}
	return recs[0], nil
}

// PutAll does all the puts or none; see store.Batcher.
func (s *Store) PutAll(ctx context.Context, puts []store.Put) ([]store.Record, error) {
	return s.put(ctx, "put all", puts)
}

func (s *Store) put(ctx context.Context, op string, puts []store.Put) ([]store.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, &store.Error{Op: op, Err: err}
	}
	puts, err := store.CheckPuts(op, puts)
	if err != nil {
		return nil, err
	}
	defer s.lock()()
	for _, p := range puts {
		v, _ := s.current(p.ID)
		if err := store.Match(p.Match, v.Revision); err != nil {
			return nil, &store.Error{Op: op, ID: p.ID, Err: err}
		}
	}
	recs := make([]store.Record, len(puts))
	for i, p := range puts {
		v, ok := s.current(p.ID)
		if !ok || !bytes.Equal(v.Config, p.Config) {
			v = s.append(ctx, p.ID, bytes.Clone(p.Config))
		}
		recs[i] = own(v.Record)
	}
	return recs, nil
}

// Delete removes the config of id; see store.Store.
func (s *Store) Delete(ctx context.Context, id string, match store.Revision) error {
	if err := begin(ctx, id); err != nil {
		return &store.Error{Op: "delete", ID: id, Err: err}
	}
	defer s.lock()()
	v, ok := s.current(id)
	if err := store.Match(match, v.Revision); err != nil {
		return &store.Error{Op: "delete", ID: id, Err: err}
	}
	if ok {
		s.append(ctx, id, nil)
	}
	return nil
}

// Configured returns the IDs that begin with prefix and have a config, sorted.
func (s *Store) Configured(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, &store.Error{Op: "configured", Err: err}
	}
	defer s.lock()()
	var ids []string
	for id := range s.entries {
		if _, ok := s.current(id); ok && strings.HasPrefix(id, prefix) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// History returns the last states of id, 50 at most, newest first; see store.Historian.
func (s *Store) History(ctx context.Context, id string, limit int) ([]store.Version, error) {
	if err := begin(ctx, id); err != nil {
		return nil, &store.Error{Op: "history", ID: id, Err: err}
	}
	defer s.lock()()
	var versions []store.Version
	for _, v := range slices.Backward(s.entry(id).versions) {
		if limit > 0 && len(versions) == limit {
			break
		}
		v.Record = own(v.Record)
		versions = append(versions, v)
	}
	return versions, nil
}

// RewriteHistory rewrites the earlier states of id; see store.Resealer.
func (s *Store) RewriteHistory(ctx context.Context, id string, rewrite func(store.Version) (json.RawMessage, error)) error {
	if err := begin(ctx, id); err != nil {
		return &store.Error{Op: "rewrite history", ID: id, Err: err}
	}
	defer s.lock()()
	versions := s.entry(id).versions
	var failures []error
	for i := range max(0, len(versions)-1) {
		if !versions[i].Configured {
			continue
		}
		v := versions[i]
		v.Record = own(v.Record)
		config, err := rewrite(v)
		if err == nil {
			config, err = store.Canonical(config)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("revision %q: %w", v.Revision, err))
			continue
		}
		versions[i].Config = bytes.Clone(config)
	}
	if failures != nil {
		return &store.Error{Op: "rewrite history", ID: id, Err: errors.Join(failures...)}
	}
	return nil
}

// Kept returns the IDs that have a history.
func (s *Store) Kept(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, &store.Error{Op: "kept", Err: err}
	}
	defer s.lock()()
	var ids []string
	for id, e := range s.entries {
		if len(e.versions) > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// Scrub does nothing: what is overwritten is gone.
func (s *Store) Scrub(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return &store.Error{Op: "scrub", Err: err}
	}
	return nil
}

// Note returns the note of id, or the zero Note.
func (s *Store) Note(ctx context.Context, id string) (store.Note, error) {
	if err := begin(ctx, id); err != nil {
		return store.Note{}, &store.Error{Op: "note", ID: id, Err: err}
	}
	defer s.lock()()
	return s.entry(id).note, nil
}

// Notes returns the notes that differ from the zero Note, of the IDs that begin with prefix.
func (s *Store) Notes(ctx context.Context, prefix string) (map[string]store.Note, error) {
	if err := ctx.Err(); err != nil {
		return nil, &store.Error{Op: "notes", Err: err}
	}
	defer s.lock()()
	notes := map[string]store.Note{}
	for id, e := range s.entries {
		if e.note != (store.Note{}) && strings.HasPrefix(id, prefix) {
			notes[id] = e.note
		}
	}
	return notes, nil
}

// SetNote saves the note of id; see store.Annotator.
func (s *Store) SetNote(ctx context.Context, id string, note store.Note, match store.Revision) (store.Revision, error) {
	err := begin(ctx, id)
	if err == nil {
		err = store.CheckNote(note)
	}
	if err != nil {
		return "", &store.Error{Op: "set note", ID: id, Err: err}
	}
	defer s.lock()()
	v, configured := s.current(id)
	if err := store.Match(match, v.Revision); err != nil {
		return "", &store.Error{Op: "set note", ID: id, Err: err}
	}
	if s.entry(id).note == note {
		return v.Revision, nil
	}
	if configured {
		v = s.append(ctx, id, v.Config)
	} else {
		s.write(id)
	}
	s.entries[id].note = note
	return v.Revision, nil
}

// Watch yields the changes made after the call; see store.Watcher.
func (s *Store) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	unlock := s.lock()
	seen := s.count
	unlock()
	return func(yield func(store.Change, error) bool) {
		for {
			changes, now, next := s.since(seen)
			seen = now
			for _, c := range changes {
				if !yield(c, nil) {
					return
				}
			}
			select {
			case <-next:
			case <-ctx.Done():
				yield(store.Change{}, ctx.Err())
				return
			}
		}
	}
}

// since returns what has changed after the write that was numbered seen, in order, the number of the last write, and what will be
// closed at the next one.
func (s *Store) since(seen int) ([]store.Change, int, <-chan struct{}) {
	defer s.lock()()
	changes := map[int]store.Change{}
	for id, e := range s.entries {
		if e.written > seen {
			change := store.Change{ID: id}
			if len(e.versions) > 0 {
				last := e.versions[len(e.versions)-1]
				change.Revision, change.Configured = last.Revision, last.Configured
			}
			changes[e.written] = change
		}
	}
	var ordered []store.Change
	for _, n := range slices.Sorted(maps.Keys(changes)) {
		ordered = append(ordered, changes[n])
	}
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return ordered, s.count, s.changed
}

// entry returns what is stored for id, to be read only.
func (s *Store) entry(id string) entry {
	if e := s.entries[id]; e != nil {
		return *e
	}
	return entry{}
}

// current returns the config that id has now.
func (s *Store) current(id string) (store.Version, bool) {
	versions := s.entry(id).versions
	if len(versions) == 0 || !versions[len(versions)-1].Configured {
		return store.Version{}, false
	}
	return versions[len(versions)-1], true
}

// append adds a state; a nil config is a deletion.
func (s *Store) append(ctx context.Context, id string, config json.RawMessage) store.Version {
	e := s.write(id)
	v := store.Version{
		Record:     store.Record{ID: id, Config: config, Revision: store.Revision(strconv.Itoa(s.count)), UpdatedAt: time.Now().UTC()},
		Configured: config != nil,
		Author:     store.Author(ctx),
	}
	e.versions = append(e.versions, v)
	if len(e.versions) > keptVersions {
		e.versions = slices.Delete(e.versions, 0, 1)
	}
	return v
}

// write counts a write of id and wakes the watchers.
func (s *Store) write(id string) *entry {
	if s.entries == nil {
		s.entries = map[string]*entry{}
	}
	e := s.entries[id]
	if e == nil {
		e = &entry{}
		s.entries[id] = e
	}
	s.count++
	e.written = s.count
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
	return e
}

// lock locks the store and returns what unlocks it.
func (s *Store) lock() (unlock func()) {
	if s == nil {
		panic("memory: the *Store is nil; New makes one")
	}
	s.mu.Lock()
	return s.mu.Unlock
}

func begin(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return store.CheckID(id)
}

// own returns rec with config bytes of its own.
func own(rec store.Record) store.Record {
	rec.Config = bytes.Clone(rec.Config)
	return rec
}

var (
	_ store.Store     = (*Store)(nil)
	_ store.Batcher   = (*Store)(nil)
	_ store.Historian = (*Store)(nil)
	_ store.Watcher   = (*Store)(nil)
	_ store.Resealer  = (*Store)(nil)
	_ store.Annotator = (*Store)(nil)
)
