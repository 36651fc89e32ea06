package ingest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"
	"weft.dev/weft/ingest/upstream"
)

const (
	// A server that restarts is back within seconds, so the first waits are short; one that is down for long must not
	// be hammered.
	backoffMin = 250 * time.Millisecond
	backoffMax = 30 * time.Second

	// overlap is how far before the newest event another host is taken up: their clocks differ, and so does how late they
	// see an event. What comes again is looked up and changes nothing.
	overlap = upstream.MaxSkew

	// homeWell is how far behind the present host a preferred one may be, to be gone back to.
	homeWell = 30 * time.Second
)

// host is an upstream, and how it has been lately. Only followUpstream and what it calls write it, under in.hostsMu.
type host struct {
	upstream.Endpoint
	kind   string // kindV1 or kindV2; empty: not known yet
	fails  int    // sessions that ended without an event, in a row
	retry  time.Time
	why    string // the last session's end; empty: none has ended since it was well
	rewind uint64 // events to go back; it shrinks while sessions end before they come to something new
	last   uint64 // the position of the newest event received
	lastUS int64
	high   uint64 // the highest position received
	begun  uint64 // the same when the session began
	holeAt uint64 // the last position before a hole
	tries  int    // sessions that ended there
	gap    string // why a hole is being passed over; its end is the next event

	askedUS atomic.Int64 // how far the index was when it was left, having no more events

	stopgap error // why it is followed by v1 for now; nil: it isn't, or speaks v1 only
}

// best chooses the host to follow, and how long to wait before. One that has only just gone is given a chance to be
// back at once: another one costs the overlap.
func (in *Ingest) best(now time.Time, current *host) (*host, time.Duration) {
	if current != nil && current.fails <= 1 {
		for _, h := range in.hosts {
			if h == current {
				return h, max(current.retry.Sub(now), 0)
			}
			if !h.retry.After(now) && h.fails == 0 {
				return h, 0 // a preferred one that is well
			}
		}
	}
	var soonest *host
	for _, h := range in.hosts {
		if !h.retry.After(now) {
			return h, 0
		}
		if soonest == nil || h.retry.Before(soonest.retry) {
			soonest = h
		}
	}
	return soonest, soonest.retry.Sub(now)
}

// ended notes how a session ended, and when the host may be tried again.
func (in *Ingest) ended(h *host, err error, now time.Time, came bool) {
	in.hostsMu.Lock()
	defer in.hostsMu.Unlock()
	h.why = err.Error()
	if h.high == h.begun { // a shorter rewind may come to something new before the stream ends again
		h.rewind /= 8
	} else {
		h.rewind = min(in.cfg.Rewind, max(h.rewind, 1)*2)
	}
	if errors.Is(err, errHome) {
		h.fails, h.retry, h.why = 0, now, ""
		return
	}
	if came {
		h.fails = 0
	}
	h.fails++
	if errors.Is(err, errSilent) || errors.Is(err, errBehind) {
		h.fails = max(h.fails, 2) // it has had its chance
	}
	wait := min(backoffMin<<min(h.fails-1, 16), backoffMax)
	// Jitter keeps the clients of a server that comes back from coming all at once.
	wait = wait/2 + rand.N(wait/2)
	var refused *upstream.Refused
	if errors.As(err, &refused) && refused.Wait > wait {
		wait = refused.Wait + rand.N(refused.Wait/10+1)
		h.fails = max(h.fails, 2)
	}
	h.retry = now.Add(wait)
}

// goHome ends a session with a host when one that is preferred to it is well again: asked twice, so that one that comes
// and goes isn't followed.
func (in *Ingest) goHome(ctx context.Context, current *host, cancel context.CancelCauseFunc) {
	well := map[*host]int{}
	for {
		if !upstream.Sleep(ctx, in.cfg.Home/2+rand.N(in.cfg.Home/10+1)) {
			return
		}
		for _, h := range in.hosts {
			if h == current {
				break
			}
			if well[h]++; !in.isWell(ctx, h, current) {
				well[h] = 0
			}
			if well[h] < 2 {
				continue
			}
			in.cfg.Logger.Info("failing back to a preferred upstream", "host", h.URL, "from", current.URL)
			in.hostsMu.Lock()
			h.fails, h.retry, h.why = 0, time.Time{}, ""
			in.hostsMu.Unlock()
			cancel(errHome)
			return
		}
	}
}

// isWell asks a host for its next event, which must not be far behind the newest that we have. Where it has none, the
// present host must have none either.
func (in *Ingest) isWell(ctx context.Context, h, current *host) bool {
	before := in.received.Load()
	tip, found, err := in.tip(ctx, h)
	switch {
	case err != nil || ctx.Err() != nil:
		return false
	case found:
		return tip.TimeUS >= in.seenUS.Load()-homeWell.Microseconds()
	case in.received.Load() > before:
		return false
	}
	_, found, err = in.tip(ctx, current)
	return err != nil || !found
}
