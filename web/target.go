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
	Page  string // the web page that it is; empty: it is none
	In    []way  // where it can be opened
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
		t.In = s.openIn(did, collection, rkey, nil)
		t.About = append(t.About, way{"Links to the account", explore(did)})
	case t.Kind == "account":
		t.DID = t.Text
		t.In = s.openIn(t.DID, "", "", nil)
		if s.Names != nil {
			t.Name = s.Names.Known(t.DID)
		}
	case strings.HasPrefix(t.Text, "https://"), strings.HasPrefix(t.Text, "http://"):
		t.Page = t.Text
	}
	t.About = append(t.About, feedWays(t)...)
	return t
}
