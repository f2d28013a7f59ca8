// Command worker is the process behind the plugin of the subprocess example: it wraps texts. It reads one JSON object a line from its
// standard input and answers each with one on its standard output. The first line is its config, {"width": 40, "indent": "> "}; those
// after it are {"text": "…"}. An answer is {"lines": ["…"]} or {"error": "…"}. It ends when its input does.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

type config struct {
	Width  int    `json:"width"`
	Indent string `json:"indent"`
}

type request struct {
	Text string `json:"text"`
}

type answer struct {
	Lines []string `json:"lines"`
	Error string   `json:"error,omitempty"`
}

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	answers := json.NewEncoder(out)
	var c *config
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := answers.Encode(reply(&c, line)); err != nil {
			return err
		}
	}
}

// reply answers one line. The first one that is well sets *c.
func reply(c **config, line []byte) answer {
	if *c == nil {
		var first config
		if err := json.Unmarshal(line, &first); err != nil {
			return answer{Error: "the first line is no config"}
		}
		if first.Width <= utf8.RuneCountInString(first.Indent) {
			return answer{Error: "the width leaves no room beside the indent"}
		}
		*c = &first
		return answer{}
	}
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return answer{Error: "the line is no request"}
	}
	return answer{Lines: wrap(r.Text, **c)}
}

// wrap breaks a text between words so that no line is wider than it must be.
func wrap(text string, c config) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line+" "+word) > c.Width {
			lines = append(lines, line)
			line = ""
		}
		if line == "" {
			line = c.Indent + word
		} else {
			line += " " + word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
