package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"weft.dev/weft/db/index"
	"weft.dev/weft/db/keep"
	"weft.dev/weft/db/lsm"
)

// compactionFanOut is the number of adjacent segments of a level that one compaction replaces. Each link is written
// once for each level: with 8, a thousand million links in segments of 240,000 take four levels, and a look-up meets
// about 20 files.
const compactionFanOut = 8

// fullCompaction is a compaction of all segments into one, which Compact asks the worker for.
type fullCompaction struct {
	done   chan struct{} // closed at its end, after the other fields are set
	result Compacted
	err    error
}

// Compacted is what a full compaction did.
type Compacted struct {
	Segments      int   // that became one; 0: there was one already, or none
	Before, After int64 // bytes
}

// Compact compacts all segments into one and returns at its end. Once a second it calls progress with the bytes written
// and the most that there will be. The end of ctx ends only the wait. A second call waits for the compaction of the
// first.
func (s *Store) Compact(ctx context.Context, progress func(written, most int64)) (Compacted, error) {
	s.mu.Lock()
	if s.full == nil {
		s.full = &fullCompaction{done: make(chan struct{})}
	}
	c := s.full
	s.mu.Unlock()
	wake(s.compactWork)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-c.done:
			return c.result, c.err
		case <-ctx.Done():
			return Compacted{}, ctx.Err()
		case <-s.closed:
			return Compacted{}, errClosed
		case <-ticker.C:
		}
		if err := s.Failed(); err != nil {
			return Compacted{}, err
		}
		for g := range s.room.growing.Load().all() {
			if g.outer == nil {
				progress(g.most-g.left(), g.most)
			}
		}
	}
}

// endFull ends the full compaction that is asked for; nil: none is.
func (s *Store) endFull(c *fullCompaction, err error) {
	if c == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = nil
	c.err = err
	close(c.done)
}

