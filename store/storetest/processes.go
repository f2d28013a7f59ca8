package storetest

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
	"strings"
	"sync"
	"testing"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// A child process of RunProcesses finds here what it is to do.
const (
	roleVar   = "STORETEST_ROLE"
	dirVar    = "STORETEST_DIR"
	numberVar = "STORETEST_NUMBER"
)

// Long tells whether the environment asks for the long form of the tests: PLUGINREGISTRY_LONG=1.
func Long() bool { return os.Getenv("PLUGINREGISTRY_LONG") == "1" }

func shortOr(short, long int) int {
	if Long() {
		return long
	}
	return short
}

// RunProcesses checks what a durable store promises to several processes that share it, and to one that is killed. open opens the store
// that is kept in dir, a directory that is there, and does not close it: the processes end as they please. RunProcesses runs the test
// binary again as its children, so the test that calls it must do nothing else. It takes some seconds; with PLUGINREGISTRY_LONG=1 in the
// environment it does more rounds and takes some minutes.
func RunProcesses(t *testing.T, open func(ctx context.Context, dir string) (store.Store, error)) {
	if role := os.Getenv(roleVar); role != "" {
		if err := playRole(role, open); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	runAll(t, processCases, func(*testing.T) opener { return open })
}

// opener opens the store that is kept in a directory.
type opener = func(ctx context.Context, dir string) (store.Store, error)

var processCases = []testCase[opener]{
	{"opening at once", "Several processes may open a new place at once.", testOpenAtOnce},
	{"counting together", "Deciding on match and writing are one step for all processes.", testCountTogether},
	{"saving and loading together", "Each process reads what it wrote, while others write.", testWorkTogether},
	{"killed while saving", "What was acknowledged outlasts the process, and nothing is torn.", testKilled},
	{"killed in a batch", "A batch is done whole or not at all, and what was acknowledged outlasts the process.", testKilledInBatch},
	{"killed while copying", "Copy leaves each config as it was or as it is to be, and what was acknowledged outlasts the process.", testKilledInCopy},
	{"killed while noting", "A note that was acknowledged outlasts the process, and is never another's.", testKilledInNotes},
}

func playRole(role string, open opener) error {
	ctx := context.Background()
	if role == "open" {
		io.ReadAll(os.Stdin) // until all are there
	}
	s, err := open(ctx, os.Getenv(dirVar))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	var number, rounds int
	fmt.Sscan(os.Getenv(numberVar), &number, &rounds)
	switch role {
	case "open":
		_, err = s.Put(ctx, fmt.Sprintf("child_%d", number), json.RawMessage(`{}`), store.Absent)
	case "count":
		for range rounds {
			if err = increment(ctx, s, "counter"); err != nil {
				break
			}
		}
	case "work":
		err = work(ctx, s, number, rounds)
	case "save":
		err = saveForEver(ctx, s)
	case "batch", "copy", "note":
		err = goOnForEver(ctx, s, role)
	}
	if err != nil {
		return err
	}
	if c, ok := s.(io.Closer); ok && number%2 == 0 { // the others end without
		return c.Close()
	}
	return nil
}

// child returns the test binary ready to play a role in the test that is running.
func child(t *testing.T, role, dir string, number, rounds int) (*exec.Cmd, *strings.Builder) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^"+name+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), roleVar+"="+role, dirVar+"="+dir, fmt.Sprintf("%s=%d %d", numberVar, number, rounds))
	said := &strings.Builder{}
	cmd.Stderr = said
	return cmd, said
}

// together runs children of one role at once and waits for them.
func together(t *testing.T, role, dir string, children, rounds int) {
	t.Helper()
	gate, hold := io.Pipe() // what "open" waits for
	var wg sync.WaitGroup
	for n := range children {
		cmd, said := child(t, role, dir, n, rounds)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			gate.Read(make([]byte, 1))
			stdin.Close()
			if err := cmd.Wait(); err != nil {
				t.Errorf("child %d: %v: %s", n, err, said)
			}
		})
	}
	hold.Close()
	wg.Wait()
}

func reopen(t *testing.T, open opener, dir string) store.Store {
	t.Helper()
	s, err := open(t.Context(), dir)
	if err != nil {
		t.Fatalf("opening again: %v", err)
	}
	if c, ok := s.(io.Closer); ok {
		t.Cleanup(func() { c.Close() })
	}
	return s
}

