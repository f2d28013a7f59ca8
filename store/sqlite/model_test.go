package sqlite_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
	"github.com/pluginregistry/pluginregistry/store/storetest"
)

// TestAgainstMemory does the same at random to a database and to a store in memory, to the database partly by hand or through another
// store, and compares what there is.
func TestAgainstMemory(t *testing.T) {
	seeds := uint64(10)
	if storetest.Long() {
		seeds = 40
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			path := filepath.Join(t.TempDir(), "x.db")
			keeps := 1 + r.IntN(6)
			stores := []*sqlite.Store{open(t, path, sqlite.WithHistory(keeps)), open(t, path)}
			model := memory.New()
			hand := raw(t, path)
			next, stop := iter.Pull2(stores[1].Watch(t.Context()))
			defer stop()

			ids := []string{"a", "b", "c", "d"}
			revisions := map[string][2][]store.Revision{} // of each ID, as both have given them
			note := func(id string, ours, theirs store.Revision) {
				all := revisions[id]
				if i := slices.Index(all[0], ours); i != slices.Index(all[1], theirs) {
					t.Fatalf("revision %q of %q is %q in memory", ours, id, theirs)
				} else if i < 0 {
					revisions[id] = [2][]store.Revision{append(all[0], ours), append(all[1], theirs)}
				}
			}
			config := func() string {
				return fmt.Sprintf(`{"%s":%d}`, []string{"n", "word", "m"}[r.IntN(3)], r.IntN(3))
			}
			match := func(id string) (ours, theirs store.Revision) {
				switch all := revisions[id]; {
				case len(all[0]) > 0 && r.IntN(3) == 0:
					i := max(0, len(all[0])-1-r.IntN(3))
					return all[0][i], all[1][i]
				case r.IntN(4) == 0:
					return store.Absent, store.Absent
				}
				return store.Any, store.Any
			}
			same := func(what string, ours, theirs error) bool {
				t.Helper()
				if errors.Is(ours, store.ErrConflict) != errors.Is(theirs, store.ErrConflict) || (ours == nil) != (theirs == nil) {
					t.Fatalf("%s: %v, in memory %v", what, ours, theirs)
				}
				return ours == nil
			}
			for range 250 { // more states than are looked at in one sweep
				s, id := stores[r.IntN(2)], ids[r.IntN(len(ids))]
				switch r.IntN(8) {
				case 0, 1, 2:
					c := config()
					m, n := match(id)
					ours, err := s.Put(t.Context(), id, json.RawMessage(c), m)
					theirs, modelErr := model.Put(t.Context(), id, json.RawMessage(c), n)
					if same(fmt.Sprintf("Put of %s as %s over %q", c, id, m), err, modelErr) {
						note(id, ours.Revision, theirs.Revision)
					}
				case 3:
					m, n := match(id)
					same("Delete", s.Delete(t.Context(), id, m), model.Delete(t.Context(), id, n))
				case 4, 5:
					var puts, modelPuts []store.Put
					for _, id := range ids[r.IntN(3):] {
						c := json.RawMessage(config())
						m, n := match(id)
						puts, modelPuts = append(puts, store.Put{ID: id, Config: c, Match: m}), append(modelPuts, store.Put{ID: id, Config: c, Match: n})
					}
					ours, err := s.PutAll(t.Context(), puts)
					theirs, modelErr := model.PutAll(t.Context(), modelPuts)
					if same("PutAll", err, modelErr) {
						for i := range ours {
							note(ours[i].ID, ours[i].Revision, theirs[i].Revision)
						}
					}
				case 6:
					c := config()
					rec, err := model.Get(t.Context(), id)
					if r.IntN(2) == 0 && string(rec.Config) != c {
						exec1(t, hand, `REPLACE INTO plugin_configs (plugin_id, config) VALUES (?1, ?2)`, id, c)
						theirs, _ := model.Put(t.Context(), id, json.RawMessage(c), store.Any)
						note(id, must(s.Get(t.Context(), id)).Revision, theirs.Revision)
						break
					}
					if err != nil && len(revisions[id][0]) > 0 {
						break // the mark of a deletion is there
					}
					exec1(t, hand, `INSERT INTO plugin_configs (plugin_id, config) VALUES (?1, ?2)
ON CONFLICT (plugin_id) DO UPDATE SET config = excluded.config WHERE config IS NOT excluded.config`, id, c)
					theirs, _ := model.Put(t.Context(), id, json.RawMessage(c), store.Any)
					note(id, must(s.Get(t.Context(), id)).Revision, theirs.Revision)
				case 7:
					exec1(t, hand, `DELETE FROM plugin_configs WHERE plugin_id = ?`, id)
					same("Delete by hand", nil, model.Delete(t.Context(), id, store.Any))
				}
				for _, id := range ids {
					for _, s := range stores {
						ours, err := s.Get(t.Context(), id)
						theirs, modelErr := model.Get(t.Context(), id)
						if same("Get", err, modelErr) && string(ours.Config) != string(theirs.Config) {
							t.Fatalf("%q is %s, in memory %s", id, ours.Config, theirs.Config)
						}
					}
				}
			}
			last := map[string]bool{}
			put(t, stores[0], "z", `{}`)
			for !last["z"] {
				c, err, _ := next()
				if err != nil {
					t.Fatal(err)
				}
				last[c.ID] = c.Configured
			}
			for _, id := range ids {
				_, err := model.Get(t.Context(), id)
				if configured, changed := last[id]; configured != (err == nil) && (changed || err == nil) {
					t.Errorf("the watcher last saw %q configured %v, %v", id, configured, changed)
				}
				ours := must(stores[0].History(t.Context(), id, 0))
				theirs := must(model.History(t.Context(), id, keeps))
				if a, b := states(ours), states(theirs); len(ours) > keeps || a != b {
					t.Errorf("the history of %q is\n%s\nin memory\n%s", id, a, b)
				}
			}
		})
	}
}

func states(versions []store.Version) string {
	var lines []string
	for _, v := range versions {
		lines = append(lines, fmt.Sprint(v.Configured, string(v.Config), v.Err))
	}
	return strings.Join(lines, "\n")
}
