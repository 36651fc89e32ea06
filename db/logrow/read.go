package logrow

import (
	"context"
	"database/sql"
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
	links, err := q.QueryContext(ctx, "SELECT "+LinkColumns+" FROM links WHERE id >= ? AND id < ? ORDER BY id",
		int64((after+1)<<LinkShift), int64((to+1)<<LinkShift))
	if err != nil {
		return err
	}
	defer func() { _ = links.Close() }()
	var l LinkRow
	nextLink := func() (bool, error) {
		if !links.Next() {
			return false, links.Err()
		}
		return true, l.Scan(links)
	}
	more, err := nextLink()
	if err != nil {
		return err
	}
	bodies, err := q.QueryContext(ctx, "SELECT seq FROM bodies WHERE seq > ? AND seq <= ? ORDER BY seq", int64(after),
		int64(to))
	if err != nil {
		return err
	}
	defer func() { _ = bodies.Close() }()
	var body uint64 // the next row that has one
	nextBody := func(seq uint64) error {
		for body < seq {
			if !bodies.Next() {
				body = math.MaxUint64
				return bodies.Err()
			}
			if err := bodies.Scan(&body); err != nil {
				return err
			}
		}
		return nil
	}
	piece := make([]Logged, 0, readRows)
	held := 0
	for rows.Next() {
		var r Logged
		r.Row, err = ScanRow(rows)
		if err != nil {
			return err
		}
		r.Sum = r.Row.checksum()
		if err := nextBody(r.Seq); err != nil {
			return err
		}
		r.Body = body == r.Seq
		for more && l.ID>>LinkShift == r.Seq {
			r.Sum += l.checksum()
			if rl := l.RecordLink(r.Rkey); l.Op == codec.Linked {
				r.Added = append(r.Added, rl)
			} else {
				r.Removed = append(r.Removed, rl)
			}
			more, err = nextLink()
			if err != nil {
				return err
			}
		}
		piece = append(piece, r)
		held += len(r.Removed) + len(r.Added)
		if len(piece) == readRows || held >= ReadLinks {
			if err := do(piece); err != nil {
				return err
			}
			piece = make([]Logged, 0, readRows)
			held = 0
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if more {
		return fmt.Errorf("link row %d belongs to no log row", l.ID)
	}
	return do(piece)
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