func testOpenAtOnce(t *testing.T, open opener) {
	for range shortOr(2, 30) {
		dir := t.TempDir()
		together(t, "open", dir, 8, 0)
		ids, err := reopen(t, open, dir).Configured(t.Context(), "")
		if err != nil || len(ids) != 8 {
			t.Fatalf("8 processes that opened the store at once saved %q, %v", ids, err)
		}
	}
}

func testCountTogether(t *testing.T, open opener) {
	const processes = 8
	rounds := shortOr(10, 200)
	dir := t.TempDir()
	s := reopen(t, open, dir)
	put(t, s, "counter", `{"n":0}`, store.Absent)
	together(t, "count", dir, processes, rounds)
	wantConfig(t, s, "counter", fmt.Sprintf(`{"n":%d}`, processes*rounds))
}

func testWorkTogether(t *testing.T, open opener) {
	const processes = 4
	rounds := shortOr(40, 1250)
	dir := t.TempDir()
	together(t, "work", dir, processes, rounds)
	s := reopen(t, open, dir)
	for p := range processes {
		for k := range workIDs {
			last := rounds - 1 - (rounds-1-k+workIDs)%workIDs
			wantConfig(t, s, workID(p, k), workConfig(p, last))
		}
	}
}

// workIDs is how many configs each process has to itself in testWorkTogether.
const workIDs = 10

func workID(process, k int) string { return fmt.Sprintf("p%d_%d", process, k) }

func workConfig(process, n int) string {
	return fmt.Sprintf(`{"process":%d,"n":%d,"pad":%q}`, process, n, strings.Repeat("x", 300))
}

