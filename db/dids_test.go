package db_test

import (
	"fmt"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
)

// listOf makes a store with a list of n links by the given number of accounts, which link again and again. Most of the
// list is in segments.
func listOf(b *testing.B, links, accounts int) (*db.Store, db.ListQuery) {
	return listIn(b, db.Config{Dir: b.TempDir()}, links, accounts)
}

// listIn is listOf in a store with a configuration.
func listIn(b *testing.B, cfg db.Config, links, accounts int) (*db.Store, db.ListQuery) {
	s, err := db.Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	q := db.ListQuery{Target: "did:plc:popular77777777777777777", Source: db.Source{Collection: "app.bsky.graph.follow",
		Path: "subject"}, Limit: 100}
	us := int64(1_770_000_000_000_000)
	for i := 0; i < links; {
		var events []apply.Event
		for ; i < links && len(events) < 5000; i++ {
			us += 1_000_000
			tid := newHistory(0).tid(us)
			events = append(events, apply.Event{Seq: uint64(i + 1), TimeUS: us, Op: db.OpCreate,
				DID: fmt.Sprintf("did:plc:%024d", i%accounts), Rev: tid, Collection: q.Source.Collection, Rkey: tid,
				Links: []db.Link{{Path: q.Source.Path, Target: q.Target}}})
		}
		if _, err := s.Apply(db.Batch{Host: "sim", Events: events}); err != nil {
			b.Fatal(err)
		}
	}
	return s, q
}

// BenchmarkDIDs asks for a page of 100 accounts of a list of a million, and with -thorough of ten million: the first
// page, and those behind half of the accounts and behind all but 100. It also reports how long the first request takes,
// which marks the list, while nothing is sealed or compacted.
func BenchmarkDIDs(b *testing.B) {
	lengths := []int{16_500, 1_000_000}
	if *thorough {
		lengths = append(lengths, 10_000_000)
	}
	for _, links := range lengths {
		b.Run(fmt.Sprintf("%d links, once each", links), func(b *testing.B) { readDIDs(b, links, links) })
		b.Run(fmt.Sprintf("%d links, ten each", links), func(b *testing.B) { readDIDs(b, links, links/10) })
	}
}

func readDIDs(b *testing.B, links, accounts int) {
	s, q := listOf(b, links, accounts)
	untilCompacted(b, s)
	began := time.Now()
	if _, err := s.DIDs(b.Context(), q); err != nil {
		b.Fatal(err)
	}
	first := time.Since(began)
	for _, depth := range []struct {
		name string
		skip int
	}{{"first page", 0}, {"middle", accounts / 2}, {"last", accounts - 100}} {
		q := q
		if depth.skip > 0 {
			q.Limit = depth.skip
			p, err := s.DIDs(b.Context(), q)
			if err != nil || p.Total != int64(accounts) {
				b.Fatal(p.Total, err)
			}
			q.After = p.Next
			q.Limit = 100
		}
		b.Run(depth.name, func(b *testing.B) {
			for b.Loop() {
				p, err := s.DIDs(b.Context(), q)
				if err != nil || len(p.Items) != 100 {
					b.Fatal(len(p.Items), err)
				}
			}
			b.ReportMetric(float64(first.Milliseconds()), "ms-marking")
		})
	}
}
