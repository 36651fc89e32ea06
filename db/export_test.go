package db

import (
	"context"
	"math"

	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
)

// Sealing says whether runs are on their way into a segment.
func (s *Store) Sealing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sealing != nil
}

// Respelled is closed when no link has another spelling any more.
func (s *Store) Respelled() <-chan struct{} { return s.spelling.done }

// ReadLogOverOne reads the whole log while there is one connection, and returns how many rows and links it has.
func (s *Store) ReadLogOverOne(ctx context.Context) (rows, links int, err error) {
	s.core.Reader.SetMaxOpenConns(1)
	defer s.core.Reader.SetMaxOpenConns(index.Readers)
	err = s.core.InReadTx(ctx, func(q logrow.Queryer) error {
		return logrow.Read(ctx, q, 0, logrow.MaxSeq, func(piece []logrow.Logged) error {
			rows += len(piece)
			for i := range piece {
				links += len(piece[i].Removed) + len(piece[i].Added)
			}
			return nil
		})
	})
	return rows, links, err
}

// PruneTick is a tick of the pruning, at once. As in its worker, an error stops writing.
func (s *Store) PruneTick() error {
	err := s.pruneAll()
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.fail(err)
	}
	return nil
}

// CompactionsDue reports whether a compaction is due or runs, or a seal.
func (s *Store) CompactionsDue() bool {
	v := s.core.Acquire()
	defer s.core.Release(v)
	return s.Sealing() || s.compactions.busy.Load() ||
		pickCompaction(v.Files.Files, s.largestSegment(v.Files.Files)) != nil ||
		pickOut(v.Files.Files, v.Horizons) != nil
}

// CountBodies returns the number of stored bodies; -1: it can't be read.
func (s *Store) CountBodies() int {
	n := 0
	if err := s.core.Reader.Get(&n, "SELECT count(*) FROM bodies"); err != nil {
		return -1
	}
	return n
}

// FitUS returns the horizon of rules with fit, in microseconds since 1970; 0: there is none.
func (s *Store) FitUS() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	us, _ := s.state.Retention().FitUS(s.cfg.Keep)
	return us
}

// LogFromDisk makes the store read the log from the database alone, until the next commit or pruning.
func (s *Store) LogFromDisk() { s.core.Tail.Prune(math.MaxUint64) }

// LogClock returns the log's clock, in microseconds since 1970.
func (s *Store) LogClock() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.US()
}
