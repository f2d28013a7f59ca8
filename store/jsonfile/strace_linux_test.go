package jsonfile

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/pluginregistry/pluginregistry/internal/atomicfile"
	"github.com/pluginregistry/pluginregistry/store"
)

// tracedCalls is how many calls saveTraced says were done.
const tracedCalls = 14

// saveTraced opens a store in directories that are not there yet and writes in every way. Each line that it prints says that all before it
// is saved. It does all in one thread, whose calls strace counts.
func saveTraced() {
	runtime.LockOSThread()
	ctx := context.Background()
	dir := os.Getenv(dirEnv)
	var s *Store
	try := func(what string, f func() error) {
		for range 3 { // a failure may come once; then it must succeed, and mean it
			err := f()
			if err == nil {
				fmt.Println("ok", what)
				return
			}
			if !errors.Is(err, syscall.EIO) {
				fmt.Println("wrong", what, err)
			}
		}
		fmt.Println("never", what)
	}
	open := func() (err error) { s, err = Open(dir); return err }
	put := func(id string, n int) func() error {
		return func() error {
			_, err := s.Put(ctx, id, json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)), store.Any)
			return err
		}
	}
	batch := func(n int) func() error {
		return func() error {
			config := json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))
			_, err := s.PutAll(ctx, []store.Put{
				{ID: "a", Config: config, Match: store.Any}, {ID: "b", Config: config, Match: store.Any}, {ID: "edited", Config: json.RawMessage(`{"by":"hand"}`), Match: store.Any},
			})
			return err
		}
	}
	edit := func(content string) {
		if err := os.WriteFile(filepath.Join(dir, "edited.json"), []byte(content), 0o600); err != nil {
			fmt.Println("wrong", err)
		}
	}
	try("open", open)
	try("put", put("x", 1))
	try("put the same", put("x", 1))
	try("put another", put("x", 2))
	try("close", func() error { return s.Close() })
	try("open again", open)
	try("put the same after opening", put("x", 2))
	edit(`{"by": "hand"}`)
	try("put what was edited", func() error {
		_, err := s.Put(ctx, "edited", json.RawMessage(`{"by":"hand"}`), store.Any)
		return err
	})
	try("batch", batch(1))
	edit(`{ "by": "hand" }`)
	try("batch beside what was edited", batch(2))
	edit(`{"torn`)
	try("put over what cannot be read", put("edited", 1))
	try("delete", func() error { return s.Delete(ctx, "x", store.Any) })
	try("delete nothing", func() error { return s.Delete(ctx, "x", store.Any) })
	edit(`{"torn again`)
	try("delete what cannot be read", func() error { return s.Delete(ctx, "edited", store.Any) })
	os.Exit(0)
}

// A call that returns nil has synced all that it stands for, in whatever call fsync fails: each byte of each file, each name, and each
// directory made on the way up to the one that was there.
func TestFsyncFailsAnywhere(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("needs strace, to let fsync fail")
	}
	total := traced(t, strace, 0)
	if total < 15 {
		t.Fatalf("only %d calls of fsync were seen", total)
	}
	for n := 1; n <= total; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			traced(t, strace, n)
		})
	}
}

// traced runs saveTraced under strace, lets the nth call of fsync fail, and returns how many calls there were.
func traced(t *testing.T, strace string, n int) int {
	t.Helper()
	base := t.TempDir()
	dir := filepath.Join(base, "made", "on the way", "configs")
	log := filepath.Join(t.TempDir(), "strace")
	args := []string{"-f", "-y", "-s", "200", "-o", log, "-e", "trace=openat,open,creat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,fallocate,ftruncate"}
	if n > 0 {
		args = append(args, "-e", fmt.Sprintf("inject=fsync:error=EIO:when=%d", n))
	}
	cmd := childCommand(t, dir, "save traced")
	cmd.Args = append(append([]string{strace}, args...), cmd.Path)
	cmd.Path = strace
	cmd.Stderr = nil
	out, err := cmd.CombinedOutput()
	if text := string(out); err != nil && (strings.Contains(text, "ptrace") || strings.Contains(text, "PTRACE") || strings.Contains(text, "Operation not permitted")) {
		t.Skipf("strace may not trace here: %s", text)
	}
	if err != nil || strings.Contains(string(out), "wrong") || strings.Contains(string(out), "never") || strings.Count(string(out), "ok ") != tracedCalls {
		t.Fatalf("the process says %v:\n%s", err, out)
	}
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := &disk{t: t, base: base, dirty: map[string]string{}}
	fsyncs := 0
	begun := map[string]string{} // by thread: a call that another thread's stands in the middle of
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		thread, call, _ := strings.Cut(line, " ")
		if start, ok := strings.CutSuffix(line, " <unfinished ...>"); ok {
			begun[thread] = start
			continue
		}
		if m := resumed.FindString(call); m != "" {
			line = begun[thread] + strings.TrimPrefix(call, m)
		}
		if d.call(line) {
			fsyncs++
		}
	}
	if d.acknowledged != tracedCalls {
		t.Errorf("strace has seen %d acknowledgements", d.acknowledged)
	}
	return fsyncs
}

