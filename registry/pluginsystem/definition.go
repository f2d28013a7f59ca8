package pluginsystem

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/store"
)

// Definition says what one plugin is and how an instance of it is made. Name and New are needed.
type Definition[P any] struct {
	Name        string
	Version     string
	Title       string // shown where the schema has no title; else the name is
	Description string // shown where the schema has no description

	// Schema is the JSON Schema of the config. Without one every config is taken. WithConfig makes it from a Go struct.
	Schema json.RawMessage
	// ExecutionMode is where the plugin runs; "" is registry.ModeInProcess. A loaded instance that is an ExecutionModer tells itself.
	ExecutionMode registry.ExecutionMode

	// Available returns why the plugin cannot be used here, or nil: a library is missing, there is no GPU. A nil Available is always
	// well. Discover leaves out, and Load refuses, what is not available. It may be called by several goroutines at once.
	Available func(ctx context.Context) error

	// New makes an instance. config is a JSON object in canonical text that fits the schema, laid over its defaults; its bytes are
	// New's own. ctx ends the making: what is to run on after New has returned, as a child process, must not be bound to it.
	// An instance that has a method Close is closed when it is unloaded: Close(), Close() error, or Close(context.Context) error.
	New func(ctx context.Context, config json.RawMessage) (P, error)
}

// WithConfig returns def with a New that takes its config as a C, a struct, and with the schema that registry.SchemaFor makes of C,
// unless def has a schema. The config is decoded strictly: a key that C has no field for is an error. It panics if no schema can be made
// of C or create is nil; both are mistakes in the program.
func WithConfig[P, C any](def Definition[P], create func(ctx context.Context, config C) (P, error)) Definition[P] {
	if create == nil {
		panic(fmt.Sprintf("pluginsystem: WithConfig of %q: create is nil", def.Name))
	}
	if def.Schema == nil {
		made, err := registry.SchemaFor[C]()
		if err != nil {
			panic(fmt.Sprintf("pluginsystem: WithConfig of %q: %v", def.Name, err))
		}
		def.Schema = made
	}
	name := def.Name
	def.New = func(ctx context.Context, config json.RawMessage) (P, error) {
		c, err := decode[C](name, config)
		if err != nil {
			return *new(P), err
		}
		return create(ctx, c)
	}
	return def
}

// decode decodes a config strictly. Its error tells places and types, never a value.
func decode[C any](name string, config json.RawMessage) (C, error) {
	var c C
	d := json.NewDecoder(bytes.NewReader(config))
	d.DisallowUnknownFields()
	err := d.Decode(&c)
	if err == nil {
		return c, nil
	}
	var lenient C
	if err := (store.Record{ID: name, Config: config}).Decode(&lenient); err != nil {
		return *new(C), err
	}
	// Only a key can be wrong now, and its error quotes the key alone.
	key := strings.TrimPrefix(err.Error(), "json: unknown field ")
	return *new(C), fmt.Errorf("the config has the key %s, which the Go type %s has no field for; remove it, or correct its name",
		key, reflect.TypeFor[C]())
}

// defined is the table of all that Define was given, by P. It is filled by init functions, as the table of database/sql is.
var defined struct {
	sync.Mutex
	byInterface map[reflect.Type]map[string]entry
}

type entry struct {
	definition any // a Definition[P]
	place      string
}

// Define records a plugin for RegisterSystem and Defined. It is meant for init functions, and panics, as sql.Register does, if a plugin of
// that name was defined for P before, telling both places, if the name is empty, and if New is nil.
func Define[P any](def Definition[P]) {
	place := "an unknown place"
	if _, file, line, ok := runtime.Caller(1); ok {
		place = fmt.Sprintf("%s:%d", file, line)
	}
	p := reflect.TypeFor[P]()
	if err := def.check(); err != nil {
		panic(fmt.Sprintf("pluginsystem: Define[%v] at %s: %v", p, place, err))
	}
	defined.Lock()
	defer defined.Unlock()
	if first, twice := defined.byInterface[p][def.Name]; twice {
		panic(fmt.Sprintf("pluginsystem: Define[%v]: the name %q is defined twice: at %s and at %s", p, def.Name, first.place, place))
	}
	if defined.byInterface == nil {
		defined.byInterface = map[reflect.Type]map[string]entry{}
	}
	if defined.byInterface[p] == nil {
		defined.byInterface[p] = map[string]entry{}
	}
	defined.byInterface[p][def.Name] = entry{def, place}
}

// Defined returns what Define has recorded for P, sorted by name: the order in which packages are initialized does not show.
func Defined[P any]() []Definition[P] {
	defined.Lock()
	defer defined.Unlock()
	defs := make([]Definition[P], 0, len(defined.byInterface[reflect.TypeFor[P]()]))
	for _, e := range defined.byInterface[reflect.TypeFor[P]()] {
		defs = append(defs, e.definition.(Definition[P]))
	}
	slices.SortFunc(defs, func(a, b Definition[P]) int { return cmp.Compare(a.Name, b.Name) })
	return defs
}

func (d *Definition[P]) check() error {
	switch {
	case d.Name == "":
		return errors.New("a plugin needs a name")
	case d.New == nil:
		return fmt.Errorf("the plugin %q needs a New", d.Name)
	}
	return nil
}

// available returns why the plugin cannot be used, as ErrUnavailable and the reason.
func (d *Definition[P]) available(ctx context.Context) error {
	if d.Available == nil {
		return nil
	}
	_, err := guarded("Available", func() (struct{}, error) { return struct{}{}, d.Available(ctx) })
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func (d *Definition[P]) build(ctx context.Context, config json.RawMessage) (P, error) {
	p, err := guarded("New", func() (P, error) { return d.New(ctx, bytes.Clone(config)) })
	if err != nil {
		return *new(P), err
	}
	if v := reflect.ValueOf(&p).Elem(); v.Kind() == reflect.Interface && v.IsNil() || v.Kind() == reflect.Pointer && v.IsNil() {
		return p, errors.New("its New returned nil and no error")
	}
	return p, nil
}

// closePlugin calls the Close of an instance, if it has one.
func closePlugin(ctx context.Context, p any) error {
	_, err := guarded("Close", func() (struct{}, error) {
		switch c := p.(type) {
		case io.Closer:
			return struct{}{}, c.Close()
		case interface{ Close(context.Context) error }:
			return struct{}{}, c.Close(ctx)
		case interface{ Close() }:
			c.Close()
		}
		return struct{}{}, nil
	})
	return err
}

// hasClose tells whether closePlugin calls anything.
func hasClose(p any) bool {
	switch p.(type) {
	case io.Closer, interface{ Close(context.Context) error }, interface{ Close() }:
		return true
	}
	return false
}
