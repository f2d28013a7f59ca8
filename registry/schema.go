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
	raw            json.RawMessage
	title          string
	description    string
	hasDescription bool
	err            error // why raw cannot be a schema

	hash  uint64
	users int // categories that hold it; guarded by Registry.mu

	hintOnce sync.Once
	hint     bool // what maySecret found

	once     sync.Once
	compiled *schema.Schema
	faulty   atomic.Pointer[error] // what compiling found
}

// note returns what compiling found, or nil as long as it has not happened.
func (s *schemaState) note() error {
	if err := s.faulty.Load(); err != nil {
		return *err
	}
	return nil
}

// reason tells why the schema cannot be used to validate. It must have been compiled.
func (s *schemaState) reason() error {
	if s.err != nil {
		return s.err
	}
	return s.compiled.Err()
}

// maySecret tells quickly whether the schema can have secret fields, so that one that has none need not be compiled for them.
func (s *schemaState) maySecret() bool {
	s.hintOnce.Do(func() {
		text := bytes.ToLower(s.raw) // a format may be written Password
		for _, word := range []string{"secret", "writeonly", "password", `\u00`} {
			s.hint = s.hint || bytes.Contains(text, []byte(word))
		}
	})
	return s.hint
}

var schemaSeed = maphash.MakeSeed()

// interner finds the one state of each schema during one discovery.
type interner struct {
	r     *Registry
	found map[uint64]*schemaState
}

// intern returns the state of a schema: one that is there already, if it has the same bytes.
func (in interner) intern(raw json.RawMessage) *schemaState {
	hash := maphash.Bytes(schemaSeed, raw)
	s := in.found[hash]
	if s == nil {
		in.r.mu.Lock()
		s = in.r.schemas[hash]
		in.r.mu.Unlock()
	}
	if s == nil || !bytes.Equal(s.raw, raw) {
		s = readSchema(raw)
		s.hash = hash
	}
	in.found[hash] = s
	return s
}

// keep counts a category that holds s. The caller holds r.mu.
func (r *Registry) keep(s *schemaState) {
	s.users++
	if r.schemas[s.hash] == nil {
		r.schemas[s.hash] = s
	}
}

// release forgets s when no category holds it any more. The caller holds r.mu.
func (r *Registry) release(s *schemaState) {
	s.users--
	if s.users == 0 && r.schemas[s.hash] == s {
		delete(r.schemas, s.hash)
	}
}

// readSchema looks at what can be told of a schema without compiling it.
func readSchema(raw json.RawMessage) *schemaState {
	s := &schemaState{raw: raw}
	text := bytes.TrimSpace(raw)
	if len(text) == 0 || string(text) == "null" {
		s.err = errors.New("it has no schema")
		return s
	}
	if err := jsontext.CheckLenient(text); err != nil {
		s.err = fmt.Errorf("its schema is no JSON object: %w", err)
		return s
	}
	for name, value := range jsontext.Members(text) {
		switch name {
		case "title":
			s.title, _ = jsontext.Unquote(value)
		case "description":
			s.description, s.hasDescription = jsontext.Unquote(value)
		}
	}
	return s
}

// use returns the compiled schema.
func (r *Registry) use(s *schemaState, id string) *schema.Schema {
	s.once.Do(func() {
		s.compiled = schema.Compile(s.raw)
		err := s.reason()
		if err == nil {
			return
		}
		s.faulty.Store(&err)
		r.schemaNotes.Store(true)
		if s.compiled.Usable() {
			r.log.Warn("a part of a plugin's schema is not enforced", "plugin", id, "reason", err)
		} else {
			r.log.Warn("a plugin's schema cannot be used, its configs go unvalidated", "plugin", id, "reason", err)
		}
	})
	return s.compiled
}
