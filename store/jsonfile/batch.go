package jsonfile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/pluginregistry/pluginregistry/internal/atomicfile"
	"github.com/pluginregistry/pluginregistry/internal/filename"
	"github.com/pluginregistry/pluginregistry/store"
)

// A batch is decided by one rename: that of the journal, which lists the files that are staged and the names they are to have.
// Before it nothing has changed. After it whoever finds the journal, in this process or another, renames what is left to rename and
// removes the journal, before he reads or writes anything. Renaming needs no space and can be done again.

const (
	journalName    = ".pluginregistry-journal"
	journalVersion = 1
)

type journal struct {
	Version int    `json:"version"`
	Moves   []move `json:"moves"`
}

// PutAll does all the puts or none, for every reader and after any crash. See store.Batcher. Errors are those of Put, with the ID of
// the put they are about where there is one.
func (s *Store) PutAll(ctx context.Context, puts []store.Put) ([]store.Record, error) {
	const op = "put all"
	puts, err := store.CheckPuts(op, puts)
	if err != nil {
		return nil, err
	}
	var records []store.Record
	err = s.writing(ctx, func() error {
		records, err = s.putAll(ctx, puts)
		return err
	})
	if err == nil {
		return records, nil
	}
	if e, ok := errors.AsType[*store.Error](err); ok {
		e.Op = op
		return nil, e
	}
	return nil, &store.Error{Op: op, Err: err}
}

func (s *Store) putAll(ctx context.Context, puts []store.Put) (records []store.Record, err error) {
	files := make([]file, len(puts))
	for i, p := range puts {
		f, err := s.find(p.ID)
		if err == nil {
			err = store.Match(p.Match, f.revision)
		}
		if err != nil {
			return nil, &store.Error{ID: p.ID, Err: err}
		}
		files[i] = f
	}
	var moves []move
	var there []file
	decided := false
	defer func() {
		if !decided {
			for _, m := range moves {
				_ = s.dir.Remove(m.Temp)
			}
		}
	}()
	for i, p := range puts {
		f := files[i]
		if f.holds(p.Config) && !s.durable.doubtful {
			there = append(there, f)
		} else {
			w, err := s.stage(f, p.Config)
			if err != nil {
				return nil, &store.Error{ID: p.ID, Err: err}
			}
			moves = append(moves, w.move)
			f = w.file
		}
		records = append(records, f.record(p.ID))
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	if err := s.ensureDurable(there...); err != nil {
		return nil, err
	}
	if len(moves) == 0 {
		s.touch(puts, records, files)
		return records, nil
	}
	if err := s.checkTwins(moves, puts, files); err != nil {
		return nil, err
	}
	data, err := json.Marshal(journal{Version: journalVersion, Moves: moves})
	if err != nil {
		return nil, err
	}
	temp, _, err := s.dir.StageLike(data, nil)
	if err != nil {
		return nil, err
	}
	if err := s.dir.Rename(temp, journalName); err != nil {
		_ = s.dir.Remove(temp)
		return nil, err
	}
	if err := s.sync(); err != nil {
		if undo := s.dir.Remove(journalName); undo != nil {
			decided = true // the journal stands, and so must its files
			return nil, errors.Join(err, undo)
		}
		return nil, err
	}
	decided = true
	// The batch is saved now. If something keeps its files from their names, whoever comes next tries again and says what it is.
	_ = s.finishBatch()
	s.touch(puts, records, files)
	return records, nil
}

// touch tells the watchers what a batch has saved, or found to be saved.
func (s *Store) touch(puts []store.Put, records []store.Record, files []file) {
	for i, p := range puts {
		s.hub.Touch(p.ID, state{records[i].Revision, files[i].note})
	}
}

// checkTwins refuses a batch of two IDs that this file system would give one file. What it does to upper case is tried out, with a
// file that is staged; two compositions of one accented letter are refused untried, as they are hardly ever meant.
func (s *Store) checkTwins(moves []move, puts []store.Put, files []file) error {
	first := make(map[string]int, len(puts))
	for i, f := range files {
		key := filename.Fold(f.name)
		other, ok := first[key]
		if !ok {
			first[key] = i
			continue
		}
		if filename.Compose(f.name) == filename.Compose(files[other].name) || s.foldsCase(moves[0].Temp) {
			return &store.Error{ID: puts[i].ID, Err: fmt.Errorf("%w: %w", store.ErrInvalidID, twinError(puts[other].ID))}
		}
	}
	return nil
}

// foldsCase tells whether the directory takes upper case for lower; name is of a file that is there.
func (s *Store) foldsCase(name string) bool {
	info, err := s.dir.Lstat(name)
	if err != nil {
		return false
	}
	other, err := s.dir.Lstat(strings.ToLower(name))
	return err == nil && os.SameFile(info, other)
}

// settle finishes a batch that some process has left half done. It costs one look for a file that is mostly not there.
func (s *Store) settle(ctx context.Context) error {
	if _, err := s.dir.Lstat(journalName); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return s.locked(ctx, func() error { return nil })
}

// finishBatch does what a journal says, if there is one. The lock must be held.
func (s *Store) finishBatch() error {
	if _, err := s.dir.Lstat(journalName); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	j, err := s.readJournal()
	if err != nil {
		return fmt.Errorf("finishing a batch: %w", err)
	}
	for _, m := range j.Moves {
		_, err := s.dir.Lstat(m.Temp)
		if errors.Is(err, fs.ErrNotExist) {
			continue // moved before
		}
		if err == nil {
			err = s.place(m)
		}
		if err != nil {
			return fmt.Errorf("finishing a batch: %w", err)
		}
	}
	if err := s.sync(); err != nil {
		return fmt.Errorf("finishing a batch: %w", err)
	}
	// If the journal comes back after a power failure, it does nothing: what it lists as staged is gone for good.
	if err := s.dir.Remove(journalName); err != nil {
		return fmt.Errorf("finishing a batch: %w", err)
	}
	return nil
}

func (s *Store) readJournal() (journal, error) {
	f, err := s.dir.Open(journalName)
	if err != nil {
		return journal{}, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return journal{}, errors.Join(err, fmt.Errorf("%w: %s is not a regular file", store.ErrCorrupt, journalName))
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return journal{}, err
	}
	return parseJournal(data)
}

// parseJournal reads a journal and takes only what this package writes: its own temporary files, and names of configs.
func parseJournal(data []byte) (journal, error) {
	bad := func(why string) (journal, error) {
		return journal{}, fmt.Errorf("%w: %s %s; move it away if the batch is not needed", store.ErrCorrupt, journalName, why)
	}
	var j journal
	if json.Unmarshal(data, &j) != nil {
		return bad("is not JSON of the right form")
	}
	if j.Version > journalVersion {
		return journal{}, fmt.Errorf("%w: %s has version %d, this one knows %d", store.ErrTooNew, journalName, j.Version, journalVersion)
	}
	if j.Version < journalVersion {
		return bad("has no version")
	}
	for _, m := range j.Moves {
		if _, ok := idOf(m.Name); !ok || !atomicfile.IsTemp(m.Temp) {
			return bad("names files that are not the store's")
		}
	}
	return j, nil
}
