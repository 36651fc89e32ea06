package db

import (
	"fmt"
	"strings"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/link"
)

// fold works a batch's events out: what they change in the index, and the log rows that say so. It writes nothing.
// Each event is folded into the state that all before it left, and folding one twice changes nothing.
type fold struct {
	s         *Index
	w         *Store // for what the log doesn't say of an event; nil at a replay
	d         *delta
	host      string // whose events they are
	high      uint64 // events up to here may be repeats
	seq       uint64 // the newest log row
	fill      bool   // old events, each the last of its record
	foreign   bool   // other hosts have told of the same network before: any event may be a repeat
	nowUS     int64  // time of the event at hand
	maxUS     int64  // the newest time of any event so far
	beforeUS  int64  // the same before the event at hand
	latestUS  int64  // times beyond it are wrong, and say nothing of any other event; 0: none is
	rows      rows
	jobbed    []uint64 // accounts whose status a job changes, or another one changes now
	out       *writing // where rows go while others are still folded; nil: nowhere
	unended   bool     // the end of a resync left records for the next part of the batch
	stats     Applied
	total     Applied            // of the parts of the batch before this one
	old, next []codec.RecordLink // scratch

	atOnce, atOnceBytes int    // records, and bytes of their links, that changes of status have changed at once
	key, val            []byte // scratch
}

// Applied says what became of a batch.
type Applied struct {
	Events  int // folded
	Changed int // log rows written
	Added   int // links
	Removed int // links
	Stale   int // repeats, and what newer events had overtaken
	Late    int // log rows of events that came after newer ones of their account: a host that was followed before has lost them
	Buried  int // records of accounts that are deleted
	Invalid int // events with a DID, an NSID, a record key or a revision that is none, and links that are none

	Bodies    int // kept
	BadBodies int // bodies left out that are not what their CID says, or are too large
}

// add sums what became of two parts of a batch.
func (a *Applied) add(b Applied) {
	a.Events += b.Events
	a.Changed += b.Changed
	a.Added += b.Added
	a.Removed += b.Removed
	a.Stale += b.Stale
	a.Late += b.Late
	a.Buried += b.Buried
	a.Invalid += b.Invalid
	a.Bodies += b.Bodies
	a.BadBodies += b.BadBodies
}

// outlierUS is how far an event may be ahead of our clock. Servers' clocks differ by minutes; one event that is dated a day
// ahead must not make all others seem old.
const outlierUS = 3600 * 1_000_000

// wrongClockUS is how far our clock may be behind the newest event before it is our clock that is wrong.
const wrongClockUS = 48 * outlierUS

// latestTime is the limit of the times that are believed, by our clock and the newest time so far; 0: all are.
func latestTime(nowUS, newestUS int64) int64 {
	if newestUS == 0 || nowUS < newestUS-wrongClockUS {
		return 0
	}
	return nowUS + outlierUS
}

// setTime sets the time of the event at hand.
func (f *fold) setTime(us int64) {
	f.nowUS = us
	if !f.isOutlier(us) {
		f.maxUS = max(f.maxUS, us)
	}
}

func (f *fold) isOutlier(us int64) bool { return f.latestUS > 0 && us > f.latestUS }

// event folds one event. It returns false where the event ends a resync whose end takes another commit first: nothing of
// the event is folded then, and the next part of the batch folds it again.
func (f *fold) event(e *Event) (folded bool) {
	f.beforeUS = f.maxUS
	f.setTime(e.TimeUS)
	f.apply(e)
	if f.unended {
		f.maxUS = f.beforeUS
		return false
	}
	f.stats.Events++
	f.high = max(f.high, e.Seq) // what comes again within a batch is a repeat too
	return true
}

