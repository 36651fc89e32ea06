// Package disk measures the room for a data directory: the free space of its disk, the bytes of its files and their
// growth, and the budget that bounds them. It also recognizes errors that a full disk causes.
package disk

import (
	"errors"
	"fmt"
	"syscall"
)

// FullError is the error for a data directory whose disk has no room. SQLite can't even open a database there for
// reading: it needs 32 kB beside the database.
type FullError struct {
	Dir  string
	Free int64 // bytes; −1: not known
	Err  error
}

func (e *FullError) Error() string {
	free := ""
	if e.Free >= 0 {
		free = fmt.Sprintf(" (%d kB free)", e.Free/1000)
	}
	return fmt.Sprintf("the disk of %s is full%s; the data is safe: %s, and start weft again", e.Dir, free, Advice)
}

func (e *FullError) Unwrap() error { return e.Err }

// Advice is what an operator can do about a disk that fills up, also with one volume and no shell.
const Advice = "enlarge the disk or volume (on fly.io: fly volumes extend), or delete files of other programs from it"

// Result codes of SQLite, https://www.sqlite.org/rescode.html.
const (
	sqliteIOErr        = 10
	sqliteFull         = 13
	sqliteIOErrShmSize = 4874 // there is no room for the -shm file
)

// almostFull is the number of free bytes below which SQLite has no room to work: the WAL of one batch and its index
// need more.
const almostFull = 1 << 20

// IsFull reports whether an error means that a disk has no room.
func IsFull(err error) bool {
	var full *FullError
	var code interface{ Code() int }
	return errors.As(err, &full) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		errors.As(err, &code) && (code.Code() == sqliteFull || code.Code() == sqliteIOErrShmSize)
}

// WrapFull returns a FullError for an error that a full disk may have caused: it reads the free space of the disk.
// It returns all other errors unchanged.
func WrapFull(dir string, err error, space func(dir string) (free, total int64, err error)) error {
	var full *FullError
	if err == nil || errors.As(err, &full) {
		return err
	}
	free, total, lookErr := space(dir)
	known := lookErr == nil && total > 0
	if !known {
		free = -1
	}
	var code interface{ Code() int }
	if IsFull(err) || known && free < almostFull && errors.As(err, &code) && code.Code()&0xff == sqliteIOErr {
		return &FullError{dir, free, err}
	}
	return err
}

// Space returns the free and the total bytes of a directory's disk for ordinary users, without those reserved for
// root.
func Space(dir string) (free, total int64, err error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, 0, err
	}
	block := int64(fs.Bsize)
	free = int64(fs.Bavail) * block
	return free, int64(fs.Blocks-fs.Bfree)*block + free, nil
}
