package queue

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type request struct {
	name   string
	result string
}

// begin starts a Do and returns when the request waits in the queue.
func begin(ctx context.Context, q *Queue[*request], name string) (finished func() (*request, bool, error)) {
	r := &request{name: name}
	done := make(chan struct{})
	var begun bool
	var err error
	q.mu.Lock()
	before := len(q.waiting)
	q.mu.Unlock()
	go func() {
		defer close(done)
		begun, err = q.Do(ctx, r)
	}()
	for {
		q.mu.Lock()
		n := len(q.waiting)
		q.mu.Unlock()
		if n > before {
			break
		}
	}
	return func() (*request, bool, error) { <-done; return r, begun, err }
}

// stalled returns a queue whose commits wait until they are let go, and what each wrote.
func stalled() (q *Queue[*request], ready func(), wrote func() []string) {
	gate := make(chan struct{})
	var mu sync.Mutex
	var batches []string
	q = &Queue[*request]{}
	q.Commit = func(ctx context.Context, take func() []*request) {
		select {
		case <-gate:
		case <-ctx.Done():
			return
		}
		names := ""
		for _, r := range take() {
			r.result = "written"
			names += r.name
		}
		mu.Lock()
		batches = append(batches, names)
		mu.Unlock()
	}
	return q, func() { gate <- struct{}{} }, func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(batches) }
}

// TestShare: requests that come before the commit takes share it, in their order, up to Most.
func TestShare(t *testing.T) {
	q, ready, wrote := stalled()
	q.Most = 3
	var all []func() (*request, bool, error)
	for _, name := range []string{"a", "b", "c", "d"} {
		all = append(all, begin(t.Context(), q, name))
	}
	ready()
	ready()
	for _, finished := range all {
		if r, begun, err := finished(); r.result != "written" || !begun || err != nil {
			t.Errorf("%+v, %v, %v", r, begun, err)
		}
	}
	q.Wait()
	if got := wrote(); !slices.Equal(got, []string{"abc", "d"}) {
		t.Errorf("the commits wrote %q", got)
	}
}

// TestLeaveBeforeTheCommitTakes: a caller whose context ends leaves at once and its request is never written; the others' are.
func TestLeaveBeforeTheCommitTakes(t *testing.T) {
	q, ready, wrote := stalled()
	ctx, cancel := context.WithCancel(t.Context())
	first, second, third := begin(ctx, q, "a"), begin(t.Context(), q, "b"), begin(ctx, q, "c")
	cancel()
	for _, finished := range []func() (*request, bool, error){first, third} {
		if _, begun, err := finished(); begun || !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that left got %v, %v", begun, err)
		}
	}
	ready()
	if r, _, err := second(); r.result != "written" || err != nil {
		t.Error(r, err)
	}
	q.Wait()
	if got := wrote(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("the commits wrote %q", got)
	}
}

// TestLeaveWhileItIsWritten: a caller whose context ends while its request is written leaves at once, too, and learns that it had begun.
func TestLeaveWhileItIsWritten(t *testing.T) {
	taken, gate := make(chan struct{}), make(chan struct{})
	q := &Queue[*request]{Commit: func(_ context.Context, take func() []*request) {
		requests := take()
		close(taken)
		<-gate
		for _, r := range requests {
			r.result = "written"
		}
	}}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-taken; cancel() }()
	if begun, err := q.Do(ctx, &request{name: "a"}); !begun || !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that left got %v, %v", begun, err)
	}
	close(gate)
	q.Wait()
}

// TestNobodyWaits: a commit that waits for something ends when nobody waits for it any longer, and one that comes then gets its own.
func TestNobodyWaits(t *testing.T) {
	q, ready, wrote := stalled()
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		a := begin(ctx, q, "a")
		cancel()
		if _, begun, err := a(); begun || err == nil {
			t.Fatal(begun, err)
		}
		b := begin(t.Context(), q, "b")
		ready()
		if r, _, err := b(); r.result != "written" || err != nil {
			t.Fatal(r, err)
		}
	}
	q.Wait()
	if got := wrote(); len(got) != 100 || slices.Contains(got, "a") {
		t.Errorf("the commits wrote %q", got)
	}
}

// TestExpire: requests that have waited too long get their result, and the others go on waiting.
func TestExpire(t *testing.T) {
	q, ready, wrote := stalled()
	a, b, c := begin(t.Context(), q, "a"), begin(t.Context(), q, "b"), begin(t.Context(), q, "c")
	q.Expire(func(r *request) bool {
		if r.name != "b" {
			r.result = "expired"
		}
		return r.name != "b"
	})
	for _, finished := range []func() (*request, bool, error){a, c} {
		if r, _, err := finished(); r.result != "expired" || err != nil {
			t.Error(r, err)
		}
	}
	ready()
	if r, _, err := b(); r.result != "written" || err != nil {
		t.Error(r, err)
	}
	q.Wait()
	if got := wrote(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("the commits wrote %q", got)
	}
}

// TestMany: of thousands of requests from many callers, some of which leave, each is written once or never began.
func TestMany(t *testing.T) {
	written := map[int]int{} // only Commit touches it
	q := &Queue[int]{Most: 7, Commit: func(_ context.Context, take func() []int) {
		for _, n := range take() {
			written[n]++
		}
	}}
	var mu sync.Mutex
	sure, never := map[int]bool{}, map[int]bool{}
	var wg sync.WaitGroup
	for caller := range 16 {
		wg.Go(func() {
			for i := range 300 {
				ctx, cancel := context.WithCancel(context.Background())
				n := caller*1000 + i
				if n%3 == 0 {
					go cancel()
				}
				begun, err := q.Do(ctx, n)
				cancel()
				mu.Lock()
				sure[n], never[n] = err == nil, !begun
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	q.Wait()
	for n := range sure {
		if sure[n] && written[n] != 1 || never[n] && written[n] != 0 || written[n] > 1 {
			t.Errorf("request %d was written %d times; sure %v, never begun %v", n, written[n], sure[n], never[n])
		}
	}
}
