package api

import (
	"context"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/db"
)

// cost is the semaphore that a query runs in.
type cost int

const (
	light  cost = iota // looks something up: microseconds, and the disk's latency
	medium             // bounded, some milliseconds: a long page, the counts of many lists
	heavy              // walks through as much as there is
	costs
)

const (
	// A page up to this length is light: its answer is 10 kB and takes 0.2 ms.
	lightPage = 100
	// Counts of this many lists are light.
	lightPairs = 10
	// A walk through this many links takes some milliseconds: up to here, a walk is medium.
	mediumWalk = 5000
	// A page with the content of this many records is medium: a page for people shows as many beside its counts.
	mediumHydrate = 10
)

// costOf returns the cost of a query. For one that walks, it looks up how long the list is. A query with a wrong
// parameter costs nothing: its handler reports the parameter.
func (s *server) costOf(ctx context.Context, p *params) (cost, error) {
	q := &params{route: p.route, def: p.def, raw: p.raw, accounts: p.accounts, linked: p.linked}
	switch p.route.Cost {
	case routes.Lookup:
		if p.def.Param("hydrate") != nil && q.flag("hydrate") {
			return medium, nil
		}
	case routes.Bounded:
		return medium, nil
	case routes.ByPairs:
		if p.pairs() > lightPairs {
			return medium, nil // as often as it has parts of db.PairsAtOnce
		}
	case routes.ByList:
		return s.costOfList(ctx, q)
	case routes.ByPage:
		c := q.costOfPage()
		filters := len(p.raw["did"])
		if p.def.Param("from_dids") != nil {
			filters += len(p.raw["from_dids"])
		}
		if c == heavy || filters == 0 {
			return c, nil
		}
		return s.costOfList(ctx, q)
	case routes.ByFeed:
		return s.costOfFeed(ctx, q)
	case routes.ByAccount:
		if q.costOfPage() == heavy {
			return heavy, nil
		}
		n, err := s.Store.AccountTotal(ctx, q.did("did"))
		return costOfWalk(q, n, err)
	}
	return light, nil
}

// costOfList returns the cost of a walk through the list that a query names.
func (s *server) costOfList(ctx context.Context, q *params) (cost, error) {
	var target string
	var source db.Source
	if q.def.Param("target") != nil {
		target = q.subject("target")
		source = q.legacySource()
	} else {
		target = q.subject("subject")
		source = q.source()
	}
	if q.err != nil {
		return light, nil
	}
	n, err := s.Store.CountLinks(ctx, target, source)
	return costOfWalk(q, n, err)
}

// costOfWalk returns the cost of a walk through n links.
func costOfWalk(q *params, n int64, err error) (cost, error) {
	if q.err != nil || n <= mediumWalk {
		return medium, nil
	}
	return heavy, err
}

// pairs returns how many counts a query asks for.
func (p *params) pairs() int {
	if pairs, ok := p.input["pairs"].([]any); ok {
		return len(pairs)
	}
	if p.input != nil {
		return len(p.texts("subjects")) * len(p.texts("sources"))
	}
	return len(p.raw["subject"]) * len(p.raw["source"])
}

// costOfPage returns the cost of a page by its length, and by the content of records on it.
func (p *params) costOfPage() cost {
	limit := p.limit()
	hydrate := p.def.Param("hydrate") != nil && p.flag("hydrate")
	switch {
	case hydrate && limit > mediumHydrate:
		return heavy
	case hydrate || limit > lightPage:
		return medium
	}
	return light
}
