package ingest

import (
	"math"
	"sync/atomic"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

// liveness is the state of a session's stream. Its times are microseconds since 1970.
type liveness struct {
	conn       atomic.Pointer[upstream.Live] // the stream that is read; nil: none
	aliveAt    atomic.Int64                  // when the newest event or other sign of life came, by our clock
	pongAt     atomic.Int64                  // when the newest answered ping was sent
	completeAt atomic.Int64                  // all events that the upstream had then have come, by our clock; 0: unknown
	followedUS atomic.Int64                  // completeAt by the upstream's clock; 0: unknown
	clockUS    atomic.Int64                  // the upstream's clock minus ours, from times of events; noClock: unknown
	checked    atomic.Bool                   // no event is missing before the stream's start, or the gap is recorded
	filtered   atomic.Bool                   // the stream has a filter
	lively     atomic.Bool                   // the stream has had events in every recent tick
	probing    atomic.Bool                   // a comparison with the tip is under way
	pinging    atomic.Bool
}

const noClock = math.MinInt64

// reset begins a session.
func (l *liveness) reset(now time.Time, until db.Followed, hasEvents, filtered bool) {
	l.conn.Store(nil)
	l.aliveAt.Store(now.UnixMicro())
	l.pongAt.Store(0)
	l.followedUS.Store(0)
	l.checked.Store(false)
	l.filtered.Store(filtered)
	l.clockUS.Store(noClock)
	if until.UntilUS > 0 && hasEvents {
		l.clockUS.Store(until.ClockUS)
	}
}

// eventCame notes an event and its time. It takes the time of an event in the future as our time: a single such event
// must not move the upstream's clock.
func (l *liveness) eventCame(timeUS int64, now time.Time) {
	at := now.UnixMicro()
	l.aliveAt.Store(at)
	l.clockUS.Store(max(l.clockUS.Load(), min(timeUS-at, 0)))
}

// alive notes a sign of life other than an event.
func (l *liveness) alive(now time.Time) { l.aliveAt.Store(now.UnixMicro()) }

// idle returns the time since the newest sign of life, pings included.
func (l *liveness) idle(now time.Time) time.Duration {
	return now.Sub(time.UnixMicro(max(l.aliveAt.Load(), l.pongAt.Load())))
}

// quiet returns the time since the newest event came.
func (l *liveness) quiet(now time.Time) time.Duration {
	return now.Sub(time.UnixMicro(l.aliveAt.Load()))
}

// noteComplete notes that all events have come that the upstream had when it answered the newest ping. It waits until
// the stream is quiet for half of silence: a server may answer a ping before it has sent all its events. While events
// come, their times show the position of the stream.
func (l *liveness) noteComplete(quiet, silence time.Duration) {
	at := l.pongAt.Load()
	if !l.checked.Load() || quiet < silence/2 || at <= l.aliveAt.Load() {
		return
	}
	if l.filtered.Load() || !l.lively.Load() {
		l.completeAt.Store(at)
	}
	clock := l.clockUS.Load()
	if clock != noClock {
		at += clock
	}
	l.followedUS.Store(at)
}

// followed returns the time up to which the host was followed, by its clock.
func (l *liveness) followed() db.Followed {
	f := db.Followed{UntilUS: l.followedUS.Load(), ClockUS: l.clockUS.Load()}
	if f.ClockUS == noClock {
		f.ClockUS = 0
	}
	return f
}
