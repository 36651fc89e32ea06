package db

import (
	"database/sql"
	"errors"
	"fmt"
)

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
	if f.repeats(e) && e.StatusUS <= f.since(actor) {
		f.stats.Stale++
		return
	}
	if r := f.s.resyncs[actor]; r != nil {
		f.endResync(actor, r)
	}
	f.rows.status = append(f.rows.status, statusRow{actor, e.Status, e.StatusUS})
	f.log(row{op: OpAccount, actor: actor, status: uint8(old)<<4 | uint8(e.Status)}, nil, nil)
	f.setStatus(actor, old, e.Status)
}

// setStatus hides, shows or purges an account's links. The order by target holds only what is shown, so that no reader
// needs to know of statuses; the order by record keeps what may be shown again.
func (f *fold) setStatus(actor uint64, old, next Status) {
	f.s.setStatus(actor, next)
	if next == StatusDeleted || old == StatusDeleted {
		// What came before the purge, and what was buried after it, must not come back with a repeat: a repo's revisions
		// are times.
		f.d.setRev(actor, max(f.d.rev(actor)+1, uint64(max(f.nowUS, 0))<<10))
	}
	was, is := old == StatusActive, next == StatusActive
	if was == is && next != StatusDeleted {
		return
	}
	f.eachRecord(actor, func(key, value, rkey []byte, links []recordLink) {
		switch {
		case was:
			f.d.linkAll(links, actor, rkey, unlinked)
		case is:
			f.d.linkAll(links, actor, rkey, linked)
		}
		if next == StatusDeleted {
			f.d.setRecord(key, nil, true)
			f.stats.Removed += len(links)
		}
	})
}

// since is when an account's status began, as far as an event has said so; 0 before any did.
func (f *fold) since(actor uint64) int64 {
	for i := len(f.rows.status) - 1; i >= 0; i-- {
		if f.rows.status[i].actor == actor {
			return f.rows.status[i].sinceUS
		}
	}
	var since int64
	err := f.s.writer.QueryRow("SELECT ifnull(since_us, 0) FROM actors WHERE id = ?", int64(actor)).Scan(&since)
	if err != nil && !errors.Is(err, sql.ErrNoRows) { // an account that is new in this batch has no row yet
		f.d.fail(fmt.Errorf("read the status of account %d: %w", actor, err))
	}
	return since
}

// setStatus keeps the statuses of the accounts that are not active.
func (s *Store) setStatus(actor uint64, status Status) {
	if status == StatusActive {
		delete(s.status, actor)
		return
	}
	s.status[actor] = status
}

// eachRecord walks an account's records that have links. The slices are valid for the call only, key and rkey for ever.
func (f *fold) eachRecord(actor uint64, do func(key, value, rkey []byte, links []recordLink)) {
	from, to := recordsOf(actor)
	each := func(key, value []byte) {
		if len(value) == 0 {
			return
		}
		_, _, rkey, err := cutRecordKey(key)
		if err != nil {
			f.d.fail(fmt.Errorf("record key %x: %w", key, err))
			return
		}
		f.old = f.links(f.old[:0], value, rkey)
		do(key, value, rkey, f.old)
	}
	// What this batch has changed goes before what lies below. To make runs of it first would be simpler, and cost as much
	// as the rest of the batch.
	changed := f.d.recordsBetween(from, to)
	next := func() {
		each([]byte(changed[0]), f.d.records[changed[0]])
		changed = changed[1:]
	}
	sc := f.d.base.records.Scan(from, to, false)
	for sc.Next() {
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
}
