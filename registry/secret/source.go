package secret

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/pluginregistry/pluginregistry/internal/atomicfile"
	"github.com/pluginregistry/pluginregistry/store"
)

// GenerateKey returns a new random key as base64 text, for [Parse], the environment variable of [FromEnv], or a line of the file of
// [OpenFile]. The command "openssl rand -base64 32" makes one as well.
func GenerateKey() string {
	raw := make([]byte, KeySize)
	rand.Read(raw) // never fails: it ends the process instead
	return base64.StdEncoding.EncodeToString(raw)
}

var errNotBase64 = errors.New("it is not base64")

// parseKey reads a key as base64, in the standard alphabet or the one for URLs, padded or not. The error shows none of text.
func parseKey(text string) ([]byte, error) {
	switch {
	case text == "":
		return nil, errors.New("it is empty")
	case strings.ContainsAny(text, "\"'`“”‘’"):
		return nil, errors.New("it has quotes: write the key without them")
	}
	enc := base64.RawStdEncoding
	if strings.ContainsAny(text, "-_") {
		enc = base64.RawURLEncoding
	}
	// The length is compared before decoding, which would step over line breaks.
	switch bare := enc.EncodedLen(KeySize); {
	case len(text) == bare:
	case len(text) == bare+1 && text[bare] == '=':
		text = text[:bare]
	case len(text) == bare+1:
		return nil, errNotBase64
	default:
		return nil, fmt.Errorf("it has %d characters, a key is %d bytes as base64, which is %d characters", len(text), KeySize, bare+1)
	}
	raw, err := enc.Strict().DecodeString(text)
	if err != nil || len(raw) != KeySize {
		return nil, errNotBase64
	}
	return raw, nil
}

// parseKeys reads keys that are separated by commas or line ends. Blank lines and lines that start with # do not count. place names the
// place of a bad key, counted from 1, for its error.
func parseKeys(text string, place func(key, line int) string) (*Keyring, error) {
	if strings.HasPrefix(text, "\ufeff") {
		return nil, errors.New("it starts with a byte order mark: save it as UTF-8 without one")
	}
	var keys [][]byte
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		for part := range strings.SplitSeq(line, ",") {
			raw, err := parseKey(strings.TrimSpace(part))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", place(len(keys)+1, n), err)
			}
			keys = append(keys, raw)
		}
	}
	if len(keys) == 0 {
		return nil, errNoKey
	}
	return newRing(keys)
}

var errNoKey = errors.New("there is no key in it")

func byKey(key, _ int) string   { return fmt.Sprintf("key %d", key) }
func byLine(_, line int) string { return fmt.Sprintf("line %d is no key", line) }

// Parse reads one or more keys from text, newest first, separated by commas or line ends. Each is base64 of 32 bytes, in the standard
// alphabet or the one for URLs, padded or not. Spaces around a key, blank lines, and lines that start with # do not count.
//
// It is an error if text has no key, anything that is no key, or a key twice. No error shows any of the text.
func Parse(text string) (*Keyring, error) {
	ring, err := parseKeys(text, byKey)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	return ring, nil
}

// FromEnv is [Parse] of the environment variable name. It is an error if the variable is not set or empty. No error shows its value.
func FromEnv(name string) (*Keyring, error) {
	value := os.Getenv(name)
	if strings.TrimSpace(value) == "" {
		return nil, fmt.Errorf("secret: the environment variable %s is not set: it needs a key, base64 of %d random bytes (secret.GenerateKey makes one)",
			name, KeySize)
	}
	ring, err := parseKeys(value, byKey)
	if err != nil {
		return nil, fmt.Errorf("secret: the environment variable %s: %w", name, err)
	}
	return ring, nil
}

// maxFile is the size from which a file is taken for something else.
const maxFile = 64 << 10

const fileHead = `# Keys for the secret fields of configs, newest first, one a line.
# Keep this file private, and keep a copy: without its keys those fields cannot be read again.
`

