package jsonfile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/storetest"
)

func openTest(t testing.TB, dir string, opts ...Option) *Store {
	t.Helper()
	s, err := Open(dir, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func write(t testing.TB, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, s *Store, id, config string) store.Record {
	t.Helper()
	rec, err := s.Put(t.Context(), id, json.RawMessage(config), store.Any)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func wantFile(t testing.TB, dir, name, content string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Error(err)
	} else if string(got) != content {
		t.Errorf("%s has %.200q, want %.200q", name, got, content)
	}
}

func wantConfig(t testing.TB, s *Store, id, config string) {
	t.Helper()
	rec, err := s.Get(t.Context(), id)
	if err != nil || string(rec.Config) != config {
		t.Errorf("Get(%q): %.200s, %v; want %.200s", id, rec.Config, err, config)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if _, ok := errors.AsType[*store.Error](err); !errors.Is(err, want) || !ok {
		t.Errorf("error is %T %v, want a *store.Error around %v", err, err, want)
	}
}

func wantConfigured(t testing.TB, s *Store, want ...string) {
	t.Helper()
	if got, err := s.Configured(t.Context(), ""); !slices.Equal(got, want) || err != nil {
		t.Errorf("Configured: %q, %v; want %q", got, err, want)
	}
}

// names lists the directory without the lock file.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != lockName {
			names = append(names, e.Name())
		}
	}
	return names
}

func wantNames(t testing.TB, dir string, want ...string) {
	t.Helper()
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("the directory has %q, want %q", got, want)
	}
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return openTest(t, t.TempDir(), WithPollInterval(2*time.Millisecond)) })
}

func TestShared(t *testing.T) {
	storetest.RunShared(t, func(t *testing.T) func() store.Store {
		dir := t.TempDir()
		return func() store.Store { return openTest(t, dir, WithPollInterval(2*time.Millisecond)) }
	})
}

func TestDamaged(t *testing.T) {
	storetest.RunDamaged(t, func(t *testing.T) storetest.Damageable {
		dir := t.TempDir()
		damages := 0
		read := func(name string) string {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
			return string(b)
		}
		return storetest.Damageable{
			Store: openTest(t, dir, WithPollInterval(2*time.Millisecond)),
			Damage: func(id string) {
				damages++
				write(t, dir, id+".json", `{"key": "hunter2`+strings.Repeat("x", damages))
			},
			Stored: func(id string) string { return read(id + ".json") },
			Aside: func(id string) (aside []string) {
				for _, name := range names(t, dir) {
					if strings.HasPrefix(name, id+".json.corrupt-") {
						aside = append(aside, read(name))
					}
				}
				return aside
			},
		}
	})
}

// TestNotOpened: a Store that Open did not make says so, whatever is asked of it.
func TestNotOpened(t *testing.T) {
	for _, s := range []*Store{nil, {}} {
		for name, call := range map[string]func(){
			"Get":        func() { s.Get(t.Context(), "a") },
			"Put":        func() { s.Put(t.Context(), "a", json.RawMessage(`{}`), store.Any) },
			"PutAll":     func() { s.PutAll(t.Context(), nil) },
			"Delete":     func() { s.Delete(t.Context(), "a", store.Any) },
			"Configured": func() { s.Configured(t.Context(), "") },
			"Watch":      func() { s.Watch(t.Context()) },
			"Close":      func() { s.Close() },
		} {
			func() {
				defer func() {
					if said := recover(); said != "jsonfile: this Store was not made by Open" {
						t.Errorf("%s panics with %v", name, said)
					}
				}()
				call()
			}()
		}
	}
}

