package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/db"
)

// TestWrongParameters: each invalid parameter is refused by its name.
func TestWrongParameters(t *testing.T) {
	t.Parallel()
	h := serve(Config{})
	const (
		backlinks = "/xrpc/blue.microcosm.links.getBacklinks?"
		many      = "/xrpc/blue.microcosm.links.getManyToMany?"
		counts    = "/xrpc/blue.microcosm.links.getManyToManyCounts?"
		subject   = "subject=" + post
		both      = subject + "&source=" + like
		three     = subject + "&source=" + like + "&pathToOther=x"
		legacy    = "/links?target=" + post + "&collection=a.b.c&path=.x"
	)
	tooMany := func(name string) string {
		var b strings.Builder
		for i := range maxFilter + 1 {
			fmt.Fprintf(&b, "&%s=did:plc:n%d", name, i)
		}
		return b.String()
	}
	for _, c := range []struct {
		name      string
		target    string
		parameter string
		says      string
	}{
		{"no subject", backlinks + "source=" + like, "subject", "missing"},
		{"no query", strings.TrimSuffix(backlinks, "?"), "subject", "missing"},
		{"empty subject", backlinks + "subject=&source=" + like, "subject", "empty"},
		{"subject without =", backlinks + "subject&source=" + like, "subject", "empty"},
		{"two subjects", backlinks + subject + "&" + both, "subject", "2 times"},
		{"subject no link", backlinks + "subject=hello&source=" + like, "subject", "not a link"},
		{"subject a handle", backlinks + "subject=alice.example.com&source=" + like, "subject", "not a link"},
		{"subject with NUL", backlinks + "subject=https://example.com/%00&source=" + like, "subject", "NUL"},
		{"subject not UTF-8", backlinks + "subject=https://example.com/%ff&source=" + like, "subject", "UTF-8"},
		{"subject not UTF-8, raw", backlinks + "subject=https://example.com/\xff&source=" + like, "subject", "UTF-8"},
		{"subject with bad escape", backlinks + "subject=https://example.com/%zz&source=" + like, "subject", "percent"},
		{"subject with half an escape", backlinks + "source=" + like + "&subject=https://example.com/%2", "subject",
			"percent"},
		{"name with bad escape", backlinks + both + "&lim%it=1", "lim%it", "percent"},

		{"no source", backlinks + subject, "source", "missing"},
		{"empty source", backlinks + subject + "&source=", "source", "empty"},
		{"two sources", backlinks + both + "&source=" + like, "source", "2 times"},
		{"source without colon", backlinks + subject + "&source=app.bsky.feed.like", "source", "colon"},
		{"source without collection", backlinks + subject + "&source=:subject.uri", "source", "collection"},
		{"source with long collection", backlinks + subject + "&source=" + strings.Repeat("a", 318) + ":x", "source", "317"},
		{"source with long path", backlinks + subject + "&source=a.b.c:" + strings.Repeat("a", 1025), "source", "1024"},
		{"source with newline in collection", backlinks + subject + "&source=a.b%0a.c:x", "source", "control"},
		{"source with nul in path", backlinks + subject + "&source=a.b.c:x%00", "source", "NUL"},

		{"limit 0", backlinks + both + "&limit=0", "limit", "1 to 1000"},
		{"limit negative", backlinks + both + "&limit=-1", "limit", "1 to 1000"},
		{"limit 1001", backlinks + both + "&limit=1001", "limit", "1 to 1000"},
		{"limit huge", backlinks + both + "&limit=99999999999999999999", "limit", "1 to 1000"},
		{"limit a word", backlinks + both + "&limit=ten", "limit", "1 to 1000"},
		{"limit a fraction", backlinks + both + "&limit=1.5", "limit", "1 to 1000"},
		{"limit with sign", backlinks + both + "&limit=%2B5", "limit", "1 to 1000"},
		{"limit with space", backlinks + both + "&limit=+5", "limit", "1 to 1000"},
		{"limit in other digits", backlinks + both + "&limit=%D9%A5", "limit", "1 to 1000"},
		{"limit empty", backlinks + both + "&limit=", "limit", "empty"},
		{"two limits", backlinks + both + "&limit=1&limit=1", "limit", "2 times"},

		{"reverse a number", backlinks + both + "&reverse=1", "reverse", "true or false"},
		{"reverse in capitals", backlinks + both + "&reverse=True", "reverse", "true or false"},
		{"reverse empty", backlinks + both + "&reverse", "reverse", "empty"},

		{"cursor empty", backlinks + both + "&cursor=", "cursor", "empty"},
		{"cursor junk", backlinks + both + "&cursor=junk", "cursor", "omit it"},
		{"cursor null", backlinks + both + "&cursor=null", "cursor", "omit it"},
		{"two cursors", backlinks + both + "&cursor=a&cursor=a", "cursor", "2 times"},
		{"cursor huge", backlinks + both + "&cursor=" + strings.Repeat("A", 1<<20), "cursor", "too long"},

		{"did a handle", backlinks + both + "&did=alice.example.com", "did", "must be a DID"},
		{"one of two dids a handle", backlinks + both + "&did=did:plc:bob&did=alice.example.com", "did", "must be a DID"},
		{"did with bad escape", backlinks + both + "&did=did:plc:%a", "did", "percent"},
		{"too many dids", backlinks + both + tooMany("did"), "did", "10000"},
		{"linkDid a handle", many + three + "&linkDid=alice", "linkDid", "must be a DID"},
		{"did a handle, counts", counts + three + "&did=alice", "did", "must be a DID"},
		{"otherSubject no link", many + three + "&otherSubject=alice", "otherSubject", "absolute URI"},
		{"no pathToOther", many + both, "pathToOther", "missing"},
		{"empty pathToOther", counts + both + "&pathToOther=", "pathToOther", "empty"},
		{"long pathToOther", counts + both + "&pathToOther=" + strings.Repeat("x", 1025), "pathToOther", "1024"},

		{"no target", "/links?collection=a.b.c&path=.x", "target", "missing"},
		{"no target, count", "/links/count?collection=a.b.c&path=.x", "target", "missing"},
		{"no target, count of dids", "/links/count/distinct-dids?collection=a.b.c&path=.x", "target", "missing"},
		{"no target, dids", "/links/distinct-dids?collection=a.b.c&path=.x", "target", "missing"},
		{"no target, all", "/links/all", "target", "missing"},
		{"no target, all counts", "/links/all/count?", "target", "missing"},
		{"target no link", "/links/all?target=x", "target", "not a link"},
		{"no collection", "/links?path=.x&target=" + post, "collection", "missing"},
		{"empty collection", "/links/count?collection=&path=.x&target=" + post, "collection", "empty"},
		{"long collection", "/links/count?path=.x&target=" + post + "&collection=" + strings.Repeat("a", 318), "collection",
			"317"},
		{"no path", "/links?collection=a.b.c&target=" + post, "path", "missing"},
		{"did and from_dids", legacy + "&did=did:plc:bob&from_dids=did:plc:bob", "from_dids", "combined"},
		{"from_dids twice", legacy + "&from_dids=did:plc:bob&from_dids=did:plc:bob", "from_dids", "2 times"},
		{"from_dids a handle", legacy + "&from_dids=did:plc:bob,alice", "from_dids", "list of DIDs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := do(h, http.MethodGet, c.target)
			if w.Code != http.StatusBadRequest {
				t.Fatalf("status %d, %s", w.Code, w.Body)
			}
			if got := dig(t, w.Body.String(), "error"); got != `"InvalidRequest"` {
				t.Errorf("error %s", got)
			}
			message := dig(t, w.Body.String(), "message")
			if !strings.HasPrefix(message, "\"`"+c.parameter+"` ") || !strings.Contains(message, c.says) {
				t.Errorf("message %s doesn't say %q of %s", message, c.says, c.parameter)
			}
		})
	}
}

