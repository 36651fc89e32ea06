package sim

// Shares of operations, from the public network: create 95.5 %, delete 3.9 %, update 0.6 %.
const (
	deleteShare = 0.039
	updateShare = 0.006

	// hiddenWriteEvery: a hidden account still writes once in this many of its turns, because hosts accept commits for
	// a moment.
	hiddenWriteEvery = 50
)

// commit returns the next commit of an account. It queues all operations after the first.
func (n *Network) commit() Event {
	roll := float64(n.r.u64()>>32) / (1 << 32)
	switch {
	case roll < deleteShare:
		for range 8 {
			if a := n.author(); len(a.recs) > 0 {
				return n.deleteRecord(a)
			}
		}
	case roll < deleteShare+updateShare:
		for range 64 { // few accounts have a profile or a list yet
			if e, ok := n.update(n.author()); ok {
				return e
			}
		}
	}
	for {
		if a := n.author(); !a.full() {
			return n.create(a)
		}
	}
}

// author chooses the account of a commit.
func (n *Network) author() *account {
	for try := 0; ; try++ {
		i := n.r.skewed(len(n.accounts))
		if try >= 64 { // in a tiny network the most active accounts may all be full or busy
			i = n.r.n(len(n.accounts))
		}
		a := &n.accounts[i]
		if a.busy || (a.status != "" && !n.r.one(hiddenWriteEvery)) || (a.full() && try < 64) {
			continue
		}
		return a
	}
}

// create returns the create of a record in a collection chosen by share.
func (n *Network) create(a *account) Event {
	if n.rare(oddEvery) {
		return n.createOdd(a)
	}
	roll := n.r.n(mixTotal)
	coll := collLike
	for roll >= collections[coll].weight {
		roll -= collections[coll].weight
		coll++
	}
	switch {
	case coll == collProfile && a.profile, coll == collStatus && a.badge:
		coll = collLike // one per account
	case coll == collListItem && len(a.lists) == 0:
		coll = collList
	}
	switch coll {
	case collPost:
		return n.createPost(a)
	case collList:
		return n.createList(a)
	case collProfile, collStatus:
		return n.put(a, n.named(coll, "self"), OpCreate, n.now)
	}
	tid, us := n.nextTID(a)
	return n.put(a, rec{tid: tid, coll: coll}, OpCreate, us)
}

// nextTID returns a record key for now, later than the account's last, and its time. Clients make the key up to two
// seconds before the event.
func (n *Network) nextTID(a *account) (tid uint64, us int64) {
	us = max(n.now-int64(n.r.n(2_000_000)), a.lastTID+1)
	a.lastTID = us
	if n.cfg.FutureTIDs > 0 && n.r.chance(n.cfg.FutureTIDs) {
		const year = 365 * 24 * 3600 * 1_000_000
		return tidOf(n.now+year+int64(n.r.n(9*year)), a.clock), us
	}
	return tidOf(us, a.clock), us
}

// createPost may add a threadgate or a postgate to the same commit, under the post's key.
func (n *Network) createPost(a *account) Event {
	tid, us := n.nextTID(a)
	var parent *postRef
	if n.r.n(100) < 35 { // about a third of posts are replies
		parent = n.posts.pickRecent(&n.r)
	}
	n.w.b = n.w.b[:0]
	n.writePost(a, us, parent)
	e := n.record(a, rec{tid: tid, coll: collPost}, OpCreate)

	p := &postRef{did: a.did, tid: tid, cid: e.CID}
	if parent != nil {
		p.root = parent.root
		if p.root == nil {
			p.root = parent
		}
	}
	n.posts.add(p, &n.r)

	if parent == nil && !a.full() {
		switch n.r.n(60) {
		case 0:
			n.queue = append(n.queue, n.gate(a, tid, us, collThreadgate))
		case 1:
			n.queue = append(n.queue, n.gate(a, tid, us, collPostgate))
		}
	}
	return e
}

func (n *Network) gate(a *account, tid uint64, us int64, coll uint16) Event {
	n.w.b = n.w.b[:0]
	n.writeGate(a, us, tid, coll)
	return n.record(a, rec{tid: tid, coll: coll}, OpCreate)
}

// createList may add its first members to the same commit.
func (n *Network) createList(a *account) Event {
	tid, us := n.nextTID(a)
	e := n.put(a, rec{tid: tid, coll: collList}, OpCreate, us)
	for range n.r.n(6) {
		if a.full() {
			break
		}
		tid, us := n.nextTID(a)
		n.queue = append(n.queue, n.put(a, rec{tid: tid, coll: collListItem}, OpCreate, us))
	}
	return e
}

func (n *Network) deleteRecord(a *account) Event {
	i := n.r.n(len(a.recs))
	rc := a.recs[i]
	a.remove(i)
	return Event{
		Kind: KindCommit, DID: a.did, Rev: tidString(tidOf(n.now, a.clock)), Collection: collections[rc.coll].nsid,
		Rkey: n.rkey(rc), Operation: OpDelete,
	}
}

// updatable are the collections whose records change, profiles most of all.
var updatable = [...]uint16{
	collProfile, collProfile, collProfile, collProfile, collProfile, collList, collPost, collLeaflet, collStatus,
	collFeedGen, collOdd,
}

func (n *Network) update(a *account) (Event, bool) {
	i := a.find(&n.r, updatable[n.r.n(len(updatable))])
	if i < 0 {
		return Event{}, false
	}
	rc := a.recs[i]
	us := n.now
	if rc.name == 0 {
		us = min(int64(rc.tid>>10), n.now) // an edit keeps its createdAt
	}
	e := n.render(a, rc, OpUpdate, us)
	if a.kept {
		a.bodies[i] = body{e.CBOR, e.CID}
	}
	return e, true
}

// put creates a record of one of the plain collections and adds it to the repo.
func (n *Network) put(a *account, rc rec, op string, us int64) Event {
	e := n.render(a, rc, op, us)
	a.add(rc, body{e.CBOR, e.CID})
	return e
}

// render returns the event of a record without adding it to the repo.
func (n *Network) render(a *account, rc rec, op string, us int64) Event {
	n.w.b = n.w.b[:0]
	n.write(a, rc, us)
	return n.event(a, rc, op)
}

// record returns the event of the record in n.w and adds it to the repo.
func (n *Network) record(a *account, rc rec, op string) Event {
	e := n.event(a, rc, op)
	a.add(rc, body{e.CBOR, e.CID})
	return e
}

func (n *Network) event(a *account, rc rec, op string) Event {
	cbor := make([]byte, len(n.w.b))
	copy(cbor, n.w.b)
	return Event{
		Kind: KindCommit, DID: a.did, Rev: tidString(tidOf(n.now, a.clock)), Collection: collections[rc.coll].nsid,
		Rkey: n.rkey(rc), Operation: op, CBOR: cbor, CID: cidOf(cbor),
	}
}
