package web

import (
	"strings"
	"testing"

	"weft.dev/weft/link"
)

// TestKinds: common links have names, singular and plural, and verbs.
func TestKinds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ source, one, many, name, verb string }{
		{"app.bsky.feed.like:subject.uri", "like", "likes", "Likes", "likes"},
		{"app.bsky.feed.like:via.uri", "like through a repost", "likes through a repost", "Likes through a repost",
			"likes a post through"},
		{"app.bsky.feed.repost:subject.uri", "repost", "reposts", "Reposts", "reposts"},
		{"app.bsky.feed.post:reply.parent.uri", "reply", "replies", "Replies", "replies to"},
		{"app.bsky.feed.post:reply.root.uri", "reply in the thread", "replies in the thread", "Replies in the thread",
			"replies in the thread of"},
		{"app.bsky.feed.post:embed.record.uri", "quote", "quotes", "Quotes", "quotes"},
		{"app.bsky.feed.post:embed.record.record.uri", "quote with media", "quotes with media", "Quotes with media",
			"quotes"},
		{"app.bsky.feed.post:embed.external.uri", "link card", "link cards", "Link cards", "links to"},
		{"app.bsky.feed.post:embed.media.external.uri", "link card", "link cards", "Link cards", "links to"},
		{"app.bsky.feed.post:facets[].features[app.bsky.richtext.facet#mention].did", "mention", "mentions", "Mentions",
			"mentions"},
		{"app.bsky.feed.post:facets[app.bsky.richtext.facet].features[app.bsky.richtext.facet#mention].did", "mention",
			"mentions", "Mentions", "mentions"},
		{"app.bsky.feed.post:facets[].features[app.bsky.richtext.facet#link].uri", "link in text", "links in text",
			"Links in text", "links to"},
		{"app.bsky.graph.follow:subject", "follow", "follows", "Follows", "follows"},
		{"app.bsky.graph.listitem:list", "list member", "list members", "List members", "adds an account to"},
		{"app.bsky.graph.listitem:subject", "list membership", "list memberships", "List memberships", "lists"},
		{"sh.tangled.feed.star:subject", "star", "stars", "Stars", "stars"},
		{"community.lexicon.calendar.rsvp:subject.uri", "RSVP", "RSVPs", "RSVPs", "answers the invitation to"},
		{"pub.leaflet.document:pages[pub.leaflet.pages.linearDocument].blocks[].block.facets[].features[pub.leaflet.richtext.facet#link].uri",
			"link in text", "links in text", "Links in text", "links to"},
		{"pub.leaflet.document:pages[pub.leaflet.pages.linearDocument].blocks[].block.facets[].features[app.bsky.richtext.facet#mention].did",
			"mention", "mentions", "Mentions", "mentions"},
		{"app.bsky.feed.post:facets", "link", "links", "", "links to"},
		{"app.bsky.feed.post:embed.record.uri.more", "link", "links", "", "links to"},
		{"com.example.like:subject.uri", "link", "links", "", "links to"},
	} {
		collection, path, _ := strings.Cut(c.source, ":")
		s := source{Collection: collection, Path: path}
		if s.Noun(1) != c.one || s.Noun(0) != c.many || s.Noun(2) != c.many || s.Name() != c.name ||
			verb(collection, path, false) != c.verb {
			t.Errorf("%s: %q, %q, %q, %q", c.source, s.Noun(1), s.Noun(2), s.Name(), verb(collection, path, false))
		}
	}
}

// TestKindTable: every row of the table is complete, and no row hides another.
func TestKindTable(t *testing.T) {
	t.Parallel()
	for collection, of := range kinds {
		if !link.ValidNSID(collection) || len(of) == 0 {
			t.Errorf("%s has %d kinds", collection, len(of))
		}
		for i, k := range of {
			if k.path == "" || k.one == "" || k.many == "" || k.verb == "" {
				t.Errorf("%s: %+v", collection, k)
			}
			if found, _ := kindOf(collection, strings.Replace(k.path, "*", "", 1)); found != k {
				t.Errorf("%s: row %d hides %+v behind %+v", collection, i, k, found)
			}
		}
	}
}
