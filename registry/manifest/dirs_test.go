package manifest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pluginregistry/pluginregistry/registry"
	"github.com/pluginregistry/pluginregistry/registry/manifest"
)

// dirOf makes a directory of those files.
func dirOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func names(infos []registry.Info) string {
	var all []string
	for _, i := range infos {
		all = append(all, i.Name)
	}
	return strings.Join(all, " ")
}

// bad lists the files an error of Discover is about, each of which must be in a *FileError of its own.
func bad(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%T joins nothing: %v", err, err)
	}
	var all []string
	for _, e := range joined.Unwrap() {
		f, ok := errors.AsType[*manifest.FileError](e)
		if !ok {
			t.Fatalf("%T is no *FileError: %v", e, e)
		}
		all = append(all, filepath.Base(f.Path))
	}
	return all
}

func TestDiscoverOrderAndShadowing(t *testing.T) {
	first := dirOf(t, map[string]string{
		"b.json":     `{"name": "both", "version": "1"}`,
		"a.json":     `{"name": "zeta"}`,
		"B.json":     `{"name": "capital"}`,
		"ü.json":     `{"name": "umlaut"}`,
		"c.JSON":     `{"name": "not a manifest"}`,
		"a.json.bak": `{"name": "not a manifest"}`,
		"json":       `{"name": "not a manifest"}`,
	})
	second := dirOf(t, map[string]string{
		"0.json": `{"name": "both", "version": "2", "config_schema": {"title": "of the second"}}`,
		"1.json": `{"format_version": "2.0", "code": {"name": "nested", "config_schema": {}}}`,
	})
	m := manifest.Dirs(first, filepath.Join(first, "is not there"), second)
	infos, err := m.Discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := names(infos), "capital zeta both umlaut nested"; got != want {
		t.Errorf("found %q, want %q", got, want)
	}
	if both := infos[2]; both.Version != "1" {
		t.Errorf("the plugin of the second directory hides that of the first: %+v", both)
	}
	if schema, err := m.ConfigSchema(t.Context(), "both"); !errors.Is(err, manifest.ErrNoSchema) {
		t.Errorf("the schema is %s (%v), it should be that of the first directory, which has none", schema, err)
	}
}

func TestDiscoverReportsBadFilesAndKeepsTheOthers(t *testing.T) {
	dir := dirOf(t, map[string]string{
		"1-good.json":   `{"name": "one"}`,
		"2-cut.json":    `{"name": "two"`,
		"3-twice.json":  `{"name": "one", "version": "of the second file"}`,
		"4-noname.json": `{"version": "1"}`,
		"5-good.json":   `{"name": "five"}`,
		"6-empty.json":  ``,
		"7-huge.json":   `{"name": "seven"}` + strings.Repeat(" ", manifest.MaxFileBytes),
		"8-limit.json":  `{"name": "eight"}` + strings.Repeat(" ", manifest.MaxFileBytes-len(`{"name": "eight"}`)),
	})
	if err := os.Mkdir(filepath.Join(dir, "9-dir.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	infos, err := manifest.Dirs(dir).Discover(t.Context())
	if got, want := names(infos), "one five eight"; got != want {
		t.Errorf("found %q, want %q", got, want)
	}
	if infos[0].Version != "" {
		t.Errorf("of two files with the same name the second counts: %+v", infos[0])
	}
	want := []string{"2-cut.json", "6-empty.json", "4-noname.json", "7-huge.json", "9-dir.json", "3-twice.json"}
	got := bad(t, err)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("bad are %q, want %q", got, want)
	}
	for _, say := range []string{
		fmt.Sprintf("%q", filepath.Join(dir, "3-twice.json")), `the plugin "one" is that of`,
		"larger than the 1048576 bytes", "a regular file",
	} {
		if !strings.Contains(err.Error(), say) {
			t.Errorf("the error should say %s: %v", say, err)
		}
	}
}

func TestDirectoriesThatAreNone(t *testing.T) {
	dir := dirOf(t, map[string]string{"file": "", "good.json": `{"name": "good"}`})
	infos, err := manifest.Dirs("", filepath.Join(dir, "file"), dir, filepath.Join(dir, "file", "below")).Discover(t.Context())
	if names(infos) != "good" {
		t.Errorf("found %q", names(infos))
	}
	if got, want := len(bad(t, err)), 3; got != want {
		t.Errorf("%d directories are reported, want %d: %v", got, want, err)
	}
	if infos, err := manifest.Dirs().Discover(t.Context()); infos != nil || err != nil {
		t.Errorf("no directory at all has %v, %v", infos, err)
	}
}

func TestUnreadable(t *testing.T) {
	dir := dirOf(t, map[string]string{"a.json": `{"name": "a"}`, "b.json": `{"name": "b"}`})
	path := filepath.Join(dir, "a.json")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Open(path); err == nil {
		f.Close()
		t.Skip("this user, or this system, may read a file without read permission")
	}
	infos, err := manifest.Dirs(dir).Discover(t.Context())
	if names(infos) != "b" || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("found %q, %v", names(infos), err)
	}
}

