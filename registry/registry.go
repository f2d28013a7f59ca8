package registry

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/pluginregistry/pluginregistry/internal/poll"
	"github.com/pluginregistry/pluginregistry/internal/schema"
	"github.com/pluginregistry/pluginregistry/store"
)

// Registry knows the plugin systems of an application, their plugins, and what each plugin is configured with. Make it with New. All
// methods may be called by any number of goroutines at once.
type Registry struct {
	st              store.Store
	log             *slog.Logger
	aead            AEAD
	plaintext       bool // secrets may be stored in plain text
	strict          bool // no save without a usable schema
	withoutChecking bool
	schemaOptions   schema.Options

	now         atomic.Pointer[snapshot] // what readers see
	schemaNotes atomic.Bool              // a schema was found faulty when it was compiled

	tickets atomic.Uint64 // drawn by each registration and discovery when it begins: the one begun last counts
	flags   flags
	polled  *poll.Hub[store.Revision] // watches a store that is no store.Watcher

	mu      sync.Mutex // guards what follows, and the replacing of now
	schemas map[uint64]*schemaState
}

// Option changes how a registry works. Its zero value changes nothing.
type Option struct{ set func(*Registry) }

// WithLogger makes the registry log to l what it works around: schemas that cannot be enforced. Without it nothing is logged. No value
// of a config is ever logged.
func WithLogger(l *slog.Logger) Option {
	return Option{func(r *Registry) {
		if l != nil {
			r.log = l
		}
	}}
}

// WithSecrets makes the registry seal the secret fields of configs with a before they are stored. See package secret for keys.
func WithSecrets(a AEAD) Option { return Option{func(r *Registry) { r.aead = a }} }

// WithPlaintextSecrets allows secret fields to be stored in plain text if WithSecrets is not given, for data that somebody else protects.
// Beside WithSecrets it allows configs to be saved though nobody can tell which values are secret: see SaveConfig.
func WithPlaintextSecrets() Option { return Option{func(r *Registry) { r.plaintext = true }} }

// WithStrictSchemas refuses to save the config of a registered plugin whose schema cannot be used to validate it. Without it such a
// config is saved unvalidated.
func WithStrictSchemas() Option { return Option{func(r *Registry) { r.strict = true }} }

// WithoutValidation saves configs without checking them against their schemas.
func WithoutValidation() Option { return Option{func(r *Registry) { r.withoutChecking = true }} }

// WithSecretMarks makes values secret that a schema marks in a way of its own: isMark is called with each keyword of a schema and its
// value, and tells whether what that schema applies to is secret. The known marks count without it: writeOnly, the format password,
// x-secret, airbyte_secret and others that docs/secrets.md lists. isMark must be quick, safe for concurrent use, and say the same each time.
func WithSecretMarks(isMark func(keyword string, value json.RawMessage) bool) Option {
	return Option{func(r *Registry) { r.schemaOptions.SecretMark = isMark }}
}

// WithSchemaDocuments gives schemas that references may name, by their URIs. Nothing is ever fetched: a reference to a document that is not
// given here is left out, and SchemaErr says so. The documents must not be changed afterwards.
func WithSchemaDocuments(documents map[string]json.RawMessage) Option {
	return Option{func(r *Registry) { r.schemaOptions.Documents = documents }}
}

// New returns a registry without plugins that keeps configs in st. It does no I/O. The caller closes st after the last use of the
// registry. New panics if st is nil.
func New(st store.Store, opts ...Option) *Registry {
	if st == nil {
		panic("registry: New needs a store, and got nil")
	}
	r := &Registry{st: st, polled: newPoll(st), log: slog.New(slog.DiscardHandler), schemas: map[uint64]*schemaState{}, flags: newFlags()}
	r.now.Store(&snapshot{categories: &shards[*category]{}, plugins: &shards[place]{}, readAs: &shards[[]string]{}})
	for _, opt := range opts {
		if opt.set != nil {
			opt.set(r)
		}
	}
	return r
}

// configs returns the store.
func (r *Registry) configs() store.Store {
	r.mustBeMade()
	return r.st
}

func (r *Registry) mustBeMade() {
	if r == nil || r.st == nil {
		panic("registry: this Registry was not made by New")
	}
}

// String says how many plugins and categories are registered.
func (r *Registry) String() string {
	if r == nil || r.st == nil {
		return "registry that was not made by New"
	}
	s := r.now.Load()
	return fmt.Sprintf("registry of %d plugins in %d categories", s.count, len(s.all()))
}

// Format writes String, whatever the verb: fmt would otherwise read what other goroutines are changing.
func (r *Registry) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }
