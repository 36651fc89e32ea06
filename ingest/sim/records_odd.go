package sim

// Odd records are valid but unlike any record of app.bsky: keys that look like paths, URLs that need normalising,
// twenty levels of nesting, the same target twice, every type of DAG-CBOR, and record keys at the limits of their
// syntax.

// oddDepth is the depth of the deepest record. The protocol has no limit; a reader must have one, of at least this.
const oddDepth = 20

func (n *Network) createOdd(a *account) Event {
	var rc rec
	if n.r.one(3) {
		rc.tid, _ = n.nextTID(a)
		rc.coll = collOdd
	} else {
		rc = n.named(collOdd, n.oddRkey())
	}
	n.w.b = n.w.b[:0]
	n.writeOdd(a)
	return n.record(a, rc, OpCreate)
}

// oddRkey returns a key unlike a TID, unique by its event's number.
func (n *Network) oddRkey() string {
	const chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:~-"
	b := append(n.t.b[:0], '~')
	b = appendBase32(b, n.seq, 8)
	b = appendBase32(b, uint64(len(n.names)), 4) // one commit, or one silent change of a repo, may have several
	var size int
	switch n.r.n(4) {
	case 0:
		size = n.cfg.MaxRkey
	case 1:
		size = 14
	default:
		size = 16 + n.r.n(48)
	}
	for len(b) < size {
		b = append(b, chars[n.r.n(len(chars))])
	}
	return string(b)
}

func (n *Network) writeOdd(a *account) {
	r := &n.r
	n.w.object(9)
	n.w.kv("", oddURLs[r.n(len(oddURLs))])
	n.w.text("u")
	k := 1 + r.n(8)
	n.w.array(k)
	for range k {
		n.w.text(oddURLs[r.n(len(oddURLs))])
	}
	n.w.text("a.b")
	n.w.array(2)
	n.w.object(1)
	n.w.kv("c[0].d", "https://example.com/keys/that/look/like/paths")
	n.w.object(2)
	n.w.kv("x", "did:plc:ewvi7nxzyoun6zhxrhs64oiz")
	n.w.kv("$type", "net.example.sim.odd#dots.and[brackets]")
	n.w.text("deep")
	n.writeDeep(oddDepth - 2)
	n.w.kv("$type", collections[collOdd].nsid)
	n.w.text("lists")
	n.w.array(3)
	n.w.array(0)
	n.w.array(2)
	n.w.text("https://example.com/in/array/of/arrays")
	n.w.array(1)
	n.w.text(a.did)
	n.w.object(0)
	n.w.text("twice")
	p := n.posts.pick(r)
	n.w.array(3)
	n.strongRef(p)
	n.w.uri(p.did, collections[collPost].nsid, p.tid)
	n.strongRef(p)
	n.w.text("types")
	n.w.array(8)
	n.w.null()
	n.w.boolean(true)
	n.w.boolean(false)
	n.w.integer(1<<53 - 1)
	n.w.integer(-(1<<53 - 1))
	n.w.bytes([]byte("https://example.com/in/bytes"))
	n.w.link(fakeHash(r))
	n.w.text(longURL)
	n.w.kv("ключ", "https://example.com/under/a/key/that/isn't/ascii")
}

// writeDeep nests objects, with one link on each fifth level and one at the bottom.
func (n *Network) writeDeep(levels int) {
	if levels == 0 {
		n.w.text("https://example.com/at/the/bottom")
		return
	}
	if levels%5 == 0 {
		n.w.object(2)
		n.w.text("d")
		n.writeDeep(levels - 1)
		n.w.kv("e", n.accounts[n.popular()].did)
		return
	}
	n.w.object(1)
	n.w.text("d")
	n.writeDeep(levels - 1)
}

// longURL is longer than most indexes accept as a key.
var longURL = func() string {
	b := []byte("https://example.com/long?q=")
	for i := range 250 {
		b = appendBase32(b, mix(uint64(i)), 8)
	}
	return string(b)
}()
