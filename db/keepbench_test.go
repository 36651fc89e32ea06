package db_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/keep"
)

// BenchmarkKept counts the accounts of a list of a million links by a million accounts, and reads a page of them. 45 %
// of the links are out, and still in segments. It does so for the first time, after a step of the horizon, and again.
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

// BenchmarkHorizon counts and lists 2,000 targets of 500 links each for some seconds beside a writer of 50 events a
// second, while the horizon stands and while it moves by an hour with each event. It reports the latencies' 50th and
// 99th percentiles in microseconds. A step of the horizon puts some 1,400 links out.
func BenchmarkHorizon(b *testing.B) {
	const targets, each, spacing = 2000, 500, 2_600_000 // microseconds between two links: a month in all
	s, err := db.Open(db.Config{Dir: b.TempDir(), Keep: must(keep.Parse("*=20d"))})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	source := db.Source{Collection: "app.bsky.feed.like", Path: "subject.uri"}
	target := func(n int) string { return fmt.Sprintf("at://did:plc:%024d/app.bsky.feed.post/self", n) }
	us := int64(1_770_000_000_000_000)
	seq := uint64(0)
	event := func(step int64) apply.Event {
		us += step
		seq++
		tid := newHistory(0).tid(us)
		return apply.Event{Seq: seq, TimeUS: us, Op: db.OpCreate, DID: fmt.Sprintf("did:plc:%024d", seq%50_000), Rev: tid,
			Collection: source.Collection, Rkey: tid, Links: []db.Link{{Path: source.Path, Target: target(int(seq) % targets)}}}
	}
	put := func(events ...apply.Event) {
		if _, err := s.Apply(db.Batch{Host: "sim", Events: events}); err != nil {
			b.Error(err)
		}
		if err := s.PruneTick(); err != nil {
			b.Error(err)
		}
	}
	for seq < targets*each {
		var events []apply.Event
		for range 5000 {
			events = append(events, event(spacing))
		}
		put(events...)
	}
	var took [2][2][]time.Duration // standing and moving: counts and lists
	for b.Loop() {
		for moving, step := range []int64{1000, int64(time.Hour / time.Microsecond)} {
			ctx, stop := context.WithTimeout(b.Context(), 4*time.Second)
			done := make(chan struct{})
			go func() {
				defer close(done)
				for ticker := time.NewTicker(20 * time.Millisecond); ctx.Err() == nil; <-ticker.C {
					put(event(step))
				}
			}()
			for n := 0; ctx.Err() == nil; n++ {
				q := db.ListQuery{Target: target(n * 7 % targets), Source: source, Limit: 100}
				began := time.Now()
				if n%2 == 0 {
					_, err = s.CountLinks(b.Context(), q.Target, source)
				} else {
					_, err = s.Links(b.Context(), q)
				}
				if err != nil {
					b.Fatal(err)
				}
				took[moving][n%2] = append(took[moving][n%2], time.Since(began))
			}
			stop()
			<-done
		}
	}
	for moving, name := range []string{"standing", "moving"} {
		for i, what := range []string{"count", "list"} {
			slices.Sort(took[moving][i])
			for _, p := range []int{50, 99} {
				at := took[moving][i][len(took[moving][i])*p/100]
				b.ReportMetric(float64(at.Nanoseconds())/1000, fmt.Sprintf("%s-%s-p%d-µs", name, what, p))
			}
		}
	}
}
