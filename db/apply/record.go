package apply

import (
	"slices"
	"strings"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/lsm"
	"weft.dev/weft/link"
)

// class is the relation of a record's event to the index.
type class uint8

const (
	classNew        class = iota // it was not applied before
	classRepeat                  // it may have been applied before: only a difference counts
	classOutOfOrder              // like classRepeat, and its account has newer revisions, of other records
	classStale                   // the index has the event, or something newer of its record
)

// recordEvent is an event of a record on its way through the applier.
type recordEvent struct {
	*Event
	rev   uint64
	hash  uint64 // of the record, in the dedup window
	actor uint64
	known bool // the account has an id
	class class

	collection uint64
	rkey       []byte // encoded
	before     []byte // the record's value before the event
}

// hasLinks reports whether the record links after the event.
func (r *recordEvent) hasLinks() bool { return r.Op != logrow.OpDelete && len(r.Links) > 0 }

// record applies a create, an update or a delete: the record's links become exactly those of the event. It validates
// the event, classifies it, works out the change of the record's links, and logs it.
func (f *Applier) record(e *Event) {
	r, ok := newRecordEvent(e)
	if !ok {
		f.stats.Invalid++
		return
	}
	window := &f.history.dedup
	r.actor, r.known = f.actor(e.DID)
	r.hash = window.record(e.DID, e.Collection, e.Rkey)
	if r.known && f.state.status.of(r.actor) == logrow.StatusDeleted {
		f.stats.Tombstoned++
		window.note(r.hash, r.rev, e.TimeUS)
		return
	}
	if !f.advanceResync(e, r.actor, r.rev) {
		return
	}
	// Another upstream may have sent newer events of the account while this one was not followed: the rows of its
	// resync are not stale for that, and the event that ends the resync ends it even when it is stale itself.
	if f.mayRepeat(e) && !f.state.resyncs[r.actor].isRow(f.from.Host, r.rev) {
		f.loadDedupWindow()
		r.class = f.readClass(&r)
	}
	if r.class == classStale {
		f.stats.Stale++
		return
	}
	window.note(r.hash, r.rev, e.TimeUS)
	if !f.locate(&r) {
		return
	}
	resync := f.state.resyncs[r.actor]
	if resync.isSuperseded(string(f.key), f.from.Fill || resync.isRow(f.from.Host, r.rev), f.from.Fill) {
		f.stats.Stale++
		return
	}
	removed, added := f.difference(&r)
	f.noteInResync(&r, resync)
	f.logRecord(&r, resync, removed, added)
}

// recordHint returns what an operation says of its record: all but a create's are probably in the index. Few records
// change twice within minutes, and the cache is for the queries.
func recordHint(op logrow.Op) lsm.Hint {
	if op == logrow.OpCreate {
		return lsm.Once
	}
	return lsm.Likely | lsm.Once
}

// newRecordEvent validates an event of a record.
func newRecordEvent(e *Event) (r recordEvent, ok bool) {
	rev, ok := link.ParseTID(e.Rev)
	return recordEvent{Event: e, rev: rev}, ok && link.ValidNSID(e.Collection) && link.ValidRecordKey(e.Rkey)
}

// readClass classifies an event that may be a repeat. It reads the database for an event that is older than the dedup
// window, or out of order.
func (f *Applier) readClass(r *recordEvent) class {
	window := &f.history.dedup
	newest, seen := window.newest(r.hash)
	if seen && r.rev <= newest {
		return classStale
	}
	class := classRepeat
	if r.rev < f.d.rev(r.actor) {
		class = classOutOfOrder
	}
	if !seen && !window.covers(r.rev, r.TimeUS) {
		if class == classOutOfOrder || f.readStatusIsNewer(r.Event, r.actor) {
			return classStale
		}
		return class
	}
	if window.beforeDeletion(r.actor, r.rev, r.TimeUS) || class == classOutOfOrder && r.rev < f.readSynced(r.actor) {
		return classStale
	}
	return class
}

// readStatusIsNewer reports whether the account's status last changed after an event was seen. No status is newer than
// the newest event: for an event that is newer still, it doesn't read the database.
func (f *Applier) readStatusIsNewer(e *Event, actor uint64) bool {
	return e.TimeUS <= f.beforeUS && e.TimeUS <= f.readStatusSince(actor)
}

// locate finds the record's key, which it leaves in f.key, and enters the names of a record that links. It returns
// false where the record has no links, before and after the event.
func (f *Applier) locate(r *recordEvent) bool {
	if !r.hasLinks() && !r.known {
		return false
	}
	if !r.known {
		r.actor = f.enterAccount(r.DID)
	}
	var known bool
	r.collection, known = f.collection(r.Collection, r.hasLinks())
	if !known {
		return false
	}
	f.val = codec.AppendRkey(f.val[:0], r.Rkey)
	r.rkey = f.d.arena.copy(f.val)
	f.key = codec.RecordKey(f.key[:0], r.actor, r.collection, r.rkey)
	return true
}

