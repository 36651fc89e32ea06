package db_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
)

func segmentFiles(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "segments"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func modelOf(events []apply.Event) *dbtest.Model {
	m := &dbtest.Model{}
	for _, e := range events {
		m.Apply(e)
	}
	return m
}

// small is a configuration that seals, merges and prunes within a few thousand events.
func small(dir string, clock *atomic.Int64) db.Config {
	return db.Config{Dir: dir, SealBytes: 100 << 10, CacheBytes: 1 << 20, ReplayWindow: time.Hour,
		Now: func() time.Time { return time.Unix(clock.Load(), 0) }}
}

func applyAll(s *db.Store, events []apply.Event, size int, after func()) error {
	for len(events) > 0 {
		n := min(size, len(events))
		if _, err := s.Apply(db.Batch{Host: "sim", Events: events[:n]}); err != nil {
			return err
		}
		events = events[n:]
		after()
	}
	return nil
}

// TestSealMergePrune: a store that seals all the time merges its segments, keeps the log within its window, answers as
// the model does once it is opened again, with little to replay. TestStoreEqualsModel compares one that goes on.
func TestSealMergePrune(t *testing.T) {
	t.Parallel()
	batch := 200 / fraction(4)
	n := 120 * batch
	events, err := truth.Events(sim.NetworkConfig{Accounts: 300, Churn: 5}, n)
	if err != nil {
		t.Fatal(err)
	}
	var clock atomic.Int64
	clock.Store(1_770_000_000)
	dir := t.TempDir()
	cfg := small(dir, &clock)
	cfg.SealBytes /= fraction(4)
	s := openWith(t, cfg)
	if err := applyAll(s, events, batch, func() { clock.Add(60) }); err != nil {
		t.Fatal(err)
	}
	m := modelOf(events)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files := segmentFiles(t, dir)
	if len(files) < 2 || len(files) > 25 {
		t.Errorf("%d segments after %d events: %v", len(files), n, files)
	}
	s = openWith(t, cfg)
	defer s.Close()
	oldest, newest := must2(s.LogRange(t.Context()))
	if rows := newest - oldest; rows == 0 || rows > uint64(100*batch) {
		t.Errorf("the log holds %d rows; its window is of an hour and about %d", rows, 60*batch)
	}
	if err := applyAll(s, events[n*3/4:], 500, func() {}); err != nil { // these come again
		t.Fatal(err)
	}
	if err := m.Compare(t.Context(), s, sampled(100)); err != nil {
		t.Errorf("opened again, and after repeats: %v", err)
	}
}

func must2[A, B any](a A, b B, err error) (A, B) {
	if err != nil {
		panic(err)
	}
	return a, b
}

// TestFaultAtEachStep fails each step of sealing, merging and pruning in turn: writing stops, queries go on, and a
// store opened anew has all that was committed, and leaves no stray file behind.
func TestFaultAtEachStep(t *testing.T) {
	t.Parallel()
	less := fraction(12)
	batch := 100 / less
	events, err := truth.Events(sim.NetworkConfig{Accounts: 200, Churn: 5, Seed: 3}, 60*batch)
	if err != nil {
		t.Fatal(err)
	}
	fault := errors.New("a fault for the test")
	for _, step := range []string{"created", "written", "synced", "renamed", "dir-synced", "enter", "entered", "prune",
		"unlink"} {
		for i, at := range []int64{1, 4} {
			if fraction(2) > 1 && i != len(step)%2 {
				continue // one of the two by default
			}
			t.Run(fmt.Sprintf("%s, time %d", step, at), func(t *testing.T) {
				t.Parallel()
				var clock, times atomic.Int64
				clock.Store(1_770_000_000)
				cfg := small(t.TempDir(), &clock)
				cfg.SealBytes = 20 << 10 / less
				cfg.ReplayWindow = 10 * time.Minute
				cfg.Failpoint = func(name string) error {
					if name == step && times.Add(1) == at {
						return fault
					}
					return nil
				}
				s := openWith(t, cfg)
				applied := 0
				err := applyAll(s, events, batch, func() { applied += batch; clock.Add(60) })
				if err != nil && !errors.Is(err, db.ErrFailed) {
					t.Fatal(err)
				}
				if step != "unlink" && err == nil {
					t.Fatalf("no fault in %d events", applied)
				}
				if err := modelOf(events[:applied]).Compare(t.Context(), s, sampled(50)); err != nil {
					t.Errorf("after the fault: %v", err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				cfg.Failpoint = nil
				left := segmentFiles(t, cfg.Dir)
				s = openWith(t, cfg)
				defer s.Close()
				for _, name := range segmentFiles(t, cfg.Dir) {
					if strings.HasSuffix(name, ".tmp") && slices.Contains(left, name) {
						t.Errorf("%s was left behind", name)
					}
				}
				if err := modelOf(events[:applied]).Compare(t.Context(), s, sampled(50)); err != nil {
					t.Errorf("opened anew: %v", err)
				}
				if err := applyAll(s, events[applied:], 500, func() {}); err != nil {
					t.Fatal(err)
				}
				if err := modelOf(events).Compare(t.Context(), s, sampled(50)); err != nil {
					t.Errorf("gone on: %v", err)
				}
			})
		}
	}
}

// TestMissingSegment: a segment that is missing, or not what the manifest says, is named with the way to get it back;
// while the log is whole, the index is rebuilt from it.
func TestMissingSegment(t *testing.T) {
	t.Parallel()
	events, err := truth.Events(sim.NetworkConfig{Accounts: 200}, 3000)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		whole  bool // the log is
		damage func(path string) error
		want   string
	}{
		{"missing", false, os.Remove, "is missing; restore it from the replica with weft restore --segments --data "},
		{"missing, and the log is whole", true, os.Remove, ""},
		{"all missing, and the log is whole", true, func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
			""},
		{"cut short", false, func(path string) error { return os.Truncate(path, 5000) },
			"has 5000 bytes and should have"},
		{"overwritten", false, func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, slices.Repeat([]byte{'x'}, int(info.Size())), 0o644)
		}, "weft restore --segments --force --data "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var clock atomic.Int64
			clock.Store(1_770_000_000)
			cfg := small(t.TempDir(), &clock)
			if tc.whole {
				cfg.ReplayWindow = 0
			}
			s := openWith(t, cfg)
			// Of a log that is not whole, what is sealed goes with the commits that follow.
			for _, part := range [][]apply.Event{events[:2000], events[2000:]} {
				if err := applyAll(s, part, 50, func() { clock.Add(600) }); err != nil {
					t.Fatal(err)
				}
				untilSealed(t, s) // Close breaks off one that is under way
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			// One that the manifest names: a merge that was broken off may have left another.
			manifest, err := db.ManifestHere(t.Context(), cfg.Dir)
			if err != nil {
				t.Fatal(err)
			}
			if manifest.Whole != tc.whole {
				t.Fatalf("the log is whole: %t", manifest.Whole)
			}
			file := manifest.Segments[0].File
			path := filepath.Join(cfg.Dir, "segments", file)
			if err := tc.damage(path); err != nil {
				t.Fatal(err)
			}
			s, err = db.Open(cfg)
			if tc.whole {
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if err := modelOf(events).Compare(t.Context(), s, sampled(50)); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("refused with %v", err)
			}
		})
	}
}