func TestLinks(t *testing.T) {
	outside := dirOf(t, map[string]string{"secret.json": `{"name": "outside"}`})
	dir := dirOf(t, map[string]string{"data": `{"name": "inside"}`})
	for name, target := range map[string]string{
		"a-inside.json":   "data",
		"b-outside.json":  filepath.Join(outside, "secret.json"),
		"c-up.json":       filepath.Join("..", filepath.Base(outside), "secret.json"),
		"d-dangling.json": "nothing",
		"e-loop.json":     "e-loop.json",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Skipf("symbolic links are needed: %v", err)
		}
	}
	infos, err := manifest.Dirs(dir).Discover(t.Context())
	if got := names(infos); got != "inside outside" {
		t.Errorf("found %q, want what the links lead to", got)
	}
	// The third has the name that the second has; the others lead nowhere.
	if got := bad(t, err); len(got) != 3 {
		t.Errorf("bad are %q", got)
	}
}

func TestConfigSchema(t *testing.T) {
	const schema = "{\n  \"title\":\t\"é\\u00e9\", \"default\": 1.0 }"
	dir := dirOf(t, map[string]string{
		"a.json": `{"name": "a", "config_schema": ` + schema + ` }`,
		"b.json": `{"name": "b"}`,
		"c.json": `{"name": "c", "config_schema": null}`,
		"d.json": `{`,
	})
	m := manifest.Dirs(dir)
	for range 2 { // without a Discover before, and with
		got, err := m.ConfigSchema(t.Context(), "a")
		if err != nil || string(got) != schema {
			t.Errorf("the schema is %q (%v), want %q", got, err, schema)
		}
		for _, name := range []string{"b", "c"} {
			got, err := m.ConfigSchema(t.Context(), name)
			if got != nil || !errors.Is(err, manifest.ErrNoSchema) {
				t.Errorf("plugin %s has schema %q, %v", name, got, err)
			}
			if f, ok := errors.AsType[*manifest.FileError](err); !ok || f.Path != filepath.Join(dir, name+".json") {
				t.Errorf("the error of plugin %s does not name its file: %v", name, err)
			}
		}
		got, err = m.ConfigSchema(t.Context(), "d")
		if got != nil || !errors.Is(err, manifest.ErrUnknownPlugin) || !strings.Contains(err.Error(), `"d"`) {
			t.Errorf("a plugin that is not there has schema %q, %v", got, err)
		}
		if _, err := m.Discover(t.Context()); err == nil {
			t.Error("the bad file is not reported")
		}
	}
	// Where the first question is of an unknown plugin, the bad file may be the reason.
	_, err := manifest.Dirs(dir).ConfigSchema(t.Context(), "d")
	if !errors.Is(err, manifest.ErrUnknownPlugin) || !strings.Contains(err.Error(), "d.json") {
		t.Errorf("the bad file is not named: %v", err)
	}
}

func TestDiscoverReadsAnewAndConfigSchemaDoesNot(t *testing.T) {
	dir := dirOf(t, map[string]string{"a.json": `{"name": "a", "config_schema": {"title": "old"}}`})
	m := manifest.Dirs(dir)
	if _, err := m.Discover(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "a.json"), `{"name": "a", "version": "2", "config_schema": {"title": "new"}}`)
	write(t, filepath.Join(dir, "b.json"), `{"name": "b"}`)
	if got, err := m.ConfigSchema(t.Context(), "a"); err != nil || string(got) != `{"title": "old"}` {
		t.Errorf("before the next Discover the schema is %s, %v", got, err)
	}
	if _, err := m.ConfigSchema(t.Context(), "b"); !errors.Is(err, manifest.ErrUnknownPlugin) {
		t.Errorf("before the next Discover there is a plugin b: %v", err)
	}
	infos, err := m.Discover(t.Context())
	if err != nil || names(infos) != "a b" || infos[0].Version != "2" {
		t.Errorf("found %+v, %v", infos, err)
	}
	if got, err := m.ConfigSchema(t.Context(), "a"); err != nil || string(got) != `{"title": "new"}` {
		t.Errorf("after it the schema is %s, %v", got, err)
	}
}

