package db

import (
	"context"
	"fmt"
	"sync/atomic"

	"weft.dev/weft/db/index"
	"weft.dev/weft/db/keep"
)

// Work counts the seals and compactions since the store was opened, and reports whether any is running.
type Work struct {
	Seals, Compactions          int64 // segments made
	SealedBytes, CompactedBytes int64 // their files' sizes
	Sealing, Compacting         bool
}

// Work returns the counts, for metrics and benchmarks.
func (s *Store) Work() Work {
	return Work{
		Seals: s.seals.files.Load(), SealedBytes: s.seals.bytes.Load(), Sealing: s.seals.busy.Load(),
		Compactions: s.compactions.files.Load(), CompactedBytes: s.compactions.bytes.Load(),
		Compacting: s.compactions.busy.Load(),
	}
}

// worked counts the segments of one worker.
type worked struct {
	files, bytes atomic.Int64
	busy         atomic.Bool
}

func (w *worked) made(f *index.File) {
	w.files.Add(1)
	w.bytes.Add(f.Bytes)
}

// Retention returns the rules of retention and the effect of each, like Stats.
func (s *Index) Retention() []keep.Status { return s.core.Snapshot().Horizons.Status() }

// Stats returns the sizes of the index.
func (s *Index) Stats(ctx context.Context) (Stats, error) {
	v := s.core.Acquire()
	defer s.core.Release(v)
	st := Stats{
		Actors:     int64(v.Actors),
		Targets:    int64(v.Targets.Prefixes()),
		Records:    v.Linking,
		Links:      v.Targets.Total(),
		LastSeq:    v.Seq,
		Jobs:       v.Jobs,
		StartedUS:  v.StartedUS,
		Retention:  v.Horizons.Status(),
		Memory:     int64(v.Memory()),
		Runs:       len(v.Targets.Runs) + len(v.Records.Runs) + len(v.Names.Runs),
		Sealing:    s.seals.busy.Load(),
		Compacting: s.compactions.busy.Load(),
	}
	for _, f := range v.Files.Files {
		st.Segments++
		st.SegmentBytes += f.Bytes
	}
	st.Paused = s.Paused()
	if err := s.Failed(); err != nil {
		st.Failed = err.Error()
	}
	var err error
	st.Gaps, err = s.countGaps(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("db: count gaps: %w", err)
	}
	return st, nil
}

// countGaps counts the open gaps. A store walks over the gaps only after a change of them.
func (s *Index) countGaps(ctx context.Context) (int64, error) {
	walk := func() (n int64, err error) {
		err = s.core.Reader.GetContext(ctx, &n, "SELECT count(*) FROM gaps WHERE state = 'open'")
		return n, err
	}
	if s.openGaps == nil {
		return walk()
	}
	return s.openGaps.count(walk)
}

// Stats holds the sizes of an index, and the state of its writer.
type Stats struct {
	Actors       int64  // accounts ever seen, as authors or as targets
	Targets      int64  // distinct targets, an upper bound: a target counts once in each run that holds it
	Records      int64  // records with links now, including those of hidden accounts
	Links        int64  // links of active accounts now
	LastSeq      uint64 // newest row of the log
	Memory       int64  // memory of the index, in bytes
	Runs         int    // sorted runs, including those in segments
	StartedUS    int64  // time of the first event indexed, microseconds since 1970; 0 before it
	Segments     int    // segment files
	SegmentBytes int64  // their size

	// Retention has the rules of retention and the effect of each; empty: all links are kept for ever. Under rules,
	// Links and Records also count entries that are out until a compaction drops them. Records is too low by one for
	// each further compaction that drops an earlier version of an updated record.
	Retention []keep.Status

	Sealing, Compacting bool // are under way

	Jobs   int    // changes of status of large accounts that are under way
	Gaps   int64  // open gaps
	Failed string // why writing has stopped; empty: it has not
	Paused string // why indexing is paused, and the remedy; empty: it is not
}
