package db

// Sealing says whether runs are on their way into a segment.
func (s *Store) Sealing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sealing != nil
}

// HeldBytes is how much of frames an export holds.
func (e *Export) HeldBytes() int { return len(e.bodies.frames) }
