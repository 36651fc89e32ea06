package ingest

import (
	"context"
	"sync"
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/ingest/upstream"
)

// progress counts a replay.
type progress struct {
	mu sync.Mutex
	p  wire.Replay
}

func (p *progress) get() wire.Replay {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.p
}

// begin starts the count of a replay after a sequence number. If the archive can't be listed, there are no totals.
func (p *progress) begin(ctx context.Context, a *upstream.Archive, after uint64, now time.Time) {
	n := wire.Replay{Host: a.URL, Since: now}
	_ = a.Segments(ctx, func(s *upstream.SegmentInfo) bool {
		if s.MaxSeq > after {
			addSegment(&n, s, after)
		}
		return true
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.p = n
}

// addSegment adds the part of a segment after a sequence number.
func addSegment(p *wire.Replay, s *upstream.SegmentInfo, after uint64) {
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
	n.Seq = seq
	n.TimeUS = timeUS
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
	p.p = wire.Replay{}
}

// Progress returns the progress of the replay that is under way; zero: none is.
func (in *Ingest) Progress() wire.Replay { return in.progress.get() }