func TestOpen(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "a", "b")
	s := openTest(t, dir)
	put(t, s, "x", `{"a":1}`)
	if runtime.GOOS != "windows" {
		for path, mode := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, "x.json"): 0o600, filepath.Join(dir, lockName): 0o600} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s: %v, %v; want mode %v", path, info.Mode(), err, mode)
			}
		}
	}
	write(t, base, "file", "")
	t.Chdir(base)
	for _, path := range []string{"", "file", "file/below"} {
		if s, err := Open(path); err == nil {
			s.Close()
			t.Errorf("Open(%q) succeeded", path)
		} else if e, ok := errors.AsType[*store.Error](err); !ok || e.Op != "open" {
			t.Errorf("Open(%q): %T %v", path, err, err)
		}
	}
	for _, d := range []time.Duration{0, -time.Second} {
		if _, err := Open("never", WithPollInterval(d)); err == nil || !strings.Contains(err.Error(), "must be more than 0") {
			t.Errorf("a poll interval of %v: %v", d, err)
		}
	}
	if _, err := os.Stat("never"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused Open made the directory: %v", err)
	}
	openTest(t, filepath.Join(base, "zero"), Option{})
	if err := os.MkdirAll(filepath.Join("bad", lockName), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("bad"); err == nil || !strings.Contains(err.Error(), "a directory") {
		t.Errorf("a lock file that is a directory: %v", err)
	}

	// A path is that of the directory the process was in.
	relative := openTest(t, "relative")
	t.Chdir(dir)
	put(t, relative, "y", `{}`)
	wantNames(t, filepath.Join(base, "relative"), "y.json")
	wantNames(t, dir, "x.json")
}

// What Python writes is found and read, and what is written is what Python writes, byte for byte.
func TestPythonBytes(t *testing.T) {
	compacts, err := filepath.Glob("testdata/python/*.compact")
	if err != nil || len(compacts) < 8 {
		t.Fatalf("%d cases, %v", len(compacts), err)
	}
	dir := t.TempDir()
	s := openTest(t, dir)
	for _, file := range compacts {
		name := strings.TrimSuffix(filepath.Base(file), ".compact")
		compact, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		python, err := os.ReadFile(strings.TrimSuffix(file, ".compact") + ".json")
		if err != nil {
			t.Fatal(err)
		}
		rec := put(t, s, "go_"+name, string(compact))
		wantFile(t, dir, "go_"+name+".json", string(python))
		write(t, dir, "py_"+name+".json", string(python))
		read, err := s.Get(t.Context(), "py_"+name)
		if err != nil || !bytes.Equal(read.Config, rec.Config) || read.Revision != rec.Revision {
			t.Errorf("%s: read %s, %v; saved %s", name, read.Config, err, rec.Config)
		}
	}
}

func TestHandEdit(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	first := put(t, s, "x", `{"a":1}`)
	write(t, dir, "x.json", "{ \"a\" : 1 }\n") // another layout, the same config
	edited, err := s.Get(t.Context(), "x")
	if err != nil || string(edited.Config) != `{"a":1}` || edited.Revision == first.Revision {
		t.Errorf("the edited file is %v, %v", edited, err)
	}
	_, err = s.Put(t.Context(), "x", json.RawMessage(`{"a":2}`), first.Revision)
	wantErr(t, err, store.ErrConflict)
	if same := put(t, s, "x", `{"a":1}`); same.Revision != edited.Revision {
		t.Errorf("saving what is there changed the revision from %q to %q", edited.Revision, same.Revision)
	}
	wantFile(t, dir, "x.json", "{ \"a\" : 1 }\n")
	old := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(dir, "x.json"), old, old); err != nil {
		t.Fatal(err)
	}
	if rec, err := s.Get(t.Context(), "x"); err != nil || !rec.UpdatedAt.Equal(old) || rec.UpdatedAt.Location() != time.UTC {
		t.Errorf("updated at %v, %v; want the time of the file, %v", rec.UpdatedAt, err, old)
	}
}

// The same revision is the same content, also when a config comes back to it.
func TestRevisionIsContent(t *testing.T) {
	s := openTest(t, t.TempDir())
	a := put(t, s, "x", `{"a":1}`)
	b := put(t, s, "x", `{"b":1}`)
	again := put(t, s, "x", `{"a":1}`)
	other := put(t, s, "y", `{"a":1}`)
	if a.Revision == b.Revision || a.Revision != again.Revision || a.Revision != other.Revision || len(a.Revision) != 32 {
		t.Errorf("revisions %q, %q, %q, %q", a.Revision, b.Revision, again.Revision, other.Revision)
	}
}

func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	foreign := []string{
		"README.md", "x.json~", "x.JSON", "x.json.corrupt-1", "x.json.bak", ".x.json", "._x.json", ".json", ".x.json.swp", ".pluginregistry-other",
	}
	for _, name := range foreign {
		write(t, dir, name, "not ours")
	}
	s := openTest(t, dir)
	wantConfigured(t, s)
	put(t, s, "x", `{}`)
	put(t, s, ".x", `{}`)
	wantConfigured(t, s, ".x", "x")
	if err := s.Delete(t.Context(), ".x", store.Any); err != nil {
		t.Error(err)
	}
	for _, name := range foreign {
		wantFile(t, dir, name, "not ours")
	}
}

