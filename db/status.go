package db

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
)

// The order by target holds only links of active accounts, so that no reader needs to know of statuses; the order by
// record keeps what may be shown again. A change of status therefore walks the account's records.

// account folds a change of an account's status.
func (f *applier) account(e *Event) {
	actor, known := f.actor(e.DID)
	if !known {
		if e.Status == StatusActive {
			return
		}
		// An account that we know nothing of yet is entered all the same: its records may come late.
		actor = f.intern('d', 0, e.DID)
	}
	old := f.state.status.of(actor)
	if e.Status == old {
		return
	}
	if f.mayRepeat(e) && f.readStatusIsNewer(e, actor) {
		f.stats.Stale++
		return
	}
	if r := f.state.resyncs[actor]; r != nil && r.isFrom(f.host) {
		if !f.endResync(actor, r) {
			return
		}
	} else if r != nil && e.Status == StatusDeleted {
		f.abortResync(actor, r)
	}
	underWay := f.state.jobs[actor] != nil
	if underWay && old == StatusDeleted {
		f.d.fail(fmt.Errorf("account %d becomes active while its records are being deleted", actor)) // unfinished has told
		return
	}
	f.rows.status = append(f.rows.status, statusRow{actor, e.Status, f.maxUS})
	status := uint8(old)<<4 | uint8(e.Status)
	if !underWay && !f.reserveAtOnce(actor) {
		status |= jobFlag
		f.jobbed = append(f.jobbed, actor)
	}
	f.log(row{op: OpAccount, actor: actor, status: status}, nil, nil)
	f.setStatus(actor, status)
	if underWay {
		f.turnJob(actor)
	}
	if old == StatusDeleted || e.Status == StatusDeleted {
		f.history.dedup.young.noteDeleted(actor, deletion{f.d.rev(actor), f.maxUS})
	}
}

// unfinished is the account of an event after which it may have records again, while a job still removes those that it
// had: new ones could not be told from them. Whoever folds the event brings the job to its end first, in steps that are
// commits of their own. That costs no more than the records that there were, once.
func (f *applier) unfinished(e *Event) (actor uint64, ok bool) {
	if e.Op != OpAccount || e.Status == StatusDeleted || len(f.state.jobs) == 0 {
		return 0, false
	}
	actor, known := f.actor(e.DID)
	return actor, known && f.state.jobs[actor] != nil && f.state.status.of(actor) == StatusDeleted
}

// setStatus does what a log row about an account says: at once, or by a job. One that is under way stays as it is: the
// row that follows turns it.
func (f *applier) setStatus(actor uint64, status uint8) {
	f.state.status.set(actor, Status(status&15))
	j := jobOf(status)
	if f.state.jobs[actor] != nil || j == nil {
		return
	}
	if status&jobFlag != 0 {
		f.state.setJob(actor, j)
		return
	}
	f.eachRecord(actor, func(key, value, rkey []byte, links []codec.RecordLink) { f.doJob(j, actor, key, value, rkey, links) })
}

// jobOf is what a log row about an account asks for; nil: nothing.
func jobOf(status uint8) *job {
	old, next := Status(status>>4&7), Status(status&15)
	j := &job{was: old == StatusActive, is: next == StatusActive, purge: next == StatusDeleted}
	if j.was == j.is && !j.purge {
		return nil
	}
	return j
}

// shown says whether a record's links are in the order by target.
func (s *state) shown(actor uint64, key []byte) bool {
	if j := s.jobs[actor]; j != nil && j.left(key) {
		return j.was
	}
	return s.status.of(actor) == StatusActive
}

// reserveAtOnce reserves room in this commit to change an account's records at once. It returns false where the account has more
// records than the commit has room for: then its status changes by a job. The room is for all events of the commit together.
func (f *applier) reserveAtOnce(actor uint64) bool {
	left := f.state.config.JobRecords - f.immediate
	room := max(stepBytes-f.immediateBytes, 0)
	from, to := codec.AccountRecords(actor)
	n, seen, size := 0, 0, 0
	fits := true
	for w := f.walk(actor, from, to, false); fits && w.next(); {
		seen++
		if len(w.value) > 0 {
			n++
			size += len(w.value)
		}
		fits = n <= left && seen <= (left+1)*seenPerRecord && size <= room
	}
	// To look at records counts like changing them: there may be as many events of accounts with too many records.
	f.immediate = min(f.immediate+n+seen/seenPerRecord, f.state.config.JobRecords)
	f.immediateBytes += size
	return fits
}

