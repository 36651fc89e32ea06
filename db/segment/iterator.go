package segment

import (
	"bytes"

	"weft.dev/weft/db/lsm"
)

// longScan is the number of blocks after which an iteration counts as long and bypasses the cache.
const longScan = 16

// Iterate implements lsm.Run. An iteration over the whole run bypasses the cache.
func (r *Run) Iterate(from, to []byte, reverse bool) (lsm.Iterator, error) {
	if r.head.Entries == 0 {
		return nil, nil
	}
	it := &runIterator{run: r, from: from, to: to, step: 1, id: r.head.First, end: r.head.First + r.head.Blocks}
	if from == nil && to == nil {
		it.visited = longScan
	}
	start := from
	if reverse {
		it.step = -1
		it.id = it.end - 1
		it.end = r.head.First - 1
		start = to
	}
	if len(start) > 0 || reverse && start != nil {
		h, err := r.findBlock(start)
		if err != nil {
			return nil, err
		}
		it.id = h.id
	}
	it.ahead = r.readahead(it.id, it.step, it.visited > 0)
	if ok, err := it.nextBlock(); !ok || err != nil {
		return nil, err
	}
	return it, nil
}

// runIterator iterates over the blocks of a run.
type runIterator struct {
	lsm.Iterator                 // of the current block
	columns      *columnIterator // the same, in a short forward iteration; else nil
	run          *Run
	from, to     []byte
	id, end      int64 // the next block, and the one past the last in the direction of step
	step         int64 // 1 or -1
	visited      int   // blocks
	last         bool  // the current block reaches the end of the range
	ahead        readahead
}

// Next implements lsm.Iterator.
func (it *runIterator) Next() (bool, error) {
	if ok, err := it.Iterator.Next(); ok || err != nil {
		return ok, err
	}
	return it.nextBlock()
}

// nextBlock moves to the next block with an entry in the range.
func (it *runIterator) nextBlock() (bool, error) {
	for !it.last && (it.columns == nil || !it.columns.passed) && it.id != it.end {
		it.visited++
		it.columns = nil
		open := it.openBlock
		if it.visited <= longScan {
			open = it.openRange
			if it.step > 0 {
				open = it.openColumns
			}
		}
		ok, err := open()
		it.id += it.step
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// dataBlock returns the next block, through the cache.
func (it *runIterator) dataBlock() (*columns, error) {
	if c, ok := it.run.cachedBlock(it.id); ok {
		return c, nil
	}
	it.ahead.next(it.id)
	return it.run.loadBlock(it.id)
}

// openColumns opens the next block without decoding entries ahead of the iteration.
func (it *runIterator) openColumns() (bool, error) {
	c, err := it.dataBlock()
	if err != nil {
		return false, err
	}
	columns, _ := c.seek(it.from)
	columns.to = it.to
	it.columns = &columns
	it.Iterator = it.columns
	return columns.Next()
}

// openBlock opens the next block with all its entries decoded.
func (it *runIterator) openBlock() (bool, error) {
	it.ahead.next(it.id)
	block, err := it.run.readBlock(tableBlocks, it.id)
	if err != nil {
		return false, err
	}
	if it.step > 0 {
		it.last = it.to != nil && bytes.Compare(block.Key(block.Len()-1), it.to) >= 0
	} else {
		it.last = bytes.Compare(block.Key(0), it.from) <= 0
	}
	in := lsm.NewBlockIterator(block, it.from, it.to, it.step < 0)
	it.Iterator = in
	return in != nil, nil
}

// openRange opens the next block of a reverse iteration with its entries of the range decoded: a short list is a small
// part of its block.
func (it *runIterator) openRange() (bool, error) {
	c, err := it.dataBlock()
	if err != nil {
		return false, err
	}
	begin, isFirst := c.seek(it.from)
	it.last = begin.i > 0 || isFirst
	n := c.n - begin.i
	if it.to != nil {
		if bytes.Compare(it.from, it.to) >= 0 {
			return false, nil
		}
		end := begin
		end.seekOn(it.from, it.to)
		n = end.i - begin.i
	}
	if n == 0 {
		return false, nil
	}
	it.Iterator = lsm.NewBlockIterator(begin.block(n), nil, nil, true)
	return true, nil
}
