package web_test

import (
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
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
			text := strings.Join(evil, "\n") + strings.Repeat("x", 300) // CBOR length of two bytes
			// {"text":…} as CBOR
			body = append(binary.BigEndian.AppendUint16([]byte("\xa1\x64text\x79"), uint16(len(text))), text...)
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
