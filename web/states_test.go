package web_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/api"
	"weft.dev/weft/web"
)

// TestStates: pages state when answers may be out of date, when a list is empty and when an error occurs.
func TestStates(t *testing.T) {
	t.Parallel()
	s := index(t, 2)
	stale := serve(t, s, web.Config{Current: func() error { return errors.New("upstream has been silent for <5m>") }})
	well := serve(t, s, web.Config{})
	now := func() time.Time { return time.UnixMicro(began).Add(334 * 24 * time.Hour) }
	behind := serve(t, s, web.Config{Now: now, Lag: func() time.Duration { return 334 * 24 * time.Hour }})
	fresh := serve(t, s, web.Config{Lag: func() time.Duration { return 0 }})
	if page := browse(stale, "/status").Body.String(); strings.Contains(page, "out of date:") ||
		!strings.Contains(page, "silent for &lt;5m&gt;") {
		t.Error("the status page says twice that answers may be old, or not at all")
	}
	for _, c := range []struct {
		name   string
		h      http.Handler
		target string
		status int
		says   string
	}{
		{"stale", stale, "/", 200, "out of date:</strong> upstream has been silent for &lt;5m&gt;."},
		{"behind", behind, "/links/all?target=https://nowhere.example/", 200,
			"Behind the network:</strong> the index has events up to 2024-10-01 00:00 UTC, 334 days ago."},
		{"behind, first page", behind, "/", 200, "Newest links read</h2>"},
		{"behind, most linked", behind, "/xrpc/dev.weft.links.getTop?hours=6", 200,
			"and the index has not read that far. It is 334 days behind the network: it has events up to 2024-10-01 00:00:00 UTC."},
		{"nothing read, most linked", fresh, "/xrpc/dev.weft.links.getTop?hours=6", 200,
			"weft has read no event since it started, so newer links may be missing."},
		{"up to date, most linked", well, "/xrpc/dev.weft.links.getTop?hours=6", 200, "The index has no links since"},
		{"away, first page", stale, "/", 200, "No link arrives now."},
		{"no event yet", fresh, "/links/all?" + form("target", post), 200, "No event read yet:</strong>"},
		{"well, first page", well, "/", 200, "Live</h2>"},
		{"a list of a kind with a name", well, "/xrpc/dev.weft.links.getBacklinks?" + form("subject", post, "source", like),
			200,
			`<span class="big">2</span> likes <span class="at">app.bsky.feed.like subject.uri</span></h2>`},
		{"its accounts", well, "/xrpc/dev.weft.links.getBacklinkDids?" + form("subject", post, "source", like), 200,
			`<span class="big">2</span> accounts from likes <span class="at">`},
		{"a list of a kind without a name", well, "/xrpc/dev.weft.links.getBacklinks?" +
			form("subject", post, "source", "com.example.a:b"), 200,
			`<span class="big">0</span> links <span class="from">from <span class="collection">com.example.a</span> <span class="at">b</span>`},
		{"kinds", well, "/links/all?" + form("target", post), 200,
			`<span class="kind">Likes</span> <span class="at">app.bsky.feed.like subject.uri</span>`},
		{"nothing", well, "/links/all?target=https://nowhere.example/", 200, "Nothing links here yet"},
		{"no page", well, "/nothing", 404, "Not found"},
		{"no method", well, "/xrpc/com.example.nothing", 501, "Not found"},
		{"wrong", well, "/links?target=x", 400, "`target` is not a link"},
		{"filtered", well, "/xrpc/dev.weft.links.getBacklinks?" + form("subject", post, "source", like, "did", alice), 200,
			"Nothing matches the filter"},
		{"procedure", well, "/xrpc/dev.weft.links.batchCounts", 405, "POST"},
		{"search for nothing", well, "/search?q=hello", 400, "This is not an at-uri"},
		{"search by handle", well, "/search?q=alice.test", 400, "--resolve-handles"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := browse(c.h, c.target)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
				t.Errorf("%d, and it doesn't say %q:\n%s", w.Code, c.says, w.Body)
			}
			if c.status != 200 && w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("a failure may be kept: %q", w.Header().Get("Cache-Control"))
			}
		})
	}
}

// TestLimits: a page counts as its queries. When they reach the limit, the page shows the parts it has.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := index(t, 3)
	h := web.New(web.Config{Store: s, Logger: slog.New(slog.DiscardHandler),
		API: api.New(api.Config{Store: s, Logger: slog.New(slog.DiscardHandler), RatePerMinute: 2})})
	first, second := browse(h, "/links/all?target="+post), browse(h, "/links/all?target="+post)
	if first.Code != 200 || !strings.Contains(first.Body.String(), "app.bsky.feed.like") ||
		first.Header().Get("RateLimit-Limit") != "2" {
		t.Errorf("%d %v", first.Code, first.Header())
	}
	if second.Code != http.StatusTooManyRequests || second.Header().Get("Retry-After") == "" ||
		!strings.Contains(second.Body.String(), "Too many requests") {
		t.Errorf("%d %v", second.Code, second.Header())
	}
}

// TestPanic: a page that panics is an error page, not part of a page.
func TestPanic(t *testing.T) {
	t.Parallel()
	s := index(t, 1)
	calls := 0
	h := web.New(web.Config{Store: s, Logger: slog.New(slog.DiscardHandler),
		API: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if calls++; calls > 1 {
				panic("a bug")
			}
			_, _ = io.WriteString(w, `{"links":{"a.b.c":{".d":{"records":1,"distinct_dids":1}}}}`)
		})})
	w := browse(h, "/links/all?target="+post)
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "<h1") ||
		strings.Contains(w.Body.String(), "a bug") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestForm: a form with empty fields, and with dates as times, is a valid query.
func TestForm(t *testing.T) {
	t.Parallel()
	h := serve(t, index(t, 3), web.Config{})
	w := browse(h, "/xrpc/dev.weft.links.getBacklinks?"+form("subject", post, "source", like, "did", "", "since",
		"2024-10-01", "until", "", "reverse", ""))
	if w.Code != 200 || !strings.Contains(w.Body.String(),
		"getBacklinks?since=2024-10-01T00:00:00Z&amp;source=app.bsky.feed.like:subject.uri&amp;") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
