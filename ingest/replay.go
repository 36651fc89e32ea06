package ingest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/bluesky-social/jetstream/segment"

	"weft.dev/weft/ingest/extract"
	"weft.dev/weft/ingest/upstream"
)

// extractor is an extractor, and what of its counts is in the metrics.
type extractor struct {
	*extract.Extractor
	last extract.Dropped
}

func newExtractor() *extractor { return &extractor{Extractor: extract.New(extract.Limits{})} }

func (in *Ingest) archiveOf(h *host) *upstream.Archive {
	return &upstream.Archive{Endpoint: h.Endpoint, Key: in.cfg.Key, Filter: in.cfg.Slice.filter(), Logger: in.cfg.Logger, Fetched: func(n int) {
		in.alive()
		in.progress.fetched(n)
	}}
}

// batches are used again: a replay makes thousands.
var batches = sync.Pool{New: func() any { return new(batch) }}

// replay reads the archive of a host behind a place, and moves the place to its end.
func (in *Ingest) replay(ctx context.Context, h *host, p *place) error {
	in.cfg.Logger.Info("replaying the archive", "host", h.URL, "after_seq", p.after)
	before := h.last
	r := &replay{in: in, a: in.archiveOf(h), h: h, p: p}
	in.progress.begin(ctx, r.a, p.after, in.cfg.Now())
	defer in.progress.end()
	workers := make([]*extractor, runtime.GOMAXPROCS(0))
	for i := range workers {
		workers[i] = newExtractor()
	}
	decode := func(_ context.Context, worker int, b *upstream.Block, emit func(*batch) error) error {
		return in.fill(h, b.Rows, p, workers[worker], emit)
	}
	through, err := upstream.Read(ctx, r.a, p.after, 0, decode, func(d *upstream.Decoded[*batch]) error { return r.block(ctx, d) })
	var refused *upstream.Refused // final: the archive is for others, or there is none
	if err := errors.Join(err, r.flush()); err != nil && !(errors.As(err, &refused) && refused.Final() && (p.known > 0 || p.newest > 0)) {
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
	a   *upstream.Archive
	h   *host
	p   *place
	gap *upstream.Block // blocks that could not be read, as one; nil: none
}

// block takes what was decoded of the next block, or passes over it.
func (r *replay) block(ctx context.Context, d *upstream.Decoded[*batch]) error {
	b := d.Block
	if err := d.Each(ctx, func(made *batch) error { return r.push(ctx, made) }); err != nil {
		return err
	}
	if errors.Is(b.Broken, errInstance) {
		return errInstance
	}
	if b.Broken != nil {
		if err := r.again(ctx, b); err != nil {
			return err
		}
	}
	if b.Err != nil {
		return r.passOver(ctx, b)
	}
	if err := r.flush(); err != nil {
		return err
	}
	r.h.last, r.h.lastUS = b.Max, b.ToUS
	r.in.progress.came(int64(b.Events), b.Max, b.ToUS, r.in.cfg.Now())
	return nil
}

// again fetches a block that could not be decoded, and decodes it once more. b.Err says whether that failed too; an error
// of its own ends the session.
func (r *replay) again(ctx context.Context, b *upstream.Block) error {
	b.Err = r.a.Refetch(ctx, b)
	if b.Err != nil {
		return nil
	}
	var failed error
	b.Err = upstream.Guard(r.in.cfg.Logger, func() error {
		return r.in.fill(r.h, b.Rows, r.p, r.in.extract, func(made *batch) error {
			failed = r.push(ctx, made)
			return failed
		})
	})
	if errors.Is(b.Err, errInstance) {
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
		r.in.state.Store(&State{Connected: true, Host: r.h.URL, Kind: r.h.kind, Detail: "replaying the archive"})
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
func (r *replay) passOver(ctx context.Context, b *upstream.Block) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	b.Err = fmt.Errorf("%s: %w", b.Name(), b.Err)
	if err := r.in.hole(r.h, b.Err); err != nil && b.Broken == nil {
		return err
	}
	r.h.gap = ""
	if r.gap == nil {
		r.gap = b
	}
	r.gap.Max, r.gap.ToUS = b.Max, b.ToUS
	r.h.last, r.h.lastUS = b.Max, b.ToUS
	return nil
}

// flush writes the gap down.
func (r *replay) flush() error {
	if r.gap == nil {
		return nil
	}
	g := *r.gap
	r.gap = nil
	return r.in.missed(r.h, g.Min, g.Max, g.FromUS, g.ToUS, g.Err.Error())
}

// fill makes batches of a block's rows, of batchBytes and a record at most, and gives them to emit.
func (in *Ingest) fill(h *host, rows func(func(*segment.Event) error) error, p *place, x *extractor, emit func(*batch) error) error {
	next := func() *batch {
		made := batches.Get().(*batch)
		made.Host, made.Kind, made.bodies = h.URL, upstream.KindV2, in.cfg.Bodies
		return made
	}
	made := next()
	var e upstream.Event
	if err := rows(func(r *segment.Event) error {
		// The cursor goes behind all that the block held, that which the time has left out too.
		made.Seq, made.TimeUS = r.Seq, r.DisplayTimeUS()
		if r.Seq <= p.after || r.DisplayTimeUS() < in.cfg.From.US {
			return nil
		}
		if r.Seq == p.known && p.knownUS > 0 && absent(r.DisplayTimeUS()-p.knownUS) {
			return errInstance
		}
		if err := e.ReadRow(r); err != nil {
			in.metrics.malformed.Inc()
			in.log.warn("malformed", "unreadable row of the archive", "seq", r.Seq, "did", r.DID, "err", err)
			e.Op = 0
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
