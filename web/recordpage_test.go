package web_test

import (
	"html"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weft.dev/weft/api"
	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
	"weft.dev/weft/web"
)

// TestRecordText: texts of records are shown as text.
func TestRecordText(t *testing.T) {
	t.Parallel()
	h := serve(t, index(t, 1), web.Config{})
	for _, target := range []string{
		"/links/all?" + form("target", post),
		"/xrpc/dev.weft.links.getBacklinks?" + form("subject", post, "source", "app.bsky.feed.post:embed.record.uri",
			"hydrate", "true"),
	} {
		if page := browse(h, target).Body.String(); !strings.Contains(page,
			`<q class="says" dir="auto">&lt;script&gt;alert(1)&lt;/script&gt;`) {
			t.Errorf("%s doesn't have the text of a record", target)
		}
	}
}

// TestRecordPage: the page of a record has its content, links to apps, and its links, each path once.
func TestRecordPage(t *testing.T) {
	t.Parallel()
	s := index(t, 1)
	h := serve(t, s, web.Config{})
	record := browse(h, "/links/all?"+form("target", "at://"+bob+"/com.example.evil/a:b_c~d.e-f")).Body.String()
	for _, want := range []string{
		`<blockquote class="says" dir="auto">&lt;script&gt;alert(1)&lt;/script&gt;`, "<summary>Show the record</summary>",
		`open in <a href="https://pdsls.dev/at://` + bob +
			`/com.example.evil/a:b_c~d.e-f" rel="noopener noreferrer nofollow ugc">PDSls</a>`,
	} {
		if !strings.Contains(record, want) {
			t.Errorf("the page of a record doesn't have %s:\n%s", want, record)
		}
	}
	if n := strings.Count(record, `<span class="at">url</span>`); n != 1 {
		t.Errorf("a path that repeats is written %d times", n)
	}
	var tid string
	for line := range strings.SplitSeq(browse(h, "/links/all?"+form("target", post)).Body.String(), "\n") {
		if _, rest, ok := strings.Cut(line, "https://bsky.app/profile/"+bob+"/post/"); ok {
			tid, _, _ = strings.Cut(rest, `"`)
		}
	}
	quote := browse(h, "/links/all?"+form("target", "at://"+bob+"/app.bsky.feed.post/"+tid)).Body.String()
	for _, want := range []string{`<span class="kind">Quotes</span> <span class="at">embed.record.uri</span>`,
		">Bluesky</a>", "Links to this post"} {
		if !strings.Contains(quote, want) {
			t.Errorf("the page of a post doesn't have %s", want)
		}
	}
	unknown := browse(h, "/links/all?"+form("target", post)).Body.String()
	if strings.Contains(unknown, "<blockquote") || strings.Contains(unknown, "What it links to") ||
		strings.Contains(unknown, "Show the record") {
		t.Error("a record that is not in the index says something")
	}
	none := serve(t, s, web.Config{Viewer: web.NoViewer})
	if page := browse(none, "/links/all?"+form("target", alice)).Body.String(); strings.Contains(page, "pdsls") ||
		!strings.Contains(page, ">Bluesky</a>") {
		t.Error("the viewer isn't off")
	}
}

// TestAlsoLinkedAs: the page of a web target lists other addresses of the same page, and search finds the one with
// links.
func TestAlsoLinkedAs(t *testing.T) {
	t.Parallel()
	s := index(t, 1)
	var events []apply.Event
	for i, target := range []string{
		"http://www.shop.example/a?utm=1", "http://www.shop.example/a", "http://www.shop.example/a",
		"https://shop.example/a/",
		"https://whole.example/x", "http://whole.example/x", "http://whole.example/x",
		"at://" + alice + "/site.standard.document/3k",
	} {
		us := began + int64(i+1000)*1_000_000
		tid := string(link.AppendTID(nil, uint64(us)<<10))
		events = append(events, apply.Event{Seq: uint64(1000 + i), TimeUS: us, Op: db.OpCreate, DID: bob,
			Collection: "app.bsky.feed.post", Rkey: tid,
			Rev: tid, Links: []db.Link{{Path: "embed.external.uri", Target: target}}})
	}
	if _, err := s.Apply(db.Batch{Host: "upstream.example", Events: events}); err != nil {
		t.Fatal(err)
	}
	h := serve(t, s, web.Config{})
	for target, want := range map[string][]string{
		"https://shop.example/a?utm=1": {"http://www.shop.example/a 2", "http://www.shop.example/a?utm=1 1",
			"https://shop.example/a/ 1"},
		"http://www.shop.example/a": {"https://shop.example/a/ 1"},
		"https://whole.example/x":   {"http://whole.example/x 2"},
		"https://nowhere.example/":  nil,
		post:                        nil,
	} {
		page := browse(h, "/links/all?"+form("target", target)).Body.String()
		var got []string
		for _, m := range regexp.MustCompile(
			`<a class="address" href="[^"]*">([^<]*)</a></th><td class="right num">(\d+)<`).FindAllStringSubmatch(page, -1) {
			got = append(got, html.UnescapeString(m[1])+" "+m[2])
		}
		if !slices.Equal(got, want) || strings.Contains(page, "Also linked as") != (want != nil) {
			t.Errorf("%s: %q, not %q", target, got, want)
		}
	}
	for q, to := range map[string]string{
		"shop.example/a":             "/links/all?target=http://www.shop.example/a&from=https://shop.example/a",
		"https://shop.example/a?x=y": "/links/all?target=http://www.shop.example/a&from=https://shop.example/a%3Fx%3Dy",
		"https://whole.example/x":    "/links/all?target=https://whole.example/x",
		"www.nowhere.example/a":      "/links/all?target=https://www.nowhere.example/a",
		"https://leaflet.pub/p/" + alice + "/3k": "/links/all?target=at://" + alice +
			"/site.standard.document/3k&from=https://leaflet.pub/p/" + alice + "/3k",
		"https://leaflet.pub/p/" + alice + "/3other": "/links/all?target=at://" + alice +
			"/pub.leaflet.document/3other&from=https://leaflet.pub/p/" + alice + "/3other",
	} {
		if got := browse(h, "/search?"+form("q", q)).Header().Get("Location"); got != to {
			t.Errorf("%s leads to %q, not %q", q, got, to)
		}
	}
}

// TestAccount: the page of an account answers in time, also if its links take long to count.
func TestAccount(t *testing.T) {
	t.Parallel()
	s := index(t, 1)
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "getAccountCounts") {
			<-r.Context().Done()
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		api.New(api.Config{Store: s, Logger: slog.New(slog.DiscardHandler)}).ServeHTTP(w, r)
	})
	w := browse(web.New(web.Config{API: slow, Store: s, Logger: slog.New(slog.DiscardHandler)}),
		"/links/all?target="+alice)
	if w.Code != 200 || !strings.Contains(w.Body.String(), "too many links to count on this page") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
