package pluginregistry_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/jsonfile"
	"github.com/pluginregistry/pluginregistry/store/sqlite"
	"github.com/pluginregistry/pluginregistry/store/storetest"
)

// durableStores open a store that several processes share.
var durableStores = map[string]func(ctx context.Context, dir string) (store.Store, error){
	"sqlite": func(ctx context.Context, dir string) (store.Store, error) {
		return sqlite.Open(ctx, filepath.Join(dir, "registry.db"), sqlite.WithPollInterval(5*time.Millisecond))
	},
	"jsonfile": func(_ context.Context, dir string) (store.Store, error) {
		return jsonfile.Open(dir, jsonfile.WithPollInterval(5*time.Millisecond))
	},
}

// The child of TestFlagsFollow finds here which store it is to open, and where.
const (
	flagsStoreVar = "PLUGINREGISTRY_FLAGS_STORE"
	flagsDirVar   = "PLUGINREGISTRY_FLAGS_DIR"
)

// flagsChild does what it reads, a write a line, and answers each.
func flagsChild(ctx context.Context, kind string) error {
	st, err := durableStores[kind](ctx, os.Getenv(flagsDirVar))
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var what, id string
		var n int
		fmt.Sscan(lines.Text(), &what, &id, &n)
		if err := flagsWrite(ctx, st, what, id, n); err != nil {
			return err
		}
		fmt.Println("done")
	}
	return st.(io.Closer).Close()
}

// flagsWrite is one write of another process.
func flagsWrite(ctx context.Context, st store.Store, what, id string, n int) error {
	config := fmt.Appendf(nil, `{"n":%d}`, n)
	var err error
	switch what {
	case "put":
		_, err = st.Put(ctx, id, config, store.Any)
	case "delete":
		err = st.Delete(ctx, id, store.Any)
	case "batch":
		puts := []store.Put{{ID: id, Config: config, Match: store.Any}, {ID: "c_0", Config: config, Match: store.Any}}
		if id == "c_0" {
			puts = puts[:1]
		}
		_, err = store.PutAll(ctx, st, puts)
	case "note":
		if a, ok := st.(store.Annotator); ok {
			_, err = a.SetNote(ctx, id, store.Note{Title: fmt.Sprint(n), Disabled: n%2 == 0}, store.Any)
		}
	}
	return err
}

// registryWrite is one write of this process.
func registryWrite(ctx context.Context, r *registry.Registry, st store.Store, what, id string, n int) error {
	config := json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))
	var err error
	switch what {
	case "put":
		_, err = r.SaveConfig(ctx, id, config)
	case "delete":
		err = r.DeleteConfig(ctx, id)
	case "batch":
		configs := map[string]any{id: config, "c_0": config}
		_, err = r.SaveConfigs(ctx, configs)
	case "note":
		if _, ok := st.(store.Annotator); ok {
			err = r.SetNote(ctx, id, func(note *store.Note) error { *note = store.Note{Title: fmt.Sprint(n), Disabled: n%2 == 0}; return nil })
		}
	}
	if errors.Is(err, store.ErrConflict) { // the other process was quicker
		err = nil
	}
	return err
}

const flaggedPlugins = 5

type flagged struct{}

func (flagged) Discover(context.Context) (infos []registry.Info, err error) {
	for n := range flaggedPlugins {
		infos = append(infos, registry.Info{Name: fmt.Sprint(n)})
	}
	return infos, nil
}

func (flagged) ConfigSchema(context.Context, string) (json.RawMessage, error) { return nil, nil }

