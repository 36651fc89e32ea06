package db

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// errLocked reports whether another process has the data directory.
var errLocked = errors.New("stop it first, or give this one a data directory of its own")

// lockDir takes the data directory for this process: two writers would each hold an index that the other's log rows
// are missing from. The kernel gives the lock back when the process ends, however it ends.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "weft.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("db: open lock file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("db: another weft has %s open: %w", dir, errLocked)
		}
		return nil, fmt.Errorf("db: lock %s: %w", path, err)
	}
	return f, nil
}

// unlockDir gives the data directory back. To close the file is not enough: a process that is being started at this
// moment holds a copy of every descriptor until it has become another program.
func unlockDir(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

// Lock takes a data directory for this process, as Open does, and answers how it is given back.
func Lock(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("db: make data directory: %w", err)
	}
	f, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	return func() error { return unlockDir(f) }, nil
}
