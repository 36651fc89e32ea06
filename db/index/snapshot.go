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
}

// Trees returns the three trees, in the order of RunIDs.
func (v *Snapshot) Trees() [3]*lsm.Tree { return [3]*lsm.Tree{&v.Targets, &v.Records, &v.Names} }

// EmptySnapshot returns the snapshot of an empty index.
func EmptySnapshot() *Snapshot {
	return &Snapshot{
		Targets: lsm.Tree{Keyspace: &ByTarget},
		Records: lsm.Tree{Keyspace: &ByRecord},
		Names:   lsm.Tree{Keyspace: &ByName},
	}
}

// ID looks a name up.
func (v *Snapshot) ID(name []byte) (id uint64, ok bool, err error) {
	value, ok, err := v.Names.Find(name)
	if !ok || err != nil {
		return 0, false, err
	}
	id, _, err = codec.DecodeID(value)
	return id, err == nil, err
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
