package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/pluginregistry/pluginregistry/store"
)

// Watch yields the changes made after the call, whoever makes them.
func (s *Store) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	seen, err := s.lastRevision(ctx)
	return func(yield func(store.Change, error) bool) {
		// Where it starts is not known after an error: what is there then counts as a change, rather than that one is missed.
		if err != nil && !s.report(ctx, yield, err) {
			return
		}
		var w watch
		defer w.close()
		told := "" // an error that lasts is told once
		for {
			changes, err := s.look(ctx, &w, seen)
			switch {
			case err == nil:
				told = ""
			case err.Error() != told:
				told = err.Error()
				if !s.report(ctx, yield, err) {
					return
				}
			}
			for _, c := range changes {
				seen = max(seen, numberOf(c.Revision))
				if !yield(c, nil) {
					return
				}
			}
			if err := s.pause(ctx); err != nil {
				yield(store.Change{}, failed("watch", "", err))
				return
			}
		}
	}
}

// report yields err and tells whether to go on.
func (s *Store) report(ctx context.Context, yield func(store.Change, error) bool, err error) bool {
	final := ctx.Err() != nil || errors.Is(err, store.ErrClosed)
	return yield(store.Change{}, failed("watch", "", err)) && !final && s.pause(ctx) == nil
}

// pause waits until the next look.
func (s *Store) pause(ctx context.Context) error {
	t := time.NewTimer(s.cfg.PollInterval)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closed:
		return store.ErrClosed
	}
}

func (s *Store) lastRevision(ctx context.Context) (int64, error) {
	if err := s.begin(ctx); err != nil {
		return 0, err
	}
	defer s.end()
	var n int64
	err := s.reading(ctx, &s.last, func(ctx context.Context, stmt *sqlx.Stmt) error {
		if err := stmt.QueryRowContext(ctx).Scan(&n); err != nil {
			return s.cfg.Explain(err)
		}
		return nil
	})
	return n, err
}

// watch is the state of one watcher: the connection whose version it compares, as versions are told apart only on one.
type watch struct {
	conn    *sql.Conn
	version int64
}

func (w *watch) close() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

// look returns what has changed since the revision seen.
func (s *Store) look(ctx context.Context, w *watch, seen int64) ([]store.Change, error) {
	if err := s.begin(ctx); err != nil {
		w.close()
		return nil, err
	}
	defer s.end()
	if s.cfg.Intact != nil { // a file that has gone has no changes
		if err := s.cfg.Intact(); err != nil {
			w.close()
			return nil, err
		}
	}
	version, err := s.version(ctx, w)
	if err != nil {
		w.close()
		return nil, s.cfg.Explain(err)
	}
	if version != 0 && version == w.version {
		return nil, nil
	}
	var changes []store.Change
	err = s.reading(ctx, &s.since, func(ctx context.Context, stmt *sqlx.Stmt) (err error) {
		changes, err = s.changesSince(ctx, stmt, seen)
		return err
	})
	if err == nil {
		w.version = version
	}
	return changes, err
}

func (s *Store) changesSince(ctx context.Context, stmt *sqlx.Stmt, seen int64) ([]store.Change, error) {
	rows, err := stmt.QueryContext(ctx, seen)
	if err != nil {
		return nil, s.cfg.Explain(err)
	}
	defer rows.Close()
	var changes []store.Change
	for rows.Next() {
		var c store.Change
		var revision int64
		if err := rows.Scan(&c.ID, &revision, &c.Configured); err != nil {
			return nil, s.cfg.Explain(err)
		}
		c.Revision = revisionOf(revision)
		changes = append(changes, c)
	}
	if err := rows.Err(); err != nil {
		return nil, s.cfg.Explain(err)
	}
	return changes, nil
}

// version returns a number that stays while nothing is committed, or 0 if there is none.
func (s *Store) version(ctx context.Context, w *watch) (int64, error) {
	if s.cfg.Version == nil {
		return 0, nil
	}
	if w.conn == nil {
		conn, err := s.cfg.Watcher.DB.Conn(s.inDriver(ctx))
		if err != nil {
			return 0, err
		}
		w.conn, w.version = conn, 0
	}
	return s.cfg.Version(s.inDriver(ctx), w.conn)
}
