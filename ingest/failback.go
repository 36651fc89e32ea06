package ingest

import (
	"context"
	"math/rand/v2"
	"time"

	"weft.dev/weft/ingest/upstream"
)

// failbackLag bounds the lag of a preferred host at a failback, compared with the current host.
const failbackLag = 30 * time.Second

// failback ends a session when a preferred host is healthy again. It asks twice, so that a host that comes and goes
// isn't followed.
func (in *Ingest) failback(ctx context.Context, current *host, cancel context.CancelCauseFunc) {
	healthy := map[*host]int{}
	for upstream.Sleep(ctx, in.cfg.Failback/2+rand.N(in.cfg.Failback/10+1)) {
		for _, preferred := range in.hosts {
			if preferred == current {
				break
			}
			if !in.isHealthy(ctx, preferred, current) {
				healthy[preferred] = 0
				continue
			}
			healthy[preferred]++
			if healthy[preferred] < 2 {
				continue
			}
			in.cfg.Logger.Info("failing back to a preferred upstream", "host", preferred.URL, "from", current.URL)
			preferred.SetHealthy()
			cancel(errFailback)
			return
		}
	}
}

// isHealthy asks a preferred host for its next event, and reports whether it is at most failbackLag older than the
// newest event received. A host without a next event is healthy if the current host has none either.
func (in *Ingest) isHealthy(ctx context.Context, preferred, current *host) bool {
	before := in.received.Load()
	tip, found, err := in.tip(ctx, preferred)
	switch {
	case err != nil || ctx.Err() != nil:
		return false
	case found:
		return tip.TimeUS >= in.seenUS.Load()-failbackLag.Microseconds()
	case in.received.Load() > before:
		return false
	}
	_, found, err = in.tip(ctx, current)
	return err != nil || !found
}
