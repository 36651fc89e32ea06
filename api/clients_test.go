package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// TestClients sends the requests of known clients of Constellation byte for byte, and checks the fields that each
// client reads.
func TestClients(t *testing.T) {
	t.Parallel()
	h := serve(Config{})
	const (
		ePost = "at%3A%2F%2Fdid%3Aplc%3Aalice%2Fapp.bsky.feed.post%2F3kpost"
		eList = "at%3A%2F%2Fdid%3Aplc%3Aalice%2Fapp.bsky.graph.list%2F3klist"
		ePage = "https%3A%2F%2Fexample.com%2Fa%3Fb%3D1%26c%3D2"
		likes = "&collection=app.bsky.feed.like&path=.subject.uri"
	)
	type reads map[string]string // JSON by path: names and indexes with spaces between
	for _, c := range []struct {
		name   string
		target string
		reads  reads
	}{
		{"PDSls, all", "/links/all?target=" + ePost, reads{
			"links app.bsky.feed.like .subject.uri records":       `3`,
			"links app.bsky.feed.like .subject.uri distinct_dids": `2`,
		}},
		{"PDSls, records", "/links?target=" + ePost + "&collection=app.bsky.feed.like&path=.subject.uri&limit=100", reads{
			"linking_records 0 did": `"did:plc:bob"`, "linking_records 0 rkey": `"3kb2"`, "linking_records 2 rkey": `"3kb1"`,
			"cursor": `null`,
		}},
		{"Leaflet, embeds", "/xrpc/blue.microcosm.links.getBacklinks?subject=" + ePage +
			"&source=app.bsky.feed.post%3Aembed.external.uri", reads{
			"records 0 did": `"did:plc:bob"`, "records 0 collection": `"app.bsky.feed.post"`, "records 0 rkey": `"3kb3"`,
			"cursor": `null`,
		}},
		{"Leaflet, facets", "/xrpc/blue.microcosm.links.getBacklinks?subject=" + ePage +
			"&source=app.bsky.feed.post%3Afacets%5B%5D.features%5Bapp.bsky.richtext.facet%23link%5D.uri", reads{
			"records 0 rkey": `"3kc3"`, "cursor": `null`,
		}},
		{"Leaflet, refs", "/xrpc/blue.microcosm.links.getBacklinks?subject=" + ePost +
			"&source=app.bsky.feed.post:embed.external.associatedRefs[com.atproto.repo.strongRef].uri", reads{
			"records 0 rkey": `"3kd3"`, "cursor": `null`,
		}},
		{"Witchsky", "/links?target=" + ePost + likes, reads{"total": `3`, "linking_records 1 did": `"did:plc:carol"`,
			"cursor": `null`}},
		{"Witchsky, from_dids", "/links?target=" + ePost + likes + "&from_dids=did%3Aplc%3Abob%2Cdid%3Aplc%3Anobody", reads{
			"total": `2`, "linking_records 0 did": `"did:plc:bob"`, "linking_records 1 did": `"did:plc:bob"`, "cursor": `null`,
		}},
		{"Witchsky, all", "/links/all?target=" + ePost, reads{"links app.bsky.feed.post .reply.parent.uri records": `1`}},
		{"Red Dwarf, count", "/links/count?target=" + ePost + likes, reads{"total": `3`}},
		{"Red Dwarf, count of dids", "/links/count/distinct-dids?target=" + ePost + likes, reads{"total": `2`}},
		{"Red Dwarf, dids", "/links/distinct-dids?target=" + ePost + likes, reads{"linking_dids 0": `"did:plc:carol"`}},
		{"Red Dwarf, did", "/links?target=" + ePost + likes + "&did=did%3Aplc%3Acarol&did=did%3Aplc%3Adave", reads{
			"total": `1`, "linking_records 0 did": `"did:plc:carol"`, "cursor": `null`,
		}},
		{"Red Dwarf, all", "/links/all?target=" + ePost, reads{"links app.bsky.feed.like .subject.uri distinct_dids": `2`}},
		{"npmx, backlinks", "/xrpc/blue.microcosm.links.getBacklinks?subject=" + ePost +
			"&source=app.bsky.feed.like%3Asubject.uri&limit=100&reverse=true&did=did%3Aplc%3Abob", reads{
			"total": `2`, "records 0 rkey": `"3kb1"`, "records 1 rkey": `"3kb2"`,
		}},
		{"npmx, total", "/links/distinct-dids?target=" + ePost + likes + "&limit=1", reads{"total": `2`}},
		{"npmx, unencoded", "/links/all?target=at://did:plc:alice/app.bsky.feed.post/3kpost",
			reads{"links app.bsky.feed.like .subject.uri records": `3`}},
		{"skythread", "/xrpc/blue.microcosm.links.getBacklinks?subject=" + ePost +
			"&source=app.bsky.feed.post%3Areply.parent.uri&limit=100", reads{
			"records 0 did": `"did:plc:dave"`, "records 0 rkey": `"3kd1"`, "cursor": `null`,
		}},
		{"lazurite, count", "/xrpc/blue.microcosm.links.getBacklinksCount?subject=" + ePost +
			"&source=app.bsky.feed.like%3Asubject.uri", reads{"total": `3`}},
		{"lazurite, backlinks", "/xrpc/blue.microcosm.links.getBacklinks?subject=" + ePost +
			"&source=app.bsky.feed.like%3Asubject.uri", reads{"total": `3`, "cursor": `null`}},
		{"lazurite, distinct", "/xrpc/blue.microcosm.links.getDistinct?subject=" + ePost +
			"&source=app.bsky.feed.like%3Asubject.uri", reads{"total": `2`, "cursor": `null`}},
		{"lazurite, many", "/xrpc/blue.microcosm.links.getManyToMany?subject=" + eList +
			"&source=app.bsky.graph.listitem%3Alist&pathToOther=subject", reads{
			"items 0 linkRecord rkey": `"3ki3"`, "items 0 otherSubject": `"did:plc:carol"`, "cursor": `null`,
		}},
		{"live embeds", "/links/all?target=" + ePost, reads{"links app.bsky.feed.like .subject.uri records": `3`}},
		{"atcute", "/xrpc/blue.microcosm.links.getBacklinks?subject=" + ePost +
			"&source=app.bsky.feed.like%3Asubject.uri&limit=1&did=did%3Aplc%3Acarol", reads{
			"total": `1`, "records": `[{"collection":"app.bsky.feed.like","did":"did:plc:carol","rkey":"3kc1"}]`,
			"cursor": `null`,
		}},
		{"atcute, counts", "/xrpc/blue.microcosm.links.getManyToManyCounts?subject=" + eList +
			"&source=app.bsky.graph.listitem%3Alist&pathToOther=subject", reads{
			"counts_by_other_subject 1": `{"distinct":2,"subject":"did:plc:carol","total":2}`, "cursor": `null`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			body := get(t, h, c.target)
			for at, want := range c.reads {
				if got := dig(t, body, at); got != want {
					t.Errorf("%s: got %s, want %s in %s", at, got, want, body)
				}
			}
		})
	}
}

// TestErrorShape protects Impro, which shows message to its users.
func TestErrorShape(t *testing.T) {
	t.Parallel()
	w := do(serve(Config{}), http.MethodGet,
		"/xrpc/blue.microcosm.links.getBacklinks?subject=x&source=app.bsky.feed.like:subject.uri&limit=100")
	if got := dig(t, w.Body.String(), "error"); w.Code != 400 || got != `"InvalidRequest"` {
		t.Errorf("status %d, error %s", w.Code, got)
	}
	if got := dig(t, w.Body.String(), "message"); !strings.Contains(got, "subject") {
		t.Errorf("message %s", got)
	}
}

// dig returns the JSON at a path of a document: names and indexes with spaces between.
func dig(t *testing.T, body, at string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	for step := range strings.FieldsSeq(at) {
		switch in := v.(type) {
		case map[string]any:
			inner, ok := in[step]
			if !ok {
				t.Fatalf("no %q of %q in %s", step, at, body)
			}
			v = inner
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(in) {
				t.Fatalf("no %q of %q in %s", step, at, body)
			}
			v = in[i]
		default:
			t.Fatalf("no %q of %q in %s", step, at, body)
		}
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
