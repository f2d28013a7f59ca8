package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pluginregistry/pluginregistry/internal/poll"
)

type authorKey struct{}

// WithAuthor returns a context that names who makes the writes done with it. Stores that keep a history keep the name in
// Version.Author. At most MaxAuthor bytes of it are kept.
func WithAuthor(ctx context.Context, author string) context.Context {
	return context.WithValue(ctx, authorKey{}, author)
}

// MaxAuthor is the length of the longest author that is kept, in bytes.
const MaxAuthor = 256

// Author returns the name that WithAuthor gave to ctx, as stores keep it: valid UTF-8 without NUL, at most MaxAuthor bytes; "" if none was given.
func Author(ctx context.Context) string {
	author, _ := ctx.Value(authorKey{}).(string)
	author = strings.ReplaceAll(strings.ToValidUTF8(author, "\uFFFD"), "\x00", "\uFFFD")
	for len(author) > MaxAuthor {
		_, size := utf8.DecodeLastRuneInString(author)
		author = author[:len(author)-size]
	}
	return author
}

// PutAll does all the puts or none, if s can; else the error is errors.ErrUnsupported.
func PutAll(ctx context.Context, s Store, puts []Put) ([]Record, error) {
	b, ok := s.(Batcher)
	if !ok {
		return nil, &Error{Op: "put all", Err: fmt.Errorf("%w: %T cannot save several configs in one step", errors.ErrUnsupported, s)}
	}
	return b.PutAll(ctx, puts)
}

// CheckPuts checks what a store must before it writes: that each ID and config is valid and no ID stands twice. It returns the puts
// with their configs in canonical text. op is for the error.
func CheckPuts(op string, puts []Put) ([]Put, error) {
	seen := make(map[string]struct{}, len(puts))
	checked := make([]Put, len(puts))
	for i, p := range puts {
		if err := CheckID(p.ID); err != nil {
			return nil, &Error{Op: op, ID: p.ID, Err: err}
		}
		if _, twice := seen[p.ID]; twice {
			return nil, &Error{Op: op, ID: p.ID, Err: fmt.Errorf("%w: it stands twice in one batch", ErrInvalidID)}
		}
		seen[p.ID] = struct{}{}
		config, err := Canonical(p.Config)
		if err != nil {
			return nil, &Error{Op: op, ID: p.ID, Err: err}
		}
		checked[i] = Put{ID: p.ID, Config: config, Match: p.Match}
	}
	return checked, nil
}

// History returns the states of id that s keeps, newest first (see Historian), if s keeps any; else the error is errors.ErrUnsupported.
func History(ctx context.Context, s Store, id string, limit int) ([]Version, error) {
	h, ok := s.(Historian)
	if !ok {
		return nil, &Error{Op: "history", ID: id, Err: fmt.Errorf("%w: %T keeps no history", errors.ErrUnsupported, s)}
	}
	return h.History(ctx, id, limit)
}

// Copy saves every config that src has into dst, over what dst may have under the same ID, and returns how many dst then has from
// src. A config that cannot be read or saved does not keep the others from being copied. The errors come joined, each a *Error with
// its ID. Copy stops early only if the context is done or a store is closed. Run again it finishes, as saving what is stored already
// writes nothing. Configs that only dst has stay. Notes and history are not copied.
func Copy(ctx context.Context, dst, src Store) (int, error) {
	ids, err := src.Configured(ctx, "")
	if err != nil {
		return 0, fmt.Errorf("copy: listing the configs of the source: %w", err)
	}
	copied := 0
	var failures []error
	for _, id := range ids {
		rec, err := src.Get(ctx, id)
		if errors.Is(err, ErrNotFound) { // deleted since the list was made
			continue
		}
		if err == nil {
			_, err = dst.Put(ctx, id, rec.Config, Any)
		}
		switch {
		case err == nil:
			copied++
		case ctx.Err() != nil || errors.Is(err, ErrClosed):
			failures = append(failures, err)
			return copied, fmt.Errorf("copy: stopped when %d of %d configs were copied; copy again: %w", copied, len(ids), errors.Join(failures...))
		default:
			failures = append(failures, err)
		}
	}
	if failures != nil {
		return copied, fmt.Errorf("copy: %d of %d configs are not copied; mend the causes and copy again: %w", len(failures), len(ids), errors.Join(failures...))
	}
	return copied, nil
}

// Watch yields the changes of s: by its own Watch if it is a Watcher, else by calling Configured and Get for all its configs every
// interval, which must be positive. See Watcher for what it promises.
func Watch(ctx context.Context, s Store, interval time.Duration) iter.Seq2[Change, error] {
	if w, ok := s.(Watcher); ok {
		return w.Watch(ctx)
	}
	hub := &poll.Hub[Revision]{
		Interval: interval,
		Look: func(ctx context.Context, _ map[string]Revision) (map[string]Revision, error) {
			return Revisions(ctx, s)
		},
		Fatal: func(err error) bool { return errors.Is(err, ErrClosed) },
	}
	changes := hub.Watch(ctx)
	return func(yield func(Change, error) bool) {
		for c, err := range changes {
			if !yield(Change{ID: c.ID, Revision: c.Value, Configured: c.Value != Absent}, err) {
				return
			}
		}
	}
}

// Revisions returns the revision of every config in s, by ID. It calls Configured and, for each ID, Get. A config that cannot be read
// has the revision "corrupt".
func Revisions(ctx context.Context, s Store) (map[string]Revision, error) {
	ids, err := s.Configured(ctx, "")
	if err != nil {
		return nil, err
	}
	state := make(map[string]Revision, len(ids))
	for _, id := range ids {
		rec, err := s.Get(ctx, id)
		switch {
		case err == nil:
			state[id] = rec.Revision
		case errors.Is(err, ErrCorrupt):
			state[id] = "corrupt"
		case !errors.Is(err, ErrNotFound):
			return nil, err
		}
	}
	return state, nil
}
