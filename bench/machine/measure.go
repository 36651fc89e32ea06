package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"weft.dev/weft/ingest/sim"
)

const (
	// subjects is the number of accounts that are asked about.
	subjects = 2000
	// lookEvery is the interval at which memory and disk are read.
	lookEvery = time.Second
	// settleFor bounds the wait for the end of the work after a replay.
	settleFor = 30 * time.Minute
)

// sample collects what is read while weft works.
type sample struct {
	peak, disk   int64 // MB, bytes
	count, lists []time.Duration
	failed       int
	firstFailure error
}

// measureReplay waits until the archive is indexed.
func measureReplay(ctx context.Context, w *weft, o options) error {
	begun := time.Now()
	before := w.processor()
	var s sample
	var last status
	err := w.watch(ctx, &s, o, func(st status) bool {
		last = st
		return st.Upstream.Committed >= uint64(o.Events)
	})
	if err != nil {
		return err
	}
	took := time.Since(begun)
	used := w.processor() - before
	fmt.Printf("replay       %d events, %s of the network's time, in %s: %.0f events/s; %.1f µs of CPU an event\n",
		o.Events, (time.Duration(float64(o.Events)/o.Rate) * time.Second).String(), took.Round(time.Second),
		float64(o.Events)/took.Seconds(), used.Seconds()*1e6/float64(o.Events))
	s.print(w, last)
	return nil
}

// measureLive follows live events.
func measureLive(ctx context.Context, w *weft, server *sim.Server, o options) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go emit(ctx, server, o.Rate)
	if err := w.settle(ctx, o.Rest); err != nil {
		return err
	}
	if o.Compact {
		compacted := make(chan error, 1)
		go func() { compacted <- w.compact(ctx) }()
		defer func() {
			if err != nil {
				stop()
			}
			err = errors.Join(err, <-compacted)
		}()
	}
	begun := time.Now()
	before := w.processor()
	askedBefore := w.asked.count()
	var s sample
	var first, last status
	var late []time.Duration
	err = w.watch(ctx, &s, o, func(st status) bool {
		if first.Upstream.Committed == 0 {
			first = st
		}
		last = st
		late = append(late, time.Duration(st.Upstream.Lag*float64(time.Second)))
		return time.Since(begun) >= o.Live
	})
	if err != nil {
		return err
	}
	took := time.Since(begun)
	used := w.processor() - before
	fmt.Printf("live         %.0f events/s for %s: %.1f %% of a core; behind by %s median, %s p99, %s at most\n",
		float64(last.Upstream.Committed-first.Upstream.Committed)/took.Seconds(), took.Round(time.Second),
		100*used.Seconds()/took.Seconds(), at(late, 0.5), at(late, 0.99),
		at(late, 1))
	s.print(w, last)
	if w.asked != nil {
		asked := w.asked.count()
		day := func(i int) float64 {
			return float64(asked[i]-askedBefore[i]) * (24 * time.Hour).Seconds() / took.Seconds()
		}
		fmt.Printf("  replica    %.0f writes, %.0f listings and %.0f reads a day\n", day(0), day(1), day(2))
	}
	return nil
}

