//go:build !linux && !darwin

package jsonfile

import (
	"io/fs"
	"time"
)

func ctime(fs.FileInfo) (time.Time, bool) { return time.Time{}, false }
