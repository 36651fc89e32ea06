package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"weft.dev/weft/db"
)

const batch = "/xrpc/dev.weft.links.batchCounts"

func TestBatchCounts(t *testing.T) {
	t.Parallel()
	h := serve(Config{})
	pair := func(subject, source string) string {
		return fmt.Sprintf(`{"subject":%q,"source":%q}`, subject, source)
	}
	thousand := strings.TrimSuffix(strings.Repeat(pair(post, like)+",", 1000), ",")
	long := "https://example.com/" + strings.Repeat("x", 8000)
	for _, c := range []struct {
		name, body string
		status     int
		says       string // start of the message, or substring of the answer
	}{
		{"pairs", `{"pairs":[` + pair(post, like) + `,` + pair(list, listitem) + `,` + pair(post, like) + `]}`, 200,
			`{"counts":[{"subject":"` + post + `","source":"` + like + `","links":3,"dids":2},{"subject":"` + list +
				`","source":"` + listitem + `","links":3,"dids":2},{"sub`},
		{"subjects and sources", `{"subjects":["` + post + `"],"sources":["` + like + `","a.b.c:x"]}`, 200, `"links":0`},
		{"a spelling is answered as it was asked", `{"pairs":[` +
			pair("HTTPS://EXAMPLE.com/a?b=1&c=2", "app.bsky.feed.post:.embed.external.uri") + `]}`, 200,
			`"HTTPS://EXAMPLE.com/a?b=1&c=2","source":"app.bsky.feed.post:.embed.external.uri","links":1`},
		{"nothing asked", `{"pairs":[]}`, 200, `{"counts":[]}`},
		{"members that nobody knows", `{"pairs":[],"else":{"x":1}}`, 200, `{"counts":[]}`},
		{"a thousand", `{"pairs":[` + thousand + `]}`, 200, `"links":3`},
		{"a thousand combinations", `{"subjects":["` + strings.Repeat(post+`","`, 99) + list + `"],"sources":["` +
			strings.Repeat(like+`","`, 9) + like + `"]}`, 200, `"links":3`},

		{"a thousand and one", `{"pairs":[` + thousand + `,` + pair(post, like) + `]}`, 400, "`pairs` has too many"},
		{"too many combinations", `{"subjects":["` + strings.Repeat(post+`","`, 100) + list + `"],"sources":["` +
			strings.Repeat(like+`","`, 9) + like + `"]}`, 400, "`subjects` makes more than 1000"},
		{"long combinations", `{"subjects":["` + long + `"],"sources":["` + strings.Repeat(like+`","`, 200) + like + `"]}`,
			400, "`subjects` makes combinations of more than 1048576 bytes"},
		{"empty", ``, 400, "`body` is not JSON"},
		{"cut off", `{"pairs":[`, 400, "`body` is not JSON"},
		{"two of them", `{} {}`, 400, "`body` is not JSON"},
		{"not UTF-8", "{\"pairs\":[{\"subject\":\"\xff\"}]}", 400, "`body` is not UTF-8"},
		{"null", `null`, 400, "`body` must be an object"},
		{"array", `[]`, 400, "`body` must be an object"},
		{"nothing", `{}`, 400, "`pairs` is missing"},
		{"pairs null", `{"pairs":null}`, 400, "`pairs` must be an array"},
		{"pairs an object", `{"pairs":{}}`, 400, "`pairs` must be an array"},
		{"both", `{"pairs":[],"subjects":[]}`, 400, "`subjects` can't be combined"},
		{"subjects alone", `{"subjects":[]}`, 400, "`sources` is missing"},
		{"sources alone", `{"sources":[]}`, 400, "`pairs` is missing"},
		{"sources with pairs", `{"pairs":[],"sources":[]}`, 400, "`sources` belongs to `subjects`"},
		{"no source", `{"pairs":[{"subject":"` + post + `"}]}`, 400, "`pairs[0].source` is missing"},
		{"subject a number", `{"pairs":[` + pair(post, like) + `,{"subject":1,"source":"x"}]}`, 400,
			"`pairs[1].subject` must be a string"},
		{"subject no link", `{"pairs":[` + pair("hello", like) + `]}`, 400, "`pairs[0].subject` is not a link"},
		{"subject with NUL", `{"pairs":[{"subject":"https://example.com/\u0000","source":"` + like + `"}]}`, 400,
			"`pairs[0].subject` is not a link"},
		{"source without colon", `{"pairs":[` + pair(post, "x") + `]}`, 400, "`pairs` has no colon"},
		{"another spelling of a member", `{"PAIRS":[{"subject":"hello","source":"x:y"}]}`, 400, "`pairs` is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := send(h, batch, "application/json; charset=utf-8", c.body)
			if w.Code != c.status {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if c.status == 200 {
				defined(t, definitions.At(batch), w.Body.Bytes())
				if !strings.Contains(w.Body.String(), c.says) || w.Header().Get("Cache-Control") != "no-store" {
					t.Errorf("%s with %v", w.Body, w.Header())
				}
			} else if !strings.HasPrefix(dig(t, w.Body.String(), "message"), `"`+c.says) {
				t.Errorf("%s", w.Body)
			}
		})
	}
	if w := send(h, batch, "text/plain", "{}"); w.Code != 400 || !strings.Contains(w.Body.String(), "Content-Type") {
		t.Errorf("text: %d %s", w.Code, w.Body)
	}
	if w := send(h, batch, "application/json", `{"pairs":[`+strings.Repeat(" ", maxBody)+`]}`); w.Code != 413 {
		t.Errorf("a huge body: %d %s", w.Code, w.Body)
	}
	if w := do(h, http.MethodGet, batch); w.Code != 405 || w.Header().Get("Allow") != "POST, OPTIONS" {
		t.Errorf("GET: %d %v", w.Code, w.Header())
	}
	if w := do(h, http.MethodOptions, batch); w.Code != 204 ||
		w.Header().Get("Access-Control-Allow-Methods") != "POST, OPTIONS" {
		t.Errorf("preflight: %d %v", w.Code, w.Header())
	}
}

