package disk_test

import (
	"testing"
	"time"

	"weft.dev/weft/db/disk"
)

// TestGrowth: growth is that of the last day, is unknown before half an hour, and leads to a time at which files that
// grow are full within ten years.
func TestGrowth(t *testing.T) {
	t.Parallel()
	const (
		day      = 24 * time.Hour
		notKnown = -1
	)
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name   string
		span   time.Duration // of the notes, one each minute
		rise   int64         // bytes in a minute
		perDay float64
		over   time.Duration
		room   int64
		full   time.Duration // after the last note; notKnown: never, or not known
	}{
		{"no notes", 0, 1, 0, 0, 100, notKnown},
		{"less than half an hour", 29 * time.Minute, 1, 0, 0, 100, notKnown},
		{"half an hour", 30 * time.Minute, 1, 1440, 30 * time.Minute, 2880, 2 * day},
		{"no room is left", 30 * time.Minute, 1, 1440, 30 * time.Minute, -5, 0},
		{"it doesn't grow", time.Hour, 0, 0, time.Hour, 100, notKnown},
		{"it shrinks", time.Hour, -1, -1440, time.Hour, 100, notKnown},
		{"more than ten years away", time.Hour, 1, 1440, time.Hour, 1440 * 3651, notKnown},
		{"the last day of two", 2 * day, 1, 1440, day - 5*time.Minute, 1440, day},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var g disk.Growth
			now := begin
			for bytes := int64(1 << 30); now.Sub(begin) <= tc.span; bytes += tc.rise {
				g.Note(now, bytes)
				now = now.Add(time.Minute)
			}
			now = begin.Add(tc.span)
			perDay, over := g.Rate()
			if perDay != tc.perDay || over != tc.over {
				t.Errorf("%v bytes a day over %s, want %v over %s", perDay, over, tc.perDay, tc.over)
			}
			var want time.Time
			if tc.full != notKnown {
				want = now.Add(tc.full)
			}
			if at := g.FullAt(now, tc.room); !at.Equal(want) {
				t.Errorf("full at %s, want %s", at, want)
			}
		})
	}
}
