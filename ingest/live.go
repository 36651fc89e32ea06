package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

// maxTries is the number of sessions that end at an event that the server can't deliver. After them weft skips the
// event and records a gap.
const maxTries = 3

// follow reads the live stream until it ends.
func (in *Ingest) follow(ctx context.Context, h *host, dict []byte, p *startPoint) error {
	dialed := in.cfg.Now()
	l, err := in.dial(ctx, h, dict, p)
	if err != nil {
		return err
	}
	defer l.Close()
	in.cfg.Logger.Info("following upstream",
		"host", h.URL, "kind", h.Kind(), "after_seq", p.after, "cursor", p.cursor, "how", p.mode)
	err = in.noteStart(h, p, dialed)
	if err != nil {
		return err
	}
	err = in.checkStart(ctx, h, p)
	if err != nil {
		return err
	}
	in.liveness.alive(in.cfg.Now())
	in.liveness.checked.Store(p.checked)
	in.liveness.conn.Store(l)
	defer in.liveness.conn.Store(nil)
	in.setWaiting(h)
	if in.liveness.filtered.Load() {
		in.setConnected(h) // its first event may be hours away
	}
	return in.readLive(ctx, l, h, p)
}

// dial opens the live stream, without the dictionary if the server doesn't know it.
func (in *Ingest) dial(ctx context.Context, h *host, dict []byte, p *startPoint) (*upstream.Live, error) {
	kind := h.Kind()
	filter := in.cfg.Slice.filter()
	l, err := upstream.Dial(ctx, h.Endpoint, kind, dict, p.cursor, filter)
	var refused *upstream.StreamError
	if errors.As(err, &refused) && refused.Name == "UnknownZstdDictionary" {
		return upstream.Dial(ctx, h.Endpoint, kind, nil, p.cursor, filter)
	}
	return l, err
}

// readLive queues the events of a live stream.
func (in *Ingest) readLive(ctx context.Context, l *upstream.Live, h *host, p *startPoint) error {
	isFirst := true
	for {
		var e upstream.Event
		if l.Pauses() {
			in.queue.flush()
		}
		err := l.Next(ctx, &e)
		switch {
		case errors.Is(err, upstream.ErrSkip):
			in.metrics.unknown.Inc()
			continue
		case errors.Is(err, upstream.ErrNoEvent):
			err = in.unreadable(h, err)
			if err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		if isFirst {
			err = in.firstEventCame(ctx, h, &e, p)
			if err != nil {
				return err
			}
			isFirst = false
		}
		err = in.endGap(h, &e)
		if err != nil {
			return err
		}
		var refused error
		err = in.queue.add(ctx, func(b *batch) { refused = in.addEvent(b, h, &e, p) })
		if err != nil {
			return err
		}
		if refused != nil {
			return refused
		}
	}
}

// firstEventCame compares the first event with the start point. A v1 stream with sequence numbers is a v2 server's.
func (in *Ingest) firstEventCame(ctx context.Context, h *host, e *upstream.Event, p *startPoint) error {
	if h.stopgap != nil && e.Pos < db.MinTimeCursor {
		h.SetKind(upstream.KindV2)
		return fmt.Errorf("%w: %w", errStopgap, h.stopgap)
	}
	err := in.checkFirst(ctx, h, e, p)
	if err != nil {
		return err
	}
	in.liveness.checked.Store(true)
	in.setConnected(h)
	return nil
}

// endGap records the gap of skipped events, which ends before e.
func (in *Ingest) endGap(h *host, e *upstream.Event) error {
	if h.gap == "" {
		return nil
	}
	why := h.gap
	if e.Pos > h.last+1 {
		err := in.recordGap(h, h.last+1, e.Pos-1, h.lastUS, e.TimeUS, why)
		if err != nil {
			return err
		}
	}
	h.gap = ""
	return nil
}

// addEvent adds an event to a batch. It returns an error, which ends the session, if the host's sequence was reset.
func (in *Ingest) addEvent(b *batch, h *host, e *upstream.Event, p *startPoint) error {
	if p.isReset(e.Pos, e.TimeUS) {
		return errReset
	}
	in.advance(h, e.Pos, e.TimeUS, 1)
	if e.Pos > math.MaxInt64 {
		in.metrics.malformed.Inc()
		in.log.warn("malformed", "position out of range", "seq", e.Pos, "did", e.DID)
		return nil
	}
	if e.TimeUS < in.cfg.From.US {
		return nil
	}
	in.put(b, e, in.extract)
	if e.Pos >= db.MinTimeCursor { // a server takes a time in the future for its tip
		b.Seq = min(b.Seq, uint64(in.cfg.Now().UnixMicro()))
	}
	return nil
}

// put adds an event to a batch and counts unreadable records. An extractor has one caller at a time.
func (in *Ingest) put(b *batch, e *upstream.Event, x *extractor) {
	err := b.add(e, x.Extractor, in.cfg.Slice)
	if err != nil {
		in.metrics.malformed.Inc()
		in.log.warn("malformed", "unreadable record", "seq", e.Pos, "did", e.DID, "err", err)
	}
	in.metrics.extracted(x)
}
