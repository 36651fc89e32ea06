package apply

import (
	"encoding/binary"
	"slices"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/lsm"
)

// delta gathers the changes of a batch after a snapshot and makes the next snapshot of them.
type delta struct {
	base     *index.Snapshot
	links    []linkChange
	arena    arena  // of keys and values
	key      []byte // scratch
	records  []recordChange
	byKey    map[string]int32 // the place of a record in records
	accounts []accountChange
	byID     map[uint64]int32 // the place of an account in accounts
	names    map[string]uint64
	bytes    int // about what all this takes in memory
	linking  int64
	err      error // the first fault in our own data: no answer since can be trusted, and nothing may be committed

	prefetched prefetched // of base
}

// entryBytes is about what an entry of a delta takes beside its key and its value: as much in the delta as in the log
// rows of the same change.
const entryBytes = 100

// linkChange is an addition or a removal of a link.
type linkChange struct {
	key   []byte
	begin uint64 // lsm.Begin of key: it mostly decides a comparison
	n     uint32 // its place in time
	op    byte
}

// recordChange is a record that changed, and its newest value.
type recordChange struct {
	key    string
	value  []byte
	before int32 // the place of the record of the same account that changed before it; none: there is none
}

// accountChange is the changes of an account: a new revision, changed records, or both.
type accountChange struct {
	id     uint64
	rev    uint64 // the newest revision
	hasRev bool   // the revision is in rev; otherwise the base has it
	last   int32  // the place of its record that changed last; none: no record changed
}

// none is the place of nothing.
const none int32 = -1

func newDelta(base *index.Snapshot) *delta {
	return &delta{base: base, byKey: map[string]int32{}, byID: map[uint64]int32{}, names: map[string]uint64{}}
}

// keepChanges bounds the changes whose memory the next ones reuse, twice those of 4,096 usual events: records with many
// links, or the end of a resync, may change far more.
const keepChanges = 1 << 15

// empty forgets the changes and the base. Their memory stays for the next ones.
func (d *delta) empty() {
	if len(d.links)+len(d.records)+len(d.accounts)+len(d.names) > keepChanges {
		*d = *newDelta(nil)
		return
	}
	clear(d.links)
	clear(d.records) // they hold the memory of keys and values
	clear(d.byKey)
	clear(d.byID)
	clear(d.names)
	*d = delta{links: d.links[:0], arena: d.arena, key: d.key, records: d.records[:0], byKey: d.byKey,
		accounts: d.accounts[:0], byID: d.byID, names: d.names, prefetched: d.prefetched.emptied()}
}

// record returns the newest value of a record, without links that are out.
func (d *delta) record(key []byte, hint lsm.Hint) []byte {
	if i, ok := d.byKey[string(key)]; ok {
		return d.records[i].value
	}
	if value, ok := d.prefetched.record(key); ok {
		return value
	}
	value, err := d.base.FindRecord(key, hint)
	d.fail(err)
	return value
}

// recordsBetween returns the keys from <= key < to of an account's changed records, in order.
func (d *delta) recordsBetween(actor uint64, from, to []byte) (keys []string) {
	i, ok := d.byID[actor]
	if !ok {
		return nil
	}
	// To look at all keys would be most of what a change of status costs.
	for at := d.accounts[i].last; at != none; at = d.records[at].before {
		if key := d.records[at].key; key >= string(from) && key < string(to) {
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

// setRecord sets the value of an account's record. It copies value.
func (d *delta) setRecord(actor uint64, key, value []byte, before bool) {
	i, ok := d.byKey[string(key)]
	if ok {
		d.records[i].value = d.arena.copy(value)
	} else {
		name := string(key)
		i = int32(len(d.records))
		account := d.account(actor)
		d.records = append(d.records, recordChange{name, d.arena.copy(value), account.last})
		account.last = i
		d.byKey[name] = i
		d.bytes += entryBytes + len(key)
	}
	d.bytes += len(value)
	switch after := len(value) > 0; {
	case after && !before:
		d.linking++
	case before && !after:
		d.linking--
	}
}

// account returns the changes of an account, valid until the next call.
func (d *delta) account(id uint64) *accountChange {
	i, ok := d.byID[id]
	if !ok {
		i = int32(len(d.accounts))
		d.accounts = append(d.accounts, accountChange{id: id, last: none})
		d.byID[id] = i
		d.bytes += entryBytes
	}
	return &d.accounts[i]
}

// setRev sets an account's newest revision.
func (d *delta) setRev(actor, rev uint64) {
	account := d.account(actor)
	account.rev = rev
	account.hasRev = true
}

// rev returns the newest revision of an account.
func (d *delta) rev(actor uint64) uint64 {
	if i, ok := d.byID[actor]; ok && d.accounts[i].hasRev {
		return d.accounts[i].rev
	}
	var key [10]byte
	value, err := d.base.FindRecord(codec.RevisionKey(key[:0], actor), lsm.Likely|lsm.Once)
	d.fail(err)
	if value != nil {
		return binary.BigEndian.Uint64(value)
	}
	return 0
}

// link adds or removes a link in the order by target.
func (d *delta) link(target []byte, source uint64, p codec.ListPosition, op byte) {
	d.key = p.Append(codec.AppendID(append(d.key[:0], target...), source))
	key := d.arena.copy(d.key)
	d.links = append(d.links, linkChange{key, lsm.Begin(key), uint32(len(d.links)), op})
	d.bytes += entryBytes + len(key)
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
	next.Records, errs[1] = next.Records.Push(d.recordRun())
	next.Names, errs[2] = next.Names.Push(nameRun(d.names))
	next.Linking += d.linking
	d.empty()
	d.base = &next
	d.fail(failed)
	for _, err := range errs {
		d.fail(err)
	}
}
