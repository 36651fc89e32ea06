package web

import (
	"context"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
)

// listed is the answer of any method that returns a list.
type listed struct {
	total    *int64 // nil: the method has no total
	links    []wire.AccountLink
	dids     []string
	accounts bool              // the method returns accounts, in dids
	others   []wire.OtherCount // nil: the method doesn't return other subjects
	many     bool              // links are the other links of the linking records
	cursor   *string
}

// listPages returns the builders of the pages of lists.
func (s *Server) listPages() map[*routes.Route]builder {
	return map[*routes.Route]builder{
		routes.Links:               listPageOf(s, fromLinkingRecords),
		routes.LinksDistinctDIDs:   listPageOf(s, fromLinkingDIDs),
		routes.GetBacklinks:        listPageOf(s, fromBacklinks),
		routes.GetBacklinkDIDs:     listPageOf(s, fromLinkingDIDs),
		routes.GetDistinct:         listPageOf(s, fromLinkingDIDs),
		routes.GetManyToMany:       listPageOf(s, fromManyToMany),
		routes.GetManyToManyCounts: listPageOf(s, fromManyToManyCounts),
		routes.WeftGetBacklinks:    listPageOf(s, fromTimedBacklinks),
		routes.WeftGetBacklinkDIDs: listPageOf(s, fromDIDs),
		routes.GetAccountBacklinks: listPageOf(s, fromAccountLinks),
	}
}

// listPageOf returns the builder of a page that shows an answer of type T.
func listPageOf[T any](s *Server, convert func(found *T) listed) builder {
	return func(_ context.Context, a *answer) (*view, error) {
		var found T
		if err := a.decode(&found); err != nil {
			return nil, err
		}
		return s.list(a, convert(&found)), nil
	}
}

func fromTimedBacklinks(found *wire.TimedBacklinks) listed {
	l := listed{total: &found.Total, cursor: found.Cursor}
	for _, r := range found.Records {
		l.links = append(l.links, wire.AccountLink{Record: r.Record, Time: r.Time, Content: r.Content})
	}
	return l
}

func fromBacklinks(found *wire.Backlinks) listed {
	return listed{total: &found.Total, links: untimed(found.Records), cursor: found.Cursor}
}

func fromLinkingRecords(found *wire.LinkingRecords) listed {
	return listed{total: &found.Total, links: untimed(found.LinkingRecords), cursor: found.Cursor}
}

func untimed(records []wire.Record) []wire.AccountLink {
	links := make([]wire.AccountLink, len(records))
	for i, r := range records {
		links[i].Record = r
	}
	return links
}

func fromAccountLinks(found *wire.AccountLinks) listed {
	return listed{links: found.Links, cursor: found.Cursor}
}

func fromDIDs(found *wire.DIDs) listed {
	return listed{total: &found.Total, accounts: true, dids: found.DIDs, cursor: found.Cursor}
}

func fromLinkingDIDs(found *wire.LinkingDIDs) listed {
	return listed{total: &found.Total, accounts: true, dids: found.LinkingDIDs, cursor: found.Cursor}
}

func fromManyToMany(found *wire.ManyToMany) listed {
	l := listed{many: true, cursor: found.Cursor}
	for _, item := range found.Items {
		l.links = append(l.links, wire.AccountLink{Record: item.LinkRecord, Link: wire.Link{Subject: item.OtherSubject}})
	}
	return l
}

func fromManyToManyCounts(found *wire.ManyToManyCounts) listed {
	return listed{others: found.Counts, cursor: found.Cursor}
}
