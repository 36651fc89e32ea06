package web_test

import (
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/api"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
	"weft.dev/weft/web"
)

const (
	alice = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	bob   = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
	post  = "at://" + alice + "/app.bsky.feed.post/3l6oveex3ii2l"
	like  = "app.bsky.feed.like:subject.uri"

	// began is the time of the first event, 1 October 2024, in microseconds since 1970.
	began = int64(1_727_740_800_000_000)
)

// evil are texts of records that try to break out of a page in different ways.
var evil = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'><svg onload=alert(1)>`,
	`</title><script>alert(1)</script>`,
	`javascript:alert(1)`, `{{.}}`, "`${alert(1)}`", `--><script>alert(1)</script>`, `" autofocus onfocus="alert(1)`,
	`\u003cscript\u003e`,
}

// index returns a store of likes of a post, each by another account, and of a record with hostile links.
func index(t testing.TB, likes int) *db.Store {
	t.Helper()
	s, err := db.Open(db.Config{Dir: t.TempDir(), Bodies: db.BodiesKeep, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var events []apply.Event
	seq := uint64(0)
	commit := func() {
		if _, err := s.Apply(db.Batch{Host: "upstream.example", Events: events}); err != nil {
			t.Fatal(err)
		}
		events = nil
	}
	add := func(did, collection, rkey string, links ...db.Link) {
		seq++
		us := began + int64(seq)*1_000_000
		if rkey == "" {
			rkey = string(link.AppendTID(nil, uint64(us)<<10))
		}
		var body []byte
		if did == bob {
			text := strings.Join(evil, "\n") + strings.Repeat("x", 300)                                          // CBOR length of two bytes
			body = append(binary.BigEndian.AppendUint16([]byte("\xa1\x64text\x79"), uint16(len(text))), text...) // {"text":…} as CBOR
		}
		events = append(events, apply.Event{Body: body, Seq: seq, TimeUS: us, Op: db.OpCreate, DID: did,
			Collection: collection, Rkey: rkey,
			Rev: string(link.AppendTID(nil, uint64(us)<<10)), Links: links})
		if len(events) == 5000 {
			commit()
		}
	}
	for i := range likes {
		add(fmt.Sprintf("did:plc:%024d", i), "app.bsky.feed.like", "", db.Link{Path: "subject.uri", Target: post})
	}
	var links []db.Link
	for _, text := range evil {
		links = append(links, db.Link{Path: text, Target: post})
		if target, kind := link.Parse("https://evil.example/" + url.PathEscape(text) + "?'\"=" +
			url.QueryEscape(text)); kind != link.None {
			links = append(links, db.Link{Path: "url", Target: target})
		}
		if target, kind := link.Parse(text); kind != link.None {
			links = append(links, db.Link{Path: "text", Target: target})
		}
	}
	add(bob, "com.example.evil", "a:b_c~d.e-f", links...)
	add(bob, "app.bsky.graph.follow", "", db.Link{Path: "subject", Target: alice})
	add(bob, "app.bsky.feed.post", "", db.Link{Path: "embed.record.uri", Target: post},
		db.Link{Path: "reply.parent.uri", Target: post})
	commit()
	return s
}

// serve returns the pages of an index.
func serve(t testing.TB, s *db.Store, c web.Config) http.Handler {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	degraded := func() string {
		if c.Current == nil || c.Current() == nil {
			return ""
		}
		return c.Current().Error()
	}
	c.API = api.New(api.Config{Store: s, InstanceID: s.Instance(), Logger: logger, Degraded: degraded,
		Upstream: func() *wire.Upstream { return &wire.Upstream{Host: evil[1]} }})
	c.Store, c.Logger = s, logger
	return web.New(c)
}

// browse requests a page as a browser does.
func browse(h http.Handler, target string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "http://weft.test/", nil)
	path, query, _ := strings.Cut(target, "?")
	r.URL = &url.URL{Path: path, RawQuery: query}
	r.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func form(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

// safe returns the first fault of a page: an element or attribute that could run or load something, or an invalid
// address.
func safe(page string) error {
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	scripts := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		name := strings.ToLower(e.Name.Local)
		if slices.Contains([]string{"iframe", "object", "embed", "base", "style", "foreignobject", "animate", "set", "use"},
			name) {
			return fmt.Errorf("there is a <%s>", name)
		}
		for _, a := range e.Attr {
			attribute := strings.ToLower(a.Name.Local)
			switch {
			case strings.HasPrefix(attribute, "on"), attribute == "style", attribute == "srcdoc", attribute == "formaction":
				return fmt.Errorf("<%s> has %s=%q", name, attribute, a.Value)
			case attribute == "src", name == "link" && attribute == "href":
				// Browsers don't load feeds by themselves.
				if !strings.HasPrefix(a.Value, "/assets/") && !slices.Contains(e.Attr,
					xml.Attr{Name: xml.Name{Local: "rel"}, Value: "alternate"}) {
					return fmt.Errorf("<%s> loads %q", name, a.Value)
				}
			case attribute == "href", attribute == "action":
				if !strings.HasPrefix(a.Value, "/") && !strings.HasPrefix(a.Value, "https://") &&
					!strings.HasPrefix(a.Value, "http://") && !strings.HasPrefix(a.Value, "#") || strings.HasPrefix(a.Value, "//") {
					return fmt.Errorf("<%s> leads to %q", name, a.Value)
				}
			}
		}
		if name == "script" {
			scripts++
			if !slices.ContainsFunc(e.Attr, func(a xml.Attr) bool { return a.Name.Local == "src" }) {
				return errors.New("there is a script in the page itself")
			}
		}
		if name == "img" && len(e.Attr) == 0 {
			return errors.New("there is an <img> that nobody meant")
		}
	}
	if scripts == 0 {
		return errors.New("the page's script is missing")
	}
	return nil
}

// pages returns the addresses of all pages, with valid parameters.
func pages() []string {
	record := "at://" + bob + "/com.example.evil/a:b_c~d.e-f"
	both := form("subject", post, "source", like)
	old := form("target", post, "collection", "app.bsky.feed.like", "path", ".subject.uri")
	return []string{
		"/", "/status", "/api", "/lexicons", "/lexicons/dev.weft.links.getTimeline",
		"/links/all?" + form("target", post), "/links/all?" + form("target", alice), "/links/all?" + form("target", bob),
		"/links/all?" + form("target", record),
		"/links/all/count?" + form("target", post), "/links/all?" + form("target", "https://nowhere.example/"),
		"/links/all?" + form("target", "javascript:alert(1)"),
		"/links?" + old, "/links/count?" + old, "/links/distinct-dids?" + old, "/links/count/distinct-dids?" + old,
		"/xrpc/blue.microcosm.links.getBacklinks?" + both, "/xrpc/blue.microcosm.links.getBacklinksCount?" + both,
		"/xrpc/blue.microcosm.links.getBacklinkDids?" + both, "/xrpc/blue.microcosm.links.getDistinct?" + both,
		"/xrpc/blue.microcosm.links.getManyToMany?" + form("subject", post, "source", "com.example.evil:"+evil[1],
			"pathToOther", "url"),
		"/xrpc/blue.microcosm.links.getManyToManyCounts?" + form("subject", post, "source", "com.example.evil:"+evil[1],
			"pathToOther", "url"),
		"/xrpc/dev.weft.links.getBacklinks?" + both + "&limit=2", "/xrpc/dev.weft.links.getBacklinkDids?" + both + "&limit=2",
		"/xrpc/dev.weft.links.getBacklinks?" + form("subject", post, "source", "com.example.evil:"+evil[0]),
		"/xrpc/dev.weft.links.getCounts?" + both, "/xrpc/dev.weft.links.getTimeline?" + both,
		"/xrpc/dev.weft.links.getAccountBacklinks?" + form("did", alice),
		"/xrpc/dev.weft.links.getAccountBacklinks?" + form("did", alice, "hydrate", "true"),
		"/xrpc/dev.weft.links.getAccountCounts?" + form("did", alice),
		"/xrpc/dev.weft.links.getTop", "/xrpc/dev.weft.links.getTop?" +
			form("source", "com.example.evil:"+evil[0], "hours", "1"),
		"/xrpc/dev.weft.links.getRecordLinks?" + form("did", bob, "collection", "com.example.evil", "rkey", "a:b_c~d.e-f"),
	}
}

// TestPages: every page is complete and safe, over an index with hostile texts.
func TestPages(t *testing.T) {
	t.Parallel()
	h := serve(t, index(t, 20), web.Config{Lag: func() time.Duration { return time.Second }})
	for _, target := range pages() {
		w := browse(h, target)
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d %s", target, w.Code, w.Header().Get("Content-Type"))
			continue
		}
		if err := safe(w.Body.String()); err != nil {
			t.Errorf("%s: %v", target, err)
		}
		for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy"} {
			if w.Header().Get(name) == "" {
				t.Errorf("%s: no %s", target, name)
			}
		}
		if !strings.Contains(strings.Join(w.Header().Values("Vary"), ","), "Accept") {
			t.Errorf("%s: Vary is %q", target, w.Header().Values("Vary"))
		}
	}
}

