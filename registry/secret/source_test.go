package secret

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

const testVariable = "PLUGINREGISTRY_TEST_SECRET_KEYS"

// forms are the ways to write a key in base64.
func forms(raw []byte) []string {
	return []string{
		base64.StdEncoding.EncodeToString(raw), base64.RawStdEncoding.EncodeToString(raw),
		base64.URLEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
	}
}

// awkward is a key whose base64 needs the two characters in which the alphabets differ.
var awkward = bytes.Repeat([]byte{0xfb, 0xff}, KeySize/2)

func TestGenerateKey(t *testing.T) {
	a, b := GenerateKey(), GenerateKey()
	if a == b {
		t.Error("two new keys are the same")
	}
	if raw, err := parseKey(a); err != nil || len(raw) != KeySize {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}

func TestFromEnv(t *testing.T) {
	for _, raw := range [][]byte{testKey(1), awkward} {
		for _, text := range forms(raw) {
			t.Setenv(testVariable, "\t"+text+" \n")
			k, err := FromEnv(testVariable)
			if err != nil {
				t.Errorf("form of %d characters: %v", len(text), err)
			} else if k.KeyID() != mustNew(t, raw).KeyID() {
				t.Error("another key was read")
			}
		}
	}
	t.Setenv(testVariable, forms(testKey(2))[0]+" , "+forms(testKey(1))[3])
	k, err := FromEnv(testVariable)
	if err != nil {
		t.Fatal(err)
	}
	if want := mustNew(t, testKey(2), testKey(1)); k.String() != want.String() {
		t.Errorf("%v, want %v: the newest first", k, want)
	}
}

func TestFromEnvRefuses(t *testing.T) {
	good := forms(testKey(1))[0]
	for name, c := range map[string]struct{ value, want string }{
		"empty":          {"", "is not set"},
		"blank":          {" \t", "is not set"},
		"comma only":     {",", "key 1: it is empty"},
		"comma at end":   {good + ",", "key 2: it is empty"},
		"too short":      {good[:40], "key 1: it has 40 characters"},
		"too long":       {good + "AAAA", "key 1: it has 48 characters"},
		"hexadecimal":    {strings.Repeat("0f", KeySize), "key 1: it has 64 characters"},
		"password":       {good + ",correct horse battery staple", "key 2: it has 28 characters"},
		"no base64":      {"!" + good[1:], "key 1: it is not base64"},
		"both alphabets": {"-+" + good[2:], "key 1: it is not base64"},
		"padding twice":  {good[:42] + "==", "key 1: it is not base64"},
		"line break":     {good[:20] + "\n" + good[20:43], "key 1: it has 20 characters"},
		"byte order":     {"\ufeff" + good, "byte order mark"},
		"quotes":         {`"` + good + `"`, "key 1: it has quotes"},
		"other quotes":   {good + ",'" + forms(testKey(2))[0] + "'", "key 2: it has quotes"},
		"bits too many":  {good[:42] + "h=", "key 1: it is not base64"},
		"the same twice": {good + "," + forms(testKey(1))[3], "keys 1 and 2 are the same"},
	} {
		t.Setenv(testVariable, c.value)
		k, err := FromEnv(testVariable)
		if k != nil || err == nil {
			t.Errorf("%s: %v, %v", name, k, err)
			continue
		}
		text := err.Error()
		if !strings.Contains(text, c.want) || !strings.Contains(text, testVariable) || strings.Count(text, "secret: ") != 1 {
			t.Errorf("%s: %s; want the variable and %q", name, text, c.want)
		}
		if showsKey(text, testKey(1)) || strings.Contains(text, "horse") {
			t.Errorf("%s: the error shows what is in the variable", name)
		}
	}
	if err := os.Unsetenv(testVariable); err != nil {
		t.Fatal(err)
	}
	if _, err := FromEnv(testVariable); err == nil || !strings.Contains(err.Error(), "is not set") {
		t.Errorf("not set: %v", err)
	}
}

func TestParse(t *testing.T) {
	one, two, three := forms(testKey(1))[0], forms(testKey(2))[1], forms(awkward)[3]
	want := mustNew(t, testKey(1), testKey(2), awkward)
	for _, text := range []string{
		one + "," + two + "," + three, one + "\n" + two + "\n" + three + "\n", "# newest\r\n " + one + " , " + two + "\r\n\r\n\t" + three,
	} {
		if k, err := Parse(text); err != nil || k.String() != want.String() {
			t.Errorf("%v, %v; want %v", k, err, want)
		}
	}
	for _, text := range []string{"", "# none\n", "\ufeff" + one, one + ",", `"` + one + `"`, one + "\n" + one, "KEY=" + one} {
		k, err := Parse(text)
		if k != nil || err == nil || showsKey(err.Error(), testKey(1)) || strings.Count(err.Error(), "secret: ") != 1 {
			t.Errorf("%d characters: %v, %v", len(text), k, err)
		}
	}
}

// unix skips where files have no Unix permissions.
func unix(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there are no Unix file modes on Windows")
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestOpenFileMakesIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "deep")
	path := filepath.Join(dir, "secret.keys")
	k, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := mustEncrypt(t, k, "text", "")
	again, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Decrypt(c, nil); err != nil || string(got) != "text" {
		t.Errorf("opened again: %q, %v", got, err)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("the directory has %q, want the key file alone", got)
	}
	other, err := OpenFile(filepath.Join(dir, "other.keys"))
	if err != nil {
		t.Fatal(err)
	}
	if other.KeyID() == k.KeyID() {
		t.Error("two files were made with the same key")
	}
	if runtime.GOOS == "windows" {
		return
	}
	for p, want := range map[string]fs.FileMode{path: 0o600, dir: 0o700, filepath.Dir(dir): 0o700} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", filepath.Base(p), info.Mode().Perm(), err, want)
		}
	}
}

