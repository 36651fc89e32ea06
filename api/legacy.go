package api

import (
	"context"

	"weft.dev/weft/db"
)

// The REST routes that came before XRPC, and that most clients use. target, collection and path are required by all but the
// last two, which require target; limit and cursor go with the lists.

// links: also did* or from_dids.
func (s *server) links(ctx context.Context, p *params) (any, error) {
	q := db.ListQuery{Target: p.subject("target"), Source: p.legacySource(), DIDs: p.didsOrFrom(), Limit: p.limit()}
	page, next, err := turn(ctx, p, s.sealer(endLinks, db.ManyQuery{ListQuery: q}), q, s.Store.Links)
	return linkingRecordsAnswer{page.Total, each(page.Items, toRecord), next}, err
}

// linksDistinctDIDs: also from_dids.
func (s *server) linksDistinctDIDs(ctx context.Context, p *params) (any, error) {
	q := db.ListQuery{Target: p.subject("target"), Source: p.legacySource(), DIDs: p.fromDIDs(), Limit: p.limit()}
	page, next, err := turn(ctx, p, s.sealer(endDistinctDIDs, db.ManyQuery{ListQuery: q}), q, s.Store.DIDs)
	return didsAnswer{page.Total, each(page.Items, toDID), next}, err
}

func (s *server) linksCount(ctx context.Context, p *params) (any, error) {
	target, src := p.subject("target"), p.legacySource()
	if p.err != nil {
		return nil, p.err
	}
	n, err := s.Store.CountLinks(ctx, target, src)
	return totalAnswer{n}, err
}

func (s *server) linksCountDistinctDIDs(ctx context.Context, p *params) (any, error) {
	target, src := p.subject("target"), p.legacySource()
	if p.err != nil {
		return nil, p.err
	}
	n, err := s.Store.CountDIDs(ctx, target, src)
	return totalAnswer{n}, err
}

func (s *server) linksAll(ctx context.Context, p *params) (any, error) {
	sources, err := s.sources(ctx, p)
	return bySource(sources, func(c db.SourceCount) sourceTotals { return sourceTotals{c.Links, c.DIDs} }), err
}

func (s *server) linksAllCount(ctx context.Context, p *params) (any, error) {
	sources, err := s.sources(ctx, p)
	return bySource(sources, func(c db.SourceCount) int64 { return c.Links }), err
}

func (s *server) sources(ctx context.Context, p *params) ([]db.SourceCount, error) {
	target := p.subject("target")
	if p.err != nil {
		return nil, p.err
	}
	return s.Store.Sources(ctx, target)
}
