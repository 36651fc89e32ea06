package ingest

import (
	"context"
	"sync"
	"time"
)

// Progress is how far a replay of an archive is. All is 0 when none is under way.
type Progress struct {
	Host       string    `json:"host"`
	Since      time.Time `json:"since"`
	Segments   int       `json:"segments"`    // that hold something for us
	Bytes      int64     `json:"bytes"`       // to fetch in all, about: a slice takes parts of segments
	Events     int64     `json:"events"`      // in them, about
	BytesDone  int64     `json:"bytes_done"`  // fetched
	EventsDone int64     `json:"events_done"` // received
	Seq        uint64    `json:"seq"`         // of the newest
	TimeUS     int64     `json:"time_us"`     // its time
	Rate       float64   `json:"events_per_second"`
	ETA        float64   `json:"eta_seconds"` // 0: not known yet
}

// progress keeps count of a replay.
type progress struct {
	mu sync.Mutex
	p  Progress
}

func (p *progress) get() Progress {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.p
}

// begin counts what lies behind a number. Without a listing it goes on without totals.
func (p *progress) begin(ctx context.Context, a *archive, after uint64, now time.Time) {
	n := Progress{Host: a.host, Since: now}
	_ = a.list(ctx, func(s *listed) bool {
		if s.MaxSeq > after {
			n.add(s, after)
		}
		return true
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.p = n
}

// add counts the part of a segment that lies behind a number.
func (p *Progress) add(s *listed, after uint64) {
	share := 1.0
	if after >= s.MinSeq {
		share = float64(s.MaxSeq-after) / float64(s.MaxSeq-s.MinSeq+1)
	}
	p.Segments++
	p.Bytes += int64(share * float64(s.SizeBytes))
	p.Events += int64(share * float64(s.EventCount))
}

func (p *progress) fetched(bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.p.BytesDone += int64(bytes)
}

func (p *progress) came(events int64, seq uint64, timeUS int64, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := &p.p
	n.EventsDone += events
	n.Seq, n.TimeUS = seq, timeUS
	if took := now.Sub(n.Since).Seconds(); took > 0 {
		n.Rate = float64(n.EventsDone) / took
	}
	if n.Rate > 0 {
		n.ETA = float64(max(n.Events-n.EventsDone, 0)) / n.Rate
	}
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.p = Progress{}
}

// Progress is how far a replay of an archive is; the zero Progress when none is under way.
func (in *Ingest) Progress() Progress { return in.progress.get() }
