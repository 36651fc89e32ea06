package apply

import (
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
)

// Event is one upstream event, reduced to the fields that an index needs. Applier.Apply keeps none of its strings.
type Event struct {
	Seq        uint64 // the upstream's sequence number
	TimeUS     int64  // when the upstream saw it, microseconds since 1970
	Op         logrow.Op
	Status     logrow.Status // OpAccount only
	DID        string
	Collection string       // an NSID; record events only
	Rkey       string       // record events only
	Rev        string       // the repo revision, a TID; record events and OpSync
	Links      []index.Link // OpCreate and OpUpdate only; duplicates count once

	// The record's content, for a store that keeps bodies; OpCreate and OpUpdate only. The caller doesn't change it before
	// the commit, which ends its use.
	CID  string // what the upstream calls it; empty where it doesn't say
	Body []byte // DAG-CBOR; nil: not known
}

// Counts are the effects of a batch.
type Counts struct {
	Events     int
	Changed    int // log rows written
	Added      int // links
	Removed    int // links
	Stale      int // repeats, and events that newer ones have superseded
	OutOfOrder int // log rows of events after newer ones of their account: an earlier upstream lost them
	Tombstoned int // records of accounts that are deleted
	Out        int // links that are not kept: they are older than the horizon of their source
	Invalid    int // events with an invalid DID, NSID, record key or revision, and invalid links

	Bodies    int // stored
	BadBodies int // bodies that don't match their CID or are too large, and are not stored
}

// add adds the counts of another part of the batch.
func (a *Counts) add(b Counts) {
	a.Events += b.Events
	a.Changed += b.Changed
	a.Added += b.Added
	a.Removed += b.Removed
	a.Stale += b.Stale
	a.OutOfOrder += b.OutOfOrder
	a.Tombstoned += b.Tombstoned
	a.Out += b.Out
	a.Invalid += b.Invalid
	a.Bodies += b.Bodies
	a.BadBodies += b.BadBodies
}
