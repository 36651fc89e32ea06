// Package lsm holds the one shape in which weft keeps sorted data: a run, an immutable sequence of entries (key, value)
// in byte order of their keys. Runs lie on a stack, oldest first; a reader sees the newest entry of each key, and runs
// of like size are merged, so that a stack stays shallow. A run lies in memory (Run) or wherever another Source keeps it.
package lsm

import (
	"bytes"
	"sync"

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

// Hash is the hash of a key's group, as filters take it.
func (o *Order) Hash(key []byte) uint64 { return xxhash.Sum64(key[:o.Group(key)]) }

// WeightOf is an entry's weight.
func (o *Order) WeightOf(value []byte) int {
	if o.Weight == nil {
		return 1
	}
	return o.Weight(value)
}

// Run is a run in memory. It is safe for concurrent use.
type Run struct {
	order  *Order
	page   Page
	sums   []int32 // the weight of each entry and all before it; nil when every entry weighs 1
	groups int     // distinct groups
	filter Filter

	// Derived holds what readers have worked out from the run, by what it is of. It never goes stale: a run doesn't change.
	Derived sync.Map
}

// Len is the number of entries.
func (r *Run) Len() int { return r.page.Len() }

// Groups is the number of distinct groups among the keys.
func (r *Run) Groups() int { return r.groups }

// Memory is what the run takes, in bytes.
func (r *Run) Memory() int { return r.page.Memory() + 4*cap(r.sums) + 8*cap(r.filter) }

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

// Groups gathers the hashes of distinct groups while keys go by in order.
type Groups struct {
	Hashes []uint64
	last   []byte
}

// Add takes the next key's group.
func (g *Groups) Add(group []byte) {
	if len(g.Hashes) == 0 || !bytes.Equal(group, g.last) {
		g.Hashes = append(g.Hashes, xxhash.Sum64(group))
		g.last = append(g.last[:0], group...)
	}
}

// Builder makes a run in memory from entries in order.
type Builder struct {
	run    *Run
	groups Groups
	sum    int32
	plain  bool // every entry so far weighs 1
}

// NewBuilder makes a builder with room for so many entries and bytes; it grows past them.
func NewBuilder(order *Order, entries, size int) *Builder {
	return &Builder{plain: true, groups: Groups{Hashes: make([]uint64, 0, entries)}, run: &Run{order: order, page: *NewPage(entries, size)}}
}

// Add appends an entry, whose key must be above that of the entry before. It copies both slices.
func (b *Builder) Add(key, value []byte) {
	r := b.run
	b.groups.Add(key[:r.order.Group(key)])
	r.page.Add(key, value)
	w := int32(r.order.WeightOf(value))
	if b.plain && w != 1 {
		// The first entry that weighs otherwise: write down the sums that were implied so far.
		b.plain = false
		r.sums = make([]int32, r.Len()-1, cap(r.page.ends))
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
	r.groups = len(b.groups.Hashes)
	r.filter = NewFilter(b.groups.Hashes)
	return r
}
