package web_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"weft.dev/weft/api"
	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/web"
)

// limited returns the pages of an index with the API's limits.
func limited(t *testing.T, s *db.Store, c api.Config) (http.Handler, *api.Server) {
	t.Helper()
	c.Store, c.Logger, c.AddressHeader = s, slog.New(slog.DiscardHandler), "X-From"
	limits := api.New(c)
	return web.New(web.Config{API: limits, Limits: limits, Store: s, Logger: c.Logger}), limits
}

func from(h http.Handler, address, path string, w http.ResponseWriter) {
	r := httptest.NewRequest("GET", "http://weft.test"+path, nil)
	r.Header.Set("X-From", address)
	r.Header.Set("Accept", "text/html")
	h.ServeHTTP(w, r)
}

// TestLimitsAreAroundEverything: a visitor above the rate limit is refused at every path.
func TestLimitsAreAroundEverything(t *testing.T) {
	t.Parallel()
	h, limits := limited(t, index(t, 1), api.Config{RatePerMinute: 1, Streams: api.Streams{PerAddress: 1, Total: 1}})
	for i, path := range []string{"/pulse", "/names?did=" + alice, "/search?q=x%20y", "/assets/weft.js", "/api", "/nosuch",
		"/", "/status"} {
		address := fmt.Sprintf("10.0.0.%d", i)
		from(h, address, "/nosuch", httptest.NewRecorder())
		w := httptest.NewRecorder()
		if from(h, address, path, w); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d, %v", path, w.Code, w.Header())
		}
	}
	r := httptest.NewRequest("GET", "/events", nil)
	r.Header.Set("X-From", "10.1.0.1")
	leave := limits.AdmitStream(httptest.NewRecorder(), r)
	defer leave()
	w := httptest.NewRecorder()
	if from(h, "10.1.0.2", "/pulse", w); w.Code != http.StatusTooManyRequests ||
		!strings.Contains(w.Body.String(), "TooManySubscribers") {
		t.Errorf("/pulse has places of its own: %d %s", w.Code, w.Body)
	}
}

// blocked is a visitor that reads nothing until read is closed.
type blocked struct {
	*httptest.ResponseRecorder
	wrote chan<- struct{}
	read  <-chan struct{}
}

func (b blocked) Write(p []byte) (int, error) {
	select {
	case b.wrote <- struct{}{}:
	default:
	}
	<-b.read
	return len(p), nil
}

// TestUnreadPageHoldsNoTurn: a visitor that reads nothing delays no other visitor.
func TestUnreadPageHoldsNoTurn(t *testing.T) {
	t.Parallel()
	h, _ := limited(t, index(t, 3), api.Config{Concurrency: 1})
	wrote, read := make(chan struct{}, 1), make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		from(h, "1.1.1.1", "/links/all?target="+post, blocked{httptest.NewRecorder(), wrote, read})
	}()
	<-wrote
	w := httptest.NewRecorder()
	if from(h, "2.2.2.2", "/links/all?target="+post, w); w.Code != http.StatusOK {
		t.Errorf("%d", w.Code)
	}
	close(read)
	<-done
}

// TestSourcesPageIsBounded: a page shows 200 sources, states that there are more, and links to them.
func TestSourcesPageIsBounded(t *testing.T) {
	t.Parallel()
	s, err := db.Open(db.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e := apply.Event{Seq: 1, TimeUS: 1_770_000_000_000_000, Op: db.OpCreate, DID: bob, Collection: "com.example.evil",
		Rkey: "a", Rev: "3kaaaaaaaaaaa"}
	for i := range 250 {
		e.Links = append(e.Links, db.Link{Path: fmt.Sprintf("p%03d", i), Target: post})
	}
	if _, err := s.Apply(db.Batch{Host: "test", Events: []apply.Event{e}}); err != nil {
		t.Fatal(err)
	}
	h, _ := limited(t, s, api.Config{})
	first := httptest.NewRecorder()
	from(h, "1.1.1.1", "/links/all?target="+post, first)
	body := first.Body.String()
	if n := strings.Count(body, `<th scope="row"><a href="/xrpc/dev.weft.links.getBacklinks`); first.Code != 200 ||
		n != 200 || !strings.Contains(body, "These are not all") {
		t.Fatalf("%d with %d sources", first.Code, n)
	}
	_, rest, _ := strings.Cut(body, `class="more" href="/links/all?`)
	query, _, _ := strings.Cut(rest, `"`)
	second := httptest.NewRecorder()
	from(h, "1.1.1.1", "/links/all?"+strings.ReplaceAll(query, "&amp;", "&"), second)
	if n := strings.Count(second.Body.String(),
		`<th scope="row"><a href="/xrpc/dev.weft.links.getBacklinks`); second.Code != 200 || n != 50 {
		t.Errorf("%d with %d further sources: %s", second.Code, n, query)
	}
}
