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
	// previewLists and previewLinks are the numbers of longest lists and of links of each that the page shows: they fit
	// on a screen.
	previewLists, previewLinks = 4, "6"
	// accountWait limits the count of links to an account and its records. It takes microseconds for each record with
	// links, and some accounts have a million. After this time, the page omits it.
	accountWait = 250 * time.Millisecond
	// chartSources is the number of sources in the chart: people can't distinguish more colours. getTimeline takes ten.
	chartSources = 6
)

// pageSources is the number of sources on a page. Real targets have some dozens, in the order in which the index first
// saw them. Invented ones come later.
const pageSources = "200"

// source is the links to a target from one source.
type source struct {
	Collection, Path string
	Text             string // collection:path
	Links, DIDs      int64
	Color            string
	Bar, DIDBar      float64 // percent of the longest list
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
	Who         string // handle if known, else the shortened DID
	AvatarColor int
	Initials    string
	Record      string // at-uri
	Rkey        string
	Time        time.Time
	Href        string       // page of the links to the record
	WhoHref     string       // page of the links to the account
	What        *subjectLink // the target, if it differs from the page's; nil: it doesn't
	Verb        string
	Color       string
	Says        string // text of the record, if it has one and its content is stored
	Open        []way  // links to the record or the account in apps
}

// explorePage shows all sources of a target.
type explorePage struct {
	Target   target
	Sources  []source
	Links    int64 // links from all sources
	Previews []preview
	Chart    *chart
	Record   *recordPart  // content and links of the record; nil: the target isn't a record
	Account  *accountPart // links to the account and its records
	Nearby   []neighbour  // other addresses of the same page
	Empty    bool
	More     string // page of further sources; empty: none
	Part     bool   // the page doesn't have all sources
}

// accountPart counts the links to an account and its records.
type accountPart struct {
	Counted bool // false: the count timed out, and the other fields are empty
	Total   int64
	Sources []source
	More    bool // there are further sources
	Href    string
}

// explore builds the page of all sources of a target.
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
	// Parts beside the counts are optional: if the API is busy, the page omits them.
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
		// A cursor of one route is not valid for the other, so that both are queried only for the first page.
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
		text = collection + ":." + path // the API removes one leading dot
	}
	return source{Collection: collection, Path: path, Text: text, Links: links, DIDs: dids,
		Color:   sourceColor(collection, path),
		Href:    routes.WeftGetBacklinks.Path + "?" + form("subject", subject, "source", text),
		WhoHref: routes.WeftGetBacklinkDIDs.Path + "?" + form("subject", subject, "source", text)}
}

// scale sets bars to the share of the longest list, but at least to a visible length.
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

// assignColors gives the longest lists distinct colours: the first list of each colour keeps it, and others get a free
// one.
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

// previews queries the newest links of the longest lists.
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

// busy reports whether an error means that the API is busy or timed out. Optional parts of a page are then omitted.
func busy(err error) bool {
	var p problem
	return errors.As(err, &p) && (p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable)
}

// accountOf queries the number of links to an account and its records; nil if the target isn't an account.
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
