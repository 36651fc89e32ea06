package api

import (
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft.dev/weft/api/lexicons"
	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
)

var update = flag.Bool("update", false, "rewrite testdata/*.json")

// TestGolden compares every answer byte for byte: names, order of fields, and empty answers.
func TestGolden(t *testing.T) {
	t.Parallel()
	const nowhere = "https://nowhere.example/"
	likes := "collection=app.bsky.feed.like&path=.subject.uri&target="
	many := func(method, subject string, more ...string) string {
		return xrpc(method, append([]string{"subject", subject, "source", listitem, "pathToOther", "subject"}, more...)...)
	}
	full := serve(Config{DIDWeb: "weft.example", Version: "1.2.3"})
	empty := serve(Config{Store: fake(nil)})
	unready := serve(Config{Ready: func() error { return errors.New("upstream has been silent for 5m") }})

	asked := map[string]bool{}
	for _, c := range []struct {
		name    string
		handler http.Handler
		status  int
		target  string
	}{
		{"getBacklinksCount", full, 200, xrpc("getBacklinksCount", "subject", post, "source", like)},
		{"getBacklinksCount-zero", full, 200, xrpc("getBacklinksCount", "subject", nowhere, "source", like)},
		{"getBacklinks", full, 200, xrpc("getBacklinks", "subject", post, "source", like)},
		{"getBacklinks-page", full, 200, xrpc("getBacklinks", "subject", post, "source", like, "limit", "1")},
		{"getBacklinks-zero", full, 200, xrpc("getBacklinks", "subject", nowhere, "source", like)},
		{"getBacklinks-did", full, 200, xrpc("getBacklinks", "subject", post, "source", like, "did", bob, "did", "")},
		{"getBacklinks-unknown-did", full, 200, xrpc("getBacklinks", "subject", post, "source", like, "did",
			"did:plc:nobody")},
		{"getBacklinkDids", full, 200, xrpc("getBacklinkDids", "subject", post, "source", like)},
		{"getBacklinkDids-zero", full, 200, xrpc("getBacklinkDids", "subject", nowhere, "source", like)},
		{"getDistinct", full, 200, xrpc("getDistinct", "subject", post, "source", like)},
		{"getManyToMany", full, 200, many("getManyToMany", list)},
		{"getManyToMany-page", full, 200, many("getManyToMany", list, "limit", "2")},
		{"getManyToMany-filtered", full, 200, many("getManyToMany", list, "linkDid", alice, "otherSubject", carol)},
		{"getManyToMany-zero", full, 200, many("getManyToMany", nowhere)},
		{"getManyToManyCounts", full, 200, many("getManyToManyCounts", list)},
		{"getManyToManyCounts-filtered", full, 200, many("getManyToManyCounts", list, "did", dave, "otherSubject", carol)},
		{"getManyToManyCounts-zero", full, 200, many("getManyToManyCounts", nowhere)},

		{"links", full, 200, "/links?" + likes + post},
		{"links-page", full, 200, "/links?limit=1&" + likes + post},
		{"links-zero", full, 200, "/links?" + likes + nowhere},
		{"links-distinct-dids", full, 200, "/links/distinct-dids?" + likes + post},
		{"links-distinct-dids-zero", full, 200, "/links/distinct-dids?" + likes + nowhere},
		{"links-count", full, 200, "/links/count?" + likes + post},
		{"links-count-zero", full, 200, "/links/count?" + likes + nowhere},
		{"links-count-distinct-dids", full, 200, "/links/count/distinct-dids?" + likes + post},
		{"links-count-distinct-dids-zero", full, 200, "/links/count/distinct-dids?" + likes + nowhere},
		{"links-all", full, 200, "/links/all?target=" + post},
		{"links-all-zero", full, 200, "/links/all?target=" + nowhere},
		{"links-all-count", full, 200, "/links/all/count?target=" + post},
		{"links-all-count-zero", full, 200, "/links/all/count?target=" + nowhere},

		{"weft-getBacklinks", full, 200, own("getBacklinks", "subject", post, "source", like)},
		{"weft-getBacklinks-since", full, 200, own("getBacklinks", "subject", post, "source", like, "since",
			"2023-11-14T22:13:21Z", "until", "2023-11-14T22:13:22Z")},
		{"weft-getBacklinks-zero", full, 200, own("getBacklinks", "subject", nowhere, "source", like)},
		{"weft-getBacklinks-hydrate", full, 200, own("getBacklinks", "subject", post, "source", like, "hydrate", "true",
			"limit", "2")},
		{"weft-getAccountBacklinks-hydrate", full, 200, own("getAccountBacklinks", "did", alice, "hydrate", "true", "source",
			like)},
		{"error-hydrate", full, 400, own("getBacklinks", "subject", post, "source", like, "hydrate", "true", "limit", "101")},
		{"weft-getBacklinkDids", full, 200, own("getBacklinkDids", "subject", post, "source", like, "limit", "1")},
		{"weft-getBacklinkDids-zero", full, 200, own("getBacklinkDids", "subject", nowhere, "source", like)},
		{"weft-getCounts", full, 200, own("getCounts", "subject", post, "subject", nowhere, "source", like, "source",
			listitem)},
		{"weft-getAccountBacklinks", full, 200, own("getAccountBacklinks", "did", alice, "limit", "3")},
		{"weft-getAccountBacklinks-source", full, 200, own("getAccountBacklinks", "did", alice, "source", listitem)},
		{"weft-getAccountBacklinks-zero", full, 200, own("getAccountBacklinks", "did", "did:plc:nobody")},
		{"weft-getAccountCounts", full, 200, own("getAccountCounts", "did", alice)},
		{"weft-getAccountCounts-zero", full, 200, own("getAccountCounts", "did", "did:plc:nobody")},

		{"weft-getTimeline", full, 200, own("getTimeline", "subject", post, "source", like, "source", listitem)},
		{"weft-getTimeline-zero", full, 200, own("getTimeline", "subject", nowhere, "source", like)},
		{"weft-getTop", topped(t), 200, own("getTop", "source", like, "hours", "24")},
		{"weft-getTop-busiest", topped(t), 200, own("getTop", "limit", "1")},
		{"weft-getTop-zero", full, 200, own("getTop", "source", like)},
		{"weft-getTop-nothing", empty, 200, own("getTop")},
		{"weft-getRecordLinks", full, 200, own("getRecordLinks", "did", alice, "collection", "app.bsky.graph.listitem",
			"rkey", "3ki1")},
		{"weft-getRecordLinks-hydrate", full, 200, own("getRecordLinks", "did", bob, "collection", "app.bsky.feed.like",
			"rkey", "3kb2", "hydrate", "true")},
		{"weft-getRecordLinks-zero", full, 200, own("getRecordLinks", "did", alice, "collection", "app.bsky.graph.listitem",
			"rkey", "none")},

		{"feed", full, 200, "/feed?" + form("subject", post)},
		{"feed-source", full, 200, "/feed?" + form("subject", post, "source", like, "limit", "2")},
		{"feed-account", full, 200, "/feed?" + form("did", alice)},
		{"feed-host", full, 200, "/feed?" + form("host", "example.com")},
		{"feed-zero", full, 200, "/feed?" + form("subject", nowhere)},
		{"badge", full, 200, "/badge.svg?" + form("subject", post, "source", like, "label", "likes")},
		{"badge-zero", full, 200, "/badge.svg?" + form("subject", nowhere)},
		{"error-feed", full, 400, "/feed?" + form("subject", post, "did", alice)},

		{"index", full, 200, "/"},
		{"index-zero", empty, 200, "/"},
		{"health", full, 200, "/xrpc/_health"},
		{"health-unversioned", empty, 200, "/xrpc/_health"},
		{"status", serve(Config{Version: "1.2.3", InstanceID: "abc",
			Upstream: func() *wire.Upstream { return &wire.Upstream{Connected: true} }}), 200, "/status"},
		{"status-unready", unready, 200, "/status"},
		{"readyz", full, 200, "/readyz"},
		{"did", full, 200, "/.well-known/did.json"},

		{"error-parameter", full, 400, xrpc("getBacklinks", "subject", post)},
		{"error-cursor", full, 400, xrpc("getBacklinks", "subject", post, "source", like, "cursor", "0")},
		{"error-path", full, 404, "/nothing"},
		{"error-no-did", empty, 404, "/.well-known/did.json"},
		{"error-method", full, 501, "/xrpc/com.example.nothing"},
		{"error-readyz", unready, 503, "/readyz"},
	} {
		path, _, _ := strings.Cut(c.target, "?")
		asked[path] = true
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := do(c.handler, http.MethodGet, c.target)
			if w.Code != c.status {
				t.Fatalf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
			def := definitions.At(path)
			want := "application/json"
			if def != nil && c.status == 200 {
				want = def.Output.Encoding
			}
			if ct, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";"); ct != want {
				t.Errorf("Content-Type %q, not %q", ct, want)
			}
			golden(t, c.name, w.Body.String()+"\n")
			if def != nil && c.status == 200 && def.Output.Schema != nil {
				defined(t, def, w.Body.Bytes())
			}
		})
	}
	for _, route := range routes.All {
		def := definitions.At(route.Path)
		if def != nil && def.Input == nil && route.Stream == "" && !asked[route.Path] {
			t.Errorf("%s: add a request to this test", route.Path)
		}
	}
}

// defined checks that an answer has only members of its definition.
func defined(t *testing.T, def *lexicons.Def, body []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	if p := definitions.Check(def.Output.Schema, v, true); p != nil {
		t.Errorf("%s answers what its definition doesn't say: %v, in %s", def.Path, p, body)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	ending := map[byte]string{'{': ".json"}[got[0]]
	if ending == "" {
		ending = ".xml"
	}
	file := filepath.Join("testdata", name+ending)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: go test ./api -update writes it", err)
	}
	if got != string(want) {
		t.Errorf("got  %swant %swhere the change is meant, go test ./api -update writes %s anew", got, want, file)
	}
}
