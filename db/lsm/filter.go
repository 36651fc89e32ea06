package lsm

// Filter is a blocked Bloom filter: each hash sets its bits within one block of 512 bits, the size of a cache line, so
// that a look-up costs one miss. It never denies what was added.
type Filter []uint64

const (
	// 10 bits and 6 probes per hash let through about 1 % of the look-ups for absent keys in a blocked filter.
	filterBits   = 10
	filterProbes = 6

	blockWords = 8
	blockBits  = blockWords * 64
)

// NewFilter makes a filter of distinct hashes.
func NewFilter(hashes []uint64) Filter {
	blocks := (len(hashes)*filterBits + blockBits - 1) / blockBits
	f := make(Filter, max(blocks, 1)*blockWords)
	for _, h := range hashes {
		f.add(h)
	}
	return f
}

// block picks a hash's block with its upper half; the lower half, mixed, gives the bits.
func (f Filter) block(h uint64) (block []uint64, bits uint64) {
	n := uint64(len(f) / blockWords)
	i := (h >> 32) * n >> 32 * blockWords
	// An odd constant (2^64 / golden ratio) spreads the lower half over the 54 bits that the probes use.
	return f[i : i+blockWords], h * 0x9e3779b97f4a7c15 >> 10
}

func (f Filter) add(h uint64) {
	block, bits := f.block(h)
	for range filterProbes {
		block[bits>>6&7] |= 1 << (bits & 63)
		bits >>= 9
	}
}

// May is false when the hash was not added.
func (f Filter) May(h uint64) bool {
	block, bits := f.block(h)
	for range filterProbes {
		if block[bits>>6&7]&(1<<(bits&63)) == 0 {
			return false
		}
		bits >>= 9
	}
	return true
}