// TestFlagsFollow: whatever two processes write, in whatever order and at once, a watched registry shows what is stored after one look.
func TestFlagsFollow(t *testing.T) {
	if kind := os.Getenv(flagsStoreVar); kind != "" {
		if err := flagsChild(context.Background(), kind); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	rounds := 150
	if storetest.Long() {
		rounds = 5000
	}
	for kind, open := range durableStores {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			ctx, dir := t.Context(), t.TempDir()
			st, err := open(ctx, dir)
			if err != nil {
				t.Fatal(err)
			}
			defer st.(io.Closer).Close()
			r := registry.New(st)
			if _, err := r.RegisterManager(ctx, "c", flagged{}); err != nil {
				t.Fatal(err)
			}
			exe, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			other := exec.CommandContext(ctx, exe, "-test.run=^TestFlagsFollow$")
			other.Env = append(os.Environ(), flagsStoreVar+"="+kind, flagsDirVar+"="+dir)
			other.Stderr = os.Stderr
			stdin, err1 := other.StdinPipe()
			stdout, err2 := other.StdoutPipe()
			if err := errors.Join(err1, err2, other.Start()); err != nil {
				t.Fatal(err)
			}
			answers := bufio.NewScanner(stdout)
			tell := func(what, id string, n int) { fmt.Fprintln(stdin, what, id, n) }
			done := func() {
				if !answers.Scan() || answers.Text() != "done" {
					t.Fatalf("the other process says %q, %v", answers.Text(), answers.Err())
				}
			}
			watching, stop := context.WithCancel(ctx)
			seen, ended := make(chan string), make(chan struct{})
			changes := r.Watch(watching)
			go func() {
				defer close(ended)
				for c, err := range changes {
					if err != nil && watching.Err() == nil {
						t.Error(err)
					}
					if strings.HasPrefix(c.ID, "zz_") {
						select {
						case seen <- c.ID + string(c.Revision):
						case <-watching.Done():
						}
					}
				}
			}()
			for round := range rounds {
				seed := rand.Uint64()
				rnd := rand.New(rand.NewPCG(seed, 0))
				var did []string
				for range 1 + rnd.IntN(4) {
					write := func() (what, id string, n int) {
						what = []string{"put", "put", "put", "delete", "delete", "batch", "note"}[rnd.IntN(7)]
						return what, fmt.Sprint("c_", rnd.IntN(flaggedPlugins)), rnd.IntN(3)
					}
					theirs, id, n := write()
					ours, ourID, ourN := write()
					if rnd.IntN(2) == 0 {
						ourID = id
					}
					how := []string{"they first", "we first", "at once", "they", "we"}[rnd.IntN(5)]
					did = append(did, fmt.Sprintf("%s: %s %s %d, %s %s %d", how, theirs, id, n, ours, ourID, ourN))
					var err error
					switch how {
					case "they first":
						tell(theirs, id, n)
						done()
						err = registryWrite(ctx, r, st, ours, ourID, ourN)
					case "we first":
						err = registryWrite(ctx, r, st, ours, ourID, ourN)
						tell(theirs, id, n)
						done()
					case "at once":
						tell(theirs, id, n)
						err = registryWrite(ctx, r, st, ours, ourID, ourN)
						done()
					case "they":
						tell(theirs, id, n)
						done()
					case "we":
						err = registryWrite(ctx, r, st, ours, ourID, ourN)
					}
					if err != nil {
						t.Fatalf("%v: %v", did, err)
					}
				}
				// A look that finds the second marker began after the first was told, so after all that was written before.
				for _, marker := range []string{"zz_1", "zz_2"} {
					tell("put", marker, round)
					done()
					rec, err := st.Get(ctx, marker)
					if err != nil {
						t.Fatal(err)
					}
					for timeout := time.After(30 * time.Second); ; {
						select {
						case told := <-seen:
							if told != marker+string(rec.Revision) {
								continue
							}
						case <-timeout:
							t.Fatalf("round %d: the marker is not told", round)
						}
						break
					}
				}
				configured, err := st.Configured(ctx, "c_")
				if err != nil {
					t.Fatal(err)
				}
				notes := map[string]store.Note{}
				if a, ok := st.(store.Annotator); ok {
					if notes, err = a.Notes(ctx, "c_"); err != nil {
						t.Fatal(err)
					}
				}
				for _, p := range r.Plugins() {
					if is := slices.Contains(configured, p.ID()); p.Configured != is || p.Disabled != notes[p.ID()].Disabled {
						t.Fatalf("round %d (seed %d): %s is said to be configured %t, disabled %t; it is configured %t, disabled %t; done was %q",
							round, seed, p.ID(), p.Configured, p.Disabled, is, notes[p.ID()].Disabled, did)
					}
				}
			}
			stop()
			<-ended
			stdin.Close()
			if err := other.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
