//go:build linux || darwin || freebsd

package manifest_test

import (
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry/manifest"
)

// A named pipe that nobody writes to would be waited for without end: this test hangs if one is opened plainly.
func TestNamedPipes(t *testing.T) {
	dir := dirOf(t, map[string]string{"b.json": `{"name": "b"}`})
	for _, name := range []string{"a.json", "dir"} {
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Skipf("a file system with named pipes is needed: %v", err)
		}
	}
	infos, err := manifest.Dirs(filepath.Join(dir, "dir"), dir).Discover(t.Context())
	if got := names(infos); got != "b" {
		t.Errorf("found %q, want b", got)
	}
	if got, want := bad(t, err), []string{"dir", "a.json"}; !slices.Equal(got, want) {
		t.Errorf("bad are %q, want %q", got, want)
	}
}
