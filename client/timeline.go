package client

import (
	"context"
	"net/url"
	"strconv"
	"time"
)

// Timeline is links by time. All its sources have the same spans.
type Timeline struct {
	From    time.Time     // when the first span begins; the zero Time without links
	Span    time.Duration // how long each is
	Sources []TimelineSource
}

// TimelineSource is the links from one source.
type TimelineSource struct {
	Source string  `json:"source"`
	Total  int64   `json:"total"`
	Older  int64   `json:"older"` // of them, those before the first span
	Counts []int64 `json:"counts"`
}

// Timeline counts the links to a subject from up to ten sources by time, in spans of one length, 60 at most when spans is 0.
func (c *Client) Timeline(ctx context.Context, subject string, spans int, sources ...string) (Timeline, error) {
	v := url.Values{"subject": {subject}, "source": sources}
	if spans > 0 {
		v.Set("spans", strconv.Itoa(spans))
	}
	var a struct {
		From    *time.Time
		Seconds int64
		Sources []TimelineSource
	}
	err := c.get(ctx, "dev.weft.links.getTimeline", v, &a)
	t := Timeline{Span: time.Duration(a.Seconds) * time.Second, Sources: a.Sources}
	if a.From != nil {
		t.From = *a.From
	}
	return t, err
}

// Forward is a link that a record makes.
type Forward struct {
	Source  string `json:"source"`
	Subject string `json:"subject"`
}

// RecordLinks gives what a record links to.
func (c *Client) RecordLinks(ctx context.Context, did, collection, rkey string) ([]Forward, error) {
	var a struct{ Links []Forward }
	err := c.get(ctx, "dev.weft.links.getRecordLinks", url.Values{"did": {did}, "collection": {collection}, "rkey": {rkey}}, &a)
	return a.Links, err
}
