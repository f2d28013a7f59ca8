package jsonfile

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strings"
	"sync"

	"github.com/pluginregistry/pluginregistry/store"
)

// All notes are in one file, which is replaced as a whole. Its name is that of no plugin ID, and no program that reads *.json finds it.
const (
	notesName    = ".pluginregistry-notes"
	notesVersion = 1
	maxNotes     = 64 << 20 // bytes of the file
)

type notesFile struct {
	Version int             `json:"version"`
	Notes   map[string]note `json:"notes"`
}

type note struct {
	Title    string `json:"title,omitempty"`
	Disabled bool   `json:"disabled,omitempty"`
}

// notes is what is in the file.
type notes struct {
	info fs.FileInfo // nil if there is none
	all  map[string]store.Note
	err  error // why it cannot be read
}

type notesCache struct {
	mu   sync.Mutex
	last notes
}

// loadNotes reads the notes, unless the file is as it was. If they cannot be read, no config is concerned.
func (s *Store) loadNotes() notes {
	info, err := s.dir.Lstat(notesName)
	if errors.Is(err, fs.ErrNotExist) {
		return notes{}
	}
	if err != nil {
		return notes{err: err}
	}
	s.notes.mu.Lock()
	defer s.notes.mu.Unlock()
	if last := s.notes.last; last.info == nil || !unchanged(info, last.info) || s.now().Sub(changed(info)) <= settled {
		s.notes.last = s.readNotes(info)
	}
	return s.notes.last
}

func (s *Store) readNotes(info fs.FileInfo) notes {
	if !info.Mode().IsRegular() {
		return notes{info: info, err: fmt.Errorf("%w: %s is %s, not a regular file", store.ErrCorrupt, notesName, kind(info.Mode()))}
	}
	f, err := s.dir.Open(notesName)
	if err != nil {
		return notes{err: err}
	}
	defer f.Close()
	info, err = f.Stat()
	if err != nil {
		return notes{err: err}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxNotes+1))
	if err != nil {
		return notes{err: err}
	}
	all, err := parseNotes(data)
	return notes{info, all, err}
}

func parseNotes(data []byte) (map[string]store.Note, error) {
	bad := func(why string) (map[string]store.Note, error) {
		return nil, fmt.Errorf("%w: %s %s; repair it, or move it away if the notes are not needed", store.ErrCorrupt, notesName, why)
	}
	var f notesFile
	switch {
	case len(data) > maxNotes:
		return bad("is too large")
	case json.Unmarshal(data, &f) != nil:
		return bad("is not JSON of the right form")
	case f.Version > notesVersion:
		return nil, fmt.Errorf("%w: %s has version %d, this one knows %d", store.ErrTooNew, notesName, f.Version, notesVersion)
	case f.Version < notesVersion:
		return bad("has no version")
	}
	all := make(map[string]store.Note, len(f.Notes))
	for id, n := range f.Notes {
		note := store.Note(n)
		if store.CheckID(id) != nil || store.CheckNote(note) != nil {
			return bad("has a plugin ID or title that cannot be one")
		}
		if note != (store.Note{}) {
			all[id] = note
		}
	}
	return all, nil
}

func formatNotes(all map[string]store.Note) ([]byte, error) {
	f := notesFile{Version: notesVersion, Notes: make(map[string]note, len(all))}
	for id, n := range all {
		f.Notes[id] = note(n)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(f); err != nil {
		return nil, err
	}
	if b.Len() > maxNotes {
		return nil, fmt.Errorf("all notes together would have %d bytes, %d are allowed", b.Len(), maxNotes)
	}
	return b.Bytes(), nil
}

// noted is the revision of a config together with its note. Without a note it is that of the file alone.
func noted(rev store.Revision, n store.Note) store.Revision {
	if rev == store.Absent || n == (store.Note{}) {
		return rev
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %t %s", rev, n.Disabled, n.Title))
	return store.Revision(hex.EncodeToString(sum[:16]))
}

// Note returns the note of id, or the zero Note. See store.Annotator. The error is store.ErrCorrupt or store.ErrTooNew if the file of the
// notes cannot be read; the configs can be all the same.
func (s *Store) Note(ctx context.Context, id string) (store.Note, error) {
	if err := store.CheckID(id); err != nil {
		return store.Note{}, &store.Error{Op: "note", ID: id, Err: err}
	}
	all, err := s.allNotes(ctx)
	if err != nil {
		return store.Note{}, &store.Error{Op: "note", ID: id, Err: err}
	}
	return all[id], nil
}

// Notes returns the notes that differ from the zero Note, of all IDs that begin with prefix. Errors are those of Note.
func (s *Store) Notes(ctx context.Context, prefix string) (map[string]store.Note, error) {
	all, err := s.allNotes(ctx)
	if err != nil {
		return nil, &store.Error{Op: "notes", Err: err}
	}
	found := map[string]store.Note{}
	for id, note := range all {
		if strings.HasPrefix(id, prefix) {
			found[id] = note
		}
	}
	return found, nil
}

func (s *Store) allNotes(ctx context.Context) (all map[string]store.Note, err error) {
	err = s.whileOpen(ctx, func() error {
		n := s.loadNotes()
		all = n.all
		return n.err
	})
	return all, err
}

// SetNote saves the note of id. See store.Annotator. Errors are those of Note and Put. A file of notes that cannot be read is not
// replaced, because the notes of other IDs are in it.
func (s *Store) SetNote(ctx context.Context, id string, note store.Note, match store.Revision) (store.Revision, error) {
	rev, err := s.setNote(ctx, id, note, match)
	if err != nil {
		return "", &store.Error{Op: "set note", ID: id, Err: err}
	}
	return rev, nil
}

func (s *Store) setNote(ctx context.Context, id string, note store.Note, match store.Revision) (rev store.Revision, err error) {
	if err := cmp.Or(store.CheckID(id), store.CheckNote(note)); err != nil {
		return "", err
	}
	err = s.writing(ctx, func() error {
		n := s.loadNotes()
		if n.err != nil {
			return n.err
		}
		f, err := s.find(id)
		if err != nil {
			return err
		}
		if err := store.Match(match, f.revision); err != nil {
			return err
		}
		if n.all[id] == note && !s.durable.doubtful {
			rev = f.revision
			s.hub.Touch(id, f.state())
			if n.info == nil {
				return s.sync() // another may have removed it just now
			}
			return s.ensureDurable(file{name: notesName, info: n.info})
		}
		all := maps.Clone(n.all)
		if all == nil {
			all = map[string]store.Note{}
		}
		if all[id] = note; note == (store.Note{}) {
			delete(all, id)
		}
		data, err := formatNotes(all)
		if err != nil {
			return err
		}
		temp, info, err := s.dir.StageLike(data, n.info)
		if err != nil {
			return err
		}
		if err := mounted(notesName, s.dir.Rename(temp, notesName)); err != nil {
			_ = s.dir.Remove(temp)
			return err
		}
		rev = noted(f.alone, note)
		s.hub.Touch(id, state{rev, note})
		return s.sync(file{name: notesName, info: info})
	})
	return rev, err
}
