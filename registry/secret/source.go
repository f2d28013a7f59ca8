package secret

import (
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
)

// GenerateKey returns a new random key as base64 text, for the environment variable of FromEnv or a line of OpenFile's file. So does
// the command "openssl rand -base64 32".
func GenerateKey() string {
	raw := make([]byte, KeySize)
	rand.Read(raw) // never fails: it ends the process instead
	return base64.StdEncoding.EncodeToString(raw)
}

var errNotBase64 = errors.New("it is not base64")

// parseKey reads a key as base64, in the standard alphabet or the one for URLs, padded or not. The error shows none of text.
func parseKey(text string) ([]byte, error) {
	if text == "" {
		return nil, errors.New("it is empty")
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

// FromEnv reads keys from the environment variable name: each is base64 of 32 bytes (in the standard alphabet or the one for URLs,
// padded or not). Several are separated by commas, newest first; spaces around them do not matter. It is an error if the variable is
// not set or empty. No error shows what is in it.
func FromEnv(name string) (*Keyring, error) {
	value, ok := os.LookupEnv(name)
	if !ok || strings.TrimSpace(value) == "" {
		return nil, fmt.Errorf("secret: the environment variable %s is not set: it needs a key, base64 of %d random bytes (secret.GenerateKey makes one)",
			name, KeySize)
	}
	var keys [][]byte
	for text := range strings.SplitSeq(value, ",") {
		raw, err := parseKey(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("secret: the environment variable %s: key %d: %w", name, len(keys)+1, err)
		}
		keys = append(keys, raw)
	}
	ring, err := newRing(keys)
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

// OpenFile reads keys from the file at path: one key a line, newest first, each written as FromEnv wants it. Empty lines and lines that
// start with # do not count.
//
// If there is no such file it is made, 0600, with a new random key, in directories that are made, 0700, where they are missing. Any
// number of goroutines and processes may do so at once: all get the same key. When OpenFile returns, the key outlasts a power failure.
// A file that was lost is made anew like this; what the lost key encrypted is then ErrUnknownKey.
//
// It is an error if the file is not a regular file, is over 64 KiB, has no key in it or anything that is no key, and, except on
// Windows, if its group or others have any permission on it. Such a file is left as it is. No error shows what is in it.
func OpenFile(path string) (*Keyring, error) {
	if path == "" || os.IsPathSeparator(path[len(path)-1]) {
		return nil, fmt.Errorf("secret: %q is not the name of a file", path)
	}
	ring, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeFile(path); err == nil {
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
	if perm := info.Mode().Perm(); perm&0o077 != 0 && runtime.GOOS != "windows" {
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
	// The process that made the file may not have got as far as this; a key must not be used before it is durable. Where the directory
	// cannot be opened, somebody else made the file, and long ago.
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
	return ring, nil
}

// parseFile reads the text of a key file.
func parseFile(text []byte) (*Keyring, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("it is over %d bytes, which no key file is", maxFile)
	}
	var keys [][]byte
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		raw, err := parseKey(line)
		if err != nil {
			return nil, fmt.Errorf("line %d is no key: %w", n, err)
		}
		keys = append(keys, raw)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no key in it: put the key back, or remove the file if it never had one, and a new key is made")
	}
	return newRing(keys)
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
