package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"modernc.org/sqlite"

	"weft.dev/weft/db/checkpoint"
)

// checkpointTick is the interval at which the rule is evaluated without batches. A checkpoint may be a second late.
const checkpointTick = time.Second

// wal is the writer's knowledge of the write-ahead log, as of the last readWAL.
type wal struct {
	path   string
	pace   checkpoint.Pace
	frames int // since the WAL was last emptied
	moved  int // of these, in the database already

	mu    sync.Mutex // not Store.mu: reading the figures must not wait for a checkpoint
	stats CheckpointStats
}

// CheckpointStats counts the checkpoints since the store was opened.
type CheckpointStats struct {
	Complete int64         // emptied the WAL
	Partial  int64         // were blocked by a reader or a replicator, and moved only some of the frames
	Failed   int64         // ended with a fault
	Frames   int64         // moved into the database
	Duration time.Duration // of the checkpoints; nothing is written during one
	WALBytes int64         // present size of the WAL; a file that was not truncated may hold obsolete frames
}

// CheckpointStats returns the figures. It waits for no checkpoint.
func (s *Store) CheckpointStats() CheckpointStats {
	s.wal.mu.Lock()
	st := s.wal.stats
	s.wal.mu.Unlock()
	if info, err := os.Stat(s.wal.path); err == nil {
		st.WALBytes = info.Size()
	}
	return st
}

// WALBytes returns the bytes written to the WAL since the store was opened.
func (s *Store) WALBytes() int64 { return s.walBytes.Load() }

// readWAL asks SQLite for the number of frames. The size of the file doesn't show it after a checkpoint of another
// program or a blocked one: the next commit then starts at the front of a long file. It takes some microseconds and no
// lock.
func (s *Store) readWAL() error {
	var busy, frames, moved int
	if err := s.writer.QueryRow("PRAGMA wal_checkpoint(NOOP)").Scan(&busy, &frames, &moved); err != nil {
		return fmt.Errorf("db: read the state of the WAL: %w", err)
	}
	if frames < s.wal.frames && s.cfg.Replicator { // it was emptied
		s.wal.pace.Completed(s.cfg.Now())
	}
	s.noteWAL(frames, moved)
	return nil
}

// noteWAL notes the frames of the WAL, and counts the bytes written to it and checkpointed since.
func (s *Store) noteWAL(frames, moved int) {
	w := &s.wal
	fresh := frames - w.frames
	gone := moved - w.moved
	if fresh < 0 { // the WAL was emptied, and all its frames are in the database
		fresh = frames
		gone = w.frames - w.moved + moved
	}
	s.walBytes.Add(int64(fresh) * checkpoint.FrameBytes)
	s.checkpointBytes.Add(int64(max(gone, 0)) * checkpoint.PageBytes)
	w.frames = frames
	w.moved = moved
}

// checkpointIfDue checkpoints when the rule says so. The writer calls it after each commit. A ticker calls it too, so
// that a rule about time also works without events. A blocked or failed checkpoint doesn't fail the commit: the WAL
// keeps its frames.
func (s *Store) checkpointIfDue() {
	if s.Failed() != nil {
		return // nothing is written any more
	}
	if err := s.readWAL(); err != nil {
		s.cfg.Logger.Warn("checkpoint failed", "err", err,
			"do", "check /status for the free disk space: the WAL grows until a checkpoint succeeds")
		return
	}
	if !s.wal.pace.Due(s.wal.frames, s.cfg.Now()) {
		return
	}
	if s.cfg.Replicator {
		s.wal.pace.PutOff(s.cfg.Now())
		s.cfg.Logger.Warn("WAL is growing: the replicator does not checkpoint it", "frames", s.wal.frames,
			"moved", s.wal.moved,
			"do", "check that the replica is reachable, and that no long read holds the WAL")
		return
	}
	_ = s.checkpoint() // checkpoint logs its own result
}

// tickCheckpoint is checkpointIfDue for times without batches.
func (s *Store) tickCheckpoint() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkpointIfDue()
}

// Checkpoint checkpoints the whole WAL and empties it, regardless of the rule. It fails if a reader or a replicator
// holds the WAL, and after a fault that stopped writing.
func (s *Store) Checkpoint() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return err
	}
	return s.checkpoint()
}

// checkpoint attempts a checkpoint and reports the result to the pace, the counters and the log.
func (s *Store) checkpoint() error {
	start := s.cfg.Now()
	if err := s.readWAL(); err != nil {
		return err
	}
	frames := s.wal.frames
	before := s.wal.moved
	busy, err := s.truncateWAL()
	now := s.cfg.Now()
	done := CheckpointStats{Duration: now.Sub(start)}
	message := "checkpoint complete"
	level := slog.LevelDebug
	switch {
	case err != nil:
		done.Failed = 1
		message = "checkpoint failed"
		level = slog.LevelWarn
	case busy:
		done.Partial = 1
		message = "checkpoint postponed"
		level = slog.LevelInfo
		done.Frames = int64(s.wal.moved - before)
		err = fmt.Errorf("db: checkpoint: a reader or a replicator holds the WAL; %d of %d frames moved", s.wal.moved,
			frames)
	default:
		done.Complete = 1
		done.Frames = int64(frames - before)
	}
	attrs := []any{"busy", busy, "frames", frames, "moved", done.Frames, "duration", done.Duration}
	if err == nil {
		s.wal.pace.Completed(now)
	} else {
		attrs = append(attrs, "again_in", s.wal.pace.PutOff(now), "err", err)
	}
	s.wal.count(done)
	s.cfg.Logger.Log(context.Background(), level, message, attrs...)
	return err
}

func (w *wal) count(done CheckpointStats) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Complete += done.Complete
	w.stats.Partial += done.Partial
	w.stats.Failed += done.Failed
	w.stats.Frames += done.Frames
	w.stats.Duration += done.Duration
}

// truncateWAL runs the checkpoint and notes the frames that are left.
func (s *Store) truncateWAL() (busy bool, err error) {
	// This is the writer's only connection. Its busy timeout is for the locks of commits; a blocked checkpoint is
	// retried instead.
	if _, err := s.writer.Exec("PRAGMA busy_timeout = 0"); err != nil {
		return false, fmt.Errorf("db: checkpoint: %w", err)
	}
	defer func() {
		if _, e := s.writer.Exec(fmt.Sprintf("PRAGMA busy_timeout = %d", busyTimeout.Milliseconds())); e != nil {
			err = errors.Join(err, fmt.Errorf("db: checkpoint: %w", e))
		}
	}()
	var frames, moved int
	if err := s.writer.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved); err != nil {
		return false, fmt.Errorf("db: checkpoint: %w", err)
	}
	if frames >= 0 { // −1: another checkpoint is under way, and SQLite counted no frames
		s.noteWAL(frames, moved)
	}
	return busy, nil
}

// persistWAL keeps the WAL when the last connection is closed: without a WAL, a replicator copies the whole database
// again.
func persistWAL(ctx context.Context, w *sql.DB) error {
	conn, err := w.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return conn.Raw(func(driver any) error {
		control, ok := driver.(sqlite.FileControl)
		if !ok {
			return errors.New("the driver has no file controls")
		}
		_, err := control.FileControlPersistWAL("main", 1)
		return err
	})
}
