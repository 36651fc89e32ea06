package api

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"weft.dev/weft/db"
)

// feedDoc is a feed, decoded by a strict XML parser.
type feedDoc struct {
	XMLName xml.Name `xml:"http://www.w3.org/2005/Atom feed"`
	ID      []string `xml:"id"`
	Title   []string `xml:"title"`
	Updated []string `xml:"updated"`
	Author  []string `xml:"author>name"`
	Links   []xLink  `xml:"link"`
	Entries []struct {
		ID      []string `xml:"id"`
		Title   []string `xml:"title"`
		Updated []string `xml:"updated"`
		Author  []string `xml:"author>name"`
		Summary []string `xml:"summary"`
		Content []string `xml:"content"`
		Links   []xLink  `xml:"link"`
	} `xml:"entry"`
}

type xLink struct {
	Rel  string `xml:"rel,attr"`
	Type string `xml:"type,attr"`
	Href string `xml:"href,attr"`
}

// tagURI is the grammar of RFC 4151, with a domain name as the authority.
var tagURI = regexp.MustCompile(
	`^tag:[a-z0-9.-]+,\d{4}(-\d\d(-\d\d)?)?:([A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-F]{2})*$`)

// readFeed parses a feed and checks the requirements of RFC 4287.
func readFeed(t *testing.T, body []byte) feedDoc {
	t.Helper()
	var doc feedDoc
	d := xml.NewDecoder(bytes.NewReader(body)) // strict
	if err := d.Decode(&doc); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		t.Errorf("something follows the feed: %v", err)
	}
	one := func(what string, values []string) string {
		t.Helper()
		if len(values) != 1 || strings.TrimSpace(values[0]) == "" {
			t.Errorf("%s: %q, not exactly one", what, values)
			return ""
		}
		return values[0]
	}
	when := func(what string, values []string) {
		t.Helper()
		if _, err := time.Parse(time.RFC3339Nano, one(what, values)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	id := func(what string, values []string) string {
		t.Helper()
		v := one(what, values)
		if !tagURI.MatchString(v) {
			t.Errorf("%s: %q is no tag URI", what, v)
		}
		return v
	}
	id("the feed's id", doc.ID)
	one("the feed's title", doc.Title)
	when("the feed's time", doc.Updated)
	links(t, doc.Links, "self", "alternate")
	seen := map[string]bool{}
	for i, e := range doc.Entries {
		if key := id("an entry's id", e.ID); seen[key] {
			t.Errorf("two entries have the id %s", key)
		} else {
			seen[key] = true
		}
		one("an entry's title", e.Title)
		when("an entry's time", e.Updated)
		one("an entry's author", e.Author) // if the feed has no author
		one("an entry's summary", e.Summary)
		links(t, e.Links, "alternate") // required for an entry without content
		if i > 0 && e.Updated[0] > doc.Entries[i-1].Updated[0] {
			t.Errorf("entry %d is newer than the one before", i)
		}
		for _, text := range []string{e.Title[0], e.Author[0], e.Summary[0]} {
			if strings.ContainsFunc(text, func(r rune) bool {
				return unicode.IsControl(r) && r != '\n' && r != '\t' || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
			}) {
				t.Errorf("%q turns or hides the text around it", text)
			}
		}
	}
	return doc
}

// links checks that links are absolute, and that each needed kind occurs once.
func links(t *testing.T, all []xLink, need ...string) {
	t.Helper()
	count := map[string]int{}
	for _, l := range all {
		count[l.Rel]++
		if u, err := url.Parse(l.Href); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			t.Errorf("a link %q leads to %q", l.Rel, l.Href)
		}
	}
	for _, rel := range need {
		if count[rel] != 1 {
			t.Errorf("%d links %q", count[rel], rel)
		}
	}
}

