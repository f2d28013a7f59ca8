// Package titlecase writes names the way Python's str.title() does.
//
// A cased character (Unicode's derived property Cased) is title-cased where an uncased one or nothing stands before it, and
// lower-cased where a cased one does. Both mappings are the full ones of SpecialCasing.txt, without those of single languages, and
// a capital sigma at the end of a word becomes ς. So an apostrophe, a digit or an underscore starts a new word: O'Neil, Llm2X.
//
// Characters newer than the Unicode version of package unicode stay as they are.
package titlecase

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// Title returns s as Python's str.title() does. Bytes that are not UTF-8 stay as they are and count as uncased, as Python's
// surrogateescape has it. It takes time in proportion to len(s) and may be called concurrently.
func Title(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return titleUnicode(s)
		}
	}
	return titleASCII(s)
}

func titleASCII(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	afterCased := false
	for i := range len(s) {
		c := s[i]
		upper, lower := 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z'
		if upper && afterCased || lower && !afterCased {
			c ^= 'a' - 'A'
		}
		b.WriteByte(c)
		afterCased = upper || lower
	}
	return b.String()
}

func titleUnicode(s string) string {
	// Casers have state: they are made for this call, and given one character at a time, because the words of package cases are
	// those of UAX #29, where an apostrophe within a word starts no new one.
	toTitle, toLower := cases.Title(language.Und), cases.Lower(language.Und)
	var b strings.Builder
	b.Grow(len(s))
	afterCased := false
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		char := s[i : i+n]
		switch {
		case r == utf8.RuneError:
			b.WriteString(char) // U+FFFD itself, or a byte that is not UTF-8
		case !afterCased:
			b.WriteString(toTitle.String(char))
		case r == 'Σ' && endsWord(s[:i], s[i+n:]):
			b.WriteRune('ς')
		default:
			b.WriteString(toLower.String(char))
		}
		afterCased = cased(r)
		i += n
	}
	return b.String()
}

// endsWord is the condition Final_Sigma of SpecialCasing.txt: a cased character stands before the sigma and none after it, where
// case-ignorable characters between are skipped. As in Python, a character that is both is skipped.
func endsWord(before, after string) bool {
	left := strings.TrimRightFunc(before, caseIgnorable)
	right := strings.TrimLeftFunc(after, caseIgnorable)
	last, _ := utf8.DecodeLastRuneInString(left)
	first, _ := utf8.DecodeRuneInString(right)
	return cased(last) && !cased(first)
}

// cased is the derived property Cased. utf8.RuneError, which also stands for an end of the text, is not cased.
func cased(r rune) bool {
	return unicode.In(r, unicode.Ll, unicode.Lu, unicode.Lt, unicode.Other_Lowercase, unicode.Other_Uppercase)
}

// wordMiddle are the characters whose Word_Break is MidLetter, MidNumLet or Single_Quote, with which words like can't or l·l are
// written. Package unicode has no table of that property.
const wordMiddle = "'.:·\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a"

// caseIgnorable is the derived property Case_Ignorable.
func caseIgnorable(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) || strings.ContainsRune(wordMiddle, r)
}
