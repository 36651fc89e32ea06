package ingest

import (
	"context"
	"sync/atomic"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

// overlap is how far before the newest event a session with another host begins: clocks differ, and so does the delay
// of an event. Events that come again change nothing.
const overlap = upstream.MaxSkew

// host is an upstream with the position of its stream. Only the goroutine of sessions uses it, except for upstream.Host
// and atomics.
type host struct {
	*upstream.Host
	rewind uint64 // events to go back; shrinks while sessions end before they reach new events
	last   uint64 // position of the newest event received
	lastUS int64  // its time, at most our clock's
	high   uint64 // the highest position received
	begun  uint64 // high at the start of the session

	unreadableAt uint64 // the last position before an event that can't be read
	tries        int    // sessions that ended there
	gap          string // why events are being skipped; the next event ends the gap

	stopgap error // why v1 is followed for now; nil: v2 is followed, or the host speaks only v1

	askedUS atomic.Int64 // the time up to which the index was complete when the host had no more events
}

// beginSession resets the state of a session.
func (h *host) beginSession(stopgap error) {
	h.gap = ""
	h.begun = h.high
	h.stopgap = stopgap
}

// adjustRewind shortens the rewind if the session ended before it reached new events: after a shorter rewind, the next
// session may reach them before it ends.
func (h *host) adjustRewind(limit uint64) {
	if h.high == h.begun {
		h.rewind /= 8
		return
	}
	h.rewind = min(limit, max(h.rewind, 1)*2)
}

// hostOf returns the host of an upstream.
func (in *Ingest) hostOf(up *upstream.Host) *host {
	for _, h := range in.hosts {
		if h.Host == up {
			return h
		}
	}
	return nil
}

// probe asks a host for its protocol.
func (in *Ingest) probe(ctx context.Context, h *host) (upstream.Protocol, error) {
	return h.Probe(ctx, in.wasV2(h))
}

// wasV2 reports whether a host spoke v2 when the index last received events from it.
func (in *Ingest) wasV2(h *host) bool { return in.cfg.Store.UpstreamKind(h.URL) == upstream.KindV2 }

// tip waits for a host's next event. It sends no filter: the next event of a slice may be hours away. found is false if
// none comes within half of Config.Silence.
func (in *Ingest) tip(ctx context.Context, h *host) (e upstream.Event, found bool, err error) {
	return in.firstEvent(ctx, h, 0)
}

// oldest returns the oldest of all events that a host has.
func (in *Ingest) oldest(ctx context.Context, h *host) (e upstream.Event, found bool, err error) {
	return in.firstEvent(ctx, h, db.MinTimeCursor) // a time before any event
}

func (in *Ingest) firstEvent(ctx context.Context, h *host, cursor uint64) (e upstream.Event, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, in.cfg.Silence/2)
	defer cancel()
	return h.FirstEvent(ctx, in.wasV2(h), cursor)
}

// sameEvent reports whether two events at one position are the same event, by their times. Most servers write times to
// the microsecond, some to the millisecond.
func sameEvent(aUS, bUS int64) bool { return max(aUS-bUS, bUS-aUS) < time.Millisecond.Microseconds() }
