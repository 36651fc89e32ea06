package web

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/link"
)

const (
	// searchPath redirects a search text to the page of its links.
	searchPath = "/search"
	// fromParameter is the search text, if it differs from the target.
	fromParameter = "from"
	// trailParameter has the cursors of the previous pages.
	trailParameter = "trail"
)

// search redirects to the links of the target that q names.
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
			// The text itself may be a target too.
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
	if meant.name != "" {
		meant.rkey = s.named(r, meant.actor, meant.collections[0], meant.name)
		if meant.rkey != "" {
			meant.name = ""
		}
	}
	targets := meant.targets()
	if meant.actor == "" {
		targets = append(targets, neighboursOf(targets[0])...)
	}
	target := s.linkedOf(r, targets)
	if target == "" {
		s.refuse(w, r, newProblem(http.StatusBadRequest, "InvalidRequest",
			"This is not an at-uri, a DID, a handle or an address. An address begins with a scheme, such as https://, and has "+
				"no spaces."))
		return
	}
	to := explore(target)
	if meant.web != "" && !meant.bare && target != meant.web {
		to += "&" + form(fromParameter, meant.web)
	}
	w.Header().Set("Cache-Control", "no-store") // handles may move to another account
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// wanted holds the possible meanings of a search text.
type wanted struct {
	actor       string   // a DID or a handle; empty: none
	collections []string // possible collections of a record, likeliest first; empty: the account itself
	rkey        string
	name        string // name of the record, if the address has a name and no key
	repo        bool   // at://actor, and not the account
	plain       string // the text as a link
	web         string // the text as a web address
	bare        bool   // a domain alone, which may be a handle or a web site
}

// target returns the likeliest target.
func (m wanted) target() string { return m.targets()[0] }

// targets returns the possible targets, likeliest first. It returns at least one, which may be empty.
func (m wanted) targets() []string {
	switch {
	case m.actor == "":
		return []string{cmp.Or(m.plain, m.web)}
	case m.name != "":
		return []string{m.actor} // without a key, the account is the best result
	case len(m.collections) > 0:
		var targets []string
		for _, collection := range m.collections {
			targets = append(targets, strings.TrimSuffix("at://"+m.actor+"/"+collection+"/"+m.rkey, "/"))
		}
		return targets
	case m.repo:
		return []string{"at://" + m.actor}
	}
	return []string{m.actor}
}

// meaning parses a search text: at-uris, DIDs, handles with and without an @, addresses of apps and of indexes such as
// this one, and any other address, with or without its scheme.
func meaning(q string) wanted {
	q = strings.TrimFunc(q, isInvisible)
	handle := strings.TrimPrefix(q, "@")
	if ascii := asciiHandle(handle); ascii != "" {
		m := wanted{actor: ascii}
		if handle == q {
			m.web = "https://" + ascii + "/"
			m.bare = true
		}
		return m
	}
	target, kind := link.Parse(asciiAuthority(q))
	switch kind {
	case link.AtURI:
		m, _ := ofAtURI(target)
		return m
	case link.DID:
		return wanted{plain: target}
	case link.None:
		// People omit the scheme, which browsers hide.
		host, _, ok := strings.Cut(q, "/")
		if !ok || asciiHandle(host) == "" {
			return wanted{}
		}
		target, kind = link.Parse("https://" + q)
		if kind == link.None {
			return wanted{}
		}
	}
	return ofAddress(target)
}

// ofAddress parses an address of an app, or returns the address itself.
func ofAddress(target string) wanted {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return wanted{web: target}
	}
	// Tools have the at-uri in their address, complete or without one slash.
	if _, rest, ok := strings.Cut(u.Path, "/at:/"); ok {
		if of, ok := ofAtURI("at://" + strings.Trim(rest, "/")); ok {
			of.web = target
			return of
		}
	}
	if of := ofIndex(u); of != "" {
		m := wanted{plain: of}
		if at, ok := ofAtURI(of); ok {
			m = at
		}
		m.web = target
		return m
	}
	at, collections := placesAt(u.Hostname(), strings.Split(strings.Trim(u.Path, "/"), "/"))
	return wanted{actor: at.actor, collections: collections, rkey: at.rkey, name: at.name, web: target}
}

