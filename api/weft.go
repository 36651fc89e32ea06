package api

import (
	"context"
	"time"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
)

// The methods that are weft's own, dev.weft.links.*.

const (
	// Constellation's methods count one list. An app asks for three or four counts of each of some hundred posts.
	maxPairs = 1000
	// A body of 1,000 pairs of posts and sources has 150 kB. The names in an answer have the same bound: subjects and
	// sources are repeated with each other there.
	maxBody = 1 << 20
)

// weftQueries are the handlers of weft's own methods.
func (s *server) weftQueries() map[*routes.Route]queryFunc {
	return map[*routes.Route]queryFunc{
		routes.WeftGetBacklinks:    s.weftBacklinks,
		routes.WeftGetBacklinkDIDs: s.weftBacklinkDIDs,
		routes.GetCounts:           s.getCounts,
		routes.BatchCounts:         s.batchCounts,
		routes.GetAccountBacklinks: s.getAccountBacklinks,
		routes.GetAccountCounts:    s.getAccountCounts,
		routes.GetTimeline:         s.getTimeline,
		routes.GetTop:              s.getTop,
		routes.GetRecordLinks:      s.getRecordLinks,
	}
}

func (s *server) weftBacklinks(ctx context.Context, p *params) (any, error) {
	q := db.ListQuery{Target: p.subject("subject"), Source: p.source(), DIDs: p.dids("did"), Limit: p.limit(),
		Reverse: p.flag("reverse"),
		Since:   p.time("since"), Until: p.time("until")}
	hydrate := p.hydrate(&q.Limit)
	c := s.cursorCodec(p.route, db.ManyQuery{ListQuery: q})
	page, next, err := listPage(ctx, p, c, q, s.Store.Links)
	if err != nil {
		return nil, err
	}
	var contents []wire.Content
	page, contents, next, err = hydrated(ctx, s, hydrate, c, page, next, func(r db.Record) db.Record { return r })
	if err != nil {
		return nil, err
	}
	a := wire.TimedBacklinks{Total: page.Total, Records: make([]wire.TimedRecord, len(page.Items)), Cursor: next}
	for i, r := range page.Items {
		a.Records[i] = wire.TimedRecord{Record: toRecord(r), Time: timeText(page.Times[i]), Content: contents[i]}
	}
	return a, nil
}

func (s *server) weftBacklinkDIDs(ctx context.Context, p *params) (any, error) {
	q := db.ListQuery{Target: p.subject("subject"), Source: p.source(), Limit: p.limit(), Since: p.time("since"),
		Until: p.time("until")}
	page, next, err := listPage(ctx, p, s.cursorCodec(p.route, db.ManyQuery{ListQuery: q}), q, s.Store.DIDs)
	return wire.DIDs{Total: page.Total, DIDs: each(page.Items, toDID), Cursor: next}, err
}

// getCounts counts every subject from every source.
func (s *server) getCounts(ctx context.Context, p *params) (any, error) {
	return s.counts(ctx, p, product(p.list("subject"), p.list("source")), "subject", "source")
}

// batchCounts counts pairs, or every subject from every source.
func (s *server) batchCounts(ctx context.Context, p *params) (any, error) {
	if p.err != nil {
		return nil, p.err
	}
	pairs, given := p.input["pairs"].([]any)
	subjects := p.texts("subjects")
	sources := p.texts("sources")
	switch {
	case given && subjects != nil:
		p.fail("subjects", "can't be combined with `pairs`: send one of them")
	case !given && subjects == nil:
		p.fail("pairs", "is missing: send `pairs`, or `subjects` and `sources`")
	case subjects != nil && sources == nil:
		p.fail("sources", "is missing: `subjects` requires it")
	case subjects == nil && sources != nil:
		p.fail("sources", "belongs to `subjects`: it can't be combined with `pairs`")
	}
	if !given {
		return s.counts(ctx, p, product(subjects, sources), "subjects", "sources")
	}
	ask := make([]wire.PairCount, len(pairs))
	for i, pair := range pairs {
		members, _ := pair.(map[string]any)
		ask[i].Subject, _ = members["subject"].(string)
		ask[i].Source, _ = members["source"].(string)
	}
	return s.counts(ctx, p, ask, "pairs", "pairs")
}

func product(subjects, sources []string) []wire.PairCount {
	pairs := make([]wire.PairCount, 0, min(len(subjects)*len(sources), maxPairs+1))
	for _, subject := range subjects {
		for _, source := range sources {
			if len(pairs) <= maxPairs { // one too many is enough to know
				pairs = append(pairs, wire.PairCount{Pair: wire.Pair{Subject: subject, Source: source}})
			}
		}
	}
	return pairs
}

