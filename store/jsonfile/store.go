package jsonfile

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pluginregistry/pluginregistry/internal/atomicfile"
	"github.com/pluginregistry/pluginregistry/internal/filelock"
	"github.com/pluginregistry/pluginregistry/internal/filename"
	"github.com/pluginregistry/pluginregistry/internal/poll"
	"github.com/pluginregistry/pluginregistry/store"
)

const lockName = ".pluginregistry.lock"

// Store is a store in one directory. It is a store.Store, store.Batcher, store.Watcher and store.Annotator, and does what they promise.
// Open makes one; the methods of a nil or zero Store panic.
type Store struct {
	dir  directory
	lock *filelock.Lock
	hub  *poll.Hub[state]
	now  func() time.Time
	busy time.Duration // how long a call waits for the lock

	durable durable // guarded by lock
	notes   notesCache

	glances map[string]glance // of the last look of the hub, by ID; looks never overlap

	closeOnce sync.Once
	mu        sync.RWMutex // held for reading while a method runs
	closed    bool
}

var (
	_ store.Store     = (*Store)(nil)
	_ store.Batcher   = (*Store)(nil)
	_ store.Watcher   = (*Store)(nil)
	_ store.Annotator = (*Store)(nil)
)

// directory is what the store does to its directory; it is an *atomicfile.Dir.
type directory interface {
	Intact() error
	Lstat(name string) (fs.FileInfo, error)
	Stat(name string) (fs.FileInfo, error)
	Open(name string) (*os.File, error)
	Follow(name string) (*os.File, error)
	Names() ([]string, error)
	StageLike(data []byte, like fs.FileInfo) (temp string, info fs.FileInfo, err error)
	Rename(from, to string) error
	Link(from, to string) error
	Remove(name string) error
	SyncFile(name string) error
	Sync() error
	Close() error
}

// Option is a choice for Open. Its zero value changes nothing.
type Option struct{ set func(*options) }

type options struct {
	poll, busy time.Duration
}

// WithPollInterval sets how often Watch looks for changes. The default is 250 ms. Open returns an error if it is not more than 0.
func WithPollInterval(d time.Duration) Option { return Option{func(o *options) { o.poll = d }} }

// WithBusyTimeout sets how long a call waits while other calls and processes hold the lock file; see the package's doc. The default is 5
// seconds; 0 means not to wait. Open returns an error if it is negative.
func WithBusyTimeout(d time.Duration) Option { return Option{func(o *options) { o.busy = d }} }

// Open opens the store in dir, which it makes, with its parents, if it is missing. It finishes or clears away what a killed process
// left, unless another process is writing. The error is a *store.Error around what the system said.
func Open(dir string, opts ...Option) (*Store, error) {
	s, err := open(dir, opts)
	if err != nil {
		return nil, &store.Error{Op: "open", Err: err}
	}
	return s, nil
}

func open(dir string, opts []Option) (*Store, error) {
	o := options{poll: 250 * time.Millisecond, busy: 5 * time.Second}
	for _, opt := range opts {
		if opt.set != nil {
			opt.set(&o)
		}
	}
	if o.poll <= 0 {
		return nil, fmt.Errorf("the poll interval is %v, it must be more than 0", o.poll)
	}
	if o.busy < 0 {
		return nil, fmt.Errorf("the busy timeout is %v, it must not be negative", o.busy)
	}
	if dir == "" {
		return nil, errors.New("the path of the directory is empty")
	}
	path, err := filepath.Abs(dir) // the process may change its directory later
	if err != nil {
		return nil, err
	}
	d, err := atomicfile.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := d.Lstat(lockName); err == nil && !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("%s in %s is %s, not a file to lock", lockName, path, kind(info.Mode())), d.Close())
	}
	s := &Store{dir: d, lock: filelock.New(filepath.Join(path, lockName)), now: time.Now, busy: o.busy, durable: durable{files: map[string]fs.FileInfo{}}}
	s.hub = newHub(s, o.poll)
	s.tidy()
	return s, nil
}

