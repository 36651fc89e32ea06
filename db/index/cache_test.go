package index

import (
	"fmt"
	"strings"
	"testing"
)

// TestCacheBytes: the caches of names are bounded in bytes, however long the names are, hold as many usual names as
// their number allows, and go on to answer.
func TestCacheBytes(t *testing.T) {
	t.Parallel()
	core := NewCore(CoreConfig{})
	for _, tc := range []struct {
		name  string
		bytes int // of a name
		put   func(id uint64, name string)
		get   func(id uint64) (string, bool)
		held  func() (bytes, entries int)
		most  int // bytes of each half
		least int // entries that fit
	}{
		{"usual DIDs", 32, func(id uint64, name string) { core.Remember('d', id, name) }, core.didCache.get,
			func() (int, int) { return heldBy(&core.didCache) }, didCacheBytes, 2 * cacheSize},
		{"collections of 317 bytes", 317, func(id uint64, name string) { core.Remember('c', id, name) },
			core.nsidCache.get, func() (int, int) { return heldBy(&core.nsidCache) }, kindCacheBytes, 10_000},
		{"sources of 800 bytes", 800, func(id uint64, name string) {
			core.sourceCache.put(id, Source{Collection: name[:300], Path: name[300:]})
		}, func(id uint64) (string, bool) {
			s, ok := core.sourceCache.get(id)
			return s.Collection + s.Path, ok
		}, func() (int, int) { return heldBy(&core.sourceCache) }, kindCacheBytes, 5_000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			name := strings.Repeat("x", tc.bytes)
			for id := range uint64(3 * cacheSize) {
				tc.put(id, name)
				got, ok := tc.get(id)
				if !ok || got != name {
					t.Fatalf("it does not hold the name %d that was put last", id)
				}
			}
			bytes, entries := tc.held()
			if bytes > 2*tc.most || entries < tc.least/2 {
				t.Errorf("it holds %d bytes of %d names, want at most %d bytes and at least %d names", bytes, entries,
					2*tc.most, tc.least/2)
			}
		})
	}
	core.Remember('d', 1<<41, "did:plc:first")
	for range 2 * didCacheBytes / 64 { // as filters by the same accounts do
		core.Remember('d', 1<<42, "did:plc:again")
	}
	if _, ok := core.CachedDID(1 << 41); !ok {
		t.Error("a name that is put again and again displaces another")
	}
	core.Remember('d', 1<<40, strings.Repeat("x", didCacheBytes))
	_, ok := core.CachedDID(1 << 40)
	if ok {
		t.Error("it holds a name of more than its bound")
	}
}

// TestCacheReplaces: a value takes the place of the one that its key had, wherever that lies, and its bytes; long keys
// count.
func TestCacheReplaces(t *testing.T) {
	t.Parallel()
	c := newSumCache()
	for round := range int64(3) {
		for i := range 1000 {
			key := fmt.Sprint(i)
			c.put(key, segmentSum{links: round})
			got, ok := c.get(key)
			if !ok || got.links != round {
				t.Fatalf("%v, %t, want the value of round %d", got, ok, round)
			}
		}
	}
	bytes, entries := heldBy(c)
	if entries != 1000 || c.bytes != bytes {
		t.Errorf("%d values of %d bytes, which it counts as %d", entries, bytes, c.bytes)
	}
	for i := range 10_000 {
		c.put(fmt.Sprint(i)+strings.Repeat("x", 2000), segmentSum{})
	}
	bytes, _ = heldBy(c)
	if bytes > 2*sumCacheBytes {
		t.Errorf("it holds %d bytes", bytes)
	}
	for i := range 100_000 { // its halves take turns
		key := fmt.Sprint(i % 20_000)
		c.put(key, segmentSum{links: int64(i)})
		c.get(fmt.Sprint(i % 7))
		got, _ := c.get(key)
		if got.links != int64(i) {
			t.Fatalf("%v, want %d", got, i)
		}
	}
}

// heldBy returns the bytes and the number of the values of a cache.
func heldBy[K comparable, V any](c *cache[K, V]) (bytes, entries int) {
	for _, half := range []map[K]V{c.young, c.old} {
		for k, v := range half {
			bytes += c.size(k, v) + cacheEntryBytes
			entries++
		}
	}
	return bytes, entries
}
