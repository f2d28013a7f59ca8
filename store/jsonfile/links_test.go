package jsonfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/store"
)

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
}

// A symbolic link to a file is read like the file. A save does not put a file in its place, and a deletion takes away only the link.
func TestLinks(t *testing.T) {
	for name, target := range map[string]func(outside string) string{
		"beside it":            func(string) string { return "target.data" },
		"outside":              func(outside string) string { return filepath.Join(outside, "target.json") },
		"outside, relative":    func(outside string) string { return "../" + filepath.Base(outside) + "/target.json" },
		"through another link": func(string) string { return "hop" },
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			dir, outside := filepath.Join(base, "dir"), filepath.Join(base, "outside")
			if err := errors.Join(os.Mkdir(dir, 0o700), os.Mkdir(outside, 0o700)); err != nil {
				t.Fatal(err)
			}
			write(t, dir, "target.data", `{"n":1}`)
			write(t, outside, "target.json", `{"n":1}`)
			symlink(t, "../outside/target.json", filepath.Join(dir, "hop"))
			symlink(t, target(outside), filepath.Join(dir, "x.json"))
			s := openTest(t, dir)
			rec, err := s.Get(t.Context(), "x")
			if err != nil || string(rec.Config) != `{"n":1}` || rec.Revision != revision([]byte(`{"n":1}`)) {
				t.Fatalf("Get: %v with %s, %v", rec, rec.Config, err)
			}
			wantConfigured(t, s, "x")
			if same := put(t, s, "x", `{"n":1}`); same.Revision != rec.Revision {
				t.Error("saving what is there changed the revision")
			}
			refused := func(what string, err error) {
				t.Helper()
				if err == nil || !strings.Contains(err.Error(), `"x.json" is a symbolic link`) || errors.Is(err, store.ErrCorrupt) {
					t.Errorf("%s over a link: %v", what, err)
				}
			}
			_, err = s.Put(t.Context(), "x", json.RawMessage(`{"n":2}`), store.Any)
			refused("Put", err)
			_, err = s.PutAll(t.Context(), []store.Put{{ID: "y", Config: json.RawMessage(`{}`)}, {ID: "x", Config: json.RawMessage(`{"n":2}`), Match: store.Any}})
			refused("PutAll", err)
			_, err = s.Put(t.Context(), "x", json.RawMessage(`{"n":2}`), store.Absent)
			wantErr(t, err, store.ErrConflict)
			wantConfig(t, s, "x", `{"n":1}`)
			wantNames(t, dir, "hop", "target.data", "x.json")
			if info, err := os.Lstat(filepath.Join(dir, "x.json")); err != nil || info.Mode().Type() != os.ModeSymlink {
				t.Errorf("the link is %v, %v", info, err)
			}

			write(t, dir, "target.data", `{"torn`)
			write(t, outside, "target.json", `{"torn`)
			_, err = s.Get(t.Context(), "x")
			wantErr(t, err, store.ErrCorrupt)
			write(t, dir, "target.data", `{"n":3}`)
			write(t, outside, "target.json", `{"n":3}`)
			wantConfig(t, s, "x", `{"n":3}`)

			if err := s.Delete(t.Context(), "x", store.Any); err != nil {
				t.Fatal(err)
			}
			wantConfigured(t, s)
			wantFile(t, dir, "target.data", `{"n":3}`)
			wantFile(t, outside, "target.json", `{"n":3}`)
			put(t, s, "x", `{"n":4}`)
			wantFile(t, outside, "target.json", `{"n":3}`)
		})
	}
}

// A directory as Kubernetes mounts a ConfigMap: the files are links through ..data, and an update exchanges that one link.
func TestConfigMap(t *testing.T) {
	dir := t.TempDir()
	version := func(n int) {
		t.Helper()
		data := fmt.Sprintf("..2026_%d", n)
		if err := os.Mkdir(filepath.Join(dir, data), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, dir, filepath.Join(data, "a.json"), fmt.Sprintf(`{"n":%d}`, n))
		write(t, dir, filepath.Join(data, "same.json"), `{}`)
		symlink(t, data, filepath.Join(dir, "..data_tmp"))
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version(1)
	symlink(t, "..data/a.json", filepath.Join(dir, "a.json"))
	symlink(t, "..data/same.json", filepath.Join(dir, "same.json"))
	real := time.Now()
	watch(t, dir, func(w *watching) {
		t := w.t
		w.s.now = func() time.Time { return real.Add(time.Minute) }
		wantConfigured(t, w.s, "a", "same")
		wantConfig(t, w.s, "a", `{"n":1}`)
		for n := 2; n < 5; n++ {
			version(n)
			w.want(saved("a", fmt.Sprintf(`{"n":%d}`, n)))
			wantConfig(t, w.s, "a", fmt.Sprintf(`{"n":%d}`, n))
		}
		w.wantNothing()
	})
}
