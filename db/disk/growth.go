package disk

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

// Growth is the size of the files over the last day. The zero Growth is ready, and safe for concurrent use.
type Growth struct {
	mu    sync.Mutex
	sizes []sizeAt
}

type sizeAt struct {
	at    time.Time
	bytes int64
}

// Note notes the size of all files when the last note is old enough.
func (g *Growth) Note(now time.Time, bytes int64) {
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

// Rate returns the growth in bytes per day, and the time over which it was measured; 0 and 0 while it is unknown.
func (g *Growth) Rate() (perDay float64, over time.Duration) {
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

// FullAt returns the time at which the files will have grown by a number of bytes; zero: they don't grow, the time
// isn't known, or it is more than ten years away.
func (g *Growth) FullAt(now time.Time, room int64) time.Time {
	perDay, over := g.Rate()
	if over == 0 || perDay <= 0 {
		return time.Time{}
	}
	days := float64(max(room, 0)) / perDay
	if days >= farAway.Hours()/24 {
		return time.Time{}
	}
	return now.Add(time.Duration(days * float64(24*time.Hour)))
}
