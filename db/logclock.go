package db

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"weft.dev/weft/db/apply"
)

const (
	// markEvery is the precision with which the age of the log is known.
	markEvery = time.Minute
	// markRows is the number of log rows between two marks while events come faster than their times, in a backfill: a
	// mark with each commit would cost a page of WAL.
	markRows = 4096
	// longestStep bounds the advance of the clock between two reads of the system clock, so that neither a step of the
	// system clock nor a suspended machine makes a row old early. The ticks of the pruning are closer together.
	longestStep = 2 * markEvery
	// clockEvery is the interval at which the clock is stored while no row marks it. It is that of followed_us.
	clockEvery = 10 * time.Minute
)

// metaLogClock is the fact that stores the log's clock while no row is added for long.
const metaLogClock = "log_clock_us"

// logClock is the clock that determines the age of log rows, in microseconds since 1970. It is the newest event time,
// and advances with our running time between events. It never goes back, and is at most our own clock. So rows of a
// backfill age at the pace of the backfill, and rows of a quiet upstream age at the pace of a clock.
type logClock struct {
	us      int64         // 0: no event yet
	last    time.Time     // when us was last advanced, by our clock
	ran     time.Duration // running time since the newest mark
	marked  int64         // us at the newest mark
	markSeq uint64        // its row
	stored  int64         // us that the database has
}

// advance advances the clock by the running time, and up to the newest event. newestUS is 0 before any event.
func (c *logClock) advance(now time.Time, newestUS int64) {
	ran := min(max(now.Sub(c.last), 0), longestStep)
	c.last = now
	c.ran += ran
	if c.us > 0 {
		c.us += ran.Microseconds()
	}
	nowUS := now.UnixMicro()
	if apply.LatestTime(nowUS, newestUS) > 0 { // otherwise our clock is wrong
		newestUS = min(newestUS, nowUS)
	}
	c.us = max(c.us, newestUS)
}

// markDue reports whether the newest log row needs a mark.
func (c *logClock) markDue(seq uint64) bool {
	if seq <= c.markSeq || c.us == 0 {
		return false
	}
	if c.marked == 0 {
		return true
	}
	return c.us-c.marked >= markEvery.Microseconds() && (c.ran >= markEvery || seq-c.markSeq >= markRows)
}

// mark marks the newest log row with the clock; sum is the checksum of the log up to it.
func (c *logClock) mark(tx *sql.Tx, seq uint64, sum uint64) error {
	_, err := tx.Exec("INSERT INTO marks (seq, clock_us, log_checksum) VALUES (?, ?, ?) ON CONFLICT (seq) DO NOTHING",
		int64(seq), c.us, int64(sum))
	c.marked = c.us
	c.markSeq = seq
	c.ran = 0
	c.stored = c.us
	return err
}

// storeDue reports whether the clock has advanced by clockEvery without a mark, so that it must be stored.
func (c *logClock) storeDue() bool {
	return c.us-c.stored >= clockEvery.Microseconds()
}

// store stores the clock.
func (c *logClock) store(tx *sql.Tx) error {
	_, err := tx.Exec("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
		metaLogClock, strconv.FormatInt(c.us, 10))
	c.stored = c.us
	return err
}

// loadClock reads the clock as of the last mark or store. Rows after the last mark came within less than markEvery of
// running time, which is added for them.
func (s *Store) loadClock(ctx context.Context) (c logClock, err error) {
	var seq, us int64
	err = s.core.Reader.QueryRowContext(ctx, "SELECT seq, clock_us FROM marks WHERE seq = (SELECT max(seq) FROM marks)").
		Scan(&seq, &us)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return c, err
	}
	var stored sql.NullInt64
	if err := s.core.Reader.GetContext(ctx, &stored,
		"SELECT (SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?)", metaLogClock); err != nil {
		return c, err
	}
	v := s.core.Snapshot()
	now := s.cfg.Now()
	newest := max(us, stored.Int64, 0)
	c = logClock{us: newest, stored: newest, marked: us, markSeq: uint64(seq), last: now}
	c.advance(now, v.MaxUS)
	if v.Seq > c.markSeq {
		c.us += min(markEvery.Microseconds(), max(now.UnixMicro()-c.us, 0)) // never ahead of our clock
	}
	return c, nil
}
