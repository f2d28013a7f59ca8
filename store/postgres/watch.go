package postgres

import (
	"context"
	"errors"
	"iter"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pluginregistry/pluginregistry/internal/poll"
	"github.com/pluginregistry/pluginregistry/store"
)

// seen is what watchers know of one ID.
type seen struct {
	version
	configured bool
}

// watch is the one loop that looks for changes, for all watchers of a store.
type watch struct {
	hub poll.Hub[seen]

	// Of the last look; looks never overlap.
	snapshot, place string
	looked          time.Time

	listener
}

func (w *watch) init(s *Store) {
	w.hub = poll.Hub[seen]{Interval: s.opts.pollInterval, Look: s.look, Fatal: func(err error) bool { return errors.Is(err, store.ErrClosed) }, Idle: w.stop}
}

func (w *watch) close() {
	w.stop()
	w.hub.Wake() // so that the watchers see that the store is closed
}

// Watch yields the changes made after the call, whoever makes them. All watchers of a store share one connection, on which the server tells
// of changes, and one query per change.
func (s *Store) Watch(ctx context.Context) iter.Seq2[store.Change, error] {
	s.made()
	s.watch.woken.Store(true) // what was saved before the call is to be seen by its first look
	changes := s.watch.hub.Watch(ctx)
	return func(yield func(store.Change, error) bool) {
		for c, err := range changes {
			change := store.Change{ID: c.ID, Configured: c.Value.configured}
			if c.Value.revision != 0 {
				change.Revision = c.Value.public()
			}
			if err != nil {
				change, err = store.Change{}, wrap("watch", "", err)
			}
			if !yield(change, err) {
				return
			}
		}
	}
}

// longLook is how often is looked even if the server tells of changes: a connection may be dead without anybody knowing.
const longLook = 30 * time.Second

// look returns the state of every ID. It asks for what has changed since the last look, if the server it comes to can tell.
func (s *Store) look(ctx context.Context, last map[string]seen) (map[string]seen, error) {
	w := &s.watch
	w.start(s)
	woken := w.woken.Swap(false)
	if last != nil && w.hearing.Load() && !woken && time.Since(w.looked) < longLook {
		if err := s.life.Begin(ctx); err != nil {
			return nil, err
		}
		s.life.End()
		return last, nil
	}
	now := last
	var snapshot, place string
	err := s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		now = last
		if last != nil && w.place != "" {
			own := false // now is a copy
			err := s.exchange(ctx, conn, s.opts.timeout, query{s.sql.changed, []any{w.snapshot, w.place}, func(rows pgx.Rows) error {
				id, v, err := scanSeen(rows, &snapshot, &place)
				if err == nil && id != "" && now[id] != v {
					if !own {
						own, now = true, maps.Clone(last)
					}
					now[id] = v
				}
				return err
			}})
			if err != nil || place == w.place {
				return err
			}
		}
		now = make(map[string]seen, len(last))
		return s.exchange(ctx, conn, s.opts.timeout, query{s.sql.all, nil, func(rows pgx.Rows) error {
			id, v, err := scanSeen(rows, &snapshot, &place)
			if err == nil && id != "" {
				now[id] = v
			}
			return err
		}})
	})
	if err != nil {
		return nil, err
	}
	w.snapshot, w.place, w.looked = snapshot, place, time.Now()
	return now, nil
}

func scanSeen(rows pgx.Rows, snapshot, place *string) (string, seen, error) {
	var id, tag *string
	var configured *bool
	var revision *int64
	err := rows.Scan(snapshot, place, &id, &configured, &revision, &tag)
	if err != nil || id == nil {
		return "", seen{}, err
	}
	return *id, seen{version{*revision, *tag}, *configured}, nil
}
