package ingest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
	"weft.dev/weft/link"
)

// Slice is the part of the network that an index holds. A zero or nil Slice is the whole network.
type Slice struct {
	include, exclude patterns
	dids             map[string]struct{}
	sources          map[string]map[string]struct{} // paths by collection
	subjects         *subjects                      // nil: links to anything
}

// patterns matches collections: exact NSIDs, and namespaces with their last dot.
type patterns struct {
	exact      map[string]struct{}
	namespaces []string
}

func (p *patterns) empty() bool { return len(p.exact) == 0 && len(p.namespaces) == 0 }

func (p *patterns) match(collection string) bool {
	if _, ok := p.exact[collection]; ok {
		return true
	}
	return slices.ContainsFunc(p.namespaces, func(ns string) bool { return strings.HasPrefix(collection, ns) })
}

func (p *patterns) strings() []string {
	out := slices.Collect(maps.Keys(p.exact))
	for _, ns := range p.namespaces {
		out = append(out, ns+"*")
	}
	slices.Sort(out)
	return out
}

func parsePatterns(list []string) (p patterns, err error) {
	p.exact = map[string]struct{}{}
	for _, c := range list {
		if ns, ok := strings.CutSuffix(c, "*"); ok && strings.HasSuffix(ns, ".") && link.ValidNSID(ns+"x.x") {
			p.namespaces = append(p.namespaces, ns)
		} else if link.ValidNSID(c) {
			p.exact[c] = struct{}{}
		} else {
			return p, fmt.Errorf("%q is not a collection such as app.bsky.feed.like or a namespace such as app.bsky.feed.*", c)
		}
	}
	return p, nil
}

// groups lists the groups of record types of Bluesky and atproto, by prefix. A collection is a member of a group; a
// group is never a collection.
var groups = map[string][]string{
	"app.bsky.":    {"actor", "embed", "feed", "graph", "labeler", "notification", "richtext", "unspecced", "video"},
	"chat.bsky.":   {"actor", "convo", "group", "moderation"},
	"com.atproto.": {"admin", "identity", "label", "lexicon", "moderation", "repo", "server", "sync", "temp"},
}

// IsGroup reports whether a collection that is a valid name is known to be a group of record types: app.bsky.feed.
func IsGroup(collection string) bool {
	for prefix, names := range groups {
		name, ok := strings.CutPrefix(collection, prefix)
		if ok && slices.Contains(names, name) {
			return true
		}
	}
	return false
}

// SliceConfig is a Slice as an operator writes it. An empty list selects all.
type SliceConfig struct {
	Collections []string `json:"collections,omitempty"` // NSIDs, and namespaces such as app.bsky.feed.*
	Exclude     []string `json:"exclude_collections,omitempty"`
	DIDs        []string `json:"dids,omitempty"`
	Sources     []string `json:"sources,omitempty"`  // app.bsky.feed.like:subject.uri
	Subjects    []string `json:"subjects,omitempty"` // DIDs, at-uris and web hosts; SliceState keeps them with their times
}

// NewSlice returns the Slice of a SliceConfig, or an error that names the wrong entry.
func NewSlice(c SliceConfig) (*Slice, error) {
	include, err := parsePatterns(c.Collections)
	if err != nil {
		return nil, err
	}
	exclude, err := parsePatterns(c.Exclude)
	if err != nil {
		return nil, err
	}
	s := &Slice{include: include, exclude: exclude, dids: map[string]struct{}{}, sources: map[string]map[string]struct{}{}}
	for _, did := range c.DIDs {
		if !link.ValidDID(did) {
			return nil, fmt.Errorf("%q is not a DID", did)
		}
		s.dids[did] = struct{}{}
	}
	for _, source := range c.Sources {
		collection, path, ok := strings.Cut(source, ":")
		path = strings.TrimPrefix(path, ".")
		if !ok || !link.ValidNSID(collection) || path == "" {
			return nil, fmt.Errorf("%q is not a source such as app.bsky.feed.like:subject.uri", source)
		}
		if s.sources[collection] == nil {
			s.sources[collection] = map[string]struct{}{}
		}
		s.sources[collection][path] = struct{}{}
	}
	normal, err := NormalSubjects(c.Subjects)
	if err != nil {
		return nil, err
	}
	s.subjects = newSubjects(normal)
	return s, nil
}

// filters reports whether the live stream has a filter, so that it may be silent for long.
func (s *Slice) filters() bool { return !s.filter().ForLive().IsZero() }

// keeps reports whether an event is in the slice.
func (s *Slice) keeps(e *upstream.Event) bool {
	if s == nil {
		return true
	}
	if len(s.dids) > 0 {
		if _, ok := s.dids[e.DID]; !ok {
			return false
		}
	}
	return e.Op == db.OpAccount || e.Op == db.OpSync || s.Keeps(e.Collection)
}

// Keeps reports whether records of a collection are in the slice.
func (s *Slice) Keeps(collection string) bool {
	if s == nil {
		return true
	}
	if len(s.sources) > 0 && s.sources[collection] == nil {
		return false
	}
	return (s.include.empty() || s.include.match(collection)) && !s.exclude.match(collection)
}

// keepsLink reports whether a link of a record that the slice keeps is in the slice.
func (s *Slice) keepsLink(collection, path, target string) bool {
	if s == nil {
		return true
	}
	return (len(s.sources) == 0 || has(s.sources[collection], path)) && s.subjects.has(target)
}

// KeepsLink reports whether a link is in the slice.
func (s *Slice) KeepsLink(did string, source db.Source, target string) bool {
	if s == nil {
		return true
	}
	if len(s.dids) > 0 && !has(s.dids, did) {
		return false
	}
	return s.Keeps(source.Collection) && s.keepsLink(source.Collection, source.Path, target)
}

// filter returns the filter to send upstream. It selects all events of the slice, and may select others.
func (s *Slice) filter() upstream.Filter {
	if s == nil {
		return upstream.Filter{}
	}
	f := upstream.Filter{Collections: s.include.strings(), DIDs: slices.Sorted(maps.Keys(s.dids))}
	if len(s.sources) > 0 {
		f.Collections = slices.Sorted(maps.Keys(s.sources))
	}
	return f
}
