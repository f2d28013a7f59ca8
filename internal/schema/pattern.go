package schema

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
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
	text  string
	re    *regexp.Regexp // nil: what it matches is not known, and it is not enforced
	looks []look
	size  int
}

// look is a lookahead at the start of a pattern, as an expression of its own.
type look struct {
	re   *regexp.Regexp
	want bool
}

func (p *pattern) String() string { return p.text }

func (p *pattern) MatchString(s string) bool {
	for _, l := range p.looks {
		if l.re.MatchString(s) != l.want {
			return false
		}
	}
	return p.re != nil && p.re.MatchString(s)
}

// patternCost is how many steps it takes to match a text of that length, at most: RE2 looks at every byte with every instruction. Measured:
// a.{0,999}b, of size 9,000, takes 9 s on 128 KiB.
func patternCost(re jsonschema.Regexp, length int) int {
	p, ok := re.(*pattern)
	if !ok {
		return 0
	}
	return int(min(1+int64(p.size)*int64(length)/128, maxSteps+1))
}

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

// compile returns a pattern in any case; with an error it matches nothing.
func (p *patterns) compile(text string) (*pattern, error) {
	if done, ok := p.done[text]; ok {
		if done.re == nil {
			return done, errPatternUnknown
		}
		return done, nil
	}
	if p.done == nil {
		p.done = map[string]*pattern{}
	}
	done := &pattern{text: text}
	p.done[text] = done
	p.text += len(text)
	if p.text > maxPatternText {
		delete(p.done, text)
		return done, errPatternCost
	}
	looks, rest, err := splitLooks(translate(text))
	if err != nil {
		return done, err
	}
	for _, l := range looks {
		re, err := p.expression(l.text, done)
		if err != nil {
			return done, err
		}
		done.looks = append(done.looks, look{re, l.want})
	}
	done.re, err = p.expression(rest, done)
	return done, err
}

// expression compiles a part of a pattern.
func (p *patterns) expression(text string, of *pattern) (*regexp.Regexp, error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, errPatternUnknown
	}
	size := patternSize(tree, 1)
	of.size += size
	p.size = min(p.size+size, maxPatternSize+1)
	if p.size > maxPatternSize {
		return nil, errPatternCost
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, errPatternUnknown
	}
	return re, nil
}

// engine gives the library the patterns that are compiled already; what it asks for beyond them are those of metaschemas.
func (p *patterns) engine(text string) (jsonschema.Regexp, error) {
	if done, ok := p.done[text]; ok {
		return done, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return &pattern{text: text}, nil
	}
	return &pattern{text: text, re: re, size: len(text)}, nil
}

// patternSize estimates the size of a compiled expression that stands times times.
func patternSize(re *syntax.Regexp, times int) int {
	size := min(times, maxPatternSize/(1+len(re.Rune))+1) * (1 + len(re.Rune)) // within 32 bits
	if re.Op == syntax.OpRepeat {
		times = min(times, maxPatternSize/1000) * max(re.Min, re.Max, 1)
	}
	for _, sub := range re.Sub {
		size += patternSize(sub, times)
		if size > maxPatternSize {
			return maxPatternSize + 1
		}
	}
	return size
}

type lookText struct {
	text string
	want bool
}

// splitLooks takes the lookaheads off the start of a pattern: a text matches if it matches the rest and each of (?=…), and none of (?!…).
func splitLooks(text string) (looks []lookText, rest string, err error) {
	after, anchored := strings.CutPrefix(text, "^")
	for anchored && (strings.HasPrefix(after, "(?=") || strings.HasPrefix(after, "(?!")) {
		end := groupEnd(after)
		if end < 0 {
			return nil, "", errPatternUnknown
		}
		looks = append(looks, lookText{"^(?:" + after[3:end] + ")", after[2] == '='})
		after = after[end+1:]
	}
	if len(looks) == 0 {
		return nil, text, nil
	}
	if after != "" && strings.Contains("*+?{", after[:1]) || hasTopBar(after) {
		return nil, "", errPatternUnknown
	}
	return looks, "^" + after, nil
}

// groupEnd returns the index of the bracket that closes the group p begins with, or -1.
func groupEnd(p string) int {
	end := -1
	eachSyntax(p, func(i, depth int) bool {
		if depth == 0 && p[i] == ')' {
			end = i
		}
		return end < 0
	})
	return end
}

// hasTopBar tells whether p has alternatives outside of groups.
func hasTopBar(p string) (found bool) {
	eachSyntax(p, func(i, depth int) bool {
		found = found || depth == 0 && p[i] == '|'
		return !found
	})
	return found
}

