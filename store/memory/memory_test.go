package memory_test

import (
	"testing"

	"github.com/pluginregistry/pluginregistry/store"
	"github.com/pluginregistry/pluginregistry/store/memory"
	"github.com/pluginregistry/pluginregistry/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return memory.New() })
}

func TestZeroStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return new(memory.Store) })
}

func TestShared(t *testing.T) {
	storetest.RunShared(t, func(*testing.T) func() store.Store {
		s := memory.New()
		return func() store.Store { return s }
	})
}

// TestNilStore: a nil store says what it is.
func TestNilStore(t *testing.T) {
	var s *memory.Store
	for name, call := range map[string]func(){
		"Get":        func() { s.Get(t.Context(), "a") },
		"Put":        func() { s.Put(t.Context(), "a", []byte(`{}`), store.Any) },
		"Delete":     func() { s.Delete(t.Context(), "a", store.Any) },
		"Configured": func() { s.Configured(t.Context(), "") },
		"Watch":      func() { s.Watch(t.Context()) },
		"SetNote":    func() { s.SetNote(t.Context(), "a", store.Note{}, store.Any) },
	} {
		func() {
			defer func() {
				if said := recover(); said != "memory: the *Store is nil; New makes one" {
					t.Errorf("%s of a nil store panics with %v", name, said)
				}
			}()
			call()
		}()
	}
}
