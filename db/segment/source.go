package segment

import (
	"bytes"

	"github.com/cespare/xxhash/v2"
)

// Len is lsm.Run's.
func (r *Run) Len() int { return int(r.head.Entries) }

// Prefixes is lsm.Run's.
func (r *Run) Prefixes() int { return int(r.head.Prefixes) }

// Total is lsm.Run's.
func (r *Run) Total() int64 { return r.head.Total }

// Memory is what the run takes besides the cache, in bytes: its minutes, and about 1 KiB.
func (r *Run) Memory() int {
	n := 1024
	if r.minutes != nil {
		n += int(r.minutes.GetSizeInBytes())
	}
	return n
}

// MayContain is lsm.Run's. A filter that can't be read denies nothing, so that the fault comes out where the answer is read.
func (r *Run) MayContain(hash uint64, key []byte) bool {
	if r.head.Entries == 0 {
		return false
	}
	if r.minutes != nil {
		if h, ok := minuteOf(r.kind, key); ok && !r.minutes.Contains(h) {
			return false
		}
	}
	n, _, _ := r.head.Filter.locate(hash)
	page, err := r.filterPage(n)
	return err != nil || r.head.Filter.mayContain(page, hash)
}

// Find is lsm.Run's.
func (r *Run) Find(key []byte) (value []byte, ok bool, err error) {
	if r.head.Entries == 0 {
		return nil, false, nil
	}
	c, err := r.findBlock(key)
	if err != nil {
		return nil, false, err
	}
	block, err := r.dataBlock(c.id)
	if err != nil {
		return nil, false, err
	}
	w, ok := block.seek(key)
	if !ok {
		return nil, false, nil
	}
	v, _ := uvarint(block.lens[w.lens:])
	return block.values[w.values : w.values+v : w.values+v], true, nil
}

// Sum is lsm.Run's.
func (r *Run) Sum(from, to []byte) (int64, error) {
	if len(from) == 0 && to != nil {
		return r.sumBelow(to)
	}
	sum, err := r.rangeTotals(from, to)
	return sum.sum, err
}

// tableSums names sums in the cache.
const tableSums table = 5

// cachedSum is the weight of all entries below a key in the cache, with the key, as another's may have the same hash.
type cachedSum struct {
	key    string
	weight int64
}

// sumBelow weighs all entries below a key, through the cache: who asks for such a sum asks for a row of them, a block each, and
// mostly for the same ones again. The sums spare the blocks their place.
func (r *Run) sumBelow(key []byte) (int64, error) {
	if r.head.Entries == 0 {
		return 0, nil
	}
	at := newCacheKey(r.segment.id, tableSums, int64(xxhash.Sum64(key))+int64(r.head.ID))
	if v, ok := r.segment.cache.get(at); ok {
		if c := v.(*cachedSum); c.key == string(key) {
			return c.weight, nil
		}
	}
	c, err := r.findBlock(key)
	if err != nil {
		return 0, err
	}
	sum, err := r.totalsBefore(c, key)
	if err == nil {
		r.segment.cache.put(at, &cachedSum{string(key), sum.sum}, len(key)+24)
	}
	return sum.sum, err
}

// rangeTotals counts and weighs the entries with from <= key < to; a nil to has no end. It reads the blocks at the two ends,
// mostly one and the same.
func (r *Run) rangeTotals(from, to []byte) (sum totals, err error) {
	if r.head.Entries == 0 || to != nil && bytes.Compare(from, to) >= 0 {
		return sum, nil
	}
	lo, err := r.findBlock(from)
	if err != nil {
		return sum, err
	}
	block, err := r.dataBlock(lo.id)
	if err != nil {
		return sum, err
	}
	begin, _ := block.seek(from)
	end := totals{r.head.Total, r.head.Entries}
	if to != nil {
		hi, err := r.findBlock(to)
		if err != nil {
			return sum, err
		}
		if hi.id == lo.id {
			return begin.sum(r.kind.Keyspace, to), nil
		}
		if end, err = r.totalsBefore(hi, to); err != nil {
			return sum, err
		}
	}
	before := lo.totals.plus(block.sum(r.kind.Keyspace, begin.i))
	return totals{end.sum - before.sum, end.entries - before.entries}, nil
}

// totalsBefore sums up all entries below key, which lies in the block.
func (r *Run) totalsBefore(c blockHandle, key []byte) (totals, error) {
	block, err := r.dataBlock(c.id)
	if err != nil {
		return totals{}, err
	}
	at, _ := block.seek(key)
	return c.totals.plus(block.sum(r.kind.Keyspace, at.i)), nil
}
