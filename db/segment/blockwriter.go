package segment

import (
	"encoding/binary"

	"github.com/klauspost/compress/zstd"

	"weft.dev/weft/db/lsm"
)

const (
	// MaxValue is the maximum length of a value in bytes: far more than the links of the largest record.
	MaxValue = 32 << 20
	// maxBlock bounds the decoded size of a block: one entry of the largest size, because a block ends soon after it is
	// full.
	maxBlock = MaxValue + lsm.MaxKey + 1<<20
)

// blockWriter collects entries in key order and encodes them. Columns of similar numbers compress better than whole
// entries in sequence:
//
//	block   = zstd(raw)
//	raw     = uvarint entries, uvarint bytes of all keys and values,
//	          uvarint length of shared, of rest, of lens, of keys,
//	          shared, rest, lens, keys, values
//	shared  = for each entry a uvarint: the number of leading bytes that its key shares with the previous key
//	rest    = for each entry a uvarint: the number of further bytes of the key
//	lens    = for each entry a uvarint: the length of its value
//	keys    = those further bytes without the last 10, key after key; then the 10th from the end of all keys that have
//	          one, then the 9th of all, and so on to the last
//	values  = the values in sequence
type blockWriter struct {
	n       int
	decoded int // length of all keys and values
	shared  []byte
	rest    []byte
	lens    []byte
	keys    []byte
	values  []byte
	sizes   []int // of the keys' further bytes
	last    []byte
	raw     []byte
}

// tailLen is the number of bytes at the end of each key that are stored in columns: those of a TID and its neighbours,
// which are similar from key to key at the same distance from the end. It saves 5 % of a run; other lengths save less.
const tailLen = 10

func (b *blockWriter) add(key, value []byte) {
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
	b.decoded += len(key) + len(value)
}

// size returns the size of the entries before compression, in bytes.
func (b *blockWriter) size() int {
	return len(b.shared) + len(b.rest) + len(b.lens) + len(b.keys) + len(b.values)
}

// decodedFactor bounds the decoded size of a block as a multiple of its size before compression: long keys that are
// nearly equal take little space in the block and much in memory.
const decodedFactor = 16

// isFull reports whether the block has reached a size.
func (b *blockWriter) isFull(size int) bool {
	return b.size() >= size || b.decoded >= decodedFactor*size
}

// encode appends the encoded block to dst and resets the writer.
func (b *blockWriter) encode(dst []byte, z *zstd.Encoder) []byte {
	return z.EncodeAll(b.encodeRaw(), dst)
}

// encodeRaw returns the block before compression and resets the writer. It is valid until the next call.
func (b *blockWriter) encodeRaw() []byte {
	b.raw = b.raw[:0]
	for _, n := range []int{b.n, b.decoded, len(b.shared), len(b.rest), len(b.lens), len(b.keys)} {
		b.raw = binary.AppendUvarint(b.raw, uint64(n))
	}
	b.raw = append(append(append(b.raw, b.shared...), b.rest...), b.lens...)
	b.appendKeys()
	b.raw = append(b.raw, b.values...)
	for _, column := range []*[]byte{&b.shared, &b.rest, &b.lens, &b.keys, &b.values} {
		*column = (*column)[:0]
	}
	b.n = 0
	b.decoded = 0
	b.sizes = b.sizes[:0]
	return b.raw
}

func (b *blockWriter) appendKeys() {
	at := 0
	for _, n := range b.sizes {
		b.raw = append(b.raw, b.keys[at:at+n-min(n, tailLen)]...)
		at += n
	}
	for k := tailLen; k > 0; k-- {
		at := 0
		for _, n := range b.sizes {
			at += n
			if n >= k {
				b.raw = append(b.raw, b.keys[at-k])
			}
		}
	}
}

// common returns the length of the longest common prefix.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
