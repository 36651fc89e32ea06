package top

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/link"
)

// memory is a log in memory whose rows have a commit time.
type memory struct {
	mu     sync.Mutex
	rows   []db.LogEntry
	at     []time.Time // commit times
	pruned uint64
	fails  bool
	read   int // rows that LogLinks has returned
	times  int // rows whose times LogTime has read
}

func (m *memory) add(e db.LogEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.Seq = uint64(len(m.rows) + 1)
	if e.TimeUS == 0 {
		e.TimeUS = time.Now().UnixMicro()
	}
	m.rows = append(m.rows, e)
	m.at = append(m.at, time.Now())
}

func (m *memory) Seq() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.rows))
}

// LogLinks returns half of the requested rows, as a store does when rows have many links.
func (m *memory) LogLinks(_ context.Context, after uint64, limit int) ([]db.LogEntry, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	to := min(after+uint64(limit+1)/2, uint64(len(m.rows)))
	switch {
	case m.fails:
		return nil, after, errors.New("disk on fire")
	case to <= after:
		return nil, after, nil
	case after < m.pruned:
		return nil, after, db.ErrLogPruned
	}
	m.read += int(to - after)
	return slices.Clone(m.rows[after:to]), to, nil
}

func (m *memory) LogTime(_ context.Context, after uint64, limit int) (newestUS int64, last uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	to := min(after+uint64(limit), uint64(len(m.rows)))
	switch {
	case m.fails:
		return 0, after, errors.New("disk on fire")
	case to <= after:
		return 0, after, nil
	case after < m.pruned:
		return 0, after, db.ErrLogPruned
	}
	m.times += int(to - after)
	for i := range m.rows[after:to] {
		newestUS = max(newestUS, m.rows[int(after)+i].TimeUS)
	}
	return newestUS, to, nil
}

func (m *memory) LogAge(_ context.Context, seq uint64) (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if seq == 0 {
		return 1 << 62, nil
	}
	return time.Since(m.at[seq-1]), nil
}

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

// TestRun: a counter counts rows from before and after its start, reports its span, and continues after a failure.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		ctx, stop := context.WithCancel(t.Context())
		for range 5000 { // five days
			time.Sleep(90 * time.Second)
			m.add(made(likes, time.Time{}, "at://did:plc:bob/app.bsky.feed.post/old"))
		}
		failed := 0
		var mu sync.Mutex
		c := New(Config{Log: m, Failed: func(error) { mu.Lock(); failed++; mu.Unlock() }})
		if s := c.Span(time.Now().Add(-MaxSpan)); s.Since != time.Now() {
			t.Errorf("before it runs, it counts since %s", s.Since)
		}
		ended := make(chan struct{})
		go func() { defer close(ended); c.Run(ctx) }()
		time.Sleep(time.Minute)
		check := func(span time.Duration, links int64) Span {
			t.Helper()
			s := c.Span(time.Now().Add(-span))
			found, others := c.Candidates(likes, s.Since)
			m.mu.Lock()
			defer m.mu.Unlock()
			want := exact(m.rows, likes, s.Since)
			for _, one := range found {
				if one.Most < want[one.Target] {
					t.Errorf("%s may have %d links, and has %d", one.Target, one.Most, want[one.Target])
				}
			}
			if len(found) == 0 || found[0].Most < links || others != 0 {
				t.Errorf("%v, others %d", found, others)
			}
			return s
		}
		if s := check(MaxSpan, 950); s.Since != time.Now().Add(-MaxSpan) {
			t.Errorf("it counts since %s only", s.Since)
		}
		m.mu.Lock()
		m.fails = true
		m.mu.Unlock()
		for range 3000 {
			m.add(made(likes, time.Time{}, "at://did:plc:bob/app.bsky.feed.post/new"))
		}
		time.Sleep(10 * time.Second)
		before := c.Span(time.Now().Add(-MaxSpan)).Until
		m.mu.Lock()
		m.fails = false
		m.mu.Unlock()
		time.Sleep(10 * time.Second)
		s := check(time.Hour, 3000)
		if found, _ := c.Candidates(likes, s.Since); found[0].Target != "at://did:plc:bob/app.bsky.feed.post/new" {
			t.Errorf("%v", found)
		}
		mu.Lock()
		if failed == 0 || time.Since(before) < 9*time.Second || time.Since(s.Until) > 2*time.Second {
			t.Errorf("%d failures, read until %s, then %s", failed, time.Since(before), time.Since(s.Until))
		}
		mu.Unlock()
		if len(s.Sources) != 1 || s.Sources[0] != likes {
			t.Errorf("the sources are %v", s.Sources)
		}
		stop()
		<-ended
	})
}

