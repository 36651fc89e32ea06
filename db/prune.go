package db

import (
	"context"
	"database/sql"
	"time"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/logrow"
)

const (
	// markEvery is how fine the log's age is known.
	markEvery = time.Minute
	// pruneRows is how many log rows one commit takes away at most: a few hundred kB of pages that go to the free list,
	// as many as commits of a thousand events fill, and half as many again so that a backlog shrinks.
	pruneRows = 3000
	// pruneLeast is how many rows more than it adds a commit takes away.
	pruneLeast = 20
)

// logWindow says which log rows may be pruned: those that a segment covers and that are older than the replay window.
// Age is counted in time that this index was seen to run: it grows by the time between two commits, at most by two
// marks, and never falls. Neither a clock that steps nor a night of downtime makes a row old early.
type logWindow struct {
	age    time.Duration // of the index
	last   time.Time     // of the commit before
	marked time.Duration // age at the newest mark
	pruned uint64        // the newest row that is gone
	upTo   uint64        // rows that are old enough

	next logWindowStep // becomes true with the commit
}

type logWindowStep struct {
	age, marked  time.Duration
	last         time.Time
	pruned, upTo uint64
}

// loadWindow reads the marks.
func (s *Store) loadWindow(ctx context.Context) error {
	var age, first sql.NullInt64
	if err := s.core.Reader.GetContext(ctx, &age, "SELECT max(age_us) FROM marks"); err != nil {
		return err
	}
	if err := s.core.Reader.GetContext(ctx, &first, "SELECT min(seq) FROM records"); err != nil {
		return err
	}
	s.log = logWindow{age: time.Duration(age.Int64) * time.Microsecond,
		marked: time.Duration(age.Int64) * time.Microsecond, last: s.cfg.Now()}
	s.log.pruned = s.core.Snapshot().Seq
	if first.Valid {
		s.log.pruned = uint64(first.Int64) - 1
	}
	return nil
}

// prunable returns the newest log row that may be pruned now. The rows of a resync may go with the batch after its end.
func (s *Store) prunable() uint64 {
	limit := min(s.log.upTo, s.core.Snapshot().Sealed)
	return min(limit, s.state.OldestResync()-1) // its rows say which records followed
}

// prune removes old rows before so many new ones are written: at their pace, and a little faster so that a backlog
// shrinks.
func (w *writing) prune(rows int) error {
	w.rows += rows
	upTo := min(w.mayGo, w.s.log.pruned+min(pruneRows, uint64(w.rows+w.rows/8+pruneLeast)))
	if upTo <= w.pruned {
		return nil
	}
	w.pruned = upTo
	if err := w.s.failpoint("prune"); err != nil {
		return err
	}
	if err := w.s.pruneReplaced(w.tx, upTo); err != nil {
		return err
	}
	if _, err := w.tx.Exec("DELETE FROM records WHERE seq <= ?", int64(upTo)); err != nil {
		return err
	}
	_, err := w.tx.Exec("DELETE FROM links WHERE id < ?", int64((upTo+1)<<logrow.LinkShift))
	return err
}

// markAge marks the log's age at a batch's end, and finds the rows that are old enough.
func (w *writing) markAge(rs *apply.Rows) error {
	s := w.s
	l := &w.s.log
	now := w.s.cfg.Now()
	n := logWindowStep{age: l.age, marked: l.marked, last: now, pruned: w.pruned, upTo: l.upTo}
	n.age += min(max(now.Sub(l.last), 0), 2*markEvery)
	if len(rs.Log) > 0 && (n.age-l.marked >= markEvery || l.marked == 0 && l.age == 0) {
		n.marked = n.age
		if _, err := w.tx.Exec("INSERT INTO marks (seq, age_us, log_checksum) VALUES (?, ?, ?) ON CONFLICT (seq) DO NOTHING",
			int64(rs.Log[len(rs.Log)-1].Seq), n.age.Microseconds(), int64(w.sums.Log)); err != nil {
			return err
		}
		if s.cfg.ReplayWindow > 0 {
			var upTo sql.NullInt64
			if err := w.tx.QueryRow("SELECT max(seq) FROM marks WHERE age_us <= ?",
				(n.age - s.cfg.ReplayWindow).Microseconds()).Scan(&upTo); err != nil {
				return err
			}
			n.upTo = uint64(upTo.Int64)
			if _, err := w.tx.Exec("DELETE FROM marks WHERE seq < ?", upTo.Int64); err != nil {
				return err
			}
		}
	}
	l.next = n
	return nil
}

// committed adopts the values of a committed transaction.
func (w *logWindow) committed() {
	w.age = w.next.age
	w.marked = w.next.marked
	w.last = w.next.last
	w.pruned = w.next.pruned
	w.upTo = w.next.upTo
}
