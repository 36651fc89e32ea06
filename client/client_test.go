package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/api"
	"weft.dev/weft/api/routes"
	"weft.dev/weft/client"
	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

const (
	post  = "at://did:plc:alice/app.bsky.feed.post/3kpost"
	likes = "app.bsky.feed.like:subject.uri"
)

type weft struct {
	*httptest.Server
	store *db.Store
	n     uint64
}

func start(t *testing.T) *weft { return startKeeping(t, db.BodiesOff) }

func startKeeping(t *testing.T, bodies db.Bodies) *weft {
	t.Helper()
	store, err := db.Open(db.Config{Dir: t.TempDir(), Bodies: bodies, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	handler := api.New(api.Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() { defer close(ran); _ = handler.Run(ctx) }()
	w := &weft{httptest.NewServer(handler), store, 0}
	t.Cleanup(func() {
		cancel()
		<-ran
		w.Close()
		_ = store.Close()
	})
	return w
}

func (w *weft) like(t *testing.T, op db.Op, did, rkey string) {
	t.Helper()
	w.n++
	e := apply.Event{Seq: w.n, TimeUS: 1_770_000_000_000_000 + int64(w.n)*1_000_000, Op: op, DID: did,
		Collection: "app.bsky.feed.like", Rkey: rkey,
		Rev: string(link.AppendTID(nil, w.n<<10))}
	if op == db.OpCreate {
		e.Links = []db.Link{{Path: "subject.uri", Target: post}}
	}
	if _, err := w.store.Apply(db.Batch{Host: "test", Events: []apply.Event{e}}); err != nil {
		t.Fatal(err)
	}
}

func TestQuestions(t *testing.T) {
	t.Parallel()
	w := start(t)
	for i := range 25 {
		w.like(t, db.OpCreate, fmt.Sprint("did:plc:n", i%10), fmt.Sprint("k", i))
	}
	c, ctx := client.New(w.URL+"/"), t.Context()
	if n, err := c.Count(ctx, post, likes); n != 25 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	counts, err := c.Counts(ctx, client.Pair{Subject: post, Source: likes},
		client.Pair{Subject: "did:plc:alice", Source: likes})
	if err != nil || len(counts) != 2 || counts[0].Links != 25 || counts[0].DIDs != 10 || counts[1].Links != 0 ||
		counts[1].Subject != "did:plc:alice" {
		t.Errorf("%v, %v", counts, err)
	}
	if counts, err := c.Counts(ctx); len(counts) != 0 || err != nil {
		t.Errorf("%v, %v", counts, err)
	}
	var many []client.Pair
	for i := range 2345 {
		many = append(many, client.Pair{Subject: fmt.Sprintf("%s%d", post, i), Source: likes})
	}
	many = append(many, client.Pair{Subject: post, Source: likes})
	for i := range 150 { // exceeds the bytes of a call
		many = append(many, client.Pair{Subject: fmt.Sprint("https://example.com/", strings.Repeat("x", 8000), i),
			Source: likes})
	}
	counts, err = c.Counts(ctx, many...)
	if err != nil || len(counts) != len(many) || counts[2345].Links != 25 || counts[2344].Links != 0 ||
		counts[len(many)-1].Pair != many[len(many)-1] {
		t.Errorf("%d counts of %d, %v", len(counts), len(many), err)
	}
	q := client.Query{Subject: post, Source: likes, Limit: 4}
	n, last := 0, time.Now()
	for r, err := range c.Backlinks(ctx, q) {
		if err != nil || r.Time.After(last) || r.URI() != fmt.Sprintf("at://did:plc:n%d/app.bsky.feed.like/k%d", (24-n)%10,
			24-n) {
			t.Fatalf("%d: %+v, %v", n, r, err)
		}
		n, last = n+1, r.Time
	}
	since := time.UnixMicro(1_770_000_011_000_000)
	page, err := c.BacklinksPage(ctx, client.Query{Subject: post, Source: likes, Since: since,
		Until: since.Add(5 * time.Second), Reverse: true, Hydrate: true,
		DIDs: []string{"did:plc:n1", "did:plc:n2"}}, "")
	if err != nil || n != 25 || page.Total != 2 || page.Items[0].Rkey != "k11" || page.Cursor != "" ||
		page.Items[0].Value != nil {
		t.Errorf("%d, %+v, %v", n, page, err)
	}
	dids := map[string]bool{}
	for did, err := range c.DIDs(ctx, q) {
		if err != nil {
			t.Fatal(err)
		}
		dids[did] = true
	}
	links := 0
	for l, err := range c.AccountLinks(ctx, client.AccountQuery{DID: "did:plc:alice", Limit: 7,
		Sources: []string{likes}}) {
		if err != nil || l.Subject != post || l.Source != likes || l.DID == "" {
			t.Fatalf("%+v, %v", l, err)
		}
		if links++; links == 20 {
			break
		}
	}
	byS, err := c.AccountCounts(ctx, "did:plc:alice")
	if len(dids) != 10 || links != 20 || err != nil || byS[likes] != 25 {
		t.Errorf("%d accounts, %d links, %v, %v", len(dids), links, byS, err)
	}
	forward, err := c.RecordLinks(ctx, "did:plc:n3", "app.bsky.feed.like", "k3")
	if err != nil || len(forward) != 1 || forward[0] != (client.Pair{Subject: post, Source: likes}) {
		t.Errorf("%v, %v", forward, err)
	}
	hydrated, err := c.HydratedRecord(ctx, "did:plc:n3", "app.bsky.feed.like", "k3")
	if err != nil || !slices.Equal(hydrated.Links, forward) || hydrated.CID != "" || hydrated.Value != nil {
		t.Errorf("%+v, %v", hydrated, err)
	}
	top, err := c.Top(ctx, client.TopQuery{Source: likes, Hours: 6, Limit: 5})
	if err != nil || top.Source != likes || top.Subjects == nil || top.Since.IsZero() || top.Until.Before(top.Since) {
		t.Errorf("%+v, %v", top, err)
	}
	timeline, err := c.Timeline(ctx, client.TimelineQuery{Subject: post, Sources: []string{likes}, Spans: 5})
	if err != nil || len(timeline.Sources) != 1 || timeline.Sources[0].Total != 25 ||
		len(timeline.Sources[0].Counts) > 5 || timeline.Span <= 0 {
		t.Fatalf("%+v, %v", timeline, err)
	}
	sum := timeline.Sources[0].Older
	for _, n := range timeline.Sources[0].Counts {
		sum += n
	}
	if sum != 25 || timeline.From.After(time.UnixMicro(1_770_000_001_000_000)) {
		t.Errorf("%d links in %+v", sum, timeline)
	}
	if timeline, err := c.Timeline(ctx, client.TimelineQuery{Subject: "did:plc:alice",
		Sources: []string{likes}}); err != nil || !timeline.From.IsZero() {
		t.Errorf("%+v, %v", timeline, err)
	}
	var refused *client.Error
	if _, err := c.Count(ctx, "hello", likes); !errors.As(err, &refused) || refused.Status != 400 ||
		refused.Name != "InvalidRequest" {
		t.Errorf("%v", err)
	}
	for _, err := range c.Backlinks(ctx, client.Query{}) {
		if !errors.As(err, &refused) {
			t.Errorf("%v", err)
		}
	}
	w.Close()
	if _, err := c.Count(ctx, post, likes); err == nil || errors.As(err, new(*client.Error)) {
		t.Errorf("%v", err)
	}
}

// TestHydrate: lists and records have the content of records on request, if the server stores it.
func TestHydrate(t *testing.T) {
	t.Parallel()
	w := startKeeping(t, db.BodiesKeep)
	const quotes, did = "app.bsky.feed.post:embed.record.uri", "did:plc:bob"
	body := []byte("\xa1\x64text\x62hi")
	e := apply.Event{Seq: 1, TimeUS: 1_770_000_000_000_000, Op: db.OpCreate, DID: did, Collection: "app.bsky.feed.post",
		Rkey: "3k",
		Rev:  string(link.AppendTID(nil, 1<<10)), Links: []db.Link{{Path: "embed.record.uri", Target: post}}, Body: body}
	if _, err := w.store.Apply(db.Batch{Host: "test", Events: []apply.Event{e}}); err != nil {
		t.Fatal(err)
	}
	c, ctx := client.New(w.URL), t.Context()
	const value = `{"text":"hi"}`
	for _, hydrate := range []bool{false, true} {
		page, err := c.BacklinksPage(ctx, client.Query{Subject: post, Source: quotes, Hydrate: hydrate}, "")
		if err != nil || len(page.Items) != 1 || (string(page.Items[0].Value) == value) != hydrate ||
			(page.Items[0].CID != "") != hydrate {
			t.Errorf("hydrate %t: %+v, %v", hydrate, page, err)
		}
		links, err := c.AccountLinksPage(ctx, client.AccountQuery{DID: "did:plc:alice", Hydrate: hydrate}, "")
		if err != nil || len(links.Items) != 1 || (string(links.Items[0].Value) == value) != hydrate ||
			(links.Items[0].CID != "") != hydrate {
			t.Errorf("hydrate %t: %+v, %v", hydrate, links, err)
		}
	}
	e.Seq = 2
	e.Rkey = "3l"
	e.Rev = string(link.AppendTID(nil, 2<<10))
	if _, err := w.store.Apply(db.Batch{Host: "test", Events: []apply.Event{e}}); err != nil {
		t.Fatal(err)
	}
	for _, hydrate := range []bool{false, true} {
		for e, err := range c.Events(ctx, client.Filter{SubjectDIDs: []string{"did:plc:alice"}, Hydrate: hydrate}, 1) {
			if err != nil || e.Rkey != "3l" || (string(e.Value) == value) != hydrate || (e.CID != "") != hydrate {
				t.Errorf("hydrate %t: %+v, %v", hydrate, e, err)
			}
			break
		}
	}
	got, err := c.HydratedRecord(ctx, did, "app.bsky.feed.post", "3k")
	if err != nil || !slices.Equal(got.Links, []client.Pair{{Subject: post, Source: quotes}}) ||
		string(got.Value) != value || got.CID == "" {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = c.HydratedRecord(ctx, did, "app.bsky.feed.post", "none")
	if err != nil || got.Links != nil || got.Value != nil || got.CID != "" {
		t.Errorf("of an unknown record: %+v, %v", got, err)
	}
}

// TestEventsReconnect: over repeatedly broken connections, every event arrives once.
func TestEventsReconnect(t *testing.T) {
	t.Parallel()
	w := start(t)
	const n = 60
	w.like(t, db.OpCreate, "did:plc:n0", "k0")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var writing = make(chan struct{})
	seen := uint64(0)
	go func() {
		defer close(writing)
		for i := 1; i < n; i++ {
			w.like(t, db.OpCreate, "did:plc:n0", fmt.Sprint("k", i))
			if i%20 == 0 {
				time.Sleep(100 * time.Millisecond)
				w.CloseClientConnections()
			}
		}
	}()
	for e, err := range client.New(w.URL).Events(ctx, client.Filter{Sources: []string{likes},
		SubjectDIDs: []string{"did:plc:alice"}}, 1) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; e.Cursor != seen+1 || e.Kind != "record" || e.Operation != "create" || e.Added[0].Subject != post ||
			e.Rkey != fmt.Sprint("k", seen) {
			t.Fatalf("%+v after %d", e, seen)
		}
		if seen == n-1 {
			break
		}
	}
	<-writing
	var refused *client.Error
	for _, err := range client.New(w.URL).Events(ctx, client.Filter{}, 1000) {
		if !errors.As(err, &refused) || refused.Name != "FutureCursor" {
			t.Errorf("%v", err)
		}
	}
	gone, stop := context.WithCancel(ctx)
	stop()
	for _, err := range client.New(w.URL).Events(gone, client.Filter{}, 0) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
}

func (w *weft) account(t *testing.T, did string, status db.Status) {
	t.Helper()
	w.n++
	e := apply.Event{Seq: w.n, TimeUS: 1_770_000_000_000_000 + int64(w.n)*1_000_000, Op: db.OpAccount, DID: did,
		Status: status}
	if _, err := w.store.Apply(db.Batch{Host: "test", Events: []apply.Event{e}}); err != nil {
		t.Fatal(err)
	}
}

// TestWatch: records written between pages and during broken connections are each added once and removed once, and the
// remaining ones are the list.
func TestWatch(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := start(t)
			r := rand.New(rand.NewPCG(seed, 1))
			step := func() {
				did := fmt.Sprint("did:plc:n", r.IntN(6))
				switch r.IntN(12) {
				case 0:
					w.account(t, did, db.Status(r.IntN(5)))
				case 1, 2, 3:
					w.like(t, db.OpDelete, did, fmt.Sprint("k", r.IntN(20)))
				default:
					w.like(t, db.OpCreate, did, fmt.Sprint("k", r.IntN(20)))
				}
			}
			for range 60 {
				step()
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			written, known := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(written)
				for i := range 300 {
					if i == 99 {
						<-known // a watch ends if the server's first answer fails
					}
					step()
					if i%100 == 99 {
						w.CloseClientConnections()
					}
				}
				w.like(t, db.OpCreate, "did:plc:last", "1")
			}()
			have := map[string]bool{}
			kinds := map[client.ChangeKind]int{}
			for c, err := range client.New(w.URL).Watch(ctx, client.Query{Subject: post, Source: likes, Limit: 3}) {
				if err != nil {
					t.Fatal(err)
				}
				if len(kinds) == 0 {
					close(known)
				}
				kinds[c.Kind]++
				uri := c.Record.URI()
				if have[uri] != (c.Kind == client.Removed) || c.Record.Time.IsZero() != (c.Kind == client.Removed) {
					t.Fatalf("%s is %s, and it was there: %t", uri, c.Kind, have[uri])
				}
				have[uri] = c.Kind != client.Removed
				if c.Record.DID == "did:plc:last" && c.Record.Rkey == "1" {
					<-written
					w.like(t, db.OpCreate, "did:plc:last", "2") // after the list is read
				}
				if c.Record.DID == "did:plc:last" && c.Record.Rkey == "2" {
					break
				}
			}
			maps.DeleteFunc(have, func(_ string, is bool) bool { return !is })
			want := map[string]bool{}
			for r, err := range client.New(w.URL).Backlinks(ctx, client.Query{Subject: post, Source: likes}) {
				if err != nil {
					t.Fatal(err)
				}
				want[r.URI()] = true
			}
			if !maps.Equal(have, want) {
				t.Errorf("%d records are watched, %d listed: %v, %v", len(have), len(want), have, want)
			}
			if kinds[client.Added] == 0 || kinds[client.Removed] == 0 {
				t.Errorf("%v", kinds)
			}
		})
	}
}

