// Package linear checks that a store on a server behaves as one register for each ID, whatever happens to the server and to the connections. It
// is a module of its own, so that users of the library never download the checker.
package linear

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/pluginregistry/pluginregistry/internal/pgserver"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/postgres"
)

// call is what a machine asks of one ID. No two calls save the same value, so a value stands for the revision that was made with it.
type call struct {
	id     string
	write  bool
	value  string // to save; "" deletes
	any    bool   // save whatever is there
	expect string // what is there if not any; "" is nothing
}

// answer is what it is told.
type answer struct {
	value    string // of a read
	conflict bool
	unknown  bool // it may have been done, or be done later
}

// register is the model: the value of one ID.
var register = porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byID := map[string][]porcupine.Operation{}
		for _, op := range history {
			id := op.Input.(call).id
			byID[id] = append(byID[id], op)
		}
		var parts [][]porcupine.Operation
		for _, part := range byID {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() []any { return []any{""} },
	Step: func(state, input, output any) []any {
		c, a := input.(call), output.(answer)
		matches := c.any || c.expect == state
		switch {
		case !c.write && a.value == state:
			return []any{state}
		case !c.write:
			return nil
		case a.unknown && matches:
			return []any{state, c.value}
		case a.unknown:
			return []any{state}
		case a.conflict == matches:
			return nil
		case a.conflict:
			return []any{state}
		}
		return []any{c.value}
	},
	Equal:             func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
}

// machine is one of the hosts: a store behind a proxy.
type machine struct {
	proxy *pgserver.Proxy
	store *postgres.Store
}

// log collects what was called and answered.
type log struct {
	mu      sync.Mutex
	history []porcupine.Operation
	values  map[store.Revision]string // what each revision was made with
	twice   []string
	unknown atomic.Int64
}

func (l *log) add(op porcupine.Operation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history = append(l.history, op)
}

// saw checks that a revision of an ID stands for one value only.
func (l *log) saw(id string, rev store.Revision, value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := store.Revision(id) + " " + rev
	if before, ok := l.values[key]; ok && before != value {
		l.twice = append(l.twice, fmt.Sprintf("revision %q of %q is that of %s and of %s", rev, id, before, value))
	}
	l.values[key] = value
}

// TestLinear has three machines save, delete and load the same IDs, most of it over what they have loaded, while the server is killed,
// answers are cut, connections are dropped and stalled, and rows are held. Every call and its answer must fit into one order in which each
// took effect at once, between its call and its answer.
func TestLinear(t *testing.T) {
	length := 10 * time.Second
	if os.Getenv("PLUGINREGISTRY_LONG") == "1" {
		length = 10 * time.Minute
	}
	server := pgserver.Start(t)
	var machines []machine
	for range 3 {
		proxy := pgserver.NewProxy(t, strconv.Itoa(server.Port))
		s, err := postgres.Open(t.Context(), pgserver.With(t, server.DSN(), "port", strconv.Itoa(proxy.Port)),
			postgres.WithPatience(3*time.Second), postgres.WithTimeout(time.Second), postgres.WithHistory(1000))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		machines = append(machines, machine{proxy, s})
	}
	began := time.Now()
	l := &log{values: map[store.Revision]string{}}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for n, m := range machines {
		for g := range 4 {
			wg.Go(func() { work(t, l, m.store, n*4+g, began, stop) })
		}
	}
	faults := map[string]int{}
	for time.Since(began) < length && !t.Failed() {
		time.Sleep(time.Duration(50+rand.IntN(250)) * time.Millisecond)
		m := machines[rand.IntN(len(machines))]
		fault := []string{"answer cut", "answer cut", "answer cut", "connections dropped", "stalled", "row held", "server killed"}[rand.IntN(7)]
		faults[fault]++
		switch fault {
		case "answer cut":
			m.proxy.CutAnswer()
		case "connections dropped":
			m.proxy.Drop()
		case "stalled":
			m.proxy.Swallow(true)
			time.Sleep(time.Duration(rand.IntN(2500)) * time.Millisecond)
			m.proxy.Swallow(false)
		case "row held":
			holdRows(t, server.DSN())
		case "server killed":
			server.Kill()
			time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
			server.Restart()
		}
	}
	close(stop)
	wg.Wait()
	for _, text := range l.twice {
		t.Error(text)
	}
	end := time.Since(began).Nanoseconds()
	for i := range l.history {
		if l.history[i].Output.(answer).unknown {
			l.history[i].Return = end // it may be done as long as the server has it
		}
	}
	t.Logf("%d calls, of %d it was not known; faults: %v", len(l.history), l.unknown.Load(), faults)
	result, _ := porcupine.CheckOperationsVerbose(register.ToModel(), l.history, 2*time.Minute)
	switch result {
	case porcupine.Illegal:
		t.Error("there is no order of the calls that explains their answers")
	case porcupine.Unknown:
		t.Error("whether there is an order of the calls could not be found out in time")
	}
}

func holdRows(t *testing.T, dsn string) {
	conn := pgserver.Connect(t, dsn)
	defer conn.Close(context.Background())
	_, err := conn.Exec(context.Background(), `BEGIN; SELECT FROM pluginregistry.plugin_configs ORDER BY updated_at DESC LIMIT 2 FOR UPDATE; SELECT pg_sleep(0.4); COMMIT`)
	if err != nil {
		t.Error(err)
	}
}

// work calls the store with IDs that all machines use, others every half second.
func work(t *testing.T, l *log, s *postgres.Store, client int, began time.Time, stop <-chan struct{}) {
	now := func() int64 { return time.Since(began).Nanoseconds() }
	ctx := context.Background()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		id := fmt.Sprintf("%d-%d", time.Since(began)/(500*time.Millisecond), rand.IntN(3))
		c := call{id: id}
		at := now()
		rec, err := s.Get(ctx, id)
		var loaded string
		switch {
		case err == nil:
			loaded = string(rec.Config)
			l.saw(id, rec.Revision, loaded)
		case !errors.Is(err, store.ErrNotFound):
			continue // a read that failed says nothing
		}
		l.add(porcupine.Operation{ClientId: client, Input: c, Call: at, Output: answer{value: loaded}, Return: now()})

		c = call{id: id, write: true, value: fmt.Sprintf(`{"client":%d,"n":%d}`, client, n), expect: loaded}
		match := rec.Revision // Absent if nothing was loaded
		if rand.IntN(8) == 0 {
			c.any, match = true, store.Any
		}
		deletes := rand.IntN(8) == 0 && loaded != ""
		if deletes {
			c.value = ""
		}
		at = now()
		if deletes {
			err = s.Delete(ctx, id, match)
		} else if rec, err = s.Put(ctx, id, []byte(c.value), match); err == nil {
			l.saw(id, rec.Revision, c.value)
		}
		var a answer
		switch {
		case err == nil:
		case errors.Is(err, store.ErrConflict):
			a.conflict = true
		case errors.Is(err, store.ErrUncertain):
			a.unknown = true
			l.unknown.Add(1)
		case strings.Contains(err.Error(), "given up"), strings.Contains(err.Error(), "holds a lock"), strings.Contains(err.Error(), "longer than"):
			continue // nothing was changed
		default:
			t.Errorf("a save failed: %v", err)
			continue
		}
		l.add(porcupine.Operation{ClientId: client, Input: c, Call: at, Output: a, Return: now()})
	}
}