func TestOpenFileOfMany(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.keys")
	text := "# made by hand\r\n\r\n  " + forms(testKey(2))[3] + "\r\n\t# older\n" + forms(testKey(1))[0] // no line end
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := mustNew(t, testKey(2), testKey(1)); k.String() != want.String() {
		t.Errorf("%v, want %v: the newest first", k, want)
	}
	// A key that is put first becomes the newest.
	if err := os.WriteFile(path, []byte(forms(awkward)[0]+"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	if k, err = OpenFile(path); err != nil || k.KeyID() != mustNew(t, awkward).KeyID() {
		t.Errorf("%v, %v; want the key of the first line as the newest", k, err)
	}
}

func TestOpenFileRefuses(t *testing.T) {
	good := forms(testKey(1))[0]
	for name, c := range map[string]struct{ text, want string }{
		"empty":          {"", "there is no key in it"},
		"only comments":  {"# nothing\n\n", "there is no key in it"},
		"garbage":        {"\x00\xff\n", "line 1 is no key"},
		"one is bad":     {"# keys\n" + good + "\n!" + good[1:] + "\n", "line 3 is no key: it is not base64"},
		"cut":            {good[:30], "line 1 is no key"},
		"byte order":     {"\ufeff# keys\n" + good, "byte order mark"},
		"quotes":         {"# keys\n“" + good + "”\n", "line 2 is no key: it has quotes"},
		"the same twice": {good + "\n" + good, "keys 1 and 2 are the same"},
		"huge":           {strings.Repeat("#\n", maxFile/2) + good, "over 65536 bytes"},
	} {
		path := filepath.Join(t.TempDir(), "secret.keys")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := OpenFile(path)
		if k != nil || err == nil {
			t.Errorf("%s: %v, %v", name, k, err)
			continue
		}
		text := err.Error()
		if !strings.Contains(text, c.want) || !strings.Contains(text, path) || strings.Count(text, "secret: ") != 1 {
			t.Errorf("%s: %s; want the path and %q", name, text, c.want)
		}
		if showsKey(text, testKey(1)) {
			t.Errorf("%s: the error shows the key", name)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != c.text {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
}

func TestOpenFileRefusesModes(t *testing.T) {
	unix(t)
	path := filepath.Join(t.TempDir(), "secret.keys")
	if _, err := OpenFile(path); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666, 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		k, err := OpenFile(path)
		if k != nil || err == nil || !strings.Contains(err.Error(), "chmod 600") || !strings.Contains(err.Error(), path) {
			t.Errorf("mode %#o: %v, %v; want an error with the path and chmod 600", mode, k, err)
		}
	}
	for _, mode := range []fs.FileMode{0o600, 0o400, 0o700} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenFile(path); err != nil {
			t.Errorf("mode %#o: %v", mode, err)
		}
	}
}

func TestOpenFileIsNoFile(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		"":                                  "not the name of a file",
		dir:                                 "not a regular file",
		dir + string(filepath.Separator):    "not the name of a file",
		filepath.Join(dir, "missing") + "/": "not the name of a file",
	} {
		if k, err := OpenFile(path); k != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", path, k, err, want)
		}
	}
	if got := names(t, dir); len(got) != 0 {
		t.Errorf("%q were made", got)
	}
}

