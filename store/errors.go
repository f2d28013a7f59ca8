package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pluginregistry/pluginregistry/internal/jsontext"
)

// What can go wrong, for errors.Is. A store's errors are *Error around one of these, or around what the system said.
var (
	// ErrNotFound: there is no config under the ID.
	ErrNotFound = errors.New("no config is stored")
	// ErrConflict: the config is not at the revision that was asked for. It comes as a *ConflictError.
	ErrConflict = errors.New("the stored config has changed")
	// ErrCorrupt: what is stored cannot be read as a config. It is left as it is. Repair it by hand, save a new config over it
	// (the old bytes are kept aside), or delete it.
	ErrCorrupt = errors.New("the stored config cannot be read")
	// ErrInvalidID: the text cannot be a plugin ID, or not in this store.
	ErrInvalidID = errors.New("invalid plugin ID")
	// ErrInvalidConfig: the config is no JSON object that can be kept.
	ErrInvalidConfig = errors.New("invalid config")
	// ErrInvalidNote: the title of a note is too long, not UTF-8, or contains NUL.
	ErrInvalidNote = errors.New("invalid note")
	// ErrTooNew: a newer version of this library wrote the data. Use that version.
	ErrTooNew = errors.New("the data was written by a newer version of pluginregistry")
	// ErrUncertain: it is not known whether the write was done, because the answer was lost on the way. Load the config to find out.
	ErrUncertain = errors.New("it is not known whether the write was done")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the store is closed")
)

// Error is the error of one operation on a store.
type Error struct {
	Op  string // what was asked for: "get", "put", "delete", "open", …
	ID  string // the plugin ID, or "" where the error is of no single one
	Err error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("store: ")
	b.WriteString(e.Op)
	if e.ID != "" {
		b.WriteString(" " + quoteID(e.ID))
	}
	return b.String() + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// quoteID shows an ID, cut if it is too long to be one.
func quoteID(id string) string {
	if len(id) > MaxID {
		id = id[:64] + "…"
	}
	return strconv.Quote(id)
}

// ConflictError is ErrConflict with what was expected and what is there.
type ConflictError struct {
	Want    Revision // the match of the call
	Current Revision // what is stored; Absent where nothing is
}

func (e *ConflictError) Error() string {
	is := fmt.Sprintf("it is at revision %q", string(e.Current))
	if e.Current == Absent {
		is = "it is not there"
	}
	want := fmt.Sprintf("revision %q was expected", string(e.Want))
	if e.Want == Absent {
		want = "none was expected"
	}
	return fmt.Sprintf("%v: %s, %s; load it again and redo the change", ErrConflict, is, want)
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// Match decides on a write: it returns nil if match agrees with current, the revision that is stored (Absent if nothing is), else a
// *ConflictError. Stores must use Match, so that all decide the same way.
func Match(match, current Revision) error {
	if match == Any || match == current {
		return nil
	}
	return &ConflictError{Want: match, Current: current}
}

// MaxID is the length of the longest plugin ID, in bytes.
const MaxID = 512

// CheckID returns nil if id can be a plugin ID: 1 to 512 bytes of UTF-8 without NUL. Else the error is ErrInvalidID with the reason.
func CheckID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidID)
	case len(id) > MaxID:
		return fmt.Errorf("%w: it has %d bytes, %d are allowed", ErrInvalidID, len(id), MaxID)
	case !utf8.ValidString(id):
		return fmt.Errorf("%w: it is not valid UTF-8", ErrInvalidID)
	case strings.IndexByte(id, 0) >= 0:
		return fmt.Errorf("%w: it contains a NUL character", ErrInvalidID)
	}
	return nil
}

// MaxTitle is the length of the longest title of a note, in bytes.
const MaxTitle = 512

// CheckNote returns nil if note can be kept: its title has at most MaxTitle bytes of UTF-8 without NUL. Else the error is ErrInvalidNote
// with the reason. An Annotator checks each note that it is given.
func CheckNote(note Note) error {
	switch {
	case len(note.Title) > MaxTitle:
		return fmt.Errorf("%w: the title has %d bytes, %d are allowed", ErrInvalidNote, len(note.Title), MaxTitle)
	case !utf8.ValidString(note.Title):
		return fmt.Errorf("%w: the title is not valid UTF-8", ErrInvalidNote)
	case strings.IndexByte(note.Title, 0) >= 0:
		return fmt.Errorf("%w: the title contains a NUL character", ErrInvalidNote)
	}
	return nil
}

// Canonical returns the canonical text of a config (see Record), which is config itself if it is canonical already. A config is a
// JSON object of at most 16 MiB and 512 levels, UTF-8, without lone surrogates and without a name twice in one object; anything
// else is ErrInvalidConfig with the reason and the place as a JSON Pointer.
func Canonical(config json.RawMessage) (json.RawMessage, error) {
	c, err := jsontext.Canonical(config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidConfig, err)
	}
	return c, nil
}

// decodeError is what json.Unmarshal says of config, without the values it quotes. It names a member of the config and nothing inside
// that, which may be a secret.
func decodeError(config []byte, err error) error {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		kind, _, _ := strings.Cut(t.Value, " ") // "number 12" would quote the value
		at := jsontext.PointerAt(config, int(t.Offset))
		if tokens, err := jsontext.SplitPointer(at); err == nil && len(tokens) > 1 {
			return fmt.Errorf("inside %q there is a JSON %s, which does not fit the Go type %s", jsontext.JoinPointer(tokens[0]), kind, t.Type)
		}
		return fmt.Errorf("at %q there is a JSON %s, which does not fit the Go type %s", at, kind, t.Type)
	}
	if _, ok := errors.AsType[*json.InvalidUnmarshalError](err); ok {
		return errors.New("Decode needs a pointer that is not nil")
	}
	return errors.New("the config does not fit the Go value")
}
