package ingest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weft.dev/weft/db"
	"weft.dev/weft/link"
)

// Slice is the part of the network that an index holds. The zero Slice, and nil, is all of it.
type Slice struct {
	include, exclude patterns
	dids             map[string]struct{}
	sources          map[string]map[string]struct{} // paths by collection
}

// patterns are collections: exact ones, and namespaces with their last dot.
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

// groups are the groups of record types that Bluesky and atproto define, by what they begin with. A collection is one of
// their members, never the group itself.
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

// SliceConfig is a Slice as an operator writes it. Empty parts take all.
type SliceConfig struct {
	Collections []string `json:"collections,omitempty"` // NSIDs, and namespaces such as app.bsky.feed.*
	Exclude     []string `json:"exclude_collections,omitempty"`
	DIDs        []string `json:"dids,omitempty"`
	Sources     []string `json:"sources,omitempty"` // app.bsky.feed.like:subject.uri
}

// NewSlice checks a SliceConfig.
func NewSlice(c SliceConfig) (s *Slice, err error) {
	s = &Slice{dids: map[string]struct{}{}, sources: map[string]map[string]struct{}{}}
	if s.include, err = parsePatterns(c.Collections); err != nil {
		return nil, err
	}
	if s.exclude, err = parsePatterns(c.Exclude); err != nil {
		return nil, err
	}
	for _, did := range c.DIDs {
		if !link.ValidDID(did) {
			return nil, fmt.Errorf("%q is not a DID", did)
		}
		s.dids[did] = struct{}{}
	}
	for _, source := range c.Sources {
		collection, path, ok := strings.Cut(source, ":")
		if path = strings.TrimPrefix(path, "."); !ok || !link.ValidNSID(collection) || path == "" {
			return nil, fmt.Errorf("%q is not a source such as app.bsky.feed.like:subject.uri", source)
		}
		if s.sources[collection] == nil {
			s.sources[collection] = map[string]struct{}{}
		}
		s.sources[collection][path] = struct{}{}
	}
	return s, nil
}

// filters reports whether an upstream is asked for less than all of its events, so that it may be silent for long.
func (s *Slice) filters() bool {
	collections, dids := s.wire(maxURLDIDs)
	return len(collections) > 0 || len(dids) > 0
}

// keeps says whether an event concerns the slice.
func (s *Slice) keeps(e *event) bool {
	if s == nil {
		return true
	}
	if len(s.dids) > 0 {
		if _, ok := s.dids[e.did]; !ok {
			return false
		}
	}
	return e.op == db.OpAccount || e.op == db.OpSync || s.Keeps(e.collection)
}

// Keeps says whether records of a collection are in the slice.
func (s *Slice) Keeps(collection string) bool {
	if s == nil {
		return true
	}
	if len(s.sources) > 0 && s.sources[collection] == nil {
		return false
	}
	return (s.include.empty() || s.include.match(collection)) && !s.exclude.match(collection)
}

func (s *Slice) keepsLink(collection string, path []byte) bool {
	if s == nil || len(s.sources) == 0 {
		return true
	}
	_, ok := s.sources[collection][string(path)]
	return ok
}

// Limits of what is passed upstream; beyond them the filter is applied here alone. A hundred collections is the
// servers'; two hundred DIDs make a URL of some 8 kB, which proxies still take. A plan has a body, and the servers' limit.
const (
	maxWireCollections = 100
	maxURLDIDs         = 200
	maxPlanDIDs        = 10_000
)

// wire is what an upstream is asked for: never less than the slice.
func (s *Slice) wire(maxDIDs int) (collections, dids []string) {
	if s == nil {
		return nil, nil
	}
	if collections = s.include.strings(); len(s.sources) > 0 {
		collections = slices.Sorted(maps.Keys(s.sources))
	}
	if len(collections) > maxWireCollections {
		collections = nil
	}
	if dids = slices.Sorted(maps.Keys(s.dids)); len(dids) > maxDIDs {
		dids = nil
	}
	return collections, dids
}