// apply folds one event by its operation.
func (f *fold) apply(e *Event) {
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

// record folds a create, an update or a delete: the record's links become exactly those of the event.
func (f *fold) record(e *Event) {
	rev, ok := link.ParseTID(e.Rev)
	if !ok || !link.ValidNSID(e.Collection) || !link.ValidRecordKey(e.Rkey) {
		f.stats.Invalid++
		return
	}
	actor, known := f.actor(e.DID)
	record := f.w.recent.record(e.DID, e.Collection, e.Rkey)
	if known && f.s.status.of(actor) == StatusDeleted {
		f.stats.Buried++
		f.w.recent.note(record, rev, e.TimeUS)
		return
	}
	if r := f.s.resyncs[actor]; r != nil && !f.fill && !f.follows(r, e, actor, rev) {
		return
	}
	// Another upstream may have told newer things of the account while this one was away: the rows of its resync are not
	// stale for that, and what ends it does so even when it is stale itself.
	late := false
	if f.repeats(e) && !f.s.resyncs[actor].isRow(f.host, rev) {
		var stale bool
		if stale, late = f.judge(e, actor, rev, record); stale {
			f.stats.Stale++
			return
		}
	}
	f.w.recent.note(record, rev, e.TimeUS)
	linking := e.Op != OpDelete && len(e.Links) > 0
	if !linking && !known {
		return
	}
	if !known {
		actor = f.intern('d', 0, e.DID)
	}
	collection, known := f.collection(e.Collection, linking)
	if !known {
		return
	}

	rkey := codec.AppendRkey(nil, e.Rkey)
	f.key = codec.RecordKey(f.key[:0], actor, collection, rkey)
	r := f.s.resyncs[actor]
	if r.overtook(string(f.key), f.fill || r.isRow(f.host, rev), f.fill) {
		f.stats.Stale++
		return
	}
	before := f.d.record(f.key)
	f.old = f.links(f.old[:0], before, rkey)
	f.next = f.next[:0]
	if linking {
		rank, derived := codec.RankOf(rkey, e.TimeUS)
		for i := range e.Links {
			if !storable(&e.Links[i]) {
				f.stats.Invalid++
				continue
			}
			f.next = append(f.next, codec.RecordLink{
				Source:  f.intern('s', collection, e.Links[i].Path),
				Target:  f.target(e.Links[i].Target),
				Rank:    rank,
				Derived: derived,
			})
		}
		f.next = codec.SortLinks(f.next)
	}
	switch {
	case r == nil || f.fill:
	case !r.of(f.host):
		r.supersede(string(f.key), rev)
	case e.Op != OpDelete:
		r.seen[string(f.key)] = struct{}{}
		r.lastUS = max(r.lastUS, min(e.TimeUS, f.maxUS)) // an outlier would keep it open until then
	}
	removed, added := codec.DiffLinks(f.old, f.next)
	was, b := f.s.bodies.current(before), f.bodyOf(e)
	row := row{op: e.Op, actor: actor, collection: collection, rkey: rkey, rev: rev}
	if len(removed)+len(added) == 0 {
		if !f.bodyChanges(e, &b, was) {
			if !f.fill && r != nil && (len(f.old) > 0 && e.Op != OpDelete || !r.of(f.host)) {
				row.op = opSeen
				f.log(row, nil, nil)
			}
			return
		}
		row.op, row.bodyOnly = OpUpdate, true
	}
	if late {
		f.stats.Late++
	}
	if row.late = late || (f.fill || r.isRevOf(rev)) && rev < f.d.rev(actor); row.late { // what is filled is old, and so may be a resync's rows
		rev = f.d.rev(actor)
	}
	row.was = was
	f.d.setRev(actor, rev)
	last := f.seq + logRowsOf(len(removed)+len(added))
	f.change(f.key, before, f.next, b.ref(last), actor, rkey, removed, added)
	f.log(row, removed, added)
	f.keepBody(&b)
}

// storable says that a link fits a key: a zero byte would end it early. The extractor gives no others.
func storable(l *Link) bool {
	return l.Target != "" && len(l.Target) <= link.MaxLen && strings.IndexByte(l.Target, 0) < 0 && len(l.Path) <= maxPath
}

// maxPath is the longest path of a source, in bytes. The extractor's bound is lower.
const maxPath = 4096

// change brings a record from one set of links to another, in both orders; body is the log row of its body, 0 for none.
func (f *fold) change(key, before []byte, next []codec.RecordLink, body, actor uint64, rkey []byte, removed, added []codec.RecordLink) {
	f.d.setRecord(actor, key, codec.AppendBodyRef(codec.AppendLinks(nil, next), body), len(before) > 0)
	f.stats.Added += len(added)
	f.stats.Removed += len(removed)
	if f.shown(actor, key) {
		f.d.linkAll(removed, actor, rkey, codec.Unlinked)
		f.d.linkAll(added, actor, rkey, codec.Linked)
	}
}

// links decodes a record's value.
func (f *fold) links(dst []codec.RecordLink, value, rkey []byte) []codec.RecordLink {
	links, err := codec.DecodeLinks(dst, value, rkey)
	if err != nil {
		f.d.fail(fmt.Errorf("links of the record %x: %w", rkey, err))
	}
	return links
}

// repeats says whether an event may have been folded before.
func (f *fold) repeats(e *Event) bool { return !f.fill && (f.foreign || e.Seq <= f.high) }

// judge says of a record's event that may be a repeat whether it is stale, and, when it isn't, whether it is late: its
// account has newer revisions, which are of other records.
func (f *fold) judge(e *Event, actor, rev, record uint64) (stale, late bool) {
	w := &f.w.recent
	f.loadRecent()
	newest, told := w.newest(record)
	if told && rev <= newest {
		return true, false
	}
	if late = rev < f.d.rev(actor); !told && !w.covers(rev, e.TimeUS) {
		return late || f.beforeStatus(e, actor), late
	}
	return w.beforeDeletion(actor, rev, e.TimeUS) || late && rev < f.synced(actor), late
}

// beforeStatus says that an event was seen before its account's status last changed. No status is newer than the newest
// event: an event that is newer still needs no look at it.
func (f *fold) beforeStatus(e *Event, actor uint64) bool {
	return e.TimeUS <= f.beforeUS && e.TimeUS <= f.since(actor)
}

// log appends a row with the links that it removed and added. More than maxRowLinks take several rows, each a change by
// itself: updates before a delete, and after a create. The last one brings the body, and puts the one before out of date.
//
// A record that is respelled keeps its body. A row that left it without links would end the body at a replay, so the last
// removal waits for the last row.
func (f *fold) log(r row, removed, added []codec.RecordLink) {
	kept := 0
	if r.op == opRespelled && len(added) > 0 {
		kept = min(len(removed), 1)
	}
	for n := logRowsOf(len(removed) + len(added)); n > 1; n-- {
		part := r
		part.was = 0
		if r.op == OpDelete {
			part.op = OpUpdate
		}
		gone := min(len(removed)-kept, maxRowLinks)
		come := min(len(added), maxRowLinks-gone)
		f.logRow(part, removed[:gone], added[:come])
		removed, added = removed[gone:], added[come:]
		if r.op == OpCreate {
			r.op = OpUpdate
		}
	}
	f.logRow(r, removed, added)
}

// logRowsOf is how many log rows a change of so many links takes.
func logRowsOf(links int) uint64 { return uint64(max(links-1, 0)/maxRowLinks) + 1 }

func (f *fold) logRow(r row, removed, added []codec.RecordLink) {
	f.seq++
	f.stats.Changed++
	r.seq, r.timeUS = f.seq, f.nowUS
	f.rows.add(r, removed, added)
}