// readStatusSince is the newest time of any event when an account's status last changed, 0 when it never did: what the upstream saw
// before, and sends again, is overtaken. It is the upstream's clock, for an account's own may be wrong.
func (f *applier) readStatusSince(actor uint64) int64 {
	for i := len(f.rows.status) - 1; i >= 0; i-- {
		if f.rows.status[i].actor == actor {
			return f.rows.status[i].sinceUS
		}
	}
	var since int64
	err := f.history.beside.QueryRow("SELECT ifnull(since_us, 0) FROM actors WHERE id = ?", int64(actor)).Scan(&since)
	if err != nil && !errors.Is(err, sql.ErrNoRows) { // an account that is new in this batch has no row yet
		f.d.fail(fmt.Errorf("read the status of account %d: %w", actor, err))
	}
	return since
}

// recordWalk is a walk over an account's records, those that are gone too: they have no value.
//
//	w := f.walk(actor, from, to, false)
//	for w.next() {
//		use(w.key, w.value)
//	}
type recordWalk struct {
	d          *delta
	below      *lsm.MergingIterator
	more       bool     // below stands at an entry,
	taken      bool     // which was given
	changed    []string // keys that this batch has changed: what they have goes before what lies below
	reverse    bool
	key, value []byte // the key stays as it is
}

// walk begins a walk over an account's records with from <= key < to.
func (f *applier) walk(actor uint64, from, to []byte, reverse bool) *recordWalk {
	// To make runs of what this batch has changed first would be simpler, and cost as much as the rest of the batch.
	w := &recordWalk{d: f.d, changed: f.d.recordsBetween(actor, from, to), reverse: reverse, taken: true}
	if reverse {
		slices.Reverse(w.changed)
	}
	w.below = f.d.base.records.ScanWithTombstones(from, to, reverse)
	return w
}

// next goes to the next record and says whether there is one. A fault ends the walk, and is the delta's.
func (w *recordWalk) next() bool {
	if w.taken {
		w.more, w.taken = w.below.Next(), false
		if !w.more {
			w.d.fail(w.below.Err())
		}
	}
	first := -1 // the next that was changed comes before the next below
	switch {
	case len(w.changed) == 0 && !w.more || w.d.err != nil:
		return false
	case len(w.changed) == 0:
		first = 1
	case w.more:
		if first = cmp.Compare(w.changed[0], string(w.below.Key())); w.reverse {
			first = -first
		}
	}
	if w.taken = w.more && first >= 0; first > 0 {
		w.key, w.value = w.below.Key(), w.below.Value()
		return true
	}
	w.key, w.value = []byte(w.changed[0]), w.d.records[w.changed[0]]
	w.changed = w.changed[1:]
	return true
}

// walked decodes where a walk stands. The links are valid until the next.
func (f *applier) walked(w *recordWalk) (rkey []byte, links []codec.RecordLink) {
	_, _, rkey, err := codec.DecodeRecordKey(w.key)
	if err != nil {
		f.d.fail(fmt.Errorf("record key %x: %w", w.key, err))
		return nil, nil
	}
	f.old = f.links(f.old[:0], w.value, rkey)
	return rkey, f.old
}

// eachRecord walks an account's records that have links. The links are valid for the call only, the rest for ever.
func (f *applier) eachRecord(actor uint64, do func(key, value, rkey []byte, links []codec.RecordLink)) {
	from, to := codec.AccountRecords(actor)
	for w := f.walk(actor, from, to, false); w.next(); {
		if len(w.value) > 0 {
			rkey, links := f.walked(w)
			do(w.key, w.value, rkey, links)
		}
	}
}
