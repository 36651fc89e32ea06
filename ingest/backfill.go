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

// extractor is an extract.Extractor with the counts that were added to the metrics.
type extractor struct {
	*extract.Extractor
	last extract.Dropped
}

func newExtractor() *extractor { return &extractor{Extractor: extract.New(extract.Limits{})} }

// archiveOf returns the archive of a host. Its bytes count as signs of life.
func (in *Ingest) archiveOf(h *host) *upstream.Archive {
	fetched := func(bytes int) {
		in.liveness.alive(in.cfg.Now())
		in.progress.fetched(bytes, in.cfg.Now())
	}
	return &upstream.Archive{
		Endpoint: h.Endpoint,
		Key:      in.cfg.Key,
		Filter:   in.cfg.Slice.filter(),
		Logger:   in.cfg.Logger,
		Fetched:  fetched,
	}
}

// batches holds emptied batches for reuse: a backfill makes thousands.
var batches = sync.Pool{New: func() any { return new(batch) }}

// backfill reads the archive of a host after a start point, and moves the start point to the archive's end.
func (in *Ingest) backfill(ctx context.Context, h *host, p *startPoint) error {
	in.cfg.Logger.Info("replaying the archive", "host", h.URL, "after_seq", p.after)
	r := &backfill{in: in, archive: in.archiveOf(h), h: h, p: p}
	for range runtime.GOMAXPROCS(0) {
		r.extractors = append(r.extractors, newExtractor())
	}
	in.setReplaying(h, false)
	in.progress.begin(ctx, r.archive, p.after, in.cfg.Now())
	defer in.progress.end()
	before := h.last
	through, err := upstream.Read(ctx, r.archive, p.after, 0, r.decode, func(d *upstream.Decoded[*batch]) error {
		return r.deliver(ctx, d)
	})
	err = errors.Join(err, r.endGap())
	if err != nil && !r.canDoWithout(err) {
		return err
	}
	p.archiveUseless = h.last == before || through == p.after
	p.moveTo(through)
	return nil
}

// moveTo makes the live stream begin at the archive's end. The stream repeats the archive's last event.
func (p *startPoint) moveTo(through uint64) {
	p.inArchive = false
	p.cursor = max(through, p.committed, 1)
	if through > p.committed {
		p.committed = through
		p.committedUS = 0
	}
}

// backfill is a backfill that is under way.
type backfill struct {
	in         *Ingest
	archive    *upstream.Archive
	h          *host
	p          *startPoint
	extractors []*extractor    // one for each worker
	gap        *upstream.Block // adjacent blocks that can't be read, as one; nil: none
}

// canDoWithout reports whether the archive refuses us and the live stream may begin without it, because the index isn't
// new.
func (r *backfill) canDoWithout(err error) bool {
	var refused *upstream.Refused
	isFinal := errors.As(err, &refused) && refused.Final()
	return isFinal && (r.p.committed > 0 || r.p.reachedUS > 0)
}

// decode makes batches of a block. Workers call it in parallel.
func (r *backfill) decode(_ context.Context, worker int, b *upstream.Block, emit func(*batch) error) error {
	return r.batches(b.Rows, r.extractors[worker], emit)
}

// deliver queues the batches of the next block, or skips the block if it can't be read.
func (r *backfill) deliver(ctx context.Context, d *upstream.Decoded[*batch]) error {
	b := d.Block
	err := d.Each(ctx, func(made *batch) error { return r.push(ctx, made) })
	if err != nil {
		return err
	}
	if errors.Is(b.Broken, errReset) {
		return errReset
	}
	if b.Broken != nil {
		err = r.retry(ctx, b)
		if err != nil {
			return err
		}
	}
	if b.Err != nil {
		return r.skip(ctx, b)
	}
	err = r.endGap()
	if err != nil {
		return err
	}
	r.h.last = b.Max
	r.h.lastUS = b.ToUS
	r.in.progress.read(int64(b.Events), b.Max, b.ToUS, r.in.cfg.Now())
	return nil
}

