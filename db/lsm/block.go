package lsm

import (
	"bytes"
	"sort"
)

// Block is a sorted sequence of entries in memory: all entries of a MemRun, or one decoded block of a file. It is
// immutable once it is shared. It holds at most 4 GiB.
type Block struct {
	buf     []byte   // the key and the value of each entry in turn
	ends    []uint32 // end of each entry in buf
	keyLens []uint16 // length of each key
}

// MaxKey is the maximum length of a key in bytes: the range of a Block's key lengths. A target of 8 KiB with a record
// key of 512 bytes is far below it.
const MaxKey = 1<<16 - 1

// NewBlock returns an empty block with the given capacity; it grows beyond it.
func NewBlock(entries, bytes int) *Block {
	return &Block{buf: make([]byte, 0, bytes), ends: make([]uint32, 0, entries), keyLens: make([]uint16, 0, entries)}
}

// Add appends an entry. Its key must be above the previous one. Add copies both slices.
func (b *Block) Add(key, value []byte) {
	b.buf = append(append(b.buf, key...), value...)
	b.ends = append(b.ends, uint32(len(b.buf)))
	b.keyLens = append(b.keyLens, uint16(len(key)))
}

// Len returns the number of entries.
func (b *Block) Len() int { return len(b.ends) }

// Size returns the length of all keys and values, in bytes.
func (b *Block) Size() int { return len(b.buf) }

// Memory returns the allocated memory in bytes.
func (b *Block) Memory() int { return cap(b.buf) + 4*cap(b.ends) + 2*cap(b.keyLens) }

func (b *Block) start(i int) uint32 {
	if i == 0 {
		return 0
	}
	return b.ends[i-1]
}

// Key returns the key of entry i. It must not be changed.
func (b *Block) Key(i int) []byte {
	start := b.start(i)
	end := start + uint32(b.keyLens[i])
	return b.buf[start:end:end]
}

// Value returns the value of entry i. It must not be changed.
func (b *Block) Value(i int) []byte {
	start := b.start(i) + uint32(b.keyLens[i])
	return b.buf[start:b.ends[i]:b.ends[i]]
}

// Search returns the index of the first entry whose key is not below key.
func (b *Block) Search(key []byte) int {
	return sort.Search(len(b.ends), func(i int) bool { return bytes.Compare(b.Key(i), key) >= 0 })
}

// Find returns the value of key.
func (b *Block) Find(key []byte) ([]byte, bool) {
	i := b.Search(key)
	if i < len(b.ends) && bytes.Equal(b.Key(i), key) {
		return b.Value(i), true
	}
	return nil, false
}

// Range returns the indexes [lo, hi) of the entries with from <= key < to. A nil to is open.
func (b *Block) Range(from, to []byte) (lo, hi int) {
	lo = b.Search(from)
	hi = len(b.ends)
	if to != nil {
		hi = endOf(lo, hi, func(i int) bool { return string(b.Key(i)) < string(to) })
	}
	return lo, hi
}

// prefixEnd returns the index of the first entry of [lo, hi) whose key does not begin with prefix; hi if all do.
func (b *Block) prefixEnd(lo, hi int, prefix []byte) int {
	return endOf(lo, hi, func(i int) bool { return bytes.HasPrefix(b.Key(i), prefix) })
}

// endOf returns the index of the first entry of [lo, hi) that is not in a range that begins at lo; hi if all are. It
// looks ahead in steps that double: most ranges have few entries, which lie in memory that the search for lo has read.
func endOf(lo, hi int, in func(i int) bool) int {
	step := 1
	for step <= hi-lo && in(lo+step-1) {
		lo += step
		step *= 2
	}
	n := min(step-1, hi-lo) // of the next entries, it is not known whether they are in the range
	return lo + sort.Search(n, func(i int) bool { return !in(lo + i) })
}

// BlockIterator iterates over a block.
type BlockIterator struct {
	block *Block
	at    int
	stop  int // one past the last entry in the direction of step
	step  int // 1 or -1
	key   []byte
}

// NewBlockIterator returns an iterator over the entries of a block with from <= key < to; nil when there are none.
func NewBlockIterator(b *Block, from, to []byte, reverse bool) *BlockIterator {
	lo, hi := b.Range(from, to)
	if lo >= hi {
		return nil
	}
	it := &BlockIterator{block: b, at: lo, stop: hi, step: 1}
	if reverse {
		it.at, it.stop, it.step = hi-1, lo-1, -1
	}
	it.key = b.Key(it.at)
	return it
}

// Key implements Iterator.
func (it *BlockIterator) Key() []byte { return it.key }

// Value implements Iterator.
func (it *BlockIterator) Value() []byte { return it.block.Value(it.at) }

// Next implements Iterator.
func (it *BlockIterator) Next() (bool, error) {
	it.at += it.step
	if it.at == it.stop {
		return false, nil
	}
	it.key = it.block.Key(it.at)
	return true, nil
}
