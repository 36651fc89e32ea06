package db_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
)

// TestBudget: all files of a directory stay within a budget, on a disk with room. Indexing pauses before, says which
// budget and how to get out of it, and goes on with a larger one. Files of other programs in the directory count.
func TestBudget(t *testing.T) {
	t.Parallel()
	const batch = 100
	events, err := truth.Events(sim.NetworkConfig{Accounts: 500, Churn: 5, Seed: 11}, 4000)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		const total = 1 << 40
		g := &given{}
		g.total.Store(total)
		g.free.Store(total)
		cfg := db.Config{Dir: t.TempDir(), SealBytes: 64 << 10, CacheBytes: 1 << 20, Disk: g.space,
			Checkpoint: must(checkpoint.Parse("20 frames"))}
		s := openWith(t, cfg)
		reserve := must(s.Space(t.Context())).Reserve
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		begin := bytesIn(t, cfg.Dir)
		other := filepath.Join(cfg.Dir, "other")
		if err := os.WriteFile(other, make([]byte, 100<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		applied := 0
		for round, budget := range []disk.Budget{
			{Bytes: begin + reserve + 200<<10},
			{Percent: 100 * float64(begin+reserve+320<<10) / total},
			{Bytes: total / 2},
		} {
			cfg.Budget = budget
			s = openWith(t, cfg)
			limit := budget.Bytes
			if limit == 0 {
				limit = int64(float64(total) * budget.Percent / 100)
			}
			ended := make(chan error, 1)
			go func() {
				for ; applied < len(events); applied += batch {
					if _, err := s.Apply(db.Batch{Host: "sim", Events: events[applied : applied+batch]}); err != nil {
						ended <- err
						return
					}
					if n := bytesIn(t, cfg.Dir); n > limit {
						t.Errorf("round %d: %d bytes of a budget of %d", round, n, limit)
					}
					time.Sleep(3 * time.Second) // longer than the size of the files is believed
				}
				ended <- nil
			}()
			time.Sleep(5 * time.Minute)
			why := s.Paused()
			sp, err := s.Space(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if round == 2 {
				if why != "" || sp.Budget != limit || sp.Total != limit || sp.Free < limit-(10<<20) {
					t.Errorf("%q, %+v", why, sp)
				}
				if err := <-ended; err != nil {
					t.Fatal(err)
				}
				break
			}
			way := "raise --disk"
			if budget.Percent > 0 {
				way = "enlarge the disk"
			}
			if !strings.Contains(why, "are free of the budget (--disk) of ") || !strings.Contains(why, way) ||
				!strings.Contains(s.Degraded(), "the budget (--disk) of ") {
				t.Fatalf("round %d, after %d events: %q, degraded %q", round, applied, why, s.Degraded())
			}
			if sp.Budget != limit || sp.Total != limit || sp.Free >= sp.Reserve+sp.Reserve/16 {
				t.Errorf("round %d: %+v", round, sp)
			}
			s.Hurry()
			if err := <-ended; !errors.Is(err, db.ErrPaused) {
				t.Fatalf("a stop during the pause: %v", err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := modelOf(events).Compare(t.Context(), s, sampled(20)); err != nil {
			t.Error(err)
		}
		g.free.Store(reserve / 2) // the disk has less than the budget
		time.Sleep(3 * time.Second)
		if why := s.Paused(); !strings.Contains(why, "are free of the disk of ") {
			t.Errorf("a full disk: %q", why)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// bytesIn adds up the files of a directory.
func bytesIn(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	return n
}
