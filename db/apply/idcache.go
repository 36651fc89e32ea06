package apply

import (
	"hash/maphash"
	"slices"
)

// idCache spares the writer most look-ups of names: a few accounts make most of the events. Only the writer touches it.
//
// A name is known by a keyed hash of 96 bits, of which 64 come from one random key and 32 from another, so that neither
// chance (2^-96 for each pair) nor an author of names, who knows no key, makes two names one. An entry takes 16 bytes
// without a pointer, where a map of strings takes 90 and is walked by the garbage collector.
type idCache struct {
	seeds [2]maphash.Seed
	sets  []idSet
	names int // entries, at most: those that others replaced count until the next growth
}

// idSet is the entries that a name can lie in, the one used last in front: 64 bytes, a line of the processor's cache.
type idSet [4]idEntry

type idEntry struct {
	hash  uint64
	check uint32
	id    uint32 // 0: empty
}

const (
	// idSetsFirst is the size of a cache before it grows: a thousand names in 16 KiB.
	idSetsFirst = 1 << 8
	// idSetsMost bounds the cache: 2^18 sets are a million names in 16 MiB, about the accounts that are active on the
	// network in a few hours.
	idSetsMost = 1 << 18
	// idsPerSet is how many names a set has on average when the cache grows: with half of its places, few names replace
	// others.
	idsPerSet = 2
)

// hashedName is a name by its keyed hash.
type hashedName struct {
	hash  uint64
	check uint32
}

func (c *idCache) hash(name []byte) hashedName {
	if c.sets == nil {
		c.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
		c.sets = make([]idSet, idSetsFirst)
	}
	return hashedName{maphash.Bytes(c.seeds[0], name), uint32(maphash.Bytes(c.seeds[1], name))}
}

func (c *idCache) get(name []byte) (uint64, bool) { return c.getHashed(c.hash(name)) }

func (c *idCache) getHashed(name hashedName) (uint64, bool) {
	set := c.set(name.hash)
	for i, e := range set {
		if e.hash == name.hash && e.check == name.check && e.id != 0 {
			copy(set[1:i+1], set[:i])
			set[0] = e
			return uint64(e.id), true
		}
	}
	return 0, false
}

// put takes a name that is not in the cache. Ids that 32 bits don't hold are looked up each time.
func (c *idCache) put(name []byte, id uint64) {
	if uint64(uint32(id)) != id {
		return
	}
	hashed := c.hash(name)
	if c.names >= idsPerSet*len(c.sets) && len(c.sets) < idSetsMost {
		c.grow()
	}
	c.set(hashed.hash).add(idEntry{hashed.hash, hashed.check, uint32(id)})
	c.names++
}

func (c *idCache) set(hash uint64) *idSet { return &c.sets[hash%uint64(len(c.sets))] }

// grow doubles the cache.
func (c *idCache) grow() {
	old := c.sets
	c.sets = make([]idSet, 2*len(old))
	c.names = 0
	for i := range old {
		for _, e := range slices.Backward(old[i][:]) { // the one used last is added last
			if e.id != 0 {
				c.set(e.hash).add(e)
				c.names++
			}
		}
	}
}

// add adds an entry in front.
func (s *idSet) add(e idEntry) {
	copy(s[1:], s[:])
	s[0] = e
}
