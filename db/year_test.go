package db_test

import (
	"errors"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/export"
)

// TestYear runs a store for a simulated year under random rules with forever, a time and fit, on a budget that some
// days of events fill. At random moments the store restarts, is killed at a step, loses a segment, gets other rules or
// compacts everything. Its files stay within the budget, it is never paused or degraded, no horizon goes back, and it
// and a follower of its directory equal the model. By default it runs the first days of the year; with -thorough all,
// and with -soak all at four times the rate.
func TestYear(t *testing.T) {
	notShort(t)
	t.Parallel()
	days := 365 / fraction(60)
	rate, sealBytes, files := 250, 192<<10, int64(480<<10)
	switch {
	case *soak > 0:
		rate, sealBytes, files = 1000, 1<<20, 10<<20
	case *thorough:
		sealBytes, files = 256<<10, 2500<<10
	}
	began := time.Now()
	y := newYear(t, 1+uint64(*soak), sealBytes, files)
	for day := range days {
		for range 8 {
			y.clock.Add(3 * 3600)
			y.apply(y.batch(rate))
			y.tick()
			y.disturb()
		}
		y.settle()
		y.measure(day)
	}
	y.compare()
	if err := y.s.Close(); err != nil {
		t.Fatal(err)
	}
	y.m.Settle()
	rows, _ := exportOf(t, y.cfg.Dir, export.Options{}, "")
	sameRows(t, "the export", rows, rowsOf(y.m.Lists()))
	if r, err := check.Run(t.Context(), y.cfg.Dir, check.Options{All: true}); err != nil || r.Total > 0 {
		t.Errorf("check: %v, %+v", err, r.Problems)
	}
	t.Logf("%d days, %d events in %s: %v; files at the end of a day %d to %d kB once level; "+
		"links of rules with fit are kept for %.1f to %.1f days", days, y.seq, time.Since(began).Round(time.Second), y.did,
		y.least>>10, y.most>>10, y.shortest.Hours()/24, y.longest.Hours()/24)
	if days == 365 && (y.did["move of fit"] == 0 || y.did["kill"] == 0 || y.did["restart"] == 0 || y.did["rules"] == 0) {
		t.Errorf("the year had only %v", y.did)
	}
}

// disturb does one of the things that may happen to a store, or nothing.
func (y *year) disturb() {
	y.t.Helper()
	switch y.r.IntN(20) {
	case 0, 1:
		y.restart(false)
	case 2:
		if y.r.IntN(3) > 0 {
			return
		}
		y.newRules()
		y.restart(false)
	case 3:
		y.restart(true)
	case 4, 5, 6:
		y.arm()
	case 7:
		y.compact()
	case 8:
		if *soak > 0 || y.r.IntN(3) == 0 { // a comparison takes as long as some days
			y.compare()
		}
	}
}

// compact compacts everything, unless there is no room for it: the budget has room for the largest compaction that is
// due, and not for one of all segments.
func (y *year) compact() {
	y.t.Helper()
	y.settle()
	_, err := y.s.Compact(y.t.Context(), func(int64, int64) {})
	if err == nil || y.s.Failed() != nil {
		y.did["full compaction"]++
		return
	}
	sp := must(y.s.Space(y.t.Context()))
	if sp.Free-sp.Reserve >= sp.Segments*9/8 {
		y.t.Fatalf("%v; but %d bytes are free beside the reserve, and the segments have %d", err, sp.Free-sp.Reserve,
			sp.Segments)
	}
	y.did["full compaction refused"]++
}

// compare holds the store and a follower of its directory against the model.
func (y *year) compare() {
	y.t.Helper()
	y.settle()
	y.did["comparison"]++
	depth := dbtest.Depth{Page: 20 + y.r.IntN(200), Every: 40}
	if err := y.m.Compare(y.t.Context(), y.s, depth); err != nil {
		y.t.Fatalf("after %d events, %v: %v", y.seq, y.did, err)
	}
	compareBodies(y.t, &y.m, y.s, y.cfg)
	if y.follower == nil {
		y.follower = must(db.OpenFollower(db.FollowerConfig{Dir: y.cfg.Dir}))
	}
	refresh(y.t, y.follower)
	if err := y.m.Compare(y.t.Context(), y.follower, depth); err != nil {
		y.t.Fatalf("a follower after %d events, %v: %v", y.seq, y.did, err)
	}
}

