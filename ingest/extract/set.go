package extract

import (
	"bytes"
	"hash/maphash"
)

// set finds the link that a record has already. Up to linear links it compares all; beyond, it is an open-addressing
// hash table, with a seed of its own so that nobody can write a record whose links all collide.
type set struct {
	seed   maphash.Seed
	hashes []uint64 // of each link, by its index
	slots  []uint32 // the index of a link plus one, or 0; the length is a power of two
}

// linear is how many links are compared one by one; nearly all records have fewer, and clearing a table costs more.
const linear = 16

// Results of find besides a free slot.
const (
	known = -1 // the link is there
	none  = -2 // it isn't, and there is no table
)

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

// find looks for a link among links, which are those that were added. It returns known, none, or the slot for add.
func (s *set) find(hash uint64, links []Link, path, target []byte) int {
	same := func(i int) bool {
		return s.hashes[i] == hash && bytes.Equal(links[i].Target, target) && bytes.Equal(links[i].Path, path)
	}
	if len(s.slots) == 0 {
		for i := range links {
			if same(i) {
				return known
			}
		}
		return none
	}
	mask := uint64(len(s.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		switch n := s.slots[i]; {
		case n == 0:
			return int(i)
		case same(int(n - 1)):
			return known
		}
	}
}

// add adds a link that find didn't find.
func (s *set) add(hash uint64, slot int) {
	s.hashes = append(s.hashes, hash)
	n := len(s.hashes)
	switch {
	case n <= linear:
	case slot == none:
		s.build(8 * linear)
	case 2*n > len(s.slots):
		s.build(2 * len(s.slots))
	default:
		s.slots[slot] = uint32(n)
	}
}

// build makes a table of size slots for all links so far.
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
