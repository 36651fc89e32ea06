package sim

// The records of app.bsky, key by key in canonical order: shorter keys first, then bytewise.

func (n *Network) createdAt(us int64) {
	n.w.text("createdAt")
	n.w.textBytes(appendTime(n.t.b[:0], us))
}

func (n *Network) strongRef(p *postRef) {
	n.w.object(2)
	n.w.kv("cid", p.cid)
	n.w.text("uri")
	n.w.uri(p.did, collections[collPost].nsid, p.tid)
}

// writeLike writes a like or a repost; some have the repost through which the post was seen ("via").
func (n *Network) writeLike(nsid string, us int64, p *postRef) {
	via := n.r.one(8)
	if via {
		n.w.object(4)
		n.w.text("via")
		n.w.object(2)
		n.w.kv("cid", cidText(fakeHash(&n.r)))
		n.w.text("uri")
		n.w.uri(n.accounts[n.popular()].did, collections[collRepost].nsid, tidOf(n.now-int64(n.r.n(3_600_000_000)), 7))
	} else {
		n.w.object(3)
	}
	n.w.kv("$type", nsid)
	n.w.text("subject")
	n.strongRef(p)
	n.createdAt(us)
}

// writeFollow writes a follow or a block: the subject is a DID.
func (n *Network) writeFollow(nsid string, us int64) {
	n.w.object(3)
	n.w.kv("$type", nsid)
	n.w.kv("subject", n.accounts[n.popular()].did)
	n.createdAt(us)
}

// Kinds of a post's embed, as upper bounds in 100.
const (
	embedQuote    = 8  // record
	embedExternal = 20 // external
	embedImages   = 35 // images
	embedBoth     = 37 // recordWithMedia
)

func (n *Network) writePost(a *account, us int64, parent *postRef) {
	r := &n.r
	text := appendText(n.t.b[:0], r, 3+r.zipf(40))
	textLen := len(text)
	embed := r.n(100)
	facets := 0
	if r.one(4) {
		facets = 1 + r.n(3)
	}
	tags := 0
	if r.one(30) {
		tags = 1 + r.n(4)
	}

	keys := 4 // text, $type, langs, createdAt
	if embed < embedBoth {
		keys++
	}
	if facets > 0 {
		keys++
	}
	if tags > 0 {
		keys++
	}
	if parent != nil {
		keys++
	}
	n.w.object(keys)
	if tags > 0 {
		n.w.text("tags")
		n.w.array(tags)
		for range tags {
			n.w.text(words[r.n(len(words))])
		}
	}
	n.w.text("text")
	n.w.textBytes(text)
	n.w.kv("$type", collections[collPost].nsid)
	if embed < embedBoth {
		n.w.text("embed")
		n.writeEmbed(embed)
	}
	n.w.text("langs")
	n.w.array(1)
	n.w.text(langs[r.n(len(langs))])
	if parent != nil {
		n.writeReply(parent)
	}
	if facets > 0 {
		n.w.text("facets")
		n.w.array(facets)
		for range facets {
			n.writeFacet(textLen)
		}
	}
	n.createdAt(us)
}

func (n *Network) writeReply(parent *postRef) {
	root := parent.root
	if root == nil {
		root = parent
	}
	n.w.text("reply")
	n.w.object(2)
	n.w.text("root")
	n.strongRef(root)
	n.w.text("parent")
	n.strongRef(parent)
}

func (n *Network) writeEmbed(roll int) {
	switch {
	case roll < embedQuote:
		n.w.object(2)
		n.w.kv("$type", "app.bsky.embed.record")
		n.w.text("record")
		n.strongRef(n.posts.pick(&n.r))
	case roll < embedExternal:
		n.w.object(2)
		n.w.kv("$type", "app.bsky.embed.external")
		n.w.text("external")
		n.writeExternal()
	case roll < embedImages:
		n.writeImages()
	default:
		n.w.object(3)
		n.w.kv("$type", "app.bsky.embed.recordWithMedia")
		n.w.text("media")
		n.writeImages()
		n.w.text("record")
		n.w.object(2)
		n.w.kv("$type", "app.bsky.embed.record")
		n.w.text("record")
		n.strongRef(n.posts.pick(&n.r))
	}
}

func (n *Network) writeExternal() {
	n.w.object(3)
	n.w.text("uri")
	n.w.textBytes(appendURL(n.t.b[:0], &n.r))
	n.w.text("title")
	n.w.textBytes(appendText(n.t.b[:0], &n.r, 5))
	n.w.text("description")
	n.w.textBytes(appendText(n.t.b[:0], &n.r, 12))
}

func (n *Network) writeImages() {
	n.w.object(2)
	n.w.kv("$type", "app.bsky.embed.images")
	n.w.text("images")
	k := 1 + n.r.n(4)
	n.w.array(k)
	for range k {
		n.w.object(2)
		n.w.text("alt")
		n.w.textBytes(appendText(n.t.b[:0], &n.r, 4))
		n.w.text("image")
		n.writeBlob()
	}
}

func (n *Network) writeBlob() {
	n.w.object(4)
	n.w.text("ref")
	n.w.link(fakeHash(&n.r))
	n.w.kvInt("size", int64(10_000+n.r.n(900_000)))
	n.w.kv("$type", "blob")
	n.w.kv("mimeType", "image/jpeg")
}

// writeFacet writes a link, a mention or a tag on a part of the text.
func (n *Network) writeFacet(textLen int) {
	start := n.r.n(textLen)
	n.w.object(2)
	n.w.text("index")
	n.w.object(2)
	n.w.kvInt("byteEnd", int64(start+1+n.r.n(textLen-start)))
	n.w.kvInt("byteStart", int64(start))
	n.w.text("features")
	n.w.array(1)
	n.w.object(2)
	switch n.r.n(3) {
	case 0:
		n.w.text("uri")
		n.w.textBytes(appendURL(n.t.b[:0], &n.r))
		n.w.kv("$type", "app.bsky.richtext.facet#link")
	case 1:
		n.w.kv("did", n.accounts[n.popular()].did)
		n.w.kv("$type", "app.bsky.richtext.facet#mention")
	default:
		n.w.kv("tag", words[n.r.n(len(words))])
		n.w.kv("$type", "app.bsky.richtext.facet#tag")
	}
}

func (n *Network) writeGate(a *account, us int64, tid uint64, coll uint16) {
	n.w.object(4)
	n.w.text("post")
	n.w.uri(a.did, collections[collPost].nsid, tid)
	n.w.kv("$type", collections[coll].nsid)
	if coll == collThreadgate {
		n.w.text("allow")
		n.w.array(1)
		n.w.object(1)
		n.w.kv("$type", "app.bsky.feed.threadgate#mentionRule")
		n.createdAt(us)
		return
	}
	n.createdAt(us)
	n.w.text("detachedEmbeddingUris")
	n.w.array(1)
	p := n.posts.pick(&n.r)
	n.w.uri(p.did, collections[collPost].nsid, p.tid)
}