// work saves and loads, in configs of its own and in one that all share.
func work(ctx context.Context, s store.Store, process, rounds int) error {
	for n := range rounds {
		id, config := workID(process, n%workIDs), workConfig(process, n)
		if _, err := s.Put(ctx, id, json.RawMessage(config), store.Any); err != nil {
			return err
		}
		rec, err := s.Get(ctx, id)
		if err != nil {
			return err
		}
		if string(rec.Config) != config {
			return fmt.Errorf("round %d: another config came back", n)
		}
		if n%10 == 0 {
			if _, err := s.Put(ctx, "shared", json.RawMessage(config), store.Any); err != nil {
				return err
			}
			if _, err := s.Configured(ctx, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// killIDs is how many configs the child of testKilled saves in turn.
const killIDs = 3

// saveForEver saves, and says each save on standard output as soon as it is acknowledged.
func saveForEver(ctx context.Context, s store.Store) error {
	start := 0
	if rec, err := s.Get(ctx, "kill_0"); err == nil {
		var last struct{ N int }
		if err := rec.Decode(&last); err != nil {
			return err
		}
		start = last.N + killIDs
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	for n := start; ; n++ {
		id := fmt.Sprintf("kill_%d", n%killIDs)
		if n%50 == 49 {
			if err := s.Delete(ctx, "kill_deleted", store.Any); err != nil {
				return err
			}
		} else if n%50 == 24 {
			if _, err := s.Put(ctx, "kill_deleted", json.RawMessage(`{}`), store.Any); err != nil {
				return err
			}
		}
		// Of many sizes, so that some need several pages.
		config := fmt.Sprintf(`{"n":%d,"pad":%q}`, n, strings.Repeat("x", n*7919%20000))
		if _, err := s.Put(ctx, id, json.RawMessage(config), store.Any); err != nil {
			return err
		}
		if _, err := fmt.Printf("%d\n", n); err != nil {
			return err
		}
	}
}

// roundIDs is how many configs the children of testRounds write in each round.
const roundIDs = 8

func roundID(k int) string { return fmt.Sprintf("round_%d", k) }

// roundConfig is large enough to be killed in.
func roundConfig(n int) json.RawMessage {
	return fmt.Appendf(nil, `{"n":%d,"pad":%q}`, n, strings.Repeat("x", n*7919%10000))
}

// goOnForEver writes all configs in rounds, and says each round on standard output as soon as it is acknowledged.
func goOnForEver(ctx context.Context, s store.Store, how string) error {
	start, err := roundOf(ctx, s, how, 0)
	if err != nil {
		return err
	}
	for n := start + 1; ; n++ {
		switch how {
		case "batch":
			puts := make([]store.Put, roundIDs)
			for k := range puts {
				puts[k] = store.Put{ID: roundID(k), Config: roundConfig(n), Match: store.Any}
			}
			_, err = store.PutAll(ctx, s, puts)
		case "copy":
			src := memory.New()
			for k := range roundIDs {
				if _, err := src.Put(ctx, roundID(k), roundConfig(n), store.Any); err != nil {
					return err
				}
			}
			_, err = store.Copy(ctx, s, src)
		case "note":
			for k := range roundIDs {
				if _, err := s.(store.Annotator).SetNote(ctx, roundID(k), store.Note{Title: fmt.Sprint(n), Disabled: n%2 == 0}, store.Any); err != nil {
					return err
				}
			}
		}
		if err == nil {
			_, err = fmt.Printf("%d\n", n)
		}
		if err != nil {
			return err
		}
	}
}

// roundOf returns which round last wrote the config or note k, 0 if none did.
func roundOf(ctx context.Context, s store.Store, how string, k int) (n int, err error) {
	if how == "note" {
		note, err := s.(store.Annotator).Note(ctx, roundID(k))
		if err != nil || note == (store.Note{}) {
			return 0, err
		}
		if _, err := fmt.Sscan(note.Title, &n); err != nil || note.Disabled != (n%2 == 0) {
			return 0, fmt.Errorf("the note is torn: %+v", note)
		}
		return n, nil
	}
	rec, err := s.Get(ctx, roundID(k))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	var kept struct{ N int }
	if err == nil {
		err = rec.Decode(&kept)
	}
	if err == nil && string(rec.Config) != string(roundConfig(kept.N)) {
		err = fmt.Errorf("the config of round %d is torn", kept.N)
	}
	return kept.N, err
}

func testKilledInBatch(t *testing.T, open opener) { testRounds(t, open, "batch", true) }
func testKilledInCopy(t *testing.T, open opener)  { testRounds(t, open, "copy", false) }
func testKilledInNotes(t *testing.T, open opener) { testRounds(t, open, "note", false) }

// testRounds kills a child that writes in rounds. whole means that each round is done whole or not at all.
func testRounds(t *testing.T, open opener, how string, whole bool) {
	dir := t.TempDir()
	s := reopen(t, open, dir) // open all the time
	if _, ok := s.(store.Batcher); how == "batch" && !ok {
		t.Skipf("%T is no store.Batcher", s)
	}
	if how == "note" {
		annotator(t, s)
	}
	for kill := range shortOr(3, 200) {
		cmd, said := child(t, how, dir, 0, 0)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acknowledged, after := 0, 1+rand.IntN(4)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var n int
			if _, err := fmt.Sscan(lines.Text(), &n); err != nil {
				break // the line it was writing when it was killed
			}
			acknowledged = n
			if after--; after == 0 {
				for range rand.IntN(2_000_000) { // now it is somewhere in the next round
					_ = rand.Uint64()
				}
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		if acknowledged == 0 {
			t.Fatalf("kill %d: the child acknowledged nothing: %s", kill, said)
		}
		first := 0
		for k := range roundIDs {
			n, err := roundOf(t.Context(), s, how, k)
			if err != nil {
				t.Fatalf("kill %d: %v", kill, err)
			}
			if k == 0 {
				first = n
			}
			if n < acknowledged || whole && n != first {
				t.Fatalf("kill %d: round %d was acknowledged; %q is of round %d, the first of %d", kill, acknowledged, roundID(k), n, first)
			}
		}
	}
}

func testKilled(t *testing.T, open opener) {
	dir := t.TempDir()
	for round := range shortOr(6, 400) {
		cmd, said := child(t, "save", dir, 0, 0)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acknowledged := map[int]int{}
		last := -1
		after := 1 + rand.IntN(30) // the kill comes when so many saves are acknowledged
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var n int
			if _, err := fmt.Sscan(lines.Text(), &n); err != nil {
				break // the line it was writing when it was killed
			}
			acknowledged[n%killIDs], last = n, n
			if after--; after == 0 {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		if last < 0 {
			t.Fatalf("round %d: the child acknowledged nothing: %s", round, said)
		}
		s, err := open(t.Context(), dir)
		if err != nil {
			t.Fatalf("round %d: opening again: %v", round, err)
		}
		for k, n := range acknowledged {
			rec := get(t, s, fmt.Sprintf("kill_%d", k))
			var kept struct {
				N   int
				Pad string
			}
			if err := rec.Decode(&kept); err != nil {
				t.Fatal(err)
			}
			if kept.N < n {
				t.Errorf("round %d: save %d was acknowledged, %d is kept", round, n, kept.N)
			}
			if len(kept.Pad) != kept.N*7919%20000 {
				t.Errorf("round %d: save %d is torn", round, kept.N)
			}
		}
		if ids, err := s.Configured(t.Context(), ""); err != nil || len(ids) < len(acknowledged) {
			t.Errorf("round %d: Configured: %q, %v", round, ids, err)
		}
		if c, ok := s.(io.Closer); ok {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
