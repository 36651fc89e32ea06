package db

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// What is missing may come back: descriptors, memory, space on the disk. A seal or a merge that lacks it has lost nothing,
// for the log has everything, and is tried again. A fault of the log, or of a file that is read, is none of these.

const (
	retryLeast = time.Second // as long as a burst of connections lasts
	retryMost  = 30 * time.Second
)

// errNotWritten marks the failure of a segment that is not made: nothing names it yet, and nothing was read wrong.
var errNotWritten = errors.New("the segment was not written")

// SQLite's codes of a lack, beside sqliteFull: it can't open a file, or has no memory. The others of its codes that look alike, of
// a write that failed, are faults.
const (
	sqliteNoMem      = 7
	sqliteCantOpen   = 14
	sqliteIOErrNoMem = 10 | 12<<8
)

// sqliteCode is the code of an error of SQLite; 0: it is none.
func sqliteCode(err error) int {
	var e interface{ Code() int }
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

// isTransient says whether an error is the lack of something that may come back.
func isTransient(err error) bool {
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

// persist does what makes a segment, and does it again, with longer and longer pauses, while it lacks something. Meanwhile
// the store is degraded, and says why.
func (s *Store) persist(what string, do func() error) error {
	for wait := retryLeast; ; wait = min(2*wait, retryMost) {
		err := do()
		if !errors.Is(err, errNotWritten) || !isTransient(err) {
			s.troubles.end(what)
			return err
		}
		s.troubles.begin(what, err)
		s.cfg.Logger.Warn("cannot write a segment; retrying, committed data is safe", "what", what, "err", err, "retry_in", wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.closed:
			timer.Stop()
			return nil
		}
	}
}

// troubles is what a store lacks at the moment, by what lacks it.
type troubles struct {
	mu  sync.Mutex
	why map[string]string
}

func (t *troubles) begin(what string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.why == nil {
		t.why = map[string]string{}
	}
	t.why[what] = fmt.Sprintf("%s fails, retrying: %v", what, err)
}

func (t *troubles) end(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.why, what)
}

func (t *troubles) list() (all []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, why := range t.why {
		all = append(all, why)
	}
	slices.Sort(all)
	return all
}

// waiting says since when events wait for a commit.
type waiting struct{ since atomic.Pointer[time.Time] } // nil: none do

func (w *waiting) begin(now time.Time) { w.since.Store(&now) }
func (w *waiting) end()                { w.since.Store(nil) }

// committed notes that those that wait have seen a commit.
func (w *waiting) committed(now time.Time) {
	if w.since.Load() != nil {
		w.since.Store(&now)
	}
}

// waitingLong is for how long events wait before a store is degraded: no batch and no step takes a hundredth of it.
const waitingLong = time.Minute

// Waiting is for how long events that were given to Apply or Fill have waited for a commit: since the last one, or since
// they came. 0 while none wait.
func (s *Store) Waiting() time.Duration {
	since := s.waits.since.Load()
	if since == nil {
		return 0
	}
	return max(s.cfg.Now().Sub(*since), 0)
}

// Degraded says what is wrong with a store that still writes and answers; empty: nothing.
func (s *Store) Degraded() string {
	all := s.troubles.list()
	if w := s.Waiting(); w >= waitingLong {
		all = append(all, fmt.Sprintf("events have waited %s for a commit", w.Round(time.Second)))
	}
	return strings.Join(all, "; ")
}

// Hurry has Apply no longer wait for a seal that is under way, however much has gathered: it is for a stop in order.
func (s *Store) Hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurry = true
	s.sealed.Broadcast()
}