// Files that the Python original wrote without escapes are used where they are.
func TestLegacyNames(t *testing.T) {
	if !legacyNames {
		t.Skip("this system has no such file names")
	}
	for _, id := range []string{"a:b", "what?", "*", "con", "end.", "end ", "100%", `back\slash`, "a|b<c>d\"e", "tab\there", "a%3ab"} {
		dir := t.TempDir()
		legacy := id + ".json"
		write(t, dir, legacy, `{"from":"python"}`)
		s := openTest(t, dir)
		wantConfigured(t, s, id)
		wantConfig(t, s, id, `{"from":"python"}`)
		put(t, s, id, `{"from":"go"}`)
		wantNames(t, dir, legacy)
		wantConfigured(t, s, id)
		if _, err := s.PutAll(t.Context(), []store.Put{
			{ID: id, Config: json.RawMessage(`{"n":1}`), Match: store.Any}, {ID: "zz", Config: json.RawMessage(`{"n":2}`), Match: store.Any},
		}); err != nil {
			t.Error(err)
		}
		wantNames(t, dir, legacy, "zz.json")
		wantConfig(t, s, id, `{"n":1}`)
		if err := s.Delete(t.Context(), id, store.Any); err != nil {
			t.Error(err)
		}
		wantConfigured(t, s, "zz")
		put(t, s, id, `{}`)
		if slices.Contains(names(t, dir), legacy) {
			t.Errorf("a new file has the name %q", legacy)
		}
	}
}

// Of two files of one ID the canonical one counts. The other never comes back, and is not lost.
func TestTwoFilesOfOneID(t *testing.T) {
	if !legacyNames {
		t.Skip("this system has no such file names")
	}
	for _, write2 := range []func(s *Store) error{
		func(s *Store) error { return s.Delete(t.Context(), "a:b", store.Any) },
		func(s *Store) error {
			_, err := s.Put(t.Context(), "a:b", json.RawMessage(`{"new":1}`), store.Any)
			return errors.Join(err, s.Delete(t.Context(), "a:b", store.Any))
		},
		func(s *Store) error {
			_, err := s.PutAll(t.Context(), []store.Put{{ID: "a:b", Config: json.RawMessage(`{"new":1}`), Match: store.Any}})
			return errors.Join(err, s.Delete(t.Context(), "a:b", store.Any))
		},
	} {
		dir := t.TempDir()
		write(t, dir, "a:b.json", `{"old":1}`)
		write(t, dir, "a%3Ab.json", `{"counts":1}`)
		s := openTest(t, dir)
		wantConfigured(t, s, "a:b")
		wantConfig(t, s, "a:b", `{"counts":1}`)
		wantNames(t, dir, "a%3Ab.json", "a:b.json")
		if err := write2(s); err != nil {
			t.Fatal(err)
		}
		wantConfigured(t, s)
		wantNames(t, dir, "a:b.json.corrupt-1")
		wantFile(t, dir, "a:b.json.corrupt-1", `{"old":1}`)
	}
}

