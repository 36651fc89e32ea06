package web

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
)

// This file draws the charts of lists and of the front page as SVG, on the server. They need no script.

// spark is a small bar chart of the last rates, newest at the right.
type spark struct {
	Bars  []bar
	Rates string // the rates as JSON, for the script that continues the chart
	Most  int64  // rate of a bar of full height
}

// bar is a rectangle of a chart, in the units of its viewBox.
type bar struct {
	X, Y, W, H float64
	Color      string
}

const (
	sparkHeight = 32.0
	sparkStep   = 4.0 // bar of three, gap of one
)

// sparkOf draws rates as bars at the right end of a chart.
func sparkOf(rates []float64) spark {
	text, err := json.Marshal(append([]float64{}, rates...))
	if err != nil {
		panic(err) // numbers always encode
	}
	s := spark{Rates: string(text)}
	most := 0.0
	for _, r := range rates {
		most = max(most, r)
	}
	s.Most = int64(most + 0.5)
	// A burst, as at the end of a backfill, is cut off, so that other bars keep a visible height.
	if sorted := slices.Sorted(slices.Values(rates)); len(sorted) > 0 {
		most = min(most, 2*sorted[len(sorted)/2])
	}
	most = max(most, 1)
	for i, r := range rates {
		h := min(max(1, r/most*sparkHeight), sparkHeight)
		s.Bars = append(s.Bars, bar{X: float64(rateBars-len(rates)+i) * sparkStep, Y: sparkHeight - h, W: sparkStep - 1,
			H: h})
	}
	return s
}

// chart is links over time as stacked bars, a colour for each source.
type chart struct {
	Bars             []bar
	Width            float64
	From, Middle, To string
	Unit             string // length of a span in words
	Most             int64  // links of a bar of full height
	Older            int64  // links before the chart
	Left             int    // number of sources outside the chart
	Sources          []source
	Rows             []chartRow // the chart as a table, without empty spans
}

// chartRow is a span of time with its links by source.
type chartRow struct {
	When   string
	Counts []int64
}

const (
	chartHeight = 100.0
	chartStep   = 10.0 // bar of nine, gap of one
	chartSpans  = "60"
	fewSpans    = 12 // fewer spans leave the chart partly empty, with a label only at the start
)

// chartOf queries the links by time and draws them. It returns nil without links, or if the API is busy.
func chartOf(a *answer, subject string, sources []source) (*chart, error) {
	drawn := sources[:min(chartSources, len(sources))]
	if len(drawn) == 0 {
		return nil, nil
	}
	pairs := []string{"subject", subject, "spans", chartSpans}
	for _, s := range drawn {
		pairs = append(pairs, "source", s.Text)
	}
	var found wire.Timeline
	if err := a.get(&found, routes.GetTimeline, pairs...); err != nil {
		if busy(err) {
			return nil, nil
		}
		return nil, err
	}
	if found.From == nil {
		return nil, nil
	}
	from, err := time.Parse(time.RFC3339Nano, *found.From)
	if err != nil {
		return nil, fmt.Errorf("web: the answer of getTimeline: %w", err)
	}
	c := &chart{Sources: drawn, Left: len(sources) - len(drawn), Unit: stepText(found.Seconds)}
	sums := c.scale(found.Sources)
	when := func(i int) string { return spanStart(from, found.Seconds, i) }
	for i, sum := range sums {
		if sum != 0 {
			c.Rows = append(c.Rows, chartRow{When: when(i), Counts: c.stack(i, found.Sources)})
		}
	}
	c.From = when(0)
	if len(sums) >= fewSpans {
		c.Middle = when(len(sums) / 2)
		c.To = when(len(sums) - 1)
	}
	return c, nil
}

// scale sets the width of the chart and the scale of its bars, and returns the sum of the sources in each span.
func (c *chart) scale(sources []wire.SourceTimeline) []int64 {
	spans := 0
	for _, s := range sources {
		c.Older += s.Older
		spans = max(spans, len(s.Counts))
	}
	// A single span is a narrow bar, not the whole chart.
	c.Width = max(float64(spans), fewSpans) * chartStep
	sums := make([]int64, spans)
	for _, s := range sources {
		for i, n := range s.Counts {
			sums[i] += n
			c.Most = max(c.Most, sums[i])
		}
	}
	return sums
}

// stack draws the bars of a span, one above the other, and returns its counts by source.
func (c *chart) stack(span int, sources []wire.SourceTimeline) []int64 {
	counts := make([]int64, len(sources))
	top := chartHeight
	for i, s := range sources {
		if span >= len(s.Counts) || s.Counts[span] == 0 {
			continue
		}
		counts[i] = s.Counts[span]
		h := float64(counts[i]) / float64(c.Most) * chartHeight
		top -= h
		c.Bars = append(c.Bars,
			bar{X: float64(span) * chartStep, Y: top, W: chartStep - 1, H: h, Color: c.Sources[i].Color})
	}
	return counts
}

// spanStart writes when a span of so many seconds begins, as exactly as its length needs.
func spanStart(from time.Time, seconds int64, span int) string {
	layout := "2006-01-02"
	if seconds < 86400 {
		layout = "2006-01-02 15:04"
	}
	if seconds < 60 {
		layout = time.DateTime
	}
	return from.Add(time.Duration(span) * time.Duration(seconds) * time.Second).UTC().Format(layout)
}

// stepText formats the length of a span. A year has 52 weeks.
func stepText(seconds int64) string {
	for _, u := range []struct {
		seconds int64
		name    string
	}{{364 * 86400, "year"}, {7 * 86400, "week"}, {86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}} {
		if seconds < u.seconds || seconds%u.seconds != 0 {
			continue
		}
		switch n := seconds / u.seconds; {
		case n > 1:
			return strconv.FormatInt(n, 10) + " " + u.name + "s"
		case u.name == "hour":
			return "an hour"
		}
		return "a " + u.name
	}
	return "no time"
}
