package segment

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"

	"weft.dev/weft/db/lsm"
)

func encoder(tb testing.TB) *zstd.Encoder {
	tb.Helper()
	z, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(false))
	if err != nil {
		tb.Fatal(err)
	}
	return z
}

// decodeRaw decodes a decompressed block.
func decodeRaw(raw []byte) (*lsm.Block, error) {
	var c columns
	if err := c.parse(raw); err != nil {
		return nil, err
	}
	return c.block(), nil
}

// FuzzDecode checks that any bytes give an error or a block within its bounds, as compressed and as decompressed input.
func FuzzDecode(f *testing.F) {
	var b blockWriter
	for i := range 200 {
		b.add(fmt.Appendf(nil, "key %04d", i), bytes.Repeat([]byte{'v'}, i%5))
	}
	data := b.encode(nil, encoder(f))
	f.Add(data)
	f.Add(bytes.Clone(b.raw))
	f.Add([]byte{})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 1, 1, 1, 1, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, decode := range []func([]byte) (*lsm.Block, error){decodeBlock, decodeRaw} {
			page, err := decode(data)
			if err != nil {
				continue
			}
			for i := range page.Len() {
				if c, err := parseHandle(page.Value(i)); err == nil && len(c.append(nil)) > len(page.Value(i)) {
					t.Errorf("a reference of %d bytes reads as %+v", len(page.Value(i)), c)
				}
				_ = page.Key(i)
			}
			_, _, _ = seekIndex(page, data)
		}
	})
}

// FuzzBlock checks that any keys and values survive encoding and decoding.
func FuzzBlock(f *testing.F) {
	z := encoder(f)
	f.Add([]byte("abc\x00\x01"), []byte("abd"), []byte{}, uint8(3))
	f.Fuzz(func(t *testing.T, a, b, c []byte, n uint8) {
		var w blockWriter
		var want [][]byte
		for i := range int(n) {
			key, value := [][]byte{a, b, c}[i%3], [][]byte{b, c, a}[i/3%3]
			w.add(key, value)
			want = append(want, key, value)
		}
		page, err := decodeBlock(w.encode(nil, z))
		if err != nil || page.Len() != int(n) {
			t.Fatalf("%v, %v", page, err)
		}
		for i := range page.Len() {
			if !bytes.Equal(page.Key(i), want[2*i]) || !bytes.Equal(page.Value(i), want[2*i+1]) {
				t.Fatalf("entry %d is %x = %x", i, page.Key(i), page.Value(i))
			}
		}
	})
}

// TestFilter checks that filters of any size have no false negatives and few false positives, with and without spilled
// hashes.
func TestFilter(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 100, 3000, 50_000, 1_500_000} {
		for _, spillAt := range []int{spillAt, 10} {
			t.Run(fmt.Sprintf("%d hashes, spilled at %d", n, spillAt), func(t *testing.T) {
				t.Parallel()
				dir, r := t.TempDir(), rand.New(rand.NewPCG(uint64(n), 1))
				h := newHashes(dir + "/hashes")
				h.spillAt = spillAt
				added := make([]uint64, n)
				for i := range added {
					added[i] = r.Uint64()
					if err := h.add(added[i]); err != nil {
						t.Fatal(err)
					}
				}
				f := filterHead{1, filterPages(int64(n), 63), 63}
				var pages [][]byte
				err := f.build(h, func(i int64, page []byte) error {
					if i != int64(len(pages)) {
						t.Fatalf("page %d after %d", i, len(pages))
					}
					pages = append(pages, bytes.Clone(page))
					return nil
				})
				if err != nil || int64(len(pages)) != f.Pages {
					t.Fatalf("%d pages of %d, %v", len(pages), f.Pages, err)
				}
				h.close()
				checkDir(t, dir)
				if n == 0 {
					return
				}
				may := func(hash uint64) bool {
					page, _, _ := f.locate(hash)
					return f.mayContain(pages[page], hash)
				}
				for _, hash := range added {
					if !may(hash) {
						t.Fatal("the filter has a false negative")
					}
				}
				wrong := 0
				for range 100_000 {
					if may(r.Uint64()) {
						wrong++
					}
				}
				// 2.2 % in theory, and somewhat more where blocks fill unevenly.
				if wrong > 3000 {
					t.Errorf("the filter has %d false positives of 100,000", wrong)
				}
			})
		}
	}
}

func TestCache(t *testing.T) {
	t.Parallel()
	c := NewCache(10 * (1000 + entryOverhead))
	key := func(i int) cacheKey { return newCacheKey(1, tableBlocks, int64(i)) }
	for i := range 20 {
		c.put(key(i), i, 1000)
		c.put(key(i), i, 1000) // again: by another reader, who missed it too
		if _, ok := c.get(key(0)); !ok {
			t.Fatalf("the entry that is always used is gone after %d", i)
		}
	}
	for i := range 20 {
		if v, ok := c.get(key(i)); ok != (i == 0 || i > 10) || ok && v != i {
			t.Errorf("entry %d is %v, %t", i, v, ok)
		}
	}
	c.put(key(99), 99, 1<<20)
	if _, ok := c.get(key(99)); ok {
		t.Error("an entry larger than the cache is kept")
	}
	if _, ok := c.get(key(0)); !ok {
		t.Error("an entry larger than the cache has emptied it")
	}
	for i := range 16 {
		NewCache(int64(i)<<24).put(key(i), i, 10)
	}
}
