package segment

import (
	"math/bits"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// Cache is an LRU cache of decoded blocks, filter pages, sets and sums of all segments, and of what readers derive from
// runs. It is safe for concurrent use.
//
// It is hand-made: keys of 16 bytes without a pointer are found in half the time of longer ones, and its limit is in
// bytes.
type Cache struct {
	shards []shard
	// large has the derived values of more than half a shard, up to half of the whole cache. What they take is taken from
	// all shards in equal parts.
	large shard
}

// minShard is the minimum size of a shard in bytes: enough for the set of a list of a few million members.
const minShard = 8 << 20

// NewCache returns a cache of at most size bytes. With 0 it stores nothing.
func NewCache(size int64) *Cache {
	// Up to 16 shards reduce lock contention of readers on many cores. There is more than one only if all are large.
	n := max(1, min(16, 1<<(bits.Len64(uint64(max(size, 0)/minShard)|1)-1)))
	c := &Cache{shards: make([]shard, n)}
	for i := range c.shards {
		c.shards[i].init(size / int64(n))
	}
	c.large.init(size / 2)
	return c
}

func (s *shard) init(size int64) {
	s.size = size
	s.free = size
	s.entries = map[cacheKey]*cacheEntry{}
	for _, ring := range []*cacheEntry{&s.ring, &s.index} {
		ring.next = ring
		ring.prev = ring
	}
}

// cacheKey identifies a cached value.
type cacheKey struct {
	place uint64 // the segment's number in this process, and the table
	id    int64  // the row; for sets and sums a hash of the prefix or key, which the value also has
}

func newCacheKey(segment uint64, t table, id int64) cacheKey {
	return cacheKey{segment<<8 | uint64(t), id}
}

func (k cacheKey) isIndex() bool { return table(k.place&0xff) == tableNodes }

type cacheEntry struct {
	key        cacheKey
	value      any
	size       int64
	next, prev *cacheEntry
}

// entryOverhead is the approximate memory of an entry besides its value, in bytes.
const entryOverhead = 256

type shard struct {
	mu        sync.Mutex
	size      int64
	reserved  int64 // of size, for large values
	free      int64
	entries   map[cacheKey]*cacheEntry
	ring      cacheEntry // next is the most recently used entry, prev the least
	index     cacheEntry // likewise of index blocks
	indexSize int64      // of all index blocks
}

func (c *Cache) shard(key cacheKey) *shard {
	// The highest bits of the product depend on all bits of the sum.
	h := (key.place<<24 + uint64(key.id)) * 0x9e3779b97f4a7c15
	return &c.shards[h>>60&uint64(len(c.shards)-1)]
}

func (c *Cache) get(key cacheKey) (any, bool) { return c.shard(key).get(key) }

func (s *shard) get(key cacheKey) (any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	if !ok {
		return nil, false
	}
	e.unlink()
	s.ringOf(key).link(e)
	return e.value, true
}

// put stores a value of the given size in bytes, unless it is larger than a shard.
func (c *Cache) put(key cacheKey, value any, size int) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(key, value, size)
}

// put stores a value in place of the one that the key had, unless it is too large. The caller holds mu.
func (s *shard) put(key cacheKey, value any, size int) {
	if old, ok := s.entries[key]; ok {
		s.drop(old)
	}
	e := &cacheEntry{key: key, value: value, size: int64(size) + entryOverhead}
	if e.size > s.size-s.reserved {
		return
	}
	s.free -= e.size
	if key.isIndex() {
		s.indexSize += e.size
	}
	s.entries[key] = e
	s.ringOf(key).link(e)
	s.evict()
}

// ringOf returns the ring of a key's entry.
func (s *shard) ringOf(key cacheKey) *cacheEntry {
	if key.isIndex() {
		return &s.index
	}
	return &s.ring
}

// evict drops the values that were used longest ago until the others have room. Index blocks come last, up to half of
// the shard: each look-up in a segment reads one. The value that was used last stays.
func (s *shard) evict() {
	for s.free < 0 {
		last := s.ring.prev
		isOnly := last == s.ring.next // or there is none
		if s.indexSize > 0 && (isOnly || s.indexSize > (s.size-s.reserved)/2) {
			last = s.index.prev
		}
		s.drop(last)
	}
}

// putLarge stores a value among the large ones, and takes its room from all shards.
func (c *Cache) putLarge(key cacheKey, value any, size int) {
	c.large.mu.Lock()
	defer c.large.mu.Unlock()
	c.large.put(key, value, size)
	part := (c.large.size - c.large.free) / int64(len(c.shards))
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.free += s.reserved - part
		s.reserved = part
		s.evict()
		s.mu.Unlock()
	}
}

// remove drops what a key has.
func (s *shard) remove(key cacheKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.entries[key]; ok {
		s.drop(old)
	}
}

// tableDerived identifies derived values in the cache.
const tableDerived table = 6

// derivedValue is a cached value with its whole key, because two keys may have the same hash.
type derivedValue struct {
	key   string
	value any
}

// Derived returns the value that PutDerived stored last under a key; nil: there is none. It must not be changed.
func (c *Cache) Derived(key string) any {
	k := derivedKey(key)
	v, ok := c.get(k)
	if !ok {
		v, _ = c.large.get(k)
	}
	if d, ok := v.(derivedValue); ok && d.key == key {
		return d.value
	}
	return nil
}

// PutDerived stores a value of the given size in bytes, in place of the one that the key had. A value may take up to
// half of the cache.
func (c *Cache) PutDerived(key string, value any, size int) {
	k := derivedKey(key)
	v := derivedValue{key, value}
	size += len(key)
	if int64(size)+entryOverhead > c.shard(k).size/2 {
		c.shard(k).remove(k)
		c.putLarge(k, v, size)
		return
	}
	c.put(k, v, size)
	c.large.mu.Lock()
	_, wasLarge := c.large.entries[k]
	c.large.mu.Unlock()
	if wasLarge {
		c.putLarge(k, nil, int(c.large.size)) // too large to be stored: the one before goes
	}
}

// derivedKey returns the key of a derived value; no segment has the number 0.
func derivedKey(key string) cacheKey {
	return newCacheKey(0, tableDerived, int64(xxhash.Sum64String(key)))
}

func (s *shard) drop(e *cacheEntry) {
	e.unlink()
	delete(s.entries, e.key)
	s.free += e.size
	if e.key.isIndex() {
		s.indexSize -= e.size
	}
}

// link inserts n after e.
func (e *cacheEntry) link(n *cacheEntry) {
	n.next = e.next
	n.prev = e
	e.next.prev = n
	e.next = n
}

func (e *cacheEntry) unlink() {
	e.next.prev = e.prev
	e.prev.next = e.next
}
