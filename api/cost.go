package api

import (
	"context"
	"errors"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/db"
)

// cost is the semaphore that a query runs in.
type cost int

const (
	light  cost = iota // looks something up: microseconds, and the disk's latency
	medium             // bounded to some milliseconds: a long page, the counts of many lists
	heavy              // unbounded: a walk through a list
	costs
)

const (
	// lightPage is the length of the longest light page: its answer is 10 kB and takes 0.2 ms.
	lightPage = 100
	// lightPairs is the largest light number of counts.
	lightPairs = 10
	// mediumWalk is the longest medium walk in links: it takes some milliseconds.
	mediumWalk = 5000
	// lightWalk is what a light query may read of lists, in the unit of db.ListQuery.Walk: 0.2 ms, as a light page takes.
	lightWalk = 2500
	// mediumRead is what a medium query may: 25 ms, as many-to-many takes for a list of mediumWalk links.
	mediumRead = 300_000
	// mediumHydrate is the number of records whose content makes a page medium: a page for people shows as many beside
	// its counts.
	mediumHydrate = 10
)

// walks is the most that a query may read of a list in the semaphore of a cost, in the unit of db.ListQuery.Walk; 0: no
// bound. A query that would read more ends, and runs again in the semaphore of the cost of its list.
var walks = [costs]int64{
	light:  lightWalk,
	medium: mediumRead,
	heavy:  0,
}

// costOf returns the cost of a query, before it is known how much it reads of a list. A query with an invalid parameter
// costs nothing: its handler reports the parameter.
func (s *server) costOf(ctx context.Context, p *params) (cost, error) {
	q := &params{route: p.route, def: p.def, query: p.query, accounts: p.accounts, linked: p.linked}
	switch p.route.Cost {
	case routes.Lookup:
		if p.def.Param("hydrate") != nil && q.flag("hydrate") {
			return medium, nil
		}
	case routes.Bounded:
		return medium, nil
	case routes.ByPairs:
		if p.pairs() > lightPairs {
			return medium, nil // one medium turn for each db.PairsAtOnce lists
		}
	case routes.ByList, routes.ByPage:
		return q.costOfPage(), nil
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

// costOfWalk returns the cost of a walk through n links.
func costOfWalk(q *params, n int64, err error) (cost, error) {
	if q.err != nil || n <= mediumWalk {
		return medium, nil
	}
	return heavy, err
}

// longer returns the cost of a query that would have read more than its cost allows; its own cost: it would not.
func longer(c cost, err error) cost {
	var long *db.WalkError
	switch {
	case c == heavy || !errors.As(err, &long):
		return c
	case c == light && long.Links <= mediumWalk:
		return medium
	}
	return heavy
}

// pairs returns the number of counts in a query.
func (p *params) pairs() int {
	if pairs, ok := p.input["pairs"].([]any); ok {
		return len(pairs)
	}
	if p.input != nil {
		return len(p.texts("subjects")) * len(p.texts("sources"))
	}
	return p.times("subject") * p.times("source")
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
