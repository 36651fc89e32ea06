package db

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	sizes "github.com/dustin/go-humanize"
)

// Budget bounds the bytes that all files of a data directory take together: log, WAL, segments, the output of
// compactions and the files that a replicator has not uploaded. The zero Budget sets no bound: only the disk bounds the
// files.
type Budget struct {
	Bytes   int64
	Percent float64 // of the file system; 0: Bytes is the bound
}

// leastBudget is the smallest budget that ParseBudget accepts, in bytes: four times the 134 MB of it that weft keeps
// free.
const leastBudget = 512 << 20

// ParseBudget parses a size such as 17GiB or a share of the file system such as 90%.
func ParseBudget(text string) (Budget, error) {
	if share, ok := strings.CutSuffix(text, "%"); ok {
		percent, err := strconv.ParseFloat(strings.TrimSpace(share), 64)
		if err != nil || !(percent > 0 && percent <= 100) {
			return Budget{}, fmt.Errorf("%q is not a share of the file system such as 90%%", text)
		}
		return Budget{Percent: percent}, nil
	}
	bytes, err := sizes.ParseBytes(text)
	if err != nil || bytes > 1<<62 {
		return Budget{}, fmt.Errorf("%q is neither a size such as 17GiB nor a share of the file system such as 90%%", text)
	}
	if bytes < leastBudget {
		return Budget{}, fmt.Errorf("%q is less than 512MiB", text)
	}
	return Budget{Bytes: int64(bytes)}, nil
}

// of returns the budget on a file system of total bytes, in bytes; 0: none.
func (b Budget) of(total int64) int64 {
	if b.Percent > 0 {
		return int64(float64(total) * b.Percent / 100)
	}
	return b.Bytes
}

// useEvery is the interval at which the sizes of the files are added up. A thousand files take some milliseconds, and
// indexing writes less than half of the reserve in one interval.
const useEvery = 2 * time.Second

// use is the size of all files of the data directory when they were last added up.
type use struct {
	mu    sync.Mutex
	at    time.Time
	bytes int64
}

// diskRoom is the room for a data directory: that of its disk, or that of its budget if the budget has less.
type diskRoom struct {
	free, total int64 // bytes; 0 and 0: not known
	ofBudget    bool  // the figures are those of the budget
}

// diskRoom reads the free space of the disk and, with a budget, the sizes of the files.
func (s *Index) diskRoom() (diskRoom, error) {
	free, total, err := s.cfg.Disk(s.cfg.Dir)
	if err != nil || total <= 0 {
		return diskRoom{}, err
	}
	room := diskRoom{free: free, total: total}
	budget := s.cfg.Budget.of(total)
	s.room.budget.Store(budget)
	if budget == 0 {
		return room, nil
	}
	used, err := s.used()
	if err != nil {
		return diskRoom{}, err
	}
	if left := max(budget-used, 0); left < free {
		return diskRoom{left, budget, true}, nil
	}
	return room, nil
}

// used returns the bytes of all files of the data directory, with the room for the copies in the scratch directory.
func (s *Index) used() (bytes int64, err error) {
	s.use.mu.Lock()
	defer s.use.mu.Unlock()
	now := s.cfg.Now()
	if !s.use.at.IsZero() && now.Sub(s.use.at).Abs() < useEvery {
		return s.use.bytes, nil
	}
	bytes, err = filesBytes(s.cfg.Dir)
	if err == nil && s.cfg.Scratch != "" {
		var room int64
		room, err = s.scratchRoom()
		bytes += room
	}
	if err != nil {
		return 0, fmt.Errorf("db: add up the files of %s: %w", s.cfg.Dir, err)
	}
	s.use.at = now
	s.use.bytes = bytes
	return bytes, nil
}

// scratchRoom returns the bytes that the scratch directory lacks to hold a copy of weft.db. They count as used whether
// a copy is there or not: a horizon that moved for a copy would not move back with its removal.
func (s *Index) scratchRoom() (int64, error) {
	there, err := filesBytes(s.cfg.Scratch)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(filepath.Join(s.cfg.Dir, "weft.db"))
	if err != nil {
		return 0, err
	}
	return max(info.Size()-there, 0), nil
}

// forgetUse has the files added up again at the next look.
func (s *Index) forgetUse() {
	s.use.mu.Lock()
	defer s.use.mu.Unlock()
	s.use.at = time.Time{}
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

// roomName names the disk or the budget, for messages.
func (s *Index) roomName() string {
	if s.room.ofBudget.Load() {
		return fmt.Sprintf("the budget (--disk) of %s for %s", diskBytes(s.room.total.Load()), s.cfg.Dir)
	}
	return "the disk of " + s.cfg.Dir
}

// makeRoom returns the operator's remedy for too little room. The remedy also works with one volume and without a
// shell.
func (s *Index) makeRoom() string {
	if !s.room.ofBudget.Load() {
		return growDisk
	}
	if s.cfg.Budget.Percent > 0 {
		return "enlarge the disk or volume (on fly.io: fly volumes extend), or raise --disk (WEFT_DISK) and restart weft"
	}
	return "raise --disk (WEFT_DISK) and restart weft"
}
