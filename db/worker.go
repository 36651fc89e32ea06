package db

import (
	"errors"
	"runtime"
	"time"

	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/lsm"
	"weft.dev/weft/db/panics"
)

// errClosed ends the writing of a segment when the store closes: Close doesn't wait for a compaction.
var errClosed = errors.New("the store is closing")

// yielding iterates over the entries of a seal or a compaction until the store is closed. Between entries it leaves the
// processor and the disk to others.
type yielding struct {
	*lsm.CompactionIterator
	s       *Store
	n       int
	pacer   *disk.Pacer
	begun   time.Time    // of the entries since the last yield, which are read, compressed and written
	between func() error // runs smaller compactions; nil: nothing is compacted
}

func (s *Store) newYielding(entries *lsm.CompactionIterator, pacer *disk.Pacer, between func() error) *yielding {
	return &yielding{CompactionIterator: entries, s: s, pacer: pacer, between: between}
}

// yieldEvery is the number of a compaction's entries between two yields, some 100 µs of processor time: commits and
// queries that wait run then, where Go's scheduler would run them after 10 ms. Entries that take much longer have
// waited for the disk, or for the processor, and the Pacer rests.
const yieldEvery = 256

func (y *yielding) Next() (bool, error) {
	if y.n == 0 {
		y.begun = time.Now() // the runs of a segment are written one after the other
	}
	y.n++
	if y.n%yieldEvery == 0 {
		if err := y.s.closedError(); err != nil {
			return false, err
		}
		y.pacer.Rest(time.Since(y.begun))
		runtime.Gosched()
		if y.between != nil {
			y.s.awaitSeal()
			if err := y.between(); err != nil {
				return false, err
			}
		}
		y.begun = time.Now()
	}
	return y.CompactionIterator.Next()
}

// awaitSeal waits for a running seal while the changes since it began take half of the memory of the next one or more:
// a compaction that goes on would delay the seal, and the memory of both seals adds up. It doesn't wait while the
// sealed segments are so many that compactions fall behind.
func (s *Store) awaitSeal() {
	if !s.mustAwaitSeal() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.mustAwaitSeal() && !s.hurry && s.Failed() == nil {
		s.sealed.Wait()
	}
}

// mustAwaitSeal reports whether compactions wait for a running seal.
func (s *Store) mustAwaitSeal() bool {
	if !s.seals.busy.Load() {
		return false
	}
	v := s.core.Snapshot()
	if v.MutableBytes() < s.cfg.SealBytes/2 {
		return false
	}
	sealed := 0
	for _, f := range v.Files.Files {
		if f.Level == 0 {
			sealed++
		}
	}
	return sealed < 2*compactionFanOut
}

// closedError returns errClosed once the store is closed.
func (s *Store) closedError() error {
	if s.isClosed() {
		return errClosed
	}
	return nil
}

// wake wakes a worker.
func wake(work chan struct{}) {
	select {
	case work <- struct{}{}:
	default:
	}
}

// work runs a worker concurrently with the writer until the store is closed. The errors of do are faults of the disk:
// they stop writing.
func (s *Store) work(name string, due chan struct{}, do func() error) {
	s.workers.Add(1)
	go func() {
		defer s.workers.Done()
		defer panics.Log(s.cfg.Logger, name)
		for {
			select {
			case <-due:
			case <-s.closed:
				return
			}
			if err := do(); err != nil {
				s.mu.Lock()
				_ = s.fail(err)
				s.sealed.Broadcast()
				s.mu.Unlock()
				return
			}
		}
	}()
}

// tick calls do at each interval until closed is closed.
func tick(interval time.Duration, closed <-chan struct{}, do func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			do()
		case <-closed:
			return
		}
	}
}
