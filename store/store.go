package store

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"time"
)

// Revision names one state of one plugin's config. It is opaque text: compare it with ==. Each store makes its own kind, such as
// a counter in SQLite or a hash of the file's bytes in a directory of JSON files.
type Revision string

const (
	// Absent is the revision of a config that does not exist. As a match it means: only if none is stored.
	Absent Revision = ""
	// Any as a match means: whatever is stored. No config has this revision.
	Any Revision = "*"
)

// Record is one plugin's config as a store has it.
//
// Config is a JSON object in canonical text: no white space between tokens, only the escapes that JSON demands, keys in the order
// and numbers with the digits in which they were saved. The slice is a copy; the caller may modify it.
//
// Formatting a Record with fmt, or giving it to slog as the value of an attribute, never shows the config, because it may hold secrets.
// encoding/json does show it, and so does a JSON handler of slog that is given a slice or struct with Records in it, and fmt that is given
// a struct with a Record in an unexported field, as it calls no methods there.
type Record struct {
	ID        string
	Config    json.RawMessage
	Revision  Revision
	UpdatedAt time.Time // when the store made this revision, in UTC; zero where there is no config
}

// Decode unmarshals the config into v, as json.Unmarshal does. Its error tells the place and the Go type, never a value.
func (r Record) Decode(v any) error {
	if err := json.Unmarshal(r.Config, v); err != nil {
		return &Error{Op: "decode", ID: r.ID, Err: decodeError(r.Config, err)}
	}
	return nil
}

// String tells which record this is, without its config.
func (r Record) String() string {
	return fmt.Sprintf("config of %q, revision %q, %d bytes", r.ID, string(r.Revision), len(r.Config))
}

// Format writes String, whatever the verb: a record printed with %#v or %d shows no config either.
func (r Record) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// LogValue is the record as slog shows it, without its config.
func (r Record) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("id", r.ID),
		slog.String("revision", string(r.Revision)),
		slog.Int("bytes", len(r.Config)),
		slog.Time("updated_at", r.UpdatedAt),
	)
}

// Store keeps the configs of plugins, one JSON object for each plugin ID, and with it the configured flag: an ID is configured
// when it has a config, and only then.
//
// What every implementation promises (storetest.Run checks it):
//
//   - An ID is any text that CheckID accepts; any other is ErrInvalidID. A store may refuse more, as a file name is short.
//   - A config is what Canonical makes of it; what Canonical refuses is ErrInvalidConfig and changes nothing.
//   - Deciding on match, as Match does, and writing are one step, for all goroutines and processes that share the store.
//   - A write that returns nil is durable. A write that returns ErrUncertain or the context's error may have been done. A write
//     that returns any other error has changed nothing.
//   - A revision never comes twice for one ID with another config.
//   - Config bytes are copied on the way in and on the way out.
//   - What cannot be read is ErrCorrupt and stays as it is; it concerns its own ID only. Writing over it keeps the old bytes aside.
//   - Errors are *Error and show no part of any config.
//   - A context that is done before the call has begun its write stops it, and the error is the context's.
//   - All methods may be called by any number of goroutines at once.
type Store interface {
	// Get returns the config of id, or ErrNotFound.
	Get(ctx context.Context, id string) (Record, error)

	// Put saves config under id if match agrees with what is there, else it returns ErrConflict in a *ConflictError that tells
	// the revision there is. It replaces the whole config. Saving exactly what is there already writes nothing and returns the
	// record that is there.
	Put(ctx context.Context, id string, config json.RawMessage, match Revision) (Record, error)

	// Delete removes the config of id if match agrees with what is there, else it returns ErrConflict. Deleting what is not
	// there is no error where match is Any or Absent.
	Delete(ctx context.Context, id string, match Revision) error

	// Configured returns the IDs that begin with prefix and have a config, sorted by code point. An ID whose config cannot be
	// read is among them. An empty prefix means all.
	Configured(ctx context.Context, prefix string) ([]string, error)
}

