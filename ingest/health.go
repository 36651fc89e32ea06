package ingest

import (
	"fmt"
	"time"
)

// stuckAfter is how long no batch may be committed while events wait, before the index counts as not ready: a commit takes
// milliseconds, and one behind a seal of a slow disk some seconds.
const stuckAfter = time.Minute

// stuck says for how long no batch was committed although events wait; 0 when that is less than stuckAfter.
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
	return fmt.Sprintf("events wait, but none was committed for %s: check the log, and whether the disk is slow or full", d.Round(time.Second))
}

// shownUS is the time up to which events are committed, in microseconds since 1970, of those received up to newest: that
// itself while nothing waits.
func (in *Ingest) shownUS(newest int64) int64 {
	since := in.queue.waiting()
	if since.IsZero() {
		return newest
	}
	if committed := in.committedUS.Load(); committed > 0 {
		return min(newest, committed)
	}
	return min(newest, since.UnixMicro())
}
