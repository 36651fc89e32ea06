package logrow

import (
	"database/sql"
	"fmt"
	"math"

	"weft.dev/weft/db/codec"
)

// Further ops of log rows, beside those of events.
const (
	OpSeen   Op = 6 // a record that followed a sync unchanged
	OpSynced Op = 7 // the end of a resync: what was not seen is gone
	OpBegun  Op = 9 // the first record that follows a sync
	OpJob    Op = 8 // a step of a change of status: up or down to this record, or, without one, to the end

	// a record whose links weft itself changed: to the present spelling, or to a narrower slice; its revision is the
	// account's newest, and a record that keeps a link keeps its body
	OpRewritten Op = 10
	OpTurn      Op = 11 // the account's status changed again while its job ran: the job reverses
)

// LinkShift makes a link row's id of its log row's seq and its number there. 12 bits hold the links that one row can
// carry; what changes more takes several rows.
const (
	LinkShift   = 12
	MaxRowLinks = 1 << LinkShift
)

// Row is a row of the log.
type Row struct {
	Seq        uint64
	TimeUS     int64
	Op         Op
	Actor      uint64
	Collection uint64 // 0: none
	Rkey       []byte // encoded; nil: none
	Rev        uint64 // 0: none
	Status     uint8
	OutOfOrder bool // the account had newer revisions already

	Replaced uint64 // the log row whose body it puts out of date; 0: none
	BodyOnly bool   // it changes no link
}

// StatusOutOfOrder marks the row of a record whose account had newer revisions already.
const StatusOutOfOrder = 1

// StatusColumn returns the value of the column status; 0: null.
func (r *Row) StatusColumn() uint8 {
	if r.OutOfOrder {
		return StatusOutOfOrder
	}
	return r.Status
}

// LinkRow is a link that a log row added or removed.
type LinkRow struct {
	ID     uint64
	Op     byte
	Source uint64
	Target []byte
	Rank   int64 // -1: the TID's
}

// NameRow is a name that got an id.
type NameRow struct {
	Kind       byte // d: a DID, c: an NSID, s: a source
	ID         uint64
	Collection uint64 // of a source; 0: none
	Name       string // a DID, an NSID or a path
}

// StatusRow is a new status of an account, and the newest time of any event when it came.
type StatusRow struct {
	Actor   uint64
	Status  Status
	SinceUS int64
}

// The tables of the log with their columns for an insert, in the order of Columns and LinkColumns.
const (
	Table     = "records (seq, time_us, op, actor, collection, rkey, rev, status, source, target)"
	LinkTable = "more_links (id, op, source, target, rank)"
)

// Columns are read of a row of the log with its first link, and LinkColumns of a row of LinkTable.
const (
	Columns     = rowColumns + ", ifnull(source, 0), target"
	LinkColumns = "id, op, source, target, ifnull(rank, -1)"
)

// The columns of a row without its first link, and those of its first link as LinkColumns.
const (
	rowColumns   = "seq, time_us, op, actor, ifnull(collection, 0), rkey, ifnull(rev, 0), ifnull(status, 0)"
	firstColumns = "seq << 12, op <> 3, source, target, -1"
)

// HasFirst reports whether a link of the row is stored in the row itself: most rows have one link, and a second row
// for it takes 11 to 20 bytes more of WAL (docs/storage.md, Reasons). Its number and its rank are known, and its op
// follows from that of the row.
func (r *Row) HasFirst(l *LinkRow) bool {
	return l.ID == r.Seq<<LinkShift && l.Rank < 0 && l.Op == r.firstOp()
}

// firstOp returns the op of the link in a row.
func (r *Row) firstOp() byte {
	if r.Op == OpDelete {
		return codec.Unlinked
	}
	return codec.Linked
}

// ScanRow reads the Columns of a row. It scans numbers as int64, which is what SQLite has. database/sql converts them
// to any other type by way of text: a profile of a replay (bench/http) then has 12 % of its time in Scan.
//
// first is the link in the row; its Source is 0 where there is none.
func ScanRow(rows *sql.Rows) (r Row, first LinkRow, err error) {
	var rkey any
	var seq, op, actor, collection, rev, status, source int64
	if err := rows.Scan(&seq, &r.TimeUS, &op, &actor, &collection, &rkey, &rev, &status, &source,
		&first.Target); err != nil {
		return r, first, err
	}
	isHalf := (source == 0) != (first.Target == nil) // a link without its source or its target
	if min(seq, actor, collection, source) < 0 || !isByte(op) || !isByte(status) || isHalf {
		return r, first, fmt.Errorf("log row %d: %w", seq, codec.ErrMalformed)
	}
	r.Seq = uint64(seq)
	r.Op = Op(op)
	r.Actor = uint64(actor)
	r.Collection = uint64(collection)
	r.Rev = uint64(rev)
	r.Status = uint8(status)
	r.Rkey, err = codec.DecodeRkeyColumn(rkey)
	if err != nil {
		return r, first, fmt.Errorf("log row %d: %w", r.Seq, err)
	}
	first.ID = r.Seq << LinkShift
	first.Op = r.firstOp()
	first.Source = uint64(source)
	first.Rank = -1
	return r, first, nil
}

func isByte(n int64) bool { return n >= 0 && n <= math.MaxUint8 }

// Scan reads the LinkColumns of a row. The target is a copy.
func (l *LinkRow) Scan(rows *sql.Rows) error {
	var id, op, source int64
	l.Target = nil
	if err := rows.Scan(&id, &op, &source, &l.Target, &l.Rank); err != nil {
		return err
	}
	if min(id, source) < 0 || !isByte(op) {
		return fmt.Errorf("link row %d: %w", id, codec.ErrMalformed)
	}
	l.ID = uint64(id)
	l.Op = byte(op)
	l.Source = uint64(source)
	return nil
}

// RecordLink returns the link as the record with a key has it.
func (l *LinkRow) RecordLink(rkey []byte) codec.RecordLink {
	rl := codec.RecordLink{Source: l.Source, Target: l.Target, Rank: uint64(l.Rank)}
	if l.Rank < 0 {
		rl.Rank, rl.Derived = codec.TIDRank(rkey)
	}
	return rl
}
