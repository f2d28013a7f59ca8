package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/pluginregistry/pluginregistry/internal/sleep"
)

// query is one statement of an exchange. rows reads what it returns; nil if nothing is to be read.
type query struct {
	sql  string
	args []any
	rows func(pgx.Rows) error
}

// exchange sends statements in one round trip. They are one transaction, which is committed when exchange returns nil. wait is how long
// they may wait for a lock.
func (s *Store) exchange(ctx context.Context, conn *pgx.Conn, wait time.Duration, queries ...query) error {
	batch := &pgx.Batch{}
	batch.Queue(s.sql.limits, milliseconds(s.opts.timeout), milliseconds(min(wait, s.opts.timeout)))
	for _, q := range queries {
		batch.Queue(q.sql, q.args...)
	}
	results := conn.SendBatch(ctx, batch)
	_, err := results.Exec()
	for _, q := range queries {
		if err != nil {
			break
		}
		var rows pgx.Rows
		if rows, err = results.Query(); err != nil {
			break
		}
		for err == nil && rows.Next() {
			err = q.rows(rows)
		}
		rows.Close()
		if err == nil {
			err = rows.Err()
		}
	}
	// The transaction ends here.
	return errors.Join(err, results.Close())
}

// milliseconds is a setting of PostgreSQL, for which 0 would mean no limit.
func milliseconds(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }

// grace is how much longer than the server's own limit the answer of an attempt is waited for.
const grace = time.Second

// take takes a connection from the pool, and waits for one as long as an attempt may take. Its error is an *attemptError.
func (s *Store) take(ctx context.Context) (*sql.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.timeout+grace)
	defer cancel()
	c, err := s.db.Conn(ctx)
	if err == nil {
		return c, nil
	}
	a := judge(err)
	if a.fate == uncertain { // nothing was sent
		a.fate = lost
	}
	if stats := s.db.Stats(); ctx.Err() != nil && stats.MaxOpenConnections > 0 && stats.InUse >= stats.MaxOpenConnections {
		a.error = errors.New("no connection of the pool came free in time")
	}
	return nil, a
}

// attempt calls f with a connection of the pool. Its error is an *attemptError.
func (s *Store) attempt(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	c, err := s.take(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return s.attemptOn(ctx, c, f)
}

func (s *Store) attemptOn(ctx context.Context, c *sql.Conn, f func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.timeout+grace)
	defer cancel()
	var failure *attemptError
	err := c.Raw(func(raw any) error {
		conn, err := native(raw)
		if err == nil {
			err = f(ctx, conn.Conn())
		}
		if err == nil {
			return nil
		}
		if failure = judge(err); failure.discard {
			return driver.ErrBadConn // the pool then closes it
		}
		return nil
	})
	switch {
	case failure != nil:
		return failure
	case errors.Is(err, sql.ErrConnDone): // discarded before
		return &attemptError{error: errors.New("the connection to the server was lost"), fate: lost}
	case err != nil:
		return judge(err)
	}
	return nil
}

// native returns the connection of pgx behind one of database/sql, also if a package that observes connections has wrapped it.
func native(raw any) (*stdlib.Conn, error) {
	for {
		switch c := raw.(type) {
		case *stdlib.Conn:
			return c, nil
		case interface{ Raw() driver.Conn }:
			raw = c.Raw()
		default:
			return nil, &attemptError{error: fmt.Errorf("%w: the *sql.DB must come from github.com/jackc/pgx/v5/stdlib, its connections are %T", errors.ErrUnsupported, raw)}
		}
	}
}

// backoff is the pause before the next attempt: from 5 ms doubling to 1 s, with jitter.
type backoff time.Duration

func (b *backoff) pause(ctx context.Context) error {
	d := max(time.Duration(*b), 5*time.Millisecond)
	*b = backoff(min(2*d, time.Second))
	return sleep.For(ctx, d/2+rand.N(d/2))
}

// read calls f, which changes nothing, until it has an answer, or the store's patience or ctx ends.
func (s *Store) read(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	s.made()
	if err := s.life.Begin(ctx); err != nil {
		return err
	}
	defer s.life.End()
	began, pause := time.Now(), backoff(0)
	for {
		err := s.attempt(ctx, f)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a := judge(err)
		switch {
		case a.fate == held:
			return s.blame(ctx, "", a.error)
		case a.silence && s.holder(ctx, "") != "":
			return s.blame(ctx, "", a.error)
		case a.fate == failed:
			return a.error
		case time.Since(began) > s.opts.patience:
			return fmt.Errorf("given up after %v: %w", s.opts.patience, a.error)
		}
		if err := pause.pause(ctx); err != nil {
			return fmt.Errorf("%w: %w", err, a.error)
		}
	}
}

// blame says which session has kept a call waiting until err, if that can be found.
func (s *Store) blame(ctx context.Context, id string, err error) error {
	if who := s.holder(ctx, id); who != "" {
		return fmt.Errorf("%s holds a lock on it: end its transaction, or stop it with pg_terminate_backend, and try again: %w", who, err)
	}
	return fmt.Errorf("it took longer than %v, perhaps because another session holds a lock: %w", s.opts.timeout, err)
}

// holder describes the session that holds the row of id, or else the one that has used the table in the longest transaction; "" if there is
// none or it cannot be found.
func (s *Store) holder(ctx context.Context, id string) (who string) {
	type session struct {
		pid  int32
		text string
	}
	var sessions []session
	_ = s.attempt(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		if err := s.exchange(ctx, conn, time.Millisecond, query{holdersSQL, []any{s.sql.schema + ".plugin_configs"}, func(rows pgx.Rows) error {
			var pid int32
			var user, application, state string
			var seconds float64
			err := rows.Scan(&pid, &user, &application, &state, &seconds)
			sessions = append(sessions, session{pid, fmt.Sprintf("session %d (user %q, application %q, %s, its transaction is %v old)",
				pid, user, application, state, time.Duration(seconds*float64(time.Second)).Round(time.Millisecond))})
			return err
		}}); err != nil || len(sessions) == 0 {
			return err
		}
		who = sessions[0].text
		if len(sessions) == 1 || id == "" {
			return nil
		}
		return s.exchange(ctx, conn, time.Millisecond, query{s.sql.holder, []any{id}, func(rows pgx.Rows) error {
			var exact int32
			err := rows.Scan(&exact)
			for _, session := range sessions {
				if session.pid == exact {
					who = session.text
				}
			}
			return err
		}})
	})
	return who
}
