package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/pluginregistry/pluginregistry/store"
)

// Watch yields the changes made after the call, whoever makes them.
func (s *Store) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	w, err := s.startWatch(ctx)
	return func(yield func(store.Change, error) bool) {
		timer := time.NewTimer(s.cfg.PollInterval)
		defer timer.Stop()
		// Where it starts is not known after an error: what is there then counts as a change, rather than that one is missed.
		if err != nil && !s.report(ctx, timer, yield, err) {
			return
		}
		defer w.close()
		told := "" // an error that lasts is told once
		for {
			changes, err := s.look(ctx, w)
			switch {
			case err == nil:
				told = ""
			case err.Error() != told:
				told = err.Error()
				if !s.report(ctx, timer, yield, err) {
					return
				}
			}
			for _, c := range changes {
				if !yield(c, nil) {
					return
				}
			}
			if err := s.pause(ctx, timer); err != nil {
				yield(store.Change{}, failed("watch", "", err))
				return
			}
		}
	}
}

// report yields err and tells whether to go on.
func (s *Store) report(ctx context.Context, timer *time.Timer, yield func(store.Change, error) bool, err error) bool {
	final := ctx.Err() != nil || errors.Is(err, store.ErrClosed)
	return yield(store.Change{}, failed("watch", "", err)) && !final && s.pause(ctx, timer) == nil
}

// pause waits until the next look.
func (s *Store) pause(ctx context.Context, timer *time.Timer) error {
	timer.Reset(s.cfg.PollInterval)
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closed:
		return store.ErrClosed
	}
}

// watch is the state of one watcher: what it has seen, and the connection whose version it compares, as versions are told apart only on
// one.
type watch struct {
	last line                    // of the history, as far as it was seen
	rows map[string]store.Change // where no history is kept: all rows as they were seen

	conn    *sql.Conn
	ask     *sql.Stmt // for the version, on conn
	version int64
}

// line is one of the history; its seq is 0 where there is none.
type line struct {
	seq    int64
	change store.Change
}

func (w *watch) close() {
	if w.ask != nil {
		w.ask.Close()
		w.ask = nil
	}
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

// startWatch returns a watcher that has seen all there is now.
func (s *Store) startWatch(ctx context.Context) (*watch, error) {
	w := &watch{}
	if err := s.begin(ctx); err != nil {
		return w, err
	}
	defer s.end()
	keeps, err := s.historyKept(ctx)
	if err == nil {
		w.last, err = s.lastLine(ctx)
	}
	if err == nil && keeps == 0 {
		_, err = s.compare(ctx, w)
	}
	return w, err
}

// historyKept returns how many states of each config the history keeps.
func (s *Store) historyKept(ctx context.Context) (n int, err error) {
	err = s.reading(ctx, &s.keeps, func(ctx context.Context, stmt *sqlx.Stmt) error {
		if err := stmt.QueryRowContext(ctx).Scan(&n); err != nil {
			return s.cfg.Explain(err)
		}
		return nil
	})
	return n, err
}

func (s *Store) lastLine(ctx context.Context) (last line, err error) {
	err = s.eachChange(ctx, &s.last, nil, []any{&last.seq}, func(c store.Change) { last.change = c })
	return last, err
}

// look returns what has changed since the last look.
func (s *Store) look(ctx context.Context, w *watch) ([]store.Change, error) {
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
	keeps, err := s.historyKept(ctx)
	if err != nil {
		return nil, err
	}
	var changes []store.Change
	if keeps == 0 || w.rows != nil {
		changes, err = s.compare(ctx, w)
		if err == nil && keeps > 0 { // from now on the history tells
			w.rows = nil
		}
	} else {
		changes, err = s.follow(ctx, w)
	}
	if err == nil {
		w.version = version
	}
	return changes, err
}

// follow reads on in the history. Of several changes of one ID only the last counts. The last line that was seen stands there still, or
// later ones of its config do. If not, lines were deleted by hand and their numbers may come again: then every row counts as a change, rather
// than that one is missed.
func (s *Store) follow(ctx context.Context, w *watch) (changes []store.Change, err error) {
	place := map[string]int{} // where the change of an ID is in changes
	next, seen, cut := line{}, 0, false
	err = s.eachChange(ctx, &s.since, []any{w.last.seq}, []any{&next.seq}, func(c store.Change) {
		next.change = c
		seen++
		if next.seq == w.last.seq {
			cut = c != w.last.change
			return
		}
		if i, ok := place[c.ID]; ok {
			changes[i].ID = "" // superseded
		}
		place[c.ID] = len(changes)
		changes = append(changes, c)
	})
	switch {
	case err != nil:
		return nil, err
	case cut || seen == 0 && w.last.seq > 0:
		changes, err = s.compare(ctx, w)
		w.rows = nil
		return changes, err
	case seen > 0:
		w.last = next
	}
	return slices.DeleteFunc(changes, func(c store.Change) bool { return c.ID == "" }), nil
}

// compare reads all rows and compares them with those that were seen.
func (s *Store) compare(ctx context.Context, w *watch) (changes []store.Change, err error) {
	last, err := s.lastLine(ctx) // before the rows: what comes in between is seen twice rather than missed
	if err != nil {
		return nil, err
	}
	rows := map[string]store.Change{}
	if err := s.eachChange(ctx, &s.rows, nil, nil, func(c store.Change) {
		if w.rows[c.ID] != c {
			changes = append(changes, c)
		}
		rows[c.ID] = c
	}); err != nil {
		return nil, err
	}
	w.rows, w.last = rows, last
	return changes, nil
}

// eachChange calls f with the changes that a statement returns; into takes the columns that come before them.
func (s *Store) eachChange(ctx context.Context, st *statement, args, into []any, f func(store.Change)) error {
	return s.reading(ctx, st, func(ctx context.Context, stmt *sqlx.Stmt) error {
		rows, err := stmt.QueryContext(ctx, args...)
		if err != nil {
			return s.cfg.Explain(err)
		}
		defer rows.Close()
		for rows.Next() {
			var c store.Change
			var revision int64
			if err := rows.Scan(append(into, &c.ID, &revision, &c.Configured)...); err != nil {
				return s.cfg.Explain(err)
			}
			c.Revision = revisionOf(revision)
			f(c)
		}
		if err := rows.Err(); err != nil {
			return s.cfg.Explain(err)
		}
		return nil
	})
}

// version returns a number that stays while nothing is committed, or 0 if there is none.
func (s *Store) version(ctx context.Context, w *watch) (int64, error) {
	if s.cfg.Version == "" {
		return 0, nil
	}
	ctx = s.inDriver(ctx)
	if w.ask == nil {
		conn, err := s.cfg.Watcher.DB.Conn(ctx)
		if err != nil {
			return 0, err
		}
		w.conn, w.version = conn, 0
		if w.ask, err = conn.PrepareContext(ctx, s.cfg.Version); err != nil {
			return 0, err
		}
	}
	var version int64
	err := w.ask.QueryRowContext(ctx).Scan(&version)
	return version, err
}
