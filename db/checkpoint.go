package db

import (
	"fmt"
	"os"
)

// wal keeps an eye on the write-ahead log.
type wal struct {
	path    string
	size    int64 // after the last commit, bytes
	written int64 // in all since the store was opened, bytes
}

// walLimit is the size in bytes at which the writer moves the WAL into the database, between two commits. Pages that many
// commits touch, the ends of the tables, are moved once: a larger WAL saves writes to the database. It is read when the
// database is opened after a crash, and readers search it, so it is kept to some thousand pages.
const walLimit = 16 << 20

// grown takes note of what a commit has written.
func (w *wal) grown() {
	info, err := os.Stat(w.path)
	if err != nil {
		return
	}
	if info.Size() > w.size {
		w.written += info.Size() - w.size
	}
	w.size = info.Size()
}

// checkpointIfLarge checkpoints when it is due. That it could not is no fault: the next commit tries again.
func (s *Store) checkpointIfLarge() {
	s.wal.grown()
	if s.wal.size < walLimit {
		return
	}
	if err := s.checkpoint(); err != nil {
		s.cfg.Logger.Warn("checkpoint put off", "err", err, "wal_bytes", s.wal.size)
	}
}

// Checkpoint moves the whole WAL into the database and empties it.
func (s *Store) Checkpoint() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checkpoint()
}

func (s *Store) checkpoint() error {
	var busy, frames, moved int
	if err := s.writer.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved); err != nil {
		return fmt.Errorf("db: checkpoint: %w", err)
	}
	if busy != 0 {
		return fmt.Errorf("db: checkpoint: a reader holds the WAL; %d of %d frames moved", moved, frames)
	}
	s.wal.size = 0
	return nil
}

// WALBytes is what was written to the WAL since the store was opened, in bytes.
func (s *Store) WALBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wal.written
}
