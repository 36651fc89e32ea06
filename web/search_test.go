package web

import "testing"

func TestMeaning(t *testing.T) {
	t.Parallel()
	const did = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
	for _, c := range []struct{ q, target, web string }{
		{"at://" + did + "/app.bsky.feed.post/3k", "at://" + did + "/app.bsky.feed.post/3k", ""},
		{"AT://" + did + "/app.bsky.feed.post/3k/", "at://" + did + "/app.bsky.feed.post/3k", ""},
		{"at://" + did, "at://" + did, ""},
		{"at://Alice.test/app.bsky.feed.post/3k", "at://alice.test/app.bsky.feed.post/3k", ""},
		{"at://alice.test", "at://alice.test", ""},
		{did, did, ""},
		{"did:web:example.com", "did:web:example.com", ""},
		{"@Alice.test", "alice.test", ""},
		{"alice.test", "alice.test", "https://alice.test/"},
		{"https://bsky.app/profile/alice.test/post/3k", "at://alice.test/app.bsky.feed.post/3k",
			"https://bsky.app/profile/alice.test/post/3k"},
		{"bsky.app/profile/alice.test/post/3k", "at://alice.test/app.bsky.feed.post/3k",
			"https://bsky.app/profile/alice.test/post/3k"},
		{"https://deer.social/profile/" + did + "/post/3k?x=1#y", "at://" + did + "/app.bsky.feed.post/3k",
			"https://deer.social/profile/" + did + "/post/3k?x=1#y"},
		{"https://bsky.app/profile/alice.test/post/3k/liked-by", "at://alice.test/app.bsky.feed.post/3k",
			"https://bsky.app/profile/alice.test/post/3k/liked-by"},
		{"https://bsky.app/profile/" + did, did, "https://bsky.app/profile/" + did},
		{"https://bsky.app/profile/alice.test/feed/aaa", "at://alice.test/app.bsky.feed.generator/aaa",
			"https://bsky.app/profile/alice.test/feed/aaa"},
		{"https://bsky.app/profile/alice.test/lists/3l", "at://alice.test/app.bsky.graph.list/3l",
			"https://bsky.app/profile/alice.test/lists/3l"},
		{"https://bsky.app/starter-pack/alice.test/3l", "at://alice.test/app.bsky.graph.starterpack/3l",
			"https://bsky.app/starter-pack/alice.test/3l"},
		{"https://bsky.app/profile/alice.test/nothing/3l", "https://bsky.app/profile/alice.test/nothing/3l",
			"https://bsky.app/profile/alice.test/nothing/3l"},
		{"https://bsky.app/profile/no handle/post/3k", "", ""},
		{"https://pdsls.dev/at://" + did + "/app.bsky.feed.post/3k", "at://" + did + "/app.bsky.feed.post/3k",
			"https://pdsls.dev/at://" + did + "/app.bsky.feed.post/3k"},
		{"https://atp.tools/at:/alice.test/app.bsky.feed.post/3k", "at://alice.test/app.bsky.feed.post/3k",
			"https://atp.tools/at:/alice.test/app.bsky.feed.post/3k"},
		{"https://whtwnd.com/alice.test/3k", "at://alice.test/com.whtwnd.blog.entry/3k", "https://whtwnd.com/alice.test/3k"},
		{"https://frontpage.fyi/post/alice.test/3k", "at://alice.test/fyi.unravel.frontpage.post/3k",
			"https://frontpage.fyi/post/alice.test/3k"},
		{"https://tangled.sh/@alice.test/core/issues/3", "alice.test", "https://tangled.sh/@alice.test/core/issues/3"},
		{"https://leaflet.pub/p/" + did + "/3k", "at://" + did + "/pub.leaflet.document/3k",
			"https://leaflet.pub/p/" + did + "/3k"},
		{"https://leaflet.pub/lish/did%3Aplc%3Aewvi7nxzyoun6zhxrhs64oiz/3j/3k", "at://" + did + "/pub.leaflet.document/3k",
			"https://leaflet.pub/lish/did%3Aplc%3Aewvi7nxzyoun6zhxrhs64oiz/3j/3k"},
		{"https://leaflet.pub/lish/" + did + "/3j", "at://" + did + "/pub.leaflet.publication/3j",
			"https://leaflet.pub/lish/" + did + "/3j"},
		{"https://leaflet.pub/lish/" + did + "/Some%20Notes/3k", "at://" + did + "/pub.leaflet.document/3k",
			"https://leaflet.pub/lish/" + did + "/Some%20Notes/3k"},
		{"https://smokesignal.events/alice.test/3k", "at://alice.test/community.lexicon.calendar.event/3k",
			"https://smokesignal.events/alice.test/3k"},
		{"https://constellation.microcosm.blue/links/all?target=at%3A%2F%2F" + did + "%2Fapp.bsky.feed.post%2F3k",
			"at://" + did + "/app.bsky.feed.post/3k",
			"https://constellation.microcosm.blue/links/all?target=at%3A%2F%2F" + did + "%2Fapp.bsky.feed.post%2F3k"},
		{"https://constellation.microcosm.blue/links?target=" + did + "&collection=app.bsky.graph.follow&path=.subject", did,
			"https://constellation.microcosm.blue/links?target=" + did + "&collection=app.bsky.graph.follow&path=.subject"},
		{"https://constellation.microcosm.blue/xrpc/blue.microcosm.links.getBacklinks?subject=https://example.com/a&source=a.b.c:d", "https://example.com/a",
			"https://constellation.microcosm.blue/xrpc/blue.microcosm.links.getBacklinks?subject=https://example.com/a&source=a.b.c:d"},
		{"https://example.com/links?x=y", "https://example.com/links?x=y", "https://example.com/links?x=y"},
		{"bücher.example", "xn--bcher-kva.example", "https://xn--bcher-kva.example/"},
		{"@Bücher.Example", "xn--bcher-kva.example", ""},
		{"\u2068@alice.test\u2069", "alice.test", ""},
		{"at://bücher.example/app.bsky.feed.post/3k", "at://xn--bcher-kva.example/app.bsky.feed.post/3k", ""},
		{"https://bsky.app/profile/bücher.example/post/3k", "at://xn--bcher-kva.example/app.bsky.feed.post/3k",
			"https://bsky.app/profile/b%C3%BCcher.example/post/3k"},
		{"bücher.example/a", "https://xn--bcher-kva.example/a", "https://xn--bcher-kva.example/a"},
		{"https://tangled.org/@alice.test", "alice.test", "https://tangled.org/@alice.test"},
		{"https://example.com/a?b=c", "https://example.com/a?b=c", "https://example.com/a?b=c"},
		{"example.com/a b", "", ""},
		{"example.com/a", "https://example.com/a", "https://example.com/a"},
		{"HTTPS://EXAMPLE.com", "https://example.com/", "https://example.com/"},
		{"mailto:a@example.com", "mailto:a@example.com", "mailto:a@example.com"},
		{"javascript:alert(1)", "javascript:alert(1)", "javascript:alert(1)"},
		{"hello", "", ""},
		{"<script>", "", ""},
		{"https://whtwnd.com/", "https://whtwnd.com/", "https://whtwnd.com/"},
	} {
		t.Run(c.q, func(t *testing.T) {
			t.Parallel()
			m := meaning(c.q)
			if m.web != c.web {
				t.Errorf("the address is %q, not %q", m.web, c.web)
			}
			if got := m.target(); got != c.target {
				t.Errorf("the target is %q, not %q", got, c.target)
			}
		})
	}
}

// FuzzMeaning: every text has a meaning, and the meaning of that meaning is the same.
func FuzzMeaning(f *testing.F) {
	for _, q := range []string{"at://a.b/c", "https://bsky.app/profile/alice.test/post/3k", "@a.b", "x",
		"https://x.y/at:/", "https://tangled.sh", "did:plc:", "bücher.example", "at://bücher.example",
		"https://x.y/links?target=did:plc:x",
		"https://leaflet.pub/lish/a.b/c/d"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, q string) {
		m := meaning(q)
		if m.bare && m.web == "" {
			t.Errorf("%q is a bare domain without an address", q)
		}
		if again := meaning(m.target()); m.target() != "" && !m.bare && m.web == "" && again.target() != m.target() &&
			"@"+m.actor != q {
			t.Errorf("%q means %q, which means %q", q, m.target(), again.target())
		}
	})
}
