package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"

	"weft.dev/weft/ingest/extract"
)

// extractor is an extractor, and what of its counts is in the metrics.
type extractor struct {
	*extract.Extractor
	last extract.Dropped
}

func newExtractor() *extractor { return &extractor{Extractor: extract.New(extract.Limits{})} }

func (in *Ingest) archiveOf(h *host) *archive {
	return &archive{host: h.url, user: h.user, key: in.cfg.Key, slice: in.cfg.Slice, fetched: func(n int) {
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
	decode := func(worker int, b *block) { in.fill(h, b, p, workers[worker]) }
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
		if b.broken != nil {
			if b.rows, b.err = a.fetchOne(ctx, b); b.err == nil {
				in.fill(h, b, p, in.extract)
			}
		}
		if b.err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			b.err = fmt.Errorf("block %d of %s: %w", b.index, b.segment, b.err)
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
		if b.knownUS > 0 && p.knownUS > 0 && absent(b.knownUS-p.knownUS) {
			return errInstance
		}
		if !in.state.Load().Connected {
			in.state.Store(&State{Connected: true, Host: h.url, Kind: h.kind, Detail: "replaying the archive"})
		}
		seen := b.batch.seen
		if err := in.queue.push(ctx, b.batch); err != nil {
			return err
		}
		in.seen(h, b.max, b.toUS, seen)
		in.progress.came(int64(b.events), b.max, b.toUS, in.cfg.Now())
		return nil
	})
	if err := errors.Join(err, flush()); err != nil && !(noArchive(err) && (p.known > 0 || p.newest > 0)) {
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

// fill makes a batch of a block's rows.
func (in *Ingest) fill(h *host, b *block, p *place, x *extractor) {
	b.batch = batches.Get().(*batch)
	b.batch.Host, b.batch.Kind, b.batch.bodies = h.url, kindV2, in.cfg.Bodies
	var e event
	for i := range b.rows {
		r := &b.rows[i]
		if r.Seq <= p.after || r.DisplayTimeUS() < in.cfg.From.US {
			continue
		}
		if r.Seq == p.known {
			b.knownUS = r.DisplayTimeUS()
		}
		if err := e.readRow(r); err != nil {
			in.metrics.malformed.Inc()
			in.log.warn("malformed", "unreadable row of the archive", "seq", r.Seq, "did", r.DID, "err", err)
			e.op = 0
		}
		in.put(b.batch, &e, x)
	}
	// The cursor goes behind all that the block held, that which the time has left out too.
	if n := len(b.rows); n > 0 {
		b.batch.Seq, b.batch.TimeUS = b.rows[n-1].Seq, b.rows[n-1].DisplayTimeUS()
	}
	b.rows = nil
}

// alive keeps the watchdog quiet: bytes come, or the archive has said for how long to stay away.
func (in *Ingest) alive() { in.liveness.alive(in.cfg.Now()) }
