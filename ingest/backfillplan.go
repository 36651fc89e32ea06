package ingest

import (
	"context"
	"errors"
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/ingest/upstream"
)

// Plan is an estimate of a backfill.
type Plan struct {
	Host     string
	Segments int
	Bytes    int64 // to fetch; for a slice an upper bound
	Events   int64 // in these bytes
	Links    int64 // of the events; approximate
	Sliced   bool  // only blocks that may have events of the slice are fetched
}

// linksPerEvent is the average of the network, measured over public events in 2026.
const linksPerEvent = 1.2

// PlanBackfill estimates the backfill of a new index that begins at from, with the first host that has an archive. The
// Plan of the zero From is empty.
func PlanBackfill(ctx context.Context, hosts []upstream.Endpoint, key string, from From, s *Slice) (Plan, error) {
	if from == (From{}) {
		return Plan{}, nil
	}
	var errs []error
	for _, e := range hosts {
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

// estimate adds up the segments after a start, or for a slice the blocks that a plan names.
func estimate(ctx context.Context, a *upstream.Archive, from From) (p Plan, err error) {
	after, _, err := from.resolve(ctx, a)
	if err != nil {
		return p, err
	}
	p.Host = a.URL
	var sum wire.Replay
	segments := map[string]*upstream.SegmentInfo{}
	err = a.Segments(ctx, func(s *upstream.SegmentInfo) bool {
		if s.MaxSeq > after {
			addSegment(&sum, s, after)
			segments[s.Name] = s
		}
		return true
	})
	if err != nil {
		return p, err
	}
	p.Segments = sum.Segments
	p.Bytes = sum.Bytes
	p.Events = sum.Events
	if !a.Filter.ForPlan().IsZero() {
		p = Plan{Host: a.URL, Sliced: true}
		err = p.addSlice(ctx, a, after, segments)
		if err != nil {
			return p, err
		}
	}
	p.Links = int64(float64(p.Events) * linksPerEvent)
	return p, nil
}

// addSlice adds the blocks with events of the slice, of all pages of the archive's plan.
func (p *Plan) addSlice(
	ctx context.Context, a *upstream.Archive, after uint64, segments map[string]*upstream.SegmentInfo,
) error {
	for {
		page, err := a.Plan(ctx, after, 0)
		if err != nil {
			return err
		}
		for i := range page.Segments {
			s := &page.Segments[i]
			p.addPlanned(s, segments[s.Name])
		}
		if page.PlannedThroughSeq >= page.SealedTipSeq || page.PlannedThroughSeq <= after {
			return nil
		}
		after = page.PlannedThroughSeq
	}
}

// blockEvents is the number of events in a block of the archive.
const blockEvents = 4096

// addPlanned adds a segment of a plan, or only the blocks of it that the plan names.
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

// Duration returns the time that the backfill takes at a rate of events.
func (p Plan) Duration(perSecond float64) time.Duration {
	return time.Duration(float64(p.Events) / perSecond * float64(time.Second))
}
