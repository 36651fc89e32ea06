package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"sync"

	"golang.org/x/sync/semaphore"
)

const (
	// partBytes is the size of one request: about a hundred blocks.
	partBytes = 4 << 20
	// fetchBytes bounds the frames in memory that are fetched and not yet read. Several requests run at once, because
	// one at a time doesn't fill a long network path. A larger block is fetched alone.
	fetchBytes = 8 * partBytes
)

// Decode makes items of a block's rows and calls emit with each. worker is the number of the goroutine that calls it.
type Decode[T any] func(ctx context.Context, worker int, b *Block, emit func(T) error) error

// Decoded is a block with the items that a Decode makes of it.
type Decoded[T any] struct {
	*Block
	items chan T
}

// Each calls do with the items, in order, while they are made. Afterwards d.Broken is nil if the block was decoded.
func (d *Decoded[T]) Each(ctx context.Context, do func(T) error) error {
	for {
		select {
		case item, ok := <-d.items:
			if !ok {
				return nil
			}
			err := do(item)
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Read reads the blocks with the filter's events after the sequence number after, before the number before unless it is
// 0. decode runs in parallel; do receives the blocks one by one, in order. Blocks may have other events as well. Read
// ends with do's error, or at the end of the archive. It returns the sequence number up to which do has received all
// blocks.
func Read[T any](
	ctx context.Context, a *Archive, after, before uint64, decode Decode[T], do func(*Decoded[T]) error,
) (through uint64, err error) {
	for {
		p, err := a.Plan(ctx, after, before)
		if err != nil {
			return after, err
		}
		through, err := readPlan(ctx, a, &p, seqRange{after, before}, decode, do)
		if err != nil {
			return through, err
		}
		through = max(through, p.PlannedThroughSeq)
		if p.PlannedThroughSeq >= p.SealedTipSeq || through == after || before > 0 && through+1 >= before {
			return through, nil
		}
		after = through
	}
}

// Blocks is Read without a Decode: do decodes the blocks.
func (a *Archive) Blocks(ctx context.Context, after, before uint64, do func(*Block) error) (through uint64, err error) {
	nothing := func(context.Context, int, *Block, func(struct{}) error) error { return nil }
	return Read(ctx, a, after, before, nothing, func(d *Decoded[struct{}]) error { return do(d.Block) })
}

// seqRange is the sequence numbers between two others; before 0 is no end.
type seqRange struct{ after, before uint64 }

// reading reads one plan: fetch, schedule, decode and deliver run concurrently and keep the order of blocks.
type reading[T any] struct {
	archive *Archive
	running sync.WaitGroup
	memory  *semaphore.Weighted // fetchBytes: acquired before a span is fetched, released when its last block is delivered
	spans   chan *span          // in order, being fetched
	jobs    chan *Decoded[T]    // to decode
	order   chan *Decoded[T]    // to deliver: the jobs, in order
	err     error               // of fetch; read after order is closed
}

func readPlan[T any](
	ctx context.Context, a *Archive, p *ArchivePlan, want seqRange, decode Decode[T], do func(*Decoded[T]) error,
) (through uint64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	workers := runtime.GOMAXPROCS(0)
	r := &reading[T]{
		archive: a,
		memory:  semaphore.NewWeighted(fetchBytes),
		spans:   make(chan *span, fetchBytes/partBytes),
		jobs:    make(chan *Decoded[T], workers),
		order:   make(chan *Decoded[T], workers),
	}
	defer r.running.Wait()
	defer cancel()
	r.running.Go(func() { r.fetch(ctx, p, want) })
	r.running.Go(func() { r.schedule(ctx) })
	for worker := range workers {
		r.running.Go(func() { r.decode(ctx, worker, decode) })
	}
	return r.deliver(ctx, want.after, do)
}

// fetch fetches the spans of a plan within fetchBytes. It ends at a segment whose blocks can't be listed.
func (r *reading[T]) fetch(ctx context.Context, p *ArchivePlan, want seqRange) {
	defer close(r.spans)
	for i := range p.Segments {
		s := &p.Segments[i]
		blocks, err := r.archive.planned(ctx, s, want)
		if err != nil {
			r.err = err
			return
		}
		for len(blocks) > 0 {
			sp := spanOf(s, blocks)
			blocks = blocks[len(sp.blocks):]
			if !r.fetchSpan(ctx, sp) {
				return
			}
		}
	}
}

// fetchSpan starts to fetch a span, and queues it. It returns false if ctx ends.
func (r *reading[T]) fetchSpan(ctx context.Context, sp *span) bool {
	sp.blocks[len(sp.blocks)-1].cost = sp.cost // released with the last block
	err := r.memory.Acquire(ctx, sp.cost)
	if err != nil {
		return false
	}
	r.running.Go(func() {
		defer close(sp.fetched)
		r.archive.fetch(ctx, sp)
	})
	select {
	case r.spans <- sp:
		return true
	case <-ctx.Done():
		return false
	}
}

// schedule queues the blocks of fetched spans for decode and for deliver.
func (r *reading[T]) schedule(ctx context.Context) {
	defer close(r.order)
	defer close(r.jobs)
	for sp := range r.spans {
		<-sp.fetched
		for _, b := range sp.blocks {
			d := &Decoded[T]{Block: b, items: make(chan T, 1)}
			for _, queue := range []chan *Decoded[T]{r.order, r.jobs} {
				select {
				case queue <- d:
				case <-ctx.Done():
					return
				}
			}
		}
	}
}

// decode decodes blocks, as one of several workers. A panic makes the block unreadable.
func (r *reading[T]) decode(ctx context.Context, worker int, decode Decode[T]) {
	for d := range r.jobs {
		if d.Err == nil {
			emit := func(item T) error {
				select {
				case d.items <- item:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			d.Broken = Guard(r.archive.Logger, func() error { return decode(ctx, worker, d.Block, emit) })
		}
		close(d.items)
	}
}

// deliver calls do with the blocks, in order, and returns the last sequence number of the last block.
func (r *reading[T]) deliver(
	ctx context.Context, after uint64, do func(*Decoded[T]) error,
) (through uint64, err error) {
	through = after
	for d := range r.order {
		err := do(d)
		if err != nil {
			return through, err
		}
		d.frame = nil
		r.memory.Release(d.cost)
		through = d.Max
	}
	if ctx.Err() != nil {
		return through, ctx.Err()
	}
	return through, r.err
}

// planned returns the blocks of a segment that a plan names and that may hold wanted events.
func (a *Archive) planned(ctx context.Context, s *PlannedSegment, want seqRange) ([]*Block, error) {
	all, err := a.blocks(ctx, s)
	if err != nil {
		return nil, err
	}
	out := all[:0]
	next := 0 // the plan's next span of blocks; both lists are in order
	for _, b := range all {
		if b.Err != nil {
			b.Min = max(b.Min, want.after+1)
		} else if s.Mode == "blocks" {
			for next < len(s.Blocks) && s.Blocks[next].Last < b.index {
				next++
			}
			if next == len(s.Blocks) || b.index < s.Blocks[next].First {
				continue
			}
		}
		if b.Max > want.after && (want.before == 0 || b.Min <= want.before) {
			out = append(out, b)
		}
	}
	return out, nil
}

// span is adjacent blocks that one request fetches.
type span struct {
	segment *PlannedSegment
	blocks  []*Block
	cost    int64 // of fetchBytes
	fetched chan struct{}
}

// spanOf returns a span of about partBytes that begins with the first of the blocks.
func spanOf(s *PlannedSegment, blocks []*Block) *span {
	first := blocks[0]
	n := 1
	size := uint64(first.size)
	for n < len(blocks) && first.Err == nil && blocks[n].index == blocks[n-1].index+1 && size < partBytes {
		longer := blocks[n].end() - first.offset
		if longer > 2*partBytes {
			break
		}
		size = longer
		n++
	}
	return &span{segment: s, blocks: blocks[:n], cost: int64(min(size, fetchBytes)), fetched: make(chan struct{})}
}

// fetch reads a span's blocks. After a failure it sets Err of each block.
func (a *Archive) fetch(ctx context.Context, sp *span) {
	first := sp.blocks[0]
	last := sp.blocks[len(sp.blocks)-1]
	if first.Err != nil {
		return
	}
	data, err := a.part(ctx, sp.segment, first.offset, last.end()-first.offset)
	for _, b := range sp.blocks {
		b.Err = err
		if err == nil {
			b.frame = data[b.offset-first.offset : b.end()-first.offset : b.end()-first.offset]
		}
	}
}

// Refetch fetches a block alone. A block that can't be decoded may have been damaged in transit.
func (a *Archive) Refetch(ctx context.Context, b *Block) error {
	where := url.Values{"segment": {b.segment}, "blockIndex": {fmt.Sprint(b.index)}}
	frame, err := a.request(ctx, call{method: http.MethodGet, name: "getBlock", query: where, limit: int64(b.size) + 1})
	b.frame = frame
	return err
}

// Guard runs do, which reads untrusted bytes. It logs a panic with its stack and returns it as an error: the block
// becomes a gap. If the process ended, every later start would end at the same block.
func Guard(logger *slog.Logger, do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if logger != nil {
				logger.Error("panic", "goroutine", "read a block", "panic", p, "stack", string(debug.Stack()))
			}
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return do()
}
