package segment

import (
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
	"weft.dev/weft/db/run"
)

const (
	// MaxValue is the longest value that a run takes, in bytes: far more than the links of the largest record.
	MaxValue = 32 << 20
	// maxBlock bounds what a block decodes to: an entry of the largest size, as a block ends soon after it is full.
	maxBlock = MaxValue + run.MaxKey + 1<<20
)

// block gathers entries in order and encodes them. Columns of like numbers compress better than entries one after the
// other:
//
//	block   = zstd(raw)
//	raw     = uvarint entries, uvarint bytes of all keys and values,
//	          uvarint length of shared, of rest, of lens, of keys,
//	          shared, rest, lens, keys, values
//	shared  = of each entry a uvarint: how many leading bytes its key has in common with the key before
//	rest    = of each entry a uvarint: how many more bytes the key has
//	lens    = of each entry a uvarint: the length of its value
//	keys    = those further bytes without the last 10, one key after the other; then the 10th from the end of all keys
//	          that have one, then the 9th of all, and so on to the last
//	values  = the values, one after the other
type block struct {
	n, full                          int
	shared, rest, lens, keys, values []byte
	sizes                            []int // of keys
	last                             []byte
	raw                              []byte
}

// tail is how many bytes at the end of each key lie in columns: those of a TID and what stands around it, which are alike
// from one key to the next at the same distance from the end. It saves 5 % of a run; more or fewer save less.
const tail = 10

func (b *block) add(key, value []byte) {
	n := 0
	if b.n > 0 {
		n = common(b.last, key)
	}
	b.shared = binary.AppendUvarint(b.shared, uint64(n))
	b.rest = binary.AppendUvarint(b.rest, uint64(len(key)-n))
	b.lens = binary.AppendUvarint(b.lens, uint64(len(value)))
	b.keys = append(b.keys, key[n:]...)
	b.sizes = append(b.sizes, len(key)-n)
	b.values = append(b.values, value...)
	b.last = append(b.last[:0], key...)
	b.n++
	b.full += len(key) + len(value)
}

// size is what the entries take before they are compressed, in bytes.
func (b *block) size() int {
	return len(b.shared) + len(b.rest) + len(b.lens) + len(b.keys) + len(b.values)
}

// fullFactor bounds what a block decodes to, as a multiple of its size before compression: keys that are long and nearly
// the same take little in the block and much in memory.
const fullFactor = 16

// fills says that the block has come to a size.
func (b *block) fills(size int) bool { return b.size() >= size || b.full >= fullFactor*size }

// encode appends the block and empties it.
func (b *block) encode(dst []byte, z *zstd.Encoder) []byte {
	b.raw = b.raw[:0]
	for _, n := range []int{b.n, b.full, len(b.shared), len(b.rest), len(b.lens), len(b.keys)} {
		b.raw = binary.AppendUvarint(b.raw, uint64(n))
	}
	b.raw = append(append(append(b.raw, b.shared...), b.rest...), b.lens...)
	b.appendKeys()
	b.raw = append(b.raw, b.values...)
	for _, column := range []*[]byte{&b.shared, &b.rest, &b.lens, &b.keys, &b.values} {
		*column = (*column)[:0]
	}
	b.n, b.full, b.sizes = 0, 0, b.sizes[:0]
	return z.EncodeAll(b.raw, dst)
}

func (b *block) appendKeys() {
	at := 0
	for _, n := range b.sizes {
		b.raw = append(b.raw, b.keys[at:at+n-min(n, tail)]...)
		at += n
	}
	for k := tail; k > 0; k-- {
		at := 0
		for _, n := range b.sizes {
			if at += n; n >= k {
				b.raw = append(b.raw, b.keys[at-k])
			}
		}
	}
}

// tails reads the columns of the last bytes of keys.
type tails [tail + 1][]byte // by the distance from the end

