package ingest

import (
	"context"
	"sync"
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/ingest/upstream"
)

const (
	// rateSeconds is the span over which the rate of a backfill is measured. Several blocks come in a second, and a
	// session without any for half a minute ends.
	rateSeconds = 15
	// stalledAfter is the time without data from an archive after which weft reports that it waits. A request takes a
	// second.
	stalledAfter = 5 * time.Second
)

// progress counts a backfill.
type progress struct {
	mu     sync.Mutex
	p      wire.Replay        // without Rate, ETA and Waiting
	came   [rateSeconds]int64 // events of each recent second, by the second modulo rateSeconds
	second int64              // the newest second, since 1970
	heard  time.Time          // when the archive last sent data, or weft last had room for its events
}

// get returns the progress at a time. isBusy means that weft is too busy to read.
func (p *progress) get(now time.Time, isBusy bool) wire.Replay {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.p.Host == "" {
		return wire.Replay{}
	}
	r := p.p
	r.Rate = p.rate(now)
	if r.Rate > 0 {
		r.ETA = float64(max(r.Events-r.EventsDone, 0)) / r.Rate
	}
	silent := now.Sub(p.heard)
	if silent >= stalledAfter && !isBusy {
		r.Waiting = silent.Seconds()
	}
	return r
}

// rate returns the events per second over the last rateSeconds, including the present second, or since the start.
func (p *progress) rate(now time.Time) float64 {
	events := int64(0)
	for second := max(p.second, now.Unix()) - rateSeconds + 1; second <= p.second; second++ {
		events += p.came[second%rateSeconds]
	}
	span := rateSeconds - 1 + float64(now.Nanosecond())/1e9
	span = min(span, now.Sub(p.p.Since).Seconds())
	if span <= 0 {
		return 0
	}
	return float64(events) / span
}

// moveTo makes the second of now the newest one.
func (p *progress) moveTo(now time.Time) {
	at := now.Unix()
	if at-p.second >= rateSeconds {
		clear(p.came[:])
		p.second = at
	}
	for p.second < at {
		p.second++
		p.came[p.second%rateSeconds] = 0
	}
}

// begin starts the count of a backfill after a sequence number. If the archive can't be listed, there are no totals.
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
	p.heard = now
	clear(p.came[:])
	p.second = now.Unix()
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

// fetched counts bytes of the archive.
func (p *progress) fetched(bytes int, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.p.BytesDone += int64(bytes)
	p.heard = now
}

// pushed notes that weft has taken events of the archive. It may have been too busy for them before.
func (p *progress) pushed(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = now
}

// read counts events that were read, up to a sequence number and a time.
func (p *progress) read(events int64, seq uint64, timeUS int64, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.p.EventsDone += events
	p.p.Seq = seq
	p.p.TimeUS = timeUS
	p.heard = now
	p.moveTo(now)
	p.came[p.second%rateSeconds] += events
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.p = wire.Replay{}
}

// Progress returns the progress of the current backfill; zero: no backfill is under way.
func (in *Ingest) Progress() wire.Replay { return in.progressAt(in.cfg.Now()) }

func (in *Ingest) progressAt(now time.Time) wire.Replay {
	return in.progress.get(now, in.queue.isFull())
}