// difference returns the links that the record loses and gains, valid until the next call. It leaves the links before
// and after in f.old and f.next.
func (f *Applier) difference(r *recordEvent) (removed, added []codec.RecordLink) {
	r.before = f.d.record(f.key, recordHint(r.Op))
	f.old = f.links(f.old[:0], r.before, r.rkey)
	f.next = f.next[:0]
	if r.hasLinks() {
		rank, derived := codec.RankOf(r.rkey, r.TimeUS)
		horizons := f.state.Horizons()
		for i := range r.Links {
			if !isStorable(&r.Links[i]) {
				f.stats.Invalid++
				continue
			}
			source := f.source(r, r.Links[i].Path)
			if len(f.old) == 0 && rank < horizons.Of(source) {
				f.stats.Out++ // its target needs no names
				continue
			}
			f.next = append(f.next, codec.RecordLink{
				Source:  source,
				Target:  f.target(r.Links[i].Target),
				Rank:    rank,
				Derived: derived,
			})
		}
		f.next = codec.SortLinks(f.next)
	}
	f.removed, f.added = codec.DiffLinks(f.removed[:0], f.added[:0], f.old, f.next)
	f.added = f.withoutOut(f.added)
	return f.removed, f.added
}

// withoutOut takes the added links that are out from them and from f.next. A link that stays keeps its rank, and is in.
func (f *Applier) withoutOut(added []codec.RecordLink) []codec.RecordLink {
	horizons := f.state.Horizons()
	isOut := func(l codec.RecordLink) bool { return l.Rank < horizons.Of(l.Source) }
	if !slices.ContainsFunc(added, isOut) {
		return added
	}
	n := len(added)
	f.next = slices.DeleteFunc(f.next, isOut)
	added = slices.DeleteFunc(added, isOut)
	f.stats.Out += n - len(added)
	return added
}

// source returns the id of a source of the record's collection, a new one for a new path.
func (f *Applier) source(r *recordEvent, path string) uint64 {
	id := f.intern(codec.KindSource, r.collection, path)
	f.state.keep.Add(id, r.Collection, path)
	return id
}

// isStorable reports whether a link fits a key: a zero byte would end it early. The extractor makes no others.
func isStorable(l *index.Link) bool {
	return l.Target != "" && len(l.Target) <= link.MaxLen && strings.IndexByte(l.Target, 0) < 0 &&
		len(l.Path) <= maxPath
}

// maxPath is the longest path of a source, in bytes. The extractor's bound is lower.
const maxPath = 4096

// noteInResync notes the record in the open resync of its account.
func (f *Applier) noteInResync(r *recordEvent, resync *resync) {
	switch {
	case resync == nil || f.from.Fill:
	case !resync.isFrom(f.from.Host):
		resync.markSuperseded(string(f.key), r.rev)
	case r.Op != logrow.OpDelete:
		resync.seen[string(f.key)] = struct{}{}
		resync.lastUS = max(resync.lastUS, min(r.TimeUS, f.maxUS)) // an outlier would keep it open until then
	}
}

// logRecord applies the change of a record's links to the index and logs it, with its body.
func (f *Applier) logRecord(r *recordEvent, resync *resync, removed, added []codec.RecordLink) {
	replaced := f.state.Bodies.current(r.before)
	body := f.bodyOf(r.Event)
	row := logrow.Row{Op: r.Op, Actor: r.actor, Collection: r.collection, Rkey: r.rkey, Rev: r.rev, Replaced: replaced}
	if len(removed)+len(added) == 0 {
		if !f.readBodyChanges(r.Event, &body, replaced) {
			f.logSeen(r, resync)
			return
		}
		row.Op = logrow.OpUpdate
		row.BodyOnly = true
	}
	if r.class == classOutOfOrder {
		f.stats.OutOfOrder++
	}
	rev := r.rev
	row.OutOfOrder = r.class == classOutOfOrder
	if f.from.Fill || resync.isRevOf(rev) { // filled events are old, and the rows of a resync may be
		row.OutOfOrder = row.OutOfOrder || rev < f.d.rev(r.actor)
	}
	if row.OutOfOrder {
		rev = f.d.rev(r.actor)
	}
	f.d.setRev(r.actor, rev)
	last := f.seq + logRowsOf(len(removed)+len(added))
	f.change(f.key, r.before, f.next, body.ref(last), r.actor, r.rkey, removed, added)
	f.log(row, removed, added)
	f.keepBody(&body)
}

// logSeen logs that a record came unchanged while its account's repo is replaced: a replay must know that it stays.
func (f *Applier) logSeen(r *recordEvent, resync *resync) {
	if f.from.Fill || resync == nil {
		return
	}
	if len(f.old) > 0 && r.Op != logrow.OpDelete || !resync.isFrom(f.from.Host) {
		f.log(logrow.Row{Op: logrow.OpSeen, Actor: r.actor, Collection: r.collection, Rkey: r.rkey, Rev: r.rev}, nil, nil)
	}
}
