package db_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/check"
	"weft.dev/weft/db/dbtest"
)

// sealedHistory writes a random history of many small segments, with changes of status in steps and resyncs across
// their ends, and closes it.
func sealedHistory(t *testing.T, seed uint64, window time.Duration) (cfg db.Config, m *dbtest.Model,
	manifest *db.Manifest) {
	t.Helper()
	h := newHistory(seed)
	var clock atomic.Int64
	clock.Store(1_770_000_000)
	cfg = db.Config{Dir: t.TempDir(), Now: func() time.Time { return time.Unix(clock.Load(), 0) }, JobRecords: 2,
		JobRest: -1, SealBytes: 2 << 10,
		CacheBytes: 1 << 16, ReplayWindow: window, Bodies: db.Bodies(seed % 3)}
	m = &dbtest.Model{}
	s := openWith(t, cfg)
	for range 60 {
		var batch []apply.Event
		for range 20 {
			events := h.next()
			batch = append(batch, events...)
			for _, e := range events {
				m.Apply(e)
			}
		}
		if _, err := s.Apply(db.Batch{Host: "test", Events: batch}); err != nil {
			t.Fatal(err)
		}
		clock.Add(60)
	}
	untilNoJobs(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	manifest, err := db.ManifestHere(t.Context(), cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Segments) < 3 || manifest.Whole != (window == 0) {
		t.Fatalf("%d segments, whole %t", len(manifest.Segments), manifest.Whole)
	}
	return cfg, m, manifest
}

// copyOf copies a data directory.
func copyOf(t *testing.T, cfg db.Config) db.Config {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(cfg.Dir)); err != nil {
		t.Fatal(err)
	}
	cfg.Dir = dir
	return cfg
}

// equalsAfterLoss opens a directory whose segments are lost, compares it with the model, and checks all of it. It
// answers which segments it has.
func equalsAfterLoss(t *testing.T, cfg db.Config, m *dbtest.Model) (names []string) {
	t.Helper()
	s := openWith(t, cfg)
	defer func() { _ = s.Close() }()
	if err := m.Compare(t.Context(), s, sampled(50)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	manifest, err := db.ManifestHere(t.Context(), cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	report, err := check.Run(t.Context(), cfg.Dir, check.Options{All: true})
	if err != nil || report.Total > 0 {
		t.Fatalf("%v: %+v", err, report)
	}
	for _, s := range manifest.Segments {
		names = append(names, s.File)
	}
	return names
}

// TestLostSegments: where the log is whole, a segment that is missing or damaged is made again from its own log rows,
// whichever it is and however many, also where changes of status and resyncs go on across its ends; all others stay.
func TestLostSegments(t *testing.T) {
	t.Parallel()
	for seed := range seeds(3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			cfg, m, manifest := sealedHistory(t, seed, 0)
			n := len(manifest.Segments)
			cases := [][]int{{0}, {n / 2}, {n - 1}, {0, n - 1}}
			for i := range n {
				if *soak > 0 {
					cases = append(cases, []int{i})
				}
			}
			for i, lost := range cases {
				c := copyOf(t, cfg)
				for _, j := range lost {
					path := filepath.Join(c.Dir, "segments", manifest.Segments[j].File)
					damage := os.Remove
					if i%2 == 1 {
						damage = func(path string) error { return os.Truncate(path, 5000) }
					}
					if err := damage(path); err != nil {
						t.Fatal(err)
					}
				}
				names := equalsAfterLoss(t, c, m)
				for j, s := range manifest.Segments {
					// Compactions that were due may have begun since.
					if slices.Contains(lost, j) && slices.Contains(names, s.File) {
						t.Errorf("lost %v: %s is still named", lost, s.File)
					}
				}
			}
		})
	}
}

