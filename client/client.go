// Package client queries the links in a weft and follows its stream. It imports only the standard library.
// NewConstellation returns a client of a Constellation.
//
//	c := client.New("https://weft.example")
//	n, err := c.Count(ctx, "at://did:plc:…/app.bsky.feed.post/3l…", "app.bsky.feed.like:subject.uri")
//	follows := client.Query{Subject: "did:plc:…", Source: "app.bsky.graph.follow:subject"}
//	for r, err := range c.Backlinks(ctx, follows) { … }
//	for e, err := range c.Events(ctx, client.Filter{Sources: []string{"app.bsky.graph.follow:subject"}}, 0) { … }
package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
)

// Client is a client of one server. Change its fields before the first call.
type Client struct {
	HTTP      *http.Client // for queries; the stream uses only its Transport
	UserAgent string

	base            string
	isConstellation bool // the server has only Constellation's methods
}

// New returns a client of the server at a URL without a path.
func New(base string) *Client {
	return &Client{HTTP: &http.Client{Timeout: 30 * time.Second}, UserAgent: "weft-client",
		base: strings.TrimSuffix(base, "/")}
}

// Error is a failure that the server returns.
type Error struct {
	Status  int    // of HTTP
	Name    string // for example InvalidRequest
	Message string
}

func (e *Error) Error() string {
	return fmt.Sprintf("weft: %s (%d): %s", e.Name, e.Status, e.Message)
}

// Record is a linking record.
type Record struct {
	DID        string
	Collection string
	Rkey       string
	Time       time.Time
	CID        string          // with Hydrate, if the server stores it
	Value      json.RawMessage // with Hydrate, if the server stores it
}

// URI returns the record's at-uri.
func (r Record) URI() string { return "at://" + r.DID + "/" + r.Collection + "/" + r.Rkey }

// Link is a link to an account or to one of its records.
type Link struct {
	Record
	Source  string
	Subject string
}

func newRecord(r wire.Record, at string, c wire.Content) (Record, error) {
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return Record{}, fmt.Errorf("weft: the time of a record: %w", err)
	}
	return Record{DID: r.DID, Collection: r.Collection, Rkey: r.Rkey, Time: t, CID: c.CID, Value: c.Value}, nil
}

// Query selects the links to a subject from a source. The zero values of the other fields don't filter.
type Query struct {
	Subject, Source string
	DIDs            []string // only links by these accounts
	Since, Until    time.Time
	Reverse         bool // oldest first
	Hydrate         bool // adds the records' content; a page then has at most 100 records
	Limit           int  // most items of a page; 0: the server's 100
}

// Page is a page of a list.
type Page[T any] struct {
	Total  int64
	Items  []T
	Cursor string // cursor of the next page; empty on the last page
	Seq    uint64 // log row of the page: the cursor of Events that continues the page; 0: unknown
}

// Count counts the links to a subject from a source.
func (c *Client) Count(ctx context.Context, subject, source string) (int64, error) {
	var a wire.Total
	err := c.get(ctx, routes.GetBacklinksCount, url.Values{"subject": {subject}, "source": {source}}, &a)
	return a.Total, err
}

// Pair names the links to Subject from Source.
type Pair = wire.Pair

// Counted is a Pair with the number of its links and of their accounts.
type Counted = wire.PairCount

// BacklinksPage returns a page of the linking records, newest first. The cursor of the first page is empty.
func (c *Client) BacklinksPage(ctx context.Context, q Query, cursor string) (Page[Record], error) {
	if c.isConstellation {
		return c.plainBacklinks(ctx, q, cursor)
	}
	v := url.Values{"subject": {q.Subject}, "source": {q.Source}, "did": q.DIDs}
	window(v, q.Since, q.Until, q.Hydrate, q.Limit, cursor)
	if q.Reverse {
		v.Set("reverse", "true")
	}
	var a wire.TimedBacklinks
	seq, err := c.getSeq(ctx, routes.WeftGetBacklinks, v, &a)
	if err != nil {
		return Page[Record]{}, err
	}
	page := Page[Record]{Total: a.Total, Cursor: cursorText(a.Cursor), Seq: seq}
	for _, r := range a.Records {
		record, err := newRecord(r.Record, r.Time, r.Content)
		if err != nil {
			return Page[Record]{}, err
		}
		page.Items = append(page.Items, record)
	}
	return page, nil
}

// Backlinks iterates over all linking records, newest first, page by page.
func (c *Client) Backlinks(ctx context.Context, q Query) iter.Seq2[Record, error] {
	return walk(func(cursor string) (Page[Record], error) { return c.BacklinksPage(ctx, q, cursor) })
}

// DIDsPage returns a page of the linking accounts. It ignores DIDs, Reverse and Hydrate of the query.
func (c *Client) DIDsPage(ctx context.Context, q Query, cursor string) (Page[string], error) {
	if c.isConstellation {
		return c.plainDIDs(ctx, q, cursor)
	}
	v := url.Values{"subject": {q.Subject}, "source": {q.Source}}
	window(v, q.Since, q.Until, false, q.Limit, cursor)
	var a wire.DIDs
	seq, err := c.getSeq(ctx, routes.WeftGetBacklinkDIDs, v, &a)
	return Page[string]{a.Total, a.DIDs, cursorText(a.Cursor), seq}, err
}

