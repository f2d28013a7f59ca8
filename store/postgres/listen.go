package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pluginregistry/pluginregistry/internal/sleep"
)

// listener hears from the server that something has changed, on a connection of its own, while somebody watches.
type listener struct {
	mu      sync.Mutex
	cancel  context.CancelFunc // nil while it does not run
	ended   chan struct{}
	hearing atomic.Bool // it is known that the server's word comes through
	woken   atomic.Bool // something has changed since the last look
}

const (
	// listeners is the smallest pool that spares a connection for listening: beside it one looks, and one must be left for everybody else.
	smallestPool = 3
	// testPatience is how long the test of a listening connection takes at most.
	testPatience = 2 * time.Second
	// deafPause is how long it takes until it is tried again after a test was not heard, as behind a pooler.
	deafPause = 5 * time.Minute
)

// start begins to listen, unless it does so already.
func (l *listener) start(s *Store) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if most := s.db.Stats().MaxOpenConnections; l.cancel != nil || most > 0 && most < smallestPool {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel, l.ended = cancel, make(chan struct{})
	go func() {
		defer close(l.ended)
		for ctx.Err() == nil {
			pause := min(s.opts.pollInterval, time.Second)
			if errors.Is(l.listen(ctx, s), errDeaf) {
				pause = deafPause
			}
			l.hearing.Store(false)
			if ctx.Err() == nil {
				l.wake(s) // what was told after the connection was lost went nowhere
			}
			_ = sleep.For(ctx, pause)
		}
	}()
}

// stop ends the listening and waits for it.
func (l *listener) stop() {
	l.mu.Lock()
	cancel, ended := l.cancel, l.ended
	l.cancel = nil
	l.mu.Unlock()
	if cancel != nil {
		cancel()
		<-ended
	}
}

func (l *listener) wake(s *Store) {
	l.woken.Store(true)
	s.watch.hub.Wake()
}

var errDeaf = errors.New("notifications do not come through")

// listen returns when its connection is lost or silent.
func (l *listener) listen(ctx context.Context, s *Store) error {
	c, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.Raw(func(raw any) error {
		conn, failure := native(raw)
		if err = failure; err == nil {
			err = l.follow(ctx, s, conn.Conn())
		}
		return driver.ErrBadConn // nobody else gets a connection that listens
	})
	return err
}

func (l *listener) follow(ctx context.Context, s *Store, conn *pgx.Conn) error {
	test := "pluginregistry_" + newTag()
	if _, err := conn.Exec(ctx, s.sql.listen, pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, `LISTEN `+test, pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	// The test is sent on another connection: a pooler would bring the answer back on this one, as it has just spoken to the same session.
	if err := s.attempt(ctx, func(ctx context.Context, other *pgx.Conn) error {
		_, err := other.Exec(ctx, `SELECT pg_notify($1::text, '')`, test)
		return err
	}); err != nil {
		return err
	}
	for wait := testPatience; ; {
		bounded, cancel := context.WithTimeout(ctx, wait)
		n, err := conn.WaitForNotification(bounded)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && n.Channel == test:
			wait = longLook
			l.hearing.Store(true)
			l.wake(s)
			if _, err := conn.Exec(ctx, `UNLISTEN `+test, pgx.QueryExecModeSimpleProtocol); err != nil {
				return err
			}
		case err == nil:
			l.wake(s)
		case conn.IsClosed():
			return err
		case !l.hearing.Load():
			return errDeaf
		default: // nothing was heard for long: is it alive?
			bounded, cancel := context.WithTimeout(ctx, s.opts.timeout)
			err := conn.Ping(bounded)
			cancel()
			if err != nil {
				return err
			}
		}
	}
}
