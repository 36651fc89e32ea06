package apply

import (
	"bytes"
	"database/sql"
	"fmt"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
)

// job is a change of status of an account with many records. It walks the records a step at a time, beside the events:
// up in the order by record, or down again where the account changes its status back, over the records that it has
// changed. So at any moment one key divides the changed records from the others, however often the account changes its
// status, and a turn costs nothing.
type job struct {
	was, is   bool   // shown before, shown after
	purge     bool   // the records go too
	down      bool   // from the last record to the first
	thenPurge bool   // behind it comes a job that purges
	after     []byte // records up to this key are done, or, on the way down, are left; nil: none
}

// jobFlag marks the log row of a change of status that a job does.
const jobFlag = 1 << 7

const (
	// DefaultJobRecords is how many records of an account change in one step: with a link or two each, a step is no
	// larger than a batch of events is.
	DefaultJobRecords = 2000
	// stepBytes ends a step too, for a record may have a thousand links: as delta.bytes counts, ten times what 2,000
	// records of one link take.
	stepBytes = 4 << 20
	// seenPerRecord is the number of deleted keys that cost as much to skip as one record costs to change, an estimate. A
	// step counts the keys that it skips.
	seenPerRecord = 8
)

// bits of the column purge of sealed_jobs. An older weft takes 0 and 1 only, and refuses the others.
const (
	sealedPurge = 1 << iota
	sealedDown
	sealedThenPurge
)

// pending reports whether a job has not reached a record yet.
func (j *job) pending(key []byte) bool {
	upTo := j.after != nil && bytes.Compare(key, j.after) <= 0
	return upTo == j.down
}

// purged reports whether a job has removed the record of a key.
func (j *job) purged(key []byte) bool { return !j.thenPurge && !(j.purge && j.pending(key)) }

// turned returns the job after a change of its account's status, which was not deleted: j itself where nothing changes,
// nil where nothing is left to do.
func (j *job) turned(to logrow.Status) *job {
	is := to == logrow.StatusActive
	deleted := to == logrow.StatusDeleted
	switch {
	case deleted && j.after == nil:
		return &job{was: j.was, purge: true}
	case deleted && !j.is:
		// A second key would tell which records are gone and hidden, which hidden and which shown. So all are hidden
		// first.
		next := *j
		next.thenPurge = true
		return &next
	case is == j.is:
		return j
	case j.after == nil:
		return nil
	}
	return &job{was: j.is, is: j.was, down: !j.down, thenPurge: deleted, after: j.after}
}

// setJob replaces an account's job; nil: it has none any more.
func (s *State) setJob(actor uint64, j *job) {
	if j == nil {
		delete(s.jobs, actor)
		return
	}
	s.jobs[actor] = j // never changed: a seal may hold it
}

// turnJob turns an account's job after a change of the account's status.
func (f *Applier) turnJob(actor uint64) {
	j := f.state.jobs[actor]
	next := j.turned(f.state.status.of(actor))
	if next == j {
		return
	}
	f.state.setJob(actor, next)
	f.log(logrow.Row{Op: logrow.OpTurn, Actor: actor}, nil, nil)
	f.jobbed = append(f.jobbed, actor)
}

// doJob changes one record.
func (f *Applier) doJob(j *job, actor uint64, key, value []byte) {
	rkey, links := f.decoded(key, value)
	switch {
	case j.was && !j.is:
		f.d.linkAll(links, actor, rkey, codec.Unlinked)
	case j.is && !j.was:
		f.d.linkAll(links, actor, rkey, codec.Linked)
	}
	if j.purge {
		f.d.setRecord(actor, key, nil, true)
		f.purgeBody(value)
		f.stats.Removed += len(links)
	}
}

// span returns the range of keys that a job has not come to yet.
func (j *job) span(actor uint64) (from, to []byte) {
	from, to = codec.AccountRecords(actor)
	switch {
	case j.after == nil:
	case j.down:
		to = successor(j.after)
	default:
		from = successor(j.after)
	}
	return from, to
}

