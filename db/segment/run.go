package segment

import (
	"bytes"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/cespare/xxhash/v2"

	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
)

// Run is a run of a segment.
type Run struct {
	id      uint64
	segment *Segment
	head    runHead
	kind    Kind
	minutes *roaring.Bitmap // nil: keys have no minutes

	firstSet int64 // row of its first set; the others follow it

	hasFixed bool // it may have fixed blocks
	fence    atomic.Pointer[fence]
	fenceMu  sync.Mutex // held while the fence is read

	lastOnce atomic.Int64 // the block that findOnce read last

	pages []atomic.Pointer[[]byte] // of the filter, those that are in memory; nil: the cache has them
}

var _ lsm.Run = (*Run)(nil)

// ID implements lsm.Run.
func (r *Run) ID() uint64 { return r.id }

// Len implements lsm.Run.
func (r *Run) Len() int { return int(r.head.Entries) }

// Prefixes implements lsm.Run.
func (r *Run) Prefixes() int { return int(r.head.Prefixes) }

// Total implements lsm.Run.
func (r *Run) Total() int64 { return r.head.Total }

// Memory returns the memory that the run takes besides the cache, in bytes: its minutes, its fence, its filter and
// about 1 KiB.
func (r *Run) Memory() int {
	n := 1024
	if f := r.fence.Load(); f != nil {
		n += 8 * len(*f)
	}
	for i := range r.pages {
		n += 8
		if page := r.pages[i].Load(); page != nil {
			n += len(*page)
		}
	}
	if r.minutes != nil {
		n += int(r.minutes.GetSizeInBytes())
	}
	return n
}

// Excludes implements lsm.Run.
func (r *Run) Excludes(_ uint64, key []byte) bool {
	if r.head.Entries == 0 {
		return true
	}
	if r.minutes == nil {
		return false
	}
	m, ok := minuteOf(r.kind, key)
	return ok && !r.minutes.Contains(m)
}

// MayContain implements lsm.Run. It reads a page of the filter. If that fails it returns true, so that the error shows
// up in the read that follows.
func (r *Run) MayContain(hash uint64, key []byte) bool {
	if r.Excludes(hash, key) {
		return false
	}
	if r.hasFixed && r.pages == nil {
		return true // a look-up of a fixed key reads one page, as a look-up in the filter does
	}
	n, _, _ := r.head.Filter.locate(hash)
	page, err := r.filterPage(n)
	return err != nil || r.head.Filter.mayContain(page, hash)
}

// Find implements lsm.Run.
func (r *Run) Find(key []byte, hint lsm.Hint) (value []byte, ok bool, err error) {
	if r.head.Entries == 0 {
		return nil, false, nil
	}
	if r.hasFixed {
		value, ok, done, err := r.findFixed(key)
		if done || err != nil {
			return value, ok, err
		}
	}
	handle, err := r.findBlock(key)
	if err != nil {
		return nil, false, err
	}
	if hint&lsm.Once != 0 {
		return r.findOnce(handle.id, key)
	}
	block, err := r.dataBlock(handle.id)
	if err != nil {
		return nil, false, err
	}
	value, ok = block.find(key)
	return value, ok, nil
}

// findOnce looks a key up in a data block. It takes the block from the cache if it is there, and caches it if the last
// call read it too.
func (r *Run) findOnce(id int64, key []byte) (value []byte, ok bool, err error) {
	block, cached := r.cachedBlock(id)
	if !cached && r.lastOnce.Swap(id) == id {
		block, err = r.loadBlock(id)
		if err != nil {
			return nil, false, err
		}
		cached = true
	}
	if cached {
		value, ok = block.find(key)
		return value, ok, nil
	}
	raw := rawPool.Get().(*[]byte)
	defer putRaw(raw)
	block, err = r.readColumns(id, raw)
	if err != nil {
		return nil, false, err
	}
	value, ok = block.find(key)
	return bytes.Clone(value), ok, nil
}

