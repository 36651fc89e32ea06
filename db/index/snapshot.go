package index

import (
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/keep"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/lsm"
)

// Snapshot is the index at one moment. It is immutable: its reader sees counts and lists that agree, whatever the
// writer does meanwhile.
type Snapshot struct {
	Targets lsm.Tree         // by target: the links of active accounts
	Records lsm.Tree         // by record: the links of all accounts
	Names   lsm.Tree         // by name: the ids of DIDs, collections and sources
	Linking int64            // records that have links, of hidden accounts too
	Seq     uint64           // the newest log row in it
	Sealed  uint64           // the newest log row in the files
	Sums    logrow.Checksums // as of seq, and of the names that there are
	Files   *FileSet         // the segments at the bottom of each tree

	Hiding    map[uint64]struct{} // accounts that are being hidden: their links are no longer listed; never changed
	Jobs      int                 // changes of status under way
	Actors    uint64              // accounts that have an id
	StartedUS int64               // time of the first event indexed, microseconds since 1970; 0 before it
	MaxUS     int64               // the newest time of any event, microseconds since 1970
	Upstreams map[string]Upstream // by host; never changed, only replaced

	Horizons *keep.Horizons // of sources: links of an earlier rank are out; nil: none is

	BodiesSince uint64 // bodies of log rows up to here are out of date

	// Caches of this snapshot and all that follow it.
	kinds *cache[string, uint64]     // ids of collections and sources, by name
	sums  *cache[string, segmentSum] // by the prefix of a list
}

// Trees returns the three trees, in the order of RunIDs.
func (v *Snapshot) Trees() [3]*lsm.Tree { return [3]*lsm.Tree{&v.Targets, &v.Records, &v.Names} }

// EmptySnapshot returns the snapshot of an empty index.
func EmptySnapshot() *Snapshot {
	return &Snapshot{
		Targets: lsm.Tree{Keyspace: &ByTarget},
		Records: lsm.Tree{Keyspace: &ByRecord},
		Names:   lsm.Tree{Keyspace: &ByName},
		kinds:   &cache[string, uint64]{most: kindCacheSize},
		sums:    newSumCache(),
	}
}

// kindCacheSize bounds each half of the cache of the ids of collections and sources. Apps ask for some dozens. A path
// has up to 512 bytes, so that the cache takes at most 5 MB.
const kindCacheSize = 4096

// ID looks a name up.
func (v *Snapshot) ID(name []byte) (id uint64, ok bool, err error) {
	value, ok, err := v.Names.Find(name, 0)
	if !ok || err != nil {
		return 0, false, err
	}
	id, _, err = codec.DecodeID(value)
	return id, err == nil, err
}

// kindID looks a collection or a source up, through a cache: almost every query names the same ones. A name keeps its
// id, so that the id is right in a snapshot that doesn't have the name yet: it has no links of it either.
func (v *Snapshot) kindID(name []byte) (id uint64, ok bool, err error) {
	if v.kinds == nil {
		return v.ID(name)
	}
	id, ok = v.kinds.get(string(name))
	if ok {
		return id, true, nil
	}
	id, ok, err = v.ID(name)
	if ok && err == nil {
		v.kinds.put(string(name), id)
	}
	return id, ok, err
}

// MutableBytes returns the memory of the runs that are not being sealed.
func (v *Snapshot) MutableBytes() (bytes int) {
	for _, tree := range v.Trees() {
		for _, r := range tree.Runs[tree.NoCompact:] {
			bytes += r.Memory()
		}
	}
	return bytes
}
