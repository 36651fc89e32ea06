package client_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/client"
	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

// paths records the paths of requests. As a Constellation it has none of weft's own methods, and refuses with empty
// bodies.
type paths struct {
	isConstellation bool
	mu              sync.Mutex
	asked           map[string]bool
}

func (p *paths) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	p.asked[r.URL.Path] = true
	p.mu.Unlock()
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || !p.isConstellation {
		return res, err
	}
	isWeft := strings.Contains(r.URL.Path, "dev.weft.") || r.URL.Path == "/events" || r.URL.Path == "/status"
	if isWeft || res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		res.Body = http.NoBody
	}
	if isWeft {
		res.StatusCode = http.StatusNotFound
	}
	res.Header.Del("Weft-Seq")
	return res, nil
}

// unasked are the routes without a method of the client, with the reason.
var unasked = map[string]string{
	"/":                     "a page, and figures that Status has",
	"/badge.svg":            "an image for pages",
	"/feed":                 "for feed readers",
	"/links":                "GetBacklinks has it",
	"/links/distinct-dids":  "GetBacklinkDIDs has it",
	"/links/count":          "GetBacklinksCount has it",
	"/links/all/count":      "LinksAll has it",
	"/subscribe":            "Events has it, with a cursor for each record",
	"/lexicons":             "for programs that make clients",
	"/lexicons/{nsid}":      "for programs that make clients",
	"/openapi.json":         "for programs that make clients",
	"/xrpc/_health":         "for load balancers",
	"/readyz":               "for load balancers",
	"/client.js":            "the client itself",
	"/client.d.ts":          "the client itself",
	"/robots.txt":           "for crawlers",
	"/.well-known/did.json": "for resolvers",
	routes.GetDistinct.Path: "another name of GetBacklinkDIDs",
	routes.GetCounts.Path:   "BatchCounts has it",
}

// TestCoverage: the methods together query every route of the API for programs, of a weft and of a Constellation, and
// both give the same records and counts.
func TestCoverage(t *testing.T) {
	t.Parallel()
	w := start(t)
	for i, rkey := range []string{"a", "b", "c"} {
		w.like(t, db.OpCreate, []string{"did:plc:n1", "did:plc:n2", "did:plc:n1"}[i], rkey)
	}
	w.n++
	tag := apply.Event{Seq: w.n, TimeUS: 1_770_000_000_000_000, Op: db.OpCreate, DID: "did:plc:n1",
		Collection: "com.example.tag", Rkey: "1",
		Rev: string(link.AppendTID(nil, w.n<<10)), Links: []db.Link{{Path: "item", Target: post},
			{Path: "topics[]", Target: "https://a.example/"}, {Path: "topics[]", Target: "https://b.example/"},
			{Path: "topics[]", Target: "https://c.example/"}}}
	if _, err := w.store.Apply(db.Batch{Host: "test", Events: []apply.Event{tag}}); err != nil {
		t.Fatal(err)
	}
	asked := map[string]bool{}
	for _, isConstellation := range []bool{false, true} {
		c := client.New(w.URL)
		if isConstellation {
			c = client.NewConstellation(w.URL)
		}
		c.HTTP.Transport = &paths{isConstellation: isConstellation, asked: asked}
		askPlain(t, c)
		for name, ask := range ownMethods(c) {
			if err := ask(t); (err != nil) != isConstellation {
				t.Errorf("%s of a Constellation %t: %v", name, isConstellation, err)
			}
		}
	}
	for _, route := range routes.All {
		reason := unasked[route.Path]
		switch {
		case !asked[route.Path] && reason == "":
			t.Errorf("%s: the client does not ask it: add a method and its call to this test, or a reason to unasked",
				route.Path)
		case asked[route.Path] && reason != "":
			t.Errorf("%s: the client asks it: remove it from unasked (%q)", route.Path, reason)
		}
	}
}

