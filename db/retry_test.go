package db_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
)

// lack is a store's steps, of which one fails for some time for want of something.
type lack struct {
	step  string
	errno error
	times atomic.Int64 // that are left
	met   atomic.Int64
}

func (l *lack) fail(name string) error {
	if name != l.step || l.times.Add(-1) < 0 {
		return nil
	}
	l.met.Add(1)
	return fmt.Errorf("%s: %w", name, &os.PathError{Op: "open", Path: "x", Err: l.errno})
}

// TestLackPasses: a seal or a merge that lacks descriptors, memory or space is tried again until it has them. Meanwhile
// the store writes, says that it is degraded and why, and forgets it then.
func TestLackPasses(t *testing.T) {
	t.Parallel()
	events, err := truth.Events(sim.NetworkConfig{Accounts: 100, Churn: 5, Seed: 5}, 1500)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		step  string
		errno error
	}{{"created", syscall.EMFILE}, {"written", syscall.ENOSPC}, {"synced", syscall.ENOMEM}, {"renamed", syscall.EDQUOT},
		{"dir-synced", syscall.ENFILE}, {"keep", syscall.ENOSPC}} {
		t.Run(c.step, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &lack{step: c.step, errno: c.errno}
				l.times.Store(3)
				var degraded atomic.Pointer[string]
				var s *db.Store
				cfg := db.Config{Dir: t.TempDir(), SealBytes: 8 << 10, CacheBytes: 1 << 20,
					Checkpoint: must(checkpoint.Parse("off"))}
				cfg.Failpoint = func(name string) error {
					if l.met.Load() > 0 {
						why := s.Degraded()
						degraded.CompareAndSwap(nil, &why)
					}
					return l.fail(name)
				}
				cfg.OnSegment = func(string, bool) error { return l.fail("keep") }
				s = openWith(t, cfg)
				for i := 0; i < len(events); i += 50 {
					if _, err := s.Apply(db.Batch{Host: "sim", Events: events[i : i+50]}); err != nil {
						t.Fatal(err)
					}
				}
				pass(20 * time.Second) // of the test's clock: all that is to be tried again is
				if l.met.Load() != 3 || s.Failed() != nil || s.Degraded() != "" {
					t.Errorf("it failed %d times; then: %v, %q", l.met.Load(), s.Failed(), s.Degraded())
				}
				if why := degraded.Load(); why == nil || !strings.Contains(*why, c.errno.Error()) ||
					!strings.Contains(*why, "retrying") {
					t.Errorf("meanwhile it said %v", why)
				}
				if err := modelOf(events).Compare(t.Context(), s, sampled(20)); err != nil {
					t.Error(err)
				}
				st, err := s.Stats(t.Context())
				if err != nil || st.Segments == 0 || s.Work().Compactions == 0 {
					t.Errorf("%d segments and %d merges: %v", st.Segments, s.Work().Compactions, err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if files := segmentFiles(t, cfg.Dir); len(files) != st.Segments {
					t.Errorf("%d segments in %d files: %v", st.Segments, len(files), files)
				}
			})
		})
	}
}

// TestLackOfLog: what the log lacks stops writing, as any fault of it does.
func TestLackOfLog(t *testing.T) {
	t.Parallel()
	l := &lack{step: "enter", errno: syscall.ENOSPC}
	l.times.Store(1)
	s := openWith(t, db.Config{Dir: t.TempDir(), SealBytes: 8 << 10, Failpoint: l.fail})
	defer func() { _ = s.Close() }()
	events, err := truth.Events(sim.NetworkConfig{Accounts: 100, Seed: 5}, 1500)
	if err != nil {
		t.Fatal(err)
	}
	if err := applyAll(s, events, 50, func() {}); !errors.Is(err, db.ErrFailed) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("applied: %v", err)
	}
}

// TestWriterWaits: a writer that is a whole seal ahead of one that lacks something waits; that it does, and for how
// long, can be seen; and a stop in order doesn't wait with it.
func TestWriterWaits(t *testing.T) {
	t.Parallel()
	events, err := truth.Events(sim.NetworkConfig{Accounts: 100, Seed: 6}, 3000)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		l := &lack{step: "created", errno: syscall.EMFILE}
		l.times.Store(1 << 40)
		dir := t.TempDir()
		s := openWith(t, db.Config{Dir: dir, SealBytes: 20 << 10, Failpoint: l.fail,
			Checkpoint: must(checkpoint.Parse("off"))})
		var applied atomic.Int64
		done := make(chan error, 1)
		go func() {
			for i := 0; i < len(events); i += 50 {
				if _, err := s.Apply(db.Batch{Host: "sim", Events: events[i : i+50]}); err != nil {
					done <- err
					return
				}
				applied.Add(50)
			}
			done <- nil
		}()
		pass(2 * time.Minute)
		if n := applied.Load(); n == 0 || n == int64(len(events)) {
			t.Errorf("%d events of %d are applied, though nothing is sealed", n, len(events))
		}
		if w := s.Waiting(); w < time.Minute || w > 2*time.Minute {
			t.Errorf("events have waited for %s", w)
		}
		if why := s.Degraded(); !strings.Contains(why, "for a commit") ||
			!strings.Contains(why, "writing a segment fails") {
			t.Errorf("it says %q", why)
		}
		s.Hurry()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if s.Waiting() != 0 {
			t.Errorf("nothing waits, and has for %s", s.Waiting())
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openWith(t, db.Config{Dir: dir})
		if err := modelOf(events).Compare(t.Context(), s, sampled(20)); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestJobRests: while an account changes its mind again and again, its job does no step; when it has settled, it does.
// The clock of the configuration decides when that is.
func TestJobRests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newFlapping(1)
		var steps atomic.Int64
		var stopped atomic.Pointer[time.Time] // the time of a clock that has stopped; nil: it goes
		clock := func() time.Time {
			if at := stopped.Load(); at != nil {
				return *at
			}
			return time.Now()
		}
		s := openWith(t, db.Config{Dir: t.TempDir(), JobRecords: 2, Now: clock, Checkpoint: must(checkpoint.Parse("off")),
			Failpoint: func(name string) error {
				if name == "job" {
					steps.Add(1)
				}
				return nil
			}})
		events := h.fill(40)
		m := modelOf(events)
		commit := func(events ...apply.Event) {
			if _, err := s.Apply(db.Batch{Host: "test", Events: events}); err != nil {
				t.Fatal(err)
			}
		}
		commit(events...)
		for i := range 20 {
			h.now += 1000
			e := h.event(h.dids[0], db.OpAccount)
			if i%2 == 0 {
				e.Status = db.StatusSuspended
			}
			commit(e)
			m.Apply(e)
			pass(500 * time.Millisecond)
			if i == 0 {
				steps.Store(0) // the first change of status goes on at once
			}
		}
		if n := steps.Load(); n != 0 {
			t.Errorf("%d steps while the account changed its mind", n)
		}
		last := time.Now()
		stopped.Store(&last)
		pass(10 * time.Second)
		if n := steps.Load(); n != 0 {
			t.Errorf("%d steps while the clock stood", n)
		}
		stopped.Store(nil)
		pass(10 * time.Second)
		if st, err := s.Stats(t.Context()); err != nil || st.Jobs != 0 {
			t.Errorf("%d jobs are still under way: %v", st.Jobs, err)
		}
		if err := m.Compare(t.Context(), s, sampled(20)); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
