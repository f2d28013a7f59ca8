// Command worker is the process behind the plugin of the subprocess example: it wraps texts. It reads one JSON object a line from its
// standard input, and answers each with one on its standard output. The first is {"id": 1, "config": {"width": 40, "indent": "> "}}; those
// after it are {"id": 2, "text": "…"}. An answer is {"id": 2, "lines": ["…"]} or {"id": 2, "error": "…"}; answers come in any order. The
// worker ends when its input does.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode/utf8"
)

type config struct {
	Width  int    `json:"width"`
	Indent string `json:"indent"`
}

type request struct {
	ID     int     `json:"id"`
	Config *config `json:"config"`
	Text   string  `json:"text"`
}

type answer struct {
	ID    int      `json:"id"`
	Lines []string `json:"lines,omitempty"`
	Error string   `json:"error,omitempty"`
}

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

// serve answers all requests, those after the config at once.
func serve(in io.Reader, out io.Writer) error {
	var writing sync.Mutex
	write := func(a answer) error {
		line, err := json.Marshal(a)
		if err != nil {
			return err
		}
		writing.Lock()
		defer writing.Unlock()
		_, err = fmt.Fprintf(out, "\n%s\n", line) // on a line of its own, even if something else has begun one
		return err
	}
	var answering sync.WaitGroup
	defer answering.Wait()
	requests := bufio.NewReader(in)
	var c *config
	for {
		line, err := requests.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var r request
		if err := json.Unmarshal(line, &r); err != nil || r.ID == 0 {
			return fmt.Errorf("a line of %d bytes is no request", len(line))
		}
		if c == nil {
			a := answer{ID: r.ID}
			switch {
			case r.Config == nil:
				a.Error = "the first request has no config"
			case r.Config.Width <= utf8.RuneCountInString(r.Config.Indent):
				a.Error = "the width leaves no room beside the indent"
			default:
				c = r.Config
			}
			if err := write(a); err != nil {
				return err
			}
			continue
		}
		config := *c
		answering.Go(func() { _ = write(answer{ID: r.ID, Lines: wrap(r.Text, config)}) }) // if nobody reads it, the input ends soon
	}
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
