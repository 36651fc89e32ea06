package db_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/export"
	"weft.dev/weft/db/keep"
)

// randomRules returns rules for the history's collections, of minutes to hours.
func randomRules(t *testing.T, r *rand.Rand) (keep.Rules, map[string]time.Duration) {
	t.Helper()
	times := map[string]time.Duration{}
	for _, pattern := range []string{"*", "app.bsky.*", "app.bsky.feed.like", "app.bsky.graph.*",
		"app.bsky.feed.like:subject.uri", "com.example.thing:a[].b"} {
		if r.IntN(2) == 0 {
			times[pattern] = pick(r, 0, dbtest.Fit, 5*time.Minute, 10*time.Minute, 20*time.Minute, 40*time.Minute)
		}
	}
	rules, err := keep.Parse(rulesText(times))
	if err != nil {
		t.Fatal(err)
	}
	return rules, times
}

// rulesText returns rules of retention as an operator writes them.
func rulesText(times map[string]time.Duration) string {
	var parts []string
	for pattern, d := range times {
		text := "forever"
		switch {
		case d > 0:
			text = d.String()
		case d == dbtest.Fit:
			text = "fit"
		}
		parts = append(parts, pattern+"="+text)
	}
	return strings.Join(parts, ",")
}

// TestKeepEqualsModel runs random histories under random rules of retention that change at restarts, with replays,
// compactions, pruned logs and a reader beside the writer, and compares every answer at each moment.
func TestKeepEqualsModel(t *testing.T) {
	t.Parallel()
	for seed := range seeds(18) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(seed)
			// Of a record key that is a TID, the rank doesn't depend on which event came first: then events may come again.
			h.recent = seed%2 == 0
			var clock atomic.Int64
			clock.Store(1_770_000_000)
			cfg := db.Config{Dir: t.TempDir(), Now: func() time.Time { return time.Unix(clock.Load(), 0) },
				Bodies: db.Bodies(seed % 3), JobRecords: 2, JobRest: -1,
				SetsOver: 1 + int(seed%5), ShortList: 2 - 2*int64(seed%3/2)} // sets count accounts, and in a third reading does
			if seed%4 != 3 {
				cfg.SealBytes, cfg.CacheBytes, cfg.ReplayWindow = 4<<10<<(seed%3), 1<<16, time.Duration(seed%5)*10*time.Minute
			}
			var times map[string]time.Duration
			cfg.Keep, times = randomRules(t, h.r)
			// A disk that sometimes has a little less room than rules with fit leave, and always enough to index.
			const budget = 1 << 30
			g := &given{}
			g.free.Store(budget)
			g.total.Store(budget)
			cfg.Budget = disk.Budget{Bytes: budget}
			cfg.Disk = g.space
			var m dbtest.Model
			var sent []apply.Event
			s := openWith(t, cfg)
			defer func() { _ = s.Close() }()
			keep := func() {
				m.FitUS = s.FitUS()
				m.Keep(times, s.LogClock())
			}
			keep()
			reopen := func() {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if h.r.IntN(3) == 0 {
					cfg.Keep, times = randomRules(t, h.r)
				}
				s = openWith(t, cfg)
				keep()
			}
			for step := range 60 / fraction(2) {
				var batch []apply.Event
				if h.recent && len(sent) > 0 && h.r.IntN(4) == 0 {
					batch = append(batch, sent[h.r.IntN(len(sent)):]...)
				}
				for range h.r.IntN(40) {
					events := h.next()
					batch, sent = append(batch, events...), append(sent, events...)
					for _, e := range events {
						m.Apply(e)
					}
				}
				for len(batch) > 0 {
					n := 1 + h.r.IntN(len(batch))
					if _, err := s.Apply(db.Batch{Host: "test", Events: batch[:n]}); err != nil {
						t.Fatal(err)
					}
					batch = batch[n:]
				}
				if h.r.IntN(6) == 0 {
					reopen()
				}
				clock.Add(int64(h.r.IntN(120) - 20))
				if step%2 == 1 {
					missing := int64(h.r.IntN(40 << 10))
					g.free.Store(must(s.Space(t.Context())).Reserve + budget/8 + budget/64 - missing)
					if err := s.PruneTick(); err != nil {
						t.Fatal(err)
					}
					keep()
					g.free.Store(budget)
				}
				if h.r.IntN(10) == 0 {
					if _, err := s.Compact(t.Context(), func(int64, int64) {}); err != nil {
						t.Fatal(err)
					}
				}
				if step%4 == 3 {
					untilNoJobs(t, s)
					depth := dbtest.Depth{Page: 1 + h.r.IntN(5), Many: true}
					if err := m.Compare(t.Context(), s, depth); err != nil {
						t.Fatalf("step %d, %d events: %v", step, len(sent), err)
					}
					compareBodies(t, &m, s, cfg)
					compareBeside(t, &m, cfg.Dir, depth)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			m.Settle()
			rows, _ := exportOf(t, cfg.Dir, export.Options{}, "")
			sameRows(t, "the export", rows, rowsOf(m.Lists()))
			if r, err := check.Run(t.Context(), cfg.Dir, check.Options{All: true}); err != nil || r.Total > 0 {
				t.Errorf("check: %v, %+v", err, r.Problems)
			}
		})
	}
}

// compareBeside compares the answers of a follower of the same directory.
func compareBeside(t *testing.T, m *dbtest.Model, dir string, depth dbtest.Depth) {
	t.Helper()
	f, err := db.OpenFollower(db.FollowerConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for {
		current, missing, err := f.Refresh(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if current && len(missing) == 0 {
			break
		}
	}
	if err := m.Compare(t.Context(), f, depth); err != nil {
		t.Fatalf("a reader beside the writer: %v", err)
	}
}
