package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"

	"github.com/bluesky-social/jetstream/segment"

	"weft.dev/weft/ingest/extract"
)

// extractor is an extractor, and what of its counts is in the metrics.
type extractor struct {
	*extract.Extractor
	last extract.Dropped
}

func newExtractor() *extractor { return &extractor{Extractor: extract.New(extract.Limits{})} }

func (in *Ingest) archiveOf(h *host) *archive {
	return &archive{host: h.url, user: h.user, key: in.cfg.Key, slice: in.cfg.Slice, logger: in.cfg.Logger, fetched: func(n int) {
		in.alive()
		in.progress.fetched(n)
	}}
}

// noArchive says that an archive is there for others, or not at all.
func noArchive(err error) bool {
	var refused *retryAfter
	return errors.As(err, &refused) && refused.status < 500 && refused.status != http.StatusTooManyRequests
}

// batches are used again: a replay makes thousands.
var batches = sync.Pool{New: func() any { return new(batch) }}

// replay reads the archive of a host behind a place, and moves the place to its end.
func (in *Ingest) replay(ctx context.Context, h *host, p *place) error {
	in.cfg.Logger.Info("replaying the archive", "host", h.url, "after_seq", p.after)
	before := h.last
	r := &replay{in: in, a: in.archiveOf(h), h: h, p: p}
	in.progress.begin(ctx, r.a, p.after, in.cfg.Now())
	defer in.progress.end()
	workers := make([]*extractor, runtime.GOMAXPROCS(0))
	for i := range workers {
		workers[i] = newExtractor()
	}
	decode := func(ctx context.Context, worker int, b *block) error {
		return in.fill(h, b, p, workers[worker], func(made *batch) error {
			select {
			case b.batches <- made:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}
	through, err := r.a.read(ctx, p.after, 0, decode, func(b *block) error { return r.block(ctx, b) })
	if err := errors.Join(err, r.flush()); err != nil && !(noArchive(err) && (p.known > 0 || p.newest > 0)) {
		return err
	}
	// Behind the archive's end the live stream goes on, without a seam: it begins with the last event again.
	p.useless = h.last == before || through == p.after
	p.archive, p.cursor = false, max(through, p.known, 1)
	if through > p.known {
		p.known, p.knownUS = through, 0
	}
	return nil
}

// replay is a replay of an archive that is under way.
type replay struct {
	in  *Ingest
	a   *archive
	h   *host
	p   *place
	gap *block // blocks that could not be read, as one; nil: none
}

// block takes what was decoded of the next block, or passes over it.
func (r *replay) block(ctx context.Context, b *block) error {
	if err := b.each(ctx, func(made *batch) error { return r.push(ctx, made) }); err != nil {
		return err
	}
	if errors.Is(b.broken, errInstance) {
		return errInstance
	}
	if b.broken != nil {
		if err := r.again(ctx, b); err != nil {
			return err
		}
	}
	if b.err != nil {
		return r.passOver(ctx, b)
	}
	if err := r.flush(); err != nil {
		return err
	}
	r.h.last, r.h.lastUS = b.max, b.toUS
	r.in.progress.came(int64(b.events), b.max, b.toUS, r.in.cfg.Now())
	return nil
}

// again fetches a block that could not be decoded, and decodes it once more. b.err says whether that failed too; an error
// of its own ends the session.
func (r *replay) again(ctx context.Context, b *block) error {
	b.err = r.a.fetchOne(ctx, b)
	if b.err != nil {
		return nil
	}
	var failed error
	b.err = guard(r.in.cfg.Logger, func() error {
		return r.in.fill(r.h, b, r.p, r.in.extract, func(made *batch) error {
			failed = r.push(ctx, made)
			return failed
		})
	})
	if errors.Is(b.err, errInstance) {
		return errInstance
	}
	return failed
}

// push queues a batch.
func (r *replay) push(ctx context.Context, made *batch) error {
	if err := r.flush(); err != nil {
		return err
	}
	if !r.in.state.Load().Connected {
		r.in.state.Store(&State{Connected: true, Host: r.h.url, Kind: r.h.kind, Detail: "replaying the archive"})
	}
	n, pos, us := made.seen, made.Seq, made.TimeUS // the batch is the queue's when it was pushed
	if err := r.in.queue.push(ctx, made); err != nil {
		return err
	}
	r.in.seen(r.h, pos, us, n)
	return nil
}

// passOver makes a block that can't be read part of a gap, or ends the session so that it is tried again. One that was
// fetched twice and can't be decoded isn't.
func (r *replay) passOver(ctx context.Context, b *block) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	b.err = fmt.Errorf("%s: %w", b.name(), b.err)
	if err := r.in.hole(r.h, b.err); err != nil && b.broken == nil {
		return err
	}
	r.h.gap = ""
	if r.gap == nil {
		r.gap = b
	}
	r.gap.max, r.gap.toUS = b.max, b.toUS
	r.h.last, r.h.lastUS = b.max, b.toUS
	return nil
}

// flush writes the gap down.
func (r *replay) flush() error {
	if r.gap == nil {
		return nil
	}
	g := *r.gap
	r.gap = nil
	return r.in.missed(r.h, g.min, g.max, g.fromUS, g.toUS, g.err.Error())
}

// fill makes batches of a block's rows, of batchBytes and a record at most, and gives them to emit.
func (in *Ingest) fill(h *host, b *block, p *place, x *extractor, emit func(*batch) error) error {
	next := func() *batch {
		made := batches.Get().(*batch)
		made.Host, made.Kind, made.bodies = h.url, kindV2, in.cfg.Bodies
		return made
	}
	made := next()
	var e event
	if err := b.rows(func(r *segment.Event) error {
		// The cursor goes behind all that the block held, that which the time has left out too.
		made.Seq, made.TimeUS = r.Seq, r.DisplayTimeUS()
		if r.Seq <= p.after || r.DisplayTimeUS() < in.cfg.From.US {
			return nil
		}
		if r.Seq == p.known && p.knownUS > 0 && absent(r.DisplayTimeUS()-p.knownUS) {
			return errInstance
		}
		if err := e.readRow(r); err != nil {
			in.metrics.malformed.Inc()
			in.log.warn("malformed", "unreadable row of the archive", "seq", r.Seq, "did", r.DID, "err", err)
			e.op = 0
		}
		in.put(made, &e, x)
		if made.cost() < batchBytes {
			return nil
		}
		full := made
		made = next()
		return emit(full)
	}); err != nil {
		return err
	}
	if made.Seq == 0 {
		return nil // the block is empty, or ends with a whole batch
	}
	return emit(made)
}

// alive keeps the watchdog quiet: bytes come, or the archive has said for how long to stay away.
func (in *Ingest) alive() { in.liveness.alive(in.cfg.Now()) }
