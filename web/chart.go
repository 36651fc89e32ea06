package web

import (
	"encoding/json"
	"slices"
)

// This file draws: figures as SVG, made on the server and shown without any script.

// spark is a small chart of the last beats: bars of some heights, newest at the right.
type spark struct {
	Bars  []bar
	Rates string // the same as JSON, for the script that goes on with it
	Most  int64  // the height of the chart
}

// bar is a rectangle of a chart, in the units of its viewBox.
type bar struct{ X, Y, W, H float64 }

const (
	sparkHeight = 32.0
	sparkStep   = 4.0 // three for the bar, one between
)

// sparkOf draws rates as bars, the newest at the right end of a chart of all beats.
func sparkOf(rates []float64) spark {
	text, _ := json.Marshal(append([]float64{}, rates...)) // of numbers
	s := spark{Rates: string(text)}
	most := 0.0
	for _, r := range rates {
		most = max(most, r)
	}
	s.Most = int64(most + 0.5)
	// A burst, as at the end of a backfill, runs off the top, so that the rest can still be told apart.
	if sorted := slices.Sorted(slices.Values(rates)); len(sorted) > 0 {
		most = min(most, 4*sorted[len(sorted)/2])
	}
	most = max(most, 1)
	for i, r := range rates {
		h := min(max(1, r/most*sparkHeight), sparkHeight)
		s.Bars = append(s.Bars, bar{X: float64(beats-len(rates)+i) * sparkStep, Y: sparkHeight - h, W: sparkStep - 1, H: h})
	}
	return s
}
