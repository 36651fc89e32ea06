package ingest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/humanize"
	"weft.dev/weft/ingest/upstream"
)

const (
	// maxTipInterval is the longest time between two comparisons of a quiet stream with the upstream's tip, as a
	// multiple of Config.Silence: ten minutes by default. The followed time of a quiet stream is stored at the same
	// interval.
	maxTipInterval = 20
	// livelyTicks is the number of ticks in a row with events after which a stream without a filter is expected to have
	// events all the time. A tick is a quarter of Config.Silence: ten minutes in all by default.
	livelyTicks = 80
)

// watcher watches one session's stream. Its fields belong to the goroutine of run.
type watcher struct {
	in       *Ingest
	h        *host
	cancel   context.CancelCauseFunc // ends the session
	beside   sync.WaitGroup
	nextTip  time.Duration // of quiet, before the next comparison with the tip
	noted    time.Time     // when the followed time was stored
	busy     int           // ticks in a row with events
	received uint64
}

// watch ends a session whose upstream is gone, or whose upstream has events that don't arrive. Answers to pings prove
// the connection: a stream without events may be a network without events.
func (in *Ingest) watch(ctx context.Context, h *host, cancel context.CancelCauseFunc) {
	w := &watcher{in: in, h: h, cancel: cancel, nextTip: in.cfg.Silence, noted: in.cfg.Now(), received: in.received.Load()}
	defer w.beside.Wait()
	ticker := time.NewTicker(in.cfg.Silence / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := w.tick(ctx)
		if err != nil {
			cancel(err)
			return
		}
	}
}

// tick checks the stream. An error that it returns ends the session.
func (w *watcher) tick(ctx context.Context) error {
	in := w.in
	l := &in.liveness
	now := in.cfg.Now()
	if in.queue.isFull() {
		l.alive(now) // the upstream waits for us
	}
	w.noteActivity()
	idle := l.idle(now)
	if idle >= in.cfg.Silence {
		if l.conn.Load() == nil {
			return fmt.Errorf("%w for %s: it sent nothing", errSilent, humanize.Duration(idle))
		}
		return fmt.Errorf("%w for %s: no event, and no answer to a ping", errSilent, humanize.Duration(idle))
	}
	conn := l.conn.Load()
	if conn == nil {
		return nil
	}
	if l.pinging.CompareAndSwap(false, true) {
		w.beside.Go(in.named("ping", func() { in.ping(ctx, conn) }))
	}
	quiet := l.quiet(now)
	l.noteComplete(quiet, in.cfg.Silence)
	if quiet < in.cfg.Silence {
		return nil
	}
	if now.Sub(w.noted) >= maxTipInterval*in.cfg.Silence {
		w.noted = now
		err := in.noteFollowed(w.h)
		if err != nil {
			return err
		}
	}
	if quiet >= w.nextTip && l.probing.CompareAndSwap(false, true) {
		w.nextTip = quiet + min(quiet, maxTipInterval*in.cfg.Silence)
		w.beside.Go(in.named("compare with the tip", func() { w.compareTip(ctx) }))
	}
	return nil
}

// noteActivity counts the ticks in a row with events.
func (w *watcher) noteActivity() {
	n := w.in.received.Load()
	switch {
	case n > w.received:
		w.received = n
		w.busy++
		w.nextTip = w.in.cfg.Silence
	case w.busy < livelyTicks:
		w.busy = 0
	}
	w.in.liveness.lively.Store(w.busy >= livelyTicks)
}

// compareTip ends the session if the upstream has events that don't arrive.
func (w *watcher) compareTip(ctx context.Context) {
	defer w.in.liveness.probing.Store(false)
	err := w.in.compareTip(ctx, w.h)
	if err != nil {
		w.cancel(err)
	}
}

// ping waits for the answer to a ping.
func (in *Ingest) ping(ctx context.Context, l *upstream.Live) {
	defer in.liveness.pinging.Store(false)
	ctx, cancel := context.WithTimeout(ctx, in.cfg.Silence)
	defer cancel()
	sent := in.cfg.Now().UnixMicro()
	err := l.Ping(ctx)
	if err == nil {
		in.liveness.pongAt.Store(sent)
	}
}

// noteFollowed stores the time up to which a host was followed, if its events don't show it.
func (in *Ingest) noteFollowed(h *host) error {
	until := in.liveness.followed()
	if until.UntilUS == 0 || until.UntilUS <= in.cfg.Store.Followed(h.URL).UntilUS || in.queue.depth() > 0 {
		return nil
	}
	return in.cfg.Store.SetFollowed(h.URL, h.Kind(), until)
}

// compareTip compares a quiet stream with the upstream's tip and with the other upstreams. An error that it returns
// ends the session.
func (in *Ingest) compareTip(ctx context.Context, h *host) error {
	before := in.received.Load()
	others := make(chan *host, 1)
	go in.named("compare with other upstreams", func() { others <- in.newerElsewhere(ctx, h) })()
	tip, found, err := in.tip(ctx, h)
	other := <-others
	if err != nil || ctx.Err() != nil || in.received.Load() > before {
		return nil
	}
	cursor := in.cfg.Store.Cursor(h.URL)
	sameUnit := (tip.Pos < db.MinTimeCursor) == (cursor < db.MinTimeCursor)
	switch {
	case found && sameUnit && tip.Pos < cursor:
		// The server has lost the events up to our cursor, and would never send us anything.
		return fmt.Errorf("%w: %d below %d", errBehind, tip.Pos, cursor)
	case found && !in.liveness.filtered.Load():
		return in.awaitTip(ctx, before)
	case !found && other != nil:
		return fmt.Errorf("%w: it has no events, but %s may have some", errSilent, other.URL)
	}
	in.setConnected(h) // the upstream has nothing to send
	return nil
}

// awaitTip waits for an event that another connection has received: a working stream delivers it too.
func (in *Ingest) awaitTip(ctx context.Context, before uint64) error {
	for range 4 {
		if !upstream.Sleep(ctx, in.cfg.Silence/8) || in.received.Load() > before {
			return nil
		}
	}
	return fmt.Errorf("%w: it sends events to other clients", errSilent)
}

// newerElsewhere returns a host that may have events while h has none: a host that sends events, or that wasn't asked
// since the index advanced. It returns nil if there is none.
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
