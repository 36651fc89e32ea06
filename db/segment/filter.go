package segment

import (
	"encoding/binary"
	"math/bits"
)

// A filter on disk is a blocked Bloom filter in pages. A hash selects a page, a block of 512 bits in the page, and its
// bits in the block, so that a look-up reads one page. The scheme differs from that of the filters in memory, which may
// change while files do not. Higher hashes lie in the same or higher pages, so that a filter is built front to back.
const (
	// 8 bits and 5 probes per prefix give about 2.5 % false positives. For records, which have the most prefixes, the
	// minutes exclude nearly all absent keys first.
	filterBits   = 8
	filterProbes = 5

	filterWords      = 8
	filterBlockBytes = 8 * filterWords
)

// filterHead locates a run's filter.
type filterHead struct {
	First  int64 `json:"first"`  // row of the first page; the others follow it
	Pages  int64 `json:"pages"`  // 0: the run is empty
	Blocks int   `json:"blocks"` // in each page
}

// filterBlocks returns the number of filter blocks that fill a page of SQLite. The page itself takes 35 bytes, the
// row's header and number up to 16.
func filterBlocks(pageSize int) int { return (pageSize - 35 - 16 - sumSize) / filterBlockBytes }

// filterPages returns the number of pages of a filter.
func filterPages(prefixes int64, blocks int) int64 {
	perPage := int64(blocks) * filterBlockBytes * 8
	return (prefixes*filterBits + perPage - 1) / perPage
}

// locate returns the page of a hash, the offset of its block in the page, and its bits in the block.
func (f filterHead) locate(hash uint64) (page int64, at int, probes uint64) {
	hi, lo := bits.Mul64(hash, uint64(f.Pages))
	block, _ := bits.Mul64(lo, uint64(f.Blocks))
	// An odd constant (2^64 / golden ratio) spreads the bits that page and block left over the 54 bits that the probes
	// use.
	return int64(hi), int(block) * filterBlockBytes, hash * 0x9e3779b97f4a7c15 >> 10
}

// set adds a hash to its page.
func (f filterHead) set(page []byte, hash uint64) {
	_, at, probes := f.locate(hash)
	for range filterProbes {
		w := page[at+int(probes>>6&7)*8:]
		binary.LittleEndian.PutUint64(w, binary.LittleEndian.Uint64(w)|1<<(probes&63))
		probes >>= 9
	}
}

// mayContain reports whether the hash may have been added to its page; false is certain.
func (f filterHead) mayContain(page []byte, hash uint64) bool {
	_, at, probes := f.locate(hash)
	for range filterProbes {
		if binary.LittleEndian.Uint64(page[at+int(probes>>6&7)*8:])&(1<<(probes&63)) == 0 {
			return false
		}
		probes >>= 9
	}
	return true
}

// build passes the pages of a filter to emit in order. A page is valid until emit returns. The memory is that of the
// pages of one bucket of hashes, 1/256 of the filter.
func (f filterHead) build(hashes *hashes, emit func(n int64, page []byte) error) error {
	if f.Pages == 0 {
		return nil
	}
	size := f.Blocks * filterBlockBytes
	var window []byte // pages from done on
	done := int64(0)
	for b := range buckets {
		last, _, _ := f.locate(uint64(b+1)<<(64-bucketBits) - 1)
		if need := int(last-done+1) * size; len(window) < need {
			window = append(window, make([]byte, need-len(window))...)
		}
		err := hashes.each(b, func(hash uint64) {
			n, _, _ := f.locate(hash)
			f.set(window[int(n-done)*size:], hash)
		})
		if err != nil {
			return err
		}
		// Pages below the bucket's last page are complete. The next bucket may add to the last one.
		if b == buckets-1 {
			last++
		}
		ready := int(last - done)
		for i := range ready {
			if err := emit(done+int64(i), window[i*size:(i+1)*size]); err != nil {
				return err
			}
		}
		n := copy(window, window[ready*size:])
		clear(window[n:])
		done = last
	}
	return nil
}
