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
		index := int64(0)
		for key, e := range s.entries {
			n += e.size
			if key.isIndex() {
				index += e.size
			}
		}
		if index != s.indexSize {
			t.Fatalf("%d bytes are of index blocks, and not %d", index, s.indexSize)
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
					c.put(newCacheKey(1, []table{tableBlocks, tableNodes}[r.IntN(2)], r.Int64N(500)), i, n/16)
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

// TestCacheIndexBlocks: data blocks replace each other, and index blocks only where these take more than half of the
// cache. Either may take all of it.
func TestCacheIndexBlocks(t *testing.T) {
	t.Parallel()
	const size, block = 4 << 20, 4096 - entryOverhead
	for _, tc := range []struct {
		name                  string
		index, data           int64 // blocks that are put, in this order
		indexStays, dataStays int64
	}{
		{"few index blocks, then many data blocks", 100, 5000, 100, 924},
		{"index blocks of more than half", 800, 5000, 512, 512},
		{"more than half, and room for all", 800, 200, 800, 200},
		{"index blocks alone", 5000, 0, 1024, 0},
		{"data blocks alone", 0, 5000, 0, 1024},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := NewCache(size)
			for i := range tc.index {
				c.put(newCacheKey(1, tableNodes, i), i, block)
			}
			for i := range tc.data {
				c.put(newCacheKey(1, tableBlocks, i), i, block)
			}
			for of, want := range map[table][2]int64{tableNodes: {tc.index, tc.indexStays}, tableBlocks: {tc.data,
				tc.dataStays}} {
				stay := int64(0)
				for i := range want[0] {
					if _, ok := c.get(newCacheKey(1, of, i)); ok {
						stay++
					} else if stay > 0 {
						t.Fatalf("%s: block %d is gone, and an older one stays", of, i)
					}
				}
				if stay != want[1] {
					t.Errorf("%d %s stay, want %d", stay, of, want[1])
				}
			}
			c.stored(t)
		})
	}
}
