// Package dirlock locks a data directory among processes: with two writers, the index of each would lack the log rows
// of the other.
package dirlock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLocked is the error of locking a data directory that another process has open.
var ErrLocked = errors.New("stop it first, or give this one a data directory of its own")

// Lock is the lock of this process on a data directory. The kernel releases it when the process ends, also after a
// kill.
type Lock struct{ f *os.File }

// Exclusive locks a data directory for this process. It creates the directory if it is missing.
func Exclusive(dir string) (*Lock, error) {
	err := os.MkdirAll(dir, 0o755)
	if err != nil {
		return nil, fmt.Errorf("db: make data directory: %w", err)
	}
	path := filepath.Join(dir, "weft.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("db: open lock file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("db: another weft has %s open: %w", dir, ErrLocked)
		}
		return nil, fmt.Errorf("db: lock %s: %w", path, err)
	}
	return &Lock{f}, nil
}

// Shared takes a shared lock on the data directory, which excludes writers. beside means that a writer has the
// directory. If this process may not open the lock file, Shared takes no lock and returns nil.
func Shared(dir string) (l *Lock, beside bool) {
	f, err := os.OpenFile(filepath.Join(dir, "weft.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, false
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, true
	}
	return &Lock{f}, false
}

// Take moves the lock to a new owner, whose Lock it returns: a Release of l then does nothing. It returns nil if l
// holds no lock.
func (l *Lock) Take() *Lock {
	if l == nil || l.f == nil {
		return nil
	}
	taken := &Lock{l.f}
	l.f = nil
	return taken
}

// Release releases the lock, unless another owner has taken it. It may be called more than once, and of nil.
//
// Closing the file is not enough: a process that is being started at this moment holds a copy of every descriptor until
// its exec.
func (l *Lock) Release() error {
	if l == nil || l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
