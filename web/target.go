package web

import (
	"cmp"
	"net/http"
	"strings"

	"weft.dev/weft/link"
)

// target is what a page is about.
type target struct {
	Text  string // as the index knows it
	Name  string // a handle, where one is known, else empty
	Kind  string
	Open  string // where it can be seen in a browser, on the web; empty: nowhere
	DID   string // the account that it is, or is of; empty: none
	From  string // what was asked for, where it was something else
	About []way  // other pages about it
}

// targetOf says what is known of a target that was asked for, which the API has found to be one.
func (s *Server) targetOf(r *http.Request, text string) target {
	normal, _ := link.Parse(text)
	t := target{Text: cmp.Or(normal, text), Kind: kindText(text)}
	if from, kind := link.Parse(r.URL.Query().Get(fromParameter)); kind != link.None {
		t.From = from
	}
	switch did, collection, rkey, ok := link.SplitRecord(t.Text); {
	case ok:
		t.DID = did
		t.Open = appAddress(did, collection, rkey)
		t.About = append(t.About, way{"Links to the account", explore(did)})
	case t.Kind == "account":
		t.DID = t.Text
		t.Open = appAddress(t.Text, "", "")
		if s.Names != nil {
			t.Name = s.Names.Known(t.DID)
		}
	case strings.HasPrefix(t.Text, "https://"), strings.HasPrefix(t.Text, "http://"):
		t.Open = t.Text
	}
	t.About = append(t.About, feedWays(t)...)
	return t
}

// appAddress is where people look at a record, or at an account; empty where nothing shows it.
func appAddress(did, collection, rkey string) string {
	const base = "https://bsky.app/profile/"
	switch collection {
	case "", "app.bsky.actor.profile":
		return base + did
	case "app.bsky.feed.post":
		return base + did + "/post/" + rkey
	case "app.bsky.feed.generator":
		return base + did + "/feed/" + rkey
	case "app.bsky.graph.list":
		return base + did + "/lists/" + rkey
	}
	return ""
}
