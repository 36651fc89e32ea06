package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/dbtest"
)

// index is a weft's HTTP API with the interface of the reference model. It relies only on the documentation of the API,
// and not on its code: cursors are opaque text.
type index struct{ base string }

var _ dbtest.Index = index{}

func (x index) get(ctx context.Context, path string, q url.Values, answer any) error {
	u := x.base + path + "?" + q.Encode()
	body, err := getContext(ctx, u)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("%s: %w", u, err)
	}
	return nil
}

const (
	xrpc = "/xrpc/blue.microcosm.links."
	own  = "/xrpc/dev.weft.links."
)

func subject(target string, source db.Source) url.Values {
	return url.Values{"subject": {target}, "source": {source.Collection + ":" + bare(source.Path)}}
}

// bare returns a path as XRPC takes it: without the leading dot of the older routes. A path that itself begins with a
// dot keeps it, because the API removes one; so does the path of a key without a name, because an empty path is
// refused.
func bare(path string) string {
	if path == "" || path[0] == '.' {
		return "." + path
	}
	return path
}

func (x index) CountLinks(ctx context.Context, target string, source db.Source) (int64, error) {
	var a struct{ Total int64 }
	err := x.get(ctx, xrpc+"getBacklinksCount", subject(target, source), &a)
	return a.Total, err
}

// CountDIDs queries an older route: XRPC has no method for it.
func (x index) CountDIDs(ctx context.Context, target string, source db.Source) (int64, error) {
	var a struct{ Total int64 }
	err := x.get(ctx, "/links/count/distinct-dids",
		url.Values{"target": {target}, "collection": {source.Collection}, "path": {"." + source.Path}}, &a)
	return a.Total, err
}

func (x index) Links(ctx context.Context, q db.ListQuery) (db.Page[db.Record], error) {
	v := pageOf(q)
	if q.Reverse {
		v.Set("reverse", "true")
	}
	v["did"] = q.DIDs
	var a struct {
		Total   int64
		Records []db.Record
		Cursor  *string
	}
	method := xrpc + "getBacklinks"
	if span(v, q.Since, q.Until) {
		method = own + "getBacklinks"
	}
	err := x.get(ctx, method, v, &a)
	return db.Page[db.Record]{Total: a.Total, Items: a.Records, Next: next(a.Cursor)}, err
}

func (x index) DIDs(ctx context.Context, q db.ListQuery) (db.Page[string], error) {
	var a struct {
		Total       int64
		LinkingDIDs []string `json:"linking_dids"`
		DIDs        []string
		Cursor      *string
	}
	v, method := pageOf(q), xrpc+"getBacklinkDids"
	if span(v, q.Since, q.Until) {
		method = own + "getBacklinkDids"
	}
	err := x.get(ctx, method, v, &a)
	return db.Page[string]{Total: a.Total, Items: append(a.LinkingDIDs, a.DIDs...), Next: next(a.Cursor)}, err
}

// span adds a span of time; false if it is empty.
func span(v url.Values, since, until int64) bool {
	for name, us := range map[string]int64{"since": since, "until": until} {
		if us != 0 {
			v.Set(name, time.UnixMicro(us).UTC().Format(time.RFC3339Nano))
		}
	}
	return since != 0 || until != 0
}

// Counts sends 300 pairs at a time: a body of long targets has at most 1 MiB.
func (x index) Counts(ctx context.Context, pairs []db.Pair, _ func() error) ([]db.PairCount, error) {
	type pair struct {
		Subject string `json:"subject"`
		Source  string `json:"source"`
	}
	var counts []db.PairCount
	for some := range slices.Chunk(pairs, 300) {
		var in struct {
			Pairs []pair `json:"pairs"`
		}
		for _, p := range some {
			in.Pairs = append(in.Pairs, pair{p.Target, p.Source.Collection + ":" + bare(p.Source.Path)})
		}
		body, err := post(ctx, x.base+own+"batchCounts", in)
		if err != nil {
			return nil, err
		}
		var a struct{ Counts []struct{ Links, DIDs int64 } }
		if err := json.Unmarshal(body, &a); err != nil {
			return nil, err
		}
		for _, c := range a.Counts {
			counts = append(counts, db.PairCount(c))
		}
	}
	return counts, nil
}

func (x index) AccountLinks(ctx context.Context, q db.AccountQuery) (db.Page[db.AccountLink], error) {
	if q.Sources != nil && len(q.Sources) == 0 {
		return db.Page[db.AccountLink]{}, nil // an HTTP query cannot select nothing
	}
	v := url.Values{"did": {q.DID}, "limit": {strconv.Itoa(q.Limit)}}
	for _, s := range q.Sources {
		v.Add("source", s.Collection+":"+bare(s.Path))
	}
	if q.After != nil {
		v.Set("cursor", string(q.After))
	}
	span(v, q.Since, q.Until)
	var a struct {
		Links []struct {
			db.Record
			Time            time.Time
			Source, Subject string
		}
		Cursor *string
	}
	err := x.get(ctx, own+"getAccountBacklinks", v, &a)
	page := db.Page[db.AccountLink]{Next: next(a.Cursor)}
	for _, l := range a.Links {
		page.Items = append(page.Items, db.AccountLink{Record: l.Record, Path: sourceOf(l.Source).Path, Target: l.Subject,
			TimeUS: l.Time.UnixMicro()})
	}
	return page, err
}

