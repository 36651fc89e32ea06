package db

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"weft.dev/weft/db/logclock"
)

const (
	// pruneTick is the interval at which the pruning looks for rows that commits have left. A row that is old enough is
	// found at one tick. Commits may delete it until the next tick, which deletes it otherwise.
	pruneTick = time.Minute
	// sealLeast is the least age of the oldest unsealed row, by the log's clock, at which a seal is due: otherwise a
	// shorter replay window would make a segment each minute.
	sealLeast = 10 * time.Minute
	// pruneRest is the shortest pause between two steps. A pause is as long as the step before it, so that commits have
	// half of the time.
	pruneRest = time.Millisecond
	// pruneTold is the number of log rows from which on the pruning of a tick is logged: it then was a backlog.
	pruneTold = 1_000_000
)

// pruneAll is a tick of the pruning: it seals and prunes without commits, and gives free pages back to the disk.
func (s *Store) pruneAll() error {
	start := s.cfg.Now()
	var rows uint64
	upTo, err := s.beginPruning()
	if err != nil {
		return fmt.Errorf("db: find old log rows: %w", err)
	}
	for {
		n, more, err := s.pruneStep(upTo)
		if err != nil {
			return fmt.Errorf("db: prune the log: %w", err)
		}
		rows += n
		if !more {
			break
		}
	}
	if rows >= pruneTold {
		s.cfg.Logger.Info("pruned the log", "rows", rows, "duration", s.cfg.Now().Sub(start).Round(time.Second))
	}
	if err := s.shrink(); err != nil {
		return fmt.Errorf("db: shrink weft.db: %w", err)
	}
	return nil
}

// beginPruning advances the log's clock, marks the newest row, moves the horizons if a step is due, and begins a seal
// if unsealed rows are old. It returns the newest row that was old at the tick before.
func (s *Store) beginPruning() (upTo uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Failed() != nil {
		return 0, nil
	}
	v := s.core.Snapshot()
	n := s.log
	n.Advance(s.cfg.Now(), v.MaxUS)
	if err := s.markTick(&n, v.Seq, v.Sums.Log); err != nil {
		return 0, err
	}
	upTo = n.due
	n.due = n.upTo
	s.log = n
	if err := s.moveHorizons(context.Background()); err != nil {
		return 0, err
	}
	return upTo, s.sealOld()
}

// markTick marks the newest row if no commit has marked it, or stores the clock, and finds the rows that are old.
func (s *Store) markTick(n *logWindow, seq, sum uint64) (err error) {
	if !n.MarkDue(seq) && !n.StoreDue() {
		if s.cfg.ReplayWindow > 0 {
			n.upTo, err = logclock.RowAt(s.core.Reader, n.US()-s.cfg.ReplayWindow.Microseconds())
		}
		return err
	}
	return s.inTx(func(tx *sql.Tx) error {
		if n.MarkDue(seq) {
			err = n.Mark(tx, seq, sum)
		} else {
			err = n.Store(tx)
		}
		if err != nil {
			return err
		}
		return s.findOld(tx, n)
	})
}

// inTx runs do in a transaction of the writer. The caller holds mu: no batch has begun one.
func (s *Store) inTx(do func(tx *sql.Tx) error) error {
	tx, err := s.writer.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// sealAge returns the age of unsealed rows at which they are sealed.
func (s *Store) sealAge() time.Duration { return max(s.cfg.ReplayWindow, sealLeast) }

// sealOld begins a seal when unsealed rows are older than the replay window: only sealed rows may be pruned.
func (s *Store) sealOld() error {
	v := s.core.Snapshot()
	if s.cfg.ReplayWindow <= 0 || s.sealing != nil || v.Seq == v.Sealed {
		return nil
	}
	old, err := logclock.RowAt(s.core.Reader, s.log.US()-s.sealAge().Microseconds())
	if err == nil && old > v.Sealed {
		s.makeImmutable()
	}
	return err
}

// pruneStep prunes some of the log rows up to a row, and some of the bodies that are out of date, in a transaction of
// its own. It then rests. more means that others are left.
func (s *Store) pruneStep(upTo uint64) (rows uint64, more bool, err error) {
	began := s.now()
	rows, more, err = s.pruneSome(upTo)
	return rows, err == nil && more && s.restSince(began), err
}

func (s *Store) pruneSome(upTo uint64) (rows uint64, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mayPrune() {
		return 0, false, nil
	}
	limit := min(upTo, s.prunable())
	last := max(s.exceptNewest(limit), s.log.pruned)
	old := min(last, s.log.pruned+pruneRows) // the bodies of these rows are deleted, also where their block stays
	overtaken := old
	if old == last { // the body that the newest row replaced is deleted; the row stays
		overtaken = max(limit, old)
	}
	end, err := blockEnd(s.writer, old, last)
	if err != nil {
		return 0, false, err
	}
	to := max(end, s.log.pruned)
	if to == s.log.pruned && overtaken <= s.log.overtaken && !s.hasOldBodies(old) {
		return 0, false, nil
	}
	if err := s.inTx(func(tx *sql.Tx) error {
		if err := s.deleteRows(tx, to, overtaken); err != nil {
			return err
		}
		return s.pruneBodies(tx, old)
	}); err != nil {
		return 0, false, err
	}
	rows = to - s.log.pruned
	s.log.pruned = to
	s.core.Tail.Prune(to)
	s.log.overtaken = max(s.log.overtaken, overtaken)
	s.checkpointIfDue()
	return rows, old < last || s.hasOldBodies(old), nil
}

// mayPrune reports whether the pruning may write. It may write while indexing is paused, because old rows may be
// filling the disk, as long as half of the reserve is free.
func (s *Store) mayPrune() bool {
	if s.Failed() != nil || s.isClosed() || s.hurry {
		return false
	}
	return !s.room.paused.Load() || s.room.free.Load() >= s.room.reserve.Load()/2
}

// restSince pauses for as long as the step took that began at a time of now, and reports whether the store is still
// open.
func (s *Store) restSince(began time.Time) bool {
	timer := time.NewTimer(max(s.now().Sub(began), pruneRest))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.closed:
		return false
	}
}