func TestCorrupt(t *testing.T) {
	const secret = "hunter2"
	for name, content := range map[string]string{
		"empty":       "",
		"space":       " \n",
		"torn":        `{"key": "` + secret,
		"NaN":         `{"key": "` + secret + `", "n": NaN}`,
		"array":       `["` + secret + `"]`,
		"UTF-8":       "{\"key\": \"" + secret + "\xff\"}",
		"BOM":         "\ufeff{}",
		"UTF-16":      "\xff\xfe{\x00}\x00",
		"zeros":       "\x00\x00\x00\x00",
		"name twice":  `{"a": 1, "a": "` + secret + `"}`,
		"too large":   `{"a": "` + strings.Repeat("x", jsontext.MaxBytes) + `"}`,
		"a byte more": `{"a":"` + strings.Repeat("x", jsontext.MaxBytes-8) + `"}` + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := openTest(t, dir)
			write(t, dir, "x.json", content)
			put(t, s, "fine", `{}`)
			rec, err := s.Get(t.Context(), "x")
			wantErr(t, err, store.ErrCorrupt)
			if errors.Is(err, store.ErrInvalidConfig) || strings.Contains(fmt.Sprint(err), secret) || rec.Config != nil {
				t.Errorf("got %v, error %v", rec, err)
			}
			wantConfigured(t, s, "fine", "x")
			wantConfig(t, s, "fine", `{}`)

			_, err = s.Put(t.Context(), "x", json.RawMessage(`{}`), store.Absent)
			wantErr(t, err, store.ErrConflict)
			conflict, ok := errors.AsType[*store.ConflictError](err)
			if !ok || conflict.Current == store.Absent || conflict.Current == store.Any {
				t.Fatalf("the conflict is %+v", conflict)
			}
			wantFile(t, dir, "x.json", content)
			wantNames(t, dir, "fine.json", "x.json")

			if _, err := s.Put(t.Context(), "x", json.RawMessage(`{"new":1}`), conflict.Current); err != nil {
				t.Fatal(err)
			}
			wantConfig(t, s, "x", `{"new":1}`)
			wantFile(t, dir, "x.json.corrupt-1", content)
			wantNames(t, dir, "fine.json", "x.json", "x.json.corrupt-1")

			write(t, dir, "x.json", content+" ")
			if _, err := s.PutAll(t.Context(), []store.Put{
				{ID: "x", Config: json.RawMessage(`{"new":2}`), Match: store.Any}, {ID: "fine", Config: json.RawMessage(`{"new":2}`), Match: store.Any},
			}); err != nil {
				t.Fatal(err)
			}
			wantConfig(t, s, "x", `{"new":2}`)
			wantFile(t, dir, "x.json.corrupt-2", content+" ")

			write(t, dir, "x.json", content+"  ")
			if err := s.Delete(t.Context(), "x", store.Any); err != nil {
				t.Fatal(err)
			}
			wantFile(t, dir, "x.json.corrupt-1", content)
			wantFile(t, dir, "x.json.corrupt-2", content+" ")
			wantFile(t, dir, "x.json.corrupt-3", content+"  ")
			wantNames(t, dir, "fine.json", "x.json.corrupt-1", "x.json.corrupt-2", "x.json.corrupt-3")
			wantConfigured(t, s, "fine")
		})
	}
}

// What is no regular file is never waited for, followed or removed.
func TestIrregularFiles(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, "target.json", `{"outside":1}`)
	for name, create := range map[string]func(path string) error{
		"directory": func(path string) error {
			return errors.Join(os.Mkdir(path, 0o700), os.WriteFile(filepath.Join(path, "inside"), nil, 0o600))
		},
		"link to a directory": func(path string) error { return os.Symlink(outside, path) },
		"link to itself":      func(path string) error { return os.Symlink("x.json", path) },
		"dangling link":       func(path string) error { return os.Symlink("nowhere", path) },
		"FIFO":                makeFIFO,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := create(filepath.Join(dir, "x.json")); err != nil {
				t.Skip("cannot be made here: ", err)
			}
			before, err := os.Lstat(filepath.Join(dir, "x.json"))
			if err != nil {
				t.Fatal(err)
			}
			s := openTest(t, dir)
			_, err = s.Get(t.Context(), "x")
			wantErr(t, err, store.ErrCorrupt)
			_, err = s.Put(t.Context(), "x", json.RawMessage(`{}`), store.Absent)
			wantErr(t, err, store.ErrConflict)
			if ids, err := s.Configured(t.Context(), ""); !slices.Contains(ids, "x") || err != nil {
				t.Errorf("Configured: %q, %v", ids, err)
			}
			put(t, s, "x", `{"new":1}`)
			wantConfig(t, s, "x", `{"new":1}`)
			aside, err := os.Lstat(filepath.Join(dir, "x.json.corrupt-1"))
			if err != nil || !os.SameFile(before, aside) || aside.Mode() != before.Mode() {
				t.Errorf("it is not kept aside: %v", err)
			}
			if err := os.Remove(filepath.Join(dir, "x.json")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "x.json.corrupt-1"), filepath.Join(dir, "x.json")); err != nil {
				t.Fatal(err)
			}
			if err := s.Delete(t.Context(), "x", store.Any); err != nil {
				t.Error(err)
			}
			aside, err = os.Lstat(filepath.Join(dir, "x.json.corrupt-1"))
			if err != nil || !os.SameFile(before, aside) {
				t.Errorf("it is not kept aside when deleted: %v", err)
			}
			wantFile(t, outside, "target.json", `{"outside":1}`)
		})
	}
}