// successor returns the first key after a key.
func successor(key []byte) []byte { return append(bytes.Clone(key), 0) }

// StepJob changes the next records of a job, and ends it after the last.
func (f *Applier) StepJob(actor uint64) {
	j := f.state.jobs[actor]
	from, to := j.span(actor)
	limit := f.state.config.JobRecords
	full := f.d.bytes + stepBytes
	var upTo []byte
	n := 0
	seen := 0
	more := false
	w := f.walk(actor, from, to, j.down)
	for w.next() {
		if n == limit || seen == limit*seenPerRecord || n > 0 && f.d.bytes >= full {
			more = true
			if j.down {
				upTo = w.key
			}
			break
		}
		seen++
		if !j.down {
			upTo = w.key
		}
		if len(w.value) == 0 {
			continue
		}
		n++
		f.doJob(j, actor, w.key, w.value)
	}
	r := logrow.Row{Op: logrow.OpJob, Actor: actor}
	if more {
		_, r.Collection, r.Rkey, _ = codec.DecodeRecordKey(upTo)
	} else {
		upTo = nil
	}
	f.state.stepped(actor, upTo)
	f.log(r, nil, nil)
}

// stepped moves a job to the end of a step; nil ends it.
func (s *State) stepped(actor uint64, upTo []byte) {
	next := *s.jobs[actor]
	next.after = bytes.Clone(upTo)
	switch {
	case upTo != nil:
		s.setJob(actor, &next)
	case next.thenPurge:
		s.setJob(actor, &job{purge: true})
	default:
		s.setJob(actor, nil)
	}
}

// replayJob repeats a step of a job.
func (f *Applier) replayJob(r *logrow.Row) error {
	j := f.state.jobs[r.Actor]
	if j == nil {
		return fmt.Errorf("account %d has no job under way", r.Actor)
	}
	from, to := j.span(r.Actor)
	var upTo []byte
	if r.Rkey != nil {
		upTo = codec.RecordKey(nil, r.Actor, r.Collection, r.Rkey)
		if j.down {
			from = successor(upTo)
		} else {
			to = successor(upTo)
		}
	}
	w := f.walk(r.Actor, from, to, j.down)
	for w.next() {
		if len(w.value) > 0 {
			f.doJob(j, r.Actor, w.key, w.value)
		}
	}
	f.state.stepped(r.Actor, upTo)
	return nil
}

// replayTurn repeats a turn of a job.
func (f *Applier) replayTurn(r *logrow.Row) error {
	j := f.state.jobs[r.Actor]
	if j == nil || j.purge || j.thenPurge {
		return fmt.Errorf("account %d has no job under way that turns", r.Actor)
	}
	f.state.setJob(r.Actor, j.turned(f.state.status.of(r.Actor)))
	return nil
}

// sealed returns the column purge of sealed_jobs.
func (j *job) sealed() (purge uint8) {
	for bit, set := range map[uint8]bool{sealedPurge: j.purge, sealedDown: j.down, sealedThenPurge: j.thenPurge} {
		if set {
			purge |= bit
		}
	}
	return purge
}

// SealedJobs are the jobs under way at a seal, by account. The manifest has them as of the newest segment.
type SealedJobs map[uint64]*job

// Write replaces the jobs of the manifest.
func (js SealedJobs) Write(tx *sql.Tx) error {
	if _, err := tx.Exec("DELETE FROM sealed_jobs"); err != nil {
		return err
	}
	for actor, j := range js {
		if _, err := tx.Exec("INSERT INTO sealed_jobs (actor, was, now, purge, after) VALUES (?, ?, ?, ?, ?)",
			int64(actor), j.was, j.is, j.sealed(), j.after); err != nil {
			return err
		}
	}
	return nil
}
