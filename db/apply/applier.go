// Package apply turns events into changes of the index and log rows, and replays the log rows into the same changes. An
// Applier applies the events of one commit. State is what an Applier needs and the snapshot lacks; a replay rebuilds
// it. The package writes one table, sealed_jobs: package db commits what an Applier returns.
package apply

import (
	"fmt"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/link"
)

// Applier turns events into a delta of the index and the log rows that record it. Each event is
// applied to the state that all events before it left, and applying one twice changes nothing. A replay of the log uses
// an applier too: it repeats what the log rows decided. An applier lasts for one commit; the state and the history
// outlive it.
type Applier struct {
	state   *State
	history *History // nil at a replay, which decides nothing
	d       *delta
	rows    Rows
	seq     uint64 // the newest log row
	nowUS   int64  // time of the present event
	maxUS   int64  // the newest time of any event so far

	from     Origin
	high     uint64   // events up to here may be repeats
	beforeUS int64    // maxUS before the present event
	latestUS int64    // later times are wrong, and don't change maxUS; 0: no limit
	unended  bool     // the end of a resync left records for the next part of the batch
	jobbed   []uint64 // accounts whose status a job changes, or another job changes now
	stats    Counts
	total    Counts // of the parts of the batch before this one

	immediate      int // records that changes of status have changed in this commit
	immediateBytes int // bytes of their links

	old, next, removed, added []codec.RecordLink // scratch
	key, val                  []byte             // scratch
}

// Origin says where the events of a batch come from, and which of them may be repeats. The zero origin is that of
// changes that no upstream has sent.
type Origin struct {
	Host       string // the upstream of the events
	High       uint64 // events up to here may be repeats
	OtherHosts bool   // other hosts were followed before: any event may be a repeat
	Gaps       []Span // the host's gaps: events there are the filler's, also when the host sends them again
	Fill       bool   // the events are old, each is the last of its record, and the newest time of any event stays
	TimeUS     int64  // time of log rows before the first event, in microseconds since 1970
	ClockUS    int64  // our clock, by which an event's time may be implausible; 0: every time is plausible
}

// Span is a span of an upstream's numbers.
type Span struct {
	From uint64 // inclusive
	To   uint64 // inclusive
}

// New returns an applier of the changes after a snapshot. h is nil for a replay.
func New(st *State, h *History, base *index.Snapshot, from Origin) *Applier {
	f := &Applier{state: st, history: h, from: from, high: from.High, nowUS: from.TimeUS, d: newDelta(base), seq: base.Seq,
		maxUS: base.MaxUS}
	if from.ClockUS != 0 {
		f.latestUS = LatestTime(from.ClockUS, base.MaxUS)
	}
	return f
}

// Next returns the applier of the next part of a batch, after the commit that made base. It takes over the memory of
// this one's changes.
func (f *Applier) Next(base *index.Snapshot) *Applier {
	next := New(f.state, f.history, base, f.from)
	next.high = f.high
	next.nowUS = f.nowUS
	next.latestUS = f.latestUS
	if !f.from.Fill {
		next.maxUS = max(f.maxUS, next.maxUS)
	}
	next.Reuse(f.Buffers())
	next.total = f.total
	next.total.add(f.stats)
	return next
}

// Rows returns the rows that the commit writes.
func (f *Applier) Rows() *Rows { return &f.rows }

// Err returns the first fault in our own data; nil: none. After one nothing may be committed.
func (f *Applier) Err() error { return f.d.err }

// Counts returns the counts of this part of the batch.
func (f *Applier) Counts() Counts { return f.stats }

// Totals returns the counts of this part of the batch and of those before it.
func (f *Applier) Totals() Counts {
	total := f.total
	total.add(f.stats)
	return total
}

// Full reports whether the changes are so large that they should be committed before the next event.
func (f *Applier) Full() bool { return f.d.bytes >= CommitBytes }

// MaxUS returns the newest time of any event so far, in microseconds since 1970.
func (f *Applier) MaxUS() int64 {
	if f.from.Fill {
		return f.d.base.MaxUS
	}
	return f.maxUS
}

// High returns the number up to which an event of the upstream may be a repeat from now on.
func (f *Applier) High() uint64 { return f.high }

// ChangedJobs returns the accounts whose status a job changes, or another job changes now.
func (f *Applier) ChangedJobs() []uint64 { return f.jobbed }

// PushRuns makes runs in memory of the changes. It may run while the rows are written.
func (f *Applier) PushRuns() { f.d.pushRuns() }

// Snapshot returns the snapshot with the changes, after PushRuns.
func (f *Applier) Snapshot() *index.Snapshot {
	next := f.d.base
	next.Seq = f.seq
	next.Actors = f.state.next[codec.KindDID]
	next.Hiding = f.state.hiding()
	next.Horizons = f.state.Horizons()
	next.Jobs = len(f.state.jobs)
	next.MaxUS = max(next.MaxUS, f.MaxUS())
	return next
}

// CommitBytes bounds the changes of a part of a batch, as delta.bytes counts them: some 80,000 links. Beyond it the
// part is committed, so that neither the memory nor the time of a batch depends on what its events mean. A batch of
// 1,000 events changes a thirtieth of it.
const CommitBytes = 16 << 20

// outlierUS is how far an event may be ahead of our clock. Clocks of servers differ by minutes; one event that is dated
// a day ahead must not make all others seem old.
const outlierUS = 3600 * 1_000_000