// endsAfter is a context that ends once it was asked n times.
type endsAfter struct {
	context.Context
	n int
}

func (c *endsAfter) Err() error {
	if c.n--; c.n < 0 {
		return context.Canceled
	}
	return nil
}

func TestContext(t *testing.T) {
	dir := dirOf(t, map[string]string{
		"a.json": `{"name": "a", "config_schema": {}}`,
		"b.json": `{"name": "b"}`,
		"c.json": `{"name": "c"}`,
	})
	m := manifest.Dirs(dir)
	for n := range 4 { // before each file, and at the end
		infos, err := m.Discover(&endsAfter{t.Context(), n})
		if infos != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("a context that ends after %d looks gives %v, %v", n, infos, err)
		}
		got, err := m.ConfigSchema(&endsAfter{t.Context(), n}, "a")
		if got != nil || !errors.Is(err, context.Canceled) || errors.Is(err, manifest.ErrUnknownPlugin) {
			t.Errorf("a context that ends after %d looks gives the schema %s, %v", n, got, err)
		}
	}
	if infos, err := m.Discover(&endsAfter{t.Context(), 4}); err != nil || names(infos) != "a b c" {
		t.Errorf("found %v, %v", infos, err)
	}
	// A discovery that is cut short does not take away what an earlier one found.
	if _, err := m.Discover(&endsAfter{t.Context(), 1}); err == nil {
		t.Error("a context that has ended is not noticed")
	}
	if got, err := m.ConfigSchema(t.Context(), "a"); err != nil || string(got) != "{}" {
		t.Errorf("then the schema is %s, %v", got, err)
	}
}

// calls is a context that calls f when it is asked for the nth time.
type calls struct {
	context.Context
	n int
	f func()
}

func (c *calls) Err() error {
	if c.n--; c.n == 0 {
		c.f()
	}
	return nil
}

func TestTheDiscoveryBegunLastCounts(t *testing.T) {
	dir := dirOf(t, map[string]string{"a.json": `{"name": "a", "config_schema": {"title": "old"}}`})
	m := manifest.Dirs(dir)
	// Another discovery begins and ends when the first has read its only file and not ended yet.
	infos, err := m.Discover(&calls{t.Context(), 2, func() {
		write(t, filepath.Join(dir, "a.json"), `{"name": "a", "version": "new", "config_schema": {"title": "new"}}`)
		if _, err := m.Discover(t.Context()); err != nil {
			t.Error(err)
		}
	}})
	if err != nil || len(infos) != 1 || infos[0].Version != "" {
		t.Fatalf("the first discovery found %+v, %v: it should have read the file before it was written", infos, err)
	}
	if got, err := m.ConfigSchema(t.Context(), "a"); err != nil || string(got) != `{"title": "new"}` {
		t.Errorf("the schema is %s, %v: the older view has replaced the newer one", got, err)
	}
}

func TestPathsAreTheCallersOwn(t *testing.T) {
	paths := []string{dirOf(t, map[string]string{"a.json": `{"name": "a"}`})}
	m := manifest.Dirs(paths...)
	paths[0] = "elsewhere"
	if infos, err := m.Discover(t.Context()); err != nil || names(infos) != "a" {
		t.Errorf("found %v, %v", infos, err)
	}
}

func TestRelativePaths(t *testing.T) {
	t.Chdir(dirOf(t, map[string]string{"a.json": `{"name": "a"}`}))
	if infos, err := manifest.Dirs(".").Discover(t.Context()); err != nil || names(infos) != "a" {
		t.Errorf("found %v, %v", infos, err)
	}
}

func TestConcurrentUse(t *testing.T) {
	files := map[string]string{}
	for i := range 20 {
		files[fmt.Sprintf("%02d.json", i)] = fmt.Sprintf(`{"name": "p%d", "config_schema": {"title": "%d"}}`, i, i)
	}
	m := manifest.Dirs(dirOf(t, files))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 20 {
				if g%2 == 0 && i%5 == 0 {
					if infos, err := m.Discover(t.Context()); err != nil || len(infos) != 20 {
						t.Errorf("found %d, %v", len(infos), err)
					}
				}
				want := fmt.Sprintf(`{"title": "%d"}`, i)
				if got, err := m.ConfigSchema(t.Context(), fmt.Sprintf("p%d", i)); err != nil || string(got) != want {
					t.Errorf("schema %s, %v, want %s", got, err, want)
				}
			}
		})
	}
	wg.Wait()
}