// Put is one write of a batch.
type Put struct {
	ID     string
	Config json.RawMessage
	Match  Revision
}

// String tells which write this is, without its config.
func (p Put) String() string {
	return fmt.Sprintf("put of %q, match %q, %d bytes", p.ID, string(p.Match), len(p.Config))
}

// Format writes String, whatever the verb: a put printed with %#v or %d shows no config either.
func (p Put) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, p.String()) }

// LogValue is the put as slog shows it, without its config.
func (p Put) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", p.ID), slog.String("match", string(p.Match)), slog.Int("bytes", len(p.Config)))
}

// Batcher is a Store that can save several configs in one step.
type Batcher interface {
	// PutAll does all the puts or none. The records come in the order of the puts. An ID may stand in puts only once.
	PutAll(ctx context.Context, puts []Put) ([]Record, error)
}

// Version is one state that a config was in.
type Version struct {
	Record
	Configured bool   // false: this is the deletion, and Config is nil
	Author     string // who made it, as WithAuthor said; "" if nobody said
	Err        error  // why Config cannot be read (ErrCorrupt), or nil
}

// Historian is a Store that remembers earlier states.
type Historian interface {
	// History returns the states of id that are kept, newest first, the current one included, at most limit of them; a limit
	// of 0 or less means all. An ID that was never there has none.
	History(ctx context.Context, id string, limit int) ([]Version, error)
}

// Change tells that a config was saved or deleted.
type Change struct {
	ID         string
	Revision   Revision // of the state that was found; for a deletion it may be Absent
	Configured bool
}

// Watcher is a Store that can tell of changes, whoever made them.
type Watcher interface {
	// Watch yields the changes made after the call, each once it is durable. Several quick changes of one ID may come as one:
	// the last. It ends when ctx does, with the context's error, or when the loop is left. An error that does not end it is
	// yielded beside a zero Change, and it goes on.
	//
	// What is missed by nobody: whatever is written after Watch has returned its sequence, even before the loop begins.
	Watch(ctx context.Context) iter.Seq2[Change, error]
}

// Resealer is a Store whose kept history can be rewritten in place, so that a key can be retired or a secret removed.
type Resealer interface {
	// RewriteHistory calls rewrite with every kept state of id but the current one, and stores what it returns in its place
	// under the same revision. What rewrite returns unchanged is not written. It is no change of the config. A state for which it
	// fails does not keep the others from being rewritten; the errors come joined.
	RewriteHistory(ctx context.Context, id string, rewrite func(Version) (json.RawMessage, error)) error

	// Kept returns the IDs that have a history, those of deleted configs among them.
	Kept(ctx context.Context) ([]string, error)

	// Scrub clears what overwritten and deleted configs have left in the store's files, as far as the store can.
	Scrub(ctx context.Context) error
}

// Note is what is kept beside a config: a title for people, and whether the plugin is switched off. The zero Note is no note.
type Note struct {
	Title    string
	Disabled bool
}

// Annotator is a Store that keeps a note beside each config. An ID may have a note without a config, and a note stays when the config
// is deleted. The revision of an ID names its config and its note together: SetNote makes a new revision with the same config, which
// History lists if the store keeps one. The revision of an ID that has a note and no config is Absent.
type Annotator interface {
	// Note returns the note of id, or the zero Note if there is none.
	Note(ctx context.Context, id string) (Note, error)

	// Notes returns the notes that differ from the zero Note, of all IDs that begin with prefix.
	Notes(ctx context.Context, prefix string) (map[string]Note, error)

	// SetNote saves the note of id if match agrees with its revision, else it returns ErrConflict. It returns the new revision.
	// A note that CheckNote refuses is ErrInvalidNote.
	// Watchers are told, of an ID without a config, too. Saving the note that is stored already writes nothing.
	SetNote(ctx context.Context, id string, note Note, match Revision) (Revision, error)
}
