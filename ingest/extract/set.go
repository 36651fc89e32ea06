package extract

import "hash/maphash"

// set finds an equal element in a list: of links or of paths. Up to maxLinear elements it compares each. A larger set
// is an open-addressing hash table with a random seed, so that an attacker can't make a record whose links all collide.
type set struct {
	seed   maphash.Seed
	hashes []uint64 // of each element, by its index in the list
	slots  []uint32 // the index of an element plus one, or 0; the length is a power of two
}

// maxLinear is the largest set without a table. Nearly all records have fewer links, and clearing a table costs more.
const maxLinear = 16

// noSlot is the slot that find returns without a table.
const noSlot = -1

func newSet() set { return set{seed: maphash.MakeSeed()} }

func (s *set) reset() {
	s.hashes = empty(s.hashes)
	s.slots = empty(s.slots)
}

func (s *set) hash(b []byte) uint64 { return maphash.Bytes(s.seed, b) }

// join returns the hash of a link from that of its path.
func (s *set) join(path uint64, target []byte) uint64 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio: so that path and target don't cancel out if alike
	return path*odd ^ s.hash(target)
}

// find returns the index of the element with this hash that same accepts, or -1 and the slot for add.
func (s *set) find(hash uint64, same func(i int) bool) (index, slot int) {
	if len(s.slots) == 0 {
		for i, h := range s.hashes {
			if h == hash && same(i) {
				return i, noSlot
			}
		}
		return -1, noSlot
	}
	mask := uint64(len(s.slots) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		n := int(s.slots[at])
		if n == 0 {
			return -1, int(at)
		}
		if s.hashes[n-1] == hash && same(n-1) {
			return n - 1, noSlot
		}
	}
}

// add adds an element after find has not found it.
func (s *set) add(hash uint64, slot int) {
	s.hashes = append(s.hashes, hash)
	n := len(s.hashes)
	switch {
	case n <= maxLinear:
	case slot == noSlot:
		s.build(8 * maxLinear)
	case 2*n > len(s.slots):
		s.build(2 * len(s.slots))
	default:
		s.slots[slot] = uint32(n)
	}
}

// build makes a table of size slots for all elements so far.
func (s *set) build(size int) {
	if cap(s.slots) < size {
		s.slots = make([]uint32, size)
	} else {
		s.slots = s.slots[:size]
		clear(s.slots)
	}
	mask := uint64(size - 1)
	for i, hash := range s.hashes {
		at := hash & mask
		for s.slots[at] != 0 {
			at = (at + 1) & mask
		}
		s.slots[at] = uint32(i + 1)
	}
}
