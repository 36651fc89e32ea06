package db_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dbtest"
)

// TestBadCursors: what is no position of a list is refused by every query.
func TestBadCursors(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	defer s.Close()
	if _, err := s.Apply(db.Batch{Host: "real", Events: realEvents(t)}); err != nil {
		t.Fatal(err)
	}
	q := db.ListQuery{Target: "at://did:plc:u4lmvw4wwzaql3z5kcf3r7h4/app.bsky.feed.post/3mptbyospqk2i",
		Source: db.Source{Collection: "app.bsky.feed.post", Path: "reply.root.uri"}, Limit: 1}
	page := must(s.Links(t.Context(), q))
	for n := range len(page.Next) + 1 {
		for _, after := range [][]byte{page.Next[:n], append(append([]byte{}, page.Next...), make([]byte, n+1)...)} {
			if n == len(page.Next) && len(after) == n {
				continue // the cursor itself
			}
			q.After = after
			if after == nil {
				q.After = []byte{}
			}
			_, err1 := s.Links(t.Context(), q)
			_, err2 := s.DIDs(t.Context(), q)
			_, err3 := s.ManyToMany(t.Context(), db.ManyQuery{ListQuery: q, Other: "reply.parent.uri"})
			_, err4 := s.ManyToManyCounts(t.Context(), db.ManyQuery{ListQuery: q, Other: "reply.parent.uri"})
			for i, err := range []error{err1, err2, err3, err4} {
				if !errors.Is(err, db.ErrBadCursor) {
					t.Errorf("query %d takes %x: %v", i+1, after, err)
				}
			}
		}
	}
}

// TestOddEvents: what breaks a rule of the protocol is left out and counted, and what stands beside it is not lost.
func TestOddEvents(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	defer s.Close()
	good := apply.Event{Seq: 1, TimeUS: 1_770_000_000_000_000, Op: db.OpCreate, DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
		Collection: "app.bsky.feed.like", Rkey: "3m2qrrgw22222", Rev: "3mdtsyunhbu22",
		Links: []db.Link{{Path: "subject.uri", Target: "https://example.com/"}}}
	odd := func(change func(*apply.Event)) apply.Event { e := good; change(&e); return e }
	var many []db.Link
	for i := range 5000 {
		many = append(many, db.Link{Path: "a[]", Target: fmt.Sprintf("https://example.com/%d", i)})
	}
	batch := []apply.Event{
		odd(func(e *apply.Event) { e.DID = "did:plc:" }),
		odd(func(e *apply.Event) { e.DID = "did:plc:a\x00b" }),
		odd(func(e *apply.Event) { e.DID = "did:web:" + strings.Repeat("a", 2050) }),
		odd(func(e *apply.Event) { e.Collection = "like" }),
		odd(func(e *apply.Event) { e.Rkey = "" }),
		odd(func(e *apply.Event) { e.Rkey = strings.Repeat("a", 513) }),
		odd(func(e *apply.Event) { e.Rev = "yesterday" }),
		odd(func(e *apply.Event) { e.Op = 77 }),
		odd(func(e *apply.Event) { e.Op, e.Rev = db.OpSync, "" }),
		odd(func(e *apply.Event) {
			e.Links = []db.Link{{Path: "a", Target: "https://a\x00b"}, {Path: "a", Target: ""}}
		}),
		good,
		odd(func(e *apply.Event) {
			e.DID = "did:web:" + strings.Repeat("a", 2030)
			e.Rkey = strings.Repeat("r", 512)
		}),
		odd(func(e *apply.Event) { e.Rkey, e.Links = "many", many }),
		odd(func(e *apply.Event) { e.TimeUS, e.Rkey = -5, "before-1970" }),
	}
	for i := range batch {
		batch[i].Seq = uint64(i + 1)
	}
	a, err := s.Apply(db.Batch{Host: "odd", Events: batch})
	if err != nil {
		t.Fatal(err)
	}
	if a.Invalid != 11 {
		t.Errorf("%d events and links are invalid, want 11", a.Invalid)
	}
	if n := must(s.CountLinks(t.Context(), "https://example.com/",
		db.Source{Collection: "app.bsky.feed.like", Path: "subject.uri"})); n != 3 {
		t.Errorf("%d links of the good records, want 3", n)
	}
	if st := must(s.Stats(t.Context())); st.Links != 3+5000 {
		t.Errorf("%d links in all, want 3 and the 5000 of one record", st.Links)
	}
}

// TestRkeysThatLookLikeNumbers: a record key comes back from the database as its author wrote it.
func TestRkeysThatLookLikeNumbers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	var events []apply.Event
	var m dbtest.Model
	for i, rkey := range []string{"2024", "0123", "1e5", "-7", "1.5", "9223372036854775807", "99999999999999999999",
		"inf", "0x10"} {
		events = append(events, apply.Event{Seq: uint64(i + 1), TimeUS: 1_770_000_000_000_000, Op: db.OpCreate,
			DID:        "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
			Collection: "app.bsky.feed.like", Rkey: rkey, Rev: "3mdtsyunhbu22", Links: []db.Link{{Path: "subject.uri",
				Target: "https://example.com/"}}})
		m.Apply(events[i])
	}
	if _, err := s.Apply(db.Batch{Host: "test", Events: events}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer s.Close()
	if err := m.Compare(t.Context(), s, dbtest.Depth{Page: 2}); err != nil {
		t.Error(err)
	}
}
