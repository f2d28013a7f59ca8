package manifest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/pluginregistry/pluginregistry/registry"
)

// MaxFileBytes is the size of the largest manifest that is read.
const MaxFileBytes = 1 << 20

var (
	// ErrNoSchema is the error of ConfigSchema for a plugin whose manifest has no config_schema, or null.
	ErrNoSchema = errors.New("the manifest has no config_schema")

	// ErrUnknownPlugin is [registry.ErrUnknownPlugin]. ConfigSchema returns it for a name that no manifest has.
	ErrUnknownPlugin = registry.ErrUnknownPlugin
)

// FileError tells of one manifest, or one directory of them, why it cannot be used.
type FileError struct {
	Path string // the directory as given to Dirs, joined with the file's name
	Err  error
}

func (e *FileError) Error() string { return fmt.Sprintf("manifest %q: %v", e.Path, e.Err) }

func (e *FileError) Unwrap() error { return e.Err }

// Manager finds plugins by their manifests. Make one with Dirs. It is safe for concurrent use.
type Manager struct {
	dirs []string

	mu    sync.Mutex
	runs  int // how many discoveries have begun
	newer int // the last one begun of those that are done
	found map[string]plugin
}

var _ registry.Manager = (*Manager)(nil)

// plugin is what ConfigSchema needs of a manifest.
type plugin struct {
	path   string
	schema json.RawMessage
}

// Dirs returns a Manager over the files of those directories whose names end in ".json". Nothing is read before Discover.
//
// A directory that does not exist counts as empty. A relative path is relative to the working directory at the time of reading.
// If two directories have a plugin of the same name, the one of the earlier directory counts. Subdirectories are not searched. Symbolic
// links to regular files are followed, wherever they lead.
func Dirs(paths ...string) *Manager {
	return &Manager{dirs: slices.Clone(paths)}
}

// Discover reads all manifests anew and returns their plugins in the order of the directories and, within each, of the file names
// by code point.
//
// A bad manifest does not hide the others: their plugins are returned, and the error joins a *[FileError] for each file that cannot be
// used. Such a file is not readable, not a regular file, larger than [MaxFileBytes], not a JSON object, of an unknown format_version or
// unit, without a name, or has a member of the wrong type. If two manifests of one directory have the same name, the first by file name
// counts. Files that are clearly no manifests of plugins are ignored, as the package comment tells. If ctx ends, Discover returns no
// plugins and an error that wraps the error of ctx.
func (m *Manager) Discover(ctx context.Context) ([]registry.Info, error) {
	m.mu.Lock()
	m.runs++
	run := m.runs
	m.mu.Unlock()

	var infos []registry.Info
	var errs []error
	found := map[string]plugin{}
	for _, dir := range m.dirs {
		files, bad := readDir(ctx, dir)
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("discovering plugin manifests: %w", err)
		}
		errs = append(errs, bad...)
		own := map[string]string{} // file names by plugin name, of this directory
		for _, f := range files {
			name := f.manifest.info.Name
			if first, ok := own[name]; ok {
				errs = append(errs, &FileError{f.path, fmt.Errorf("the plugin %q is that of %q already: rename or remove one", name, first)})
				continue
			}
			own[name] = f.path
			if _, shadowed := found[name]; shadowed {
				continue
			}
			found[name] = plugin{f.path, f.manifest.schema}
			infos = append(infos, f.manifest.info)
		}
	}

	m.mu.Lock()
	if run > m.newer { // else one that began later is done already, and its view is the newer one
		m.newer, m.found = run, found
	}
	m.mu.Unlock()
	return infos, errors.Join(errs...)
}

// ConfigSchema returns the config_schema of the plugin with that name: the bytes as the manifest has them, which must not be
// written to. It answers from what the last Discover read, and calls Discover if there was none.
//
// The errors are ErrNoSchema in a *FileError, and ErrUnknownPlugin, which comes with the errors of Discover if that was called.
func (m *Manager) ConfigSchema(ctx context.Context, name string) (json.RawMessage, error) {
	p, ok, read := m.lookup(name)
	var bad error
	if !read {
		_, bad = m.Discover(ctx)
		if p, ok, read = m.lookup(name); !read {
			return nil, bad // ctx has ended
		}
	}
	switch {
	case !ok && bad != nil:
		return nil, fmt.Errorf("plugin %q in %q: %w; unusable are:\n%w", name, m.dirs, ErrUnknownPlugin, bad)
	case !ok:
		return nil, fmt.Errorf("plugin %q in %q: %w: add one, then discover again", name, m.dirs, ErrUnknownPlugin)
	case p.schema == nil:
		return nil, &FileError{p.path, ErrNoSchema}
	}
	return p.schema, nil
}

func (m *Manager) lookup(name string) (p plugin, ok, read bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok = m.found[name]
	return p, ok, m.found != nil
}

// file is a good manifest and where it is.
type file struct {
	path     string
	manifest manifest
}

// readDir returns the good manifests of a directory, sorted by file name, and a *FileError for each of the others. It stops early
// when ctx ends.
func readDir(ctx context.Context, dir string) ([]file, []error) {
	unusable := func(err error) []error { return []error{&FileError{dir, err}} }
	if dir == "" {
		return nil, unusable(errors.New("the path of the directory is empty"))
	}
	// Asked first, because to open a named pipe as a directory would wait for its writer.
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, unusable(reason(err))
	case !info.IsDir():
		return nil, unusable(errors.New("a directory of manifests is needed here, this is none"))
	}
	var errs []error
	names, err := jsonFiles(dir)
	if err != nil {
		errs = unusable(reason(err))
	}
	var files []file
	for _, name := range names {
		if ctx.Err() != nil {
			break
		}
		path := filepath.Join(dir, name)
		m, err := readFile(path)
		if errors.Is(err, errOther) {
			continue
		}
		if err != nil {
			errs = append(errs, &FileError{path, reason(err)})
			continue
		}
		files = append(files, file{path, m})
	}
	return files, errs
}

// npm's files lie in many directories, and may look like manifests.
var notManifests = []string{"package.json", "package-lock.json"}

// jsonFiles returns the sorted names of the files that may be manifests. It may return names and an error.
func jsonFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".json") && !slices.Contains(notManifests, e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

var errNotRegular = errors.New("a manifest is a regular file, this is none")

func readFile(path string) (manifest, error) {
	// To open a device may do something, and a named pipe would wait for its writer. So look first, do not wait if it was replaced
	// since, and look again.
	info, err := os.Stat(path)
	if err != nil {
		return manifest{}, err
	}
	if !info.Mode().IsRegular() {
		return manifest{}, errNotRegular
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return manifest{}, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return manifest{}, err
	}
	if !info.Mode().IsRegular() {
		return manifest{}, errNotRegular
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return manifest{}, err
	}
	if len(text) > MaxFileBytes {
		return manifest{}, fmt.Errorf("the file is larger than the %d bytes that are allowed", MaxFileBytes)
	}
	return parse(text)
}

// reason is an error without the path, which FileError has.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
