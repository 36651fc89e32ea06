package segment

import (
	"bytes"
	"database/sql"
	"fmt"

	"weft.dev/weft/db/lsm"
)

const (
	// readAhead is how many blocks a long walk reads at once, about 64 KiB compressed: a query costs as much as the
	// decoding of a block or two.
	readAhead = 16
	// longWalk is after how many blocks a walk counts as long, and leaves the cache to others.
	longWalk = 16
)

// Iterate is lsm.Run's. A walk through the whole run doesn't go through the cache, and reads ahead.
func (r *Run) Iterate(from, to []byte, reverse bool) (lsm.Iterator, error) {
	if r.head.Entries == 0 {
		return nil, nil
	}
	w := &runIterator{run: r, from: from, to: to, step: 1, id: r.head.First, end: r.head.First + r.head.Blocks}
	if from == nil && to == nil {
		w.visited = longWalk
	}
	switch {
	case reverse:
		w.step, w.end, w.id = -1, r.head.First-1, w.end-1
		if to != nil {
			c, err := r.findBlock(to)
			if err != nil {
				return nil, err
			}
			w.id = c.id
		}
	case len(from) > 0:
		c, err := r.findBlock(from)
		if err != nil {
			return nil, err
		}
		w.id = c.id
	}
	if ok, err := w.block(); !ok || err != nil {
		return nil, err
	}
	return w, nil
}

// runIterator goes through blocks, one after the other.
type runIterator struct {
	lsm.Iterator                 // of the block at hand
	columns      *columnIterator // the same, where a short walk goes forward
	run          *Run
	from, to     []byte
	id, end      int64 // the block to come, and the one behind the last, in the direction of step
	step         int64
	visited      int
	last         bool     // the block at hand reaches beyond the range
	ahead        [][]byte // blocks that were read ahead, the next first, checked
}

// Next is lsm.Iterator's.
func (w *runIterator) Next() (bool, error) {
	if ok, err := w.Iterator.Next(); ok || err != nil {
		return ok, err
	}
	return w.block()
}

// block goes to the next block that has an entry in the range.
func (w *runIterator) block() (bool, error) {
	for !w.last && (w.columns == nil || !w.columns.past) && w.id != w.end {
		w.visited++
		ok, err := false, error(nil)
		if w.columns = nil; w.visited <= longWalk && w.step > 0 {
			ok, err = w.columnBlock()
		} else {
			ok, err = w.rowBlock()
		}
		w.id += w.step
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// columnBlock reads the block to come as far as it is walked.
func (w *runIterator) columnBlock() (bool, error) {
	c, err := w.run.dataBlock(w.id)
	if err != nil {
		return false, err
	}
	at, _ := c.seek(w.from)
	at.to = w.to
	w.Iterator, w.columns = &at, &at
	return at.Next()
}

// rowBlock reads the block to come as a whole.
func (w *runIterator) rowBlock() (bool, error) {
	page, err := w.decode()
	if err != nil {
		return false, err
	}
	if w.step > 0 {
		w.last = w.to != nil && bytes.Compare(page.Key(page.Len()-1), w.to) >= 0
	} else {
		w.last = bytes.Compare(page.Key(0), w.from) <= 0
	}
	in := lsm.NewBlockIterator(page, w.from, w.to, w.step < 0)
	w.Iterator = in
	return in != nil, nil
}

func (w *runIterator) decode() (*lsm.Block, error) {
	if w.visited <= longWalk {
		c, err := w.run.dataBlock(w.id)
		if err != nil {
			return nil, err
		}
		return c.page(), nil
	}
	if len(w.ahead) == 0 {
		if err := w.readAhead(); err != nil {
			return nil, w.run.readError(tableBlocks, w.id, err)
		}
	}
	data := w.ahead[0]
	w.ahead = w.ahead[1:]
	page, err := decodeBlock(data)
	if err == nil && page.Len() == 0 {
		err = errEmpty
	}
	if err != nil {
		return nil, w.run.readError(tableBlocks, w.id, err)
	}
	return page, nil
}

// readAhead reads the next blocks with one query. No query stays open, so that a walk that is given up holds nothing.
func (w *runIterator) readAhead() error {
	n := min(readAhead, (w.end-w.id)*w.step)
	lo := min(w.id, w.id+(n-1)*w.step)
	rows, err := queryRetry(w.run.segment.blockRange, lo, lo+n-1)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	w.ahead = make([][]byte, n)
	for i := range n {
		var id int64
		var row sql.RawBytes
		if !rows.Next() {
			break
		}
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
		if w.step < 0 {
			at = n - 1 - i
		}
		w.ahead[at] = data
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for i, data := range w.ahead {
		if data == nil {
			return fmt.Errorf("%w: row %d is missing", errDamaged, w.id+int64(i)*w.step)
		}
	}
	return nil
}
