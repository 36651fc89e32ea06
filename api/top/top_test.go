package top

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/link"
)

// made returns a row with links from a source. Its time is that of the event, or of a TID.
func made(source db.Source, at time.Time, targets ...string) db.LogEntry {
	e := db.LogEntry{Op: db.OpCreate, DID: "did:plc:alice", Collection: source.Collection, Rkey: "self"}
	if !at.IsZero() {
		e.Rkey = string(link.AppendTID(nil, uint64(at.UnixMicro())<<10))
	}
	for _, target := range targets {
		e.Added = append(e.Added, db.Link{Path: source.Path, Target: target})
	}
	return e
}

// exact counts the links of a log from a source since a time.
func exact(rows []db.LogEntry, source db.Source, since time.Time) map[string]int64 {
	counts := map[string]int64{}
	for i := range rows {
		for _, l := range rows[i].Added {
			if (db.Source{Collection: rows[i].Collection, Path: l.Path}) == source && rows[i].LinkTimeUS() >= since.UnixMicro() {
				counts[l.Target]++
			}
		}
	}
	return counts
}

// bounds compares a counter with a log: no target, named or not, has more links than its bound.
func bounds(t *testing.T, c *Counter, rows []db.LogEntry, source db.Source, since time.Time) (named, others int64) {
	t.Helper()
	candidates, others := c.Candidates(source, since)
	most := map[string]int64{}
	for i, one := range candidates {
		most[one.Target] = one.Most
		if one.Most < others || i > 0 && one.Most > candidates[i-1].Most {
			t.Errorf("candidate %d may have %d links, others %d", i, one.Most, others)
		}
	}
	for target, n := range exact(rows, source, since) {
		limit, ok := most[target]
		if !ok {
			limit = others
		}
		if n > limit && len(target) <= MaxTarget {
			t.Errorf("%v since %s: %.40s has %d links, and may have %d at most (named: %v)", source, since, target, n, limit, ok)
		}
	}
	return int64(len(candidates)), others
}

var likes = db.Source{Collection: "app.bsky.feed.like", Path: "subject.uri"}

// TestBounds: no target has more links than its bound, for random rows in random order.
func TestBounds(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			zipf := rand.NewZipf(r, 1.1+r.Float64(), 5, 20_000)
			now := time.Date(2026, 11, 26, 12, 30, 0, 0, time.UTC)
			c := New(Config{Now: func() time.Time { return now }})
			c.running = true
			sources := []db.Source{likes}
			for i := range 3 + 60*int(seed) { // up to five times targetsKept
				sources = append(sources, db.Source{Collection: "com.example.c" + fmt.Sprint(i), Path: "x"})
			}
			var rows []db.LogEntry
			for range 60_000 {
				source := sources[min(int(r.ExpFloat64()*3), len(sources)-1)]
				if r.IntN(10) == 0 {
					source = sources[r.IntN(len(sources))]
				}
				event := now.Add(-time.Duration(r.ExpFloat64() * float64(3*time.Hour)))
				at := event.Add(5*time.Minute - time.Duration(r.ExpFloat64()*float64(time.Hour)))
				e := made(source, at, fmt.Sprintf("at://did:plc:bob/app.bsky.feed.post/%d", zipf.Uint64()))
				e.TimeUS = event.UnixMicro()
				rows = append(rows, e)
			}
			for some := range slices.Chunk(rows, 997) {
				c.count(some, now)
			}
			for _, source := range append(sources[:min(20, len(sources))],
				db.Source{Collection: "com.example.none", Path: "x"}) {
				for _, span := range []time.Duration{time.Minute, time.Hour, 5 * time.Hour, MaxSpan} {
					bounds(t, c, rows, source, now.Add(-span))
				}
			}
		})
	}
}

// TestLateTargets: targets that arrive when others with more links are kept have a bound of their own.
func TestLateTargets(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 30, 0, 0, time.UTC)
	c := New(Config{Now: func() time.Time { return now }})
	c.running = true
	var rows []db.LogEntry
	add := func(target string, links int) {
		for range links {
			e := made(likes, time.Time{}, target)
			e.TimeUS = now.UnixMicro()
			rows = append(rows, e)
			c.count(rows[len(rows)-1:], now)
		}
	}
	for i := range targetsKept {
		add(fmt.Sprint("did:plc:first", i), 10)
	}
	for i := range 50 {
		add(fmt.Sprint("did:plc:late", i), i%14+1)
		bounds(t, c, rows, likes, now.Add(-time.Hour))
	}
}

