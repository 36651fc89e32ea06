package ingest

import (
	"slices"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/ingest/extract"
	"weft.dev/weft/ingest/gapfill"
	"weft.dev/weft/ingest/upstream"
)

// newGapFiller returns the Filler of the store's gaps.
func newGapFiller(in *Ingest) *gapfill.Filler {
	return gapfill.New(gapfill.Config{
		Store:     in.cfg.Store,
		Pipeline:  &gapPipeline{Ingest: in, extract: newExtractor()},
		Upstreams: in.cfg.Hosts,
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

// gapPipeline implements gapfill.Pipeline.
type gapPipeline struct {
	*Ingest
	extract *extractor // of KeepsLinks
}

func (p *gapPipeline) Keeps(e *upstream.Event) bool { return p.cfg.Slice.keeps(e) }

// KeepsLinks implements gapfill.Pipeline. It reads the record only if the slice has subjects: without subjects, most
// records have links in the slice.
func (p *gapPipeline) KeepsLinks(e *upstream.Event) bool {
	s := p.cfg.Slice
	if s == nil || s.subjects == nil {
		return true
	}
	if e.Op == db.OpDelete {
		return false
	}
	links, _ := linksOf(e, p.extract.Extractor) // the pass that adds the event counts unreadable records
	return slices.ContainsFunc(links, func(l extract.Link) bool {
		return s.keepsLink(e.Collection, text(l.Path), text(l.Target))
	})
}

func (p *gapPipeline) PauseCommits() (resume func()) {
	p.commitMu.Lock()
	return p.commitMu.Unlock
}

func (p *gapPipeline) NewBatch() gapfill.Batch {
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
func (b *gapBatch) Events() []apply.Event { return b.batch.Events }
func (b *gapBatch) Size() int             { return b.cost() }
func (b *gapBatch) Reset()                { b.reset() }
