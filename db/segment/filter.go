package segment

import (
	"encoding/binary"
	"math/bits"
)

// A filter on disk is a blocked Bloom filter in pages: a hash picks a page, in it a block of 512 bits, and in that its
// bits, so that a look-up needs one page. It is a scheme of its own, as that of filters in memory may change and files
// don't. Hashes that are higher lie in pages that are no lower, which lets a filter of any size be built front to back.
const (
	// 8 bits and 5 probes for each group let through about 2.5 % of the look-ups for groups that are absent. Of those for
	// records, which have the most groups, the minutes deny nearly all before.
	filterBits   = 8
	filterProbes = 5

	filterWords      = 8
	filterBlockBytes = 8 * filterWords
)

// filterHead says where a run's filter lies.
type filterHead struct {
	First  int64 `json:"first"`  // the row of its first page; the others follow it
	Pages  int64 `json:"pages"`  // 0: the run is empty
	Blocks int   `json:"blocks"` // in each page
}

// filterBlocks is how many blocks of a filter fill a page of SQLite: 35 bytes are taken by the page itself, and up to 16
// by the row's header and number.
func filterBlocks(pageSize int) int { return (pageSize - 35 - 16 - sumSize) / filterBlockBytes }

// filterPages is how many pages a filter of so many groups takes.
func filterPages(groups int64, blocks int) int64 {
	perPage := int64(blocks) * filterBlockBytes * 8
	return (groups*filterBits + perPage - 1) / perPage
}

// locate picks a hash's page, its block's first byte in that page, and the bits in that.
func (f filterHead) locate(hash uint64) (page int64, at int, probes uint64) {
	hi, lo := bits.Mul64(hash, uint64(f.Pages))
	block, _ := bits.Mul64(lo, uint64(f.Blocks))
	// An odd constant (2^64 / golden ratio) spreads the bits that page and block left over the 54 that the probes use.
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

// mayContain is false when the hash was not added to the page.
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

// build makes the pages of a filter and hands each over in order, valid until the next. Its memory is that of the pages
// for one bucket of hashes, 1/256 of the filter.
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
		// What lies below the bucket's last page is complete; that one may get more from the next bucket.
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
