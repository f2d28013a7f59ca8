package jsonfile

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/pluginregistry/pluginregistry/internal/filename"
	"github.com/pluginregistry/pluginregistry/internal/poll"
	"github.com/pluginregistry/pluginregistry/store"
)

// settled is the age from which a file's times tell two writes apart. File systems count them in steps, on FAT of two seconds: until they
// are over, a second write in place may leave times and size as they were.
const settled = 3 * time.Second

// Watch yields the changes made after the call, by whatever program, in the order of the IDs at each look at the directory (see
// WithPollInterval). See store.Watcher. A file that cannot be read as a config is a change like any other: it has a revision, and it
// counts as configured.
//
// The first look reads all files. Each further one lists the directory and reads only what has another name, time, size or identity than
// before, or was changed in the last three seconds. However many watch, one goroutine looks, while there are any. An error of the system
// is yielded once, not at each look, until it is another or none; if it is about one file, the others are told of all the same. Closing
// the store ends the loop with store.ErrClosed.
func (s *Store) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	s.mustBeOpened()
	changes := s.hub.Watch(ctx)
	return func(yield func(store.Change, error) bool) {
		for c, err := range changes {
			change := store.Change{ID: c.ID, Revision: c.Value.revision, Configured: c.Value.revision != store.Absent}
			if err != nil {
				change, err = store.Change{}, &store.Error{Op: "watch", Err: err}
			}
			if !yield(change, err) {
				return
			}
		}
	}
}

func newHub(s *Store, interval time.Duration) *poll.Hub[state] {
	return &poll.Hub[state]{
		Interval: interval,
		Look:     s.look,
		Fatal:    func(err error) bool { return errors.Is(err, store.ErrClosed) },
	}
}

// glance is what a look at the directory saw of the file of one ID.
type glance struct {
	info     fs.FileInfo
	revision store.Revision // without the note
	settled  bool           // only other times, another size or identity mean another content
}

// look returns the states of all IDs. Of a file that the system does not let it read it returns the last one, with the error.
func (s *Store) look(ctx context.Context, last map[string]state) (now map[string]state, err error) {
	err = s.reading(ctx, func() error {
		names, err := s.dir.Names()
		if err != nil {
			return err
		}
		files := make(map[string]string, len(names)) // from ID to file name
		for _, name := range names {
			if id, ok := idOf(name); ok {
				if _, canonical := filename.Decode(name); canonical || files[id] == "" {
					files[id] = name
				}
			}
		}
		notes := s.loadNotes()
		if notes.err != nil { // then they count as they were
			notes.all = map[string]store.Note{}
			for id, was := range last {
				notes.all[id] = was.note
			}
		}
		now = make(map[string]state, len(files))
		seen := make(map[string]glance, len(files))
		failed := notes.err
		for id, note := range notes.all {
			restore(now, id, state{note: note})
		}
		for _, id := range slices.Sorted(maps.Keys(files)) {
			g, err := s.glance(files[id], s.glances[id])
			switch {
			case err != nil:
				failed = cmp.Or(failed, err) // the first, so that the same state gives the same error
				restore(now, id, last[id])
			case g.revision != store.Absent:
				now[id], seen[id] = state{noted(g.revision, notes.all[id]), notes.all[id]}, g
			}
		}
		s.glances = seen
		if last == nil { // nothing is told of the first look
			return failed
		}
		changes := false
		for id := range last {
			changes = changes || now[id] != last[id]
		}
		for _, id := range slices.Sorted(maps.Keys(now)) {
			if now[id] == last[id] {
				continue
			}
			changes = true
			err := s.syncSeen(files[id], seen[id])
			if err == nil && now[id].note != last[id].note {
				err = s.syncSeen(notesName, glance{info: notes.info})
			}
			if err != nil {
				failed = cmp.Or(failed, err)
				delete(seen, id)
				restore(now, id, last[id])
			}
		}
		if changes {
			if err := s.dir.Sync(); err != nil {
				now = nil
				return err
			}
		}
		return failed
	})
	return now, err
}

// restore sets the state of id, unless it is gone.
func restore(states map[string]state, id string, is state) {
	if states[id] = is; is == (state{}) {
		delete(states, id)
	}
}

// syncSeen makes a file that somebody has written durable before it is told of: editors do not.
func (s *Store) syncSeen(name string, g glance) error {
	if g.info == nil || !g.info.Mode().IsRegular() {
		return nil
	}
	if err := s.dir.SyncFile(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// glance looks at one file; the result is zero if it is gone.
func (s *Store) glance(name string, last glance) (glance, error) {
	info, err := s.dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return glance{}, nil
	}
	if err == nil {
		info, _, err = s.follow(name, info)
	}
	if err != nil {
		return glance{}, err
	}
	if last.settled && unchanged(info, last.info) {
		return last, nil
	}
	f, err := s.load(name)
	if err != nil {
		return glance{}, err
	}
	return glance{info: info, revision: f.alone, settled: s.now().Sub(changed(info)) > settled}, nil
}

// unchanged reports whether two looks at a file found the same file, size and times.
func unchanged(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && changed(a).Equal(changed(b))
}

// changed is when the file was last written, renamed or given another time, as far as the system tells.
func changed(info fs.FileInfo) time.Time {
	if t, ok := ctime(info); ok {
		return t
	}
	return info.ModTime()
}