// compactAll runs compactions until none is due.
func (s *Store) compactAll() error {
	for !s.isClosed() {
		s.mu.Lock()
		full := s.full
		s.mu.Unlock()
		v := s.core.Acquire()
		more, err := s.compactNext(v, full)
		s.core.Release(v)
		if errors.Is(err, errClosed) {
			return nil
		}
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// compactNext runs the full compaction that is asked for, or the one that is due, and reports whether another may be.
func (s *Store) compactNext(v *index.Snapshot, full *fullCompaction) (more bool, err error) {
	if full == nil {
		files := s.nextCompaction(v)
		if len(files) == 0 {
			return false, nil
		}
		_, err := s.compact(v, files)
		return err == nil, err
	}
	files := v.Files.Files
	if len(files) == 0 || len(files) == 1 && files[0].Out(v.Horizons).Share == 0 {
		s.endFull(full, nil)
		return true, nil
	}
	if err := s.compactionRoom(keptBytes(files, v.Horizons)); err != nil {
		s.endFull(full, err)
		return true, nil
	}
	merged, err := s.compact(v, files)
	if err != nil {
		return false, err
	}
	full.result = Compacted{len(files), fileBytes(files), merged.Bytes}
	s.endFull(full, nil)
	return true, nil
}

// nextCompaction returns the segments of the compaction that is due and has room; nil: there is none.
func (s *Store) nextCompaction(v *index.Snapshot) []*index.File {
	level := pickCompaction(v.Files.Files, s.largestSegment(v.Files.Files))
	out := pickOut(v.Files.Files, v.Horizons)
	if level == nil && out == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if level != nil && (out == nil || s.missingRoom(keptBytes(level, v.Horizons)) == 0) {
		if s.hasCompactionRoom(keptBytes(level, v.Horizons)) {
			return level
		}
		return nil
	}
	if s.overBudget(keptBytes(out, v.Horizons)) || s.hasCompactionRoom(keptBytes(out, v.Horizons)) {
		return out
	}
	return nil
}

// fileBytes returns the size of segments.
func fileBytes(files []*index.File) (n int64) {
	for _, f := range files {
		n += f.Bytes
	}
	return n
}

// outError is by how much the sample of a segment may be wrong about the share that is out: two standard deviations of
// 256 entries.
const outError = 0.06

// keptBytes returns how many bytes a compaction of segments writes at most.
func keptBytes(files []*index.File, h *keep.Horizons) (n int64) {
	for _, f := range files {
		kept := f.Bytes
		if out := f.Out(h).Share; out > 0 {
			kept = int64(float64(f.Bytes) * min(1-out+outError, 1))
		}
		n += kept
	}
	return n
}

const (
	// largestShare divides the budget, or without one the size of all segments: no compaction of several segments makes a
	// larger one, but for Compact. Without a bound the largest compaction would need as much room as all segments take, so
	// that half of a budget stayed unused. With an eighth, the segments of the highest level are about sixteen, and the
	// room is 14 % of them.
	largestShare = 8
	// largestLeast is the bound of a smaller index without a budget, in bytes: with compactionSlack, its compactions need
	// at most 2 GB of free disk.
	largestLeast = 1_750_000_000
)

// largestSegment returns the most bytes of a segment that a compaction makes of several, unless Compact asks for it.
func (s *Index) largestSegment(files []*index.File) int64 {
	if budget := s.room.budget.Load(); budget > 0 {
		return budget / largestShare
	}
	return largestOf(files)
}

// largestOf is largestSegment without a budget.
func largestOf(files []*index.File) int64 { return max(largestLeast, fileBytes(files)/largestShare) }

// pickCompaction picks the segments to compact: the oldest of the lowest level that has enough of them, as many as make
// no segment of more than largest bytes. Levels fall from the oldest segment to the newest: those of one level are
// adjacent.
func pickCompaction(files []*index.File, largest int64) []*index.File {
	for end := len(files); end > 0; {
		start := end - 1
		for start > 0 && files[start-1].Level == files[end-1].Level {
			start--
		}
		if end-start >= compactionFanOut {
			picked := files[start : start+compactionFanOut]
			for len(picked) > 0 && fileBytes(picked) > largest {
				picked = picked[:len(picked)-1]
			}
			if len(picked) > 1 {
				return picked
			}
		}
		end = start
	}
	return nil
}

const (
	// outMuch is the share of a segment that is out from which on it is compacted by itself. With half, a compaction
	// writes no more than it gives back, and so each link is written at most once more.
	outMuch = 0.5
	// outLeast is that share where nearly all of a segment is out that can be: waiting would give back no more.
	outLeast = 0.05
	// outLeft divides what is out: less than that is nearly nothing. Some links are dated ahead.
	outLeft = 20
)

// outDue reports whether a segment is to be compacted by itself because much of it is out.
func outDue(out index.Out) bool {
	return out.Share >= outMuch || out.Share >= outLeast && out.Left <= out.Share/outLeft
}

// pickOut picks a segment to compact by itself because much of it is out: the oldest.
func pickOut(files []*index.File, h *keep.Horizons) []*index.File {
	if h.Newest() == 0 {
		return nil
	}
	for i, f := range files {
		if outDue(f.Out(h)) {
			return files[i : i+1]
		}
	}
	return nil
}

// CompactionDue reports whether segments, oldest first, are due for a compaction, without a budget.
func CompactionDue(rows []index.ManifestRow) bool {
	files := make([]*index.File, len(rows))
	for i, row := range rows {
		files[i] = &index.File{ManifestRow: row}
	}
	return len(pickCompaction(files, largestOf(files))) > 0
}

// compact writes one segment in place of several adjacent ones, beside the writer, which stops only for the swap.
func (s *Store) compact(v *index.Snapshot, files []*index.File) (*index.File, error) {
	defer s.compactions.busy.Store(s.compactions.busy.Swap(true))
	first := files[0]
	last := files[len(files)-1]
	row := last.ManifestRow
	row.ID = 0
	row.FromSeq = first.FromSeq
	row.Level = first.Level
	if len(files) > 1 {
		row.Level = max(first.Level, last.Level+1)
	}
	var runs [3][]lsm.Run
	for i, id := range index.RunIDs {
		for _, f := range files {
			runs[i] = append(runs[i], f.Run(id))
		}
	}
	merged, gone, err := s.makeSegment(segmentPlan{row: row, runs: runs, bottom: first == v.Files.Files[0],
		merged: keptBytes(files, v.Horizons), between: s.smallerCompactions(last, row.Level)})
	if err != nil {
		return nil, fmt.Errorf("db: compact log rows %d to %d: %w", row.FromSeq, row.ToSeq, err)
	}
	merged.End = last.End
	s.mu.Lock()
	defer s.mu.Unlock()
	merged.Linking = max(last.Linking-gone, 0) // another seal may have changed it
	if err := s.enter(merged, files, nil, gone); err != nil {
		return nil, fmt.Errorf("db: enter segment %s: %w: %w", merged.File, errNotEntered, err)
	}
	s.forgetRecords(gone)
	now := s.core.Snapshot().Files.Files // newer ones may have come
	i := slices.Index(now, first)
	for _, f := range now[i+len(files):] {
		f.Linking = max(f.Linking-gone, 0)
	}
	next := slices.Concat(now[:i], []*index.File{merged}, now[i+len(files):])
	s.core.Retire(files)
	s.swap(next, func(int) int { return len(now) })
	s.compactions.made(merged)
	s.cfg.Logger.Info("compacted segments", "file", merged.File, "from", len(files), "level", merged.Level, "links",
		merged.Links, "bytes", merged.Bytes)
	return merged, nil
}

// skipLooks is how often smallerCompactions is called without effect after one that found no room: about a second.
const skipLooks = 8192

// smallerCompactions returns what a compaction calls between its entries. It runs the compactions that are due among
// the segments newer than last and that make a segment of a level below level. So small segments don't accumulate while
// gigabytes are compacted, and queries meet few files. A smaller compaction does the same, so at most one is under way
// for each level.
func (s *Store) smallerCompactions(last *index.File, level int) func() error {
	skip := 0
	return func() error {
		if skip > 0 {
			skip--
			return nil
		}
		now := s.core.Snapshot().Files.Files
		newer := now[slices.Index(now, last)+1:]
		files := pickCompaction(newer, s.largestSegment(now))
		if len(files) == 0 || files[len(files)-1].Level+1 >= level {
			return nil
		}
		v := s.core.Acquire() // it has files: only this goroutine replaces them
		defer s.core.Release(v)
		s.mu.Lock()
		room := s.missingRoom(keptBytes(files, v.Horizons)) == 0
		s.mu.Unlock()
		if !room {
			skip = skipLooks
			return nil
		}
		_, err := s.compact(v, files)
		return err
	}
}
