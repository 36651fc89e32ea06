package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/ingest"
	"weft.dev/weft/web/humanize"
)

const (
	// yesAbove is how much a backfill may fetch without being confirmed, in bytes: an hour's worth of the full network is
	// a tenth of it, and hosted archives are metered.
	yesAbove = 1 << 30

	// Figures of the plan: bytes of disk a link with the whole log and with a pruned one, and events a second on two cores
	// (docs/scale.md has the measurements).
	planLinkBytes       = 120
	planLinkBytesWindow = 45
	planRate            = 50_000
)

// planBackfill says what a new index will take, and asks for --yes when that is much.
func (w *writer) planBackfill(ctx context.Context) error {
	if w.store.LastFollowed() != "" || w.from == (ingest.From{}) {
		return nil // it goes on where it was, or begins at the tip
	}
	p, err := ingest.PlanBackfill(ctx, w.jetstream, w.jetstreamKey, w.from, w.filter)
	if err != nil {
		return fmt.Errorf("plan the backfill (a protected archive needs --jetstream-key): %w", err)
	}
	if p.Segments == 0 {
		return nil
	}
	linkBytes := int64(planLinkBytes)
	if w.db.ReplayWindow > 0 {
		linkBytes = planLinkBytesWindow
	}
	w.logger.Info("backfill", "host", p.Host, "segments", p.Segments, "bytes", p.Bytes, "events", p.Events, "links_about",
		p.Links,
		"disk_bytes_about", p.Links*linkBytes, "duration_about", p.Duration(planRate).Round(time.Second))
	if p.Bytes <= w.backfillLimit() || w.yes {
		return nil
	}
	return fmt.Errorf("the backfill fetches %s in %s from %s: %s events, about %s links, %s of disk, and %s at %s "+
		"events a second; to start it, add --yes",
		humanize.Bytes(p.Bytes), humanize.Count(int64(p.Segments), "segment"), p.Host, humanize.Number(p.Events),
		humanize.Number(p.Links),
		humanize.Bytes(p.Links*linkBytes), p.Duration(planRate).Round(time.Minute), humanize.Number(planRate))
}

// backfillLimit returns how many bytes a backfill may fetch without --yes.
func (w *writer) backfillLimit() int64 { return cmp.Or(w.yesAbove, yesAbove) }

const (
	// barEvery is how often the bar of a terminal moves, and lineEvery how often a log says the same.
	barEvery  = 500 * time.Millisecond
	lineEvery = 30 * time.Second
	barWidth  = 30
)

// showProgress tells how far a replay of the archive is: a bar on a terminal, else a line in the log now and then.
func (w *writer) showProgress(ctx context.Context, stderr io.Writer) {
	terminal := isTerminal(stderr)
	every := lineEvery
	if terminal {
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
		p := w.ingest.Progress()
		switch {
		case p.Host == "" && shown && terminal:
			fmt.Fprintln(stderr)
			shown = false
		case p.Host == "":
		case terminal:
			fmt.Fprint(stderr, "\r\x1b[K", progressBar(&p))
			shown = true
		case p.EventsDone == 0:
			w.logger.Info("replaying: waiting for the first segment of the archive", "host", p.Host, "bytes", p.BytesDone)
		default:
			w.logger.Info("replaying", "done", fmt.Sprintf("%.1f%%", 100*share(&p)), "events", p.EventsDone, "of_events",
				p.Events, "bytes", p.BytesDone,
				"of_bytes", p.Bytes, "events_per_second", int64(p.Rate), "eta", (time.Duration(p.ETA) * time.Second).String())
		}
	}
}

// share is how much of a replay is done.
func share(p *wire.Replay) float64 {
	if p.Events == 0 {
		return 0
	}
	return min(float64(p.EventsDone)/float64(p.Events), 1)
}

// progressBar is one line of at most 80 columns.
func progressBar(p *wire.Replay) string {
	if p.EventsDone == 0 {
		return fmt.Sprintf("waiting for the first segment of %.30s: %s came", p.Host, humanize.Bytes(p.BytesDone))
	}
	full := int(share(p) * barWidth)
	eta := "?"
	if p.ETA > 0 {
		eta = (time.Duration(p.ETA) * time.Second).String()
	}
	return fmt.Sprintf("[%s%s] %5.1f%%  %s  %s/s  ETA %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full),
		100*share(p), humanize.Bytes(p.BytesDone), humanize.Number(int64(p.Rate)), eta)
}
