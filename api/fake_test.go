package api

import (
	"cmp"
	"context"
	"encoding/binary"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/dbtest"
)

// The encoder of answers is set up by its first use, with a channel. Set up in a bubble of testing/synctest, no other
// test could use it.
var _ = zstdEncoder.EncodeAll(nil, nil)

const (
	alice = "did:plc:alice"
	bob   = "did:plc:bob"
	carol = "did:plc:carol"
	dave  = "did:plc:dave"

	post = "at://did:plc:alice/app.bsky.feed.post/3kpost"
	list = "at://did:plc:alice/app.bsky.graph.list/3klist"
	page = "https://example.com/a?b=1&c=2"

	like     = "app.bsky.feed.like:subject.uri"
	listitem = "app.bsky.graph.listitem:list"
)

// fake is an index as a list of links, oldest first. Its positions are offsets, which is enough for an index that
// doesn't change.
type fake []fakeLink

type fakeLink struct {
	db.Record
	path, target string
}

// indexed is the index of most tests.
var indexed = fake{
	{db.Record{DID: bob, Collection: "app.bsky.feed.like", Rkey: "3kb1"}, "subject.uri", post},
	{db.Record{DID: carol, Collection: "app.bsky.feed.like", Rkey: "3kc1"}, "subject.uri", post},
	{db.Record{DID: bob, Collection: "app.bsky.feed.like", Rkey: "3kb2"}, "subject.uri", post},
	{db.Record{DID: dave, Collection: "app.bsky.feed.post", Rkey: "3kd1"}, "reply.parent.uri", post},
	{db.Record{DID: alice, Collection: "app.bsky.graph.listitem", Rkey: "3ki1"}, "list", list},
	{db.Record{DID: alice, Collection: "app.bsky.graph.listitem", Rkey: "3ki1"}, "subject", bob},
	{db.Record{DID: alice, Collection: "app.bsky.graph.listitem", Rkey: "3ki2"}, "list", list},
	{db.Record{DID: alice, Collection: "app.bsky.graph.listitem", Rkey: "3ki2"}, "subject", carol},
	{db.Record{DID: dave, Collection: "app.bsky.graph.listitem", Rkey: "3ki3"}, "list", list},
	{db.Record{DID: dave, Collection: "app.bsky.graph.listitem", Rkey: "3ki3"}, "subject", carol},
	{db.Record{DID: bob, Collection: "app.bsky.feed.post", Rkey: "3kb3"}, "embed.external.uri", page},
	{db.Record{DID: carol, Collection: "app.bsky.feed.post", Rkey: "3kc3"},
		"facets[].features[app.bsky.richtext.facet#link].uri", page},
	{db.Record{DID: dave, Collection: "app.bsky.feed.post", Rkey: "3kd3"},
		"embed.external.associatedRefs[com.atproto.repo.strongRef].uri", post},
}

func (f fake) find(q db.ListQuery) []fakeLink {
	var found []fakeLink
	for i, l := range slices.Backward(f) {
		if l.target == q.Target && l.Collection == q.Source.Collection && l.path == q.Source.Path &&
			(q.DIDs == nil || slices.Contains(q.DIDs, l.DID)) && within(i, q.Since, q.Until) {
			found = append(found, l)
		}
	}
	if q.Reverse {
		slices.Reverse(found)
	}
	return found
}

// timeOf returns the time of the i-th link: one second after the link before.
func timeOf(i int) int64 { return 1_700_000_000_000_000 + int64(i)*1_000_000 }

func within(i int, since, until int64) bool {
	return timeOf(i) >= since && (until == 0 || timeOf(i) < until)
}

func cut[T any](items []T, q db.ListQuery) (db.Page[T], error) {
	start := 0
	if q.After != nil {
		if len(q.After) != 4 || int(binary.BigEndian.Uint32(q.After)) > len(items) {
			return db.Page[T]{}, db.ErrBadCursor
		}
		start = int(binary.BigEndian.Uint32(q.After))
	}
	p := db.Page[T]{Total: int64(len(items)), Items: items[start:]}
	if len(p.Items) > q.Limit {
		p.Items = p.Items[:q.Limit]
		p.Next = binary.BigEndian.AppendUint32(nil, uint32(start+q.Limit))
	}
	return p, nil
}