// TestHostileParameters sends hostile texts in each parameter of each page.
func TestHostileParameters(t *testing.T) {
	t.Parallel()
	h := serve(t, index(t, 3), web.Config{})
	for _, target := range append(pages(), "/search?q=x", "/nothing?x=y") {
		path, query, _ := strings.Cut(target, "?")
		good, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		names := []string{"cursor", "trail", "from", "did", "since", "until", "limit", "reverse", "format",
			`"><img src=x onerror=alert(1)>`}
		for name := range good {
			names = append(names, name)
		}
		for _, name := range names {
			all := strings.Join(evil, " ")
			values := []string{all, "javascript:alert(1)", "https://evil.example/" + all, "a.b.c:" + all}
			if testing.Short() {
				values = values[2:]
			}
			for _, value := range values {
				v := url.Values{}
				for n, values := range good {
					v[n] = values
				}
				v.Set(name, value)
				w := browse(h, path+"?"+v.Encode())
				if w.Code == http.StatusSeeOther || strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
					continue
				}
				if w.Code >= 500 && w.Code != http.StatusNotImplemented {
					t.Errorf("%s with %s=%s: %d", path, name, value, w.Code)
				}
				if err := safe(w.Body.String()); err != nil {
					t.Errorf("%s with %s=%s: %v", path, name, value, err)
				}
			}
		}
	}
}

