package sim

import "sort"

// rec is one live record in 16 bytes: most rkeys are TIDs, the others are numbered in Network.names.
type rec struct {
	tid  uint64 // the rkey when it is a TID
	name uint32 // otherwise 1 + index in Network.names
	coll uint16
}

// body is the content of a kept record.
type body struct {
	cbor []byte
	cid  string
}

const (
	// forgetAt and forgetTo limit the records in memory of an account that is never resynced. It needs only some
	// records to delete and change, and people mostly delete new ones.
	forgetAt = 512
	forgetTo = 256

	// keptRecords limits the repo of an account whose repo is known exactly. At the limit it writes nothing until a
	// record is deleted. A resync then has at most that many rows, and with one sync in 5,000 events its rows are at
	// most 3 % of the events.
	keptRecords = 160

	// keptShare and keptMax are the share and the number of accounts whose repos are known exactly. At 4,096 accounts
	// of 160 records of 400 bytes they take at most 260 MB, after tens of millions of events.
	keptShare = 16
	keptMax   = 4096
	keptMin   = 32

	// recentLists is the number of newest lists that an account adds to.
	recentLists = 4
)

// account is one slot of the network. When its account is deleted, a new one with a new DID takes the slot.
type account struct {
	did     string
	status  string // hidden accounts only
	lastTID int64  // unix µs of its last TID
	clock   uint16
	kept    bool // repo known exactly: bodies is parallel to recs
	busy    bool // its resync is in progress
	profile bool // has app.bsky.actor.profile/self
	badge   bool // has app.bsky.actor.status/self
	recs    []rec
	bodies  []body
	lists   []uint64
}

func (n *Network) newAccount(kept bool) account {
	return account{
		did:     newDID(&n.r),
		clock:   uint16(n.r.n(1024)),
		lastTID: n.now,
		kept:    kept,
	}
}

// full reports whether the account must not write new records.
func (a *account) full() bool { return a.kept && len(a.recs) >= keptRecords }

func (a *account) add(rc rec, b body) {
	if !a.kept && len(a.recs) >= forgetAt {
		a.recs = a.recs[:copy(a.recs, a.recs[len(a.recs)-forgetTo:])]
	}
	a.recs = append(a.recs, rc)
	if a.kept {
		a.bodies = append(a.bodies, b)
	}
	switch rc.coll {
	case collProfile:
		a.profile = true
	case collStatus:
		a.badge = true
	case collList:
		if len(a.lists) == recentLists {
			a.lists = a.lists[:copy(a.lists, a.lists[1:])]
		}
		a.lists = append(a.lists, rc.tid)
	}
}

func (a *account) remove(i int) {
	switch rc := a.recs[i]; rc.coll {
	case collProfile:
		a.profile = false
	case collStatus:
		a.badge = false
	case collList:
		for j, t := range a.lists {
			if t == rc.tid {
				a.lists = append(a.lists[:j], a.lists[j+1:]...)
				break
			}
		}
	}
	last := len(a.recs) - 1
	a.recs[i] = a.recs[last]
	a.recs = a.recs[:last]
	if a.kept {
		a.bodies[i] = a.bodies[last]
		a.bodies[last] = body{}
		a.bodies = a.bodies[:last]
	}
}

// find returns the index of a record of the collection, or -1. It makes a few random tries, so that the cost is the
// same for every account.
func (a *account) find(r *rng, coll uint16) int {
	if len(a.recs) == 0 {
		return -1
	}
	for range 12 {
		if i := r.n(len(a.recs)); a.recs[i].coll == coll {
			return i
		}
	}
	return -1
}

// rkey returns the text of a record key.
func (n *Network) rkey(rc rec) string {
	if rc.name != 0 {
		return n.names[rc.name-1]
	}
	return tidString(rc.tid)
}

// named returns the rec of a key that isn't a TID.
func (n *Network) named(coll uint16, rkey string) rec {
	if rkey == "self" { // the most frequent key: one entry for all
		return rec{coll: coll, name: 1}
	}
	n.names = append(n.names, rkey)
	return rec{coll: coll, name: uint32(len(n.names))}
}

// repoOrder sorts a kept account's repo by collection and rkey, the order of its Merkle tree and of a resync.
func (n *Network) repoOrder(a *account) {
	sort.Sort(&byPath{n, a})
}

type byPath struct {
	n *Network
	a *account
}

func (s *byPath) Len() int { return len(s.a.recs) }

func (s *byPath) Less(i, j int) bool {
	x := s.a.recs[i]
	y := s.a.recs[j]
	if x.coll != y.coll {
		return collections[x.coll].nsid < collections[y.coll].nsid
	}
	return s.n.rkey(x) < s.n.rkey(y)
}

func (s *byPath) Swap(i, j int) {
	s.a.recs[i], s.a.recs[j] = s.a.recs[j], s.a.recs[i]
	s.a.bodies[i], s.a.bodies[j] = s.a.bodies[j], s.a.bodies[i]
}
