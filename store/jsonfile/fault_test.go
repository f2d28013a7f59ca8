package jsonfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/internal/atomicfile"
	"github.com/pluginregistry/pluginregistry/internal/filename"
	"github.com/pluginregistry/pluginregistry/store"
)

// failing is a directory that does a number of changes and then fails: one change, or all that follow, as if the process had
// died there.
type failing struct {
	directory
	left int // changes until the failure
	dead bool
	err  error
}

func (d *failing) fails() bool {
	d.left--
	return d.left == -1 || d.left < 0 && d.dead
}

func (d *failing) StageLike(data []byte, like fs.FileInfo) (string, fs.FileInfo, error) {
	if d.fails() {
		return "", nil, d.err
	}
	return d.directory.StageLike(data, like)
}

func (d *failing) SyncFile(name string) error {
	if d.fails() {
		return d.err
	}
	return d.directory.SyncFile(name)
}

func (d *failing) Rename(from, to string) error {
	if d.fails() {
		return d.err
	}
	return d.directory.Rename(from, to)
}

func (d *failing) Link(from, to string) error {
	if d.fails() {
		return d.err
	}
	return d.directory.Link(from, to)
}

func (d *failing) Remove(name string) error {
	if d.fails() {
		return d.err
	}
	return d.directory.Remove(name)
}

func (d *failing) Sync() error {
	if d.fails() {
		return d.err
	}
	return d.directory.Sync()
}

// batchDir has a config, one that cannot be read, and one under two names.
func batchDir(t *testing.T) (dir string, puts []store.Put) {
	dir = t.TempDir()
	write(t, dir, "a.json", `{"old":1}`)
	write(t, dir, "bad.json", `{"torn`)
	ids := []string{"a", "bad", "new"}
	if legacyNames {
		write(t, dir, "l:l.json", `{"old":1}`)
		ids = append(ids, "l:l")
	}
	for _, id := range ids {
		puts = append(puts, store.Put{ID: id, Config: json.RawMessage(`{"new":1}`), Match: store.Any})
	}
	return dir, puts
}

// batchState tells what of the batch is there.
func batchState(t *testing.T, s *Store, puts []store.Put) (done int) {
	t.Helper()
	for _, p := range puts {
		rec, err := s.Get(t.Context(), p.ID)
		switch {
		case err == nil && string(rec.Config) == `{"new":1}`:
			done++
		case err == nil && string(rec.Config) == `{"old":1}`:
		case p.ID == "bad" && errors.Is(err, store.ErrCorrupt):
		case p.ID == "new" && errors.Is(err, store.ErrNotFound):
		default:
			t.Errorf("%q is %s, %v: neither old nor new", p.ID, rec.Config, err)
		}
	}
	return done
}

