package db_test

import (
	"fmt"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/checkpoint"
)

// TestKeepWritten feeds the same likes to a store that keeps them for twelve hours and to one that keeps them for ever,
// until the first has had four times what it keeps, or eight times with -thorough. Retention adds at most 45 bytes a
// link to the bytes that are written. It adds 37, as it did before the log was in blocks: 10 % of all bytes then, and
// 22 % now.
func TestKeepWritten(t *testing.T) {
	notShort(t)
	t.Parallel()
	written := func(rules string, times map[string]time.Duration) (w db.Written) {
		t.Helper()
		k := newKeeping(t, db.Config{SealBytes: 128 << 10, CacheBytes: 1 << 20, ReplayWindow: time.Hour,
			Checkpoint: must(checkpoint.Parse("100 frames"))}, rules, times)
		for batch := range 96 / fraction(4) {
			k.clock.Add(3600)
			var events []apply.Event
			for i := range 1000 {
				e := k.like(i*7%997, fmt.Sprintf("https://example.com/%d", batch*i%307))
				e.TimeUS += int64(i)
				e.Rkey = newHistory(0).tid(e.TimeUS)
				events = append(events, e)
			}
			for i := range events {
				k.seq++
				events[i].Seq = k.seq
			}
			if _, err := k.s.Apply(db.Batch{Host: "test", Events: events}); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				k.clock.Add(60)
				if err := k.s.PruneTick(); err != nil {
					t.Fatal(err)
				}
			}
			untilCompacted(t, k.s)
		}
		return must(k.s.Space(t.Context())).Written
	}
	all := func(w db.Written) int64 { return w.WAL + w.Checkpoint + w.Sealed + w.Compacted }
	without := written("", nil)
	with := written("*=12h", map[string]time.Duration{"*": 12 * time.Hour})
	t.Logf("without rules %d bytes %+v, with %d %+v: %.1f %% more", all(without), without, all(with), with,
		100*float64(all(with)-all(without))/float64(all(without)))
	links := int64(96 / fraction(4) * 1000)
	if more := (all(with) - all(without)) / links; more > 45 {
		t.Errorf("retention writes %d bytes a link more", more)
	}
}
