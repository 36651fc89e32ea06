package segment

import (
	"bytes"
	"database/sql"
	"fmt"

	"weft.dev/weft/db/lsm"
)

const (
	// readAhead is the number of blocks that a long iteration reads in one query, about 64 KiB compressed: a query
	// costs as much as decoding one or two blocks.
	readAhead = 16
	// longScan is the number of blocks after which an iteration counts as long and bypasses the cache.
	longScan = 16
)

// Iterate implements lsm.Run. An iteration over the whole run bypasses the cache and reads ahead from the start.
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
	ahead        [][]byte
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
		if it.visited <= longScan && it.step > 0 {
			open = it.openColumns
		}
		ok, err := open()
		it.id += it.step
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// openColumns opens the next block without decoding entries ahead of the iteration.
func (it *runIterator) openColumns() (bool, error) {
	c, err := it.run.dataBlock(it.id)
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
	block, err := it.decode()
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

// decode returns the next block: through the cache in a short iteration, by read-ahead in a long one.
func (it *runIterator) decode() (*lsm.Block, error) {
	if it.visited <= longScan {
		c, err := it.run.dataBlock(it.id)
		if err != nil {
			return nil, err
		}
		return c.block(), nil
	}
	if len(it.ahead) == 0 {
		if err := it.readAhead(); err != nil {
			return nil, it.run.readError(tableBlocks, it.id, err)
		}
	}
	data := it.ahead[0]
	it.ahead = it.ahead[1:]
	block, err := decodeNonEmpty(data)
	if err != nil {
		return nil, it.run.readError(tableBlocks, it.id, err)
	}
	return block, nil
}

// readAhead reads the next blocks with one query into it.ahead, in the direction of the iteration, with their checksums
// verified. The query is closed at once, so that an abandoned iterator holds no connection.
func (it *runIterator) readAhead() error {
	n := min(readAhead, (it.end-it.id)*it.step)
	lo := min(it.id, it.id+(n-1)*it.step)
	rows, err := queryRetry(it.run.segment.blockRange, lo, lo+n-1)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	it.ahead = make([][]byte, n)
	for i := range n {
		if !rows.Next() {
			break
		}
		var id int64
		var row sql.RawBytes
		if err := rows.Scan(&id, &row); err != nil {
			return err
		}
		if id != lo+i {
			return fmt.Errorf("%w: row %d is missing", errDamaged, lo+i)
		}
		data, err := stripChecksum(bytes.Clone(row), func(data []byte) uint64 { return rowSum(tableBlocks, id, data) })
		if err != nil {
			return fmt.Errorf("row %d: %w", id, err)
		}
		at := i
		if it.step < 0 {
			at = n - 1 - i
		}
		it.ahead[at] = data
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for i, data := range it.ahead {
		if data == nil {
			return fmt.Errorf("%w: row %d is missing", errDamaged, it.id+int64(i)*it.step)
		}
	}
	return nil
}
