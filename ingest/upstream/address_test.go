package upstream

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestHostSpelling: the spellings of a host have one cursor.
func TestHostSpelling(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"jetstream.example":                                "https://jetstream.example",
		"https://jetstream.example/":                       "https://jetstream.example",
		" wss://Jetstream.Example// ":                      "https://jetstream.example",
		"jetstream.example:8443":                           "https://jetstream.example:8443",
		"localhost:8080":                                   "http://localhost:8080",
		"ws://127.0.0.1:8080":                              "http://127.0.0.1:8080",
		"127.0.0.1:8080":                                   "http://127.0.0.1:8080",
		"[::1]:8080":                                       "http://[::1]:8080",
		"wss://jetstream2.us-east.bsky.network/subscribe":  "https://jetstream2.us-east.bsky.network",
		"jetstream.example/subscribe/":                     "https://jetstream.example",
		"wss://jetstream.example" + pathV2:                 "https://jetstream.example",
		"https://Me:SecReT@Jetstream.Example":              "https://jetstream.example",
		"wss://jetstream.example/subscribe?compress=true":  "https://jetstream.example",
		"ws://jetstream.example/subscribe?wantedDids=did:": "http://jetstream.example",
	} {
		got, err := ParseAddress(in)
		if err != nil || got.URL != want {
			t.Errorf("%q becomes %q, %v, want %q", in, got.URL, err, want)
		}
	}
}

// TestUpstreamRefused: an unusable address is refused, with advice and without its password.
func TestUpstreamRefused(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                                  "empty",
		"https://":                          "without a host name",
		"ftp://jetstream.example":           "use wss",
		"https://jetstream.example/xrpc":    "use https://jetstream.example",
		"https://jetstream.example/v1/feed": "/v1/feed",
		"https://jetstream.example#live":    "fragment",
		"https://jetstream.example/subscribe?cursor=1725519626134432":                     "--from",
		"https://jetstream.example?maxMessageSizeBytes=1000":                              "maxMessageSizeBytes",
		"https://Me:SecReT@jetstream.example/other":                                       "/other",
		"https://Me:SecReT%zz@jetstream.example":                                          "%XX",
		"https://Me:Sec ReT/@jetstream.example:port":                                      "URL",
		"https://Me:SecReT@jetstream.example:port":                                        "URL",
		"https://Me:SecReT@jetstream.example/subscribe?wantedCollections=%zz&token=t0ken": "query",
	} {
		_, err := ParseAddress(in)
		if err == nil {
			t.Errorf("%q is taken", in)
			continue
		}
		if text := err.Error(); !strings.Contains(text, want) || strings.Contains(text, "ReT") ||
			strings.Contains(text, "t0ken") {
			t.Errorf("%q: %s, want %q in it and no password", in, text, want)
		}
	}
}

// TestUpstreamFilters: the query of Jetstream's URLs is a filter.
func TestUpstreamFilters(t *testing.T) {
	t.Parallel()
	u, err := ParseAddress("wss://jetstream.example/subscribe?wantedCollections=app.bsky.feed.like&" +
		"wantedCollections=app.bsky.graph.*&wantedDids=did:web:a.example")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(u.Filter.Collections, []string{"app.bsky.feed.like", "app.bsky.graph.*"}) ||
		!slices.Equal(u.Filter.DIDs, []string{"did:web:a.example"}) {
		t.Errorf("%+v", u.Filter)
	}
}

// TestAuthorize: a user name and a password are sent as configured.
func TestAuthorize(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"https://Me:SecReT@jetstream.example":       {"Me", "SecReT"},
		"https://Me:p%40ss%3A%2F@jetstream.example": {"Me", "p@ss:/"},
		"https://Token@jetstream.example":           {"Token", ""},
	} {
		u, err := ParseAddress(in)
		if err != nil {
			t.Fatal(err)
		}
		r := http.Request{Header: http.Header{}}
		u.authorize(r.Header)
		if user, password, ok := r.BasicAuth(); !ok || user != want[0] || password != want[1] {
			t.Errorf("%q sends %q, %q", in, user, password)
		}
	}
}
