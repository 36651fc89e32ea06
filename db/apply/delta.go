package apply

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/lsm"
)

// delta gathers the changes of a batch after a snapshot and makes the next snapshot of them.
type delta struct {
	base    *index.Snapshot
	links   []linkChange
	records map[string][]byte
	actors  map[uint64][]string // whose records are among them, and which
	names   map[string]uint64
	bytes   int // about what all this takes in memory
	linking int64
	err     error // the first fault in our own data: no answer since can be trusted, and nothing may be committed

	prefetched prefetched // of base
}

// entryBytes is about what an entry of a delta takes beside its key and its value: as much in the delta as in the log
// rows of the same change.
const entryBytes = 100

// linkChange is an addition or a removal of a link.
type linkChange struct {
	key []byte
	n   uint32 // its place in time
	op  byte
}

func newDelta(base *index.Snapshot) *delta {
	return &delta{base: base, records: map[string][]byte{}, actors: map[uint64][]string{}, names: map[string]uint64{}}
}

// record returns the newest value of a record, without links that are out. likely is as of Snapshot.FindRecord.
func (d *delta) record(key []byte, likely bool) []byte {
	if value, ok := d.records[string(key)]; ok {
		return value
	}
	if value, ok := d.prefetched.record(key); ok {
		return value
	}
	value, err := d.base.FindRecord(key, likely)
	d.fail(err)
	return value
}

// recordsBetween returns the keys from <= key < to of an account's changed records, in order.
func (d *delta) recordsBetween(actor uint64, from, to []byte) (keys []string) {
	for _, key := range d.actors[actor] { // to look at all keys would be most of what a change of status costs
		if key >= string(from) && key < string(to) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// fail keeps the first fault.
func (d *delta) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// setRecord sets the value of an account's record; it keeps value.
func (d *delta) setRecord(actor uint64, key, value []byte, before bool) {
	name := string(key)
	if _, ok := d.records[name]; !ok {
		d.actors[actor] = append(d.actors[actor], name)
		d.bytes += entryBytes + len(key)
	}
	d.records[name] = value
	d.bytes += len(value)
	switch after := len(value) > 0; {
	case after && !before:
		d.linking++
	case before && !after:
		d.linking--
	}
}

// setRev sets an account's newest revision.
func (d *delta) setRev(actor, rev uint64) {
	var key [10]byte
	d.records[string(codec.RevisionKey(key[:0], actor))] = binary.BigEndian.AppendUint64(nil, rev)
	d.bytes += entryBytes
}

// rev returns the newest revision of an account.
func (d *delta) rev(actor uint64) uint64 {
	var key [10]byte
	if value := d.record(codec.RevisionKey(key[:0], actor), true); value != nil {
		return binary.BigEndian.Uint64(value)
	}
	return 0
}

// link adds or removes a link in the order by target.
func (d *delta) link(target []byte, source uint64, p codec.ListPosition, op byte) {
	key := make([]byte, 0, len(target)+8+8+8+len(p.RkeySuffix))
	key = codec.AppendID(append(key, target...), source)
	d.links = append(d.links, linkChange{p.Append(key), uint32(len(d.links)), op})
	d.bytes += entryBytes + cap(key)
}

// linkAll adds or removes links of a record in the order by target.
func (d *delta) linkAll(links []codec.RecordLink, actor uint64, rkey []byte, op byte) {
	var place []byte
	for i := range links {
		place = codec.AppendRkeySuffix(place[:0], links[i].Rank, rkey)
		d.link(links[i].Target, links[i].Source, codec.ListPosition{Rank: links[i].Rank, AccountID: actor,
			RkeySuffix: place},
			op)
	}
}

// id looks a name up.
func (d *delta) id(name []byte) (uint64, bool) {
	if id, ok := d.names[string(name)]; ok {
		return id, true
	}
	if _, ok := d.prefetched.absent[string(name)]; ok {
		return 0, false
	}
	id, ok, err := d.base.ID(name)
	d.fail(err)
	return id, ok
}

// pushRuns turns the changes into runs of a new base.
func (d *delta) pushRuns() {
	next := *d.base
	failed := d.err
	var errs [3]error
	next.Targets, errs[0] = next.Targets.Push(linkRun(d.links))
	next.Records, errs[1] = next.Records.Push(mapRun(&index.ByRecord, d.records, func(v []byte) []byte { return v }))
	next.Names, errs[2] = next.Names.Push(nameRun(d.names))
	next.Linking += d.linking
	*d = *newDelta(&next)
	d.fail(failed)
	for _, err := range errs {
		d.fail(err)
	}
}

// linkRun sorts link changes into a run. Where a link changed more than once, additions and removals alternate: an even
// number leaves nothing, an odd one the last.
func linkRun(changes []linkChange) *lsm.MemRun {
	slices.SortFunc(changes, func(a, b linkChange) int {
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		return cmp.Compare(a.n, b.n)
	})
	size := 0
	for i := range changes {
		size += len(changes[i].key) + 1
	}
	b := lsm.NewBuilder(&index.ByTarget, len(changes), size)
	for i := 0; i < len(changes); {
		j := i + 1
		for j < len(changes) && bytes.Equal(changes[i].key, changes[j].key) {
			j++
		}
		if (j-i)%2 == 1 {
			b.Add(changes[i].key, []byte{changes[j-1].op})
		}
		i = j
	}
	return b.Finish()
}

// nameRun sorts names into a run.
func nameRun(names map[string]uint64) *lsm.MemRun {
	return mapRun(&index.ByName, names, func(id uint64) []byte { return codec.AppendID(nil, id) })
}

// mapRun sorts a map into a run.
func mapRun[V any](order *lsm.Keyspace, m map[string]V, value func(V) []byte) *lsm.MemRun {
	keys := make([]string, 0, len(m))
	size := 0
	for key := range m {
		keys = append(keys, key)
		size += len(key) + 16 // a guess that the builder outgrows where it is short
	}
	slices.Sort(keys)
	b := lsm.NewBuilder(order, len(keys), size)
	for _, key := range keys {
		b.Add([]byte(key), value(m[key]))
	}
	return b.Finish()
}