// Sum implements lsm.Run.
func (r *Run) Sum(from, to []byte) (int64, error) {
	if len(from) == 0 && to != nil {
		return r.sumBelow(to)
	}
	t, err := r.rangeTotals(from, to)
	return t.sum, err
}

// Distinct returns the set of members of the list of all keys that begin with prefix, as this run adds and removes
// them. The set must not be changed. ok is false when the list is too short to have a set; iterate over it instead.
func (r *Run) Distinct(prefix []byte) (set *distinct.Set, ok bool, err error) {
	if r.head.Sets == 0 {
		return nil, false, nil
	}
	// The length tells whether the list has a set, without a query.
	list, err := r.rangeTotals(prefix, lsm.PrefixEnd(prefix))
	if err != nil || list.entries <= r.head.ListOver {
		return nil, false, err
	}
	set, err = r.set(prefix)
	return set, set != nil, err
}

// Derived returns what PutDerived stored last under a key for this run; nil: there is nothing. It must not be changed.
func (r *Run) Derived(key string) any { return r.segment.cache.Derived(r.derivedKey(key)) }

// PutDerived caches a value that was derived from the run, of a size in bytes.
func (r *Run) PutDerived(key string, value any, size int) {
	r.segment.cache.PutDerived(r.derivedKey(key), value, size)
}

func (r *Run) derivedKey(key string) string {
	return string(binary.BigEndian.AppendUint64(nil, r.id)) + key
}

// tableSums identifies sums in the cache.
const tableSums table = 5

// cachedSum is the cached sum of all entries below a key. It has the key, because two keys may have the same hash.
type cachedSum struct {
	key string
	sum int64
}

// sumBelow returns the sum of the deltas of all entries below key, through the cache. Callers ask for series of such
// sums, each in another block, and mostly for the same keys again. A cached sum takes less room than its block.
func (r *Run) sumBelow(key []byte) (int64, error) {
	if r.head.Entries == 0 {
		return 0, nil
	}
	cacheKey := newCacheKey(r.segment.id, tableSums, int64(xxhash.Sum64(key))+int64(r.head.ID))
	if v, ok := r.segment.cache.get(cacheKey); ok {
		if c := v.(*cachedSum); c.key == string(key) {
			return c.sum, nil
		}
	}
	handle, err := r.findBlock(key)
	if err != nil {
		return 0, err
	}
	t, err := r.totalsBefore(handle, key)
	if err == nil {
		r.segment.cache.put(cacheKey, &cachedSum{string(key), t.sum}, len(key)+24)
	}
	return t.sum, err
}

// rangeTotals returns the totals of the entries with from <= key < to. A nil to is open. It reads the blocks at both
// ends, which are mostly the same block.
func (r *Run) rangeTotals(from, to []byte) (t totals, err error) {
	if r.head.Entries == 0 || to != nil && bytes.Compare(from, to) >= 0 {
		return t, nil
	}
	lo, err := r.findBlock(from)
	if err != nil {
		return t, err
	}
	block, err := r.dataBlock(lo.id)
	if err != nil {
		return t, err
	}
	begin, _ := block.seek(from)
	end := totals{r.head.Total, r.head.Entries}
	if to != nil {
		hi, err := r.findBlock(to)
		if err != nil {
			return t, err
		}
		if hi.id == lo.id {
			end := begin
			end.seekOn(from, to)
			return begin.totals(end.i - begin.i), nil
		}
		end, err = r.totalsBefore(hi, to)
		if err != nil {
			return t, err
		}
	}
	before := lo.plus(block.totals(begin.i))
	return totals{end.sum - before.sum, end.entries - before.entries}, nil
}

// totalsBefore returns the totals of all entries below key, which lies in the block of handle.
func (r *Run) totalsBefore(handle blockHandle, key []byte) (totals, error) {
	block, err := r.dataBlock(handle.id)
	if err != nil {
		return totals{}, err
	}
	it, _ := block.seek(key)
	return handle.plus(block.totals(it.i)), nil
}