// TestGetCountsWrong: errors of getCounts that its definition alone doesn't exclude.
func TestGetCountsWrong(t *testing.T) {
	t.Parallel()
	h := serve(Config{})
	var many []string
	for range 41 {
		many = append(many, "subject", post)
	}
	for range 25 {
		many = append(many, "source", like)
	}
	for what, target := range map[string]string{
		"subject": own("getCounts", many...),
		"source":  own("getCounts", "subject", post, "source", "x"),
	} {
		if w := do(h, "GET", target); w.Code != 400 || !strings.Contains(w.Body.String(), "`"+what+"`") {
			t.Errorf("%s: %d %s", what, w.Code, w.Body)
		}
	}
}

// TestSourceText: a written source parses to the same source.
func TestSourceText(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"subject.uri", ".x", "", "a[].b", "..", "x:y"} {
		s := db.Source{Collection: "app.bsky.feed.like", Path: path}
		p := &params{def: definitions.At("/xrpc/dev.weft.links.getBacklinks"), given: map[string][]string{}}
		if got := p.sourceOf("source", sourceText(s)); got != s || p.err != nil {
			t.Errorf("%q came back as %q, %v", sourceText(s), got, p.err)
		}
	}
}

// FuzzBatch sends any body: the answer is a valid 200 or a 400.
func FuzzBatch(f *testing.F) {
	h := serve(Config{})
	for _, seed := range []string{`{"pairs":[{"subject":"did:plc:alice","source":"a.b.c:x"}]}`,
		`{"subjects":["did:plc:a"],"sources":["a.b.c:"]}`, `{"PAIRS":[{}]}`, `[`, "\xff", `{"pairs":[{"links":1e400}]}`} {
		f.Add(seed)
	}
	for _, seed := range []string{strings.Repeat("[", 1<<16), `{"pairs":[` + strings.Repeat(`{},`, 1<<16),
		`{"x":` + strings.Repeat(`{"a":`, 1<<14), `{"subjects":[` + strings.Repeat(`"did:plc:a",`, 1000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var w *httptest.ResponseRecorder
		if n := allocatedBy(func() { w = send(h, batch, "application/json", body) }); n > uint64(2<<20+100*len(body)) {
			t.Errorf("%d bytes allocated for a body of %d", n, len(body))
		}
		if w.Code == 200 {
			defined(t, definitions.At(batch), w.Body.Bytes())
		} else if w.Code != 400 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}
