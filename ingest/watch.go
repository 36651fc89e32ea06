package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

const (
	// looksApart is the longest time between two looks at a quiet upstream's tip, as a multiple of Config.Silence: ten
	// minutes, by default. It is also how often it is written down until when a quiet stream was followed.
	looksApart = 20
	// livelyTicks are the ticks in a row, of a quarter of Config.Silence, in each of which a stream without a filter has
	// had events, before it is expected to go on so: ten minutes, by default.
	livelyTicks = 80
)

// liveness is what is known of a session's stream. Its times are microseconds since 1970.
type liveness struct {
	conn     atomic.Pointer[upstream.Live] // what is read now; nil: nothing
	seenAt   atomic.Int64                  // when the newest event or other sign of life came, by our clock
	pongAt   atomic.Int64                  // when the newest ping that was answered was sent
	wholeAt  atomic.Int64                  // by our clock, all that the upstream had then has come; 0: not known
	clockUS  atomic.Int64                  // the upstream's clock less ours, as far as events have shown it; noClock: not known
	wholeUS  atomic.Int64                  // wholeAt by the upstream's clock; 0: not known
	checked  atomic.Bool                   // nothing is missing before the stream's start, or it is written down
	filtered atomic.Bool                   // only a part of the upstream's events is asked for
	lively   atomic.Bool                   // the stream has never been quiet of late
	looking  atomic.Bool                   // a look at the tip is under way
	pinging  atomic.Bool
}

const noClock = math.MinInt64

// reset begins a session.
func (p *liveness) reset(now time.Time, until db.Followed, hasEvents, filtered bool) {
	p.conn.Store(nil)
	p.seenAt.Store(now.UnixMicro())
	p.pongAt.Store(0)
	p.wholeUS.Store(0)
	p.checked.Store(false)
	p.filtered.Store(filtered)
	p.clockUS.Store(noClock)
	if until.UntilUS > 0 && hasEvents {
		p.clockUS.Store(until.ClockUS)
	}
}

// saw notes an event of a time. Its clock may be ahead of ours, and then counts as ours: one event with a time of the
// future must not move it.
func (p *liveness) saw(timeUS int64, now time.Time) {
	at := now.UnixMicro()
	p.seenAt.Store(at)
	p.clockUS.Store(max(p.clockUS.Load(), min(timeUS-at, 0)))
}

// alive notes a sign of life that is no event.
func (p *liveness) alive(now time.Time) { p.seenAt.Store(now.UnixMicro()) }

// idle is for how long nothing has come, not even the answer to a ping.
func (p *liveness) idle(now time.Time) time.Duration {
	return now.Sub(time.UnixMicro(max(p.seenAt.Load(), p.pongAt.Load())))
}

// quiet is for how long no event has come.
func (p *liveness) quiet(now time.Time) time.Duration {
	return now.Sub(time.UnixMicro(p.seenAt.Load()))
}

// watch ends a session whose upstream is gone, or is found to have events that don't come. A connection is judged by its
// answers to pings: that nothing comes may be because there is nothing.
func (in *Ingest) watch(ctx context.Context, h *host, cancel context.CancelCauseFunc) {
	var beside sync.WaitGroup
	defer beside.Wait()
	ticker := time.NewTicker(in.cfg.Silence / 4)
	defer ticker.Stop()
	p := &in.liveness
	nextLook, noted, busy, received := in.cfg.Silence, in.cfg.Now(), 0, in.received.Load()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := in.cfg.Now()
		if in.queue.isFull() {
			p.seenAt.Store(now.UnixMicro()) // it is the upstream that waits, for us
		}
		if n := in.received.Load(); n > received {
			received = n
			busy++
			nextLook = in.cfg.Silence
		} else if busy < livelyTicks {
			busy = 0
		}
		p.lively.Store(busy >= livelyTicks)
		if idle := p.idle(now); idle >= in.cfg.Silence {
			cancel(fmt.Errorf("%w for %s: no event, and no answer to a ping", errSilent, idle.Round(time.Millisecond)))
			return
		}
		conn := p.conn.Load()
		if conn == nil {
			continue
		}
		if p.pinging.CompareAndSwap(false, true) {
			beside.Go(in.named("ping", func() { in.ping(ctx, conn) }))
		}
		quiet := p.quiet(now)
		in.noteWhole(quiet)
		if quiet < in.cfg.Silence {
			continue
		}
		if now.Sub(noted) >= looksApart*in.cfg.Silence {
			noted = now
			if err := in.noteFollowed(h); err != nil {
				cancel(err)
				return
			}
		}
		if quiet >= nextLook && p.looking.CompareAndSwap(false, true) {
			nextLook = quiet + min(quiet, looksApart*in.cfg.Silence)
			beside.Go(in.named("look at the tip", func() {
				defer p.looking.Store(false)
				if err := in.lookAround(ctx, h); err != nil {
					cancel(err)
				}
			}))
		}
	}
}

// ping asks the other end of a connection for a sign of life.
func (in *Ingest) ping(ctx context.Context, l *upstream.Live) {
	defer in.liveness.pinging.Store(false)
	ctx, cancel := context.WithTimeout(ctx, in.cfg.Silence)
	defer cancel()
	sent := in.cfg.Now().UnixMicro()
	if l.Ping(ctx) == nil {
		in.liveness.pongAt.Store(sent)
	}
}