// untilSealed waits until there is a segment.
func untilSealed(t *testing.T, s *db.Store) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		st, err := s.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if st.Segments > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no segment after a minute")
		}
	}
}

// TestCloseBreaksOff: to close a store, nobody waits for a segment that is being written, and nothing is lost by it.
func TestCloseBreaksOff(t *testing.T) {
	t.Parallel()
	batch := 500 / fraction(1)
	events, err := truth.Events(sim.NetworkConfig{Accounts: 2000 / fraction(1)}, 60*batch)
	if err != nil {
		t.Fatal(err)
	}
	var clock atomic.Int64
	cfg := small(t.TempDir(), &clock)
	cfg.SealBytes = 1 << 20 / fraction(1)
	begun := make(chan struct{}, 100)
	cfg.Failpoint = func(name string) error {
		if name == "created" {
			begun <- struct{}{}
		}
		return nil
	}
	s := openWith(t, cfg)
	applied := 0
	for len(begun) == 0 && applied < len(events) {
		if err := applyAll(s, events[applied:applied+batch], batch, func() {}); err != nil {
			t.Fatal(err)
		}
		applied += batch
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openWith(t, cfg)
	defer s.Close()
	if err := modelOf(events[:applied]).Compare(t.Context(), s, sampled(1000)); err != nil {
		t.Error(err)
	}
}