// eachSyntax calls f with every character of p that is neither escaped nor in a class, and with how many groups are open after it.
func eachSyntax(p string, f func(i, depth int) bool) {
	depth, class := 0, false
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '\\':
			i++
			continue
		case class:
			class = c != ']'
			continue
		case c == '[':
			class = true
			if strings.HasPrefix(p[i:], "[^]") {
				i++
			}
		case c == '(':
			depth++
		case c == ')':
			depth--
		}
		if !f(i, depth) {
			return
		}
	}
}

// The white space of ECMA-262, as the inside of a class.
const spaceClass = `\t\n\v\f\r \x{a0}\x{feff}\p{Z}`

// All other characters.
const notSpaceClass = `\x00-\x08\x0e-\x1f!-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}` +
	`\x{2060}-\x{2fff}\x{3001}-\x{fefe}\x{ff00}-\x{10ffff}`

// translate writes a regular expression of ECMA-262 (section 22.2) for package regexp, if the two differ and there is a way
// to say it. What there is no way to say is left for package regexp to refuse.
func translate(p string) string {
	if !strings.ContainsAny(p, `\.[{`) {
		return p
	}
	var b []byte
	class := false
	atom := 0        // where what a repeat applies to begins in b
	var groups []int // where the open groups begin
	for i := 0; i < len(p); i++ {
		if !class {
			switch c := p[i]; c {
			case '{':
				if n := repeat(p[i:]); n > 0 {
					b = appendRepeat(b[:atom], string(b[atom:]), p[i:i+n])
					i += n - 1
					continue
				}
			case ')':
				if len(groups) > 0 {
					atom = groups[len(groups)-1]
					groups = groups[:len(groups)-1]
				}
			case '*', '+', '?':
			default:
				atom = len(b)
			}
			if p[i] == '(' {
				groups = append(groups, len(b))
			}
		}
		switch c := p[i]; {
		case c == '\\' && i+1 < len(p):
			var e strings.Builder
			i += translateEscape(&e, p[i:], class) - 1
			b = append(b, e.String()...)
		case class && c == '[':
			b = append(b, `\[`...)
		case class && c == ']':
			class = false
			b = append(b, c)
		case class:
			b = append(b, c)
		case strings.HasPrefix(p[i:], "[^]"):
			b = append(b, `(?s:.)`...)
			i += 2
		case strings.HasPrefix(p[i:], "[]"):
			b = append(b, `[^\x00-\x{10ffff}]`...)
			i++
		case c == '[':
			class = true
			b = append(b, c)
		case c == '.':
			b = append(b, `[^\n\r\x{2028}\x{2029}]`...)
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// repeat returns the length of the repeat {n}, {n,} or {n,m} that p begins with if one of its numbers is over maxRepeat, else 0.
func repeat(p string) int {
	end := strings.IndexByte(p, '}')
	if end < 0 {
		return 0
	}
	low, high, _ := repeatBounds(p[:end+1])
	if low <= maxRepeat && high <= maxRepeat {
		return 0
	}
	return end + 1
}

// maxRepeat is the largest repeat that package regexp takes.
const maxRepeat = 1000

// repeatBounds reads {n}, {n,} and {n,m}. The bounds of anything else are -1.
func repeatBounds(text string) (low, high int, open bool) {
	first, second, comma := strings.Cut(text[1:len(text)-1], ",")
	low, err := strconv.Atoi(first)
	if err != nil || low < 0 {
		return -1, -1, false
	}
	switch {
	case !comma:
		return low, low, false
	case second == "":
		return low, -1, true
	}
	high, err = strconv.Atoi(second)
	if err != nil || high < low {
		return -1, -1, false
	}
	return low, high, false
}

// appendRepeat writes a large repeat of an atom as several small ones.
func appendRepeat(dst []byte, atom, text string) []byte {
	low, high, open := repeatBounds(text)
	if max(low, high) > maxPatternSize/max(1, len(atom)) { // it would be too large in any case
		return append(append(dst, atom...), text...)
	}
	left := max(0, high-low)
	for ; low > maxRepeat; low -= maxRepeat {
		dst = fmt.Appendf(dst, "%s{%d}", atom, maxRepeat)
	}
	if open {
		return fmt.Appendf(dst, "%s{%d,}", atom, low)
	}
	dst = fmt.Appendf(dst, "%s{%d}", atom, low)
	for ; left > 0; left -= maxRepeat {
		dst = fmt.Appendf(dst, "%s{0,%d}", atom, min(left, maxRepeat))
	}
	return dst
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