// TestHostileHeaders: the Host header is shown on the page only if it is a valid host.
func TestHostileHeaders(t *testing.T) {
	t.Parallel()
	h := serve(t, index(t, 1), web.Config{})
	for _, text := range append([]string{"weft.example:8080", "[::1]:80"}, evil...) {
		r := httptest.NewRequest("GET", "http://weft.test/links/all?target="+url.QueryEscape(post), nil)
		r.Host = text
		r.Header.Set("Accept", "text/html")
		r.Header.Set("X-Forwarded-Proto", text)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if err := safe(w.Body.String()); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		shown := strings.Contains(w.Body.String(), "curl &#39;http://"+text+"/links/all")
		if want := strings.HasPrefix(text, "weft") || strings.HasPrefix(text, "["); shown != want {
			t.Errorf("%s: shown %t", text, shown)
		}
	}
}

// TestSameAddress: a request gets a page or JSON by its Accept header.
func TestSameAddress(t *testing.T) {
	t.Parallel()
	h := serve(t, index(t, 1), web.Config{})
	target := "/links/all?" + form("target", post)
	for accept, page := range map[string]bool{
		"": false, "*/*": false, "application/json": false, "text/html": true, "text/html, */*": true,
		"application/json, */*": false,
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8": true,
		"text/html;q=0.5, application/json":                                          false,
		"application/json;q=0.5, text/html":                                          true, "text/html;q=0": false,
		"application/json, text/html": false, "text/html;q=x": false, "TEXT/HTML": true, "text/plain": false,
	} {
		r := httptest.NewRequest("GET", "http://weft.test"+target, nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := strings.HasPrefix(w.Header().Get("Content-Type"), "text/html"); got != page || w.Code != 200 {
			t.Errorf("Accept %q: %d, a page: %t", accept, w.Code, got)
		}
	}
	if w := browse(h, target+"&format=json"); !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
		t.Errorf("format=json gives %s", w.Header().Get("Content-Type"))
	}
	for _, path := range []string{"/openapi.json", "/xrpc/_health", "/readyz", "/robots.txt"} {
		if w := browse(h, path); w.Code != 200 || strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
	}
}

