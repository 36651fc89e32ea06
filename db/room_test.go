package db_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
)

// clusters is how many bytes of a simulated disk a byte of a file takes: a few thousand events fill it many times.
const clusters = 16

// simulated is a file system with a data directory in it.
type simulated struct {
	size  atomic.Int64 // bytes
	other atomic.Int64 // bytes of other programs' files
	least atomic.Int64 // bytes that were free at worst
}

// space is the disk as db.Config.Disk sees it.
func (d *simulated) space(dir string) (free, total int64, err error) {
	total = d.size.Load()
	free = total - d.other.Load()
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was removed meanwhile
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			free -= clusters * info.Size()
		}
		return err
	})
	if free < d.least.Load() {
		d.least.Store(free)
	}
	return free, total, err
}

// pass lets a time of the test's clock pass. What is due at its end has been done then: without the wait, the store's
// workers would do it while the test looks.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// messages counts log messages.
type messages struct {
	slog.Handler
	mu    sync.Mutex
	count map[string]int
}

func newMessages() *messages {
	return &messages{Handler: slog.DiscardHandler, count: map[string]int{}}
}

func (m *messages) Enabled(context.Context, slog.Level) bool { return true }

func (m *messages) Handle(_ context.Context, r slog.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count[r.Message]++
	return nil
}

func (m *messages) of(text string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for message, count := range m.count {
		if strings.HasPrefix(message, text) {
			n += count
		}
	}
	return n
}

