package ingest

import (
	"context"
	"errors"
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/ingest/upstream"
)

// Plan is what a backfill will take, before it begins.
type Plan struct {
	Host     string
	Segments int
	Bytes    int64 // to fetch; a slice that takes parts of segments fetches less of the last than is said
	Events   int64 // in what is fetched
	Links    int64 // about
	Sliced   bool  // only what the slice may be in is fetched
}

// linksPerEvent is what the network makes: 1.2 links an event, measured over public events in 2026.
const linksPerEvent = 1.2

// PlanBackfill says what it will take to begin an index at from, with the first host that has an archive. A From that
// needs none gives an empty plan.
func PlanBackfill(ctx context.Context, hosts []string, key string, from From, s *Slice) (Plan, error) {
	if from == (From{}) {
		return Plan{}, nil
	}
	var errs []error
	for _, name := range hosts {
		u, err := upstream.ParseAddress(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		e := u.Endpoint
		speaks, err := e.Probe(ctx, false, upstream.ProbeFails)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if speaks.Kind != upstream.KindV2 {
			continue
		}
		p, err := estimate(ctx, &upstream.Archive{Endpoint: e, Key: key, Filter: s.filter()}, from)
		if err == nil {
			return p, nil
		}
		errs = append(errs, err)
	}
	return Plan{}, errors.Join(errs...)
}

// estimate sums the segments up that hold something behind a place, and of a slice those that a plan names.
func estimate(ctx context.Context, a *upstream.Archive, from From) (p Plan, err error) {
	after, _, err := from.resolve(ctx, a)
	if err != nil {
		return p, err
	}
	p.Host = a.URL
	var sum wire.Replay
	segments := map[string]*upstream.SegmentInfo{}
	if err := a.Segments(ctx, func(s *upstream.SegmentInfo) bool {
		if s.MaxSeq > after {
			addSegment(&sum, s, after)
			segments[s.Name] = s
		}
		return true
	}); err != nil {
		return p, err
	}
	p.Segments, p.Bytes, p.Events = sum.Segments, sum.Bytes, sum.Events
	if !a.Filter.ForPlan().IsZero() {
		p.Sliced, p.Segments, p.Bytes, p.Events = true, 0, 0, 0
		for at := after; ; {
			page, err := a.Plan(ctx, at, 0)
			if err != nil {
				return p, err
			}
			for i := range page.Segments {
				p.addPlanned(&page.Segments[i], segments[page.Segments[i].Name])
			}
			if page.PlannedThroughSeq >= page.SealedTipSeq || page.PlannedThroughSeq <= at {
				break
			}
			at = page.PlannedThroughSeq
		}
	}
	p.Links = int64(float64(p.Events) * linksPerEvent)
	return p, nil
}

// blockEvents is what a block of the archive holds.
const blockEvents = 4096

// addPlanned counts a segment of a plan, or the blocks of it that are named.
func (p *Plan) addPlanned(s *upstream.PlannedSegment, l *upstream.SegmentInfo) {
	p.Segments++
	if l == nil || l.EventCount == 0 {
		return
	}
	events := l.EventCount
	if s.Mode == "blocks" {
		events = 0
		for _, r := range s.Blocks {
			events += int64(r.Last-r.First+1) * blockEvents
		}
		events = min(events, l.EventCount)
	}
	p.Events += events
	p.Bytes += int64(float64(l.SizeBytes) * float64(events) / float64(l.EventCount))
}

// Duration is how long so many events take at a rate.
func (p Plan) Duration(perSecond float64) time.Duration {
	return time.Duration(float64(p.Events) / perSecond * float64(time.Second))
}