// wrongClockUS is how far our clock may be behind the newest event: beyond it our clock is wrong.
const wrongClockUS = 48 * outlierUS

// LatestTime returns the latest time that is plausible, by our clock and the newest time so far; 0: no limit.
func LatestTime(nowUS, newestUS int64) int64 {
	if newestUS == 0 || nowUS < newestUS-wrongClockUS {
		return 0
	}
	return nowUS + outlierUS
}

// AdvanceTime sets the time of the present event.
func (f *Applier) AdvanceTime(us int64) {
	f.nowUS = us
	if !f.isOutlier(us) {
		f.maxUS = max(f.maxUS, us)
	}
}

func (f *Applier) isOutlier(us int64) bool { return f.latestUS > 0 && us > f.latestUS }

// Apply applies one event. It returns false where the event ends a resync and the end takes another commit first:
// nothing of the event is applied then, and the next part of the batch applies it again.
func (f *Applier) Apply(e *Event) (applied bool) {
	f.beforeUS = f.maxUS
	f.d.prefetched.next(e)
	f.AdvanceTime(e.TimeUS)
	f.dispatch(e)
	if f.unended {
		f.maxUS = f.beforeUS
		return false
	}
	f.stats.Events++
	f.high = max(f.high, e.Seq) // an event that comes again within a batch is a repeat too
	return true
}

// dispatch applies one event by its operation.
func (f *Applier) dispatch(e *Event) {
	if !link.ValidDID(e.DID) {
		f.stats.Invalid++
		return
	}
	if f.isOfGap(e) {
		f.stats.Stale++
		return
	}
	switch e.Op {
	case logrow.OpCreate, logrow.OpUpdate, logrow.OpDelete:
		f.record(e)
	case logrow.OpAccount:
		if e.Status > logrow.StatusInactive {
			f.stats.Invalid++
			return
		}
		f.account(e)
	case logrow.OpSync:
		f.sync(e)
	default:
		f.stats.Invalid++
	}
}

// mayRepeat reports whether an event may have been applied before.
func (f *Applier) mayRepeat(e *Event) bool {
	return !f.from.Fill && (f.from.OtherHosts || e.Seq <= f.high)
}

// isOfGap reports whether an event comes again that lies in a gap. It was not applied in its turn: later events of its
// account were, and an event that changes nothing leaves no trace. So what it changes now could be undone by none of
// them: a change of status, for example, is newer than a later one that the index took for no change. The filler knows
// all events after the gap.
func (f *Applier) isOfGap(e *Event) bool {
	if e.Seq > f.high {
		return false
	}
	for _, gap := range f.from.Gaps {
		if e.Seq >= gap.From && e.Seq <= gap.To {
			return true
		}
	}
	return false
}

// links decodes a record's value.
func (f *Applier) links(dst []codec.RecordLink, value, rkey []byte) []codec.RecordLink {
	links, err := codec.DecodeLinks(dst, value, rkey)
	if err != nil {
		f.d.fail(fmt.Errorf("links of the record %x: %w", rkey, err))
	}
	return links
}

// change replaces the links of a record, by record and by target. body is the log row of its body; 0: none.
func (f *Applier) change(key, before []byte, next []codec.RecordLink, body, actor uint64, rkey []byte, removed,
	added []codec.RecordLink) {
	f.val = codec.AppendBodyRef(codec.AppendLinks(f.val[:0], next), body)
	f.d.setRecord(actor, key, f.val, len(before) > 0)
	f.stats.Added += len(added)
	f.stats.Removed += len(removed)
	if f.state.Shown(actor, key) {
		f.d.linkAll(removed, actor, rkey, codec.Unlinked)
		f.d.linkAll(added, actor, rkey, codec.Linked)
	}
}

// log appends a row with the links that it removed and added. More than MaxRowLinks take several rows, each a change by
// itself: updates before a delete, and after a create. The last row brings the body, and ends the body before it.
//
// A rewritten record keeps its body. A row that leaves it without links would end the body at a replay: the last
// removal comes with the last row.
func (f *Applier) log(r logrow.Row, removed, added []codec.RecordLink) {
	kept := 0
	if r.Op == logrow.OpRewritten && len(added) > 0 {
		kept = min(len(removed), 1)
	}
	for n := logRowsOf(len(removed) + len(added)); n > 1; n-- {
		part := r
		part.Replaced = 0
		if r.Op == logrow.OpDelete {
			part.Op = logrow.OpUpdate
		}
		gone := min(len(removed)-kept, logrow.MaxRowLinks)
		come := min(len(added), logrow.MaxRowLinks-gone)
		f.logRow(part, removed[:gone], added[:come])
		removed = removed[gone:]
		added = added[come:]
		if r.Op == logrow.OpCreate {
			r.Op = logrow.OpUpdate
		}
	}
	f.logRow(r, removed, added)
}

// logRowsOf returns the number of log rows of a change of so many links.
func logRowsOf(links int) uint64 { return uint64(max(links-1, 0)/logrow.MaxRowLinks) + 1 }

func (f *Applier) logRow(r logrow.Row, removed, added []codec.RecordLink) {
	f.seq++
	f.stats.Changed++
	r.Seq = f.seq
	r.TimeUS = f.nowUS
	f.rows.add(r, removed, added)
}