// spy is a store that records its last list query.
type spy struct {
	fake
	asked db.ManyQuery
}

func (s *spy) Links(_ context.Context, q db.ListQuery) (db.Page[db.Record], error) {
	s.asked = db.ManyQuery{ListQuery: q}
	return db.Page[db.Record]{}, nil
}

func (s *spy) ManyToMany(_ context.Context, q db.ManyQuery) (db.Page[db.ManyItem], error) {
	s.asked = q
	return db.Page[db.ManyItem]{}, nil
}

// TestQueries checks the queries that reach the store.
func TestQueries(t *testing.T) {
	t.Parallel()
	const (
		backlinks = "/xrpc/blue.microcosm.links.getBacklinks?"
		many      = "/xrpc/blue.microcosm.links.getManyToMany?"
	)
	likes := db.ListQuery{Target: post, Source: db.Source{Collection: "app.bsky.feed.like", Path: "subject.uri"},
		Limit: 100}
	with := func(f func(*db.ListQuery)) db.ManyQuery {
		q := likes
		f(&q)
		return db.ManyQuery{ListQuery: q}
	}
	plain := db.ManyQuery{ListQuery: likes}
	bobs := with(func(q *db.ListQuery) { q.DIDs = []string{bob} })

	for _, c := range []struct {
		name   string
		target string
		want   db.ManyQuery
	}{
		{"plain", backlinks + "subject=" + post + "&source=" + like, plain},
		{"encoded", backlinks + form("subject", post, "source", like), plain},
		{"at-uri upper case", backlinks + "subject=AT%3A%2F%2Fdid:plc:alice/app.bsky.feed.post/3kpost&source=" + like, plain},
		{"leading dot", backlinks + "subject=" + post + "&source=app.bsky.feed.like:.subject.uri", plain},
		{"unknown parameters", backlinks + "a=%zz&a&=&&b=%ff&subject=" + post + "&source=" + like + "&from_dids=x&Limit=3&&",
			plain},
		{"two colons", backlinks + "subject=" + post + "&source=a.b.c:x:y",
			with(func(q *db.ListQuery) { q.Source = db.Source{Collection: "a.b.c", Path: "x:y"} })},
		{"two dots", backlinks + "subject=" + post + "&source=a.b.c:..y",
			with(func(q *db.ListQuery) { q.Source = db.Source{Collection: "a.b.c", Path: ".y"} })},
		{"no path", backlinks + "subject=" + post + "&source=a.b.c:",
			with(func(q *db.ListQuery) { q.Source = db.Source{Collection: "a.b.c"} })},
		{"a dot alone", backlinks + "subject=" + post + "&source=a.b.c:.",
			with(func(q *db.ListQuery) { q.Source = db.Source{Collection: "a.b.c"} })},
		{"newline in the path", backlinks + "subject=" + post + "&source=a.b.c:x%0ay",
			with(func(q *db.ListQuery) { q.Source = db.Source{Collection: "a.b.c", Path: "x\ny"} })},
		{"longest path and a dot", backlinks + "subject=" + post + "&source=a.b.c:." + strings.Repeat("a", 1024),
			with(func(q *db.ListQuery) { q.Source = db.Source{Collection: "a.b.c", Path: strings.Repeat("a", 1024)} })},
		{"no NSID", backlinks + "subject=" + post + "&source=a/b:x",
			with(func(q *db.ListQuery) { q.Source = db.Source{Collection: "a/b", Path: "x"} })},
		{"plus is a space", backlinks + "subject=" + post + "&source=a.b.c:x+y%2Bz",
			with(func(q *db.ListQuery) { q.Source = db.Source{Collection: "a.b.c", Path: "x y+z"} })},
		{"semicolon", backlinks + "subject=" + post + "&source=a.b.c:x;limit=3",
			with(func(q *db.ListQuery) { q.Source = db.Source{Collection: "a.b.c", Path: "x;limit=3"} })},
		{"limit", backlinks + "subject=" + post + "&source=" + like + "&limit=1000",
			with(func(q *db.ListQuery) { q.Limit = 1000 })},
		{"limit with zeros", backlinks + "subject=" + post + "&source=" + like + "&limit=007",
			with(func(q *db.ListQuery) { q.Limit = 7 })},
		{"reverse", backlinks + "subject=" + post + "&source=" + like + "&reverse=true",
			with(func(q *db.ListQuery) { q.Reverse = true })},
		{"not reverse", backlinks + "subject=" + post + "&source=" + like + "&reverse=false", plain},
		{"dids sorted and once", backlinks + "subject=" + post + "&source=" + like + "&did=" + carol + "&did=" + bob +
			"&did=" + carol,
			with(func(q *db.ListQuery) { q.DIDs = []string{bob, carol} })},
		{"blank dids dropped", backlinks + "subject=" + post + "&source=" + like + "&did=&did=+" + bob + "+&did=%20", bobs},
		{"only blank dids", backlinks + "subject=" + post + "&source=" + like + "&did=&did=+", plain},

		{"legacy", "/links?target=" + post + "&collection=app.bsky.feed.like&path=.subject.uri", plain},
		{"legacy without dot", "/links?target=" + post + "&collection=app.bsky.feed.like&path=subject.uri", plain},
		{"legacy ignores reverse", "/links?target=" + post + "&collection=app.bsky.feed.like&path=.subject.uri&reverse=true",
			plain},
		{"from_dids", "/links?target=" + post + "&collection=app.bsky.feed.like&path=.subject.uri&from_dids=" + bob, bobs},
		{"from_dids with blanks", "/links?target=" + post + "&collection=app.bsky.feed.like&path=.subject.uri&from_dids=,+" +
			bob + ",,", bobs},
		{"only blank from_dids", "/links?target=" + post + "&collection=app.bsky.feed.like&path=.subject.uri&from_dids=,",
			plain},
		{"from_dids and blank did", "/links?target=" + post + "&collection=app.bsky.feed.like&path=.subject.uri&from_dids=" +
			bob + "&did=", bobs},
		{"did", "/links?target=" + post + "&collection=app.bsky.feed.like&path=.subject.uri&did=" + bob, bobs},

		{"many", many + "subject=" + post + "&source=" + like + "&pathToOther=.x[].y",
			db.ManyQuery{ListQuery: likes, Other: "x[].y"}},
		{"many, filtered", many + "subject=" + post + "&source=" + like + "&pathToOther=x&linkDid=" + bob + "&did=" + bob +
			"&otherSubject=AT://" + alice + "&otherSubject=&otherSubject=" + dave,
			db.ManyQuery{ListQuery: bobs.ListQuery, Other: "x", Subjects: []string{"at://" + alice, dave}}},
		{"many, filtered by the other name", many + "subject=" + post + "&source=" + like + "&pathToOther=x&did=" + bob,
			db.ManyQuery{ListQuery: bobs.ListQuery, Other: "x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			store := &spy{}
			get(t, serve(Config{Store: store}), c.target)
			asked := store.asked
			asked.Walk = 0 // TestCosts has what a query may read
			if !reflect.DeepEqual(asked, c.want) {
				t.Errorf("asked %+v, want %+v", asked, c.want)
			}
		})
	}
}

