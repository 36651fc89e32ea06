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

// linkRun sorts link changes into a run. Where a link changed more than once, additions and removals alternate: an even
// number leaves nothing, an odd one the last.
func linkRun(changes []linkChange) *lsm.MemRun {
	slices.SortFunc(changes, func(a, b linkChange) int {
		if a.begin != b.begin {
			return cmp.Compare(a.begin, b.begin)
		}
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

// recordRun sorts the changed records and revisions into a run. It changes the order of the accounts.
func (d *delta) recordRun() *lsm.MemRun {
	slices.SortFunc(d.accounts, func(a, b accountChange) int { return cmp.Compare(a.id, b.id) })
	size := (maxRevisionKey + 8) * len(d.accounts)
	for i := range d.records {
		size += len(d.records[i].key) + len(d.records[i].value)
	}
	b := lsm.NewBuilder(&index.ByRecord, len(d.accounts)+len(d.records), size)
	var key, rev []byte
	var records []int32
	for i := range d.accounts {
		a := &d.accounts[i]
		if a.hasRev {
			key = codec.RevisionKey(key[:0], a.id)
			rev = binary.BigEndian.AppendUint64(rev[:0], a.rev)
			b.Add(key, rev)
		}
		records = records[:0]
		for at := a.last; at != none; at = d.records[at].before {
			records = append(records, at)
		}
		slices.SortFunc(records, func(a, b int32) int { return cmp.Compare(d.records[a].key, d.records[b].key) })
		for _, at := range records {
			key = append(key[:0], d.records[at].key...)
			b.Add(key, d.records[at].value)
		}
	}
	return b.Finish()
}

// maxRevisionKey is the length of the longest key of a revision, in bytes.
const maxRevisionKey = codec.MaxID + 1

// nameRun sorts names into a run.
func nameRun(names map[string]uint64) *lsm.MemRun {
	sorted := make([]string, 0, len(names))
	size := 0
	for name := range names {
		sorted = append(sorted, name)
		size += len(name) + codec.MaxID
	}
	slices.Sort(sorted)
	b := lsm.NewBuilder(&index.ByName, len(sorted), size)
	var key, id []byte
	for _, name := range sorted {
		key = append(key[:0], name...)
		id = codec.AppendID(id[:0], names[name])
		b.Add(key, id)
	}
	return b.Finish()
}
