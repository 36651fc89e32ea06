package logrow

import (
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

// RecordLink returns the link as the record with a key has it.
func (l *LinkRow) RecordLink(rkey []byte) codec.RecordLink {
	rl := codec.RecordLink{Source: l.Source, Target: l.Target, Rank: uint64(l.Rank)}
	if l.Rank < 0 {
		rl.Rank, rl.Derived = codec.TIDRank(rkey)
	}
	return rl
}
