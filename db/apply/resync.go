package apply

import (
	"database/sql"
	"errors"
	"fmt"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/link"
)

const (
	// resyncIdleUS ends a resync whose account then falls silent: so long after its last row, in the upstream's time,
	// no more of it is expected. Jetstream writes a resync's rows in one go, so a minute is ample; were it too short,
	// the rows that follow would still put their records back.
	resyncIdleUS = 60 * 1_000_000

	// resyncAbortUS breaks a resync off whose upstream isn't followed any more: another one's events neither go on with
	// it nor end it, and while it is open the log keeps its rows.
	resyncAbortUS = 24 * 3600 * 1_000_000
)

// resync is the replacement of an account's records: the events after a sync with its revision, from the same upstream,
// are the whole repo.
type resync struct {
	rev    uint64
	host   string              // the upstream whose sync it was; empty: unknown, and then any
	synced uint64              // the sync's number there
	seen   map[string]struct{} // keys of the records that followed
	// keys of the records that another upstream has changed since, and their newest revisions; nil: none
	superseded map[string]uint64
	lastUS     int64  // time of the newest record that followed
	since      uint64 // log row of the sync
	begun      bool   // a record has followed
	// the resync ends, and records up to this key are those that followed; nil: it has not begun to
	after []byte
}

// isFrom reports whether an upstream's events belong to the resync.
func (r *resync) isFrom(host string) bool { return r.host == "" || r.host == host }

// isRow reports whether an event is part of the repo that follows the sync.
func (r *resync) isRow(host string, rev uint64) bool { return r.isRevOf(rev) && r.isFrom(host) }

func (r *resync) isRevOf(rev uint64) bool { return r != nil && rev == r.rev }

// idle reports whether no more of the repo is expected.
func (r *resync) idle(f *Applier) bool {
	return r.isFrom(f.from.Host) && !f.isOutlier(f.nowUS) && f.nowUS-r.lastUS > resyncIdleUS
}

// markSuperseded notes that another upstream's event left a record newer than the resync.
func (r *resync) markSuperseded(key string, rev uint64) {
	if rev <= r.rev {
		return
	}
	if r.superseded == nil {
		r.superseded = map[string]uint64{}
	}
	r.superseded[key] = rev
}

// isSuperseded reports whether a record is newer by another upstream's event, or by the resync itself.
func (r *resync) isSuperseded(key string, byLater, bySeen bool) bool {
	if r == nil {
		return false
	}
	_, later := r.superseded[key]
	_, seen := r.seen[key]
	return byLater && later || bySeen && seen
}

// newResync replaces a resync that may be open: records that are newer than both stay superseded.
func newResync(rev, since uint64, us int64, before *resync) *resync {
	r := &resync{rev: rev, seen: map[string]struct{}{}, lastUS: us, since: since}
	if before != nil {
		for key, rev := range before.superseded {
			r.markSuperseded(key, rev)
		}
	}
	return r
}

// sync opens a resync: the account's whole repo follows.
func (f *Applier) sync(e *Event) {
	rev, ok := link.ParseTID(e.Rev)
	if !ok {
		f.stats.Invalid++
		return
	}
	actor, known := f.actor(e.DID)
	if !known {
		return // nothing to replace
	}
	if f.state.status.of(actor) == logrow.StatusDeleted {
		f.stats.Tombstoned++
		return
	}
	r := f.state.resyncs[actor]
	if r != nil && r.rev == rev { // it comes again; what it has seen stays seen
		if !r.isFrom(f.from.Host) { // and this upstream sends all of it
			r.host = f.from.Host
			r.synced = e.Seq
			r.lastUS = e.TimeUS
			f.rows.Resyncs = append(f.rows.Resyncs, ResyncRow{Actor: actor, Rev: rev, Since: r.since, Host: r.host,
				Sync: r.synced})
		}
		return
	}
	if f.mayRepeat(e) && (rev < f.d.rev(actor) || f.readStatusIsNewer(e, actor) || rev <= f.readSynced(actor)) {
		f.stats.Stale++
		return
	}
	if r != nil && r.idle(f) && !f.endResync(actor, r) { // whatever batch it comes in
		return
	}
	f.openResync(actor, rev, e.Seq)
}

// advanceResync advances the open resync of an event's account: the event is a row of the resync, or ends it. It
// returns false for an event from before the sync, which is stale: the resync has its record, or the record is gone. It
// returns false as well where the end of the resync takes another commit first.
func (f *Applier) advanceResync(e *Event, actor, rev uint64) bool {
	r := f.state.resyncs[actor]
	if r == nil || f.from.Fill {
		return true
	}
	switch {
	case rev < r.rev:
		f.stats.Stale++
		return false
	case !r.isFrom(f.from.Host):
		return true
	case rev > r.rev && (r.begun || e.Op != logrow.OpCreate || r.idle(f)):
		return f.endResync(actor, r)
	case rev > r.rev: // the repo was fetched after the sync, and is newer
		f.openResync(actor, rev, r.synced)
		r = f.state.resyncs[actor]
	}
	if !r.begun {
		r.begun = true
		f.log(logrow.Row{Op: logrow.OpBegun, Actor: actor, Rev: rev}, nil, nil)
	}
	return true
}