// askPlain calls the methods that a Constellation supports.
func askPlain(t *testing.T, c *client.Client) {
	t.Helper()
	ctx := t.Context()
	q := client.Query{Subject: post, Source: likes, Limit: 2}
	records, accounts := "", ""
	for r, err := range c.Backlinks(ctx, q) {
		if err != nil {
			t.Fatal(err)
		}
		records += r.Rkey
	}
	for did, err := range c.DIDs(ctx, q) {
		if err != nil {
			t.Fatal(err)
		}
		accounts += did + " "
	}
	q.Reverse = true
	q.DIDs = []string{"did:plc:n1"}
	oldest, err := c.BacklinksPage(ctx, q, "")
	if err != nil || oldest.Total != 2 || oldest.Items[0].Rkey != "a" || records != "cba" ||
		accounts != "did:plc:n2 did:plc:n1 " {
		t.Errorf("%+v, %v; all are %s of %s", oldest, err, records, accounts)
	}
	n, err := c.Count(ctx, post, likes)
	dids, err2 := c.CountDIDs(ctx, post, likes)
	if n != 3 || dids != 2 || err != nil || err2 != nil {
		t.Errorf("%d links by %d accounts, %v, %v", n, dids, err, err2)
	}
	counts, err := c.Counts(ctx, client.Pair{Subject: post, Source: likes},
		client.Pair{Subject: "did:plc:none", Source: likes})
	if err != nil || len(counts) != 2 || counts[0].Links != 3 || counts[0].DIDs != 2 || counts[1].Links != 0 {
		t.Errorf("%+v, %v", counts, err)
	}
	sources, err := c.Sources(ctx, post)
	if err != nil || len(sources) != 2 || sources[0] != (client.SourceTotal{Source: likes, Links: 3, DIDs: 2}) {
		t.Errorf("%+v, %v", sources, err)
	}
	many := client.ManyQuery{Subject: post, Source: "com.example.tag:item", PathToOther: "topics[]", Limit: 1,
		DIDs: []string{"did:plc:n1", "did:plc:n2"}, Others: []string{"https://a.example/", "https://b.example/"}}
	others := ""
	for o, err := range c.ManyToMany(ctx, many) {
		if err != nil || o.Record.URI() != "at://did:plc:n1/com.example.tag/1" {
			t.Fatalf("%+v, %v", o, err)
		}
		others += o.Subject
	}
	for o, err := range c.ManyToManyCounts(ctx, many) {
		if err != nil || o.Records != 1 || o.DIDs != 1 {
			t.Fatalf("%+v, %v", o, err)
		}
		others += o.Subject
	}
	if strings.Count(others, "https://a.example/") != 2 || strings.Count(others, "https://b.example/") != 2 ||
		len(others) != 4*len("https://a.example/") {
		t.Errorf("the other subjects are %s", others)
	}
}

// ownMethods are the methods that require a weft.
func ownMethods(c *client.Client) map[string]func(*testing.T) error {
	first := func(events func(yield func(client.Event, error) bool)) error {
		for _, err := range events {
			return err
		}
		return nil
	}
	return map[string]func(*testing.T) error{
		"AccountLinks": func(t *testing.T) error {
			_, err := c.AccountLinksPage(t.Context(), client.AccountQuery{DID: "did:plc:alice"}, "")
			return err
		},
		"AccountCounts": func(t *testing.T) error {
			_, err := c.AccountCounts(t.Context(), "did:plc:alice")
			return err
		},
		"RecordLinks": func(t *testing.T) error {
			_, err := c.RecordLinks(t.Context(), "did:plc:n1", "app.bsky.feed.like", "a")
			return err
		},
		"HydratedRecord": func(t *testing.T) error {
			_, err := c.HydratedRecord(t.Context(), "did:plc:n1", "app.bsky.feed.like", "a")
			return err
		},
		"Top": func(t *testing.T) error {
			_, err := c.Top(t.Context(), client.TopQuery{})
			return err
		},
		"Timeline": func(t *testing.T) error {
			_, err := c.Timeline(t.Context(), client.TimelineQuery{Subject: post, Sources: []string{likes}})
			return err
		},
		"Events": func(t *testing.T) error { return first(c.Events(t.Context(), client.Filter{}, 1)) },
		"Watch": func(t *testing.T) error {
			for _, err := range c.Watch(t.Context(), client.Query{Subject: post, Source: likes, Hydrate: true}) {
				return err
			}
			return nil
		},
		"Status": func(t *testing.T) error {
			st, err := c.Status(t.Context())
			if err == nil && st.Index.Links != 7 {
				t.Errorf("%+v", st)
			}
			return err
		},
	}
}