// However far a batch comes before its process dies, the next one finds all of it or nothing.
func TestBatchDiesAnywhere(t *testing.T) {
	for steps := 0; ; steps++ {
		dir, puts := batchDir(t)
		s, other := openTest(t, dir), openTest(t, dir)
		faulty := &failing{directory: s.dir, left: steps, dead: true, err: syscall.EIO}
		s.dir = faulty
		_, err := s.PutAll(t.Context(), puts)
		saved := err == nil
		complete := faulty.left >= 0
		if err != nil {
			wantErr(t, err, syscall.EIO)
		}

		// One that was open before sees all or nothing.
		ids, err := other.Configured(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		done := batchState(t, other, puts)
		if done != 0 && done != len(puts) || saved && done == 0 || slices.Contains(ids, "new") != (done > 0) {
			t.Fatalf("dead after %d changes: saved is %t, %d of %d are new, configured are %q", steps, saved, done, len(puts), ids)
		}
		left := names(t, dir)
		asides := 0
		for _, name := range left {
			if strings.HasPrefix(name, "bad.json.corrupt-") {
				asides++
				wantFile(t, dir, name, `{"torn`)
			}
		}
		if done > 0 && asides == 0 {
			t.Errorf("dead after %d changes: the bytes that could not be read are lost", steps)
		}
		if slices.Contains(left, journalName) {
			t.Errorf("dead after %d changes: the journal is still there", steps)
		}

		// The next Open clears away what was staged.
		third := openTest(t, dir)
		if batchState(t, third, puts) != done {
			t.Errorf("dead after %d changes: opened again it is another state", steps)
		}
		for _, name := range names(t, dir) {
			if atomicfile.IsTemp(name) {
				t.Errorf("dead after %d changes: %s is left", steps, name)
			}
		}
		if complete {
			if !saved {
				t.Error("a batch without failures was not saved")
			}
			if steps < 10 {
				t.Errorf("only %d changes were tried", steps)
			}
			return
		}
	}
}

// One change that fails is an error and changes nothing, or is made good. Nothing is left over, and it works again afterwards.
func TestOneFailureAnywhere(t *testing.T) {
	for steps := 0; ; steps++ {
		dir, puts := batchDir(t)
		s := openTest(t, dir)
		real := s.dir
		faulty := &failing{directory: real, left: steps, err: syscall.ENOSPC}
		s.dir = faulty
		records, err := s.PutAll(t.Context(), puts)
		s.dir = real
		done := batchState(t, s, puts)
		if err == nil && (done != len(puts) || len(records) != len(puts)) || err != nil && done != 0 {
			t.Fatalf("failure of change %d: PutAll: %v, but %d of %d are new", steps, err, done, len(puts))
		}
		if err != nil {
			wantErr(t, err, syscall.ENOSPC)
			if _, err := s.PutAll(t.Context(), puts); err != nil || batchState(t, s, puts) != len(puts) {
				t.Errorf("failure of change %d: saving again: %v", steps, err)
			}
		}
		for _, name := range names(t, dir) {
			if atomicfile.IsTemp(name) || name == journalName {
				t.Errorf("failure of change %d: %s is left", steps, name)
			}
		}
		if faulty.left >= 0 {
			return
		}
	}
}

func TestPutFails(t *testing.T) {
	for name, c := range map[string]struct {
		fail func(d directory) *failing
		old  string
	}{
		"staging":              {func(d directory) *failing { return &failing{directory: d, err: syscall.ENOSPC} }, `{"old":1}`},
		"renaming":             {func(d directory) *failing { return &failing{directory: d, left: 1, err: syscall.ENOSPC} }, `{"old":1}`},
		"staging over corrupt": {func(d directory) *failing { return &failing{directory: d, err: syscall.ENOSPC} }, `{"torn`},
	} {
		dir := t.TempDir()
		write(t, dir, "x.json", c.old)
		s := openTest(t, dir)
		real := s.dir
		s.dir = c.fail(real)
		_, err := s.Put(t.Context(), "x", json.RawMessage(`{"secret":"hunter2"}`), store.Any)
		wantErr(t, err, syscall.ENOSPC)
		if strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s: the error shows the config", name)
		}
		s.dir = real
		wantFile(t, dir, "x.json", c.old)
		wantNames(t, dir, "x.json")
		put(t, s, "x", `{"new":1}`)
		wantConfig(t, s, "x", `{"new":1}`)
	}
}