// measure holds a day's end against the budget. A move of the horizon relies on a sample of each segment, so that
// another one may have to follow.
func (y *year) measure(day int) {
	y.t.Helper()
	for n := 0; y.left() < 0; n++ {
		if n == 5 {
			y.t.Fatalf("day %d: the files take %d bytes more than they may beside the reserve and the largest compaction", day,
				-y.left())
		}
		y.tick()
		y.settle()
	}
	bytes := bytesIn(y.t, y.cfg.Dir)
	sp := must(y.s.Space(y.t.Context()))
	if bytes > sp.Budget || y.s.Paused() != "" || y.s.Degraded() != "" {
		y.t.Fatalf("day %d: %d bytes of a budget of %d, degraded %q", day, bytes, sp.Budget, y.s.Degraded())
	}
	if day%30 == 29 {
		y.t.Logf("day %d: %d kB (weft.db %d, segments %d), links of rules with fit are kept for %.1f days", day, bytes>>10,
			sp.Database>>10, sp.Segments>>10, float64(y.s.LogClock()-y.s.FitUS())/86400e6)
	}
	if y.did["move of fit"] == 0 {
		return
	}
	if y.least == 0 {
		y.least = bytes
	}
	y.least = min(y.least, bytes)
	y.most = max(y.most, bytes)
}

// left returns how many bytes the files leave beside the reserve and the largest compaction, which takes an eighth of
// the budget, and an eighth more.
func (y *year) left() int64 {
	sp := must(y.s.Space(y.t.Context()))
	return sp.Free - sp.Reserve - sp.Budget*9/64
}

// kill opens a copy of the directory of a store that a step has failed, as it lies there, in its place.
func (y *year) kill() {
	y.t.Helper()
	if err := y.s.Failed(); !errors.Is(err, errKilled) {
		y.t.Fatalf("after %v: %v", y.did, err)
	}
	y.did["kill"]++
	y.did["kill at "+y.killed()]++
	y.closeFollower()
	killed := y.s
	was := y.cfg.Dir
	y.copyKilled()
	_ = killed.Close() // it may want to write
	removeAll(y.t, was)
	y.open()
}

// restart closes the store and opens it again, with one segment less or damaged where it is to be lost.
func (y *year) restart(lose bool) {
	y.t.Helper()
	if y.s.Failed() != nil {
		y.kill()
		y.keep()
	}
	y.did["restart"]++
	if err := y.s.Close(); err != nil && !errors.Is(err, errKilled) {
		y.t.Fatal(err)
	}
	if lose {
		y.loseSegment()
	}
	y.open()
	y.keep()
}

// newRules picks other rules: likes, which are most of the links, are kept as long as the budget allows, or for less
// time than it does.
func (y *year) newRules() {
	y.did["rules"]++
	const day = 24 * time.Hour
	times := map[string]time.Duration{"app.bsky.graph.*": 0, "*": dbtest.Fit}
	// In order, so that a seed has the same year each time.
	for _, rule := range []struct {
		pattern string
		of      []time.Duration
	}{
		{"app.bsky.feed.like", []time.Duration{dbtest.Fit, dbtest.Fit, dbtest.Fit, 12 * time.Hour}},
		{"app.bsky.feed.repost", []time.Duration{dbtest.Fit, 7 * time.Hour, day, 3 * day}},
		{"app.bsky.feed.post:embed.record.uri", []time.Duration{dbtest.Fit, 2 * day, 4 * day}},
	} {
		if y.r.IntN(2) == 0 {
			times[rule.pattern] = pick(y.r, rule.of...)
		}
	}
	y.setRules(times)
}

// setRules sets the rules of the next start.
func (y *year) setRules(times map[string]time.Duration) {
	y.times = times
	y.rules = rulesText(times)
}
