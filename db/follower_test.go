package db_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dbtest"
)

// follow opens a follower of a directory and shows what is there.
func follow(t *testing.T, cfg db.FollowerConfig) *db.Follower {
	t.Helper()
	f, err := db.OpenFollower(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	refresh(t, f)
	return f
}

// refresh shows what is committed. No file may be missing: the writer is at rest, or has only just taken one away. Each
// further try needs another file that was taken away meanwhile, so their number does not depend on the machine's speed.
func refresh(t *testing.T, f *db.Follower) {
	t.Helper()
	const tries = 1000
	for try := 1; ; try++ {
		_, missing, err := f.Refresh(t.Context())
		if err == nil && len(missing) == 0 {
			return
		}
		if try == tries {
			t.Fatalf("refresh: %v, missing: %v", err, missing)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestFollowerEqualsModel runs random histories through a store, with seals, merges, a log that is pruned, changes of
// accounts in steps and restarts, and holds followers of its directory against the model: one that looks after each
// batch, one that looks now and then, one that sleeps until the log has left it behind, and one that has just started.
func TestFollowerEqualsModel(t *testing.T) {
	t.Parallel()
	var laid atomic.Int64 // anew, by a follower that slept
	t.Cleanup(func() {
		if laid.Load() == 0 && !testing.Short() && !t.Failed() {
			t.Error("no follower was ever left behind by the log")
		}
	})
	for seed := range seeds(12) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(seed + 100)
			var clock atomic.Int64
			clock.Store(1_770_000_000)
			cfg := db.Config{Dir: t.TempDir(), Now: func() time.Time { return time.Unix(clock.Load(), 0) },
				Bodies: db.Bodies(seed % 3)}
			if seed%4 != 0 {
				cfg.JobRecords, cfg.JobRest = 2, -1
				cfg.SealBytes, cfg.CacheBytes, cfg.ReplayWindow = 4<<10<<(seed%3), 1<<16, time.Duration(seed%5)*2*time.Minute
			}
			var m dbtest.Model
			var sent []apply.Event
			var logs logBuffer
			s := openWith(t, cfg)
			of := db.FollowerConfig{Dir: cfg.Dir, CacheBytes: 1 << 16, Logger: logTo(&logs)}
			awake, drowsy, asleep := follow(t, of), follow(t, of), follow(t, of)
			for step := range 48 / fraction(1) {
				for range h.r.IntN(40) {
					events := h.next()
					sent = append(sent, events...)
					for _, e := range events {
						m.Apply(e)
					}
					if _, err := s.Apply(db.Batch{Host: "test", Events: events}); err != nil {
						t.Fatal(err)
					}
					if _, _, err := awake.Refresh(t.Context()); err != nil && !errors.Is(err, os.ErrNotExist) {
						t.Fatal(err)
					}
					if h.r.IntN(30) == 0 {
						if _, _, err := drowsy.Refresh(t.Context()); err != nil && !errors.Is(err, os.ErrNotExist) {
							t.Fatal(err)
						}
					}
				}
				clock.Add(int64(h.r.IntN(120)))
				if step%2 == 1 {
					if err := s.PruneTick(); err != nil {
						t.Fatal(err)
					}
				}
				if step%4 != 3 {
					continue
				}
				untilNoJobs(t, s)
				seq, log := s.Seq(), wholeLog(t, s)
				if err := s.Close(); err != nil { // it would take files away under the followers' queries
					t.Fatal(err)
				}
				followers := map[string]*db.Follower{"awake": awake, "drowsy": drowsy, "new": follow(t, of)}
				if step%12 == 11 {
					followers["asleep"] = asleep
				}
				for name, f := range followers {
					refresh(t, f)
					if f.Seq() != seq {
						t.Fatalf("step %d, %s: at log row %d, and the writer is at %d", step, name, f.Seq(), seq)
					}
					if err := m.Compare(t.Context(), f, dbtest.Depth{Page: 1 + h.r.IntN(5),
						Many: name == "new"}); err != nil {
						t.Fatalf("step %d, %s, %d events: %v", step, name, len(sent), err)
					}
					if err := m.CompareBodies(t.Context(), f, func(db.Record) bool {
						return cfg.Bodies == db.BodiesOff || cfg.Bodies == db.BodiesWindow && cfg.ReplayWindow > 0
					}); err != nil {
						t.Fatalf("step %d, %s: %v", step, name, err)
					}
					if got := wholeLog(t, f); !reflect.DeepEqual(got, log) {
						t.Fatalf("step %d, %s: its log differs", step, name)
					}
				}
				s = openWith(t, cfg)
			}
			laid.Add(int64(strings.Count(logs.String(), "reloading the index")))
		})
	}
}

// logReader is what has a log.
type logReader interface {
	LogRange(ctx context.Context) (oldest, newest uint64, err error)
	Log(ctx context.Context, after uint64, limit int) ([]db.LogEntry, uint64, error)
}

func wholeLog(t *testing.T, of logReader) (log []db.LogEntry) {
	t.Helper()
	oldest, newest, err := of.LogRange(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for last := max(oldest, 1) - 1; last < newest; {
		entries, to, err := of.Log(t.Context(), last, 100)
		if err != nil || to == last {
			t.Fatalf("at log row %d of %d: %v", last, newest, err)
		}
		log, last = append(log, entries...), to
	}
	return log
}

func logTo(l *logBuffer) *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// logBuffer keeps what several goroutines log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestFollowerOfTheKilled: a follower looks all the time while one writer after the other is killed at each step of
// sealing, merging and pruning. It never shows what is not a prefix of the stream, and never goes back.
func TestFollowerOfTheKilled(t *testing.T) {
	notShort(t)
	if fraction(2) > 1 {
		t.Skip("with -thorough: go test ./... must stay under five minutes on two cores")
	}
	t.Parallel()
	// With fewer events the stream may end before a step was reached.
	w := world{Sim: true, Seed: 7, Events: 6000, Batch: 100, Rewind: 250, SealBytes: 20 << 10, Window: 10 * time.Minute}
	events, err := w.events()
	if err != nil {
		t.Fatal(err)
	}
	dir, r := t.TempDir(), rand.New(rand.NewPCG(7, 3))
	open(t, dir).Close()
	f := follow(t, db.FollowerConfig{Dir: dir})
	done := false
	for i, step := range slices.Concat(crashSteps, []string{""}) {
		if step == "bodies" { // none are kept
			continue
		}
		ended, looked := make(chan struct{}), make(chan error, 1)
		go func() {
			for seq := f.Seq(); ; {
				if _, _, err := f.Refresh(context.WithoutCancel(t.Context())); err != nil &&
					!errors.Is(err, os.ErrNotExist) {
					looked <- err
					return
				}
				if f.Seq() < seq {
					looked <- fmt.Errorf("it went back from log row %d to %d", seq, f.Seq())
					return
				}
				seq = f.Seq()
				select {
				case <-ended:
					looked <- nil
					return
				case <-time.After(time.Duration(r.IntN(3000)) * time.Microsecond):
				}
			}
		}()
		l := live(t, child{World: w, Dir: dir, KillAt: step, KillTimes: 1 + int64(i%2), Checkpoint: i % 5}, nil)
		close(ended)
		if err := <-looked; err != nil {
			t.Fatal(err)
		}
		if done = l.done; step != "" && !l.killed {
			t.Errorf("%s was not reached", step)
		}
		refresh(t, f)
		if i%fraction(2) != 0 && !done {
			continue
		}
		upTo := events[:after(events, f.Cursor(crashHost))]
		if err := modelOf(upTo).Compare(t.Context(), f, sampled(50)); err != nil {
			t.Fatalf("after %s: %v", step, err)
		}
	}
	if !done {
		t.Error("the last writer was to come to the end")
	}
}

// TestFollowerHolds: while a file is missing, a follower takes log rows into memory up to its bound, and no further.
func TestFollowerHolds(t *testing.T) {
	t.Parallel()
	events, err := world{Sim: true, Seed: 4, Events: 1500}.events()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	entered := make(chan struct{})
	var once sync.Once
	s := openWith(t, db.Config{Dir: dir, SealBytes: 40 << 10, Failpoint: func(name string) error {
		if name == "entered" {
			once.Do(func() { close(entered) })
		}
		return nil
	}})
	f := follow(t, db.FollowerConfig{Dir: dir, HoldBytes: 30 << 10})
	if err := applyAll(s, events[:700], 50, func() {}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-entered: // the manifest has a segment
	case <-time.After(2 * time.Minute):
		t.Fatal("nothing is sealed")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openWith(t, db.Config{Dir: dir}) // which seals no more
	defer s.Close()
	if len(s.SegmentPaths()) == 0 {
		t.Fatal("nothing is sealed")
	}
	path := s.SegmentPaths()[0]
	if err := os.Rename(path, path+".away"); err != nil { // the writer has it open
		t.Fatal(err)
	}
	look := func() uint64 {
		t.Helper()
		if _, missing, err := f.Refresh(t.Context()); err != nil || len(missing) != 1 {
			t.Fatalf("%v, missing: %v", err, missing)
		}
		return f.Seq()
	}
	held := look()
	if held != s.Seq() {
		t.Errorf("it took the log up to row %d of %d", held, s.Seq())
	}
	if err := applyAll(s, events[700:], 50, func() {}); err != nil {
		t.Fatal(err)
	}
	if at := look(); at != held {
		t.Errorf("beyond its bound it went from row %d to %d", held, at)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	refresh(t, f)
	if err := modelOf(events).Compare(t.Context(), f, sampled(50)); err != nil {
		t.Error(err)
	}
}

// TestFollowerWithoutFiles: where files of segments are missing, a follower that has started goes on with those that it
// has, says which are missing, and takes them over when they are there; one that starts waits for them.
func TestFollowerWithoutFiles(t *testing.T) {
	t.Parallel()
	events, err := world{Sim: true, Seed: 3, Events: 1500}.events()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := openWith(t, db.Config{Dir: dir, SealBytes: 20 << 10})
	f := follow(t, db.FollowerConfig{Dir: dir})
	few := follow(t, db.FollowerConfig{Dir: dir, HoldBytes: 30 << 10})
	if err := applyAll(s, events, 50, func() {}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	segments, away := filepath.Join(dir, "segments"), filepath.Join(dir, "away")
	if err := os.Rename(segments, away); err != nil {
		t.Fatal(err)
	}
	_, missing, err := f.Refresh(t.Context())
	if err != nil || len(missing) == 0 {
		t.Fatalf("%v, missing: %v", err, missing)
	}
	m := modelOf(events)
	if err := m.Compare(t.Context(), f, sampled(50)); err != nil {
		t.Errorf("with files that are missing: %v", err)
	}
	fresh, err := db.OpenFollower(db.FollowerConfig{Dir: dir, Owned: true})
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if _, again, err := fresh.Refresh(t.Context()); err != nil || !reflect.DeepEqual(again, missing) ||
		fresh.Seq() != 0 {
		t.Errorf("one that starts: %v, missing: %v, at log row %d", err, again, fresh.Seq())
	}
	// The one that may hold little has taken one look's worth, and then waits.
	for i := range 2 {
		if current, _, err := few.Refresh(t.Context()); err != nil || current != (i == 0) {
			t.Fatalf("look %d: %v, current: %v", i, err, current)
		}
	}
	if err := os.Rename(away, segments); err != nil {
		t.Fatal(err)
	}
	stray := filepath.Join(segments, "1-2-STRAY.weft")
	if err := os.WriteFile(stray, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]*db.Follower{"one that went on": f, "one that waited": few,
		"one that starts": fresh} {
		refresh(t, f)
		if err := m.Compare(t.Context(), f, sampled(50)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if st, err := f.Stats(t.Context()); err != nil || st.Segments == 0 {
			t.Errorf("%s: %v, %d segments", name, err, st.Segments)
		}
	}
	if _, err := os.Stat(stray); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the owner of the directory left what nobody needs: %v", err)
	}
}

// TestFollowerRefuses: what a follower can't be of, and what a follower can't become.
func TestFollowerRefuses(t *testing.T) {
	t.Parallel()
	if _, err := db.OpenFollower(db.FollowerConfig{Dir: t.TempDir()}); !errors.Is(err, db.ErrNoIndex) {
		t.Errorf("an empty directory is followed: %v", err)
	}
	dir := t.TempDir()
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	f := follow(t, db.FollowerConfig{Dir: dir})
	base, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	for _, tc := range []struct{ name, statement, back, want string }{
		{"another index", "UPDATE meta SET value = 'another' WHERE key = 'instance'",
			"UPDATE meta SET value = '" + f.Instance() + "' WHERE key = 'instance'",
			"the replica now holds another index: another instead of"},
		{"a newer schema", "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)",
			"DELETE FROM goose_db_version WHERE version_id = 999",
			"the schema is now version 999"},
	} {
		if _, err := base.Exec(tc.statement); err != nil {
			t.Fatal(err)
		}
		if _, _, err := f.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if _, err := db.OpenFollower(db.FollowerConfig{Dir: dir}); tc.name == "a newer schema" && err == nil {
			t.Errorf("%s is opened", tc.name)
		}
		if _, err := base.Exec(tc.back); err != nil {
			t.Fatal(err)
		}
		refresh(t, f)
	}
}
