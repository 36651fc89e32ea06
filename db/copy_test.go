package db_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/dbtest"
)

// fetch copies segment files as a replica gives them.
func fetch(t *testing.T, from, to string, missing []db.ManifestFile) {
	t.Helper()
	for _, m := range missing {
		text, err := os.ReadFile(filepath.Join(from, "segments", m.File))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, "segments", m.File), text, 0o644)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) { // it was merged meanwhile
			t.Fatal(err)
		}
	}
}

// catchUp shows all that the copy has, with the files that are needed for it.
func catchUp(t *testing.T, from, to string, f *db.Follower) {
	t.Helper()
	for range 1000 {
		_, missing, err := f.Refresh(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(missing) == 0 {
			return
		}
		fetch(t, from, to, missing)
	}
	t.Fatal("files are missing for ever")
}

// TestCopyEqualsModel feeds a copy with the changes of a store that seals, merges and prunes, and holds a follower of
// it, which has the same connections all the time, against the model after each. Changes break off, the follower and
// the copy are opened again in between, and all that the follower has in its directory at the end is what it needs.
func TestCopyEqualsModel(t *testing.T) {
	t.Parallel()
	for seed := range seeds(3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h, r := newHistory(seed+200), rand.New(rand.NewPCG(seed, 5))
			var clock atomic.Int64
			clock.Store(1_770_000_000)
			cfg := db.Config{Dir: t.TempDir(), SealBytes: 6 << 10, CacheBytes: 1 << 16, ReplayWindow: 5 * time.Minute,
				Bodies: db.Bodies(seed % 3),
				Now:    func() time.Time { return time.Unix(clock.Load(), 0) }}
			// A replica keeps the files that a change names, whatever becomes of them in the primary meanwhile.
			kept := t.TempDir()
			if err := os.Mkdir(filepath.Join(kept, "segments"), 0o755); err != nil {
				t.Fatal(err)
			}
			cfg.OnSegment = func(path string, _ bool) error {
				return os.Link(path, filepath.Join(kept, "segments", filepath.Base(path)))
			}
			var m dbtest.Model
			s, dir := openWith(t, cfg), t.TempDir()
			src, c := dbtest.NewPageSource(t, cfg.Dir), dbtest.OpenCopy(t, dir)
			if err := src.Change(0).To(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			of := db.FollowerConfig{Dir: dir, Owned: true}
			f := follow(t, of)
			for step := range 40 / fraction(2) {
				for range h.r.IntN(60) {
					events := h.next()
					for _, e := range events {
						m.Apply(e)
					}
					if _, err := s.Apply(db.Batch{Host: "test", Events: events}); err != nil {
						t.Fatal(err)
					}
				}
				clock.Add(int64(h.r.IntN(120)))
				untilNoJobs(t, s)
				if step%2 == 1 {
					if err := s.PruneTick(); err != nil {
						t.Fatal(err)
					}
				}
				if r.IntN(3) == 0 {
					seq := f.Seq()
					if err := src.Change(1+r.IntN(4)).To(t.Context(), c); !errors.Is(err, dbtest.ErrBroken) {
						t.Fatalf("a change that breaks off: %v", err)
					}
					catchUp(t, kept, dir, f)
					if at, err := c.Position(); err != nil || at != src.Position || f.Seq() != seq {
						t.Fatalf("a change that broke off has left the position %d (%v) and log row %d", at, err,
							f.Seq())
					}
				}
				change := src.Change(0)
				if r.IntN(5) == 0 { // it may be that of any machine and day
					change.Position += uint64(r.IntN(1000)) << 32
					src.Position = change.Position
				}
				if err := change.To(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				if at, err := c.Position(); err != nil || at != change.Position {
					t.Fatalf("at %d (%v), and was put at %d", at, err, change.Position)
				}
				catchUp(t, kept, dir, f)
				if err := m.Compare(t.Context(), f, sampled(3)); err != nil {
					t.Fatalf("step %d: %v", step, err)
				}
				if r.IntN(6) == 0 {
					if err := errors.Join(f.Close(), c.Close()); err != nil {
						t.Fatal(err)
					}
					c = dbtest.OpenCopy(t, dir)
					f = follow(t, of)
				}
			}
			fillLog(t, s, h, &m)
			full := src.Change(0)
			if err := full.To(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			quiet(t, s, &clock, 12)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			change := src.Change(0)
			if change.Pages >= full.Pages {
				t.Errorf("%d pages, and there were %d", change.Pages, full.Pages)
			}
			if err := change.To(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			catchUp(t, kept, dir, f)
			if err := m.Compare(t.Context(), f, sampled(3)); err != nil {
				t.Fatal(err)
			}
			st, err := f.Stats(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if files := segmentFiles(t, dir); len(files) != st.Segments {
				t.Errorf("%d segments, and the files %v", st.Segments, files)
			}
			if err := errors.Join(f.Close(), c.Close()); err != nil {
				t.Fatal(err)
			}
			if report, err := check.Run(t.Context(), dir, check.Options{All: true}); err != nil || report.Total > 0 {
				t.Errorf("the copy, checked: %v, %+v", err, report)
			}
		})
	}
}

// fillLog adds so many log rows that most of the file is the log.
func fillLog(t *testing.T, s *db.Store, h *history, m *dbtest.Model) {
	t.Helper()
	for range 20 {
		var events []apply.Event
		for range 100 {
			events = append(events, h.next()...)
		}
		for _, e := range events {
			m.Apply(e)
		}
		if _, err := s.Apply(db.Batch{Host: "test", Events: events}); err != nil {
			t.Fatal(err)
		}
	}
	h.now += 62_000_000 // past the end of each resync, whose rows stay
	e := h.recordEvent(h.dids[0], db.OpCreate)
	m.Apply(e)
	if _, err := s.Apply(db.Batch{Host: "test", Events: []apply.Event{e}}); err != nil {
		t.Fatal(err)
	}
	untilNoJobs(t, s)
}

// quiet lets minutes pass without events.
func quiet(t *testing.T, s *db.Store, clock *atomic.Int64, minutes int) {
	t.Helper()
	for range minutes {
		clock.Add(60)
		for s.Sealing() {
			time.Sleep(time.Millisecond)
		}
		if err := s.PruneTick(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCopyGoesBack: when the primary was restored to an earlier time, the copy becomes that of the new history, and a
// follower lays its index anew.
func TestCopyGoesBack(t *testing.T) {
	t.Parallel()
	events, err := world{Sim: true, Seed: 5, Events: 3000}.events()
	if err != nil {
		t.Fatal(err)
	}
	first, second, to := t.TempDir(), t.TempDir(), t.TempDir()
	s := openWith(t, db.Config{Dir: first})
	if err := applyAll(s, events[:1000], 100, func() {}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(first, "weft.db"))
	if err == nil {
		err = os.WriteFile(filepath.Join(second, "weft.db"), text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	var logs logBuffer
	c := dbtest.OpenCopy(t, to)
	defer c.Close()
	var f *db.Follower
	show := func(dir string, position uint64, from, upTo int) {
		t.Helper()
		s := openWith(t, db.Config{Dir: dir})
		if err := applyAll(s, events[from:upTo], 100, func() {}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		src := dbtest.NewPageSource(t, dir)
		src.Position = position
		if err := src.Change(0).To(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if f == nil {
			f = follow(t, db.FollowerConfig{Dir: to, Owned: true, Logger: logTo(&logs)})
		}
		catchUp(t, dir, to, f)
	}
	show(first, 1, 1000, 2000)
	show(second, 2, 1000, 1500) // behind where the follower was
	if err := modelOf(events[:1500]).Compare(t.Context(), f, sampled(50)); err != nil {
		t.Errorf("gone back: %v", err)
	}
	show(first, 3, 2000, 3000) // ahead of it, with another past
	if err := modelOf(events).Compare(t.Context(), f, sampled(50)); err != nil {
		t.Errorf("and forth: %v", err)
	}
	if !strings.Contains(logs.String(), "the log went back to row") {
		t.Errorf("nothing was said: %s", logs.String())
	}
}

// TestOpenRefusesCopy: no ingest of its own writes to a follower's copy.
func TestOpenRefusesCopy(t *testing.T) {
	t.Parallel()
	own, to := t.TempDir(), t.TempDir()
	if err := open(t, own).Close(); err != nil {
		t.Fatal(err)
	}
	c := dbtest.OpenCopy(t, to)
	if err := dbtest.NewPageSource(t, own).Change(0).To(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Open(db.Config{Dir: to}); err == nil || !strings.Contains(err.Error(), "follower's copy") {
		t.Errorf("a follower's copy is written to: %v", err)
	}
}
