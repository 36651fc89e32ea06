package client

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
)

// TopQuery selects the subjects with the most links. The zero value selects the source with the most links and 24
// hours.
type TopQuery struct {
	Source  string // empty: the one with the most links
	Hours   int    // up to 24; 0: 24
	Limit   int    // most subjects, up to 50; 0: the server's 20
	Hydrate bool   // adds the content of subjects that are records
}

// Top lists the subjects with the most links from a source.
type Top struct {
	Since    time.Time // links at or after this time are counted
	Until    time.Time // time up to which the server has counted links to choose the subjects
	Source   string    // empty: there are no links
	Subjects []SubjectCount
	Bound    int64    // most links of a subject that was not counted
	Sources  []string // sources with links in this time, those with the most first
}

// SubjectCount counts the links to a subject. CID and Value are set with Hydrate, if the server stores them.
type SubjectCount = wire.SubjectCount

// Top returns the subjects with the most links of the last hours.
func (c *Client) Top(ctx context.Context, q TopQuery) (Top, error) {
	v := url.Values{}
	if q.Source != "" {
		v.Set("source", q.Source)
	}
	if q.Hours > 0 {
		v.Set("hours", strconv.Itoa(q.Hours))
	}
	if q.Hydrate {
		v.Set("hydrate", "true")
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var a wire.Top
	if err := c.get(ctx, routes.GetTop, v, &a); err != nil {
		return Top{}, err
	}
	t := Top{Source: a.Source, Subjects: a.Subjects, Bound: a.Bound, Sources: a.Sources}
	var err error
	t.Since, err = time.Parse(time.RFC3339Nano, a.Since)
	if err == nil {
		t.Until, err = time.Parse(time.RFC3339Nano, a.Until)
	}
	if err != nil {
		return Top{}, fmt.Errorf("weft: getTop has an invalid time: %w", err)
	}
	return t, nil
}
