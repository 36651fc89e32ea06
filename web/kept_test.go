package web_test

import (
	"log/slog"
	"strings"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/keep"
	"weft.dev/weft/web"
)

// TestKeptLinks: the first page, its JSON and the status page say how far back the index reaches under each rule.
func TestKeptLinks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, rules string
		home        string // a sentence of the first page; "": none of them is there
		json        string
	}{
		{"none", "", "", ""},
		{"one", "*=90d", "all links: 90d, since 2025-11-04 02:00 UTC.",
			`"retention":[{"links_from":"*","keep":"90d","since":"2025-11-04T02:00:00Z","by_earlier_rules":false}]`},
		{"three", "app.bsky.graph.*=forever,app.bsky.feed.like=1d,*=fit",
			"app.bsky.feed.like: 1d, since 2026-02-01 02:00 UTC; app.bsky.graph.*: forever; all other links: as long as the " +
				"disk budget allows.", `{"links_from":"*","keep":"fit","since":null,"by_earlier_rules":false}]`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			rules, err := keep.Parse(tc.rules)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			var s *db.Store
			for range 2 { // the clock of the log begins with the first event
				s, err = db.Open(db.Config{Dir: dir, Keep: rules, Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Apply(db.Batch{Host: "test", Events: []apply.Event{{Seq: 1, TimeUS: 1_770_000_000_000_000,
					Op: db.OpCreate, DID: bob, Collection: "com.example.evil", Rkey: "a", Rev: "3kaaaaaaaaaaa",
					Links: []db.Link{{Path: "p", Target: post}}}}}); err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			s, err = db.Open(db.Config{Dir: dir, Keep: rules, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			h := serve(t, s, web.Config{})
			page := browse(h, "/").Body.String()
			if has := strings.Contains(page, "This index removes old links. "+tc.home); has != (tc.home != "") {
				_, rest, _ := strings.Cut(page, "This index")
				t.Errorf("the first page: %.300s", rest)
			}
			if json := browse(h, "/?format=json").Body.String(); !strings.Contains(json, tc.json) ||
				strings.Contains(json, "retention") != (tc.json != "") {
				t.Errorf("its JSON: %s", json)
			}
			status := browse(h, "/status").Body.String()
			if strings.Count(status, "Kept: ") != len(rules.List()) {
				t.Errorf("the status page: %s", status)
			}
		})
	}
}