// tidy finishes a batch and removes temporary files, if they are a dead process's. What goes wrong here goes wrong again, and is
// told, when a method needs it.
func (s *Store) tidy() {
	if ok, err := s.lock.TryLock(); !ok || err != nil {
		return
	}
	defer s.lock.Unlock()
	if s.finishBatch() != nil {
		return
	}
	names, err := s.dir.Names()
	if err != nil {
		return
	}
	for _, name := range names {
		if atomicfile.IsTemp(name) {
			_ = s.dir.Remove(name)
		}
	}
}

// Close waits for the calls that are running and closes the store: its methods then return store.ErrClosed, and watches end with it.
// Closing again does nothing.
func (s *Store) Close() error {
	s.mustBeOpened()
	var err error
	s.closeOnce.Do(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closed = true
		err = errors.Join(s.dir.Close(), s.lock.Close())
		s.hub.Wake() // the next look finds it closed
	})
	if err != nil {
		return &store.Error{Op: "close", Err: err}
	}
	return nil
}

func (s *Store) mustBeOpened() {
	if s == nil || s.lock == nil {
		panic("jsonfile: this Store was not made by Open")
	}
}

// reading runs f while the store is open and no batch is half done.
func (s *Store) reading(ctx context.Context, f func() error) error {
	return s.whileOpen(ctx, func() error {
		if err := s.settle(ctx); err != nil {
			return err
		}
		return f()
	})
}

// writing runs f while the store is open and nobody else, in any process, writes. What was written to a directory that has been moved away
// meanwhile does not count.
func (s *Store) writing(ctx context.Context, f func() error) error {
	return s.whileOpen(ctx, func() error { return cmp.Or(s.locked(ctx, f), s.dir.Intact()) })
}

// whileOpen runs f while the store is open.
func (s *Store) whileOpen(ctx context.Context, f func() error) error {
	s.mustBeOpened()
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return store.ErrClosed
	}
	if err := s.dir.Intact(); err != nil {
		return err
	}
	return f()
}

// locked runs f under the lock, with no batch half done.
func (s *Store) locked(ctx context.Context, f func() error) error {
	if err := s.lock.LockWithin(ctx, s.busy); err != nil {
		return fmt.Errorf("locking the directory: %w", err)
	}
	defer s.lock.Unlock() // its error is no one's: what f has done is done
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.finishBatch(); err != nil {
		return err
	}
	return f()
}

// Get returns the config of id. See store.Store. Besides its errors there is what the system says when a file cannot be read.
func (s *Store) Get(ctx context.Context, id string) (store.Record, error) {
	rec, err := s.get(ctx, id)
	if err != nil {
		return store.Record{}, &store.Error{Op: "get", ID: id, Err: err}
	}
	return rec, nil
}

func (s *Store) get(ctx context.Context, id string) (rec store.Record, err error) {
	if err := store.CheckID(id); err != nil {
		return store.Record{}, err
	}
	err = s.reading(ctx, func() error {
		f, err := s.find(id)
		if err == nil {
			s.hub.Touch(id, f.state()) // if it changes back before the next look, the caller must be told
		}
		switch {
		case err != nil:
			return err
		case f.bad != nil:
			return fmt.Errorf("%w: file %q: %w", store.ErrCorrupt, f.name, f.bad)
		case f.revision == store.Absent:
			return store.ErrNotFound
		}
		rec = f.record(id)
		return nil
	})
	return rec, err
}

// Put saves config under id. See store.Store. An ID whose file name would be too long is store.ErrInvalidID too. Besides its errors
// there is what the system says when a file cannot be read or written, as syscall.ENOSPC for a full disk.
func (s *Store) Put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (store.Record, error) {
	rec, err := s.put(ctx, id, config, match)
	if err != nil {
		return store.Record{}, &store.Error{Op: "put", ID: id, Err: err}
	}
	return rec, nil
}

