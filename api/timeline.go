package api

import (
	"context"

	"weft.dev/weft/db"
)

type timelineAnswer struct {
	From    *string          `json:"from"` // null without links
	Seconds int64            `json:"seconds"`
	Sources []timelineSource `json:"sources"`
}

type timelineSource struct {
	Source string  `json:"source"`
	Total  int64   `json:"total"`
	Older  int64   `json:"older"`
	Counts []int64 `json:"counts"`
}

// getTimeline: subject R, source* R, since, until, spans.
func (s *server) getTimeline(ctx context.Context, p *params) (any, error) {
	q := db.TimelineQuery{Target: p.subject("subject"), Since: p.time("since"), Until: p.time("until"), Most: p.number("spans")}
	for _, text := range p.list("source") {
		q.Sources = append(q.Sources, p.sourceOf("source", text))
	}
	if p.err != nil {
		return nil, p.err
	}
	t, err := s.Store.Timeline(ctx, q)
	if err != nil {
		return nil, err
	}
	a := timelineAnswer{Sources: make([]timelineSource, len(t.Lists)), Seconds: t.StepUS / 1_000_000}
	if t.FromUS > 0 {
		from := timeText(t.FromUS)
		a.From = &from
	}
	for i, l := range t.Lists {
		a.Sources[i] = timelineSource{sourceText(q.Sources[i]), l.Total, l.Older, append([]int64{}, l.Counts...)}
	}
	return a, nil
}

type forwardLink struct {
	Source  string `json:"source"`
	Subject string `json:"subject"`
}

type recordLinksAnswer struct {
	Links []forwardLink `json:"links"`
}

// getRecordLinks: did R, collection R, rkey R.
func (s *server) getRecordLinks(ctx context.Context, p *params) (any, error) {
	r := db.Record{DID: p.did("did")}
	r.Collection, _ = p.text("collection")
	r.Rkey, _ = p.text("rkey")
	if p.err != nil {
		return nil, p.err
	}
	links, err := s.Store.RecordLinks(ctx, r)
	return recordLinksAnswer{each(links, func(l db.Link) forwardLink {
		return forwardLink{sourceText(db.Source{Collection: r.Collection, Path: l.Path}), l.Target}
	})}, err
}
