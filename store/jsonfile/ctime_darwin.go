package jsonfile

import (
	"io/fs"
	"syscall"
	"time"
)

// ctime is when the system last changed anything about the file. No program can set it.
func ctime(info fs.FileInfo) (time.Time, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return time.Time{}, false
	}
	return time.Unix(st.Ctimespec.Unix()), true
}