// OpenFile reads the keys of the file at path, which are written as [Parse] takes them, usually one a line, newest first.
//
// If there is no such file, OpenFile makes it, 0600, with a new random key; missing directories are made, 0700. Any number of goroutines
// and processes may do this at once: all get the same key. When OpenFile returns, the file and its directories are synced to the disk. A
// host that has saved secrets already must not get a new key because the file was lost: use [OpenFileFor].
//
// It is an error if the file is not a regular file, is over 64 KiB, or does not have keys only. Except on Windows, it is also an error if
// group or others have permissions on the file; they may read it if this process cannot write to it, which is how containers mount
// secrets. Such a file is left as it is. No error shows what is in it.
func OpenFile(path string) (*Keyring, error) {
	return openFile(path, func() error { return nil })
}

// OpenFileFor is [OpenFile] for the key file of a store. If the file is missing and a config in st, or an earlier state of one that st
// keeps, has a sealed secret, then OpenFileFor makes no new key, which could not open it. The error is [ErrLostKey].
//
// Whether the keys that are there open all secrets is told by the registry's CheckSecrets.
func OpenFileFor(ctx context.Context, path string, st store.Store) (*Keyring, error) {
	return openFile(path, func() error { return checkUnsealed(ctx, st) })
}

// openFile opens the file, or makes it if mayMake returns nil.
func openFile(path string, mayMake func() error) (*Keyring, error) {
	if path == "" || os.IsPathSeparator(path[len(path)-1]) {
		return nil, fmt.Errorf("secret: %q is not the name of a file", path)
	}
	ring, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = mayMake(); err == nil {
			err = makeFile(path)
		}
		if err == nil {
			ring, err = readFile(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("secret: the key file %s: %w", path, err)
	}
	return ring, nil
}

func readFile(path string) (*Keyring, error) {
	// Without O_NONBLOCK, opening a FIFO waits for its other end.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	if perm := info.Mode().Perm(); runtime.GOOS != "windows" && (perm&0o033 != 0 || perm&0o044 != 0 && writable(path)) {
		return nil, fmt.Errorf("others may use it (its mode is %#o): run chmod 600 on it, and make a new key if somebody may have read it", perm)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	ring, err := parseFile(text)
	if err != nil {
		return nil, err
	}
	if err := syncFile(f, path); err != nil {
		return nil, err
	}
	return ring, nil
}

// syncFile makes the file and its name durable: whoever wrote it may not have got as far, and a key must not be used before it outlasts a
// power failure. A directory that cannot be opened is somebody else's, who made the file long ago.
func syncFile(f *os.File, path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	if err := synced(f); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil
	}
	defer dir.Close()
	return synced(dir)
}

// synced is nil if f is on the disk, or on a file system that has no such thing.
func synced(f *os.File) error {
	err := f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EROFS) {
		return nil
	}
	return withoutPath(err)
}

// writable reports whether this process can write to the file, by its mode and by its mount.
func writable(path string) bool {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}

// parseFile reads the text of a key file.
func parseFile(text []byte) (*Keyring, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("it is over %d bytes, which no key file is", maxFile)
	}
	ring, err := parseKeys(string(text), byLine)
	if errors.Is(err, errNoKey) {
		err = fmt.Errorf("%w: put the key back, or remove the file if it never had one, and a new key is made", err)
	}
	return ring, err
}

// makeFile makes the file with a new key, unless it is there by now.
func makeFile(path string) (err error) {
	dir, err := atomicfile.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	temp, _, err := dir.Stage([]byte(fileHead + GenerateKey() + "\n"))
	if err != nil {
		return err
	}
	// Unlike a rename, a link never replaces the file that another process has made meanwhile.
	err = dir.Link(temp, filepath.Base(path))
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("naming the new file failed (where there are no hard links, write the file with a key of your own): %w", err)
	}
	return errors.Join(err, dir.Remove(temp), dir.Sync())
}

// withoutPath is err without the path that the caller tells anyway.
func withoutPath(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", p.Op, p.Err)
	}
	return err
}