// noteWhole notes that all has come that the upstream had when it answered the newest ping. While events come they tell
// themselves how far the stream is; the pause keeps a server's answer from overtaking events that it has yet to send.
func (in *Ingest) noteWhole(quiet time.Duration) {
	p := &in.liveness
	at := p.pongAt.Load()
	if !p.checked.Load() || quiet < in.cfg.Silence/2 || at <= p.seenAt.Load() {
		return
	}
	if p.filtered.Load() || !p.lively.Load() {
		p.wholeAt.Store(at)
	}
	if clock := p.clockUS.Load(); clock != noClock {
		at += clock
	}
	p.wholeUS.Store(at)
}

// noteFollowed writes down until when a host was followed, where its events don't say.
func (in *Ingest) noteFollowed(h *host) error {
	p := &in.liveness
	until := db.Followed{UntilUS: p.wholeUS.Load(), ClockUS: p.clockUS.Load()}
	if until.ClockUS == noClock {
		until.ClockUS = 0
	}
	if until.UntilUS == 0 || until.UntilUS <= in.cfg.Store.Followed(h.URL).UntilUS || in.queue.depth() > 0 {
		return nil
	}
	return in.cfg.Store.SetFollowed(h.URL, h.kind, until)
}

// lookAround finds out whether there are events that don't come. Its error ends the session.
func (in *Ingest) lookAround(ctx context.Context, h *host) error {
	before := in.received.Load()
	others := make(chan *host, 1)
	go in.named("look at the others", func() { others <- in.newerElsewhere(ctx, h) })()
	tip, found, err := in.tip(ctx, h)
	other := <-others
	if err != nil || ctx.Err() != nil || in.received.Load() > before {
		return nil
	}
	cursor := in.cfg.Store.Cursor(h.URL)
	switch {
	case found && (tip.Pos < upstream.MinTimeCursor) == (cursor < upstream.MinTimeCursor) && tip.Pos < cursor:
		// A server whose tip lies below our cursor has lost what was beyond, and would never send us anything.
		return fmt.Errorf("%w: %d below %d", errBehind, tip.Pos, cursor)
	case found && !in.liveness.filtered.Load():
		for range 4 { // it comes to us as well, if all is well
			if !upstream.Sleep(ctx, in.cfg.Silence/8) || in.received.Load() > before {
				return nil
			}
		}
		return fmt.Errorf("%w: it sends events to other clients", errSilent)
	case !found && other != nil:
		return fmt.Errorf("%w: it has no events, but %s may have some", errSilent, other.URL)
	}
	in.setConnected(h) // there is nothing to send
	return nil
}

// newerElsewhere is a host that has events when h has none: one that sends some, or one that wasn't asked for what came
// since the index was where it is. Nil: there is none.
func (in *Ingest) newerElsewhere(ctx context.Context, h *host) *host {
	reached := in.cfg.Store.ReachedTime()
	for _, other := range in.hosts {
		if other == h {
			continue
		}
		_, found, err := in.tip(ctx, other)
		if err == nil && (found || other.askedUS.Load() < reached) {
			return other
		}
	}
	return nil
}

// setConnected notes that a host is followed.
func (in *Ingest) setConnected(h *host) {
	if was := in.state.Load(); !was.Connected {
		since := in.cfg.Now().UTC().Format(time.RFC3339)
		in.state.CompareAndSwap(was, &State{Connected: true, Host: h.URL, Kind: h.kind, Detail: "since " + since})
	}
}

// tip waits for a host's next event, of all that it has: the next one of a slice may be hours away. found is false when
// there was none within half of Config.Silence.
func (in *Ingest) tip(ctx context.Context, h *host) (e upstream.Event, found bool, err error) {
	return in.firstEvent(ctx, h, 0, in.cfg.Silence/2)
}

// firstEvent is the first of all events that a host has from a cursor on; 0 is its tip. found is false when none came in
// the time given.
func (in *Ingest) firstEvent(ctx context.Context, h *host, cursor uint64, within time.Duration) (e upstream.Event, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	speaks, err := in.probe(ctx, h)
	if err != nil {
		return upstream.Event{}, false, err
	}
	l, err := upstream.Dial(ctx, h.Endpoint, speaks.Kind, nil, cursor, upstream.Filter{})
	if err != nil {
		return upstream.Event{}, false, err
	}
	defer l.Close()
	for {
		switch err := l.Next(ctx, &e); {
		case err == nil:
			return upstream.Event{Pos: e.Pos, TimeUS: e.TimeUS}, true, nil
		case ctx.Err() != nil:
			return upstream.Event{}, false, nil
		case !errors.Is(err, upstream.ErrNoEvent) && !errors.Is(err, upstream.ErrSkip):
			return upstream.Event{}, false, err
		}
	}
}

// probe finds out what a host speaks.
func (in *Ingest) probe(ctx context.Context, h *host) (upstream.Protocol, error) {
	in.hostsMu.Lock()
	wasV2, fails := h.kind == upstream.KindV2, h.fails
	in.hostsMu.Unlock()
	return h.Endpoint.Probe(ctx, wasV2 || in.cfg.Store.UpstreamKind(h.URL) == upstream.KindV2, fails)
}
