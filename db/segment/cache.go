package segment

import (
	"math/bits"
	"sync"
)

// Cache holds decoded pages of all segments, the ones used least lately giving way. It is safe for concurrent use.
type Cache struct{ shards []shard }

// minShard is the least that a shard holds, in bytes: enough for the set of a list of a few million members.
const minShard = 8 << 20

// NewCache makes a cache for so many bytes. With 0 it holds nothing.
func NewCache(size int64) *Cache {
	// Up to 16 shards keep readers on many cores from waiting for each other; more than 1 only where all are large.
	n := max(1, min(16, 1<<(bits.Len64(uint64(max(size, 0)/minShard)|1)-1)))
	c := &Cache{shards: make([]shard, n)}
	for i := range c.shards {
		s := &c.shards[i]
		s.size = size / int64(n)
		s.room = s.size
		s.entries = map[cacheKey]*cached{}
		s.ring.next, s.ring.prev = &s.ring, &s.ring
	}
	return c
}

// cacheKey names a page in 16 bytes without a pointer, which a map looks up in half the time of a longer one.
type cacheKey struct {
	place uint64 // the segment's number in this process, and the table
	id    int64  // the row; of a set, a hash of its prefix, which the value then holds
}

func newCacheKey(segment uint64, t table, id int64) cacheKey {
	return cacheKey{segment<<8 | uint64(t), id}
}

type cached struct {
	key        cacheKey
	value      any
	size       int64
	next, prev *cached
}

// entryOverhead is about what an entry takes in the cache besides its value, in bytes.
const entryOverhead = 256

type shard struct {
	mu      sync.Mutex
	size    int64
	room    int64 // what is left of it
	entries map[cacheKey]*cached
	ring    cached // the next is the one used last
}

func (c *Cache) shard(key cacheKey) *shard {
	// The highest bits of the product depend on all bits of the sum.
	h := (key.place<<24 + uint64(key.id)) * 0x9e3779b97f4a7c15
	return &c.shards[h>>60&uint64(len(c.shards)-1)]
}

func (c *Cache) get(key cacheKey) (any, bool) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	if !ok {
		return nil, false
	}
	e.unlink()
	s.ring.link(e)
	return e.value, true
}

// put keeps a value that takes so many bytes, unless it is larger than a shard.
func (c *Cache) put(key cacheKey, value any, size int) {
	s := c.shard(key)
	e := &cached{key: key, value: value, size: int64(size) + entryOverhead}
	if e.size > s.size {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.entries[key]; ok {
		s.drop(old)
	}
	s.room -= e.size
	s.entries[key] = e
	s.ring.link(e)
	for s.room < 0 {
		s.drop(s.ring.prev)
	}
}

func (s *shard) drop(e *cached) {
	e.unlink()
	delete(s.entries, e.key)
	s.room += e.size
}

func (e *cached) link(n *cached) {
	n.next, n.prev = e.next, e
	e.next.prev, e.next = n, n
}

func (e *cached) unlink() { e.next.prev, e.prev.next = e.prev, e.next }
