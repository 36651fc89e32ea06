package db

import (
	"errors"
	"fmt"
	"syscall"
)

// DiskFullError is the error for a data directory whose disk has no room. SQLite can't even open a database there for
// reading: it needs 32 kB beside the database.
type DiskFullError struct {
	Dir  string
	Free int64 // bytes; −1: not known
	Err  error
}

func (e *DiskFullError) Error() string {
	free := ""
	if e.Free >= 0 {
		free = fmt.Sprintf(" (%d kB free)", e.Free/1000)
	}
	return fmt.Sprintf("the disk of %s is full%s; the data is safe: %s, and start weft again", e.Dir, free, growDisk)
}

func (e *DiskFullError) Unwrap() error { return e.Err }

// Result codes of SQLite, https://www.sqlite.org/rescode.html.
const (
	sqliteIOErr        = 10
	sqliteFull         = 13
	sqliteIOErrShmSize = 4874 // there is no room for the -shm file
)

// almostFull is the number of free bytes below which SQLite has no room to work: the WAL of one batch and its index
// need more.
const almostFull = 1 << 20

// IsDiskFull reports whether an error means that a disk has no room.
func IsDiskFull(err error) bool {
	var full *DiskFullError
	var code interface{ Code() int }
	return errors.As(err, &full) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		errors.As(err, &code) && (code.Code() == sqliteFull || code.Code() == sqliteIOErrShmSize)
}

// diskError returns a DiskFullError for an error that a full disk may have caused: it reads the free space of the disk.
// It returns all other errors unchanged.
func diskError(dir string, err error, disk func(dir string) (free, total int64, err error)) error {
	var full *DiskFullError
	if err == nil || errors.As(err, &full) {
		return err
	}
	free, total, lookErr := disk(dir)
	known := lookErr == nil && total > 0
	if !known {
		free = -1
	}
	var code interface{ Code() int }
	if IsDiskFull(err) || known && free < almostFull && errors.As(err, &code) && code.Code()&0xff == sqliteIOErr {
		return &DiskFullError{dir, free, err}
	}
	return err
}

// diskSpace returns the free and the total bytes of a directory's disk for ordinary users, without those reserved for
// root.
func diskSpace(dir string) (free, total int64, err error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return 0, 0, err
	}
	block := int64(fs.Bsize)
	free = int64(fs.Bavail) * block
	return free, int64(fs.Blocks-fs.Bfree)*block + free, nil
}
