package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
	"github.com/pluginregistry/pluginregistry/internal/schema"
)

// schemaState is one schema, shared by all plugins whose schemas have the same bytes. It is compiled when it is first needed, once.
type schemaState struct {
	raw   json.RawMessage
	hash  uint64
	users int32 // plugins that have it; guarded by Registry.mu

	hint atomic.Int32 // what maySecret found: 0 not looked, 1 no, 2 yes
	once sync.Once
	used atomic.Pointer[usedSchema]
}

// usedSchema is what there is of a schema once it was needed, or from the start on if it cannot be one.
type usedSchema struct {
	compiled *schema.Schema // nil until it was needed
	unusable bool           // fault was clear without compiling
	fault    error          // what compiling found
}

// newUnusable returns the state of what cannot be a schema.
func newUnusable(raw json.RawMessage, err error) *schemaState {
	s := &schemaState{raw: raw}
	s.used.Store(&usedSchema{unusable: true, fault: err})
	return s
}

// unusable tells why raw cannot be a schema, or returns nil if only compiling it can tell.
func (s *schemaState) unusable() error {
	if used := s.used.Load(); used != nil && used.unusable {
		return used.fault
	}
	return nil
}

// texts are what a schema says for people.
type texts struct {
	title, description string
	described          bool
}

// note returns what compiling found, or nil as long as it has not happened.
func (s *schemaState) note() error {
	if used := s.used.Load(); used != nil {
		return used.fault
	}
	return nil
}

// reason tells why the schema cannot be used to validate. It must have been compiled.
func (s *schemaState) reason() error { return s.used.Load().fault }

// maySecret tells quickly whether a schema can have secret fields, so that one that has none need not be compiled for them.
func (r *Registry) maySecret(s *schemaState) bool {
	if r.schemaOptions.SecretMark != nil || len(r.schemaOptions.Documents) > 0 {
		return true
	}
	if s.hint.Load() == 0 {
		text := bytes.ToLower(s.raw) // a format may be written Password
		hint := int32(1)
		for _, word := range []string{"secret", "writeonly", "password", "sensitive", `\u00`} {
			if bytes.Contains(text, []byte(word)) {
				hint = 2
			}
		}
		s.hint.Store(hint)
	}
	return s.hint.Load() == 2
}

var schemaSeed = maphash.MakeSeed()

// interner finds the one state of each schema during one discovery.
type interner struct {
	r     *Registry
	found map[uint64]interned
}

type interned struct {
	*schemaState
	texts
}

// intern returns the state of a schema, one that is there already if it has the same bytes, and what it says for people.
func (in interner) intern(raw json.RawMessage) interned {
	hash := maphash.Bytes(schemaSeed, raw)
	if known, ok := in.found[hash]; ok && bytes.Equal(known.raw, raw) {
		return known
	}
	state, said := readSchema(raw)
	state.hash = hash
	in.r.mu.Lock()
	if known := in.r.schemas[hash]; known != nil && bytes.Equal(known.raw, raw) {
		state = known
	}
	in.r.mu.Unlock()
	in.found[hash] = interned{state, said}
	return in.found[hash]
}

// keep counts a plugin that has s. The caller holds r.mu.
func (r *Registry) keep(s *schemaState) {
	s.users++
	if r.schemas[s.hash] == nil {
		r.schemas[s.hash] = s
	}
}

// release forgets s when no plugin has it any more. The caller holds r.mu.
func (r *Registry) release(s *schemaState) {
	s.users--
	if s.users == 0 && r.schemas[s.hash] == s {
		delete(r.schemas, s.hash)
	}
}

// readSchema looks at what can be told of a schema without compiling it.
func readSchema(raw json.RawMessage) (s *schemaState, said texts) {
	text := bytes.TrimSpace(raw)
	if len(text) == 0 || string(text) == "null" {
		return newUnusable(raw, errors.New("it has no schema")), said
	}
	err := jsontext.EachMember(text, func(name string, value []byte) {
		switch name {
		case "title":
			said.title, _ = jsontext.Unquote(value)
		case "description":
			said.description, said.described = jsontext.Unquote(value)
		}
	})
	if err != nil {
		return newUnusable(raw, fmt.Errorf("its schema is no JSON object: %w", err)), texts{}
	}
	return &schemaState{raw: raw}, said
}

// use returns the compiled schema.
func (r *Registry) use(s *schemaState, id string) *schema.Schema {
	s.once.Do(func() {
		err := s.unusable()
		used := &usedSchema{compiled: schema.Compile(s.raw, r.schemaOptions), unusable: err != nil, fault: err}
		if err == nil {
			used.fault = used.compiled.Err()
		}
		s.used.Store(used)
		if used.fault == nil {
			return
		}
		r.schemaNotes.Store(true)
		if used.compiled.Usable() {
			r.log.Warn("a part of a plugin's schema is not enforced", "plugin", id, "reason", used.fault)
		} else {
			r.log.Warn("a plugin's schema cannot be used, its configs go unvalidated", "plugin", id, "reason", used.fault)
		}
	})
	return s.used.Load().compiled
}
