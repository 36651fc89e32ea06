package db

import (
	"strings"

	"weft.dev/weft/link"
)

// resyncIdleUS ends a resync whose account then falls silent: so long after its last row, in the upstream's time, no
// more of it is expected. Jetstream writes a resync's rows in one go, so a minute is ample; were it too short, the rows
// that follow would still put their records back.
const resyncIdleUS = 60 * 1_000_000

// resync is the replacement of an account's records: what follows a sync with its revision is the whole repo.
type resync struct {
	rev    uint64
	seen   map[string]struct{} // keys of the records that followed
	lastUS int64               // time of the newest of them
}

// fold works a batch's events out: what they change in the index, and the log rows that say so. It writes nothing;
// design: each event is folded into the state that all before it left, and folding one twice changes nothing.
type fold struct {
	s         *Store
	d         *delta
	high      uint64 // events up to here may be repeats
	seq       uint64 // the newest log row
	nowUS     int64  // time of the event at hand
	rows      rows
	stats     Applied
	old, next []recordLink // scratch
	key, val  []byte       // scratch
}

// Applied says what became of a batch.
type Applied struct {
	Events  int // folded
	Changed int // log rows written
	Added   int // links
	Removed int // links
	Stale   int // repeats that newer events of the account had overtaken
	Buried  int // records of accounts that are deleted
	Invalid int // events with a DID, an NSID, a record key or a revision that is none, and links that are none
}

// event folds one event.
func (f *fold) event(e *Event) {
	f.stats.Events++
	f.nowUS = e.TimeUS
	if !link.ValidDID(e.DID) {
		f.stats.Invalid++
		return
	}
	switch e.Op {
	case OpCreate, OpUpdate, OpDelete:
		f.record(e)
	case OpAccount:
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
	if known {
		if f.s.status[actor] == StatusDeleted {
			f.stats.Buried++
			return
		}
		if f.repeats(e) && rev < f.d.rev(actor) {
			f.stats.Stale++
			return
		}
		if r := f.s.resyncs[actor]; r != nil && r.rev != rev {
			f.endResync(actor, r)
		}
	}
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

	rkey := appendRkey(nil, e.Rkey)
	f.key = recordKey(f.key[:0], actor, collection, rkey)
	before := f.d.record(f.key)
	f.old = f.links(f.old[:0], before, rkey)
	f.next = f.next[:0]
	if linking {
		rank, derived := rankOf(rkey, e.TimeUS)
		for i := range e.Links[:min(len(e.Links), maxLinks)] {
			if !storable(&e.Links[i]) {
				f.stats.Invalid++
				continue
			}
			f.next = append(f.next, recordLink{
				source:  f.intern('s', collection, e.Links[i].Path),
				target:  f.target(e.Links[i].Target),
				rank:    rank,
				derived: derived,
			})
		}
		f.next = sortLinks(f.next)
	}
	r := f.s.resyncs[actor]
	if r != nil && e.Op != OpDelete {
		r.seen[string(f.key)] = struct{}{}
		r.lastUS = e.TimeUS
	}
	removed, added := diff(f.old, f.next)
	row := row{op: e.Op, actor: actor, collection: collection, rkey: rkey, rev: rev}
	if len(removed)+len(added) == 0 {
		if r != nil && len(f.old) > 0 && e.Op != OpDelete {
			row.op = opSeen
			f.log(row, nil, nil)
		}
		return
	}
	f.d.setRev(actor, rev)
	f.change(f.key, before, f.next, actor, rkey, removed, added)
	f.log(row, removed, added)
}

// storable says that a link fits a key: a zero byte would end it early. The extractor gives no others.
func storable(l *Link) bool {
	return l.Target != "" && len(l.Target) <= link.MaxLen && strings.IndexByte(l.Target, 0) < 0 && len(l.Path) <= maxPath
}

// maxPath is the longest path of a source, in bytes. The extractor's bound is lower.
const maxPath = 4096

// change brings a record from one set of links to another, in both orders.
func (f *fold) change(key, before []byte, next []recordLink, actor uint64, rkey []byte, removed, added []recordLink) {
	f.d.setRecord(key, appendLinks(nil, next), len(before) > 0)
	f.stats.Added += len(added)
	f.stats.Removed += len(removed)
	if f.s.status[actor] == StatusActive {
		f.d.linkAll(removed, actor, rkey, unlinked)
		f.d.linkAll(added, actor, rkey, linked)
	}
}

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
	if f.repeats(e) && rev < f.d.rev(actor) {
		f.stats.Stale++
		return
	}
	if r := f.s.resyncs[actor]; r != nil && r.rev != rev {
		f.endResync(actor, r)
	}
	f.d.setRev(actor, rev)
	f.log(row{op: OpSync, actor: actor, rev: rev}, nil, nil)
	f.s.resyncs[actor] = &resync{rev: rev, seen: map[string]struct{}{}, lastUS: e.TimeUS}
}

