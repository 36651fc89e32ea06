package db

import (
	"errors"
	"log/slog"
	"runtime"
	"runtime/debug"
	"time"

	"weft.dev/weft/db/lsm"
)

// errClosed breaks off the writing of a segment: to close a store, nobody waits for a merge of any size.
var errClosed = errors.New("the store is closing")

// untilClosed is the entries of a merge until the store is closed.
type untilClosed struct {
	*lsm.CompactionIterator
	s *Store
	n int
}

// yieldEvery is how many entries of a merge pass between two looks at the rest of the process, some 100 µs: commits and
// queries that wait for a processor get one then, where Go's scheduler would give it to them after 10 ms.
const yieldEvery = 256

func (u *untilClosed) Next() (bool, error) {
	if u.n++; u.n%yieldEvery == 0 {
		if u.s.isClosed() {
			return false, errClosed
		}
		runtime.Gosched()
	}
	return u.CompactionIterator.Next()
}

// wake tells a worker that there is work.
func wake(work chan struct{}) {
	select {
	case work <- struct{}{}:
	default:
	}
}

// work runs a worker beside the writer until the store is closed. Its errors are faults of the disk: they stop writing.
func (s *Store) work(name string, due chan struct{}, do func() error) {
	s.workers.Add(1)
	go func() {
		defer s.workers.Done()
		defer logPanic(s.cfg.Logger, name)
		for {
			select {
			case <-due:
			case <-s.closed:
				return
			}
			if err := do(); err != nil {
				s.mu.Lock()
				s.fail(err)
				s.sealed.Broadcast()
				s.mu.Unlock()
				return
			}
		}
	}()
}

// logPanic is deferred by each goroutine: a panic is logged with its name before it ends the process.
func logPanic(log *slog.Logger, name string) {
	if p := recover(); p != nil {
		log.Error("panic", "goroutine", name, "panic", p, "stack", string(debug.Stack()))
		panic(p)
	}
}

// tick calls do in intervals until closed is.
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
