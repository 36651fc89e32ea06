package db_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// BenchmarkPrune prunes the backlog of a window that is set for the first time, one log row with a link an op. The
// pruning rests for half of the time.
func BenchmarkPrune(b *testing.B) {
	var clock atomic.Int64
	h := newHistory(1)
	clock.Store(h.now / 1e6)
	cfg := db.Config{Dir: b.TempDir(), Now: func() time.Time { return time.Unix(clock.Load(), 0) }}
	s := must(db.Open(cfg))
	for done := 0; done < b.N; done += 1000 {
		var events []apply.Event
		for i := range 1000 {
			h.now += 2500
			h.rev = uint64(h.now) << 10
			e := h.event(fmt.Sprintf("did:plc:%024d", (done+i)%50_000), db.OpCreate)
			e.Collection, e.Rkey = "app.bsky.feed.like", h.tid(h.now)
			e.Links = []db.Link{{Path: "subject.uri", Target: fmt.Sprintf("at://did:plc:%024d/app.bsky.feed.post/%s", i,
				h.tid(h.now))}}
			events = append(events, e)
		}
		must(s.Apply(db.Batch{Host: "bench", Events: events}))
		clock.Store(h.now / 1e6)
	}
	must(0, s.Close())
	cfg.ReplayWindow = time.Minute
	s = must(db.Open(cfg))
	before := s.WALBytes()
	var took time.Duration
	for range 15 {
		clock.Add(60)
		for s.Sealing() {
			time.Sleep(time.Millisecond)
		}
		began := time.Now()
		must(0, s.PruneTick())
		took += time.Since(began)
	}
	oldest, newest := must2(s.LogRange(b.Context()))
	if newest-oldest >= 1000 { // the newest commit is a block, which stays
		b.Errorf("rows %d to %d are left", oldest, newest)
	}
	b.ReportMetric(float64(newest)/took.Seconds(), "rows/s")
	b.ReportMetric(float64(s.WALBytes()-before)/float64(newest), "WAL-B/row")
	must(0, s.Close())
}
