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

// queryRetry runs a query and retries while SQLite cannot open a further connection: the first connection stays open
// and becomes free.
func queryRetry(s *sql.Stmt, args ...any) (*sql.Rows, error) {
	wait := time.Millisecond
	waited := time.Duration(0)
	for {
		rows, err := s.Query(args...)
		if err == nil || !isCantOpen(err) || waited >= busyWait {
			return rows, err
		}
		time.Sleep(wait)
		waited += wait
		wait *= 2
	}
}

// isCantOpen reports whether an error is SQLITE_CANTOPEN.
func isCantOpen(err error) bool {
	const code = 14 // SQLITE_CANTOPEN
	var e interface{ Code() int }
	return errors.As(err, &e) && e.Code()&0xff == code
}

// readRow reads a row and passes its verified content to use. The content is valid until use returns.
func (r *Run) readRow(t table, id int64, use func(data []byte) error) error {
	rows, err := queryRetry(r.segment.byID[t], id)
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

// readError adds the row to the error of a read.
func (r *Run) readError(t table, id int64, err error) error {
	return fmt.Errorf("segment: read row %d of %s of run %d of %s: %w", id, t, r.head.ID, r.segment.path, err)
}

// oneRow passes the only column of the only row to use, without a copy.
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

// errEmpty is the error for a block without entries, which the writer never makes.
var errEmpty = fmt.Errorf("%w: it is empty", errDamaged)

// indexBlock returns an index block, through the cache.
func (r *Run) indexBlock(id int64) (*lsm.Block, error) {
	key := newCacheKey(r.segment.id, tableNodes, id)
	if v, ok := r.segment.cache.get(key); ok {
		return v.(*lsm.Block), nil
	}
	block, err := r.readBlock(tableNodes, id)
	if err == nil {
		r.segment.cache.put(key, block, block.Memory())
	}
	return block, err
}

// dataBlock returns a data block, through the cache.
func (r *Run) dataBlock(id int64) (*columns, error) {
	key := newCacheKey(r.segment.id, tableBlocks, id)
	if v, ok := r.segment.cache.get(key); ok {
		return v.(*columns), nil
	}
	var c *columns
	err := r.readRow(tableBlocks, id, func(data []byte) (err error) {
		c, err = decodeColumns(data)
		if err == nil && c.n == 0 {
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

// readBlock reads a data or index block from the file, without the cache.
func (r *Run) readBlock(t table, id int64) (block *lsm.Block, err error) {
	err = r.readRow(t, id, func(data []byte) (err error) {
		block, err = decodeNonEmpty(data)
		return err
	})
	return block, err
}

func decodeNonEmpty(data []byte) (*lsm.Block, error) {
	block, err := decodeBlock(data)
	if err == nil && block.Len() == 0 {
		err = errEmpty
	}
	return block, err
}

// filterPage returns a page of the filter, through the cache.
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

// tableSets identifies sets in the cache.
const tableSets table = 4

// cachedSet is a cached set. It has the prefix, because two prefixes may have the same hash.
type cachedSet struct {
	prefix string
	set    *distinct.Set
}

// set returns the set of a list, through the cache; nil when there is none.
func (r *Run) set(prefix []byte) (*distinct.Set, error) {
	key := newCacheKey(r.segment.id, tableSets, int64(xxhash.Sum64(prefix))+int64(r.head.ID))
	if v, ok := r.segment.cache.get(key); ok {
		if c := v.(cachedSet); c.prefix == string(prefix) {
			return c.set, nil
		}
	}
	set, err := r.readSet(prefix)
	if err != nil {
		return nil, fmt.Errorf("segment: read set of %x of run %d of %s: %w", prefix, r.head.ID, r.segment.path, err)
	}
	if set != nil {
		r.segment.cache.put(key, cachedSet{string(prefix), set}, set.Memory()+len(prefix))
	}
	return set, nil
}

// readSet reads the set of a list from the file; nil when there is none.
func (r *Run) readSet(prefix []byte) (*distinct.Set, error) {
	rows, err := queryRetry(r.segment.set, r.head.ID, prefix)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		return nil, rows.Err()
	}
	var row []byte
	if err := rows.Scan(&row); err != nil {
		return nil, err
	}
	data, err := stripChecksum(row, func(data []byte) uint64 { return setSum(r.head.ID, prefix, data) })
	if err != nil {
		return nil, err
	}
	set, err := distinct.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return set, nil
}

// findBlock returns the data block whose range includes key. It reads the index blocks through the cache. The run must
// not be empty.
func (r *Run) findBlock(key []byte) (h blockHandle, err error) {
	id := r.head.Root
	for range r.head.Height {
		index, err := r.indexBlock(id)
		if err != nil {
			return h, err
		}
		_, h, err = seekIndex(index, key)
		if err != nil {
			return h, r.readError(tableNodes, id, err)
		}
		id = h.id
	}
	if id < r.head.First || id >= r.head.First+r.head.Blocks {
		return h, r.readError(tableBlocks, id, fmt.Errorf("%w: it is no block of the run", errDamaged))
	}
	return h, nil
}
