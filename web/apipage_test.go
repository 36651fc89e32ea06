package web

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weft.dev/weft/api"
	"weft.dev/weft/api/lexicons"
	"weft.dev/weft/api/routes"
	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// serving returns pages over an index of some links, one of them hostile, or over handler if it isn't nil.
func serving(t *testing.T, handler http.Handler) *Server {
	t.Helper()
	store, err := db.Open(db.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	var events []apply.Event
	add := func(collection string, links ...db.Link) {
		n := len(events) + 1
		events = append(events, apply.Event{Seq: uint64(n), TimeUS: 1_790_000_000_000_000 + int64(n), Op: db.OpCreate,
			DID:        fmt.Sprint("did:plc:a", n),
			Collection: collection, Rkey: fmt.Sprint("r", n), Rev: "3kaaaaaaaaaa2", Links: links})
	}
	for range 3 {
		add("app.bsky.feed.like", db.Link{Path: "subject.uri", Target: "at://did:plc:alice/app.bsky.feed.post/3kpost"})
	}
	add("app.bsky.feed.like", db.Link{Path: "subject.uri", Target: "at://did:plc:alice/app.bsky.feed.post/3klone"})
	add("app.bsky.graph.listitem", db.Link{Path: "list", Target: "at://did:plc:alice/app.bsky.graph.list/3klist"},
		db.Link{Path: "subject", Target: "did:plc:bob"})
	add("a.b.hostile", db.Link{Path: "x<script>alert(1)</script>",
		Target: `https://example.com/"><script>alert(1)</script>`})
	if _, err := store.Apply(db.Batch{Host: "upstream.example", Seq: 9, TimeUS: 9, Events: events}); err != nil {
		t.Fatal(err)
	}
	if handler == nil {
		handler = api.New(api.Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
	}
	return New(Config{API: handler, Store: store, Logger: slog.New(slog.NewTextHandler(testLog{t},
		&slog.HandlerOptions{Level: slog.LevelError}))})
}

// testLog fails a test on any log line: only a panic logs.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Errorf("logged: %s", p)
	return len(p), nil
}

// browse requests a page as a browser does, and checks that its scripts are files of this server.
func browse(t *testing.T, h http.Handler, path string, status int) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if w.Code != status || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
		t.Fatalf("%s: %d %s, want %d: %.300s", path, w.Code, w.Header().Get("Content-Type"), status, body)
	}
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "script-src 'self';") {
		t.Errorf("%s: the policy is %q", path, csp)
	}
	harmless(t, path, string(body))
	return string(body)
}

var (
	tag       = regexp.MustCompile(`<[a-zA-Z][^>]*>`)
	script    = regexp.MustCompile(`^<script src="/assets/[a-z]+\.js\?v=[\w-]+" defer>$`)
	attribute = regexp.MustCompile(`\s([a-zA-Z-]+)(?:="[^"]*")?`)
)

// harmless checks that all tags of a page are those of templates: no inline script, no event handler, no style.
func harmless(t *testing.T, path, body string) {
	t.Helper()
	for _, text := range tag.FindAllString(body, -1) {
		if strings.HasPrefix(text, "<script") && !script.MatchString(text) {
			t.Errorf("%s has %s", path, text)
		}
		for _, m := range attribute.FindAllStringSubmatch(text, -1) {
			if name := strings.ToLower(m[1]); strings.HasPrefix(name, "on") || name == "style" || name == "srcdoc" {
				t.Errorf("%s has %s in %s", path, name, text)
			}
		}
		if strings.Contains(text, "javascript:") && strings.Contains(text, "href=\"javascript:") {
			t.Errorf("%s has %s", path, text)
		}
	}
}

// TestAPIPages: the list has each method, and each method has a page with its parameters, errors and code.
func TestAPIPages(t *testing.T) {
	t.Parallel()
	s := serving(t, nil)
	all := browse(t, s, "/api", 200)
	for _, def := range definitions.Defs {
		at := "/api/" + nameOf(def)
		if strings.Count(all, `href="`+at+`"`) != 1 {
			t.Errorf("%s is not linked to once", at)
		}
		body := browse(t, s, at, 200)
		if def.Parameters != nil {
			for _, p := range def.Parameters.Properties {
				if !strings.Contains(body, `name="`+p.Name+`"`) || !strings.Contains(body, `id="d-`+p.Name+`"`) {
					t.Errorf("%s lacks %s", at, p.Name)
				}
			}
		}
		for _, e := range def.Errors {
			if !strings.Contains(body, "<code>"+e.Name+"</code>") {
				t.Errorf("%s lacks the error %s", at, e.Name)
			}
		}
		for _, language := range []string{"curl", "Go", "TypeScript"} {
			if streamOf(def) == routes.WebSocket && language == "curl" {
				language = "websocat"
			}
			if !strings.Contains(body, `data-code="`+language+`"`) {
				t.Errorf("%s has no %s", at, language)
			}
		}
	}
	browse(t, s, "/api/nothing", 404)
}

