package db

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weft.dev/weft/db/index"
	"weft.dev/weft/humanize"
)

// What is missing may come back: descriptors, memory, space on the disk. A seal or a merge that lacks it has lost
// nothing, for the log has everything, and is tried again. A fault of the log, or of a file that is read, is none of
// these.

const (
	retryLeast = time.Second // as long as a burst of connections lasts
	retryMost  = 30 * time.Second
)

// errNotWritten marks the failure to write a segment: the manifest doesn't name it yet, and nothing was read wrong.
var errNotWritten = errors.New("the segment was not written")

// persist calls do, which writes segments, and repeats it with growing pauses while resources are missing. Meanwhile
// the store is degraded, with the reason.
func (s *Store) persist(what string, do func() error) error {
	for wait := retryLeast; ; wait = min(2*wait, retryMost) {
		err := do()
		if !errors.Is(err, errNotWritten) || !index.IsTransient(err) {
			s.troubles.end(what)
			return err
		}
		s.troubles.begin(what, fmt.Sprintf("%s fails, retrying: %v", what, err))
		s.cfg.Logger.Warn("cannot write a segment; retrying, committed data is safe", "what", what, "err", err,
			"retry_in", wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.closed:
			timer.Stop()
			return nil
		}
	}
}

// troubles are the reasons for which the store is degraded, by worker.
type troubles struct {
	mu  sync.Mutex
	why map[string]string
}

// begin notes a reason, and reports whether it is new.
func (t *troubles) begin(what, why string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.why == nil {
		t.why = map[string]string{}
	}
	_, known := t.why[what]
	t.why[what] = why
	return !known
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

// waiting is the time since which events wait for a commit.
type waiting struct{ since atomic.Pointer[time.Time] } // nil: none do

func (w *waiting) begin(now time.Time) { w.since.Store(&now) }
func (w *waiting) end()                { w.since.Store(nil) }

// committed restarts the time of those that still wait.
func (w *waiting) committed(now time.Time) {
	if w.since.Load() != nil {
		w.since.Store(&now)
	}
}

// waitingLong is the wait after which a store is degraded: no batch and no step takes a hundredth of it.
const waitingLong = time.Minute

// Waiting returns how long events given to Apply or Fill have waited for a commit: since the last one, or since they
// came; 0: none wait.
func (s *Store) Waiting() time.Duration {
	since := s.waits.since.Load()
	if since == nil {
		return 0
	}
	return max(s.cfg.Now().Sub(*since), 0)
}

// Degraded returns what is wrong with a store that still writes and answers; empty: nothing.
func (s *Store) Degraded() string {
	all := s.troubles.list()
	paused := s.Paused()
	if paused != "" {
		all = append([]string{paused}, all...)
	} else if full := s.fullDisk(); full != "" {
		all = append(all, full)
	}
	if w := s.Waiting(); w >= waitingLong && paused == "" {
		all = append(all, fmt.Sprintf("events have waited %s for a commit", humanize.Duration(w)))
	}
	return strings.Join(all, "; ")
}

// Hurry makes Apply no longer wait for a running seal, however much has gathered, or for room on the disk: for an orderly
// stop.
func (s *Store) Hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurry = true
	s.sealed.Broadcast()
}