func TestBadJournal(t *testing.T) {
	for content, want := range map[string]error{
		"":                         store.ErrCorrupt,
		`{"version":1,"moves":[`:   store.ErrCorrupt,
		`{"moves":[]}`:             store.ErrCorrupt,
		`{"version":2,"moves":[]}`: store.ErrTooNew,
		`{"version":1,"moves":[{"temp":"x.json","name":"y.json"}]}`:                              store.ErrCorrupt,
		`{"version":1,"moves":[{"temp":".pluginregistry-A.tmp","name":".profile"}]}`:             store.ErrCorrupt,
		`{"version":1,"moves":[{"temp":".pluginregistry-A.tmp","name":"../x.json"}]}`:            store.ErrCorrupt,
		`{"version":1,"moves":[{"temp":".pluginregistry-../x.tmp","name":"y.json"}]}`:            store.ErrCorrupt,
		`{"version":1,"moves":[{"temp":".pluginregistry-A.tmp","name":".pluginregistry.lock"}]}`: store.ErrCorrupt,
	} {
		dir := t.TempDir()
		write(t, dir, journalName, content)
		write(t, dir, "x.json", `{}`)
		write(t, dir, ".pluginregistry-A.tmp", `{"new":1}`)
		s := openTest(t, dir)
		_, err := s.Get(t.Context(), "x")
		wantErr(t, err, want)
		_, err = s.Configured(t.Context(), "")
		wantErr(t, err, want)
		_, err = s.Put(t.Context(), "x", json.RawMessage(`{"a":1}`), store.Any)
		wantErr(t, err, want)
		wantErr(t, s.Delete(t.Context(), "x", store.Any), want)
		wantNames(t, dir, ".pluginregistry-A.tmp", journalName, "x.json")
		wantFile(t, dir, journalName, content)
		if err := os.Remove(filepath.Join(dir, journalName)); err != nil {
			t.Fatal(err)
		}
		wantConfig(t, s, "x", `{}`)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, journalName), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := openTest(t, dir).Get(t.Context(), "x")
	wantErr(t, err, store.ErrCorrupt)
}

