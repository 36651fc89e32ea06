package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/bluesky-social/jetstream"

	"weft.dev/weft/db"
)

var (
	errUnknownOperation = errors.New("unknown operation")
	errSilent           = errors.New("silent")
	errHole             = errors.New("hole")
	errEnded            = errors.New("the stream ended")
)

const (
	// holeTries is how often the stream is taken up again at a place where the server can't give what comes next. The
	// official client goes on past it, so that the error is all that tells of what was lost; after so many tries it is
	// written down as a gap.
	holeTries = 3

	// A server that restarts is back within seconds, so the first waits are short; one that is down for long must not
	// be hammered.
	backoffMin = 250 * time.Millisecond
	backoffMax = 30 * time.Second
)

// follow is what following carries from one session to the next; only followUpstream and what it calls touch it.
type follow struct {
	archive bool   // the live stream no longer reaches back to the cursor: replay the archive
	last    uint64 // the newest sequence number received
	holeAt  uint64 // the last one before a hole
	tries   int    // sessions that ended there
	gap     string // why a hole is being passed over; its end is the next event
}

// followUpstream runs one session after another.
func (in *Ingest) followUpstream(ctx context.Context) error {
	wait := backoffMin
	for ctx.Err() == nil {
		before := in.follow.last
		err := in.session(ctx)
		if ctx.Err() != nil {
			break
		}
		in.state.Store(&State{Detail: err.Error()})
		in.metrics.sessions.WithLabelValues(reason(err)).Inc()
		if in.follow.last > before {
			wait = backoffMin
			in.follow.archive = false // the live stream may reach back to here
		}
		// Jitter keeps the clients of a server that comes back from coming all at once.
		pause := wait/2 + rand.N(wait/2)
		in.cfg.Logger.Warn("upstream session ended", "host", in.cfg.Host, "err", err, "seq", in.follow.last, "retry_in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		wait = min(2*wait, backoffMax)
		// What was received is committed before the next session asks where to go on.
		if err := in.queue.drained(ctx); err != nil {
			break
		}
		if errors.Is(err, errSilent) {
			if err := in.lookForTip(ctx); err != nil {
				return err
			}
		}
	}
	in.state.Store(&State{Detail: "stopped"})
	return ctx.Err()
}

func reason(err error) string {
	switch {
	case errors.Is(err, errSilent):
		return "silent"
	case errors.Is(err, errHole):
		return "hole"
	case errors.Is(err, jetstream.ErrFatal):
		return "fatal"
	}
	return "ended"
}

// session follows the upstream over one client until something is wrong with it.
func (in *Ingest) session(ctx context.Context) error {
	opts, after, how, err := in.start(ctx)
	if err != nil {
		return err
	}
	client, err := jetstream.Subscribe(in.cfg.Host, opts...)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	defer client.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	in.cfg.Logger.Info("following upstream", "host", in.cfg.Host, "after_seq", after, "how", how)
	in.state.Store(&State{Detail: "waiting for its first event"})
	in.seenAt.Store(in.cfg.Now().UnixMicro())
	go in.watch(ctx, cancel)

	for b, err := range client.Events(ctx) {
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			if err = in.clientError(err); err != nil {
				return err
			}
			continue
		}
		if err := in.receive(ctx, b.Events()); err != nil && ctx.Err() == nil {
			return err
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return errEnded
}

// start says where the next session begins.
func (in *Ingest) start(ctx context.Context) (opts []jetstream.Option, after uint64, how string, err error) {
	opts = []jetstream.Option{
		jetstream.WithRawRecords(),
		jetstream.WithBatchSize(in.cfg.BatchEvents),
		jetstream.WithLogger(in.cfg.Logger.With("component", "jetstream")),
	}
	if in.cfg.Key != "" {
		opts = append(opts, jetstream.WithAPIKey(in.cfg.Key))
	}
	cursor := in.cfg.Store.Cursor(in.cfg.Host)
	if cursor == 0 {
		after, live, err := in.cfg.From.resolve(ctx, in.cfg.Host)
		if err != nil {
			return nil, 0, "", err
		}
		if live {
			return opts, 0, "live from the tip", nil
		}
		return append(opts, jetstream.WithAfterSeq(after)), after, "archive", nil
	}
	after = cursor - min(cursor, in.cfg.Rewind)
	// The live stream reaches back a day or more, which spares the archive whole segments for a short rewind. It takes 0
	// for the tip, so that a rewind to the start is left to the archive too.
	if in.follow.archive || after == 0 {
		return append(opts, jetstream.WithAfterSeq(after)), after, "archive", nil
	}
	return append(opts, jetstream.WithLiveCursor(after)), after, "live", nil
}

// clientError decides about an error of the client: nil to go on, or why the session ends.
func (in *Ingest) clientError(err error) error {
	f := &in.follow
	switch {
	case errors.Is(err, jetstream.ErrFatal):
		if strings.Contains(err.Error(), "cursor too old") {
			f.archive = true
		}
		return err
	case strings.Contains(err.Error(), "live tail reconnecting"):
		// The one harmless error: the client goes on where it was.
		in.metrics.reconnects.Inc()
		in.state.Store(&State{Detail: err.Error()})
		in.log.warn("reconnect", "upstream connection lost", "host", in.cfg.Host, "err", err)
		return nil
	}
	in.metrics.holes.Inc()
	if f.holeAt != f.last {
		f.holeAt, f.tries = f.last, 0
	}
	if f.tries++; f.tries < holeTries {
		return fmt.Errorf("%w after seq %d: %w", errHole, f.last, err)
	}
	f.gap = err.Error()
	in.cfg.Logger.Error("passing over a hole in the upstream", "host", in.cfg.Host, "after_seq", f.last, "tries", f.tries, "err", err)
	return nil
}

// receive takes a batch of the client over.
func (in *Ingest) receive(ctx context.Context, events []jetstream.Event) error {
	if len(events) == 0 {
		return nil
	}
	f := &in.follow
	if !in.state.Load().Connected {
		in.state.Store(&State{Connected: true, Detail: "since " + in.cfg.Now().UTC().Format(time.RFC3339)})
	}
	if f.gap != "" {
		if first := events[0].Seq; first > f.last+1 {
			if err := in.cfg.Store.AddGap(db.Gap{Host: in.cfg.Host, From: f.last + 1, To: first - 1, Why: f.gap}); err != nil {
				return err
			}
		}
		f.gap = ""
	}
	for len(events) > 0 {
		n := in.portion(events)
		if err := in.queue.add(ctx, func(b *batch) {
			for i := range events[:n] {
				in.take(b, &events[i])
			}
			in.metrics.extracted(in.extract.Dropped())
		}); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

// portion is how many of these events go into the queue at once: a batch at most, by number and by size.
func (in *Ingest) portion(events []jetstream.Event) int {
	most := min(len(events), in.cfg.BatchEvents)
	if !in.cfg.Bodies {
		return most
	}
	for n, size := 0, 0; n < most; n++ {
		if c := events[n].Commit; c != nil {
			size += len(c.RecordCBOR)
		}
		if size >= batchBytes {
			return n + 1
		}
	}
	return most
}

// take puts an event into a batch.
func (in *Ingest) take(b *batch, e *jetstream.Event) {
	in.follow.last = e.Seq
	in.seen.Store(e.Seq)
	in.seenUS.Store(e.TimeUS)
	in.seenAt.Store(in.cfg.Now().UnixMicro())
	if e.Seq > math.MaxInt64 {
		in.metrics.malformed.Inc()
		in.log.warn("malformed", "sequence number out of range", "seq", e.Seq, "did", e.DID)
		return
	}
	if e.TimeUS < in.cfg.From.US {
		return // before the time that the index is to begin at
	}
	if err := b.add(e, in.extract); err != nil {
		in.metrics.malformed.Inc()
		in.log.warn("malformed", "unreadable record", "seq", e.Seq, "did", e.DID, "err", err)
	}
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

// lookForTip asks a silent upstream where its tip is. A server whose tip lies below our cursor has lost what was
// beyond, and would never send us anything: it is taken up again where it is. An error is the store's.
func (in *Ingest) lookForTip(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, in.cfg.Silence)
	defer cancel()
	client, err := jetstream.Subscribe(in.cfg.Host, jetstream.WithRawRecords(), jetstream.WithBatchSize(1),
		jetstream.WithZstdCompression(false))
	if err != nil {
		return nil // the next session meets the same error, and reports it
	}
	defer client.Close()
	for b, err := range client.Events(ctx) {
		if err != nil {
			continue
		}
		tip, cursor := b.LastCursor(), in.cfg.Store.Cursor(in.cfg.Host)
		if tip >= cursor {
			return nil
		}
		// Not 0, which would begin at the tip; what lies before is not lost to us.
		resume := max(tip-min(tip, in.cfg.Rewind), 1)
		in.cfg.Logger.Error("the upstream has lost events: its tip lies below our cursor; going on from its tip",
			"host", in.cfg.Host, "tip_seq", tip, "cursor_seq", cursor, "resume_seq", resume)
		in.metrics.lost.Inc()
		return in.cfg.Store.ResetCursor(in.cfg.Host, resume)
	}
	return nil
}
