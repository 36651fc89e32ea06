package logrow

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"

	"weft.dev/weft/db/codec"
)

// Queryer reads from a pool of connections, or from a transaction, which reads one moment.
type Queryer interface {
	GetContext(ctx context.Context, into any, query string, args ...any) error
	SelectContext(ctx context.Context, into any, query string, args ...any) error
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Logged is a row of the log with the links that it removed and added.
type Logged struct {
	Row
	Body           bool   // its body is there
	Sum            uint64 // of its checksum and those of its links
	Removed, Added []codec.RecordLink
}

// readRows is how many log rows are read before they are handed over, and readLinks how many links: a row has up to
// 4,096.
const (
	readRows  = 512
	ReadLinks = 1 << 14
)

// MaxSeq is above every log row: links have as many bits for it.
const MaxSeq = 1<<(62-LinkShift) - 1

// Read reads the log after a row, up to another, in order, and passes it on in pieces that it doesn't keep. q must
// read one moment of its three tables.
func Read(ctx context.Context, q Queryer, after, to uint64, do func([]Logged) error) error {
	rows, err := q.QueryContext(ctx, "SELECT "+Columns+" FROM records WHERE seq > ? AND seq <= ? ORDER BY seq",
		int64(after), int64(to))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	linkRows, err := q.QueryContext(ctx, "SELECT "+LinkColumns+" FROM more_links WHERE id >= ? AND id < ? ORDER BY id",
		int64((after+1)<<LinkShift), int64((to+1)<<LinkShift))
	if err != nil {
		return err
	}
	defer func() { _ = linkRows.Close() }()
	bodyRows, err := q.QueryContext(ctx, "SELECT seq FROM bodies WHERE seq > ? AND seq <= ? ORDER BY seq", int64(after),
		int64(to))
	if err != nil {
		return err
	}
	defer func() { _ = bodyRows.Close() }()
	links := linkReader{rows: linkRows}
	err = links.advance()
	if err != nil {
		return err
	}
	bodies := bodyReader{rows: bodyRows}
	piece := make([]Logged, 0, readRows)
	held := 0
	for rows.Next() {
		var r Logged
		var first LinkRow
		r.Row, first, err = ScanRow(rows)
		if err != nil {
			return err
		}
		r.Sum = r.Row.checksum()
		if first.Source != 0 {
			r.AddLink(&first)
			r.Sum += first.checksum()
		}
		r.Body, err = bodies.has(r.Seq)
		if err != nil {
			return err
		}
		err = links.addTo(&r)
		if err != nil {
			return err
		}
		piece = append(piece, r)
		held += r.LinkCount()
		if len(piece) == readRows || held >= ReadLinks {
			if err := do(piece); err != nil {
				return err
			}
			piece = make([]Logged, 0, readRows)
			held = 0
		}
	}
	if err := errors.Join(rows.Err(), linkRows.Err(), bodyRows.Err()); err != nil {
		return err
	}
	if links.more {
		return fmt.Errorf("link row %d belongs to no log row", links.next.ID)
	}
	return do(piece)
}

// AddLink adds a link of the row.
func (l *Logged) AddLink(row *LinkRow) {
	if rl := row.RecordLink(l.Rkey); row.Op == codec.Linked {
		l.Added = append(l.Added, rl)
	} else {
		l.Removed = append(l.Removed, rl)
	}
}

// LinkCount returns the number of links that the row removed and added.
func (l *Logged) LinkCount() int { return len(l.Removed) + len(l.Added) }

// linkReader reads the rows of LinkTable in the order of the log.
type linkReader struct {
	rows *sql.Rows
	next LinkRow
	more bool // false: next is none
}

func (r *linkReader) advance() error {
	r.more = r.rows.Next()
	if !r.more {
		return r.rows.Err()
	}
	return r.next.Scan(r.rows)
}

// addTo adds the links of a log row to it, and their checksums to its own.
func (r *linkReader) addTo(l *Logged) error {
	for r.more && r.next.ID>>LinkShift == l.Seq {
		l.Sum += r.next.checksum()
		l.AddLink(&r.next)
		err := r.advance()
		if err != nil {
			return err
		}
	}
	return nil
}

// bodyReader reads in order which log rows have a body.
type bodyReader struct {
	rows *sql.Rows
	next uint64 // the next row that has one
}

// has reports whether a log row has a body. The rows asked for are in order.
func (r *bodyReader) has(seq uint64) (bool, error) {
	for r.next < seq {
		if !r.rows.Next() {
			r.next = math.MaxUint64
			return false, r.rows.Err()
		}
		if err := r.rows.Scan(&r.next); err != nil {
			return false, err
		}
	}
	return r.next == seq, nil
}

// Range returns the oldest and the newest row of the log; both are 0 while it is empty. Each end is a select of its
// own: SQLite looks one of them up by the key, and walks through the table for both in one.
func Range(ctx context.Context, q Queryer) (oldest, newest uint64, err error) {
	if err := q.QueryRowContext(ctx,
		"SELECT ifnull((SELECT min(seq) FROM records), 0), ifnull((SELECT max(seq) FROM records), 0)").Scan(&oldest,
		&newest); err != nil {
		return 0, 0, fmt.Errorf("db: read the range of the log: %w", err)
	}
	return oldest, newest, nil
}
