package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/link"
)

// TestHydratedUpdates: an update that leaves the wanted links of its record as they are comes with the new content, to who
// asks for content, and to nobody else.
func TestHydratedUpdates(t *testing.T) {
	t.Parallel()
	l := startLive(t, Config{})
	const profile = "app.bsky.actor.profile"
	apply := func(text string, op db.Op, targets ...string) {
		t.Helper()
		l.seq++
		e := db.Event{Seq: uint64(l.seq), TimeUS: 1_770_000_000_000_000 + int64(l.seq), Op: op, DID: alice, Collection: profile, Rkey: "self",
			Rev: string(link.AppendTID(nil, uint64(l.seq)<<10))}
		for i, target := range targets {
			e.Links = append(e.Links, db.Link{Path: fmt.Sprintf("l%d", i), Target: target})
		}
		if op != db.OpDelete {
			e.Body = append([]byte{0xa1, 0x61, 'x', 0x60 + byte(len(text))}, text...)
		}
		if _, err := l.store.Apply(db.Batch{Host: "test", Events: []db.Event{e}}); err != nil {
			t.Fatal(err)
		}
	}
	// The content is that of the moment of sending, so that all but the last version of the record come with the last.
	apply("one", db.OpCreate, post)
	apply("two", db.OpUpdate, post)         // the content alone
	apply("three", db.OpUpdate, post, list) // another link comes
	apply("four", db.OpUpdate, post, list)
	type event struct {
		Operation      string
		Removed, Added []struct{ Source, Subject string }
		Value          map[string]string
		Cursor         uint64
	}
	last := l.seq + 1 // of another record, which every query below wants
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
		want  []string // operation, links that went and came, content
	}{
		{"", []string{"create -0 +1 ", "update -0 +1 "}},
		{"&hydrate=true", []string{"create -0 +1 four", "update -0 +0 four", "update -0 +1 four", "update -0 +0 four"}},
		{"&wantedSubjects=" + of(post), []string{"create -0 +1 "}},
		{"&hydrate=true&wantedSubjects=" + of(post), []string{"create -0 +1 four", "update -0 +0 four", "update -0 +0 four", "update -0 +0 four"}},
		{"&hydrate=true&wantedSubjectPrefixes=" + of("https://example.com/"), nil},
		{"&hydrate=true&wantedSources=" + profile + ":l0&wantedSources=" + of(like), []string{"create -0 +1 four", "update -0 +0 four", "update -0 +0 four", "update -0 +0 four"}},
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
	apply("", db.OpDelete)
	last = l.seq + 1
	l.apply(t, db.OpCreate, "end2", post)
	if got := ask("&hydrate=true&wantedCollections=" + profile + "&wantedCollections=app.bsky.feed.like"); len(got) == 0 || got[len(got)-1].Operation != "delete" {
		t.Errorf("after the end: %+v", got)
	}
}
