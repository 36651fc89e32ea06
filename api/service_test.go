package api

import (
	"errors"
	"strings"
	"testing"
)

func TestReadyAndRobots(t *testing.T) {
	t.Parallel()
	w := do(serve(Config{Ready: func() error { return errors.New("upstream has been silent for 5m") }}), "GET", "/readyz")
	if w.Code != 503 || dig(t, w.Body.String(), "message") != `"upstream has been silent for 5m"` {
		t.Errorf("status %d, %s", w.Code, w.Body)
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
	if id, at := dig(t, body, "id"), dig(t, body, "service 0 serviceEndpoint"); id != `"did:web:localhost%3A8080"` || at != `"https://localhost:8080"` {
		t.Errorf("id %s at %s", id, at)
	}
}
