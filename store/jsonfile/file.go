package jsonfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/pluginregistry/pluginregistry/internal/filename"
	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/store"
)

// legacyNames: on Windows the names that the Python original wrote elsewhere do not exist, and some mean other things.
const legacyNames = runtime.GOOS != "windows"

// file is what the directory has for one ID.
type file struct {
	name     string         // of the file that has the config, or would have it
	shadowed string         // of a second file, under the original's name, that does not count; mostly ""
	alone    store.Revision // of the file without its note; Absent if there is no file
	revision store.Revision // with its note
	note     store.Note
	config   json.RawMessage // canonical; nil if there is none or it cannot be read
	updated  time.Time
	bad      error       // why it cannot be read
	info     fs.FileInfo // nil if there is no file; of a link it is what it leads to
	link     bool        // it is a symbolic link to a file, which is read but not replaced
}

// state is what watchers know of an ID.
type state struct {
	revision store.Revision // Absent if there is no config
	note     store.Note
}

func (f file) state() state { return state{f.revision, f.note} }

// withNote is f with its note.
func (f file) withNote(n store.Note) file {
	f.note, f.revision = n, noted(f.alone, n)
	return f
}

// find looks up the file and the note of id. Notes that cannot be read count as none: they concern no config.
func (s *Store) find(id string) (file, error) {
	f, err := s.findFile(id)
	if err != nil {
		return file{}, err
	}
	return f.withNote(s.loadNotes().all[id]), nil
}

// findFile looks up the file of id: under its own name, else under the one that the Python original gave it.
func (s *Store) findFile(id string) (file, error) {
	name, err := filename.Encode(id)
	if err != nil {
		return file{}, fmt.Errorf("%w: %w", store.ErrInvalidID, err)
	}
	f, err := s.load(name)
	if err != nil || !legacyNames {
		return f, err
	}
	legacy, ok := filename.Legacy(id)
	if !ok {
		return f, nil
	}
	if f.alone == store.Absent {
		if l, err := s.load(legacy); err != nil || l.alone != store.Absent {
			return l, err
		}
		return f, nil
	}
	if _, err := s.dir.Lstat(legacy); err == nil {
		f.shadowed = legacy
	}
	return f, nil
}

// load reads the file of that name. An error means that it is not known what is there; what is there but no config is no error.
func (s *Store) load(name string) (file, error) {
	info, err := s.dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return file{name: name}, nil
	}
	if err != nil {
		return file{}, err
	}
	if err := s.checkName(name, info); err != nil {
		return file{}, err
	}
	info, link, err := s.follow(name, info)
	if err != nil {
		return file{}, err
	}
	open := s.dir.Open
	if link {
		open = s.dir.Follow
	}
	if !info.Mode().IsRegular() {
		return irregular(name, info), nil
	}
	f, err := open(name)
	if errors.Is(err, fs.ErrNotExist) { // deleted just now
		return file{name: name}, nil
	}
	if err != nil {
		return file{}, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return file{}, err
	}
	if !info.Mode().IsRegular() { // exchanged just now
		return irregular(name, info), nil
	}
	there, err := read(name, info, f)
	there.link = link
	return there, err
}

// follow returns what a symbolic link leads to if that is a regular file, wherever it is; else info itself.
func (s *Store) follow(name string, info fs.FileInfo) (target fs.FileInfo, link bool, err error) {
	if info.Mode().Type() != fs.ModeSymlink {
		return info, false, nil
	}
	target, err = s.dir.Stat(name)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, false, err
	case err == nil && target.Mode().IsRegular():
		return target, true, nil
	}
	return info, false, nil
}

// irregular is a directory, a symbolic link that leads to no file, a FIFO… Its revision tells its kind, as it has no content of its own to overwrite.
func irregular(name string, info fs.FileInfo) file {
	k := kind(info.Mode())
	return file{
		name:    name,
		alone:   revision([]byte("not a regular file: " + k)),
		updated: info.ModTime().UTC(),
		bad:     fmt.Errorf("it is %s, not a regular file", k),
		info:    info,
	}
}

func kind(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link that leads to no file"
	case fs.ModeNamedPipe:
		return "a FIFO"
	case fs.ModeSocket:
		return "a socket"
	}
	return "a device"
}

func read(name string, info fs.FileInfo, r io.Reader) (file, error) {
	var buf bytes.Buffer
	buf.Grow(int(min(info.Size(), jsontext.MaxBytes)) + bytes.MinRead)
	if _, err := buf.ReadFrom(io.LimitReader(r, jsontext.MaxBytes+1)); err != nil {
		return file{}, err
	}
	f := file{name: name, updated: info.ModTime().UTC(), info: info}
	if buf.Len() > jsontext.MaxBytes {
		// Its end is not read. Size and time stand for it.
		fmt.Fprintf(&buf, "%d %d", info.Size(), info.ModTime().UnixNano())
		f.alone = revision(buf.Bytes())
		f.bad = fmt.Errorf("it has more than the %d bytes that are allowed", jsontext.MaxBytes)
		return f, nil
	}
	f.alone = revision(buf.Bytes())
	f.config, f.bad = jsontext.Canonical(buf.Bytes())
	return f, nil
}

// revision is the revision of a file with these bytes.
func revision(b []byte) store.Revision {
	sum := sha256.Sum256(b)
	return store.Revision(hex.EncodeToString(sum[:16]))
}

