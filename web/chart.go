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

// This file draws: figures as SVG, made on the server and shown without any script.

// spark is a small chart of the last rates: bars of some heights, newest at the right.
type spark struct {
	Bars  []bar
	Rates string // the same as JSON, for the script that goes on with it
	Most  int64  // the height of the chart
}

// bar is a rectangle of a chart, in the units of its viewBox.
type bar struct {
	X, Y, W, H float64
	Color      string
}

const (
	sparkHeight = 32.0
	sparkStep   = 4.0 // three for the bar, one between
)

// sparkOf draws rates as bars, the newest at the right end of a chart of all rates.
func sparkOf(rates []float64) spark {
	text, err := json.Marshal(append([]float64{}, rates...))
	if err != nil {
		panic(err) // of numbers
	}
	s := spark{Rates: string(text)}
	most := 0.0
	for _, r := range rates {
		most = max(most, r)
	}
	s.Most = int64(most + 0.5)
	// A burst, as at the end of a backfill, runs off the top, so that the rest can still be told apart.
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

// chart is links over time: bars that stand on each other, a colour for each source.
type chart struct {
	Bars             []bar
	Width            float64
	From, Middle, To string
	Unit             string // what a bar is
	Most             int64  // the height of the chart
	Older            int64  // links of before it
	Left             int    // sources that are not in it
	Sources          []source
	Rows             []chartRow // the same as a table, without the spans in which nothing happened
}

// chartRow is a span of time with its links by source.
type chartRow struct {
	When   string
	Counts []int64
}

const (
	chartHeight = 100.0
	chartStep   = 10.0 // nine for the bar, one between
	chartSpans  = "60"
	fewSpans    = 12 // below, the chart is not full, and only its beginning is labelled
)

// chartOf asks for the links by time and draws them; nil when there are none, or the API has no time.
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
	spans := 0
	for _, s := range found.Sources {
		c.Older += s.Older
		spans = max(spans, len(s.Counts))
	}
	// One span is a bar, and not a wall.
	c.Width = max(float64(spans), fewSpans) * chartStep
	sums := make([]int64, spans)
	for _, s := range found.Sources {
		for i, n := range s.Counts {
			sums[i] += n
			c.Most = max(c.Most, sums[i])
		}
	}
	layout := "2006-01-02"
	if found.Seconds < 86400 {
		layout = "2006-01-02 15:04"
	}
	if found.Seconds < 60 {
		layout = time.DateTime
	}
	when := func(i int) string {
		return from.Add(time.Duration(i) * time.Duration(found.Seconds) * time.Second).UTC().Format(layout)
	}
	for i, sum := range sums {
		if sum == 0 {
			continue
		}
		row := chartRow{When: when(i)}
		top := chartHeight
		for j, s := range found.Sources {
			var n int64
			if i < len(s.Counts) {
				n = s.Counts[i]
			}
			row.Counts = append(row.Counts, n)
			if n == 0 {
				continue
			}
			h := float64(n) / float64(c.Most) * chartHeight
			top -= h
			c.Bars = append(c.Bars, bar{X: float64(i) * chartStep, Y: top, W: chartStep - 1, H: h, Color: drawn[j].Color})
		}
		c.Rows = append(c.Rows, row)
	}
	c.From = when(0)
	if spans >= fewSpans {
		c.Middle = when(spans / 2)
		c.To = when(spans - 1)
	}
	return c, nil
}

// stepText says how long a span is, of which a year has 52 weeks.
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