func (f fake) Links(_ context.Context, q db.ListQuery) (db.Page[db.Record], error) {
	p, err := cut(each(f.find(q), func(l fakeLink) db.Record { return l.Record }), q)
	p.Position = func(i int) []byte { return position(q, i) }
	for _, r := range p.Items {
		p.Times = append(p.Times, timeOf(slices.IndexFunc(f, func(l fakeLink) bool {
			return l.Record == r &&
				l.target == q.Target
		})))
	}
	return p, err
}

func (f fake) Counts(ctx context.Context, pairs []db.Pair, _ func() error) ([]db.PairCount, error) {
	counts := make([]db.PairCount, len(pairs))
	for i, p := range pairs {
		counts[i].Links, _ = f.CountLinks(ctx, p.Target, p.Source)
		counts[i].DIDs, _ = f.CountDIDs(ctx, p.Target, p.Source)
	}
	return counts, nil
}

func (f fake) AccountLinks(_ context.Context, q db.AccountQuery) (db.Page[db.AccountLink], error) {
	var found []db.AccountLink
	for i, l := range slices.Backward(f) {
		src := db.Source{Collection: l.Collection, Path: l.path}
		if dbtest.Account(l.target) == q.DID && (q.Sources == nil || slices.Contains(q.Sources, src)) &&
			within(i, q.Since, q.Until) {
			found = append(found, db.AccountLink{Record: l.Record, Path: l.path, Target: l.target, TimeUS: timeOf(i)})
		}
	}
	page, err := cut(found, db.ListQuery{Limit: q.Limit, After: q.After})
	page.Position = func(i int) []byte { return position(db.ListQuery{After: q.After}, i) }
	return page, err
}

func (f fake) fed(q db.FeedQuery) []db.AccountLink {
	found := []db.AccountLink{}
	for i, l := range slices.Backward(f) {
		src := db.Source{Collection: l.Collection, Path: l.path}
		is := q.Target == l.target || q.DID != "" && dbtest.Account(l.target) == q.DID ||
			slices.ContainsFunc(q.Prefixes, func(p string) bool { return strings.HasPrefix(l.target, p) })
		if is && (q.Sources == nil || slices.Contains(q.Sources, src)) {
			found = append(found, db.AccountLink{Record: l.Record, Path: l.path, Target: l.target, TimeUS: timeOf(i)})
		}
	}
	return found
}

func (f fake) Feed(_ context.Context, q db.FeedQuery) ([]db.AccountLink, error) {
	found := f.fed(q)
	return found[:min(len(found), q.Limit)], nil
}

func (f fake) FeedTotal(_ context.Context, q db.FeedQuery) (int64, error) {
	return int64(len(f.fed(q))), nil
}

// position returns the position after item i of a page.
func position(q db.ListQuery, i int) []byte {
	start := uint32(0)
	if q.After != nil {
		start = binary.BigEndian.Uint32(q.After)
	}
	return binary.BigEndian.AppendUint32(nil, start+uint32(i)+1)
}

func (f fake) AccountTotal(ctx context.Context, did string) (int64, error) {
	p, err := f.AccountSources(ctx, db.SourcesQuery{Of: did, Limit: 1})
	return p.Total, err
}

func (f fake) AccountSources(_ context.Context, q db.SourcesQuery) (db.Page[db.AccountCount], error) {
	var counts []db.AccountCount
	for _, l := range f {
		src := db.Source{Collection: l.Collection, Path: l.path}
		if dbtest.Account(l.target) != q.Of {
			continue
		}
		i := slices.IndexFunc(counts, func(c db.AccountCount) bool { return c.Source == src })
		if i < 0 {
			i, counts = len(counts), append(counts, db.AccountCount{Source: src})
		}
		counts[i].Links++
	}
	page, err := cut(counts, db.ListQuery{Limit: q.Limit, After: q.After})
	page.Total = 0
	for _, c := range counts {
		page.Total += c.Links
	}
	return page, err
}