// hostileTexts are texts of records, handles or keys that try to break out of a feed or a badge.
var hostileTexts = []string{
	`<script>alert(1)</script>`, `]]><script>alert(1)</script><![CDATA[`, `]]>`, `<![CDATA[x`, `<!--`, `-->`,
	`<?xml version="1.0"?>`,
	`"><svg onload=alert(1)>`, `' onload='alert(1)`, `&lt;b&gt;`, `&#0;`, `&bogus;`, `&`,
	`<!ENTITY x SYSTEM "file:///etc/passwd">`, `&x;`,
	"\x00", "\x01\x08\x0b\x0c\x0e\x1f", "\x7f\u0080\u009f", "\ufffe\uffff", "\xff\xfe", "\ud7ff\ue000", "\xed\xa0\x80",
	"\u202eevil\u202c", "\u2066a\u2069\u200f\u200e\u061c", "\u2028\u2029", "\r\n\t", "a\u0300\u0301\u0302",
	strings.Repeat("\U0001f600", 5000),
	strings.Repeat("<", 3000), "javascript:alert(1)", "",
}

// hostileWords returns a hostile text for everything.
type hostileWords struct{ text string }

func (w hostileWords) Name(did string) string        { return did + w.text }
func (w hostileWords) Verb(_, _ string) string       { return w.text }
func (w hostileWords) Title(string, []string) string { return w.text + "links" + w.text }
func (w hostileWords) Target(string) string          { return w.text }
func (w hostileWords) What(string) string            { return w.text }
func (w hostileWords) Open(_, _, _ string) string    { return "" }

// saying is an index whose records all have the same text.
type saying struct {
	fake
	text string
}

func (s saying) Bodies(_ context.Context, records []db.Record) ([]db.Body, error) {
	bodies := make([]db.Body, len(records))
	head := append([]byte("\xa1\x64text\x7a"), byte(len(s.text)>>24), byte(len(s.text)>>16), byte(len(s.text)>>8),
		byte(len(s.text)))
	for i := range bodies {
		bodies[i] = db.Body{CID: "bafyrei", CBOR: append(head, s.text...)}
	}
	return bodies, nil
}

// TestFeedIsAtom: feeds of all kinds meet RFC 4287, whatever the texts of records and accounts.
func TestFeedIsAtom(t *testing.T) {
	t.Parallel()
	for i, text := range hostileTexts {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			h := serve(Config{Store: saying{indexed, text}, Words: hostileWords{text}})
			for _, query := range []string{form("subject", post), form("did", alice), form("did", bob),
				form("host", "example.com"),
				form("subject", page, "source", "app.bsky.feed.post:embed.external.uri"),
				form("subject", "https://nowhere.example/")} {
				w := do(h, "GET", "/feed?"+query)
				if w.Code != 200 {
					t.Fatalf("%s: %d %s", query, w.Code, w.Body)
				}
				readFeed(t, w.Body.Bytes())
			}
		})
	}
}

func FuzzFeed(f *testing.F) {
	for _, text := range hostileTexts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h := serve(Config{Store: saying{indexed, text}, Words: hostileWords{text}})
		w := do(h, "GET", "/feed?"+form("did", alice))
		if w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		readFeed(t, w.Body.Bytes())
		readSVG(t, badgeSVG(oneLine(text, maxLabel), "1"))
		w = do(h, "GET", "/badge.svg?"+form("subject", post, "label", text))
		if w.Code == 200 {
			readSVG(t, w.Body.Bytes())
		} else if w.Code != 400 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}

// readSVG checks that an image is well-formed and has only the elements and attributes of badges.
func readSVG(t *testing.T, body []byte) (texts []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(body))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		switch e := token.(type) {
		case xml.StartElement:
			if !strings.Contains(" svg title clipPath rect g text ", " "+e.Name.Local+" ") {
				t.Errorf("there is a <%s> in %s", e.Name.Local, body)
			}
			for _, a := range e.Attr {
				if strings.HasPrefix(a.Name.Local, "on") || strings.Contains(a.Name.Local, "href") || a.Name.Local == "style" {
					t.Errorf("<%s> has %s in %s", e.Name.Local, a.Name.Local, body)
				}
			}
		case xml.CharData:
			texts = append(texts, string(e))
		case xml.Directive, xml.ProcInst, xml.Comment:
			t.Errorf("there is %T in %s", e, body)
		}
	}
}

