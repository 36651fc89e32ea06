package lsm

import "slices"

// Tree is an immutable list of runs of one keyspace, oldest first. A Tree with only a Keyspace is empty.
type Tree struct {
	Keyspace *Keyspace
	Runs     []Run
	// NoCompact is the number of oldest runs that Push does not compact: segments, and runs that are being sealed.
	NoCompact int
}

// tierRuns is the number of runs of one tier that are compacted into one. A higher number rewrites entries less often
// and makes look-ups visit more runs. With 8, each of a million entries is copied 3.6, 2.7 and 1.7 times after batches
// of 80, 300 and 4,096, and a look-up visits 15, 13 and 8 runs; with 4 it would be copied 4.7, 3.9 and 2.3 times, and
// a look-up would visit 10, 9 and 6.
const tierRuns = 8

// Push returns the tree with r as its newest run. It compacts the newest runs once tierRuns of them are of one tier.
func (t Tree) Push(r *MemRun) (Tree, error) {
	if r.Len() == 0 {
		return t, nil
	}
	t.Runs = append(t.Runs[:len(t.Runs):len(t.Runs)], r)
	for {
		i := t.newestTier()
		if len(t.Runs)-i < tierRuns {
			return t, nil
		}
		compacted, err := compactInMemory(t.Keyspace, t.Runs[i:], i == 0)
		if err != nil {
			return t, err
		}
		t.Runs = t.Runs[:i:i]
		if compacted.Len() > 0 {
			t.Runs = append(t.Runs, compacted)
		}
		if len(t.Runs) == t.NoCompact {
			return t, nil
		}
	}
}

// newestTier returns the index of the oldest of the newest runs whose tier is at most that of the newest run.
func (t Tree) newestTier() int {
	i := len(t.Runs) - 1
	newest := tier(t.Runs[i])
	for i > t.NoCompact && tier(t.Runs[i-1]) <= newest {
		i--
	}
	return i
}

// tier returns the logarithm of a run's length to the base tierRuns, rounded down.
func tier(r Run) int {
	c := 0
	for n := r.Len(); n >= tierRuns; n /= tierRuns {
		c++
	}
	return c
}

func compactInMemory(keyspace *Keyspace, runs []Run, bottommost bool) (*MemRun, error) {
	entries, bytes := 0, 0
	for _, r := range runs {
		entries += r.Len()
		if m, ok := r.(*MemRun); ok {
			bytes += m.block.Size()
		}
	}
	c, err := NewCompactionIterator(keyspace, runs, bottommost)
	if err != nil {
		return nil, err
	}
	b := NewBuilder(keyspace, entries, bytes)
	for {
		more, err := c.Next()
		if err != nil {
			return nil, err
		}
		if !more {
			return b.Finish(), nil
		}
		b.Add(c.Key(), c.Value())
	}
}

// Find returns the newest value of key.
func (t Tree) Find(key []byte, hint Hint) (value []byte, ok bool, err error) {
	hash := t.Keyspace.Hash(key)
	unfiltered := -1 // the run whose filter is not asked
	if hint&Likely != 0 {
		unfiltered = slices.IndexFunc(t.Runs, func(r Run) bool { return !r.Excludes(hash, key) })
		if unfiltered < 0 {
			return nil, false, nil
		}
	}
	for i := len(t.Runs) - 1; i >= 0; i-- {
		r := t.Runs[i]
		if i != unfiltered && !r.MayContain(hash, key) {
			continue
		}
		value, ok, err = r.Find(key, hint)
		if ok || err != nil {
			return value, ok, err
		}
	}
	return nil, false, nil
}

// Sum returns the sum of the deltas of all entries whose key begins with prefix, which must include the full Keyspace
// prefix.
func (t Tree) Sum(prefix []byte) (int64, error) {
	h, end := t.Keyspace.Hash(prefix), PrefixEnd(prefix)
	var sum int64
	for _, r := range t.Runs {
		if !r.MayContain(h, prefix) {
			continue
		}
		n, err := r.Sum(prefix, end)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// Len returns the number of entries of all runs, tombstones and superseded entries included.
func (t Tree) Len() int { return sum(t.Runs, Run.Len) }

// Prefixes returns the sum over all runs of the number of distinct prefixes.
func (t Tree) Prefixes() int { return sum(t.Runs, Run.Prefixes) }

// Memory returns the memory that the runs take, in bytes.
func (t Tree) Memory() int { return sum(t.Runs, Run.Memory) }

// Total returns the sum of the deltas of all entries.
func (t Tree) Total() int64 { return sum(t.Runs, Run.Total) }

func sum[T int | int64](runs []Run, of func(Run) T) (n T) {
	for _, r := range runs {
		n += of(r)
	}
	return n
}
