package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/jmoiron/sqlx"

	"github.com/pluginregistry/pluginregistry/store"
)

const (
	getSQL = `SELECT config, revision, updated_at, checked FROM plugin_configs WHERE plugin_id = ? AND configured = 1`

	// configuredSQL takes the prefix and the first text behind all that begin with it, "" if there is none.
	configuredSQL = `SELECT plugin_id FROM plugin_configs WHERE configured = 1 AND plugin_id >= ?1 AND (?2 = '' OR plugin_id < ?2)`

	// historySQL takes the ID and the most states to return, -1 for all. The current state comes from its row, as the history does not have it
	// if none was kept when it was saved.
	historySQL = `
SELECT revision, config, configured, updated_at, author FROM plugin_configs WHERE plugin_id = ?1 AND revision > 0
UNION ALL
SELECT h.revision, h.config, h.configured, h.changed_at, h.author
FROM plugin_config_history AS h JOIN plugin_configs AS c ON c.plugin_id = h.plugin_id
WHERE h.plugin_id = ?1 AND h.revision < c.revision
ORDER BY 1 DESC LIMIT ?2`

	keptSQL = `SELECT DISTINCT plugin_id FROM plugin_config_history`
)

// Get returns the config of id, or [store.ErrNotFound].
func (s *Store) Get(ctx context.Context, id string) (store.Record, error) {
	s.check()
	var rec store.Record
	err := s.read(ctx, &s.get, func(ctx context.Context, stmt *sqlx.Stmt) error {
		if err := store.CheckID(id); err != nil {
			return err
		}
		var config []byte
		var revision, checked int64
		var at string
		err := stmt.QueryRowContext(ctx, id).Scan(&config, &revision, &at, &checked)
		if errors.Is(err, sql.ErrNoRows) {
			return store.ErrNotFound
		}
		if err == nil {
			rec, err = record(id, config, revision, at, checked)
		}
		return err
	})
	if err != nil {
		return store.Record{}, failed("get", id, err)
	}
	return rec, nil
}

// record is the record of a row. What the library wrote is canonical text and is not parsed again; checked tells.
func record(id string, config []byte, revision int64, at string, checked int64) (store.Record, error) {
	rec := store.Record{ID: id, Config: config, Revision: revisionOf(revision)}
	var err error
	if rec.UpdatedAt, err = parseTime(at); err != nil {
		return rec, err
	}
	if checked != revision || len(config) < 2 || config[0] != '{' || config[len(config)-1] != '}' {
		rec.Config, err = readable(config)
	}
	return rec, err
}

// readable returns the canonical text of a config that was written by hand.
func readable(config []byte) (json.RawMessage, error) {
	canonical, err := store.Canonical(config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w; mend the row, or save or delete the config", store.ErrCorrupt, err)
	}
	return canonical, nil
}

// timeFormat is how SQLite's strftime writes RFC 3339 in the triggers.
const timeFormat = "2006-01-02T15:04:05.000Z"

func parseTime(at string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: its time is no RFC 3339 time", store.ErrCorrupt)
	}
	return t.UTC(), nil
}

func revisionOf(n int64) store.Revision { return store.Revision(strconv.FormatInt(n, 10)) }

// Configured returns the IDs that begin with prefix and have a config, sorted by code point. An empty prefix means all.
func (s *Store) Configured(ctx context.Context, prefix string) ([]string, error) {
	s.check()
	return s.ids(ctx, "configured", &s.configured, prefix, prefixEnd(prefix))
}

// prefixEnd returns the first text in the order of code points that is greater than all that begin with prefix, or "" if there is none.
func prefixEnd(prefix string) string {
	for prefix != "" {
		r, size := utf8.DecodeLastRuneInString(prefix)
		prefix = prefix[:len(prefix)-size]
		if r == 0xD7FF { // the surrogates that follow are no text
			r = 0xDFFF
		}
		if r < utf8.MaxRune {
			return prefix + string(r+1)
		}
	}
	return ""
}

// Kept returns the IDs that have a history, those of deleted configs among them.
func (s *Store) Kept(ctx context.Context) ([]string, error) {
	s.check()
	return s.ids(ctx, "kept", &s.kept)
}

func (s *Store) ids(ctx context.Context, op string, st *statement, args ...any) (ids []string, err error) {
	err = s.read(ctx, st, func(ctx context.Context, stmt *sqlx.Stmt) error {
		ids = nil
		return stmt.SelectContext(ctx, &ids, args...)
	})
	if err != nil {
		return nil, failed(op, "", err)
	}
	slices.Sort(ids) // the order of SQLite is another one in UTF-16
	return ids, nil
}

// History returns the newest states of id that are kept, the current one included, at most limit of them; a limit of 0 or less means all.
func (s *Store) History(ctx context.Context, id string, limit int) ([]store.Version, error) {
	s.check()
	var versions []store.Version
	err := s.read(ctx, &s.history, func(ctx context.Context, stmt *sqlx.Stmt) (err error) {
		if err := store.CheckID(id); err != nil {
			return err
		}
		if limit <= 0 {
			limit = -1
		}
		lines, err := readLines(ctx, stmt, id, limit)
		versions = make([]store.Version, len(lines))
		for i, l := range lines {
			versions[i] = l.Version
		}
		return err
	})
	if err != nil {
		return nil, failed("history", id, err)
	}
	return versions, nil
}

// line is one state in the history.
type line struct {
	store.Version
	number int64
	stored string // the config as it is stored
}

// readLines runs historySQL. What cannot be read is noted in Err of its line.
func readLines(ctx context.Context, stmt *sqlx.Stmt, id string, limit int) ([]line, error) {
	var rows []struct {
		Revision   int64
		Config     sql.NullString
		Configured bool
		At         string `db:"updated_at"`
		Author     string
	}
	if err := stmt.SelectContext(ctx, &rows, id, limit); err != nil {
		return nil, err
	}
	lines := make([]line, len(rows))
	for i, row := range rows {
		l := line{number: row.Revision, stored: row.Config.String}
		l.Record = store.Record{ID: id, Revision: revisionOf(row.Revision)}
		l.Configured, l.Author = row.Configured, row.Author
		if l.UpdatedAt, l.Err = parseTime(row.At); l.Err == nil && l.Configured {
			l.Config, l.Err = readable([]byte(l.stored))
		}
		lines[i] = l
	}
	return lines, nil
}
