package apply

import (
	"weft.dev/weft/db/body"
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
)

// ResyncRow opens a resync. Where Since is 0 it ends the resync, and where Aborted is true it aborts the resync.
type ResyncRow struct {
	Actor, Rev, Since uint64
	Host              string
	Sync              uint64
	Aborted           bool
}

// AbortedResync is a resync that no upstream completes: a gap in the upstream of its sync.
type AbortedResync struct {
	DID    string // empty: the account is new in this batch
	Host   string
	Sync   uint64 // number of the sync there
	LastUS int64  // time of the newest record that followed
}

// BodyRow is a body of a log row.
type BodyRow struct {
	Seq    uint64
	Digest body.Digest
	CBOR   []byte // the event's
}

// ReplacedRow is a log row that ends the body of another one.
type ReplacedRow struct {
	Seq, Body uint64
}

// Rows are the rows that one transaction writes.
type Rows struct {
	Names   []logrow.NameRow
	Log     []logrow.Row
	Links   []logrow.LinkRow
	Status  []logrow.StatusRow
	Resyncs []ResyncRow
	Aborted []AbortedResync

	Bodies   []BodyRow
	Replaced []ReplacedRow
	Purged   []uint64 // log rows whose bodies go at once
}

// keepRows bounds the rows whose memory the next batch reuses: a resync may be far longer than other batches.
const keepRows = 1 << 14

// emptied returns no rows, with the memory of rs.
func (rs Rows) emptied() Rows {
	if len(rs.Log)+len(rs.Links)+len(rs.Names) > keepRows {
		return Rows{}
	}
	clear(rs.Bodies) // they hold the memory of events, and the others that of an arena
	clear(rs.Log)
	clear(rs.Links)
	clear(rs.Names)
	return Rows{Names: rs.Names[:0], Log: rs.Log[:0], Links: rs.Links[:0], Status: rs.Status[:0],
		Resyncs: rs.Resyncs[:0], Aborted: rs.Aborted[:0],
		Bodies: rs.Bodies[:0], Replaced: rs.Replaced[:0], Purged: rs.Purged[:0]}
}

func (rs *Rows) add(r logrow.Row, removed, added []codec.RecordLink) {
	rs.Log = append(rs.Log, r)
	if r.Replaced != 0 || r.BodyOnly {
		rs.Replaced = append(rs.Replaced, ReplacedRow{r.Seq, r.Replaced})
	}
	id := r.Seq << logrow.LinkShift
	put := func(links []codec.RecordLink, op byte) {
		for _, l := range links {
			rank := int64(l.Rank)
			if l.Derived {
				rank = -1
			}
			rs.Links = append(rs.Links, logrow.LinkRow{ID: id, Op: op, Source: l.Source, Target: l.Target, Rank: rank})
			id++
		}
	}
	put(removed, codec.Unlinked)
	put(added, codec.Linked)
}
