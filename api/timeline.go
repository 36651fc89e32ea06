package api

import (
	"context"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
)

// getTimeline: subject R, source* R, since, until, spans.
func (s *server) getTimeline(ctx context.Context, p *params) (any, error) {
	q := db.TimelineQuery{Target: p.subject("subject"), Since: p.time("since"), Until: p.time("until"),
		Most: p.number("spans")}
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
	a := wire.Timeline{Sources: make([]wire.SourceTimeline, len(t.Lists)), Seconds: t.StepUS / 1_000_000}
	if t.FromUS > 0 {
		from := timeText(t.FromUS)
		a.From = &from
	}
	for i, l := range t.Lists {
		a.Sources[i] = wire.SourceTimeline{
			Source: sourceText(q.Sources[i]), Total: l.Total, Older: l.Older, Counts: append([]int64{}, l.Counts...),
		}
	}
	return a, nil
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
	return wire.RecordLinks{Links: each(links, func(l db.Link) wire.Link {
		return wire.Link{Source: sourceText(db.Source{Collection: r.Collection, Path: l.Path}), Subject: l.Target}
	})}, err
}