func FuzzParseJournal(f *testing.F) {
	f.Add([]byte(`{"version":1,"moves":[{"temp":".pluginregistry-A.tmp","name":"y.json","keep":true}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"moves":[{"temp":"/etc/passwd","name":"../y.json"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := parseJournal(data)
		if err != nil {
			if len(j.Moves) > 0 || !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrTooNew) {
				t.Fatalf("%d moves with the error %v", len(j.Moves), err)
			}
			return
		}
		for _, m := range j.Moves {
			for _, name := range []string{m.Temp, m.Name} {
				if !filepath.IsLocal(name) || filepath.Base(name) != name || name == lockName || name == journalName {
					t.Fatalf("the move %+v leads away", m)
				}
			}
		}
	})
}

// folding is a directory on a file system that takes one name for another, as most do on macOS and Windows.
type folding struct {
	directory
	key func(name string) string
}

// actual is the name under which there is a file for name.
func (d folding) actual(name string) string {
	names, _ := d.directory.Names()
	for _, n := range names {
		if d.key(n) == d.key(name) {
			return n
		}
	}
	return name
}

func (d folding) Lstat(name string) (fs.FileInfo, error) { return d.directory.Lstat(d.actual(name)) }
func (d folding) Open(name string) (*os.File, error)     { return d.directory.Open(d.actual(name)) }
func (d folding) SyncFile(name string) error             { return d.directory.SyncFile(d.actual(name)) }
func (d folding) Remove(name string) error               { return d.directory.Remove(d.actual(name)) }
func (d folding) Rename(from, to string) error {
	return d.directory.Rename(d.actual(from), d.actual(to))
}
func (d folding) Link(from, to string) error { return d.directory.Link(d.actual(from), d.actual(to)) }

// Where two IDs would share a file the second is an error, and the first keeps its config.
func TestTwinsOfOtherFileSystems(t *testing.T) {
	for _, c := range []struct {
		name          string
		key           func(string) string
		first, second string
	}{
		{"upper case", strings.ToLower, "llm_gpt", "llm_GPT"},
		{"lower case", strings.ToLower, "LLM_gpt", "llm_gpt"},
		{"case of other scripts", strings.ToLower, "stör_σ", "STÖR_Σ"},
		{"composed", filename.Compose, "caf\u00e9", "cafe\u0301"},
		{"decomposed", filename.Compose, "cafe\u0301", "caf\u00e9"},
		{"both", filename.Fold, "CAFE\u0301", "caf\u00e9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openTest(t, t.TempDir())
			s.dir = folding{s.dir, c.key}
			two := []store.Put{
				{ID: c.first, Config: json.RawMessage(`{"n":1}`), Match: store.Any}, {ID: c.second, Config: json.RawMessage(`{"n":2}`), Match: store.Any},
			}
			_, err := s.PutAll(t.Context(), two)
			wantErr(t, err, store.ErrInvalidID)
			wantConfigured(t, s)

			put(t, s, c.first, `{"first":1}`)
			put(t, s, c.first, `{"first":2}`)
			put(t, s, "other", `{}`)
			check := func(err error) {
				t.Helper()
				wantErr(t, err, store.ErrInvalidID)
				if text := fmt.Sprint(err); !strings.Contains(text, fmt.Sprintf("%q", c.first)) || !strings.Contains(text, fmt.Sprintf("%q", c.second)) {
					t.Errorf("the error does not name both IDs: %s", text)
				}
			}
			_, err = s.Get(t.Context(), c.second)
			check(err)
			_, err = s.Put(t.Context(), c.second, json.RawMessage(`{"second":1}`), store.Any)
			check(err)
			check(s.Delete(t.Context(), c.second, store.Any))
			_, err = s.PutAll(t.Context(), two[1:])
			check(err)
			wantConfig(t, s, c.first, `{"first":2}`)
			want := []string{c.first, "other"}
			slices.Sort(want)
			wantConfigured(t, s, want...)
			if err := s.Delete(t.Context(), c.first, store.Any); err != nil {
				t.Error(err)
			}
			put(t, s, c.second, `{"second":1}`) // alone it may stay
			wantConfig(t, s, c.second, `{"second":1}`)
		})
	}
}

// Where the file system tells them apart, twins are two IDs, one by one and in a batch.
func TestTwinsHere(t *testing.T) {
	s := openTest(t, t.TempDir())
	put(t, s, "x", `{}`)
	if s.foldsCase("x.JSON") {
		t.Skip("this file system does not tell upper from lower case")
	}
	if _, err := s.PutAll(t.Context(), []store.Put{
		{ID: "a", Config: json.RawMessage(`{"n":1}`), Match: store.Any}, {ID: "A", Config: json.RawMessage(`{"n":2}`), Match: store.Any},
	}); err != nil {
		t.Fatal(err)
	}
	wantConfig(t, s, "a", `{"n":1}`)
	wantConfig(t, s, "A", `{"n":2}`)
	wantConfigured(t, s, "A", "a", "x")
}

// moving is a directory that is moved away when a file is put in place.
type moving struct {
	directory
	move func() error
}

func (d moving) Rename(from, to string) error {
	return errors.Join(d.directory.Rename(from, to), d.move())
}

// TestDirectoryGone: once the directory is not where it was, nothing is acknowledged that nobody would find there, and the error says to open
// it again.
func TestDirectoryGone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not let an open directory go")
	}
	away := func(dir string) error { return os.Rename(dir, dir+".old") }
	for name, spoil := range map[string]func(dir string) error{
		"deleted":  os.RemoveAll,
		"moved":    away,
		"replaced": func(dir string) error { return errors.Join(away(dir), os.Mkdir(dir, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "d")
			s, err := Open(dir, WithPollInterval(time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			config := json.RawMessage(`{"n":1}`)
			if _, err := s.Put(t.Context(), "a", config, store.Any); err != nil {
				t.Fatal(err)
			}
			changes := s.Watch(t.Context())
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			clear := func(what string, err error) {
				t.Helper()
				if err == nil || !strings.Contains(err.Error(), "open the store again") {
					t.Errorf("%s: acknowledged, or the error is not clear: %v", what, err)
				}
			}
			_, err = s.Put(t.Context(), "a", json.RawMessage(`{"n":2}`), store.Any)
			clear("Put", err)
			_, err = s.PutAll(t.Context(), []store.Put{{ID: "a", Config: config}, {ID: "b", Config: config}})
			clear("PutAll", err)
			clear("Delete", s.Delete(t.Context(), "a", store.Any))
			_, err = s.Get(t.Context(), "a")
			clear("Get", err)
			_, err = s.Configured(t.Context(), "")
			clear("Configured", err)
			for _, err := range changes {
				clear("Watch", err)
				break
			}
		})
	}
	t.Run("while saving", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "d")
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.dir = moving{s.dir, func() error { return away(dir) }}
		if _, err := s.Put(t.Context(), "a", json.RawMessage(`{"n":1}`), store.Any); err == nil {
			t.Error("acknowledged")
		}
	})
}
