package atomicfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func open(t *testing.T, path string) *Dir {
	t.Helper()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func wantMode(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != mode {
		t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), mode)
	}
}

func TestOpenMakesParents(t *testing.T) {
	base := t.TempDir()
	path := filepath.Join(base, "a", "b", "c")
	open(t, path)
	for _, p := range []string{path, filepath.Dir(path), filepath.Join(base, "a")} {
		wantMode(t, p, 0o700)
	}
	open(t, path) // again
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{file, filepath.Join(file, "below")} {
		if d, err := Open(p); err == nil {
			d.Close()
			t.Errorf("Open(%s) succeeded", p)
		}
	}
}

func TestStageAndRename(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	for _, content := range []string{"first", "second, which is longer", ""} {
		temp, info, err := d.Stage([]byte(content))
		if err != nil {
			t.Fatal(err)
		}
		if !IsTemp(temp) || info.Size() != int64(len(content)) {
			t.Errorf("staged %q with %d bytes", temp, info.Size())
		}
		wantMode(t, filepath.Join(path, temp), 0o600)
		if err := d.Rename(temp, "file"); err != nil {
			t.Fatal(err)
		}
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(path, "file")); string(got) != content || err != nil {
			t.Errorf("the file has %q, %v; want %q", got, err, content)
		}
	}
	if names, err := d.Names(); len(names) != 1 || err != nil {
		t.Errorf("the directory has %v, %v; want the file alone", names, err)
	}
	if again, err := d.Names(); len(again) != 1 || err != nil {
		t.Errorf("read again, the directory has %v, %v", again, err)
	}
}

func TestLinkNeedsFreeName(t *testing.T) {
	path := t.TempDir()
	d := open(t, path)
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(path, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Link("a", "b"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Link to a name that is taken: %v", err)
	}
	if err := d.Link("a", "c"); err != nil {
		t.Errorf("Link: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(path, "b")); string(got) != "b" || err != nil {
		t.Errorf("b has %q, %v", got, err)
	}
}

// No name and no link leads out of the directory.
func TestConfined(t *testing.T) {
	base := t.TempDir()
	outside := filepath.Join(base, "outside")
	if err := os.WriteFile(outside, []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(base, "dir")
	d := open(t, path)
	if err := os.Symlink("../outside", filepath.Join(path, "link")); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	for _, name := range []string{"../outside", "link", outside} {
		if f, err := d.Open(name); err == nil {
			f.Close()
			t.Errorf("Open(%q) led out", name)
		}
	}
	if _, err := d.Lstat("../outside"); err == nil {
		t.Error("Lstat led out")
	}
	temp, _, err := d.Stage([]byte("new"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Rename(temp, "../outside"); err == nil {
		t.Error("Rename led out")
	}
	if err := d.Rename(temp, "link"); err != nil { // in place of the link, not of what it leads to
		t.Error(err)
	}
	if err := d.Remove("../outside"); err == nil {
		t.Error("Remove led out")
	}
	if got, err := os.ReadFile(outside); !bytes.Equal(got, []byte("outside")) || err != nil {
		t.Errorf("the file outside has %q, %v", got, err)
	}
}

func TestIsTemp(t *testing.T) {
	for name, want := range map[string]bool{
		".pluginregistry-X.tmp":   true,
		".pluginregistry-.tmp":    false,
		".pluginregistry-journal": false,
		".pluginregistry.lock":    false,
		".pluginregistry-a/b.tmp": false,
		"pluginregistry-X.tmp":    false,
		"x.json":                  false,
		"":                        false,
	} {
		if IsTemp(name) != want {
			t.Errorf("IsTemp(%q) is %t", name, !want)
		}
	}
}
