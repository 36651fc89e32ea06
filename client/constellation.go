package client

import (
	"context"
	"errors"
	"iter"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
)

// NewConstellation returns a client of a Constellation, or of another server that has only its methods. Records have no
// times there. Counts makes requests for each pair. Timelines, links of accounts and of records, streams and Status
// require a weft.
func NewConstellation(base string) *Client {
	c := New(base)
	c.isConstellation = true
	return c
}

// errNeedsWeft is returned for a query that only a weft answers.
var errNeedsWeft = errors.New("weft: Constellation has no Since, Until and Hydrate")

// list returns the parameters of a list of Constellation.
func (q *Query) list(cursor string) (url.Values, error) {
	if !q.Since.IsZero() || !q.Until.IsZero() || q.Hydrate {
		return nil, errNeedsWeft
	}
	v := url.Values{"subject": {q.Subject}, "source": {q.Source}}
	window(v, time.Time{}, time.Time{}, false, q.Limit, cursor)
	return v, nil
}

func (c *Client) plainBacklinks(ctx context.Context, q Query, cursor string) (Page[Record], error) {
	v, err := q.list(cursor)
	if err != nil {
		return Page[Record]{}, err
	}
	v["did"] = q.DIDs
	if q.Reverse {
		v.Set("reverse", "true")
	}
	var a wire.Backlinks
	err = c.get(ctx, routes.GetBacklinks, v, &a)
	page := Page[Record]{Total: a.Total, Cursor: cursorText(a.Cursor)}
	for _, r := range a.Records {
		page.Items = append(page.Items, plainRecord(r))
	}
	return page, err
}

func plainRecord(r wire.Record) Record {
	return Record{DID: r.DID, Collection: r.Collection, Rkey: r.Rkey}
}

func (c *Client) plainDIDs(ctx context.Context, q Query, cursor string) (Page[string], error) {
	v, err := q.list(cursor)
	if err != nil {
		return Page[string]{}, err
	}
	var a wire.LinkingDIDs
	err = c.get(ctx, routes.GetBacklinkDIDs, v, &a)
	return Page[string]{Total: a.Total, Items: a.LinkingDIDs, Cursor: cursorText(a.Cursor)}, err
}

// CountDIDs counts the accounts that link to a subject from a source.
func (c *Client) CountDIDs(ctx context.Context, subject, source string) (int64, error) {
	collection, path, _ := strings.Cut(source, ":")
	v := url.Values{"target": {subject}, "collection": {collection}, "path": {"." + strings.TrimPrefix(path, ".")}}
	var a wire.Total
	err := c.get(ctx, routes.LinksCountDistinctDIDs, v, &a)
	return a.Total, err
}

// SourceTotal counts the links to a subject from one source, and their accounts.
type SourceTotal struct {
	Source string
	Links  int64
	DIDs   int64
}

// Sources returns all sources that link to a subject, with their counts, in the order of their names.
func (c *Client) Sources(ctx context.Context, subject string) ([]SourceTotal, error) {
	var totals []SourceTotal
	for cursor, first := "", true; first || cursor != ""; first = false {
		v := url.Values{"target": {subject}}
		if cursor != "" {
			v.Set("cursor", cursor)
		}
		var a wire.BySource[wire.SourceTotals]
		err := c.get(ctx, routes.LinksAll, v, &a)
		if err != nil {
			return nil, err
		}
		for collection, paths := range a.Links {
			for path, n := range paths {
				source := collection + ":" + strings.TrimPrefix(path, ".")
				totals = append(totals, SourceTotal{source, n.Records, n.DistinctDIDs})
			}
		}
		cursor = cursorText(a.Cursor)
	}
	slices.SortFunc(totals, func(a, b SourceTotal) int { return strings.Compare(a.Source, b.Source) })
	return totals, nil
}

// ManyQuery selects other links of the records that link to a subject: those at PathToOther. For list items that link
// to a list, "subject" gives the accounts on the list.
type ManyQuery struct {
	Subject, Source string
	PathToOther     string   // without its leading dot, in the source's collection
	DIDs            []string // only records of these accounts
	Others          []string // only these other subjects
	Limit           int      // most items of a page; 0: the server's 100
}

// values returns the parameters of the query; did is the name of the filter by account.
func (q *ManyQuery) values(did, cursor string) url.Values {
	v := url.Values{"subject": {q.Subject}, "source": {q.Source}, "pathToOther": {q.PathToOther}, did: q.DIDs,
		"otherSubject": q.Others}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if cursor != "" {
		v.Set("cursor", cursor)
	}
	return v
}

// Other is a linking record, without a time, and one of its other links.
type Other struct {
	Record  Record
	Subject string
}

// ManyToManyPage returns a page of the linking records with their other links. Total is 0.
func (c *Client) ManyToManyPage(ctx context.Context, q ManyQuery, cursor string) (Page[Other], error) {
	var a wire.ManyToMany
	seq, err := c.getSeq(ctx, routes.GetManyToMany, q.values("linkDid", cursor), &a)
	page := Page[Other]{Cursor: cursorText(a.Cursor), Seq: seq}
	for _, item := range a.Items {
		page.Items = append(page.Items, Other{plainRecord(item.LinkRecord), item.OtherSubject})
	}
	return page, err
}

// ManyToMany iterates over all linking records with their other links.
func (c *Client) ManyToMany(ctx context.Context, q ManyQuery) iter.Seq2[Other, error] {
	return walk(func(cursor string) (Page[Other], error) { return c.ManyToManyPage(ctx, q, cursor) })
}

// OtherCount counts the linking records that also link to Subject, and their accounts.
type OtherCount struct {
	Subject string
	Records int64
	DIDs    int64
}

// ManyToManyCountsPage returns a page of the counts of ManyToMany by other subject. Total is 0.
func (c *Client) ManyToManyCountsPage(ctx context.Context, q ManyQuery, cursor string) (Page[OtherCount], error) {
	var a wire.ManyToManyCounts
	seq, err := c.getSeq(ctx, routes.GetManyToManyCounts, q.values("did", cursor), &a)
	page := Page[OtherCount]{Cursor: cursorText(a.Cursor), Seq: seq}
	for _, n := range a.Counts {
		page.Items = append(page.Items, OtherCount{n.Subject, n.Total, n.Distinct})
	}
	return page, err
}

// ManyToManyCounts iterates over the counts of ManyToMany by other subject.
func (c *Client) ManyToManyCounts(ctx context.Context, q ManyQuery) iter.Seq2[OtherCount, error] {
	return walk(func(cursor string) (Page[OtherCount], error) { return c.ManyToManyCountsPage(ctx, q, cursor) })
}

// Status is the status of a weft: its upstream, its progress and its faults.
type Status = wire.Status

// Status returns the status of a weft.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var a wire.Status
	err := c.get(ctx, routes.Status, nil, &a)
	return a, err
}
