package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"weft.dev/weft/db"
)

// latency is the time of queries and commits during ingest at a pace.
type latency struct {
	Took       time.Duration `json:"took_ns"`
	Big        int64         `json:"big_links"` // links of the big target
	BigDIDs    int64         `json:"big_dids"`
	Count      quantiles     `json:"count"`
	List       quantiles     `json:"list"`
	BigCount   quantiles     `json:"big_count"`
	BigList    quantiles     `json:"big_list"`
	BigDID     quantiles     `json:"big_dids_count"`
	Commit     quantiles     `json:"commit"`            // no compaction
	Compacting quantiles     `json:"commit_compaction"` // during a compaction
	Events     int64         `json:"events"`            // applied
	Late       int           `json:"late"`              // commits that began late
	Peak       int64         `json:"peak_rss"`
}

// think is the pause between two queries of the one client.
const think = time.Millisecond

// batchAge is the longest wait of an event for the others of its commit, as in ingest.
const batchAge = 200 * time.Millisecond

// pace applies events at the configured rate during queries, as many in a commit as come in batchAge.
func (b *bench) pace(ctx context.Context) (*latency, error) {
	l := &latency{}
	start := time.Now()
	b.m.PeakRSS = max(b.m.PeakRSS, peakRSS())
	resetPeak()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	asked := make(chan error, 1)
	go func() { asked <- b.ask(ctx, l) }()
	most := max(min(int(batchAge*time.Duration(b.o.Rate)/time.Second), b.o.Batch), 1)
	every := time.Duration(most) * time.Second / time.Duration(b.o.Rate)
	var plain, compacting []time.Duration
	for due := start; time.Since(start) < b.o.Pace; due = due.Add(every) {
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		} else if wait < -every {
			l.Late++
		}
		m := b.s.Work().Compacting
		before := b.m.Events
		took, err := b.apply(most)
		if err != nil {
			return nil, err
		}
		l.Events += b.m.Events - before
		if m {
			compacting = append(compacting, took)
		} else {
			plain = append(plain, took)
		}
	}
	cancel()
	l.Took = time.Since(start)
	l.Commit = quantilesOf(plain)
	l.Compacting = quantilesOf(compacting)
	l.Peak = peakRSS()
	b.m.PeakRSS = max(b.m.PeakRSS, l.Peak)
	return l, <-asked
}

// ask is the one client: it sends each kind of query in turn until the context ends.
func (b *bench) ask(ctx context.Context, l *latency) (err error) {
	r := rand.New(rand.NewPCG(3, 4))
	var took [5][]time.Duration
	do := func(i int, f func() error) {
		if err != nil {
			return
		}
		start := time.Now()
		err = f()
		took[i] = append(took[i], time.Since(start))
		time.Sleep(think)
	}
	background := context.Background()
	list := func(s sample) func() error {
		return func() error {
			_, err := b.s.Links(background, db.ListQuery{Target: s.Target, Source: s.Source, Limit: 100})
			return err
		}
	}
	big := sample{bigTarget, bigSource}
	for ctx.Err() == nil && err == nil {
		some := func() sample { return b.g.Sample[r.IntN(len(b.g.Sample))] }
		s := some()
		do(0, func() error { _, err := b.s.CountLinks(background, s.Target, s.Source); return err })
		do(1, list(some()))
		do(2, func() (err error) { l.Big, err = b.s.CountLinks(background, big.Target, big.Source); return })
		do(3, list(big))
		do(4, func() (err error) { l.BigDIDs, err = b.s.CountDIDs(background, big.Target, big.Source); return })
	}
	for i, q := range []*quantiles{&l.Count, &l.List, &l.BigCount, &l.BigList, &l.BigDID} {
		*q = quantilesOf(took[i])
	}
	if err == nil && l.Big == 0 {
		err = errors.New("the big target has no links")
	}
	return err
}
