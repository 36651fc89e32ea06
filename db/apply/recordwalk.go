package apply

import (
	"cmp"
	"fmt"
	"slices"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
)

// recordWalk is a walk over an account's records, those that are gone or out too: they have no value.
//
//	w := f.walk(actor, from, to, false)
//	for w.next() {
//		use(w.key, w.value)
//	}
type recordWalk struct {
	d          *delta
	below      *lsm.MergingIterator
	more       bool     // below stands at an entry,
	taken      bool     // which was given
	changed    []string // keys that this batch has changed: what they have goes before what lies below
	reverse    bool
	key, value []byte // the key stays as it is
}

// walk begins a walk over an account's records with from <= key < to.
func (f *Applier) walk(actor uint64, from, to []byte, reverse bool) *recordWalk {
	// To make runs of what this batch has changed first would be simpler, and cost as much as the rest of the batch.
	w := &recordWalk{d: f.d, changed: f.d.recordsBetween(actor, from, to), reverse: reverse, taken: true}
	if reverse {
		slices.Reverse(w.changed)
	}
	w.below = f.d.base.Records.ScanWithTombstones(from, to, reverse)
	return w
}

// next goes to the next record and reports whether there is one. A fault ends the walk, and fails the delta.
func (w *recordWalk) next() bool {
	if w.taken {
		w.more = w.below.Next()
		w.taken = false
		if !w.more {
			w.d.fail(w.below.Err())
		}
	}
	first := -1 // the next that was changed comes before the next below
	switch {
	case len(w.changed) == 0 && !w.more || w.d.err != nil:
		return false
	case len(w.changed) == 0:
		first = 1
	case w.more:
		first = cmp.Compare(w.changed[0], string(w.below.Key()))
		if w.reverse {
			first = -first
		}
	}
	w.taken = w.more && first >= 0
	if first > 0 {
		value, err := w.d.base.InRecord(w.below.Key(), w.below.Value())
		w.d.fail(err)
		w.key = w.below.Key()
		w.value = value
		return err == nil
	}
	w.key = []byte(w.changed[0])
	w.value = w.d.records[w.d.byKey[w.changed[0]]].value
	w.changed = w.changed[1:]
	return true
}

// decoded decodes a record of a walk. The links are valid until the next call.
func (f *Applier) decoded(key, value []byte) (rkey []byte, links []codec.RecordLink) {
	_, _, rkey, err := codec.DecodeRecordKey(key)
	if err != nil {
		f.d.fail(fmt.Errorf("record key %x: %w", key, err))
		return nil, nil
	}
	f.old = f.links(f.old[:0], value, rkey)
	return rkey, f.old
}

// eachRecord walks an account's records that have links.
func (f *Applier) eachRecord(actor uint64, do func(key, value []byte)) {
	from, to := codec.AccountRecords(actor)
	for w := f.walk(actor, from, to, false); w.next(); {
		if len(w.value) > 0 {
			do(w.key, w.value)
		}
	}
}