// openResync expects the account's whole repo, as creates with this revision. It replaces a resync that is open: the
// newer repo says which records are gone.
func (f *Applier) openResync(actor, rev, seq uint64) {
	f.d.setRev(actor, max(rev, f.d.rev(actor)))
	f.log(logrow.Row{Op: logrow.OpSync, Actor: actor, Rev: rev}, nil, nil)
	r := newResync(rev, f.seq, min(f.nowUS, f.maxUS), f.state.resyncs[actor])
	r.host = f.from.Host
	r.synced = seq
	f.state.resyncs[actor] = r
	f.rows.Resyncs = append(f.rows.Resyncs, ResyncRow{Actor: actor, Rev: rev, Since: f.seq, Host: f.from.Host, Sync: seq})
}

// endResync removes the records that did not follow the sync. It returns false where a commit must come first: the
// resync stays open, and the next call continues. After a crash between two of its commits the event that ends it comes
// again.
func (f *Applier) endResync(actor uint64, r *resync) (ended bool) {
	r.after, ended = f.removeBehind(r.after, actor, r.rev, func(key []byte) bool {
		if _, ok := r.seen[string(key)]; ok {
			return true
		}
		_, ok := r.superseded[string(key)]
		return ok
	})
	if !ended {
		f.unended = true
		return false
	}
	delete(f.state.resyncs, actor)
	f.rows.Resyncs = append(f.rows.Resyncs, ResyncRow{Actor: actor, Rev: r.rev})
	f.d.setRev(actor, max(r.rev, f.d.rev(actor)))
	f.log(logrow.Row{Op: logrow.OpSynced, Actor: actor, Rev: r.rev}, nil, nil)
	return true
}

// removeBehind removes the records of an account after a key, except those that are kept: as many as a step of a job
// changes and as a part of a batch has room for. upTo is the last key that it has read; ended reports that no record is
// left after it.
func (f *Applier) removeBehind(after []byte, actor, rev uint64, kept func(key []byte) bool) (upTo []byte, ended bool) {
	from, to := codec.AccountRecords(actor)
	if after != nil {
		from = successor(after)
	}
	upTo = after
	limit := f.state.config.JobRecords
	n := 0
	seen := 0
	for w := f.walk(actor, from, to, false); w.next(); {
		if n == limit || seen == limit*seenPerRecord || f.d.bytes >= CommitBytes {
			return upTo, false
		}
		seen++
		upTo = w.key
		if len(w.value) == 0 || kept(w.key) {
			continue
		}
		n++
		rkey, links := f.decoded(w.key, w.value)
		_, collection, _, _ := codec.DecodeRecordKey(w.key)
		f.change(w.key, w.value, nil, 0, actor, rkey, links, nil)
		f.log(logrow.Row{Op: logrow.OpDelete, Actor: actor, Collection: collection, Rkey: rkey, Rev: rev,
			Replaced: f.state.Bodies.current(w.value)}, links, nil)
	}
	return nil, true
}

// abortResync aborts a resync: the records that did not follow may exist all the same. The sync may come again.
func (f *Applier) abortResync(actor uint64, r *resync) {
	delete(f.state.resyncs, actor)
	f.rows.Resyncs = append(f.rows.Resyncs, ResyncRow{Actor: actor, Aborted: true})
	f.log(logrow.Row{Op: logrow.OpSynced, Actor: actor, Rev: r.rev}, nil, nil)
}

// AbortResyncs aborts the open resyncs of a host's syncs. It returns the number of the first of those syncs; 0: there
// is none with a number.
func (f *Applier) AbortResyncs(host string) (first uint64) {
	for actor, r := range f.state.resyncs {
		if r.host != host {
			continue
		}
		if r.synced > 0 && (first == 0 || r.synced < first) {
			first = r.synced
		}
		f.abortResync(actor, r)
	}
	return first
}

// EndIdleResyncs ends the resyncs of accounts without further events, and aborts those of an upstream that is no longer
// followed. It returns false where a commit must come first.
func (f *Applier) EndIdleResyncs() (ended bool) {
	for actor, r := range f.state.resyncs {
		switch {
		case r.idle(f):
			if !f.endResync(actor, r) {
				return false
			}
		case !r.isFrom(f.from.Host) && !f.isOutlier(f.nowUS) && f.nowUS-r.lastUS > resyncAbortUS:
			f.abortResync(actor, r)
			f.rows.Aborted = append(f.rows.Aborted,
				AbortedResync{DID: f.readDID(actor), Host: r.host, Sync: r.synced, LastUS: r.lastUS})
		}
	}
	return true
}

// readSynced reads the revision of an account's last completed resync; 0: there is none.
func (f *Applier) readSynced(actor uint64) uint64 {
	for i := len(f.rows.Resyncs) - 1; i >= 0; i-- {
		if r := f.rows.Resyncs[i]; r.Actor == actor && r.Since == 0 && !r.Aborted {
			return r.Rev
		}
	}
	var rev int64
	err := f.history.beside.QueryRow("SELECT rev FROM synced WHERE actor = ?", int64(actor)).Scan(&rev)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		f.d.fail(fmt.Errorf("read the last resync of account %d: %w", actor, err))
	}
	return uint64(rev)
}

// readDID reads an account's DID; empty: the account is new in this batch.
func (f *Applier) readDID(actor uint64) string {
	var did string
	err := f.history.beside.QueryRow("SELECT did FROM actors WHERE id = ?", int64(actor)).Scan(&did)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		f.d.fail(fmt.Errorf("read the name of account %d: %w", actor, err))
	}
	return did
}
