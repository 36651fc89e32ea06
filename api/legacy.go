package api

import (
	"context"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
)

// The REST routes from before XRPC, which most clients use. All require target; all except the last two require
// collection and path too. The lists and the last two take limit and cursor.

// links: also did* or from_dids.
func (s *server) links(ctx context.Context, p *params) (any, error) {
	q := db.ListQuery{Target: p.subject("target"), Source: p.legacySource(), DIDs: p.didsOrFrom(), Limit: p.limit()}
	page, next, err := listPage(ctx, p, s.cursorCodec(p.route, db.ManyQuery{ListQuery: q}), q, s.Store.Links)
	return wire.LinkingRecords{Total: page.Total, LinkingRecords: each(page.Items, toRecord), Cursor: next}, err
}

// linksDistinctDIDs: also from_dids.
func (s *server) linksDistinctDIDs(ctx context.Context, p *params) (any, error) {
	q := db.ListQuery{Target: p.subject("target"), Source: p.legacySource(), DIDs: p.fromDIDs(), Limit: p.limit()}
	page, next, err := listPage(ctx, p, s.cursorCodec(p.route, db.ManyQuery{ListQuery: q}), q, s.Store.DIDs)
	return wire.LinkingDIDs{Total: page.Total, LinkingDIDs: each(page.Items, toDID), Cursor: next}, err
}

func (s *server) linksCount(ctx context.Context, p *params) (any, error) {
	target := p.subject("target")
	src := p.legacySource()
	if p.err != nil {
		return nil, p.err
	}
	n, err := s.Store.CountLinks(ctx, target, src)
	return wire.Total{Total: n}, err
}

func (s *server) linksCountDistinctDIDs(ctx context.Context, p *params) (any, error) {
	target := p.subject("target")
	src := p.legacySource()
	if p.err != nil {
		return nil, p.err
	}
	n, err := s.Store.CountDIDs(ctx, target, src)
	return wire.Total{Total: n}, err
}

func (s *server) linksAll(ctx context.Context, p *params) (any, error) {
	page, next, err := s.sources(ctx, p)
	return bySource(page.Items, next, toSourceTotals), err
}

func (s *server) linksAllCount(ctx context.Context, p *params) (any, error) {
	page, next, err := s.sources(ctx, p)
	return bySource(page.Items, next, func(c db.SourceCount) int64 { return c.Links }), err
}

// sources returns a page of the sources of a target, and the cursor of the next page.
func (s *server) sources(ctx context.Context, p *params) (db.Page[db.SourceCount], *string, error) {
	return sourcesPage(ctx, s, p, p.subject("target"), s.Store.Sources)
}

// sourcesPage returns a page by source, and the cursor of the next page.
func sourcesPage[T any](ctx context.Context, s *server, p *params, of string,
	ask func(context.Context, db.SourcesQuery) (db.Page[T], error)) (db.Page[T], *string, error) {
	q := db.ListQuery{Target: of, Limit: p.limit()}
	return listPage(ctx, p, s.cursorCodec(p.route, db.ManyQuery{ListQuery: q}), q,
		func(ctx context.Context, q db.ListQuery) (db.Page[T], error) {
			return ask(ctx, db.SourcesQuery{Of: q.Target, Limit: q.Limit, After: q.After})
		})
}
