package web

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/humanize"
	"weft.dev/weft/link"
)

// topPage shows the targets with the most links.
type topPage struct {
	Source source // source of the links; without a collection: there are none
	Hours  int64
	Since  string
	Late   bool // the span is shorter than requested
	Rows   []topRow
	Newest string // time of the newest event, if the index is behind; empty: it is current, or has read none
	Behind string // lag of the index
	Unread bool   // no event was read since the start
	Exact  bool   // no other target has more links
	Bound  int64  // most links of another target
	Spans  []tab
	Kinds  []topKind
}

// topKind is a link to the targets with the most links of another kind.
type topKind struct {
	source
	Label string
	Href  string
	Here  bool
}

// topRow is a target with its count.
type topRow struct {
	subjectLink
	Says        string // text of a record, if its content is stored
	Links       int64
	ListHref    string
	Open        []way
	Bar, DIDBar float64
}

// topSpans are the spans that the page offers, in hours.
var topSpans = []int64{1, 6, 24}

// top builds the page of the targets with the most links.
func (s *Server) top(_ context.Context, a *answer) (*view, error) {
	var found wire.Top
	if err := a.decode(&found); err != nil {
		return nil, err
	}
	p := &topPage{Bound: found.Bound, Hours: topSpans[len(topSpans)-1]}
	if hours, err := strconv.ParseInt(a.param("hours"), 10, 64); err == nil {
		p.Hours = hours
	}
	since, err := time.Parse(time.RFC3339, found.Since)
	if err != nil {
		return nil, err
	}
	p.Since = utc(since.UnixMicro())
	// One second of tolerance for the time since the API's answer.
	p.Late = since.After(s.Now().Add(time.Second - time.Duration(p.Hours)*time.Hour))
	s.noteBehind(p)
	for _, hours := range topSpans {
		p.Spans = append(p.Spans, tab{humanize.Count(hours, "hour"), topAddress(a.param("source"), hours), hours == p.Hours})
	}
	named := map[string]bool{}
	for _, text := range found.Sources {
		src := splitSource(text)
		label := cmp.Or(src.Name(), text)
		if named[label] { // another kind of record has the same label
			label += " of " + src.Collection
		}
		named[label] = true
		p.Kinds = append(p.Kinds, topKind{src, label, topAddress(text, p.Hours), text == found.Source})
	}
	if found.Source == "" {
		return &view{Title: "Most linked", About: topAbout, Main: p}, nil
	}
	p.Source = splitSource(found.Source)
	most := int64(1)
	for _, one := range found.Subjects {
		most = max(most, one.Links)
		p.Exact = one.Links >= p.Bound
	}
	p.Exact = p.Exact || p.Bound == 0
	for _, one := range found.Subjects {
		p.Rows = append(p.Rows, s.topRow(one, p.Source, since, most))
	}
	return &view{Title: "Most linked: " + p.Source.Noun(2), About: topAbout, Main: p}, nil
}

// noteBehind notes the lag of the index, which then lacks links of the last hours.
func (s *Server) noteBehind(p *topPage) {
	if s.Lag == nil {
		return
	}
	lag := s.Lag()
	p.Unread = lag == 0
	if s.behind() {
		p.Newest = utc(s.Now().Add(-lag).UnixMicro())
		p.Behind = humanize.Duration(lag)
	}
}

const topAbout = "The posts, accounts and web pages that the AT Protocol network links to most, of the last hours."

func (s *Server) topRow(one wire.SubjectCount, src source, since time.Time, most int64) topRow {
	row := topRow{subjectLink: s.subjectLink(one.Subject).alone(), Links: one.Links,
		ListHref: routes.WeftGetBacklinks.Path + "?" + form("subject", one.Subject, "source", src.Text, "since",
			since.Format(time.RFC3339Nano)),
		Bar: max(0.6, 100*float64(one.Links)/float64(most))}
	if row.Kind == "account" {
		row.Open = s.openIn(row.DID, "", "", nil)
		return row
	}
	if hostOf(one.Subject) != "" {
		row.Open = []way{{"the page", one.Subject}}
	}
	did, collection, rkey, ok := link.SplitRecord(one.Subject)
	if !ok {
		return row
	}
	row.Says = textOf(one.Value)
	row.Open = s.openIn(did, collection, rkey, one.Value)
	return row
}

// topAddress returns the page of the targets with the most links from a source; empty: from the source with the most
// links.
func topAddress(source string, hours int64) string {
	return routes.GetTop.Path + "?" + form("source", source, "hours", strconv.FormatInt(hours, 10))
}

// splitSource parses a source in the API's spelling.
func splitSource(text string) source {
	collection, path, _ := strings.Cut(text, ":")
	return sourceOf("", collection, strings.TrimPrefix(path, "."), 0, 0)
}
