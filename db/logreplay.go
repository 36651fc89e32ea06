package db

import (
	"context"
	"database/sql"
	"fmt"
	"math"

	"weft.dev/weft/db/codec"
)

// logged is a row of the log with the links that it removed and added.
type logged struct {
	row
	body           bool   // its body is there
	sum            uint64 // of its checksum and those of its links
	removed, added []codec.RecordLink
}

// readRows is how many log rows are read before they are handed over, and readLinks how many links: a row has up to
// 4,096.
const (
	readRows  = 512
	readLinks = 1 << 14
)

// logColumns and linkColumns are what is read of a row of the log and of a link row.
const (
	logColumns  = "seq, time_us, op, actor, ifnull(collection, 0), rkey, ifnull(rev, 0), ifnull(status, 0)"
	linkColumns = "id, op, source, target, ifnull(rank, -1)"
)

// scanLogRow reads the logColumns of a row.
func scanLogRow(rows *sql.Rows) (r row, err error) {
	var rkey any
	var rev int64 // a TID may use the sign bit
	if err := rows.Scan(&r.seq, &r.timeUS, &r.op, &r.actor, &r.collection, &rkey, &rev, &r.status); err != nil {
		return r, err
	}
	r.rev = uint64(rev)
	r.rkey, err = codec.DecodeRkeyColumn(rkey)
	if err != nil {
		return r, fmt.Errorf("log row %d: %w", r.seq, err)
	}
	return r, nil
}

// wholeLog is above every log row: links have as many bits for it.
const wholeLog = 1<<(62-linkShift) - 1

// readLog reads the log after a row, up to another, in order, and passes it on in pieces that it doesn't keep. q must
// read one moment of its three tables.
func readLog(ctx context.Context, q queryer, after, to uint64, do func([]logged) error) error {
	rows, err := q.QueryContext(ctx, "SELECT "+logColumns+" FROM records WHERE seq > ? AND seq <= ? ORDER BY seq",
		int64(after), int64(to))
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	links, err := q.QueryContext(ctx, "SELECT "+linkColumns+" FROM links WHERE id >= ? AND id < ? ORDER BY id",
		int64((after+1)<<linkShift), int64((to+1)<<linkShift))
	if err != nil {
		return err
	}
	defer func() { _ = links.Close() }()
	var l linkRow
	nextLink := func() (bool, error) {
		if !links.Next() {
			return false, links.Err()
		}
		return true, links.Scan(&l.id, &l.op, &l.source, &l.target, &l.rank)
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
	piece := make([]logged, 0, readRows)
	held := 0
	for rows.Next() {
		var r logged
		r.row, err = scanLogRow(rows)
		if err != nil {
			return err
		}
		r.sum = r.row.checksum()
		if err := nextBody(r.seq); err != nil {
			return err
		}
		r.body = body == r.seq
		for more && l.id>>linkShift == r.seq {
			r.sum += l.checksum()
			// Scan has copied the target.
			rl := codec.RecordLink{Source: l.source, Target: l.target, Rank: uint64(l.rank)}
			if l.rank < 0 {
				rl.Rank, rl.Derived = codec.TIDRank(r.rkey)
			}
			if l.op == codec.Linked {
				r.added = append(r.added, rl)
			} else {
				r.removed = append(r.removed, rl)
			}
			l.target = nil
			more, err = nextLink()
			if err != nil {
				return err
			}
		}
		piece = append(piece, r)
		held += len(r.removed) + len(r.added)
		if len(piece) == readRows || held >= readLinks {
			if err := do(piece); err != nil {
				return err
			}
			piece = make([]logged, 0, readRows)
			held = 0
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if more {
		return fmt.Errorf("link row %d belongs to no log row", l.id)
	}
	return do(piece)
}