// FuzzQuery sends any query string to any route. The answer is 200 or 400, and for queries that url.ParseQuery accepts,
// both parsers agree.
func FuzzQuery(f *testing.F) {
	h := serve(Config{})
	paths := tableOfRoutes()
	for i, seed := range []string{
		"", "&", "=", "%", "a=%zz", "a;b=c", "subject=" + post + "&source=" + like + "&pathToOther=x&limit=1",
		"target=" + post + "&collection=app.bsky.feed.like&path=.subject.uri&from_dids=a,b", "subject=\xff%00",
		"did=+&did=%C3%A9",
	} {
		f.Add(uint8(i), seed)
	}
	f.Fuzz(func(t *testing.T, route uint8, query string) {
		path := paths[int(route)%len(paths)]
		if isStream(path) {
			return // streams don't end
		}
		method := http.MethodGet
		if def := definitions.At(path); def != nil {
			method = def.Method()
		}
		w := do(h, method, path+"?"+query)
		if w.Code != 200 && w.Code != 400 && path != "/.well-known/did.json" {
			t.Fatalf("%s?%q: status %d, %s", path, query, w.Code, w.Body)
		}
		p := parseQuery(routes.Status, query)
		want, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		for name, values := range want {
			if strings.Contains(strings.Join(values, ""), "\x00") ||
				strings.ToValidUTF8(strings.Join(values, "|"), "") != strings.Join(values, "|") {
				continue
			}
			if got := p.values(name); p.err != nil || !reflect.DeepEqual(got, values) {
				t.Fatalf("%q of %q: got %q and %v, want %q", name, query, got, p.err, values)
			}
		}
	})
}

// TestFilterOfManyHasTwoNames: linkDid and did are one filter in both many-to-many methods, also together.
func TestFilterOfManyHasTwoNames(t *testing.T) {
	t.Parallel()
	h := serve(Config{})
	for _, method := range []string{"getManyToMany", "getManyToManyCounts"} {
		query := func(pairs ...string) string {
			return xrpc(method, append([]string{"subject", list, "source", listitem, "pathToOther", "subject"}, pairs...)...)
		}
		want := get(t, h, query("did", dave))
		if want == get(t, h, query()) || want == get(t, h, query("did", "did:plc:nobody")) {
			t.Fatalf("%s: the filter changes nothing: %s", method, want)
		}
		for _, same := range []string{query("linkDid", dave), query("did", dave, "linkDid", dave),
			query("linkDid", dave, "did", "did:plc:nobody")} {
			if got := get(t, h, same); got != want {
				t.Errorf("%s: %s, want %s", same, got, want)
			}
		}
	}
}
