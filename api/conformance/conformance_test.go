package conformance

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weft.dev/weft/api"
	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

const (
	post = "at://did:plc:alice/app.bsky.feed.post/3kpost"
	list = "at://did:plc:alice/app.bsky.graph.list/3klist"
	web  = "https://example.com/page"
)

// fixture returns the contents of seed's store.
func fixture() Fixture {
	likes, accounts := 60, 30
	return Fixture{Lists: []List{
		{Subject: post, Source: "app.bsky.feed.like:subject.uri", Total: &likes, DIDs: &accounts, Other: "topic"},
		{Subject: list, Source: "app.bsky.graph.listitem:list", Other: "subject"},
		{Subject: web, Source: "app.bsky.feed.post:facets[].features[app.bsky.richtext.facet#link].uri"},
		{Subject: "did:plc:alice", Source: "app.bsky.graph.follow:subject", Records: []Record{
			{DID: "did:plc:n1", Collection: "app.bsky.graph.follow", Rkey: "3kaaaaaaaaz22"},
			{DID: "did:plc:n0", Collection: "app.bsky.graph.follow", Rkey: "3kaaaaaaaay22"},
		}},
	}}
}

func seed(t *testing.T) http.Handler {
	t.Helper()
	store, err := db.Open(db.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	var b db.Batch
	add := func(did, collection, rkey string, links ...db.Link) {
		n := uint64(len(b.Events) + 1)
		if rkey == "" {
			rkey = string(link.AppendTID(nil, (1_760_000_000_000_000+n)<<10))
		}
		b.Events = append(b.Events, apply.Event{Seq: n, TimeUS: int64(1_770_000_000_000_000 + n), Op: db.OpCreate, DID: did,
			Collection: collection, Rkey: rkey,
			Rev: string(link.AppendTID(nil, n<<10)), Links: links})
	}
	for i := range 60 {
		did := fmt.Sprint("did:plc:n", i%30)
		add(did, "app.bsky.feed.like", "", db.Link{Path: "subject.uri", Target: post},
			db.Link{Path: "topic", Target: fmt.Sprint("https://example.com/", i%7)},
			db.Link{Path: "topic", Target: fmt.Sprint("https://example.com/", (i+1)%7)})
		add(did, "app.bsky.graph.listitem", "", db.Link{Path: "list", Target: list},
			db.Link{Path: "subject", Target: fmt.Sprint("did:plc:m", i)})
		add(did, "app.bsky.feed.post", "", db.Link{Path: "facets[].features[app.bsky.richtext.facet#link].uri", Target: web})
	}
	add("did:plc:n0", "app.bsky.graph.follow", "3kaaaaaaaay22", db.Link{Path: "subject", Target: "did:plc:alice"})
	add("did:plc:n1", "app.bsky.graph.follow", "3kaaaaaaaaz22", db.Link{Path: "subject", Target: "did:plc:alice"})
	b.Host = "test"
	if _, err := store.Apply(b); err != nil {
		t.Fatal(err)
	}
	return api.New(api.Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
}

func run(t *testing.T, h http.Handler, f Fixture) []Result {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	var results []Result
	if err := Run(t.Context(), Config{URL: srv.URL + "/", Fixture: f},
		func(r Result) { results = append(results, r) }); err != nil {
		t.Fatal(err)
	}
	return results
}

// TestWeft: weft passes all checks, those beyond Constellation too.
func TestWeft(t *testing.T) {
	t.Parallel()
	results := run(t, seed(t), fixture())
	for _, r := range results {
		if r.Outcome != Passed && r.Outcome != Skipped {
			t.Errorf("%s %s: %s", r.Outcome, r.Name, r.Detail)
		}
	}
	if len(results) < 50 {
		t.Errorf("%d checks were made", len(results))
	}
}

// TestFindsFaults: a server with one fault fails the check of that fault.
func TestFindsFaults(t *testing.T) {
	t.Parallel()
	weft := seed(t)
	// edited answers as weft, with each answer changed by change.
	edited := func(change func(r *http.Request, res *httptest.ResponseRecorder)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("If-None-Match")
			res := httptest.NewRecorder()
			weft.ServeHTTP(res, r)
			change(r, res)
			for name, values := range res.Header() {
				if name != "Content-Length" {
					w.Header()[name] = values
				}
			}
			w.WriteHeader(res.Code)
			_, _ = w.Write(res.Body.Bytes())
		})
	}
	replace := func(path, old, new string) http.Handler {
		re := regexp.MustCompile(old)
		return edited(func(r *http.Request, res *httptest.ResponseRecorder) {
			if strings.HasSuffix(r.URL.Path, path) {
				res.Body = bytes.NewBuffer(re.ReplaceAll(res.Body.Bytes(), []byte(new)))
			}
		})
	}
	status := func(from, to int) http.Handler {
		return edited(func(_ *http.Request, res *httptest.ResponseRecorder) {
			if res.Code == from {
				res.Code = to
			}
		})
	}
	for _, c := range []struct {
		name    string
		handler http.Handler
		fails   string
		outcome Outcome
	}{
		{"no cursor at the end", replace("", `,"cursor":null`, ``), "a subject without links", Failed},
		{"null for an empty list", replace("", `:\[\]`, `:null`), "a subject without links", Failed},
		{"500 for 400", status(400, 500), "a missing required parameter", Failed},
		{"200 for 400", status(400, 200), "a limit over 1000", Failed},
		{"counts that are off by one", replace("getBacklinksCount", `"total":60`, `"total":61`),
			"counts, totals and lists agree", Failed},
		{"a hole in a page", replace("getBacklinks", `"records":\[\{[^}]*\},`, `"records":[`),
			"counts, totals and lists agree", Failed},
		{"a filter that is ignored", edited(func(r *http.Request, res *httptest.ResponseRecorder) {
			if q := r.URL.Query(); q.Has("did") && strings.HasSuffix(r.URL.Path, "getBacklinks") {
				q.Del("did")
				r.URL.RawQuery = q.Encode()
				*res = *httptest.NewRecorder()
				weft.ServeHTTP(res, r)
			}
		}), "did filters records", Failed},
		{"a cursor that is ignored", edited(func(r *http.Request, res *httptest.ResponseRecorder) {
			if q := r.URL.Query(); q.Has("cursor") {
				*res = *httptest.NewRecorder()
				res.WriteString(
					`{"total":0,"records":[],"linking_records":[],"linking_dids":[],"items":[],"counts_by_other_subject":[],"cursor":null}`)
			}
		}), "pages of any size", Failed},
		{"accounts that come twice", replace("getBacklinkDids", `"linking_dids":\[("[^"]*")`, `"linking_dids":[$1,$1`),
			"accounts match", Failed},
		{"no CORS",
			edited(func(_ *http.Request, res *httptest.ResponseRecorder) { res.Header().Del("Access-Control-Allow-Origin") }),
			"any origin can read answers", Failed},
		{"other counts in the older routes", replace("/links/count", `60`, `59`), "the older routes", Failed},
		{"other counts in all", replace("/links/all", `"distinct_dids":30`, `"distinct_dids":31`), "/links/all includes",
			Failed},
		{"many-to-many counts that are off", replace("getManyToManyCounts", `"total":1\b`, `"total":2`), "many-to-many",
			Failed},
		{"errors without a body", edited(func(_ *http.Request, res *httptest.ResponseRecorder) {
			if res.Code >= 400 {
				res.Body.Reset()
			}
		}), "errors are JSON", Differs},
		{"an unknown method is a 404", status(501, 404), "an unknown XRPC method is a 501", Differs},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if !slices.ContainsFunc(run(t, c.handler, fixture()),
				func(r Result) bool { return r.Outcome == c.outcome && strings.HasPrefix(r.Name, c.fails) }) {
				t.Error("the suite does not find it")
			}
		})
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"", "x", "ftp://example.com", "https://"} {
		if err := Run(context.Background(), Config{URL: u}, func(Result) {}); err == nil {
			t.Errorf("%q is accepted", u)
		}
	}
	for _, r := range run(t, seed(t), Fixture{}) {
		if r.Outcome != Passed && r.Outcome != Skipped {
			t.Errorf("without a fixture: %+v", r)
		}
	}
}