// TestTry: for every method, the submitted form shows the answer that a program gets. The form's own examples get an
// answer that isn't empty.
func TestTry(t *testing.T) {
	t.Parallel()
	s := serving(t, nil)
	for _, def := range definitions.Defs {
		if streamOf(def) != "" {
			continue
		}
		t.Run(nameOf(def), func(t *testing.T) {
			t.Parallel()
			q := s.questionOf(t.Context(), def, url.Values{})
			form := q.encoded()
			if q.body != nil {
				form = url.Values{bodyField: {q.body.Value}}.Encode()
			}
			body := browse(t, s, "/api/"+nameOf(def)+"?"+form, 200)
			_, answer, ok := strings.Cut(body, `aria-label="Response">`)
			answer, _, _ = strings.Cut(answer, "</pre>")
			if !ok || !strings.Contains(body, `<span class="fine">200 OK</span>`) {
				t.Fatalf("%s?%s has no answer: %s", def.Path, form, answer)
			}
			if !regexp.MustCompile(`[1-9]|did:`).MatchString(answer) {
				t.Errorf("%s?%s answers nothing: %s", def.Path, form, answer)
			}
		})
	}
}

// TestExample: of the new targets, the one with the most links is the example, so that it keeps links when a record of
// them is deleted.
func TestExample(t *testing.T) {
	t.Parallel()
	s := serving(t, nil)
	i := slices.IndexFunc(definitions.Defs, func(d *lexicons.Def) bool { return d.Path == routes.WeftGetBacklinks.Path })
	subject, _ := s.questionOf(t.Context(), definitions.Defs[i], url.Values{}).get("subject")
	if want := "at://did:plc:alice/app.bsky.feed.post/3kpost"; subject != want {
		t.Errorf("the example asks for %s, not for %s", subject, want)
	}
}

// TestTryWrong: an error is shown on the page of the form.
func TestTryWrong(t *testing.T) {
	t.Parallel()
	s := serving(t, nil)
	for _, c := range []struct{ query, want string }{
		{"dev.weft.links.getBacklinks?subject=hello&source=a.b.c:d", "`subject` is not a link"},
		{"dev.weft.links.getBacklinks?subject=did:plc:a", "`source`"},
		{"dev.weft.links.getBacklinks?subject=did:plc:a&source=a.b.c:d&limit=0", "`limit`"},
		{"dev.weft.links.getBacklinks?subject=did:plc:a&source=a.b.c:d&did=did:plc:a%0Ahello", "`did`"},
		{"dev.weft.links.batchCounts?body=%7B", "`body`"},
		{"links/count?target=did:plc:a&collection=x&path=y&" + url.Values{"path": {hostile}}.Encode(), "`path`"},
	} {
		body := browse(t, s, "/api/"+c.query, 200)
		if !strings.Contains(body, `<span class="bad">400 Bad Request</span>`) || !strings.Contains(body, c.want) {
			t.Errorf("%s doesn't say %s", c.query, c.want)
		}
	}
	// Empty fields are not part of the query.
	body := browse(
		t, s,
		"/api/dev.weft.links.getBacklinks?subject=did:plc:a&source=a.b.c:d&did=&since=&until=&reverse=&hydrate=&limit=&cursor=", 200)
	if !strings.Contains(body, `<span class="fine">200 OK</span>`) {
		t.Error("empty fields are asked for")
	}
}

// TestHostileFields: hostile text in any field of any form stays text.
func TestHostileFields(t *testing.T) {
	t.Parallel()
	s := serving(t, nil)
	for _, def := range definitions.Defs {
		body := browse(t, s, "/api/"+nameOf(def)+"?"+filled(def, hostile).Encode(), 200)
		if strings.Contains(body, "alert(1)</script>") || strings.Contains(body, `onerror="alert`) {
			t.Errorf("%s repeats markup", def.Path)
		}
	}
	// Text of records stays text too: the newest link is hostile.
	body := browse(t, s, "/api/links?target="+url.QueryEscape(`https://example.com/%22><script>alert(1)</script>`), 200)
	if strings.Contains(body, "<script>alert") {
		t.Error("markup of a record is repeated")
	}
}

// TestMoreFiles: every file that a page names exists.
func TestMoreFiles(t *testing.T) {
	t.Parallel()
	s := serving(t, nil)
	for _, path := range []string{"/api", "/api/events", "/status"} {
		for _, m := range regexp.MustCompile(`(?:href|src)="(/assets/[^"]+)"`).FindAllStringSubmatch(browse(t, s, path, 200),
			-1) {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, m[1], nil))
			if w.Code != 200 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
				t.Errorf("%s: %d %s", m[1], w.Code, w.Header().Get("Cache-Control"))
			}
		}
	}
}
