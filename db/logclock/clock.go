// Package logclock determines the age of log rows, and records it in the table marks.
package logclock

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/logrow"
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

// Clock is the clock that determines the age of log rows, in microseconds since 1970. It is the newest event time,
// and advances with our running time between events. It never goes back, and is at most our own clock. So rows of a
// backfill age at the pace of the backfill, and rows of a quiet upstream age at the pace of a clock.
type Clock struct {
	us      int64         // 0: no event yet
	last    time.Time     // when us was last advanced, by our clock
	ran     time.Duration // running time since the newest mark
	marked  int64         // us at the newest mark
	markSeq uint64        // its row
	stored  int64         // us that the database has
}

// US returns the clock, in microseconds since 1970; 0: there was no event yet.
func (c *Clock) US() int64 { return c.us }

// Advance advances the clock by the running time, and up to the newest event. newestUS is 0 before any event.
func (c *Clock) Advance(now time.Time, newestUS int64) {
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

// MarkDue reports whether the newest log row needs a mark.
func (c *Clock) MarkDue(seq uint64) bool {
	if seq <= c.markSeq || c.us == 0 {
		return false
	}
	if c.marked == 0 {
		return true
	}
	return c.us-c.marked >= markEvery.Microseconds() && (c.ran >= markEvery || seq-c.markSeq >= markRows)
}

// Mark marks the newest log row with the clock; sum is the checksum of the log up to it.
func (c *Clock) Mark(tx *sql.Tx, seq uint64, sum uint64) error {
	_, err := tx.Exec("INSERT INTO marks (seq, clock_us, log_checksum) VALUES (?, ?, ?) ON CONFLICT (seq) DO NOTHING",
		int64(seq), c.us, int64(sum))
	c.marked = c.us
	c.markSeq = seq
	c.ran = 0
	c.stored = c.us
	return err
}

// StoreDue reports whether the clock has advanced by clockEvery without a mark, so that it must be stored.
func (c *Clock) StoreDue() bool {
	return c.us-c.stored >= clockEvery.Microseconds()
}

// Store stores the clock.
func (c *Clock) Store(tx *sql.Tx) error {
	_, err := tx.Exec("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
		metaLogClock, strconv.FormatInt(c.us, 10))
	c.stored = c.us
	return err
}

// Load reads the clock as of the last mark or store. newestUS is the newest event time, and seq the newest log row.
// Rows after the last mark came within less than markEvery of running time, which is added for them.
func Load(ctx context.Context, q logrow.Queryer, now time.Time, newestUS int64, seq uint64) (c Clock, err error) {
	var markSeq, us int64
	err = q.QueryRowContext(ctx, "SELECT seq, clock_us FROM marks WHERE seq = (SELECT max(seq) FROM marks)").
		Scan(&markSeq, &us)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return c, err
	}
	var stored sql.NullInt64
	if err := q.GetContext(ctx, &stored,
		"SELECT (SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?)", metaLogClock); err != nil {
		return c, err
	}
	newest := max(us, stored.Int64, 0)
	c = Clock{us: newest, stored: newest, marked: us, markSeq: uint64(markSeq), last: now}
	c.Advance(now, newestUS)
	if seq > c.markSeq {
		c.us += min(markEvery.Microseconds(), max(now.UnixMicro()-c.us, 0)) // never ahead of our clock
	}
	return c, nil
}

// rowQueryer is a database or a transaction.
type rowQueryer interface {
	QueryRow(query string, args ...any) *sql.Row
}

// RowAt returns the newest log row that was committed at or before a time of the log's clock; 0: none is known.
func RowAt(q rowQueryer, clockUS int64) (seq uint64, err error) {
	var newest sql.NullInt64
	err = q.QueryRow("SELECT max(seq) FROM marks WHERE clock_us <= ?", clockUS).Scan(&newest)
	return uint64(newest.Int64), err
}