func (s *Store) put(ctx context.Context, id string, config json.RawMessage, match store.Revision) (rec store.Record, err error) {
	if err := store.CheckID(id); err != nil {
		return store.Record{}, err
	}
	canonical, err := store.Canonical(config)
	if err != nil {
		return store.Record{}, err
	}
	err = s.writing(ctx, func() error {
		f, err := s.find(id)
		if err != nil {
			return err
		}
		if err := store.Match(match, f.revision); err != nil {
			return err
		}
		if f.holds(canonical) && !s.durable.doubtful {
			rec = f.record(id)
			s.hub.Touch(id, f.state()) // the caller has learned of it, whether a look has or not
			return s.ensureDurable(f)
		}
		w, err := s.stage(f, canonical)
		if err != nil {
			return err
		}
		if err := s.place(w.move); err != nil {
			_ = s.dir.Remove(w.move.Temp)
			return err
		}
		rec = w.record(id)
		s.hub.Touch(id, w.state())
		return s.sync(w.file)
	})
	if err != nil {
		return store.Record{}, err
	}
	return rec, nil
}

// Delete removes the config of id. See store.Store. If it could not be read, its bytes are kept aside.
func (s *Store) Delete(ctx context.Context, id string, match store.Revision) error {
	if err := s.delete(ctx, id, match); err != nil {
		return &store.Error{Op: "delete", ID: id, Err: err}
	}
	return nil
}

func (s *Store) delete(ctx context.Context, id string, match store.Revision) error {
	if err := store.CheckID(id); err != nil {
		return err
	}
	return s.writing(ctx, func() error {
		f, err := s.find(id)
		if err != nil {
			return err
		}
		if err := store.Match(match, f.revision); err != nil {
			return err
		}
		if f.revision == store.Absent {
			s.hub.Touch(id, f.state())
			return s.sync() // another may have deleted it just now
		}
		if err := s.removeShadowed(f); err != nil {
			return err
		}
		if f.bad != nil {
			if err := s.keepAside(f.name); err != nil {
				return err
			}
		}
		if err := s.dir.Remove(f.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return mounted(f.name, err)
		}
		delete(s.durable.files, f.name)
		s.hub.Touch(id, state{note: f.note})
		return s.sync()
	})
}

// Configured returns the IDs that begin with prefix and have a file, sorted by code point. It reads the directory and opens no file. See store.Store.
func (s *Store) Configured(ctx context.Context, prefix string) ([]string, error) {
	var ids []string
	list := func() error {
		names, err := s.dir.Names()
		for _, name := range names {
			if id, ok := idOf(name); ok && strings.HasPrefix(id, prefix) {
				ids = append(ids, id)
			}
		}
		return err
	}
	err := s.writing(ctx, list)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		ids = nil
		err = s.reading(ctx, list)
	}
	if err != nil {
		return nil, &store.Error{Op: "configured", Err: err}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids) // an ID may have a file under each of its two names
	s.touchListed(ids, prefix)
	return ids, nil
}

// touchListed makes the next look tell of each ID whose presence was another at the last look: the caller has learned of it.
func (s *Store) touchListed(ids []string, prefix string) {
	last := s.hub.Values()
	if last == nil {
		return
	}
	for _, id := range ids {
		if last[id].revision == store.Absent {
			s.hub.Touch(id, state{revision: store.Any}) // a look finds no such revision, so it tells of the ID, whatever it finds
		}
	}
	for id, was := range last {
		if _, listed := slices.BinarySearch(ids, id); !listed && was.revision != store.Absent && strings.HasPrefix(id, prefix) {
			s.hub.Touch(id, state{note: was.note})
		}
	}
}

// idOf returns the ID whose config would be in a file of that name.
func idOf(name string) (id string, ok bool) {
	if id, ok = filename.Decode(name); ok {
		return id, true
	}
	if !legacyNames {
		return "", false
	}
	return filename.DecodeLegacy(name)
}

// holds tells whether the file says the same as the canonical text.
func (f file) holds(canonical json.RawMessage) bool {
	return f.config != nil && bytes.Equal(f.config, canonical)
}

func (f file) record(id string) store.Record {
	return store.Record{ID: id, Config: f.config, Revision: f.revision, UpdatedAt: f.updated}
}
