package segment

import "bytes"

// Len is run.Source's.
func (r *Run) Len() int { return int(r.head.Entries) }

// Groups is run.Source's.
func (r *Run) Groups() int { return int(r.head.Groups) }

// Total is run.Source's.
func (r *Run) Total() int64 { return r.head.Total }

// Memory is what the run takes besides the cache, in bytes: its minutes, and about 1 KiB.
func (r *Run) Memory() int {
	n := 1024
	if r.minutes != nil {
		n += int(r.minutes.GetSizeInBytes())
	}
	return n
}

// May is run.Source's. A filter that can't be read denies nothing, so that the fault comes out where the answer is read.
func (r *Run) May(hash uint64, key []byte) bool {
	if r.head.Entries == 0 {
		return false
	}
	if r.minutes != nil {
		if h, ok := minuteOf(r.kind, key); ok && !r.minutes.Contains(h) {
			return false
		}
	}
	n, _, _ := r.head.Filter.place(hash)
	page, err := r.filterPage(n)
	return err != nil || r.head.Filter.may(page, hash)
}

// Find is run.Source's.
func (r *Run) Find(key []byte) (value []byte, ok bool, err error) {
	if r.head.Entries == 0 {
		return nil, false, nil
	}
	c, err := r.descend(key)
	if err != nil {
		return nil, false, err
	}
	page, err := r.page(tableBlocks, c.id)
	if err != nil {
		return nil, false, err
	}
	value, ok = page.Find(key)
	return value, ok, nil
}

// Weigh is run.Source's. It reads the blocks at the two ends.
func (r *Run) Weigh(from, to []byte) (int64, error) {
	if to != nil && bytes.Compare(from, to) >= 0 {
		return 0, nil
	}
	before, err := r.before(from)
	if err != nil {
		return 0, err
	}
	end := child{weight: r.head.Total}
	if to != nil {
		if end, err = r.before(to); err != nil {
			return 0, err
		}
	}
	return end.weight - before.weight, nil
}

// before sums up all entries below key.
func (r *Run) before(key []byte) (c child, err error) {
	if r.head.Entries == 0 || len(key) == 0 {
		return c, nil
	}
	if c, err = r.descend(key); err != nil {
		return c, err
	}
	page, err := r.page(tableBlocks, c.id)
	if err != nil {
		return c, err
	}
	n := page.Search(key)
	c.entries += int64(n)
	if r.kind.Order.Weight == nil {
		c.weight += int64(n)
		return c, nil
	}
	for i := range n {
		c.weight += int64(r.kind.Order.Weight(page.Value(i)))
	}
	return c, nil
}