// checkName makes sure that the file found under name has that name. Where a file system takes other names for it, one of them, a
// twin, finds the same file; then the list of the directory tells which name it has. Elsewhere this is one look for a file
// that is not there.
func (s *Store) checkName(name string, info fs.FileInfo) error {
	for _, twin := range filename.Twins(name) {
		if other, err := s.dir.Lstat(twin); err != nil || !os.SameFile(info, other) {
			continue
		}
		names, err := s.dir.Names()
		if err != nil {
			return err
		}
		if slices.Contains(names, name) {
			return nil
		}
		var owner string
		for _, n := range names {
			if filename.Fold(n) != filename.Fold(name) {
				continue
			}
			if other, err := s.dir.Lstat(n); err == nil && os.SameFile(info, other) {
				owner = n
			}
		}
		if id, ok := idOf(owner); ok {
			return fmt.Errorf("%w: %w", store.ErrInvalidID, twinError(id))
		}
		return nil // a link, or gone just now
	}
	return nil
}

func twinError(other string) error {
	return fmt.Errorf("the file system of the store does not tell it from %q; use IDs that differ in more than upper and lower case "+
		"or the composition of accents", other)
}

// text is what is written for a config: as Python writes it, or the canonical text if that would be too large to be read again.
func text(canonical json.RawMessage) []byte {
	if !indentedFits(canonical, jsontext.MaxBytes) {
		return canonical
	}
	return jsontext.AppendIndented(make([]byte, 0, len(canonical)+len(canonical)/2), canonical)
}

// indentedFits tells whether the indented text has at most limit bytes, without making it: a text of many levels may grow
// to a thousand times its length.
func indentedFits(canonical []byte, limit int) bool {
	if len(canonical) <= limit/(2*jsontext.MaxDepth+8) {
		return true
	}
	n, depth, inString := 0, 0, false
	for i := 0; i < len(canonical); i++ {
		c := canonical[i]
		n++
		switch {
		case c == '"':
			inString = !inString
		case inString && c == '\\':
			i++
			n++
		case inString && c == 0x7f:
			n += 5
		case inString && c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(canonical[i:])
			i += size - 1
			n += 5
			if r > 0xffff {
				n += 6
			}
		case inString:
		case c == '{' || c == '[':
			if canonical[i+1] != c+2 { // not empty
				depth++
				n += 1 + 2*depth
			}
		case c == '}' || c == ']':
			if canonical[i-1] != c-2 {
				depth--
				n += 1 + 2*depth
			}
		case c == ',':
			n += 1 + 2*depth
		case c == ':':
			n++
		}
		if n > limit {
			return false
		}
	}
	return true
}

// written is a config that is staged: on the disk, but not yet under its name.
type written struct {
	file
	move move
}

// move puts a staged file in place.
type move struct {
	Temp string `json:"temp"`
	Name string `json:"name"`
	Keep bool   `json:"keep,omitempty"` // what is there cannot be read: keep it aside
}

// stage writes a config that is to take the place of f. On error nothing has changed.
func (s *Store) stage(f file, canonical json.RawMessage) (written, error) {
	if f.link {
		return written{}, fmt.Errorf("file %q is a symbolic link, and a save would put a file in its place: save to what it leads to, or delete the config first", f.name)
	}
	var like fs.FileInfo // a file takes the owner and mode of the one that it replaces
	if f.info != nil && f.info.Mode().IsRegular() {
		like = f.info
	}
	data := text(canonical)
	temp, info, err := s.dir.StageLike(data, like)
	if err != nil {
		return written{}, err
	}
	if err := s.removeShadowed(f); err != nil {
		_ = s.dir.Remove(temp)
		return written{}, err
	}
	placed := file{name: f.name, alone: revision(data), config: bytes.Clone(canonical), updated: info.ModTime().UTC(), info: info}
	return written{
		file: placed.withNote(f.note),
		move: move{Temp: temp, Name: f.name, Keep: f.bad != nil},
	}, nil
}

// place puts a staged file in place. It lasts once the directory is synced.
func (s *Store) place(m move) error {
	if m.Keep {
		if err := s.keepAside(m.Name); err != nil {
			return err
		}
	}
	return mounted(m.Name, s.dir.Rename(m.Temp, m.Name))
}

// mounted says what to do if the system does not let go of a file because it is mounted by itself, as into a container.
func mounted(name string, err error) error {
	if errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("file %q cannot be replaced; if it is mounted by itself, mount its directory instead: %w", name, err)
	}
	return err
}

// keepAside gives the file a second name, NAME.corrupt-N, under which it stays. What cannot have two names, as a directory, it
// renames.
func (s *Store) keepAside(name string) error {
	if info, err := s.dir.Lstat(name); err == nil && info.Mode().IsRegular() {
		if err := s.dir.SyncFile(name); err != nil { // whoever wrote it may not have
			return err
		}
	}
	for n := 1; ; n++ {
		aside := asideName(name, n)
		if _, err := s.dir.Lstat(aside); err == nil {
			continue
		}
		err := s.dir.Link(name, aside)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			err = mounted(name, s.dir.Rename(name, aside))
		}
		return err
	}
}

// asideName is cut where it would be too long for a file name.
func asideName(name string, n int) string {
	suffix := ".corrupt-" + strconv.Itoa(n)
	for len(name)+len(suffix) > filename.MaxBytes {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return name + suffix
}

// removeShadowed takes the second file of an ID out of the way, so that it does not come to count when the first is gone.
func (s *Store) removeShadowed(f file) error {
	if f.shadowed == "" {
		return nil
	}
	if err := s.keepAside(f.shadowed); err != nil {
		return err
	}
	if err := s.dir.Remove(f.shadowed); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
