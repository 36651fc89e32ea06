package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

// Reasons for the end of a session, beside a broken connection.
var (
	errSilent     = errors.New("silent")
	errUnreadable = errors.New("unreadable events")
	errFailback   = errors.New("a preferred upstream is healthy again")
	errBehind     = errors.New("its newest event is older than the cursor")
	errReset      = errors.New("its sequence was reset: it has a different event at the cursor")
	errClamped    = errors.New("its oldest event is newer than the cursor")
	errStopgap    = errors.New("it speaks v2; its v1 stream would lack resyncs")
)

// endings are values of the label reason of weft_ingest_sessions_ended_total.
var endings = map[error]string{
	errSilent:     "silent",
	errUnreadable: "hole",
	errFailback:   "home",
	errBehind:     "behind",
	errStopgap:    "stopgap",
	errReset:      "instance",
	errClamped:    "clamped",
}

// endedOtherwise is the reason of a session whose connection broke.
const endedOtherwise = "ended"

func reason(err error) string {
	for e, name := range endings {
		if errors.Is(err, e) {
			return name
		}
	}
	return endedOtherwise
}

// runSessions runs one session after another until ctx ends. It returns an error if the store fails.
func (in *Ingest) runSessions(ctx context.Context) error {
	var h *host
	for ctx.Err() == nil {
		next := in.pickHost(ctx, h)
		if next == nil {
			break
		}
		h = next
		before := in.received.Load()
		err := in.session(ctx, h)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, db.ErrFailed) {
			return err
		}
		in.sessionEnded(h, err, in.received.Load() > before)
		// All received events must be committed before the next session reads the cursor.
		if in.queue.drained(ctx) != nil {
			break
		}
		err = in.diagnose(h, err)
		if err != nil {
			return err
		}
	}
	if h != nil {
		err := in.noteFollowed(h)
		if err != nil {
			return err
		}
	}
	in.state.Store(&State{Name: wire.UpstreamStopped, Host: in.Host()})
	return ctx.Err()
}

// pickHost waits until a session is due, and returns its host; nil if ctx ends first. current is the host of the last
// session.
func (in *Ingest) pickHost(ctx context.Context, current *host) *host {
	var last *upstream.Host
	if current != nil {
		last = current.Host
	}
	up, wait := in.upstreams.Pick(last, in.cfg.Now())
	if wait > 0 && !upstream.Sleep(ctx, wait) {
		return nil
	}
	if last != nil && up != last {
		why, _ := last.Failure()
		in.metrics.switches.Inc()
		in.cfg.Logger.Warn("failing over to another upstream", "from", last.URL, "to", up.URL, "waited", wait, "why", why)
	}
	return in.hostOf(up)
}

// sessionEnded notes and logs why a session ended. received reports whether it brought events.
func (in *Ingest) sessionEnded(h *host, err error, received bool) {
	now := in.cfg.Now()
	in.setDisconnected(h, err)
	in.metrics.sessions.WithLabelValues(reason(err)).Inc()
	h.adjustRewind(in.cfg.Rewind)
	if errors.Is(err, errFailback) {
		h.SetHealthy()
	} else {
		h.SessionEnded(err, now, received, errors.Is(err, errSilent) || errors.Is(err, errBehind))
	}
	_, retry := h.Failure()
	in.cfg.Logger.Warn("upstream session ended", "host", h.URL, "err", err, "seq", h.last,
		"retry_in", max(retry.Sub(now), 0),
		"do", "nothing if it reconnects; else check that the host answers, or add a second one with --jetstream")
}

// diagnose prepares the next session according to why the last one ended. It returns an error if the store fails.
func (in *Ingest) diagnose(h *host, err error) error {
	if errors.Is(err, errSilent) || errors.Is(err, errFailback) {
		h.askedUS.Store(in.cfg.Store.ReachedTime())
	}
	switch {
	case errors.Is(err, errReset):
		in.cfg.Logger.Error("upstream sequence was reset; resuming by timestamp",
			"host", h.URL, "cursor_seq", in.cfg.Store.Cursor(h.URL))
	case errors.Is(err, errBehind):
		in.cfg.Logger.Error("upstream has lost events: its newest event is older than the cursor; resuming by timestamp",
			"host", h.URL, "err", err)
	default:
		return in.noteFollowed(h)
	}
	in.metrics.lost.Inc()
	h.last = 0
	h.high = 0
	return in.cfg.Store.ResetCursor(h.URL, 0)
}

