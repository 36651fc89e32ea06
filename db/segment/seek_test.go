package segment

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"weft.dev/weft/db/lsm"
)

// blockOf returns the columns of a block with these entries.
func blockOf(tb testing.TB, e *entries) *columns {
	tb.Helper()
	var w blockWriter
	for i := range e.Len() {
		w.add(e.Block.Key(i), e.Block.Value(i))
	}
	c, err := decodeColumns(w.encode(nil, encoder(tb)), new([]byte), targetKind.Keyspace)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// randomEntries returns up to n entries with keys of a few letters, so that they share any number of bytes. Every entry
// that long says so has a longer key or value than a byte can count.
func randomEntries(r *rand.Rand, n int, long func(i int) bool) *entries {
	all := map[string][]byte{}
	for i := range n {
		key := make([]byte, r.IntN(2*tailLen))
		if long(i) {
			key = append(bytes.Repeat([]byte{'b'}, 100*r.IntN(3)), key...)
		}
		for k := range key {
			if key[k] == 0 {
				key[k] = 'a' + byte(r.IntN(3))
			}
		}
		all[string(key)] = bytes.Repeat([]byte{byte(r.IntN(2))}, 1+r.IntN(3))
		if long(i) {
			all[string(key)] = bytes.Repeat([]byte{1}, 1+100*r.IntN(3))
		}
	}
	var list []entry
	for key, value := range all {
		list = append(list, entry{[]byte(key), value})
	}
	return sorted(list)
}

// TestSeek compares seek and seekOn with a linear search: for every key of a block and its neighbours, and for every
// pair of them.
func TestSeek(t *testing.T) {
	t.Parallel()
	for name, long := range map[string]func(i int) bool{
		"each length is a byte": func(int) bool { return false },
		"some lengths are two":  func(i int) bool { return i%5 == 0 },
		"one length is two":     func(i int) bool { return i == 0 },
	} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("%s, %d", name, seed), func(t *testing.T) {
				t.Parallel()
				compareSeeks(t, randomEntries(rand.New(rand.NewPCG(seed, 1)), 30, long))
			})
		}
	}
}

// TestRestarts compares searches that begin at restart points with a linear search, and the totals of entries before
// them with their sum. Blocks of up to restartEvery entries, and the first search of a block, have no restart points.
func TestRestarts(t *testing.T) {
	t.Parallel()
	for name, long := range map[string]func(i int) bool{
		"each length is a byte": func(int) bool { return false },
		"some lengths are two":  func(i int) bool { return i%5 == 0 },
	} {
		for _, n := range []int{restartEvery, restartEvery + 1, 2 * restartEvery, 7*restartEvery + 5} {
			t.Run(fmt.Sprintf("%s, %d", name, n), func(t *testing.T) {
				t.Parallel()
				random := randomEntries(rand.New(rand.NewPCG(uint64(n), 3)), 2*n, long).Block
				var list []entry
				for i := range n {
					list = append(list, entry{random.Key(i), random.Value(i)})
				}
				e := sorted(list)
				c := blockOf(t, e)
				if c.restartPoints() != nil {
					t.Error("the first search has restart points")
				}
				var before totals
				for i := range n {
					key := e.Block.Key(i)
					for _, from := range [][]byte{key, append(bytes.Clone(key), 0)} {
						at, exact := c.seek(from)
						begin, isKey := position(e, from)
						if at.i != begin || exact != isKey {
							t.Fatalf("%q is sought: entry %d, %t; want %d, %t", from, at.i, exact, begin, isKey)
						}
						compareRest(t, at, e)
					}
					if got := c.totals(i); got != before {
						t.Fatalf("before entry %d: %+v, want %+v", i, got, before)
					}
					before = before.plus(totals{int64(targetKind.Keyspace.DeltaOf(e.Block.Value(i))), 1})
				}
				if r := c.restartPoints(); (r == nil) != (n <= restartEvery) || r != nil && len(r.points) != (n-1)/restartEvery {
					t.Errorf("restart points: %+v", r)
				}
			})
		}
	}
}

func compareSeeks(t *testing.T, e *entries) {
	c := blockOf(t, e)
	sought := [][]byte{{}}
	for i := range e.Len() {
		key := e.Block.Key(i)
		sought = append(sought, key, append(bytes.Clone(key), 0), append(bytes.Clone(key), 'b'))
		if n := len(key); n > 0 {
			sought = append(sought, key[:n/2], append(bytes.Clone(key[:n-1]), key[n-1]+1))
		}
	}
	slices.SortFunc(sought, bytes.Compare)
	sought = slices.CompactFunc(sought, bytes.Equal)
	for n, from := range sought {
		at, exact := c.seek(from)
		begin, isKey := position(e, from)
		if at.i != begin || exact != isKey {
			t.Fatalf("%q is sought: entry %d, %t; want %d, %t", from, at.i, exact, begin, isKey)
		}
		compareRest(t, at, e)
		for _, to := range sought[n+1:] {
			end, _ := position(e, to)
			next := at
			next.seekOn(from, to)
			if next.i != end {
				t.Fatalf("from %q on, %q is sought: entry %d, want %d", from, to, next.i, end)
			}
			compareRest(t, next, e)
			var want totals
			for i := begin; i < end; i++ {
				want = want.plus(totals{int64(targetKind.Keyspace.DeltaOf(e.Block.Value(i))), 1})
			}
			if got := at.totals(end - begin); got != want {
				t.Fatalf("from %q to %q: %+v, want %+v", from, to, got, want)
			}
		}
	}
}

