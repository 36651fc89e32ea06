package api

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestReadyAndRobots(t *testing.T) {
	t.Parallel()
	w := do(serve(Config{Ready: func() error { return errors.New("upstream has been silent for 5m") }}), "GET", "/readyz")
	if w.Code != 503 || dig(t, w.Body.String(), "message") != `"upstream has been silent for 5m"` {
		t.Errorf("status %d, %s", w.Code, w.Body)
	}
	stopping := serve(Config{Ready: func() error { return errors.New("shutting down") }})
	behind := Config{
		Degraded: func() string { return "the index is 90s behind" },
		Current: func(maxLag time.Duration) error {
			if maxLag >= 90*time.Second {
				return nil
			}
			return errors.New("the index is 90s behind")
		},
	}
	strict := behind
	strict.MaxLag = time.Minute
	for _, tc := range []struct {
		name   string
		h      http.Handler
		query  string
		status int
		says   string
	}{
		{"behind", serve(behind), "", 200, `{"ready":true,"degraded":"the index is 90s behind"}`},
		{"behind, and strict", serve(behind), "?max-lag=60s", 503, `"message":"the index is 90s behind"`},
		{"behind, within the limit", serve(behind), "?max-lag=90s", 200,
			`{"ready":true,"degraded":"the index is 90s behind"}`},
		{"--max-lag", serve(strict), "", 503, `"error":"NotReady"`},
		{"--max-lag, and more asked for", serve(strict), "?max-lag=2m", 200, `"ready":true`},
		{"shutting down", stopping, "?max-lag=60s", 503, "shutting down"},
		{"no duration", serve(behind), "?max-lag=60", 400, "must be a duration such as 60s"},
		{"none", serve(behind), "?max-lag=0s", 400, "must be a duration"},
		{"empty", serve(behind), "?max-lag=", 400, "must be a duration"},
	} {
		w := do(tc.h, "GET", "/readyz"+tc.query)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.says) {
			t.Errorf("%s: status %d, %s", tc.name, w.Code, w.Body)
		}
	}
	robots := get(t, serve(Config{}), "/robots.txt")
	for _, path := range []string{"/links", "/xrpc/"} {
		if !strings.Contains(robots, "Disallow: "+path+"\n") {
			t.Errorf("%s may be crawled: %s", path, robots)
		}
	}
}

func TestDIDWebWithPort(t *testing.T) {
	t.Parallel()
	body := get(t, serve(Config{DIDWeb: "localhost:8080"}), "/.well-known/did.json")
	if id, at := dig(t, body, "id"), dig(t, body, "service 0 serviceEndpoint"); id != `"did:web:localhost%3A8080"` ||
		at != `"https://localhost:8080"` {
		t.Errorf("id %s at %s", id, at)
	}
}

// TestClientModule: pages of any origin can import the client and find its types.
func TestClientModule(t *testing.T) {
	t.Parallel()
	h := serve(Config{})
	for path, want := range map[string]struct{ kind, has string }{
		"/client.js":   {"text/javascript; charset=utf-8", "export class Client"},
		"/client.d.ts": {"text/plain; charset=utf-8", "export declare class Client"},
	} {
		w := do(h, http.MethodGet, path)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != want.kind ||
			w.Header().Get("Access-Control-Allow-Origin") != "*" ||
			w.Header().Get("ETag") == "" || !strings.Contains(w.Body.String(), want.has) {
			t.Errorf("%s: %d, %v", path, w.Code, w.Header())
		}
		if types := w.Header().Get("X-TypeScript-Types"); (types == "/client.d.ts") != (path == "/client.js") {
			t.Errorf("%s: the types are at %q", path, types)
		}
	}
}
