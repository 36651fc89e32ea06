package sim

// Indexes in the table of collections.
const (
	collLike uint16 = iota
	collPost
	collRepost
	collFollow
	collBlock
	collListItem
	collProfile
	collStar
	collPlay
	collRSVP
	collBookmark
	collLeaflet
	collTangledFollow
	collStatus
	collStarterPack
	collFeedGen
	collList
	collThreadgate
	collPostgate
	collOdd
)

// collections are the record types and their shares of creates in 1/10,000: the sample of 2026, with its rare lexicons
// combined into a few. Threadgates and postgates come with posts and odd records by oddEvery, not by weight.
var collections = [...]struct {
	nsid   string
	weight int
}{
	collLike:          {"app.bsky.feed.like", 6600},
	collPost:          {"app.bsky.feed.post", 1300},
	collRepost:        {"app.bsky.feed.repost", 900},
	collFollow:        {"app.bsky.graph.follow", 800},
	collBlock:         {"app.bsky.graph.block", 130},
	collListItem:      {"app.bsky.graph.listitem", 60},
	collProfile:       {"app.bsky.actor.profile", 60},
	collStar:          {"sh.tangled.feed.star", 30},
	collPlay:          {"fm.teal.alpha.feed.play", 30},
	collRSVP:          {"community.lexicon.calendar.rsvp", 20},
	collBookmark:      {"community.lexicon.bookmarks.bookmark", 20},
	collLeaflet:       {"pub.leaflet.document", 15},
	collTangledFollow: {"sh.tangled.graph.follow", 10},
	collStatus:        {"app.bsky.actor.status", 5},
	collStarterPack:   {"app.bsky.graph.starterpack", 5},
	collFeedGen:       {"app.bsky.feed.generator", 5},
	collList:          {"app.bsky.graph.list", 10},
	collThreadgate:    {"app.bsky.feed.threadgate", 0},
	collPostgate:      {"app.bsky.feed.postgate", 0},
	collOdd:           {"net.example.sim.odd", 0},
}

var mixTotal = func() (sum int) {
	for _, c := range collections {
		sum += c.weight
	}
	return sum
}()

// write appends the content of a record to n.w. us is its createdAt, in microseconds since 1970.
func (n *Network) write(a *account, rc rec, us int64) {
	nsid := collections[rc.coll].nsid
	switch rc.coll {
	case collLike, collRepost:
		n.writeLike(nsid, us, n.posts.pick(&n.r))
	case collPost:
		n.writePost(a, us, nil)
	case collFollow, collBlock, collTangledFollow:
		n.writeFollow(nsid, us)
	case collListItem:
		n.writeListItem(a, us)
	case collList:
		n.writeList(us)
	case collProfile:
		n.writeProfile(a, us)
	case collStatus:
		n.writeStatus(us)
	case collFeedGen:
		n.writeFeedGen(us)
	case collStarterPack:
		n.writeStarterPack(a, us)
	case collStar:
		n.writeStar(us)
	case collPlay:
		n.writePlay(us)
	case collRSVP:
		n.writeRSVP(us)
	case collBookmark:
		n.writeBookmark(us)
	case collLeaflet:
		n.writeLeaflet(us)
	case collThreadgate, collPostgate:
		n.writeGate(a, us, rc.tid, rc.coll)
	default:
		n.writeOdd(a)
	}
}
