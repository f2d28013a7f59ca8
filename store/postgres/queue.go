package postgres

import (
	"context"
	"slices"
	"sync"

	"github.com/pluginregistry/pluginregistry/store"
)

// lifecycle lets calls begin until the store is closed.
type lifecycle struct {
	mu     sync.Mutex
	closed chan struct{}
	active sync.WaitGroup
}

func (l *lifecycle) init() { l.closed = make(chan struct{}) }

func (l *lifecycle) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.closed:
		return store.ErrClosed
	default:
		l.active.Add(1)
		return nil
	}
}

func (l *lifecycle) end() { l.active.Done() }

func (l *lifecycle) close() {
	l.mu.Lock()
	close(l.closed)
	l.mu.Unlock()
	l.active.Wait()
}

type queue struct {
	commit  func([]*request)
	mu      sync.Mutex
	busy    bool
	waiting []*request
	running sync.WaitGroup
}

func (q *queue) init(commit func([]*request)) { q.commit = commit }

const mostShared = 512

// do returns when req has been committed. If ctx ends before, it says whether the commit has begun.
func (q *queue) do(ctx context.Context, req *request) (begun bool, err error) {
	req.done = make(chan struct{})
	q.mu.Lock()
	q.waiting = append(q.waiting, req)
	if !q.busy {
		q.busy = true
		q.running.Add(1)
		go q.run()
	}
	q.mu.Unlock()
	select {
	case <-req.done:
		return true, nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	i := slices.Index(q.waiting, req)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	q.mu.Unlock()
	return i < 0, ctx.Err()
}

func (q *queue) run() {
	defer q.running.Done()
	for {
		q.mu.Lock()
		n := min(len(q.waiting), mostShared)
		batch := slices.Clone(q.waiting[:n])
		q.waiting = slices.Delete(q.waiting, 0, n)
		q.busy = n > 0
		q.mu.Unlock()
		if n == 0 {
			return
		}
		q.commit(batch)
		for _, req := range batch {
			close(req.done)
		}
	}
}

func (q *queue) wait() { q.running.Wait() }