// TestFeedIDs: ids don't depend on the server's address or on the feed, and the feed's time is that of its newest link.
func TestFeedIDs(t *testing.T) {
	t.Parallel()
	h := serve(Config{})
	ids := func(host, query string) (feed string, entries []string) {
		r := newRequest("/feed?" + query)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		doc := readFeed(t, w.Body.Bytes())
		if len(doc.Entries) > 0 && doc.Updated[0] != doc.Entries[0].Updated[0] {
			t.Errorf("the feed is of %s and its newest entry of %s", doc.Updated[0], doc.Entries[0].Updated[0])
		}
		if !strings.HasPrefix(doc.Links[0].Href, "http://"+host+"/feed?") {
			t.Errorf("the feed is at %s", doc.Links[0].Href)
		}
		for _, e := range doc.Entries {
			entries = append(entries, e.ID[0])
		}
		return doc.ID[0], entries
	}
	one, entries := ids("one.example", form("subject", post))
	two, again := ids("two.example:8080", form("subject", post, "limit", "100"))
	if one != two || fmt.Sprint(entries) != fmt.Sprint(again) || len(entries) != 5 {
		t.Errorf("%s %v, elsewhere %s %v", one, entries, two, again)
	}
	three, ofAccount := ids("one.example", form("did", alice))
	if three == one || !strings.Contains(fmt.Sprint(ofAccount), entries[0]) {
		t.Errorf("another feed: %s %v", three, ofAccount)
	}
}

// TestFeedOfRecord: a record with several links is one entry, which names them.
func TestFeedOfRecord(t *testing.T) {
	t.Parallel()
	reply := db.Record{DID: bob, Collection: "app.bsky.feed.post", Rkey: "3kreply"}
	h := serve(Config{Store: fake{
		{reply, "reply.root.uri", post}, {reply, "reply.parent.uri", post}, {reply, "facets[].features[].did", alice},
		{db.Record{DID: carol, Collection: "app.bsky.graph.follow", Rkey: "3kf"}, "subject", alice},
	}})
	doc := readFeed(t, []byte(get(t, h, "/feed?"+form("did", alice))))
	if len(doc.Entries) != 2 || !strings.Contains(doc.Entries[1].Title[0], alice) ||
		!strings.Contains(doc.Entries[1].Title[0], post) {
		t.Errorf("%+v", doc.Entries)
	}
	if doc := readFeed(t, []byte(get(t, h, "/feed?"+form("did", alice, "limit", "1")))); len(doc.Entries) != 1 {
		t.Errorf("%d entries, not 1", len(doc.Entries))
	}
}

// TestFeedConditions: an unchanged feed is a 304, and a removed link is a change.
func TestFeedConditions(t *testing.T) {
	t.Parallel()
	target := "/feed?" + form("subject", post)
	h := serve(Config{})
	w := do(h, "GET", target)
	tag, modified := w.Header().Get("ETag"), w.Header().Get("Last-Modified")
	if tag == "" || modified != time.UnixMicro(timeOf(len(indexed)-1)).UTC().Format(http.TimeFormat) ||
		!strings.Contains(w.Header().Get("Cache-Control"), "max-age=300") {
		t.Fatalf("%v", w.Header())
	}
	fewer := serve(Config{Store: indexed[:len(indexed)-1]})
	for _, c := range []struct {
		name    string
		h       http.Handler
		status  int
		headers []string
	}{
		{"the tag", h, 304, []string{"If-None-Match", tag}},
		{"the weak tag", h, 304, []string{"If-None-Match", "W/" + tag}},
		{"another tag", h, 200, []string{"If-None-Match", `"other"`}},
		{"the time", h, 304, []string{"If-Modified-Since", modified}},
		{"another time", h, 200, []string{"If-Modified-Since", "Tue, 14 Nov 2023 22:13:21 GMT"}},
		{"no time", h, 200, []string{"If-Modified-Since", "yesterday"}},
		{"the tag wins over the time", h, 200, []string{"If-None-Match", `"other"`, "If-Modified-Since", modified}},
		{"the newest link is gone: the tag", fewer, 200, []string{"If-None-Match", tag}},
		{"the newest link is gone: the time", fewer, 200, []string{"If-Modified-Since", modified}},
	} {
		w := do(c.h, "GET", target, c.headers...)
		if w.Code != c.status || w.Code == 304 && (w.Body.Len() > 0 || w.Header().Get("ETag") != tag ||
			w.Header().Get("Last-Modified") != modified) {
			t.Errorf("%s: %d, %d bytes, %v", c.name, w.Code, w.Body.Len(), w.Header())
		}
	}
	empty := do(h, "GET", "/feed?"+form("subject", "https://nowhere.example/"))
	if empty.Header().Get("Last-Modified") != "" {
		t.Errorf("an empty feed is of %s", empty.Header().Get("Last-Modified"))
	}
	if w := do(h, "HEAD", target); w.Code != 200 || w.Body.Len() > 0 || w.Header().Get("ETag") != tag {
		t.Errorf("HEAD: %d, %d bytes, %v", w.Code, w.Body.Len(), w.Header())
	}
}

