package lsm

import (
	"bytes"
	"context"
)

// MergingIterator iterates over the newest entry of each key in a range, in key order or in reverse. It starts before
// the first entry.
//
//	it := tree.Scan(from, to, false)
//	for it.Next() {
//		use(it.Key(), it.Value())
//	}
//	if err := it.Err(); err != nil {
type MergingIterator struct {
	keyspace       *Keyspace
	inputs         mergeInputs
	withTombstones bool
	key            []byte
	value          []byte
	err            error

	ctx        context.Context // nil: never canceled
	steps      int
	tombstones int // in a row, up to the current entry
	limit      int // maximum of tombstones in a row; 0: none
}

// WithContext stops the iterator with the error of ctx. It is checked every checkEvery entries.
func (it *MergingIterator) WithContext(ctx context.Context) *MergingIterator {
	it.ctx = ctx
	return it
}

// LimitTombstones stops the iterator after n tombstones in a row. LimitReached then returns true.
func (it *MergingIterator) LimitTombstones(n int) *MergingIterator {
	it.limit = n
	return it
}

// LimitReached reports whether LimitTombstones stopped the iterator. Key is then the key of the last tombstone.
func (it *MergingIterator) LimitReached() bool { return it.limit > 0 && it.tombstones >= it.limit }

// checkEvery is the number of entries between two checks of the context: a check takes a lock that all requests share.
const checkEvery = 4096

// Scan iterates over the entries with from <= key < to, without tombstones. A nil to is open.
func (t Tree) Scan(from, to []byte, reverse bool) *MergingIterator {
	return t.mergeRuns(func(Run) bool { return true }, from, to, reverse, nil)
}

// ScanWithTombstones is Scan with tombstones, for callers that limit the number of entries they read.
func (t Tree) ScanWithTombstones(from, to []byte, reverse bool) *MergingIterator {
	it := t.Scan(from, to, reverse)
	it.withTombstones = true
	return it
}

// ScanPrefix is Scan for a range of keys that begin with prefix, which must include the full Keyspace prefix. It skips
// the runs whose filters exclude that.
func (t Tree) ScanPrefix(prefix, from, to []byte, reverse bool) *MergingIterator {
	return t.ScanBounded(prefix, from, to, reverse, nil)
}

// ScanBounded is ScanPrefix that opens a run when the iteration comes to a bound of its keys. bound returns it for a
// run by its place in the tree: in the direction of the iteration, no key with the prefix comes before it, and none
// is equal to it. It may return nil, where it knows no bound.
func (t Tree) ScanBounded(prefix, from, to []byte, reverse bool, bound func(run int) []byte) *MergingIterator {
	h := t.Keyspace.Hash(prefix)
	return t.mergeRuns(func(r Run) bool { return r.MayContain(h, prefix) }, from, to, reverse, bound)
}

func (t Tree) mergeRuns(filter func(Run) bool, from, to []byte, reverse bool,
	bound func(run int) []byte) *MergingIterator {
	it := &MergingIterator{keyspace: t.Keyspace, inputs: mergeInputs{reverse: reverse}}
	it.inputs.open = func(r Run) (Iterator, error) {
		if !filter(r) {
			return nil, nil
		}
		return r.Iterate(from, to, reverse)
	}
	for i, r := range t.Runs {
		var first []byte
		if bound != nil {
			first = bound(i)
		}
		if first != nil {
			if !isBehind(first, from, to, reverse) {
				it.inputs.addBounded(r, first)
			}
			continue
		}
		in, err := it.inputs.open(r)
		if err != nil {
			it.err = err
			return it
		}
		it.inputs.add(in)
	}
	return it
}

// isBehind reports whether a bound of keys is behind a range, in the direction of an iteration.
func isBehind(bound, from, to []byte, reverse bool) bool {
	if reverse {
		return bytes.Compare(bound, from) <= 0
	}
	return to != nil && bytes.Compare(bound, to) >= 0
}

// Next moves to the next entry and reports whether there is one. After false, check Err.
func (it *MergingIterator) Next() bool {
	for it.err == nil && !it.LimitReached() {
		var more bool
		more, it.err = it.inputs.openFirst()
		if !more {
			return false
		}
		it.steps++
		if it.ctx != nil && it.steps%checkEvery == 0 {
			it.err = it.ctx.Err()
			if it.err != nil {
				return false
			}
		}
		it.err = it.takeNewest()
		if it.err != nil {
			return false
		}
		if it.withTombstones || !it.keyspace.isTombstone(it.value) {
			it.tombstones = 0
			return true
		}
		it.tombstones++
	}
	return false
}

// takeNewest reads all entries of the first key; the newest is read last.
func (it *MergingIterator) takeNewest() error {
	it.key = it.inputs.first().key
	for it.inputs.isAt(it.key) {
		it.value = it.inputs.first().Value()
		err := it.inputs.next()
		if err != nil {
			return err
		}
	}
	return nil
}

// Key returns the key of the current entry. It must not be changed.
func (it *MergingIterator) Key() []byte { return it.key }

// Value returns the value of the current entry. It must not be changed.
func (it *MergingIterator) Value() []byte { return it.value }

// Err returns the error that stopped the iterator; nil after the end of the range.
func (it *MergingIterator) Err() error { return it.err }
