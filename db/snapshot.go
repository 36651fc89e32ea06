package db

import (
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/lsm"
)

// Snapshot is the index at one moment. It is immutable: its reader sees counts and lists that agree, whatever the
// writer does meanwhile.
type Snapshot struct {
	targets lsm.Tree         // by target: the links of active accounts
	records lsm.Tree         // by record: the links of all accounts
	names   lsm.Tree         // by name: the ids of DIDs, collections and sources
	linking int64            // records that have links, of hidden accounts too
	seq     uint64           // the newest log row in it
	sealed  uint64           // the newest log row in the files
	sums    logrow.Checksums // as of seq, and of the names that there are
	files   *fileSet         // the segments at the bottom of each stack

	hiding    map[uint64]struct{} // accounts that are being hidden: their links are no longer listed; never changed
	jobs      int                 // changes of status under way
	actors    uint64              // accounts that have an id
	startedUS int64               // time of the first event indexed, microseconds since 1970; 0 before it
	maxUS     int64               // the newest time of any event, microseconds since 1970
	upstreams map[string]upstream // by host; never changed, only replaced

	bodiesSince uint64 // bodies of log rows up to here are out of date
}

// stacks returns the three trees, in the order of runIDs.
func (v *Snapshot) stacks() [3]*lsm.Tree { return [3]*lsm.Tree{&v.targets, &v.records, &v.names} }

func emptySnapshot() *Snapshot {
	return &Snapshot{
		targets: lsm.Tree{Keyspace: &byTarget},
		records: lsm.Tree{Keyspace: &byRecord},
		names:   lsm.Tree{Keyspace: &byName},
	}
}

// id looks a name up.
func (v *Snapshot) id(name []byte) (id uint64, ok bool, err error) {
	value, ok, err := v.names.Find(name)
	if !ok || err != nil {
		return 0, false, err
	}
	id, _, err = codec.DecodeID(value)
	return id, err == nil, err
}
