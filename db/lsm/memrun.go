package lsm

import "sync"

// MemRun is a run in memory.
type MemRun struct {
	id       uint64
	block    Block
	sums     []int32 // sum of the deltas up to and including each entry; nil when every delta is 1
	prefixes int     // distinct prefixes
	filter   bloomFilter

	// Cache holds results that readers derived from the run. They never go stale, because a run does not change.
	Cache sync.Map
}

// ID implements Run.
func (r *MemRun) ID() uint64 { return r.id }

// Len implements Run.
func (r *MemRun) Len() int { return r.block.Len() }

// Prefixes implements Run.
func (r *MemRun) Prefixes() int { return r.prefixes }

// Total implements Run.
func (r *MemRun) Total() int64 { return r.sum(0, r.Len()) }

// Memory implements Run.
func (r *MemRun) Memory() int { return r.block.Memory() + 4*cap(r.sums) + 8*cap(r.filter) }

// Excludes implements Run.
func (r *MemRun) Excludes(hash uint64, _ []byte) bool { return !r.filter.mayContain(hash) }

// MayContain implements Run.
func (r *MemRun) MayContain(hash uint64, _ []byte) bool { return r.filter.mayContain(hash) }

// Find implements Run.
func (r *MemRun) Find(key []byte, _ Hint) (value []byte, ok bool, err error) {
	value, ok = r.block.Find(key)
	return value, ok, nil
}

// Sum implements Run.
func (r *MemRun) Sum(from, to []byte) (int64, error) {
	lo, hi := r.block.Range(from, to)
	return r.sum(lo, hi), nil
}

// sum returns the sum of the deltas of the entries in [lo, hi).
func (r *MemRun) sum(lo, hi int) int64 {
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

// PrefixSums implements Run.
func (r *MemRun) PrefixSums(from, to []byte, prefixLen func(key []byte) (int, error),
	add func(prefix []byte, sum int64) error) error {
	lo, hi := r.block.Range(from, to)
	for lo < hi {
		key := r.block.Key(lo)
		n, err := prefixLen(key)
		if err != nil {
			return err
		}
		end := r.block.prefixEnd(lo, hi, key[:n])
		err = add(key[:n], r.sum(lo, end))
		if err != nil {
			return err
		}
		lo = end
	}
	return nil
}

// Iterate implements Run.
func (r *MemRun) Iterate(from, to []byte, reverse bool) (Iterator, error) {
	if it := NewBlockIterator(&r.block, from, to, reverse); it != nil {
		return it, nil
	}
	return nil, nil
}

// Below implements Run.
func (r *MemRun) Below(key []byte) (int64, error) { return int64(r.block.Search(key)), nil }

// EntryReader implements Run.
func (r *MemRun) EntryReader() EntryReader { return blockEntryReader{&r.block} }

// blockEntryReader is an EntryReader over a block.
type blockEntryReader struct{ block *Block }

// Key implements EntryReader.
func (r blockEntryReader) Key(i int64) ([]byte, error) { return r.block.Key(int(i)), nil }

// Builder builds a MemRun from entries in key order.
type Builder struct {
	keyspace *Keyspace
	run      *MemRun
	prefixes prefixHashes
	sum      int32
	allOnes  bool // every delta so far is 1
}

// NewBuilder returns a builder with the given capacity; it grows beyond it.
func NewBuilder(keyspace *Keyspace, entries, bytes int) *Builder {
	return &Builder{
		keyspace: keyspace,
		run:      &MemRun{id: NewRunID(), block: *NewBlock(entries, bytes)},
		prefixes: prefixHashes{hashes: make([]uint64, 0, entries)},
		allOnes:  true,
	}
}

// Add appends an entry. Its key must be above the previous one. Add copies both slices.
func (b *Builder) Add(key, value []byte) {
	r := b.run
	b.prefixes.add(key[:b.keyspace.Prefix(key)])
	r.block.Add(key, value)
	delta := int32(b.keyspace.DeltaOf(value))
	if b.allOnes && delta != 1 {
		// The first other delta: materialize the sums that were implicit so far.
		b.allOnes = false
		r.sums = make([]int32, r.Len()-1, cap(r.block.ends))
		for i := range r.sums {
			r.sums[i] = int32(i + 1)
		}
	}
	b.sum += delta
	if !b.allOnes {
		r.sums = append(r.sums, b.sum)
	}
}

// Finish returns the run. The builder must not be used afterwards.
func (b *Builder) Finish() *MemRun {
	r := b.run
	r.prefixes = len(b.prefixes.hashes)
	r.filter = newBloomFilter(b.prefixes.hashes)
	return r
}