// TestLostSegmentKeepsOthers: the segments beside a lost one are neither read anew nor written.
func TestLostSegmentKeepsOthers(t *testing.T) {
	t.Parallel()
	cfg, m, manifest := sealedHistory(t, 1, 0)
	lost := manifest.Segments[1]
	if err := os.Remove(filepath.Join(cfg.Dir, "segments", lost.File)); err != nil {
		t.Fatal(err)
	}
	merging := errors.New("no merge in this test")
	entered := false
	cfg.Failpoint = func(name string) error {
		switch {
		case name == "entered":
			entered = true
		case entered:
			return merging
		}
		return nil
	}
	s := openWith(t, cfg)
	if err := m.Compare(t.Context(), s, sampled(50)); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := db.ManifestHere(t.Context(), cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, was := range manifest.Segments {
		there := slices.ContainsFunc(after.Segments, func(s db.ManifestFile) bool { return s == was })
		if there != (i != 1) {
			t.Errorf("segment %d of %d is there: %t", i, len(manifest.Segments), there)
		}
	}
}

// TestLostSegmentFetched: what the replica has of lost segments is fetched from it, with a log that is whole and one
// that isn't; what it hasn't is made again or refused.
func TestLostSegmentFetched(t *testing.T) {
	t.Parallel()
	for _, window := range []time.Duration{0, 5 * time.Minute} {
		t.Run(window.String(), func(t *testing.T) {
			t.Parallel()
			from, m, manifest := sealedHistory(t, 2, window)
			away := errors.New("the replica is away")
			for _, reachable := range []bool{true, false} {
				cfg := copyOf(t, from)
				lost := manifest.Segments[0]
				if err := os.Remove(filepath.Join(cfg.Dir, "segments", lost.File)); err != nil {
					t.Fatal(err)
				}
				var asked []string
				cfg.Fetch = func(_ context.Context, s db.ManifestFile) error {
					asked = append(asked, s.File)
					if !reachable {
						return away
					}
					data, err := os.ReadFile(filepath.Join(from.Dir, "segments", s.File))
					if err != nil {
						return err
					}
					return os.WriteFile(filepath.Join(cfg.Dir, "segments", s.File), data, 0o644)
				}
				if !reachable && window > 0 {
					if s, err := db.Open(cfg); !errors.Is(err, away) {
						t.Errorf("opened without a segment: %v, %v", s, err)
					}
				} else {
					equalsAfterLoss(t, cfg, m)
				}
				if !slices.Equal(asked, []string{lost.File}) {
					t.Errorf("the replica was asked for %v", asked)
				}
			}
		})
	}
}

// TestOpenEnds: an opening that replays a long log ends when it is told to, and has said how far it was.
func TestOpenEnds(t *testing.T) {
	t.Parallel()
	cfg, m, manifest := sealedHistory(t, 0, 0)
	if err := os.RemoveAll(filepath.Join(cfg.Dir, "segments")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	told := 0
	cfg.Progress = func(what string, done, all uint64) {
		cancel()
		if told++; all != manifest.LastSeq || done > all {
			t.Errorf("%s: %d of %d, and the log ends at %d", what, done, all, manifest.LastSeq)
		}
	}
	if _, err := db.OpenContext(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Fatalf("it opened: %v", err)
	}
	if told == 0 {
		t.Error("it didn't say how far it was")
	}
	equalsAfterLoss(t, cfg, m)
}

// TestForgetSegmentsAtOnce: a start that ends while it forgets lost segments has forgotten nothing: jobs of segments
// that are forgotten would be under way at the log's first row.
func TestForgetSegmentsAtOnce(t *testing.T) {
	t.Parallel()
	cfg, m, manifest := sealedHistory(t, 1, 0)
	dbtest.Statements(
		"INSERT INTO sealed_jobs (actor, was, now, purge, after) VALUES (1, 1, 0, 0, NULL) ON CONFLICT DO NOTHING")(
		t, cfg.Dir)
	if err := os.RemoveAll(filepath.Join(cfg.Dir, "segments")); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 2; n++ {
		steps := 0
		broken := cfg
		broken.Failpoint = func(name string) error {
			if name != "forget" {
				return nil
			}
			if steps++; steps == n {
				return errors.New("the end")
			}
			return nil
		}
		if s, err := db.Open(broken); err == nil {
			_ = s.Close()
			t.Fatalf("it opened, after step %d", n)
		}
		var segments, jobs int
		if err := openSQL(t,
			cfg.Dir).QueryRow("SELECT (SELECT count(*) FROM segments), (SELECT count(*) FROM sealed_jobs)").Scan(&segments,
			&jobs); err != nil {
			t.Fatal(err)
		}
		if segments != len(manifest.Segments) || jobs == 0 {
			t.Errorf("after step %d: %d segments of %d, %d jobs", n, segments, len(manifest.Segments), jobs)
		}
	}
	equalsAfterLoss(t, cfg, m)
}

// TestLostSegmentHasItsNames: a segment that is made again has the names that it had, and not those that came later, of
// which there may be millions.
func TestLostSegmentHasItsNames(t *testing.T) {
	t.Parallel()
	cfg := db.Config{Dir: t.TempDir(), SealBytes: 16 << 10}
	s := openWith(t, cfg)
	defer func() { _ = s.Close() }()
	h := newHistory(1)
	var events []apply.Event
	for i := range 3000 {
		h.now += 1000
		h.rev = uint64(h.now) << 10
		e := h.event(fmt.Sprintf("did:web:%d.example", i*7919), db.OpCreate)
		e.Collection, e.Rkey, e.Links = "com.example.thing", "self", []db.Link{{Path: "subject",
			Target: "https://example.com/"}}
		events = append(events, e)
	}
	if err := applyAll(s, events, 100, func() {}); err != nil {
		t.Fatal(err)
	}
	first := func() db.ManifestFile {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		m, err := db.ManifestHere(t.Context(), cfg.Dir)
		if err != nil || len(m.Segments) < 3 {
			t.Fatalf("%v, %+v", err, m)
		}
		return m.Segments[0]
	}
	was := first()
	if err := os.Remove(filepath.Join(cfg.Dir, "segments", was.File)); err != nil {
		t.Fatal(err)
	}
	s = openWith(t, cfg)
	if is := first(); is.ToSeq != was.ToSeq || is.Bytes > was.Bytes+was.Bytes/8 {
		t.Errorf("log rows %d to %d took %d bytes, and %d to %d take %d now", was.FromSeq, was.ToSeq, was.Bytes,
			is.FromSeq, is.ToSeq, is.Bytes)
	}
}
