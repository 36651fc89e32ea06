package db

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"weft.dev/weft/db/index"
	"weft.dev/weft/humanize"
)

// Some resources may become available again: descriptors, memory, disk space. A seal or a compaction that lacks them
// loses nothing, because the log has all data, and is retried. A fault of the log or of a file that is read is not
// retried.

const (
	retryLeast = time.Second // a burst of connections lasts about as long
	retryMost  = 30 * time.Second
)

// errNotWritten marks a failure to write a segment. The manifest doesn't name the segment yet, and no read has failed.
var errNotWritten = errors.New("the segment was not written")

// errNotEntered marks a failure to change the manifest: the content of weft.db is not known then. A larger compaction
// that waits for this one ends with both errors.
var errNotEntered = errors.New("the segment was not entered in the manifest")

// persist calls do, which writes segments, and retries it with growing pauses while resources are missing. The store is
// degraded with the reason meanwhile.
func (s *Store) persist(what string, do func() error) error {
	for wait := retryLeast; ; wait = min(2*wait, retryMost) {
		err := do()
		if !errors.Is(err, errNotWritten) || errors.Is(err, errNotEntered) || !index.IsTransient(err) {
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

// waiting holds the time since which events wait for a commit. Apply and Fill may wait at once: one of them leaves the
// store to the other while it waits for a seal or for room.
type waiting struct {
	mu    sync.Mutex
	calls int       // of Apply and Fill
	since time.Time // if calls > 0
}

func (w *waiting) begin(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls == 0 {
		w.since = now
	}
	w.calls++
}

func (w *waiting) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls--
}

// committed restarts the time of events that still wait.
func (w *waiting) committed(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = now
}

// time returns the time for which events have waited.
func (w *waiting) time(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls == 0 {
		return 0
	}
	return max(now.Sub(w.since), 0)
}

// waitingLong is the wait after which a store is degraded. A batch or a step takes less than a hundredth of it.
const waitingLong = time.Minute

// Waiting returns the time for which events passed to Apply or Fill have waited for a commit: the time since the last
// commit, or since they were passed; 0: no event waits.
func (s *Store) Waiting() time.Duration {
	return s.waits.time(s.cfg.Now())
}

// Degraded returns the trouble of a store that still writes and answers; empty: there is none.
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

// Hurry ends the waits of Apply, for an orderly stop: Apply no longer waits for a running seal or for room on the disk.
func (s *Store) Hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurry = true
	s.sealed.Broadcast()
}
