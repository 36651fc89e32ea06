package db_test

import (
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/keep"
)

// BenchmarkKept counts the accounts of a list of a million links by a million accounts, and reads a page of them. 45 % of
// the links are out, and still in segments. It does so for the first time, after a step of the horizon, and again.
func BenchmarkKept(b *testing.B) {
	const links = 1_000_000
	s, q := listIn(b, db.Config{Dir: b.TempDir(), Keep: must(keep.Parse("*=153h"))}, links, links)
	tick := func() {
		if err := s.PruneTick(); err != nil {
			b.Fatal(err)
		}
	}
	figures := map[string]float64{} // b.Loop would forget what is reported before it
	count := func(name string) {
		began := time.Now()
		n, err := s.CountDIDs(b.Context(), q.Target, q.Source)
		took := time.Since(began)
		if err != nil || n >= links || n == 0 {
			b.Fatal(n, err)
		}
		p, err := s.DIDs(b.Context(), q)
		if err != nil || p.Total != n {
			b.Fatal(p.Total, n, err)
		}
		figures[name+"-count-ms"] = float64(took.Microseconds()) / 1000
		figures[name+"-page-ms"] = float64((time.Since(began) - took).Microseconds()) / 1000
	}
	tick()
	count("first")
	like := newHistory(0)
	like.now = 1_770_000_000_000_000 + (links+3*3600)*1_000_000
	e := like.event("did:plc:000000000000000000000001", db.OpCreate)
	e.Seq, e.Collection, e.Rkey = 2*links, "app.bsky.feed.like", like.tid(like.now)
	e.Links = []db.Link{{Path: "subject.uri", Target: "https://example.com/"}}
	if _, err := s.Apply(db.Batch{Host: "sim", Events: []apply.Event{e}}); err != nil {
		b.Fatal(err)
	}
	tick()
	count("step")
	for b.Loop() {
		if _, err := s.CountDIDs(b.Context(), q.Target, q.Source); err != nil {
			b.Fatal(err)
		}
	}
	for name, ms := range figures {
		b.ReportMetric(ms, name)
	}
}
