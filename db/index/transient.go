package index

import (
	"errors"
	"syscall"
)

// SQLite's codes of a lack: it can't open a file, or has no memory or no space. The others of its codes that look
// alike, of a write that failed, are faults.
const (
	sqliteNoMem      = 7
	sqliteFull       = 13
	sqliteCantOpen   = 14
	sqliteIOErrNoMem = 10 | 12<<8
)

// sqliteCode returns SQLite's code of an error; 0: it has none.
func sqliteCode(err error) int {
	var e interface{ Code() int }
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

// IsTransient reports whether an error is a lack of resources that may end.
func IsTransient(err error) bool {
	for _, errno := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, errno) {
			return true
		}
	}
	switch code := sqliteCode(err); code & 0xff {
	case sqliteNoMem, sqliteFull, sqliteCantOpen:
		return true
	default:
		return code == sqliteIOErrNoMem
	}
}
