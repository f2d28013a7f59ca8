package pluginregistry_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// goBlocks returns the blocks of Go code in a Markdown file.
func goBlocks(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// plain returns code without indentation and empty lines.
func plain(code string) string {
	var lines []string
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// TestDocsAreCompiled: each block of Go code in docs/ stands in a test or an example that is compiled and run.
func TestDocsAreCompiled(t *testing.T) {
	var compiled strings.Builder
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") && !strings.HasPrefix(path, "examples"+string(filepath.Separator)) {
			return err
		}
		source, err := os.ReadFile(path)
		compiled.WriteString(plain(string(source)) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	docs, err := filepath.Glob("docs/*.md")
	if err != nil || len(docs) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	blocks := 0
	for _, path := range docs {
		for _, block := range goBlocks(t, path) {
			blocks++
			if !strings.Contains(compiled.String(), plain(block)) {
				t.Errorf("%s: this code is in no test or example:\n%s", path, block)
			}
		}
	}
	if blocks < 10 {
		t.Errorf("only %d blocks of Go code were found", blocks)
	}
}

// TestReadmeProgram: the README's program runs as it stands there.
func TestReadmeProgram(t *testing.T) {
	blocks := goBlocks(t, "README.md")
	if len(blocks) != 1 || !strings.HasPrefix(blocks[0], "package main") {
		t.Fatalf("the README has %d blocks of Go code, want one program", len(blocks))
	}
	if lines := bytes.Count(readFile(t, "README.md"), []byte("\n")); lines >= 160 {
		t.Errorf("the README has %d lines", lines)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mod := "module readme\n\n" + regexp.MustCompile(`(?m)^go .*$`).FindString(string(readFile(t, "go.mod"))) +
		"\n\nrequire github.com/pluginregistry/pluginregistry v0.0.0\n\nreplace github.com/pluginregistry/pluginregistry => " + here + "\n\n" +
		strings.Join(regexp.MustCompile(`(?ms)^require \(.*?^\)`).FindAllString(string(readFile(t, "go.mod")), -1), "\n")
	for name, text := range map[string]string{
		"main.go":              blocks[0],
		"go.mod":               mod,
		"go.sum":               string(readFile(t, "go.sum")),
		"plugins/whisper.json": string(readFile(t, "registry/testdata/tour/transcription/whisper.json")),
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "run", "-mod=mod", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOPROXY=off")
	out, err := cmd.CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != "cuda 5" {
		t.Errorf("it printed %q, %v", got, err)
	}
	if db, _ := filepath.Glob(filepath.Join(dir, "registry.db*")); len(db) == 0 || bytes.Contains(readFile(t, db[0]), []byte("sk-very-secret")) {
		t.Errorf("the files %q are missing or hold the key in plain text", db)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
