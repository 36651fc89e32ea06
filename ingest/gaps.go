package ingest

import (
	"weft.dev/weft/db"
	"weft.dev/weft/ingest/gapfill"
	"weft.dev/weft/ingest/upstream"
)

// newGapFiller returns the Filler of the store's gaps.
func newGapFiller(in *Ingest, endpoints []upstream.Endpoint) *gapfill.Filler {
	return gapfill.New(gapfill.Config{
		Store:     in.cfg.Store,
		Pipeline:  gapPipeline{in},
		Upstreams: endpoints,
		Key:       in.cfg.Key,
		Filter:    in.cfg.Slice.filter(),
		Interval:  in.cfg.Fill,
		Records:   in.cfg.FillRecords,
		Events:    in.cfg.BatchEvents,
		Filled:    func(rows int) { in.metrics.filled.Add(float64(rows)) },
		Logger:    in.cfg.Logger,
		Now:       in.cfg.Now,
	})
}

// gapPipeline shows an Ingest to its gap filler.
type gapPipeline struct{ *Ingest }

func (p gapPipeline) Keeps(e *upstream.Event) bool { return p.cfg.Slice.keeps(e) }

func (p gapPipeline) PauseCommits() (resume func()) {
	p.commitMu.Lock()
	return p.commitMu.Unlock
}

func (p gapPipeline) NewBatch() gapfill.Batch {
	b := &gapBatch{in: p.Ingest, extract: newExtractor()}
	b.bodies = p.cfg.Bodies
	return b
}

// gapBatch is a batch that isn't queued.
type gapBatch struct {
	batch
	in      *Ingest
	extract *extractor
}

func (b *gapBatch) Add(e *upstream.Event) { b.in.put(&b.batch, e, b.extract) }
func (b *gapBatch) Events() []db.Event    { return b.batch.Events }
func (b *gapBatch) Size() int             { return b.cost() }
func (b *gapBatch) Reset()                { b.reset() }
