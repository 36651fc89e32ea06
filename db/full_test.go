package db_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
)

// TestFilesMayNotGrow fails writes wherever they happen, through a limit on the size of files, which is to the store
// what a full disk is: the child's writing stops and its queries go on, and without the limit all that it had
// acknowledged is there, and goes on.
func TestFilesMayNotGrow(t *testing.T) {
	notShort(t)
	t.Parallel()
	world := world{Sim: true, Events: 2500, Batch: 50, SealBytes: 20 << 10, Window: 5 * time.Minute}
	var mu sync.Mutex
	met := map[string]int{} // what the limits met
	t.Run("limits", func(t *testing.T) {
		for _, tc := range []struct {
			name   string
			child  child
			limits []uint64 // with -thorough; two of them by default
			step   uint64   // between those of a soak
			most   uint64
		}{
			// All grows in the WAL, from the first page of a schema on.
			{"wal", child{}, []uint64{1, 33 << 10, 100_000, 500_000, 600_007, 900_000}, 4567, 1_200_000},
			// The WAL is short, and the database is where it can't grow: a checkpoint fails halfway, and later a
			// commit.
			{"database", child{Checkpoint: 1}, []uint64{120_000, 400_001, 440_000}, 3211, 600_000},
			// A segment, the first or the one that is merged of the first eight, meets the limit in its first page or
			// in later ones.
			{"first segment", child{LimitTimes: 1}, []uint64{1, 8193, 20_000}, 1777, 40_000},
			{"merged segment", child{LimitTimes: 9, Checkpoint: 3}, []uint64{1, 20_000, 70_000}, 3777, 110_000},
		} {
			limits := tc.limits
			if !*thorough {
				limits = []uint64{limits[0], limits[len(limits)/2]}
			}
			if *soak > 0 {
				limits = nil
				for l := tc.step; l < tc.most; l += tc.step {
					limits = append(limits, l)
				}
			}
			for i, limit := range limits {
				t.Run(fmt.Sprintf("%s, %d bytes", tc.name, limit), func(t *testing.T) {
					t.Parallel()
					c := tc.child
					c.World, c.FileLimit, c.KillAtEnd = world, limit, i%2 == 0
					c.Every = sampled(50).Every
					c.World.Seed = uint64(i % 8)
					if i%3 == 1 {
						c.World.Bodies = db.BodiesKeep
					}
					what := underLimit(t, c)
					mu.Lock()
					defer mu.Unlock()
					met[what]++
				})
			}
		}
	})
	t.Log(met)
	for _, what := range []string{"open", "commit", "seal", "merge"} {
		if met[what] == 0 && !t.Failed() {
			t.Errorf("no limit was met by a %s; some were by %v", what, slices.Sorted(maps.Keys(met)))
		}
	}
}

// underLimit runs a child under its limit and then the store without one, and says what met the limit.
func underLimit(t *testing.T, c child) string {
	c.Dir = t.TempDir()
	l := live(t, c, nil)
	what := "nothing"
	switch {
	case l.refused != "":
		what = "open"
	case l.degraded != "":
		what = l.degraded
	case l.failed != "":
		what, _, _ = strings.Cut(l.failed, " ")
	case !l.done && !l.killed:
		t.Error("the child said nothing of its end")
	}
	events := must(c.World.events())
	acknowledged := uint64(0)
	if n := len(l.applied); n > 0 {
		acknowledged = l.applied[n-1].seq
	}
	checkCrashed(t, c.World, c.Dir, events, acknowledged)

	var clock atomic.Int64
	s := openWith(t, c.World.config(c.Dir, &clock))
	defer s.Close()
	n := after(events, s.Cursor(crashHost))
	if what == "commit" && s.Cursor(crashHost) != acknowledged {
		t.Errorf("the cursor is %d; the batch after %d failed", s.Cursor(crashHost), acknowledged)
	}
	for rest := events[n:]; len(rest) > 0; rest = rest[min(500, len(rest)):] {
		if _, err := s.Apply(db.Batch{Host: crashHost, Events: rest[:min(500, len(rest))]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := modelOf(events).Compare(t.Context(), s, sampled(50)); err != nil {
		t.Errorf("gone on: %v", err)
	}
	return what
}
