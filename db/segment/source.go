package segment

import (
	"bytes"

	"github.com/cespare/xxhash/v2"
)

// Len is lsm.Source's.
func (r *Run) Len() int { return int(r.head.Entries) }

// Groups is lsm.Source's.
func (r *Run) Groups() int { return int(r.head.Groups) }

// Total is lsm.Source's.
func (r *Run) Total() int64 { return r.head.Total }

// Memory is what the run takes besides the cache, in bytes: its minutes, and about 1 KiB.
func (r *Run) Memory() int {
	n := 1024
	if r.minutes != nil {
		n += int(r.minutes.GetSizeInBytes())
	}
	return n
}

// May is lsm.Source's. A filter that can't be read denies nothing, so that the fault comes out where the answer is read.
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

// Find is lsm.Source's.
func (r *Run) Find(key []byte) (value []byte, ok bool, err error) {
	if r.head.Entries == 0 {
		return nil, false, nil
	}
	c, err := r.descend(key)
	if err != nil {
		return nil, false, err
	}
	block, err := r.block(c.id)
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

// Weigh is lsm.Source's.
func (r *Run) Weigh(from, to []byte) (int64, error) {
	if len(from) == 0 && to != nil {
		return r.below(to)
	}
	sum, err := r.between(from, to)
	return sum.weight, err
}

// tableSums names sums in the cache.
const tableSums table = 5

// cachedSum is the weight of all entries below a key in the cache, with the key, as another's may have the same hash.
type cachedSum struct {
	key    string
	weight int64
}

// below weighs all entries below a key, through the cache: who asks for such a sum asks for a row of them, a block each, and
// mostly for the same ones again. The sums spare the blocks their place.
func (r *Run) below(key []byte) (int64, error) {
	if r.head.Entries == 0 {
		return 0, nil
	}
	at := newCacheKey(r.segment.id, tableSums, int64(xxhash.Sum64(key))+int64(r.head.ID))
	if v, ok := r.segment.cache.get(at); ok {
		if c := v.(*cachedSum); c.key == string(key) {
			return c.weight, nil
		}
	}
	c, err := r.descend(key)
	if err != nil {
		return 0, err
	}
	sum, err := r.before(c, key)
	if err == nil {
		r.segment.cache.put(at, &cachedSum{string(key), sum.weight}, len(key)+24)
	}
	return sum.weight, err
}

// between counts and weighs the entries with from <= key < to; a nil to has no end. It reads the blocks at the two ends,
// mostly one and the same.
func (r *Run) between(from, to []byte) (sum sums, err error) {
	if r.head.Entries == 0 || to != nil && bytes.Compare(from, to) >= 0 {
		return sum, nil
	}
	lo, err := r.descend(from)
	if err != nil {
		return sum, err
	}
	block, err := r.block(lo.id)
	if err != nil {
		return sum, err
	}
	begin, _ := block.seek(from)
	end := sums{r.head.Total, r.head.Entries}
	if to != nil {
		hi, err := r.descend(to)
		if err != nil {
			return sum, err
		}
		if hi.id == lo.id {
			return begin.sum(r.kind.Order, to), nil
		}
		if end, err = r.before(hi, to); err != nil {
			return sum, err
		}
	}
	before := lo.sums.plus(block.sum(r.kind.Order, begin.i))
	return sums{end.weight - before.weight, end.entries - before.entries}, nil
}

// before sums up all entries below key, which lies in the block.
func (r *Run) before(c child, key []byte) (sums, error) {
	block, err := r.block(c.id)
	if err != nil {
		return sums{}, err
	}
	at, _ := block.seek(key)
	return c.sums.plus(block.sum(r.kind.Order, at.i)), nil
}
