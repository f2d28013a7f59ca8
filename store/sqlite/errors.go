package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/pluginregistry/pluginregistry/store"
)

// The primary result codes of SQLite that a user can do something about; see https://www.sqlite.org/rescode.html.
const (
	codeBusy     = 5
	codeLocked   = 6
	codeReadOnly = 8
	codeIOErr    = 10
	codeCorrupt  = 11
	codeFull     = 13
	codeCantOpen = 14
	codeNotADB   = 26
)

var errLocked = errors.New("the database is locked by another program; finish what holds it, such as an open transaction in a sqlite3 shell, and try again")

// code is the primary result code in err, or 0.
func code(err error) int {
	var e interface {
		error
		Code() int
	}
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// busy tells whether trying again helps, when another connection is done.
func busy(err error) bool {
	c := code(err)
	return c == codeBusy || c == codeLocked || errors.Is(err, errLocked)
}

// explain says what an error of the driver means for the user. SQLite's texts name tables and constraints, never values.
func explain(err error) error {
	switch code(err) {
	case codeBusy, codeLocked:
		return fmt.Errorf("%w: %w", errLocked, err)
	case codeReadOnly:
		return fmt.Errorf("the database, or the directory it is in, is read-only (%w): %w", fs.ErrPermission, err)
	case codeIOErr:
		return fmt.Errorf("the disk could not be read or written: %w", err)
	case codeCorrupt, codeNotADB:
		return fmt.Errorf("%w: the file is no SQLite database, or a damaged one; restore it from a backup: %w", store.ErrCorrupt, err)
	case codeFull:
		return fmt.Errorf("%w: make room and try again: %w", syscall.ENOSPC, err)
	case codeCantOpen:
		return fmt.Errorf("the database file cannot be opened: %w", err)
	}
	return err
}
