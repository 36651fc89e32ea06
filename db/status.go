package db

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
)

// The order by target holds only links of active accounts, so that no reader needs to know of statuses; the order by
// record keeps what may be shown again. A change of status therefore walks the account's records.

// job is a change of status of an account with many records: it goes through them a step at a time, beside the events.
type job struct {
	was, is bool   // shown before, shown after
	purge   bool   // the records go too
	after   []byte // key of the last record that is done; nil: none yet
}

// jobFlag marks the log row of a change of status that is done by a job.
const jobFlag = 1 << 7

// defaultJobRecords is how many records of an account change in one step: with a link or two each, a step is no larger
// than a batch of events is.
const defaultJobRecords = 2000

// account folds a change of an account's status.
func (f *fold) account(e *Event) {
	actor, known := f.actor(e.DID)
	if !known {
		if e.Status == StatusActive {
			return
		}
		// An account that we know nothing of yet is entered all the same: its records may come late.
		actor = f.intern('d', 0, e.DID)
	}
	old := f.s.status[actor]
	if e.Status == old {
		return
	}
	if f.repeats(e) && f.beforeStatus(e, actor) {
		f.stats.Stale++
		return
	}
	if r := f.s.resyncs[actor]; r != nil && r.of(f.host) {
		f.endResync(actor, r)
	} else if r != nil && e.Status == StatusDeleted {
		f.cutResync(actor, r)
	}
	for f.s.jobs[actor] != nil { // one that changes its mind is brought to an end first
		f.stepJob(actor)
	}
	f.rows.status = append(f.rows.status, statusRow{actor, e.Status, f.maxUS})
	status := uint8(old)<<4 | uint8(e.Status)
	if f.hasMany(actor) {
		status |= jobFlag
	}
	f.log(row{op: OpAccount, actor: actor, status: status}, nil, nil)
	f.setStatus(actor, status)
	if old == StatusDeleted || e.Status == StatusDeleted {
		f.w.recent.young.noteDeleted(actor, deletion{f.d.rev(actor), f.maxUS})
	}
}

// setStatus does what a log row about an account says: at once, or by a job.
func (f *fold) setStatus(actor uint64, status uint8) {
	f.s.setStatus(actor, Status(status&15))
	j := jobOf(status)
	if j == nil {
		return
	}
	if status&jobFlag != 0 {
		f.s.jobs[actor] = j
		return
	}
	f.eachRecord(actor, nil, -1, func(key, value, rkey []byte, links []recordLink) { f.doJob(j, actor, key, value, rkey, links) })
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

// doJob changes one record.
func (f *fold) doJob(j *job, actor uint64, key, value, rkey []byte, links []recordLink) {
	switch {
	case j.was && !j.is:
		f.d.linkAll(links, actor, rkey, unlinked)
	case j.is && !j.was:
		f.d.linkAll(links, actor, rkey, linked)
	}
	if j.purge {
		f.d.setRecord(actor, key, nil, true)
		f.purgeBody(value)
		f.stats.Removed += len(links)
	}
}

// stepJob changes the next records of a job, and ends it behind the last.
func (f *fold) stepJob(actor uint64) {
	j := f.s.jobs[actor]
	last := j.after
	n := f.eachRecord(actor, j.after, f.s.cfg.JobRecords, func(key, value, rkey []byte, links []recordLink) {
		f.doJob(j, actor, key, value, rkey, links)
		last = key
	})
	r := row{op: opJob, actor: actor}
	if n < f.s.cfg.JobRecords {
		delete(f.s.jobs, actor)
	} else {
		f.s.jobs[actor] = &job{j.was, j.is, j.purge, last} // a new one: a seal may hold the old
		_, r.collection, r.rkey, _ = cutRecordKey(last)
	}
	f.log(r, nil, nil)
}

// shown says whether a record's links are in the order by target.
func (f *fold) shown(actor uint64, key []byte) bool {
	if j := f.s.jobs[actor]; j != nil && (j.after == nil || bytes.Compare(key, j.after) > 0) {
		return j.was
	}
	return f.s.status[actor] == StatusActive
}

// hasMany says whether an account has more records than one step changes.
func (f *fold) hasMany(actor uint64) bool {
	n := f.eachRecord(actor, nil, f.s.cfg.JobRecords+1, func(_, _, _ []byte, _ []recordLink) {})
	return n > f.s.cfg.JobRecords
}

// since is the newest time of any event when an account's status last changed, 0 when it never did: what the upstream saw
// before, and sends again, is overtaken. It is the upstream's clock, for an account's own may be wrong.
func (f *fold) since(actor uint64) int64 {
	for i := len(f.rows.status) - 1; i >= 0; i-- {
		if f.rows.status[i].actor == actor {
			return f.rows.status[i].sinceUS
		}
	}
	var since int64
	err := f.w.beside.QueryRow("SELECT ifnull(since_us, 0) FROM actors WHERE id = ?", int64(actor)).Scan(&since)
	if err != nil && !errors.Is(err, sql.ErrNoRows) { // an account that is new in this batch has no row yet
		f.d.fail(fmt.Errorf("read the status of account %d: %w", actor, err))
	}
	return since
}

// setStatus keeps the statuses of the accounts that are not active.
func (s *Index) setStatus(actor uint64, status Status) {
	if status == StatusActive {
		delete(s.status, actor)
		return
	}
	s.status[actor] = status
}

// eachRecord walks an account's records that have links, behind the key after when it is not nil, limit at most when it
// is not negative, and returns how many there were. The links are valid for the call only, the rest for ever.
func (f *fold) eachRecord(actor uint64, after []byte, limit int, do func(key, value, rkey []byte, links []recordLink)) (n int) {
	from, to := recordsOf(actor)
	if after != nil {
		from = append(bytes.Clone(after), 0)
	}
	each := func(key, value []byte) {
		if len(value) == 0 || n == limit {
			return
		}
		_, _, rkey, err := cutRecordKey(key)
		if err != nil {
			f.d.fail(fmt.Errorf("record key %x: %w", key, err))
			return
		}
		n++
		f.old = f.links(f.old[:0], value, rkey)
		do(key, value, rkey, f.old)
	}
	// What this batch has changed goes before what lies below. To make runs of it first would be simpler, and cost as much
	// as the rest of the batch.
	changed := f.d.recordsBetween(actor, from, to)
	next := func() {
		each([]byte(changed[0]), f.d.records[changed[0]])
		changed = changed[1:]
	}
	sc := f.d.base.records.Scan(from, to, false)
	for n != limit && sc.Next() {
		for len(changed) > 0 && changed[0] < string(sc.Key()) {
			next()
		}
		if len(changed) > 0 && changed[0] == string(sc.Key()) {
			next()
		} else {
			each(sc.Key(), sc.Value())
		}
	}
	f.d.fail(sc.Err())
	for len(changed) > 0 {
		next()
	}
	return n
}
