package db

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/sqliteuri"
)

// ListGaps lists all gaps of a data directory, oldest first. Another weft may have the directory open.
func ListGaps(ctx context.Context, dir string) ([]Gap, error) {
	r, err := OpenReadOnly(dir, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return r.AllGaps(ctx)
}

// RetryGaps is Store.RetryGaps for a data directory that no weft has open.
func RetryGaps(dir string, id int64) (n int64, err error) {
	r, err := OpenReadOnly(dir, true)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	n, err = r.countOpenGaps(id)
	if err != nil {
		return 0, err
	}
	uri, err := sqliteuri.File(filepath.Join(dir, "weft.db"))
	if err != nil {
		return 0, err
	}
	writer, err := sql.Open("sqlite", uri+"?_txlock=immediate&_pragma=synchronous(FULL)&_pragma=busy_timeout("+
		strconv.FormatInt(busyTimeout.Milliseconds(), 10)+")")
	if err != nil {
		return 0, fmt.Errorf("db: %w", err)
	}
	defer func() { _ = writer.Close() }()
	if _, err := writer.Exec(retryGaps, id); err != nil {
		return 0, fmt.Errorf("db: change gaps: %w", err)
	}
	return n, nil
}

// Gap is a span of upstream that was missed. From and To are positions of the host: from 10^15 on microseconds since
// 1970, below that sequence numbers.
type Gap struct {
	ID      int64  `db:"id"`
	Host    string `db:"host"`
	From    uint64 `db:"from_seq"` // inclusive
	To      uint64 `db:"to_seq"`   // inclusive
	FromUS  int64  `db:"from_us"`  // time of the event before, microseconds since 1970; 0: not known
	ToUS    int64  `db:"to_us"`    // time of the event after, microseconds since 1970; 0: not known
	Why     string `db:"why"`
	State   string `db:"state"`    // GapOpen or GapFilled
	FoundUS int64  `db:"found_us"` // microseconds since 1970
	Tries   int    `db:"tries"`    // attempts to fill it
	TriedUS int64  `db:"tried_us"` // time of the last attempt, microseconds since 1970
	Note    string `db:"note"`     // result of the last attempt
}

// States of a gap.
const (
	GapOpen   = "open"
	GapFilled = "filled"
)

const gapColumns = "id, host, from_seq, to_seq, from_us, to_us, why, state, found_us, tries, tried_us, note"

// AddGap records an open gap. It aborts the open resyncs of its host, because their rows may be in the gap: records
// that were only missed must not count as removed.
func (s *Store) AddGap(g Gap) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return err
	}
	v := s.core.Snapshot()
	f := s.newPart(apply.Origin{Host: g.Host, TimeUS: v.MaxUS})
	first := f.AbortResyncs(g.Host)
	if first > 0 { // the rows after that sync are missing too: they show which records are gone
		g.From = min(g.From, first)
	}
	g.FoundUS = s.cfg.Now().UnixMicro()
	return s.commit(f, progress{gap: &g})
}

// insertGap inserts a new gap as open. If an open gap covers it, as after a rewind, it inserts nothing.
func insertGap(tx *sql.Tx, g *Gap) error {
	_, err := tx.Exec(`INSERT INTO gaps (host, from_seq, to_seq, from_us, to_us, why, state, found_us)
		SELECT ?1, ?2, ?3, ?4, ?5, ?6, 'open', ?7 WHERE NOT EXISTS
		(SELECT 1 FROM gaps WHERE host = ?1 AND from_seq <= ?2 AND to_seq >= ?3 AND state = 'open')`,
		g.Host, int64(g.From), int64(g.To), g.FromUS, g.ToUS, g.Why, g.FoundUS)
	return err
}

// writeGaps writes the gaps of a batch: the given gap, and a gap for each resync that no upstream completes.
func (s *Store) writeGaps(tx *sql.Tx, rs *apply.Rows, g *Gap) error {
	if g != nil {
		if err := insertGap(tx, g); err != nil {
			return err
		}
	}
	for i := range rs.Aborted {
		r := &rs.Aborted[i]
		if err := insertGap(tx, &Gap{Host: r.Host, From: r.Sync, To: r.Sync, FromUS: r.LastUS,
			FoundUS: s.cfg.Now().UnixMicro(), Why: "the resync of " + r.DID + " was not completed"}); err != nil {
			return err
		}
	}
	return nil
}

// repeatedGaps returns the spans of a batch's events that lie in a gap, open or filled. Only a batch of repeats has
// some: its numbers are not above high.
func (s *Store) repeatedGaps(b *Batch, high uint64) (gaps []apply.Span, err error) {
	if len(b.Events) == 0 || b.Events[0].Seq > high || b.Events[0].Seq >= MinTimeCursor {
		return nil, nil
	}
	last := min(high, b.Events[len(b.Events)-1].Seq, MinTimeCursor-1)
	rows, err := s.beside.QueryContext(context.Background(),
		"SELECT from_seq, to_seq FROM gaps WHERE host = ? AND from_seq <= ? AND to_seq >= ?",
		b.Host, int64(last), int64(b.Events[0].Seq))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var gap apply.Span
		if err := rows.Scan(&gap.From, &gap.To); err != nil {
			return nil, err
		}
		gaps = append(gaps, gap)
	}
	return gaps, rows.Err()
}

