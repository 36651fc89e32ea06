package segment

import (
	"bytes"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
)

// readRow reads a row and passes its verified content to use. The content is valid until use returns.
func (r *Run) readRow(t table, id int64, use func(data []byte) error) error {
	file := r.segment.file.reader()
	defer file.release()
	var columns [2]field // id, data
	err := r.segment.rows[t].read(file, id, columns[:])
	if err != nil {
		return r.readError(t, id, err)
	}
	row, err := columns[1].blob()
	if err != nil {
		return r.readError(t, id, err)
	}
	data, err := stripChecksum(row, func(data []byte) uint64 { return rowSum(t, id, data) })
	if err != nil {
		return r.readError(t, id, err)
	}
	err = use(data)
	if err != nil {
		return r.readError(t, id, err)
	}
	return nil
}

// readError adds the row to the error of a read.
func (r *Run) readError(t table, id int64, err error) error {
	return fmt.Errorf("segment: read row %d of %s of run %d of %s: %w", id, t, r.head.ID, r.segment.path, err)
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
	if c, ok := r.cachedBlock(id); ok {
		return c, nil
	}
	return r.loadBlock(id)
}

// cachedBlock returns a data block from the cache.
func (r *Run) cachedBlock(id int64) (*columns, bool) {
	v, ok := r.segment.cache.get(newCacheKey(r.segment.id, tableBlocks, id))
	if !ok {
		return nil, false
	}
	return v.(*columns), true
}

// loadBlock reads a data block from the file into the cache.
func (r *Run) loadBlock(id int64) (*columns, error) {
	c, err := r.readColumns(id, new([]byte))
	if err == nil {
		r.segment.cache.put(newCacheKey(r.segment.id, tableBlocks, id), c, c.memory())
	}
	return c, err
}

// readColumns reads a data block from the file, without the cache. The columns refer to *raw, unless the block is fixed.
func (r *Run) readColumns(id int64, raw *[]byte) (c *columns, err error) {
	err = r.readRow(tableBlocks, id, func(data []byte) (err error) {
		c, err = r.decodeColumns(data, raw)
		if err == nil && c.n == 0 {
			err = errEmpty
		}
		return err
	})
	return c, err
}

// readBlock reads a data or index block from the file, without the cache.
func (r *Run) readBlock(t table, id int64) (block *lsm.Block, err error) {
	err = r.readRow(t, id, func(data []byte) (err error) {
		if t == tableBlocks && r.hasFixed && isFixed(data) {
			block, err = r.kind.Fixed.block(data)
			return err
		}
		block, err = decodeNonEmpty(data)
		return err
	})
	return block, err
}

// decodeColumns decodes a data block. The columns refer to *raw, unless the block is fixed.
func (r *Run) decodeColumns(data []byte, raw *[]byte) (*columns, error) {
	if r.hasFixed && isFixed(data) {
		return r.kind.Fixed.columns(data, r.kind.Keyspace)
	}
	return decodeColumns(data, raw, r.kind.Keyspace)
}

func decodeNonEmpty(data []byte) (*lsm.Block, error) {
	block, err := decodeBlock(data)
	if err == nil && block.Len() == 0 {
		err = errEmpty
	}
	return block, err
}

// filterPage returns a page of the filter, from memory or through the cache.
func (r *Run) filterPage(n int64) ([]byte, error) {
	id := r.head.Filter.First + n
	if r.pages != nil {
		if page := r.pages[n].Load(); page != nil {
			return *page, nil
		}
		page, err := r.readFilterPage(id)
		if err == nil {
			r.pages[n].Store(&page)
		}
		return page, err
	}
	key := newCacheKey(r.segment.id, tableFilters, id)
	if v, ok := r.segment.cache.get(key); ok {
		return v.([]byte), nil
	}
	page, err := r.readFilterPage(id)
	if err != nil {
		return nil, err
	}
	r.segment.cache.put(key, page, cap(page))
	return page, nil
}

// readFilterPage reads a page of the filter.
func (r *Run) readFilterPage(id int64) (page []byte, err error) {
	err = r.readRow(tableFilters, id, func(data []byte) error {
		if len(data) != r.head.Filter.Blocks*filterBlockBytes {
			return fmt.Errorf("%w: a page of a filter has %d bytes", errDamaged, len(data))
		}
		page = append(page, data...)
		return nil
	})
	return page, err
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

// readSet reads the set of a list from the file; nil when there is none. The sets of a run are consecutive rows in the
// order of their prefixes.
func (r *Run) readSet(prefix []byte) (*distinct.Set, error) {
	file := r.segment.file.reader()
	defer file.release()
	var columns [3]field // run, prefix, data
	// The header of a row, its run, and as much of its prefix as the comparison needs.
	limit := len(prefix) + 64
	lo, hi := r.firstSet, r.firstSet+r.head.Sets
	for lo < hi {
		id := lo + (hi-lo)/2
		if err := r.segment.sets.readSome(file, id, limit, columns[:]); err != nil {
			return nil, fmt.Errorf("row %d: %w", id, err)
		}
		order := bytes.Compare(columns[1].data, prefix)
		if order == 0 {
			return r.parseSet(file, id, prefix)
		}
		if order < 0 {
			lo = id + 1
		} else {
			hi = id
		}
	}
	return nil, nil
}

// parseSet returns the set of a row.
func (r *Run) parseSet(file *reader, id int64, prefix []byte) (*distinct.Set, error) {
	var columns [3]field // run, prefix, data
	if err := r.segment.sets.read(file, id, columns[:]); err != nil {
		return nil, err
	}
	row, err := columns[2].blob()
	if err != nil {
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
