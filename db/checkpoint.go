package db

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// wal keeps an eye on the write-ahead log.
type wal struct {
	path    string
	size    int64        // after the last commit, bytes
	due     int64        // the size at which the next checkpoint is tried, bytes
	written atomic.Int64 // in all since the store was opened, bytes
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
		w.written.Add(info.Size() - w.size)
	}
	w.size = info.Size()
}

// checkpointIfLarge checkpoints when it is due. That a reader or a replicator stands in the way is no fault: what can be
// moved is moved, nobody waits, and it is tried again when the WAL has grown by as much once more.
func (s *Store) checkpointIfLarge() {
	s.wal.grown()
	if s.wal.size < max(s.wal.due, walLimit) {
		return
	}
	if err := s.checkpoint(); err != nil {
		s.wal.due = s.wal.size + walLimit
		s.cfg.Logger.Warn("checkpoint put off", "err", err, "wal_bytes", s.wal.size)
	}
}

// Checkpoint moves the whole WAL into the database and empties it. It fails when a reader or a replicator holds the WAL.
func (s *Store) Checkpoint() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checkpoint()
}

func (s *Store) checkpoint() (err error) {
	// The one connection that writes: its timeout is for locks that a commit needs, and a checkpoint can do without.
	if _, err := s.writer.Exec("PRAGMA busy_timeout = 0"); err != nil {
		return fmt.Errorf("db: checkpoint: %w", err)
	}
	defer func() {
		if _, e := s.writer.Exec(fmt.Sprintf("PRAGMA busy_timeout = %d", busyTimeout.Milliseconds())); e != nil {
			err = errors.Join(err, fmt.Errorf("db: checkpoint: %w", e))
		}
	}()
	var busy, frames, moved int
	if err := s.writer.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved); err != nil {
		return fmt.Errorf("db: checkpoint: %w", err)
	}
	if busy != 0 {
		return fmt.Errorf("db: checkpoint: a reader or a replicator holds the WAL; %d of %d frames moved", moved, frames)
	}
	s.wal.size, s.wal.due = 0, 0
	return nil
}

// WALBytes is what was written to the WAL since the store was opened, in bytes.
func (s *Store) WALBytes() int64 { return s.wal.written.Load() }
