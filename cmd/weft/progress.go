package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/humanize"
)

const (
	// barEvery is the interval of the progress bar on a terminal, and lineEvery that of progress lines in the log output.
	barEvery  = 500 * time.Millisecond
	lineEvery = 30 * time.Second
	barWidth  = 30
)

// backfillProgress shows the progress of a backfill: a bar on a terminal, else lines in the log output.
type backfillProgress struct {
	w        io.Writer
	terminal bool // w is one
	backfill func() wire.Replay
	logger   *slog.Logger
}

// run shows the progress until ctx ends.
func (r *backfillProgress) run(ctx context.Context) {
	every := lineEvery
	if r.terminal {
		every = barEvery
	}
	shown := false
	for ticker := time.NewTicker(every); ; {
		select {
		case <-ctx.Done():
			ticker.Stop()
			return
		case <-ticker.C:
		}
		p := r.backfill()
		switch {
		case p.Host == "" && shown:
			fmt.Fprintln(r.w)
			shown = false
		case p.Host == "":
		case r.terminal:
			fmt.Fprint(r.w, "\r\x1b[K", progressBar(&p))
			shown = true
		case p.Waiting > 0:
			r.logger.Info("replaying: waiting for the archive", "host", p.Host, "events", p.EventsDone, "of_events", p.Events,
				"bytes", p.BytesDone, "silent_for", humanize.Seconds(p.Waiting))
		case p.EventsDone == 0:
			r.logger.Info("replaying: waiting for the first segment of the archive", "host", p.Host, "bytes", p.BytesDone)
		default:
			r.logger.Info("replaying", "done", fmt.Sprintf("%.1f%%", 100*share(&p)), "events", p.EventsDone, "of_events",
				p.Events, "bytes", p.BytesDone,
				"of_bytes", p.Bytes, "events_per_second", int64(p.Rate), "eta", humanize.Seconds(p.ETA))
		}
	}
}

// share returns the fraction of a backfill that is done, from 0 to 1.
func share(p *wire.Replay) float64 {
	if p.Events == 0 {
		return 0
	}
	return min(float64(p.EventsDone)/float64(p.Events), 1)
}

// progressBar returns one line of at most 80 columns.
func progressBar(p *wire.Replay) string {
	if p.EventsDone == 0 {
		return fmt.Sprintf("waiting for the first segment of %.30s: %s came", p.Host, humanize.Bytes(p.BytesDone))
	}
	full := int(share(p) * barWidth)
	eta := "ETA ?"
	switch {
	case p.Waiting > 0:
		eta = "no answer: " + humanize.Seconds(p.Waiting)
	case p.ETA > 0:
		eta = "ETA " + humanize.Seconds(p.ETA)
	}
	return fmt.Sprintf("[%s%s] %5.1f%%  %s  %s/s  %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full),
		100*share(p), humanize.Bytes(p.BytesDone), humanize.Number(int64(p.Rate)), eta)
}