// TestFeedRefuses: an invalid host, and more than one subject, are refused.
func TestFeedRefuses(t *testing.T) {
	t.Parallel()
	h := serve(Config{})
	for _, host := range []string{"https://example.com", "example.com/a", "example.com?", "a@example.com", "example.com#",
		`example.com\a`, "a b",
		"example.com:x", "%zz", "["} {
		if w := do(h, "GET", "/feed?"+form("host", host)); w.Code != 400 || !strings.Contains(w.Body.String(), "`host` ") {
			t.Errorf("%q: %d %s", host, w.Code, w.Body)
		}
	}
	for query, name := range map[string]string{
		"": "subject", form("subject", post, "did", alice): "subject", form("did", alice, "host", "example.com"): "subject",
	} {
		for _, path := range []string{"/feed", "/badge.svg"} {
			if w := do(h, "GET", path+"?"+query); w.Code != 400 || !strings.Contains(w.Body.String(), "`"+name+"` ") {
				t.Errorf("%s?%s: %d %s", path, query, w.Code, w.Body)
			}
		}
	}
	if w := do(h, "GET", "/badge.svg?"+form("did", alice, "source", like)); w.Code != 400 ||
		!strings.Contains(w.Body.String(), "`source` ") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, host := range []string{"EXAMPLE.com", "example.com:443", "example.com:8080", "bücher.example",
		"[2001:db8::1]"} {
		if w := do(h, "GET", "/feed?"+form("host", host)); w.Code != 200 {
			t.Errorf("%q: %d %s", host, w.Code, w.Body)
		}
	}
}

// TestBadge: the image has the count, allows caching and embedding, and contains only its text.
func TestBadge(t *testing.T) {
	t.Parallel()
	h := serve(Config{})
	for _, c := range []struct{ query, says string }{
		{form("subject", post, "source", like, "label", "likes"), "likes: 3"},
		{form("subject", post, "source", like, "source", "app.bsky.feed.post:reply.parent.uri"), "links: 4"},
		{form("subject", page, "source", "app.bsky.feed.post:embed.external.uri"), "link: 1"},
		{form("did", alice), "links: 8"},
		{form("host", "example.com"), "links: 2"},
		{form("subject", "https://nowhere.example/"), "links: 0"},
	} {
		w := do(h, "GET", "/badge.svg?"+c.query)
		if w.Code != 200 || w.Header().Get("Content-Type") != "image/svg+xml" || w.Header().Get("ETag") == "" ||
			!strings.Contains(w.Header().Get("Cache-Control"), "max-age=300") ||
			w.Header().Get("Cross-Origin-Resource-Policy") != "cross-origin" ||
			w.Header().Get("Access-Control-Allow-Origin") != "*" ||
			!strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Fatalf("%s: %d %v", c.query, w.Code, w.Header())
		}
		if texts := readSVG(t, w.Body.Bytes()); texts[0] != c.says {
			t.Errorf("%s says %q, not %q", c.query, texts, c.says)
		}
		if w := do(h, "GET", "/badge.svg?"+c.query, "If-None-Match", w.Header().Get("ETag")); w.Code != 304 {
			t.Errorf("%s: %d", c.query, w.Code)
		}
	}
	for _, text := range hostileTexts {
		readSVG(t, badgeSVG(text, text))
		if w := do(h, "GET", "/badge.svg?"+form("subject", post, "label", text)); w.Code == 200 {
			readSVG(t, w.Body.Bytes())
		} else if w.Code != 400 {
			t.Errorf("%q: %d", text, w.Code)
		}
	}
}
