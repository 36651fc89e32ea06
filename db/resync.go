package db

import "weft.dev/weft/link"

// resyncIdleUS ends a resync whose account then falls silent: so long after its last row, in the upstream's time, no
// more of it is expected. Jetstream writes a resync's rows in one go, so a minute is ample; were it too short, the rows
// that follow would still put their records back.
const resyncIdleUS = 60 * 1_000_000

// resync is the replacement of an account's records: what follows a sync with its revision is the whole repo.
type resync struct {
	rev    uint64
	seen   map[string]struct{} // keys of the records that followed
	lastUS int64               // time of the newest of them
	since  uint64              // log row of the sync
	begun  bool                // a record has followed
}

// sync opens a resync: the account's whole repo follows.
func (f *fold) sync(e *Event) {
	rev, ok := link.ParseTID(e.Rev)
	if !ok {
		f.stats.Invalid++
		return
	}
	actor, known := f.actor(e.DID)
	if !known {
		return // nothing to replace
	}
	if f.s.status[actor] == StatusDeleted {
		f.stats.Buried++
		return
	}
	if f.stale(e, actor, rev) {
		f.stats.Stale++
		return
	}
	if r := f.s.resyncs[actor]; r != nil {
		if r.rev == rev {
			return // it comes again; what it has seen stays seen
		}
		f.endResync(actor, r)
	}
	f.openResync(actor, rev)
}

// follows takes an event of an account whose repo is being replaced: it is a row of the resync, or ends it. It is false
// for one from before the sync: what follows the sync has its record, or the record is gone.
func (f *fold) follows(r *resync, e *Event, actor, rev uint64) bool {
	switch {
	case rev < r.rev:
		return false
	case rev > r.rev && (r.begun || e.Op != OpCreate || e.TimeUS-r.lastUS > resyncIdleUS):
		f.endResync(actor, r)
		return true
	case rev > r.rev: // the repo was fetched after the sync, and had moved on
		f.openResync(actor, rev)
		r = f.s.resyncs[actor]
	}
	if !r.begun {
		r.begun = true
		f.log(row{op: opBegun, actor: actor, rev: rev}, nil, nil)
	}
	return true
}

// openResync expects the account's whole repo, as creates with this revision.
func (f *fold) openResync(actor, rev uint64) {
	f.d.setRev(actor, rev)
	f.log(row{op: OpSync, actor: actor, rev: rev}, nil, nil)
	f.s.resyncs[actor] = &resync{rev: rev, seen: map[string]struct{}{}, lastUS: f.nowUS, since: f.seq}
	f.rows.resyncs = append(f.rows.resyncs, resyncRow{actor, rev, f.seq})
}

// endResync removes the records that did not follow the sync.
func (f *fold) endResync(actor uint64, r *resync) {
	delete(f.s.resyncs, actor)
	f.rows.resyncs = append(f.rows.resyncs, resyncRow{actor: actor})
	f.eachRecord(actor, nil, -1, func(key, value, rkey []byte, links []recordLink) {
		if _, ok := r.seen[string(key)]; ok {
			return
		}
		_, collection, _, _ := cutRecordKey(key)
		f.change(key, value, nil, 0, actor, rkey, links, nil)
		f.log(row{op: OpDelete, actor: actor, collection: collection, rkey: rkey, rev: r.rev, was: f.s.bodies.current(value)}, links, nil)
	})
	f.d.setRev(actor, r.rev)
	f.log(row{op: opSynced, actor: actor, rev: r.rev}, nil, nil)
}

// endIdleResyncs ends the resyncs of accounts that have fallen silent.
func (f *fold) endIdleResyncs() {
	for actor, r := range f.s.resyncs {
		if f.nowUS-r.lastUS > resyncIdleUS {
			f.endResync(actor, r)
		}
	}
}
