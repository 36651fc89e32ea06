package db

import (
	"sync"
	"time"
)

const (
	// The size of the index is noted every five minutes for a day, because a compaction makes it grow and shrink by a
	// tenth within minutes.
	sizesEvery = 5 * time.Minute
	sizesKept  = 288
	// leastSpan is the shortest time over which growth is measured: over less time, seals and compactions dominate it.
	leastSpan = 30 * time.Minute
	// farAway is the longest forecast of a full disk: the growth of a day does not predict ten years.
	farAway = 10 * 365 * 24 * time.Hour
)

// growth is the size of the files over the last day.
type growth struct {
	mu    sync.Mutex
	sizes []sizeAt
}

type sizeAt struct {
	at    time.Time
	bytes int64
}

// note notes the size of all files when the last note is old enough.
func (g *growth) note(now time.Time, bytes int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.sizes); n > 0 && now.Sub(g.sizes[n-1].at) < sizesEvery {
		return
	}
	if len(g.sizes) >= sizesKept {
		g.sizes = append(g.sizes[:0], g.sizes[len(g.sizes)-sizesKept+1:]...)
	}
	g.sizes = append(g.sizes, sizeAt{now, bytes})
}

// rate returns the growth in bytes per day, and the time over which it was measured; 0 and 0 while it is unknown.
func (g *growth) rate() (perDay float64, over time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.sizes) < 2 {
		return 0, 0
	}
	first := g.sizes[0]
	last := g.sizes[len(g.sizes)-1]
	over = last.at.Sub(first.at)
	if over < leastSpan {
		return 0, 0
	}
	return float64(last.bytes-first.bytes) / (float64(over) / float64(24*time.Hour)), over
}

// fullAt returns the time at which the files will have grown by a number of bytes; zero: they don't grow, the time
// isn't known, or it is more than ten years away.
func (s *Index) fullAt(room int64) time.Time {
	perDay, over := s.growth.rate()
	if over == 0 || perDay <= 0 {
		return time.Time{}
	}
	days := float64(max(room, 0)) / perDay
	if days >= farAway.Hours()/24 {
		return time.Time{}
	}
	return s.cfg.Now().Add(time.Duration(days * float64(24*time.Hour)))
}
