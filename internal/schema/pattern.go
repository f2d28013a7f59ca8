package schema

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Limits of the patterns of one schema: what is over them is not enforced.
const (
	maxPatternText = 64 << 10 // bytes of all different patterns
	maxPatternSize = 2 << 20  // instructions and character ranges of all, as estimated
)

// pattern is a regular expression of a schema. String returns its text as the schema has it.
type pattern struct {
	re   *regexp.Regexp
	text string
}

func (p *pattern) String() string            { return p.text }
func (p *pattern) MatchString(s string) bool { return p.re.MatchString(s) }

// patterns compiles each regular expression of a schema once, and not too many of them.
type patterns struct {
	done map[string]*pattern
	text int
	size int
}

var (
	errPatternUnknown = errors.New("is a regular expression that RE2 cannot express")
	errPatternCost    = errors.New("is one regular expression too many, or too large")
)

func (p *patterns) compile(text string) (*pattern, error) {
	if done, ok := p.done[text]; ok {
		return done, nil
	}
	p.text += len(text)
	if p.text > maxPatternText {
		return nil, errPatternCost
	}
	translated := translate(text)
	tree, err := syntax.Parse(translated, syntax.Perl)
	if err != nil {
		return nil, errPatternUnknown
	}
	p.size += patternSize(tree, 1)
	if p.size > maxPatternSize {
		return nil, errPatternCost
	}
	re, err := regexp.Compile(translated)
	if err != nil {
		return nil, errPatternUnknown
	}
	if p.done == nil {
		p.done = map[string]*pattern{}
	}
	done := &pattern{re, text}
	p.done[text] = done
	return done, nil
}

// engine gives the validator the patterns that are compiled already; what it asks for beyond them are those of metaschemas.
func (p *patterns) engine(text string) (jsonschema.Regexp, error) {
	if done, ok := p.done[text]; ok {
		return done, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, errPatternUnknown
	}
	return &pattern{re, text}, nil
}

// patternSize estimates the size of a compiled expression that stands times times.
func patternSize(re *syntax.Regexp, times int) int {
	size := times * (1 + len(re.Rune))
	if re.Op == syntax.OpRepeat {
		times *= max(re.Min, re.Max, 1)
	}
	for _, sub := range re.Sub {
		size += patternSize(sub, times)
		if size > maxPatternSize {
			return maxPatternSize + 1
		}
	}
	return size
}

// The white space of ECMA-262, as the inside of a class.
const spaceClass = `\t\n\v\f\r \x{a0}\x{feff}\p{Z}`

// All other characters.
const notSpaceClass = `\x00-\x08\x0e-\x1f!-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}` +
	`\x{2060}-\x{2fff}\x{3001}-\x{fefe}\x{ff00}-\x{10ffff}`

// translate writes a regular expression of ECMA-262 (section 22.2) for package regexp, where the two differ and there is a way
// to say it. What there is no way to say is left for package regexp to refuse.
func translate(p string) string {
	if !strings.ContainsAny(p, `\.[`) {
		return p
	}
	var b strings.Builder
	class := false
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '\\' && i+1 < len(p):
			i += translateEscape(&b, p[i:], class) - 1
		case class && c == '[':
			b.WriteString(`\[`)
		case class && c == ']':
			class = false
			b.WriteByte(c)
		case class:
			b.WriteByte(c)
		case strings.HasPrefix(p[i:], "[^]"):
			b.WriteString(`(?s:.)`)
			i += 2
		case strings.HasPrefix(p[i:], "[]"):
			b.WriteString(`[^\x00-\x{10ffff}]`)
			i++
		case c == '[':
			class = true
			b.WriteByte(c)
		case c == '.':
			b.WriteString(`[^\n\r\x{2028}\x{2029}]`)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// translateEscape writes the escape that p begins with and returns its length.
func translateEscape(b *strings.Builder, p string, class bool) int {
	switch c := p[1]; c {
	case 's':
		if class {
			b.WriteString(spaceClass)
		} else {
			b.WriteString("[" + spaceClass + "]")
		}
		return 2
	case 'S':
		if class {
			b.WriteString(notSpaceClass)
		} else {
			b.WriteString("[^" + spaceClass + "]")
		}
		return 2
	case '/', 'a', 'e':
		b.WriteByte(c)
		return 2
	case '0':
		if len(p) == 2 || p[2] < '0' || p[2] > '9' {
			b.WriteString(`\x00`)
			return 2
		}
	case 'b':
		if class {
			b.WriteString(`\x08`)
			return 2
		}
	case 'c':
		if len(p) > 2 && ('a' <= p[2]|0x20 && p[2]|0x20 <= 'z') {
			fmt.Fprintf(b, `\x%02x`, p[2]&0x1f)
			return 3
		}
	case 'u':
		if r, n := unicodeEscape(p); n > 0 {
			fmt.Fprintf(b, `\x{%x}`, r)
			return n
		}
	}
	_, size := utf8.DecodeRuneInString(p[1:])
	if size > 1 { // an escaped character outside ASCII stands for itself
		b.WriteString(p[1 : 1+size])
		return 1 + size
	}
	b.WriteString(p[:2])
	return 2
}

// unicodeEscape reads \uXXXX, a pair of them that is one character, or \u{X…}; a length of 0 says that it is none.
func unicodeEscape(p string) (rune, int) {
	if strings.HasPrefix(p, `\u{`) {
		end := strings.IndexByte(p, '}')
		if end < 0 || end > 9 {
			return 0, 0
		}
		r, ok := hex(p[3:end])
		return r, length(end+1, ok)
	}
	if len(p) < 6 {
		return 0, 0
	}
	r, ok := hex(p[2:6])
	if ok && utf16.IsSurrogate(r) && len(p) >= 12 && p[6:8] == `\u` {
		if low, ok := hex(p[8:12]); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, 12
			}
		}
	}
	return r, length(6, ok)
}

func length(n int, ok bool) int {
	if ok {
		return n
	}
	return 0
}

func hex(s string) (r rune, ok bool) {
	for _, c := range []byte(s) {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, s != "" && r <= utf8.MaxRune
}
