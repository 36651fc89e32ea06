package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

var (
	errSilent   = errors.New("silent")
	errHole     = errors.New("hole")
	errHome     = errors.New("a preferred upstream is healthy again")
	errBehind   = errors.New("its newest event is older than the cursor")
	errInstance = errors.New("its sequence was reset: it has a different event at the cursor")
	errClamped  = errors.New("its oldest event is newer than the cursor")
	errStopgap  = errors.New("it speaks v2; its v1 stream would lack resyncs")
)

// holeTries is how often the stream is taken up again at a place where the server can't give what comes next; then the
// place is passed over, and written down as a gap.
const holeTries = 3

// rewindV1 is how far to go back where positions are times: a server that starts again may give some seconds anew.
const rewindV1 = 10 * time.Second

// followUpstream runs one session after another.
func (in *Ingest) followUpstream(ctx context.Context) error {
	var h *host
	for ctx.Err() == nil {
		next, wait := in.best(in.cfg.Now(), h)
		if wait > 0 && !upstream.Sleep(ctx, wait) {
			break
		}
		if h != nil && next != h {
			in.metrics.switches.Inc()
			in.cfg.Logger.Warn("failing over to another upstream", "from", h.URL, "to", next.URL, "why", h.why)
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
		in.state.Store(&State{Host: h.URL, Kind: h.kind, Detail: err.Error()})
		in.metrics.sessions.WithLabelValues(reason(err)).Inc()
		in.ended(h, err, in.cfg.Now(), in.received.Load() > before)
		in.cfg.Logger.Warn("upstream session ended", "host", h.URL, "err", err, "seq", h.last, "retry_in", max(h.retry.Sub(in.cfg.Now()), 0),
			"do", "nothing if it reconnects; else check that the host answers, or add a second one with --jetstream")
		// What was received is committed before the next session asks where to go on.
		if err := in.queue.drained(ctx); err != nil {
			break
		}
		if errors.Is(err, errSilent) || errors.Is(err, errHome) {
			h.askedUS.Store(in.cfg.Store.ReachedTime())
		}
		if err := in.afterwards(h, err); err != nil {
			return err
		}
	}
	if h != nil {
		if err := in.noteFollowed(h); err != nil {
			return err
		}
	}
	in.state.Store(&State{Host: in.Host(), Detail: "stopped"})
	return ctx.Err()
}

func reason(err error) string {
	for e, name := range endings {
		if errors.Is(err, e) {
			return name
		}
	}
	return endedOtherwise
}

// endings are the reasons of sessions that end, for metrics.
var endings = map[error]string{errSilent: "silent", errHole: "hole", errHome: "home", errBehind: "behind", errStopgap: "stopgap",
	errInstance: "instance", errClamped: "clamped"}

// endedOtherwise is the reason of a session that ended for none of endings: the connection broke.
const endedOtherwise = "ended"

// afterwards does what a session's end asks for. Its error is the store's.
func (in *Ingest) afterwards(h *host, err error) error {
	cursor := in.cfg.Store.Cursor(h.URL)
	switch {
	case errors.Is(err, errInstance):
		in.cfg.Logger.Error("upstream sequence was reset; resuming by timestamp", "host", h.URL, "cursor_seq", cursor)
	case errors.Is(err, errBehind):
		in.cfg.Logger.Error("upstream has lost events: its newest event is older than the cursor; resuming by timestamp", "host", h.URL, "err", err)
	default:
		return in.noteFollowed(h)
	}
	in.metrics.lost.Inc()
	h.last, h.high = 0, 0
	return in.cfg.Store.ResetCursor(h.URL, 0)
}

// session follows a host until something is wrong with it.
func (in *Ingest) session(ctx context.Context, h *host) error {
	in.liveness.wholeUS.Store(0) // it is of the session before, perhaps with another host, and this one may not begin
	speaks, err := in.probe(ctx, h)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	kind := speaks.Kind
	in.hostsMu.Lock()
	h.kind = kind
	in.hostsMu.Unlock()
	p, err := in.where(ctx, h)
	if err != nil {
		return err
	}
	h.gap, h.begun, h.stopgap = "", h.high, speaks.Stopgap
	in.queue.follow(h.URL, kind)
	var beside sync.WaitGroup
	defer beside.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	in.liveness.reset(in.cfg.Now(), in.cfg.Store.Followed(h.URL), in.cfg.Store.Cursor(h.URL) > 0, in.cfg.Slice.filters())
	beside.Go(in.named("watch", func() { in.watch(ctx, h, cancel) }))
	if h != in.hosts[0] {
		beside.Go(in.named("go home", func() { in.goHome(ctx, h, cancel) }))
	}
	for {
		if p.archive {
			if err := in.replay(ctx, h, &p); err != nil {
				return cause(ctx, err)
			}
		}
		err := in.follow(ctx, h, speaks.Dictionary, &p)
		switch {
		case p.lossy || !errors.Is(err, upstream.ErrTooOld) && !errors.Is(err, errClamped):
			return cause(ctx, err)
		case kind == upstream.KindV2 && !p.useless:
			if p.archive, p.after = true, p.known; p.newest > 0 && p.known == 0 {
				if p.after, err = in.archiveOf(h).SeqBefore(ctx, p.newest-overlap.Microseconds()); err != nil {
					return cause(ctx, err)
				}
			}
		default: // there is no archive, or its end lies before the live stream's begin
			p.lossy, p.cursor = true, upstream.MinTimeCursor
		}
	}
}

// cause is why a context ended, if it has.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// follow reads the live stream.
func (in *Ingest) follow(ctx context.Context, h *host, dict []byte, p *place) error {
	dialed := in.cfg.Now()
	l, err := upstream.Dial(ctx, h.Endpoint, h.kind, dict, p.cursor, in.cfg.Slice.filter())
	var said *upstream.StreamError
	if errors.As(err, &said) && said.Name == "UnknownZstdDictionary" {
		l, err = upstream.Dial(ctx, h.Endpoint, h.kind, nil, p.cursor, in.cfg.Slice.filter())
	}
	if err != nil {
		return err
	}
	defer l.Close()
	in.cfg.Logger.Info("following upstream", "host", h.URL, "kind", h.kind, "after_seq", p.after, "cursor", p.cursor, "how", p.how)
	if err := in.noteBeginning(h, p, dialed); err != nil {
		return err
	}
	if err := in.checkStart(ctx, h, p); err != nil {
		return err
	}
	in.liveness.alive(in.cfg.Now())
	in.liveness.checked.Store(p.checked)
	in.liveness.conn.Store(l)
	defer in.liveness.conn.Store(nil)
	if !in.state.Load().Connected {
		in.state.Store(&State{Host: h.URL, Kind: h.kind, Detail: "waiting for its first event"})
	}
	if in.liveness.filtered.Load() {
		in.setConnected(h) // its first event may be hours away
	}
	first := true
	for {
		var e upstream.Event
		err := l.Next(ctx, &e)
		switch {
		case errors.Is(err, upstream.ErrSkip):
			in.metrics.unknown.Inc()
			continue
		case errors.Is(err, upstream.ErrNoEvent):
			if err := in.hole(h, err); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		if first {
			if h.stopgap != nil && e.Pos < upstream.MinTimeCursor {
				in.hostsMu.Lock()
				h.kind = upstream.KindV2
				in.hostsMu.Unlock()
				return fmt.Errorf("%w: %w", errStopgap, h.stopgap)
			}
			if err := in.checkFirst(ctx, h, &e, p); err != nil {
				return err
			}
			first = false
			in.liveness.checked.Store(true)
			in.setConnected(h)
		}
		if h.gap != "" {
			if e.Pos > h.last+1 {
				if err := in.missed(h, h.last+1, e.Pos-1, h.lastUS, e.TimeUS, h.gap); err != nil {
					return err
				}
			}
			h.gap = ""
		}
		if err := in.queue.add(ctx, func(b *batch) { err = in.take(b, h, &e, p) }); err != nil {
			return err
		}
		if err != nil {
			return err
		}
	}
}

// missed writes a gap down.
func (in *Ingest) missed(h *host, from, to uint64, fromUS, toUS int64, why string) error {
	in.cfg.Logger.Error("events are missing; recorded a gap", "host", h.URL, "from", from, "to", to, "why", why,
		"do", "nothing if an upstream has an archive: weft fills the gap from it; weft gaps lists it")
	in.metrics.gaps.Inc()
	return in.cfg.Store.AddGap(db.Gap{Host: h.URL, From: from, To: to, FromUS: fromUS, ToUS: toUS, Why: why})
}

// hole decides about something in the place of an event: nil to go on past it, or why the session ends.
func (in *Ingest) hole(h *host, err error) error {
	in.metrics.holes.Inc()
	if h.holeAt != h.last {
		h.holeAt, h.tries = h.last, 0
	}
	if h.tries++; h.tries < holeTries {
		return fmt.Errorf("%w after %d: %w", errHole, h.last, err)
	}
	h.gap = err.Error()
	in.cfg.Logger.Error("skipping unreadable events of the upstream", "host", h.URL, "after_seq", h.last, "tries", h.tries, "err", err)
	return nil
}

// take puts an event into a batch. Its error ends the session: the host counts anew.
func (in *Ingest) take(b *batch, h *host, e *upstream.Event, p *place) error {
	if e.Pos == p.known && p.knownUS > 0 && absent(e.TimeUS-p.knownUS) {
		return errInstance
	}
	in.seen(h, e.Pos, e.TimeUS, 1)
	if e.Pos > math.MaxInt64 {
		in.metrics.malformed.Inc()
		in.log.warn("malformed", "position out of range", "seq", e.Pos, "did", e.DID)
		return nil
	}
	if e.TimeUS < in.cfg.From.US {
		return nil // before the time that the index is to begin at
	}
	in.put(b, e, in.extract)
	if e.Pos >= upstream.MinTimeCursor { // to go on at a time of the future is to go on at the tip
		b.Seq = min(b.Seq, uint64(in.cfg.Now().UnixMicro()))
	}
	return nil
}

// put gives an event to a batch. An extractor has one caller at a time.
func (in *Ingest) put(b *batch, e *upstream.Event, x *extractor) {
	if err := b.add(e, x.Extractor, in.cfg.Slice); err != nil {
		in.metrics.malformed.Inc()
		in.log.warn("malformed", "unreadable record", "seq", e.Pos, "did", e.DID, "err", err)
	}
	in.metrics.extracted(x)
}

// absent says that two times aren't those of one event: servers write them with six digits, and some with three.
func absent(us int64) bool { return us >= 1000 || us <= -1000 }

// seen notes the newest event received, and how many came with it.
func (in *Ingest) seen(h *host, pos uint64, timeUS int64, events int) {
	now := in.cfg.Now()
	in.liveness.saw(timeUS, now)
	h.last, h.lastUS, h.high = pos, min(timeUS, now.UnixMicro()), max(h.high, pos)
	in.received.Add(uint64(events))
	in.seenSeq.Store(pos)
	in.seenUS.Store(h.lastUS)
}
