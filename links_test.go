package pluginregistry_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestLinks: a program links only the drivers of the stores that it uses.
func TestLinks(t *testing.T) {
	const module = "github.com/pluginregistry/pluginregistry"
	for pkg, unwanted := range map[string][]string{
		"/registry":       {"github.com/jackc/", "modernc.org/", "database/sql", "net/http", "testing"},
		"/store/memory":   {"github.com/jackc/", "modernc.org/", "database/sql", "net/http", "testing"},
		"/store/jsonfile": {"github.com/jackc/", "modernc.org/", "database/sql", "net/http", "testing"},
		"/store/sqlite":   {"github.com/jackc/", module + "/store/postgres", module + "/migrations/postgres", "net/http", "testing"},
		"/store/postgres": {"modernc.org/sqlite", module + "/store/sqlite", module + "/migrations/sqlite", module + "/internal/pgserver", "testing"},
	} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", module+pkg).Output()
		if err != nil {
			t.Skipf("the go command cannot list packages here: %v", err)
		}
		for _, dep := range strings.Fields(string(out)) {
			for _, u := range unwanted {
				if dep == u || strings.HasSuffix(u, "/") && strings.HasPrefix(dep, u) {
					t.Errorf("users of %s link %s", pkg, dep)
				}
			}
		}
	}
}