// counts counts pairs from the parameters subjects and sources.
func (s *server) counts(ctx context.Context, p *params, pairs []wire.PairCount, subjects, sources string) (any, error) {
	if len(pairs) > maxPairs {
		p.fail(subjects, "makes more than %d combinations: send fewer per request", maxPairs)
	}
	names := 0
	for _, pair := range pairs {
		names += len(pair.Subject) + len(pair.Source)
	}
	if names > maxBody {
		p.fail(subjects, "makes combinations of more than %d bytes: send fewer per request", maxBody)
	}
	if p.err != nil {
		return nil, p.err
	}
	ask := make([]db.Pair, len(pairs))
	for i, pair := range pairs {
		target, ok := normal(pair.Subject)
		if !ok {
			p.fail(subjects, "contains %q, which is not a link: a link is an at-uri, a DID or an absolute URI of at most "+
				"8 KiB", clip(pair.Subject))
		}
		ask[i] = db.Pair{Target: p.byDID(subjects, target), Source: p.sourceOf(sources, pair.Source)}
	}
	if p.err != nil {
		return nil, p.err
	}
	counts, err := s.Store.Counts(ctx, ask, p.pause)
	if err != nil {
		return nil, err
	}
	for i, c := range counts {
		pairs[i].Links = c.Links
		pairs[i].DIDs = c.DIDs
	}
	return wire.Counts{Counts: pairs}, nil
}

func (s *server) getAccountBacklinks(ctx context.Context, p *params) (any, error) {
	q := db.AccountQuery{DID: p.did("did"), Limit: p.limit(), Since: p.time("since"), Until: p.time("until")}
	sources := p.list("source")
	for _, text := range sources {
		q.Sources = append(q.Sources, p.sourceOf("source", text))
	}
	hydrate := p.hydrate(&q.Limit)
	c := s.cursorCodec(p.route,
		db.ManyQuery{ListQuery: db.ListQuery{Target: q.DID, Since: q.Since, Until: q.Until}, Subjects: sources})
	q.After = p.cursor(c)
	if p.err != nil {
		return nil, p.err
	}
	page, err := s.Store.AccountLinks(ctx, q)
	if err != nil {
		return nil, err
	}
	next, err := c.encode(page.Next)
	if err != nil {
		return nil, err
	}
	var contents []wire.Content
	page, contents, next, err = hydrated(ctx, s, hydrate, c, page, next,
		func(l db.AccountLink) db.Record { return l.Record })
	if err != nil {
		return nil, err
	}
	a := wire.AccountLinks{Links: make([]wire.AccountLink, len(page.Items)), Cursor: next}
	for i, l := range page.Items {
		a.Links[i] = wire.AccountLink{
			Record: toRecord(l.Record), Time: timeText(l.TimeUS),
			Link:    wire.Link{Source: sourceText(db.Source{Collection: l.Record.Collection, Path: l.Path}), Subject: l.Target},
			Content: contents[i],
		}
	}
	return a, nil
}

func (s *server) getAccountCounts(ctx context.Context, p *params) (any, error) {
	page, next, err := sourcesPage(ctx, s, p, p.did("did"), s.Store.AccountSources)
	sources := each(page.Items, func(c db.AccountCount) wire.SourceCount {
		return wire.SourceCount{Source: sourceText(c.Source), Links: c.Links}
	})
	return wire.AccountCounts{Total: page.Total, Sources: sources, Cursor: next}, err
}

// timeText returns a time as lexicons have it, to the microsecond.
func timeText(us int64) string { return time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000000Z") }

// sourceText returns a source as params.sourceOf reads it: a path that begins with a dot gets another one.
func sourceText(s db.Source) string {
	if s.Path == "" || s.Path[0] == '.' {
		return s.Collection + ":." + s.Path
	}
	return s.Collection + ":" + s.Path
}

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

// getRecordLinks: did R, collection R, rkey R, hydrate.
func (s *server) getRecordLinks(ctx context.Context, p *params) (any, error) {
	r := db.Record{DID: p.did("did")}
	r.Collection, _ = p.text("collection")
	r.Rkey, _ = p.text("rkey")
	hydrate := p.flag("hydrate")
	if p.err != nil {
		return nil, p.err
	}
	links, err := s.Store.RecordLinks(ctx, r)
	a := wire.RecordLinks{Links: each(links, func(l db.Link) wire.Link {
		return wire.Link{Source: sourceText(db.Source{Collection: r.Collection, Path: l.Path}), Subject: l.Target}
	})}
	// A record of an inactive account has no links, and its content is not shown either.
	if err != nil || !hydrate || len(links) == 0 {
		return a, err
	}
	contents, err := s.contents(ctx, []db.Record{r}, maxContents)
	if err == nil {
		a.Content = contents[0]
	}
	return a, err
}
