package registry

import (
	"context"
	"encoding/json"
)

// Manager is one plugin system: it knows which plugins there are and what each may be configured with.
//
// The registry calls it outside every lock, from RegisterManager and Refresh only, so a manager may call the registry back. It may
// be called by several goroutines at once if the application calls those so.
type Manager interface {
	// Discover returns the plugins that are there now. It may return plugins and an error: some of its sources failed. Those
	// plugins are then registered and the error is reported in a *DiscoveryError.
	Discover(ctx context.Context) ([]Info, error)

	// ConfigSchema returns the JSON Schema of the config of the plugin with that name. An error, or a text that is no JSON
	// object, leaves the plugin registered, with its SchemaErr set. The bytes are kept and must not be changed later.
	ConfigSchema(ctx context.Context, name string) (json.RawMessage, error)
}

// Migrator is a Manager that can bring a stored config of an earlier version of a plugin up to date. It is asked by Check and
// CheckAll when the stored config does not fit today's schema; see there.
type Migrator interface {
	// MigrateConfig returns what old is in today's form, or an error, which leaves it as it is. Secrets in old are in plain text.
	MigrateConfig(ctx context.Context, name string, old json.RawMessage) (json.RawMessage, error)
}

// Binder is a Manager that is told in which registries it is registered, under which category. RegisterManager calls Bind after the
// category has become visible; it may be called several times for the same one.
type Binder interface {
	Bind(r *Registry, category string)
}

// Info is what a manager says of one plugin. Only Name is needed.
type Info struct {
	Name        string
	Version     string
	Title       string // shown where the schema has no title; else the name is
	Description string // shown where the schema has no description

	ExecutionMode ExecutionMode // "" is ModeInProcess
	Resources
}
