package postgres_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/internal/pgserver"
	"github.com/pluginregistry/pluginregistry/store"
)

// TestDocs runs the SQL of docs/postgres.md.
func TestDocs(t *testing.T) {
	dsn := pgserver.Database(t)
	s := open(t, dsn)
	put(t, s, "transcription_whisper", `{"device":"cpu"}`, store.Any)
	text := string(must(os.ReadFile("../../docs/postgres.md")))
	conn := pgserver.Connect(t, pgserver.With(t, dsn, "search_path", "pluginregistry"))
	role := newRole(t, dsn)
	n := 0
	for _, block := range regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(text, -1) {
		for _, sql := range strings.Split(block[1], ";\n") {
			if strings.TrimSpace(sql) == "" {
				continue
			}
			n++
			if strings.HasPrefix(sql, "GRANT") {
				sql = strings.TrimSuffix(sql, " app") + " " + role
			}
			if said := psql(t, conn, sql); strings.Contains(said, "ERROR") {
				t.Errorf("%s\nsays %s", sql, said)
			}
		}
	}
	if n < 12 {
		t.Errorf("there are %d statements", n)
	}
	wantConfig(t, s, "transcription_whisper", `{"device":"cuda"}`)
}
