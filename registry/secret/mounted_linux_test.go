package secret

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mountedFile is set in the process that opens a key file as another user.
const mountedFile = "PLUGINREGISTRY_TEST_MOUNTED_KEYS"

const nobody = 65534

// TestKeyFilesOfOthers opens key files that belong to root as a user who may only read them, as containers do.
func TestKeyFilesOfOthers(t *testing.T) {
	if path := os.Getenv(mountedFile); path != "" {
		k, err := OpenFile(path)
		fmt.Println(k != nil, err)
		os.Exit(0)
	}
	if os.Getuid() != 0 {
		t.Skip("this needs root, to open files as another user")
	}
	dir, err := os.MkdirTemp("", "keys") // not in t.TempDir, which nobody else may enter
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "program")
	for name, mode := range map[string]fs.FileMode{dir: 0o755, program: 0o755} {
		if name == program {
			copyFile(t, program)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "secret.keys")
	for _, c := range []struct {
		owner, group int
		mode         fs.FileMode
		good         bool
	}{
		{0, 0, 0o444, true}, {0, nobody, 0o440, true}, {0, nobody, 0o640, true}, {0, 0, 0o644, true}, {nobody, 0, 0o400, true}, {nobody, 0, 0o444, true},
		{0, nobody, 0o660, false}, {0, 0, 0o666, false}, {nobody, 0, 0o644, false}, {nobody, 0, 0o640, false}, {0, nobody, 0o450, false}, {0, 0, 0o400, false},
	} {
		if err := os.WriteFile(path, []byte(forms(testKey(1))[0]+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, c.owner, c.group); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "-test.run=^TestKeyFilesOfOthers$")
		cmd.Env = append(os.Environ(), mountedFile+"="+path)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		said, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		if got := strings.HasPrefix(string(said), "true <nil>"); got != c.good {
			t.Errorf("mode %#o of %d:%d: %s; want it taken: %t", c.mode, c.owner, c.group, said, c.good)
		}
	}
}

func copyFile(t *testing.T, to string) {
	t.Helper()
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	f, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, from); err != nil {
		t.Fatal(err)
	}
}

// TestKeyFileOnReadOnlyMount opens, as root, a file that everybody may read and nobody can write.
func TestKeyFileOnReadOnlyMount(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret.keys")
	if err := os.WriteFile(path, []byte(forms(testKey(1))[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o444); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(dir, dir, "", syscall.MS_BIND, ""); err != nil {
		t.Skip("this needs the right to mount:", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	if os.Getuid() == 0 {
		if _, err := OpenFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("the mount can be written to, and the error is %v", err)
		}
	}
	if err := syscall.Mount(dir, dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skip("this needs the right to mount:", err)
	}
	if _, err := OpenFile(path); err != nil {
		t.Error(err)
	}
}

// TestKeyFileIsSynced has fsync fail for each file and directory in turn: no key may be returned then.
func TestKeyFileIsSynced(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("this needs strace, to make fsync fail")
	}
	for _, failing := range []string{"", "a", "a/b", "a/b/secret.keys", "elsewhere"} {
		dir := t.TempDir()
		cmd := exec.Command(strace, "-f", "-qq", "-o", os.DevNull, "-P", filepath.Join(dir, failing), "-e", "trace=fsync", "-e", "inject=fsync:error=EIO",
			os.Args[0], "-test.run=^TestFirstUseByManyProcesses$")
		cmd.Env = append(os.Environ(), childFile+"="+filepath.Join(dir, "a", "b", "secret.keys"))
		said, err := cmd.CombinedOutput()
		if strings.Contains(string(said), "ptrace") && strings.Contains(string(said), "not permitted") {
			t.Skip("this needs the right to trace")
		}
		if failed := err != nil && strings.Contains(string(said), "input/output error"); failed != (failing != "elsewhere") {
			t.Errorf("with fsync failing for %q: %v: %s", failing, err, said)
		}
	}
}
