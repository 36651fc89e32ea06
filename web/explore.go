package web

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/humanize"
)

const (
	// Of the longest lists, the newest links are shown at once, so many of each: what fits on a screen.
	previewLists, previewLinks = 4, "6"
	// To count the links to all of an account takes as long as it has records that are linked to: microseconds each, and
	// some have a million. The page goes without them rather than wait.
	accountWait = 250 * time.Millisecond
	// How many sources the chart tells apart: more colours than these nobody can. getTimeline takes ten.
	chartSources = 6
)

// pageSources is how many sources a page shows: real targets have some dozens, in the order in which the index first
// saw them. What strangers invent comes behind.
const pageSources = "200"

// source is the links to a target from one place.
type source struct {
	Collection, Path string
	Text             string // collection:path
	Links, DIDs      int64
	Color            string
	Bar, DIDBar      float64 // of 100, beside the longest
	Href             string
	WhoHref          string
}

// preview is the newest links of a source.
type preview struct {
	Source source
	Links  []linker
}

// linker is a record that links.
type linker struct {
	DID         string
	Who         string // its handle where that is known, else its DID, shortened
	AvatarColor int
	Initials    string
	Record      string // the at-uri
	Rkey        string
	Time        time.Time
	Href        string       // the links to the record
	WhoHref     string       // the links to the account
	What        *subjectLink // the other end, where that isn't what the page is about; nil: it is
	Verb        string
	Color       string
	Says        string // the record's text, where it has one and that is kept
	Open        []way  // where the record, or the account, can be opened
}

// explorePage shows all that links to a target.
type explorePage struct {
	Target   target
	Sources  []source
	Links    int64 // of all sources
	Previews []preview
	Chart    *chart
	Record   *recordPart  // what the record says and links to; nil: it is no record
	Account  *accountPart // links to all that is the account's
	Nearby   []neighbour  // addresses that usually show the same page
	Empty    bool
	More     string // the page of further sources; empty: these are all
	Part     bool   // these are not all
}

// accountPart sums up the links to anything of an account.
type accountPart struct {
	Counted bool // else there was no time for it, and the rest is empty
	Total   int64
	Sources []source
	More    bool // there are further ones
	Href    string
}

// explore is the page of all sources that link to a target.
func (s *Server) explore(ctx context.Context, a *answer) (*view, error) {
	p := &explorePage{Target: s.targetOf(a.request, a.param("target"))}
	var err error
	var next *string
	p.Sources, next, err = sourcesOf(a, p.Target.Text)
	if err != nil {
		return nil, err
	}
	p.Part = next != nil || a.param("cursor") != ""
	if next != nil {
		p.More = routes.LinksAll.Path + "?" + form("target", p.Target.Text, "limit", a.param("limit"), "cursor", *next)
	}
	for _, src := range p.Sources {
		p.Links += src.Links
	}
	// What is beside the counts may be left out: where the API refuses for the moment, the page says what it knows.
	if err := s.previews(a, p); err != nil {
		return nil, err
	}
	p.Chart, err = chartOf(a, p.Target.Text, p.Sources)
	if err != nil {
		return nil, err
	}
	p.Record, err = s.recordOf(a, &p.Target)
	if err != nil {
		return nil, err
	}
	p.Account, err = accountOf(a, p.Target)
	if err != nil {
		return nil, err
	}
	p.Nearby, err = s.linkedNeighbours(a, p.Target.Text)
	if err != nil {
		return nil, err
	}
	p.Empty = p.Links == 0
	title := cmp.Or(p.Target.Name, targetText(p.Target.Text))
	about := humanize.Count(p.Links, "link") + " to this " + p.Target.Kind + ", by kind of link and account."
	return &view{Title: "Links to " + title, About: about, Target: p.Target.Text, Main: p, Feeds: feedsOf(p.Target, "")},
		nil
}