// ofIndex returns the target in an address of an index: Constellation and weft have the same paths. It is empty for
// other addresses.
func ofIndex(u *url.URL) string {
	route := routes.At(u.Path)
	if route == nil || route == routes.Index {
		return ""
	}
	q := u.Query()
	target, _ := link.Parse(cmp.Or(q.Get("target"), q.Get("subject"), q.Get("did")))
	return target
}

// isInvisible reports whether a character may be copied with a text without being visible: spaces and direction marks.
func isInvisible(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r)
}

// asciiHandle returns a handle in DNS form: in lower case, and in Punycode if it has other letters. It is empty for a
// text that isn't a handle.
func asciiHandle(text string) string {
	// A trailing dot is valid in DNS but not in a handle.
	if text == "" || len(text) > maxHandle || strings.ContainsAny(text, " /?#@:\\%[]") || strings.HasSuffix(text, ".") {
		return ""
	}
	normal, kind := link.Parse("https://" + text + "/")
	host := strings.TrimSuffix(strings.TrimPrefix(normal, "https://"), "/")
	if kind == link.None || !link.ValidHandle(host) {
		return ""
	}
	return host
}

// maxHandle is the longest handle in UTF-8, in bytes: 253 characters of four bytes each.
const maxHandle = 4 * 253

// asciiAuthority returns an at-uri with its handle, if any, in DNS form.
func asciiAuthority(uri string) string {
	const scheme = "at://"
	if len(uri) < len(scheme) || !strings.EqualFold(uri[:len(scheme)], scheme) {
		return uri
	}
	authority, rest, _ := strings.Cut(uri[len(scheme):], "/")
	if ascii := asciiHandle(authority); ascii != "" {
		return strings.TrimSuffix(scheme+ascii+"/"+rest, "/")
	}
	return uri
}

// ofAtURI parses an at-uri.
func ofAtURI(uri string) (wanted, bool) {
	normal, kind := link.Parse(asciiAuthority(uri))
	if kind != link.AtURI {
		return wanted{plain: uri}, false
	}
	parts := strings.SplitN(strings.TrimPrefix(normal, "at://"), "/", 3)
	m := wanted{actor: parts[0], repo: len(parts) == 1, plain: normal}
	if link.ValidDID(m.actor) {
		return wanted{plain: normal}, true
	}
	if len(parts) > 1 {
		m.collections = parts[1:2]
	}
	if len(parts) > 2 {
		m.rkey = parts[2]
	}
	return m, true
}

// named returns the key of an account's record with a name; empty if there is none or the network could not be queried.
func (s *Server) named(r *http.Request, did, collection, name string) string {
	if s.Names == nil {
		return ""
	}
	permit := permitOf(r.Context())
	permit.give() // a stranger's server may take long
	rkey, err := s.Names.Named(r.Context(), did, collection, name)
	if permit != nil && permit.take() != nil || err != nil {
		return ""
	}
	return rkey
}

// linkedOf returns the first target if it has links, else the one of the others with the most links, and the first if
// none has links or the API is busy. It is empty if the first is not a link.
func (s *Server) linkedOf(r *http.Request, targets []string) string {
	first, kind := link.Parse(targets[0])
	if kind == link.None || len(targets) == 1 {
		return first
	}
	best := first
	most := int64(0)
	for i, text := range targets {
		target, kind := link.Parse(text)
		if kind == link.None {
			continue
		}
		n, _, err := s.linksTo(r, target)
		if err != nil || i == 0 && n > 0 {
			return first
		}
		if n > most {
			most = n
			best = target
		}
	}
	return best
}

// linksTo queries the number of links to a target. more reports further sources, which are not counted.
func (s *Server) linksTo(r *http.Request, target string) (sum int64, more bool, err error) {
	var counts wire.BySource[int64]
	a := &answer{server: s, request: r}
	err = a.get(&counts, routes.LinksAllCount, "target", target, "limit", pageSources)
	for _, paths := range counts.Links {
		for _, n := range paths {
			sum += n
		}
	}
	return sum, counts.Cursor != nil, err
}

// resolve returns the account of a handle. Its error is a problem.
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
