package sim

// Records of other lexicons, in their real shapes: subjects that are at-uris, plain URLs, DIDs and strong references,
// and one long document with deep links.

// writeStar writes a star on a repository.
func (n *Network) writeStar(us int64) {
	n.w.object(3)
	n.w.kv("$type", collections[collStar].nsid)
	n.w.text("subject")
	n.w.uri(n.accounts[n.popular()].did, "sh.tangled.repo", tidOf(defaultStart+int64(n.r.zipf(512)), 5))
	n.createdAt(us)
}

// writePlay writes one listen; its URL is a link, its other names aren't.
func (n *Network) writePlay(us int64) {
	r := &n.r
	track := uint64(r.zipf(2048))
	n.w.object(6)
	n.w.kv("$type", collections[collPlay].nsid)
	n.w.text("artists")
	n.w.array(1)
	n.w.object(2)
	n.w.text("artistMbId")
	n.w.textBytes(appendBase32(n.t.b[:0], mix(track^0xa), 8))
	n.w.kv("artistName", asciiWords[track%uint64(len(asciiWords))])
	n.w.kvInt("duration", int64(90+r.n(300)))
	n.w.text("originUrl")
	n.w.textBytes(appendBase32(append(n.t.b[:0], "https://open.spotify.com/track/"...), mix(track), 12))
	n.w.text("trackName")
	n.w.textBytes(appendText(n.t.b[:0], r, 3))
	n.w.text("playedTime")
	n.w.textBytes(appendTime(n.t.b[:0], us))
}

func (n *Network) writeRSVP(us int64) {
	event := uint64(n.r.zipf(256))
	n.w.object(4)
	n.w.kv("$type", collections[collRSVP].nsid)
	n.w.kv("status", "community.lexicon.calendar.rsvp#going")
	n.w.text("subject")
	n.w.object(2)
	n.w.kv("cid", cidText(fakeHash(&rng{event})))
	n.w.text("uri")
	n.w.uri(n.accounts[n.popular()].did, "community.lexicon.calendar.event", tidOf(defaultStart+int64(event), 9))
	n.createdAt(us)
}

func (n *Network) writeBookmark(us int64) {
	n.w.object(4)
	n.w.text("tags")
	n.w.array(2)
	n.w.text(asciiWords[n.r.n(len(asciiWords))])
	n.w.text(words[n.r.n(len(words))])
	n.w.kv("$type", collections[collBookmark].nsid)
	n.w.text("subject")
	n.w.textBytes(appendURL(n.t.b[:0], &n.r))
	n.createdAt(us)
}

// writeLeaflet writes a long-form document: pages of blocks of text with facets, some of them quotes of posts and
// websites.
func (n *Network) writeLeaflet(us int64) {
	r := &n.r
	n.w.object(6)
	n.w.kv("$type", collections[collLeaflet].nsid)
	n.w.text("pages")
	n.w.array(1)
	n.w.object(2)
	n.w.kv("$type", "pub.leaflet.pages.linearDocument")
	n.w.text("blocks")
	k := 4 + r.n(24)
	n.w.array(k)
	for range k {
		n.w.object(2)
		n.w.kv("$type", "pub.leaflet.pages.linearDocument#block")
		n.w.text("block")
		n.writeBlock()
	}
	n.w.text("title")
	n.w.textBytes(appendText(n.t.b[:0], r, 5))
	n.w.kv("author", n.accounts[n.popular()].did)
	n.w.text("publication")
	n.w.uri(n.accounts[n.popular()].did, "pub.leaflet.publication", tidOf(defaultStart, 11))
	n.w.text("publishedAt")
	n.w.textBytes(appendTime(n.t.b[:0], us))
}

func (n *Network) writeBlock() {
	switch n.r.n(8) {
	case 0:
		n.w.object(2)
		n.w.kv("$type", "pub.leaflet.blocks.bskyPost")
		n.w.text("postRef")
		n.strongRef(n.posts.pick(&n.r))
	case 1:
		n.w.object(3)
		n.w.text("src")
		n.w.textBytes(appendURL(n.t.b[:0], &n.r))
		n.w.kv("$type", "pub.leaflet.blocks.website")
		n.w.text("title")
		n.w.textBytes(appendText(n.t.b[:0], &n.r, 4))
	default:
		text := string(appendText(n.t.b[:0], &n.r, 20+n.r.n(60))) // a copy: facets use the same scratch
		n.w.object(3)
		n.w.kv("$type", "pub.leaflet.blocks.text")
		n.w.text("facets")
		k := n.r.n(3)
		n.w.array(k)
		for range k {
			n.writeFacet(len(text))
		}
		n.w.kv("plaintext", text)
	}
}
