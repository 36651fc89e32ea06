package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"weft.dev/weft/db"
)

var (
	errSilent   = errors.New("silent")
	errHole     = errors.New("hole")
	errHome     = errors.New("a preferred upstream is well again")
	errBehind   = errors.New("its tip lies below our cursor")
	errInstance = errors.New("it counts anew: it has another event where we were")
	errClamped  = errors.New("it begins behind the cursor")
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
		if wait > 0 && !sleep(ctx, wait) {
			break
		}
		if h != nil && next != h {
			in.metrics.switches.Inc()
			in.cfg.Logger.Warn("moving to another upstream", "from", h.url, "to", next.url, "why", h.why)
		}
		h = next
		before := in.received.Load()
		err := in.session(ctx, h)
		if ctx.Err() != nil {
			break
		}
		in.state.Store(&State{Host: h.url, Kind: h.kind, Detail: err.Error()})
		in.metrics.sessions.WithLabelValues(reason(err)).Inc()
		in.ended(h, err, in.cfg.Now(), in.received.Load() > before)
		in.cfg.Logger.Warn("upstream session ended", "host", h.url, "err", err, "seq", h.last, "retry_in", max(h.retry.Sub(in.cfg.Now()), 0),
			"do", "nothing if it comes back by itself; else see that the host answers, or give a second one with --jetstream")
		// What was received is committed before the next session asks where to go on.
		if err := in.queue.drained(ctx); err != nil {
			break
		}
		if err := in.afterwards(ctx, h, err); err != nil {
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
var endings = map[error]string{errSilent: "silent", errHole: "hole", errHome: "home", errInstance: "instance", errClamped: "clamped"}

// endedOtherwise is the reason of a session that ended for none of endings: the connection broke.
const endedOtherwise = "ended"

// afterwards looks into why a session ended. Its error is the store's.
func (in *Ingest) afterwards(ctx context.Context, h *host, err error) error {
	cursor := in.cfg.Store.Cursor(h.url)
	switch {
	case errors.Is(err, errInstance):
		in.metrics.lost.Inc()
		in.cfg.Logger.Error("the upstream counts anew; taking it up by time", "host", h.url, "cursor_seq", cursor)
	case errors.Is(err, errSilent) && cursor > 0:
		// A server whose tip lies below our cursor has lost what was beyond, and would never send us anything.
		tip, err := in.tip(ctx, h.url)
		if err != nil || tip.pos >= cursor || ctx.Err() != nil {
			return nil
		}
		in.metrics.lost.Inc()
		in.cfg.Logger.Error("the upstream has lost events: its tip lies below our cursor; taking it up by time", "host", h.url,
			"tip_seq", tip.pos, "cursor_seq", cursor)
	default:
		return nil
	}
	h.last, h.high = 0, 0
	return in.cfg.Store.ResetCursor(h.url, 0)
}

// place is where a session begins.
type place struct {
	how     string
	archive bool   // behind after, before the live stream
	after   uint64 //
	cursor  uint64 // of the live stream; 0: its tip
	known   uint64 // the host's last event that is in the index; 0: none
	knownUS int64  // its time; 0: not known
	newest  int64  // by time: all that was before is in the index; 0: not by time
	raised  bool   // the server has said that it begins later than it was asked to
	useless bool   // the archive has nothing of what lies between
	lossy   bool   // there is no way to it: the stream begins where it can
}

// where says where a session with a host begins.
func (in *Ingest) where(ctx context.Context, h *host) (p place, err error) {
	seq, us, newest := in.cfg.Store.Cursor(h.url), in.cfg.Store.CursorTime(h.url), in.cfg.Store.NewestTime()
	switch {
	case seq == 0 && newest == 0:
		return in.begin(ctx, h)
	case seq == 0 || us > 0 && us < newest-overlap.Microseconds() && !in.cfg.Store.Resyncing(h.url):
		return place{how: "by time", cursor: uint64(max(newest-overlap.Microseconds(), seqLimit)), newest: newest}, nil
	}
	p = place{how: "live", known: seq, knownUS: us}
	if seq >= seqLimit {
		p.cursor = seq - min(seq, uint64(rewindV1.Microseconds())*h.rewind/in.cfg.Rewind)
		return p, nil
	}
	p.cursor = seq - min(seq, h.rewind)
	// The live stream reaches back a day or more, which spares the archive whole segments for a short rewind. It takes 0
	// for the tip, so that a rewind to the start is left to the archive too.
	if h.kind == kindV2 && p.cursor == 0 {
		p.archive = true
	}
	p.cursor = max(p.cursor, 1)
	return p, nil
}

// begin says where a new index begins.
func (in *Ingest) begin(ctx context.Context, h *host) (p place, err error) {
	from := in.cfg.From
	if h.kind == kindV1 {
		if from.Seq > 0 {
			return p, errors.New("--from names a sequence number, and it has none: it speaks v1")
		}
		if p.how = "live from the tip"; from.Start || from.US > 0 {
			p.how, p.cursor = "from as far back as it goes", uint64(max(from.US, 1))
		}
		return p, nil
	}
	after, isLive, err := from.resolve(ctx, in.archiveOf(h))
	if isLive {
		return place{how: "live from the tip"}, err
	}
	return place{archive: true, after: after}, err
}

// session follows a host until something is wrong with it.
func (in *Ingest) session(ctx context.Context, h *host) error {
	kind, dict, err := probe(ctx, h.url)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	in.hostsMu.Lock()
	h.kind = kind
	in.hostsMu.Unlock()
	p, err := in.where(ctx, h)
	if err != nil {
		return err
	}
	h.gap, h.begun = "", h.high
	in.queue.follow(h.url, kind)
	var beside sync.WaitGroup
	defer beside.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	in.seenAt.Store(in.cfg.Now().UnixMicro())
	beside.Go(in.named("watch", func() { in.watch(ctx, cancel) }))
	if h != in.hosts[0] {
		beside.Go(in.named("go home", func() { in.goHome(ctx, h, cancel) }))
	}
	for {
		if p.archive {
			if err := in.replay(ctx, h, &p); err != nil {
				return cause(ctx, err)
			}
		}
		err := in.follow(ctx, h, dict, &p)
		switch {
		case p.lossy || !errors.Is(err, errTooOld) && !errors.Is(err, errClamped):
			return cause(ctx, err)
		case kind == kindV2 && !p.useless:
			if p.archive, p.after = true, p.known; p.newest > 0 && p.known == 0 {
				if p.after, err = in.archiveOf(h).seqBefore(ctx, p.newest-overlap.Microseconds()); err != nil {
					return cause(ctx, err)
				}
			}
		default: // there is no archive, or its end lies before the live stream's begin
			p.lossy, p.cursor = true, seqLimit
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
	l, err := dialLive(ctx, h.url, h.kind, dict, p.cursor, in.cfg.Slice)
	var said *streamError
	if errors.As(err, &said) && said.name == "UnknownZstdDictionary" {
		l, err = dialLive(ctx, h.url, h.kind, nil, p.cursor, in.cfg.Slice)
	}
	if err != nil {
		return err
	}
	defer l.close()
	in.cfg.Logger.Info("following upstream", "host", h.url, "kind", h.kind, "after_seq", p.after, "cursor", p.cursor, "how", p.how)
	if !in.state.Load().Connected {
		in.state.Store(&State{Host: h.url, Kind: h.kind, Detail: "waiting for its first event"})
	}
	first := true
	p.raised = false
	for {
		var e event
		err := l.next(ctx, &e)
		switch {
		case errors.Is(err, errOutdated):
			p.raised = true
			continue
		case errors.Is(err, errSkip):
			in.metrics.unknown.Inc()
			continue
		case errors.Is(err, errNoEvent):
			if err := in.hole(h, err); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		if first {
			if err := in.begins(h, &e, p); err != nil {
				return err
			}
			first = false
			in.state.Store(&State{Connected: true, Host: h.url, Kind: h.kind, Detail: "since " + in.cfg.Now().UTC().Format(time.RFC3339)})
		}
		if h.gap != "" {
			if e.pos > h.last+1 {
				if err := in.missed(h, h.last+1, e.pos-1, h.lastUS, e.timeUS, h.gap); err != nil {
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

// begins holds the first event against where the stream was to begin. What lies between is in nobody's hands: a v2
// server refuses a number that it no longer has, a time and a v1 cursor are raised without a word.
func (in *Ingest) begins(h *host, e *event, p *place) error {
	switch {
	case h.kind == kindV2 && !in.cfg.Slice.whole() && !p.raised && !p.lossy:
		// Of a slice the next event may be far away. A v2 server says when it raises a time.
	case p.newest > 0 && p.known == 0 && e.timeUS > p.newest+clampSlack.Microseconds():
		if !p.lossy {
			return errClamped
		}
		return in.missed(h, uint64(p.newest+1), uint64(e.timeUS-1), p.newest, e.timeUS, "another upstream was left there, and this one begins later")
	case p.known > 0 && e.pos > p.known+1 && (p.known < seqLimit) == (e.pos < seqLimit):
		if !p.lossy {
			return errClamped
		}
		return in.missed(h, p.known+1, e.pos-1, p.knownUS, e.timeUS, "the upstream no longer has it")
	}
	return nil
}

// clampSlack is how much later another server may have seen an event.
const clampSlack = 10 * time.Second

// missed writes a gap down.
func (in *Ingest) missed(h *host, from, to uint64, fromUS, toUS int64, why string) error {
	in.cfg.Logger.Error("events are missing: written down as a gap", "host", h.url, "from", from, "to", to, "why", why,
		"do", "nothing where an upstream has an archive: weft fills the gap from it; weft gaps lists it")
	in.metrics.gaps.Inc()
	return in.cfg.Store.AddGap(db.Gap{Host: h.url, From: from, To: to, FromUS: fromUS, ToUS: toUS, Why: why})
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
	in.cfg.Logger.Error("passing over a hole in the upstream", "host", h.url, "after_seq", h.last, "tries", h.tries, "err", err)
	return nil
}

// take puts an event into a batch. Its error ends the session: the host counts anew.
func (in *Ingest) take(b *batch, h *host, e *event, p *place) error {
	if e.pos == p.known && p.knownUS > 0 && absent(e.timeUS-p.knownUS) {
		return errInstance
	}
	in.seen(h, e.pos, e.timeUS, 1)
	if e.pos > math.MaxInt64 {
		in.metrics.malformed.Inc()
		in.log.warn("malformed", "position out of range", "seq", e.pos, "did", e.did)
		return nil
	}
	if e.timeUS < in.cfg.From.US {
		return nil // before the time that the index is to begin at
	}
	in.put(b, e, in.extract)
	return nil
}

// put gives an event to a batch. An extractor has one caller at a time.
func (in *Ingest) put(b *batch, e *event, x *extractor) {
	if err := b.add(e, x.Extractor, in.cfg.Slice); err != nil {
		in.metrics.malformed.Inc()
		in.log.warn("malformed", "unreadable record", "seq", e.pos, "did", e.did, "err", err)
	}
	in.metrics.extracted(x)
}

// absent says that two times aren't those of one event: servers write them with six digits, and some with three.
func absent(us int64) bool { return us >= 1000 || us <= -1000 }

// seen notes the newest event received, and how many came with it.
func (in *Ingest) seen(h *host, pos uint64, timeUS int64, events int) {
	h.last, h.lastUS, h.high = pos, timeUS, max(h.high, pos)
	in.received.Add(uint64(events))
	in.seenSeq.Store(pos)
	in.seenUS.Store(timeUS)
	in.seenAt.Store(in.cfg.Now().UnixMicro())
}

// watch ends a session whose upstream is silent.
func (in *Ingest) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	ticker := time.NewTicker(in.cfg.Silence / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if in.queue.isFull() {
			in.seenAt.Store(in.cfg.Now().UnixMicro()) // it is the upstream that waits, for us
		}
		idle := in.cfg.Now().Sub(time.UnixMicro(in.seenAt.Load()))
		if idle < in.cfg.Silence {
			continue
		}
		cancel(fmt.Errorf("%w for %s", errSilent, idle.Round(time.Millisecond)))
		return
	}
}
