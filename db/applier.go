package db

import (
	"database/sql"
	"fmt"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/link"
)

// applier turns events into a delta of the index and the log rows that record it. It writes nothing. Each event is
// applied to the state that all events before it left, and applying one twice changes nothing. A replay of the log uses
// an applier too: it repeats what the log rows decided. An applier lasts for one commit; the state and the history
// outlive it.
type applier struct {
	state   *state
	history *history // nil at a replay, which decides nothing
	d       *delta
	rows    rows
	seq     uint64 // the newest log row
	nowUS   int64  // time of the present event
	maxUS   int64  // the newest time of any event so far

	host       string   // the upstream of the events
	high       uint64   // events up to here may be repeats
	fill       bool     // the events are old, and each is the last of its record
	otherHosts bool     // other hosts were followed before: any event may be a repeat
	beforeUS   int64    // maxUS before the present event
	latestUS   int64    // later times are wrong, and don't change maxUS; 0: no limit
	unended    bool     // the end of a resync left records for the next part of the batch
	jobbed     []uint64 // accounts whose status a job changes, or another job changes now
	out        *writing // writes rows while others are still applied; nil: the commit writes all of them
	stats      Applied
	total      Applied // of the parts of the batch before this one

	immediate      int // records that changes of status have changed in this commit
	immediateBytes int // bytes of their links

	old, next []codec.RecordLink // scratch
	key, val  []byte             // scratch
}

// history answers from committed rows and from memory what the log rows of an event don't say. Only new events ask.
type history struct {
	dedup  dedupWindow
	ids    idCache
	beside *sql.DB // reads committed rows beside the writer's open transaction
}

// newApplier returns an applier of the changes after a snapshot. h is nil for a replay.
func newApplier(st *state, h *history, base *index.Snapshot) *applier {
	return &applier{state: st, history: h, d: newDelta(base), seq: base.Seq, maxUS: base.MaxUS}
}

// Applied counts the effects of a batch.
type Applied struct {
	Events     int
	Changed    int // log rows written
	Added      int // links
	Removed    int // links
	Stale      int // repeats, and events that newer ones have superseded
	OutOfOrder int // log rows of events after newer ones of their account: an earlier upstream lost them
	Tombstoned int // records of accounts that are deleted
	Invalid    int // events with an invalid DID, NSID, record key or revision, and invalid links

	Bodies    int // stored
	BadBodies int // bodies that don't match their CID or are too large, and are not stored
}

// add adds the counts of another part of the batch.
func (a *Applied) add(b Applied) {
	a.Events += b.Events
	a.Changed += b.Changed
	a.Added += b.Added
	a.Removed += b.Removed
	a.Stale += b.Stale
	a.OutOfOrder += b.OutOfOrder
	a.Tombstoned += b.Tombstoned
	a.Invalid += b.Invalid
	a.Bodies += b.Bodies
	a.BadBodies += b.BadBodies
}

// outlierUS is how far an event may be ahead of our clock. Clocks of servers differ by minutes; one event that is dated
// a day ahead must not make all others seem old.
const outlierUS = 3600 * 1_000_000

// wrongClockUS is how far our clock may be behind the newest event: beyond it our clock is wrong.
const wrongClockUS = 48 * outlierUS

// latestTime returns the latest time that is plausible, by our clock and the newest time so far; 0: no limit.
func latestTime(nowUS, newestUS int64) int64 {
	if newestUS == 0 || nowUS < newestUS-wrongClockUS {
		return 0
	}
	return nowUS + outlierUS
}

// advanceTime sets the time of the present event.
func (f *applier) advanceTime(us int64) {
	f.nowUS = us
	if !f.isOutlier(us) {
		f.maxUS = max(f.maxUS, us)
	}
}

func (f *applier) isOutlier(us int64) bool { return f.latestUS > 0 && us > f.latestUS }

// event applies one event. It returns false where the event ends a resync and the end takes another commit first:
// nothing of the event is applied then, and the next part of the batch applies it again.
func (f *applier) event(e *Event) (applied bool) {
	f.beforeUS = f.maxUS
	f.advanceTime(e.TimeUS)
	f.apply(e)
	if f.unended {
		f.maxUS = f.beforeUS
		return false
	}
	f.stats.Events++
	f.high = max(f.high, e.Seq) // an event that comes again within a batch is a repeat too
	return true
}

// apply applies one event by its operation.
func (f *applier) apply(e *Event) {
	if !link.ValidDID(e.DID) {
		f.stats.Invalid++
		return
	}
	switch e.Op {
	case OpCreate, OpUpdate, OpDelete:
		f.record(e)
	case OpAccount:
		if e.Status > StatusInactive {
			f.stats.Invalid++
			return
		}
		f.account(e)
	case OpSync:
		f.sync(e)
	default:
		f.stats.Invalid++
	}
}

// mayRepeat reports whether an event may have been applied before.
func (f *applier) mayRepeat(e *Event) bool { return !f.fill && (f.otherHosts || e.Seq <= f.high) }

// links decodes a record's value.
func (f *applier) links(dst []codec.RecordLink, value, rkey []byte) []codec.RecordLink {
	links, err := codec.DecodeLinks(dst, value, rkey)
	if err != nil {
		f.d.fail(fmt.Errorf("links of the record %x: %w", rkey, err))
	}
	return links
}

// change replaces the links of a record, by record and by target. body is the log row of its body; 0: none.
func (f *applier) change(key, before []byte, next []codec.RecordLink, body, actor uint64, rkey []byte, removed,
	added []codec.RecordLink) {
	f.d.setRecord(actor, key, codec.AppendBodyRef(codec.AppendLinks(nil, next), body), len(before) > 0)
	f.stats.Added += len(added)
	f.stats.Removed += len(removed)
	if f.state.shown(actor, key) {
		f.d.linkAll(removed, actor, rkey, codec.Unlinked)
		f.d.linkAll(added, actor, rkey, codec.Linked)
	}
}

// log appends a row with the links that it removed and added. More than MaxRowLinks take several rows, each a change by
// itself: updates before a delete, and after a create. The last row brings the body, and ends the body before it.
//
// A rewritten record keeps its body. A row that leaves it without links would end the body at a replay: the last
// removal comes with the last row.
func (f *applier) log(r logrow.Row, removed, added []codec.RecordLink) {
	kept := 0
	if r.Op == logrow.OpRewritten && len(added) > 0 {
		kept = min(len(removed), 1)
	}
	for n := logRowsOf(len(removed) + len(added)); n > 1; n-- {
		part := r
		part.Replaced = 0
		if r.Op == OpDelete {
			part.Op = OpUpdate
		}
		gone := min(len(removed)-kept, logrow.MaxRowLinks)
		come := min(len(added), logrow.MaxRowLinks-gone)
		f.logRow(part, removed[:gone], added[:come])
		removed = removed[gone:]
		added = added[come:]
		if r.Op == OpCreate {
			r.Op = OpUpdate
		}
	}
	f.logRow(r, removed, added)
}

// logRowsOf returns the number of log rows of a change of so many links.
func logRowsOf(links int) uint64 { return uint64(max(links-1, 0)/logrow.MaxRowLinks) + 1 }

func (f *applier) logRow(r logrow.Row, removed, added []codec.RecordLink) {
	f.seq++
	f.stats.Changed++
	r.Seq = f.seq
	r.TimeUS = f.nowUS
	f.rows.add(r, removed, added)
}
