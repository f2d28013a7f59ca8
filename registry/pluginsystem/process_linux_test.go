package pluginsystem

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const rest = " 5 6 7 8 9 10 11 12 13 150 50 16 17 18 19 20 21 4711 23 3"
	page := uint64(os.Getpagesize())
	for text, want := range map[string]status{
		"12 (sh) S 1" + rest:               {parent: 1, start: 4712, cpuTime: 2 * time.Second, rss: 3 * page},
		"12 (sh) S 0" + rest:               {start: 4712, cpuTime: 2 * time.Second, rss: 3 * page},
		"12 (a b) ) Z (c)) Z 99" + rest:    {parent: 99, start: 4712, zombie: true, cpuTime: 2 * time.Second, rss: 3 * page},
		"12 (sh) S x" + rest:               {},
		"12 (sh) S 1" + rest[:len(rest)-2]: {},
		"12 (sh) S 1":                      {},
		"12 (sh":                           {},
		"":                                 {},
		"12 (sh) S 1" + strings.Replace(rest, "4711", "-1", 1): {},
	} {
		got, err := parseStat([]byte(text))
		if (err != nil) != (want == status{}) || got != want {
			t.Errorf("%q is read as %v, %v, want %v", text, got, err, want)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own)
	f.Add([]byte("1 () ) R 0"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseStat(text)
		if err != nil && s != (status{}) {
			t.Errorf("%q has the status %v and the error %v", text, s, err)
		}
	})
}

func TestProcessTable(t *testing.T) {
	table := processTable{
		1: {start: 1}, 10: {parent: 1, start: 5}, 11: {parent: 10, start: 6}, 12: {parent: 11, start: 7, zombie: true},
		20: {parent: 1, start: 8}, 30: {parent: 31, start: 9}, 31: {parent: 30, start: 9}, // a loop, as a torn reading may give it
	}
	got := table.families([]identity{{10, 5}, {11, 6}, {20, 4}, {30, 9}, {99, 1}})
	if want := []identity{{10, 5}, {11, 6}, {12, 7}, {30, 9}, {31, 9}}; !slices.Equal(got, want) {
		t.Errorf("the families are %v, want %v", got, want)
	}
	if !table.running(identity{11, 6}) || table.running(identity{12, 7}) || table.running(identity{11, 7}) || table.running(identity{99, 0}) {
		t.Error("what runs is told wrong")
	}
}

// TestPIDReuse gives the PID of an earlier process to another one, as the system does in the long run.
func TestPIDReuse(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	var seen sightings
	first := seen.update([]int{pid, pid})
	if len(first) != 1 || first[0].start == 0 {
		t.Fatalf("sighted: %v", first)
	}
	seen.first[pid]-- // what was sighted under the PID began earlier than what has it now
	reused := seen.update([]int{pid})
	table, err := readProcesses(nil)
	if err != nil {
		t.Fatal(err)
	}
	if p := table.look(reused[0]); p != (Process{PID: pid}) {
		t.Errorf("it is taken for the earlier process: %+v", p)
	}
	if sent, err := signal(reused[0], os.Kill); sent || err != nil {
		t.Errorf("it was signalled: %t, %v", sent, err)
	}
	// Not reported meanwhile, it is another one.
	seen.update(nil)
	if again := seen.update([]int{pid}); again[0] != first[0] {
		t.Errorf("sighted: %v, want %v", again, first)
	}
	if sent, err := signal(first[0], os.Kill); !sent || err != nil {
		t.Errorf("it was not signalled: %t, %v", sent, err)
	}
	_ = cmd.Wait()
	if gone := seen.update([]int{4 << 20, pid}); gone[0].start != 0 {
		t.Errorf("sighted a PID that nobody has: %v", gone)
	}
}

// holder reports PIDs.
type holder []int

func (h holder) ChildPIDs() []int { return h }

// TestSightedWhenLoaded has a child process end right after its plugin was loaded: who gets its PID later is not taken for it.
func TestSightedWhenLoaded(t *testing.T) {
	m := NewManager(Definition[holder]{Name: "a", New: func(context.Context, json.RawMessage) (holder, error) { return holder{os.Getpid()}, nil }})
	if _, err := m.Load(t.Context(), "a", struct{}{}); err != nil {
		t.Fatal(err)
	}
	own, err := statusOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if got := m.running("a").pids.last(); !slices.Equal(got, []identity{{os.Getpid(), own.start}}) {
		t.Errorf("sighted: %v", got)
	}
}

// TestSettleWaits has a process be waited for only after it was seen as a zombie.
func TestSettleWaits(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	child, err := statusOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for s := child; !s.zombie; {
		if s, err = statusOf(cmd.Process.Pid); err != nil {
			t.Fatal(err)
		}
	}
	c := cleaning{ctx: t.Context(), processes: []identity{{cmd.Process.Pid, child.start}}}
	waited := 0
	c.settle(t.Context(), func() {
		waited++
		_ = cmd.Wait()
	})
	if waited != 1 || len(c.unwaited()) > 0 {
		t.Errorf("it was called %d times, left: %v", waited, c.unwaited())
	}
	_ = cmd.Wait() // where settle has not
}
