package segment

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// stored returns the size of all values of a cache, and checks what it says of itself.
func (c *Cache) stored(t *testing.T) (n int64) {
	t.Helper()
	of := func(s *shard) (n int64) {
		for _, e := range s.entries {
			n += e.size
		}
		if s.free != s.size-s.reserved-n || s.free < 0 {
			t.Fatalf("%d bytes are free of %d with %d reserved and %d stored", s.free, s.size, s.reserved, n)
		}
		return n
	}
	for i := range c.shards {
		n += of(&c.shards[i])
	}
	return n + of(&c.large)
}

// TestCacheBound: blocks and derived values of any size, which replace each other, never take more than the cache; a
// derived value is the one that was stored last, or none; one of up to half of the cache is stored.
func TestCacheBound(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{0, 1, 20_000, 15 << 20, 32 << 20, 200 << 20} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			t.Parallel()
			c := NewCache(size)
			r := rand.New(rand.NewPCG(uint64(size), 1))
			last := map[string]int{}
			for i := range 3000 {
				n := int(r.Int64N(1 + r.Int64N(1+size*3/4)))
				if r.IntN(4) > 0 {
					c.put(newCacheKey(1, tableBlocks, r.Int64N(500)), i, n/16)
				} else {
					key := fmt.Sprint(r.IntN(20))
					c.PutDerived(key, i, n)
					last[key] = i
					fits := int64(n+len(key))+entryOverhead <= size/2
					if got := c.Derived(key); got != nil && got != i || got == nil && fits {
						t.Fatalf("a value of %d bytes: %v, not %d", n, got, i)
					}
				}
				key := fmt.Sprint(r.IntN(20))
				if got := c.Derived(key); got != nil && got != last[key] {
					t.Fatalf("%v, not %d", got, last[key])
				}
				if n := c.stored(t); n > size {
					t.Fatalf("%d bytes are stored", n)
				}
			}
		})
	}
}
