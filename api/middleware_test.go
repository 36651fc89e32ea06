package api

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"weft.dev/weft/db"
)

func TestEveryAnswerIsOpen(t *testing.T) {
	t.Parallel()
	h := serve(Config{})
	for _, c := range []struct {
		method, target string
		status         int
	}{
		{"GET", "/", 200},
		{"GET", "/links/all?target=" + post, 200},
		{"HEAD", "/links/all?target=" + post, 200},
		{"GET", "/links/all", 400},
		{"GET", "/xrpc/_health", 200},
		{"GET", "/readyz", 200},
		{"GET", "/robots.txt", 200},
		{"GET", "/.well-known/did.json", 404},
		{"GET", "/nothing", 404},
		{"GET", "/links/", 404},
		{"GET", "/xrpc/", 404},
		{"POST", "/nothing", 404},
		{"GET", "/xrpc/com.example.nothing", 501},
		{"POST", "/xrpc/com.example.nothing", 501},
		{"POST", "/links", 405},
		{"PUT", "/xrpc/blue.microcosm.links.getBacklinks", 405},
		{"DELETE", "/", 405},
		{"BREW", "/links", 405},
		{"OPTIONS", "/links", 204},
		{"OPTIONS", "/xrpc/blue.microcosm.links.getBacklinks", 204},
		{"OPTIONS", "/nothing", 204},
	} {
		t.Run(c.method+" "+c.target, func(t *testing.T) {
			t.Parallel()
			w := do(h, c.method, c.target)
			if w.Code != c.status {
				t.Fatalf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != "*" {
				t.Errorf("Access-Control-Allow-Origin %q", got)
			}
			if got := w.Header().Get("Vary"); got != "Accept, Accept-Encoding" {
				t.Errorf("Vary %q", got)
			}
			if got := w.Header().Get("Allow"); (got == "GET, HEAD, OPTIONS") != (c.status == 405 || c.status == 204) {
				t.Errorf("Allow %q", got)
			}
			if got := w.Header().Get("Cache-Control"); c.status >= 400 && got != "no-store" {
				t.Errorf("Cache-Control %q", got)
			}
			if c.status >= 400 {
				dig(t, w.Body.String(), "error")
				dig(t, w.Body.String(), "message")
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	h := serve(Config{})
	w := do(h, "OPTIONS", "/links", "Origin", "https://app.example", "Access-Control-Request-Method", "GET",
		"Access-Control-Request-Headers", "authorization, x-client")
	for name, want := range map[string]string{
		"Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
		"Access-Control-Allow-Headers": "authorization, x-client",
		"Access-Control-Max-Age":       "86400",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s %q, want %q", name, got, want)
		}
	}
	if got := do(h, "OPTIONS", "/links").Header().Get("Access-Control-Allow-Headers"); got != "*" {
		t.Errorf("Access-Control-Allow-Headers %q", got)
	}
}

// TestPanicInTheMiddle: a panic after the start of an answer closes the connection.
func TestPanicInTheMiddle(t *testing.T) {
	t.Parallel()
	s := &server{Config: Config{Logger: slog.New(slog.DiscardHandler)}}
	s.metrics = newMetrics(nil)
	half := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"total":`)
		panic("half an answer")
	})
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("recovered %v", v)
		}
	}()
	s.observe(s.recoverPanics(half)).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	h := serve(Config{Metrics: reg, Store: stub{f: func(ctx context.Context) (db.Stats, error) {
		if err := ctx.Err(); err != nil {
			return db.Stats{}, err
		}
		panic("here")
	}}})
	before := gather(t, reg)
	for _, r := range []struct{ method, target string }{
		{"GET", "/links/all?target=" + post}, {"HEAD", "/links/all?target=" + list}, {"GET", "/links/all"},
		{"GET", "/nothing"}, {"GET", "/nothing/else"}, {"POST", "/links"}, {"OPTIONS", "/links"}, {"GET", "/xrpc/a.b.c"},
		{"BREW", "/"}, {"GET", "/"},
	} {
		do(h, r.method, r.target)
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil).WithContext(left))

	want := map[string]float64{
		"weft_http_requests_total class=2xx route=/links/all": 2,
		"weft_http_requests_total class=4xx route=/links/all": 1,
		"weft_http_requests_total class=5xx route=/":          1,
		"weft_http_requests_total class=gone route=/":         1,
		"weft_http_requests_total class=2xx route=other":      1,
		"weft_http_requests_total class=4xx route=other":      4,
		"weft_http_requests_total class=5xx route=other":      1,
		"weft_http_request_seconds route=/links/all":          3,
		"weft_http_request_seconds route=/":                   2,
		"weft_http_request_seconds route=other":               6,
		"weft_http_panics_total":                              1,
	}
	got := gather(t, reg)
	for series, n := range got {
		if _, ok := before[series]; !ok && !strings.HasPrefix(series, "weft_http_request_seconds") {
			t.Errorf("%s was not there from the start", series)
		}
		if n == 0 {
			delete(got, series)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// gather returns the value of each counter, and the count of each histogram, by its name and labels.
func gather(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return got
}