func TestOpenFileLinks(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(t.TempDir(), "keys"), filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Skipf("symbolic links cannot be made here: %v", err)
	}
	if k, err := OpenFile(link); k != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link to nothing: %v, %v; want fs.ErrNotExist", k, err)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("the directory has %q, want the link alone", got)
	}
	want, err := OpenFile(target)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := OpenFile(link); err != nil || k.KeyID() != want.KeyID() {
		t.Errorf("a link to a key file: %v, %v", k, err)
	}
}

func TestOpenFileCannotMake(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "file", "secret.keys")
	if k, err := OpenFile(path); k != nil || err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v, %v; want an error with the path", k, err)
	}
}

func TestFirstUseByManyGoroutines(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "new", "secret.keys")
		ids := make([]string, 8)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				<-start
				k, err := OpenFile(path)
				if err != nil {
					t.Error(err)
				}
				ids[i] = k.KeyID()
			})
		}
		close(start)
		wg.Wait()
		for _, id := range ids {
			if id != ids[0] || id == "" {
				t.Fatalf("key IDs %q, want one", ids)
			}
		}
		if got := names(t, filepath.Dir(path)); len(got) != 1 {
			t.Errorf("the directory has %q, want the key file alone", got)
		}
	}
}

// childFile is set in the processes that TestFirstUseByManyProcesses starts.
const childFile = "PLUGINREGISTRY_TEST_SECRET_FILE"

func TestFirstUseByManyProcesses(t *testing.T) {
	if path := os.Getenv(childFile); path != "" {
		child(path)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Skipf("the test binary cannot be found to start it again: %v", err)
	}
	path := filepath.Join(t.TempDir(), "new", "secret.keys")
	ids := make([]string, 6)
	var ready, wg sync.WaitGroup
	ready.Add(len(ids))
	for i := range ids {
		wg.Go(func() {
			cmd := exec.Command(exe, "-test.run=^"+t.Name()+"$")
			cmd.Env = append(os.Environ(), childFile+"="+path)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			stdin, err1 := cmd.StdinPipe()
			stdout, err2 := cmd.StdoutPipe()
			if err := errors.Join(err1, err2, cmd.Start()); err != nil {
				t.Error(err)
				ready.Done()
				return
			}
			lines := bufio.NewScanner(stdout)
			lines.Scan() // it runs
			ready.Done()
			ready.Wait() // all run
			if err := stdin.Close(); err != nil {
				t.Error(err)
			}
			lines.Scan()
			ids[i] = lines.Text()
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v: %s", err, stderr.String())
			}
		})
	}
	wg.Wait()
	k, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if id != k.KeyID() {
			t.Errorf("key IDs %q, want all to be %s", ids, k.KeyID())
			break
		}
	}
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("the directory has %q, want the key file alone", got)
	}
}

// child opens the file when its standard input ends, and tells the key ID.
func child(path string) {
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1))
	k, err := OpenFile(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(k.KeyID())
	os.Exit(0)
}

func FuzzKeyText(f *testing.F) {
	for _, raw := range [][]byte{testKey(1), awkward} {
		for _, text := range forms(raw) {
			f.Add(text)
			f.Add("# comment\n" + text + "\r\n\n")
		}
	}
	f.Add("")
	f.Add("!" + forms(testKey(1))[0][1:])
	f.Fuzz(func(t *testing.T, text string) {
		raw, err := parseKey(text)
		if err != nil {
			if raw != nil || len(text) > 8 && strings.Contains(err.Error(), text) {
				t.Fatalf("%d bytes, %v", len(raw), err)
			}
		} else {
			// A key has exactly four spellings.
			spelled := false
			for _, form := range forms(raw) {
				spelled = spelled || form == text
			}
			if len(raw) != KeySize || !spelled {
				t.Fatalf("%q was read as a key", text)
			}
		}
		ring, err := parseFile([]byte(text))
		if err != nil {
			return
		}
		if n := len(ring.ring()); n > 1+strings.Count(text, "\n")+strings.Count(text, ",") {
			t.Fatalf("%d keys in %q", n, text)
		}
		first := strings.TrimSpace(text)
		for strings.HasPrefix(first, "#") {
			_, first, _ = strings.Cut(first, "\n")
			first = strings.TrimSpace(first)
		}
		first, _, _ = strings.Cut(first, "\n")
		first, _, _ = strings.Cut(first, ",")
		if raw, err := parseKey(strings.TrimSpace(first)); err != nil || mustNew(t, raw).KeyID() != ring.KeyID() {
			t.Fatalf("%v: the newest key of %q is not that of its first line", err, text)
		}
	})
}