// TestPause fills a disk again and again. Each time indexing pauses before the disk is full, says so and how to get out
// of it, answers queries, survives a restart, and resumes by itself when the disk is larger. Nothing is lost.
func TestPause(t *testing.T) {
	t.Parallel()
	const batch, rounds = 50, 3
	events, err := truth.Events(sim.NetworkConfig{Accounts: 500, Churn: 5, Seed: 11}, 6000)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		d := &simulated{}
		d.least.Store(math.MaxInt64)
		d.size.Store(1 << 40)
		log := newMessages()
		cfg := db.Config{Dir: t.TempDir(), SealBytes: 64 << 10, CacheBytes: 1 << 20, Logger: slog.New(log), Disk: d.space,
			Checkpoint: must(checkpoint.Parse("20 frames"))}
		s := openWith(t, cfg)
		sp, err := s.Space(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		step := sp.Reserve / 10 // more than the pause waits for to end
		d.size.Store(1<<30 + sp.Reserve + step)
		d.other.Store(1 << 30)
		var applied atomic.Int64
		ended := make(chan error)
		feed := func(s *db.Store) {
			for i := int(applied.Load()); i < len(events); i += batch {
				if _, err := s.Apply(db.Batch{Host: "sim", Events: events[i : i+batch]}); err != nil {
					ended <- err
					return
				}
				applied.Add(batch)
			}
			ended <- nil
		}
		go feed(s)
		for round := range rounds {
			pass(time.Minute)
			n := applied.Load()
			why := s.Paused()
			for _, text := range []string{"indexing is paused", "are free", "queries and streams go on", "resumes by itself",
				"enlarge the disk"} {
				if !strings.Contains(why, text) {
					t.Fatalf("round %d, after %d events: %q lacks %q", round, n, why, text)
				}
			}
			if got := s.Degraded(); !strings.HasPrefix(got, why) || strings.Contains(got, "events have waited") {
				t.Errorf("degraded: %q", got)
			}
			st, err := s.Stats(t.Context())
			if err != nil || st.Paused != why || st.Failed != "" {
				t.Errorf("stats: %+v, %v", st, err)
			}
			pass(10 * time.Minute)
			if applied.Load() != n {
				t.Errorf("round %d: events were applied during the pause", round)
			}
			if round%2 == 1 {
				if err := modelOf(events[:n]).Compare(t.Context(), s, sampled(20)); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}

				s.Hurry()
				if err := <-ended; !errors.Is(err, db.ErrPaused) {
					t.Fatalf("a stop during the pause: %v", err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				free, _, err := d.space(cfg.Dir)
				if err != nil {
					t.Fatal(err)
				}
				d.other.Add(free - sp.Reserve + 1) // the end has removed the WAL; another program takes its place
				s = openWith(t, cfg)
				if s.Paused() == "" {
					t.Error("a restart on a full disk isn't paused")
				}
				go feed(s)
				pass(time.Minute)
				if applied.Load() != n {
					t.Error("events were applied after a restart on a full disk")
				}
			}
			if n := log.of("indexing paused"); n != round+1+(round+1)/2 {
				t.Errorf("round %d: it is logged %d times that indexing is paused", round, n)
			}
			if round%2 == 0 {
				d.size.Add(step)
			} else {
				d.other.Add(-step)
			}
			if round == rounds-1 {
				d.size.Store(1 << 40)
			}
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if why, n := s.Paused(), log.of("indexing resumed"); why != "" || n != rounds {
			t.Errorf("%q; resumed %d times", why, n)
		}
		if least := d.least.Load(); least < sp.Reserve/2 {
			t.Errorf("at worst %d bytes of the reserve of %d were free", least, sp.Reserve)
		}
		if err := modelOf(events).Compare(t.Context(), s, sampled(20)); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// given is a disk whose figures the test sets.
type given struct{ free, total atomic.Int64 }

func (g *given) space(string) (free, total int64, err error) {
	return g.free.Load(), g.total.Load(), nil
}

// TestCompactionWaitsForRoom: a compaction that the disk has no room for doesn't begin, says so, and runs by itself
// when there is room. Indexing goes on meanwhile.
func TestCompactionWaitsForRoom(t *testing.T) {
	t.Parallel()
	events, err := truth.Events(sim.NetworkConfig{Accounts: 100, Churn: 5, Seed: 5}, 3000)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		g := &given{}
		g.total.Store(1 << 40)
		g.free.Store(34 << 20)
		log := newMessages()
		s := openWith(t, db.Config{Dir: t.TempDir(), SealBytes: 16 << 10, CacheBytes: 1 << 20, Logger: slog.New(log),
			Checkpoint: must(checkpoint.Parse("1 frames")),
			Disk: func(string) (int64, int64, error) {
				free := g.free.Load()
				return free, g.total.Load(), nil
			}})
		if err := s.Checkpoint(); err != nil { // the reserve then has no part for the WAL
			t.Fatal(err)
		}
		pass(2 * time.Second)
		// What is free beyond the reserve is less than eight segments take.
		sp, err := s.Space(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		g.free.Store(sp.Reserve + 48<<10)
		for i := 0; i < len(events); i += 50 {
			if _, err := s.Apply(db.Batch{Host: "sim", Events: events[i : i+50]}); err != nil {
				t.Fatal(err)
			}
			pass(2 * time.Second) // a seal ends, and a checkpoint gives its part of the reserve back
		}
		if s.Work().Compactions != 0 || !strings.Contains(s.Degraded(), "a compaction waits for") {
			t.Errorf("%d compactions without room; it says %q", s.Work().Compactions, s.Degraded())
		}
		if n := log.of("compaction waits"); n != 1 {
			t.Errorf("it is logged %d times", n)
		}
		g.free.Store(1 << 39)
		pass(10 * time.Second)
		if s.Work().Compactions == 0 || strings.Contains(s.Degraded(), "compaction") {
			t.Errorf("%d compactions with room; it says %q", s.Work().Compactions, s.Degraded())
		}
		if err := modelOf(events).Compare(t.Context(), s, sampled(20)); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestFullDiskWarns: at 80 and at 90 % the index is degraded, and the log says so once until the disk is emptier again.
func TestFullDiskWarns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &given{}
		g.total.Store(100 << 30)
		g.free.Store(21 << 30)
		log := newMessages()
		s := openWith(t, db.Config{Dir: t.TempDir(), Logger: slog.New(log), Disk: g.space})
		for i, tc := range []struct {
			free int64 // GiB
			text string
			logs int // so far
		}{{21, "", 0}, {20, "is 80 % full", 1}, {19, "is 81 % full", 1}, {10, "is 90 % full", 2}, {11, "is 89 % full", 2},
			{10, "is 90 % full", 2}, {14, "is 86 % full", 2}, {9, "is 91 % full", 3}, {30, "", 3}, {20, "is 80 % full", 4}} {
			g.free.Store(tc.free << 30)
			pass(time.Minute)
			if why := s.Degraded(); (why == "") != (tc.text == "") || !strings.Contains(why, tc.text) || s.Paused() != "" {
				t.Errorf("step %d: %q, want %q", i, why, tc.text)
			}
			if n := log.of("the disk is filling up"); n != tc.logs {
				t.Errorf("step %d: logged %d times, want %d", i, n, tc.logs)
			}
		}
		g.total.Store(0) // a system that doesn't know
		g.free.Store(0)
		pass(time.Minute)
		if s.Paused() != "" {
			t.Error("it is paused, though nothing is known of the disk")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestGrowth: the growth is that of the last day once half an hour was seen, and the disk is full when what it has
// beyond the reserve is used up.
func TestGrowth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &given{}
		g.total.Store(1 << 50)
		g.free.Store(1 << 49)
		s := openWith(t, db.Config{Dir: t.TempDir(), Disk: g.space, Checkpoint: must(checkpoint.Parse("off"))})
		began := time.Now()
		space := func() db.Space {
			sp, err := s.Space(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return sp
		}
		var sizes []int64
		for i := range 7 {
			sp := space()
			sizes = append(sizes, sp.Database+sp.WAL+sp.Segments)
			if known := i == 6; (sp.Measured > 0) != known || !known && !sp.FullAt.IsZero() {
				t.Errorf("after %s: %+v", time.Since(began), sp)
			}
			if _, err := s.Apply(db.Batch{Host: "h", Seq: uint64(i + 1),
				Events: []apply.Event{{Seq: uint64(i + 1), Op: db.OpCreate,
					DID: fmt.Sprintf("did:plc:a%d", i), Collection: "a.b.like", Rkey: "r", Rev: "3kaaaaaaaaaa2",
					Links: []db.Link{{Path: "subject", Target: fmt.Sprintf("did:plc:b%d", i)}}}}}); err != nil {
				t.Fatal(err)
			}
			pass(5 * time.Minute)
		}
		grown := sizes[6] - sizes[0]
		sp := space()
		g.free.Store(sp.Reserve + 48*grown) // half an hour's growth 48 times is a day's
		sp = space()
		if grown <= 0 || sp.Measured < 30*time.Minute {
			t.Fatalf("%d bytes in half an hour: %+v", grown, sp)
		}
		days := float64(48*grown) / float64(sp.PerDay)
		want := time.Now().Add(time.Duration(days * float64(24*time.Hour)))
		if diff := sp.FullAt.Sub(want).Abs(); diff > time.Minute {
			t.Errorf("full at %s, want %s", sp.FullAt, want)
		}
		g.free.Store(15 << 40)
		if sp := space(); !sp.FullAt.IsZero() {
			t.Errorf("full at %s", sp.FullAt)
		}
		g.total.Store(20 << 20)
		g.free.Store(3 << 20)
		pass(2 * time.Second)
		if why := s.Paused(); why == "" {
			t.Error("it isn't paused below the reserve")
		}
		g.total.Store(1 << 30)
		g.free.Store(sp.Reserve * 5 / 4)
		pass(2 * time.Second)
		if why := s.Degraded(); !strings.Contains(why, "at the present rate indexing pauses on 2000-01-0") {
			t.Errorf("it says %q", why)
		}
		for range 48 * 12 {
			pass(5 * time.Minute)
			space()
		}
		if sp := space(); sp.Measured > 24*time.Hour || sp.Measured < 23*time.Hour || sp.PerDay != 0 || !sp.FullAt.IsZero() {
			t.Errorf("after two days without an event: %+v", sp)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
