package apply

import (
	"database/sql"
	"hash/maphash"

	"weft.dev/weft/db/index"
)

// History answers from committed rows and from memory what the log rows of an event don't say. Only new events ask.
type History struct {
	dedup  dedupWindow
	ids    idCache
	beside *sql.DB // reads committed rows beside the writer's open transaction
}

// NewHistory returns the history before the first event after a start. dedupEvents bounds the events of a generation of
// the dedup window; 0: 524,288. v is the snapshot after the replay.
func NewHistory(committed *sql.DB, dedupEvents int, v *index.Snapshot) *History {
	return &History{beside: committed, dedup: newDedupWindow(dedupEvents, v.Seq, v.MaxUS)}
}

// idCache spares the writer most look-ups of names: a few accounts make most of the events. Only the writer touches it.
//
// A name is known by a keyed hash of 96 bits, of which 64 come from one random key and 32 from another, so that neither
// chance (2^-96 for each pair) nor an author of names, who knows no key, makes two names one. An entry takes 16 bytes
// without a pointer, where a map of strings takes 90 and is walked by the garbage collector.
type idCache struct {
	seeds [2]maphash.Seed
	sets  []idSet
}

// idSet is the entries that a name can lie in, the one used last in front: 64 bytes, a line of the processor's cache.
type idSet [4]idEntry

type idEntry struct {
	hash  uint64
	check uint32
	id    uint32 // 0: empty
}

// idSets bounds the cache: 2^18 sets are a million names in 16 MiB, about the accounts that are active on the network
// in a few hours.
const idSets = 1 << 18

func (c *idCache) hash(name []byte) (hash uint64, check uint32) {
	if c.sets == nil {
		c.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
		c.sets = make([]idSet, idSets)
	}
	return maphash.Bytes(c.seeds[0], name), uint32(maphash.Bytes(c.seeds[1], name))
}

func (c *idCache) get(name []byte) (uint64, bool) {
	hash, check := c.hash(name)
	set := &c.sets[hash%idSets]
	for i, e := range set {
		if e.hash == hash && e.check == check && e.id != 0 {
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
	hash, check := c.hash(name)
	set := &c.sets[hash%idSets]
	copy(set[1:], set[:])
	set[0] = idEntry{hash, check, uint32(id)}
}
