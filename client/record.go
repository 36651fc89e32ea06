package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
)

// RecordLinks returns the links of a record; none for an unknown record.
func (c *Client) RecordLinks(ctx context.Context, did, collection, rkey string) ([]Pair, error) {
	var a wire.RecordLinks
	err := c.get(ctx, routes.GetRecordLinks, url.Values{"did": {did}, "collection": {collection}, "rkey": {rkey}}, &a)
	return pairs(a.Links), err
}

// HydratedRecord is the links of a record and its content.
type HydratedRecord struct {
	Links []Pair          // none for an unknown record, and for a record of an inactive account
	CID   string          // if the server stores the content
	Value json.RawMessage // if the server stores the content
}

// HydratedRecord returns the links of a record with its content.
func (c *Client) HydratedRecord(ctx context.Context, did, collection, rkey string) (HydratedRecord, error) {
	var a wire.RecordLinks
	v := url.Values{"did": {did}, "collection": {collection}, "rkey": {rkey}, "hydrate": {"true"}}
	err := c.get(ctx, routes.GetRecordLinks, v, &a)
	return HydratedRecord{Links: pairs(a.Links), CID: a.CID, Value: a.Value}, err
}

// TimelineQuery selects the links of a timeline; without Since and Until, all links.
type TimelineQuery struct {
	Subject      string
	Sources      []string // 1 to 10
	Since, Until time.Time
	Spans        int // most spans, up to 200; 0: the server's 60
}

// Timeline counts links by time, in spans of equal length.
type Timeline struct {
	From    time.Time     // start of the first span; zero without links
	Span    time.Duration // length of each span
	Sources []SourceTimeline
}

// SourceTimeline is the timeline of one source. Counts has the links of each span, oldest first, Older those before the
// first span, Total the sum of both.
type SourceTimeline = wire.SourceTimeline

// Timeline counts the links to a subject by time, for charts.
func (c *Client) Timeline(ctx context.Context, q TimelineQuery) (Timeline, error) {
	v := url.Values{"subject": {q.Subject}, "source": q.Sources}
	window(v, q.Since, q.Until, false, 0, "")
	if q.Spans > 0 {
		v.Set("spans", strconv.Itoa(q.Spans))
	}
	var a wire.Timeline
	if err := c.get(ctx, routes.GetTimeline, v, &a); err != nil {
		return Timeline{}, err
	}
	t := Timeline{Span: time.Duration(a.Seconds) * time.Second, Sources: a.Sources}
	if a.From == nil {
		return t, nil
	}
	from, err := time.Parse(time.RFC3339Nano, *a.From)
	if err != nil {
		return Timeline{}, fmt.Errorf("weft: the start of a timeline: %w", err)
	}
	t.From = from
	return t, nil
}

// pairs converts links; it returns nil for none.
func pairs(links []wire.Link) []Pair {
	var all []Pair
	for _, l := range links {
		all = append(all, Pair{Subject: l.Subject, Source: l.Source})
	}
	return all
}