// oldOnce answers the first query about an account with an older answer, as a cache or another follower may.
type oldOnce struct {
	did   string
	old   *http.Response
	asked atomic.Int64
}

func (o *oldOnce) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Get("did") == o.did && o.asked.Add(1) == 1 {
		return o.old, nil
	}
	return http.DefaultTransport.RoundTrip(r)
}

// TestWatchBehind: a list older than the event before it restarts the watch.
func TestWatchBehind(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.like(t, db.OpCreate, "did:plc:n1", "a")
	v := url.Values{"subject": {post}, "source": {likes}, "did": {"did:plc:n2"}}
	old, err := http.Get(w.URL + "/xrpc/dev.weft.links.getBacklinks?" + v.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer old.Body.Close()
	c := client.New(w.URL)
	cached := &oldOnce{did: "did:plc:n2", old: old}
	c.HTTP.Transport = cached
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []string
	for ch, err := range c.Watch(ctx, client.Query{Subject: post, Source: likes}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(ch.Kind)+" "+ch.Record.Rkey)
		if len(got) == 2 {
			break
		}
		w.like(t, db.OpCreate, "did:plc:n2", "b")
	}
	if !slices.Equal(got, []string{"listed a", "added b"}) || cached.asked.Load() == 0 {
		t.Errorf("%v, and the cache was asked %d times", got, cached.asked.Load())
	}
}

