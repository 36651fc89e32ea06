package segment

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"weft.dev/weft/db/lsm"
)

// columns is a decompressed block in the column layout of blockWriter. It is checked once, so that reads of its entries
// cannot fail. It is immutable but for its restart points. A look-up in columns takes a third of the time that building
// an lsm.Block takes, and columns take half the memory of one.
type columns struct {
	n       int
	decoded int // length of all keys and values
	shared  []byte
	rest    []byte
	lens    []byte
	keys    []byte
	values  []byte
	tails   [tailLen + 1][]byte // by distance from the end of a key
	size    int                 // of all columns
	narrow  bool                // each length is a byte, so that entry i has the i-th

	keyspace *lsm.Keyspace // of its run
	searched atomic.Bool
	restarts atomic.Pointer[restarts]
}

// decoder decompresses blocks of all files; it is safe for concurrent use. Its limit is that of a block with its
// columns.
var decoder = func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(2*maxBlock))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}()

// decodeColumns decodes a block of blockWriter.encode, of a run of a keyspace, to the memory of *raw. The columns refer
// to it. Any other input gives an error.
func decodeColumns(data []byte, raw *[]byte, keyspace *lsm.Keyspace) (c *columns, err error) {
	*raw, err = decoder.DecodeAll(data, (*raw)[:0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	c = &columns{keyspace: keyspace}
	return c, c.parse(*raw)
}

// rawPool reuses the buffers of decompressed blocks that are not cached.
var rawPool = sync.Pool{New: func() any { return new([]byte) }}

// maxPooled is the maximum size of a buffer in rawPool, in bytes: a few times that of a usual block, because sizes
// vary.
const maxPooled = 64 << 10

// putRaw gives a buffer back to rawPool.
func putRaw(raw *[]byte) {
	if cap(*raw) <= maxPooled {
		rawPool.Put(raw)
	}
}

// decodeBlock decodes a block of blockWriter.encode to an lsm.Block. Any other input gives an error.
func decodeBlock(data []byte) (*lsm.Block, error) {
	raw := rawPool.Get().(*[]byte)
	defer putRaw(raw)
	c, err := decodeColumns(data, raw, nil)
	if err != nil {
		return nil, err
	}
	return c.block(), nil // a copy
}

// parse splits a decompressed block into its columns. The columns refer to raw.
func (c *columns) parse(raw []byte) error {
	c.size = len(raw)
	var sizes [6]int
	for i := range sizes {
		n, k := binary.Uvarint(raw)
		if k <= 0 || n > maxBlock {
			return fmt.Errorf("%w: the header of a block", errDamaged)
		}
		sizes[i] = int(n)
		raw = raw[k:]
	}
	c.n = sizes[0]
	c.decoded = sizes[1]
	for i, column := range []*[]byte{&c.shared, &c.rest, &c.lens, &c.keys} {
		size := sizes[2+i]
		if size > len(raw) {
			return fmt.Errorf("%w: column %d of a block ends early", errDamaged, i)
		}
		*column = raw[:size]
		raw = raw[size:]
	}
	c.values = raw
	if c.n > len(c.shared) {
		return fmt.Errorf("%w: a block of %d entries in %d bytes", errDamaged, c.n, len(c.shared))
	}
	c.narrow = c.n == len(c.shared) && c.n == len(c.rest) && c.n == len(c.lens)
	counts, err := c.check()
	if err != nil {
		return err
	}
	for k := 1; k <= tailLen; k++ {
		at := len(c.keys) - counts[k]
		c.tails[k] = c.keys[at:]
		c.keys = c.keys[:at]
	}
	return nil
}

// check compares the columns of lengths with the columns of keys and values. It returns the number of keys with at
// least k further bytes, for each k up to tailLen.
func (c *columns) check() (counts [tailLen + 1]int, err error) {
	shared, rest, lens := c.shared, c.rest, c.lens
	length, keys, values, decoded := 0, 0, 0, 0
	for i := range c.n {
		s, k := uvarint(shared)
		r, l := uvarint(rest)
		v, m := uvarint(lens)
		if k <= 0 || l <= 0 || m <= 0 || s > length || s+r > lsm.MaxKey {
			return counts, fmt.Errorf("%w: entry %d of a block", errDamaged, i)
		}
		length = s + r
		keys += r
		values += v
		decoded += length + v
		if keys > len(c.keys) || values > len(c.values) || decoded > c.decoded {
			return counts, fmt.Errorf("%w: entry %d of a block", errDamaged, i)
		}
		counts[min(r, tailLen)]++
		shared = shared[k:]
		rest = rest[l:]
		lens = lens[m:]
	}
	if len(shared)+len(rest)+len(lens) > 0 || keys != len(c.keys) || values != len(c.values) || decoded != c.decoded {
		return counts, fmt.Errorf("%w: a block has more than its entries", errDamaged)
	}
	for k := tailLen - 1; k > 0; k-- {
		counts[k] += counts[k+1]
	}
	return counts, nil
}

// block copies the entries into an lsm.Block.
func (c *columns) block() *lsm.Block { return (&columnIterator{c: c}).block(c.n) }

// memory returns the memory of the columns with their restart points, in bytes.
func (c *columns) memory() int { return c.size + 24*(5+tailLen+1) + c.n/restartEvery*restartBytes }

// uvarint decodes a number that is mostly below 128 and at most maxBlock. n is 0 or negative when there is none.
func uvarint(b []byte) (v, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return int(b[0]), 1
	}
	u, n := binary.Uvarint(b)
	if u > maxBlock {
		return 0, -1
	}
	return int(u), n
}
