//go:build unix

package atomicfile

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// adopt gives the new file f the owner and group of the file like, and a mode. Only root gives files away. Anybody else gives the file to
// the group if he is in it. A group that the mode was not meant for gets no more rights than others.
func adopt(f *os.File, like fs.FileInfo, mode fs.FileMode) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	is, isOK := info.Sys().(*syscall.Stat_t)
	want, wantOK := like.Sys().(*syscall.Stat_t)
	if !isOK || !wantOK {
		return nil
	}
	switch {
	case is.Uid == want.Uid && is.Gid == want.Gid:
	case os.Geteuid() == 0:
		if err := f.Chown(int(want.Uid), int(want.Gid)); err != nil {
			return fmt.Errorf("giving the file the owner %d and group %d that %s has: %w", want.Uid, want.Gid, like.Name(), err)
		}
	case is.Gid != want.Gid && f.Chown(-1, int(want.Gid)) != nil:
		mode = mode&^0o070 | mode&0o070&(mode<<3)
	}
	return f.Chmod(mode)
}
