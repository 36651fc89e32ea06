package web

import (
	"cmp"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"weft.dev/weft/link"
)

// neighbour is another address with links that usually shows the same page.
type neighbour struct {
	Text, Href string
	Links      int64
	More       bool // there are further sources, which are not counted
}

// neighboursOf returns other addresses that usually show the page of a web target: with http and https, with and
// without www, with and without a slash at the end, and without the fragment and the query. It returns at most fifteen,
// the likeliest first, and none for other targets.
func neighboursOf(target string) []string {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil
	}
	base, fragment, _ := strings.Cut(target, "#")
	base, query, hasQuery := strings.Cut(base, "?")
	path := strings.TrimPrefix(base, u.Scheme+"://"+u.Host)
	if !strings.HasPrefix(path, "/") {
		return nil // an address with a user name isn't a public page
	}
	tails := []string{strings.TrimPrefix(target, u.Scheme+"://"+u.Host)}
	if fragment != "" && hasQuery {
		tails = append(tails, path+"?"+query)
	}
	tails = append(tails, path)
	if slash := strings.TrimSuffix(path, "/"); slash != path && slash != "" {
		tails = append(tails, slash)
	} else if path != "/" {
		tails = append(tails, path+"/")
	}
	var texts []string
	for _, tail := range tails {
		for _, host := range hostsOf(u) {
			for _, scheme := range schemesOf(u) {
				text, kind := link.Parse(scheme + "://" + host + tail)
				if kind != link.None && text != target && !slices.Contains(texts, text) {
					texts = append(texts, text)
				}
			}
		}
	}
	return texts
}

// hostsOf returns the host of an address, with its port, and the same host with or without www.
func hostsOf(u *url.URL) []string {
	other, has := strings.CutPrefix(u.Host, "www.")
	if !has {
		other = "www." + u.Host
	}
	_, err := netip.ParseAddr(u.Hostname())
	if err == nil || !strings.Contains(cmp.Or(strings.TrimPrefix(u.Hostname(), "www."), u.Hostname()), ".") {
		return []string{u.Host} // an IP address, or a name without a domain
	}
	return []string{u.Host, other}
}

// schemesOf returns the scheme of an address and the other one. A port belongs to one scheme only.
func schemesOf(u *url.URL) []string {
	switch {
	case u.Port() != "":
		return []string{u.Scheme}
	case u.Scheme == "http":
		return []string{"http", "https"}
	}
	return []string{"https", "http"}
}

// linkedNeighbours returns the neighbours with links, most links first. If the API is busy, it returns those found so
// far.
func (s *Server) linkedNeighbours(a *answer, target string) ([]neighbour, error) {
	var found []neighbour
	for _, text := range neighboursOf(target) {
		n, more, err := s.linksTo(a.request, text)
		if busy(err) {
			break
		}
		if err != nil {
			return nil, err
		}
		if n > 0 {
			found = append(found, neighbour{text, explore(text), n, more})
		}
	}
	slices.SortStableFunc(found, func(a, b neighbour) int { return cmp.Compare(b.Links, a.Links) })
	return found, nil
}
