package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jmoiron/sqlx"

	"github.com/pluginregistry/pluginregistry/store"
)

const (
	getNoteSQL = `SELECT title, disabled FROM plugin_configs WHERE plugin_id = ?`
	notesSQL   = `SELECT plugin_id, title, disabled FROM plugin_configs WHERE (title <> '' OR disabled = 1) AND plugin_id >= ?1 AND (?2 = '' OR plugin_id < ?2)`
)

// Note returns the note of id, or the zero Note if there is none.
func (s *Store) Note(ctx context.Context, id string) (note store.Note, err error) {
	s.check()
	err = s.read(ctx, &s.getNote, func(ctx context.Context, stmt *sqlx.Stmt) error {
		if err := store.CheckID(id); err != nil {
			return err
		}
		err := stmt.QueryRowContext(ctx, id).Scan(&note.Title, &note.Disabled)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return store.Note{}, failed("note", id, err)
	}
	return note, nil
}

// Notes returns the notes that differ from the zero Note, of all IDs that begin with prefix.
func (s *Store) Notes(ctx context.Context, prefix string) (map[string]store.Note, error) {
	s.check()
	notes := map[string]store.Note{}
	err := s.read(ctx, &s.notes, func(ctx context.Context, stmt *sqlx.Stmt) error {
		var rows []struct {
			ID       string `db:"plugin_id"`
			Title    string
			Disabled bool
		}
		if err := stmt.SelectContext(ctx, &rows, prefix, prefixEnd(prefix)); err != nil {
			return err
		}
		clear(notes)
		for _, row := range rows {
			notes[row.ID] = store.Note{Title: row.Title, Disabled: row.Disabled}
		}
		return nil
	})
	if err != nil {
		return nil, failed("notes", "", err)
	}
	return notes, nil
}

// SetNote saves the note of id if match agrees with its revision, and returns the new revision, which is Absent if there is no config; see
// [store.Annotator].
func (s *Store) SetNote(ctx context.Context, id string, note store.Note, match store.Revision) (store.Revision, error) {
	err := store.CheckID(id)
	if err == nil {
		err = store.CheckNote(note)
	}
	req := &request{op: "set note", puts: []put{{id: id, note: &note, match: match}}}
	if err == nil {
		err = s.submit(ctx, req)
	}
	if err != nil {
		return store.Absent, failed("set note", id, err)
	}
	if p := &req.puts[0]; p.configured {
		return revisionOf(p.revision), nil
	}
	return store.Absent, nil
}
