package db_test

import (
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
)

// BenchmarkApply folds and commits a million simulated events, a thousand to a batch:
//
//	go test ./db -run '^$' -bench Apply -benchtime 1x
func BenchmarkApply(b *testing.B) {
	const size = 1000
	events, err := truth.Events(sim.NetworkConfig{Accounts: 50_000}, 1_000_000)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		start := time.Now()
		s, err := db.Open(db.Config{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		var total apply.Counts
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

// BenchmarkLog reads a log of 200,000 simulated events with its names, a thousand rows at a time, as a replay does:
//
//	go test ./db -run '^$' -bench '^BenchmarkLog$' -count 6
func BenchmarkLog(b *testing.B) {
	const size = 1000
	events, err := truth.Events(sim.NetworkConfig{Accounts: 50_000}, 200_000)
	if err != nil {
		b.Fatal(err)
	}
	s, err := db.Open(db.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for i := 0; i < len(events); i += size {
		if _, err := s.Apply(db.Batch{Host: "bench", Events: events[i : i+size]}); err != nil {
			b.Fatal(err)
		}
	}
	for _, bc := range []struct {
		name string
		rows uint64
	}{{"the newest, in memory", 10_000}, {"all, from the database", s.Seq()}} {
		b.Run(bc.name, func(b *testing.B) {
			if bc.rows == s.Seq() {
				s.LogFromDisk()
			}
			for b.Loop() {
				for after := s.Seq() - bc.rows; after < s.Seq(); {
					_, after, err = s.Log(b.Context(), after, size)
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(bc.rows), "µs/row")
		})
	}
}
