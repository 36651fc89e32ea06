package index

import (
	"context"
	"time"
)

// timelineSteps are the lengths that spans have, in seconds: seconds, minutes, hours, days, weeks, months of four
// weeks, and years of 52.
var timelineSteps = []int64{1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400,
	14 * 86400, 28 * 86400, 91 * 86400, 364 * 86400}

// networkBegan is when there were first records on the network, in microseconds: 1 November 2022. A TID of before is
// made up, and one such link must not press all the others into the last span.
var networkBegan = time.Date(2022, time.November, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// Timeline counts the links to a target from some sources by time. It adds up the runs' sums: what it costs depends on
// how many spans are asked for, not on how many links there are.
func (s *Queries) Timeline(ctx context.Context, q TimelineQuery) (Timeline, error) {
	v := s.core.Acquire()
	defer s.core.Release(v)
	t := Timeline{Lists: make([]TimelineList, len(q.Sources))}
	lists := make([]List, len(q.Sources))
	known := make([]bool, len(q.Sources))
	var from, to int64 // times of the first and of the last link
	for i, source := range q.Sources {
		l, ok, err := v.list(q.Target, source)
		if err != nil {
			return t, err
		}
		if !ok {
			continue
		}
		l = l.within(q.Since, q.Until)
		lists[i] = l
		known[i] = true
		t.Lists[i].Total, err = l.Total()
		if err != nil {
			return t, err
		}
		newest, err := l.end(ctx, false)
		if err != nil {
			return t, err
		}
		oldest, err := v.ListOf(l.Prefix).within(max(q.Since, networkBegan), q.Until).end(ctx, true)
		if err != nil {
			return t, err
		}
		to = max(to, newest)
		if oldest > 0 && (from == 0 || oldest < from) {
			from = oldest
		}
	}
	if from == 0 {
		for i := range t.Lists {
			t.Lists[i].Older = t.Lists[i].Total
		}
		return t, nil
	}
	t.FromUS, t.StepUS = timelineSpan(from, to, q.Most)
	for i, l := range lists {
		if !known[i] {
			continue
		}
		if err := countSpans(ctx, t, &t.Lists[i], v.ListOf(l.Prefix), q, to); err != nil {
			return t, err
		}
	}
	return t, nil
}

// countSpans counts a list's links by spans, as far as the time of the last link. Newest links come first, so that a
// span's are those below its begin less those below its end, which is where the next one begins.
func countSpans(ctx context.Context, t Timeline, out *TimelineList, l List, q TimelineQuery, to int64) error {
	begin, err := l.below(l.within(max(t.FromUS, q.Since), 0).to)
	if err != nil {
		return err
	}
	out.Older = out.Total
	for at := t.FromUS; at <= to; at += t.StepUS {
		if err := ctx.Err(); err != nil {
			return err
		}
		until := at + t.StepUS
		if q.Until > 0 {
			until = min(until, q.Until)
		}
		end, err := l.below(l.within(0, until).from)
		if err != nil {
			return err
		}
		out.Counts = append(out.Counts, begin-end)
		out.Older = out.Older - (begin - end)
		begin = end
	}
	return nil
}

// end is the time of the newest link, or of the oldest; 0 when there is none.
func (l List) end(ctx context.Context, oldest bool) (int64, error) {
	found, _, err := l.page(ctx, nil, 1, oldest)
	if err != nil || len(found) == 0 {
		return 0, err
	}
	return int64(found[0].Rank), nil
}

// timelineSpan divides the time from the first link to the last into most spans or fewer: where the first begins, and
// how long they are.
func timelineSpan(from, to int64, most int) (begin, step int64) {
	for _, seconds := range timelineSteps {
		step = seconds * 1_000_000
		if to/step-from/step < int64(most) {
			return from - from%step, step
		}
	}
	// Longer than the network is old, or very few spans: years together.
	for year := step; to/step-from/step >= int64(most); {
		step += year
	}
	return from - from%step, step
}
