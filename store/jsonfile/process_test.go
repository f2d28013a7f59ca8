package jsonfile

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/pluginregistry/pluginregistry/internal/atomicfile"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/storetest"
)

// The test binary is also the program that the tests start, and kill, as another process: childEnv says what it is to do in
// which directory.
const (
	childEnv = "PLUGINREGISTRY_JSONFILE_CHILD"
	dirEnv   = "PLUGINREGISTRY_JSONFILE_DIR"
)

var children = map[string]func(s *Store) error{
	"save forever": saveForever,
	"small files":  saveWithSmallFiles,
	"hold lock":    holdLock,
	"obey":         obey,
}

// holdLock takes the lock, says so, and keeps it.
func holdLock(s *Store) error {
	return s.locked(context.Background(), func() error {
		fmt.Println("locked")
		_, err := bufio.NewReader(os.Stdin).ReadString('\n')
		return err
	})
}

// ordersEnv has the orders for obey, one a line: get, put, batch or delete, and an ID.
const ordersEnv = "PLUGINREGISTRY_JSONFILE_ORDERS"

// obey does what it is told and says how it went, one line each.
func obey(s *Store) error {
	ctx := context.Background()
	for order := range strings.Lines(os.Getenv(ordersEnv)) {
		what, id, _ := strings.Cut(strings.TrimSpace(order), " ")
		by := json.RawMessage(fmt.Sprintf(`{"by":%d,"n":%d}`, os.Getuid(), rand.Int()))
		var err error
		switch what {
		case "get":
			_, err = s.Get(ctx, id)
		case "put":
			_, err = s.Put(ctx, id, by, store.Any)
		case "batch":
			_, err = s.PutAll(ctx, []store.Put{{ID: id, Config: by, Match: store.Any}, {ID: id + "2", Config: by, Match: store.Any}})
		case "delete":
			err = s.Delete(ctx, id, store.Any)
		}
		if err != nil {
			fmt.Println(what, id, err)
		} else {
			fmt.Println(what, id, "ok")
		}
	}
	return s.Close()
}

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "save traced" {
		saveTraced()
	}
	child, ok := children[os.Getenv(childEnv)]
	if !ok {
		goleak.VerifyTestMain(m)
	}
	s, err := Open(os.Getenv(dirEnv))
	if err == nil {
		err = child(s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func childCommand(t *testing.T, dir, what string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		t.Skip("the test binary cannot be started again: ", err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childEnv+"="+what, dirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

func number(ctx context.Context, s *Store, id string) (int, store.Revision, error) {
	rec, err := s.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return 0, store.Absent, nil
	}
	if err != nil {
		return 0, "", err
	}
	var config struct{ N int }
	err = rec.Decode(&config)
	return config.N, rec.Revision, err
}

// numbered is a config large enough to be killed in.
func numbered(n int) json.RawMessage {
	return fmt.Appendf(nil, `{"n":%d,"pad":%q}`, n, strings.Repeat("x", 64<<10))
}

// saveForever saves a number alone and in a batch, and says so when each is saved.
func saveForever(s *Store) error {
	ctx := context.Background()
	n, _, err := number(ctx, s, "single")
	if err != nil {
		return err
	}
	for {
		n++
		if _, err := s.Put(ctx, "single", numbered(n), store.Any); err != nil {
			return err
		}
		fmt.Println("single", n)
		puts := make([]store.Put, 3)
		for i := range puts {
			puts[i] = store.Put{ID: "batch_" + strconv.Itoa(i), Config: numbered(n), Match: store.Any}
		}
		if _, err := s.PutAll(ctx, puts); err != nil {
			return err
		}
		fmt.Println("batch", n)
		if _, err := s.SetNote(ctx, "noted", store.Note{Title: strconv.Itoa(n)}, store.Any); err != nil {
			return err
		}
		fmt.Println("note", n)
	}
}

// A killed process loses nothing that it said was saved, tears no file, and leaves no half of a batch.
func TestKilled(t *testing.T) {
	t.Parallel()
	rounds := 8
	if storetest.Long() {
		rounds = 200
	}
	dir := t.TempDir()
	s := openTest(t, dir) // open all the time: it sees what each dead process left
	for round := range rounds {
		cmd := childCommand(t, dir, "save forever")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said := map[string]int{}
		lines := bufio.NewScanner(out)
		for left := 1 + rand.IntN(4); lines.Scan(); left-- {
			what, n, _ := strings.Cut(lines.Text(), " ")
			said[what], _ = strconv.Atoi(n)
			if left == 0 {
				// Now it is somewhere in its next save.
				for range rand.IntN(1_000_000) {
					_ = rand.Uint64()
				}
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
		if said["single"] == 0 {
			t.Fatal("the process has saved nothing")
		}
		single, _, err := number(t.Context(), s, "single")
		if err != nil || single != said["single"] && single != said["single"]+1 {
			t.Fatalf("round %d: %d was said to be saved, there is %d, %v", round, said["single"], single, err)
		}
		batch, _, err := number(t.Context(), s, "batch_0")
		if err != nil || batch < said["batch"] {
			t.Fatalf("round %d: batch %d was said to be saved, there is %d, %v", round, said["batch"], batch, err)
		}
		note, err := s.Note(t.Context(), "noted")
		if n, _ := strconv.Atoi(note.Title); err != nil || n < said["note"] {
			t.Fatalf("round %d: note %d was said to be saved, there is %q, %v", round, said["note"], note.Title, err)
		}
		for _, id := range []string{"batch_1", "batch_2"} {
			if n, _, err := number(t.Context(), s, id); err != nil || n != batch {
				t.Fatalf("round %d: half a batch: %d and %d, %v", round, batch, n, err)
			}
		}
	}
	openTest(t, dir)
	if left := names(t, dir); slices.ContainsFunc(left, atomicfile.IsTemp) || slices.Contains(left, journalName) {
		t.Errorf("left over: %q", left)
	}
}

func TestProcesses(t *testing.T) {
	storetest.RunProcesses(t, func(_ context.Context, dir string) (store.Store, error) { return Open(dir) })
}

// A file that the system does not let grow, as on a full disk, is an error, and the old one stays.
func TestFileCannotGrow(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	put(t, s, "x", `{"old":1}`)
	cmd := childCommand(t, dir, "small files")
	out, err := cmd.Output()
	if strings.HasPrefix(string(out), "skip") {
		t.Skip(string(out))
	}
	if err != nil || string(out) != "ok" {
		t.Errorf("the process says %q, %v", out, err)
	}
	wantConfig(t, s, "x", `{"after":1}`)
	wantNames(t, dir, "x.json")
}
