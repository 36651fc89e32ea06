package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/keep"
	"weft.dev/weft/db/logrow"
)

// A replay uses the horizons of its end from its first row. A link that is out at the end has no effect in the replay,
// whether a compaction has dropped it from the segments or not. A link that is in is added and removed by the same rows
// as before. So a horizon needs no row in the log.

// LoadRetention reads the rows of the table retention, and the sources that they apply to.
func (s *State) LoadRetention(ctx context.Context, q logrow.Queryer) error {
	var rows []keep.Row
	if err := q.SelectContext(ctx, &rows, "SELECT rules, clock_us, fit_us FROM retention"); err != nil {
		return fmt.Errorf("read the retention: %w", err)
	}
	if err := s.keep.Load(rows); err != nil {
		return err
	}
	if !s.keep.Active() {
		return nil
	}
	sources, err := q.QueryContext(ctx, `SELECT sources.id, nsid, path FROM sources
		JOIN collections ON collections.id = collection WHERE sources.id > ? ORDER BY sources.id`, int64(s.keep.Known()))
	if err != nil {
		return fmt.Errorf("read sources: %w", err)
	}
	defer func() { _ = sources.Close() }()
	for sources.Next() {
		var id uint64
		var nsid, path string
		if err := sources.Scan(logrow.Unsigned(&id), &nsid, &path); err != nil {
			return fmt.Errorf("read source %d: %w", id, err)
		}
		s.keep.Add(id, nsid, path)
	}
	if err := errors.Join(sources.Err(), sources.Close()); err != nil {
		return fmt.Errorf("read sources: %w", err)
	}
	return nil
}

// TakeOutBodies returns the log rows that the last replay has left without a record, because their links are out:
// nothing else leads to their bodies.
func (s *State) TakeOutBodies() []uint64 {
	seqs := s.outBodies
	s.outBodies = nil
	return seqs
}

// withHorizons returns a snapshot with the present horizons, which it reads.
func (s *State) withHorizons(ctx context.Context, q logrow.Queryer, v *index.Snapshot) (*index.Snapshot, error) {
	if err := s.LoadRetention(ctx, q); err != nil {
		return nil, err
	}
	next := *v
	next.Horizons = s.Horizons()
	return &next, nil
}

// inHorizon returns those of a log row's links that are not out.
func (f *Applier) inHorizon(links []codec.RecordLink) []codec.RecordLink {
	h := f.state.Horizons()
	if h.Newest() == 0 {
		return links
	}
	return slices.DeleteFunc(links, func(l codec.RecordLink) bool { return l.Rank < h.Of(l.Source) })
}
