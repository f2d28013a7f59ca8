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
