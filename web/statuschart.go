package web

import (
	"fmt"
	"slices"
	"strings"

	"weft.dev/weft/humanize"
)

// This file draws the charts of the status page: what takes the disk, and the last minutes.

// share is a part of a bar of 100, with the colour of its kind.
type share struct {
	Name, Bytes, Color string
	X, W               float64
}

// curve is a figure of the last minutes.
type curve struct {
	Name, Now, Note, Label, Color string
	Points                        string // of a polyline in a box of 300 by 60
	Area                          string
}

// shares returns what takes the disk, as parts of a bar.
func (p *statusPage) shares() []share {
	sp := &p.Space
	parts := []share{
		{Name: "segments", Bytes: humanize.Bytes(sp.Segments), Color: "indigo", W: float64(sp.Segments)},
		{Name: "weft.db, with the log", Bytes: humanize.Bytes(sp.Database), Color: "weld", W: float64(sp.Database)},
		{Name: "WAL", Bytes: humanize.Bytes(sp.WAL), Color: "madder", W: float64(sp.WAL)},
	}
	all := 0.0
	for _, part := range parts {
		all += part.W
	}
	x := 0.0
	for i := range parts {
		if all > 0 {
			parts[i].X = x
			parts[i].W = parts[i].W / all * 100
		}
		x += parts[i].W
	}
	return parts
}

// curveWidth and curveHeight are the viewBox of a curve.
const curveWidth, curveHeight = 300.0, 60.0

// curves returns the figures of the last minutes; nil: there are fewer than two points.
func (p *statusPage) curves() []curve {
	points := p.History.Points
	if len(points) < 2 {
		return nil
	}
	draw := func(name, note, color string, write func(float64) string, of func(i int) float64) curve {
		c := curve{Name: name, Note: note, Color: color}
		newest := of(len(points) - 1)
		sorted := make([]float64, len(points))
		for i := range points {
			sorted[i] = max(of(i), 0)
		}
		slices.Sort(sorted)
		most := sorted[len(sorted)-1]
		// A replay is a hundred times as fast as the live stream, which would become a flat line. So values far above
		// the usual are cut off.
		high := max(1, most)
		if usual := sorted[len(sorted)/2]; usual > 1 {
			high = min(high, 4*usual)
		}
		var b strings.Builder
		for i := range points {
			x := curveWidth * float64(i) / float64(len(points)-1)
			y := curveHeight - 2 - (curveHeight-4)*min(max(of(i), 0), high)/high
			fmt.Fprintf(&b, "%.1f,%.1f ", x, y)
		}
		c.Points = strings.TrimSpace(b.String())
		c.Area = fmt.Sprintf("0,%.0f %s %.0f,%.0f", curveHeight, c.Points, curveWidth, curveHeight)
		span := humanize.Seconds(p.History.Every * float64(len(points)))
		c.Now = write(newest)
		c.Label = fmt.Sprintf("%s over the last %s: %s now, %s at most", name, span, write(newest), write(most))
		return c
	}
	curves := []curve{
		draw("Events per second", "All events that the upstream sends.", "indigo", humanize.Figure,
			func(i int) float64 { return points[i].Events }),
		draw("Links per second", "Added links less removed links.", "moss", humanize.Figure,
			func(i int) float64 { return points[i].Links }),
		draw("Lag", "Time between the newest event and now.", "madder", humanize.Seconds,
			func(i int) float64 { return points[i].Lag }),
	}
	if p.Status.Upstream != nil && nothingRead(p.Status.Upstream) {
		lag := &curves[len(curves)-1]
		lag.Now = "unknown"
		lag.Label = "Lag: unknown, no event was read"
	}
	return curves
}