func (x index) AccountSources(ctx context.Context, q db.SourcesQuery) (db.Page[db.AccountCount], error) {
	var a struct {
		Total   int64
		Sources []struct {
			Source string
			Links  int64
		}
		Cursor *string
	}
	err := x.get(ctx, own+"getAccountCounts", sourcesForm("did", q), &a)
	page := db.Page[db.AccountCount]{Total: a.Total, Next: next(a.Cursor)}
	for _, s := range a.Sources {
		page.Items = append(page.Items, db.AccountCount{Source: sourceOf(s.Source), Links: s.Links})
	}
	return page, err
}

func (x index) Timeline(ctx context.Context, q db.TimelineQuery) (db.Timeline, error) {
	v := url.Values{"subject": {q.Target}, "spans": {strconv.Itoa(q.Most)}}
	for _, s := range q.Sources {
		v.Add("source", s.Collection+":"+bare(s.Path))
	}
	span(v, q.Since, q.Until)
	var a struct {
		From    time.Time
		Seconds int64
		Sources []db.TimelineList
	}
	err := x.get(ctx, own+"getTimeline", v, &a)
	t := db.Timeline{StepUS: a.Seconds * 1_000_000, Lists: a.Sources}
	if !a.From.IsZero() {
		t.FromUS = a.From.UnixMicro()
	}
	return t, err
}

func (x index) RecordLinks(ctx context.Context, r db.Record) ([]db.Link, error) {
	var a struct {
		Links []struct{ Source, Subject string }
	}
	err := x.get(ctx, own+"getRecordLinks", url.Values{"did": {r.DID}, "collection": {r.Collection}, "rkey": {r.Rkey}}, &a)
	var links []db.Link
	for _, l := range a.Links {
		links = append(links, db.Link{Path: sourceOf(l.Source).Path, Target: l.Subject})
	}
	return links, err
}

// sourceOf parses a source in the API's spelling.
func sourceOf(text string) db.Source {
	collection, path, _ := strings.Cut(text, ":")
	return db.Source{Collection: collection, Path: strings.TrimPrefix(path, ".")}
}

func (x index) Sources(ctx context.Context, q db.SourcesQuery) (db.Page[db.SourceCount], error) {
	var a struct {
		Links map[string]map[string]struct {
			Records      int64
			DistinctDIDs int64 `json:"distinct_dids"`
		}
		Cursor *string
	}
	err := x.get(ctx, "/links/all", sourcesForm("target", q), &a)
	page := db.Page[db.SourceCount]{Next: next(a.Cursor)}
	for collection, paths := range a.Links {
		for path, c := range paths {
			path, ok := strings.CutPrefix(path, ".")
			if !ok {
				return page, fmt.Errorf("/links/all of %s: the path %q has no leading dot", q.Of, path)
			}
			page.Items = append(page.Items, db.SourceCount{
				Source: db.Source{Collection: collection, Path: path}, Links: c.Records, DIDs: c.DistinctDIDs,
			})
		}
	}
	return page, err
}

func sourcesForm(of string, q db.SourcesQuery) url.Values {
	v := url.Values{of: {q.Of}, "limit": {strconv.Itoa(q.Limit)}}
	if q.After != nil {
		v.Set("cursor", string(q.After))
	}
	return v
}

func (x index) ManyToMany(ctx context.Context, q db.ManyQuery) (db.Page[db.ManyItem], error) {
	v := pageOf(q.ListQuery)
	v.Set("pathToOther", bare(q.Other))
	v["linkDid"], v["otherSubject"] = q.DIDs, q.Subjects
	var a struct {
		Items []struct {
			LinkRecord   db.Record
			OtherSubject string
		}
		Cursor *string
	}
	err := x.get(ctx, xrpc+"getManyToMany", v, &a)
	page := db.Page[db.ManyItem]{Next: next(a.Cursor)}
	for _, it := range a.Items {
		page.Items = append(page.Items, db.ManyItem{Record: it.LinkRecord, Other: it.OtherSubject})
	}
	return page, err
}

func (x index) ManyToManyCounts(ctx context.Context, q db.ManyQuery) (db.Page[db.OtherCount], error) {
	v := pageOf(q.ListQuery)
	v.Set("pathToOther", bare(q.Other))
	v["did"], v["otherSubject"] = q.DIDs, q.Subjects
	var a struct {
		Counts []struct {
			Subject         string
			Total, Distinct int64
		} `json:"counts_by_other_subject"`
		Cursor *string
	}
	err := x.get(ctx, xrpc+"getManyToManyCounts", v, &a)
	page := db.Page[db.OtherCount]{Next: next(a.Cursor)}
	for _, c := range a.Counts {
		page.Items = append(page.Items, db.OtherCount{Other: c.Subject, Links: c.Total, DIDs: c.Distinct})
	}
	return page, err
}

// Stats returns the totals that a comparison needs.
func (x index) Stats(ctx context.Context) (db.Stats, error) {
	var a struct {
		Stats struct {
			Links   int64
			Records int64 `json:"linking_records"`
		}
	}
	err := x.get(ctx, "/", nil, &a)
	return db.Stats{Links: a.Stats.Links, Records: a.Stats.Records}, err
}

func pageOf(q db.ListQuery) url.Values {
	v := subject(q.Target, q.Source)
	v.Set("limit", strconv.Itoa(q.Limit))
	if q.After != nil {
		v.Set("cursor", string(q.After))
	}
	return v
}

// next converts a cursor to a position.
func next(cursor *string) []byte {
	if cursor == nil {
		return nil
	}
	return []byte(*cursor)
}