// DIDs iterates over all linking accounts, in the order of the first link of each, newest first.
func (c *Client) DIDs(ctx context.Context, q Query) iter.Seq2[string, error] {
	return walk(func(cursor string) (Page[string], error) { return c.DIDsPage(ctx, q, cursor) })
}

// AccountQuery selects the links to an account and to its records.
type AccountQuery struct {
	DID          string
	Sources      []string // only links from these sources
	Since, Until time.Time
	Hydrate      bool
	Limit        int
}

// AccountLinksPage returns a page of the links to an account, newest first. Total is 0; AccountCounts returns the
// counts.
func (c *Client) AccountLinksPage(ctx context.Context, q AccountQuery, cursor string) (Page[Link], error) {
	v := url.Values{"did": {q.DID}, "source": q.Sources}
	window(v, q.Since, q.Until, q.Hydrate, q.Limit, cursor)
	var a wire.AccountLinks
	seq, err := c.getSeq(ctx, routes.GetAccountBacklinks, v, &a)
	if err != nil {
		return Page[Link]{}, err
	}
	page := Page[Link]{Cursor: cursorText(a.Cursor), Seq: seq}
	for _, l := range a.Links {
		record, err := newRecord(l.Record, l.Time, l.Content)
		if err != nil {
			return Page[Link]{}, err
		}
		page.Items = append(page.Items, Link{record, l.Source, l.Subject})
	}
	return page, nil
}

// AccountLinks iterates over all links to an account, newest first.
func (c *Client) AccountLinks(ctx context.Context, q AccountQuery) iter.Seq2[Link, error] {
	return walk(func(cursor string) (Page[Link], error) { return c.AccountLinksPage(ctx, q, cursor) })
}

// AccountCounts returns the number of links to an account by source. It reads all pages.
func (c *Client) AccountCounts(ctx context.Context, did string) (map[string]int64, error) {
	counts := map[string]int64{}
	page := func(cursor string) (Page[wire.SourceCount], error) {
		v := url.Values{"did": {did}}
		if cursor != "" {
			v.Set("cursor", cursor)
		}
		var a wire.AccountCounts
		err := c.get(ctx, routes.GetAccountCounts, v, &a)
		return Page[wire.SourceCount]{Total: a.Total, Items: a.Sources, Cursor: cursorText(a.Cursor)}, err
	}
	for one, err := range walk(page) {
		if err != nil {
			return counts, err
		}
		counts[one.Source] = one.Links
	}
	return counts, nil
}

// window adds the parameters of all lists.
func window(v url.Values, since, until time.Time, hydrate bool, limit int, cursor string) {
	if !since.IsZero() {
		v.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	if !until.IsZero() {
		v.Set("until", until.UTC().Format(time.RFC3339Nano))
	}
	if hydrate {
		v.Set("hydrate", "true")
	}
	if limit > 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	if cursor != "" {
		v.Set("cursor", cursor)
	}
}

// cursorText returns "" for a null cursor.
func cursorText(cursor *string) string {
	if cursor == nil {
		return ""
	}
	return *cursor
}

// walk iterates over all pages. An error ends it.
func walk[T any](page func(cursor string) (Page[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for cursor := ""; ; {
			p, err := page(cursor)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range p.Items {
				if !yield(item, nil) {
					return
				}
			}
			cursor = p.Cursor
			if cursor == "" {
				return
			}
		}
	}
}

func (c *Client) get(ctx context.Context, route *routes.Route, q url.Values, into any) error {
	_, err := c.getSeq(ctx, route, q, into)
	return err
}

// getSeq is get, but also returns Page.Seq of the answer.
func (c *Client) getSeq(ctx context.Context, route *routes.Route, q url.Values, into any) (seq uint64, err error) {
	header, err := c.do(ctx, http.MethodGet, route.Path+"?"+q.Encode(), nil, into)
	if err != nil {
		return 0, err
	}
	seq, err = strconv.ParseUint(header.Get("Weft-Seq"), 10, 64)
	if err != nil {
		return 0, nil // Constellation doesn't send it
	}
	return seq, nil
}

func (c *Client) do(ctx context.Context, method, path string, body io.Reader, into any) (http.Header, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("weft: %w", err)
	}
	r.Header.Set("User-Agent", c.UserAgent)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := c.HTTP.Do(r)
	if err != nil {
		return nil, fmt.Errorf("weft: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, refusal(res)
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return nil, fmt.Errorf("weft: %s: %w", path, err)
	}
	return res.Header, nil
}

// refusal returns the failure in an answer.
func refusal(res *http.Response) error {
	f := wire.Failure{Name: http.StatusText(res.StatusCode)}
	data, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if json.Unmarshal(data, &f) != nil {
		f.Message = string(data)
	}
	return &Error{Status: res.StatusCode, Name: f.Name, Message: f.Message}
}
