package logrow

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"sort"

	"weft.dev/weft/db/codec"
)

// Queryer reads from a pool of connections, or from a transaction, which reads one moment.
type Queryer interface {
	GetContext(ctx context.Context, into any, query string, args ...any) error
	SelectContext(ctx context.Context, into any, query string, args ...any) error
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// RowsQueryer is the part of a Queryer that reads rows.
type RowsQueryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Logged is a row of the log with the links that it removed and added.
type Logged struct {
	Row
	Body           bool   // its body is there
	Sum            uint64 // of its checksum and those of its links
	Removed, Added []codec.RecordLink
}

// LinkCount returns the number of links that the row removed and added.
func (l *Logged) LinkCount() int { return len(l.Removed) + len(l.Added) }

// ReadLinks is the number of links after which a read of some rows ends: a row has up to 4,096.
const ReadLinks = 1 << 14

// MaxSeq is above every log row: links have as many bits for it.
const MaxSeq = 1<<(62-LinkShift) - 1

// Rows are log rows with consecutive numbers and their links, both in order.
type Rows struct {
	Log   []Row
	Links []LinkRow
}

// Between returns the rows after a row, up to another, with their links.
func (rs Rows) Between(after, to uint64) Rows {
	if len(rs.Log) == 0 {
		return Rows{}
	}
	first := rs.Log[0].Seq
	last := rs.Log[len(rs.Log)-1].Seq
	if after < first && to >= last {
		return rs
	}
	if after >= last || to < first || to <= after {
		return Rows{}
	}
	linksBefore := func(seq uint64) int {
		return sort.Search(len(rs.Links), func(i int) bool { return rs.Links[i].ID>>LinkShift >= seq })
	}
	return Rows{rs.Log[max(after+1, first)-first : min(to, last)+1-first],
		rs.Links[linksBefore(after+1):linksBefore(to+1)]}
}

// Logged returns the rows with their links.
func (rs Rows) Logged() []Logged {
	found, _ := rs.AppendLogged(make([]Logged, 0, len(rs.Log)), math.MaxInt)
	return found
}

// AppendLogged appends rows with their links, until links links are appended: the next row that has any is left out,
// and with it all that follow. It returns how many links more may be appended.
func (rs Rows) AppendLogged(found []Logged, links int) ([]Logged, int) {
	changes := make([]codec.RecordLink, 0, len(rs.Links))
	rest := rs.Links
	for i := range rs.Log {
		r := Logged{Row: rs.Log[i]}
		isOf := func(l *LinkRow) bool { return l.ID>>LinkShift == r.Seq }
		if len(rest) > 0 && isOf(&rest[0]) && links <= 0 {
			return found, 0
		}
		n := 0
		for n < len(rest) && isOf(&rest[n]) {
			n++
		}
		r.Removed, changes = appendLinks(changes, rest[:n], codec.Unlinked, r.Rkey)
		r.Added, changes = appendLinks(changes, rest[:n], codec.Linked, r.Rkey)
		rest = rest[n:]
		links -= r.LinkCount()
		found = append(found, r)
	}
	return found, max(links, 0)
}

// appendLinks appends the links of a log row that have an op to all, and returns them.
func appendLinks(all []codec.RecordLink, links []LinkRow, op byte, rkey []byte) (ofOp, next []codec.RecordLink) {
	from := len(all)
	for i := range links {
		if links[i].Op == op {
			all = append(all, links[i].RecordLink(rkey))
		}
	}
	return all[from:len(all):len(all)], all
}

// Scan reads the log after a row, up to another, in order, and passes on the rows of each block. The error is
// a BlockError if a block is damaged.
func Scan(ctx context.Context, q RowsQueryer, after, to uint64, do func(Rows) error) error {
	if to <= after {
		return nil
	}
	blocks, err := q.QueryContext(ctx, "SELECT first, last, time_us, links, rows FROM log WHERE last > ? ORDER BY last",
		int64(after))
	if err != nil {
		return err
	}
	defer func() { _ = blocks.Close() }()
	for blocks.Next() {
		rows, b, err := scanBlock(blocks, to)
		if err != nil {
			return err
		}
		if b.first > to {
			break
		}
		if err := do(rows.Between(after, to)); err != nil {
			return err
		}
		if b.last >= to {
			break
		}
	}
	return errors.Join(blocks.Close(), blocks.Err())
}

// scanBlock reads a block. It has no rows if it begins behind a row.
func scanBlock(blocks *sql.Rows, to uint64) (rows Rows, b blockColumns, err error) {
	var block sql.RawBytes
	if err := blocks.Scan(Unsigned(&b.first), Unsigned(&b.last), &b.timeUS, Unsigned(&b.links), &block); err != nil {
		return rows, b, err
	}
	if b.first > to && b.first <= b.last {
		return rows, b, nil
	}
	rows, err = decodeBlock(block, b.first, b.last)
	if err != nil {
		return rows, b, err
	}
	return rows, b, b.verify(rows)
}

// BlockAt reads the rows of the block that has a log row. There are none where the log has no row of this number.
func BlockAt(ctx context.Context, q RowsQueryer, seq uint64) (rows Rows, err error) {
	blocks, err := q.QueryContext(ctx,
		"SELECT first, last, time_us, links, rows FROM log WHERE last >= ? ORDER BY last LIMIT 1", int64(seq))
	if err != nil {
		return rows, err
	}
	defer func() { _ = blocks.Close() }()
	if blocks.Next() {
		rows, _, err = scanBlock(blocks, seq)
		if err != nil {
			return Rows{}, err
		}
	}
	return rows, errors.Join(blocks.Close(), blocks.Err())
}

// At reads a row of the log; ok is false where the log has none of this number.
func At(ctx context.Context, q RowsQueryer, seq uint64) (r Logged, ok bool, err error) {
	rows, err := BlockAt(ctx, q, seq)
	if err != nil {
		return r, false, err
	}
	found := rows.Between(seq-1, seq).Logged()
	if len(found) == 0 {
		return r, false, nil
	}
	return found[0], true, nil
}

// SeqAt returns the first row of a time or later among the rows from oldest to newest, whose times grow with them, and
// its time; newest + 1: there is none. It unpacks one block, whatever the length of the log.
func SeqAt(ctx context.Context, q Queryer, oldest, newest uint64, us int64) (seq uint64, timeUS int64, err error) {
	isLater := func(seq uint64) bool {
		var blockUS int64 // time of the block's newest row
		if err == nil {
			err = q.QueryRowContext(ctx, "SELECT time_us FROM log WHERE last >= ? ORDER BY last LIMIT 1", int64(seq)).
				Scan(&blockUS)
		}
		return blockUS >= us
	}
	seq = oldest + uint64(sort.Search(int(newest-oldest)+1, func(i int) bool { return isLater(oldest + uint64(i)) }))
	if err != nil || seq > newest {
		return seq, 0, err
	}
	rows, err := BlockAt(ctx, q, seq)
	if err != nil {
		return 0, 0, err
	}
	log := rows.Between(seq-1, newest).Log
	n := sort.Search(len(log), func(i int) bool { return log[i].TimeUS >= us })
	if n == len(log) { // pruned meanwhile
		return seq, us, nil
	}
	return log[n].Seq, log[n].TimeUS, nil
}

// Read reads the log after a row, up to another, in order, with the checksums and the presence of bodies, and passes
// it on in pieces that it doesn't keep. q must read one moment of its two tables.
func Read(ctx context.Context, q Queryer, after, to uint64, do func([]Logged) error) error {
	bodies, err := ReadSeqs(ctx, q, "SELECT seq FROM bodies WHERE seq > ? AND seq <= ? ORDER BY seq", int64(after),
		int64(to))
	if err != nil {
		return err
	}
	defer bodies.Close()
	return Scan(ctx, q, after, to, func(rows Rows) error {
		piece := rows.Logged()
		links := rows.Links
		for i := range piece {
			r := &piece[i]
			r.Sum = r.Row.checksum()
			for k := range links[:r.LinkCount()] {
				r.Sum += links[k].checksum()
			}
			links = links[r.LinkCount():]
			r.Body, err = bodies.Has(r.Seq)
			if err != nil {
				return err
			}
		}
		return do(piece)
	})
}

// Range returns the oldest and the newest row of the log; both are 0 while it is empty. Each end is a select of its
// own: SQLite looks one of them up by the key, and walks through the table for both in one.
func Range(ctx context.Context, q Queryer) (oldest, newest uint64, err error) {
	if err := q.QueryRowContext(ctx, `SELECT ifnull((SELECT first FROM log WHERE last = (SELECT min(last) FROM log)), 0),
		ifnull((SELECT max(last) FROM log), 0)`).Scan(Unsigned(&oldest), Unsigned(&newest)); err != nil {
		return 0, 0, fmt.Errorf("db: read the range of the log: %w", err)
	}
	return oldest, newest, nil
}
