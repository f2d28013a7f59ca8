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

// wantBusy checks that all that needs the lock gives up with an error that names the lock file, and that reading does not need it.
func wantBusy(t *testing.T, s *Store, dir string) {
	t.Helper()
	for name, call := range map[string]func() error{
		"Put": func() error { _, err := s.Put(t.Context(), "x", json.RawMessage(`{"n":2}`), store.Any); return err },
		"PutAll": func() error {
			_, err := s.PutAll(t.Context(), []store.Put{{ID: "y", Config: json.RawMessage(`{}`)}})
			return err
		},
		"Delete":     func() error { return s.Delete(t.Context(), "x", store.Any) },
		"Configured": func() error { _, err := s.Configured(t.Context(), ""); return err },
	} {
		err := call()
		wantErr(t, err, os.ErrDeadlineExceeded)
		if !strings.Contains(fmt.Sprint(err), filepath.Join(dir, lockName)) {
			t.Errorf("%s: the error does not name the lock file: %v", name, err)
		}
	}
	wantConfig(t, s, "x", `{"n":1}`)
}

func TestBusyTimeout(t *testing.T) {
	dir := t.TempDir()
	holder := openTest(t, dir)
	put(t, holder, "x", `{"n":1}`)
	if err := holder.lock.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{0, 5 * time.Millisecond} {
		wantBusy(t, openTest(t, dir, WithBusyTimeout(d)), dir)
	}
	if err := holder.lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{0, 5 * time.Millisecond} {
		s := openTest(t, dir, WithBusyTimeout(d))
		if _, err := s.Put(t.Context(), "x", json.RawMessage(`{"n":2}`), store.Any); err != nil {
			t.Error(err)
		}
	}
	if _, err := Open(filepath.Join(dir, "never"), WithBusyTimeout(-time.Second)); err == nil || !strings.Contains(err.Error(), "negative") {
		t.Errorf("a negative timeout: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "never")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused Open made the directory: %v", err)
	}
}
