package db

import (
	"context"
	"database/sql"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/logclock"
	"weft.dev/weft/db/logrow"
)

const (
	// pruneRows is the number of log rows or bodies that one step of the pruning deletes, and the rest of a block: a step
	// then takes as long as a commit.
	pruneRows = 3000
	// Commits add a row for each pruneShare bytes of a seal, 512 by default, before they delete as many; small seals
	// mean a small index. A deletion writes the pages at the beginning of the log and their parents, and also the
	// pages that it frees, if the same commit does not use them (docs/storage.md, Reasons).
	pruneShare = 48 << 10
	// pruneExtra is the number of rows that a deletion takes beyond an eighth more than were added.
	pruneExtra = 20
)

// logWindow states which log rows may be pruned: rows that a segment covers and that are older than the replay window
// by the log's clock.
type logWindow struct {
	logclock.Clock
	pruned    uint64 // the newest pruned row
	added     int    // rows that commits have added since they last deleted any
	overtaken uint64 // the bodies that rows up to this one replaced are deleted
	upTo      uint64 // rows up to this one are old enough
	due       uint64 // rows up to this one were old enough at the tick before
}

// loadWindow reads the clock and the marks.
func (s *Store) loadWindow(ctx context.Context) (err error) {
	l := &s.log
	v := s.core.Snapshot()
	l.Clock, err = logclock.Load(ctx, s.core.Reader, s.cfg.Now(), v.MaxUS, v.Seq)
	if err != nil {
		return err
	}
	oldest, _, err := s.LogRange(ctx)
	if err != nil {
		return err
	}
	l.pruned = v.Seq
	if oldest > 0 {
		l.pruned = oldest - 1
	}
	l.overtaken = l.pruned
	if s.cfg.ReplayWindow <= 0 {
		return nil
	}
	l.upTo, err = logclock.RowAt(s.writer, l.US()-s.cfg.ReplayWindow.Microseconds())
	if err != nil {
		return err
	}
	if n := min(l.upTo, v.Seq); l.pruned == 0 && n > 0 {
		s.cfg.Logger.Warn("log rows older than the replay window are deleted from now on; weft.db alone can then no "+
			"longer rebuild the index", "rows", n, "log_seq", v.Seq, "replay_window", s.cfg.ReplayWindow,
			"do", "to keep the whole log, stop weft now and set --replay-window all")
	}
	return nil
}

// prunable returns the newest log row that is old enough and sealed. The rows of a resync may be pruned with the batch
// after its end.
func (s *Store) prunable() uint64 {
	limit := min(s.log.upTo, s.core.Snapshot().Sealed)
	return min(limit, s.state.OldestResync()-1) // its rows show which records followed
}

// exceptNewest returns the newest log row up to limit that may be deleted. The newest row of the log stays: readers
// find the end of the log by it.
func (s *Store) exceptNewest(limit uint64) uint64 {
	return min(limit, max(s.core.Snapshot().Seq, 1)-1)
}

// prune deletes old rows before added new rows are written, if enough were added since it last did. It deletes slightly
// more than are added, so that a backlog shrinks.
func (w *writing) prune(rows int) error {
	w.added += rows
	if w.added < w.s.cfg.SealBytes/pruneShare {
		return nil
	}
	upTo := min(w.mayGo, w.pruned+uint64(w.added+w.added/8+pruneExtra))
	w.added = 0
	if upTo <= w.pruned {
		return nil
	}
	upTo, err := blockEnd(w.tx, upTo, w.mayGo)
	if err != nil || upTo <= w.pruned {
		return err
	}
	w.pruned = upTo
	return w.s.deleteRows(w.tx, upTo, upTo)
}

// blockEnd returns the end of the block that has a log row, or of the block before it if that ends after limit; 0: no
// block does. Rows are deleted by the block.
func blockEnd(q interface {
	QueryRow(query string, args ...any) *sql.Row
}, seq, limit uint64) (end uint64, err error) {
	err = q.QueryRow("SELECT ifnull((SELECT last FROM log WHERE last >= ? ORDER BY last LIMIT 1), 0)",
		int64(seq)).Scan(logrow.Unsigned(&end))
	if err != nil || end != 0 && end <= limit {
		return end, err
	}
	err = q.QueryRow("SELECT ifnull((SELECT last FROM log WHERE last <= ? ORDER BY last DESC LIMIT 1), 0)",
		int64(limit)).Scan(logrow.Unsigned(&end))
	return end, err
}

// deleteRows deletes the log rows up to the end of a block, and the bodies that rows up to overtaken replaced.
func (s *Store) deleteRows(tx *sql.Tx, upTo, overtaken uint64) error {
	if err := s.failpoint("prune"); err != nil {
		return err
	}
	if err := s.pruneReplaced(tx, upTo, overtaken); err != nil {
		return err
	}
	_, err := tx.Exec("DELETE FROM log WHERE last <= ?", int64(upTo))
	return err
}

// markClock advances the log's clock at a batch's end, marks its newest row, and finds the rows that are old enough.
func (w *writing) markClock(rs *apply.Rows, newestUS int64) error {
	s := w.s
	n := s.log
	n.pruned = max(n.pruned, w.pruned)
	n.added = w.added
	n.overtaken = max(n.overtaken, n.pruned)
	n.Advance(s.cfg.Now(), max(newestUS, s.core.Snapshot().MaxUS))
	seq := s.core.Snapshot().Seq
	if len(rs.Log) > 0 {
		seq = rs.Log[len(rs.Log)-1].Seq
	}
	if len(rs.Log) > 0 && n.MarkDue(seq) {
		if err := n.Mark(w.tx, seq, w.sums.Log); err != nil {
			return err
		}
		if err := s.findOld(w.tx, &n); err != nil {
			return err
		}
	}
	w.window = n
	return nil
}

// findOld finds the rows that are older than the replay window, and deletes the marks that no seal by age needs.
func (s *Store) findOld(tx *sql.Tx, l *logWindow) (err error) {
	if s.cfg.ReplayWindow <= 0 {
		return nil
	}
	l.upTo, err = logclock.RowAt(tx, l.US()-s.cfg.ReplayWindow.Microseconds())
	if err != nil {
		return err
	}
	sealed, err := logclock.RowAt(tx, l.US()-s.sealAge().Microseconds())
	if err != nil {
		return err
	}
	_, err = tx.Exec("DELETE FROM marks WHERE seq < ?", int64(min(sealed, l.upTo)))
	return err
}
