package top

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db"
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
