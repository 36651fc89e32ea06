// Package run holds the one shape in which weft keeps sorted data: a run, an immutable sequence of entries (key, value)
// in byte order of their keys. Runs lie on a stack, oldest first; a reader sees the newest entry of each key, and runs
// of like size are merged, so that a stack stays shallow. The runs of this package are in memory.
package run

import (
	"bytes"
	"sort"

	"github.com/cespare/xxhash/v2"
)

// Order says what the keys and values of a stack mean. Its functions must not keep their arguments.
type Order struct {
	// Group gives the length of a key's leading part that look-ups name in full; filters answer for that part.
	Group func(key []byte) int
	// Weight is what an entry adds to the total of a range: 1 for an addition, -1 for a removal. Nil: each weighs 1.
	Weight func(value []byte) int
	// Cancels says that an older and a newer entry of one key leave nothing when they meet in a merge. Nil: never.
	Cancels func(older, newer []byte) bool
	// Dead says that an entry stands for absence, so that it can go when nothing older lies below. Nil: never.
	Dead func(value []byte) bool
}

// Run is an immutable run in memory. It is safe for concurrent use. It holds at most 4 GiB.
type Run struct {
	order  *Order
	buf    []byte   // entry after entry, each its key and then its value
	ends   []uint32 // where each entry ends in buf
	klens  []uint16 // the length of each key
	sums   []int32  // the weight of each entry and all before it; nil when every entry weighs 1
	groups int      // distinct groups
	filter filter
}

// MaxKey is the longest key that a run takes, in bytes: what its length column holds. A target of 8 KiB with an rkey
// of 512 bytes is far below.
const MaxKey = 1<<16 - 1

// Len is the number of entries.
func (r *Run) Len() int { return len(r.ends) }

// Groups is the number of distinct groups among the keys.
func (r *Run) Groups() int { return r.groups }

// Bytes is the memory that the run takes, in bytes.
func (r *Run) Bytes() int {
	return cap(r.buf) + 4*cap(r.ends) + 2*cap(r.klens) + 4*cap(r.sums) + 8*cap(r.filter)
}

func (r *Run) start(i int) uint32 {
	if i == 0 {
		return 0
	}
	return r.ends[i-1]
}

// Key is the key of entry i, valid for ever; not to be changed.
func (r *Run) Key(i int) []byte {
	s := r.start(i)
	e := s + uint32(r.klens[i])
	return r.buf[s:e:e]
}

// Value is the value of entry i, valid for ever; not to be changed.
func (r *Run) Value(i int) []byte {
	s := r.start(i) + uint32(r.klens[i])
	return r.buf[s:r.ends[i]:r.ends[i]]
}

// search is the first entry whose key is not below key.
func (r *Run) search(key []byte) int {
	return sort.Search(len(r.ends), func(i int) bool { return bytes.Compare(r.Key(i), key) >= 0 })
}

// find is the value at exactly key.
func (r *Run) find(key []byte) ([]byte, bool) {
	if i := r.search(key); i < len(r.ends) && bytes.Equal(r.Key(i), key) {
		return r.Value(i), true
	}
	return nil, false
}

// span is the range of entries with from <= key < to; a nil to has no end.
func (r *Run) span(from, to []byte) (lo, hi int) {
	lo, hi = r.search(from), len(r.ends)
	if to != nil {
		hi = lo + sort.Search(hi-lo, func(i int) bool { return bytes.Compare(r.Key(lo+i), to) >= 0 })
	}
	return lo, hi
}

// weigh sums the weights of the entries in [lo, hi).
func (r *Run) weigh(lo, hi int) int64 {
	switch {
	case hi <= lo:
		return 0
	case r.sums == nil:
		return int64(hi - lo)
	case lo == 0:
		return int64(r.sums[hi-1])
	}
	return int64(r.sums[hi-1]) - int64(r.sums[lo-1])
}

// Builder makes a run from entries in order.
type Builder struct {
	run    *Run
	hashes []uint64 // of the distinct groups
	group  []byte   // the last one
	sum    int32
	plain  bool // every entry so far weighs 1
}

// NewBuilder makes a builder with room for so many entries and bytes; it grows past them.
func NewBuilder(order *Order, entries, size int) *Builder {
	return &Builder{plain: true, run: &Run{
		order: order,
		buf:   make([]byte, 0, size),
		ends:  make([]uint32, 0, entries),
		klens: make([]uint16, 0, entries),
	}}
}

// Add appends an entry, whose key must be above that of the entry before. It copies both slices.
func (b *Builder) Add(key, value []byte) {
	r := b.run
	if group := key[:r.order.Group(key)]; b.hashes == nil || !bytes.Equal(group, b.group) {
		b.hashes = append(b.hashes, xxhash.Sum64(group))
		b.group = append(b.group[:0], group...)
	}
	r.buf = append(append(r.buf, key...), value...)
	r.ends = append(r.ends, uint32(len(r.buf)))
	r.klens = append(r.klens, uint16(len(key)))
	if r.order.Weight == nil {
		return
	}
	w := int32(r.order.Weight(value))
	if b.plain && w != 1 {
		// The first entry that weighs otherwise: write down the sums that were implied so far.
		b.plain = false
		r.sums = make([]int32, len(r.ends)-1, cap(r.ends))
		for i := range r.sums {
			r.sums[i] = int32(i + 1)
		}
	}
	b.sum += w
	if !b.plain {
		r.sums = append(r.sums, b.sum)
	}
}

// Finish ends the run. The builder can't be used after it.
func (b *Builder) Finish() *Run {
	r := b.run
	r.groups = len(b.hashes)
	r.filter = newFilter(len(b.hashes))
	for _, h := range b.hashes {
		r.filter.add(h)
	}
	return r
}