// position is where a key is in a block, or would be.
func position(e *entries, key []byte) (i int, exact bool) {
	for i < e.Len() && bytes.Compare(e.Block.Key(i), key) < 0 {
		i++
	}
	return i, i < e.Len() && bytes.Equal(e.Block.Key(i), key)
}

// compareRest reads what an iterator has still.
func compareRest(t *testing.T, it columnIterator, e *entries) {
	t.Helper()
	for i := it.i; i < e.Len(); i++ {
		more, _ := it.Next()
		if !more || !bytes.Equal(it.Key(), e.Block.Key(i)) || !bytes.Equal(it.Value(), e.Block.Value(i)) {
			t.Fatalf("entry %d is %q = %x, %t", i, it.Key(), it.Value(), more)
		}
	}
	if more, _ := it.Next(); more {
		t.Fatal("an entry follows the last one")
	}
}

// BenchmarkSeek looks keys up in a block of the usual size: links of a list, and of many short lists. It sums up a
// short list.
func BenchmarkSeek(b *testing.B) {
	_, list := longList(400)
	var many []entry
	for t := range uint64(100) {
		for i := range uint64(4) {
			key := appendID(append(appendID([]byte{1}, 1000+t), 0), 7)
			key = appendID(append(key, 0xff, 0xfa, 1, 2, byte(i), 3, byte(t), 4), t*t+i)
			many = append(many, entry{append(key, 1, 0x32, 3, byte(t), 5, 7, byte(i), 4, 1), []byte{1}})
		}
	}
	for _, run := range []struct {
		name string
		e    *entries
	}{{"list", list}, {"lists", sorted(many)}} {
		c := blockOf(b, run.e)
		b.Run(run.name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if _, ok := c.seek(run.e.some(i)); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
	prefixes := make([][]byte, 100)
	for t := range prefixes {
		prefixes[t] = appendID(append(appendID([]byte{1}, 1000+uint64(t)), 0), 7)
	}
	s := open(b, []Input{{1, targetKind, sorted(many)}}, sampleKinds, NewCache(1<<20))
	b.Run("sum of 4", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			prefix := prefixes[i%100]
			if n, err := s.runs[1].Sum(prefix, lsm.PrefixEnd(prefix)); n != 4 || err != nil {
				b.Fatal(n, err)
			}
		}
	})
}

// TestFindOnce: look-ups with lsm.Once cache no data block, and their values are copies: later look-ups, of many
// goroutines, don't change them. They use a block that the cache has, and cache one that two in turn read.
func TestFindOnce(t *testing.T) {
	t.Parallel()
	s := sampleOf(t, 20_000, false)
	path := filepath.Join(t.TempDir(), "segment")
	if _, err := Write(path, nil, s.inputs(), Options{}); err != nil {
		t.Fatal(err)
	}
	file, err := Open(path, sampleKinds, NewCache(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	r := file.runs[2]
	cached := func() (blocks []*columns) {
		for id := range r.head.Blocks {
			if c, ok := r.cachedBlock(r.head.First + id); ok {
				blocks = append(blocks, c)
			}
		}
		return blocks
	}
	const stride = 7919 // no two keys in turn are of one block
	findAll := func(from int) {
		values := make([][]byte, s.record.Len())
		for j := range values {
			i := (from + j*stride) % len(values)
			value, ok, err := r.Find(s.record.Block.Key(i), lsm.Once)
			if !ok || err != nil {
				t.Errorf("entry %d: %t, %v", i, ok, err)
				return
			}
			values[i] = value
		}
		for i, value := range values {
			if !bytes.Equal(value, s.record.Block.Value(i)) {
				t.Errorf("entry %d is %x, want %x", i, value, s.record.Block.Value(i))
				return
			}
		}
	}
	findAll(0)
	if n := len(cached()); n > 0 {
		t.Errorf("%d data blocks are cached", n)
	}
	find := func(i int) {
		t.Helper()
		value, ok, err := r.Find(s.record.Block.Key(i), lsm.Once)
		if !ok || err != nil || !bytes.Equal(value, s.record.Block.Value(i)) {
			t.Errorf("entry %d: %x, %t, %v", i, value, ok, err)
		}
	}
	find(1)
	find(2)
	if n := len(cached()); n != 1 {
		t.Fatalf("%d data blocks are cached after neighbours, want 1", n)
	}
	find(3)
	if cached()[0].restarts.Load() == nil {
		t.Error("a cached block is not used")
	}
	var readers sync.WaitGroup
	for g := range 4 {
		readers.Go(func() { findAll(g * 1000) })
	}
	readers.Wait()
}