func TestLongNames(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	for _, id := range []string{strings.Repeat("a", 250), strings.Repeat("é", 125), strings.Repeat("/", 83)} {
		put(t, s, id, `{}`)
		file := names(t, dir)[0]
		write(t, dir, file, "corrupt")
		put(t, s, id, `{"n":1}`)
		wantConfig(t, s, id, `{"n":1}`)
		wantConfigured(t, s, id)
		for _, name := range names(t, dir) {
			if name != file {
				wantFile(t, dir, name, "corrupt")
			}
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, id := range []string{strings.Repeat("a", 251), strings.Repeat("/", 84)} {
		_, err := s.Put(t.Context(), id, json.RawMessage(`{}`), store.Any)
		wantErr(t, err, store.ErrInvalidID)
		_, err = s.Get(t.Context(), id)
		wantErr(t, err, store.ErrInvalidID)
		wantErr(t, s.Delete(t.Context(), id, store.Any), store.ErrInvalidID)
		_, err = s.PutAll(t.Context(), []store.Put{{ID: id, Config: json.RawMessage(`{}`), Match: store.Any}})
		wantErr(t, err, store.ErrInvalidID)
	}
	wantNames(t, dir)
}

// What is saved can be read again, also where white space would make it larger than what is read.
func TestIndentedTooLarge(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	deep := `{"a":` + strings.Repeat("[", 500) + "1" + strings.Repeat(",1", 20_000) + strings.Repeat("]", 500) + `}`
	wide := `{"a":"` + strings.Repeat("é", 3<<20) + `"}`
	full := `{"a":"` + strings.Repeat("x", jsontext.MaxBytes-8) + `"}` // itself as large as can be
	for _, config := range []string{deep, wide, full} {
		put(t, s, "x", config)
		wantConfig(t, s, "x", config)
		wantFile(t, dir, "x.json", config)
	}
}

func FuzzIndentedFits(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,{},[]],"b":{"c":"é😀\u0001\"\\\n[,:{"}}`, "{\"\x7f\u0080\":[[[1,2],[3]],null]}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		canonical, err := jsontext.Canonical([]byte(s))
		if err != nil {
			return
		}
		n := len(jsontext.AppendIndented(nil, canonical))
		if !indentedFits(canonical, n) || indentedFits(canonical, n-1) {
			t.Fatalf("%s: the indented text has %d bytes: fits %t, into one less %t", canonical, n, indentedFits(canonical, n), indentedFits(canonical, n-1))
		}
	})
}

func TestCancelledWhileWaiting(t *testing.T) {
	dir := t.TempDir()
	holder, s := openTest(t, dir), openTest(t, dir)
	if err := holder.lock.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(ctx context.Context) error{
		"Put": func(ctx context.Context) error {
			_, err := s.Put(ctx, "x", json.RawMessage(`{}`), store.Any)
			return err
		},
		"PutAll": func(ctx context.Context) error {
			_, err := s.PutAll(ctx, []store.Put{{ID: "x", Config: json.RawMessage(`{}`), Match: store.Any}})
			return err
		},
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, "x", store.Any) },
		"Configured": func(ctx context.Context) error { // or it might list half of a batch
			_, err := s.Configured(ctx, "")
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s, while another process writes: %v", name, err)
		} else {
			wantErr(t, err, context.DeadlineExceeded)
		}
		cancel()
	}
	if err := holder.lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	wantConfigured(t, s)
	put(t, s, "x", `{}`)
}

// A reader is not kept waiting by a writer.
func TestGetTakesNoLock(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	put(t, s, "x", `{"a":1}`)
	other := openTest(t, dir)
	if err := other.lock.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantConfig(t, s, "x", `{"a":1}`)
	if err := other.lock.Unlock(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRemovesTemporaryFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, ".pluginregistry-LEFT.tmp", "half a con")
	openTest(t, dir)
	wantNames(t, dir)

	// Not while another process may be writing them.
	s := openTest(t, dir)
	if err := s.lock.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, dir, ".pluginregistry-BUSY.tmp", "half a con")
	openTest(t, dir)
	wantNames(t, dir, ".pluginregistry-BUSY.tmp")
	if err := s.lock.Unlock(); err != nil {
		t.Fatal(err)
	}
}