// Timeline returns spans of one second from the first link on, because links are a second apart.
func (f fake) Timeline(_ context.Context, q db.TimelineQuery) (db.Timeline, error) {
	t := db.Timeline{Lists: make([]db.TimelineList, len(q.Sources))}
	for i, src := range q.Sources {
		for _, l := range slices.Backward(f.find(db.ListQuery{Target: q.Target, Source: src, Since: q.Since,
			Until: q.Until})) {
			t.FromUS, t.StepUS = timeOf(0), 1_000_000
			at := slices.Index(f, l)
			for len(t.Lists[i].Counts) <= at {
				t.Lists[i].Counts = append(t.Lists[i].Counts, 0)
			}
			t.Lists[i].Counts[at]++
			t.Lists[i].Total++
		}
	}
	return t, nil
}

func (f fake) CountsSince(_ context.Context, pairs []db.Pair, since int64) ([]int64, error) {
	counts := make([]int64, len(pairs))
	for i, p := range pairs {
		counts[i] = int64(len(f.find(db.ListQuery{Target: p.Target, Source: p.Source, Since: since})))
	}
	return counts, nil
}

func (fake) LogAge(context.Context, uint64) (time.Duration, error) { return 0, nil }

func (f fake) RecordLinks(_ context.Context, r db.Record) ([]db.Link, error) {
	var links []db.Link
	for _, l := range f {
		if l.Record == r {
			links = append(links, db.Link{Path: l.path, Target: l.target})
		}
	}
	return links, nil
}

func (f fake) DIDs(_ context.Context, q db.ListQuery) (db.Page[string], error) {
	q.Reverse = true
	var dids []string
	for _, l := range f.find(q) {
		if !slices.Contains(dids, l.DID) {
			dids = append(dids, l.DID)
		}
	}
	slices.Reverse(dids)
	return cut(dids, q)
}

func (f fake) CountLinks(_ context.Context, target string, src db.Source) (int64, error) {
	return int64(len(f.find(db.ListQuery{Target: target, Source: src}))), nil
}

func (f fake) CountDIDs(ctx context.Context, target string, src db.Source) (int64, error) {
	p, err := f.DIDs(ctx, db.ListQuery{Target: target, Source: src, Limit: len(f)})
	return p.Total, err
}

func (f fake) Sources(ctx context.Context, q db.SourcesQuery) (db.Page[db.SourceCount], error) {
	target := q.Of
	// A source without remaining links.
	counts := []db.SourceCount{{Source: db.Source{Collection: "app.bsky.feed.repost", Path: "subject.uri"}}}
	for _, l := range f {
		src := db.Source{Collection: l.Collection, Path: l.path}
		if l.target != target || slices.ContainsFunc(counts, func(c db.SourceCount) bool { return c.Source == src }) {
			continue
		}
		dids, _ := f.CountDIDs(ctx, target, src)
		counts = append(counts, db.SourceCount{Source: src, Links: int64(len(f.find(db.ListQuery{Target: target,
			Source: src}))), DIDs: dids})
	}
	return cut(counts, db.ListQuery{Limit: q.Limit, After: q.After})
}

func (f fake) many(q db.ManyQuery) []db.ManyItem {
	var items []db.ManyItem
	for _, l := range f.find(q.ListQuery) {
		for _, o := range f {
			if o.Record == l.Record && o.path == q.Other && (q.Subjects == nil || slices.Contains(q.Subjects, o.target)) {
				items = append(items, db.ManyItem{Record: o.Record, Other: o.target})
			}
		}
	}
	return items
}

func (f fake) ManyToMany(_ context.Context, q db.ManyQuery) (db.Page[db.ManyItem], error) {
	return cut(f.many(q), q.ListQuery)
}

func (f fake) ManyToManyCounts(_ context.Context, q db.ManyQuery) (db.Page[db.OtherCount], error) {
	seen := make(map[string]map[string]bool)
	links := make(map[string]int64)
	for _, i := range f.many(q) {
		if seen[i.Other] == nil {
			seen[i.Other] = make(map[string]bool)
		}
		seen[i.Other][i.Record.DID] = true
		links[i.Other]++
	}
	var counts []db.OtherCount
	for other, n := range links {
		counts = append(counts, db.OtherCount{Other: other, Links: n, DIDs: int64(len(seen[other]))})
	}
	slices.SortFunc(counts, func(a, b db.OtherCount) int { return cmp.Compare(a.Other, b.Other) })
	return cut(counts, q.ListQuery)
}