// session follows a host until it fails.
func (in *Ingest) session(ctx context.Context, h *host) error {
	in.setConnecting(h)
	in.liveness.followedUS.Store(0) // of the last session, perhaps with another host
	speaks, err := in.probe(ctx, h)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	h.SetKind(speaks.Kind)
	p, err := in.startPoint(ctx, h)
	if err != nil {
		return err
	}
	h.beginSession(speaks.Stopgap)
	in.queue.follow(h.URL, speaks.Kind)
	var beside sync.WaitGroup
	defer beside.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	in.liveness.reset(in.cfg.Now(), in.cfg.Store.Followed(h.URL), in.cfg.Store.Cursor(h.URL) > 0, in.cfg.Slice.filters())
	beside.Go(in.named("watch", func() { in.watch(ctx, h, cancel) }))
	if h != in.hosts[0] {
		beside.Go(in.named("failback", func() { in.failback(ctx, h, cancel) }))
	}
	err = in.read(ctx, h, speaks, &p)
	cause := context.Cause(ctx)
	if cause != nil {
		return cause
	}
	return err
}

// read reads the archive if the session starts there, and then the live stream. Where the live stream doesn't reach
// back to the start point, it reads the archive first, or accepts a gap.
func (in *Ingest) read(ctx context.Context, h *host, speaks upstream.Protocol, p *startPoint) error {
	for {
		if p.inArchive {
			err := in.backfill(ctx, h, p)
			if err != nil {
				return err
			}
		}
		err := in.follow(ctx, h, speaks.Dictionary, p)
		isTooOld := errors.Is(err, upstream.ErrTooOld) || errors.Is(err, errClamped)
		if p.acceptGap || !isTooOld {
			return err
		}
		if speaks.Kind != upstream.KindV2 || p.archiveUseless {
			p.acceptGap = true
			p.cursor = db.MinTimeCursor
			continue
		}
		err = in.startInArchive(ctx, h, p)
		if err != nil {
			return err
		}
	}
}

// startInArchive moves a start point that the live stream doesn't reach into the archive.
func (in *Ingest) startInArchive(ctx context.Context, h *host, p *startPoint) error {
	p.inArchive = true
	p.after = p.committed
	if p.reachedUS == 0 || p.committed > 0 {
		return nil
	}
	after, err := in.archiveOf(h).SeqBefore(ctx, p.reachedUS-overlap.Microseconds())
	p.after = after
	return err
}

// recordGap records missing events in the store.
func (in *Ingest) recordGap(h *host, from, to uint64, fromUS, toUS int64, why string) error {
	in.cfg.Logger.Error("events are missing; recorded a gap", "host", h.URL, "from", from, "to", to, "why", why,
		"do", "nothing if an upstream has an archive: weft fills the gap from it; weft gaps lists it")
	in.metrics.gaps.Inc()
	return in.cfg.Store.AddGap(db.Gap{Host: h.URL, From: from, To: to, FromUS: fromUS, ToUS: toUS, Why: why})
}

// unreadable handles an event that can't be read. It returns nil to skip it, after maxTries sessions that ended there,
// or the error that ends the session.
func (in *Ingest) unreadable(h *host, err error) error {
	in.metrics.unreadable.Inc()
	if h.unreadableAt != h.last {
		h.unreadableAt = h.last
		h.tries = 0
	}
	h.tries++
	if h.tries < maxTries {
		return fmt.Errorf("%w after %d: %w", errUnreadable, h.last, err)
	}
	h.gap = err.Error()
	in.cfg.Logger.Error("skipping unreadable events of the upstream",
		"host", h.URL, "after_seq", h.last, "tries", h.tries, "err", err)
	return nil
}

// advance notes the newest event received. events is the number of events received with it, including it.
func (in *Ingest) advance(h *host, pos uint64, timeUS int64, events int) {
	now := in.cfg.Now()
	in.liveness.eventCame(timeUS, now)
	h.last = pos
	h.lastUS = min(timeUS, now.UnixMicro())
	h.high = max(h.high, pos)
	in.received.Add(uint64(events))
	in.seenSeq.Store(pos)
	in.seenUS.Store(h.lastUS)
}