// settle waits until the work after a replay is done: compactions, and the removal of old log rows. It prints what the
// index then takes on disk.
func (w *weft) settle(ctx context.Context, quietFor time.Duration) error {
	var last status
	began := time.Now()
	for quiet := time.Duration(0); quiet < quietFor && time.Since(began) < settleFor; quiet += lookEvery {
		st, err := w.status(ctx)
		if err != nil {
			return err
		}
		if st.Index.Sealing || st.Index.Compacting || st.Upstream.Lag > 5 || st.Space.Database < last.Space.Database {
			quiet = 0
		}
		last = st
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	links := float64(max(last.Index.Links, 1))
	fmt.Printf("at rest      after %s: %.1f B a link: %.1f of segments, %.1f of weft.db, %.1f of its WAL\n",
		time.Since(began).Round(time.Second), float64(last.Space.bytes())/links, float64(last.Space.Segments)/links,
		float64(last.Space.Database)/links, float64(last.Space.WAL)/links)
	return nil
}

// emit emits live events at a rate until ctx ends.
func emit(ctx context.Context, server *sim.Server, rate float64) {
	begun := time.Now()
	sent := 0
	for ticker := time.NewTicker(10 * time.Millisecond); ; {
		select {
		case <-ticker.C:
			n := int(time.Since(begun).Seconds()*rate) - sent
			server.Emit(n)
			sent += n
		case <-ctx.Done():
			ticker.Stop()
			return
		}
	}
}

// watch asks questions and reads the status until enough says so.
func (w *weft) watch(ctx context.Context, s *sample, o options, enough func(status) bool) error {
	network := sim.NewNetwork(sim.NetworkConfig{Accounts: o.Accounts, RatePerSec: o.Rate})
	var dids []string
	for range subjects {
		dids = append(dids, network.Next().DID)
	}
	turns := time.NewTicker(time.Second / time.Duration(max(o.Asks, 1)))
	defer turns.Stop()
	looked := time.Time{}
	for n := 0; ; n++ {
		select {
		case err := <-w.ended:
			return fmt.Errorf("weft has ended: %w\n%s", err, w.log.String())
		case <-ctx.Done():
			return ctx.Err()
		case <-turns.C:
		}
		if o.Asks > 0 {
			s.ask(ctx, w, dids[n%len(dids)], n%2 == 0)
		}
		if time.Since(looked) < lookEvery {
			continue
		}
		looked = time.Now()
		st, err := w.status(ctx)
		if err != nil {
			return err
		}
		_, peak := w.memory()
		s.peak = max(s.peak, int64(peak))
		s.disk = max(s.disk, st.Space.bytes())
		if enough(st) {
			return nil
		}
	}
}

// ask asks for the followers of an account: their count, or the newest of them.
func (s *sample) ask(ctx context.Context, w *weft, did string, count bool) {
	what := "getBacklinks"
	if count {
		what = "getBacklinksCount"
	}
	begun := time.Now()
	_, err := w.get(ctx, "/xrpc/blue.microcosm.links."+what+"?"+url.Values{"subject": {did},
		"source": {"app.bsky.graph.follow:subject"}}.Encode())
	switch {
	case err != nil && s.firstFailure == nil:
		s.firstFailure = err
		fallthrough
	case err != nil:
		s.failed++
	case count:
		s.count = append(s.count, time.Since(begun))
	default:
		s.lists = append(s.lists, time.Since(begun))
	}
}

// print prints the sample, and the state of weft.
func (s *sample) print(w *weft, st status) {
	now, _ := w.memory()
	fmt.Printf("  memory     %d MB, %d at most; %d with the page cache\n", now, s.peak, w.limits.mostMemory()/1e6)
	fmt.Printf("  disk       %.2f GB of weft.db and segments at most, %d links, %.1f B each in %d segments; "+
		"%.1f GB free\n",
		float64(s.disk)/1e9, st.Index.Links, float64(st.Space.Segments)/float64(max(st.Index.Links, 1)), st.Index.Segments,
		float64(st.Space.Free)/1e9)
	fmt.Printf("  questions  count p50 %s, p99 %s; list p50 %s, p99 %s; %d failed (%v)\n", at(s.count, 0.5),
		at(s.count, 0.99), at(s.lists, 0.5), at(s.lists, 0.99), s.failed, s.firstFailure)
	fmt.Printf("  state      upstream %s%s, replica %s, %d faults\n", st.Upstream.State, reason(st.Upstream.Degraded),
		st.Replication.State, len(st.Faults))
	for _, f := range st.Faults {
		fmt.Printf("  fault      %+v\n", f)
	}
}

func reason(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// at returns a quantile.
func at(of []time.Duration, q float64) time.Duration {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[int(q*float64(len(sorted)-1))].Round(10 * time.Microsecond)
}