// TestWalk reads a list page by page, forward to its end and back.
func TestWalk(t *testing.T) {
	t.Parallel()
	h := serve(t, index(t, 23), web.Config{})
	follow := func(page, rel string) string {
		_, rest, ok := strings.Cut(page, `rel="`+rel+`" href="`)
		if !ok {
			return ""
		}
		target, _, _ := strings.Cut(rest, `"`)
		return strings.ReplaceAll(target, "&amp;", "&")
	}
	linkers := func(page string) []string {
		var found []string
		for _, part := range strings.Split(page, `data-did="`)[1:] {
			did, _, _ := strings.Cut(part, `"`)
			found = append(found, did)
		}
		return found
	}
	var forward [][]string
	target := "/xrpc/dev.weft.links.getBacklinks?" + form("subject", post, "source", like, "limit", "5")
	seen := map[string]bool{}
	var page string
	for target != "" {
		page = browse(h, target).Body.String()
		forward = append(forward, linkers(page))
		for _, did := range linkers(page) {
			if seen[did] {
				t.Errorf("%s comes twice", did)
			}
			seen[did] = true
		}
		target = follow(page, "next")
	}
	if len(seen) != 23 || len(forward) != 5 {
		t.Fatalf("%d accounts on %d pages", len(seen), len(forward))
	}
	for i := len(forward) - 2; i >= 0; i-- {
		target = follow(page, "prev")
		if target == "" {
			t.Fatalf("page %d has no way back", i+1)
		}
		page = browse(h, target).Body.String()
		if got := linkers(page); !slices.Equal(got, forward[i]) {
			t.Errorf("page %d is %v on the way back, and was %v", i, got, forward[i])
		}
	}
	if follow(page, "prev") != "" {
		t.Error("there is something before the first page")
	}
}

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
		`open in <a href="https://pdsls.dev/at://` + bob + `/com.example.evil/a:b_c~d.e-f" rel="noopener noreferrer nofollow ugc">PDSls</a>`,
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
		for _, m := range regexp.MustCompile(`<a class="address" href="[^"]*">([^<]*)</a></th><td class="right num">(\d+)<`).FindAllStringSubmatch(page, -1) {
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

// TestSearch: a search redirects to the page of its target.
func TestSearch(t *testing.T) {
	t.Parallel()
	h := serve(t, index(t, 1), web.Config{Names: names{"alice.test": alice, alice + "/sh.tangled.repo/core": "3m"}})
	for q, to := range map[string]string{
		"https://tangled.org/@alice.test/core": "/links/all?target=at://" + alice +
			"/sh.tangled.repo/3m&from=https://tangled.org/%40alice.test/core",
		"tangled.sh/alice.test/core/issues/3": "/links/all?target=at://" + alice +
			"/sh.tangled.repo/3m&from=https://tangled.sh/alice.test/core/issues/3",
		"https://tangled.org/@alice.test/other": "/links/all?target=" + alice +
			"&from=https://tangled.org/%40alice.test/other",
		"":                           "/",
		post:                         "/links/all?target=" + post,
		"@alice.test":                "/links/all?target=" + alice,
		"alice.test":                 "/links/all?target=" + alice,
		"at://alice.test/a.b.c/self": "/links/all?target=at://" + alice + "/a.b.c/self",
		"https://bsky.app/profile/alice.test/post/3l6oveex3ii2l": "/links/all?target=" + post +
			"&from=https://bsky.app/profile/alice.test/post/3l6oveex3ii2l",
		"https://example.com/a?b=c": "/links/all?target=https://example.com/a%3Fb%3Dc",
	} {
		w := browse(h, "/search?"+form("q", q))
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != to {
			t.Errorf("%s: %d to %q, not %q", q, w.Code, w.Header().Get("Location"), to)
		}
	}
	w := browse(h, "/search?q=nobody.test")
	if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(),
		`href="/links/all?target=https://nobody.test/"`) {
		t.Errorf("of nobody: %d %s", w.Code, w.Body)
	}
	r := httptest.NewRecorder()
	h.ServeHTTP(r, httptest.NewRequest("GET", "http://weft.test/names?did="+alice+"&did="+bob+"&did=x", nil))
	if r.Body.String() != `{"`+alice+`":"alice.test"}` {
		t.Errorf("names: %s", r.Body)
	}
	if page := browse(h, "/links/all?target="+alice).Body.String(); !strings.Contains(page, "alice.test</h1>") {
		t.Error("an account's page doesn't have its handle")
	}
}
