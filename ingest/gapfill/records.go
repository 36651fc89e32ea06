package gapfill

import (
	"hash/maphash"
	"strings"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/ingest/upstream"
)

// records is the state of the first pass: it has the events of the gap that no later event supersedes.
type records struct {
	seeds    [2]maphash.Seed
	hash     maphash.Hash
	newest   map[recordID]uint64 // position of the newest event of each record of the gap, until a later event comes
	reset    map[recordID]uint64 // by account: events of its records up to this position are superseded
	accounts map[string]*account // with status changes or resyncs in the gap
	kept     Batch               // the rows of their resyncs
}

// recordID is a keyed hash of a record or an account. It has 128 bits: billions of events may be compared with the
// records of a gap, and each collision loses an event.
type recordID [2]uint64

// account holds the events of an account in the gap, without the events of its records.
type account struct {
	status *apply.Event           // the newest status change; nil: none, or superseded
	synced string                 // the revision of the resync; empty: none
	begun  bool                   // a row of the resync has come after the gap
	rows   map[db.Record]int      // the rows of the resync after the gap, as indexes of records.kept
	repo   map[db.Record]struct{} // all records since the repo was reset; nil: there may be others
}

func newRecords(kept Batch) records {
	return records{
		seeds:    [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		newest:   map[recordID]uint64{},
		reset:    map[recordID]uint64{},
		accounts: map[string]*account{},
		kept:     kept,
	}
}

// id returns the hash of a record, or, without a collection, of an account.
func (r *records) id(did, collection, rkey string) (id recordID) {
	for i := range id {
		r.hash.SetSeed(r.seeds[i])
		for _, part := range [...]string{did, collection, rkey} {
			_, _ = r.hash.WriteString(part)
			_ = r.hash.WriteByte(0)
		}
		id[i] = r.hash.Sum64()
	}
	return id
}

// stillNewest reports whether the event at pos is the newest of its record, and no event after the gap supersedes it.
func (r *records) stillNewest(did, collection, rkey string, pos uint64) bool {
	newest, ok := r.newest[r.id(did, collection, rkey)]
	return ok && newest == pos && r.reset[r.id(did, "", "")] < pos
}

// has reports whether an earlier event was noted for the same record or, for a change of status, for the same account.
func (r *records) has(e *upstream.Event) bool {
	if e.Op == db.OpAccount || e.Op == db.OpSync {
		return r.accounts[e.DID] != nil
	}
	_, ok := r.newest[r.id(e.DID, e.Collection, e.Rkey)]
	return ok
}

// inGap notes an event of the gap.
func (r *records) inGap(e *upstream.Event) {
	a := r.accounts[e.DID]
	switch e.Op {
	case db.OpAccount:
		a = r.account(e.DID)
		a.status = r.copyOf(e)
		if e.Status == db.StatusDeleted {
			r.resetRepo(a, e)
		}
	case db.OpSync:
		a = r.account(e.DID)
		r.resetRepo(a, e)
		a.synced = strings.Clone(e.Rev)
	default:
		r.newest[r.id(e.DID, e.Collection, e.Rkey)] = e.Pos
		a.noteRecord(e)
	}
}

// afterGap notes an event after the gap, which the index has.
func (r *records) afterGap(e *upstream.Event) {
	a := r.accounts[e.DID]
	switch {
	case e.Op == db.OpAccount && e.Status == db.StatusDeleted:
		r.reset[r.id(e.DID, "", "")] = e.Pos
		delete(r.accounts, e.DID)
	case e.Op == db.OpAccount:
		if a != nil {
			a.status = nil
		}
	case e.Op == db.OpSync: // the whole repo follows
		r.reset[r.id(e.DID, "", "")] = e.Pos
		if a != nil {
			r.resetRepo(a, e)
			a.repo = nil
		}
	default:
		delete(r.newest, r.id(e.DID, e.Collection, e.Rkey))
		if a != nil {
			a.noteRecord(e)
			r.noteResyncRow(a, e)
		}
	}
}

// noteResyncRow keeps a row of the gap's resync that comes after the gap: the index may not have recognised it as a row
// of a resync. Any other event supersedes the row of its record.
func (r *records) noteResyncRow(a *account, e *upstream.Event) {
	isRow := a.synced != "" && e.Op == db.OpCreate && (e.Rev == a.synced || !a.begun)
	if !isRow {
		delete(a.rows, db.Record{Collection: e.Collection, Rkey: e.Rkey})
		return
	}
	a.synced = strings.Clone(e.Rev)
	a.begun = true
	if a.rows == nil {
		a.rows = map[db.Record]int{}
	}
	c := r.copyOf(e)
	a.rows[db.Record{Collection: c.Collection, Rkey: c.Rkey}] = len(r.kept.Events()) - 1
}

// account returns the entry of an account, and creates it if there is none.
func (r *records) account(did string) *account {
	a := r.accounts[did]
	if a == nil {
		a = &account{}
		r.accounts[strings.Clone(did)] = a
	}
	return a
}

// resetRepo supersedes all records of an account. The records that follow are its whole repo.
func (r *records) resetRepo(a *account, e *upstream.Event) {
	r.reset[r.id(e.DID, "", "")] = e.Pos
	a.synced = ""
	a.begun = false
	a.rows = nil
	a.repo = map[db.Record]struct{}{}
}

// noteRecord notes that a record is in the repo, or that its own event deleted it. It does nothing for a nil account.
func (a *account) noteRecord(e *upstream.Event) {
	if a != nil && a.repo != nil {
		a.repo[db.Record{Collection: strings.Clone(e.Collection), Rkey: strings.Clone(e.Rkey)}] = struct{}{}
	}
}

// copyOf returns an event of the store that shares no memory with the reader's buffers.
func (r *records) copyOf(e *upstream.Event) *apply.Event {
	r.kept.Add(e)
	events := r.kept.Events()
	c := events[len(events)-1]
	return &c
}
