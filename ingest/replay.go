package ingest

import (
	"cmp"
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
	return &archive{host: h.url, key: in.cfg.Key, slice: in.cfg.Slice, logger: in.cfg.Logger, fetched: func(n int) {
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
	a, before := in.archiveOf(h), h.last
	in.progress.begin(ctx, a, p.after, in.cfg.Now())
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
	var gap *block // blocks that could not be read, as one
	flush := func() error {
		if gap == nil {
			return nil
		}
		g := *gap
		gap = nil
		return in.missed(h, g.min, g.max, g.fromUS, g.toUS, g.err.Error())
	}
	through, err := a.read(ctx, p.after, 0, decode, func(b *block) error {
		seen, failed := 0, error(nil)
		push := func(made *batch) error {
			if failed = flush(); failed != nil {
				return failed
			}
			if !in.state.Load().Connected {
				in.state.Store(&State{Connected: true, Host: h.url, Kind: h.kind, Detail: "replaying the archive"})
			}
			n, pos, us := made.seen, made.Seq, made.TimeUS // the batch is the queue's when it was pushed
			if failed = in.queue.push(ctx, made); failed != nil {
				return failed
			}
			seen += n
			in.seen(h, pos, us, n)
			return nil
		}
		if err := b.each(ctx, push); err != nil {
			return err
		}
		if b.broken != nil && !errors.Is(b.broken, errInstance) {
			if b.err = a.fetchOne(ctx, b); b.err == nil {
				b.err = guard(in.cfg.Logger, func() error { return in.fill(h, b, p, in.extract, push) })
			}
			b.broken = cmp.Or(b.err, b.broken)
		}
		if failed != nil {
			return failed
		}
		if errors.Is(b.broken, errInstance) {
			return errInstance
		}
		if b.err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			b.err = fmt.Errorf("%s: %w", b.name(), b.err)
			if err := in.hole(h, b.err); err != nil && b.broken == nil {
				return err
			}
			if h.gap = ""; gap == nil {
				gap = b
			}
			gap.max, gap.toUS = b.max, b.toUS
			h.last, h.lastUS = b.max, b.toUS
			return nil
		}
		if err := flush(); err != nil {
			return err
		}
		h.last, h.lastUS = b.max, b.toUS
		in.progress.came(int64(b.events), b.max, b.toUS, in.cfg.Now())
		return nil
	})
	if err := errors.Join(err, flush()); err != nil && !(noArchive(err) && (p.known > 0 || p.newest > 0)) {
		return err
	}
	// Behind the archive's end the live stream goes on, without a seam: it begins with the last event again.
	p.useless = h.last == before || through == p.after
	p.archive, p.cursor = false, max(through, p.known, 1)
	if p.known = max(p.known, through); through > 0 && p.known == through {
		p.knownUS = 0
	}
	return nil
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
func (in *Ingest) alive() { in.seenAt.Store(in.cfg.Now().UnixMicro()) }