// cut finds the columns at the end of keys, and gives what lies before them. rest is of n keys.
func (t *tails) cut(keys, rest []byte, n int) ([]byte, error) {
	var sizes [tail + 1]int
	for range n {
		r, k := uvarint(rest)
		if k <= 0 {
			return nil, fmt.Errorf("%w: the lengths of the keys of a block", errDamaged)
		}
		rest = rest[k:]
		sizes[min(r, tail)]++
	}
	for k, sum := tail, 0; k > 0; k-- {
		sum += sizes[k]
		sizes[k] = sum // keys that have so many bytes
	}
	for k := 1; k <= tail; k++ {
		if sizes[k] > len(keys) {
			return nil, fmt.Errorf("%w: the keys of a block end early", errDamaged)
		}
		keys, t[k] = keys[:len(keys)-sizes[k]], keys[len(keys)-sizes[k]:]
	}
	return keys, nil
}

// append appends the last bytes of the next key.
func (t *tails) append(key []byte, n int) []byte {
	for k := n; k > 0; k-- {
		key = append(key, t[k][0])
		t[k] = t[k][1:]
	}
	return key
}

// common is the length of the longest common prefix.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// decoder unpacks blocks of all files; it is safe for concurrent use. Its bound is that of a block with its columns.
var decoder = func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(2*maxBlock))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
}()

// raws spares the memory that a block is unpacked into on its way to a page.
var raws = sync.Pool{New: func() any { return new([]byte) }}

// keepRaw is the largest that is kept, in bytes: a few times a common block, for there are some of other sizes.
const keepRaw = 64 << 10

// decodeBlock reads what encode wrote. It takes any input: what is no block is an error.
func decodeBlock(data []byte) (*run.Page, error) {
	raw := raws.Get().(*[]byte)
	var err error
	if *raw, err = decoder.DecodeAll(data, (*raw)[:0]); err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	page, err := decodeRaw(*raw) // a page has its own copy
	if cap(*raw) <= keepRaw {
		raws.Put(raw)
	}
	return page, err
}

func decodeRaw(raw []byte) (*run.Page, error) {
	var sizes [6]int
	for i := range sizes {
		n, k := binary.Uvarint(raw)
		if k <= 0 || n > maxBlock {
			return nil, fmt.Errorf("%w: the header of a block", errDamaged)
		}
		sizes[i], raw = int(n), raw[k:]
	}
	n, full := sizes[0], sizes[1]
	var columns [5][]byte
	for i, size := range sizes[2:] {
		if size > len(raw) {
			return nil, fmt.Errorf("%w: column %d of a block ends early", errDamaged, i)
		}
		columns[i], raw = raw[:size], raw[size:]
	}
	shared, rest, lens, keys, values := columns[0], columns[1], columns[2], columns[3], raw
	if n > len(shared) {
		return nil, fmt.Errorf("%w: a block of %d entries in %d bytes", errDamaged, n, len(shared))
	}
	var ends tails
	keys, err := ends.cut(keys, rest, n)
	if err != nil {
		return nil, err
	}
	page := run.NewPage(n, full)
	key := make([]byte, 0, 256)
	for i := range n {
		s, k := uvarint(shared)
		r, l := uvarint(rest)
		v, m := uvarint(lens)
		end := min(r, tail)
		if k <= 0 || l <= 0 || m <= 0 || s > len(key) || r-end > len(keys) || v > len(values) ||
			s+r > run.MaxKey || page.Size()+s+r+v > full {
			return nil, fmt.Errorf("%w: entry %d of a block", errDamaged, i)
		}
		key = ends.append(append(key[:s], keys[:r-end]...), end)
		page.Add(key, values[:v])
		shared, rest, lens, keys, values = shared[k:], rest[l:], lens[m:], keys[r-end:], values[v:]
	}
	if len(shared)+len(rest)+len(lens)+len(keys)+len(values) > 0 || page.Size() != full {
		return nil, fmt.Errorf("%w: a block holds more than its entries", errDamaged)
	}
	return page, nil
}

// uvarint reads a number that is mostly below 128; n is not above 0 when there is none. The number is at most maxBlock.
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