// TriedGap records the result of an attempt to fill a gap.
func (s *Store) TriedGap(id int64, filled bool, note string) error {
	state := GapOpen
	if filled {
		state = GapFilled
	}
	return s.changeGaps(func(tx *sql.Tx) error {
		_, err := tx.Exec(`UPDATE gaps SET state = ?, note = ?, tries = tries + 1, tried_us = ?
			WHERE id = ? AND state = 'open'`, state, note, s.cfg.Now().UnixMicro(), id)
		return err
	})
}

// ShrinkGap records that a gap is filled up to a position. The rest begins there. The part is a filled gap of its own.
func (s *Store) ShrinkGap(id int64, from uint64, fromUS int64) error {
	return s.changeGaps(func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO gaps
			(host, from_seq, to_seq, from_us, to_us, why, state, found_us, tries, tried_us, note)
			SELECT host, from_seq, ?1 - 1, from_us, ?2, why, 'filled', found_us, tries + 1, ?4, 'filled as a part'
			FROM gaps WHERE id = ?3 AND from_seq < ?1`, int64(from), fromUS, id, s.cfg.Now().UnixMicro())
		if err != nil {
			return err
		}
		_, err = tx.Exec("UPDATE gaps SET from_seq = ?1, from_us = ?2 WHERE id = ?3 AND from_seq < ?1",
			int64(from), fromUS, id)
		return err
	})
}

// retryGaps makes an open gap due at once; the id 0 means all open gaps.
const retryGaps = "UPDATE gaps SET tries = 0, tried_us = 0 WHERE state = 'open' AND ?1 IN (0, id)"

// RetryGaps makes an open gap due at once; the id 0 means all open gaps. It returns their number.
func (s *Store) RetryGaps(id int64) (int64, error) {
	n, err := s.countOpenGaps(id)
	if err != nil {
		return 0, err
	}
	return n, s.changeGaps(func(tx *sql.Tx) error {
		_, err := tx.Exec(retryGaps, id)
		return err
	})
}

// countOpenGaps counts the open gaps with an id; the id 0 means all open gaps.
func (s *Index) countOpenGaps(id int64) (n int64, err error) {
	if err := s.core.Reader.Get(&n, "SELECT count(*) FROM gaps WHERE state = 'open' AND ?1 IN (0, id)", id); err != nil {
		return 0, fmt.Errorf("db: count gaps: %w", err)
	}
	return n, nil
}

// openGaps is the number of open gaps, as Stats counted them last. The table of gaps keeps filled ones, so that a walk
// over it takes longer with each: it is walked only after a change.
type openGaps struct {
	mu      sync.Mutex  // of counts
	isKnown atomic.Bool // nothing has changed since the count
	n       int64
}

// changed notes that a committed transaction has changed the table.
func (o *openGaps) changed() { o.isKnown.Store(false) }

// count returns the number, by walk only after a change. A change during the walk makes the next call walk again.
func (o *openGaps) count(walk func() (int64, error)) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	wasKnown := o.isKnown.Swap(true) // before the walk: a change during it is not lost
	if wasKnown {
		return o.n, nil
	}
	n, err := walk()
	if err != nil {
		o.changed()
		return 0, err
	}
	o.n = n
	return n, nil
}

// changeGaps changes gaps in a transaction.
func (s *Store) changeGaps(change func(*sql.Tx) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return err
	}
	tx, err := s.writer.Begin() // without a context: a cancel would close the connection
	if err == nil {
		err = change(tx)
		if err == nil {
			err = tx.Commit()
		} else {
			_ = tx.Rollback()
		}
	}
	s.openGaps.changed()
	if err != nil {
		return s.fail(fmt.Errorf("db: change gaps: %w", err))
	}
	return nil
}

// Gaps returns the open gaps, newest first, at most a hundred: a server that is down for a day may leave thousands.
func (s *Index) Gaps(ctx context.Context) ([]Gap, error) {
	return s.gaps(ctx, "WHERE state = 'open' ORDER BY id DESC LIMIT 100")
}

// AllGaps returns all gaps, open and filled, oldest first.
func (s *Index) AllGaps(ctx context.Context) ([]Gap, error) { return s.gaps(ctx, "ORDER BY id") }

func (s *Index) gaps(ctx context.Context, which string) ([]Gap, error) {
	gaps := []Gap{}
	if err := s.core.Reader.SelectContext(ctx, &gaps, "SELECT "+gapColumns+" FROM gaps "+which); err != nil {
		return nil, fmt.Errorf("db: list gaps: %w", err)
	}
	return gaps, nil
}