// TestBackfill: a counter passes over the rows of a backfill whose events are older than MaxSpan, and counts the newer
// rows among them.
func TestBackfill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const old, recent = 200_000, 10
		m := &memory{}
		add := func() {
			for i := range old {
				e := made(likes, time.Time{}, "at://did:plc:bob/app.bsky.feed.post/old")
				e.TimeUS = time.Now().Add(-30 * time.Hour).UnixMicro()
				if i%(old/recent) == 0 {
					e = made(likes, time.Time{}, "at://did:plc:bob/app.bsky.feed.post/new")
				}
				m.add(e)
			}
		}
		time.Sleep(100 * time.Hour)
		add()
		c := New(Config{Log: m, Failed: func(err error) { t.Error(err) }})
		for _, rows := range []int{old, 2 * old} { // those of the past, and new ones
			run(t, c, time.Minute)
			found, others := c.Candidates(likes, time.Now().Add(-MaxSpan))
			if want := int64(rows / (old / recent)); len(found) != 1 || found[0].Most != want || others != 0 {
				t.Errorf("%d rows: %v, others %d", rows, found, others)
			}
			if st := c.Status(); st.Age > 2*every || st.Span < MaxSpan-time.Minute {
				t.Errorf("%d rows: the span is %s, read until %s ago", rows, st.Span, st.Age)
			}
			if m.read > rows*recent*timesAtOnce/old+rowsAtOnce {
				t.Errorf("of %d rows %d were read", rows, m.read)
			}
			if m.times > rows+timesAtOnce {
				t.Errorf("of %d rows the times were read %d times", rows, m.times)
			}
			add()
		}
	})
}

// TestPrunedLog: with a log of one hour, the counter reports that span and counts all rows in it.
func TestPrunedLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		for i := range 20_000 {
			time.Sleep(time.Second)
			m.add(made(likes, time.Time{}, fmt.Sprint("did:plc:n", i%7)))
		}
		m.pruned = 20_000 - 3600
		ctx, stop := context.WithCancel(t.Context())
		c := New(Config{Log: m})
		ended := make(chan struct{})
		go func() { defer close(ended); c.Run(ctx) }()
		time.Sleep(time.Minute)
		s := c.Span(time.Now().Add(-MaxSpan))
		if ago := time.Since(s.Since); ago < 30*time.Minute || ago > time.Hour {
			t.Errorf("it counts since %s ago", ago)
		}
		bounds(t, c, m.rows, likes, s.Since)
		time.Sleep(2 * time.Hour)
		if again := c.Span(time.Now().Add(-MaxSpan)); again.Since != s.Since {
			t.Errorf("it counts since %s, not %s", again.Since, s.Since)
		}
		time.Sleep(30 * time.Hour)
		if again := c.Span(time.Now().Add(-MaxSpan)); again.Since != time.Now().Add(-MaxSpan) {
			t.Errorf("it counts since %s", again.Since)
		}
		stop()
		<-ended
	})
}

// TestRestored: after a restore of an older log, the counts start again.
func TestRestored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		for range 100 {
			m.add(made(likes, time.Time{}, "did:plc:kept"))
		}
		for range 100 {
			m.add(made(likes, time.Time{}, "did:plc:lost"))
		}
		ctx, stop := context.WithCancel(t.Context())
		c := New(Config{Log: m})
		ended := make(chan struct{})
		go func() { defer close(ended); c.Run(ctx) }()
		time.Sleep(time.Minute)
		m.mu.Lock()
		m.rows = m.rows[:100]
		m.mu.Unlock()
		time.Sleep(time.Minute)
		found, others := c.Candidates(likes, time.Now().Add(-time.Hour))
		if len(found) != 1 || found[0] != (Candidate{"did:plc:kept", 100}) || others != 0 {
			t.Errorf("%v, others %d", found, others)
		}
		stop()
		<-ended
	})
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
