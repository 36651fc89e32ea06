package sim

// resync is a sync whose rows are being sent.
type resync struct {
	slot int
	rev  string
	pos  int
}

// syncEvent starts a resync of an account. The rows of the whole repo follow; records that aren't among them are
// removed. In one sync of two the repo has changed without events.
func (n *Network) syncEvent() (Event, bool) {
	if len(n.keptIDs) == 0 { // a network of one
		return Event{}, false
	}
	slot := -1
	for range 16 {
		i := n.keptIDs[n.r.n(len(n.keptIDs))]
		if a := &n.accounts[i]; a.status == "" && len(a.recs) > 0 {
			slot = i
			break
		}
	}
	if slot < 0 {
		return Event{}, false
	}
	a := &n.accounts[slot]
	if n.r.one(2) {
		n.diverge(a)
	}
	n.repoOrder(a)
	rev := tidString(tidOf(n.now, a.clock))
	if len(a.recs) > 0 {
		a.busy = true
		n.resync = &resync{slot: slot, rev: rev}
	}
	return Event{Kind: KindSync, DID: a.did, Rev: rev}, true
}

// diverge changes a repo silently: it removes records (in one case of four most of them, of sixteen all) and adds
// others.
func (n *Network) diverge(a *account) {
	drop := n.r.n(1 + len(a.recs)/4)
	switch n.r.n(16) {
	case 0:
		drop = len(a.recs)
	case 1, 2, 3, 4:
		drop = len(a.recs) * 3 / 4
	}
	for range drop {
		a.remove(n.r.n(len(a.recs)))
	}
	if n.r.one(2) {
		for range 1 + n.r.n(4) {
			if a.full() {
				break
			}
			n.create(a)
			n.queue = n.queue[:0] // further operations of create are silent too
		}
	}
}

func (n *Network) resyncRow() Event {
	s := n.resync
	a := &n.accounts[s.slot]
	rc := a.recs[s.pos]
	b := a.bodies[s.pos]
	s.pos++
	if s.pos == len(a.recs) {
		a.busy = false
		n.resync = nil
	}
	return Event{
		Kind: KindCommit, DID: a.did, Rev: s.rev, Collection: collections[rc.coll].nsid, Rkey: n.rkey(rc),
		Operation: OpCreate, CBOR: b.cbor, CID: b.cid, Resync: true,
	}
}
