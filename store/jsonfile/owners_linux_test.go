package jsonfile

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pluginregistry/pluginregistry/store"
)

// Users and a group that need not be known to the system.
const (
	ann, bob  = 54301, 54302
	team      = 54300
	strangers = 54399
)

func needRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be other users")
	}
}

// teamDir makes a directory for which the test can be all users.
func teamDir(t *testing.T, mode fs.FileMode, uid, gid int) string {
	t.Helper()
	dir := filepath.Join(openToAll(t), "configs")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, uid, gid), os.Chmod(dir, mode)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// as runs orders in a process of that user, which must all go well.
func as(t *testing.T, dir string, uid uint32, gid uint32, groups []uint32, orders ...string) {
	t.Helper()
	for _, line := range order(t, dir, &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}, orders...) {
		if !strings.HasSuffix(line, " ok") {
			t.Errorf("user %d: %s", uid, line)
		}
	}
}

// order runs orders in another process and returns what it says.
func order(t *testing.T, dir string, who *syscall.Credential, orders ...string) []string {
	t.Helper()
	cmd := childCommand(t, dir, "obey")
	cmd.Path = everybodysBinary(t)
	cmd.Dir = "/"
	cmd.Env = append(cmd.Env, ordersEnv+"="+strings.Join(orders, "\n"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the process of user %d: %v: %s", who.Uid, err, out)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// everybodysBinary is a copy of the test binary that everybody may run.
func everybodysBinary(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Skip("the test binary cannot be started again: ", err)
	}
	path := filepath.Join(openToAll(t), "test")
	if info, err := os.Stat(exe); err == nil && info.Mode()&0o005 == 0o005 && os.Link(exe, path) == nil {
		return path
	}
	from, err := os.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Chmod(0o755), to.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func wantOwner(t *testing.T, path string, mode fs.FileMode, uid, gid uint32) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Error(err)
		return
	}
	if st := info.Sys().(*syscall.Stat_t); info.Mode().Perm() != mode || st.Uid != uid || st.Gid != gid {
		t.Errorf("%s is %v of %d:%d, want %v of %d:%d", filepath.Base(path), info.Mode().Perm(), st.Uid, st.Gid, mode, uid, gid)
	}
}

// One save by root takes nothing from the service: not its file, not its lock, not what is new.
func TestRootSavesForTheService(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, c := range []struct{ dir, file, created fs.FileMode }{
		{0o700, 0o600, 0o600}, {0o750, 0o640, 0o640}, {0o755, 0o644, 0o600}, {0o755, 0o640, 0o600}, {0o770, 0o660, 0o660}, {0o750, 0o600, 0o640},
		{0o775, 0o400, 0o660}, {0o2775, 0o664, 0o660},
	} {
		t.Run(fmt.Sprintf("%v", c.dir), func(t *testing.T) {
			dir := teamDir(t, c.dir.Perm()|c.dir&0o2000, ann, team)
			if c.dir&0o2000 != 0 {
				if err := os.Chmod(dir, c.dir.Perm()|fs.ModeSetgid); err != nil {
					t.Fatal(err)
				}
			}
			write(t, dir, "old.json", `{}`)
			write(t, dir, "torn.json", `{`)
			for _, name := range []string{"old.json", "torn.json"} {
				path := filepath.Join(dir, name)
				if err := errors.Join(os.Chown(path, ann, team), os.Chmod(path, c.file)); err != nil {
					t.Fatal(err)
				}
			}
			s := openTest(t, dir) // as root
			put(t, s, "old", `{"n":1}`)
			put(t, s, "torn", `{"n":1}`)
			put(t, s, "new", `{"n":1}`)
			if _, err := s.PutAll(t.Context(), []store.Put{
				{ID: "old", Config: json.RawMessage(`{"n":2}`), Match: store.Any}, {ID: "newer", Config: json.RawMessage(`{"n":2}`), Match: store.Any},
			}); err != nil {
				t.Fatal(err)
			}
			wantOwner(t, filepath.Join(dir, "old.json"), c.file, ann, team)
			wantOwner(t, filepath.Join(dir, "torn.json"), c.file, ann, team)
			wantOwner(t, filepath.Join(dir, "torn.json.corrupt-1"), c.file, ann, team)
			for _, name := range []string{"new.json", "newer.json", lockName} {
				wantOwner(t, filepath.Join(dir, name), c.created, ann, team)
			}
			as(t, dir, ann, team, nil, "get old", "get new", "put old", "put new", "batch newer", "delete new", "delete torn")
		})
	}
}

// Two users of one group share a directory that their group may write, whoever comes first.
func TestUsersOfOneGroup(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for name, mode := range map[string]fs.FileMode{"0770": 0o770, "setgid": 0o770 | fs.ModeSetgid, "open to read": 0o775 | fs.ModeSetgid} {
		t.Run(name, func(t *testing.T) {
			dir := teamDir(t, mode, 0, team)
			// Each has a group of his own besides.
			as(t, dir, ann, ann, []uint32{team}, "put a", "put both", "batch batch")
			wantOwner(t, filepath.Join(dir, "a.json"), 0o660, ann, team)
			wantOwner(t, filepath.Join(dir, lockName), 0o660, ann, team)
			as(t, dir, bob, bob, []uint32{team}, "get a", "put a", "put both", "batch batch", "put b", "delete both")
			wantOwner(t, filepath.Join(dir, "a.json"), 0o660, bob, team)
			as(t, dir, ann, ann, []uint32{team}, "get a", "get b", "put b", "batch batch", "delete a")
			as(t, dir, 0, 0, nil, "put b", "put by_root")
			wantOwner(t, filepath.Join(dir, "b.json"), 0o660, ann, team)
			as(t, dir, bob, bob, []uint32{team}, "put b", "put by_root")
		})
	}
}

// Whoever may write to a directory of a group that he is not in gives his files to nobody else by that.
func TestNotInTheGroup(t *testing.T) {
	t.Parallel()
	needRoot(t)
	dir := teamDir(t, 0o777, 0, team)
	write(t, dir, "theirs.json", `{}`)
	path := filepath.Join(dir, "theirs.json")
	if err := errors.Join(os.Chown(path, ann, team), os.Chmod(path, 0o664)); err != nil {
		t.Fatal(err)
	}
	as(t, dir, bob, strangers, nil, "put mine", "put theirs")
	wantOwner(t, filepath.Join(dir, "mine.json"), 0o600, bob, strangers)
	wantOwner(t, path, 0o644, bob, strangers)
}

// A lock that a user may not have is an error that names the file; reading goes on.
func TestLockOfAnother(t *testing.T) {
	needRoot(t)
	dir := teamDir(t, 0o777, 0, 0)
	write(t, dir, "x.json", `{}`)
	write(t, dir, lockName, "")
	if err := os.Chmod(filepath.Join(dir, "x.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	said := order(t, dir, &syscall.Credential{Uid: bob, Gid: bob}, "get x", "put x")
	if said[0] != "get x ok" || !strings.Contains(said[1], filepath.Join(dir, lockName)) || !strings.Contains(said[1], "permission denied") {
		t.Errorf("it says %q", said)
	}
}

// A process that is stopped while it holds the lock makes nobody wait for ever.
func TestStoppedProcess(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, WithBusyTimeout(50*time.Millisecond))
	put(t, s, "x", `{"n":1}`)
	cmd := childCommand(t, dir, "hold lock")
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "locked\n" {
		t.Fatalf("it says %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	wantBusy(t, s, dir)
	wantBusy(t, openTest(t, dir, WithBusyTimeout(0)), dir) // opening does not wait either
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(stdin, "go on")
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	put(t, s, "x", `{"n":2}`)
}

// A file that is mounted by itself can be read and not replaced; the error says what to do.
func TestMountedFile(t *testing.T) {
	needRoot(t)
	dir, outside := t.TempDir(), t.TempDir()
	write(t, dir, "x.json", `{"under":1}`)
	write(t, outside, "source", `{"n":1}`)
	if err := syscall.Mount(filepath.Join(outside, "source"), filepath.Join(dir, "x.json"), "", syscall.MS_BIND, ""); err != nil {
		t.Skip("needs the right to mount a file: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(filepath.Join(dir, "x.json"), syscall.MNT_DETACH) })
	s := openTest(t, dir)
	wantConfig(t, s, "x", `{"n":1}`)
	put(t, s, "x", `{"n":1}`) // nothing to replace
	refused := func(what string, err error) {
		t.Helper()
		wantErr(t, err, syscall.EBUSY)
		if !strings.Contains(fmt.Sprint(err), "mount its directory instead") {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := s.Put(t.Context(), "x", json.RawMessage(`{"n":2}`), store.Any)
	refused("Put", err)
	refused("Delete", s.Delete(t.Context(), "x", store.Any))
	wantConfig(t, s, "x", `{"n":1}`)
	write(t, outside, "source", `{"torn`)
	_, err = s.Put(t.Context(), "x", json.RawMessage(`{"n":2}`), store.Any)
	refused("Put over what cannot be read", err)
	wantFile(t, outside, "source", `{"torn`)
	wantNames(t, dir, "x.json")
	put(t, s, "y", `{}`)
}

// On a read-only mount all can be read, and a save is an error of the system.
func TestReadOnlyMount(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip("needs the right to mount a file system: ", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	write(t, dir, "x.json", `{"n":1}`)
	write(t, dir, ".pluginregistry-LEFT.tmp", `{`)
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s := openTest(t, dir, WithPollInterval(time.Millisecond))
	wantConfig(t, s, "x", `{"n":1}`)
	wantConfigured(t, s, "x")
	_, err := s.Put(t.Context(), "x", json.RawMessage(`{"n":2}`), store.Any)
	wantErr(t, err, syscall.EROFS)
	wantErr(t, s.Delete(t.Context(), "x", store.Any), syscall.EROFS)
	_, err = s.PutAll(t.Context(), []store.Put{{ID: "y", Config: json.RawMessage(`{}`)}})
	wantErr(t, err, syscall.EROFS)
	changes := s.Watch(t.Context())
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	rec := put(t, s, "x", `{"n":2}`)
	for c, err := range changes {
		if c.Revision != rec.Revision || err != nil {
			t.Errorf("change %+v, %v", c, err)
		}
		break
	}
}