// retry fetches a block again that can't be decoded, and sets b.Err if it fails again. An error that it returns ends
// the session.
func (r *backfill) retry(ctx context.Context, b *upstream.Block) error {
	b.Err = r.archive.Refetch(ctx, b)
	if b.Err != nil {
		return nil
	}
	var failed error
	b.Err = upstream.Guard(r.in.cfg.Logger, func() error {
		return r.batches(b.Rows, r.in.extract, func(made *batch) error {
			failed = r.push(ctx, made)
			return failed
		})
	})
	if errors.Is(b.Err, errReset) {
		return errReset
	}
	return failed
}

// push queues a batch.
func (r *backfill) push(ctx context.Context, made *batch) error {
	err := r.endGap()
	if err != nil {
		return err
	}
	r.in.setReplaying(r.h, true)
	events := made.seen // read before push: the queue owns the batch then
	pos := made.Seq
	us := made.TimeUS
	err = r.in.queue.push(ctx, made)
	if err != nil {
		return err
	}
	r.in.progress.pushed(r.in.cfg.Now())
	r.in.advance(r.h, pos, us, events)
	return nil
}

// skip adds a block that can't be read to a gap, or returns an error that ends the session, so that the next one reads
// the block again. It skips at once a block that was fetched twice and can't be decoded.
func (r *backfill) skip(ctx context.Context, b *upstream.Block) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	b.Err = fmt.Errorf("%s: %w", b.Name(), b.Err)
	err := r.in.unreadable(r.h, b.Err)
	if err != nil && b.Broken == nil {
		return err
	}
	r.h.gap = "" // the backfill's own gap has it
	if r.gap == nil {
		r.gap = b
	}
	r.gap.Max = b.Max
	r.gap.ToUS = b.ToUS
	r.h.last = b.Max
	r.h.lastUS = b.ToUS
	return nil
}

// endGap records skipped blocks as a gap.
func (r *backfill) endGap() error {
	if r.gap == nil {
		return nil
	}
	g := *r.gap
	r.gap = nil
	return r.in.recordGap(r.h, g.Min, g.Max, g.FromUS, g.ToUS, g.Err.Error())
}

// newBatch returns an empty batch of the archive's events.
func (r *backfill) newBatch() *batch {
	made := batches.Get().(*batch)
	made.Host = r.h.URL
	made.Kind = upstream.KindV2
	made.bodies = r.in.cfg.Bodies
	return made
}

// batches makes batches of rows, of batchBytes plus at most one record, and calls emit with each.
func (r *backfill) batches(rows func(func(*segment.Event) error) error, x *extractor, emit func(*batch) error) error {
	made := r.newBatch()
	var e upstream.Event
	err := rows(func(row *segment.Event) error {
		// The cursor moves past all rows, also those before the index's start.
		made.Seq = row.Seq
		made.TimeUS = row.DisplayTimeUS()
		if row.Seq <= r.p.after || made.TimeUS < r.in.cfg.From.US {
			return nil
		}
		if r.p.isReset(row.Seq, made.TimeUS) {
			return errReset
		}
		r.readRow(&e, row)
		r.in.put(made, &e, x)
		if made.cost() < batchBytes {
			return nil
		}
		full := made
		made = r.newBatch()
		return emit(full)
	})
	if err != nil {
		return err
	}
	if made.Seq == 0 {
		return nil // the block is empty, or ends with a full batch
	}
	return emit(made)
}

// readRow reads a row of the archive. A row that can't be read counts and is ignored.
func (r *backfill) readRow(e *upstream.Event, row *segment.Event) {
	err := e.ReadRow(row)
	if err != nil {
		r.in.metrics.malformed.Inc()
		r.in.log.warn("malformed", "unreadable row of the archive", "seq", row.Seq, "did", row.DID, "err", err)
		e.Op = 0
	}
}
