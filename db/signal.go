package db

import "sync"

// Commits returns a channel that is closed when queries see the next batch. A caller that takes the channel before it
// reads Seq misses no batch.
func (s *Index) Commits() <-chan struct{} { return s.commits.wait() }

// signal wakes any number of waiters. The zero signal is ready.
type signal struct {
	mu sync.Mutex
	ch chan struct{} // nil: no waiter
}

func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
