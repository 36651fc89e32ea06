package sim

// postRef is a post that others can answer, like, repost and quote.
type postRef struct {
	did  string
	tid  uint64
	cid  string
	root *postRef // first post of the thread; nil for that post
}

const (
	// recentPosts limits the age of posts that get likes and replies: at 13 % of events being posts, the last 120,000
	// events, five minutes of the real network.
	recentPosts = 1 << 14

	// hotPosts is the number of popular posts at one time. They get half of all likes and replies by Zipf's law, so
	// that the first has one event in twenty-five.
	hotPosts = 256

	// hotEvery is the number of posts for each one that becomes hot and replaces another: with 256 slots a post stays
	// hot for about 400,000 events and gets some thousand likes, the best 15,000.
	hotEvery = 200

	// phantomPosts is the number of posts from before the simulation: their records never arrive, as for an index that
	// starts live.
	phantomPosts = 64
)

// attention is the set of posts that get likes and replies.
type attention struct {
	recent [recentPosts]*postRef
	total  int // number of posts ever added; the newest is at (total-1) % recentPosts
	hot    [hotPosts]*postRef
}

func (a *attention) add(p *postRef, r *rng) {
	a.recent[a.total%recentPosts] = p
	if a.total < hotPosts {
		a.hot[a.total] = p
	} else if r.one(hotEvery) {
		a.hot[r.n(hotPosts)] = p
	}
	a.total++
}

// pick chooses a post: half of the time a hot one, else a recent one, the newest most often.
func (a *attention) pick(r *rng) *postRef {
	if r.one(2) {
		return a.hot[r.zipf(min(a.total, hotPosts))]
	}
	return a.pickRecent(r)
}

func (a *attention) pickRecent(r *rng) *postRef {
	back := 1 + r.zipf(min(a.total, recentPosts))
	return a.recent[(a.total-back)%recentPosts]
}

// seed fills the set with posts of the day before the start.
func (a *attention) seed(n *Network) {
	for i := range phantomPosts {
		us := n.now - int64(phantomPosts-i)*int64(86_400_000_000/phantomPosts)
		a.add(&postRef{
			did: n.accounts[n.popular()].did,
			tid: tidOf(us, uint16(i)),
			cid: cidText(fakeHash(&n.r)),
		}, &n.r)
	}
}

// popular chooses an account to follow, mention or block. The order of popularity isn't that of activity: a
// multiplication by an odd number far from N's divisors spreads the ranks over the slots.
func (n *Network) popular() int {
	rank := uint64(n.r.zipf(len(n.accounts)))
	return int(rank * n.spread % uint64(len(n.accounts)))
}
