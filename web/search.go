package web

import (
	"net/http"
	"strings"

	"weft.dev/weft/link"
)

const (
	// searchPath takes what a person has at hand to the page of its links.
	searchPath = "/search"
	// fromParameter says what was looked for, where that is not the target itself.
	fromParameter = "from"
	// trailParameter holds the cursors of the pages before.
	trailParameter = "trail"
)

// search sends a visitor to what q names.
func (s *Server) search(w http.ResponseWriter, r *http.Request) {
	q := strings.TrimSpace(r.URL.Query().Get("q"))
	if q == "" {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	target, kind := link.Parse(q)
	if kind == link.None {
		s.refuse(w, r, problem{Status: http.StatusBadRequest, Name: "InvalidRequest", Message: "This is neither an at-uri, a DID, a handle nor an address."})
		return
	}
	http.Redirect(w, r, explore(target), http.StatusSeeOther)
}