// sourcesOf returns the sources that link to a subject, longest list first.
func sourcesOf(a *answer, subject string) (sources []source, next *string, err error) {
	var all wire.BySource[wire.SourceTotals]
	if a.path == routes.LinksAll.Path {
		err = a.decode(&all)
	} else {
		// A cursor of one of the two paths is not one of the other: they are asked for the same page only where it is the
		// first.
		if a.param("cursor") != "" {
			return nil, nil, newProblem(400, "InvalidRequest",
				"Use the page "+routes.LinksAll.Path+" to see more kinds of links.")
		}
		err = a.get(&all, routes.LinksAll, "target", subject, "limit", a.param("limit"))
	}
	if err != nil {
		return nil, nil, err
	}
	for collection, paths := range all.Links {
		for path, n := range paths {
			path = strings.TrimPrefix(path, ".")
			sources = append(sources, sourceOf(subject, collection, path, n.Records, n.DistinctDIDs))
		}
	}
	slices.SortFunc(sources, func(a, b source) int {
		return cmp.Or(cmp.Compare(b.Links, a.Links),
			cmp.Compare(a.Text, b.Text))
	})
	scale(sources)
	assignColors(sources)
	return sources, all.Cursor, nil
}

func sourceOf(subject, collection, path string, links, dids int64) source {
	text := collection + ":" + path
	if path == "" || path[0] == '.' {
		text = collection + ":." + path // the API takes one leading dot off
	}
	return source{Collection: collection, Path: path, Text: text, Links: links, DIDs: dids,
		Color:   sourceColor(collection, path),
		Href:    routes.WeftGetBacklinks.Path + "?" + form("subject", subject, "source", text),
		WhoHref: routes.WeftGetBacklinkDIDs.Path + "?" + form("subject", subject, "source", text)}
}

// scale makes bars as long as the lists are, beside the longest. The shortest can still be seen.
func scale(sources []source) {
	var most int64 = 1
	for _, s := range sources {
		most = max(most, s.Links)
	}
	for i := range sources {
		s := &sources[i]
		s.Bar = max(0.6, 100*float64(s.Links)/float64(most))
		s.DIDBar = min(s.Bar, max(0.6, 100*float64(s.DIDs)/float64(most)))
	}
}

// colors are the colours of sources.
var colors = []string{"madder", "indigo", "weld", "moss", "logwood", "woad", "flax"}

// assignColors gives the longest lists colours that tell them apart: its own to each that comes first, and to others one that
// is left.
func assignColors(sources []source) {
	sources = sources[:min(len(colors), len(sources))]
	taken := map[string]bool{}
	var left []*source
	for i := range sources {
		if s := &sources[i]; taken[s.Color] {
			left = append(left, s)
		} else {
			taken[s.Color] = true
		}
	}
	for _, s := range left {
		for _, name := range colors {
			if !taken[name] {
				s.Color = name
				taken[name] = true
				break
			}
		}
	}
}

// previews asks for the newest links of the longest lists.
func (s *Server) previews(a *answer, p *explorePage) error {
	for _, src := range p.Sources[:min(previewLists, len(p.Sources))] {
		var page wire.TimedBacklinks
		if err := a.get(&page, routes.WeftGetBacklinks, "subject", p.Target.Text, "source", src.Text, "limit", previewLinks,
			"hydrate", "true"); err != nil {
			if busy(err) {
				return nil
			}
			return err
		}
		p.Previews = append(p.Previews, preview{src, s.linkersOf(fromTimedBacklinks(&page).links)})
	}
	return nil
}

// busy says that the API has no time or no more patience: what is asked for beside the page's own answer is then left
// out.
func busy(err error) bool {
	var p problem
	return errors.As(err, &p) && (p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable)
}

// accountOf asks how many links there are to an account and all of its records; nil for what isn't an account.
func accountOf(a *answer, t target) (*accountPart, error) {
	if t.Kind != "account" {
		return nil, nil
	}
	var answer wire.AccountCounts
	part := &accountPart{Href: routes.GetAccountBacklinks.Path + "?" + form("did", t.Text)}
	if err := a.getWithin(accountWait, &answer, routes.GetAccountCounts, "did", t.Text, "limit", pageSources); err != nil {
		if busy(err) {
			return part, nil
		}
		return nil, err
	}
	part.Counted = true
	part.Total = answer.Total
	part.More = answer.Cursor != nil
	for _, src := range answer.Sources {
		collection, path, _ := strings.Cut(src.Source, ":")
		one := sourceOf(t.Text, collection, path, src.Links, src.Links)
		one.Href = routes.GetAccountBacklinks.Path + "?" + form("did", t.Text, "source", src.Source)
		part.Sources = append(part.Sources, one)
	}
	slices.SortFunc(part.Sources, func(a, b source) int {
		return cmp.Or(cmp.Compare(b.Links, a.Links),
			cmp.Compare(a.Text, b.Text))
	})
	scale(part.Sources)
	return part, nil
}
