package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// usageEvery is the interval at which the sizes of the files are added up. A thousand files take some milliseconds, and
// indexing writes less than half of the reserve in one interval.
const usageEvery = 2 * time.Second

// Usage is the size of all files of a data directory when they were last added up. It is safe for concurrent use.
type Usage struct {
	dir, scratch string

	mu    sync.Mutex
	at    time.Time // zero: not added up
	bytes int64
}

// NewUsage returns the usage of a data directory. scratch is a directory in it that holds a copy of weft.db at times;
// empty: there is none.
func NewUsage(dir, scratch string) *Usage { return &Usage{dir: dir, scratch: scratch} }

// Bytes returns the bytes of all files of the data directory, with the room for the copies in the scratch directory.
func (u *Usage) Bytes(now time.Time) (bytes int64, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.at.IsZero() && now.Sub(u.at).Abs() < usageEvery {
		return u.bytes, nil
	}
	bytes, err = filesBytes(u.dir)
	if err == nil && u.scratch != "" {
		var room int64
		room, err = u.scratchRoom()
		bytes += room
	}
	if err != nil {
		return 0, fmt.Errorf("db: add up the files of %s: %w", u.dir, err)
	}
	u.at = now
	u.bytes = bytes
	return bytes, nil
}

// scratchRoom returns the bytes that the scratch directory lacks to hold a copy of weft.db. They count as used whether
// a copy is there or not: a horizon that moved for a copy would not move back with its removal.
func (u *Usage) scratchRoom() (int64, error) {
	there, err := filesBytes(u.scratch)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(filepath.Join(u.dir, "weft.db"))
	if err != nil {
		return 0, err
	}
	return max(info.Size()-there, 0), nil
}

// Forget has the files added up again at the next look.
func (u *Usage) Forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.at = time.Time{}
}

// filesBytes adds up the files of a directory and of the directories below it. It leaves out files that vanish
// meanwhile.
func filesBytes(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		switch {
		case err == nil:
			bytes += info.Size()
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		return nil
	})
	return bytes, err
}