// Bodies returns bodies of bob's records only; each names its author.
func (f fake) Bodies(_ context.Context, records []db.Record) ([]db.Body, error) {
	bodies := make([]db.Body, len(records))
	for i, r := range records {
		if r.DID == bob {
			bodies[i] = db.Body{CID: "bafyreib", CBOR: []byte("\xa1\x62by\x63bob")}
		}
	}
	return bodies, nil
}

// The log is empty.
func (fake) Seq() uint64                                  { return 0 }
func (fake) Commits() <-chan struct{}                     { return nil }
func (fake) SeqAt(context.Context, int64) (uint64, error) { return 0, nil }
func (fake) Log(context.Context, uint64, int) ([]db.LogEntry, uint64, error) {
	return nil, 0, nil
}
func (fake) LogTime(context.Context, uint64, int) (int64, uint64, error) { return 0, 0, nil }
func (f fake) LogLinks(ctx context.Context, after uint64, limit int) ([]db.LogEntry, uint64, error) {
	return f.Log(ctx, after, limit)
}

func (f fake) Stats(context.Context) (db.Stats, error) {
	if f == nil {
		return db.Stats{}, nil
	}
	return db.Stats{Actors: 4, Targets: 5, Records: 10, Links: int64(len(f)), StartedUS: 1_700_000_000_000_000, Gaps: 1},
		nil
}

func (f fake) Space(context.Context) (db.Space, error) {
	if f == nil {
		return db.Space{Database: 4096}, nil
	}
	return db.Space{Database: 1000, WAL: 300, Segments: 600,
		Levels:  []db.Level{{Files: 1, Links: 3, Bytes: 200}, {Files: 1, Links: 10, Bytes: 400}},
		Written: db.Written{WAL: 400, Checkpoint: 300, Sealed: 200, Compacted: 400}, LogOldest: 1, LogNewest: 20, Unsealed: 7,
		Free: 1 << 30, Total: 2 << 30}, nil
}

func (f fake) Gaps(context.Context) ([]db.Gap, error) {
	if f == nil {
		return nil, nil
	}
	return []db.Gap{{Host: "upstream.example", From: 7, To: 9, Why: "a hole", State: "open",
		FoundUS: 1_700_000_000_000_000}}, nil
}

// refuses is a store that refuses every position.
type refuses struct{ fake }

func (refuses) Links(context.Context, db.ListQuery) (db.Page[db.Record], error) {
	return db.Page[db.Record]{}, db.ErrBadCursor
}

// stub is a store with the statistics that f returns.
type stub struct {
	fake
	f func(context.Context) (db.Stats, error)
}

func (s stub) Stats(ctx context.Context) (db.Stats, error) { return s.f(ctx) }

// serve returns a handler over the index of the tests, with c's other fields.
func serve(c Config) http.Handler {
	if c.Store == nil {
		c.Store = indexed
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Now = func() time.Time { return time.UnixMicro(1_700_000_000_000_000).Add(60 * time.Hour) }
	return New(c)
}

func newRequest(target string) *http.Request {
	r := httptest.NewRequest("GET", "http://weft.test/", nil)
	path, query, _ := strings.Cut(target, "?")
	r.URL = &url.URL{Path: path, RawQuery: query}
	return r
}

// do makes one request; headers come in pairs.
func do(h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := newRequest(target)
	r.Method = method
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func get(t *testing.T, h http.Handler, target string) string {
	t.Helper()
	w := do(h, http.MethodGet, target)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: status %d, %s", target, w.Code, w.Body)
	}
	return w.Body.String()
}

// xrpc returns the address of a method with parameters in pairs, encoded.
func xrpc(method string, pairs ...string) string {
	return "/xrpc/blue.microcosm.links." + method + "?" + form(pairs...)
}

// own returns the address of a method of weft's own.
func own(method string, pairs ...string) string {
	return "/xrpc/dev.weft.links." + method + "?" + form(pairs...)
}

// send posts a body to a procedure.
func send(h http.Handler, path, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "http://weft.test"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func form(pairs ...string) string {
	v := make(url.Values)
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v.Encode()
}
