package segment

import (
	"fmt"
	"sort"
)

// fence has the order of the separator before each data block of a run (FixedWidth.Order), 8 bytes a block, so that a
// look-up of a fixed key finds its block without the index blocks.
type fence []uint64

// find returns the position of the block that has the keys of an order. ok is false if separators of the same order
// leave it open.
func (f fence) find(order uint64) (block int, ok bool) {
	n := sort.Search(len(f), func(i int) bool { return f[i] >= order })
	// A separator with a lower order is below the key, and one with a higher order is above it.
	return n - 1, n > 0 && (n == len(f) || f[n] > order)
}

// loadFence returns the fence. The first call reads all index blocks, without the cache.
func (r *Run) loadFence() (fence, error) {
	if f := r.fence.Load(); f != nil {
		return *f, nil
	}
	r.fenceMu.Lock()
	defer r.fenceMu.Unlock()
	if f := r.fence.Load(); f != nil {
		return *f, nil
	}
	index := &indexIterator{run: r}
	if err := index.open(r.head.Root, r.head.Height); err != nil {
		return nil, err
	}
	f := make(fence, 0, r.head.Blocks)
	for i := range r.head.Blocks {
		separator, h, err := index.next()
		if err != nil {
			return nil, fmt.Errorf("segment: read the index of run %d of %s: %w", r.head.ID, r.segment.path, err)
		}
		order := r.kind.Fixed.Order(separator)
		if h.id != r.head.First+i || i > 0 && order < f[i-1] {
			return nil, r.readError(tableBlocks, h.id, fmt.Errorf("%w: the index has it out of order", errDamaged))
		}
		f = append(f, order)
	}
	r.fence.Store(&f)
	return f, nil
}

// findFixed looks up a key in the fixed block that may have it. done is false if the key has no fixed form, or if its
// block isn't fixed.
func (r *Run) findFixed(key []byte) (value []byte, ok, done bool, err error) {
	var buf [32]byte
	kind := r.kind.Fixed
	fixed, ok := kind.AppendFixed(buf[:0], key)
	if !ok {
		return nil, false, false, nil
	}
	f, err := r.loadFence()
	if err != nil {
		return nil, false, false, err
	}
	block, ok := f.find(kind.Order(key))
	if !ok {
		return nil, false, false, nil
	}
	err = r.readRow(tableBlocks, r.head.First+int64(block), func(data []byte) error {
		if !isFixed(data) {
			return nil
		}
		b, err := parseFixed(data, kind.Size)
		if err != nil {
			return err
		}
		done = true
		var n uint64
		n, ok = b.find(fixed)
		if ok {
			value = kind.AppendValue(nil, n)
		}
		return nil
	})
	return value, ok, done, err
}
