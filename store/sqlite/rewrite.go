package sqlite

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/pluginregistry/pluginregistry/store"
)

// rewritten is a line of the history to write anew, unless it has changed meanwhile.
type rewritten struct {
	id            string
	revision      int64
	before, after string
}

// RewriteHistory calls rewrite with every kept state of id but the current one and stores what it returns in its place, all in one
// transaction; see [store.Resealer]. A state for which it fails does not keep the others from being rewritten; the errors come joined.
func (s *Store) RewriteHistory(ctx context.Context, id string, rewrite func(store.Version) (json.RawMessage, error)) error {
	s.check()
	var lines []line
	err := s.read(ctx, &s.history, func(ctx context.Context, stmt *sqlx.Stmt) (err error) {
		if err := store.CheckID(id); err != nil {
			return err
		}
		lines, err = readLines(ctx, stmt, id, -1)
		return err
	})
	if err != nil {
		return failed("rewrite history", id, err)
	}
	req := &request{op: "rewrite history"}
	var failures []error
	for _, l := range lines[min(1, len(lines)):] {
		if !l.Configured && l.Err == nil {
			continue
		}
		after, err := l.rewrite(rewrite)
		if err != nil {
			failures = append(failures, fmt.Errorf("revision %q: %w", l.Revision, err))
		} else if after != l.stored {
			req.lines = append(req.lines, rewritten{id, l.number, l.stored, after})
		}
	}
	if err := s.submit(ctx, req); err != nil {
		failures = append(failures, err)
	}
	if failures != nil {
		return failed("rewrite history", id, errors.Join(failures...))
	}
	return nil
}

// rewrite returns the text to store for a line, which is what is stored if nothing changes.
func (l *line) rewrite(rewrite func(store.Version) (json.RawMessage, error)) (string, error) {
	if l.Err != nil {
		return "", l.Err
	}
	given := l.Version
	given.Config = bytes.Clone(l.Config)
	config, err := rewrite(given)
	if err == nil {
		config, err = store.Canonical(config)
	}
	if err != nil || bytes.Equal(config, l.Config) {
		return l.stored, err
	}
	return string(config), nil
}

// Scrub clears what overwritten and deleted configs have left in the database and its -wal file. A reader that is in a transaction, such as a
// sqlite3 shell, keeps it from doing so: the error then is that the database is locked. In a database that has tables of others, too, Scrub
// moves no rows: what was overwritten or deleted through this package is clear already, but not what the sqlite3 shell has left.
func (s *Store) Scrub(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return failed("scrub", "", err)
	}
	defer s.life.End()
	if s.readOnly != nil {
		return failed("scrub", "", s.readOnly)
	}
	err := s.patiently(ctx, func() error { return s.scrub(ctx) })
	if err != nil {
		return failed("scrub", "", s.blame(err))
	}
	return nil
}

// othersSQL counts the tables that are not ours. VACUUM gives rows without an INTEGER PRIMARY KEY other rowids.
const othersSQL = `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'plugin\_config%' ESCAPE '\' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name <> 'pluginregistry_migrations'`

func (s *Store) scrub(ctx context.Context) error {
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var others int
	if err := conn.QueryRowContext(ctx, othersSQL).Scan(&others); err != nil {
		return err
	}
	if others == 0 && !s.shared {
		if _, err := conn.ExecContext(ctx, `VACUUM`); err != nil {
			return err
		}
	}
	var blocked, log, moved int
	if err := conn.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&blocked, &log, &moved); err != nil {
		return err
	}
	if blocked != 0 {
		return errLocked
	}
	return nil
}
