// Package filename turns plugin IDs into file names and back, so that no ID can leave its directory, hide in it or mean a device.
//
// The file of an ID is the ID and ".json". Letters of any script, digits, spaces and harmless signs stand for themselves, so most
// names read as the ID. What is dangerous on some file system is written as %XX, one for each byte, in upper-case hex:
//
//   - / \ : * ? " < > | % and control characters (U+0000 to U+001F, U+007F to U+009F);
//   - a dot at the beginning, which hides a file on Unix and is the beginning of "." and "..";
//   - a dot or space at the end of the ID. Before ".json" it would do no harm, but names without the extension are shown and typed;
//   - the first letter of an ID that Windows takes for a device, with or without an extension: CON, PRN, AUX, NUL, COM0 to COM9,
//     LPT0 to LPT9, the same with superscript digits, CONIN$ and CONOUT$, in upper or lower case
//     (https://learn.microsoft.com/windows/win32/fileio/naming-a-file).
//
// Names are not normalised: two spellings of one accented letter are two IDs.
package filename

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxBytes is the length of the longest file name that common file systems take.
const MaxBytes = 255

const ext = ".json"

// Encode returns the file name of id. The error says why it has none: it is empty, not UTF-8, contains NUL, or its name would have
// more than MaxBytes bytes.
func Encode(id string) (string, error) {
	switch {
	case id == "":
		return "", errors.New("it is empty")
	case !utf8.ValidString(id):
		return "", errors.New("it is not valid UTF-8")
	case strings.IndexByte(id, 0) >= 0:
		return "", errors.New("it contains a NUL character")
	}
	device := isDevice(id)
	name := make([]byte, 0, len(id)+len(ext))
	for i, r := range id {
		end := i + utf8.RuneLen(r)
		first, last := i == 0, end == len(id)
		if dangerous(r) || first && (device || r == '.') || last && (r == '.' || r == ' ') {
			for _, c := range []byte(id[i:end]) {
				name = append(name, '%', upperHex[c>>4], upperHex[c&15])
			}
			continue
		}
		name = append(name, id[i:end]...)
	}
	name = append(name, ext...)
	if len(name) > MaxBytes {
		return "", fmt.Errorf("its file name would have %d bytes, %d are allowed; use a shorter ID", len(name), MaxBytes)
	}
	return string(name), nil
}

const upperHex = "0123456789ABCDEF"

func dangerous(r rune) bool {
	return r < 0x20 || 0x7f <= r && r <= 0x9f || r < utf8.RuneSelf && strings.IndexByte(`/\:*?"<>|%`, byte(r)) >= 0
}

// isDevice tells whether Windows takes a name for a device: it looks at what comes before the first dot, without the spaces there.
func isDevice(id string) bool {
	base, _, _ := strings.Cut(id, ".")
	base = strings.TrimRight(base, " ")
	if len(base) > len("CONOUT$") { // the longest of them
		return false
	}
	base = strings.ToUpper(base)
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	number, ok := strings.CutPrefix(base, "COM")
	if !ok {
		number, ok = strings.CutPrefix(base, "LPT")
	}
	return ok && utf8.RuneCountInString(number) == 1 && strings.Contains("0123456789¹²³", number)
}

// Decode returns the ID whose file name is name. ok is false for a name that Encode never returns.
func Decode(name string) (id string, ok bool) {
	escaped, ok := strings.CutSuffix(name, ext)
	if !ok {
		return "", false
	}
	id, ok = unescape(escaped)
	if !ok {
		return "", false
	}
	encoded, err := Encode(id)
	return id, err == nil && encoded == name
}

func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return "", false
			}
			high, low := strings.IndexByte(upperHex, s[i+1]), strings.IndexByte(upperHex, s[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			c = byte(high<<4 | low)
			i += 2
		}
		b = append(b, c)
	}
	return string(b), true
}

// Legacy returns the file name that the Python original gave id, the ID and ".json" without any escape, where that is another name
// than Encode's and cannot be mistaken: it is the name that Encode gives no ID, it has no slash, and it does not begin with a dot,
// as hidden files are never ours.
func Legacy(id string) (name string, ok bool) {
	name = id + ext
	canonical, err := Encode(id)
	if err != nil || name == canonical || name[0] == '.' || strings.IndexByte(name, '/') >= 0 {
		return "", false
	}
	if _, taken := Decode(name); taken {
		return "", false
	}
	return name, true
}

// DecodeLegacy returns the ID for which Legacy returns name.
func DecodeLegacy(name string) (id string, ok bool) {
	id, ok = strings.CutSuffix(name, ext)
	if !ok {
		return "", false
	}
	_, ok = Legacy(id)
	return id, ok
}

// Twins returns names that differ from name and still find its file where a file system does not tell upper from lower case, or
// one Unicode normalisation form from another. On any other file system there is normally no such file.
func Twins(name string) []string {
	twins := []string{strings.TrimSuffix(name, ext) + strings.ToUpper(ext)}
	if other := norm.NFD.String(name); other != name {
		twins = append(twins, other)
	} else if other := norm.NFC.String(name); other != name {
		twins = append(twins, other)
	}
	return twins
}

// Fold returns a text that is the same for two names if some file system may take one for the other.
func Fold(name string) string {
	return norm.NFC.String(strings.ToLower(strings.ToUpper(norm.NFD.String(name))))
}

// Compose returns a text that is the same for two names if they differ at most in how accented letters are composed.
func Compose(name string) string { return norm.NFC.String(name) }
