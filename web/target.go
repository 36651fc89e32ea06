package web

import (
	"cmp"
	"net/http"
	"strings"

	"weft.dev/weft/link"
)

// target is the target of a page.
type target struct {
	Text  string // normalised, as in the index
	Name  string // its handle, if known
	Kind  string
	Page  string // its web address; empty: it isn't a web page
	In    []way  // links to apps that show it
	DID   string // account that it is or belongs to; empty: none
	From  string // search text, if it differs
	About []way  // other pages about it
}

// targetOf describes a valid target.
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