// TestBoundIsTight: in an hour of a busy network, the targets with the most links are named. The bound of the others is
// less than twice the links of the first unnamed target.
func TestBoundIsTight(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	zipf := rand.NewZipf(r, 1.2, 10, 1_000_000)
	now := time.Date(2026, 11, 26, 12, 30, 0, 0, time.UTC)
	c := New(Config{Now: func() time.Time { return now }})
	c.running = true
	var rows []db.LogEntry
	for range 400_000 {
		e := made(likes, now.Add(-time.Minute), fmt.Sprintf("at://did:plc:bob/app.bsky.feed.post/%d", zipf.Uint64()))
		e.TimeUS = now.UnixMicro()
		rows = append(rows, e)
	}
	c.count(rows, now)
	named, others := bounds(t, c, rows, likes, now.Add(-time.Hour))
	counts := exact(rows, likes, now.Add(-time.Hour))
	var ns []int64
	for _, n := range counts {
		ns = append(ns, n)
	}
	slices.SortFunc(ns, func(a, b int64) int { return int(b - a) })
	if named != targetsKept || others > 2*ns[targetsKept] {
		t.Errorf("%d of %d targets are named, others may have %d links; number %d has %d", named, len(counts), others,
			targetsKept, ns[targetsKept])
	}
}

// TestAhead: links dated days ahead count as long as a span includes them, in one hour.
func TestAhead(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 30, 0, 0, time.UTC)
	c := New(Config{Now: func() time.Time { return now }})
	var rows []db.LogEntry
	add := func(ahead time.Duration, target string) {
		e := made(likes, now.Add(ahead), target)
		e.TimeUS = now.Add(ahead).UnixMicro()
		rows = append(rows, e)
		c.count(rows[len(rows)-1:], now)
	}
	for i, days := range []int{3, 1, 5, 2} {
		add(time.Duration(days)*24*time.Hour, fmt.Sprint("https://example.org/", i))
	}
	if len(c.hours) != 1 {
		t.Errorf("%d hours are kept", len(c.hours))
	}
	for range 6 * 4 {
		now = now.Add(6 * time.Hour)
		add(0, "https://example.org/now")
		if named, _ := bounds(t, c, rows, likes, now.Add(-MaxSpan)); named == 0 {
			t.Errorf("no target is named at %s", now)
		}
	}
	if len(c.hours) > int(hoursKept)+3 { // the current hour, the next one, and one for later dates
		t.Errorf("%d hours are kept", len(c.hours))
	}
}

// TestMemory: the counter stays within its memory bounds for hostile input: long targets, many sources, any times.
func TestMemory(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 30, 0, 0, time.UTC)
	c := New(Config{Now: func() time.Time { return now }})
	for i := range 100_000 {
		source := db.Source{Collection: fmt.Sprintf("com.example.c%d", i%1000), Path: "x"}
		target := "https://example.org/" + fmt.Sprint(i) + strings.Repeat("x", i%(2*MaxTarget))
		e := made(source, now.Add(time.Duration(50-i%100)*time.Hour), target)
		e.TimeUS = now.Add(100 * time.Hour).UnixMicro()
		c.count([]db.LogEntry{e}, now)
	}
	if len(c.hours) > int(hoursKept)+3 { // the current hour, the next one, and one for later dates
		t.Errorf("%d hours are kept", len(c.hours))
	}
	for _, h := range c.hours {
		if len(h.sources) > sourcesKept {
			t.Errorf("%d sources are kept", len(h.sources))
		}
		for _, s := range h.sources {
			if len(s.counts) > targetsKept {
				t.Errorf("%d targets are kept", len(s.counts))
			}
			for target := range s.counts {
				if len(target) > MaxTarget {
					t.Errorf("a target of %d bytes is kept", len(target))
				}
			}
		}
	}
	now = now.Add(100 * time.Hour)
	c.count(nil, now)
	if len(c.hours) != 0 {
		t.Errorf("%d hours are kept for ever", len(c.hours))
	}
}

// BenchmarkCount counts rows of a like each.
func BenchmarkCount(b *testing.B) {
	c, rows, now := busy()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		c.count(rows[i%len(rows):i%len(rows)+1], now)
	}
}

func BenchmarkCandidates(b *testing.B) {
	c, _, now := busy()
	b.ResetTimer()
	for b.Loop() {
		c.Candidates(likes, now.Add(-MaxSpan))
	}
}

// busy returns a counter with full hours.
func busy() (*Counter, []db.LogEntry, time.Time) {
	r := rand.New(rand.NewPCG(1, 1))
	zipf := rand.NewZipf(r, 1.2, 10, 1_000_000)
	now := time.Date(2026, 11, 26, 12, 30, 0, 0, time.UTC)
	c := New(Config{Now: func() time.Time { return now }})
	var rows []db.LogEntry
	for i := range 200_000 {
		at := now.Add(-time.Duration(i) * MaxSpan / 200_000)
		e := made(likes, at, fmt.Sprintf("at://did:plc:bobbobbobbobbobbobbobbob/app.bsky.feed.post/%d", zipf.Uint64()))
		e.TimeUS = at.UnixMicro()
		rows = append(rows, e)
	}
	c.count(rows, now)
	return c, rows, now
}
