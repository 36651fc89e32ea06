package web

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
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

// search sends a visitor to the links to what q names.
func (s *Server) search(w http.ResponseWriter, r *http.Request) {
	q := strings.TrimSpace(r.URL.Query().Get("q"))
	if q == "" {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	}
	meant := meaning(q)
	if meant.actor != "" && !link.ValidDID(meant.actor) {
		did, err := s.resolve(r, meant.actor)
		if err != nil {
			var refused problem
			errors.As(err, &refused)
			// As it stands it may be linked to as well.
			for _, text := range []string{meant.plain, meant.web} {
				if text != "" {
					refused.Ways = append(refused.Ways, way{"Links to " + text, explore(text)})
				}
			}
			s.refuse(w, r, refused)
			return
		}
		meant.actor = did
	}
	target, kind := link.Parse(meant.target())
	if kind == link.None {
		s.refuse(w, r, newProblem(http.StatusBadRequest, "InvalidRequest",
			"This is not an at-uri, a DID, a handle or an address. An address begins with a scheme, such as https://, and has "+
				"no spaces."))
		return
	}
	to := explore(target)
	if meant.web != "" && !meant.bare && target != meant.web {
		to += "&" + form(fromParameter, meant.web)
	}
	w.Header().Set("Cache-Control", "no-store") // handles move
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// wanted is what a text may mean.
type wanted struct {
	actor      string // a DID or a handle; empty: it names none
	collection string // of a record of theirs; empty: they themselves are meant
	rkey       string
	repo       bool   // at://actor, and not the account
	plain      string // the at-uri or DID as it stands
	web        string // the address as it stands
	bare       bool   // it was a domain only, which may be a handle or a web site
}

func (m wanted) target() string {
	switch {
	case m.actor == "":
		return cmp.Or(m.plain, m.web)
	case m.collection != "":
		return strings.TrimSuffix("at://"+m.actor+"/"+m.collection+"/"+m.rkey, "/")
	case m.repo:
		return "at://" + m.actor
	}
	return m.actor
}

// meaning reads what a person has at hand: at-uris, DIDs, handles with and without an @, addresses of apps, and any
// other address, with or without its scheme.
func meaning(q string) wanted {
	if handle := strings.TrimPrefix(q, "@"); link.ValidHandle(handle) {
		m := wanted{actor: strings.ToLower(handle)}
		if handle == q {
			m.web = "https://" + handle + "/"
			m.bare = true
		}
		return m
	}
	target, kind := link.Parse(q)
	switch kind {
	case link.AtURI:
		m, _ := ofAtURI(target)
		return m
	case link.DID:
		return wanted{plain: target}
	case link.None:
		// People leave out what browsers don't show.
		if host, _, ok := strings.Cut(q, "/"); !ok || !link.ValidHandle(host) {
			return wanted{}
		}
		target, kind = link.Parse("https://" + q)
		if kind == link.None {
			return wanted{}
		}
	}
	m := wanted{web: target}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return m
	}
	// Tools have the at-uri in their address, whole or with a slash that got lost.
	if _, rest, ok := strings.Cut(u.Path, "/at:/"); ok {
		if of, ok := ofAtURI("at://" + strings.Trim(rest, "/")); ok {
			of.web = target
			return of
		}
	}
	m.actor, m.collection, m.rkey = ofApp(u.Hostname(), strings.Split(strings.Trim(u.Path, "/"), "/"))
	if m.actor == "" {
		return wanted{web: target}
	}
	return m
}

// ofAtURI takes an at-uri apart.
func ofAtURI(uri string) (wanted, bool) {
	normal, kind := link.Parse(uri)
	if kind != link.AtURI {
		return wanted{plain: uri}, false
	}
	parts := strings.SplitN(strings.TrimPrefix(normal, "at://"), "/", 3)
	m := wanted{actor: parts[0], repo: len(parts) == 1, plain: normal}
	if link.ValidDID(m.actor) {
		return wanted{plain: normal}, true
	}
	if len(parts) > 1 {
		m.collection = parts[1]
	}
	if len(parts) > 2 {
		m.rkey = parts[2]
	}
	return m, true
}

// appRecords are the collections of what apps show below /profile/<actor>/.
var appRecords = map[string]string{"post": "app.bsky.feed.post", "feed": "app.bsky.feed.generator",
	"lists": "app.bsky.graph.list"}

// siteRecords are the collections of what some sites show at /<actor>/<rkey>, or below a word.
var siteRecords = map[string]string{
	"whtwnd.com": "com.whtwnd.blog.entry", "frontpage.fyi": "fyi.unravel.frontpage.post",
	"smokesignal.events": "community.lexicon.calendar.event",
}

// ofApp says whose and which record an app shows at an address; actor is empty for others. All of Bluesky's relatives
// have its addresses, so that their hosts needn't be known.
func ofApp(host string, path []string) (actor, collection, rkey string) {
	host = strings.TrimPrefix(host, "www.")
	is := func(s string) bool { return link.ValidDID(s) || link.ValidHandle(s) }
	clean := func(s string) string { return strings.ToLower(strings.TrimPrefix(s, "@")) }
	site := siteRecords[host]
	switch {
	case len(path) >= 2 && path[0] == "profile" && is(path[1]):
		if len(path) >= 4 && appRecords[path[2]] != "" && link.ValidRecordKey(path[3]) {
			return path[1], appRecords[path[2]], path[3]
		}
		if len(path) == 2 {
			return path[1], "", ""
		}
	case len(path) == 3 && (path[0] == "starter-pack" || path[0] == "start") && is(path[1]) &&
		link.ValidRecordKey(path[2]):
		return path[1], "app.bsky.graph.starterpack", path[2]
	case site != "":
		if path[0] == "post" {
			path = path[1:]
		}
		if len(path) >= 2 && is(clean(path[0])) && link.ValidRecordKey(path[1]) {
			return clean(path[0]), site, path[1]
		}
	case (host == "tangled.org" || host == "tangled.sh") && len(path) == 1 && is(clean(path[0])):
		return clean(path[0]), "", ""
	}
	return "", "", ""
}

// resolve finds the account of a handle. The error is a problem.
func (s *Server) resolve(r *http.Request, handle string) (string, error) {
	if s.Names == nil {
		return "", newProblem(http.StatusBadRequest, "HandleNotResolved",
			"This server does not resolve handles (--resolve-handles turns it on). Search for the DID of "+handle+" instead.")
	}
	permit := permitOf(r.Context())
	permit.give() // a stranger's domain may take long
	did, err := s.Names.DID(r.Context(), handle)
	if permit != nil && permit.take() != nil {
		err = context.Canceled
	}
	switch {
	case err == nil:
		return did, nil
	case errors.Is(err, context.Canceled):
		return "", newProblem(http.StatusServiceUnavailable, "Timeout", "The server is busy. Try again in a moment.")
	case errors.Is(err, ErrNamesAway):
		return "", newProblem(http.StatusServiceUnavailable, "HandleNotResolved",
			"The server can't reach the network to resolve "+handle+". Try again later, or search for its DID.")
	}
	return "", newProblem(http.StatusNotFound, "HandleNotFound",
		"No account has the handle "+handle+", or the handle is not valid: its domain and the account must name each other.")
}
