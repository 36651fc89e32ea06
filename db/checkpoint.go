package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"weft.dev/weft/db/checkpoint"
)

const (
	// checkpointTick is how often a rule is evaluated without batches. A checkpoint may be a second late.
	checkpointTick = time.Second
	// A checkpoint that was put off moved what it could, and what stood in the way, a query of seconds or a
	// replicator's snapshot of minutes, is likely still there at the next commit. So it is tried again after a second,
	// and then after twice as long each time, but never so late that the WAL goes on growing for long after the way is
	// free.
	minRetry = time.Second
	maxRetry = time.Minute
)

// pace decides when a checkpoint is tried.
type pace struct {
	rule  checkpoint.Rule
	last  time.Time     // of the last complete one, or of the opening
	delay time.Duration // how long the last one was put off; 0: it was complete
	retry time.Time     // when the one that was put off is tried again
}

func (p *pace) due(frames int, now time.Time) bool {
	return frames > 0 && !now.Before(p.retry) && p.rule.Due(frames, now.Sub(p.last))
}

func (p *pace) completed(now time.Time) { *p = pace{rule: p.rule, last: now} }

func (p *pace) putOff(now time.Time) {
	p.delay = min(max(2*p.delay, minRetry), maxRetry)
	p.retry = now.Add(p.delay)
}

// wal is the writer's knowledge of the write-ahead log, as of the last readWAL.
type wal struct {
	path   string
	pace   pace
	frames int // since the WAL was last emptied
	moved  int // of these, in the database already

	mu    sync.Mutex // not Store.mu: figures wait for no checkpoint
	stats CheckpointStats
}

// CheckpointStats counts the checkpoints since the store was opened.
type CheckpointStats struct {
	Complete int64         // emptied the WAL
	Partial  int64         // were put off: a reader or a replicator held the WAL, and what could be moved was
	Failed   int64         // ended with a fault
	Frames   int64         // moved into the database
	Duration time.Duration // that they took, in which nothing was written
	WALBytes int64         // size of the WAL now; a file that was not cut may hold frames that are done with
}

// CheckpointStats reads the figures; it waits for nobody.
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

// readWAL asks SQLite for the number of frames. The size of the file doesn't say it after another program's checkpoint,
// or after a postponed one: the next commit then starts at the front of a long file. It takes some microseconds and no
// lock.
func (s *Store) readWAL() error {
	var busy, frames, moved int
	if err := s.writer.QueryRow("PRAGMA wal_checkpoint(NOOP)").Scan(&busy, &frames, &moved); err != nil {
		return fmt.Errorf("db: look at the WAL: %w", err)
	}
	if frames < s.wal.frames && s.cfg.Replicator { // it was emptied
		s.wal.pace.completed(s.cfg.Now())
	}
	s.noteWAL(frames, moved)
	return nil
}

// noteWAL notes the frames of the WAL, and counts the bytes written to it and checkpointed since.
func (s *Store) noteWAL(frames, moved int) {
	w := &s.wal
	fresh := frames - w.frames
	gone := moved - w.moved
	if fresh < 0 { // it was emptied, and all that it had is in the database
		fresh = frames
		gone = w.frames - w.moved + moved
	}
	s.walBytes.Add(int64(fresh) * checkpoint.FrameBytes)
	s.checkpointBytes.Add(int64(max(gone, 0)) * checkpoint.PageBytes)
	w.frames = frames
	w.moved = moved
}

// checkpointIfDue checkpoints when the rule says so. The writer calls it after each commit, and the ticker beside it: a
// rule about time holds also without events. A postponed or failed checkpoint doesn't fail the commit: the WAL keeps
// its frames.
func (s *Store) checkpointIfDue() {
	if s.Failed() != nil {
		return // nothing is written any more
	}
	if err := s.readWAL(); err != nil {
		s.cfg.Logger.Warn("checkpoint failed", "err", err,
			"do", "check /status for the free disk space: the WAL grows until a checkpoint succeeds")
		return
	}
	if !s.wal.pace.due(s.wal.frames, s.cfg.Now()) {
		return
	}
	if s.cfg.Replicator {
		s.wal.pace.putOff(s.cfg.Now())
		s.cfg.Logger.Warn("WAL is growing: the replicator does not checkpoint it", "frames", s.wal.frames,
			"moved", s.wal.moved,
			"do", "check that the replica is reachable, and that no long read holds the WAL")
		return
	}
	_ = s.checkpoint() // says itself what became of it
}

// tickCheckpoint is checkpointIfDue for times without batches.
func (s *Store) tickCheckpoint() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkpointIfDue()
}

// Checkpoint checkpoints the whole WAL and empties it, whatever the rule says. It fails when a reader or a replicator
// holds the WAL, and, like all writing, after a fault.
func (s *Store) Checkpoint() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return err
	}
	return s.checkpoint()
}

// checkpoint tries a checkpoint and reports the result to the pace, the counters and the log.
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
		s.wal.pace.completed(now)
	} else {
		s.wal.pace.putOff(now)
		attrs = append(attrs, "again_in", s.wal.pace.delay, "err", err)
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
	// The one connection that writes: its timeout is for locks that a commit needs, and a checkpoint can do without.
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
	if frames >= 0 { // else another checkpoint is under way, and SQLite didn't look
		s.noteWAL(frames, moved)
	}
	return busy, nil
}
