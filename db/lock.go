package db

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLocked is the error of opening a data directory that another process has open.
var ErrLocked = errors.New("stop it first, or give this one a data directory of its own")

// lockDir locks the data directory for this process: with two writers, the index of each would lack the log rows of the
// other. The kernel releases the lock when the process ends, also after a kill.
func lockDir(dir string) (*os.File, error) {
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
	return f, nil
}

// lockForReading takes a shared lock on the data directory, which excludes writers. beside means that a writer has the
// directory. If this process may not open the lock file, lockForReading takes no lock.
func lockForReading(dir string) (f *os.File, beside bool) {
	f, err := os.OpenFile(filepath.Join(dir, "weft.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, false
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, true
	}
	return f, false
}

// DirLock is the lock of this process on a data directory.
type DirLock struct{ f *os.File }

// Lock locks a data directory for this process, as Open does. It creates the directory if it is missing.
func Lock(dir string) (*DirLock, error) {
	err := os.MkdirAll(dir, 0o755)
	if err != nil {
		return nil, fmt.Errorf("db: make data directory: %w", err)
	}
	f, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	return &DirLock{f}, nil
}

// Release releases the lock, unless Open has taken it over. It may be called more than once.
func (l *DirLock) Release() error {
	if l == nil || l.f == nil {
		return nil
	}
	f := l.take()
	return unlockDir(f)
}

// take returns the lock file and gives up its ownership.
func (l *DirLock) take() *os.File {
	f := l.f
	l.f = nil
	return f
}

// takeDir locks the data directory, or takes over the lock of the configuration.
func (s *Store) takeDir() (*os.File, error) {
	if s.cfg.Lock != nil && s.cfg.Lock.f != nil {
		return s.cfg.Lock.take(), nil
	}
	return lockDir(s.cfg.Dir)
}

// unlockDir unlocks the data directory. Closing the file is not enough: a process that is being started at this moment
// holds a copy of every descriptor until its exec.
func unlockDir(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
