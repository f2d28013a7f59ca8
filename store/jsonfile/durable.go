package jsonfile

import (
	"fmt"
	"io/fs"
	"os"

	"github.com/pluginregistry/pluginregistry/store"
)

// durable knows which files are on the disk, so that what another program has written a moment ago is synced before a save of just that
// is acknowledged, and only then.
type durable struct {
	files    map[string]fs.FileInfo // by name, as they were when they were synced
	doubtful bool                   // the last sync failed: what was written since the one before may be lost, though a later sync succeeds
}

// sync syncs the directory, and with it the files that were staged and put in place. If it fails nobody knows what is on the disk.
func (s *Store) sync(placed ...file) error {
	if err := s.dir.Sync(); err != nil {
		s.durable.doubtful = true
		return fmt.Errorf("%w: syncing the directory: %w", store.ErrUncertain, err)
	}
	s.durable.doubtful = false
	for _, f := range placed {
		delete(s.durable.files, f.name)
		// Renaming has given the file another time of change. If it is still the one that was staged, it is durable.
		if info, err := s.dir.Lstat(f.name); err == nil && os.SameFile(info, f.info) && info.Size() == f.info.Size() && info.ModTime().Equal(f.info.ModTime()) {
			s.durable.files[f.name] = info
		}
	}
	return nil
}

// ensureDurable syncs files that are there, unless it is known that they are on the disk.
func (s *Store) ensureDurable(there ...file) error {
	var unknown []file
	for _, f := range there {
		if info, ok := s.durable.files[f.name]; !ok || !unchanged(info, f.info) {
			unknown = append(unknown, f)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	for _, f := range unknown {
		if err := s.dir.SyncFile(f.name); err != nil {
			s.durable.doubtful = true
			return fmt.Errorf("%w: syncing file %q: %w", store.ErrUncertain, f.name, err)
		}
	}
	if err := s.sync(); err != nil {
		return err
	}
	for _, f := range unknown {
		s.durable.files[f.name] = f.info
	}
	return nil
}
