package ingest

import (
	"fmt"
	"slices"
	"strings"

	"weft.dev/weft/link"
)

// subjects is the set of subjects to which the links of a slice point. A nil subjects selects all links.
//
// A subject is one of three kinds. A DID selects the account and all its records. An at-uri selects itself and all
// at-uris below it, by whole segments of its path. A web host selects all its pages; with "*." in front it selects the
// pages of all hosts below it.
type subjects struct {
	dids    map[string]struct{}
	uris    map[string]struct{}
	hosts   map[string]struct{}
	domains map[string]struct{} // "example.org" for "*.example.org"

	segments int // the most path segments of an at-uri of the set
	labels   int // the most labels of a domain of the set
}

// MaxSubjects bounds the subjects of a slice. A subject takes about 200 bytes of memory, and 100 in the index.
const MaxSubjects = 100_000

// NormalSubjects returns subjects in their normal form, sorted and without repeats, or an error that names the wrong
// entry.
func NormalSubjects(list []string) ([]string, error) {
	out := make([]string, 0, len(list))
	for _, s := range list {
		normal, err := normalSubject(s)
		if err != nil {
			return nil, err
		}
		out = append(out, normal)
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if len(out) > MaxSubjects {
		return nil, fmt.Errorf("%d subjects are more than %d", len(out), MaxSubjects)
	}
	return out, nil
}

// normalSubject returns a subject as normalised links spell it.
func normalSubject(s string) (string, error) {
	switch normal, kind := link.Parse(s); {
	case kind == link.DID:
		return normal, nil
	case kind == link.AtURI && !strings.ContainsAny(normal, "?#"):
		return normal, nil
	case kind == link.AtURI:
		return "", fmt.Errorf("%q has a query or a fragment: a subject selects all at-uris below it, so leave that out", s)
	case kind == link.URI && link.WebHost(normal) != "":
		return "", fmt.Errorf("%q is a page: a subject is a whole site, as %s", s, link.WebHost(normal))
	case strings.HasPrefix(s, "@"):
		return "", fmt.Errorf("%q is a handle: a subject is the DID of an account", s)
	}
	domain, below := strings.CutPrefix(s, "*.")
	page, kind := link.Parse("https://" + domain + "/")
	host := link.WebHost(page)
	// A host has a dot, so that a misspelt word is refused. The page of a host alone has nothing around it.
	if kind != link.URI || page != "https://"+host+"/" || !strings.ContainsAny(host, ".:") || below && host[0] == '[' {
		return "", fmt.Errorf("%q is not a DID, an at-uri or a web host such as example.org or *.example.org", s)
	}
	if below {
		return "*." + host, nil
	}
	return host, nil
}

// newSubjects returns the set of normal subjects; nil if there are none.
func newSubjects(normal []string) *subjects {
	if len(normal) == 0 {
		return nil
	}
	s := &subjects{dids: map[string]struct{}{}, uris: map[string]struct{}{}, hosts: map[string]struct{}{},
		domains: map[string]struct{}{}}
	for _, subject := range normal {
		domain, below := strings.CutPrefix(subject, "*.")
		switch {
		case below:
			s.domains[domain] = struct{}{}
			s.labels = max(s.labels, strings.Count(domain, ".")+1)
		case strings.HasPrefix(subject, "did:"):
			s.dids[subject] = struct{}{}
		case strings.HasPrefix(subject, atScheme):
			s.uris[subject] = struct{}{}
			s.segments = max(s.segments, strings.Count(subject[len(atScheme):], "/"))
		default:
			s.hosts[subject] = struct{}{}
		}
	}
	return s
}

const atScheme = "at://"

// has reports whether a normalised target is in the set. It takes a few look-ups: their number depends neither on the
// number of subjects nor on the length of the target.
func (s *subjects) has(target string) bool {
	if s == nil {
		return true
	}
	switch {
	case strings.HasPrefix(target, atScheme):
		return s.hasRecord(target)
	case strings.HasPrefix(target, "did:"):
		return has(s.dids, target)
	case len(s.hosts)+len(s.domains) == 0:
		return false
	}
	host := link.WebHost(target)
	return host != "" && (has(s.hosts, host) || s.hasDomain(host))
}

// hasRecord reports whether an at-uri, its account or an at-uri above it is in the set.
func (s *subjects) hasRecord(uri string) bool {
	end := strings.IndexAny(uri, "?#") // what follows has no segments
	path := uri
	if end >= 0 {
		path = uri[:end]
	}
	at := segmentEnd(path, len(atScheme))
	if has(s.dids, path[len(atScheme):at]) {
		return true
	}
	for n := 0; n <= s.segments; n++ {
		if has(s.uris, path[:at]) {
			return true
		}
		if at == len(path) {
			return false
		}
		at = segmentEnd(path, at+1)
	}
	return false
}

// segmentEnd returns the index of the slash that ends the segment from i on, or the length of path.
func segmentEnd(path string, i int) int {
	if n := strings.IndexByte(path[i:], '/'); n >= 0 {
		return i + n
	}
	return len(path)
}

// hasDomain reports whether a domain above a host is in the set.
func (s *subjects) hasDomain(host string) bool {
	at := len(host)
	for n := 0; n < s.labels; n++ {
		at = strings.LastIndexByte(host[:at], '.')
		if at < 0 {
			return false
		}
		if has(s.domains, host[at+1:]) {
			return true
		}
	}
	return false
}

func has(set map[string]struct{}, name string) bool {
	_, ok := set[name]
	return ok
}