// brokenPage fails the first request for a later page.
type brokenPage struct{ broken atomic.Bool }

func (b *brokenPage) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Get("cursor") != "" && r.URL.Path != routes.Events.Path && !b.broken.Swap(true) {
		return nil, io.ErrUnexpectedEOF
	}
	return http.DefaultTransport.RoundTrip(r)
}

// TestWatchBrokenPage: a list whose second page fails is listed again, and no record is reported twice.
func TestWatchBrokenPage(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, rkey := range []string{"a", "b", "c"} {
		w.like(t, db.OpCreate, "did:plc:n1", rkey)
	}
	c := client.New(w.URL)
	breaks := &brokenPage{}
	c.HTTP.Transport = breaks
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []string
	for ch, err := range c.Watch(ctx, client.Query{Subject: post, Source: likes, Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(ch.Kind)+" "+ch.Record.Rkey)
		if len(got) == 3 {
			break
		}
	}
	if !slices.Equal(got, []string{"listed c", "listed b", "listed a"}) || !breaks.broken.Load() {
		t.Errorf("%v, and a page failed: %t", got, breaks.broken.Load())
	}
}

// TestWatchRefusals: a refusal of the server ends a watch, and an invalid list is refused.
func TestWatchRefusals(t *testing.T) {
	t.Parallel()
	w := start(t)
	var refused *client.Error
	n := 0
	for _, err := range client.New(w.URL).Watch(t.Context(), client.Query{Subject: "hello", Source: likes}) {
		n++
		if !errors.As(err, &refused) || refused.Status != 400 {
			t.Errorf("%v", err)
		}
	}
	for _, err := range client.New(w.URL).Watch(t.Context(),
		client.Query{Subject: post, Source: likes, Until: time.Now()}) {
		n++
		if err == nil {
			t.Error("a list with an end is watched")
		}
	}
	away := httptest.NewServer(nil)
	away.Close()
	for _, err := range client.New(away.URL).Watch(t.Context(), client.Query{Subject: post, Source: likes}) {
		n++
		if err == nil {
			t.Error("a server that is not there is watched")
		}
	}
	if n != 3 {
		t.Errorf("%d answers", n)
	}
}
