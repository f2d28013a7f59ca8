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
	"github.com/pluginregistry/pluginregistry/store"
)

// settled is the age from which a file's modification time tells two writes apart. File systems count it in steps, on FAT of two
// seconds: until they are over, a second write in place may leave time and size as they were.
const settled = 3 * time.Second

// Watch yields the changes made after the call, by whatever program, in the order of the IDs at each look at the directory (see
// WithPollInterval). See store.Watcher. A file that cannot be read is a change like any other: it has a revision, and it counts as
// configured.
//
// The call reads all files once. After that each look lists the directory and reads only what has another name, time, size or
// identity than before, or a time of the last three seconds. No goroutine is started: the looking is done by the loop. An error of
// the system is yielded once, not at each look, until it is another or none. Closing the store ends the loop with store.ErrClosed.
func (s *Store) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	start, startErr := s.look(ctx, nil)
	return func(yield func(store.Change, error) bool) {
		fail := func(err error) bool { return yield(store.Change{}, &store.Error{Op: "watch", Err: err}) }
		seen, told := start, ""
		tick := time.NewTicker(s.poll)
		defer tick.Stop()
		now, err := seen, startErr
		if err == nil {
			now, err = s.look(ctx, seen)
		}
		for {
			switch {
			case ctx.Err() != nil || errors.Is(err, store.ErrClosed):
				fail(cmp.Or(ctx.Err(), err))
				return
			case err == nil:
				told = ""
			case err.Error() != told:
				told = err.Error()
				if !fail(err) {
					return
				}
			}
			for _, c := range store.Changes(revisions(seen), revisions(now)) {
				if ctx.Err() != nil {
					break
				}
				if !yield(c, nil) {
					return
				}
			}
			seen = now
			select {
			case <-tick.C:
			case <-ctx.Done():
			case <-s.closing:
			}
			now, err = s.look(ctx, seen)
		}
	}
}

// glance is what a look at the directory saw of one ID.
type glance struct {
	info     fs.FileInfo
	revision store.Revision
	settled  bool // only another time, size or identity means another content
}

func revisions(seen map[string]glance) map[string]store.Revision {
	m := make(map[string]store.Revision, len(seen))
	for id, g := range seen {
		m[id] = g.revision
	}
	return m
}

// look returns the state of the directory, given the last one. Of what cannot be read it returns the last state, with the error.
func (s *Store) look(ctx context.Context, last map[string]glance) (now map[string]glance, err error) {
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
		now = make(map[string]glance, len(files))
		var failed error
		for _, id := range slices.Sorted(maps.Keys(files)) {
			g, err := s.glance(files[id], last[id])
			if err != nil {
				failed = cmp.Or(failed, err) // the first, so that the same state gives the same error
				g = last[id]
			}
			if g.revision != store.Absent {
				now[id] = g
			}
		}
		return failed
	})
	if now == nil {
		now = last
	}
	return now, err
}

// glance looks at one file; the result is zero if it is gone.
func (s *Store) glance(name string, last glance) (glance, error) {
	info, err := s.dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return glance{}, nil
	}
	if err != nil {
		return glance{}, err
	}
	if last.settled && os.SameFile(info, last.info) && info.Size() == last.info.Size() && info.ModTime().Equal(last.info.ModTime()) {
		return last, nil
	}
	f, err := s.load(name)
	if err != nil {
		return glance{}, err
	}
	return glance{info: info, revision: f.revision, settled: time.Since(info.ModTime()) > settled}, nil
}
