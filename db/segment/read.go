package segment

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
)

// queryRetry asks, and asks again where no further connection can be opened: the first one is never closed, and will be free.
func queryRetry(s *sql.Stmt, args ...any) (*sql.Rows, error) {
	for wait, waited := time.Millisecond, time.Duration(0); ; wait *= 2 {
		rows, err := s.Query(args...)
		if err == nil || !isCantOpen(err) || waited >= freeWithin {
			return rows, err
		}
		time.Sleep(wait)
		waited += wait
	}
}

// isCantOpen says whether an error is SQLite's of a file that it can't open.
func isCantOpen(err error) bool {
	const code = 14 // SQLITE_CANTOPEN
	var e interface{ Code() int }
	return errors.As(err, &e) && e.Code()&0xff == code
}

// readRow reads a row and hands over its content, checked, which is valid until use returns.
func (r *Run) readRow(t table, id int64, use func(data []byte) error) error {
	s := r.segment
	rows, err := queryRetry(s.byID[t], id)
	if err == nil {
		err = oneRow(rows, func(row []byte) error {
			data, err := stripChecksum(row, func(data []byte) uint64 { return rowSum(t, id, data) })
			if err != nil {
				return err
			}
			return use(data)
		})
	}
	if err != nil {
		return r.readError(t, id, err)
	}
	return nil
}

// readError names the row that can't be read.
func (r *Run) readError(t table, id int64, err error) error {
	return fmt.Errorf("segment: read row %d of %s of run %d of %s: %w", id, t, r.head.ID, r.segment.path, err)
}

// oneRow takes the only column of the only row, without a copy.
func oneRow(rows *sql.Rows, use func([]byte) error) error {
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return err
		}
		return fmt.Errorf("%w: it is missing", errDamaged)
	}
	var data sql.RawBytes
	if err := rows.Scan(&data); err != nil {
		return err
	}
	return use(data)
}

// indexBlock is a block of an index, through the cache.
func (r *Run) indexBlock(id int64) (*lsm.Block, error) {
	key := newCacheKey(r.segment.id, tableNodes, id)
	if v, ok := r.segment.cache.get(key); ok {
		return v.(*lsm.Block), nil
	}
	page, err := r.readBlock(tableNodes, id)
	if err == nil {
		r.segment.cache.put(key, page, page.Memory())
	}
	return page, err
}

// dataBlock is a block of entries, through the cache.
func (r *Run) dataBlock(id int64) (*columns, error) {
	key := newCacheKey(r.segment.id, tableBlocks, id)
	if v, ok := r.segment.cache.get(key); ok {
		return v.(*columns), nil
	}
	var c *columns
	err := r.readRow(tableBlocks, id, func(data []byte) (err error) {
		if c, err = decodeColumns(data); err == nil && c.n == 0 {
			err = errEmpty
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	r.segment.cache.put(key, c, c.memory())
	return c, nil
}

// errEmpty: blocks are written when they have entries.
var errEmpty = fmt.Errorf("%w: it is empty", errDamaged)

// readBlock reads a block from the file, as a page.
func (r *Run) readBlock(t table, id int64) (page *lsm.Block, err error) {
	err = r.readRow(t, id, func(data []byte) error {
		if page, err = decodeBlock(data); err == nil && page.Len() == 0 {
			err = errEmpty
		}
		return err
	})
	return page, err
}

// filterPage is a page of the filter, through the cache.
func (r *Run) filterPage(n int64) ([]byte, error) {
	id := r.head.Filter.First + n
	key := newCacheKey(r.segment.id, tableFilters, id)
	if v, ok := r.segment.cache.get(key); ok {
		return v.([]byte), nil
	}
	var page []byte
	err := r.readRow(tableFilters, id, func(data []byte) error {
		if len(data) != r.head.Filter.Blocks*filterBlockBytes {
			return fmt.Errorf("%w: a page of a filter has %d bytes", errDamaged, len(data))
		}
		page = append(page, data...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.segment.cache.put(key, page, cap(page))
	return page, nil
}

// tableSets names sets in the cache.
const tableSets table = 4

// cachedSet is a set in the cache, with its prefix, as another's may have the same hash.
type cachedSet struct {
	prefix string
	set    *distinct.Set
}

// set is the set of a list, through the cache; nil when there is none.
func (r *Run) set(prefix []byte) (*distinct.Set, error) {
	key := newCacheKey(r.segment.id, tableSets, int64(xxhash.Sum64(prefix))+int64(r.head.ID))
	if v, ok := r.segment.cache.get(key); ok {
		if c := v.(cachedSet); c.prefix == string(prefix) {
			return c.set, nil
		}
	}
	set, err := r.readSet(prefix)
	if set != nil {
		r.segment.cache.put(key, cachedSet{string(prefix), set}, set.Memory()+len(prefix))
	}
	return set, err
}

// readSet reads the set of a list from the file; nil when there is none.
func (r *Run) readSet(prefix []byte) (*distinct.Set, error) {
	fail := func(err error) error {
		return fmt.Errorf("segment: read set of %x of run %d of %s: %w", prefix, r.head.ID, r.segment.path, err)
	}
	rows, err := queryRetry(r.segment.set, r.head.ID, prefix)
	if err != nil {
		return nil, fail(err)
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return nil, fail(err)
		}
		return nil, nil
	}
	var row []byte
	if err := rows.Scan(&row); err != nil {
		return nil, fail(err)
	}
	data, err := stripChecksum(row, func(data []byte) uint64 { return setSum(r.head.ID, prefix, data) })
	if err != nil {
		return nil, fail(err)
	}
	set, err := distinct.Parse(data)
	if err != nil {
		return nil, fail(fmt.Errorf("%w: %w", errDamaged, err))
	}
	return set, nil
}

// findBlock finds the data block where key lies, or would lie. The run must not be empty.
func (r *Run) findBlock(key []byte) (c blockHandle, err error) {
	id := r.head.Root
	for range r.head.Height {
		index, err := r.indexBlock(id)
		if err != nil {
			return c, err
		}
		if _, c, err = seekIndex(index, key); err != nil {
			return c, r.readError(tableNodes, id, err)
		}
		id = c.id
	}
	if id < r.head.First || id >= r.head.First+r.head.Blocks {
		return c, r.readError(tableBlocks, id, fmt.Errorf("%w: it is no block of the run", errDamaged))
	}
	return c, nil
}
