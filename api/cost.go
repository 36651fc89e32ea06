package api

import (
	"context"

	"weft.dev/weft/db"
)

// cost says in which line a query waits.
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
	// Counts of so many lists are light.
	lightPairs = 10
	// To walk through so many links takes some milliseconds: below, a walk is medium.
	mediumWalk = 5000
	// A page of so many records with their content is medium: what a page for people shows beside its counts.
	mediumHydrate = 10
)

// costOf is what a query will cost. For a walk, it looks up how long the list is; where a parameter is wrong, the query costs nothing.
func (s *server) costOf(ctx context.Context, p *params) (cost, error) {
	q := &params{def: p.def, raw: p.raw, accounts: p.accounts, linked: p.linked} // what is wrong is said by the handler
	length := func(n int64, err error) (cost, error) {
		if q.err != nil || n <= mediumWalk {
			return medium, nil
		}
		return heavy, err
	}
	list := func(target string, source db.Source) (cost, error) {
		if q.err != nil {
			return light, nil
		}
		return length(s.Store.CountLinks(ctx, target, source))
	}
	page := func() cost {
		limit := q.limit()
		switch {
		case p.def.Param("hydrate") != nil && q.flag("hydrate") && limit > mediumHydrate:
			return heavy
		case limit > lightPage || p.def.Param("hydrate") != nil && q.flag("hydrate"):
			return medium
		}
		return light
	}
	switch p.def.Path {
	case "/links/distinct-dids":
		return list(q.subject("target"), q.legacySource())
	case "/links":
		if len(p.raw["did"])+len(p.raw["from_dids"]) > 0 {
			return list(q.subject("target"), q.legacySource())
		}
		return page(), nil
	case "/xrpc/blue.microcosm.links.getBacklinkDids", "/xrpc/blue.microcosm.links.getDistinct", "/xrpc/dev.weft.links.getBacklinkDids",
		"/xrpc/blue.microcosm.links.getManyToMany", "/xrpc/blue.microcosm.links.getManyToManyCounts":
		return list(q.subject("subject"), q.source())
	case "/xrpc/blue.microcosm.links.getBacklinks", "/xrpc/dev.weft.links.getBacklinks":
		if c := page(); len(p.raw["did"]) == 0 || c == heavy {
			return c, nil
		}
		return list(q.subject("subject"), q.source())
	case "/xrpc/dev.weft.links.getAccountCounts":
		return length(s.Store.AccountTotal(ctx, q.did("did")))
	case "/xrpc/dev.weft.links.getAccountBacklinks":
		if page() == heavy {
			return heavy, nil
		}
		return length(s.Store.AccountTotal(ctx, q.did("did")))
	case "/xrpc/dev.weft.links.getCounts":
		if len(p.raw["subject"])*len(p.raw["source"]) <= lightPairs {
			return light, nil
		}
		return medium, nil
	case "/xrpc/dev.weft.links.batchCounts", "/xrpc/dev.weft.links.getTimeline", "/links/all", "/links/all/count":
		return medium, nil
	}
	return light, nil
}
