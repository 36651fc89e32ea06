package logclock

import (
	"testing"
	"time"
)

// TestClock: the clock follows the events, goes on between them, and never goes back; neither a step of our clock nor
// an event of the future makes a row old early.
func TestClock(t *testing.T) {
	t.Parallel()
	base := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	year := 365 * 24 * time.Hour
	type look struct{ now, event, want time.Duration } // since base
	for _, tc := range []struct {
		name  string
		looks []look
	}{
		{"events come live", []look{{0, -time.Second, -time.Second},
			{time.Minute, time.Minute - time.Second, time.Minute - time.Second}}},
		{"a backfill sets the pace", []look{{0, -year, -year}, {time.Second, -year + 8*time.Hour, -year + 8*time.Hour},
			{2 * time.Second, -year + 16*time.Hour, -year + 16*time.Hour}}},
		{"nothing comes", []look{{0, 0, 0}, {time.Minute, 0, time.Minute}, {2 * time.Minute, 0, 2 * time.Minute}}},
		{"a backfill that stalls goes on at our pace", []look{{0, -year, -year}, {time.Minute, -year, -year + time.Minute},
			{time.Minute + time.Second, -year + 30*time.Second, -year + time.Minute + time.Second}}},
		{"an old event of a filled gap", []look{{0, 0, 0}, {time.Second, -year, time.Second}}},
		{"an event of the future", []look{{0, 0, 0}, {time.Second, 50 * time.Minute, time.Second}}},
		{"our clock steps forward", []look{{0, 0, 0}, {year, time.Second, longestStep}}},
		{"our clock steps back", []look{{0, 0, 0}, {-time.Hour, time.Second, 0}, {-time.Hour + time.Second, 0, time.Second}}},
		{"our clock is years behind", []look{{-20 * year, 0, 0}, {-20*year + time.Second, time.Minute, time.Minute}}},
		{"no event yet", []look{{0, -base.Sub(time.UnixMicro(0)), -base.Sub(time.UnixMicro(0))},
			{time.Minute, -base.Sub(time.UnixMicro(0)), -base.Sub(time.UnixMicro(0))}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := Clock{last: base.Add(tc.looks[0].now)}
			for i, l := range tc.looks {
				c.Advance(base.Add(l.now), base.Add(l.event).UnixMicro())
				if got := time.UnixMicro(c.us).Sub(base); got != l.want {
					t.Errorf("look %d: %s, want %s", i, got, l.want)
				}
			}
		})
	}
}
