package sim

// deadAccount is a deleted account that may still have late events.
type deadAccount struct {
	did   string
	clock uint16
}

const (
	// deadKept is the number of deleted accounts that may have a late commit: late means minutes, not months.
	deadKept = 32

	// hiddenShare: if one account in this many is hidden, the next account event shows one again.
	hiddenShare = 20
)

func (n *Network) identityEvent() Event {
	a := &n.accounts[n.r.n(len(n.accounts))]
	e := Event{Kind: KindIdentity, DID: a.did}
	if !n.r.one(10) { // one in ten only states that something changed
		b := append(n.t.b[:0], asciiWords[n.r.n(len(asciiWords))]...)
		b = append(b, '-')
		b = appendBase32(b, n.r.u64(), 4)
		e.Handle = string(append(b, ".bsky.social"...))
	}
	return e
}

// accountEvent hides an account, shows one again, deletes one, or repeats a known status, as a move to another host
// does.
func (n *Network) accountEvent() Event {
	switch {
	case len(n.hidden) > 0 && (n.r.one(3) || len(n.hidden)*hiddenShare > len(n.accounts)):
		h := n.r.n(len(n.hidden))
		i := n.hidden[h]
		n.hidden[h] = n.hidden[len(n.hidden)-1]
		n.hidden = n.hidden[:len(n.hidden)-1]
		n.accounts[i].status = ""
		return Event{Kind: KindAccount, DID: n.accounts[i].did, Active: true}
	case n.r.one(5):
		i := n.r.n(len(n.accounts))
		a := &n.accounts[i]
		return Event{Kind: KindAccount, DID: a.did, Active: a.status == "", Status: a.status}
	}
	i := n.unhidden()
	if i < 0 {
		return n.identityEvent()
	}
	a := &n.accounts[i]
	e := Event{Kind: KindAccount, DID: a.did}
	switch n.r.n(8) {
	case 0:
		e.Status = StatusTakendown
	case 1:
		e.Status = StatusSuspended
	case 2:
		return n.deleteAccount(i)
	default:
		e.Status = StatusDeactivated
	}
	a.status = e.Status
	n.hidden = append(n.hidden, i)
	return e
}

// unhidden chooses an account that is active and has no resync in progress; -1 if it finds none.
func (n *Network) unhidden() int {
	for range 16 {
		if i := n.r.n(len(n.accounts)); n.accounts[i].status == "" && !n.accounts[i].busy {
			return i
		}
	}
	return -1
}

func (n *Network) deleteAccount(i int) Event {
	a := &n.accounts[i]
	e := Event{Kind: KindAccount, DID: a.did, Status: StatusDeleted}
	if len(n.dead) == deadKept {
		n.dead = n.dead[:copy(n.dead, n.dead[1:])]
	}
	n.dead = append(n.dead, deadAccount{a.did, a.clock})
	n.accounts[i] = n.newAccount(a.kept)
	return e
}

// lateCommit returns a commit of a deleted account that arrives after its deletion.
func (n *Network) lateCommit() Event {
	d := n.dead[n.r.n(len(n.dead))]
	tid := tidOf(n.now, d.clock)
	n.w.b = n.w.b[:0]
	n.writeLike(collections[collLike].nsid, n.now, n.posts.pick(&n.r))
	cbor := append([]byte(nil), n.w.b...)
	return Event{
		Kind: KindCommit, DID: d.did, Rev: tidString(tid), Collection: collections[collLike].nsid, Rkey: tidString(tid),
		Operation: OpCreate, CBOR: cbor, CID: cidOf(cbor), Late: true,
	}
}
