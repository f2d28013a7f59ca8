package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
)

// stuck is a store that answers nothing while stuck is set, until the context of a call ends.
type stuck struct {
	*memory.Store
	stuck bool
}

func (s *stuck) wait(ctx context.Context) error {
	if !s.stuck {
		return nil
	}
	<-ctx.Done()
	return &store.Error{Op: "wait", Err: ctx.Err()}
}

func (s *stuck) Get(ctx context.Context, id string) (store.Record, error) {
	if err := s.wait(ctx); err != nil {
		return store.Record{}, err
	}
	return s.Store.Get(ctx, id)
}

func (s *stuck) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	if err := s.wait(ctx); err != nil {
		return store.Record{}, err
	}
	return s.Store.Put(ctx, id, config, match)
}

func (s *stuck) PutAll(ctx context.Context, puts []store.Put) ([]store.Record, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.Store.PutAll(ctx, puts)
}

func (s *stuck) Delete(ctx context.Context, id string, match store.Revision) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	return s.Store.Delete(ctx, id, match)
}

func (s *stuck) Configured(ctx context.Context, prefix string) ([]string, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.Store.Configured(ctx, prefix)
}

// TestDeadlines: a call over a store that does not answer ends within 100 ms of its deadline, also where calls of the same ID overlap.
func TestDeadlines(t *testing.T) {
	config := map[string]any{"n": 1}
	for name, call := range map[string]func(ctx context.Context, r *registry.Registry) error{
		"LoadConfig": func(ctx context.Context, r *registry.Registry) error { _, err := r.LoadConfig(ctx, "c_a"); return err },
		"SaveConfig": func(ctx context.Context, r *registry.Registry) error {
			_, err := r.SaveConfig(ctx, "c_a", config)
			return err
		},
		"DeleteConfig": func(ctx context.Context, r *registry.Registry) error { return r.DeleteConfig(ctx, "c_a") },
		"SaveConfigs": func(ctx context.Context, r *registry.Registry) error {
			_, err := r.SaveConfigs(ctx, map[string]any{"c_a": config, "c_b": config})
			return err
		},
		"UpdateConfig": func(ctx context.Context, r *registry.Registry) error {
			_, err := r.UpdateConfig(ctx, "c_a", func(store.Record) (any, error) { return config, nil })
			return err
		},
		"Sync":    func(ctx context.Context, r *registry.Registry) error { return r.Sync(ctx) },
		"Refresh": func(ctx context.Context, r *registry.Registry) error { return r.Refresh(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := &stuck{Store: memory.New()}
				r := registry.New(st)
				register(t, r, "c", finding("a", "b"))
				st.stuck = true
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				done := make(chan error)
				for range 3 {
					go func() { done <- call(ctx, r) }()
				}
				for range 3 {
					if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("it returned %v", err)
					}
				}
				if late := time.Since(began) - time.Second; late > 100*time.Millisecond {
					t.Errorf("it ended %v after its deadline", late)
				}
			})
		})
	}
}

// answerLost is a store whose answer to a write is lost, and that cannot be asked for a while.
type answerLost struct {
	store.Store
	lose bool // the answer of the next write
	lost bool
}

func (s *answerLost) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	rec, err := s.Store.Put(ctx, id, config, match)
	if s.lose {
		s.lose, s.lost = false, true
		return store.Record{}, &store.Error{Op: "put", ID: id, Err: store.ErrUncertain}
	}
	return rec, err
}

func (s *answerLost) Get(ctx context.Context, id string) (store.Record, error) {
	if s.lost {
		return store.Record{}, &store.Error{Op: "get", ID: id, Err: errBroken}
	}
	return s.Store.Get(ctx, id)
}

// TestFlagAfterUncertainWrites: the flag of a write of which it is not known whether it was done is asked for, later if the store cannot
// be asked now.
func TestFlagAfterUncertainWrites(t *testing.T) {
	st := &answerLost{Store: memory.New()}
	r := registry.New(st)
	register(t, r, "c", finding("a"))
	st.lose = true
	if _, err := r.SaveConfig(t.Context(), "c_a", map[string]any{}); !errors.Is(err, store.ErrUncertain) {
		t.Fatal(err)
	}
	st.lost = false
	if _, err := r.LoadConfig(t.Context(), "c_a"); err != nil {
		t.Fatal(err)
	}
	if !isConfigured(t, r, "c_a") {
		t.Error("the flag was not asked for when the config was loaded")
	}
}

// TestOwnWritesCountAsChanged: a watcher of a store that cannot watch finds the flag wrong if another process undoes a write before the
// store is looked at.
func TestOwnWritesCountAsChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := memory.New()
		r := registry.New(struct{ store.Store }{inner})
		register(t, r, "c", finding("a", "b"))
		save(t, r, "c_b", map[string]any{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		changes := r.Watch(ctx)
		go func() {
			defer close(ended)
			for range changes {
			}
		}()
		time.Sleep(10 * time.Second)
		save(t, r, "c_a", map[string]any{})
		if err := inner.Delete(ctx, "c_a", store.Any); err != nil { // another process
			t.Fatal(err)
		}
		rec, err := inner.Get(ctx, "c_b")
		if err != nil {
			t.Fatal(err)
		}
		if err := r.DeleteConfig(ctx, "c_b"); err != nil {
			t.Fatal(err)
		}
		if _, err := inner.Put(ctx, "c_b", rec.Config, store.Any); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if isConfigured(t, r, "c_a") || !isConfigured(t, r, "c_b") {
			t.Errorf("flags: %v %v", isConfigured(t, r, "c_a"), isConfigured(t, r, "c_b"))
		}
		cancel()
		<-ended
	})
}
