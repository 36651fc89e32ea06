package db

import "context"

// Sealing says whether runs are on their way into a segment.
func (s *Store) Sealing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sealing != nil
}

// Respelled is closed when no link has another spelling any more.
func (s *Store) Respelled() <-chan struct{} { return s.spelling.done }

// HeldBytes is how much of frames an export holds.
func (e *Export) HeldBytes() int { return len(e.bodies.frames) }

// ReadLogOverOne reads the whole log while there is one connection, and returns how many rows and links it has.
func (s *Store) ReadLogOverOne(ctx context.Context) (rows, links int, err error) {
	s.reader.SetMaxOpenConns(1)
	defer s.reader.SetMaxOpenConns(readers)
	err = s.inReadTx(ctx, func(q queryer) error {
		return readLog(ctx, q, 0, wholeLog, func(piece []logged) error {
			rows += len(piece)
			for i := range piece {
				links += len(piece[i].removed) + len(piece[i].added)
			}
			return nil
		})
	})
	return rows, links, err
}
