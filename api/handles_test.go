package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"weft.dev/weft/db"
)

// directory maps handles to DIDs.
type directory map[string]string

func (d directory) DID(_ context.Context, handle string) (string, error) {
	if did, ok := d[handle]; ok {
		return did, nil
	}
	return "", errors.New("dial tcp 10.0.0.1:443: connection refused")
}

// TestSubjectByHandle: a subject with a handle is resolved to the account, or refused with advice.
func TestSubjectByHandle(t *testing.T) {
	t.Parallel()
	const rest = "/app.bsky.feed.post/3kpost"
	xrpc := "&source=" + like
	legacy := "&collection=app.bsky.feed.like&path=.subject.uri"
	routes := map[string]string{
		"/xrpc/blue.microcosm.links.getBacklinksCount?subject=":                 xrpc,
		"/xrpc/blue.microcosm.links.getBacklinks?subject=":                      xrpc,
		"/xrpc/blue.microcosm.links.getBacklinkDids?subject=":                   xrpc,
		"/xrpc/blue.microcosm.links.getManyToMany?pathToOther=x&subject=":       xrpc,
		"/xrpc/blue.microcosm.links.getManyToManyCounts?pathToOther=x&subject=": xrpc,
		"/xrpc/dev.weft.links.getBacklinks?subject=":                            xrpc,
		"/links?target=":                     legacy,
		"/links/count?target=":               legacy,
		"/links/count/distinct-dids?target=": legacy,
		"/links/distinct-dids?target=":       legacy,
		"/links/all?target=":                 "",
		"/links/all/count?target=":           "",
	}
	// Records link to the post by the current handle and by a former handle.
	const byName, byOldName = "at://alice.example" + rest, "at://former.example" + rest
	store := slices.Concat(indexed, fake{
		{db.Record{DID: dave, Collection: "app.bsky.feed.like", Rkey: "3kd8"}, "subject.uri", byName},
		{db.Record{DID: dave, Collection: "app.bsky.feed.like", Rkey: "3kd9"}, "subject.uri", byOldName},
	})
	resolving, not := New(Config{Store: store, Handles: directory{"alice.example": alice}}), New(Config{Store: store})
	for route, more := range routes {
		t.Run(strings.TrimSuffix(route, "="), func(t *testing.T) {
			t.Parallel()
			ask := func(subject string) string { return route + url.QueryEscape(subject) + more }
			byDID, byHandle := get(t, resolving, ask("at://"+alice+rest)), get(t, resolving, ask("AT://Alice.Example"+rest))
			if byDID != byHandle || strings.Contains(byDID, `"total":0`) {
				t.Errorf("by handle %s, by DID %s", byHandle, byDID)
			}
			refused := func(h http.Handler, subject, handle, why string) {
				t.Helper()
				w := do(h, "GET", ask(subject))
				body := w.Body.String()
				if w.Code != 400 || !strings.Contains(body, why) ||
					!strings.Contains(body, "use the DID of the account, at://did:…"+rest) ||
					!strings.Contains(body, handle) || strings.Contains(body, "10.0.0.1") {
					t.Errorf("%s: %d %s", subject, w.Code, body)
				}
			}
			refused(resolving, "at://nobody.example"+rest, "nobody.example", "no account was found")
			refused(not, "at://nobody.example"+rest, "nobody.example", "contains the handle nobody.example: ")
			literal := get(t, not, ask(byOldName))
			if got := get(t, resolving, ask(byOldName)); got != literal {
				t.Errorf("a former handle with links: %s, and %s", got, literal)
			}
			if strings.Contains(literal, `"total":0`) || strings.Contains(byDID, `"total":3`) &&
				get(t, not, ask(byName)) == byDID {
				t.Errorf("unresolved, and linked to: %s", literal)
			}
		})
	}
	w := do(resolving, "GET", "/xrpc/dev.weft.links.getCounts?subject=at://nobody.example"+rest+"&source="+like)
	if w.Code != 400 || !strings.Contains(w.Body.String(), "use the DID of the account") {
		t.Errorf("among many subjects: %d %s", w.Code, w.Body)
	}
}

func TestCutHandle(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		uri, handle, rest string
		ok                bool
	}{
		{"at://alice.example", "alice.example", "", true},
		{"at://alice.example/a.b.c/d", "alice.example", "/a.b.c/d", true},
		{"at://alice.example?a#b", "alice.example", "?a#b", true},
		{"at://did:web:alice.example/a.b.c", "", "", false},
		{"https://alice.example/", "", "", false},
		{"did:plc:alice", "", "", false},
	} {
		if handle, rest, ok := cutHandle(x.uri); handle != x.handle || rest != x.rest || ok != x.ok {
			t.Errorf("cutHandle(%q) = %q, %q, %v", x.uri, handle, rest, ok)
		}
	}
}
