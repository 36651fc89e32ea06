package lsm

// bloomFilter is a blocked Bloom filter: each hash sets its bits within one block of 512 bits, the size of a cache
// line, so that a look-up costs one cache miss. It has no false negatives.
type bloomFilter []uint64

const (
	// 10 bits and 6 probes per hash give about 1 % false positives in a blocked filter.
	filterBits   = 10
	filterProbes = 6

	blockWords = 8
	blockBits  = blockWords * 64
)

// newBloomFilter builds a filter of distinct hashes.
func newBloomFilter(hashes []uint64) bloomFilter {
	blocks := (len(hashes)*filterBits + blockBits - 1) / blockBits
	f := make(bloomFilter, max(blocks, 1)*blockWords)
	for _, h := range hashes {
		f.add(h)
	}
	return f
}

// block selects the block of a hash by its upper half, and mixes the lower half into the probe bits.
func (f bloomFilter) block(h uint64) (block []uint64, bits uint64) {
	n := uint64(len(f) / blockWords)
	i := (h >> 32) * n >> 32 * blockWords
	// An odd constant (2^64 / golden ratio) spreads the lower half over the 54 bits that the probes use.
	return f[i : i+blockWords], h * 0x9e3779b97f4a7c15 >> 10
}

func (f bloomFilter) add(h uint64) {
	block, bits := f.block(h)
	for range filterProbes {
		block[bits>>6&7] |= 1 << (bits & 63)
		bits >>= 9
	}
}

// mayContain reports whether the hash may have been added; false is certain.
func (f bloomFilter) mayContain(h uint64) bool {
	block, bits := f.block(h)
	for range filterProbes {
		if block[bits>>6&7]&(1<<(bits&63)) == 0 {
			return false
		}
		bits >>= 9
	}
	return true
}
