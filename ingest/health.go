package ingest

import (
	"context"
	"fmt"
	"time"

	"weft.dev/weft/humanize"
)

// stuckAfter is the time that events may wait without a commit before the index is not ready. A commit takes
// milliseconds, and some seconds if it waits for a slow disk.
const stuckAfter = time.Minute

// stuck returns the time that events have waited without a commit, or 0 below stuckAfter.
func (in *Ingest) stuck() time.Duration {
	since := in.queue.waiting()
	if since.IsZero() {
		return 0
	}
	d := in.cfg.Now().Sub(since)
	if d < stuckAfter {
		return 0
	}
	return d
}

// stuckText describes stuck for an operator.
func stuckText(d time.Duration) string {
	return fmt.Sprintf("events wait, but none was committed for %s: check the log, and whether the disk is slow or full",
		humanize.Duration(d))
}

// watchCommits restarts the wait of stuck with each commit of the store until ctx ends. A batch with many changes takes
// minutes, and is committed in parts.
func (in *Ingest) watchCommits(ctx context.Context) error {
	for {
		select {
		case <-in.cfg.Store.Commits():
			in.queue.committed()
		case <-ctx.Done():
			return nil
		}
	}
}

// shownUS returns the time up to which events are committed, in microseconds since 1970. newest is the time of the
// newest event received.
func (in *Ingest) shownUS(newest int64) int64 {
	since := in.queue.waiting()
	if since.IsZero() {
		return newest
	}
	committed := in.committedUS.Load()
	if committed > 0 {
		return min(newest, committed)
	}
	return min(newest, since.UnixMicro())
}
