package registry

import (
	"hash/maphash"
	"iter"
	"maps"
)

// shards is an immutable map in parts. To change some entries copies only the parts that they are in, so that registering many categories
// one by one does not copy all plugins each time.
type shards[V any] struct{ parts [256]map[string]V }

var shardSeed = maphash.MakeSeed()

func shardOf(key string) uint8 { return uint8(maphash.String(shardSeed, key)) }

func (s *shards[V]) get(key string) (V, bool) {
	v, ok := s.parts[shardOf(key)][key]
	return v, ok
}

func (s *shards[V]) values() iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, part := range &s.parts {
			for _, v := range part {
				if !yield(v) {
					return
				}
			}
		}
	}
}

// edit returns a copy of s that the caller may change, until it gives it away.
func (s *shards[V]) edit() *editing[V] {
	next := *s
	return &editing[V]{next: &next}
}

// editing is a copy of shards that is being changed.
type editing[V any] struct {
	next *shards[V]
	own  [256]bool // parts that were copied
}

func (e *editing[V]) part(key string) map[string]V {
	i := shardOf(key)
	if !e.own[i] {
		e.own[i] = true
		e.next.parts[i] = maps.Clone(e.next.parts[i])
		if e.next.parts[i] == nil {
			e.next.parts[i] = map[string]V{}
		}
	}
	return e.next.parts[i]
}

func (e *editing[V]) set(key string, v V) { e.part(key)[key] = v }
func (e *editing[V]) delete(key string)   { delete(e.part(key), key) }
