package jsonfile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/pluginregistry/pluginregistry/store"
)

func makeFIFO(path string) error { return syscall.Mkfifo(path, 0o600) }

// saveWithSmallFiles saves under a limit of 4 KiB for files.
func saveWithSmallFiles(s *Store) error {
	ctx := context.Background()
	large := json.RawMessage(`{"secret":"` + strings.Repeat("hunter2", 2000) + `"}`)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	max := limit.Cur
	limit.Cur = 4096
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		fmt.Printf("skip: no limit can be set: %v", err)
		return nil
	}
	_, err := s.Put(ctx, "x", large, store.Any)
	if !errors.Is(err, syscall.EFBIG) || strings.Contains(err.Error(), "hunter2") {
		return fmt.Errorf("Put: %.200w", err)
	}
	_, err = s.PutAll(ctx, []store.Put{{ID: "a", Config: json.RawMessage(`{}`), Match: store.Any}, {ID: "x", Config: large, Match: store.Any}})
	if !errors.Is(err, syscall.EFBIG) || strings.Contains(err.Error(), "hunter2") {
		return fmt.Errorf("PutAll: %.200w", err)
	}
	if rec, err := s.Get(ctx, "x"); err != nil || string(rec.Config) != `{"old":1}` {
		return fmt.Errorf("the old config is %.200s, %w", rec.Config, err)
	}
	limit.Cur = max
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	if _, err := s.Put(ctx, "x", large, store.Any); err != nil {
		return err
	}
	if _, err := s.Put(ctx, "x", json.RawMessage(`{"after":1}`), store.Any); err != nil {
		return err
	}
	fmt.Print("ok")
	return nil
}

// A full disk: the old file stays, nothing is left over, and it works again when there is space.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip("needs the right to mount a small file system: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	put(t, s, "x", `{"old":1}`)
	write(t, dir, "filler", strings.Repeat("x", 160<<10))
	large := json.RawMessage(`{"a":"` + strings.Repeat("x", 128<<10) + `"}`)
	_, err = s.Put(t.Context(), "x", large, store.Any)
	wantErr(t, err, syscall.ENOSPC)
	_, err = s.PutAll(t.Context(), []store.Put{{ID: "a", Config: json.RawMessage(`{}`), Match: store.Any}, {ID: "x", Config: large, Match: store.Any}})
	wantErr(t, err, syscall.ENOSPC)
	wantConfig(t, s, "x", `{"old":1}`)
	wantNames(t, dir, "filler", "x.json")
	put(t, s, "x", `{"small":1}`)
	if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
		t.Fatal(err)
	}
	put(t, s, "x", string(large))
	wantConfig(t, s, "x", string(large))
}

// openToAll makes a directory that other users can come to.
func openToAll(t *testing.T) string {
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// asNobody runs f as a user who may do nothing special, for whom modes of files count.
func asNobody(t *testing.T, f func()) {
	if os.Getuid() != 0 {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := syscall.Setfsuid(65534); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

func TestReadOnlyDirectory(t *testing.T) {
	for _, locked := range []bool{false, true} { // whether there is a lock file that may be opened
		dir := openToAll(t)
		write(t, dir, "x.json", `{"old":1}`)
		if locked {
			write(t, dir, lockName, "")
			if err := os.Chmod(filepath.Join(dir, lockName), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Join(dir, "x.json"), 0o444); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o555); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
		asNobody(t, func() {
			s, err := Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			wantConfig(t, s, "x", `{"old":1}`)
			wantConfigured(t, s, "x")
			_, err = s.Put(t.Context(), "x", json.RawMessage(`{"new":1}`), store.Any)
			wantErr(t, err, syscall.EACCES)
			wantErr(t, s.Delete(t.Context(), "x", store.Any), syscall.EACCES)
			_, err = s.PutAll(t.Context(), []store.Put{{ID: "y", Config: json.RawMessage(`{}`), Match: store.Any}})
			wantErr(t, err, syscall.EACCES)
			wantConfig(t, s, "x", `{"old":1}`)
		})
		wantNames(t, dir, "x.json")
		wantFile(t, dir, "x.json", `{"old":1}`)
	}
}

// A file that may not be read is not corrupt.
func TestUnreadableFile(t *testing.T) {
	dir := openToAll(t)
	write(t, dir, "x.json", `{}`)
	write(t, dir, "y.json", `{}`)
	if err := errors.Join(os.Chmod(filepath.Join(dir, "x.json"), 0), os.Chmod(filepath.Join(dir, "y.json"), 0o644)); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		s, err := Open(dir)
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		_, err = s.Get(t.Context(), "x")
		wantErr(t, err, syscall.EACCES)
		if errors.Is(err, store.ErrCorrupt) {
			t.Error("it is said to be corrupt")
		}
		wantConfig(t, s, "y", `{}`)
		wantConfigured(t, s, "x", "y")
	})
}
