package client

import (
	"context"
	"net/url"
	"strconv"
	"time"
)

// RecordLinks lists what a record links to: the way forward. Nothing for a record that links to nothing or isn't known.
func (c *Client) RecordLinks(ctx context.Context, did, collection, rkey string) ([]Pair, error) {
	var a struct{ Links []Pair }
	err := c.get(ctx, "dev.weft.links.getRecordLinks", url.Values{"did": {did}, "collection": {collection}, "rkey": {rkey}}, &a)
	return a.Links, err
}

// TimelineQuery asks how many links a subject got when. Without Since and Until it is all time.
type TimelineQuery struct {
	Subject      string
	Sources      []string // 1 to 10
	Since, Until time.Time
	Spans        int // at most, up to 200; 0: the server's 60
}

// Timeline counts links by time, in spans of one length.
type Timeline struct {
	From    time.Time     // when the first span begins; zero without links
	Span    time.Duration // how long each is
	Sources []SourceTimeline
}

// SourceTimeline is a timeline of one source.
type SourceTimeline struct {
	Source string  `json:"source"`
	Total  int64   `json:"total"`  // Older and Counts together
	Older  int64   `json:"older"`  // links of before the first span
	Counts []int64 `json:"counts"` // links in each span, the oldest first
}

// Timeline counts the links to a subject by time: what a chart is drawn from.
func (c *Client) Timeline(ctx context.Context, q TimelineQuery) (Timeline, error) {
	v := url.Values{"subject": {q.Subject}, "source": q.Sources}
	window(v, q.Since, q.Until, false, 0, "")
	if q.Spans > 0 {
		v.Set("spans", strconv.Itoa(q.Spans))
	}
	var a struct {
		From    *time.Time
		Seconds int64
		Sources []SourceTimeline
	}
	err := c.get(ctx, "dev.weft.links.getTimeline", v, &a)
	t := Timeline{Span: time.Duration(a.Seconds) * time.Second, Sources: a.Sources}
	if a.From != nil {
		t.From = *a.From
	}
	return t, err
}
