package web_test

import (
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"weft.dev/weft/api"
	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
	"weft.dev/weft/web"
)

var _ api.Words = web.Words{}

var alternate = regexp.MustCompile(`<link rel="alternate" type="application/atom\+xml" title="([^"]*)" href="([^"]*)">`)

// TestFeedsOnPages: a page names the feeds of its links, and each is a valid feed.
func TestFeedsOnPages(t *testing.T) {
	t.Parallel()
	h := serve(t, index(t, 3), web.Config{})
	for target, want := range map[string][]string{
		"/": nil, "/status": nil, "/api": nil,
		"/links/all?" + form("target", post): {"Links to this post"},
		"/links/all?" + form("target", alice): {"Links to this account",
			"Links to this account and all of its records"},
		"/links/all?" + form("target", "https://evil.example:8080/a?b=<c>"): {"Links to this web page",
			"Links to any page of evil.example:8080"},
		"/xrpc/dev.weft.links.getBacklinks?" + form("subject", post, "source", like): {
			"Likes: links to this post (" + like + ")", "Links to this post"},
		"/xrpc/dev.weft.links.getBacklinks?" + form("subject", post, "source", "com.example.<b>:x"): {
			"Links to this post (com.example.<b>:x)", "Links to this post"},
		"/xrpc/dev.weft.links.getAccountBacklinks?" + form("did", alice): {"Links to this account",
			"Links to this account and all of its records"},
	} {
		w := browse(h, target)
		var titles []string
		for _, m := range alternate.FindAllStringSubmatch(w.Body.String(), -1) {
			titles = append(titles, html.UnescapeString(m[1]))
			r := httptest.NewRequest("GET", "http://weft.test"+html.UnescapeString(m[2]), nil)
			r.Header.Set("Accept", "text/html")
			feed := httptest.NewRecorder()
			h.ServeHTTP(feed, r)
			var doc struct {
				XMLName xml.Name `xml:"http://www.w3.org/2005/Atom feed"`
			}
			if err := xml.Unmarshal(feed.Body.Bytes(), &doc); err != nil || feed.Code != http.StatusOK {
				t.Errorf("%s: %s is %d, %v", target, m[2], feed.Code, err)
			}
		}
		if strings.Join(titles, "|") != strings.Join(want, "|") || w.Code != http.StatusOK {
			t.Errorf("%s: %d, the feeds are %q, not %q", target, w.Code, titles, want)
		}
	}
}

// TestFeedWords: a feed names accounts and links to records as the pages do, with the text of records.
func TestFeedWords(t *testing.T) {
	t.Parallel()
	s := index(t, 1)
	h := api.New(api.Config{Store: s, Words: web.Words{Names: names{"bob.example": bob}}})
	r := httptest.NewRequest("GET", "http://weft.test/feed?"+form("subject", post), nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var doc struct {
		Title   string `xml:"title"`
		Entries []struct {
			Title   string `xml:"title"`
			Author  string `xml:"author>name"`
			Summary string `xml:"summary"`
			Links   []struct {
				Rel  string `xml:"rel,attr"`
				Href string `xml:"href,attr"`
			} `xml:"link"`
		} `xml:"entry"`
	}
	if err := xml.Unmarshal(w.Body.Bytes(), &doc); err != nil || len(doc.Entries) != 3 {
		t.Fatalf("%d %v: %s", w.Code, err, w.Body)
	}
	e := doc.Entries[0]
	if by := " a post by " + alice[:16] + "…" + alice[len(alice)-5:]; e.Title != "bob.example quotes, replies to"+by &&
		e.Title != "bob.example replies to, quotes"+by {
		t.Errorf("the title is %q", e.Title)
	}
	if !strings.HasPrefix(doc.Title, "Links to did:plc:") || strings.Contains(doc.Title, "(") {
		t.Errorf("the feed's title is %q", doc.Title)
	}
	if e.Author != "bob.example" || !strings.HasPrefix(e.Summary, evil[0]+"\n") {
		t.Errorf("%q says %q", e.Author, e.Summary)
	}
	if !strings.HasPrefix(e.Links[0].Href, "https://bsky.app/profile/"+bob+"/post/") || e.Links[1].Rel != "via" {
		t.Errorf("it leads to %v", e.Links)
	}
}

// TestFeedTitle: a title has the names of the kinds of links, each once, and then their sources.
func TestFeedTitle(t *testing.T) {
	t.Parallel()
	const quote = "app.bsky.feed.post:embed.record.uri"
	const own = "com.example.thing:subject"
	h := api.New(api.Config{Store: index(t, 1), Words: web.Words{Names: names{"alice.example": alice}}})
	for _, c := range []struct {
		sources []string
		want    string
	}{
		{nil, "Links to alice.example"},
		{[]string{like}, "Likes: links to alice.example (" + like + ")"},
		{[]string{like, quote}, "Likes, quotes: links to alice.example (" + like + ", " + quote + ")"},
		{[]string{own}, "Links to alice.example (" + own + ")"},
		{[]string{own, like}, "Likes, others: links to alice.example (" + own + ", " + like + ")"},
	} {
		pairs := []string{"subject", alice}
		for _, source := range c.sources {
			pairs = append(pairs, "source", source)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://weft.test/feed?"+form(pairs...), nil))
		var doc struct {
			Title string `xml:"title"`
		}
		if err := xml.Unmarshal(w.Body.Bytes(), &doc); err != nil || doc.Title != c.want {
			t.Errorf("%v: %d %v, the title is %q, not %q", c.sources, w.Code, err, doc.Title, c.want)
		}
	}
}

// BenchmarkFeed makes feeds of 50 entries with text, of a page and of two sites with a hundred thousand linking
// records. The cost of a site's feed is proportional to its pages in the newest runs.
func BenchmarkFeed(b *testing.B) {
	s, err := db.Open(db.Config{Dir: b.TempDir(), Bodies: db.BodiesKeep, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	text := strings.Repeat("A post of three hundred characters. ", 8)
	body := append(binary.BigEndian.AppendUint16([]byte("\xa1\x64text\x79"), uint16(len(text))), text...)
	const each = 5000
	for seq := uint64(0); seq < 100_000; {
		var events []apply.Event
		for range each {
			seq++
			us := began + int64(seq)*1_000_000
			tid := string(link.AppendTID(nil, uint64(us)<<10))
			events = append(events, apply.Event{Seq: seq, TimeUS: us, Op: db.OpCreate,
				DID: fmt.Sprintf("did:plc:%024d", seq%20_000), Body: body,
				Collection: "app.bsky.feed.post", Rkey: tid, Rev: tid, Links: []db.Link{
					{Path: "embed.external.uri", Target: "https://example.org/"},
					{Path: "embed.media.external.uri", Target: fmt.Sprintf("https://small.example/%d", seq%1000)},
					{Path: "facets[].features[app.bsky.richtext.facet#link].uri",
						Target: fmt.Sprintf("https://example.org/%d", seq)}}})
		}
		if _, err := s.Apply(db.Batch{Host: "upstream.example", Events: events}); err != nil {
			b.Fatal(err)
		}
	}
	h := serve(b, s, web.Config{})
	for name, query := range map[string]string{
		"subject":          form("subject", "https://example.org/"),
		"host/1000pages":   form("host", "small.example"),
		"host/100000pages": form("host", "example.org"),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if w := browse(h, "/feed?"+query); w.Code != http.StatusOK || strings.Count(w.Body.String(), "<entry>") != 50 {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
	b.Run("badge", func(b *testing.B) {
		for b.Loop() {
			browse(h, "/badge.svg?"+form("host", "example.org"))
		}
	})
}
