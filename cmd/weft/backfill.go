package main

import (
	"cmp"
	"context"
	"fmt"

	"weft.dev/weft/humanize"
	"weft.dev/weft/ingest"
)

const (
	// yesAbove is the size in bytes of a backfill that needs --yes: ten hours of the full network. Hosted archives are
	// metered.
	yesAbove = 1 << 30

	// planLinkBytes and planLinkBytesWindow are bytes of disk per link, with the whole log and with a pruned one.
	// planRate is events a second on two cores (docs/scale.md has the measurements).
	planLinkBytes       = 120
	planLinkBytesWindow = 45
	planRate            = 50_000
)

// planBackfill prints the plan of the backfill of a new index, and asks for --yes if the backfill is large.
func (w *writer) planBackfill(ctx context.Context) error {
	if w.store.LastFollowed() != "" || w.from == (ingest.From{}) {
		return nil // it resumes, or begins at the tip
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
		"disk_bytes_about", p.Links*linkBytes, "duration_about", humanize.Duration(p.Duration(planRate)))
	if p.Bytes <= w.backfillLimit() || w.yes {
		return nil
	}
	return fmt.Errorf("the backfill fetches %s in %s from %s: %s events, about %s links, %s of disk, and %s at %s "+
		"events a second; to start it, add --yes",
		humanize.Bytes(p.Bytes), humanize.Count(int64(p.Segments), "segment"), p.Host, humanize.Number(p.Events),
		humanize.Number(p.Links),
		humanize.Bytes(p.Links*linkBytes), humanize.Duration(p.Duration(planRate)), humanize.Number(planRate))
}

// backfillLimit returns how many bytes a backfill may fetch without --yes.
func (w *writer) backfillLimit() int64 { return cmp.Or(w.yesAbove, yesAbove) }
