package api

import (
	"context"
	"math"
	"sync"
	"time"

	"weft.dev/weft/api/wire"
)

const (
	// recentEvery is the interval of points, kept for ten minutes: a small chart has room for 120 points.
	recentEvery = 5 * time.Second
	recentKeeps = 120
	// sizesEvery is the interval of reads of the index's size, from which the store estimates its growth.
	sizesEvery = 5 * time.Minute
)

// Activity is the input from upstream.
type Activity struct {
	Events uint64        // number received since the start
	Lag    time.Duration // lag of the newest
}

// history keeps the rates of the last minutes.
type history struct {
	mu     sync.Mutex
	last   point
	recent []wire.HistoryPoint
}

// point is the values of the counters at one time.
type point struct {
	at     time.Time // zero: never
	events uint64
	links  int64
}

// observe adds the values of the counters.
func (h *history) observe(now time.Time, a Activity, links int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.last
	h.last = point{now, a.Events, links}
	took := now.Sub(was.at).Seconds()
	if was.at.IsZero() || took <= 0 || a.Events < was.events {
		return
	}
	h.recent = push(h.recent, recentKeeps, wire.HistoryPoint{
		Events: tenth(float64(a.Events-was.events) / took),
		Links:  tenth(float64(links-was.links) / took),
		Lag:    tenth(a.Lag.Seconds()),
	})
}

// points returns the last minutes, newest last.
func (h *history) points() []wire.HistoryPoint {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]wire.HistoryPoint{}, h.recent...)
}

// push appends, and drops the oldest if there are too many.
func push[T any](to []T, keep int, v T) []T {
	if len(to) >= keep {
		to = append(to[:0], to[len(to)-keep+1:]...)
	}
	return append(to, v)
}

func tenth(v float64) float64 { return math.Round(v*10) / 10 }

// Watch records the history for /status until ctx ends. Without it, the history is empty.
func (s *Server) Watch(ctx context.Context) error {
	s.server.watchActivity(ctx)
	s.server.watchSize(ctx)
	recent := time.NewTicker(recentEvery)
	sizes := time.NewTicker(sizesEvery)
	defer recent.Stop()
	defer sizes.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-recent.C:
			s.server.watchActivity(ctx)
		case <-sizes.C:
			s.server.watchSize(ctx)
		}
	}
}

func (s *server) watchActivity(ctx context.Context) {
	// An error leaves a point out. The requests that meet the error report it.
	if st, err := s.Store.Stats(ctx); err == nil && s.Activity != nil {
		s.history.observe(s.Now(), s.Activity(), st.Links)
	}
}

func (s *server) watchSize(ctx context.Context) {
	_, _ = s.Store.Space(ctx) // the requests that meet an error report it
}
