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

// Store is a store in memory. Its methods may be called by any number of goroutines at once. The zero Store is empty and ready.
type Store struct {
	mu      sync.Mutex
	configs map[string][]store.Version // newest last; a deleted config ends with its deletion
	count   int                        // of writes; the revisions come from it
	changed chan struct{}              // closed at the next write
}

// New returns an empty store.
func New() *Store { return &Store{} }

// Get returns the config of id, or store.ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (store.Record, error) {
	if err := begin(ctx, id); err != nil {
		return store.Record{}, &store.Error{Op: "get", ID: id, Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
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
	s.mu.Lock()
	defer s.mu.Unlock()
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
	s.mu.Lock()
	defer s.mu.Unlock()
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
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id := range s.configs {
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
	s.mu.Lock()
	defer s.mu.Unlock()
	var versions []store.Version
	for _, v := range slices.Backward(s.configs[id]) {
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
	s.mu.Lock()
	defer s.mu.Unlock()
	versions := s.configs[id]
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
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.configs)), nil
}

// Scrub does nothing: what is overwritten is gone.
func (s *Store) Scrub(ctx context.Context) error { return ctx.Err() }

// Watch yields the changes made after the call; see store.Watcher.
func (s *Store) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	s.mu.Lock()
	seen := s.count
	s.mu.Unlock()
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
	s.mu.Lock()
	defer s.mu.Unlock()
	changes := map[int]store.Change{}
	for id, versions := range s.configs {
		last := versions[len(versions)-1]
		if n := number(last.Revision); n > seen {
			changes[n] = store.Change{ID: id, Revision: last.Revision, Configured: last.Configured}
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

func number(rev store.Revision) int {
	n, _ := strconv.Atoi(string(rev))
	return n
}

// current returns the config that id has now.
func (s *Store) current(id string) (store.Version, bool) {
	versions := s.configs[id]
	if len(versions) == 0 || !versions[len(versions)-1].Configured {
		return store.Version{}, false
	}
	return versions[len(versions)-1], true
}

// append adds a state; a nil config is a deletion.
func (s *Store) append(ctx context.Context, id string, config json.RawMessage) store.Version {
	s.count++
	v := store.Version{Record: store.Record{ID: id, Config: config, UpdatedAt: time.Now().UTC()}, Configured: config != nil, Author: store.Author(ctx)}
	v.Revision = store.Revision(strconv.Itoa(s.count))
	if s.configs == nil {
		s.configs = map[string][]store.Version{}
	}
	versions := append(s.configs[id], v)
	if len(versions) > keptVersions {
		versions = slices.Delete(versions, 0, 1)
	}
	s.configs[id] = versions
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
	return v
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
)
