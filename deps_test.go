package pluginregistry_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestLibcVersion: modernc.org/sqlite is tested with the one version of modernc.org/libc that it names, and breaks with others.
func TestLibcVersion(t *testing.T) {
	graph, err := exec.Command("go", "mod", "graph").Output()
	if err != nil {
		t.Skipf("go mod graph does not work here: %v", err)
	}
	list := func(module string) string {
		version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", module).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(version))
	}
	edge := "modernc.org/sqlite@" + list("modernc.org/sqlite") + " modernc.org/libc@" + list("modernc.org/libc")
	if !strings.Contains(string(graph), edge+"\n") {
		t.Errorf("go.mod selects another libc than modernc.org/sqlite names: there is no %q in go mod graph", edge)
	}
}
