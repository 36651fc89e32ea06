package web

import (
	"strings"

	"weft.dev/weft/humanize"
)

// kind is a name for the links of a source. Pages also show the NSID and the path.
type kind struct {
	path      string // path in the records of the collection; a * matches anything
	one, many string // singular and plural of a link
	verb      string // verb of the account
}

// kinds are the sources with names, by collection. The first kind with a matching path counts. Other sources are shown
// by NSID.
var kinds = map[string][]kind{
	"app.bsky.feed.like": {
		{"subject.uri", "like", "likes", "likes"},
		{"via.uri", "like through a repost", "likes through a repost", "likes a post through"},
	},
	"app.bsky.feed.repost": {
		{"subject.uri", "repost", "reposts", "reposts"},
		{"via.uri", "repost through a repost", "reposts through a repost", "reposts a post through"},
	},
	"app.bsky.feed.post": {
		{"reply.parent.uri", "reply", "replies", "replies to"},
		{"reply.root.uri", "reply in the thread", "replies in the thread", "replies in the thread of"},
		{"embed.record.uri", "quote", "quotes", "quotes"},
		{"embed.record.record.uri", "quote with media", "quotes with media", "quotes"},
		{"embed*external.uri", "link card", "link cards", "links to"},
		{"facets[*#mention].did", "mention", "mentions", "mentions"},
		{"facets[*#link].uri", "link in text", "links in text", "links to"},
	},
	"app.bsky.feed.threadgate": {
		{"post", "reply rule", "reply rules", "limits replies to"},
		{"hiddenReplies[]", "hidden reply", "hidden replies", "hides the reply"},
		{"allow[*].list", "reply rule with the list", "reply rules with the list", "lets repliers in by"},
	},
	"app.bsky.feed.postgate": {
		{"post", "quote rule", "quote rules", "limits quotes of"},
		{"detachedEmbeddingUris[]", "detached quote", "detached quotes", "detaches the quote"},
	},
	"app.bsky.feed.generator": {{"did", "feed", "feeds", "has a feed served by"}},
	"app.bsky.graph.follow": {
		{"subject", "follow", "follows", "follows"},
		{"via.uri", "follow through a starter pack", "follows through a starter pack", "follows somebody through"},
	},
	"app.bsky.graph.block":     {{"subject", "block", "blocks", "blocks"}},
	"app.bsky.graph.listblock": {{"subject", "block by list", "blocks by list", "blocks the list"}},
	"app.bsky.graph.listitem": {
		{"list", "list member", "list members", "adds an account to"},
		{"subject", "list membership", "list memberships", "lists"},
	},
	"app.bsky.graph.starterpack": {
		{"list", "starter pack", "starter packs", "has a starter pack of"},
		{"feeds[].uri", "starter pack with the feed", "starter packs with the feed", "has a starter pack with"},
	},
	"app.bsky.graph.verification": {{"subject", "verification", "verifications", "verifies"}},
	"app.bsky.actor.profile": {
		{"pinnedPost.uri", "pin", "pins", "pins"},
		{"joinedViaStarterPack.uri", "account that joined by it", "accounts that joined by it", "joined by"},
	},
	"app.bsky.actor.status": {{"embed*uri", "live status", "live statuses", "is live at"}},

	"sh.tangled.feed.star":       {{"subject*", "star", "stars", "stars"}},
	"sh.tangled.feed.reaction":   {{"subject", "reaction", "reactions", "reacts to"}},
	"sh.tangled.graph.follow":    {{"subject", "follow", "follows", "follows"}},
	"sh.tangled.repo":            {{"source", "fork", "forks", "forks"}},
	"sh.tangled.repo.issue":      {{"repo", "issue", "issues", "opens an issue in"}},
	"sh.tangled.repo.pull":       {{"target*", "pull request", "pull requests", "opens a pull request in"}},
	"fyi.unravel.frontpage.vote": {{"subject.uri", "vote", "votes", "votes for"}},
	"fyi.unravel.frontpage.comment": {
		{"post.uri", "comment", "comments", "comments on"},
		{"parent.uri", "reply", "replies", "replies to"},
	},
	"fyi.unravel.frontpage.post": {{"*url", "submission", "submissions", "submits"}},

	"community.lexicon.calendar.rsvp":      {{"subject.uri", "RSVP", "RSVPs", "answers the invitation to"}},
	"events.smokesignal.calendar.rsvp":     {{"subject.uri", "RSVP", "RSVPs", "answers the invitation to"}},
	"community.lexicon.bookmarks.bookmark": {{"subject", "bookmark", "bookmarks", "bookmarks"}},
	"fm.teal.alpha.feed.play":              {{"originUrl", "play", "plays", "plays"}},

	"pub.leaflet.document":               leafletKinds,
	"pub.leaflet.comment":                {{"subject", "comment", "comments", "comments on"}},
	"pub.leaflet.graph.subscription":     {{"publication", "subscription", "subscriptions", "subscribes to"}},
	"pub.leaflet.interactions.recommend": {{"subject", "recommendation", "recommendations", "recommends"}},
	"site.standard.document":             leafletKinds,
	"site.standard.graph.subscription":   {{"publication", "subscription", "subscriptions", "subscribes to"}},
}

// leafletKinds are the links of a document. Its blocks nest, so that only the end of a path identifies the kind.
var leafletKinds = []kind{
	{"publication", "document", "documents", "publishes in"},
	{"site", "document", "documents", "publishes in"},
	{"author", "document as the author", "documents as the author", "has a document by"},
	{"postRef.uri", "announced document", "announced documents", "is announced by"},
	{"bskyPostRef.uri", "announced document", "announced documents", "is announced by"},
	{"*.postRef.uri", "embedded post", "embedded posts", "embeds"},
	{"*#didMention].did", "mention", "mentions", "mentions"},
	{"*#mention].did", "mention", "mentions", "mentions"},
	{"*#link].uri", "link in text", "links in text", "links to"},
	{"*.src", "link card", "link cards", "links to"},
}

// otherKind is a kind that is not in the table.
var otherKind = kind{one: "link", many: "links", verb: "links to"}

// kindOf returns the kind of a source. known is false for a source that is not in the table.
func kindOf(collection, path string) (k kind, known bool) {
	for _, k := range kinds[collection] {
		if k.has(path) {
			return k, true
		}
	}
	return otherKind, false
}

// has reports whether a path matches the kind.
func (k kind) has(path string) bool {
	before, after, ok := strings.Cut(k.path, "*")
	if !ok {
		return path == k.path
	}
	return len(path) >= len(before)+len(after) && strings.HasPrefix(path, before) && strings.HasSuffix(path, after)
}

// noun returns the name of n links of the kind.
func (k kind) noun(n int64) string {
	if n == 1 {
		return k.one
	}
	return k.many
}

// verb returns the verb of a link, or of its removal.
func verb(collection, path string, removed bool) string {
	k, _ := kindOf(collection, path)
	if removed {
		return "no longer " + k.verb
	}
	return k.verb
}

// Noun returns the name of n links of the source.
func (s source) Noun(n int64) string {
	k, _ := kindOf(s.Collection, s.Path)
	return k.noun(n)
}

// Name returns the name of the source's links as a heading: Likes. It is empty for a source without a name.
func (s source) Name() string {
	k, known := kindOf(s.Collection, s.Path)
	if !known {
		return ""
	}
	return humanize.Capital(k.many)
}