// disk is what would outlast a power failure, as far as the system calls tell.
type disk struct {
	t            *testing.T
	base         string
	dirty        map[string]string // by path: of a file, bytes that are not synced; of a directory, names
	journal      bool              // the journal is synced under its name: what it lists will be renamed, come what may
	acknowledged int
}

var (
	callForm = regexp.MustCompile(`^\d+ +(\w+)\((.*)\) += (-?\d+)`)
	textForm = regexp.MustCompile(`(?:\d+<([^>]*)>|AT_FDCWD(?:<[^>]*>)?), "((?:[^"\\]|\\.)*)"`)
	pathForm = regexp.MustCompile(`^"((?:[^"\\]|\\.)*)"`)
	resumed  = regexp.MustCompile(`^ *<\.\.\. \w+ resumed>`)
	fdForm   = regexp.MustCompile(`^\d+<([^>]*)>`)
)

// call takes one line of strace's and reports whether it is an fsync.
func (d *disk) call(line string) (fsync bool) {
	m := callForm.FindStringSubmatch(line)
	if m == nil {
		return false
	}
	name, args, ok := m[1], m[2], !strings.HasPrefix(m[3], "-")
	var paths []string // that the call names
	for _, p := range textForm.FindAllStringSubmatch(args, -1) {
		path := p[2]
		if !filepath.IsAbs(path) {
			path = filepath.Join(p[1], path)
		}
		paths = append(paths, filepath.Clean(path))
	}
	if p := pathForm.FindStringSubmatch(args); p != nil {
		paths = append(paths, filepath.Clean(p[1]))
	}
	fd := ""
	if p := fdForm.FindStringSubmatch(args); p != nil {
		fd = strings.TrimSuffix(p[1], " (deleted)")
	}
	switch name {
	case "fsync", "fdatasync":
		if ok {
			if strings.HasPrefix(d.dirty[fd], "renamed "+journalName) {
				d.journal = true
			}
			delete(d.dirty, fd)
			delete(d.dirty, fd+ofJournal)
		}
		return strings.HasPrefix(fd, d.base)
	case "write", "pwrite64", "ftruncate", "fallocate":
		if strings.Contains(args, `"ok `) {
			d.acknowledge(args)
		} else if ok && strings.HasPrefix(fd, d.base) {
			d.dirty[fd] = "written"
		}
	case "open", "openat", "creat":
		if ok && strings.Contains(args, "O_CREAT") && strings.HasPrefix(paths[0], d.base) {
			if strings.Contains(args, "O_EXCL") || strings.Contains(args, "O_TRUNC") {
				d.dirty[paths[0]] = "made"
			}
			if !atomicfile.IsTemp(filepath.Base(paths[0])) {
				d.names(paths[0], "made")
			}
		}
	case "mkdir", "mkdirat":
		if ok && strings.HasPrefix(paths[0], d.base) {
			d.names(paths[0], "made")
		}
	case "rename", "renameat", "renameat2", "link", "linkat":
		if ok && strings.HasPrefix(paths[0], d.base) {
			if what, dirty := d.dirty[paths[0]]; dirty {
				d.t.Errorf("%s is given the name %s before it is synced: %s", filepath.Base(paths[0]), filepath.Base(paths[1]), what)
			}
			if strings.HasPrefix(name, "rename") {
				delete(d.dirty, paths[1]) // what was there is gone
			}
			if !d.journal {
				d.names(paths[1], "renamed")
			} else {
				d.dirty[filepath.Dir(paths[1])+ofJournal] = "renamed"
			}
		}
	case "unlink", "unlinkat":
		if !ok || !strings.HasPrefix(paths[0], d.base) {
			break
		}
		delete(d.dirty, paths[0])
		switch base := filepath.Base(paths[0]); {
		case base == journalName && d.journal:
			d.journal = false
			if what, dirty := d.dirty[filepath.Dir(paths[0])+ofJournal]; dirty {
				d.t.Errorf("the journal is removed before what it lists is synced: %s", what)
			}
		case base != journalName && !atomicfile.IsTemp(base):
			d.names(paths[0], "removed")
		}
	}
	return false
}

// ofJournal marks a directory in which files were renamed that the journal lists.
const ofJournal = " (journal)"

// names notes that a name in a directory has changed. The lock file holds nothing that could be lost.
func (d *disk) names(path, how string) {
	if filepath.Base(path) == lockName {
		return
	}
	d.dirty[filepath.Dir(path)] = how + " " + filepath.Base(path)
}

func (d *disk) acknowledge(what string) {
	d.acknowledged++
	for path, how := range d.dirty {
		if d.journal && strings.HasSuffix(path, ofJournal) {
			continue
		}
		d.t.Errorf("%s: acknowledged before it is synced: %s: %s", what, strings.TrimPrefix(path, d.base), how)
	}
}
