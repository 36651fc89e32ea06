package db_test

import (
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/extract"
	"weft.dev/weft/ingest/sim"
)

// simulated makes events of the synthetic network.
func simulated(tb testing.TB, cfg sim.NetworkConfig, n int) []db.Event {
	tb.Helper()
	network, x := sim.NewNetwork(cfg), extract.New(extract.Limits{})
	events := make([]db.Event, 0, n)
	for len(events) < n {
		e := network.Next()
		out := db.Event{Seq: e.Seq, TimeUS: e.TimeUS, DID: e.DID, Rev: e.Rev, Collection: e.Collection, Rkey: e.Rkey}
		switch e.Kind {
		case sim.KindCommit:
			out.Op = map[string]db.Op{sim.OpCreate: db.OpCreate, sim.OpUpdate: db.OpUpdate, sim.OpDelete: db.OpDelete}[e.Operation]
			if e.CBOR != nil {
				links, err := x.CBOR(e.CBOR)
				if err != nil {
					tb.Fatal(err)
				}
				for _, l := range links {
					out.Links = append(out.Links, db.Link{Path: string(l.Path), Target: string(l.Target)})
				}
			}
		case sim.KindAccount:
			out.Op, out.StatusUS = db.OpAccount, e.TimeUS
			if !e.Active {
				out.Status = map[string]db.Status{sim.StatusDeactivated: db.StatusDeactivated, sim.StatusSuspended: db.StatusSuspended,
					sim.StatusTakendown: db.StatusTakendown, sim.StatusDeleted: db.StatusDeleted}[e.Status]
			}
		case sim.KindSync:
			out.Op = db.OpSync
		default:
			continue
		}
		events = append(events, out)
	}
	return events
}

// BenchmarkApply folds and commits a million simulated events, a thousand to a batch:
//
//	go test ./db -run '^$' -bench Apply -benchtime 1x
func BenchmarkApply(b *testing.B) {
	const size = 1000
	events := simulated(b, sim.NetworkConfig{Accounts: 50_000}, 1_000_000)
	for b.Loop() {
		start := time.Now()
		s, err := db.Open(db.Config{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		var total db.Applied
		for i := 0; i < len(events); i += size {
			a, err := s.Apply(db.Batch{Host: "bench", Events: events[i : i+size]})
			if err != nil {
				b.Fatal(err)
			}
			total.Added += a.Added
		}
		st, err := s.Stats(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(events))/time.Since(start).Seconds(), "events/s")
		b.ReportMetric(float64(s.WALBytes())/float64(total.Added), "WAL-B/link")
		b.ReportMetric(float64(st.Memory)/float64(st.Links), "mem-B/link")
		b.ReportMetric(float64(total.Added), "links")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
