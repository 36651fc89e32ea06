package sim

// writeListItem adds a popular account to one of the account's own lists.
func (n *Network) writeListItem(a *account, us int64) {
	n.w.object(4)
	n.w.text("list")
	if len(a.lists) > 0 {
		n.w.uri(a.did, collections[collList].nsid, a.lists[n.r.n(len(a.lists))])
	} else { // its lists are deleted, but the item stays
		n.w.uri(a.did, collections[collList].nsid, tidOf(us-1, a.clock))
	}
	n.w.kv("$type", collections[collListItem].nsid)
	n.w.kv("subject", n.accounts[n.popular()].did)
	n.createdAt(us)
}

func (n *Network) writeList(us int64) {
	n.w.object(5)
	n.w.text("name")
	n.w.textBytes(appendText(n.t.b[:0], &n.r, 2))
	n.w.kv("$type", collections[collList].nsid)
	n.w.kv("purpose", "app.bsky.graph.defs#curatelist")
	n.createdAt(us)
	n.w.text("description")
	n.w.textBytes(appendText(n.t.b[:0], &n.r, 8))
}

// writeProfile pins a post in one profile of three.
func (n *Network) writeProfile(a *account, us int64) {
	pin := n.r.one(3)
	keys := 5
	if pin {
		keys++
	}
	n.w.object(keys)
	n.w.kv("$type", collections[collProfile].nsid)
	n.w.text("avatar")
	n.writeBlob()
	n.createdAt(us)
	if pin {
		n.w.text("pinnedPost")
		if i := a.find(&n.r, collPost); i >= 0 {
			n.strongRef(&postRef{did: a.did, tid: a.recs[i].tid, cid: cidText(fakeHash(&n.r))})
		} else {
			n.strongRef(n.posts.pick(&n.r))
		}
	}
	n.w.text("description")
	n.w.textBytes(appendText(n.t.b[:0], &n.r, 10))
	n.w.text("displayName")
	n.w.textBytes(appendText(n.t.b[:0], &n.r, 2))
}

// writeStatus writes a "live now" badge: created, deleted and created again under the same key.
func (n *Network) writeStatus(us int64) {
	n.w.object(5)
	n.w.kv("$type", collections[collStatus].nsid)
	n.w.text("embed")
	n.w.object(2)
	n.w.kv("$type", "app.bsky.embed.external")
	n.w.text("external")
	n.writeExternal()
	n.w.kv("status", "app.bsky.actor.status#live")
	n.createdAt(us)
	n.w.kvInt("durationMinutes", int64(5+n.r.n(235)))
}

func (n *Network) writeFeedGen(us int64) {
	n.w.object(5)
	n.w.kv("did", "did:web:feeds.example.com")
	n.w.kv("$type", collections[collFeedGen].nsid)
	n.createdAt(us)
	n.w.text("description")
	n.w.textBytes(appendText(n.t.b[:0], &n.r, 9))
	n.w.text("displayName")
	n.w.textBytes(appendText(n.t.b[:0], &n.r, 2))
}

func (n *Network) writeStarterPack(a *account, us int64) {
	n.w.object(5)
	n.w.text("list")
	list := tidOf(us-1, a.clock)
	if len(a.lists) > 0 {
		list = a.lists[0]
	}
	n.w.uri(a.did, collections[collList].nsid, list)
	n.w.text("name")
	n.w.textBytes(appendText(n.t.b[:0], &n.r, 3))
	n.w.kv("$type", collections[collStarterPack].nsid)
	n.w.text("feeds")
	k := n.r.n(3)
	n.w.array(k)
	for range k {
		n.w.object(1)
		n.w.text("uri")
		n.w.uri(n.accounts[n.popular()].did, collections[collFeedGen].nsid, tidOf(defaultStart, 3))
	}
	n.createdAt(us)
}
