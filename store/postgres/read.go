package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pluginregistry/pluginregistry/store"
)

// version names a state of one ID: the how-manieth it is, and the tag of the save that made it.
type version struct {
	revision int64 // 0 is none
	tag      string
}

func (v version) public() store.Revision {
	return store.Revision(strconv.FormatInt(v.revision, 10) + "-" + v.tag)
}

// parseVersion returns the zero version if rev is none of this store.
func parseVersion(rev store.Revision) version {
	number, tag, _ := strings.Cut(string(rev), "-")
	n, err := strconv.ParseInt(number, 10, 64)
	v := version{n, tag}
	if err != nil || n <= 0 || tag == "" || v.public() != rev {
		return version{}
	}
	return v
}

// newTag returns 13 characters that no other save has.
func newTag() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	tag := strconv.FormatUint(binary.BigEndian.Uint64(b[:]), 36)
	return strings.Repeat("0", 13-len(tag)) + tag
}

// readable returns the canonical text of a config that was stored.
func readable(config []byte) (json.RawMessage, error) {
	c, err := store.Canonical(config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w; mend the row, or save or delete the config", store.ErrCorrupt, err)
	}
	return c, nil
}

// Get returns the config of id, or store.ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (store.Record, error) {
	rec, err := s.get(ctx, id)
	if err != nil {
		return store.Record{}, wrap("get", id, err)
	}
	return rec, nil
}

func (s *Store) get(ctx context.Context, id string) (rec store.Record, err error) {
	if err := store.CheckID(id); err != nil {
		return rec, err
	}
	var config []byte
	var v version
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		config, v = nil, version{}
		return s.exchange(ctx, conn, s.opts.timeout, query{s.sql.get, []any{id}, func(rows pgx.Rows) error {
			return rows.Scan(&config, &v.revision, &v.tag, &rec.UpdatedAt)
		}})
	})
	switch {
	case err != nil:
		return rec, err
	case v.revision == 0:
		return rec, store.ErrNotFound
	}
	rec.ID, rec.Revision, rec.UpdatedAt = id, v.public(), rec.UpdatedAt.UTC()
	rec.Config, err = readable(config)
	return rec, err
}

// Configured returns the IDs that begin with prefix and have a config, sorted by code point.
func (s *Store) Configured(ctx context.Context, prefix string) ([]string, error) {
	ids, err := s.ids(ctx, s.sql.configured, prefix)
	if err != nil {
		return nil, wrap("configured", "", err)
	}
	return ids, nil
}

// Kept returns the IDs that have a history, those of deleted configs among them.
func (s *Store) Kept(ctx context.Context) ([]string, error) {
	ids, err := s.ids(ctx, s.sql.kept)
	if err != nil {
		return nil, wrap("kept", "", err)
	}
	return ids, nil
}

func (s *Store) ids(ctx context.Context, sql string, args ...any) (ids []string, err error) {
	if len(args) > 0 && !storable(args[0].(string)) {
		return nil, nil
	}
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		ids = nil
		return s.exchange(ctx, conn, s.opts.timeout, query{sql, args, func(rows pgx.Rows) error {
			var id string
			err := rows.Scan(&id)
			ids = append(ids, id)
			return err
		}})
	})
	return ids, err
}

// storable tells whether an ID can begin with prefix. The server would refuse any other text.
func storable(prefix string) bool { return prefix == "" || store.CheckID(prefix) == nil }

// History returns the states of id that are kept, newest first. A limit of 0 or less means all.
func (s *Store) History(ctx context.Context, id string, limit int) ([]store.Version, error) {
	states, err := s.history(ctx, id, limit)
	if err != nil {
		return nil, wrap("history", id, err)
	}
	return states, nil
}

func (s *Store) history(ctx context.Context, id string, limit int) (states []store.Version, err error) {
	if err := store.CheckID(id); err != nil {
		return nil, err
	}
	var most any // NULL is no limit
	if limit > 0 {
		most = int64(limit)
	}
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		states = nil
		return s.exchange(ctx, conn, s.opts.timeout, query{s.sql.history, []any{id, most}, func(rows pgx.Rows) error {
			var config []byte
			var v version
			st := store.Version{Record: store.Record{ID: id}}
			err := rows.Scan(&config, &st.Configured, &v.revision, &v.tag, &st.UpdatedAt, &st.Author)
			st.Revision, st.UpdatedAt = v.public(), st.UpdatedAt.UTC()
			if err == nil && st.Configured {
				st.Config, st.Err = readable(config)
			}
			states = append(states, st)
			return err
		}})
	})
	return states, err
}

// RewriteHistory calls rewrite with every kept state of id but the current one, and stores what it returns in its place under the same
// revision. Each state is rewritten in a transaction of its own; one that fails does not stop the others.
func (s *Store) RewriteHistory(ctx context.Context, id string, rewrite func(store.Version) (json.RawMessage, error)) error {
	states, err := s.history(ctx, id, 0)
	if err != nil {
		return wrap("rewrite history", id, err)
	}
	var failures []error
	for _, st := range states[min(1, len(states)):] {
		err := st.Err
		if st.Configured && err == nil {
			err = s.rewrite(ctx, st, rewrite)
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("revision %q: %w", st.Revision, err))
		}
	}
	if failures != nil {
		return wrap("rewrite history", id, errors.Join(failures...))
	}
	return nil
}

func (s *Store) rewrite(ctx context.Context, st store.Version, rewrite func(store.Version) (json.RawMessage, error)) error {
	before, v := st.Config, parseVersion(st.Revision)
	st.Config = bytes.Clone(before)
	config, err := rewrite(st)
	if err != nil {
		return err
	}
	if config, err = store.Canonical(config); err != nil || bytes.Equal(config, before) {
		return err
	}
	// Done twice it is the same, so it may be tried again like a read.
	return s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return s.exchange(ctx, conn, s.opts.timeout, query{s.sql.rewrite, []any{st.ID, v.revision, v.tag, string(config)}, func(pgx.Rows) error { return nil }})
	})
}

// Scrub runs VACUUM on the tables, by which the server gives the place of overwritten rows free. The bytes are gone when something else is
// written there. It does not reach the server's log of changes, its archive, or backups. A role that does not own the tables changes nothing
// with it.
func (s *Store) Scrub(ctx context.Context) error {
	err := s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, s.sql.vacuum, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return wrap("scrub", "", err)
	}
	return nil
}

// Note returns the note of id, or the zero Note.
func (s *Store) Note(ctx context.Context, id string) (note store.Note, err error) {
	if err = store.CheckID(id); err == nil {
		err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
			note = store.Note{}
			return s.exchange(ctx, conn, s.opts.timeout, query{s.sql.note, []any{id}, func(rows pgx.Rows) error {
				return rows.Scan(&note.Title, &note.Disabled)
			}})
		})
	}
	if err != nil {
		return store.Note{}, wrap("note", id, err)
	}
	return note, nil
}

// Notes returns the notes that differ from the zero Note, of all IDs that begin with prefix.
func (s *Store) Notes(ctx context.Context, prefix string) (notes map[string]store.Note, err error) {
	notes = map[string]store.Note{}
	if !storable(prefix) {
		return notes, nil
	}
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		clear(notes)
		return s.exchange(ctx, conn, s.opts.timeout, query{s.sql.notes, []any{prefix}, func(rows pgx.Rows) error {
			var id string
			var note store.Note
			err := rows.Scan(&id, &note.Title, &note.Disabled)
			notes[id] = note
			return err
		}})
	})
	if err != nil {
		return nil, wrap("notes", "", err)
	}
	return notes, nil
}
