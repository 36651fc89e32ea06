package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

// TestHydratedUpdates: an update that changes no wanted link is sent with the new content, but only to subscribers with
// hydrate.
func TestHydratedUpdates(t *testing.T) {
	t.Parallel()
	l := startLive(t, Config{})
	const profile = "app.bsky.actor.profile"
	commit := func(text string, op db.Op, targets ...string) {
		t.Helper()
		l.seq++
		e := apply.Event{Seq: uint64(l.seq), TimeUS: 1_770_000_000_000_000 + int64(l.seq), Op: op, DID: alice,
			Collection: profile, Rkey: "self",
			Rev: string(link.AppendTID(nil, uint64(l.seq)<<10))}
		for i, target := range targets {
			e.Links = append(e.Links, db.Link{Path: fmt.Sprintf("l%d", i), Target: target})
		}
		if op != db.OpDelete {
			e.Body = append([]byte{0xa1, 0x61, 'x', 0x60 + byte(len(text))}, text...)
		}
		if _, err := l.store.Apply(db.Batch{Host: "test", Events: []apply.Event{e}}); err != nil {
			t.Fatal(err)
		}
	}
	// Content is read at the time of sending, so that events of older versions have the newest content.
	commit("one", db.OpCreate, post)
	commit("two", db.OpUpdate, post)         // the content alone
	commit("three", db.OpUpdate, post, list) // another link is added
	commit("four", db.OpUpdate, post, list)
	type event struct {
		Operation      string
		Removed, Added []struct{ Source, Subject string }
		Value          map[string]string
		Cursor         uint64
	}
	last := l.seq + 1 // an event of another record, which every query below wants
	l.apply(t, db.OpCreate, "end", post, list, page)
	ask := func(query string) (events []event) {
		t.Helper()
		res, err := http.Get(l.URL + "/events?cursor=0" + query)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var e event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				t.Fatalf("%v: %s", err, data)
			}
			if e.Cursor == uint64(last) {
				return events
			}
			events = append(events, e)
		}
		t.Fatal("the stream ended")
		return nil
	}
	of := url.QueryEscape
	for _, x := range []struct {
		query string
		want  []string // operation, removed and added links, content
	}{
		{"", []string{"create -0 +1 ", "update -0 +1 "}},
		{"&hydrate=true", []string{"create -0 +1 four", "update -0 +0 four", "update -0 +1 four", "update -0 +0 four"}},
		{"&wantedSubjects=" + of(post), []string{"create -0 +1 "}},
		{"&hydrate=true&wantedSubjects=" + of(post), []string{"create -0 +1 four", "update -0 +0 four", "update -0 +0 four",
			"update -0 +0 four"}},
		{"&hydrate=true&wantedSubjectPrefixes=" + of("https://example.com/"), nil},
		{"&hydrate=true&wantedSources=" + profile + ":l0&wantedSources=" + of(like),
			[]string{"create -0 +1 four", "update -0 +0 four", "update -0 +0 four", "update -0 +0 four"}},
		{"&hydrate=true&wantedCollections=app.bsky.feed.like", nil},
	} {
		var got []string
		for _, e := range ask(x.query) {
			got = append(got, fmt.Sprintf("%s -%d +%d %s", e.Operation, len(e.Removed), len(e.Added), e.Value["x"]))
		}
		if !reflect.DeepEqual(got, x.want) {
			t.Errorf("%s: %q, want %q", x.query, got, x.want)
		}
	}
	commit("", db.OpDelete)
	last = l.seq + 1
	l.apply(t, db.OpCreate, "end2", post)
	if got := ask("&hydrate=true&wantedCollections=" + profile + "&wantedCollections=app.bsky.feed.like"); len(got) == 0 ||
		got[len(got)-1].Operation != "delete" {
		t.Errorf("after the end: %+v", got)
	}
}

// TestHydratedRecord: getRecordLinks returns the content on request. For an inactive account it returns neither links
// nor content.
func TestHydratedRecord(t *testing.T) {
	t.Parallel()
	store, err := db.Open(db.Config{Dir: t.TempDir(), Bodies: db.BodiesKeep, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	h := serve(Config{Store: store})
	commit := func(e apply.Event) {
		t.Helper()
		if _, err := store.Apply(db.Batch{Host: "test", Events: []apply.Event{e}}); err != nil {
			t.Fatal(err)
		}
	}
	const us = 1_770_000_000_000_000
	did := "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	commit(apply.Event{Seq: 1, TimeUS: us, Op: db.OpCreate, DID: did, Collection: "app.bsky.feed.post", Rkey: "3k",
		Rev:   string(link.AppendTID(nil, us<<10)),
		Links: []db.Link{{Path: "embed.record.uri", Target: post}}, Body: []byte("\xa1\x64text\x62hi")})
	ask := func(pairs ...string) string {
		pairs = append([]string{"did", did, "collection", "app.bsky.feed.post", "rkey", "3k"}, pairs...)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, newRequest(own("getRecordLinks", pairs...)))
		return strings.TrimSpace(w.Body.String())
	}
	links := `{"links":[{"source":"app.bsky.feed.post:embed.record.uri","subject":"` + post + `"}]`
	if got := ask(); got != links+"}" {
		t.Errorf("without hydrate: %s", got)
	}
	if got := ask("hydrate", "true"); !strings.HasPrefix(got, links+`,"cid":"`) ||
		!strings.HasSuffix(got, `,"value":{"text":"hi"}}`) {
		t.Errorf("with hydrate: %s", got)
	}
	if got := ask("hydrate", "yes"); !strings.Contains(got, "`hydrate` must be true or false") {
		t.Errorf("with a wrong hydrate: %s", got)
	}
	commit(apply.Event{Seq: 2, TimeUS: us + 1, Op: db.OpAccount, DID: did, Status: db.StatusTakendown})
	if got := ask("hydrate", "true"); got != `{"links":[]}` {
		t.Errorf("of an inactive account: %s", got)
	}
}
