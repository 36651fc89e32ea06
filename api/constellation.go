package api

import (
	"context"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
)

// The XRPC methods, blue.microcosm.links.*. Each lists its parameters: R is required, * repeatable.

func (s *server) constellationQueries() map[*routes.Route]queryFunc {
	return map[*routes.Route]queryFunc{
		routes.GetBacklinksCount:   s.getBacklinksCount,
		routes.GetBacklinks:        s.getBacklinks,
		routes.GetBacklinkDIDs:     s.getBacklinkDIDs,
		routes.GetDistinct:         s.getBacklinkDIDs,
		routes.GetManyToMany:       s.getManyToMany,
		routes.GetManyToManyCounts: s.getManyToManyCounts,
	}
}

// getBacklinksCount: subject R, source R.
func (s *server) getBacklinksCount(ctx context.Context, p *params) (any, error) {
	target := p.subject("subject")
	src := p.source()
	if p.err != nil {
		return nil, p.err
	}
	n, err := s.Store.CountLinks(ctx, target, src)
	return wire.Total{Total: n}, err
}

// getBacklinks: subject R, source R, did*, limit, cursor, reverse.
func (s *server) getBacklinks(ctx context.Context, p *params) (any, error) {
	q := db.ListQuery{Target: p.subject("subject"), Source: p.source(), DIDs: p.dids("did"), Limit: p.limit(),
		Reverse: p.flag("reverse")}
	page, next, err := listPage(ctx, p, s.cursorCodec(p.route, db.ManyQuery{ListQuery: q}), q, s.Store.Links)
	return wire.Backlinks{Total: page.Total, Records: each(page.Items, toRecord), Cursor: next}, err
}

// getBacklinkDIDs: subject R, source R, limit, cursor.
func (s *server) getBacklinkDIDs(ctx context.Context, p *params) (any, error) {
	q := db.ListQuery{Target: p.subject("subject"), Source: p.source(), Limit: p.limit()}
	page, next, err := listPage(ctx, p, s.cursorCodec(p.route, db.ManyQuery{ListQuery: q}), q, s.Store.DIDs)
	return wire.LinkingDIDs{Total: page.Total, LinkingDIDs: each(page.Items, toDID), Cursor: next}, err
}

// getManyToMany: subject R, source R, pathToOther R, linkDid* and did*, otherSubject*, limit, cursor.
func (s *server) getManyToMany(ctx context.Context, p *params) (any, error) {
	q := manyQuery(p)
	page, next, err := manyPage(ctx, p, s.cursorCodec(p.route, q), q, s.Store.ManyToMany)
	return wire.ManyToMany{Items: each(page.Items, toManyItem), Cursor: next}, err
}

// getManyToManyCounts: as getManyToMany.
func (s *server) getManyToManyCounts(ctx context.Context, p *params) (any, error) {
	q := manyQuery(p)
	page, next, err := manyPage(ctx, p, s.cursorCodec(p.route, q), q, s.Store.ManyToManyCounts)
	return wire.ManyToManyCounts{Counts: each(page.Items, toOtherCount), Cursor: next}, err
}

// manyQuery reads the parameters of both many-to-many methods. Constellation has linkDid in one and did in the other;
// both methods here accept both.
func manyQuery(p *params) db.ManyQuery {
	list := db.ListQuery{Target: p.subject("subject"), Source: p.source(), DIDs: p.dids("linkDid", "did"),
		Limit: p.limit()}
	return db.ManyQuery{ListQuery: list, Other: p.other(), Subjects: p.otherSubjects()}
}

// listPage returns the page of q at the request's cursor, and the cursor of the next page.
func listPage[T any](ctx context.Context, p *params, c cursorCodec, q db.ListQuery,
	ask func(context.Context, db.ListQuery) (db.Page[T], error)) (db.Page[T], *string, error) {
	many := func(ctx context.Context, m db.ManyQuery) (db.Page[T], error) { return ask(ctx, m.ListQuery) }
	return manyPage(ctx, p, c, db.ManyQuery{ListQuery: q}, many)
}

// manyPage is listPage for many-to-many queries.
func manyPage[T any](ctx context.Context, p *params, c cursorCodec, q db.ManyQuery,
	ask func(context.Context, db.ManyQuery) (db.Page[T], error)) (db.Page[T], *string, error) {
	q.After = p.cursor(c)
	if p.err != nil {
		return db.Page[T]{}, nil, p.err
	}
	q.Walk = p.walk
	page, err := ask(ctx, q)
	if err != nil {
		return db.Page[T]{}, nil, err
	}
	next, err := c.encode(page.Next)
	return page, next, err
}
