package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"iter"

	"github.com/jmoiron/sqlx"

	"github.com/pluginregistry/pluginregistry/store"
)

const statesSQL = `SELECT plugin_id, revision, configured FROM plugin_configs`

// state is what watchers compare. A row is never taken away, and each write gives it another revision.
type state struct {
	revision   int64
	configured bool
}

// Watch yields the changes made after the call, whoever makes them; see [store.Watcher]. All watchers of a store share one look at the database
// in each poll interval.
func (s *Store) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	s.check()
	changes := s.hub.Watch(ctx)
	return func(yield func(store.Change, error) bool) {
		for c, err := range changes {
			if err != nil {
				if !yield(store.Change{}, failed("watch", "", err)) {
					return
				}
				continue
			}
			if !yield(store.Change{ID: c.ID, Revision: revisionOf(c.Value.revision), Configured: c.Value.configured}, nil) {
				return
			}
		}
	}
}

// look is what the looks of one store keep: a connection, and SQLite's number for "somebody else has committed" as it was on it.
type look struct {
	conn    *sql.Conn
	version int64
}

func (l *look) close() {
	if l.conn != nil {
		_ = l.conn.Close()
	}
	*l = look{}
}

// lookAround returns the state of every row; last if nothing was committed since. Two never run at once.
func (s *Store) lookAround(ctx context.Context, last map[string]state) (map[string]state, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	version, err := int64(0), error(nil)
	if s.intact != nil { // a file that has gone has no changes
		err = s.intact()
	}
	if err == nil && s.watcher != nil {
		version, err = s.version(ctx)
	}
	s.life.End()
	if err != nil {
		s.look.close()
		return nil, s.blame(err)
	}
	if version != 0 && version == s.look.version && last != nil {
		return last, nil
	}
	states := make(map[string]state, len(last))
	err = s.read(ctx, &s.states, func(ctx context.Context, stmt *sqlx.Stmt) error {
		var rows []struct {
			ID         string `db:"plugin_id"`
			Revision   int64
			Configured bool
		}
		if err := stmt.SelectContext(ctx, &rows); err != nil {
			return err
		}
		clear(states)
		for _, row := range rows {
			states[row.ID] = state{row.Revision, row.Configured}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.look.version = version
	return states, nil
}

// version asks for the number. It stays while nobody commits.
func (s *Store) version(ctx context.Context) (version int64, err error) {
	ctx = context.WithoutCancel(ctx)
	if s.look.conn == nil {
		if s.look.conn, err = s.watcher.Conn(ctx); err != nil {
			s.look.conn = nil
			return 0, err
		}
	}
	err = s.look.conn.QueryRowContext(ctx, `PRAGMA data_version`).Scan(&version)
	if errors.Is(err, sql.ErrConnDone) {
		err = store.ErrClosed
	}
	return version, err
}
