package ingest

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

// TestFollowedIsOfItsHost: a host whose session fails at the start doesn't get the followed time of the previous host.
func TestFollowedIsOfItsHost(t *testing.T) {
	t.Parallel()
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	store, err := db.Open(db.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	in := New(Config{Hosts: []upstream.Endpoint{{URL: "http://127.0.0.1:1"}, {URL: down.URL}}, Store: store})
	first, second := in.hosts[0], in.hosts[1]
	first.SetKind(upstream.KindV1)
	second.SetKind(upstream.KindV1)
	until := time.Now().UnixMicro()
	in.liveness.reset(time.Now(), db.Followed{}, false, true)
	in.liveness.followedUS.Store(until)
	if err := in.noteFollowed(first); err != nil || store.Followed(first.URL).UntilUS != until {
		t.Fatalf("the first was followed: %v, %+v", err, store.Followed(first.URL))
	}
	err = in.session(t.Context(), second)
	if err == nil {
		t.Fatal("a server that is down has a session")
	}
	if err := in.diagnose(second, err); err != nil {
		t.Fatal(err)
	}
	if f := store.Followed(second.URL); f.UntilUS != 0 || store.LastFollowed() != first.URL {
		t.Errorf("the second was never followed, and has %+v; %s was followed last", f, store.LastFollowed())
	}
}
