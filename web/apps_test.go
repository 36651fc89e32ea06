package web

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/link"
)

const openDID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"

// TestBothDirections: search parses every address that pages link to in apps, and finds the same record.
func TestBothDirections(t *testing.T) {
	t.Parallel()
	s := &Server{Config: Config{Viewer: DefaultViewer}}
	opened := 0
	for _, p := range places {
		if p.app == "" {
			continue
		}
		opened++
		rkey := "3k"
		want := "at://" + openDID + "/" + p.collection + "/3k"
		switch p.collection {
		case "":
			rkey = ""
			want = openDID
		case "app.bsky.actor.profile", "sh.tangled.actor.profile": // the address is that of the account
			want = openDID
		case "sh.tangled.repo": // the address has the name instead of the record key
			want = openDID
		}
		ways := s.openIn(openDID, p.collection, rkey, json.RawMessage(`{"name":"core"}`))
		if len(ways) < 2 || ways[0].Text != p.app || ways[len(ways)-1].Text != "PDSls" {
			t.Errorf("%s opens in %v", p.collection, ways)
			continue
		}
		for _, w := range ways[:len(ways)-1] {
			if targets := meaning(w.Href).targets(); !contains(targets, want) {
				t.Errorf("%s is read as %v, not %s", w.Href, targets, want)
			}
		}
		viewed := "at://" + openDID
		if p.collection != "" {
			viewed += "/" + p.collection + "/3k"
		}
		if got := meaning(ways[len(ways)-1].Href).target(); got != viewed {
			t.Errorf("%s is read as %s, not %s", ways[len(ways)-1].Href, got, viewed)
		}
	}
	if opened < 12 {
		t.Errorf("only %d places can be opened", opened)
	}
}

func contains(all []string, one string) bool {
	for _, text := range all {
		if text == one {
			return true
		}
	}
	return false
}

// TestOpenIn: links to apps, with and without the content of records, and with hostile content.
func TestOpenIn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, viewer, did, collection, rkey, value, want string }{
		{"account", DefaultViewer, openDID, "", "", "", "https://bsky.app/profile/" + openDID + " https://pdsls.dev/at://" +
			openDID},
		{"no viewer", NoViewer, openDID, "app.bsky.feed.post", "3k", "", "https://bsky.app/profile/" + openDID + "/post/3k"},
		{"own viewer", "https://viewer.example/?at={uri}&x", openDID, "app.bsky.feed.like", "3k", "",
			"https://viewer.example/?at=at://" + openDID + "/app.bsky.feed.like/3k&x"},
		{"unknown collection", DefaultViewer, openDID, "com.example.thing", "self", "",
			"https://pdsls.dev/at://" + openDID + "/com.example.thing/self"},
		{"did:web with a port", NoViewer, "did:web:localhost%3A80", "app.bsky.feed.post", "3k", "",
			"https://bsky.app/profile/did:web:localhost%253A80/post/3k"},
		{"repository", NoViewer, openDID, "sh.tangled.repo", "3k", `{"name":"core"}`,
			"https://tangled.org/" + openDID + "/core"},
		{"repository without content", NoViewer, openDID, "sh.tangled.repo", "3k", "", ""},
		{"repository with a hostile name", NoViewer, openDID, "sh.tangled.repo", "3k", `{"name":"../\"><script>?#"}`,
			"https://tangled.org/" + openDID + "/..%2F%22%3E%3Cscript%3E%3F%23"},
		{"repository with dots for a name", NoViewer, openDID, "sh.tangled.repo", "3k", `{"name":".."}`, ""},
		{"repository with a number for a name", NoViewer, openDID, "sh.tangled.repo", "3k", `{"name":5}`, ""},
		{"repository that is no object", NoViewer, openDID, "sh.tangled.repo", "3k", `[1]`, ""},
		{"two apps", NoViewer, openDID, "events.smokesignal.calendar.event", "3k", "",
			"https://smokesignal.events/" + openDID + "/3k"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := &Server{Config: Config{Viewer: c.viewer}}
			var hrefs []string
			for _, w := range s.openIn(c.did, c.collection, c.rkey, json.RawMessage(c.value)) {
				hrefs = append(hrefs, w.Href)
				if u, err := url.Parse(w.Href); err != nil || u.Scheme != "https" {
					t.Errorf("%s: %v", w.Href, err)
				}
			}
			if got := strings.Join(hrefs, " "); got != c.want {
				t.Errorf("%s, not %s", got, c.want)
			}
		})
	}
}

// TestCheckViewer: valid and invalid viewers.
func TestCheckViewer(t *testing.T) {
	t.Parallel()
	for viewer, good := range map[string]bool{
		DefaultViewer: true, NoViewer: true, "http://127.0.0.1:8080/?uri={uri}": true, "": false, "https://pdsls.dev/": false,
		"javascript:alert(1)//{uri}": false, "https://{uri}": false, "https://{uri}.example/": false, "/{uri}": false,
		"//x/{uri}":                     false,
		"https://x.example/{uri}/{uri}": false, "pdsls.dev/{uri}": false,
	} {
		if err := CheckViewer(viewer); (err == nil) != good {
			t.Errorf("%q: %v", viewer, err)
		}
	}
}

// TestPlaces: every row of the table parses.
func TestPlaces(t *testing.T) {
	t.Parallel()
	for _, p := range places {
		if p.collection != "" && !link.ValidNSID(p.collection) || !strings.Contains(p.path, "{actor}") ||
			!strings.HasPrefix(p.path, "/") {
			t.Errorf("%+v", p)
		}
	}
	for collection := range recordNouns {
		if !link.ValidNSID(collection) {
			t.Errorf("%s is no collection", collection)
		}
	}
}

// TestForwardGroups: links of one path are one group, and their number is bounded.
func TestForwardGroups(t *testing.T) {
	t.Parallel()
	links := recordLinks(maxForward + 3)
	groups, more := (&Server{liveFeed: &liveFeed{}}).forwardGroups("app.bsky.feed.post", links)
	if len(groups) != 3 || more != 3 || groups[0].Name != "Mentions" || groups[1].Name != "Links to" ||
		groups[2].Name != "" || groups[2].Path != "other" {
		t.Fatalf("%d more, %+v", more, groups)
	}
	n := 0
	for _, g := range groups {
		n += len(g.Links)
	}
	if n != maxForward {
		t.Errorf("%d links", n)
	}
}

// recordLinks returns n links of a post: mentions and links in its text alternately, and one at a path without a name.
func recordLinks(n int) []wire.Link {
	links := make([]wire.Link, n)
	for i := range links {
		links[i] = wire.Link{Source: "app.bsky.feed.post:facets[].features[app.bsky.richtext.facet#mention].did",
			Subject: openDID}
		if i%2 == 1 {
			links[i] = wire.Link{Source: "app.bsky.feed.post:facets[].features[app.bsky.richtext.facet#link].uri",
				Subject: "https://example.com/"}
		}
	}
	links[5] = wire.Link{Source: "app.bsky.feed.post:other", Subject: openDID}
	return links
}
