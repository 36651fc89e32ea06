package apply

import (
	"database/sql"
	"errors"
	"fmt"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
)

// The order by target holds only links of active accounts, so that no reader needs to know of statuses; the order by
// record keeps what may be shown again. A change of status therefore walks the account's records.

// account applies a change of an account's status.
func (f *Applier) account(e *Event) {
	actor, known := f.actor(e.DID)
	if !known {
		if e.Status == logrow.StatusActive {
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
	if r := f.state.resyncs[actor]; r != nil && r.isFrom(f.from.Host) {
		if !f.endResync(actor, r) {
			return
		}
	} else if r != nil && e.Status == logrow.StatusDeleted {
		f.abortResync(actor, r)
	}
	underWay := f.state.jobs[actor] != nil
	if underWay && old == logrow.StatusDeleted {
		// the caller asks UnfinishedJob first
		f.d.fail(fmt.Errorf("account %d becomes active while its records are being deleted", actor))
		return
	}
	since := f.maxUS
	if f.mayRepeat(e) { // another host may have lost it: its later changes, which come next, are newer
		since = min(e.TimeUS, f.maxUS)
	}
	f.rows.Status = append(f.rows.Status, logrow.StatusRow{Actor: actor, Status: e.Status, SinceUS: since})
	status := uint8(old)<<4 | uint8(e.Status)
	var records []accountRecord
	if !underWay {
		var atOnce bool
		records, atOnce = f.reserveAtOnce(actor)
		if !atOnce {
			status |= jobFlag
			f.jobbed = append(f.jobbed, actor)
		}
	}
	f.log(logrow.Row{Op: logrow.OpAccount, Actor: actor, Status: status}, nil, nil)
	j := f.setStatus(actor, status)
	if j != nil {
		for _, r := range records {
			f.doJob(j, actor, r.key, r.value)
		}
	}
	if underWay {
		f.turnJob(actor)
	}
	if old == logrow.StatusDeleted || e.Status == logrow.StatusDeleted {
		f.history.dedup.young.noteDeleted(actor, deletion{f.d.rev(actor), f.maxUS})
	}
}

// UnfinishedJob returns the account of an event after which it may have records again, while a job still removes its
// old ones: new records could not be distinguished from them. The caller finishes the job first, in commits of their
// own. That costs at most the old records, once.
func (f *Applier) UnfinishedJob(e *Event) (actor uint64, ok bool) {
	if e.Op != logrow.OpAccount || e.Status == logrow.StatusDeleted || len(f.state.jobs) == 0 {
		return 0, false
	}
	actor, known := f.actor(e.DID)
	return actor, known && f.state.jobs[actor] != nil && f.state.status.of(actor) == logrow.StatusDeleted
}

// setStatus does what a log row about an account says. It returns the job that changes the account's records now, or
// nil: no record changes, or a job does it in steps. A job that is running stays as it is: the next row turns it.
func (f *Applier) setStatus(actor uint64, status uint8) (now *job) {
	f.state.status.set(actor, logrow.Status(status&15))
	j := jobOf(status)
	if f.state.jobs[actor] != nil || j == nil {
		return nil
	}
	if status&jobFlag != 0 {
		f.state.setJob(actor, j)
		return nil
	}
	return j
}

// jobOf returns the job that a log row about an account asks for; nil: none.
func jobOf(status uint8) *job {
	old := logrow.Status(status >> 4 & 7)
	next := logrow.Status(status & 15)
	j := &job{was: old == logrow.StatusActive, is: next == logrow.StatusActive, purge: next == logrow.StatusDeleted}
	if j.was == j.is && !j.purge {
		return nil
	}
	return j
}

// Shown reports whether a record's links are in the order by target.
func (s *State) Shown(actor uint64, key []byte) bool {
	if j := s.jobs[actor]; j != nil && j.pending(key) {
		return j.was
	}
	return s.status.of(actor) == logrow.StatusActive
}

// accountRecord is a record of an account whose status changes.
type accountRecord struct{ key, value []byte }

// reserveAtOnce reserves room in this commit to change an account's records at once, and returns those that have links.
// fits is false where the account has more records than the commit has room for: then its status changes by a job. The
// room is for all events of the commit together.
func (f *Applier) reserveAtOnce(actor uint64) (records []accountRecord, fits bool) {
	left := f.state.config.JobRecords - f.immediate
	room := max(stepBytes-f.immediateBytes, 0)
	from, to := codec.AccountRecords(actor)
	n := 0
	seen := 0
	size := 0
	fits = true
	for w := f.walk(actor, from, to, false); fits && w.next(); {
		seen++
		if len(w.value) > 0 {
			n++
			size += len(w.value)
			// Copies: those of the walk would keep their blocks in memory.
			records = append(records, accountRecord{f.d.arena.copy(w.key), f.d.arena.copy(w.value)})
		}
		fits = n <= left && seen <= (left+1)*seenPerRecord && size <= room
	}
	// To look at records counts like changing them: there may be as many events of accounts with too many records.
	f.immediate = min(f.immediate+n+seen/seenPerRecord, f.state.config.JobRecords)
	f.immediateBytes += size
	return records, fits
}

// readStatusSince reads the newest time of any event when an account's status last changed; 0: it never did. An older
// event that the upstream sends again is superseded. The time is the upstream's: an account's own clock may be wrong.
func (f *Applier) readStatusSince(actor uint64) int64 {
	for i := len(f.rows.Status) - 1; i >= 0; i-- {
		if f.rows.Status[i].Actor == actor {
			return f.rows.Status[i].SinceUS
		}
	}
	var since int64
	err := f.history.beside.QueryRow("SELECT ifnull(since_us, 0) FROM actors WHERE id = ?", int64(actor)).Scan(&since)
	if err != nil && !errors.Is(err, sql.ErrNoRows) { // an account that is new in this batch has no row yet
		f.d.fail(fmt.Errorf("read the status of account %d: %w", actor, err))
	}
	return since
}
