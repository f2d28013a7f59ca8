// Package queue lets writes that come while another is being committed share the next commit.
package queue

import (
	"context"
	"slices"
	"sync"
)

// Queue holds the requests that wait for a commit. Set its exported fields before the first call. Its methods may be called by any number
// of goroutines at once.
type Queue[R any] struct {
	// Commit writes requests. It makes ready what it needs, such as a connection, calls take once for the requests, writes them, notes the
	// result of each in it, and returns when they are durable. take returns at most Most requests, the oldest first; they count as begun
	// from then on. It returns none if nobody waits any longer. ctx ends if nobody waits any longer before take is called: Commit then
	// returns without taking, and those who have come since wait for the next. On any other failure it takes and notes the failure.
	// Commit is called by one goroutine at a time, which lives while requests wait.
	Commit func(ctx context.Context, take func() []R)

	// Most is how many requests share a commit at most, so that none waits for an endless one. 0 means 512.
	Most int

	mu      sync.Mutex
	waiting []*item[R]
	running bool
	cancel  context.CancelFunc // ends the context of a Commit that has not taken yet
	runs    sync.WaitGroup
}

type item[R any] struct {
	request R
	done    chan struct{} // closed when the commit has returned
}

// Do returns when the request is committed, or at once when ctx ends. err is nil or the error of ctx; what became of the request
// is noted in it by Commit. With an error, begun tells whether the request was taken for a commit and may be written; the caller must not
// look at it then. If it had not begun it never will be.
func (q *Queue[R]) Do(ctx context.Context, request R) (begun bool, err error) {
	it := &item[R]{request, make(chan struct{})}
	q.mu.Lock()
	q.waiting = append(q.waiting, it)
	if !q.running {
		q.running = true
		q.runs.Add(1)
		go q.run()
	}
	q.mu.Unlock()
	select {
	case <-it.done:
		return true, nil
	case <-ctx.Done():
	}
	begun = !q.withdraw(it)
	select {
	case <-it.done: // at the same time, or expired
		return true, nil
	default:
		return begun, ctx.Err()
	}
}

// Expire finishes the requests that wait and for which expired is true. A Commit that cannot write yet calls it before take, so that each
// request waits only for its own time. expired notes the result.
func (q *Queue[R]) Expire(expired func(R) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = slices.DeleteFunc(q.waiting, func(it *item[R]) bool {
		gone := expired(it.request)
		if gone {
			close(it.done)
		}
		return gone
	})
	q.abandoned()
}

// Wait returns when no Commit runs any longer. No request may be added meanwhile.
func (q *Queue[R]) Wait() { q.runs.Wait() }

// withdraw takes an item out again, unless it has begun.
func (q *Queue[R]) withdraw(it *item[R]) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting, it)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.abandoned()
	return true
}

// abandoned ends the context of a Commit that nobody waits for. The caller holds q.mu.
func (q *Queue[R]) abandoned() {
	if len(q.waiting) == 0 && q.cancel != nil {
		q.cancel()
	}
}

func (q *Queue[R]) run() {
	defer q.runs.Done()
	for {
		ctx, cancel := context.WithCancel(context.Background())
		q.mu.Lock()
		more := len(q.waiting) > 0
		q.running, q.cancel = more, cancel
		q.mu.Unlock()
		if !more {
			cancel()
			return
		}
		var taken []*item[R]
		q.Commit(ctx, func() []R {
			taken = q.take()
			requests := make([]R, len(taken))
			for i, it := range taken {
				requests[i] = it.request
			}
			return requests
		})
		cancel()
		for _, it := range taken {
			close(it.done)
		}
	}
}

func (q *Queue[R]) take() []*item[R] {
	q.mu.Lock()
	defer q.mu.Unlock()
	most := q.Most
	if most == 0 {
		most = 512
	}
	n := min(len(q.waiting), most)
	taken := slices.Clone(q.waiting[:n])
	q.waiting = slices.Delete(q.waiting, 0, n)
	q.cancel = nil // nobody's end counts from here on
	return taken
}