// endResync removes the records that did not follow the sync.
func (f *fold) endResync(actor uint64, r *resync) {
	delete(f.s.resyncs, actor)
	f.eachRecord(actor, func(key, value, rkey []byte, links []recordLink) {
		if _, ok := r.seen[string(key)]; ok {
			return
		}
		_, collection, _, _ := cutRecordKey(key)
		f.change(key, value, nil, actor, rkey, links, nil)
		f.log(row{op: OpDelete, actor: actor, collection: collection, rkey: rkey, rev: r.rev}, links, nil)
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

// eachRecord walks an account's records that have links. The slices are valid for the call only, key and rkey for ever.
func (f *fold) eachRecord(actor uint64, do func(key, value, rkey []byte, links []recordLink)) {
	f.d.flush() // so that one scan sees all of them
	for sc := f.d.base.records.Scan(recordsOfRange(actor)); sc.Next(); {
		_, _, rkey, err := cutRecordKey(sc.Key())
		if err != nil {
			panic("db: record key: " + err.Error()) // written by us moments ago
		}
		f.old = f.links(f.old[:0], sc.Value(), rkey)
		do(sc.Key(), sc.Value(), rkey, f.old)
	}
}

// links decodes a record's value.
func (f *fold) links(dst []recordLink, value, rkey []byte) []recordLink {
	links, err := cutLinks(dst, value, rkey)
	if err != nil {
		panic("db: links of a record: " + err.Error()) // memory that only we wrote
	}
	return links
}

// repeats says whether an event may have been folded before.
func (f *fold) repeats(e *Event) bool { return e.Seq <= f.high }

// log appends a row, and the rows of the links that it removed and added.
func (f *fold) log(r row, removed, added []recordLink) {
	f.seq++
	f.stats.Changed++
	r.seq, r.timeUS = f.seq, f.nowUS
	f.rows.add(r, removed, added)
}

// actor looks an account up.
func (f *fold) actor(did string) (uint64, bool) {
	f.val = append(append(f.val[:0], 'd'), did...)
	return f.id()
}

// id looks up the name in f.val.
func (f *fold) id() (uint64, bool) {
	if id, ok := f.s.ids.get(f.val); ok {
		return id, true
	}
	id, ok := f.d.id(f.val)
	if ok {
		f.s.ids.put(f.val, id)
	}
	return id, ok
}

// collection looks a collection up, and enters it when told to.
func (f *fold) collection(nsid string, enter bool) (uint64, bool) {
	if enter {
		return f.intern('c', 0, nsid), true
	}
	f.val = append(append(f.val[:0], 'c'), nsid...)
	return f.id()
}

// intern gives the id of a name, a new one when it has none. kind is 'd' for a DID, 'c' for a collection, 's' for a
// path in the collection given.
func (f *fold) intern(kind byte, collection uint64, name string) uint64 {
	f.val = append(f.val[:0], kind)
	if kind == 's' {
		f.val = appendID(f.val, collection)
	}
	f.val = append(f.val, name...)
	if id, ok := f.id(); ok {
		return id
	}
	id := f.s.nextID(kind)
	f.d.names[string(f.val)] = id
	f.rows.names = append(f.rows.names, nameRow{kind, id, collection, strings.Clone(name)})
	return id
}

// target encodes a target, entering the names that it holds.
func (f *fold) target(target string) []byte {
	did, collection, rkey, ok := cutTarget(target)
	if !ok {
		return appendText(make([]byte, 0, len(target)+2), target)
	}
	actor, nsid := f.intern('d', 0, did), uint64(0)
	if collection != "" {
		nsid = f.intern('c', 0, collection)
	}
	return appendTarget(make([]byte, 0, 24), target[0] == 'd', actor, nsid, rkey)
}

func recordsOfRange(actor uint64) (from, to []byte, reverse bool) {
	from, to = recordsOf(actor)
	return from, to, false
}
